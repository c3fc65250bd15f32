//! Reading the kernel's text.

use std::borrow::Cow;

use super::{KernelLine, LogSource, Stamp};

/// Reads one line in any of the forms in which kernel messages are passed around: a raw /dev/kmsg
/// record, `dmesg` with or without its stamps and levels, syslog, the journal's short form, or the
/// bare message. `None` when the line is not about the firewall.
pub fn parse_line(line: &[u8], source: LogSource) -> Option<KernelLine> {
    let _ = (line, source);
    None
}

/// Reads a bare message: what follows date, host and level.
pub fn parse_message(message: &[u8], stamp: Stamp, source: LogSource) -> Option<KernelLine> {
    let _ = (message, stamp, source);
    None
}

/// The head of a /dev/kmsg record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Severity, 0 to 7.
    pub level: u8,
    /// Facility: zero is the kernel itself; userspace cannot write that.
    pub facility: u16,
    /// Sequence number: a gap means records were lost.
    pub sequence: u64,
    /// Since boot.
    pub boot: std::time::Duration,
    /// The message, still escaped, first line only.
    pub message: &'a [u8],
}

/// Takes a /dev/kmsg record apart (Documentation/ABI/testing/dev-kmsg).
pub fn parse_record(record: &[u8]) -> Option<Record<'_>> {
    let _ = record;
    None
}

/// Undoes the `\xNN` of /dev/kmsg and dmesg.
pub fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    Cow::Borrowed(text)
}
