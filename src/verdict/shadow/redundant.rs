//! Rules whose packets would come to the same end without them.
//!
//! A rule that decides is redundant when every packet that it asks for is decided the same way by later
//! rules of its chain, or by the policy at its end, and nothing in between does anything else to any of
//! them. Rules that only look on (LOG) may see more without it; that is no decision. Only the rest of the
//! chain is looked at: what happens after the end of a user chain is not followed. So a rule that is named
//! is redundant, and one that is not may be.
//!
//! Chains are read from the end. One packet of each rule is picked and the first later rule that holds it
//! is looked up; most rules are done there. Only where that one decides alike are the rules between read.

use crate::ruleset::{Policy, Ruleset};
use crate::verdict::program::{Action, Chain, End, Place, Program};
use crate::verdict::space::cube::Cube;
use crate::verdict::space::index::Index;
use crate::verdict::space::region::Region;

use super::{Shadows, key};

/// Rules that are compared with another, over all.
const PAIRS: usize = 2_000_000;

/// Boxes of one rule.
const CUBES: usize = 64;

/// A rule that changes no decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redundant {
    /// The rule.
    pub rule: Place,
    /// Who would decide its packets the same way: rules of its chain in their order, or its policy.
    pub anyway: Vec<Place>,
}

/// All that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redundancies {
    /// By ruleset, and by rule within it.
    pub found: Vec<Redundant>,
    /// False when a bound of the work left a rule undecided.
    pub complete: bool,
}

impl Program {
    /// Finds rules that could be left out, each alone, without any packet being decided otherwise. Those
    /// that are dead are left out of it. `rulesets` are those that were compiled.
    pub fn redundancies(&self, shadows: &Shadows, rulesets: &[&Ruleset]) -> Redundancies {
        let mut found = Vec::new();
        let mut pairs = PAIRS;
        for chain in &self.chains {
            let alive = |at: u32| {
                let place = self.place(at, rulesets);
                place.is_some_and(|place| shadows.of(place).is_none())
            };
            let mut after = After::new(self, chain, &mut pairs);
            for at in (chain.entry..chain.end).rev() {
                // Dead rules are read too: without the one in question they may come to life.
                let anyway = after.read(at).filter(|_| alive(at));
                if let (Some(anyway), Some(rule)) = (anyway, self.place(at, rulesets)) {
                    let anyway = anyway.iter().filter_map(|at| self.place(*at, rulesets));
                    found.push(Redundant {
                        rule,
                        anyway: anyway.collect(),
                    });
                }
            }
        }
        found.sort_by_key(|redundant| key(&redundant.rule));
        Redundancies {
            found,
            complete: pairs > 0,
        }
    }
}

/// The rules of a chain after a place.
struct After<'a> {
    program: &'a Program,
    chain: &'a Chain,
    /// The last of the chain first.
    rules: Vec<(u32, Action, Region)>,
    index: Index,
    pairs: &'a mut usize,
}

impl<'a> After<'a> {
    fn new(program: &'a Program, chain: &'a Chain, pairs: &'a mut usize) -> Self {
        Self {
            program,
            chain,
            rules: Vec::new(),
            index: Index::default(),
            pairs,
        }
    }

    /// Reads the rule before all that were read: who decides its packets anyway, if somebody does.
    fn read(&mut self, at: u32) -> Option<Vec<u32>> {
        let rule = self.program.rules.get(at as usize)?;
        if rule.action == Action::Next {
            return None;
        }
        let region = self.program.region(at)?;
        let decides = matches!(
            rule.action,
            Action::Accept | Action::Drop | Action::Reject(_)
        );
        let anyway = if decides && region.cubes.len() <= CUBES {
            self.anyway(rule.action, &region)
        } else {
            None
        };
        for cube in &region.cubes {
            self.index.add(*cube, (at, at), &[]);
        }
        self.rules.push((at, rule.action, region));
        anyway
    }

    fn anyway(&mut self, action: Action, region: &Region) -> Option<Vec<u32>> {
        let point = region.cubes.first()?.some(1);
        let mut first: Option<u32> = None;
        let all = self.index.find(&point, &[], u32::MAX, |entry| {
            first = Some(first.map_or(entry.at, |first| first.min(entry.at)));
            false
        });
        let next = match first {
            Some(at) => self.program.rules.get(at as usize)?.action == action,
            None => self.ends_with(action),
        };
        if !all {
            *self.pairs = 0;
        }
        if !all || !next {
            return None;
        }
        let mut left: Vec<Cube> = region.cubes.clone();
        let mut by = Vec::new();
        for (at, other, later) in self.rules.iter().rev() {
            *self.pairs = self.pairs.checked_sub(1).or_else(|| {
                *self.pairs = 0;
                None
            })?;
            let meets = |cube: &Cube| later.cubes.iter().any(|other| other.meets(cube));
            if !left.iter().any(meets) {
                continue;
            }
            let certain = !later.vague && later.atoms.is_empty();
            if *other != action {
                return None;
            }
            if !certain {
                // It takes some of them, to the same end; the others go on.
                continue;
            }
            for cube in &later.cubes {
                let mut rest = Vec::new();
                for own in &left {
                    own.minus(cube, |cube| rest.push(cube));
                }
                left = rest;
            }
            by.push(*at);
            if left.is_empty() {
                return Some(by);
            }
            if left.len() > CUBES {
                return None;
            }
        }
        self.ends_with(action).then(|| {
            by.push(self.chain.end);
            by
        })
    }

    /// The policy decides so.
    fn ends_with(&self, action: Action) -> bool {
        matches!(
            (self.chain.policy, action),
            (Some(End::Policy(Policy::Accept)), Action::Accept)
                | (Some(End::Policy(Policy::Drop)), Action::Drop)
        )
    }
}
