//! The rules of a family as a program: flat arrays that a packet runs through.
//!
//! Chains lie one after the other, each with its rules and a last one that stands for its end, so that a
//! place in the program is one number and a call is a number on a stack. Names are not in here: places
//! lead back to the [`Ruleset`](crate::ruleset::Ruleset)s that were compiled, by their index in the list
//! that was given.

use super::cond::Cond;
use super::sets::Handling;
use crate::flow::Hook;
use crate::ruleset::spec::Net;
use crate::ruleset::spec::targets::{Connmark, HopChange, Nat, RejectWith, XMark};
use crate::ruleset::{Backend, ChainIdx, Effects, Family, Policy, RuleIdx};

/// The rulesets of one family, both back ends together, compiled. Made once for each generation.
#[derive(Debug)]
pub struct Program {
    pub(super) family: Family,
    pub(super) conds: Vec<Cond>,
    pub(super) rules: Vec<Rule>,
    pub(super) chains: Vec<Chain>,
    pub(super) changes: Vec<Change>,
    pub(super) rejects: Vec<RejectWith>,
    pub(super) reasons: Vec<Box<str>>,
    /// Names of the native nft base chains: `inet firewalld filter_INPUT`.
    pub(super) natives: Vec<Box<str>>,
    /// A rule needs conntrack, or a match that has packets put together: no rule sees a later fragment.
    pub(super) whole: bool,
    /// A rule asks whether a packet is a later fragment.
    pub(super) looks_at_pieces: bool,
    /// A rule looks at the way back to a packet's source.
    pub(super) looks_back: bool,
    /// A rule is known to do more than its text says: it may call any chain and change anything.
    pub(super) does_more: bool,
    /// What happens at each hook, in the order of the kernel's priorities.
    pub(super) hooks: [Vec<Stage>; 5],
}

/// One rule, or the end of a chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// Its conditions in [`Program::conds`].
    pub first: u32,
    pub count: u16,
    /// Its chain in [`Program::chains`].
    pub chain: u32,
    pub action: Action,
}

/// What a rule that matches does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The next rule.
    Next,
    Accept,
    Drop,
    /// Index in [`Program::rejects`].
    Reject(u16),
    Return,
    /// Where the called chain begins.
    Jump(u32),
    Goto(u32),
    /// Index in [`Program::changes`]; then the next rule.
    Change(u32),
    /// Index in [`Program::changes`]; ends the table.
    Nat(u32),
    /// Index in [`Program::reasons`]: what it does to the packet's way is not known.
    Beyond(u32),
    /// The end of a chain: RETURN in a user chain, the policy in a built-in one.
    End,
}

/// What a target does to the packet.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Mark(XMark),
    /// The mark becomes something that is not known.
    SomeMark,
    Connmark(Connmark),
    /// Bits of `mask` are cleared, those of `value` flipped.
    Tos {
        value: u8,
        mask: u8,
    },
    Hops(HopChange),
    Notrack,
    /// The members of an ipset: nothing of the packet, but what a later rule sees.
    Members(Handling),
    /// CT with settings: conntrack has a template to look at.
    Template,
    Dnat(Nat),
    Snat(Nat),
    Redirect(Nat),
    Masquerade(Nat),
    Netmap(Net),
    /// Things that a native rule may do to the packet.
    May(Effects),
}

/// One chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    /// Which of the rulesets that were compiled, or [`NATIVE`].
    pub ruleset: u16,
    /// Which of its chains; of a native one, the base chain that it belongs to in [`Program::natives`].
    pub index: ChainIdx,
    /// The first of its rules in [`Program::rules`].
    pub entry: u32,
    /// The place after its rules, which stands for its end.
    pub end: u32,
    /// How a built-in chain ends; `None` for a user chain.
    pub policy: Option<End>,
    pub table: TableKind,
}

/// How a built-in chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Policy(Policy),
    /// The text does not state its policy.
    NotStated,
}

/// The tables, in the order in which they stand at a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum TableKind {
    Raw,
    Mangle,
    Nat,
    Filter,
    Security,
    Other,
}

