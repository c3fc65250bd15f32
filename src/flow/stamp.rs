//! When a line was written, as far as the line says.
//!
//! The kernel stamps its records with seconds since boot; syslog writes a local date without year
//! or zone; others write a full timestamp. This file keeps what was said and does not guess: only
//! somebody with a clock can turn a bare `Mar 15 20:55:15` into a point in time ([`Wall::resolve`]).

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// The times that stood in or beside one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The kernel's own clock: since boot, not counting suspend, microseconds (printk's
    /// `local_clock`, which may drift from wall time).
    pub boot: Option<Duration>,
    /// Wall clock, where a syslog daemon, a journal or our own clock gave one.
    pub wall: Option<Wall>,
}

/// A wall clock time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wall {
    /// A point in time.
    At(Timestamp),
    /// Local time without year or zone, as RFC 3164 has it. Ranges are checked, the day against the
    /// month is not.
    Local {
        /// 1 to 12.
        month: u8,
        /// 1 to 31.
        day: u8,
        /// 0 to 23.
        hour: u8,
        /// 0 to 59.
        minute: u8,
        /// 0 to 60.
        second: u8,
    },
}

impl Wall {
    /// The point in time, given what the clock says now and the zone that the writer lived in: a
    /// date without a year is the latest one that does not lie in the future (a day of grace for
    /// clocks that differ). `None` for dates that do not exist.
    pub fn resolve(self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let Self::Local {
            month,
            day,
            hour,
            minute,
            second,
        } = self
        else {
            let Self::At(at) = self else { return None };
            return Some(at);
        };
        let this_year = now.to_zoned(zone.clone()).year();
        let tomorrow = now.checked_add(jiff::SignedDuration::from_hours(24)).ok()?;
        let narrow = |value: u8| i8::try_from(value).ok();
        [this_year + 1, this_year, this_year - 1]
            .into_iter()
            .filter_map(|year| {
                let date = Date::new(year, narrow(month)?, narrow(day)?).ok()?;
                let time = date.at(narrow(hour)?, narrow(minute)?, narrow(second.min(59))?, 0);
                Some(time.to_zoned(zone.clone()).ok()?.timestamp())
            })
            .find(|at| *at <= tomorrow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(month: u8, day: u8) -> Wall {
        Wall::Local {
            month,
            day,
            hour: 23,
            minute: 59,
            second: 60,
        }
    }

    #[test]
    fn a_date_without_year_is_the_latest_past_one() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let year = |wall: Wall| wall.resolve(now, &TimeZone::UTC).map(|t| t.to_string());
        assert_eq!(year(local(12, 31)), Some("2025-12-31T23:59:59Z".into()));
        assert_eq!(year(local(1, 1)), Some("2026-01-01T23:59:59Z".into()));
        assert_eq!(year(local(1, 5)), Some("2025-01-05T23:59:59Z".into()));
        assert_eq!(year(local(2, 30)), None);
        assert_eq!(year(Wall::At(now)), Some("2026-01-02T00:00:00Z".into()));
    }

    #[test]
    fn a_day_of_grace_for_a_clock_ahead_of_ours() {
        let now: Timestamp = "2025-12-31T23:59:00Z".parse().unwrap();
        let ahead = Wall::Local {
            month: 1,
            day: 1,
            hour: 0,
            minute: 0,
            second: 1,
        };
        let at = ahead.resolve(now, &TimeZone::UTC).map(|t| t.to_string());
        assert_eq!(at, Some("2026-01-01T00:00:01Z".into()));
    }
}
