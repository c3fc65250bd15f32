//! The end of a change: the audit line, the standby sent away, the files removed.
//!
//! In that order, each step being safe to die after: a record that says how it ended and has no guard is
//! cleared up by the next one who looks.

use std::process::ExitCode;

use super::Guard;
use crate::safety::backup;
use crate::safety::record::Phase;
use crate::safety::trail::{self, Entry, Event};

/// What is said of an undoing of which nothing else is to be said.
const AS_IT_WAS: &str = "the firewall is as it was";

impl Guard {
    /// It stays.
    pub(super) fn confirmed(self) -> ExitCode {
        self.end(Event::Confirmed, None)
    }

    /// It is undone.
    pub(super) fn reverted(mut self, detail: Option<String>) -> ExitCode {
        self.record.phase = Phase::Reverted;
        let _ = self.save();
        self.end(Event::Reverted, detail)
    }

    fn end(mut self, event: Event, detail: Option<String>) -> ExitCode {
        self.tell(event, detail);
        self.vanish();
        ExitCode::SUCCESS
    }

    /// An audit line. A trail that cannot be written any more must not keep the change from ending: whoever waits
    /// for the end finds it in the state folder then, with a word about the trail. Returns that word.
    pub(super) fn tell(&self, event: Event, detail: Option<String>) -> Option<String> {
        let mut entry = Entry::of(&self.record, event, detail);
        let error = trail::add(&self.places, &entry).err()?;
        let warning = format!("warning: the audit trail lacks this, {error}");
        let told = match (entry.detail.take(), event) {
            (Some(detail), _) => detail,
            (None, Event::Reverted) => AS_IT_WAS.to_owned(),
            (None, _) => String::new(),
        };
        entry.detail = Some(if told.is_empty() {
            warning.clone()
        } else {
            format!("{told}; {warning}")
        });
        if event != Event::Applied {
            let _ = self.state.write_end(&entry);
        }
        Some(warning)
    }

    /// Leaves nothing but the backup and the audit lines.
    pub(super) fn vanish(&mut self) {
        if let Some(standby) = self.standby.take() {
            standby.end();
        }
        let _ = self.state.clear(&self.record.id);
        let _ = backup::prune(&self.places, self.keep, &[]);
    }
}
