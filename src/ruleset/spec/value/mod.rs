//! The values that options carry, as the verdict engine and the board want them: ranges, masks, rates.
//!
//! Each reads its own text form generously (what iptables accepts: decimal, `0x` and octal numbers,
//! names of well-known services, dotted masks) and shows itself in the short form that the save tool
//! prints. Reading fails with `None`; the caller knows what it wanted and says so.

mod address;
mod names;
mod rate;
mod sets;

use std::fmt;

pub use address::{Address, AddressRange, Addresses, Interface, Net};
pub use names::Protocol;
pub use rate::{Rate, Unit, bytes_per_second};
pub use sets::{AddrTypes, DccpTypes, HashModes, StateSet, StatusSet, TcpFlags, Weekdays, WordSet};

/// A value with the `!` that may stand before its option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inv<T> {
    /// Matches what the value does not.
    pub invert: bool,
    /// What stands after the option.
    pub value: T,
}

impl<T> Inv<T> {
    /// Not inverted.
    pub fn plain(value: T) -> Self {
        Self {
            invert: false,
            value,
        }
    }

    /// `answer` about the value, turned round if the option is inverted.
    pub fn holds(&self, answer: impl FnOnce(&T) -> bool) -> bool {
        answer(&self.value) != self.invert
    }
}

impl<T: fmt::Display> fmt::Display for Inv<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.invert {
            f.write_str("!")?;
        }
        self.value.fmt(f)
    }
}

/// Both ends included. `4:3` is legal and holds nothing: the kernel compares with each end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds<T> {
    /// Smallest.
    pub min: T,
    /// Largest.
    pub max: T,
}

impl<T: PartialOrd + Copy> Bounds<T> {
    /// Whether `value` is between the ends.
    pub fn contains(&self, value: T) -> bool {
        self.min <= value && value <= self.max
    }
}

impl<T: fmt::Display + PartialEq> fmt::Display for Bounds<T> {
    /// `22` or `1024:65535`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            self.min.fmt(f)
        } else {
            write!(f, "{}:{}", self.min, self.max)
        }
    }
}

/// A range of ports.
pub type Ports = Bounds<u16>;

impl Ports {
    /// `22`, `ssh`, `1000:2000`, `:2000`, `1000:`.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        Self::read_with(text, b':')
    }

    /// The same with another sign between the ends: NAT targets write `1-10`.
    pub(super) fn read_with(text: &[u8], sign: u8) -> Option<Self> {
        // A service may have the sign in its name (`http-alt`).
        if let Some(port) = port(text) {
            return Some(Self {
                min: port,
                max: port,
            });
        }
        let (min, max) = split_once(text, sign)?;
        Some(Self {
            min: or_default(min, 0, port)?,
            max: or_default(max, u16::MAX, port)?,
        })
    }
}

/// A number or a well-known service.
fn port(text: &[u8]) -> Option<u16> {
    small(text).or_else(|| names::service(text))
}

/// `a`, `a:b`, `:b`, `a:` of numbers.
pub(super) fn bounds<T>(text: &[u8], lowest: T, highest: T) -> Option<Bounds<T>>
where
    T: TryFrom<u64> + Copy,
{
    if let Some(value) = small(text) {
        return Some(Bounds {
            min: value,
            max: value,
        });
    }
    let (min, max) = split_once(text, b':')?;
    Some(Bounds {
        min: or_default(min, lowest, small)?,
        max: or_default(max, highest, small)?,
    })
}

fn or_default<T>(text: &[u8], default: T, read: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
    if text.is_empty() {
        Some(default)
    } else {
        read(text)
    }
}

/// A value and the bits of it that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masked<T> {
    /// Wanted bits.
    pub value: T,
    /// Bits that are looked at.
    pub mask: T,
}

/// A packet or connection mark.
pub type MarkMask = Masked<u32>;

impl MarkMask {
    /// Whether a mark has the wanted bits.
    pub fn holds(&self, mark: u32) -> bool {
        mark & self.mask == self.value
    }
}

impl<T> Masked<T>
where
    T: TryFrom<u64> + Copy,
{
    /// `0x10` or `0x10/0xff`; without a mask all of `all` counts.
    pub(super) fn read(text: &[u8], all: T) -> Option<Self> {
        let (value, mask) = match split_once(text, b'/') {
            Some((value, mask)) => (value, small(mask)?),
            None => (text, all),
        };
        Some(Self {
            value: small(value)?,
            mask,
        })
    }
}

impl fmt::Display for MarkMask {
    /// `0x10` or `0x10/0xff`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.value)?;
        if self.mask != u32::MAX {
            write!(f, "/{:#x}", self.mask)?;
        }
        Ok(())
    }
}

impl fmt::Display for Masked<u8> {
    /// `0x10` or `0x10/0x3f`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}", self.value)?;
        if self.mask != u8::MAX {
            write!(f, "/{:#04x}", self.mask)?;
        }
        Ok(())
    }
}

/// A number as strtoul(3) with base 0 reads it: decimal, `0x` hexadecimal, octal after a `0`.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    let (digits, radix) = match text {
        [b'0', b'x' | b'X', hex @ ..] => (hex, 16),
        [b'0', octal @ ..] if !octal.is_empty() => (octal, 8),
        _ => (text, 10),
    };
    // `from_str_radix` takes a sign, which no option does.
    if !digits.first()?.is_ascii_alphanumeric() {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

/// A number that fits.
pub(super) fn small<T: TryFrom<u64>>(text: &[u8]) -> Option<T> {
    T::try_from(number(text)?).ok()
}

/// The two sides of the first `sign`.
pub(super) fn split_once(text: &[u8], sign: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(sign, text)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Items of a comma-separated list; an empty text is one empty item, as strtok-less readers have it.
pub(super) fn list(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| *b == b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_bases() {
        for (text, value) in [
            ("10", Some(10)),
            ("0x10", Some(16)),
            ("010", Some(8)),
            ("0", Some(0)),
        ] {
            assert_eq!(number(text.as_bytes()), value, "{text}");
        }
        for bad in [
            "",
            "0x",
            "-1",
            "+1",
            "1a",
            "08",
            "99999999999999999999",
            "0x-1",
        ] {
            assert_eq!(number(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn ports_and_ranges() {
        let read = |text: &str| Ports::read(text.as_bytes()).map(|p| (p.min, p.max));
        assert_eq!(read("22"), Some((22, 22)));
        assert_eq!(read("ssh"), Some((22, 22)));
        assert_eq!(read("1000:2000"), Some((1000, 2000)));
        assert_eq!(read(":2000"), Some((0, 2000)));
        assert_eq!(read("1000:"), Some((1000, 65535)));
        assert_eq!(read(":"), Some((0, 65535)));
        assert!(!Ports::read(b"4:3").unwrap().contains(3));
        for bad in ["", "65536", "nosuchservice", "1:2:3", "1-2"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(Ports::read_with(b"1-10", b'-').unwrap().to_string(), "1:10");
        assert_eq!(
            Ports::read_with(b"http-alt", b'-').unwrap().to_string(),
            "8080"
        );
    }

    #[test]
    fn marks_compare_only_their_mask() {
        let mark = MarkMask::read(b"0x10/0xf0", u32::MAX).unwrap();
        assert!(mark.holds(0x1f) && !mark.holds(0x2f));
        assert_eq!(mark.to_string(), "0x10/0xf0");
        assert_eq!(MarkMask::read(b"16", u32::MAX).unwrap().to_string(), "0x10");
    }
}
