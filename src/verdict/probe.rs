//! A question about one packet: what `explain` is asked, and what the verdict engine follows.
//!
//! A [`Probe`] is a [`Packet`](crate::flow::Packet) with what only a firewall asks beside it: the way that it
//! takes through the box, its interfaces, what conntrack would say of it. `None` is "not said": a rule
//! that looks at such a field can be neither matched nor passed for certain.
//!
//! The JSON form is the contract of `ruletop explain --packets`. What may be left out there without
//! becoming a wildcard: `family` (that of the addresses, else 4), `path` (as the interfaces tell: both is
//! `forward`, only `out` is `output`, else `input`), `mark` (0, which is what the kernel gives a packet
//! that arrives) and `fragment` (false).

use std::net::IpAddr;

use crate::flow::{IfName, Mac, Protocol, TcpFlags};
use crate::ruleset::Family;

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

/// What conntrack knows of the packet's connection beyond its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// The packet goes against the direction of the first one.
    pub reply: Option<bool>,
    /// Source of the first packet as it arrived.
    pub src: Option<IpAddr>,
    /// Destination of the first packet, before any DNAT.
    pub dst: Option<IpAddr>,
    /// Source port of the first packet.
    pub sport: Option<u16>,
    /// Destination port of the first packet, before any DNAT.
    pub dport: Option<u16>,
    /// The connection's mark; `None` is 0 for the first packet, else not known.
    pub mark: Option<u32>,
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
        }
    }

    /// Reads the JSON form of one packet.
    pub fn from_json(text: &[u8]) -> Result<Self, ProbeError> {
        let form: Form = serde_json::from_slice(text)?;
        form.read()
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
    fn value(
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

/// The JSON form, before it is checked. A field that is not known is refused: a misspelt one would
/// silently become a wildcard.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    family: Option<u8>,
    path: Option<Path>,
    #[serde(rename = "in")]
    input: Option<String>,
    out: Option<String>,
    proto: Option<Number>,
    src: Option<IpAddr>,
    sport: Option<u16>,
    dst: Option<IpAddr>,
    dport: Option<u16>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
    tcp_flags: Option<Vec<String>>,
    ctstate: Option<CtState>,
    length: Option<u32>,
    ttl: Option<u8>,
    tos: Option<u8>,
    mark: Option<u32>,
    fragment: Option<bool>,
    connmark: Option<u32>,
    ctdir: Option<String>,
    ctorigsrc: Option<IpAddr>,
    ctorigdst: Option<IpAddr>,
    ctorigsrcport: Option<u16>,
    ctorigdstport: Option<u16>,
    mac: Option<String>,
    pkttype: Option<LinkType>,
    bytes: Option<String>,
}

/// A protocol by number or by name.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Number {
    Is(u8),
    Named(String),
}

impl Form {
    fn read(self) -> Result<Probe, ProbeError> {
        let family = self.family()?;
        let path = self.path.unwrap_or(match (&self.input, &self.out) {
            (Some(_), Some(_)) => Path::Forward,
            (None, Some(_)) => Path::Output,
            _ => Path::Input,
        });
        Ok(Probe {
            open: self.path.is_none() && self.out.as_ref().is_none_or(String::is_empty),
            made_up: Ends::default(),
            input: interface("in", self.input)?,
            output: interface("out", self.out)?,
            proto: self
                .proto
                .map(|proto| protocol(proto, family))
                .transpose()?,
            src: self.src,
            sport: self.sport,
            dst: self.dst,
            dport: self.dport,
            icmp_type: self.icmp_type,
            icmp_code: self.icmp_code,
            tcp_flags: self.tcp_flags.map(flags).transpose()?,
            ctstate: self.ctstate,
            connection: Connection {
                reply: self.ctdir.map(|word| direction(&word)).transpose()?,
                src: self.ctorigsrc,
                dst: self.ctorigdst,
                sport: self.ctorigsrcport,
                dport: self.ctorigdstport,
                mark: self.connmark,
            },
            length: self.length,
            ttl: self.ttl,
            tos: self.tos,
            mark: Some(self.mark.unwrap_or(0)),
            fragment: self.fragment.unwrap_or(false),
            mac: self.mac.map(|text| mac(&text)).transpose()?,
            link: self.pkttype,
            bytes: self.bytes.map(|text| hex(&text)).transpose()?,
            ..Probe::new(family, path)
        })
    }

    /// What is said, else what the addresses are; they must not be of the other family.
    fn family(&self) -> Result<Family, ProbeError> {
        let of = |address: &IpAddr| match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        };
        let addresses = [("src", self.src), ("dst", self.dst)];
        let told = addresses.iter().find_map(|(_, address)| address.as_ref());
        let family = match (self.family, told) {
            (Some(4), _) => Family::V4,
            (Some(6), _) => Family::V6,
            (Some(other), _) => return Err(ProbeError::value("family", &other, "4 or 6")),
            (None, told) => told.map_or(Family::V4, of),
        };
        for (field, address) in addresses {
            if let Some(address) = address.filter(|address| of(address) != family) {
                return Err(ProbeError::value(
                    field,
                    &address,
                    "an address of the packet's family",
                ));
            }
        }
        Ok(family)
    }
}

fn interface(field: &'static str, name: Option<String>) -> Result<Option<IfName>, ProbeError> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    match IfName::new(name.as_bytes()) {
        Some(name) => Ok(Some(name)),
        None => Err(ProbeError::value(field, &name, "the name of an interface")),
    }
}

fn protocol(proto: Number, family: Family) -> Result<Protocol, ProbeError> {
    let name = match proto {
        Number::Is(number) => return Ok(Protocol(number)),
        Number::Named(name) => name,
    };
    // What a person calls ICMP is the family's own.
    if name.eq_ignore_ascii_case("icmp") && family == Family::V6 {
        return Ok(Protocol::ICMPV6);
    }
    Protocol::parse(name.as_bytes())
        .ok_or_else(|| ProbeError::value("proto", &name, "a protocol's name or number"))
}

fn flags(names: Vec<String>) -> Result<TcpFlags, ProbeError> {
    let mut all = TcpFlags::default();
    for name in names {
        match TcpFlags::named(name.to_ascii_uppercase().as_bytes()) {
            Some(flag) => all = all | flag,
            None => {
                return Err(ProbeError::value(
                    "tcp_flags",
                    &name,
                    "names such as SYN and ACK",
                ));
            }
        }
    }
    Ok(all)
}

fn direction(word: &str) -> Result<bool, ProbeError> {
    match word {
        "ORIGINAL" => Ok(false),
        "REPLY" => Ok(true),
        other => Err(ProbeError::value("ctdir", other, "ORIGINAL or REPLY")),
    }
}

fn mac(text: &str) -> Result<Mac, ProbeError> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    let whole = mac.iter_mut().all(|octet| {
        let part = parts.next().filter(|part| part.len() <= 2);
        let value = part.and_then(|part| u8::from_str_radix(part, 16).ok());
        value.map(|value| *octet = value).is_some()
    });
    if whole && parts.next().is_none() {
        Ok(Mac(mac))
    } else {
        Err(ProbeError::value(
            "mac",
            text,
            "six pairs of hexadecimal digits",
        ))
    }
}

fn hex(text: &str) -> Result<Box<[u8]>, ProbeError> {
    let wrong = || ProbeError::value("bytes", text, "an even count of hexadecimal digits");
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    if !text.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let pair = |pair: &[u8]| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?);
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    bytes.map(Vec::into_boxed_slice).ok_or_else(wrong)
}

#[cfg(test)]
mod tests;
