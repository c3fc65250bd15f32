//! One packet, as far as somebody described it.
//!
//! The same shape serves a log line, a conntrack tuple, a captured packet and a question ("why is X
//! blocked?"), so every field may be missing. Units and ranges are those of the headers: RFC 791
//! (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP), RFC 768 (UDP), RFC 792 and 4443 (ICMP).

use std::fmt;
use std::net::IpAddr;

use super::parse::number::decimal;

/// Which Internet Protocol a packet is of. A word of this room's own: a packet knows nothing of
/// rulesets and their families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What is known of a packet. `None` is "not said".
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Packet {
    /// IPv4 or IPv6.
    pub family: Option<IpVersion>,
    /// Source address.
    pub src: Option<IpAddr>,
    /// Destination address.
    pub dst: Option<IpAddr>,
    /// Transport protocol: the last header that the describer could walk to.
    pub proto: Option<Protocol>,
    /// Source port of TCP, UDP, UDP-Lite, SCTP, DCCP.
    pub sport: Option<u16>,
    /// Destination port.
    pub dport: Option<u16>,
    /// ICMP or ICMPv6 message.
    pub icmp: Option<Icmp>,
    /// TCP flags.
    pub tcp_flags: Option<TcpFlags>,
    /// TCP sequence number (`--log-tcp-sequence`).
    pub tcp_seq: Option<u32>,
    /// TCP acknowledgement number.
    pub tcp_ack: Option<u32>,
    /// TCP window, unscaled.
    pub window: Option<u16>,
    /// TCP urgent pointer.
    pub urgent: Option<u16>,
    /// UDP's own length: its header and data.
    pub udp_length: Option<u16>,
    /// Security parameter index of AH or ESP.
    pub spi: Option<u32>,
    /// Total length in bytes, network header included.
    pub length: Option<u32>,
    /// Time to live, or hop limit.
    pub ttl: Option<u8>,
    /// The whole traffic class byte: DSCP and ECN.
    pub tos: Option<u8>,
    /// IPv4 identification.
    pub id: Option<u16>,
    /// IPv6 flow label, 20 bits.
    pub flow_label: Option<u32>,
    /// IPv4 "don't fragment".
    pub dont_fragment: bool,
    /// The packet is a fragment: later ones (`offset` > 0) have no ports.
    pub fragment: Option<Fragment>,
    /// fwmark. A line without `MARK=` means zero, since the kernel prints only others.
    pub mark: Option<u32>,
    /// Next-hop MTU of "fragmentation needed" and "packet too big".
    pub mtu: Option<u32>,
    /// The packet itself ended inside a header: what follows was not there to be read.
    pub incomplete: bool,
}

impl Packet {
    /// The TCP flags say that this opens a connection: SYN without ACK, RST or FIN, as `--syn` does.
    pub fn is_syn(&self) -> bool {
        self.tcp_flags.is_some_and(|flags| {
            flags.contains(TcpFlags::SYN)
                && !flags.contains(TcpFlags::ACK)
                && !flags.contains(TcpFlags::RST)
                && !flags.contains(TcpFlags::FIN)
        })
    }
}

/// A protocol number of the IP header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(pub u8);

impl Protocol {
    /// Internet control messages, IPv4.
    pub const ICMP: Self = Self(1);
    /// Internet group management.
    pub const IGMP: Self = Self(2);
    /// Transmission control.
    pub const TCP: Self = Self(6);
    /// User datagrams.
    pub const UDP: Self = Self(17);
    /// Datagram congestion control.
    pub const DCCP: Self = Self(33);
    /// Generic routing encapsulation.
    pub const GRE: Self = Self(47);
    /// Encapsulating security payload.
    pub const ESP: Self = Self(50);
    /// Authentication header.
    pub const AH: Self = Self(51);
    /// Internet control messages, IPv6.
    pub const ICMPV6: Self = Self(58);
    /// Stream control transmission.
    pub const SCTP: Self = Self(132);
    /// UDP with partial checksums.
    pub const UDPLITE: Self = Self(136);

    /// Lower-case name as iptables prints it, where there is a common one.
    pub fn name(self) -> Option<&'static str> {
        NAMES
            .iter()
            .find(|(number, _)| *number == self.0)
            .map(|(_, name)| *name)
    }

    /// By name, any case, or by number.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if let Some(number) = decimal(text) {
            return u8::try_from(number).ok().map(Self);
        }
        NAMES
            .iter()
            .find(|(_, name)| name.as_bytes().eq_ignore_ascii_case(text))
            .map(|(number, _)| Self(*number))
    }

    /// The header begins with a source and a destination port.
    pub fn has_ports(self) -> bool {
        matches!(
            self,
            Self::TCP | Self::UDP | Self::UDPLITE | Self::SCTP | Self::DCCP
        )
    }

    /// Either ICMP.
    pub fn is_icmp(self) -> bool {
        matches!(self, Self::ICMP | Self::ICMPV6)
    }
}

