//! Where each rule of a template goes, and why there.

use super::compose::{self, Composed};
use super::cover::states_of;
use super::fate::{Fate, Held, Oracle, drops, held_rules};
use super::{Given, Rule, Template, Where, order, owner};
use crate::edit::form::check::{Problem, check};
use crate::edit::form::complete::Names;
use crate::edit::form::{Site, sentence, text};
use crate::edit::{Operation, RowId, Spot, Stage};
use crate::ruleset::spec::value::{StateSet, WordSet};
use crate::ruleset::spec::{Match, Spec, Target};
use crate::ruleset::{ChainIdx, Policy, Severity};

/// One thing that a template does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is staged.
    pub operation: Operation,
    /// `filter INPUT`
    pub chain: String,
    /// The number that the rule will have there.
    pub number: u32,
    /// The number that it had, for a rule that is moved.
    pub was: Option<u32>,
    /// The rule's text.
    pub spec: Vec<u8>,
    /// What it does, in words.
    pub sentence: String,
    /// Why it stands there, in words.
    pub why: String,
}

/// What a template does to a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they are staged.
    pub steps: Vec<Step>,
    /// What the user should know: what is there already, who owns a chain, what stays in the way.
    pub remarks: Vec<String>,
    /// Why it cannot be staged as it is; empty when it can.
    pub lacks: Vec<String>,
}

/// What the template does to a stage, with what was given for its fields. The operations are for that
/// stage, all of them in order.
pub fn plan(template: &Template, given: &Given, stage: &Stage, names: &Names) -> Plan {
    let mut plan = Plan::default();
    if let Some(chain) = &template.arrange {
        order::arrange(&chain.table, &chain.chain, stage, &mut plan);
    }
    let lacking = compose::lacking(template, given);
    if lacking.is_empty() {
        // Each step is placed among what the steps before it left.
        let mut draft = stage.clone();
        for rule in &template.rules {
            for composed in compose::rules(rule, given, names, stage.base().family()) {
                one(rule, &composed, &mut draft, names, &mut plan);
            }
        }
        number(&mut plan, stage);
    } else {
        let words = lacking.iter().map(|label| format!("{label} is needed"));
        plan.lacks.extend(words);
    }
    plan.remarks.extend(template.note.clone());
    plan.remarks.dedup();
    plan
}

/// One rule: looked at, placed, staged in the draft.
fn one(rule: &Rule, composed: &Composed, draft: &mut Stage, names: &Names, plan: &mut Plan) {
    let set = &draft.shown().ruleset;
    let builtin = set.find_chain(&composed.table, &composed.chain);
    let site = builtin.map_or_else(|| bare_site(composed, draft), |chain| Site::of(set, chain));
    let problems = check(&composed.spec, &site, names);
    if let Some(problem) = problems.iter().find(|p| p.severity == Severity::Error) {
        plan.lacks.push(problem_words(problem, &composed.spec));
        return;
    }
    let is_chain = |name: &[u8]| site.is_chain(name);
    let wanted = Spec::parse(&composed.spec, site.family, &is_chain);
    let place = format!("{} {}", composed.table, composed.chain);
    let Some(builtin) = builtin else {
        if rule.needed {
            return; // an empty chain that accepts
        }
        let words = "the only rule: the chain was empty";
        stage_it(rule, composed, &composed.chain, None, words, draft, plan);
        return;
    };
    let mut oracle = Oracle::new(draft, &wanted);
    if rule.place != Where::Log && is_there(&mut oracle, rule, builtin, &place, plan) {
        return;
    }
    let (chain, fate) = match owner::of(draft, &composed.table, &composed.chain) {
        Some((owner, into)) => {
            plan.remarks.push(owner.words.clone());
            // What comes first stays in the built-in chain; the rest goes where the program keeps such.
            let into = into.filter(|_| rule.place == Where::Decide);
            let chain = into.unwrap_or(builtin);
            (chain, oracle.fate(chain))
        }
        None => (builtin, oracle.fate(builtin)),
    };
    let found = match rule.place {
        Where::Head => Some(head(draft, chain, &wanted)),
        Where::Decide => Some(decide(draft, chain, &fate, plan)),
        Where::Log => log(draft, chain),
    };
    let Some((before, words)) = found else {
        plan.remarks.push(format!(
            "nothing is dropped at the end of {place}: there is nothing to log"
        ));
        return;
    };
    let name = text::from_bytes(draft.shown().ruleset.chain(chain).name_bytes());
    stage_it(rule, composed, &name, before, &words, draft, plan);
}

