//! `ruletop backup`: make one, list them, look into one, compare two.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Folders, need_privilege, no_backup, not_applied};
use crate::cli::{Failure, print};
use crate::netfilter::xtables::Tools;
use crate::ruleset::{Origin, Ruleset};
use crate::safety::backup::{self as store, Backup, Manifest};
use crate::safety::{self, KEEP, Who, diff};
use crate::ui::words;

/// What to do with backups; without a word, make one.
#[derive(Debug, Args)]
pub struct BackupArgs {
    #[command(subcommand)]
    what: Option<What>,
    /// How many backups to keep
    #[arg(long, value_name = "N", default_value_t = KEEP)]
    keep_backups: usize,
    #[command(flatten)]
    folders: Folders,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the backups, newest last
    List {
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show what is in a backup
    Show {
        /// Name of a backup, the beginning of one, or latest
        id: String,
        /// Its manifest, as one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Compare two backups, or one with the firewall as it is
    Diff {
        /// The older one
        a: String,
        /// The newer one; live for the firewall as it is
        b: String,
    },
}

#[derive(serde::Serialize)]
struct Listing {
    schema: &'static str,
    backups: Vec<Listed>,
}

#[derive(serde::Serialize)]
struct Listed {
    id: String,
    /// `None` where it is damaged.
    manifest: Option<Manifest>,
    damaged: Option<String>,
}

/// Does it.
pub fn run(args: &BackupArgs) -> Result<ExitCode, Failure> {
    match &args.what {
        None => make(args),
        Some(What::List { json }) => list(args, *json),
        Some(What::Show { id, json }) => show(args, id, *json),
        Some(What::Diff { a, b }) => compare(args, a, b),
    }
}

fn make(args: &BackupArgs) -> Result<ExitCode, Failure> {
    need_privilege("reading the firewall")?;
    let places = args.folders.places();
    let tools = Tools::find();
    let backup = store::take(&places, &tools, &[], &Who::here(), "ruletop backup")
        .map_err(|error| no_backup(&error))?;
    let spared = safety::pending(&places).map(|view| view.backup);
    let spared: Vec<&str> = spared.iter().map(String::as_str).collect();
    store::prune(&places, args.keep_backups, &spared).map_err(|error| no_backup(&error))?;
    print(format!("{}\n", backup.manifest.id).as_bytes())
}

fn list(args: &BackupArgs, json: bool) -> Result<ExitCode, Failure> {
    let places = args.folders.places();
    let names = store::list(&places).map_err(|error| no_backup(&error))?;
    let listed: Vec<Listed> = names
        .into_iter()
        .map(|id| match store::load(&places, &id) {
            Ok(backup) => Listed {
                id,
                manifest: Some(backup.manifest),
                damaged: None,
            },
            Err(error) => Listed {
                id,
                manifest: None,
                damaged: Some(error.to_string()),
            },
        })
        .collect();
    if json {
        return document(&Listing {
            schema: "ruletop.backups/1",
            backups: listed,
        });
    }
    let mut out = String::new();
    for backup in &listed {
        let _ = match &backup.manifest {
            Some(manifest) => writeln!(
                out,
                "{}  {}  {}",
                backup.id,
                words::clean_str(&manifest.who.to_string()),
                words::clean_str(&manifest.why)
            ),
            None => writeln!(
                out,
                "{}  {}",
                backup.id,
                words::clean_str(backup.damaged.as_deref().unwrap_or_default())
            ),
        };
    }
    print(out.as_bytes())
}

fn document(value: &impl serde::Serialize) -> Result<ExitCode, Failure> {
    let mut json = serde_json::to_vec(value)
        .map_err(|error| Failure::input(format!("cannot write JSON: {error}"), ""))?;
    json.push(b'\n');
    print(&json)
}

fn open(args: &BackupArgs, id: &str) -> Result<Backup, Failure> {
    let places = args.folders.places();
    store::find(&places, id)
        .and_then(|id| store::load(&places, &id))
        .map_err(|error| no_backup(&error))
}

fn show(args: &BackupArgs, id: &str, json: bool) -> Result<ExitCode, Failure> {
    let backup = open(args, id)?;
    if json {
        return document(&backup.manifest);
    }
    let mut out = Vec::new();
    for origin in Origin::ALL {
        out.extend_from_slice(backup.text(&origin.to_string()));
    }
    print(&out)
}

fn compare(args: &BackupArgs, a: &str, b: &str) -> Result<ExitCode, Failure> {
    let old = open(args, a)?;
    let new = match b {
        "live" => None,
        id => Some(open(args, id)?),
    };
    if new.is_none() {
        need_privilege("reading the firewall")?;
    }
    let tools = Tools::find();
    let mut out = String::new();
    for origin in Origin::ALL {
        let before = old.ruleset(origin).map_err(|error| no_backup(&error))?;
        let after: std::sync::Arc<Ruleset> = match &new {
            Some(new) => new.ruleset(origin).map_err(|error| no_backup(&error))?,
            None => safety::current(&tools, origin).map_err(|error| not_applied(&error))?,
        };
        for line in diff::lines(&before, &after) {
            let _ = writeln!(out, "{origin} {}", words::clean_str(&line));
        }
    }
    print(out.as_bytes())
}
