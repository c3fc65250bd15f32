//! What decides about a packet after a rule logged it.
//!
//! Logging goes on to the next rule, so the way is walked on from there: past rules that the packet
//! contradicts, past targets that decide nothing, to the first that does. "Log, then drop" is two rules
//! with one condition, and a condition that held for the first holds for the second, even one that a
//! log line cannot speak about. At the first rule of which it is not known whether it matches, the
//! walk stops without an answer.

use super::Then;
use super::fit;
use super::index::{Hooks, LogRules};
use crate::flow::LogLine;
use crate::ruleset::spec::{Match, Spec, Target};
use crate::ruleset::{ChainIdx, RuleIdx, Ruleset};

/// Chains that are walked back through, at most: the kernel's own limit on nested jumps is 16.
const DEPTH: usize = 16;

/// What decides after `rule` matched the packet of `log`.
pub(super) fn after(
    ruleset: &Ruleset,
    rules: &LogRules,
    rule: RuleIdx,
    log: &LogLine,
) -> Option<Then> {
    let mut from = rule;
    for _ in 0..DEPTH {
        let matched = ruleset.parse_rule(from);
        match rest_of_chain(ruleset, from, &matched, log) {
            Way::Decided(rule) => return Some(Then::Rule(rule)),
            Way::Unknown => return None,
            Way::Ends => {}
        }
        let chain = ruleset.chain_of(from)?;
        if ruleset.chain(chain).is_builtin() {
            return Some(Then::Policy(chain));
        }
        from = only_caller(ruleset, rules, chain, log)?;
        if ruleset.jump(from)?.goto {
            // Its end is not the end of this jump: it returns to the caller's caller.
            return None;
        }
    }
    None
}

/// Where a walk through the rest of a chain ends.
enum Way {
    /// At a rule that decides.
    Decided(RuleIdx),
    /// At the end of the chain.
    Ends,
    /// At a rule that may or may not match.
    Unknown,
}

/// Walks the rules after `from`, whose conditions (`matched`) are known to have held.
fn rest_of_chain(ruleset: &Ruleset, from: RuleIdx, matched: &Spec<'_>, log: &LogLine) -> Way {
    let Some(chain) = ruleset.chain_of(from) else {
        return Way::Unknown;
    };
    let rules = ruleset.chain(chain).rules();
    let at = rules.iter().position(|rule| *rule == from);
    let Some(rest) = at.and_then(|at| rules.get(at + 1..)) else {
        return Way::Unknown;
    };
    for rule in rest {
        let spec = ruleset.parse_rule(*rule);
        let effect = Effect::of(spec.target.as_ref());
        let holds = if implied(&spec, matched) {
            Some(true)
        } else {
            fit::fits(&spec, log)
        };
        match (effect, holds) {
            (Effect::GoesOn, _) | (_, Some(false)) => {}
            (Effect::Decides, Some(true)) => return Way::Decided(*rule),
            (Effect::Returns, Some(true)) => return Way::Ends,
            (Effect::Elsewhere, _) | (_, None) => return Way::Unknown,
        }
    }
    Way::Ends
}

/// What a target does to the walk.
enum Effect {
    /// The rules go on.
    GoesOn,
    /// It decides about the packet, or ends its way through the table.
    Decides,
    /// Back to the caller.
    Returns,
    /// Into another chain, or nobody knows where.
    Elsewhere,
}

impl Effect {
    fn of(target: Option<&Target<'_>>) -> Self {
        match target {
            None | Some(Target::Log(_) | Target::Nflog(_) | Target::Trace | Target::Tcpmss(_)) => {
                Self::GoesOn
            }
            Some(
                Target::Accept
                | Target::Drop
                | Target::Reject(_)
                | Target::Queue
                | Target::Nfqueue(_)
                | Target::Dnat(_)
                | Target::Snat(_)
                | Target::Masquerade(_)
                | Target::Redirect(_)
                | Target::Netmap(_),
            ) => Self::Decides,
            Some(Target::Return) => Self::Returns,
            // Those that change what later rules look at (MARK, CT, SET …) end what is known.
            Some(_) => Self::Elsewhere,
        }
    }
}

/// Every condition of `spec` is one that `matched` has as well. Limits do not count: that one let the
/// packet by says nothing of another's account.
fn implied(spec: &Spec<'_>, matched: &Spec<'_>) -> bool {
    fn part<T: PartialEq>(wanted: Option<&T>, had: Option<&T>) -> bool {
        wanted.is_none() || wanted == had
    }
    let limits = |one: &Match<'_>| {
        matches!(
            one,
            Match::Limit(_)
                | Match::Hashlimit(_)
                | Match::Statistic(_)
                | Match::Recent(_)
                | Match::Connlimit(_)
                | Match::Unknown(_)
        )
    };
    let has = |one: &Match<'_>| {
        matches!(one, Match::Comment(_)) || (!limits(one) && matched.matches.contains(one))
    };
    part(spec.source.as_ref(), matched.source.as_ref())
        && part(spec.destination.as_ref(), matched.destination.as_ref())
        && part(spec.in_interface.as_ref(), matched.in_interface.as_ref())
        && part(spec.out_interface.as_ref(), matched.out_interface.as_ref())
        && part(spec.protocol.as_ref(), matched.protocol.as_ref())
        && part(spec.fragment.as_ref(), matched.fragment.as_ref())
        && spec.stray.is_empty()
        && spec.matches.iter().all(has)
}

/// The rule that must have led the packet into a chain, if only one can.
fn only_caller(
    ruleset: &Ruleset,
    rules: &LogRules,
    chain: ChainIdx,
    log: &LogLine,
) -> Option<RuleIdx> {
    let hooks = Hooks::of_line(log);
    let mut callers = rules.callers(chain).iter().filter(|caller| {
        let reached = ruleset
            .chain_of(**caller)
            .is_some_and(|from| rules.hooks_of(from).meet(hooks));
        reached && fit::fits(&ruleset.parse_rule(**caller), log) != Some(false)
    });
    let one = callers.next()?;
    callers.next().is_none().then_some(*one)
}
