//! Matches, typed: one file a family of matches, one row a match in the table of its file.
//!
//! Each file holds the types, the rows of options, the functions that read them and the short words for
//! the board. Options, arities and defaults are those of iptables-extensions(8).

mod conn;
mod header;
mod icmp;
mod label;
mod memory;
mod origin;
mod payload;
mod ports;
mod rate;
mod set;
mod time;

use std::borrow::Cow;

pub use conn::{Conntrack, CtDirection};
pub use header::{Ecn, Hops, PacketType, dscp_class, tos_name};
pub(super) use header::{TOS_NAME_MASK, dscp_value};
pub use icmp::Icmp;
pub use memory::{Recent, RecentAction, Statistic, StatisticMode};
pub use origin::{Addrtype, Iprange, Owner, OwnerId, Physdev, Rpfilter};
pub use payload::{StringMatch, U32, U32Step, U32Test};
pub use ports::{ChunkScope, Dccp, Multiport, PortSide, Sctp, Tcp, TcpFlagTest, Udp};
pub use rate::{Connlimit, HashRate, Hashlimit, Limit};
pub(super) use set::show_sides;
pub use set::{Comparison, MatchSet, Side};
pub use time::Time;

use super::options::{MatchExtension, Unknown};
use super::value::{Bounds, Inv, MarkMask, Masked, StateSet};
use super::words::Phrase;

