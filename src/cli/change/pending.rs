//! `ruletop status`, `ruletop confirm`, `ruletop revert`: the pending change, from any login.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{Folders, ask, need_privilege, not_decided};
use crate::cli::{Failure, print};
use crate::safety::{
    self, DecideError, Ended, Entry, PendingView, Phase, Who, confirm, history, pending, revert,
    wait_for_end,
};
use crate::ui::words;

/// What to look at.
#[derive(Debug, Args)]
pub struct Status {
    /// One JSON document
    #[arg(long)]
    json: bool,
    /// The changes of the past instead, newest last
    #[arg(long)]
    history: bool,
    #[command(flatten)]
    folders: Folders,
}

/// Which change to decide about.
#[derive(Debug, Args)]
pub struct Decide {
    /// Only if it is this change
    id: Option<String>,
    #[command(flatten)]
    folders: Folders,
}

#[derive(serde::Serialize)]
struct Document<'a> {
    schema: &'static str,
    pending: Option<&'a PendingView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<&'a [Entry]>,
}

/// Tells what is pending.
pub fn status(status: &Status) -> Result<ExitCode, Failure> {
    let places = status.folders.places();
    let view = pending(&places);
    // Somebody may have killed its guards: whoever looks first puts another over it.
    let _ = safety::rescue(&places);
    let lines = if status.history {
        let read = history(&places);
        Some(read.map_err(|error| Failure::input(error.to_string(), error.remedy()))?)
    } else {
        None
    };
    if status.json {
        let document = Document {
            schema: "ruletop.status/1",
            pending: view.as_ref(),
            history: lines.as_deref(),
        };
        let mut json = serde_json::to_vec(&document)
            .map_err(|error| Failure::input(format!("cannot write JSON: {error}"), ""))?;
        json.push(b'\n');
        return print(&json);
    }
    match lines {
        Some(lines) => print(past(&lines).as_bytes()),
        None => match safety::damage(&places).filter(|_| view.is_none()) {
            Some(path) => {
                let damaged = DecideError::Damaged { path };
                print(format!("{damaged}\n  {}\n", damaged.remedy()).as_bytes())
            }
            None => print(present(view.as_ref()).as_bytes()),
        },
    }
}

/// The pending change stays.
pub fn confirm_it(decide: &Decide) -> Result<ExitCode, Failure> {
    need_privilege("confirming a change")?;
    let places = decide.folders.places();
    let id = confirm(&places, decide.id.as_deref(), &Who::here())
        .map_err(|error| not_decided(&error))?;
    // It stays from here on; the guard only clears up.
    if let Ended::Known(entry) = wait_for_end(&places, &id, Duration::from_secs(10)) {
        let detail = entry.detail.map(|detail| format!("; {detail}"));
        let detail = detail.unwrap_or_default();
        let line = format!("confirmed {id}; the backup is {}{detail}\n", entry.backup);
        return print(line.as_bytes());
    }
    print(format!("confirmed {id}\n").as_bytes())
}

/// The pending change is undone.
pub fn revert_it(decide: &Decide) -> Result<ExitCode, Failure> {
    need_privilege("undoing a change")?;
    let places = decide.folders.places();
    let id =
        revert(&places, decide.id.as_deref(), &Who::here()).map_err(|error| not_decided(&error))?;
    // What was asked for is the undoing, so that it happened is success.
    match wait_for_end(&places, &id, Duration::from_secs(120)) {
        Ended::Known(entry) if entry.event == safety::Event::Reverted => {
            let how = entry
                .detail
                .as_deref()
                .unwrap_or("the firewall is as it was");
            print(format!("undone {id}; {how}\n").as_bytes())
        }
        _ => ask::ended(&places, &id),
    }
}

fn present(view: Option<&PendingView>) -> String {
    let Some(view) = view else {
        return "no change is pending\n".to_owned();
    };
    let mut out = String::new();
    let state = match view.phase {
        Phase::Applying => "is being applied".to_owned(),
        Phase::Pending => format!(
            "is undone in {} s unless it is confirmed",
            view.left.as_secs()
        ),
        Phase::Confirmed => "is confirmed".to_owned(),
        Phase::Reverting => "is being undone".to_owned(),
        Phase::Reverted => "is undone".to_owned(),
    };
    let _ = writeln!(out, "{} {state}", view.id);
    let _ = writeln!(
        out,
        "  by {} ({}), {}, backup {}",
        words::clean_str(&view.who.to_string()),
        words::clean_str(&view.why),
        view.began,
        view.backup
    );
    if let Some(trouble) = &view.trouble {
        let _ = writeln!(out, "  trouble: {}", words::clean_str(trouble));
    }
    if !view.guarded {
        let _ = writeln!(
            out,
            "  its guard was gone; another one is looking after it now"
        );
    }
    for line in &view.diff {
        let _ = writeln!(out, "  {}", words::clean_str(line));
    }
    if view.phase == Phase::Pending {
        out.push_str("ruletop confirm keeps it, ruletop revert undoes it now\n");
    }
    out
}

fn past(lines: &[Entry]) -> String {
    let mut out = String::new();
    for entry in lines {
        let event = serde_json::to_value(entry.event).unwrap_or_default();
        let _ = write!(
            out,
            "{} {} {} {}",
            entry.time,
            entry.id,
            event.as_str().unwrap_or_default(),
            words::clean_str(&entry.who.to_string())
        );
        if let Some(by) = &entry.by {
            let _ = write!(out, ", ended by {}", words::clean_str(by));
        }
        let _ = writeln!(
            out,
            " ({}, backup {})",
            words::clean_str(&entry.why),
            entry.backup
        );
        for line in entry.diff.iter().chain(&entry.detail) {
            let _ = writeln!(out, "    {}", words::clean_str(line));
        }
    }
    out
}
