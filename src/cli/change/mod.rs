//! The commands that change the firewall, or undo a change: `apply`, `restore`, `confirm`, `revert`, and those
//! that look: `status`, `backup`; and `keep`, which saves it for the next boot.
//!
//! All of them are thin: what may be done and when is `safety`'s.

pub mod apply;
pub mod ask;
pub mod backup;
pub mod keep;
pub mod pending;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::Failure;
use crate::host;
use crate::safety::backup::BackupError;
use crate::safety::{ApplyError, DecideError, Places};

/// Where safety keeps its things.
#[derive(Debug, Args)]
#[allow(clippy::struct_field_names)] // the fields are the options
pub struct Folders {
    /// Keep the pending change here instead of under /run/ruletop
    #[arg(long, value_name = "FOLDER", hide_short_help = true, global = true)]
    state_folder: Option<PathBuf>,
    /// Keep backups here instead of in /var/backups/ruletop
    #[arg(long, value_name = "FOLDER", hide_short_help = true, global = true)]
    backup_folder: Option<PathBuf>,
    /// Keep the audit trail here instead of in /var/log/ruletop
    #[arg(long, value_name = "FOLDER", hide_short_help = true, global = true)]
    log_folder: Option<PathBuf>,
}

impl Folders {
    /// The folders, absolute.
    pub fn places(&self) -> Places {
        let usual = Places::of_this_namespace();
        let absolute = |given: &Option<PathBuf>, usual: PathBuf| {
            given.as_ref().map_or(usual, |given| {
                std::path::absolute(given).unwrap_or_else(|_| given.clone())
            })
        };
        Places {
            state: absolute(&self.state_folder, usual.state),
            backups: absolute(&self.backup_folder, usual.backups),
            log: absolute(&self.log_folder, usual.log),
            data: usual.data,
        }
    }
}

/// Only root may change the firewall, or decide about a change.
fn need_privilege(what: &str) -> Result<(), Failure> {
    if host::may_read_firewall() {
        return Ok(());
    }
    Err(Failure::privilege(
        format!("{what} takes CAP_NET_ADMIN, which this process lacks"),
        "run it as root (sudo ruletop …)",
    ))
}

/// A change that was not made: 4, unless privilege or the input is to blame.
fn not_applied(error: &ApplyError) -> Failure {
    let (what, remedy) = (error.to_string(), error.remedy());
    match error {
        ApplyError::Tool {
            privilege: true, ..
        } => Failure::privilege(what, remedy),
        _ => Failure::change(what, remedy),
    }
}

fn not_decided(error: &DecideError) -> Failure {
    Failure::change(error.to_string(), error.remedy())
}

fn no_backup(error: &BackupError) -> Failure {
    match error {
        BackupError::Missing { .. } | BackupError::Damaged { .. } => {
            Failure::input(error.to_string(), error.remedy())
        }
        _ => Failure::change(error.to_string(), error.remedy()),
    }
}

/// A window to confirm within: `60s`, `2m`; from a tenth of a second to a day.
fn window(text: &str) -> Result<Duration, String> {
    let expected = "expected a time such as 60s or 5m, from 100ms to 24h";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| expected.to_owned())?;
    let unit = text.strip_prefix(digits).unwrap_or_default();
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" | "" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    match milliseconds {
        Some(ms @ 100..=86_400_000) => Ok(Duration::from_millis(ms)),
        _ => Err(expected.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_units_and_bounds() {
        assert_eq!(window("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(window("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(window("90"), Ok(Duration::from_secs(90)));
        for bad in [
            "",
            "0",
            "0s",
            "25h",
            "5d",
            "-1s",
            "s",
            "1.5s",
            "99999999999999999999s",
        ] {
            assert!(window(bad).is_err(), "{bad}");
        }
    }
}
