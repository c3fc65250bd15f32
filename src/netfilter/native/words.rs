//! Tests of nf_tables in the words of iptables, one at a time.
//!
//! Numbers are those of linux/netfilter/nf_tables.h; offsets those of the protocols' headers. A test for which
//! there are no words here is left to whoever asks, who knows then that the rule asks more.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::ruleset::Family;

/// Something of a packet that a rule loads to test it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    InName,
    OutName,
    InIndex,
    OutIndex,
    /// `meta nfproto`
    NfProto,
    /// `meta protocol`
    EtherType,
    /// The transport protocol.
    Proto,
    Mark,
    CtMark,
    CtState,
    /// So many leading bytes of an address.
    Source(Family),
    Destination(Family),
    SourcePort,
    DestinationPort,
    /// Type of an ICMP message.
    IcmpType,
    TcpFlags,
}

/// `enum nft_cmp_ops`; a range has the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Equal,
    NotEqual,
    Below,
    AtMost,
    Above,
    AtLeast,
}

impl Operation {
    pub(super) const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Equal,
            1 => Self::NotEqual,
            2 => Self::Below,
            3 => Self::AtMost,
            4 => Self::Above,
            5 => Self::AtLeast,
            _ => return None,
        })
    }

    /// The `!` of an equality.
    fn not(self) -> Option<&'static str> {
        match self {
            Self::Equal => Some(""),
            Self::NotEqual => Some("! "),
            _ => None,
        }
    }
}

/// What a test means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Means {
    Words(String),
    /// Only packets of that family, or of any other.
    Family(Family, bool),
    /// Of that transport protocol.
    Proto(u8),
}

impl Item {
    pub(super) const fn of_meta(key: u32) -> Option<Self> {
        Some(match key {
            1 => Self::EtherType,
            3 => Self::Mark,
            4 => Self::InIndex,
            5 => Self::OutIndex,
            6 => Self::InName,
            7 => Self::OutName,
            15 => Self::NfProto,
            16 => Self::Proto,
            _ => return None,
        })
    }

    pub(super) const fn of_ct(key: u32) -> Option<Self> {
        match key {
            0 => Some(Self::CtState),
            3 => Some(Self::CtMark),
            _ => None,
        }
    }

    /// Bytes of a header. `family` and `proto` are what the rule has tested for before.
    pub(super) fn of_payload(
        family: Option<Family>,
        proto: Option<u8>,
        base: u32,
        offset: u32,
        length: u32,
    ) -> Option<Self> {
        /// `NFT_PAYLOAD_NETWORK_HEADER` and `NFT_PAYLOAD_TRANSPORT_HEADER`.
        const NETWORK: u32 = 1;
        const TRANSPORT: u32 = 2;
        match (base, offset, length) {
            (NETWORK, 9, 1) if family == Some(Family::V4) => Some(Self::Proto),
            (NETWORK, 6, 1) if family == Some(Family::V6) => Some(Self::Proto),
            (NETWORK, 12, 1..=4) if family == Some(Family::V4) => Some(Self::Source(Family::V4)),
            (NETWORK, 16, 1..=4) if family == Some(Family::V4) => {
                Some(Self::Destination(Family::V4))
            }
            (NETWORK, 8, 1..=16) if family == Some(Family::V6) => Some(Self::Source(Family::V6)),
            (NETWORK, 24, 1..=16) if family == Some(Family::V6) => {
                Some(Self::Destination(Family::V6))
            }
            (TRANSPORT, 0, 2) if ported(proto).is_some() => Some(Self::SourcePort),
            (TRANSPORT, 2, 2) if ported(proto).is_some() => Some(Self::DestinationPort),
            (TRANSPORT, 0, 1) if matches!(proto, Some(1 | 58)) => Some(Self::IcmpType),
            (TRANSPORT, 13, 1) if proto == Some(6) => Some(Self::TcpFlags),
            _ => None,
        }
    }