/// One match of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match<'a> {
    /// `-m tcp`
    Tcp(Tcp),
    /// `-m udp`, `-m udplite`
    Udp(Udp),
    /// `-m sctp`
    Sctp(Sctp<'a>),
    /// `-m dccp`
    Dccp(Dccp),
    /// `-m icmp`, `-m icmp6`
    Icmp(Icmp),
    /// `-m multiport`
    Multiport(Multiport),
    /// `-m conntrack`
    Conntrack(Box<Conntrack<'a>>),
    /// `-m state`
    State(Inv<StateSet>),
    /// `-m connmark`
    Connmark(Inv<MarkMask>),
    /// `-m connlimit`
    Connlimit(Connlimit),
    /// `-m comment`: matches every packet
    Comment(Cow<'a, [u8]>),
    /// `-m limit`
    Limit(Limit),
    /// `-m hashlimit`
    Hashlimit(Box<Hashlimit<'a>>),
    /// `-m recent`
    Recent(Box<Recent<'a>>),
    /// `-m statistic`
    Statistic(Statistic),
    /// `-m set`
    Set(Box<MatchSet<'a>>),
    /// `-m addrtype`
    Addrtype(Addrtype),
    /// `-m mark`
    Mark(Inv<MarkMask>),
    /// `-m iprange`
    Iprange(Box<Iprange>),
    /// `-m length`: of the whole packet, layer 3 and up
    Length(Inv<Bounds<u16>>),
    /// `-m ttl`
    Ttl(Inv<Hops>),
    /// `-m hl`
    Hl(Inv<Hops>),
    /// `-m mac`
    Mac(Inv<[u8; 6]>),
    /// `-m physdev`
    Physdev(Box<Physdev<'a>>),
    /// `-m owner`
    Owner(Box<Owner<'a>>),
    /// `-m tos`: of the whole byte
    Tos(Inv<Masked<u8>>),
    /// `-m dscp`: of the upper six bits
    Dscp(Inv<u8>),
    /// `-m ecn`
    Ecn(Ecn),
    /// `-m pkttype`
    Pkttype(Inv<PacketType>),
    /// `-m string`
    String(Box<StringMatch<'a>>),
    /// `-m u32`
    U32(Inv<U32>),
    /// `-m time`
    Time(Box<Time>),
    /// `-m rpfilter`
    Rpfilter(Rpfilter),
    /// Not understood: an unknown match, or a known one with something unknown in it.
    Unknown(Box<Unknown<'a>>),
}

/// The tables of all files.
const EXTENSIONS: &[&[MatchExtension]] = &[
    ports::EXTENSIONS,
    icmp::EXTENSIONS,
    conn::EXTENSIONS,
    label::EXTENSIONS,
    rate::EXTENSIONS,
    memory::EXTENSIONS,
    set::EXTENSIONS,
    origin::EXTENSIONS,
    header::EXTENSIONS,
    payload::EXTENSIONS,
    time::EXTENSIONS,
];

/// The extension of that name.
pub(super) fn find(name: &[u8]) -> Option<&'static MatchExtension> {
    EXTENSIONS
        .iter()
        .flat_map(|table| table.iter())
        .find(|extension| extension.names.iter().any(|own| own.as_bytes() == name))
}

/// The match that iptables loads by itself for the options of a protocol.
pub(super) fn implied(protocol: u8) -> Option<&'static str> {
    const IMPLIED: &[(u8, &str)] = &[
        (1, "icmp"),
        (6, "tcp"),
        (17, "udp"),
        (33, "dccp"),
        (58, "icmp6"),
        (132, "sctp"),
        (136, "udplite"),
    ];
    let row = IMPLIED.iter().find(|row| row.0 == protocol)?;
    Some(row.1)
}

impl Match<'_> {
    /// Its name after `-m`.
    pub fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::Tcp(_) => "tcp",
            Self::Udp(udp) if udp.lite => "udplite",
            Self::Udp(_) => "udp",
            Self::Sctp(_) => "sctp",
            Self::Dccp(_) => "dccp",
            Self::Icmp(icmp) => icmp.name(),
            Self::Multiport(_) => "multiport",
            Self::Conntrack(_) => "conntrack",
            Self::State(_) => "state",
            Self::Connmark(_) => "connmark",
            Self::Connlimit(_) => "connlimit",
            Self::Comment(_) => "comment",
            Self::Limit(_) => "limit",
            Self::Hashlimit(_) => "hashlimit",
            Self::Recent(_) => "recent",
            Self::Statistic(_) => "statistic",
            Self::Set(_) => "set",
            Self::Addrtype(_) => "addrtype",
            Self::Mark(_) => "mark",
            Self::Iprange(_) => "iprange",
            Self::Length(_) => "length",
            Self::Ttl(_) => "ttl",
            Self::Hl(_) => "hl",
            Self::Mac(_) => "mac",
            Self::Physdev(_) => "physdev",
            Self::Owner(_) => "owner",
            Self::Tos(_) => "tos",
            Self::Dscp(_) => "dscp",
            Self::Ecn(_) => "ecn",
            Self::Pkttype(_) => "pkttype",
            Self::String(_) => "string",
            Self::U32(_) => "u32",
            Self::Time(_) => "time",
            Self::Rpfilter(_) => "rpfilter",
            Self::Unknown(unknown) => return String::from_utf8_lossy(&unknown.name),
        })
    }

    /// In the short words of the board: `mac 02:00:00:00:00:01`.
    pub fn words(&self) -> String {
        let mut phrase = Phrase::default();
        self.describe(&mut phrase);
        phrase.into_text()
    }

    /// In a few words for the board; a comment says nothing here, it has a column of its own.
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        match self {
            Self::Tcp(tcp) => tcp.describe(phrase),
            Self::Udp(udp) => udp.describe(phrase),
            Self::Sctp(sctp) => sctp.describe(phrase),
            Self::Dccp(dccp) => dccp.describe(phrase),
            Self::Icmp(icmp) => icmp.describe(phrase),
            Self::Multiport(multiport) => multiport.describe(phrase),
            Self::Conntrack(conntrack) => conntrack.describe(phrase),
            Self::State(states) => phrase.pair("state", states),
            Self::Connmark(mark) => phrase.pair("connmark", mark),
            Self::Connlimit(limit) => limit.describe(phrase),
            Self::Comment(_) => {}
            Self::Limit(limit) => limit.describe(phrase),
            Self::Hashlimit(limit) => limit.describe(phrase),
            Self::Recent(recent) => recent.describe(phrase),
            Self::Statistic(statistic) => statistic.describe(phrase),
            Self::Set(set) => set.describe(phrase),
            Self::Addrtype(types) => types.describe(phrase),
            Self::Mark(mark) => phrase.pair("mark", mark),
            Self::Iprange(range) => range.describe(phrase),
            Self::Length(length) => phrase.pair("length", length),
            Self::Ttl(hops) => phrase.pair("ttl", hops),
            Self::Hl(hops) => phrase.pair("hl", hops),
            Self::Mac(mac) => header::describe_mac(*mac, phrase),
            Self::Physdev(physdev) => physdev.describe(phrase),
            Self::Owner(owner) => owner.describe(phrase),
            Self::Tos(tos) => phrase.pair("tos", tos),
            Self::Dscp(dscp) => header::describe_dscp(*dscp, phrase),
            Self::Ecn(ecn) => ecn.describe(phrase),
            Self::Pkttype(kind) => phrase.pair("pkt-type", kind),
            Self::String(string) => string.describe(phrase),
            Self::U32(test) => phrase.pair("u32", test),
            Self::Time(time) => time.describe(phrase),
            Self::Rpfilter(filter) => filter.describe(phrase),
            Self::Unknown(unknown) => phrase.unknown(unknown),
        }
    }
}
