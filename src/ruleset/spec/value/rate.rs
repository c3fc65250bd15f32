//! Rates: packets in a unit of time, and hashlimit's bytes a second.

use std::fmt;

use super::{number, split_once};

/// The unit of time of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// `/sec`
    Second,
    /// `/min`
    Minute,
    /// `/hour`
    Hour,
    /// `/day`
    Day,
}

impl Unit {
    /// Its length in seconds.
    pub fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86400,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Second => "sec",
            Self::Minute => "min",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Any start of the full word, as the tool takes it: `s`, `sec`, `second`.
    fn read(text: &[u8]) -> Option<Self> {
        let rows = [
            ("second", Self::Second),
            ("minute", Self::Minute),
            ("hour", Self::Hour),
            ("day", Self::Day),
        ];
        let lower = text.to_ascii_lowercase();
        let row = rows
            .iter()
            .find(|row| !lower.is_empty() && row.0.as_bytes().starts_with(&lower))?;
        Some(row.1)
    }
}

/// So many packets in a unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Packets.
    pub count: u32,
    /// In which time.
    pub per: Unit,
}

impl Rate {
    /// `3/min`; without a unit, a second.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let (count, per) = match split_once(text, b'/') {
            Some((count, unit)) => (count, Unit::read(unit)?),
            None => (text, Unit::Second),
        };
        let count = u32::try_from(number(count)?).ok()?;
        (count > 0).then_some(Self { count, per })
    }

    /// Packets a second.
    pub fn per_second(self) -> f64 {
        f64::from(self.count) / f64::from(self.per.seconds())
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.per.name())
    }
}

/// hashlimit's byte rates: `512kb/s`, `1mb/s`, `100b/s`; bytes a second. Also its burst in bytes: `1mb`.
pub fn bytes_per_second(text: &[u8]) -> Option<u64> {
    let text = text.strip_suffix(b"/s").unwrap_or(text);
    let (digits, factor) = match text {
        [digits @ .., b'k', b'b'] => (digits, 1024),
        [digits @ .., b'm', b'b'] => (digits, 1024 * 1024),
        [digits @ .., b'b'] => (digits, 1),
        _ => return None,
    };
    number(digits)?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let show = |text: &str| Rate::read(text.as_bytes()).map(|rate| rate.to_string());
        for (text, expected) in [
            ("3/min", "3/min"),
            ("1/s", "1/sec"),
            ("5/hour", "5/hour"),
            ("7/day", "7/day"),
            ("9", "9/sec"),
            ("2/minute", "2/min"),
        ] {
            assert_eq!(show(text).as_deref(), Some(expected), "{text}");
        }
        for bad in ["", "0/s", "/s", "3/", "3/fortnight", "-1/s"] {
            assert_eq!(show(bad), None, "{bad}");
        }
        assert!((Rate::read(b"3/min").unwrap().per_second() - 0.05).abs() < 1e-9);
    }

    #[test]
    fn byte_rates() {
        assert_eq!(bytes_per_second(b"512kb/s"), Some(524_288));
        assert_eq!(bytes_per_second(b"1mb"), Some(1_048_576));
        assert_eq!(bytes_per_second(b"100b/s"), Some(100));
        assert_eq!(bytes_per_second(b"10/s"), None);
    }
}
