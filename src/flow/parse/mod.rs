//! Reading the kernel's text.
//!
//! The kernel writes one message a line, in a fixed order of fields (net/netfilter/nf_log_syslog.c),
//! and then everybody wraps it: /dev/kmsg in a record, `dmesg` in brackets, syslog in date and host.
//! [`envelope`] takes the wrapping off, [`fields`] reads the packet, [`notice`] the few other lines
//! that concern the firewall. Anything else is `None`, cheaply: most lines of a busy box are.
//!
//! Two things make this more than splitting at blanks. The log prefix is the user's own text and may
//! look like fields (`--log-prefix "IN=lan0 SRC="`), so the header is the *last* `IN=… OUT=…` of the
//! line. And lines arrive cut short or run together, so the order of the fields is checked: what is
//! missing makes a line truncated, what comes twice or out of order makes it damaged, and neither is
//! ever reported as a whole packet. A value that the end of the line cut in two is not kept.
//!
//! What cannot be noticed: a last number cut to a shorter one where nothing need follow it
//! (`LEN=28` to `LEN=2` at the end of a UDP line), and a message that a privileged program forged.

mod envelope;
mod fields;
mod key;
mod notice;
pub(super) mod number;
mod packet;

use std::borrow::Cow;
use std::time::Duration;

pub use envelope::{Record, parse_record, unescape};

use self::envelope::Origin;
use super::{Body, KernelLine, LogSource, Stamp};

/// Reads one line in any of the forms in which kernel messages are passed around: a raw /dev/kmsg
/// record, `dmesg` with or without its stamps and levels, syslog, the journal's short form, or the
/// bare message. `None` when the line is not about the firewall, or says that another program than
/// the kernel (or ulogd) wrote it: user names and the like can hold anything.
///
/// With [`LogSource::File`] it must say that the kernel wrote it.
pub fn parse_line(line: &[u8], source: LogSource) -> Option<KernelLine> {
    let letter = envelope::open(line);
    match letter.origin {
        Origin::Kernel => {}
        Origin::Unsaid if source != LogSource::File => {}
        Origin::LogDaemon => return daemon_line(&letter.message, letter.stamp, source),
        Origin::Unsaid | Origin::Stranger => return None,
    }
    parse_message(&letter.message, letter.stamp, source)
}

/// Reads a bare message: what follows date, host and level. Escapes must have been undone.
pub fn parse_message(message: &[u8], stamp: Stamp, source: LogSource) -> Option<KernelLine> {
    let (times, message) = unfold_repeats(trim_end(message));
    let body = match fields::parse(message) {
        Some(body) => with_times(body, times),
        None => notice::parse(message)?,
    };
    Some(KernelLine {
        stamp,
        source,
        text: message.into(),
        age: Duration::ZERO,
        body,
    })
}

/// What a log daemon says of itself concerns us only when it lost lines.
fn daemon_line(message: &[u8], stamp: Stamp, source: LogSource) -> Option<KernelLine> {
    Some(KernelLine {
        stamp,
        source,
        text: trim_end(message).into(),
        age: Duration::ZERO,
        body: notice::parse_daemon(message)?,
    })
}

fn with_times(body: Body, times: u32) -> Body {
    match body {
        Body::Packet(mut log) => {
            log.times = times;
            Body::Packet(log)
        }
        other => other,
    }
}

/// Line ends go, blanks stay: whether the last field was followed by one tells whether it is whole.
fn trim_end(message: &[u8]) -> &[u8] {
    let mut rest = message;
    while let [head @ .., b'\n' | b'\r' | 0] = rest {
        rest = head;
    }
    rest
}

/// rsyslog's `message repeated 3 times: [ MESSAGE]`.
fn unfold_repeats(message: &[u8]) -> (u32, &[u8]) {
    let unfolded = || {
        let rest = message.strip_prefix(b"message repeated ")?;
        let digits = rest.iter().position(|b| *b == b' ')?;
        let (count, rest) = rest.split_at(digits);
        let inner = rest.strip_prefix(b" times: [")?.strip_suffix(b"]")?;
        let inner = inner.strip_prefix(b" ").unwrap_or(inner);
        Some((number::decimal(count)?.max(1), inner))
    };
    unfolded().unwrap_or((1, message))
}

/// Bytes that need no change are borrowed.
type Bytes<'a> = Cow<'a, [u8]>;

#[cfg(test)]
mod tests;
