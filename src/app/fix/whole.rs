//! The rest of a fix: what the other packets of the connection need.
//!
//! A rule that accepts a first packet by its state lets nobody do anything where no rule accepts what is
//! established, or where the answers are stopped. So after each change the whole connection is walked, and what
//! stops a packet of it gets its own rule: the one for RELATED and ESTABLISHED where that helps, once for each
//! chain, else an accept for just this kind of packet. A connection that cannot be helped so has no such fix.

use crate::edit::Stage;
use crate::verdict::{Other, Verdict};

use super::candidate::Blocked;
use super::{Bench, Compiled, FixStep, Kind, carry_out};

/// Rules that the other packets of a connection may take: the way back and the way on may each be stopped by
/// several tables.
const STEPS: usize = 6;

/// A change that lets the whole connection through.
pub(super) struct Whole {
    /// All of its steps.
    pub steps: Vec<FixStep>,
    /// What they lead to.
    pub after: Compiled,
    /// On what it depends still, in words.
    pub limits: Vec<String>,
}

/// Adds to steps that let one packet of the connection through what the others need. `after` is what they lead to.
/// `None` where the others stay stopped.
pub(super) fn complete(
    bench: &Bench<'_>,
    stages: &[Stage],
    (mut steps, mut after): (Vec<FixStep>, Compiled),
) -> Option<Whole> {
    let mut stages = stages.to_vec();
    for step in &steps {
        carry_out(&mut stages, step).ok()?;
    }
    for _ in 0..=STEPS {
        let there = bench.explain(&after, bench.probe);
        if matches!(there.verdict, Verdict::Drop | Verdict::Reject) {
            return None;
        }
        let others = bench.others(&after);
        let Some(other) = others.iter().find(|other| other.is_blocked()) else {
            let mut limits = there.unknown;
            limits.extend(others.iter().flat_map(doubts));
            limits.dedup();
            return Some(Whole {
                steps,
                after,
                limits,
            });
        };
        let (more, next) = mend(bench, &mut stages, other)?;
        steps.extend(more);
        after = next;
    }
    None
}

/// On what a packet depends, and which packet that is.
fn doubts(other: &Other) -> Vec<String> {
    let why = other.explanation.unknown.iter();
    why.map(|why| format!("{why} ({})", other.part.words()))
        .collect()
}

/// Gets a packet past the chain that stops it: the steps, and what they lead to.
fn mend(
    bench: &Bench<'_>,
    stages: &mut Vec<Stage>,
    other: &Other,
) -> Option<(Vec<FixStep>, Compiled)> {
    let before = stages.clone();
    let blocked = Blocked::of(&before, &other.probe, &other.explanation)?;
    for kind in [Kind::AcceptAnswers, Kind::AcceptAll] {
        let Some(steps) = blocked.steps(kind) else {
            continue;
        };
        let mut changed = before.clone();
        let mut all = steps.iter();
        if !all.all(|step| carry_out(&mut changed, step).is_ok()) {
            continue;
        }
        let after = bench.compiled(&changed);
        let next = bench.explain(&after, &other.probe);
        let again = Blocked::of(&changed, &other.probe, &next);
        let still = matches!(next.verdict, Verdict::Drop | Verdict::Reject);
        // Another chain may be the next to stop it, which is for the next round.
        let elsewhere = again.is_some_and(|again| again.chain() != blocked.chain());
        if !still || elsewhere {
            *stages = changed;
            return Some((steps, after));
        }
    }
    None
}
