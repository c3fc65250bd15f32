//! The wrapping around a kernel message: who says that it comes from the kernel, and when.
//!
//! Forms known: raw /dev/kmsg records; `dmesg` plain, `-r`, `-x`, `-T`, `-d`, `-e`, `--time-format iso`;
//! syslog of RFC 3164, of rsyslog's and syslog-ng's ISO dates, with or without `<pri>`; the journal's
//! short forms; a tail of a syslog line that begins at `kernel:`; nothing at all.
//!
//! The writer matters. A log file holds the words of every daemon, and some of those words come from
//! the network: `Invalid user IN=eth0 OUT= SRC=…` is a name that somebody may try to log in with. So a
//! line with another program's tag is that program's line whatever it contains.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;

use super::Bytes;
use super::number::{decimal, hex_byte, narrow};
use crate::flow::{Stamp, Wall};

/// An opened line.
pub(super) struct Letter<'a> {
    pub(super) stamp: Stamp,
    pub(super) origin: Origin,
    pub(super) message: Bytes<'a>,
}

/// Who wrote it, as far as the wrapping says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The kernel, or ulogd for it.
    Kernel,
    /// The log daemon itself.
    LogDaemon,
    /// Another program.
    Stranger,
    /// There is no tag.
    Unsaid,
}

/// The head of a /dev/kmsg record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Severity, 0 to 7.
    pub level: u8,
    /// Facility: zero is the kernel itself; what programs write to /dev/kmsg never has it.
    pub facility: u16,
    /// Sequence number: a gap means that records were lost.
    pub sequence: u64,
    /// Since boot.
    pub boot: Duration,
    /// A fragment of a line (flag `c`): continuation lines come as records of their own on kernels
    /// before 5.10.
    pub fragment: bool,
    /// The message, still escaped; dictionary lines (`\n KEY=value`) are not part of it.
    pub message: &'a [u8],
}

/// Takes a /dev/kmsg record apart: `level,sequence,microseconds,flags[,more];message`
/// (Documentation/ABI/testing/dev-kmsg). `None` if it is not one.
pub fn parse_record(record: &[u8]) -> Option<Record<'_>> {
    let head_end = memchr::memchr(b';', record.get(..record.len().min(128))?)?;
    let (head, rest) = record.split_at(head_end);
    let mut fields = head.split(|b| *b == b',');
    let priority: u32 = decimal(fields.next()?)?;
    let sequence = wide(fields.next()?)?;
    let micros = wide(fields.next()?)?;
    let flags = fields.next()?;
    let message = rest.get(1..)?;
    let end = memchr::memchr(b'\n', message).unwrap_or(message.len());
    Some(Record {
        level: u8::try_from(priority & 7).ok()?,
        facility: u16::try_from(priority >> 3).ok()?,
        sequence,
        boot: Duration::from_micros(micros),
        fragment: flags == b"c",
        message: message.get(..end)?,
    })
}

/// Undoes the `\xNN` of /dev/kmsg and dmesg: bytes below 0x20 and from 0x7f, and the backslash.
pub fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', text) else {
        return Cow::Borrowed(text);
    };
    let (clean, mut rest) = text.split_at(first);
    let mut plain = Vec::with_capacity(text.len());
    plain.extend_from_slice(clean);
    while let Some((byte, tail)) = rest.split_first() {
        let escaped = (*byte == b'\\' && tail.first() == Some(&b'x'))
            .then(|| tail.get(1..3).and_then(hex_byte))
            .flatten();
        plain.push(escaped.unwrap_or(*byte));
        rest = match escaped {
            Some(_) => tail.get(3..).unwrap_or_default(),
            None => tail,
        };
    }
    Cow::Owned(plain)
}

/// Takes the wrapping off.
pub(super) fn open(line: &[u8]) -> Letter<'_> {
    if line.first().is_some_and(u8::is_ascii_digit)
        && let Some(record) = parse_record(line)
    {
        let origin = if record.facility == 0 {
            Origin::Kernel
        } else {
            Origin::Stranger
        };
        return Letter {
            stamp: Stamp {
                boot: Some(record.boot),
                wall: None,
            },
            origin,
            message: unescape(record.message),
        };
    }
    let line = strip_priority(line);
    let line = strip_dmesg_level(line);
    if let Some((stamp, message)) = dmesg_stamp(line) {
        return Letter {
            stamp,
            origin: Origin::Kernel,
            message: unescape(message),
        };
    }
    if let Some((wall, dmesg, rest)) = wall_stamp(line) {
        if dmesg {
            return Letter {
                stamp: Stamp {
                    boot: None,
                    wall: Some(wall),
                },
                origin: Origin::Kernel,
                message: unescape(rest),
            };
        }
        return syslog(Some(wall), skip_host(rest));
    }
    syslog(None, line)
}

