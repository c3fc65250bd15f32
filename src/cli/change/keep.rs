//! `ruletop keep`: the rules of now, saved for the next boot, after a look at the difference.
//!
//! Only the word `yes`, typed, writes; `--yes` says it for a script.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::apply::{BackendArg, FamilyArg};
use super::{Folders, ask, need_privilege};
use crate::cli::{Failure, print};
use crate::netfilter::xtables::Tools;
use crate::safety::ApplyError;
use crate::safety::keep::{KeepError, Plan, Wish, keep, look};
use crate::ui::words;

/// What to keep.
#[derive(Debug, Args)]
pub struct Keep {
    /// Show how the live rules differ from the saved ones, and write nothing; 1 if they do
    #[arg(long)]
    diff: bool,
    /// Leave out what container engines, fail2ban and the like put there by themselves
    #[arg(long)]
    without_runtime: bool,
    /// Write without asking
    #[arg(long, conflicts_with = "diff")]
    yes: bool,
    /// Only 4 for iptables, or 6 for ip6tables
    #[arg(long, value_enum)]
    family: Option<FamilyArg>,
    /// The back end; without it, the one that holds rules
    #[arg(long, value_enum)]
    backend: Option<BackendArg>,
    /// The root of the machine whose next boot it is
    #[arg(long, value_name = "FOLDER", hide = true, default_value = "/")]
    root: PathBuf,
    #[command(flatten)]
    folders: Folders,
}

/// Shows the difference, asks, writes.
pub fn run(args: &Keep) -> Result<ExitCode, Failure> {
    need_privilege("reading the firewall")?;
    let places = args.folders.places();
    let tools = Tools::find();
    let wish = Wish {
        root: std::path::absolute(&args.root).unwrap_or_else(|_| args.root.clone()),
        family: args.family.map(Into::into),
        backend: args.backend.map(Into::into),
        without_runtime: args.without_runtime,
        ..Wish::new()
    };
    let plan = look(&wish, &places, &tools).map_err(|error| not_kept(&error))?;
    if !plan.differs() {
        say("what is saved for the next boot is what is live: nothing to write");
        return Ok(ExitCode::SUCCESS);
    }
    print(told(&plan).as_bytes())?;
    if args.diff {
        return Ok(ExitCode::from(1));
    }
    if !args.yes && !asked()? {
        return Err(Failure::change(
            "nothing is written: it takes the word yes",
            "run it again and type yes, or give --yes",
        ));
    }
    let written = keep(&plan, &places, &tools).map_err(|error| not_kept(&error))?;
    for path in written {
        say(&format!("written {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn told(plan: &Plan) -> String {
    let mut out = String::new();
    for file in &plan.files {
        let _ = writeln!(
            out,
            "{} ({}), {}{}",
            file.path.display(),
            file.origin,
            plan.place,
            if file.differs { "" } else { ": no difference" }
        );
        for line in &file.diff {
            let _ = writeln!(out, "  {}", words::clean_str(line));
        }
        for line in &file.left_out {
            let _ = writeln!(out, "  left out: {}", words::clean_str(line));
        }
        for line in &file.remarks {
            let _ = writeln!(out, "  note: {}", words::clean_str(line));
        }
    }
    out
}

fn asked() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::input(
            "there is no terminal to ask on whether to write it",
            "run it on a terminal, or with --yes",
        ));
    }
    Ok(ask::word("Write this for the next boot? Type yes: ", "yes"))
}

fn not_kept(error: &KeepError) -> Failure {
    let (what, remedy) = (
        words::clean_str(&error.to_string()).into_owned(),
        error.remedy(),
    );
    match error {
        KeepError::Live(ApplyError::Tool {
            privilege: true, ..
        }) => Failure::privilege(what, remedy),
        KeepError::Both { .. } => Failure::input(what, remedy),
        _ => Failure::change(what, remedy),
    }
}

fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
