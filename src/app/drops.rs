//! The rows of the drop feed's pane: groups or single lines, with a cursor that stays on what it was
//! put on while rates push the rows about.

use std::time::Duration;

use crate::app::board::Cursor;
use crate::app::feed::{Feed, FeedLine, GroupKey, GroupRow};
use crate::flow::KernelLine;

/// One row of the pane.
#[derive(Clone, Debug)]
pub enum DropRow {
    /// Lines that share source, port, protocol and prefix.
    Group(Box<GroupRow>),
    /// One line.
    Line(FeedLine),
}

/// What makes a row the same one in the next frame.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Identity {
    Group(GroupKey),
    Line(u64),
}

impl DropRow {
    fn identity(&self) -> Identity {
        match self {
            Self::Group(group) => Identity::Group(group.key.clone()),
            Self::Line(line) => Identity::Line(line.number),
        }
    }

    /// The line itself, or the latest of the group.
    pub fn line(&self) -> &KernelLine {
        match self {
            Self::Group(group) => &group.sample,
            Self::Line(line) => &line.line,
        }
    }
}

/// What the pane shows.
#[derive(Debug, Default)]
pub struct DropPane {
    /// Single lines instead of groups.
    pub raw: bool,
    /// The rows, as of the last look.
    pub rows: Vec<DropRow>,
    /// Place in the rows.
    pub cursor: Cursor,
    held: Option<Identity>,
    seen: Option<u64>,
}

impl DropPane {
    /// Takes the rows anew where the feed has changed. True when it had.
    pub fn look(&mut self, feed: &Feed, now: Duration, height: usize) -> bool {
        let version = feed.version();
        if self.seen == Some(version) && !feed.is_moving(now) {
            return false;
        }
        self.seen = Some(version);
        self.take(feed, now, height);
        true
    }

    /// Takes the rows anew.
    pub fn take(&mut self, feed: &Feed, now: Duration, height: usize) {
        self.rows = if self.raw {
            feed.lines().rev().cloned().map(DropRow::Line).collect()
        } else {
            feed.groups(now)
                .into_iter()
                .map(|g| DropRow::Group(Box::new(g)))
                .collect()
        };
        let held = self.held.as_ref();
        let at = held.and_then(|held| self.rows.iter().position(|row| row.identity() == *held));
        self.cursor
            .go(at.unwrap_or(self.cursor.at), self.rows.len(), height);
        if held.is_some() && at.is_none() {
            self.held = None;
        }
    }

    /// Groups, or single lines.
    pub fn toggle(&mut self) {
        self.raw = !self.raw;
        self.forget();
    }

    /// Nothing of what was shown counts any more.
    pub fn forget(&mut self) {
        self.cursor = Cursor::default();
        self.held = None;
        self.seen = None;
    }

    /// Moves the cursor; on the first row it follows whatever stands there.
    pub fn go(&mut self, at: usize, height: usize) {
        self.cursor.go(at, self.rows.len(), height);
        self.held = match self.cursor.at {
            0 => None,
            at => self.rows.get(at).map(DropRow::identity),
        };
    }

    /// The row under the cursor.
    pub fn selected(&self) -> Option<&DropRow> {
        self.rows.get(self.cursor.at)
    }
}
