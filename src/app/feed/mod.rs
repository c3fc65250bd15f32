//! The drop feed: the last lines that the firewall wrote, raw and grouped.
//!
//! One line of a flood says nothing; "41/s from 203.0.113.9 to port 443" says everything. So every
//! line goes to two places: a ring of the last [`Limits::lines`], and a group of lines that share
//! source, destination port, protocol, prefix and interface, which has a count and a rate. Both are
//! bounded, whatever a scanner does: the ring forgets its oldest, the groups their coldest, and
//! [`Totals`] says how many went.
//!
//! Pausing freezes what is shown, not what is kept. The filter ([`Filter`]) chooses what is shown, not
//! what is kept. Times are handed in; the order of everything shown is a function of what was pushed,
//! so two runs over the same lines look the same.

mod filter;
mod group;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub use filter::Filter;
pub use group::{EventKey, FlowKey, GroupKey, GroupRow, Port};

use crate::flow::{Batch, KernelLine};

/// Bounds of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Lines kept.
    pub lines: usize,
    /// Groups kept.
    pub groups: usize,
}

impl Default for Limits {
    /// 10,000 lines (some 6 MB) and 2,048 groups.
    fn default() -> Self {
        Self {
            lines: 10_000,
            groups: 2_048,
        }
    }
}

/// A moment on the caller's clock, in milliseconds from its zero; history lies before zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    /// From the caller's time.
    pub fn at(now: Duration) -> Self {
        Self(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
    }

    /// How long ago that was.
    pub fn ago(self, now: Duration) -> Duration {
        let ms = Self::at(now).0.saturating_sub(self.0);
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }
}

/// One line of the ring.
#[derive(Clone, Debug)]
pub struct FeedLine {
    /// Counts every line ever pushed, from zero: an identity for the selection.
    pub number: u64,
    /// When it was written.
    pub seen: Moment,
    /// The line.
    pub line: Arc<KernelLine>,
}

/// What the feed has seen, and what it had to leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Lines pushed since the start, history included.
    pub lines: u64,
    /// Of those, lines written in the last minute.
    pub last_minute: u64,
    /// Groups that had a line in the last minute.
    pub groups_last_minute: usize,
    /// Records that never reached us ([`Batch::lost`]).
    pub lost: u64,
    /// Lines that the kernel says it did not write (`callbacks suppressed`).
    pub suppressed: u64,
    /// Lines that arrived cut short.
    pub truncated: u64,
    /// Lines that arrived garbled; they are in the raw view and in no group.
    pub damaged: u64,
    /// Groups thrown out to stay within bounds, and the lines they counted.
    pub evicted_groups: u64,
    /// See `evicted_groups`.
    pub evicted_lines: u64,
}

/// The feed.
#[derive(Debug, Default)]
pub struct Feed {
    limits: Limits,
    ring: VecDeque<FeedLine>,
    filter: Filter,
}

impl Feed {
    /// An empty feed.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes in what a source handed over at `now`.
    pub fn push(&mut self, now: Duration, batch: Batch) {
        let _ = (now, batch, self.limits);
    }

    /// The groups that pass the filter: highest rate first, then latest, then a fixed order.
    pub fn groups(&self, now: Duration) -> Vec<GroupRow> {
        let _ = now;
        Vec::new()
    }

    /// The lines that pass the filter, oldest first; `.rev()` for newest first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &FeedLine> {
        self.ring.iter().filter(|l| self.filter.accepts(&l.line))
    }

    /// What was seen and what was left out, at `now`.
    pub fn totals(&self, now: Duration) -> Totals {
        let _ = now;
        Totals::default()
    }

    /// Shows only what `filter` accepts, from now on.
    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = filter;
    }

    /// The filter in force.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Freezes what [`Self::groups`] and [`Self::lines`] show. Lines go on being kept.
    pub fn pause(&mut self, now: Duration) {
        let _ = now;
    }

    /// Shows the present again.
    pub fn resume(&mut self) {}

    /// When it was paused.
    pub fn paused_at(&self) -> Option<Duration> {
        None
    }

    /// Lines that came while paused.
    pub fn behind(&self) -> u64 {
        0
    }

    /// Changes whenever [`Self::groups`] or [`Self::lines`] would show something else for another
    /// reason than time passing.
    pub fn version(&self) -> u64 {
        0
    }

    /// Time passing alone still changes what is shown: some rate is not yet back to zero. While this
    /// holds, draw again in about a second; when it does not, nothing needs to be drawn.
    pub fn is_moving(&self, now: Duration) -> bool {
        let _ = now;
        false
    }
}