impl TableKind {
    pub(super) fn named(name: &str) -> Self {
        match name {
            "raw" => Self::Raw,
            "mangle" => Self::Mangle,
            "nat" => Self::Nat,
            "filter" => Self::Filter,
            "security" => Self::Security,
            _ => Self::Other,
        }
    }
}

/// One thing that happens at a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A built-in chain: its index in [`Program::chains`].
    Chain(u32),
    /// Conntrack looks at the packet.
    Conntrack,
    /// What NAT has settled for the packet's connection is done to it, before rules of nat are asked.
    Translation,
}

/// The number that native chains have in the place of a ruleset's.
pub(super) const NATIVE: u16 = u16::MAX;

/// Priorities of the tables at a hook (`enum nf_ip_hook_priorities` in linux/netfilter_ipv4.h). Source NAT
/// is the last that happens to a packet.
pub(super) fn priority(table: TableKind, hook: Hook, backend: Option<Backend>) -> Option<i32> {
    Some(match (table, hook) {
        (TableKind::Raw, Hook::Prerouting | Hook::Output) => -300,
        (TableKind::Mangle, _) => -150,
        (TableKind::Nat, Hook::Prerouting | Hook::Output) => -100,
        (TableKind::Nat, Hook::Input | Hook::Postrouting) => 100,
        (TableKind::Filter, Hook::Input | Hook::Forward | Hook::Output) => 0,
        // iptables-nft registers it after source NAT, which iptables-legacy does not.
        (TableKind::Security, Hook::Input | Hook::Forward | Hook::Output) => match backend {
            Some(Backend::Nft) => 150,
            _ => 50,
        },
        _ => return None,
    })
}

/// The hooks, by the kernel's numbers.
pub(super) const HOOKS: [Hook; 5] = [
    Hook::Prerouting,
    Hook::Input,
    Hook::Forward,
    Hook::Output,
    Hook::Postrouting,
];

/// Where conntrack stands among the priorities (`NF_IP_PRI_CONNTRACK`).
pub(super) const CONNTRACK: i32 = -200;

/// Where NAT stands at a hook, whoever has rules there: destinations before the filter, sources after it.
pub(super) fn translation(hook: Hook) -> Option<i32> {
    priority(TableKind::Nat, hook, None)
}

/// Position of a hook in [`HOOKS`].
pub(super) fn index(hook: Hook) -> usize {
    match hook {
        Hook::Prerouting => 0,
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    }
}

impl Program {
    /// The family whose packets it decides.
    pub fn family(&self) -> Family {
        self.family
    }

    /// How many rules it holds, those of native chains included.
    pub fn rule_count(&self) -> usize {
        self.rules.len() - self.chains.len()
    }

    /// The chain that a place of the program is in.
    pub(super) fn chain_at(&self, at: u32) -> Option<(u32, &Chain)> {
        let chain = self.rules.get(at as usize)?.chain;
        Some((chain, self.chains.get(chain as usize)?))
    }

    /// The native base chain that a place belongs to, in [`Program::natives`].
    pub(super) fn native_at(&self, at: u32) -> Option<u32> {
        let (_, chain) = self.chain_at(at)?;
        (chain.ruleset == NATIVE).then_some(chain.index.0)
    }

    /// How much it says that this place let a packet pass: a rule of a filter chain more than a policy there, that of
    /// a chain with rules more than that of an empty one (the other back end's, often), and all of it more than
    /// another table. Of two that say as much the later one decides.
    pub(super) fn weight(&self, at: u32) -> u8 {
        match self.chain_at(at) {
            Some((_, chain)) if chain.table == TableKind::Filter => match chain {
                _ if at != chain.end => 3,
                _ if chain.entry != chain.end => 2,
                _ => 1,
            },
            _ => 0,
        }
    }

    /// The number in its chain of the rule at a place, from 0.
    pub(super) fn position(&self, at: u32) -> u32 {
        self.chain_at(at).map_or(0, |(_, chain)| at - chain.entry)
    }
}

/// A rule's place in the rulesets that were compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Index in the list of rulesets that was compiled.
    pub ruleset: usize,
    /// The chain.
    pub chain: ChainIdx,
    /// The rule; `None` is the chain's policy.
    pub rule: Option<RuleIdx>,
}
