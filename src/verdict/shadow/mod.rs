//! Rules that no packet can match, and rules that could as well not be there.
//!
//! A rule is dead because it asks for what cannot be, because nothing of what it asks for is sent to its
//! chain, or because rules before it take every packet that it would: earlier ones of its own chain, of the
//! chains that it is called from, and of chains that those call. Sound, not complete: what is named here
//! is dead. What is beyond the bounds of the work is not named, and the answer says that it is not complete.
//!
//! Nothing is compared pair by pair. Of the packets of a rule one is picked; if no earlier rule holds it, the
//! rule lives, and most rules are done after that one look into an [`Index`]. Else what that earlier rule
//! holds is taken away, and one is picked of the rest, until nothing is left.
//!
//! `lanes` works out how chains are entered and what calling one takes away; `cover` is the search;
//! `redundant` looks at what comes after a rule.

mod cover;
mod lanes;
mod redundant;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::program::{Action, Place, Program, Rule, TableKind};
use super::space::index::Index;
use super::space::lasts::Lasts;
use super::space::region::Region;
use crate::ruleset::Ruleset;
use cover::{Cover, Search};
use lanes::{Lane, Lanes};
pub use redundant::{Redundancies, Redundant};

/// Why no packet can match a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dead {
    /// Its own conditions exclude each other.
    Never,
    /// Nothing that it asks for is sent to its chain: by these rules, which alone call it, or which are
    /// dead themselves.
    NotSent(Vec<Place>),
    /// These rules together take all its packets first, none of them needlessly named; in their order.
    Covered(Vec<Place>),
}

/// A rule that no packet can match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// The rule.
    pub rule: Place,
    /// Why.
    pub why: Dead,
}

impl Shadow {
    /// The rules that are the reason; none where it is the rule itself.
    pub fn by(&self) -> &[Place] {
        match &self.why {
            Dead::Never => &[],
            Dead::NotSent(by) | Dead::Covered(by) => by,
        }
    }
}

/// All that were found, of one generation of the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shadows {
    /// By ruleset, and by rule within it.
    pub found: Vec<Shadow>,
    /// False when a bound of the work left a rule undecided.
    pub complete: bool,
}

impl Shadows {
    /// What was found of a rule: one binary search.
    pub fn of(&self, rule: Place) -> Option<&Shadow> {
        let wanted = key(&rule);
        let at = self
            .found
            .binary_search_by_key(&wanted, |shadow| key(&shadow.rule));
        self.found.get(at.ok()?)
    }
}

/// The order of [`Shadows::found`].
fn key(place: &Place) -> (usize, Option<u32>) {
    (place.ruleset, place.rule.map(|rule| rule.0))
}

/// Looks into an index, and boxes taken apart, over all rules.
const WORK: usize = 3_000_000;

impl Program {
    /// Finds rules that can never match. `rulesets` are those that were compiled. For 100,000 rules it takes
    /// some tenths of a second: not for the thread that draws.
    pub fn shadows(&self, rulesets: &[&Ruleset]) -> Shadows {
        let mut survey = Survey::new(self);
        survey.all();
        let mut found: Vec<Shadow> = survey
            .dead
            .iter()
            .filter_map(|(at, why)| {
                let places = |ats: &[u32]| {
                    let mut ats = ats.to_vec();
                    ats.sort_unstable();
                    ats.dedup();
                    ats.into_iter()
                        .filter_map(|at| self.place(at, rulesets))
                        .collect()
                };
                Some(Shadow {
                    rule: self.place(*at, rulesets)?,
                    why: match why {
                        Cause::Never => Dead::Never,
                        Cause::NotSent(by) => Dead::NotSent(places(by)),
                        Cause::Covered(by) => Dead::Covered(places(by)),
                    },
                })
            })
            .collect();
        found.sort_by_key(|shadow| key(&shadow.rule));
        Shadows {
            found,
            complete: survey.complete,
        }
    }

    pub(super) fn conds_of(&self, rule: Rule) -> &[super::cond::Cond] {
        let from = rule.first as usize;
        self.conds
            .get(from..from + usize::from(rule.count))
            .unwrap_or_default()
    }

    /// The packets that a rule asks for.
    pub(super) fn region(&self, at: u32) -> Option<Region> {
        let rule = self.rules.get(at as usize)?;
        let chain = self.chains.get(rule.chain as usize)?;
        let raw = chain.table == TableKind::Raw;
        Some(Region::of(self.conds_of(*rule), self.is_v6(), raw))
    }
}

/// [`Dead`], in places of the program.
#[derive(Clone, Debug)]
enum Cause {
    Never,
    NotSent(Vec<u32>),
    Covered(Vec<u32>),
}

/// Questions as numbers: one for each answer to each question in each stretch in which it lasts.
#[derive(Default)]
struct Questions {
    known: HashMap<(String, u32), u32>,
}

