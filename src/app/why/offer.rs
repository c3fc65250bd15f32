//! A way out of the explain screen: a change that lets the packet through, in words, ready to be staged.
//!
//! What it is and what else it opens is worked out by [`crate::app::fix`] on copies of what is staged; here it
//! gets the words that the screen shows. Staging it is a key; applying is another matter.

use std::sync::Arc;

use crate::app::firewall::FirewallId;
use crate::app::fix::{Fix, FixStep, Kind, fixes, untracked};
use crate::app::why::question::{Answered, Held, Question};
use crate::edit::{Operation, RowId, Spot, Stage};
use crate::ruleset::{Marked, Ruleset};
use crate::verdict::{Facts, Path, Traffic};

/// Ways out that are shown.
const MOST: usize = 4;

/// Lines of traffic that are shown of each.
const LINES: usize = 3;

/// One way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What it does: `move rule 9 above rule 7 of filter INPUT`. Other people's text in it.
    pub words: String,
    /// What else it lets through, one line each.
    pub opens: Vec<String>,
    /// What it stops, one line each.
    pub stops: Vec<String>,
    /// There may be more than is said.
    pub undecided: bool,
    /// Limits that the packet still has to keep to. Other people's text in it.
    pub limits: Vec<String>,
    /// What to stage, on which ruleset.
    pub steps: Vec<(FirewallId, Operation)>,
}

/// The ways out of a blocked packet, the one that opens least first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offers {
    /// Of which question.
    pub number: u64,
    /// At most four.
    pub list: Vec<Offer>,
}

/// Looks for ways out. `full`: the connection table has no room for a first packet.
pub fn offers(question: &Question, answered: &Answered, facts: &Facts, full: bool) -> Offers {
    let held: Vec<&Held> = question
        .sets
        .iter()
        .filter(|held| held.id.family == answered.probe.family)
        .collect();
    let stages: Vec<Stage> = held.iter().map(|held| held.stage()).collect();
    let marked: Vec<Marked<'_>> = held.iter().map(|held| held.marked()).collect();
    let mut found = fixes(&stages, &marked, &question.natives, &answered.probe, facts);
    if full {
        found.extend(untracked(
            &stages,
            &marked,
            &question.natives,
            &answered.probe,
            facts,
        ));
    }
    // What is there is put right before anything is added for one client; within that, the one that opens
    // least first.
    found.sort_by_key(|fix| match fix.kind {
        Kind::MoveAccept | Kind::AcceptAnswers | Kind::Forward => 0,
        Kind::AcceptSource => 1,
        Kind::AcceptAll | Kind::Delete | Kind::Untracked => 2,
    });
    let list = found
        .iter()
        .take(MOST)
        .map(|fix| offer(fix, &stages, &held, answered));
    Offers {
        number: question.number,
        list: list.collect(),
    }
}

fn offer(fix: &Fix, stages: &[Stage], held: &[&Held], answered: &Answered) -> Offer {
    let mut undecided = false;
    let (mut opens, mut stops) = (Vec::new(), Vec::new());
    for way in &fix.alteration.ways {
        undecided |= !way.complete;
        opens.extend(lines(way.path(), answered.probe.path, &way.newly_accepted));
        stops.extend(lines(way.path(), answered.probe.path, &way.newly_dropped));
    }
    let mut stages = stages.to_vec();
    let mut words = Vec::new();
    for FixStep { stage, operation } in &fix.steps {
        let Some(stage) = stages.get_mut(*stage) else {
            continue;
        };
        words.push(said(stage, operation));
        // The next step counts in what this one leaves; it was carried out like this when it was found.
        let _ = stage.carry_out(operation.clone());
    }
    let step = |step: &FixStep| Some((held.get(step.stage)?.id, step.operation.clone()));
    let mut words = words.join(", and ");
    if fix.kind == Kind::Untracked {
        words.insert_str(0, "leave it untracked: ");
    }
    Offer {
        words,
        opens,
        stops,
        undecided,
        limits: fix.limits.clone(),
        steps: fix.steps.iter().filter_map(step).collect(),
    }
}

/// What is let through, the way named where it is not the packet's own.
fn lines(path: Path, own: Path, traffic: &Traffic) -> Vec<String> {
    let way = match path {
        _ if path == own => "",
        Path::Input => "in: ",
        Path::Forward => "forward: ",
        Path::Output => "out: ",
    };
    let all = traffic.lines();
    let line = |line: &crate::verdict::Line| match line.when.as_slice() {
        [] => format!("{way}{}", line.text),
        when => format!("{way}{} when {}", line.text, when.join(" and ")),
    };
    let mut lines: Vec<String> = all.iter().take(LINES).map(line).collect();
    match all.len().saturating_sub(LINES) {
        0 => {}
        1 => lines.push(format!("{way}and one line more")),
        more => lines.push(format!("{way}and {more} lines more")),
    }
    lines
}

/// An operation as one would say it.
fn said(stage: &Stage, operation: &Operation) -> String {
    match operation {
        Operation::Move { row, to } => {
            format!("move rule {} {}", number(stage, *row), place(stage, to))
        }
        Operation::Insert { at, spec } => {
            format!(
                "insert {} {}",
                String::from_utf8_lossy(spec),
                place(stage, at)
            )
        }
        Operation::Delete { row } => match chain_of(stage, *row) {
            Some(chain) => format!("delete rule {} of {chain}", number(stage, *row)),
            None => format!("delete rule {}", number(stage, *row)),
        },
        other => format!("{other:?}"),
    }
}

fn number(stage: &Stage, row: RowId) -> String {
    let shown = stage.shown();
    let rule = shown.rule_of(row).and_then(|rule| shown.row(rule));
    rule.and_then(|row| row.number)
        .map_or("?".to_owned(), |number| number.to_string())
}

/// `filter INPUT`
fn chain_of(stage: &Stage, row: RowId) -> Option<String> {
    let shown = stage.shown();
    let chain = shown.ruleset.chain_of(shown.rule_of(row)?)?;
    let chain = shown.ruleset.chain(chain);
    let table = shown.ruleset.table(chain.table()).name();
    Some(format!("{table} {}", chain.name()))
}

fn place(stage: &Stage, spot: &Spot) -> String {
    let names = [&spot.table, &spot.chain].map(|name| String::from_utf8_lossy(name).into_owned());
    match spot.before {
        Some(row) => format!("above rule {} of {}", number(stage, row), names.join(" ")),
        None => format!("at the end of {}", names.join(" ")),
    }
}

impl Held {
    /// What is staged on it, or nothing.
    fn stage(&self) -> Stage {
        match &self.staged {
            Some(stage) => stage.as_ref().clone(),
            None => Stage::new(Arc::<Ruleset>::clone(&self.ruleset)).locked(&self.lossy),
        }
    }
}
