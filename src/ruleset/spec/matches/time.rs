//! The time match. Whether it holds depends on the clock of the box, which the caller hands in.

use jiff::civil::{Date, DateTime, Time as Clock};

use super::super::options::{Given, MatchExtension, Misread, opt};
use super::super::value::{Weekdays, WordSet, list, small};
use super::super::words::Phrase;
use super::Match;

pub(super) const EXTENSIONS: &[MatchExtension] = &[MatchExtension {
    names: &["time"],
    options: &[
        opt(&["timestart"], 1),
        opt(&["timestop"], 1),
        opt(&["datestart"], 1),
        opt(&["datestop"], 1),
        opt(&["weekdays"], 1),
        opt(&["monthdays"], 1),
        opt(&["contiguous"], 0),
        opt(&["kerneltz"], 0),
        opt(&["localtz"], 0),
        opt(&["utc"], 0),
    ],
    read: time,
}];

/// `-m time`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// From that time of day on.
    pub start: Option<Clock>,
    /// Up to that time of day; may be before the start, over midnight.
    pub stop: Option<Clock>,
    /// From that moment on.
    pub from: Option<DateTime>,
    /// Up to that moment. The save tool prints the largest that it can hold as
    /// `2038-01-19T03:14:07`, which is read as none.
    pub until: Option<DateTime>,
    /// On these days of the week; an inverted list has been turned round, as the tool does.
    pub weekdays: Option<Weekdays>,
    /// On these days of the month, bit n for day n; turned round in the same way.
    pub monthdays: Option<u32>,
    /// A span over midnight belongs to the day on which it begins.
    pub contiguous: bool,
    /// In the kernel's time zone, not in UTC.
    pub kernel_zone: bool,
}

/// The last second of a 32-bit time, which stands for no end.
const NO_END: DateTime = DateTime::constant(2038, 1, 19, 3, 14, 7, 0);

/// Every day of the week, as the bits of [`Weekdays`].
const WEEK: u32 = 0xfe;

/// Days 1 to 31.
const MONTH: u32 = !1;

fn time<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut time = Time::default();
    let (clock, date) = ("a time hh:mm or hh:mm:ss", "a date YYYY-MM-DDThh:mm:ss");
    for option in &given.options {
        match option.name {
            "timestart" => time.start = Some(option.read(clock_of, clock)?),
            "timestop" => time.stop = Some(option.read(clock_of, clock)?),
            "datestart" => time.from = Some(option.read(moment_of, date)?),
            "datestop" => {
                let until = option.read(moment_of, date)?;
                time.until = Some(until).filter(|until| *until != NO_END);
            }
            "weekdays" => {
                let days = "a list of days such as Mon,Tue";
                let days = option.read_inv(Weekdays::read, days)?;
                time.weekdays = Some(if days.invert {
                    Weekdays::from_bits(WEEK & !days.value.bits())
                } else {
                    days.value
                });
            }
            "monthdays" => {
                let days = "a list of days from 1 to 31";
                let days = option.read_inv(monthdays_of, days)?;
                time.monthdays = Some(if days.invert {
                    MONTH & !days.value
                } else {
                    days.value
                });
            }
            "contiguous" => time.contiguous = true,
            "kerneltz" => time.kernel_zone = true,
            "utc" => {}
            // What it is depends on the clock settings of the box.
            _ => return Err(option.not_read()),
        }
    }
    Ok(Match::Time(Box::new(time)))
}

fn clock_of(text: &[u8]) -> Option<Clock> {
    let mut parts = [0_i8; 3];
    let mut words = text.split(|b| *b == b':');
    for part in &mut parts {
        let Some(word) = words.next() else { break };
        *part = decimal(word)?;
    }
    let [hour, minute, second] = parts;
    let full = text.contains(&b':') && words.next().is_none();
    full.then(|| Clock::new(hour, minute, second, 0).ok())
        .flatten()
}

/// `YYYY[-MM[-DD[Thh[:mm[:ss]]]]]`; what is left out is the first.
fn moment_of(text: &[u8]) -> Option<DateTime> {
    let (date, clock) = match text.iter().position(|b| *b == b'T') {
        Some(at) => (text.get(..at)?, text.get(at + 1..)?),
        None => (text, &b""[..]),
    };
    let mut words = date.split(|b| *b == b'-');
    let year = decimal(words.next()?)?;
    let month = words.next().map_or(Some(1), decimal)?;
    let day = words.next().map_or(Some(1), decimal)?;
    if words.next().is_some() {
        return None;
    }
    let clock = match clock {
        b"" => Clock::midnight(),
        hours if !hours.contains(&b':') => Clock::new(decimal(hours)?, 0, 0, 0).ok()?,
        clock => clock_of(clock)?,
    };
    Some(Date::new(year, month, day).ok()?.to_datetime(clock))
}

fn decimal<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn monthdays_of(text: &[u8]) -> Option<u32> {
    list(text)
        .map(|day| small::<u32>(day).filter(|day| (1..=31).contains(day)))
        .try_fold(0, |days, day| Some(days | 1 << day?))
}

impl Time {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        phrase.flag(false, "time");
        if self.start.is_some() || self.stop.is_some() {
            let start = self.start.unwrap_or(Clock::midnight());
            let stop = self.stop.unwrap_or(Clock::constant(23, 59, 59, 0));
            phrase.flag(false, &format!("{start}-{stop}"));
        }
        if let Some(days) = self.weekdays {
            phrase.keyed(false, "on", days);
        }
        if let Some(days) = self.monthdays {
            let list: Vec<_> = (1..=31)
                .filter(|day| days & 1 << day != 0)
                .map(|day| day.to_string())
                .collect();
            phrase.keyed(false, "days", list.join(","));
        }
        for (word, moment) in [("from", self.from), ("until", self.until)] {
            if let Some(moment) = moment {
                phrase.keyed(false, word, moment);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_and_dates() {
        assert_eq!(clock_of(b"08:00"), Some(Clock::constant(8, 0, 0, 0)));
        assert_eq!(clock_of(b"23:59:59"), Some(Clock::constant(23, 59, 59, 0)));
        for bad in ["", "8", "24:00", "08:00:00:00", "-1:00", "08:"] {
            assert_eq!(clock_of(bad.as_bytes()), None, "{bad}");
        }
        let moment = |text: &str| moment_of(text.as_bytes()).map(|m| m.to_string());
        assert_eq!(moment("2026-01-01").as_deref(), Some("2026-01-01T00:00:00"));
        assert_eq!(moment("2026").as_deref(), Some("2026-01-01T00:00:00"));
        assert_eq!(moment("2038-01-19T03:14:07"), Some(NO_END.to_string()));
        for bad in ["", "2026-13-01", "2026-02-30", "2026-01-01T25", "x"] {
            assert_eq!(moment_of(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(monthdays_of(b"1,15"), Some(1 << 1 | 1 << 15));
        assert_eq!(monthdays_of(b"0"), None);
    }
}
