//! The audit trail: one JSON line for everything that happened to a change, in a file that only grows.
//!
//! ```json
//! {"schema":"ruletop.change/1","time":"2026-01-31T23:59:59Z","id":"20260131-235959-1a2b","event":"applied",
//!  "who":{"user":"ann","acting_as":"root","tty":"/dev/pts/3","pid":812},"why":"the board","by":null,
//!  "origins":["iptables-nft"],"backup":"20260131-235958-77f0","diff":["filter INPUT - 3: -j DROP"],"detail":null}
//! ```
//!
//! `event` is `applied`, `confirmed`, `reverted`, `extended` or `failed`; `by` is who or what ended it. A line
//! that cannot be read (a disk that was full, an older version) is passed over, never an error.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::clock;
use super::places::{self, PlaceError, Places, at};
use super::record::Record;
use super::who::Who;

const SCHEMA: &str = "ruletop.change/1";

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// It is in the kernel and waits.
    Applied,
    /// It stays.
    Confirmed,
    /// It is undone.
    Reverted,
    /// It waits longer.
    Extended,
    /// It, or its undoing, failed; `detail` says how.
    Failed,
}

/// One line of the trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Shape of the line.
    pub schema: String,
    /// RFC 3339, UTC.
    pub time: String,
    /// Name of the change.
    pub id: String,
    /// What happened.
    pub event: Event,
    /// Who made the change.
    pub who: Who,
    /// What they made it with.
    pub why: String,
    /// Who or what ended or extended it.
    pub by: Option<String>,
    /// The rulesets, as their tools are called.
    pub origins: Vec<String>,
    /// The backup from before it.
    pub backup: String,
    /// The change in lines.
    pub diff: Vec<String>,
    /// Anything else worth knowing.
    pub detail: Option<String>,
}

impl Entry {
    pub(super) fn of(record: &Record, event: Event, detail: Option<String>) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            time: clock::now(),
            id: record.id.clone(),
            event,
            who: record.who.clone(),
            why: record.why.clone(),
            by: record.by.clone(),
            origins: record.origins.clone(),
            backup: record.backup.clone(),
            diff: if event == Event::Applied {
                record.diff.clone()
            } else {
                Vec::new()
            },
            detail,
        }
    }
}

fn file(places: &Places) -> PathBuf {
    places.log.join("changes.jsonl")
}

/// Whether a line could be written; makes the folder and the file.
pub(super) fn prepare(places: &Places) -> Result<(), PlaceError> {
    places::folder(&places.log)?;
    open(places).map(drop)
}

/// Adds a line and syncs it.
pub(super) fn add(places: &Places, entry: &Entry) -> Result<(), PlaceError> {
    let mut line = serde_json::to_vec(entry).unwrap_or_default();
    line.push(b'\n');
    let mut log = open(places)?;
    // One write of a file opened for appending: two writers do not mix their lines.
    log.write_all(&line)
        .and_then(|()| log.sync_data())
        .map_err(at("write", &file(places)))
}

fn open(places: &Places) -> Result<fs::File, PlaceError> {
    let path = file(places);
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .map_err(at("open", &path))
}

/// The trail, oldest line first; empty where there is none.
pub fn history(places: &Places) -> Result<Vec<Entry>, PlaceError> {
    let path = file(places);
    let text = places::if_there(fs::read(&path), &path)?.unwrap_or_default();
    Ok(text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn lines_are_added_and_odd_ones_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let places = Places::under(home.path());
        assert_eq!(history(&places).unwrap(), []);
        prepare(&places).unwrap();
        let record = Record::new("a-1".into(), Who::here(), "a test".into(), Duration::ZERO);
        let entry = Entry::of(&record, Event::Applied, None);
        add(&places, &entry).unwrap();
        let mut log = open(&places).unwrap();
        log.write_all(b"{\"schema\": cut sh\n\xff\n").unwrap();
        add(
            &places,
            &Entry::of(&record, Event::Reverted, Some("x".into())),
        )
        .unwrap();
        let events: Vec<Event> = history(&places).unwrap().iter().map(|e| e.event).collect();
        assert_eq!(events, [Event::Applied, Event::Reverted]);
    }
}