    /// The test of it against a value, under a mask where there is one. `length` is how much was loaded, `proto`
    /// the protocol that was tested for.
    pub(super) fn compared(
        self,
        operation: Operation,
        value: &[u8],
        mask: Option<&[u8]>,
        proto: Option<u8>,
    ) -> Option<Means> {
        let not = operation.not();
        let words = match self {
            Self::InName | Self::OutName if mask.is_none() => {
                format!("{}{} {}", not?, self.option(), name(value)?)
            }
            // The first interface of every namespace is the loopback.
            Self::InIndex | Self::OutIndex if mask.is_none() && host_order(value)? == 1 => {
                format!("{}{} lo", not?, self.option())
            }
            Self::NfProto | Self::EtherType if mask.is_none() => {
                let family = match value {
                    [2] | [0x08, 0x00] => Family::V4,
                    [10] | [0x86, 0xdd] => Family::V6,
                    _ => return None,
                };
                return Some(Means::Family(family, operation == Operation::Equal))
                    .filter(|_| not.is_some());
            }
            Self::Proto if mask.is_none() => match value {
                [number @ 1..=255] if operation == Operation::Equal => {
                    return Some(Means::Proto(*number));
                }
                // To iptables 0 is any protocol.
                [number] if *number != 0 => format!("{}-p {number}", not?),
                _ => return None,
            },
            Self::Mark => masked("mark", not?, value, mask)?,
            Self::CtMark => masked("connmark", not?, value, mask)?,
            Self::CtState => state(operation, value, mask)?,
            Self::Source(family) | Self::Destination(family) => match not {
                Some(not) => format!("{not}{} {}", self.option(), network(family, value, mask)?),
                None => self.bounded(family, operation, value, mask)?,
            },
            Self::SourcePort | Self::DestinationPort if mask.is_none() => {
                let port = u16::from_be_bytes(value.try_into().ok()?);
                let (not, first, last) = match operation {
                    Operation::Equal => ("", port, port),
                    Operation::NotEqual => ("! ", port, port),
                    Operation::Below => ("", 0, port.checked_sub(1)?),
                    Operation::AtMost => ("", 0, port),
                    Operation::Above => ("", port.checked_add(1)?, u16::MAX),
                    Operation::AtLeast => ("", port, u16::MAX),
                };
                self.ports(not, first, last, proto)?
            }
            Self::IcmpType if mask.is_none() => match (value, proto) {
                ([kind], Some(1)) => format!("-m icmp {}--icmp-type {kind}", not?),
                ([kind], Some(58)) => format!("-m icmp6 {}--icmpv6-type {kind}", not?),
                _ => return None,
            },
            Self::TcpFlags => flags(operation, value, mask?)?,
            _ => return None,
        };
        Some(Means::Words(words))
    }

    /// The test of it against a range.
    pub(super) fn within(
        self,
        operation: Operation,
        (first, last): (&[u8], &[u8]),
        proto: Option<u8>,
    ) -> Option<Means> {
        let not = operation.not()?;
        let words = match self {
            Self::SourcePort | Self::DestinationPort => {
                let port = |bytes: &[u8]| Some(u16::from_be_bytes(bytes.try_into().ok()?));
                self.ports(not, port(first)?, port(last)?, proto)?
            }
            Self::Source(family) | Self::Destination(family) => {
                let side = self.side();
                let (first, last) = (address(family, first)?, address(family, last)?);
                format!("-m iprange {not}--{side}-range {first}-{last}")
            }
            _ => return None,
        };
        Some(Means::Words(words))
    }

    fn option(self) -> &'static str {
        match self {
            Self::InName | Self::InIndex => "-i",
            Self::OutName | Self::OutIndex => "-o",
            Self::Source(_) => "-s",
            _ => "-d",
        }
    }

    fn side(self) -> &'static str {
        match self {
            Self::Source(_) | Self::SourcePort => "src",
            _ => "dst",
        }
    }

    fn ports(self, not: &str, first: u16, last: u16, proto: Option<u8>) -> Option<String> {
        let proto = ported(proto)?;
        let option = match self {
            Self::SourcePort => "sport",
            _ => "dport",
        };
        (first <= last).then(|| format!("-m {proto} {not}--{option} {first}:{last}"))
    }

    /// An address on one side of another.
    fn bounded(
        self,
        family: Family,
        operation: Operation,
        value: &[u8],
        mask: Option<&[u8]>,
    ) -> Option<String> {
        let bound = address(family, value).filter(|_| mask.is_none())?;
        let (lowest, highest) = match family {
            Family::V4 => ("0.0.0.0", "255.255.255.255"),
            Family::V6 => ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        };
        let side = self.side();
        Some(match operation {
            Operation::AtLeast => format!("-m iprange --{side}-range {bound}-{highest}"),
            Operation::AtMost => format!("-m iprange --{side}-range {lowest}-{bound}"),
            Operation::Below => format!("-m iprange ! --{side}-range {bound}-{highest}"),
            Operation::Above => format!("-m iprange ! --{side}-range {lowest}-{bound}"),
            Operation::Equal | Operation::NotEqual => return None,
        })
    }
}