/// What follows date and host: tag, the kernel's own stamp, message.
fn syslog(wall: Option<Wall>, rest: &[u8]) -> Letter<'_> {
    let (origin, mut message) = tag(rest);
    let mut stamp = Stamp { boot: None, wall };
    if origin == Origin::Kernel
        && let Some((inner, after)) = dmesg_stamp(message)
        && inner.boot.is_some()
    {
        stamp.boot = inner.boot;
        message = after;
    }
    Letter {
        stamp,
        origin,
        message: Cow::Borrowed(message),
    }
}

/// `<6>`: syslog's priority, also in `dmesg -r`.
fn strip_priority(line: &[u8]) -> &[u8] {
    let stripped = || {
        let rest = line.strip_prefix(b"<")?;
        let end = rest.iter().take(4).position(|b| *b == b'>')?;
        decimal(rest.get(..end)?)?;
        rest.get(end + 1..)
    };
    stripped().unwrap_or(line)
}

/// `kern  :warn  : ` of `dmesg -x`.
fn strip_dmesg_level(line: &[u8]) -> &[u8] {
    let stripped = || {
        let rest = trim_start(line.strip_prefix(b"kern")?).strip_prefix(b":")?;
        let end = rest.iter().take(8).position(|b| *b == b':')?;
        Some(trim_start(rest.get(end + 1..)?))
    };
    stripped().unwrap_or(line)
}

/// `[ 3200.562860] `, `[ 3200.562860 <  0.1>] `, `[  +0.126210] `, `[Fri Nov 20 22:19:12 2026] `,
/// `[Nov20 22:19] `, each perhaps followed by the caller, `[   T12] `.
fn dmesg_stamp(line: &[u8]) -> Option<(Stamp, &[u8])> {
    let inside = line.strip_prefix(b"[")?;
    let end = inside.iter().take(48).position(|b| *b == b']')?;
    let (inside, rest) = inside.split_at(end);
    let mut rest = rest.strip_prefix(b"]")?;
    if let Some(caller) = rest.strip_prefix(b"[") {
        let end = caller.iter().take(12).position(|b| *b == b']')?;
        let name = trim_start(caller.get(..end)?);
        let digits = name.strip_prefix(b"T").or(name.strip_prefix(b"C"))?;
        decimal(digits)?;
        rest = caller.get(end + 1..)?;
    }
    let rest = match rest {
        [] => rest,
        [b' ', message @ ..] => message,
        _ => return None,
    };
    let inside = trim_start(inside);
    let stamp = match inside.first()? {
        b'0'..=b'9' => {
            let word = inside.split(|b| *b == b' ').next()?;
            Stamp {
                boot: Some(seconds(word)?),
                wall: None,
            }
        }
        b'+' => {
            seconds(inside.get(1..)?)?;
            Stamp::default()
        }
        b'A'..=b'Z' => ctime(inside)?,
        _ => return None,
    };
    Some((stamp, rest))
}

/// `Fri Nov 20 22:19:12 2026` (the year is dropped: local time, zone unsaid) or `Nov20 22:19`, which
/// says too little to be a time.
fn ctime(text: &[u8]) -> Option<Stamp> {
    let after_day = text.get(4..).filter(|_| text.get(3) == Some(&b' '));
    if let Some((wall, _)) = after_day.and_then(rfc3164) {
        return Some(Stamp {
            boot: None,
            wall: Some(wall),
        });
    }
    month(text.get(..3)?)?;
    let rest = text.get(3..)?;
    rest.iter()
        .all(|b| b.is_ascii_digit() || matches!(b, b' ' | b':'))
        .then(Stamp::default)
}

