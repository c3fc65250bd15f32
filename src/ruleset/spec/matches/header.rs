//! Matches on single fields of headers: length, ttl, hl, mac, tos, dscp, ecn, pkttype.

use std::fmt;

use super::super::options::{Given, GivenOption, MatchExtension, Misread, opt};
use super::super::value::{Inv, Masked, bounds, small};
use super::super::words::Phrase;
use super::Match;

pub(super) const EXTENSIONS: &[MatchExtension] = &[
    MatchExtension {
        names: &["length"],
        options: &[opt(&["length"], 1)],
        read: length,
    },
    MatchExtension {
        names: &["ttl"],
        options: &[
            opt(&["ttl-eq", "ttl"], 1),
            opt(&["ttl-lt"], 1),
            opt(&["ttl-gt"], 1),
        ],
        read: ttl,
    },
    MatchExtension {
        names: &["hl"],
        options: &[
            opt(&["hl-eq", "hl"], 1),
            opt(&["hl-lt"], 1),
            opt(&["hl-gt"], 1),
        ],
        read: hl,
    },
    MatchExtension {
        names: &["mac"],
        options: &[opt(&["mac-source"], 1)],
        read: mac,
    },
    MatchExtension {
        names: &["tos"],
        options: &[opt(&["tos"], 1)],
        read: tos,
    },
    MatchExtension {
        names: &["dscp"],
        options: &[opt(&["dscp"], 1), opt(&["dscp-class"], 1)],
        read: dscp,
    },
    MatchExtension {
        names: &["ecn"],
        options: &[
            opt(&["ecn-tcp-cwr"], 0),
            opt(&["ecn-tcp-ece"], 0),
            opt(&["ecn-ip-ect"], 1),
        ],
        read: ecn,
    },
    MatchExtension {
        names: &["pkttype"],
        options: &[opt(&["pkt-type"], 1)],
        read: pkttype,
    },
];

/// The only option of a match that has one.
fn only<'g, 'a>(given: &'g Given<'a>, lacks: &'static str) -> Result<&'g GivenOption<'a>, Misread> {
    match given.options.as_slice() {
        [option] => Ok(option),
        _ => Err(Given::lacks(lacks)),
    }
}

fn length<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let option = only(given, "--length with a number or a range a:b")?;
    let read = |text: &[u8]| bounds(text, 0, u16::MAX);
    option
        .read_inv(read, "a number or a range a:b")
        .map(Match::Length)
}

/// What ttl and hl compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hops {
    /// Equal.
    Equal(u8),
    /// Less.
    Less(u8),
    /// Greater.
    Greater(u8),
}

impl Hops {
    /// Whether a packet with that many hops left passes.
    pub fn holds(&self, hops: u8) -> bool {
        match *self {
            Self::Equal(value) => hops == value,
            Self::Less(value) => hops < value,
            Self::Greater(value) => hops > value,
        }
    }

    fn of(given: &Given<'_>) -> Result<Inv<Self>, Misread> {
        let option = only(given, "one comparison: -eq, -lt or -gt")?;
        let make = match option.name.rsplit('-').next() {
            Some("lt") => Self::Less,
            Some("gt") => Self::Greater,
            _ => Self::Equal,
        };
        option.read_inv(|text| small(text).map(make), "a number from 0 to 255")
    }
}

impl fmt::Display for Hops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal(value) => write!(f, "{value}"),
            Self::Less(value) => write!(f, "<{value}"),
            Self::Greater(value) => write!(f, ">{value}"),
        }
    }
}

fn ttl<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    Hops::of(given).map(Match::Ttl)
}

fn hl<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    Hops::of(given).map(Match::Hl)
}

fn mac<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let option = only(given, "--mac-source with an address")?;
    option
        .read_inv(mac_address, "six pairs of hexadecimal digits with colons")
        .map(Match::Mac)
}

