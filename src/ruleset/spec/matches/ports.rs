//! Matches on ports and what else stands in transport headers: tcp, udp, udplite, sctp, dccp, multiport.

use std::borrow::Cow;
use std::fmt;

use super::super::options::{Given, GivenOption, MatchExtension, Misread, Opt, opt};
use super::super::value::{DccpTypes, Inv, Ports, TcpFlags, WordSet, list, small};
use super::super::words::Phrase;
use super::Match;

const SPORT: Opt = opt(&["sport", "source-port"], 1);
const DPORT: Opt = opt(&["dport", "destination-port"], 1);
const PORT: &str = "a port, a service or a range a:b";

pub(super) const EXTENSIONS: &[MatchExtension] = &[
    MatchExtension {
        names: &["tcp"],
        options: &[
            SPORT,
            DPORT,
            opt(&["tcp-flags"], 2),
            opt(&["syn"], 0),
            opt(&["tcp-option"], 1),
        ],
        read: tcp,
    },
    MatchExtension {
        names: &["udp", "udplite"],
        options: &[SPORT, DPORT],
        read: udp,
    },
    MatchExtension {
        names: &["sctp"],
        options: &[SPORT, DPORT, opt(&["chunk-types"], 2)],
        read: sctp,
    },
    MatchExtension {
        names: &["dccp"],
        options: &[
            SPORT,
            DPORT,
            opt(&["dccp-types"], 1),
            opt(&["dccp-option"], 1),
        ],
        read: dccp,
    },
    MatchExtension {
        names: &["multiport"],
        options: &[
            opt(&["sports", "source-ports"], 1),
            opt(&["dports", "destination-ports"], 1),
            opt(&["ports"], 1),
        ],
        read: multiport,
    },
];

fn ports(option: &GivenOption<'_>) -> Result<Option<Inv<Ports>>, Misread> {
    option.read_inv(Ports::read, PORT).map(Some)
}

/// `-m tcp`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// `--sport`
    pub source_ports: Option<Inv<Ports>>,
    /// `--dport`
    pub destination_ports: Option<Inv<Ports>>,
    /// `--tcp-flags`, `--syn`
    pub flags: Option<Inv<TcpFlagTest>>,
    /// `--tcp-option`: an option of that kind is in the header
    pub option: Option<Inv<u8>>,
}

/// Which flags are looked at and which of those must be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlagTest {
    /// Looked at.
    pub mask: TcpFlags,
    /// Set, and the others of the mask not.
    pub set: TcpFlags,
}

impl TcpFlagTest {
    /// `--syn`: the first packet of a connection.
    pub const SYN: Self = Self {
        mask: TcpFlags::SYN_TEST,
        set: TcpFlags::SYN,
    };

    /// Whether a header with these flags passes.
    pub fn holds(&self, flags: TcpFlags) -> bool {
        flags.bits() & self.mask.bits() == self.set.bits()
    }
}

impl fmt::Display for TcpFlagTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.set, self.mask)
    }
}

fn tcp<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut tcp = Tcp::default();
    for option in &given.options {
        match option.name {
            "sport" => tcp.source_ports = ports(option)?,
            "dport" => tcp.destination_ports = ports(option)?,
            "syn" => tcp.flags = Some(option.inv(TcpFlagTest::SYN)),
            "tcp-flags" => {
                let flags = "two lists of flags: those looked at and those set";
                let mask = option.read(TcpFlags::read, flags)?;
                let set = TcpFlags::read(option.second()).ok_or(option.misread(flags))?;
                tcp.flags = Some(option.inv(TcpFlagTest { mask, set }));
            }
            "tcp-option" => tcp.option = Some(option.read_inv(small, "an option kind, 1 to 255")?),
            _ => return Err(option.not_read()),
        }
    }
    Ok(Match::Tcp(tcp))
}

impl Tcp {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        phrase.option("sport", self.source_ports.as_ref());
        phrase.option("dport", self.destination_ports.as_ref());
        match &self.flags {
            Some(flags) if flags.value == TcpFlagTest::SYN => phrase.flag(flags.invert, "syn"),
            flags => phrase.option("flags", flags.as_ref()),
        }
        phrase.option("tcp-option", self.option.as_ref());
    }
}

/// `-m udp`, `-m udplite`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Udp {
    /// `-m udplite`
    pub lite: bool,
    /// `--sport`
    pub source_ports: Option<Inv<Ports>>,
    /// `--dport`
    pub destination_ports: Option<Inv<Ports>>,
}

fn udp<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut udp = Udp {
        lite: *given.name == *b"udplite",
        ..Udp::default()
    };
    for option in &given.options {
        match option.name {
            "sport" => udp.source_ports = ports(option)?,
            "dport" => udp.destination_ports = ports(option)?,
            _ => return Err(option.not_read()),
        }
    }
    Ok(Match::Udp(udp))
}

