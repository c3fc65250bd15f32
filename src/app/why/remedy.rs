//! The staged changes that would let the packet through, in words: what each does, and what else it opens.
//!
//! They are found by [`fix`](crate::app::fix) on copies of the stages; here they are told. Nothing is staged
//! by telling.

use super::question::{Answered, Held, Question};
use crate::app::fix::{Fix, FixStep, fixes};
use crate::edit::{Operation, RowId, Stage};
use crate::ruleset::{BaseChain, Ruleset};
use crate::verdict::{Facts, Line, Probe, Program, Verdict};

/// Lines of traffic that are told of a fix.
const LINES: usize = 3;

/// One fix, in words. Texts hold other people's names: strip before drawing.
#[derive(Clone, Debug)]
pub struct Remedy {
    /// What it does, a step each: `move rule 9 of filter INPUT above rule 7`.
    pub does: Vec<String>,
    /// What it lets through, this packet included: `tcp any -> :443 on eth0, new`.
    pub opens: Vec<String>,
    /// What it lets through could not be worked out whole: there may be more than is told.
    pub more: bool,
    /// Answers to the packet would still be stopped.
    pub answers_blocked: bool,
    /// To be carried out on the stages that it was found for.
    pub fix: Fix,
}

impl Remedy {
    /// A fix in words; `stages` are those that it was found for.
    pub fn of(fix: Fix, stages: &[Stage]) -> Self {
        let mut stages = stages.to_vec();
        let mut does = Vec::new();
        // A later step may speak of a row that an earlier one made.
        for FixStep { stage, operation } in &fix.steps {
            let Some(stage) = stages.get_mut(*stage) else {
                continue;
            };
            does.extend(tell(operation, stage));
            if stage.carry_out(operation.clone()).is_err() {
                break; // it was carried out once already when it was found
            }
        }
        let mut opens: Vec<String> = Vec::new();
        let mut more = !fix.alteration.is_complete();
        for way in &fix.alteration.ways {
            let lines = way.newly_accepted.lines();
            opens.extend(lines.iter().map(Line::to_string));
        }
        more |= opens.len() > LINES;
        opens.truncate(LINES);
        Self {
            does,
            opens,
            more,
            answers_blocked: fix.answers_blocked,
            fix,
        }
    }
}

/// An operation in words; `None` for those that no fix makes.
fn tell(operation: &Operation, stage: &Stage) -> Option<String> {
    match operation {
        Operation::Move { row, to } => {
            let (chain, number) = named(stage, *row)?;
            let above = above(stage, to.before);
            let target = name(&to.table, &to.chain);
            let there = if target == chain {
                above
            } else {
                format!("{above} of {target}")
            };
            Some(format!("move rule {number} of {chain} {there}"))
        }
        Operation::Insert { at, spec } => {
            let chain = name(&at.table, &at.chain);
            let above = above(stage, at.before);
            let spec = String::from_utf8_lossy(spec);
            Some(format!("insert in {chain} {above}: {spec}"))
        }
        _ => None,
    }
}

fn name(table: &[u8], chain: &[u8]) -> String {
    let (table, chain) = (
        String::from_utf8_lossy(table),
        String::from_utf8_lossy(chain),
    );
    format!("{table} {chain}")
}

/// `above rule 7`, `at the end`.
fn above(stage: &Stage, row: Option<RowId>) -> String {
    match row.and_then(|row| named(stage, row)) {
        Some((_, number)) => format!("above rule {number}"),
        None => "at the end".to_owned(),
    }
}

/// Chain and number of a row.
fn named(stage: &Stage, row: RowId) -> Option<(String, u32)> {
    let shown = stage.shown();
    let at = shown.rows.iter().position(|known| known.id == row)?;
    let rule = crate::ruleset::RuleIdx(u32::try_from(at).ok()?);
    let chain = shown.ruleset.chain(shown.ruleset.chain_of(rule)?);
    let table = shown.ruleset.table(chain.table());
    let number = shown.rows.get(at)?.number?;
    Some((name(table.name_bytes(), chain.name_bytes()), number))
}

/// The fixes of an answered question, the one that opens least first.
#[derive(Clone, Debug)]
pub struct Remedies {
    /// Of which question.
    pub number: u64,
    /// What could be staged.
    pub list: Vec<Remedy>,
    /// What is staged already lets the packet through.
    pub staged: bool,
}

/// Looks for them. `None` for a packet that no rule blocks.
pub fn remedies(question: &Question, answered: &Answered, facts: &Facts) -> Option<Remedies> {
    if !matches!(
        answered.explanation.verdict,
        Verdict::Drop | Verdict::Reject
    ) {
        return None;
    }
    let stage_of = |held: &Held| {
        let staged = question.stages.iter().find(|(id, _)| *id == held.id);
        staged.map_or_else(
            || Stage::new(std::sync::Arc::clone(&held.ruleset)),
            |(_, stage)| stage.clone(),
        )
    };
    let stages: Vec<Stage> = answered.sets.iter().map(stage_of).collect();
    let probe = &answered.probe;
    let staged = stages.iter().any(|stage| !stage.is_empty())
        && lets_through(&stages, &question.natives, probe, facts);
    let found = fixes(&stages, &question.natives, probe, facts);
    let told = found.into_iter().map(|fix| Remedy::of(fix, &stages));
    Some(Remedies {
        number: answered.number,
        list: told.collect(),
        staged,
    })
}

fn lets_through(stages: &[Stage], natives: &[BaseChain], probe: &Probe, facts: &Facts) -> bool {
    let staged: Vec<_> = stages.iter().map(Stage::staged).collect();
    let rulesets: Vec<&Ruleset> = staged.iter().map(AsRef::as_ref).collect();
    let program = Program::compile_beside(probe.family, &rulesets, natives);
    program.decide(probe, facts, &rulesets).verdict == Verdict::Accept
}
