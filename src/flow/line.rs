//! A line of the kernel's log that concerns the firewall, taken apart.
//!
//! [`KernelLine`] keeps the message as it was written and says, in [`Body`], what it means. The text
//! is kept because it is what people know, search and paste; the fields are kept because the rest of
//! the program reasons about them.

use std::net::IpAddr;
use std::time::Duration;

use super::{Hook, IfName, LinkHeader, LogSource, Packet, Stamp};

/// One line, from whichever door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelLine {
    /// When it was written.
    pub stamp: Stamp,
    /// Where it was read.
    pub source: LogSource,
    /// The message, without date, host and level, escapes of the source undone. For NFLOG it is
    /// written here in the words that LOG would have used. Hostile bytes: strip before drawing.
    pub text: Box<[u8]>,
    /// How old it was when it was read: zero for a line that was followed live, more for history.
    pub age: Duration,
    /// What it says.
    pub body: Body,
}

impl KernelLine {
    /// The log prefix of a packet line, byte for byte, trailing blank included; empty for none and
    /// for other kinds of line.
    pub fn prefix(&self) -> &[u8] {
        match &self.body {
            Body::Packet(log) => self.text.get(..log.prefix_len).unwrap_or_default(),
            _ => &[],
        }
    }

    /// The packet part, if the line has one: a log or a trace line.
    pub fn log(&self) -> Option<&LogLine> {
        match &self.body {
            Body::Packet(log) => Some(log),
            Body::Trace(trace) => Some(&trace.log),
            _ => None,
        }
    }
}

/// The kinds of line that the firewall's user wants to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every line is the large variant; a box would cost each of them an allocation"
)]
pub enum Body {
    /// A LOG, NFLOG or nft `log` rule, or conntrack's `log_invalid`, described a packet.
    Packet(LogLine),
    /// A legacy TRACE step.
    Trace(Box<TraceLine>),
    /// `nf_conntrack: table full, dropping packet`.
    TableFull(TableFull),
    /// `martian source …`: the reverse path filter, or an address that cannot come from there.
    Martian(Martian),
    /// `Possible SYN flooding on port …`.
    SynFlood(SynFlood),
    /// `… callbacks suppressed`: other lines were not written.
    Suppressed(Suppressed),
    /// Any other line that says that packets are being lost.
    Notice(Notice),
}

/// A packet that a rule wrote to the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogLine {
    /// Length of the prefix at the start of [`KernelLine::text`].
    pub(crate) prefix_len: usize,
    /// Interface that it came in by (`IN=`).
    pub input: IfName,
    /// Interface that it is to leave by (`OUT=`).
    pub output: IfName,
    /// Bridge port in (`PHYSIN=`).
    pub physin: IfName,
    /// Bridge port out (`PHYSOUT=`).
    pub physout: IfName,
    /// Link header, where there was one.
    pub link: LinkHeader,
    /// The packet.
    pub packet: Packet,
    /// What an ICMP error quotes: the packet that caused it.
    pub inner: Option<Box<Packet>>,
    /// Owner of the sending socket (`--log-uid`).
    pub uid: Option<u32>,
    /// Group of the sending socket.
    pub gid: Option<u32>,
    /// The hook, where the source says it (NFLOG does, LOG does not).
    pub hook: Option<Hook>,
    /// Whether the line can be trusted to be whole.
    pub condition: Condition,
    /// How many times a syslog daemon says that it saw this line: 1 unless it folded repeats.
    pub times: u32,
}

/// How much of a line arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// Every field that the kernel writes for this packet is there.
    #[default]
    Whole,
    /// Cut short: the fields that are set are right, others are missing.
    Truncated,
    /// Two messages ran into each other, or bytes are garbled: the fields are the first reading of
    /// each and may belong to different packets. Not for counting, not for deciding.
    Damaged,
}

/// A step of a traced packet: `TRACE: filter:FORWARD:rule:5 IN=…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceLine {
    /// Table; names are short and ASCII in the kernel.
    pub table: Box<[u8]>,
    /// Chain, any bytes.
    pub chain: Box<[u8]>,
    /// What happened there.
    pub step: TraceStep,
    /// Rule number, from 1; for a policy it is one past the last rule.
    pub number: u32,
    /// The packet at that step.
    pub log: LogLine,
}

/// What a TRACE line says of its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TraceStep {
    /// The rule matched.
    Rule,
    /// The end of a user chain, or a RETURN.
    Return,
    /// The policy of a built-in chain.
    Policy,
}

/// The connection table had no room: a packet was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableFull {
    /// The inode of the network namespace whose table it is, where the kernel names it (it does for
    /// namespaces other than the first since 6.12 or so).
    pub netns: Option<u64>,
}

/// A packet refused by routing because of its addresses: not a firewall rule's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Martian {
    /// `martian destination` instead of `martian source`.
    pub destination: bool,
    /// Where the packet came from.
    pub src: Option<IpAddr>,
    /// Where it was going.
    pub dst: Option<IpAddr>,
    /// The interface.
    pub dev: IfName,
}

/// A listener's SYN queue overflowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynFlood {
    /// The port.
    pub port: u16,
    /// The address of the listener, where the kernel names it (since 6.1 or so).
    pub addr: Option<IpAddr>,
    /// SYN cookies are being sent; otherwise requests are dropped.
    pub cookies: bool,
}

/// Lines that were not written, because there were too many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppressed {
    /// How many.
    pub count: u64,
    /// Who says so: `net_ratelimit`, `__ratelimit`, a kernel function, `journald`, `rsyslog`.
    pub by: Box<[u8]>,
}

/// Another sign of packets being lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which.
    pub kind: NoticeKind,
}

/// The signs that [`Notice`] knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    /// Conntrack's expectation table is full.
    ExpectationsFull,
    /// An NFQUEUE queue is full.
    QueueFull,
    /// An ipset is full.
    SetFull,
    /// A hashlimit table is full.
    HashlimitFull,
    /// The neighbour table (ARP, ND) is full.
    NeighboursFull,
    /// The route cache is full.
    RoutesFull,
    /// An ARP packet that a rule logged.
    Arp,
    /// A frame that an ebtables rule logged.
    Bridge,
}
