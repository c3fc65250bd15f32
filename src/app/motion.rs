//! One counter in motion: its rate, and the heat that fades after it rose.
//!
//! Heat has three steps and no more: each one repaints the row, and bytes count on a slow link.

use std::time::Duration;

use crate::ruleset::Counters;

/// Growth per second between the last two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Packets per second.
    pub packets: f64,
    /// Bytes per second.
    pub bytes: f64,
}

impl Rate {
    fn of(delta: Counters, elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs_f64();
        if seconds <= 0.0 {
            return Self::default();
        }
        Self {
            packets: delta.packets as f64 / seconds,
            bytes: delta.bytes as f64 / seconds,
        }
    }

    /// Something moved.
    pub fn moves(self) -> bool {
        self.packets > 0.0
    }

    pub(super) fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// What the drawing needs to know of one counter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Track {
    pub(super) rate: Rate,
    /// When the counter last rose.
    pub(super) risen: Option<Duration>,
    /// It went backwards: somebody zeroed it.
    pub(super) reset: bool,
}

/// How bright a row is: it rose in the last reading, lately, or a while ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heat {
    /// Calm.
    #[default]
    Cold,
    /// Rose some seconds ago.
    Fading,
    /// Rose a moment ago.
    Warm,
    /// Rises now.
    Hot,
}

/// Ends of the steps, on top of the refresh interval: two steps, since each one repaints the row.
const WARM_AFTER: Duration = Duration::from_millis(600);
const FADING_AFTER: Duration = Duration::from_millis(2_600);
const COLD_AFTER: Duration = Duration::from_millis(6_600);

/// What one reading did to a counter.
pub(super) struct Rise {
    /// Its new rate.
    pub(super) rate: Rate,
    /// The number or the rate is another one.
    pub(super) changed: bool,
}

/// Moves one counter to its new value.
pub(super) fn step(
    track: &mut Track,
    counter: &mut Counters,
    new: Counters,
    at: Duration,
    elapsed: Option<Duration>,
) -> Rise {
    let was = track.rate;
    let changed = *counter != new;
    match new.since(*counter) {
        None => {
            track.reset = true;
            track.rate = Rate::default();
        }
        Some(delta) => {
            track.rate = match elapsed {
                // The first reading after a load has the dump's own numbers to go by, but no interval.
                None => Rate::default(),
                Some(elapsed) => Rate::of(delta, elapsed),
            };
            if delta.packets > 0 && elapsed.is_some() {
                track.risen = Some(at);
            }
        }
    }
    *counter = new;
    Rise {
        rate: track.rate,
        changed: changed || track.rate != was,
    }
}

pub(super) fn since(now: Counters, baseline: Option<Counters>) -> Counters {
    // Below the view's zero the kernel's counter was zeroed: it counts from there itself.
    baseline.and_then(|b| now.since(b)).unwrap_or(now)
}

pub(super) fn heat(risen: Option<Duration>, now: Duration, interval: Duration) -> Heat {
    let Some(risen) = risen else {
        return Heat::Cold;
    };
    let age = now.saturating_sub(risen);
    match age {
        _ if age < interval + WARM_AFTER => Heat::Hot,
        _ if age < interval + FADING_AFTER => Heat::Warm,
        _ if age < interval + COLD_AFTER => Heat::Fading,
        _ => Heat::Cold,
    }
}

pub(super) fn next_step(risen: Duration, now: Duration, interval: Duration) -> Option<Duration> {
    [WARM_AFTER, FADING_AFTER, COLD_AFTER]
        .into_iter()
        .map(|step| risen + interval + step)
        .find(|at| *at > now)
}
