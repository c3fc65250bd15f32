//! Matches on what a packet carries: string and u32.

use std::borrow::Cow;
use std::fmt;

use super::super::options::{Given, MatchExtension, Misread, opt};
use super::super::value::{Bounds, Inv, bounds, list, number, small};
use super::super::words::{Phrase, hex};
use super::Match;

pub(super) const EXTENSIONS: &[MatchExtension] = &[
    MatchExtension {
        names: &["string"],
        options: &[
            opt(&["string"], 1),
            opt(&["hex-string"], 1),
            opt(&["algo"], 1),
            opt(&["from"], 1),
            opt(&["to"], 1),
            opt(&["icase"], 0),
        ],
        read: string,
    },
    MatchExtension {
        names: &["u32"],
        options: &[opt(&["u32"], 1)],
        read: u32_test,
    },
];

/// `-m string`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringMatch<'a> {
    /// The bytes that are looked for; those of `--hex-string` decoded.
    pub pattern: Inv<Cow<'a, [u8]>>,
    /// How it is searched for: `bm` or `kmp`.
    pub algorithm: Cow<'a, [u8]>,
    /// Offset in the packet where the search starts.
    pub from: u16,
    /// Offset where it ends.
    pub to: u16,
    /// In any case.
    pub ignore_case: bool,
}

fn string<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut pattern = None;
    let mut string = StringMatch {
        pattern: Inv::plain(Cow::Borrowed(b"")),
        algorithm: Cow::Borrowed(b""),
        from: 0,
        to: u16::MAX,
        ignore_case: false,
    };
    for option in &given.options {
        let offset = || option.read(small, "an offset from 0 to 65535");
        match option.name {
            "string" | "hex-string" if pattern.is_some() => {
                return Err(option.misread("either --string or --hex-string"));
            }
            "string" => pattern = Some(option.inv(option.text())),
            "hex-string" => {
                let read = |text: &[u8]| decoded(text).map(Cow::Owned);
                pattern =
                    Some(option.read_inv(read, "text with hexadecimal digits |between bars|")?);
            }
            "algo" => string.algorithm = option.text(),
            "from" => string.from = offset()?,
            "to" => string.to = offset()?,
            "icase" => string.ignore_case = true,
            _ => return Err(option.not_read()),
        }
    }
    string.pattern = pattern.ok_or(Given::lacks("--string or --hex-string"))?;
    Ok(Match::String(Box::new(string)))
}

/// `text|de ad|more`: pairs of digits between bars, blanks among them; a backslash makes the next byte
/// plain.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = text.iter().copied();
    let mut between_bars = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'|' => between_bars = !between_bars,
            b' ' if between_bars => {}
            _ if between_bars => {
                let pair = [byte, bytes.next()?];
                if !pair.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                out.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
            }
            b'\\' => out.push(bytes.next()?),
            _ => out.push(byte),
        }
    }
    (!between_bars).then_some(out)
}

impl StringMatch<'_> {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        let pattern = &self.pattern;
        if pattern
            .value
            .iter()
            .all(|byte| (b' '..=b'~').contains(byte))
        {
            phrase.quoted(pattern.invert, "string", &pattern.value);
        } else {
            let digits = hex(&pattern.value);
            phrase.keyed(pattern.invert, "hex-string", format_args!("|{digits}|"));
        }
        phrase.flag_if(self.ignore_case, "icase");
        if self.from != 0 || self.to != u16::MAX {
            phrase.keyed(false, "at", format_args!("{}:{}", self.from, self.to));
        }
    }
}

/// `-m u32`: all tests must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct U32 {
    /// The tests, joined by `&&`.
    pub tests: Vec<U32Test>,
}

/// One test: a number is taken out of the packet and must be in one of the ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct U32Test {
    /// Offset of the first four bytes, in network order.
    pub start: u32,
    /// What is done with the number, in order.
    pub steps: Vec<(U32Step, u32)>,
    /// Where it must be.
    pub ranges: Vec<Bounds<u32>>,
}

