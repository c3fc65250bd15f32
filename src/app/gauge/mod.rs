//! The conntrack gauge: how full the connection table is, how fast it fills, and whether packets are
//! already being lost to it.
//!
//! Readings are handed in with their time ([`Gauge::push`]); everything else is arithmetic over the
//! last few of them. The growth is smoothed, so that the "full in" that is drawn from it does not
//! jump with every tick. A counter that goes backwards (a 32-bit wrap, another namespace, a reloaded
//! module) starts again: never a negative or a huge rate.
//!
//! The gauge worries for two reasons: the table is filling up, and counters that should stand still
//! are moving. It goes on worrying for [`GRUDGE`] after they stopped, so that a drop now and then is
//! seen by somebody who blinks.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::flow::{ConntrackReading, ConntrackState, ConntrackStats};

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

/// Why to worry. Its [`fmt::Display`] is a few words for the screen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// No entry is left.
    Full,
    /// Packets are dropped for want of an entry: so many a second, zero if it just stopped.
    Drops(f64),
    /// Entries are thrown out early to make room.
    EarlyDrops(f64),
    /// That share of the table is in use, above a threshold.
    Filling(f64),
    /// It will be full in so long.
    FullSoon(Duration),
    /// Insertions fail: two packets raced for one entry or NAT port.
    InsertFailed(f64),
}

impl Reason {
    /// How much this one weighs.
    fn level(self, thresholds: Thresholds) -> Level {
        match self {
            Self::Full | Self::Drops(_) | Self::EarlyDrops(_) => Level::Red,
            Self::Filling(share) if share >= thresholds.red => Level::Red,
            Self::Filling(_) | Self::FullSoon(_) | Self::InsertFailed(_) => Level::Amber,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("table full"),
            Self::Drops(rate) => moving(f, "dropping", *rate),
            Self::EarlyDrops(rate) => moving(f, "early drops", *rate),
            Self::Filling(share) => write!(f, "{:.0} % full", share * 100.0),
            Self::FullSoon(left) => write!(f, "full in {} s", left.as_secs()),
            Self::InsertFailed(rate) => moving(f, "insert failed", *rate),
        }
    }
}

/// A counter that moved a moment ago has no rate any more, but is still worth a word.
fn moving(f: &mut fmt::Formatter<'_>, what: &str, rate: f64) -> fmt::Result {
    if rate > 0.0 {
        write!(f, "{what} {rate:.0}/s")
    } else {
        write!(f, "{what} a moment ago")
    }
}

/// Growth of the event counters, per second, between the last two readings; `None` where the kernel
/// has no such counter, where it went backwards, or where there is nothing to compare with.
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
    /// When [`Self::state`] was read, if it is live.
    at: Option<Duration>,
    slope: Slope,
    rates: StatRates,
    /// When each counter that should stand still last moved: drop, early drop, insert failed.
    moved: [Option<Duration>; 3],
    history: VecDeque<u64>,
    /// Which [`Gauge::STEP`] the last point of the history stands for.
    step: u64,
}

/// How long a counter that moved is held against the table.
pub const GRUDGE: Duration = Duration::from_secs(10);
/// Full sooner than this is a reason to worry.
const SOON: Duration = Duration::from_secs(300);
/// Fuller than this in the far future is not worth a number.
const TODAY: Duration = Duration::from_secs(86_400);
/// Points of history: five minutes.
const POINTS: usize = 150;
/// Readings closer together than this say nothing about growth.
const TOO_CLOSE: Duration = Duration::from_millis(50);

impl Gauge {
    /// Time that one point of [`Self::history`] stands for.
    pub const STEP: Duration = Duration::from_secs(2);

