//! How chains are entered, and what calling one does.
//!
//! Downwards: of each chain the ways that lead to it from a built-in one, with what each lets through and
//! the rules that packets have passed on it. Only few ways are followed; a chain that is called from many
//! places is taken to be entered by anything, which is never wrong. So is one that nothing calls: who calls
//! it next is not known.
//!
//! Upwards: whether a called chain decides every packet, and which it decides for certain, so that a chain
//! that logs and drops counts as a drop.

use crate::verdict::program::{Action, Program};
use crate::verdict::space::cube::Cube;
use crate::verdict::space::region::Region;

/// Ways into a chain that are followed.
const WAYS: usize = 4;

/// Boxes of one way.
const CUBES: usize = 8;

/// Boxes that a chain takes for certain, for its callers.
const TAKES: usize = 16;

/// Rules of a chain that are looked at for that.
const RULES: u32 = 64;

/// One way into a chain.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    /// What is let through; empty is everything.
    pub cubes: Vec<Cube>,
    /// Questions that all of it answer.
    pub atoms: Vec<u32>,
    /// Chains and calling rules that it has passed.
    pub frames: Vec<(u32, u32)>,
}

/// All ways into a chain.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    pub ways: Vec<Way>,
    /// The rules that call it.
    pub sites: Vec<u32>,
    /// There are more ways than are followed: anything may enter.
    open: bool,
}

/// What calling a chain does.
#[derive(Clone, Debug, Default)]
pub(super) struct Called {
    /// No packet comes back.
    pub ends: bool,
    /// It may change what later rules look at.
    pub changes: bool,
    /// Packets that do not come back, and the rule that takes them.
    pub takes: Vec<(Cube, u32)>,
}

pub(super) struct Lanes {
    /// Chains such that callers come before those that they call.
    order: Vec<u32>,
    into: Vec<Lane>,
    called: Vec<Called>,
}

impl Lanes {
    pub(super) fn of(program: &Program) -> Self {
        let (order, calls, loops) = sorted(program);
        let mut lanes = Self {
            order,
            into: vec![Lane::default(); program.chains.len()],
            called: vec![Called::default(); program.chains.len()],
        };
        for (number, lane) in lanes.into.iter_mut().enumerate() {
            let builtin = program
                .chains
                .get(number)
                .is_some_and(|chain| chain.policy.is_some());
            let is_called = calls.get(number).is_some_and(|calls| *calls > 0);
            // Chains that call each other are no ruleset that a kernel holds.
            // Nor is it known which chains a rule calls that does more than its text says.
            lane.open = builtin || !is_called || loops || program.does_more;
        }
        for chain in lanes.order.clone().into_iter().rev() {
            let called = lanes.summary(program, chain);
            if let Some(own) = lanes.called.get_mut(chain as usize) {
                *own = called;
            }
        }
        lanes
    }

    pub(super) fn callers_first(&self) -> Vec<u32> {
        self.order.clone()
    }

    /// The ways into a chain whose callers were all led on from.
    pub(super) fn lane_of(&mut self, chain: u32) -> Lane {
        let mut lane = self
            .into
            .get_mut(chain as usize)
            .map(std::mem::take)
            .unwrap_or_default();
        if lane.open {
            lane.ways = vec![Way::default()];
        }
        lane
    }

    /// A live rule at `at` sends packets on to the chain that begins at `to`.
    pub(super) fn lead(
        &mut self,
        program: &Program,
        from: &Lane,
        at: u32,
        to: u32,
        region: &Region,
        atoms: &[u32],
    ) {
        let (Some((own, _)), Some((called, _))) = (program.chain_at(at), program.chain_at(to))
        else {
            return;
        };
        let Some(lane) = self.into.get_mut(called as usize) else {
            return;
        };
        lane.sites.push(at);
        lane.open |= lane.ways.len() + from.ways.len() > WAYS;
        if lane.open {
            lane.ways.clear();
            return;
        }
        for way in &from.ways {
            let mut cubes = region.cubes.clone();
            if !way.cubes.is_empty() {
                cubes = cubes
                    .iter()
                    .flat_map(|own| way.cubes.iter().filter_map(|cube| own.and(cube)))
                    .collect();
            }
            if cubes.is_empty() {
                // This way leads nobody to the rule.
                continue;
            }
            if cubes.len() > CUBES {
                cubes.clear();
            }
            let mut frames = way.frames.clone();
            frames.push((own, at));
            let atoms = way.atoms.iter().chain(atoms).copied().collect();
            lane.ways.push(Way {
                cubes,
                atoms,
                frames,
            });
        }
    }