/// A step of a u32 location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum U32Step {
    /// `&`: these bits remain.
    And,
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
    /// `@`: the number so far moves the start of the packet; the next four bytes are taken from there.
    At,
}

const STEPS: &[(&[u8], U32Step)] = &[
    (b"<<", U32Step::ShiftLeft),
    (b">>", U32Step::ShiftRight),
    (b"&", U32Step::And),
    (b"@", U32Step::At),
];

fn u32_test<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let option = given
        .options
        .first()
        .ok_or(Given::lacks("--u32 with a test"))?;
    let expected = "tests such as 6&0xFF=1 && 4=7:9,12";
    option.read_inv(U32::read, expected).map(Match::U32)
}

impl U32 {
    fn read(text: &[u8]) -> Option<Self> {
        let text: Vec<u8> = text
            .iter()
            .copied()
            .filter(|b| !b.is_ascii_whitespace())
            .collect();
        let mut tests = Vec::new();
        let mut rest = text.as_slice();
        loop {
            let end = memchr::memmem::find(rest, b"&&").unwrap_or(rest.len());
            tests.push(U32Test::read(rest.get(..end)?)?);
            match rest.get(end + 2..) {
                Some(more) => rest = more,
                None => return Some(Self { tests }),
            }
        }
    }
}

impl U32Test {
    fn read(text: &[u8]) -> Option<Self> {
        let equals = memchr::memchr(b'=', text)?;
        let (location, ranges) = (text.get(..equals)?, text.get(equals + 1..)?);
        let (start, mut rest) = leading_number(location)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (sign, step) = STEPS.iter().find(|row| rest.starts_with(row.0))?;
            let (value, after) = leading_number(rest.get(sign.len()..)?)?;
            steps.push((*step, value));
            rest = after;
        }
        let ranges = list(ranges).map(|range| bounds(range, 0, u32::MAX));
        Some(Self {
            start,
            steps,
            ranges: ranges.collect::<Option<_>>()?,
        })
    }
}

fn leading_number(text: &[u8]) -> Option<(u32, &[u8])> {
    let length = text
        .iter()
        .take_while(|b| b.is_ascii_alphanumeric())
        .count();
    let value = u32::try_from(number(text.get(..length)?)?).ok()?;
    Some((value, text.get(length..)?))
}

impl fmt::Display for U32 {
    /// As the save tool prints it: `0x6&0xff=0x1&&0x4=0x7:0x9,0xc`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, test) in self.tests.iter().enumerate() {
            if number > 0 {
                f.write_str("&&")?;
            }
            write!(f, "{:#x}", test.start)?;
            for (step, value) in &test.steps {
                let sign = STEPS
                    .iter()
                    .find(|row| row.1 == *step)
                    .map_or(&b""[..], |row| row.0);
                write!(f, "{}{value:#x}", String::from_utf8_lossy(sign))?;
            }
            for (number, range) in test.ranges.iter().enumerate() {
                f.write_str(if number == 0 { "=" } else { "," })?;
                write!(f, "{:#x}", range.min)?;
                if range.max != range.min {
                    write!(f, ":{:#x}", range.max)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_strings() {
        assert_eq!(
            decoded(b"|de ad|text|be ef|").unwrap(),
            b"\xde\xadtext\xbe\xef"
        );
        assert_eq!(decoded(b"plain\\|").unwrap(), b"plain|");
        for bad in ["|d|", "|zz|", "|de", "|+1|"] {
            assert_eq!(decoded(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn u32_tests_are_shown_as_they_are_saved() {
        let show = |text: &str| U32::read(text.as_bytes()).map(|u32| u32.to_string());
        assert_eq!(
            show("0>>22&0x3C@12>>26&0x3C@0=0x1:0x5,0x9 && 4=7").as_deref(),
            Some("0x0>>0x16&0x3c@0xc>>0x1a&0x3c@0x0=0x1:0x5,0x9&&0x4=0x7")
        );
        for bad in ["", "4", "4=", "=1", "4&&5=1", "4^5=1", "4=1&&", "4=x"] {
            assert_eq!(show(bad), None, "{bad}");
        }
    }
}