impl Questions {
    /// `stretch` tells stretches apart between which a target may change the answer.
    fn numbers(&mut self, region: &Region, stretch: u32) -> Vec<u32> {
        let mut number = |atom: &super::space::ask::Atom| {
            let stretch = if atom.lasts == Lasts::Table {
                0
            } else {
                stretch
            };
            let next = u32::try_from(self.known.len()).unwrap_or(u32::MAX / 2);
            let known = self.known.entry((atom.key.clone(), stretch));
            *known.or_insert(next) * 2 + u32::from(atom.wanted)
        };
        region.atoms.iter().map(&mut number).collect()
    }
}

/// The search through all chains, callers first.
struct Survey<'a> {
    program: &'a Program,
    lanes: Lanes,
    /// What the rules of each chain take away.
    taken: Vec<Index>,
    questions: Questions,
    stretch: u32,
    dead: HashMap<u32, Cause>,
    work: usize,
    complete: bool,
}

impl<'a> Survey<'a> {
    fn new(program: &'a Program) -> Self {
        Self {
            program,
            lanes: Lanes::of(program),
            taken: vec![Index::default(); program.chains.len()],
            questions: Questions::default(),
            stretch: 0,
            dead: HashMap::new(),
            work: WORK,
            complete: true,
        }
    }

    fn all(&mut self) {
        for chain in self.lanes.callers_first() {
            self.chain(chain);
        }
    }

    fn chain(&mut self, number: u32) {
        let program = self.program;
        let Some(chain) = program.chains.get(number as usize) else {
            return;
        };
        let lanes = self.lanes.lane_of(number);
        self.stretch += 1;
        for at in chain.entry..chain.end {
            let (Some(rule), Some(region)) = (program.rules.get(at as usize), program.region(at))
            else {
                break;
            };
            let atoms = self.questions.numbers(&region, self.stretch);
            if let Some(cause) = self.judge(number, at, &region, &atoms, &lanes) {
                // What never matches takes nothing away and changes nothing.
                self.dead.insert(at, cause);
                if let Action::Jump(to) | Action::Goto(to) = rule.action {
                    self.lanes.lead_nobody(program, at, to);
                }
                continue;
            }
            if let Action::Jump(to) | Action::Goto(to) = rule.action {
                self.lanes.lead(program, &lanes, at, to, &region, &atoms);
            }
            self.take(number, at, rule.action, &region, &atoms);
        }
    }

    /// Whether the rule is dead.
    fn judge(
        &mut self,
        chain: u32,
        at: u32,
        region: &Region,
        atoms: &[u32],
        lanes: &Lane,
    ) -> Option<Cause> {
        if region.is_empty() {
            return Some(Cause::Never);
        }
        let mut by = Vec::new();
        let mut sent = false;
        for way in &lanes.ways {
            let mut cubes = region.cubes.clone();
            if !way.cubes.is_empty() {
                cubes = cubes
                    .iter()
                    .flat_map(|own| way.cubes.iter().filter_map(|cube| own.and(cube)))
                    .collect();
            }
            if cubes.is_empty() {
                continue;
            }
            sent = true;
            let mut known = atoms.to_vec();
            known.extend(&way.atoms);
            let mut search = Search {
                taken: &self.taken,
                frames: &way.frames,
                own: (chain, at),
                atoms: &known,
                work: &mut self.work,
            };
            match search.cover(cubes) {
                Cover::Whole(rules) => by.extend(rules),
                Cover::Open => return None,
                Cover::NotDecided => {
                    self.complete = false;
                    return None;
                }
            }
        }
        Some(if sent {
            Cause::Covered(by)
        } else {
            Cause::NotSent(lanes.sites.clone())
        })
    }

    /// Writes down what the rule takes away from those after it.
    fn take(&mut self, chain: u32, at: u32, action: Action, region: &Region, atoms: &[u32]) {
        let Some(taken) = self.taken.get_mut(chain as usize) else {
            return;
        };
        match action {
            Action::Change(_) | Action::Beyond(_) => self.stretch += 1,
            Action::Jump(to) => {
                let Some(called) = self.lanes.called(self.program, to) else {
                    return;
                };
                if !region.vague && called.ends {
                    for cube in &region.cubes {
                        taken.add(*cube, (at, at), atoms);
                    }
                } else if !region.vague {
                    for (inner, by) in &called.takes {
                        for cube in region.cubes.iter().filter_map(|cube| cube.and(inner)) {
                            taken.add(cube, (at, *by), atoms);
                        }
                    }
                }
                if called.changes {
                    self.stretch += 1;
                }
            }
            Action::Accept
            | Action::Drop
            | Action::Reject(_)
            | Action::Return
            | Action::Goto(_)
            | Action::Nat(_)
                if !region.vague =>
            {
                for cube in &region.cubes {
                    taken.add(*cube, (at, at), atoms);
                }
            }
            _ => {}
        }
    }
}
