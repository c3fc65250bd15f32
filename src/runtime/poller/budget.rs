//! How much may be done now: a share of one core, counted in the CPU time that was really used.
//!
//! A bucket that fills with time and is emptied by work. Work may begin whenever there is anything in it
//! and is charged afterwards, so one unit that costs more than the bucket holds is not refused: it is
//! paid off by waiting. That is what makes "5 % of a core" hold for a table that takes 100 ms to read.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use super::Budget;

/// A share of time, saved up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    share: f64,
    most: f64,
    seconds: f64,
    filled: Instant,
}

impl Bucket {
    /// Full; it holds what `share` of `window` gives.
    pub(super) fn new(share: f64, window: Duration, now: Instant) -> Self {
        let share = share.clamp(0.000_1, 1.0);
        let most = share * window.as_secs_f64();
        Self {
            share,
            most,
            seconds: most,
            filled: now,
        }
    }

    /// Adds what time has brought.
    pub(super) fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        self.seconds = (self.seconds + passed.as_secs_f64() * self.share).min(self.most);
        self.filled = now;
    }

    /// Whether work may begin.
    pub(super) fn is_open(&self) -> bool {
        self.seconds > 0.0
    }

    /// Charges for work that was done.
    pub(super) fn charge(&mut self, cost: Duration) {
        self.seconds -= cost.as_secs_f64();
    }

    /// How long until work may begin; zero when it may.
    pub(super) fn opens_in(&self) -> Duration {
        if self.is_open() {
            return Duration::ZERO;
        }
        // A thousandth more than nothing, so that it is open then.
        let wait = (self.most / 1000.0 - self.seconds) / self.share;
        Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX)
    }
}

/// The poller's money.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purse {
    /// For everything.
    pub(super) cap: Bucket,
    /// Of that, for chains that packets go through while nobody looks.
    pub(super) follow: Bucket,
    /// Of that, for chains in turn.
    pub(super) sweep: Bucket,
}

impl Purse {
    /// What a purse may save up.
    const WINDOW: Duration = Duration::from_secs(2);

    pub(super) fn new(budget: Budget, now: Instant) -> Self {
        let bucket = |share| Bucket::new(share, Self::WINDOW, now);
        Self {
            cap: bucket(budget.cap),
            // Half, so that the chain in view never waits for those that are not.
            follow: bucket(budget.cap / 2.0),
            sweep: bucket(budget.sweep),
        }
    }

    /// Adds what time has brought.
    pub(super) fn fill(&mut self, now: Instant) {
        for bucket in [&mut self.cap, &mut self.follow, &mut self.sweep] {
            bucket.fill(now);
        }
    }
}

/// CPU time of the calling thread so far.
pub(super) fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn costly_work_is_paid_off_by_waiting() {
        let start = Instant::now();
        let mut bucket = Bucket::new(0.05, SECOND, start);
        assert!(bucket.is_open());
        bucket.charge(Duration::from_millis(100));
        assert!(!bucket.is_open());
        let wait = bucket.opens_in();
        assert!(
            wait > SECOND && wait < Duration::from_millis(1010),
            "{wait:?}"
        );
        bucket.fill(start + Duration::from_millis(900));
        assert!(!bucket.is_open());
        bucket.fill(start + wait);
        assert!(bucket.is_open());
    }

    #[test]
    fn idle_time_is_not_saved_up_for_ever() {
        let start = Instant::now();
        let mut bucket = Bucket::new(0.05, SECOND, start);
        bucket.fill(start + 3600 * SECOND);
        bucket.charge(Duration::from_millis(51));
        assert!(!bucket.is_open());
    }

    #[test]
    fn the_share_holds_in_the_long_run() {
        let start = Instant::now();
        let mut bucket = Bucket::new(0.05, SECOND, start);
        let (mut now, mut spent) = (start, Duration::ZERO);
        while now < start + 100 * SECOND {
            bucket.fill(now);
            if bucket.is_open() {
                let cost = Duration::from_millis(97);
                bucket.charge(cost);
                spent += cost;
                now += cost;
            }
            now += Duration::from_millis(50);
        }
        assert!(
            spent < Duration::from_millis(5200) && spent > Duration::from_millis(4700),
            "{spent:?}"
        );
    }

    #[test]
    fn a_share_of_nothing_does_not_divide_by_it() {
        let mut bucket = Bucket::new(0.0, SECOND, Instant::now());
        bucket.charge(SECOND);
        assert!(bucket.opens_in() > 1000 * SECOND);
    }

    #[test]
    fn the_clock_counts_work() {
        let before = thread_cpu();
        let mut sum = 0u64;
        while thread_cpu() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(thread_cpu() > before);
    }
}
