//! Fix from there: the smallest staged changes that let a blocked packet through.
//!
//! Given what is staged (or nothing staged yet) and a packet that the rules block, [`fixes`] tries what an
//! administrator would try: move the rule that would accept it above the one that decides, put an accept just
//! before that one, add the rule for answers, open FORWARD for a DNAT in both directions, delete the rule that
//! decides. Each is carried out on a copy of the stage, and the packet is walked through the result; what does
//! not let it through is not offered. Nor is what helps the first packet of a connection alone: its answer and what
//! follows are walked too, and the rules that they need are part of the same fix (`whole`). With each comes what else it would let through, and they are ordered by
//! that.
//!
//! A rule that is known to say less than the kernel holds ([`Marked`]) is matched as unknown in all of this: no way
//! out rests on one.
//!
//! Nothing is applied and the user's stage is not touched: a fix is [`Operation`]s to carry out there. What is
//! not the rules' doing (a native chain, no hops left) has no fix here, but for one: where the connection table
//! is full, rules can leave a service's packets untracked ([`untracked`]).
//!
//! `candidate` says what to try, `spot` where it goes and `whole` what the rest of the connection needs; `what_if` puts many packets through both rulesets.

mod candidate;
mod spot;
#[cfg(test)]
mod tests;
mod untracked;
mod what_if;
mod whole;

use std::sync::Arc;

use candidate::Blocked;

use crate::edit::{Operation, Refused, Stage};
use crate::ruleset::spec::Match;
use crate::ruleset::{BaseChain, Lossy, Marked, Ruleset};
use crate::verdict::{
    Alteration, Answer, Explanation, Facts, Other, Possible, Probe, Program, Side, Step, Verdict,
    change,
};
pub use untracked::untracked;
pub use what_if::{WhatIf, cut_connections, what_if};

/// Rules that one fix may take: a packet may be stopped by one table after the other.
const STEPS: usize = 4;

/// What kind of change a fix is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The rule that would accept goes above the one that decides.
    MoveAccept,
    /// An accept for this packet's source just before the rule that decides; in a chain of the user a return
    /// to its caller, where that does.
    AcceptSource,
    /// The same from anywhere.
    AcceptAll,
    /// The rule that lets answers through: RELATED,ESTABLISHED.
    AcceptAnswers,
    /// FORWARD for a DNAT, there and back.
    Forward,
    /// The rule that decides goes.
    Delete,
    /// Its packets need no entry of the connection table.
    Untracked,
}

/// One operation on one of the stages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FixStep {
    /// Which stage, by its place in the list that was given.
    pub stage: usize,
    /// What to do there.
    pub operation: Operation,
}

/// A change that lets the packet through, proved by walking it through the result.
#[derive(Clone, Debug)]
pub struct Fix {
    /// What kind of change it is.
    pub kind: Kind,
    /// To be carried out in this order.
    pub steps: Vec<FixStep>,
    /// All that it lets through, this packet included, and all that it stops.
    pub alteration: Alteration,
    /// Limits that the packet still has to keep to, and what else the connection depends on; empty where it passes
    /// in any case.
    pub limits: Vec<String>,
}