    /// A gauge that has seen nothing.
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            ..Self::default()
        }
    }

    /// Takes in what a look at `now` brought: a state, or the words of an error.
    pub fn push(&mut self, now: Duration, seen: Result<ConntrackState, String>) {
        let reading = match seen {
            Ok(ConntrackState::Present(reading)) => reading,
            Ok(ConntrackState::Absent) => return self.lose(GaugeState::Absent),
            Err(words) => return self.lose(GaugeState::Failed(words)),
        };
        if let (GaugeState::Live(before), Some(at)) = (&self.state, self.at) {
            let passed = now.saturating_sub(at);
            if passed < TOO_CLOSE {
                // Keep the older one to compare with; show the newer.
                self.remember(now, reading.count);
                if let GaugeState::Live(before) = &mut self.state {
                    before.count = reading.count;
                }
                return;
            }
            let grown = reading.count as f64 - before.count as f64;
            self.slope.add(grown / passed.as_secs_f64(), passed);
            self.rates = StatRates::between(before, &reading, passed);
            let moving = [
                self.rates.drop,
                self.rates.early_drop,
                self.rates.insert_failed,
            ];
            for (moved, rate) in self.moved.iter_mut().zip(moving) {
                if rate.is_some_and(|rate| rate > 0.0) {
                    *moved = Some(now);
                }
            }
        }
        self.remember(now, reading.count);
        self.at = Some(now);
        self.state = GaugeState::Live(reading);
    }

    /// There is nothing to compare the next reading with; the history stays to be seen.
    fn lose(&mut self, state: GaugeState) {
        self.state = state;
        self.at = None;
        self.slope = Slope::default();
        self.rates = StatRates::default();
        self.moved = [None; 3];
    }

    /// The highest count of each step; steps without a reading repeat the one before.
    fn remember(&mut self, now: Duration, count: u64) {
        let step = now.as_secs() / Self::STEP.as_secs().max(1);
        let last = self.history.back().copied();
        match (last, step.checked_sub(self.step)) {
            (Some(_), None | Some(0)) => {
                if let Some(point) = self.history.back_mut() {
                    *point = count.max(*point);
                }
            }
            (Some(last), Some(passed)) => {
                let gap = usize::try_from(passed - 1).unwrap_or(POINTS).min(POINTS);
                self.history.extend(std::iter::repeat_n(last, gap));
                self.history.push_back(count);
                self.step = step;
            }
            (None, _) => {
                self.history.push_back(count);
                self.step = step;
            }
        }
        let excess = self.history.len().saturating_sub(POINTS);
        self.history.drain(..excess);
    }

    /// The last look.
    pub fn state(&self) -> &GaugeState {
        &self.state
    }

    /// The last reading, if there is conntrack and it could be read.
    pub fn reading(&self) -> Option<&ConntrackReading> {
        match &self.state {
            GaugeState::Live(reading) => Some(reading),
            _ => None,
        }
    }

    /// Share of the table in use, 0 to 1 (more if the bound was lowered); `None` without a bound.
    pub fn fill(&self) -> Option<f64> {
        let reading = self.reading().filter(|reading| reading.max > 0)?;
        Some(reading.count as f64 / reading.max as f64)
    }

    /// Entries per hash bucket.
    pub fn load(&self) -> Option<f64> {
        let reading = self.reading()?;
        let buckets = reading.buckets.filter(|buckets| *buckets > 0)?;
        Some(reading.count as f64 / buckets as f64)
    }

    /// Entries per second, smoothed; negative when it empties.
    pub fn growth(&self) -> Option<f64> {
        self.slope.value()
    }

    /// Time until the table is full at that growth; `None` when it is not filling, or not today.
    pub fn full_in(&self) -> Option<Duration> {
        let reading = self.reading().filter(|reading| reading.max > 0)?;
        let left = reading.max.saturating_sub(reading.count);
        if left == 0 {
            return Some(Duration::ZERO);
        }
        let growth = self.growth().filter(|growth| *growth > 0.0)?;
        let seconds = left as f64 / growth;
        (seconds < TODAY.as_secs_f64()).then(|| Duration::from_secs_f64(seconds))
    }

    /// Event counters per second.
    pub fn rates(&self) -> StatRates {
        self.rates
    }

    /// How much to worry.
    pub fn level(&self) -> Level {
        let levels = self.reasons().into_iter();
        let levels = levels.map(|reason| reason.level(self.thresholds));
        levels.max().unwrap_or_default()
    }

    /// Why, worst first; empty when calm.
    pub fn reasons(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let Some(now) = self.at else { return reasons };
        let fill = self.fill();
        if fill.is_some_and(|fill| fill >= 1.0) {
            reasons.push(Reason::Full);
        }
        let recently = |at: Option<Duration>| at.is_some_and(|at| now.saturating_sub(at) < GRUDGE);
        let [drop, early, insert] = self.moved.map(recently);
        if drop {
            reasons.push(Reason::Drops(self.rates.drop.unwrap_or(0.0)));
        }
        if early {
            reasons.push(Reason::EarlyDrops(self.rates.early_drop.unwrap_or(0.0)));
        }
        if let Some(fill) = fill.filter(|fill| (self.thresholds.amber..1.0).contains(fill)) {
            reasons.push(Reason::Filling(fill));
        }
        if let Some(left) = self
            .full_in()
            .filter(|left| !left.is_zero() && *left < SOON)
        {
            reasons.push(Reason::FullSoon(left));
        }
        if insert {
            reasons.push(Reason::InsertFailed(
                self.rates.insert_failed.unwrap_or(0.0),
            ));
        }
        reasons
    }

    /// Entry counts of the last five minutes for a sparkline, oldest first, one per [`Self::STEP`]:
    /// the highest of its readings.
    pub fn history(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.history.iter().copied()
    }
}

impl StatRates {
    fn between(before: &ConntrackReading, after: &ConntrackReading, passed: Duration) -> Self {
        let (Some(before), Some(after)) = (&before.stats, &after.stats) else {
            return Self::default();
        };
        let rate = |field: fn(&ConntrackStats) -> Option<u64>| {
            let grown = field(after)?.checked_sub(field(before)?)?;
            Some(grown as f64 / passed.as_secs_f64())
        };
        Self {
            drop: rate(|stats| stats.drop),
            early_drop: rate(|stats| stats.early_drop),
            insert_failed: rate(|stats| stats.insert_failed),
            search_restart: rate(|stats| stats.search_restart),
            invalid: rate(|stats| stats.invalid),
        }
    }
}

/// An exponentially weighted mean of slopes with a time constant of five seconds. The weights that
/// were really given are kept beside the sum, so that the first few readings are not drawn to zero.
#[derive(Clone, Copy, Debug, Default)]
struct Slope {
    sum: f64,
    weight: f64,
}

impl Slope {
    const TIME_CONSTANT: f64 = 5.0;

    fn add(&mut self, slope: f64, passed: Duration) {
        let fade = (-passed.as_secs_f64() / Self::TIME_CONSTANT).exp();
        self.sum = self.sum * fade + slope * (1.0 - fade);
        self.weight = self.weight * fade + (1.0 - fade);
    }

    fn value(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

#[cfg(test)]
mod tests;