/// `3200.562860`.
fn seconds(text: &[u8]) -> Option<Duration> {
    let dot = text.iter().position(|b| *b == b'.')?;
    let (whole, fraction) = (text.get(..dot)?, text.get(dot + 1..)?);
    let micros = decimal(fraction.get(..6)?)?;
    (fraction.len() == 6).then_some(())?;
    Some(Duration::from_secs(wide(whole)?) + Duration::from_micros(u64::from(micros)))
}

/// A date at the start: the time, whether it is the form of dmesg (which has no host), and the rest.
fn wall_stamp(line: &[u8]) -> Option<(Wall, bool, &[u8])> {
    if let Some((wall, rest)) = rfc3164(line) {
        return Some((wall, false, rest));
    }
    if !line.first()?.is_ascii_digit() {
        return None;
    }
    let end = line.iter().take(40).position(|b| *b == b' ')?;
    let (word, rest) = line.split_at(end);
    let mut text = [0u8; 40];
    let text = text.get_mut(..word.len())?;
    text.copy_from_slice(word);
    let mut dmesg = false;
    if let Some(comma) = text.iter_mut().find(|b| **b == b',') {
        *comma = b'.';
        dmesg = true;
    }
    let at: Timestamp = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some((Wall::At(at), dmesg, rest.get(1..)?))
}

/// `Mar  5 20:55:15 ` at the start, and the rest; syslog-ng may put a year before the time.
fn rfc3164(line: &[u8]) -> Option<(Wall, &[u8])> {
    let month = month(line.get(..3)?)?;
    let rest = trim_start(line.get(3..)?.strip_prefix(b" ")?);
    let (day, rest) = word(rest)?;
    let (time, rest) = word(rest)?;
    let [h1, h2, b':', m1, m2, b':', s1, s2, ..] = time else {
        return None;
    };
    let within = |text: &[u8], low: u8, high: u8| -> Option<u8> {
        narrow(text).filter(|value| (low..=high).contains(value))
    };
    let wall = Wall::Local {
        month,
        day: within(day, 1, 31)?,
        hour: within(&[*h1, *h2], 0, 23)?,
        minute: within(&[*m1, *m2], 0, 59)?,
        second: within(&[*s1, *s2], 0, 60)?,
    };
    Some((wall, rest))
}

fn month(name: &[u8]) -> Option<u8> {
    const MONTHS: [&[u8]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    let index = MONTHS.iter().position(|month| *month == name)?;
    u8::try_from(index + 1).ok()
}

/// The host name between date and tag. Some writers leave it out, so a word that looks like a tag, a
/// prefix or a field is left standing.
fn skip_host(rest: &[u8]) -> &[u8] {
    match word(rest) {
        Some((host, after))
            if !host.iter().any(|b| matches!(b, b'[' | b'=')) && !host.ends_with(b":") =>
        {
            after
        }
        _ => rest,
    }
}

/// `kernel: `, `kern.warn kernel: `, `ulogd[12]: `, `sshd[34]: `: whose words follow, and the words.
fn tag(rest: &[u8]) -> (Origin, &[u8]) {
    let Some((first, after)) = word(rest) else {
        return (Origin::Unsaid, rest);
    };
    if first.starts_with(b"kern.")
        && let Some((second, after)) = word(after)
        && second == b"kernel:"
    {
        return (Origin::Kernel, after);
    }
    let Some(name) = first.strip_suffix(b":") else {
        return (Origin::Unsaid, rest);
    };
    let (name, pid) = match name.iter().position(|b| *b == b'[') {
        Some(at) if name.ends_with(b"]") => (name.get(..at).unwrap_or_default(), true),
        _ => (name, false),
    };
    match name {
        b"kernel" | b"ulogd" => (Origin::Kernel, after),
        b"systemd-journald" | b"journal" | b"rsyslogd" => (Origin::LogDaemon, after),
        _ if pid => (Origin::Stranger, after),
        // `DENY: IN=eth0 …` is a log prefix, and so may any word with a colon be.
        _ => (Origin::Unsaid, rest),
    }
}

/// The next word and what follows the blank after it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|b| *b == b' ')?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

fn trim_start(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|b| **b == b' ').count();
    text.get(blanks..).unwrap_or_default()
}

/// A decimal number that fits 64 bits.
fn wide(text: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    (!text.is_empty()).then_some(value)
}
