//! Counting over the last few seconds, in constant room and constant time.

use super::Moment;

/// A count over the last `N` steps of `STEP` milliseconds, the current one included. Adding is
/// constant time; what is older than the window does not count.
#[derive(Clone, Debug)]
pub(super) struct Window<const N: usize, const STEP: i64> {
    counts: [u32; N],
    /// The newest step that was counted in.
    head: i64,
}

impl<const N: usize, const STEP: i64> Default for Window<N, STEP> {
    fn default() -> Self {
        Self {
            counts: [0; N],
            head: i64::MIN / 2,
        }
    }
}

impl<const N: usize, const STEP: i64> Window<N, STEP> {
    /// Counts `n` at a moment; moments may come a little out of order.
    pub(super) fn add(&mut self, at: Moment, n: u32) {
        let step = at.0.div_euclid(STEP);
        let behind = self.head.saturating_sub(step);
        if behind >= Self::steps() {
            return;
        }
        while self.head < step {
            // A gap longer than the window empties it, which takes N turns at most.
            self.head = (self.head + 1).max(step - Self::steps());
            *self.slot(self.head) = 0;
        }
        let slot = self.slot(step);
        *slot = slot.saturating_add(n);
    }

    /// What was counted in the window that ends now.
    pub(super) fn count(&self, now: Moment) -> u64 {
        let step = now.0.div_euclid(STEP);
        let oldest = (step - Self::steps() + 1).max(self.head - Self::steps() + 1);
        (oldest..=self.head.min(step))
            .map(|step| u64::from(self.at(step)))
            .sum()
    }

    /// Per second, over the window or, for what began within it, over the time since (`first`), which
    /// is taken as a second at least.
    pub(super) fn rate(&self, now: Moment, first: Moment) -> f64 {
        let partial = now.0.rem_euclid(STEP);
        let window = (Self::steps() - 1) * STEP + partial;
        let since = now.0.saturating_sub(first.0).max(1_000);
        let span = window.min(since).max(1);
        self.count(now) as f64 * 1_000.0 / span as f64
    }

    fn steps() -> i64 {
        i64::try_from(N).unwrap_or(i64::MAX)
    }

    fn index(step: i64) -> usize {
        usize::try_from(step.rem_euclid(Self::steps())).unwrap_or(0)
    }

    fn at(&self, step: i64) -> u32 {
        self.counts.get(Self::index(step)).copied().unwrap_or(0)
    }

    fn slot(&mut self, step: i64) -> &mut u32 {
        // The index is a remainder of N, so the slot exists.
        &mut self.counts[Self::index(step)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Seconds = Window<5, 1_000>;

    #[test]
    fn only_the_window_counts() {
        let mut window = Seconds::default();
        window.add(Moment(0), 1);
        window.add(Moment(500), 2);
        window.add(Moment(4_000), 4);
        assert_eq!(window.count(Moment(4_999)), 7);
        assert_eq!(window.count(Moment(5_000)), 4);
        assert_eq!(window.count(Moment(8_999)), 4);
        assert_eq!(window.count(Moment(9_000)), 0);
        window.add(Moment(1_000_000), 1);
        assert_eq!(window.count(Moment(1_000_000)), 1);
        window.add(Moment(0), 9);
        assert_eq!(window.count(Moment(1_000_000)), 1);
    }

    #[test]
    fn late_lines_and_history_find_their_step() {
        let mut window = Seconds::default();
        window.add(Moment(-3_500), 1);
        window.add(Moment(-500), 1);
        window.add(Moment(-2_000), 1);
        assert_eq!(window.count(Moment(0)), 3);
        assert_eq!(window.count(Moment(1_000)), 2);
    }

    #[test]
    fn a_steady_stream_has_its_rate_from_the_first_second_on() {
        let mut window = Window::<10, 500>::default();
        for i in 0..100 {
            window.add(Moment(i * 100), 4);
            if i >= 10 {
                let rate = window.rate(Moment(i * 100 + 99), Moment(0));
                assert!((38.0..43.0).contains(&rate), "{rate} at {i}");
            }
        }
        assert!(window.rate(Moment(16_000), Moment(0)).abs() < f64::EPSILON);
    }

    #[test]
    fn the_far_ends_of_time_are_harmless() {
        let mut window = Seconds::default();
        window.add(Moment(i64::MAX), 1);
        window.add(Moment(i64::MIN), 1);
        assert_eq!(window.count(Moment(i64::MAX)), 1);
        let _ = window.count(Moment(i64::MIN));
        let _ = window.rate(Moment(i64::MIN), Moment(i64::MAX));
    }
}
