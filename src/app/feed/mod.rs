//! The drop feed: the last lines that the firewall wrote, raw and grouped.
//!
//! One line of a flood says nothing; "41/s from 203.0.113.9 to port 443" says everything. So every
//! line goes to two places: a ring of the last [`Limits::lines`], and a group of lines that share
//! source, destination port, protocol, prefix and interface, which has a count and a rate. Both are
//! bounded, whatever a scanner does: the ring forgets its oldest, the groups their coldest, and
//! [`Totals`] says how many went.
//!
//! Pausing freezes what is shown, not what is kept. The filter ([`Filter`]) chooses what is shown, not
//! what is kept; of a group it judges the latest line, which has the fields that the group shares.
//! Times are handed in; the order of everything shown is a function of what was pushed, so two runs
//! over the same lines look the same.

mod filter;
mod group;
mod window;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub use filter::Filter;
pub use group::{EventKey, FlowKey, GroupKey, GroupRow, Port};

use self::group::Groups;
use self::window::Window;
use crate::flow::{Batch, Body, Condition, KernelLine};

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

    /// That long before.
    #[must_use]
    pub fn before(self, age: Duration) -> Self {
        Self(self.0.saturating_sub(Self::at(age).0))
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
    /// Groups thrown out to stay within bounds.
    pub evicted_groups: u64,
    /// The lines that those had counted.
    pub evicted_lines: u64,
}

/// What was shown when the feed was paused.
#[derive(Debug)]
struct Frozen {
    at: Duration,
    rows: Vec<GroupRow>,
    ring: VecDeque<FeedLine>,
}

/// The feed.
#[derive(Debug, Default)]
pub struct Feed {
    limits: Limits,
    ring: VecDeque<FeedLine>,
    groups: Groups,
    filter: Filter,
    frozen: Option<Frozen>,
    totals: Totals,
    minute: Window<60, 1_000>,
    latest: Option<Moment>,
    version: u64,
}

const MINUTE: Duration = Duration::from_secs(60);

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
        if batch.lines.is_empty() && batch.lost == 0 {
            return;
        }
        self.version += 1;
        self.totals.lost = self.totals.lost.saturating_add(batch.lost);
        let now = Moment::at(now);
        for line in batch.lines {
            self.add(now, line);
        }
    }

    fn add(&mut self, now: Moment, line: KernelLine) {
        let seen = now.before(line.age);
        let condition = line.log().map_or(Condition::Whole, |log| log.condition);
        self.totals.truncated += u64::from(condition == Condition::Truncated);
        self.totals.damaged += u64::from(condition == Condition::Damaged);
        if let Body::Suppressed(held) = &line.body {
            self.totals.suppressed = self.totals.suppressed.saturating_add(held.count);
        }
        self.minute.add(seen, 1);
        self.latest = self.latest.max(Some(seen));
        let line = Arc::new(line);
        self.groups.add(seen, now, &line, self.limits.groups);
        while self.ring.len() >= self.limits.lines.max(1) {
            self.ring.pop_front();
        }
        self.ring.push_back(FeedLine {
            number: self.totals.lines,
            seen,
            line,
        });
        self.totals.lines += 1;
    }

    /// The groups that pass the filter: highest rate first, then latest, then a fixed order.
    pub fn groups(&self, now: Duration) -> Vec<GroupRow> {
        let mut rows = match &self.frozen {
            Some(frozen) => frozen.rows.clone(),
            None => self.groups.rows(Moment::at(now)),
        };
        if !self.filter.is_empty() {
            rows.retain(|row| self.filter.accepts(&row.sample));
        }
        rows
    }

    /// The lines that pass the filter, oldest first; `.rev()` for newest first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &FeedLine> {
        let ring = self.frozen.as_ref().map_or(&self.ring, |f| &f.ring);
        ring.iter().filter(|shown| self.filter.accepts(&shown.line))
    }

    /// What was seen and what was left out, at `now`; pausing does not stop it.
    pub fn totals(&self, now: Duration) -> Totals {
        let now = Moment::at(now);
        Totals {
            last_minute: self.minute.count(now),
            groups_last_minute: self.groups.active(now.before(MINUTE)),
            evicted_groups: self.groups.evicted.0,
            evicted_lines: self.groups.evicted.1,
            ..self.totals
        }
    }

    /// Shows only what `filter` accepts, from now on.
    pub fn set_filter(&mut self, filter: Filter) {
        self.version += 1;
        self.filter = filter;
    }

    /// The filter in force.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Freezes what [`Self::groups`] and [`Self::lines`] show. Lines go on being kept.
    pub fn pause(&mut self, now: Duration) {
        if self.frozen.is_none() {
            self.version += 1;
            self.frozen = Some(Frozen {
                at: now,
                rows: self.groups.rows(Moment::at(now)),
                ring: self.ring.clone(),
            });
        }
    }

    /// Shows the present again.
    pub fn resume(&mut self) {
        self.version += 1;
        self.frozen = None;
    }

    /// When it was paused.
    pub fn paused_at(&self) -> Option<Duration> {
        self.frozen.as_ref().map(|frozen| frozen.at)
    }

    /// Lines that came while paused.
    pub fn behind(&self) -> u64 {
        let Some(frozen) = &self.frozen else { return 0 };
        let shown = frozen.ring.back().map_or(0, |last| last.number + 1);
        self.totals.lines - shown
    }

    /// Changes whenever something is shown differently for another reason than time passing.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Time passing alone still changes what is shown: a line of the last minute will be one no more.
    /// While this holds, draw again in about a second; when it does not, nothing needs to be drawn.
    pub fn is_moving(&self, now: Duration) -> bool {
        let seen = |latest: Moment| latest.ago(now) <= MINUTE + Duration::from_secs(1);
        self.frozen.is_none() && self.latest.is_some_and(seen)
    }
}

#[cfg(test)]
mod tests;