impl Udp {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        phrase.option("sport", self.source_ports.as_ref());
        phrase.option("dport", self.destination_ports.as_ref());
    }
}

/// `-m sctp`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sctp<'a> {
    /// `--sport`
    pub source_ports: Option<Inv<Ports>>,
    /// `--dport`
    pub destination_ports: Option<Inv<Ports>>,
    /// `--chunk-types`: how many of the packet's chunks must be among the list, and the list as written
    pub chunks: Option<(Inv<ChunkScope>, Cow<'a, [u8]>)>,
}

/// How the chunks of a packet and the list of `--chunk-types` must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkScope {
    /// Every listed type occurs.
    All,
    /// One listed type occurs.
    Any,
    /// No other type occurs.
    Only,
}

impl ChunkScope {
    fn read(text: &[u8]) -> Option<Self> {
        match text {
            b"all" => Some(Self::All),
            b"any" => Some(Self::Any),
            b"only" => Some(Self::Only),
            _ => None,
        }
    }
}

impl fmt::Display for ChunkScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Any => "any",
            Self::Only => "only",
        })
    }
}

fn sctp<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut sctp = Sctp::default();
    for option in &given.options {
        match option.name {
            "sport" => sctp.source_ports = ports(option)?,
            "dport" => sctp.destination_ports = ports(option)?,
            "chunk-types" => {
                let scope = option.read_inv(ChunkScope::read, "all, any or only")?;
                sctp.chunks = Some((scope, option.second().clone()));
            }
            _ => return Err(option.not_read()),
        }
    }
    Ok(Match::Sctp(sctp))
}

impl Sctp<'_> {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        phrase.option("sport", self.source_ports.as_ref());
        phrase.option("dport", self.destination_ports.as_ref());
        if let Some((scope, list)) = &self.chunks {
            phrase.pair("chunks", scope);
            phrase.flag(false, &String::from_utf8_lossy(list));
        }
    }
}

/// `-m dccp`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dccp {
    /// `--sport`
    pub source_ports: Option<Inv<Ports>>,
    /// `--dport`
    pub destination_ports: Option<Inv<Ports>>,
    /// `--dccp-types`
    pub types: Option<Inv<DccpTypes>>,
    /// `--dccp-option`
    pub option: Option<Inv<u8>>,
}

fn dccp<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut dccp = Dccp::default();
    for option in &given.options {
        match option.name {
            "sport" => dccp.source_ports = ports(option)?,
            "dport" => dccp.destination_ports = ports(option)?,
            "dccp-types" => {
                dccp.types = Some(option.read_inv(DccpTypes::read, "a list of DCCP packet types")?);
            }
            "dccp-option" => {
                dccp.option = Some(option.read_inv(small, "an option kind, 0 to 255")?);
            }
            _ => return Err(option.not_read()),
        }
    }
    Ok(Match::Dccp(dccp))
}

impl Dccp {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        phrase.option("sport", self.source_ports.as_ref());
        phrase.option("dport", self.destination_ports.as_ref());
        phrase.option("dccp-types", self.types.as_ref());
        phrase.option("dccp-option", self.option.as_ref());
    }
}

/// `-m multiport`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multiport {
    /// Which port of the packet.
    pub side: PortSide,
    /// In one of these; not in any if inverted.
    pub ports: Inv<Vec<Ports>>,
}

/// Which port of a packet is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortSide {
    /// `--sports`
    Source,
    /// `--dports`
    Destination,
    /// `--ports`: either
    Either,
}

fn multiport<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let [option] = given.options.as_slice() else {
        return Err(Given::lacks("one of --sports, --dports and --ports"));
    };
    let side = match option.name {
        "sports" => PortSide::Source,
        "dports" => PortSide::Destination,
        "ports" => PortSide::Either,
        _ => return Err(option.not_read()),
    };
    let read = |text: &[u8]| list(text).map(Ports::read).collect();
    let ports = option.read_inv(read, "a list of ports and ranges a:b")?;
    Ok(Match::Multiport(Multiport { side, ports }))
}

impl Multiport {
    /// Whether a packet with these ports passes.
    pub fn holds(&self, source: u16, destination: u16) -> bool {
        self.ports.holds(|all| {
            all.iter().any(|ports| match self.side {
                PortSide::Source => ports.contains(source),
                PortSide::Destination => ports.contains(destination),
                PortSide::Either => ports.contains(source) || ports.contains(destination),
            })
        })
    }

    pub(super) fn describe(&self, phrase: &mut Phrase) {
        let key = match self.side {
            PortSide::Source => "sports",
            PortSide::Destination => "dports",
            PortSide::Either => "ports",
        };
        let all: Vec<_> = self.ports.value.iter().map(ToString::to_string).collect();
        phrase.keyed(self.ports.invert, key, all.join(","));
    }
}
