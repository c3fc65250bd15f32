//! A question about one packet: what `explain` is asked, and what the verdict engine follows.
//!
//! A [`Probe`] is a [`Packet`](crate::flow::Packet) with what only a firewall asks beside it: the way that it
//! takes through the box, its interfaces, what conntrack would say of it. `None` is "not said": a rule
//! that looks at such a field can be neither matched nor passed for certain.
//!
//! The JSON form is the contract of `ruletop explain --packets`. What may be left out there without
//! becoming a wildcard: `family` (that of the addresses, else that of the dump if it is of one, else 4), `path` (as the interfaces tell: both is
//! `forward`, only `out` is `output`, else `input`), `mark` (0, which is what the kernel gives a packet
//! that arrives) and `fragment` (false).

use std::net::IpAddr;

use crate::flow::{IfName, Mac, Protocol, RouteAnswer, TcpFlags};
use crate::ruleset::Family;
use crate::verdict::{Connection, End};

/// The way of a packet through the box.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Path {
    /// To a program on this box: PREROUTING, INPUT.
    #[default]
    Input,
    /// Through it: PREROUTING, FORWARD, POSTROUTING.
    Forward,
    /// From a program on this box: OUTPUT, POSTROUTING.
    Output,
}

impl Path {
    /// `input`, `forward` or `output`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
        }
    }
}

/// What conntrack says of a packet (iptables-extensions(8), "conntrack").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CtState {
    /// Belongs to no connection and begins none.
    Invalid,
    /// The first of a connection.
    New,
    /// Begins a connection that another one announced, or is an error about one.
    Related,
    /// Of a connection that was answered.
    Established,
    /// Not looked at, by `CT --notrack`.
    Untracked,
}

impl CtState {
    /// `new`, `established` …
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::New => "new",
            Self::Related => "related",
            Self::Established => "established",
            Self::Untracked => "untracked",
        }
    }
}

/// How the link layer addressed the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkType {
    /// To this host.
    Unicast,
    /// To all.
    Broadcast,
    /// To some.
    Multicast,
}

/// Source and destination, either or both of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The source.
    pub src: bool,
    /// The destination.
    pub dst: bool,
}

/// One packet, asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// IPv4 or IPv6.
    pub family: Family,
    /// Its way; a DNAT may turn it where the box's own addresses are known.
    pub path: Path,
    /// Its way was not said, and [`path`](Self::path) is what is usual: where the box's addresses are known, its
    /// destination tells (`settle`).
    pub open: bool,
    /// Ends that nobody named: anybody's address stands for them, and one that fits the interfaces better may take its
    /// place (`fitting`).
    pub made_up: Ends,
    /// Interface that it comes in by; on the way out there is none, whatever stands here.
    pub input: Option<IfName>,
    /// Interface that it goes out by; on the way in there is none.
    pub output: Option<IfName>,
    /// Transport protocol.
    pub proto: Option<Protocol>,
    /// Source address.
    pub src: Option<IpAddr>,
    /// Source port.
    pub sport: Option<u16>,
    /// Destination address as it arrives.
    pub dst: Option<IpAddr>,
    /// Destination port as it arrives.
    pub dport: Option<u16>,
    /// ICMP or ICMPv6 type.
    pub icmp_type: Option<u8>,
    /// ICMP or ICMPv6 code.
    pub icmp_code: Option<u8>,
    /// TCP flags.
    pub tcp_flags: Option<TcpFlags>,
    /// What conntrack would say.
    pub ctstate: Option<CtState>,
    /// What conntrack knows beside.
    pub connection: Connection,
    /// Bytes from the network header on.
    pub length: Option<u32>,
    /// Time to live or hop limit, as it arrives.
    pub ttl: Option<u8>,
    /// The whole type-of-service or traffic-class byte.
    pub tos: Option<u8>,
    /// fwmark.
    pub mark: Option<u32>,
    /// A later fragment: it has no ports.
    pub fragment: bool,
    /// Ethernet address of the sender.
    pub mac: Option<Mac>,
    /// How the link layer addressed it.
    pub link: Option<LinkType>,
    /// The whole packet from the network header on, for tests of bytes.
    pub bytes: Option<Box<[u8]>>,
    /// What the kernel says of the way back to its source, where a rule looks at that.
    pub back: Option<RouteAnswer>,
}

impl Probe {
    /// A packet of which only that is known.
    pub fn new(family: Family, path: Path) -> Self {
        Self {
            family,
            path,
            open: false,
            made_up: Ends::default(),
            input: None,
            output: None,
            proto: None,
            src: None,
            sport: None,
            dst: None,
            dport: None,
            icmp_type: None,
            icmp_code: None,
            tcp_flags: None,
            ctstate: None,
            connection: Connection::default(),
            length: None,
            ttl: None,
            tos: None,
            mark: Some(0),
            fragment: false,
            mac: None,
            link: None,
            bytes: None,
            back: None,
        }
    }

    /// Where it is routed to, as far as that is known before rules are asked: what conntrack has settled, else its
    /// destination as it arrives.
    pub fn goal(&self) -> Option<IpAddr> {
        let settled = self.connection.becomes.and_then(|becomes| becomes.dst);
        settled.map_or(self.dst, |dst| dst.address)
    }

    /// Conntrack changes an end of it.
    pub fn is_translated(&self) -> bool {
        let (src, dst) = ((self.src, self.sport), (self.dst, self.dport));
        let changes = |end: Option<End>, old| end.is_some_and(|end| (end.address, end.port) != old);
        let becomes = self.connection.becomes;
        becomes.is_some_and(|new| changes(new.src, src) || changes(new.dst, dst))
    }

    /// Reads the JSON form of one packet.
    pub fn from_json(text: &[u8]) -> Result<Self, ProbeError> {
        Self::from_json_as(text, Family::V4)
    }

    /// Reads the JSON form of one packet that is of `usual` where it does not tell its family.
    pub fn from_json_as(text: &[u8], usual: Family) -> Result<Self, ProbeError> {
        super::form::read(text, usual)
    }
}

/// Why a packet could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No JSON, or a field that there is not.
    #[error("the packet is not understood: {0}")]
    Json(#[from] serde_json::Error),
    /// A field whose value cannot be.
    #[error("the packet's {field} is {value:?}, expected {expected}")]
    Value {
        /// Name of the field.
        field: &'static str,
        /// What stood there.
        value: String,
        /// What may stand there.
        expected: &'static str,
    },
}

impl ProbeError {
    pub(super) fn value(
        field: &'static str,
        value: &(impl ToString + ?Sized),
        expected: &'static str,
    ) -> Self {
        Self::Value {
            field,
            value: value.to_string(),
            expected,
        }
    }
}

#[cfg(test)]
mod tests;
