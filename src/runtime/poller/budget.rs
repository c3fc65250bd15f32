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
}

/// The poller's money.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purse {
    /// For everything. It may be in debt; only what is cheap and in view is read then.
    cap: Bucket,
    /// Of that, for chains that packets go through while nobody looks.
    follow: Bucket,
    /// Of that, for chains in turn.
    sweep: Bucket,
    /// What is left of this tick's money for chains in view, which no debt touches.
    in_view: Duration,
    /// A chain out of view that costs more is not read.
    dearest: Duration,
}

impl Purse {
    /// What a purse may save up.
    const WINDOW: Duration = Duration::from_secs(2);
    /// A chain out of view may take so long to pay off.
    const PAID_OFF_IN: f64 = 20.0;

    pub(super) fn new(budget: Budget, now: Instant) -> Self {
        let bucket = |share| Bucket::new(share, Self::WINDOW, now);
        let cap = bucket(budget.cap);
        Self {
            cap,
            // Half, so that the chain in view never waits for those that are not.
            follow: bucket(budget.cap / 2.0),
            sweep: bucket(budget.sweep),
            in_view: Duration::ZERO,
            dearest: Duration::from_secs_f64((cap.share * Self::PAID_OFF_IN).min(1.0)),
        }
    }

    /// Adds what time has brought; a tick of `interval` begins.
    pub(super) fn begin_tick(&mut self, interval: Duration, now: Instant) {
        for bucket in [&mut self.cap, &mut self.follow, &mut self.sweep] {
            bucket.fill(now);
        }
        self.in_view = interval.mul_f64(self.cap.share);
    }

    /// Whether a chain in view that costs `price` is read at this tick whatever the debt; if so its money
    /// is set aside.
    pub(super) fn fits_in_view(&mut self, price: Duration) -> bool {
        let left = self.in_view.checked_sub(price);
        self.in_view = left.unwrap_or(self.in_view);
        left.is_some()
    }

    /// Whether there is no debt.
    pub(super) fn is_open(&self) -> bool {
        self.cap.is_open()
    }

    /// Whether packets may be followed.
    pub(super) fn may_follow(&self) -> bool {
        self.cap.is_open() && self.follow.is_open()
    }

    /// Whether chains may be read in turn.
    pub(super) fn may_sweep(&self) -> bool {
        self.cap.is_open() && self.sweep.is_open()
    }

    /// Whether a chain of that price is ever read out of view: one that is not would hold up all others
    /// out of view for longer than they are worth.
    pub(super) fn is_worth(&self, price: Duration) -> bool {
        price <= self.dearest
    }

    /// Charges for work that was done.
    pub(super) fn charge(&mut self, cost: Duration) {
        self.cap.charge(cost);
    }

    /// As [`charge`](Self::charge), for following packets.
    pub(super) fn charge_follow(&mut self, cost: Duration) {
        self.cap.charge(cost);
        self.follow.charge(cost);
    }

    /// As [`charge`](Self::charge), for chains in turn.
    pub(super) fn charge_sweep(&mut self, cost: Duration) {
        self.cap.charge(cost);
        self.sweep.charge(cost);
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
        bucket.fill(start + Duration::from_millis(900));
        assert!(!bucket.is_open());
        bucket.fill(start + Duration::from_millis(1010));
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
        bucket.fill(Instant::now() + 1000 * SECOND);
        assert!(!bucket.is_open());
    }

    #[test]
    fn debt_does_not_touch_what_is_in_view() {
        let start = Instant::now();
        let mut purse = Purse::new(Budget::default(), start);
        purse.charge(100 * SECOND);
        for tick in 1..=100 {
            purse.begin_tick(SECOND, start + tick * SECOND);
            assert!(purse.fits_in_view(Duration::from_millis(30)));
            assert!(!purse.fits_in_view(Duration::from_millis(30)), "only 50");
            assert!(purse.fits_in_view(Duration::from_millis(20)));
            assert!(!purse.is_open() && !purse.may_follow() && !purse.may_sweep());
        }
        purse.begin_tick(SECOND, start + 2001 * SECOND);
        assert!(purse.is_open() && purse.may_follow() && purse.may_sweep());
    }

    #[test]
    fn what_takes_long_to_pay_off_is_not_worth_it() {
        let purse = Purse::new(Budget::default(), Instant::now());
        assert!(purse.is_worth(Duration::from_millis(900)));
        assert!(!purse.is_worth(Duration::from_millis(1100)));
        let generous = Budget {
            cap: 1.0,
            sweep: 1.0,
        };
        assert!(!Purse::new(generous, Instant::now()).is_worth(2 * SECOND));
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
