//! `ruletop export`: the model printed back.
//!
//! `save` of an unedited dump is byte for byte what was read; `json` is one document with a `schema`
//! field. Without a file it is this box: every ruleset that it holds, one after the other.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::cli::{Failure, input, print};
use crate::host;
use crate::netfilter::xtables::{self, Limits, Presence, Tools};
use crate::ruleset::{Document, Hints, Origin, Severity};
use crate::ui::words;

/// What to print.
#[derive(Debug, Args)]
pub struct Export {
    /// A saved dump instead of this box; - for standard input
    #[arg(long, value_name = "DUMP")]
    file: Option<PathBuf>,
    /// As iptables-save prints it, or as JSON
    #[arg(long, value_enum, default_value = "save")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Save,
    Json,
}

/// Prints.
pub fn run(export: &Export) -> Result<ExitCode, Failure> {
    let document = match &export.file {
        Some(path) => input::document(path)?,
        None => live()?,
    };
    remark(&document);
    match export.format {
        Format::Save => print(document.bytes()),
        Format::Json => {
            let json = document.to_json();
            print(&json.map_err(|error| Failure::input(format!("cannot write JSON: {error}"), ""))?)
        }
    }
}

/// Says on standard error what is odd in the dump; it is printed back all the same.
fn remark(document: &Document) {
    const SHOWN: usize = 10;
    let mut err = std::io::stderr().lock();
    let odd = || {
        document
            .diagnostics()
            .filter(|d| d.severity > Severity::Note)
    };
    for diagnostic in odd().take(SHOWN) {
        let _ = writeln!(
            err,
            "ruletop: {}",
            words::clean_str(&diagnostic.to_string())
        ); // nobody may listen
    }
    let more = odd().count().saturating_sub(SHOWN);
    if more > 0 {
        let _ = writeln!(err, "ruletop: {more} more lines are odd");
    }
}

/// What the save tool of every back end and family prints that holds tables here. What a tool says
/// beside the rules goes to standard error.
pub(super) fn live() -> Result<Document, Failure> {
    if !host::may_read_firewall() {
        return Err(Failure::privilege(
            "reading the firewall takes CAP_NET_ADMIN, which this process lacks",
            "run it as root (sudo ruletop …), or give a saved dump with --file",
        ));
    }
    let tools = Tools::find();
    let mut text = Vec::new();
    for origin in Origin::ALL {
        if !Presence::of(origin).is_there() {
            continue;
        }
        let saved = xtables::save(&tools, origin, Limits::default())
            .map_err(|error| Failure::input(error.to_string(), error.remedy()))?;
        let mut err = std::io::stderr().lock();
        for warning in &saved.warnings {
            // Nobody may be listening there.
            let _ = writeln!(err, "ruletop: {origin}: {warning}");
        }
        text.extend(saved.bytes);
    }
    // Each dump's own header tells its family and back end.
    Document::parse(text, Hints::default())
        .map_err(|error| Failure::input(format!("what the save tools printed is odd: {error}"), ""))
}
