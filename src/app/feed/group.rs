//! Groups of lines: their identity and their numbers.

use std::net::IpAddr;
use std::sync::Arc;

use super::Moment;
use crate::flow::{IfName, KernelLine, NoticeKind, Protocol};
use crate::ruleset::Family;

/// What the lines of a group share. Identity of a row: selection hangs on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupKey {
    /// Logged or traced packets.
    Flow(FlowKey),
    /// Other lines of the kernel.
    Event(EventKey),
}

/// What logged packets of one group share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// The log prefix; `TRACE:` for legacy trace lines.
    pub prefix: Arc<[u8]>,
    /// Address family.
    pub family: Option<Family>,
    /// Source address.
    pub src: Option<IpAddr>,
    /// Protocol.
    pub proto: Option<Protocol>,
    /// Destination port or ICMP type.
    pub port: Port,
    /// Interface that they came in by; none for packets of our own.
    pub input: IfName,
}

/// What stands for the destination port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Port {
    /// The protocol has none, or the packet was a later fragment.
    None,
    /// Destination port.
    Port(u16),
    /// ICMP or ICMPv6 type.
    IcmpType(u8),
}

/// What other lines of one group share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKey {
    /// Conntrack's table is full; of another namespace, where the kernel says so.
    TableFull(Option<u64>),
    /// A martian from there, at that interface.
    Martian(Option<IpAddr>, IfName),
    /// SYN queue overflow of that port.
    SynFlood(u16),
    /// Lines held back by a rate limit.
    Suppressed(Arc<[u8]>),
    /// Another sign.
    Notice(NoticeKind),
}

/// One group as it is shown.
#[derive(Clone, Debug)]
pub struct GroupRow {
    /// Identity.
    pub key: GroupKey,
    /// Lines since the group was first seen.
    pub count: u64,
    /// Lines per second over the last few seconds.
    pub rate: f64,
    /// First line.
    pub first: Moment,
    /// Latest line.
    pub last: Moment,
    /// All lines so far had this one destination; `None` when they had several.
    pub dst: Option<IpAddr>,
    /// The latest line itself, for what the group does not share.
    pub sample: Arc<KernelLine>,
}
