//! Whether rules that come before take all packets of a set: by picking one that is left, again and again.

use crate::verdict::space::cube::Cube;
use crate::verdict::space::index::{Entry, Index};

/// Packets that are picked for one rule before it is given up.
const PICKS: u64 = 96;

/// Boxes that may be left at a time.
const LEFT: usize = 256;

/// Rules that are remembered for telling which rules are needed.
const MET: usize = 128;

/// Rules that are worth telling which of them are needed.
const NAMED: usize = 32;

/// The end of a search.
pub(super) enum Cover {
    /// All is taken, by these rules.
    Whole(Vec<u32>),
    /// Something is left.
    Open,
    /// It took too much work.
    NotDecided,
}

/// Where to search.
pub(super) struct Search<'a> {
    /// What the rules of each chain take.
    pub taken: &'a [Index],
    /// The calls that are open: a chain, and the rule in it that calls.
    pub frames: &'a [(u32, u32)],
    /// The chain and the rule in question.
    pub own: (u32, u32),
    /// The questions that all packets of the set answer.
    pub atoms: &'a [u32],
    pub work: &'a mut usize,
}

impl Search<'_> {
    pub(super) fn cover(&mut self, mut left: Vec<Cube>) -> Cover {
        let whole = left.clone();
        let mut used: Vec<u32> = Vec::new();
        let mut met: Vec<(u32, u32)> = Vec::new();
        let mut picks: u64 = 0;
        while let Some(cube) = left.pop() {
            picks += 1;
            if picks > PICKS || left.len() > LEFT || *self.work == 0 {
                return Cover::NotDecided;
            }
            *self.work -= 1;
            // Any sequence does; a fixed one makes the answer the same every time.
            let Some((taker, by)) = self.holds(&cube, picks, &mut met) else {
                return Cover::Open;
            };
            cube.minus(&taker, |rest| left.push(rest));
            used.push(by);
        }
        used.sort_unstable();
        used.dedup();
        if used.len() > 1 && used.len() <= NAMED {
            used = needed(&whole, used, &self.boxes(met));
        }
        Cover::Whole(used)
    }

    /// All boxes of the rules that were met, with the rule to name.
    fn boxes(&self, mut met: Vec<(u32, u32)>) -> Vec<(Cube, u32)> {
        met.sort_unstable();
        met.dedup();
        let of_rule = |(chain, at): &(u32, u32)| {
            let taken = self.taken.get(*chain as usize);
            let all = taken.into_iter().flat_map(|taken| taken.of_rule(*at));
            let fits = |entry: &&Entry| entry.atoms.iter().all(|atom| self.atoms.contains(atom));
            let boxes = all.filter(fits).map(|entry| (entry.cube, entry.by));
            boxes.collect::<Vec<_>>()
        };
        met.iter().flat_map(of_rule).collect()
    }

    /// A box of an earlier rule that holds a packet of the cube: one that holds all of it, if there is one.
    /// The rules that were met on the way are written down, with their chains.
    fn holds(&self, cube: &Cube, seed: u64, met: &mut Vec<(u32, u32)>) -> Option<(Cube, u32)> {
        let point = cube.some(seed);
        let mut best: Option<(Cube, u32)> = None;
        let frames = std::iter::once(&self.own).chain(self.frames);
        for (chain, before) in frames {
            let Some(index) = self.taken.get(*chain as usize) else {
                continue;
            };
            let mut whole = false;
            index.find(&point, self.atoms, *before, |entry: &Entry| {
                whole = cube.is_within(&entry.cube);
                let first = best.is_none_or(|(_, by)| entry.by < by);
                if whole || first {
                    best = Some((entry.cube, entry.by));
                }
                if met.len() < MET {
                    met.push((*chain, entry.at));
                }
                whole
            });
            if whole {
                break;
            }
        }
        best
    }
}

/// The rules that are needed: one alone if that is enough, else one after the other is left out if the
/// others are.
fn needed(whole: &[Cube], mut used: Vec<u32>, met: &[(Cube, u32)]) -> Vec<u32> {
    let mut alone: Vec<u32> = met.iter().map(|(_, by)| *by).collect();
    alone.sort_unstable();
    alone.dedup();
    if let Some(rule) = alone
        .into_iter()
        .find(|rule| take_all(whole, met, &[*rule]))
    {
        return vec![rule];
    }
    // From the last: the first rule is the one that people find first.
    for rule in used.clone().into_iter().rev() {
        let others: Vec<u32> = used
            .iter()
            .copied()
            .filter(|other| *other != rule)
            .collect();
        if take_all(whole, met, &others) {
            used = others;
        }
    }
    used
}

/// The boxes of these rules that were met take everything.
fn take_all(whole: &[Cube], met: &[(Cube, u32)], rules: &[u32]) -> bool {
    let mut left = whole.to_vec();
    for (cube, _) in met.iter().filter(|(_, by)| rules.contains(by)) {
        let mut rest = Vec::new();
        for own in &left {
            own.minus(cube, |cube| rest.push(cube));
        }
        left = rest;
        if left.is_empty() || left.len() > LEFT {
            break;
        }
    }
    left.is_empty()
}