fn mac_address(text: &[u8]) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(|b| *b == b':');
    for octet in &mut mac {
        let part = parts.next().filter(|part| (1..=2).contains(&part.len()))?;
        if !part.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        *octet = u8::from_str_radix(std::str::from_utf8(part).ok()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

pub(super) fn describe_mac(mac: Inv<[u8; 6]>, phrase: &mut Phrase) {
    let octets: Vec<_> = mac
        .value
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    phrase.keyed(mac.invert, "mac", octets.join(":"));
}

/// Names of type-of-service values (RFC 1349), as iptables takes them.
const TOS_NAMES: &[(&str, u8)] = &[
    ("Minimize-Delay", 0x10),
    ("Maximize-Throughput", 0x08),
    ("Maximize-Reliability", 0x04),
    ("Minimize-Cost", 0x02),
    ("Normal-Service", 0x00),
];

/// The value of a type-of-service name.
pub fn tos_name(text: &[u8]) -> Option<u8> {
    let row = TOS_NAMES
        .iter()
        .find(|row| row.0.as_bytes().eq_ignore_ascii_case(text))?;
    Some(row.1)
}

/// The bits that a type-of-service name is about: all but ECN and the precedence.
pub(in super::super) const TOS_NAME_MASK: u8 = 0x3f;

fn tos<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let option = only(given, "--tos with a value")?;
    let read = |text: &[u8]| {
        let named = tos_name(text).map(|value| Masked {
            value,
            mask: TOS_NAME_MASK,
        });
        named.or_else(|| Masked::read(text, u8::MAX))
    };
    option
        .read_inv(read, "a value, value/mask or name")
        .map(Match::Tos)
}

/// Names of DiffServ classes (RFC 2474, RFC 2597, RFC 3246).
const DSCP_CLASSES: &[(&str, u8)] = &[
    ("CS0", 0x00),
    ("CS1", 0x08),
    ("CS2", 0x10),
    ("CS3", 0x18),
    ("CS4", 0x20),
    ("CS5", 0x28),
    ("CS6", 0x30),
    ("CS7", 0x38),
    ("BE", 0x00),
    ("AF11", 0x0a),
    ("AF12", 0x0c),
    ("AF13", 0x0e),
    ("AF21", 0x12),
    ("AF22", 0x14),
    ("AF23", 0x16),
    ("AF31", 0x1a),
    ("AF32", 0x1c),
    ("AF33", 0x1e),
    ("AF41", 0x22),
    ("AF42", 0x24),
    ("AF43", 0x26),
    ("EF", 0x2e),
];

/// The code point of a DiffServ class.
pub fn dscp_class(text: &[u8]) -> Option<u8> {
    let row = DSCP_CLASSES
        .iter()
        .find(|row| row.0.as_bytes().eq_ignore_ascii_case(text))?;
    Some(row.1)
}

/// A code point: six bits.
pub(in super::super) fn dscp_value(text: &[u8]) -> Option<u8> {
    small(text).filter(|value| *value < 64)
}

fn dscp<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let option = only(given, "--dscp or --dscp-class")?;
    match option.name {
        "dscp" => option.read_inv(dscp_value, "a code point from 0 to 0x3f"),
        _ => option.read_inv(dscp_class, "a DiffServ class such as EF or AF41"),
    }
    .map(Match::Dscp)
}

pub(super) fn describe_dscp(dscp: Inv<u8>, phrase: &mut Phrase) {
    phrase.keyed(dscp.invert, "dscp", format_args!("{:#04x}", dscp.value));
}

/// `-m ecn`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ecn {
    /// The TCP flag CWR.
    pub cwr: Option<Inv<()>>,
    /// The TCP flag ECE.
    pub ece: Option<Inv<()>>,
    /// The two ECN bits of the IP header.
    pub ect: Option<Inv<u8>>,
}

fn ecn<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut ecn = Ecn::default();
    for option in &given.options {
        match option.name {
            "ecn-tcp-cwr" => ecn.cwr = Some(option.inv(())),
            "ecn-tcp-ece" => ecn.ece = Some(option.inv(())),
            "ecn-ip-ect" => {
                let read = |text: &[u8]| small(text).filter(|bits| *bits < 4);
                ecn.ect = Some(option.read_inv(read, "a number from 0 to 3")?);
            }
            _ => return Err(option.not_read()),
        }
    }
    Ok(Match::Ecn(ecn))
}

impl Ecn {
    pub(super) fn describe(self, phrase: &mut Phrase) {
        for (word, given) in [("ecn-tcp-cwr", self.cwr), ("ecn-tcp-ece", self.ece)] {
            if let Some(given) = given {
                phrase.flag(given.invert, word);
            }
        }
        phrase.option("ecn-ip-ect", self.ect.as_ref());
    }
}

/// `-m pkttype`: how the link layer addressed the packet
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// To this host.
    Unicast,
    /// To all.
    Broadcast,
    /// To some.
    Multicast,
}

impl PacketType {
    fn read(text: &[u8]) -> Option<Self> {
        [
            ("unicast", Self::Unicast),
            ("host", Self::Unicast),
            ("broadcast", Self::Broadcast),
            ("multicast", Self::Multicast),
        ]
        .into_iter()
        .find(|row| row.0.as_bytes().eq_ignore_ascii_case(text))
        .map(|row| row.1)
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unicast => "unicast",
            Self::Broadcast => "broadcast",
            Self::Multicast => "multicast",
        })
    }
}

fn pkttype<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let option = only(given, "--pkt-type with a type")?;
    option
        .read_inv(PacketType::read, "unicast, broadcast or multicast")
        .map(Match::Pkttype)
}
