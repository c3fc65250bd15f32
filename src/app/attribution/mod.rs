//! Which rule wrote a log line, and what became of the packet after it.
//!
//! A line carries no rule number. It carries the rule's prefix, and a packet that the rule must have
//! matched: so the candidates are the LOG and NFLOG rules of the right family with that very prefix
//! (and group), in a chain that packets with such interfaces can reach, none of whose conditions the
//! packet contradicts. One candidate is the writer; of several any may be, and all are named. A
//! condition that a line cannot speak about (connection state, limits, sets) counts neither for nor
//! against.
//!
//! [`LogRules`] is made once for a ruleset, [`attribute`] then takes microseconds. What follows a
//! logging rule is read on with the same three-valued test ([`Then`]), and only as far as it is
//! certain: "log, then drop" is found, a guess is not made.
//!
//! Not here: what *would* happen to a packet. That is the verdict engine's, which walks from the hook.

mod fit;
mod index;
mod then;

use crate::flow::{Body, Condition, KernelLine};
use crate::ruleset::{ChainIdx, RuleIdx, Ruleset};

pub use index::LogRules;

/// Who wrote a line. `K` tells rulesets apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribution<K> {
    /// This rule and no other of those given.
    Certain(Writer<K>),
    /// Any of these.
    Several(Vec<Writer<K>>),
    /// No rule: the line says so itself, or the kernel writes such lines without one.
    NoRule(Unruled),
    /// None of the rulesets given has a rule that could have. It may be gone since, or a native nft rule
    /// or another namespace may have written the line.
    Nobody,
}

/// Lines that are no rule's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unruled {
    /// A trace: it names its rule itself.
    Trace,
    /// Conntrack's `nf_conntrack_log_invalid`.
    Conntrack,
    /// Another kind of line.
    Event,
    /// Too garbled to be believed.
    Damaged,
}

/// A rule that may have written a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer<K> {
    /// Its ruleset.
    pub set: K,
    /// The rule.
    pub rule: RuleIdx,
    /// What decided about the packet afterwards, where that is certain.
    pub then: Option<Then>,
}

/// What decides about a packet after it was logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// A rule of the same table.
    Rule(RuleIdx),
    /// The policy of a built-in chain.
    Policy(ChainIdx),
}

/// Finds the writer of a line among the rulesets given. The cost is that of reading the rules that have
/// the line's prefix: microseconds for a few, worth remembering by group where thousands share one.
pub fn attribute<'a, K: Copy>(
    sets: impl IntoIterator<Item = (K, &'a Ruleset, &'a LogRules)>,
    line: &KernelLine,
) -> Attribution<K> {
    let log = match &line.body {
        Body::Packet(log) => log,
        Body::Trace(_) => return Attribution::NoRule(Unruled::Trace),
        _ => return Attribution::NoRule(Unruled::Event),
    };
    if log.condition == Condition::Damaged {
        return Attribution::NoRule(Unruled::Damaged);
    }
    let mut writers: Vec<Writer<K>> = Vec::new();
    for (set, ruleset, rules) in sets {
        let found = rules.candidates(ruleset, line);
        writers.extend(found.into_iter().map(|rule| Writer {
            set,
            rule,
            then: then::after(ruleset, rules, rule, log),
        }));
    }
    match writers.as_slice() {
        [one] => Attribution::Certain(*one),
        [] if line.prefix().starts_with(b"nf_ct_") => Attribution::NoRule(Unruled::Conntrack),
        [] => Attribution::Nobody,
        _ => Attribution::Several(writers),
    }
}

#[cfg(test)]
mod tests;