/// The match of iptables for the ports of a protocol.
fn ported(proto: Option<u8>) -> Option<&'static str> {
    Some(match proto? {
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        132 => "sctp",
        _ => return None,
    })
}

/// A number as this machine writes it.
pub(super) fn host_order(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(value.try_into().ok()?))
}

/// An interface, or with a `+` all whose names begin so; only names that can be said in a rule.
fn name(value: &[u8]) -> Option<String> {
    let end = value.iter().position(|byte| *byte == 0);
    let bytes = value.get(..end.unwrap_or(value.len()))?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._@:-".contains(byte);
    let first = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
    let rest_is_padding = end.is_none_or(|end| value.iter().skip(end).all(|byte| *byte == 0));
    let name = std::str::from_utf8(bytes).ok()?;
    (first && rest_is_padding && bytes.iter().all(plain) && bytes.len() < 16)
        .then(|| format!("{name}{}", if end.is_some() { "" } else { "+" }))
}

/// An address that may be given by its leading bytes only.
pub(super) fn address(family: Family, value: &[u8]) -> Option<String> {
    Some(match family {
        Family::V4 => Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).to_string(),
        Family::V6 => Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).to_string(),
    })
}

fn network(family: Family, value: &[u8], mask: Option<&[u8]>) -> Option<String> {
    let whole = match family {
        Family::V4 => 4,
        Family::V6 => 16,
    };
    if value.is_empty() || mask.is_some_and(|mask| mask.len() != value.len()) {
        return None;
    }
    let padded = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes.resize(whole, 0);
        bytes
    };
    let mask = padded(mask.unwrap_or(&vec![0xff; value.len()]));
    let value = padded(value);
    // What has bits outside the mask is never met, which a rule of iptables cannot say.
    if value
        .iter()
        .zip(&mask)
        .any(|(value, mask)| value & !mask != 0)
    {
        return None;
    }
    Some(format!(
        "{}/{}",
        address(family, &value)?,
        address(family, &mask)?
    ))
}

fn masked(name: &str, not: &str, value: &[u8], mask: Option<&[u8]>) -> Option<String> {
    let value = host_order(value)?;
    let mask = match mask {
        Some(mask) => host_order(mask)?,
        None => u32::MAX,
    };
    Some(format!("-m {name} {not}--mark {value:#x}/{mask:#x}"))
}

/// `NF_CT_STATE_*_BIT`: a packet is in one state, which is one bit.
fn state(operation: Operation, value: &[u8], mask: Option<&[u8]>) -> Option<String> {
    const STATES: [(u32, &str); 5] = [
        (1, "INVALID"),
        (2, "ESTABLISHED"),
        (4, "RELATED"),
        (8, "NEW"),
        (64, "UNTRACKED"),
    ];
    let value = host_order(value)?;
    let (bits, is) = match (operation, mask) {
        (Operation::NotEqual, Some(mask)) if value == 0 => (host_order(mask)?, true),
        (Operation::Equal, Some(mask)) if value == 0 => (host_order(mask)?, false),
        (Operation::Equal, None) if value.is_power_of_two() => (value, true),
        (Operation::NotEqual, None) if value.is_power_of_two() => (value, false),
        _ => return None,
    };
    let names: Vec<&str> = STATES
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    if names.is_empty() {
        return None;
    }
    let not = if is { "" } else { "! " };
    Some(format!("-m conntrack {not}--ctstate {}", names.join(",")))
}

fn flags(operation: Operation, value: &[u8], mask: &[u8]) -> Option<String> {
    const FLAGS: [(u8, &str); 6] = [
        (1, "FIN"),
        (2, "SYN"),
        (4, "RST"),
        (8, "PSH"),
        (16, "ACK"),
        (32, "URG"),
    ];
    let ([value], [mask]) = (value, mask) else {
        return None;
    };
    // Of one flag, not to be unset is to be set.
    let (not, value) = match (operation, value) {
        (Operation::NotEqual, 0) if mask.is_power_of_two() => ("", *mask),
        _ => (operation.not()?, *value),
    };
    if mask & 0xc0 != 0 || value & !mask != 0 || *mask == 0 {
        return None;
    }
    let named = |bits: u8| {
        let mut text = String::new();
        for (_, name) in FLAGS.iter().filter(|(bit, _)| bits & bit != 0) {
            let _ = write!(text, "{}{name}", if text.is_empty() { "" } else { "," });
        }
        if text.is_empty() {
            text.push_str("NONE");
        }
        text
    };
    Some(format!(
        "-m tcp {not}--tcp-flags {} {}",
        named(*mask),
        named(value)
    ))
}
