//! Targets that hand a packet to user space: LOG, NFLOG, NFQUEUE; and TRACE.

use std::borrow::Cow;

use super::super::options::{Given, Misread, TargetExtension, opt};
use super::super::value::{Bounds, bounds, small};
use super::super::words::Phrase;
use super::Target;

pub(super) const EXTENSIONS: &[TargetExtension] = &[
    TargetExtension {
        name: "LOG",
        options: &[
            opt(&["log-level"], 1),
            opt(&["log-prefix"], 1),
            opt(&["log-tcp-sequence"], 0),
            opt(&["log-tcp-options"], 0),
            opt(&["log-ip-options"], 0),
            opt(&["log-uid"], 0),
            opt(&["log-macdecode"], 0),
        ],
        read: log,
    },
    TargetExtension {
        name: "NFLOG",
        options: &[
            opt(&["nflog-group"], 1),
            opt(&["nflog-prefix"], 1),
            opt(&["nflog-range"], 1),
            opt(&["nflog-size"], 1),
            opt(&["nflog-threshold"], 1),
        ],
        read: nflog,
    },
    TargetExtension {
        name: "NFQUEUE",
        options: &[
            opt(&["queue-num"], 1),
            opt(&["queue-balance"], 1),
            opt(&["queue-bypass"], 0),
            opt(&["queue-cpu-fanout"], 0),
        ],
        read: nfqueue,
    },
    TargetExtension {
        name: "TRACE",
        options: &[],
        read: trace,
    },
];

/// `-j LOG`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log<'a> {
    /// Level of syslog(3), 0 emergency to 7 debug.
    pub level: u8,
    /// What a line begins with, blanks at its end included.
    pub prefix: Cow<'a, [u8]>,
    /// TCP sequence numbers too.
    pub tcp_sequence: bool,
    /// TCP options too.
    pub tcp_options: bool,
    /// IP options too.
    pub ip_options: bool,
    /// User of the sending process too.
    pub uid: bool,
    /// MAC addresses in words.
    pub mac_decode: bool,
}

/// The level without `--log-level` (`LOG_DEFAULT_LEVEL` in libxt_LOG).
const WARNING: u8 = 4;

/// Names of levels (syslog(3)).
const LEVELS: &[(&str, u8)] = &[
    ("emerg", 0),
    ("panic", 0),
    ("alert", 1),
    ("crit", 2),
    ("error", 3),
    ("err", 3),
    ("warning", 4),
    ("warn", 4),
    ("notice", 5),
    ("info", 6),
    ("debug", 7),
];

fn level(text: &[u8]) -> Option<u8> {
    let named = LEVELS
        .iter()
        .find(|row| row.0.as_bytes().eq_ignore_ascii_case(text))
        .map(|row| row.1);
    named.or_else(|| small(text).filter(|level| *level < 8))
}

fn log<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    let mut log = Log {
        level: WARNING,
        prefix: Cow::Borrowed(b""),
        tcp_sequence: false,
        tcp_options: false,
        ip_options: false,
        uid: false,
        mac_decode: false,
    };
    for option in &given.options {
        match option.name {
            "log-level" => log.level = option.read(level, "a level from 0 to 7 or its name")?,
            "log-prefix" => log.prefix = option.text(),
            "log-tcp-sequence" => log.tcp_sequence = true,
            "log-tcp-options" => log.tcp_options = true,
            "log-ip-options" => log.ip_options = true,
            "log-uid" => log.uid = true,
            "log-macdecode" => log.mac_decode = true,
            _ => return Err(option.not_read()),
        }
    }
    Ok(Target::Log(Box::new(log)))
}

impl Log<'_> {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        if !self.prefix.is_empty() {
            phrase.quoted(false, "prefix", &self.prefix);
        }
        if self.level != WARNING {
            phrase.keyed(false, "level", self.level);
        }
        phrase.flag_if(self.tcp_sequence, "tcp-sequence");
        phrase.flag_if(self.tcp_options, "tcp-options");
        phrase.flag_if(self.ip_options, "ip-options");
        phrase.flag_if(self.uid, "uid");
        phrase.flag_if(self.mac_decode, "macdecode");
    }
}

/// `-j NFLOG`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nflog<'a> {
    /// Netlink group that listens.
    pub group: u16,
    /// Prefix handed along.
    pub prefix: Cow<'a, [u8]>,
    /// `--nflog-range`, which the kernel never heeded; legacy only.
    pub range: Option<u32>,
    /// Bytes of the packet that are handed along.
    pub size: Option<u32>,
    /// Packets that are collected before they are handed over.
    pub threshold: Option<u16>,
}

fn nflog<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    let mut log = Nflog::default();
    for option in &given.options {
        match option.name {
            "nflog-group" => log.group = option.read(small, "a group from 0 to 65535")?,
            "nflog-prefix" => log.prefix = option.text(),
            "nflog-range" => log.range = Some(option.read(small, "a number of bytes")?),
            "nflog-size" => log.size = Some(option.read(small, "a number of bytes")?),
            "nflog-threshold" => {
                log.threshold = Some(option.read(small, "a number from 1 to 65535")?);
            }
            _ => return Err(option.not_read()),
        }
    }
    Ok(Target::Nflog(Box::new(log)))
}

impl Nflog<'_> {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        phrase.keyed(false, "group", self.group);
        if !self.prefix.is_empty() {
            phrase.quoted(false, "prefix", &self.prefix);
        }
        if let Some(threshold) = self.threshold {
            phrase.keyed(false, "threshold", threshold);
        }
    }
}

/// `-j NFQUEUE`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nfqueue {
    /// The queue, or the queues among which connections are spread.
    pub queues: Bounds<u16>,
    /// Accepts the packet where nobody listens, instead of dropping it.
    pub bypass: bool,
    /// Spreads by processor instead of by connection.
    pub cpu_fanout: bool,
}

fn nfqueue<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    let mut queue = Nfqueue {
        queues: Bounds { min: 0, max: 0 },
        bypass: false,
        cpu_fanout: false,
    };
    for option in &given.options {
        match option.name {
            "queue-num" => {
                let number = option.read(small, "a queue from 0 to 65535")?;
                queue.queues = Bounds {
                    min: number,
                    max: number,
                };
            }
            "queue-balance" => {
                let read = |text: &[u8]| bounds(text, 0, u16::MAX);
                queue.queues = option.read(read, "queues as first:last")?;
            }
            "queue-bypass" => queue.bypass = true,
            "queue-cpu-fanout" => queue.cpu_fanout = true,
            _ => return Err(option.not_read()),
        }
    }
    Ok(Target::Nfqueue(queue))
}

impl Nfqueue {
    pub(super) fn describe(self, phrase: &mut Phrase) {
        phrase.keyed(false, "queue", self.queues);
        phrase.flag_if(self.bypass, "bypass");
        phrase.flag_if(self.cpu_fanout, "cpu-fanout");
    }
}

// A reader of no options cannot fail; the row wants one that can.
#[allow(clippy::unnecessary_wraps)]
fn trace<'a>(_: &Given<'a>) -> Result<Target<'a>, Misread> {
    Ok(Target::Trace)
}