/// Finds changes that let `probe` and the connection that it opens through, the one that opens least first. `stages` are those of one family,
/// in the order in which their rulesets are compiled, and `marked` the kernel's rulesets that they are about, in
/// the same order; `native` are the chains beside them. Empty where no rule and no policy stops
/// it or what follows it.
pub fn fixes(
    stages: &[Stage],
    marked: &[Marked<'_>],
    native: &[BaseChain],
    probe: &Probe,
    facts: &Facts,
) -> Vec<Fix> {
    let bench = Bench {
        marked,
        native,
        probe,
        facts,
    };
    let before = bench.compiled(stages);
    let Some(stopped) = bench.stopped(&before) else {
        return Vec::new();
    };
    let mut found: Vec<Fix> = Vec::new();
    let mut results: Vec<Vec<Arc<Ruleset>>> = Vec::new();
    let mut others_stopped = false;
    for kind in [
        Kind::MoveAccept,
        Kind::AcceptSource,
        Kind::AcceptAll,
        Kind::AcceptAnswers,
        Kind::Forward,
        Kind::Delete,
    ] {
        // The way back is opened where it is closed.
        if kind == Kind::Forward && !others_stopped {
            continue;
        }
        let returned = bench.attempt_return(kind, stages, &stopped, &before);
        let Some(first) = returned.or_else(|| bench.attempt(kind, stages, &stopped)) else {
            continue;
        };
        let for_it = first.0.len();
        let Some(done) = whole::complete(&bench, stages, first) else {
            others_stopped = true;
            continue;
        };
        others_stopped |= done.steps.len() > for_it;
        let texts = |one: &[Arc<Ruleset>], other: &[Arc<Ruleset>]| {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.bytes() == b.bytes())
        };
        let is_known = |known: &Vec<Arc<Ruleset>>| texts(known, &done.after.rulesets);
        if results.iter().any(is_known) {
            continue;
        }
        let alteration = bench.change(&before, &done.after);
        results.push(done.after.rulesets);
        found.push(Fix {
            kind,
            steps: done.steps,
            alteration,
            limits: done.limits,
        });
    }
    let dearness = |fix: &Fix| {
        let opened = fix.alteration.opened();
        if fix.alteration.is_complete() {
            opened
        } else {
            f64::INFINITY
        }
    };
    found.sort_by(|one, other| {
        let by_opened = dearness(one).total_cmp(&dearness(other));
        by_opened.then(one.steps.len().cmp(&other.steps.len()))
    });
    found
}

/// Rulesets as the kernel would hold them, compiled.
struct Compiled {
    rulesets: Vec<Arc<Ruleset>>,
    /// Of each of them the rules that must not be believed.
    lossy: Vec<Vec<Lossy>>,
    program: Program,
}

impl Compiled {
    /// The rule of a step says less than the kernel holds.
    fn is_doubted(&self, step: &Step) -> bool {
        let place = step.place;
        let number = self
            .rulesets
            .get(place.ruleset)
            .zip(place.rule)
            .map(|(ruleset, rule)| ruleset.number(rule) as usize);
        let lossy = self.lossy.get(place.ruleset).into_iter().flatten();
        let mut marks = lossy.filter(|one| one.chain == place.chain);
        marks.any(|one| Some(one.position + 1) == number)
    }
}

/// A packet that does not get through, and why.
struct Stopped {
    probe: Probe,
    explanation: Explanation,
}

impl From<Other> for Stopped {
    fn from(other: Other) -> Self {
        Self {
            probe: other.probe,
            explanation: other.explanation,
        }
    }
}

/// What does not change from one attempt to the next.
struct Bench<'a> {
    marked: &'a [Marked<'a>],
    native: &'a [BaseChain],
    probe: &'a Probe,
    facts: &'a Facts,
}