/// Whether the rules that are there do it already, or nobody needs it; said in a remark.
fn is_there(
    oracle: &mut Oracle<'_>,
    rule: &Rule,
    chain: ChainIdx,
    place: &str,
    plan: &mut Plan,
) -> bool {
    let fate = oracle.fate(chain);
    if let Some((held, true)) = fate.decided {
        if !rule.needed {
            plan.remarks.push(format!(
                "{}: rule {} of {place} does it already",
                rule.why, held.number
            ));
        }
        return true;
    }
    rule.needed && oracle.passes(chain) == Some(true)
}

fn problem_words(problem: &Problem, spec: &[u8]) -> String {
    let at = spec.get(problem.at.clone()).unwrap_or_default();
    let at = text::from_bytes(at);
    if at.is_empty() || problem.words.contains(&at) {
        problem.words.clone()
    } else {
        format!("{at}: {}", problem.words)
    }
}

/// The place of a rule in a table that the ruleset does not have yet.
fn bare_site(composed: &Composed, stage: &Stage) -> Site {
    let chain = composed.chain.clone();
    Site {
        family: stage.base().family(),
        backend: stage.base().backend(),
        table: composed.table.clone(),
        hooks: vec![chain.clone()],
        builtin: vec![chain.clone().into_bytes()],
        chain: chain.into_bytes(),
        chains: Vec::new(),
    }
}

/// Where a rule goes: before a row, or at the end; and why, in words.
type Found = (Option<RowId>, String);

fn row_of(stage: &Stage, held: Held) -> Option<RowId> {
    stage.shown().row(held.rule).map(|row| row.id)
}

/// How early a rule of the head stands: loopback, established, invalid; `None` for every other rule.
pub fn rank(spec: &Spec<'_>) -> Option<u8> {
    let plain = |m: &Match<'_>| matches!(m, Match::Comment(_));
    let bare = spec.source.is_none()
        && spec.destination.is_none()
        && spec.protocol.is_none()
        && spec.fragment.is_none();
    let is_lo = |side: &Option<crate::ruleset::spec::Inv<crate::ruleset::spec::Interface<'_>>>| {
        side.as_ref()
            .is_some_and(|side| !side.invert && *side.value.text == *b"lo")
    };
    let accepts = matches!(spec.target, Some(Target::Accept));
    if bare && accepts && (is_lo(&spec.in_interface) || is_lo(&spec.out_interface)) {
        return spec.matches.iter().all(plain).then_some(0);
    }
    let anywhere = bare && spec.in_interface.is_none() && spec.out_interface.is_none();
    let about_states =
        |m: &Match<'_>| plain(m) || matches!(m, Match::State(_) | Match::Conntrack(_));
    if !anywhere || !spec.matches.iter().all(about_states) {
        return None;
    }
    let states = states_of(spec)?;
    let established = StateSet::ESTABLISHED | StateSet::RELATED;
    if accepts && established.contains(states) {
        Some(1)
    } else if drops(spec) && states == StateSet::INVALID {
        Some(2)
    } else {
        None
    }
}