    /// The rule at `at` would call the chain that begins at `to`, but is dead.
    pub(super) fn lead_nobody(&mut self, program: &Program, at: u32, to: u32) {
        let called = program.chain_at(to).map(|(called, _)| called as usize);
        if let Some(lane) = called.and_then(|called| self.into.get_mut(called)) {
            lane.sites.push(at);
        }
    }

    /// What calling the chain that begins at `entry` does.
    pub(super) fn called(&self, program: &Program, entry: u32) -> Option<&Called> {
        let (chain, _) = program.chain_at(entry)?;
        self.called.get(chain as usize)
    }

    fn summary(&self, program: &Program, number: u32) -> Called {
        let mut called = Called::default();
        let Some(chain) = program.chains.get(number as usize) else {
            return called;
        };
        // Once a packet may have gone back, what comes after takes nothing for certain.
        let mut may_be_back = false;
        for at in chain.entry..chain.end {
            let Some(rule) = program.rules.get(at as usize) else {
                break;
            };
            let all = rule.count == 0;
            let inner = match rule.action {
                Action::Jump(to) | Action::Goto(to) => self.called(program, to),
                _ => None,
            };
            let ends = match rule.action {
                Action::Accept | Action::Drop | Action::Reject(_) | Action::Nat(_) => true,
                Action::Jump(_) | Action::Goto(_) => inner.is_some_and(|inner| inner.ends),
                _ => false,
            };
            called.changes |= matches!(rule.action, Action::Change(_) | Action::Beyond(_))
                || inner.is_some_and(|inner| inner.changes);
            let near = at - chain.entry < RULES && called.takes.len() < TAKES;
            if ends && !may_be_back && near && !all {
                let region = program
                    .region(at)
                    .filter(|r| !r.vague && r.atoms.is_empty());
                let cubes = region.map(|region| region.cubes).unwrap_or_default();
                let room = TAKES.saturating_sub(called.takes.len());
                called
                    .takes
                    .extend(cubes.into_iter().take(room).map(|cube| (cube, at)));
            }
            if ends && all {
                called.ends = !may_be_back;
                // Nothing comes after it, but changes before it stay what they are.
                break;
            }
            may_be_back |= matches!(rule.action, Action::Return)
                || matches!(rule.action, Action::Goto(_)) && !ends;
        }
        called
    }
}

/// Chains with callers first, how often each is called, and whether some call each other in a ring.
fn sorted(program: &Program) -> (Vec<u32>, Vec<u32>, bool) {
    let count = program.chains.len();
    let mut calls = vec![0_u32; count];
    let callees = |chain: u32| {
        let chain = program.chains.get(chain as usize);
        let rules = chain.and_then(|c| program.rules.get(c.entry as usize..c.end as usize));
        rules.unwrap_or_default().iter().filter_map(|rule| {
            let (Action::Jump(to) | Action::Goto(to)) = rule.action else {
                return None;
            };
            program.chain_at(to).map(|(chain, _)| chain)
        })
    };
    let all = u32::try_from(count).unwrap_or(u32::MAX);
    for called in (0..all).flat_map(callees) {
        if let Some(calls) = calls.get_mut(called as usize) {
            *calls += 1;
        }
    }
    let mut open = calls.clone();
    let mut order: Vec<u32> = (0..all)
        .filter(|chain| calls.get(*chain as usize) == Some(&0))
        .collect();
    let mut next = 0;
    while let Some(chain) = order.get(next).copied() {
        next += 1;
        for called in callees(chain) {
            if let Some(open) = open.get_mut(called as usize) {
                *open -= 1;
                if *open == 0 {
                    order.push(called);
                }
            }
        }
    }
    let loops = order.len() < count;
    if loops {
        order.extend((0..all).filter(|chain| open.get(*chain as usize).is_some_and(|n| *n > 0)));
    }
    (order, calls, loops)
}
