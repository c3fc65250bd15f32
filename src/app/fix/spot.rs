//! Where an accept goes: not only above what stops the packet, but above what belongs to that.
//!
//! A rule that logs just above a DROP tells of what the DROP stops, and would go on to tell so of a packet that
//! is let through below it. And a chain that only logs and drops is called for whatever is to be dropped:
//! an accept belongs before the call, not into such a chain, which others may call too.

use crate::ruleset::spec::{Match, Spec};
use crate::ruleset::{ChainIdx, RuleIdx, Ruleset};
use crate::verdict::{Answer, Place};

use super::candidate::Blocked;

/// Calls that are gone up at most. The kernel takes no chains that call each other in circles; a dump may hold
/// some.
const CALLS: usize = 16;

impl Blocked<'_> {
    /// The place before which an accept for this packet goes, which may be that of a call in another chain.
    pub(super) fn above(&self, ruleset: &Ruleset) -> Place {
        let stops_all = |at: &Place| {
            let first = ruleset.chain(at.chain).rules().first().copied();
            let is_first = at.rule.is_some() && self.above_logs(ruleset, *at).rule == first;
            is_first && at.rule.is_some_and(|rule| asks_nothing(ruleset, rule))
        };
        let mut at = self.at;
        for call in self.callers(ruleset).skip(1) {
            if !stops_all(&at) {
                break;
            }
            at = call;
        }
        self.above_logs(ruleset, at)
    }

    /// The place that stops the packet, and the calls by which it came there, the last call first.
    pub(super) fn callers(&self, ruleset: &Ruleset) -> impl Iterator<Item = Place> {
        let call = |at: &Place| self.call_of(ruleset, at.chain);
        std::iter::successors(Some(self.at), call).take(CALLS)
    }

    /// The first of the rules just above that log this packet, or the place itself.
    pub(super) fn above_logs(&self, ruleset: &Ruleset, at: Place) -> Place {
        let rules = ruleset.chain(at.chain).rules();
        let end = match at.rule {
            Some(rule) => rules.iter().position(|one| *one == rule),
            None => Some(rules.len()),
        };
        let above = rules.get(..end.unwrap_or(0)).unwrap_or_default();
        let tells = |rule: &&RuleIdx| logs(ruleset, **rule) && self.meets(at, **rule);
        let first = above.iter().rev().take_while(tells).last();
        Place {
            rule: first.copied().or(at.rule),
            ..at
        }
    }

    /// The packet met that rule of the same chain.
    fn meets(&self, at: Place, rule: RuleIdx) -> bool {
        let place = Place {
            rule: Some(rule),
            ..at
        };
        let mut path = self.explanation.path.iter();
        path.any(|step| step.place == place && step.answer != Answer::No)
    }

    /// The rule by which the packet came into that chain; `None` for one where it starts.
    fn call_of(&self, ruleset: &Ruleset, chain: ChainIdx) -> Option<Place> {
        let calls = |rule: RuleIdx| ruleset.jump(rule).and_then(|jump| jump.chain) == Some(chain);
        let path = self.explanation.path.iter().rev();
        let mut ours = path.filter(|step| step.place.ruleset == self.at.ruleset);
        ours.find(|step| step.answer != Answer::No && step.place.rule.is_some_and(calls))
            .map(|step| step.place)
    }
}

/// It tells of packets and lets them go on.
fn logs(ruleset: &Ruleset, rule: RuleIdx) -> bool {
    let targets = [&b"LOG"[..], b"NFLOG", b"ULOG"];
    let jump = ruleset.jump(rule);
    jump.is_some_and(|jump| jump.chain.is_none() && targets.contains(&jump.name))
}

/// Every packet matches it.
fn asks_nothing(ruleset: &Ruleset, rule: RuleIdx) -> bool {
    let spec = ruleset.parse_rule(rule);
    !asks_who_or_what(&spec) && spec.in_interface.is_none() && spec.out_interface.is_none()
}

/// It asks for more than the interface.
pub(super) fn asks_who_or_what(spec: &Spec<'_>) -> bool {
    let asks = |one: &Match<'_>| !matches!(one, Match::Comment(_));
    spec.source.is_some()
        || spec.destination.is_some()
        || spec.protocol.is_some()
        || spec.fragment.is_some()
        || spec.matches.iter().any(asks)
}
