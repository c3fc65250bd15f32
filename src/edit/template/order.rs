//! The recommended order of a chain, made of the rules that are there: loopback, established, invalid;
//! everything else as it stands; the last drop last, with the log line that goes with it.
//!
//! Accepts and drops in between keep their order: which of two comes first is what their author meant, or
//! the mistake that the verdict screen shows. A rule that stands behind a drop of everything begins to
//! count again when that drop moves to the end, and this says so.

use super::fate::{Held, drops, held_rules};
use super::place::{Plan, Step, rank};
use crate::edit::form::sentence;
use crate::edit::{Operation, Spot, Stage};
use crate::ruleset::spec::{Match, Spec, Target};

/// Drops or rejects everything.
pub(super) fn is_last_drop(spec: &Spec<'_>) -> bool {
    drops(spec) && is_about_all(spec, |_| false)
}

/// Logs everything, at most at a rate.
fn is_log(spec: &Spec<'_>) -> bool {
    spec.target.as_ref().is_some_and(Target::logs)
        && is_about_all(spec, |m| matches!(m, Match::Limit(_)))
}

fn is_about_all(spec: &Spec<'_>, besides: impl Fn(&Match<'_>) -> bool) -> bool {
    spec.source.is_none()
        && spec.destination.is_none()
        && spec.protocol.is_none()
        && spec.in_interface.is_none()
        && spec.out_interface.is_none()
        && spec.fragment.is_none()
        && spec.stray.is_empty()
        && spec
            .matches
            .iter()
            .all(|m| matches!(m, Match::Comment(_)) || besides(m))
}

/// Where a rule stands in the recommended order.
const REST: u8 = 3;
const LOG: u8 = 4;
const LAST: u8 = 5;

/// Adds the moves that bring the chain into the recommended order.
pub(super) fn arrange(table: &str, chain: &str, stage: &Stage, plan: &mut Plan) {
    let set = &stage.shown().ruleset;
    let Some(found) = set.find_chain(table, chain) else {
        plan.remarks
            .push(format!("there are no rules in {table} {chain}"));
        return;
    };
    let rules = held_rules(stage, found);
    let specs: Vec<Spec<'_>> = rules.iter().map(|held| set.parse_rule(held.rule)).collect();
    let classes = classes(&specs);
    let mut wanted: Vec<usize> = (0..rules.len()).collect();
    wanted.sort_by_key(|at| classes.get(*at).copied().unwrap_or(REST));
    let stays = longest_rise(&wanted);
    let revived = revived(&classes);
    if wanted.windows(2).all(|pair| pair[0] < pair[1]) {
        plan.remarks
            .push(format!("{table} {chain} is in the recommended order"));
        return;
    }
    if let Some((first, last)) = revived {
        let number = |at: usize| rules.get(at).map_or(0, |held| held.number);
        plan.remarks.push(format!(
            "rules {} to {} stand behind a rule that drops everything: they will count again",
            number(first),
            number(last)
        ));
    }
    // From the end on, so that the rule that follows stands already.
    let mut moves = Vec::new();
    for (place, at) in wanted.iter().enumerate().rev() {
        if stays.contains(at) {
            continue;
        }
        let next = wanted.get(place + 1).and_then(|next| rules.get(*next));
        let Some(held) = rules.get(*at) else { continue };
        moves.extend(moved(
            table, chain, stage, *held, next, place, &classes, *at,
        ));
    }
    plan.steps.extend(moves);
}

#[allow(clippy::too_many_arguments)]
fn moved(
    table: &str,
    chain: &str,
    stage: &Stage,
    held: Held,
    next: Option<&Held>,
    place: usize,
    classes: &[u8],
    at: usize,
) -> Option<Step> {
    let shown = stage.shown();
    let row = |held: &Held| shown.row(held.rule).map(|row| row.id);
    let set = &shown.ruleset;
    let why = match classes.get(at) {
        Some(0) => "loopback: first, it costs one rule",
        Some(1) => "established connections: most packets are these",
        Some(2) => "invalid packets: no rule below has to think of them",
        Some(&LOG) => "the log line goes with the drop that it tells of",
        Some(&LAST) => "it drops everything: nothing counts behind it",
        _ => "makes room",
    };
    Some(Step {
        operation: Operation::Move {
            row: row(&held)?,
            to: Spot::new(table, chain, next.and_then(row)),
        },
        chain: format!("{table} {chain}"),
        number: u32::try_from(place + 1).unwrap_or(u32::MAX),
        was: Some(held.number),
        spec: set.spec(held.rule).to_vec(),
        sentence: sentence::of(&set.parse_rule(held.rule), true),
        why: why.to_owned(),
    })
}

/// The class of each rule. A log line counts as the last drop's only right before it.
fn classes(specs: &[Spec<'_>]) -> Vec<u8> {
    let mut classes: Vec<u8> = specs
        .iter()
        .map(|spec| match rank(spec) {
            Some(rank) => rank,
            None if is_last_drop(spec) => LAST,
            None => REST,
        })
        .collect();
    for at in (0..specs.len().saturating_sub(1)).rev() {
        let next = classes.get(at + 1).copied().unwrap_or(REST);
        if next >= LOG && specs.get(at).is_some_and(is_log) {
            classes[at] = LOG;
        }
    }
    classes
}

/// First and last of the rules that stand behind the first drop of everything and will not any more.
fn revived(classes: &[u8]) -> Option<(usize, usize)> {
    let drop = classes.iter().position(|class| *class == LAST)?;
    let behind =
        || (drop + 1..classes.len()).filter(|at| classes.get(*at).is_some_and(|c| *c < LOG));
    Some((behind().next()?, behind().next_back()?))
}

/// The longest part of the list that rises: the rules that need not move.
fn longest_rise(list: &[usize]) -> std::collections::BTreeSet<usize> {
    // Patience: for each length the place of the smallest last element, and what came before each place.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(list.len());
    for (place, value) in list.iter().enumerate() {
        let length = ends.partition_point(|end| list.get(*end) < Some(value));
        before.push(length.checked_sub(1).and_then(|at| ends.get(at).copied()));
        match ends.get_mut(length) {
            Some(end) => *end = place,
            None => ends.push(place),
        }
    }
    let mut found = std::collections::BTreeSet::new();
    let mut next = ends.last().copied();
    while let Some(place) = next {
        found.extend(list.get(place));
        next = before.get(place).copied().flatten();
    }
    found
}