impl Bench<'_> {
    fn compiled(&self, stages: &[Stage]) -> Compiled {
        let rulesets: Vec<Arc<Ruleset>> = stages.iter().map(Stage::staged).collect();
        let carried = |(at, ruleset): (usize, &Arc<Ruleset>)| {
            let marked = self.marked.get(at);
            marked.map_or_else(Vec::new, |marked| marked.carried(ruleset))
        };
        let lossy: Vec<Vec<Lossy>> = rulesets.iter().enumerate().map(carried).collect();
        let both = rulesets.iter().zip(&lossy);
        let marked: Vec<Marked<'_>> = both
            .map(|(ruleset, lossy)| Marked { ruleset, lossy })
            .collect();
        let program = Program::compile_marked(self.probe.family, &marked, self.native);
        Compiled {
            rulesets,
            lossy,
            program,
        }
    }

    fn explain(&self, compiled: &Compiled, probe: &Probe) -> Explanation {
        let list: Vec<&Ruleset> = compiled.rulesets.iter().map(AsRef::as_ref).collect();
        compiled.program.explain(probe, self.facts, &list)
    }

    /// The first packet of the connection that is stopped: the one that was asked about, or one that must follow it.
    /// `None` where all get through.
    fn stopped(&self, compiled: &Compiled) -> Option<Stopped> {
        let explanation = self.explain(compiled, self.probe);
        if explanation.verdict != Verdict::Accept {
            return Some(Stopped {
                probe: self.probe.clone(),
                explanation,
            });
        }
        let mut others = self.others(compiled).into_iter();
        others.find(Other::is_blocked).map(Stopped::from)
    }

    /// The other packets of the connection.
    fn others(&self, compiled: &Compiled) -> Vec<Other> {
        let list: Vec<&Ruleset> = compiled.rulesets.iter().map(AsRef::as_ref).collect();
        compiled.program.others(self.probe, self.facts, &list)
    }

    /// Changes of one kind until the packet comes through: the steps and what they lead to.
    fn attempt(
        &self,
        kind: Kind,
        stages: &[Stage],
        stopped: &Stopped,
    ) -> Option<(Vec<FixStep>, Compiled)> {
        let mut stages = stages.to_vec();
        let mut steps = Vec::new();
        let mut stopped_in = Vec::new();
        let mut explanation = stopped.explanation.clone();
        for _ in 0..STEPS {
            let blocked = Blocked::of(&stages, &stopped.probe, &explanation)?;
            // Stopped again in the same chain: this kind does not help.
            if stopped_in.contains(&blocked.chain()) {
                return None;
            }
            stopped_in.push(blocked.chain());
            for step in blocked.steps(kind)? {
                carry_out(&mut stages, &step).ok()?;
                steps.push(step);
            }
            let after = self.compiled(&stages);
            let next = self.explain(&after, &stopped.probe);
            if is_way_out(&stopped.explanation, &next, &after) {
                return Some((steps, after));
            }
            explanation = next;
        }
        None
    }

    /// A rule that returns instead of one that accepts, where it is enough and stops nothing else.
    fn attempt_return(
        &self,
        kind: Kind,
        stages: &[Stage],
        stopped: &Stopped,
        before: &Compiled,
    ) -> Option<(Vec<FixStep>, Compiled)> {
        let explanation = &stopped.explanation;
        let step = Blocked::of(stages, &stopped.probe, explanation)?.return_step(kind)?;
        let mut stages = stages.to_vec();
        carry_out(&mut stages, &step).ok()?;
        let after = self.compiled(&stages);
        if !is_way_out(explanation, &self.explain(&after, &stopped.probe), &after) {
            return None;
        }
        let change = self.change(before, &after);
        let stops = change.ways.iter().any(|way| !way.newly_dropped.is_empty());
        (!stops && change.is_complete()).then_some((vec![step], after))
    }

    fn change(&self, before: &Compiled, after: &Compiled) -> Alteration {
        let old: Vec<&Ruleset> = before.rulesets.iter().map(AsRef::as_ref).collect();
        let new: Vec<&Ruleset> = after.rulesets.iter().map(AsRef::as_ref).collect();
        let side = |program, rulesets| Side { program, rulesets };
        change(
            side(&before.program, &old),
            side(&after.program, &new),
            self.facts,
        )
    }
}

/// The packet passes now, or it was stopped for certain and now passes as long as limits of others' traffic
/// too are kept to.
fn is_way_out(before: &Explanation, now: &Explanation, after: &Compiled) -> bool {
    let limits = |step: &Step| {
        if after.is_doubted(step) {
            return false; // its text may name a limit, but that is not all that it asks
        }
        let ruleset = after.rulesets.get(step.place.ruleset);
        let is_limit = |one: &Match<'_>| matches!(one, Match::Limit(_) | Match::Hashlimit(_));
        ruleset
            .zip(step.place.rule)
            .is_some_and(|(ruleset, rule)| ruleset.parse_rule(rule).matches.iter().any(is_limit))
    };
    match now.verdict {
        Verdict::Accept => true,
        Verdict::Unknown if before.verdict != Verdict::Unknown => {
            let open = |step: &&Step| step.answer == Answer::Unknown;
            let mut open = now.path.iter().filter(open);
            let may_pass = |way: &Possible| way.verdict == Verdict::Accept;
            now.possible.iter().any(may_pass) && open.all(limits)
        }
        _ => false,
    }
}

fn carry_out(stages: &mut [Stage], step: &FixStep) -> Result<(), Refused> {
    match stages.get_mut(step.stage) {
        Some(stage) => stage.carry_out(step.operation.clone()),
        None => Ok(()),
    }
}
