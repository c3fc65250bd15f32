//! `-m time` against a moment that is handed in (net/netfilter/xt_time.c).

use jiff::ToSpan;
use jiff::civil::{DateTime, Time as Clock};

use crate::ruleset::spec::matches::Time;
use crate::ruleset::spec::value::WordSet;

/// A compiled `-m time`. All in UTC.
#[derive(Clone, Debug)]
pub(super) struct TimeTest {
    start: Clock,
    stop: Clock,
    from: Option<DateTime>,
    until: Option<DateTime>,
    /// Bit n for day n, Monday being 1.
    weekdays: u32,
    /// Bit n for day n.
    monthdays: u32,
    contiguous: bool,
    pub(super) text: Box<str>,
}

impl TimeTest {
    /// `None` when it depends on the kernel's own time zone.
    pub(super) fn of(time: &Time, text: Box<str>) -> Option<Self> {
        if time.kernel_zone {
            return None;
        }
        Some(Self {
            start: time.start.unwrap_or(Clock::midnight()),
            stop: time.stop.unwrap_or(Clock::constant(23, 59, 59, 0)),
            from: time.from,
            until: time.until,
            weekdays: time.weekdays.map_or(u32::MAX, WordSet::bits),
            monthdays: time.monthdays.unwrap_or(u32::MAX),
            contiguous: time.contiguous,
            text,
        })
    }

    /// Whether it holds at that moment.
    pub(super) fn holds(&self, now: DateTime) -> bool {
        if self.from.is_some_and(|from| now < from) || self.until.is_some_and(|until| now > until) {
            return false;
        }
        let clock = now
            .time()
            .with()
            .subsec_nanosecond(0)
            .build()
            .unwrap_or(now.time());
        let mut day = now.date();
        if self.start < self.stop {
            if clock < self.start || clock > self.stop {
                return false;
            }
        } else {
            if clock < self.start && clock > self.stop {
                return false;
            }
            // After midnight it is still the day on which the span began.
            if self.contiguous && clock <= self.stop {
                day = day.checked_sub(1.day()).unwrap_or(day);
            }
        }
        let weekday = u32::from(day.weekday().to_monday_one_offset().unsigned_abs());
        let monthday = u32::from(day.day().unsigned_abs());
        self.weekdays & 1 << weekday != 0 && self.monthdays & 1 << monthday != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::Family;
    use crate::ruleset::spec::{Match, Spec};

    fn holds(options: &str, moment: &str) -> bool {
        let text = format!("-m time {options}");
        let spec = Spec::parse(text.as_bytes(), Family::V4, &|_| false);
        let Some(Match::Time(time)) = spec.matches.first() else {
            panic!("{options}: {:?}", spec.matches);
        };
        TimeTest::of(time, "".into())
            .unwrap()
            .holds(moment.parse().unwrap())
    }

    #[test]
    fn spans_days_and_dates() {
        // 2026-11-20 is a Friday.
        for (options, moment, expected) in [
            (
                "--timestart 08:00 --timestop 17:00",
                "2026-11-20T08:00:00",
                true,
            ),
            (
                "--timestart 08:00 --timestop 17:00",
                "2026-11-20T17:00:00.5",
                true,
            ),
            (
                "--timestart 08:00 --timestop 17:00",
                "2026-11-20T17:00:01",
                false,
            ),
            (
                "--timestart 22:00 --timestop 06:00",
                "2026-11-20T23:00:00",
                true,
            ),
            (
                "--timestart 22:00 --timestop 06:00",
                "2026-11-20T12:00:00",
                false,
            ),
            ("--weekdays Fri", "2026-11-20T12:00:00", true),
            ("! --weekdays Fri", "2026-11-20T12:00:00", false),
            ("--monthdays 1,20", "2026-11-20T12:00:00", true),
            (
                "--timestart 22:00 --timestop 06:00 --weekdays Fri",
                "2026-11-21T03:00:00",
                false,
            ),
            (
                "--timestart 22:00 --timestop 06:00 --weekdays Fri --contiguous",
                "2026-11-21T03:00:00",
                true,
            ),
            ("--datestart 2026-11-21", "2026-11-20T12:00:00", false),
            ("--datestop 2026-11-21", "2026-11-20T12:00:00", true),
        ] {
            assert_eq!(holds(options, moment), expected, "{options} at {moment}");
        }
    }
}
