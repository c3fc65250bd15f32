//! The end of a change: the audit line, the standby sent away, the files removed.
//!
//! In that order, each step being safe to die after: a record that says how it ended and has no guard is
//! cleared up by the next one who looks.

use std::process::ExitCode;

use super::Guard;
use crate::safety::backup;
use crate::safety::record::Phase;
use crate::safety::trail::{self, Entry, Event};

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

    /// An audit line. A trail that cannot be written any more must not keep the change from ending.
    pub(super) fn tell(&self, event: Event, detail: Option<String>) {
        let _ = trail::add(&self.places, &Entry::of(&self.record, event, detail));
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