/// Behind the first rules that come no later than it.
fn head(stage: &Stage, chain: ChainIdx, wanted: &Spec<'_>) -> Found {
    let own = rank(wanted).unwrap_or(0);
    let rules = held_rules(stage, chain);
    let rank_of = |held: &Held| rank(&stage.shown().ruleset.parse_rule(held.rule));
    let earlier = rules
        .iter()
        .take_while(|held| rank_of(held).is_some_and(|rank| rank <= own))
        .count();
    let before = rules.get(earlier).and_then(|held| row_of(stage, *held));
    let words = match earlier {
        0 => "first of the chain".to_owned(),
        1 => "behind rule 1, which comes before all else".to_owned(),
        many => format!("behind rules 1 to {many}, which come before all else"),
    };
    (before, words)
}

/// Before the first rule that decides otherwise about all of it.
fn decide(stage: &Stage, chain: ChainIdx, fate: &Fate, plan: &mut Plan) -> Found {
    let set = &stage.shown().ruleset;
    let shown = |held: &Held| {
        let spec = text::from_bytes(set.spec(held.rule));
        format!("rule {} ({spec})", held.number)
    };
    let name = set.chain(chain).name();
    for held in &fate.partly {
        plan.remarks.push(format!(
            "{} of {name} stays before it: it drops a part of this",
            shown(held)
        ));
    }
    let ends = fate.decided.map(|decided| decided.0);
    if let Some(held) = ends {
        return (
            row_of(stage, held),
            format!("before {}, which decides about all of it", shown(&held)),
        );
    }
    if let Some(held) = &fate.leaves {
        return (
            row_of(stage, *held),
            format!("before {}, where it would leave the chain", shown(held)),
        );
    }
    let words = match set.chain(chain).policy() {
        Some(policy) => format!("at the end, before the policy {}", policy.name()),
        None => "at the end: no rule there decides about it".to_owned(),
    };
    (None, words)
}

/// Before the last rule that drops everything; before the policy where that drops.
fn log(stage: &Stage, chain: ChainIdx) -> Option<Found> {
    let set = &stage.shown().ruleset;
    let rules = held_rules(stage, chain);
    let last = rules
        .iter()
        .find(|held| order::is_last_drop(&set.parse_rule(held.rule)));
    if let Some(held) = last {
        let words = format!("before rule {}, which drops the rest", held.number);
        return Some((row_of(stage, *held), words));
    }
    let drops = set.chain(chain).policy() == Some(Policy::Drop);
    drops.then(|| (None, "at the end, before the policy DROP".to_owned()))
}

/// Puts the rule in the draft and the step in the plan.
fn stage_it(
    rule: &Rule,
    composed: &Composed,
    chain: &str,
    before: Option<RowId>,
    place: &str,
    draft: &mut Stage,
    plan: &mut Plan,
) {
    let set = &draft.shown().ruleset;
    let site = set
        .find_chain(&composed.table, chain)
        .map_or_else(|| bare_site(composed, draft), |chain| Site::of(set, chain));
    let operation = Operation::Insert {
        at: Spot::new(&composed.table, text::to_bytes(chain), before),
        spec: composed.spec.clone(),
    };
    if let Err(refused) = draft.carry_out(operation.clone()) {
        plan.lacks.push(refused.to_string().replace('\n', ": "));
        return;
    }
    plan.steps.push(Step {
        operation,
        chain: format!("{} {chain}", composed.table),
        number: 0,
        was: None,
        sentence: sentence::of_text(&composed.spec, &site),
        spec: composed.spec.clone(),
        why: format!("{}; {place}", rule.why),
    });
}

/// The numbers that the new rules will have once all of them are staged.
fn number(plan: &mut Plan, stage: &Stage) {
    let mut last = stage.clone();
    let mut rows = Vec::new();
    for step in &plan.steps {
        let taken = last.carry_out(step.operation.clone()).is_ok();
        rows.push(last.touched().filter(|_| taken));
    }
    let shown = last.shown();
    for (step, row) in plan.steps.iter_mut().zip(rows) {
        let rule = row.and_then(|row| shown.rule_of(row));
        let number = rule
            .and_then(|rule| shown.row(rule))
            .and_then(|row| row.number);
        step.number = number.unwrap_or(step.number);
    }
}
