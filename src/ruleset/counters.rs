//! Counters, apart from the structure that they count.
//!
//! A tick replaces numbers and never rebuilds rules, so the numbers live in flat vectors parallel to
//! [`Ruleset::rules`](super::Ruleset::rules) and [`Ruleset::chains`](super::Ruleset::chains).

use super::{ChainIdx, RuleIdx};

/// What the kernel counts for one rule or one chain policy, since the rule was loaded or zeroed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Counters {
    /// Packets that matched.
    pub packets: u64,
    /// Bytes of those packets, layer 3 and up.
    pub bytes: u64,
}

impl Counters {
    /// Growth since `earlier`; `None` when a number went backwards, which means that somebody zeroed
    /// it (or the rule is another one): never a negative or a huge delta.
    pub fn since(self, earlier: Self) -> Option<Self> {
        Some(Self {
            packets: self.packets.checked_sub(earlier.packets)?,
            bytes: self.bytes.checked_sub(earlier.bytes)?,
        })
    }
}

/// Every counter of one ruleset: a flat vector for the rules and one for the chain policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CounterSet {
    /// Indexed by [`RuleIdx`].
    pub rules: Vec<Counters>,
    /// Indexed by [`ChainIdx`]; user chains have no policy and stay zero.
    pub policies: Vec<Counters>,
}

impl CounterSet {
    /// All zero, for that many rules and chains.
    pub fn zero(rules: usize, chains: usize) -> Self {
        Self {
            rules: vec![Counters::default(); rules],
            policies: vec![Counters::default(); chains],
        }
    }

    /// The counters of a rule; zero for an index that is not there.
    pub fn rule(&self, rule: RuleIdx) -> Counters {
        self.rules.get(rule.0 as usize).copied().unwrap_or_default()
    }

    /// The policy counters of a chain; zero for an index that is not there.
    pub fn policy(&self, chain: ChainIdx) -> Counters {
        self.policies
            .get(chain.0 as usize)
            .copied()
            .unwrap_or_default()
    }
}

/// What one look at one chain brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The chain that was looked at.
    pub chain: ChainIdx,
    /// `None`: looked, and nothing had changed since the last reading.
    pub counters: Option<ChainCounters>,
}

/// The counters of one chain, in the order of its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainCounters {
    /// The policy's counters; `None` for a user chain.
    pub policy: Option<Counters>,
    /// One per rule, first rule first.
    pub rules: Vec<Counters>,
}
