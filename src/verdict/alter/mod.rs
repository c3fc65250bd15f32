//! What a change of the rules does to traffic: what is let through that was not, and what is not that was.
//!
//! Only packets that meet a rule that was changed, moved, added or taken away can fare otherwise; all others
//! go through the same rules to the same end. Those packets (`affected`) are put through both
//! rulesets, and where the ends differ, that is the answer. So it costs what the change is worth, not
//! what the ruleset is.
//!
//! Sets are exact, in the sense of `space`: a line without a "when" holds packets that are certainly
//! dropped before and certainly accepted after; one with a "when" holds those of them that answer so. What
//! a rule that limits, counts or asks a program answers is taken to be the same before and after.
//! Packets whose fate changes are in one of the lines, as long as the answer is complete.

mod affected;
mod reach;
#[cfg(test)]
mod tests;

use super::facts::Facts;
use super::program::Program;
use super::space::cube::piece;
use super::sweep::{Book, Conditional, Ended, Fate, Sweep};
use super::traffic::{Belongs, Traffic};
use crate::ruleset::{Family, Policy, Ruleset};
use crate::verdict::{Path, Probe};
use affected::{affected, policies};
pub use reach::{Reach, Stopped};

/// Rules put to parcels, for each of the two rulesets and each way: some tenths of a second.
pub(super) const WORK: usize = 1_500_000;

/// Pairs of ends that are compared, for each way.
const PAIRS: usize = 4_000_000;

/// Lines that are kept for each way.
const PARTS: usize = 4_000;

/// The ways.
pub(super) const PATHS: [Path; 3] = [Path::Input, Path::Forward, Path::Output];

/// One of the two rulesets: its program, and what that was compiled of.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The program.
    pub program: &'a Program,
    /// The rulesets that were compiled, in that order.
    pub rulesets: &'a [&'a Ruleset],
}

/// What a change does to the packets of one family.
#[derive(Clone, Debug)]
pub struct Alteration {
    /// Whose packets.
    pub family: Family,
    /// For each way.
    pub ways: Vec<Way>,
    /// Built-in chains whose policy is another one after: all that comes to their end fares so, which can be
    /// said in a line where the sets are too many to tell.
    pub policies: Vec<Policed>,
}

/// A policy that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policed {
    /// Place of its ruleset in the list.
    pub ruleset: usize,
    /// Name of its table.
    pub table: String,
    /// Its name.
    pub chain: String,
    /// Before, where the text states it.
    pub from: Option<Policy>,
    /// After; a chain that is not there lets everything pass.
    pub to: Option<Policy>,
}

impl std::fmt::Display for Policed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = |policy: Option<Policy>| policy.map_or("not stated", Policy::name);
        let (from, to) = (word(self.from), word(self.to));
        write!(
            f,
            "all that no rule of {} {} decides: {to}, not {from}",
            self.table, self.chain
        )
    }
}

/// What a change does to the packets of one way.
#[derive(Clone, Debug)]
pub struct Way {
    /// Dropped or rejected before, accepted after.
    pub newly_accepted: Traffic,
    /// Accepted before, dropped or rejected after.
    pub newly_dropped: Traffic,
    /// False when the bound of the work was met, or a rule does more than its text says: then what is said is
    /// true, but there may be more.
    pub complete: bool,
}

impl Way {
    /// Which.
    pub fn path(&self) -> Path {
        self.newly_accepted.path()
    }
}

impl Alteration {
    /// Nothing fares otherwise, and that is certain.
    pub fn is_nothing(&self) -> bool {
        let same = |way: &Way| {
            way.complete && way.newly_accepted.is_empty() && way.newly_dropped.is_empty()
        };
        self.ways.iter().all(same)
    }

    /// Everything that there is to say was said.
    pub fn is_complete(&self) -> bool {
        self.ways.iter().all(|way| way.complete)
    }

    /// How much is let through that was not; see [`Traffic::share`].
    pub fn opened(&self) -> f64 {
        self.ways.iter().map(|way| way.newly_accepted.share()).sum()
    }

