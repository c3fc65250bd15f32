//! Saving for the next boot, and the history: each on a thread of its own, told to the loop by messages.
//!
//! The plan that was shown is kept here until it is written: what the user said yes to is what is written.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::Changes;
use crate::app::history::{Locked, Past, PastState};
use crate::app::keep::{Difference, KeptFile, Look};
use crate::app::message::Message;
use crate::netfilter::xtables::Tools;
use crate::ruleset::Origin;
use crate::runtime::board::Event;
use crate::safety::backup::{self, BackupError};
use crate::safety::keep::{KeepError, Plan, Wish, keep, look};
use crate::safety::{self, Entry, Places};

/// The plan that was shown last, with the number of its question.
pub(super) type Shown = Arc<Mutex<Option<(u64, Plan)>>>;

/// A root folder with a place for saved rules, beside the state of the demo.
pub(super) fn demo_root(places: &Places) -> PathBuf {
    let root = places.state.with_file_name("machine");
    // Where it cannot be made, no place is found, and the dialog says so.
    let _ = std::fs::create_dir_all(root.join("usr/share/netfilter-persistent"));
    root
}

impl Changes {
    /// Compares what is saved with what is live.
    pub(super) fn look_at_saved(&self, asked: Look) {
        let (places, shown) = (self.places.clone(), Arc::clone(&self.shown));
        let root = self.root.clone();
        self.answer("keep", move || {
            let wish = Wish {
                root,
                without_runtime: asked.without_runtime,
                prefer: asked.prefer,
                ..Wish::new()
            };
            let found = look(&wish, &places, &Tools::find());
            let found = found.map_err(|error| words(&error)).map(|plan| {
                let difference = difference(&plan);
                *shown.lock().unwrap_or_else(PoisonError::into_inner) = Some((asked.number, plan));
                difference
            });
            Message::SavedSeen(asked.number, found)
        });
    }

    /// Writes what was shown for that question.
    pub(super) fn write_saved(&self, number: u64) {
        let (places, shown) = (self.places.clone(), Arc::clone(&self.shown));
        self.answer("keep", move || {
            let plan = shown.lock().unwrap_or_else(PoisonError::into_inner).take();
            let done = match plan.filter(|(of, _)| *of == number) {
                Some((_, plan)) => keep(&plan, &places, &Tools::find()),
                None => Err(KeepError::Changed {
                    what: "the question".to_owned(),
                }),
            };
            let done = done.map_err(|error| words(&error));
            Message::SavedWritten(done.map(|paths| written(&paths)))
        });
    }

    /// Reads the trail.
    pub(super) fn read_history(&self) {
        let places = self.places.clone();
        self.answer("history", move || {
            let entries = safety::history(&places);
            let pending = safety::pending(&places).map(|view| view.id);
            Message::History(
                entries
                    .map(|entries| changes(&entries, pending.as_deref()))
                    .map_err(|error| format!("{error}: {}", error.remedy())),
            )
        });
    }

    /// Reads a backup.
    pub(super) fn read_backup(&self, id: String) {
        let places = self.places.clone();
        self.answer("history", move || {
            let found = past_state(&places, &id);
            Message::PastState(found.map_err(|error| format!("{error}: {}", error.remedy())))
        });
    }

    fn answer(&self, name: &str, find: impl FnOnce() -> Message + Send + 'static) {
        let events = self.events.clone();
        self.aside(name, move || drop(events.send(Event::Message(find()))));
    }
}

fn words(error: &KeepError) -> (String, String) {
    (error.to_string(), error.remedy())
}

fn written(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    format!("written for the next boot: {}", names.join(", "))
}

fn difference(plan: &Plan) -> Difference {
    let files = plan.files.iter().map(|file| KeptFile {
        name: format!("{} ({})", file.path.display(), file.origin),
        differs: file.differs,
        diff: file.diff.clone(),
        left_out: file.left_out.clone(),
        remarks: file.remarks.clone(),
    });
    Difference {
        place: plan.place.clone(),
        files: files.collect(),
    }
}

/// The trail by change, newest first.
fn changes(entries: &[Entry], pending: Option<&str>) -> Vec<Past> {
    let mut changes: Vec<Past> = Vec::new();
    for entry in entries {
        let found = changes.iter().rposition(|past| past.id == entry.id);
        let at = found.unwrap_or_else(|| {
            changes.push(Past {
                id: entry.id.clone(),
                when: entry.time.clone(),
                who: entry.who.to_string(),
                why: entry.why.clone(),
                backup: entry.backup.clone(),
                ..Past::default()
            });
            changes.len() - 1
        });
        let Some(past) = changes.get_mut(at) else {
            continue;
        };
        let by = entry.by.as_deref().unwrap_or("somebody");
        match entry.event {
            safety::Event::Applied if pending == Some(entry.id.as_str()) => {
                "pending".clone_into(&mut past.outcome);
            }
            safety::Event::Applied => "its end is not known".clone_into(&mut past.outcome),
            safety::Event::Extended => {}
            safety::Event::Confirmed => past.outcome = format!("confirmed by {by}"),
            safety::Event::Reverted => {
                past.outcome = format!("reverted by {by}");
                past.is_undone = true;
            }
            safety::Event::Failed => "failed".clone_into(&mut past.outcome),
        }
        past.lines.extend(entry.diff.iter().cloned());
        past.lines.extend(entry.detail.iter().cloned());
    }
    changes.reverse();
    changes
}

fn past_state(places: &Places, id: &str) -> Result<PastState, BackupError> {
    let backup = backup::load(places, id)?;
    let mut past = PastState {
        backup: id.to_owned(),
        ..PastState::default()
    };
    for origin in Origin::ALL {
        if backup.knows(origin) {
            past.rulesets.push((origin, backup.ruleset(origin)?));
        }
    }
    past.locked = (backup.manifest.lossy.iter())
        .map(|chain| Locked {
            origin: chain.origin.clone(),
            table: chain.table.clone(),
            chain: chain.chain.clone(),
            why: chain.why.clone(),
        })
        .collect();
    Ok(past)
}
