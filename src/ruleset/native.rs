//! The rules of a native nft chain, as far as a packet's way depends on them.
//!
//! What such a rule tests and does is said in the words of iptables, which are understood everywhere here;
//! nf_tables' own way of saying it stays at its door. Where iptables has no words the rule says that it is
//! open whether it matches, and what it may do. A rule with several statements stands as a chain of its own
//! that is called, so that each does one thing.

use super::Family;

/// The rules of one base chain. The default is a chain without rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NativeRules {
    /// The base chain itself first, then those that rules call, by their index.
    pub chains: Vec<Vec<NativeRule>>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeRule {
    /// Which rule of the kernel's list it is or is a part of: its number in its chain, counted from 1, with the
    /// name of that chain where it is not the base chain: `rule 3`, `rule 3 of web, part 2`. Strip before drawing.
    pub place: String,
    /// It is only for packets of that family.
    pub family: Option<Family>,
    /// What must hold, in iptables' words: `-p tcp -m tcp --dport 77`.
    pub tests: String,
    /// Something else must hold too, and what is not known.
    pub open: bool,
    /// What it does.
    pub does: NativeDoes,
}

/// What a native rule does to a packet that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NativeDoes {
    /// What that target of iptables does: `-j DROP`.
    Target(String),
    /// Goes on in another chain, by its index in [`NativeRules::chains`].
    Call {
        /// Which.
        chain: usize,
        /// Without coming back: `goto`.
        goto: bool,
    },
    /// Some of these things, and it cannot be told which.
    May(Effects),
}

/// Things that may be done to a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Effects {
    /// It is dropped, or accepted by this chain.
    pub ends: bool,
    /// Its mark is set.
    pub mark: bool,
    /// Its connection's mark is set.
    pub connmark: bool,
    /// Its type of service or DSCP is set.
    pub tos: bool,
    /// Its TTL or hop limit is set.
    pub hops: bool,
    /// Its connection gets another destination, where the chain is of type nat.
    pub dnat: bool,
    /// Its connection gets another source, where the chain is of type nat.
    pub snat: bool,
    /// Its header gets another destination, or it is handed to a program of this box.
    pub destination: bool,
    /// Its header gets another source.
    pub source: bool,
    /// Conntrack is told to leave it alone, or what to take it for.
    pub state: bool,
}

impl Effects {
    /// What any rule of a chain may do; `nat` tells that the chain is of type nat, since no other has the
    /// statements.
    pub const fn all(nat: bool) -> Self {
        Self {
            ends: true,
            mark: true,
            connmark: true,
            tos: true,
            hops: true,
            dnat: nat,
            snat: nat,
            destination: !nat,
            source: !nat,
            state: true,
        }
    }

    /// These and those.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self {
            ends: self.ends || other.ends,
            mark: self.mark || other.mark,
            connmark: self.connmark || other.connmark,
            tos: self.tos || other.tos,
            hops: self.hops || other.hops,
            dnat: self.dnat || other.dnat,
            snat: self.snat || other.snat,
            destination: self.destination || other.destination,
            source: self.source || other.source,
            state: self.state || other.state,
        }
    }

    /// Fields of the packet may be others afterwards, and the chain goes on.
    pub const fn changes(self) -> bool {
        self.mark
            || self.connmark
            || self.tos
            || self.hops
            || self.destination
            || self.source
            || self.state
    }
}