    /// Whether a packet may fare otherwise. A no is certain.
    pub fn may_touch(&self, probe: &Probe) -> bool {
        let told = |way: &Way| way.path() == probe.path && way.complete;
        !self.ways.iter().any(told) || self.of(probe) != (Belongs::No, Belongs::No)
    }

    /// Whether a packet is let through that was not, and whether it is not that was.
    pub fn of(&self, probe: &Probe) -> (Belongs, Belongs) {
        let way = self.ways.iter().find(|way| way.path() == probe.path);
        way.map_or((Belongs::No, Belongs::No), |way| {
            (
                way.newly_accepted.holds(probe),
                way.newly_dropped.holds(probe),
            )
        })
    }
}

/// Says what becomes of traffic when the rules `before` give way to those `after`. Both must be of one
/// family, with their rulesets in the same order.
pub fn change(before: Side<'_>, after: Side<'_>, facts: &Facts) -> Alteration {
    let family = after.program.family();
    let areas = affected(before, after);
    // Where neither has them put together, fragments fare as the rules say. Where one of the two does, those
    // before and those after are not the same packets, and what becomes of them is not told.
    let (one, other) = (before.program, after.program);
    let pieces = if one.whole || other.whole {
        piece::WHOLE
    } else {
        piece::ANY
    };
    let told = one.whole == other.whole || !one.looks_at_pieces && !other.looks_at_pieces;
    // What a rule does beside its text may lead packets to any rule that was changed.
    let told = told && !one.does_more && !other.does_more;
    let way = |path: Path| {
        let mut book = Book::default();
        let mut put = |side: Side<'_>| {
            let mut work = WORK;
            let mut sweep = Sweep::new(side.program, facts, &mut book, &mut work);
            sweep.pieces = pieces;
            sweep.run(path, &areas);
            (sweep.ended, !sweep.too_much)
        };
        let (old, old_complete) = put(before);
        let (new, new_complete) = put(after);
        let mut pairs = PAIRS;
        let newly_accepted = both(&old, &new, &mut pairs);
        let newly_dropped = both(&new, &old, &mut pairs);
        Way {
            newly_accepted: Traffic::of(family, path, newly_accepted, &book),
            newly_dropped: Traffic::of(family, path, newly_dropped, &book),
            complete: old_complete && new_complete && pairs > 0 && told,
        }
    };
    Alteration {
        family,
        ways: PATHS.into_iter().map(way).collect(),
        policies: policies(before, after),
    }
}

/// What is stopped in the one and accepted in the other.
fn both(stopped: &[Ended], accepted: &[Ended], pairs: &mut usize) -> Vec<Conditional> {
    let mut found = Vec::new();
    let accepted: Vec<&Ended> = accepted
        .iter()
        .filter(|ended| ended.fate == Fate::Accept)
        .collect();
    for one in stopped.iter().filter(|ended| ended.fate != Fate::Accept) {
        let Some(left) = pairs.checked_sub(accepted.len()) else {
            *pairs = 0;
            return found;
        };
        *pairs = left;
        for other in &accepted {
            let Some(area) = one.what.area.and(&other.what.area) else {
                continue;
            };
            if let Some(known) = agree(&one.what.known, &other.what.known) {
                found.push(Conditional { area, known });
            }
        }
        if found.len() > PARTS {
            *pairs = 0;
            return found;
        }
    }
    found
}

/// The answers of both; `None` where they contradict each other.
fn agree(one: &[(u32, bool)], other: &[(u32, bool)]) -> Option<Vec<(u32, bool)>> {
    let mut all = one.to_vec();
    for (question, answer) in other {
        match all.binary_search_by_key(question, |(own, _)| *own) {
            Ok(at) if all.get(at).is_some_and(|(_, own)| own == answer) => {}
            Ok(_) => return None,
            Err(at) => all.insert(at, (*question, *answer)),
        }
    }
    Some(all)
}