/// Numbers and names of /etc/protocols that firewalls meet. iptables prints ICMPv6 as `ipv6-icmp`;
/// the kernel's log says `ICMPv6`: both are read, the first is printed.
const NAMES: [(u8, &str); 19] = [
    (1, "icmp"),
    (2, "igmp"),
    (4, "ipencap"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (41, "ipv6"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "ipv6-icmp"),
    (58, "icmpv6"),
    (58, "icmp6"),
    (89, "ospf"),
    (103, "pim"),
    (112, "vrrp"),
    (115, "l2tp"),
    (132, "sctp"),
    (136, "udplite"),
];

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => f.pad(&self.0.to_string()),
        }
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Protocol {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Type and code of an ICMP or ICMPv6 message, and the identifiers of an echo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Icmp {
    /// Message type: 8 is echo request in ICMP, 128 in ICMPv6.
    pub kind: u8,
    /// Code within the type; `None` when the line ended before it.
    pub code: Option<u8>,
    /// Identifier and sequence number of echo messages.
    pub echo: Option<(u16, u16)>,
}

/// The flag bits of the TCP header, in the order of its thirteenth byte.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronise: opens.
    pub const SYN: Self = Self(0x02);
    /// Reset.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement number is meant.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is meant.
    pub const URG: Self = Self(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced.
    pub const CWR: Self = Self(0x80);

    /// Names in the order in which the kernel prints them.
    const NAMES: [(Self, &'static str); 8] = [
        (Self::CWR, "CWR"),
        (Self::ECE, "ECE"),
        (Self::URG, "URG"),
        (Self::ACK, "ACK"),
        (Self::PSH, "PSH"),
        (Self::RST, "RST"),
        (Self::SYN, "SYN"),
        (Self::FIN, "FIN"),
    ];

    /// All bits of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// One flag by its name as the kernel prints it.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| known.as_bytes() == name)
            .map(|(flag, _)| *flag)
    }
}

impl std::ops::BitOr for TcpFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for TcpFlags {
    /// `SYN ACK` as a person says it is printed as the kernel does: `ACK SYN`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        for (flag, name) in Self::NAMES {
            if self.contains(flag) {
                write!(f, "{gap}{name}")?;
                gap = " ";
            }
        }
        Ok(())
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

impl serde::Serialize for TcpFlags {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names = Self::NAMES.iter().filter(|(flag, _)| self.contains(*flag));
        serializer.collect_seq(names.map(|(_, name)| name))
    }
}

/// Where a fragment sits in its datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Fragment {
    /// Bytes of payload before this one; zero is the first fragment, which has the ports. (A log
    /// line counts IPv4 fragments in units of eight and IPv6 ones in bytes.)
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// Identification of the IPv6 fragment header; IPv4 has [`Packet::id`].
    pub id: Option<u32>,
}

/// The five places of netfilter, numbered as in include/uapi/linux/netfilter.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Hook {
    /// `NF_INET_PRE_ROUTING`.
    Prerouting,
    /// `NF_INET_LOCAL_IN`.
    Input,
    /// `NF_INET_FORWARD`.
    Forward,
    /// `NF_INET_LOCAL_OUT`.
    Output,
    /// `NF_INET_POST_ROUTING`.
    Postrouting,
}

impl Hook {
    /// From the kernel's number.
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Prerouting,
            1 => Self::Input,
            2 => Self::Forward,
            3 => Self::Output,
            4 => Self::Postrouting,
            _ => return None,
        })
    }

    /// The built-in chain of iptables that stands there.
    pub fn chain(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Input => "INPUT",
            Self::Forward => "FORWARD",
            Self::Output => "OUTPUT",
            Self::Postrouting => "POSTROUTING",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_go_by_name_and_number() {
        assert_eq!(Protocol::parse(b"ICMPv6"), Some(Protocol::ICMPV6));
        assert_eq!(Protocol::parse(b"ipv6-icmp"), Some(Protocol::ICMPV6));
        assert_eq!(Protocol::parse(b"132"), Some(Protocol::SCTP));
        assert_eq!(Protocol::parse(b"256"), None);
        assert_eq!(Protocol::parse(b""), None);
        assert_eq!(Protocol(162).to_string(), "162");
        assert_eq!(Protocol::ICMPV6.to_string(), "ipv6-icmp");
    }

    #[test]
    fn a_syn_is_what_dash_dash_syn_matches() {
        let with = |flags| Packet {
            tcp_flags: Some(flags),
            ..Packet::default()
        };
        assert!(with(TcpFlags::SYN).is_syn());
        assert!(with(TcpFlags::SYN | TcpFlags::ECE).is_syn());
        assert!(!with(TcpFlags::SYN | TcpFlags::ACK).is_syn());
        assert!(!Packet::default().is_syn());
    }
}
