//! What stands beside the saved text: base chains that iptables cannot show.
//!
//! A packet passes every base chain of its hook, whoever made it, so a picture of iptables alone is not
//! the whole picture. That is a fact about a ruleset and not about a door, hence here.

use std::fmt;

use super::{Family, NativeRules};

/// Address family of an nf_tables table (nft(8), ADDRESS FAMILIES).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NftFamily {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// ARP.
    Arp,
    /// Frames that a bridge handles.
    Bridge,
    /// Ingress and egress of a device.
    Netdev,
    /// A number that this program has no name for.
    Other(u8),
}

impl NftFamily {
    /// From the kernel's NFPROTO number (linux/netfilter.h).
    pub const fn from_nfproto(number: u8) -> Self {
        match number {
            1 => Self::Inet,
            2 => Self::Ip,
            3 => Self::Arp,
            5 => Self::Netdev,
            7 => Self::Bridge,
            10 => Self::Ip6,
            other => Self::Other(other),
        }
    }

    /// Whether packets of `family` can meet a chain of this nft family.
    pub const fn sees(self, family: Family) -> bool {
        match self {
            Self::Ip => matches!(family, Family::V4),
            Self::Ip6 => matches!(family, Family::V6),
            Self::Arp => false,
            Self::Inet | Self::Bridge | Self::Netdev | Self::Other(_) => true,
        }
    }
}

impl fmt::Display for NftFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet => f.write_str("inet"),
            Self::Ip => f.write_str("ip"),
            Self::Ip6 => f.write_str("ip6"),
            Self::Arp => f.write_str("arp"),
            Self::Bridge => f.write_str("bridge"),
            Self::Netdev => f.write_str("netdev"),
            Self::Other(number) => write!(f, "family {number}"),
        }
    }
}

/// A base chain of nf_tables that iptables does not show, and that decides about packets all the same.
///
/// Names come from whoever made the table: strip them before drawing.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BaseChain {
    /// Family of the table.
    pub family: NftFamily,
    /// Name of the table.
    pub table: String,
    /// Name of the chain.
    pub chain: String,
    /// `filter`, `nat` or `route`.
    pub kind: String,
    /// `prerouting`, `input`, `forward`, `output`, `postrouting`, `ingress` or `egress`.
    pub hook: &'static str,
    /// Where in the hook: lower runs earlier; iptables' filter is 0, raw -300, mangle -150, dnat -100.
    pub priority: i32,
    /// Whether the policy is drop (else accept).
    pub drops_by_default: bool,
    /// Devices of a netdev (or inet ingress) chain; `eth*` is all whose name begins so.
    pub devices: Vec<String>,
    /// Rules in the chain itself, those of chains that it jumps to left out.
    pub rules: u32,
    /// What they do; `None` where they were not read, or could not be.
    #[serde(skip)]
    pub read: Option<NativeRules>,
    /// Set when the table belongs to a process and dies with it (`flags owner`): then nobody else may
    /// change it.
    pub owner: Option<Owner>,
    /// `flags dormant`: the table is there and decides nothing.
    pub dormant: bool,
}

/// The process that owns an nf_tables table.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Owner {
    /// Netlink port of the owning socket; mostly, but not always, the process id.
    pub port: u32,
    /// Name of the process, where /proc proves that it holds that socket.
    pub name: Option<String>,
}
