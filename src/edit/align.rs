//! Longest common order: which of the things of two lists stand still.
//!
//! Lists of 100,000 are compared at a key press, so nothing here is quadratic: equal ends are cut off
//! first, and the middle costs n log n, or a bounded number of pairs of equals.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

/// Positions of a longest strictly rising part of `numbers`, in order. Patience sorting, n log n.
pub(super) fn longest_rising(numbers: &[u32]) -> Vec<usize> {
    // The position that ends the best run of each length, and what came before each position.
    let mut ends: Vec<usize> = Vec::new();
    let mut before = vec![usize::MAX; numbers.len()];
    let number = |at: usize| numbers.get(at).copied().unwrap_or(u32::MAX);
    for at in 0..numbers.len() {
        let length = ends.partition_point(|end| number(*end) < number(at));
        if let (Some(previous), Some(slot)) = (length.checked_sub(1), before.get_mut(at)) {
            *slot = ends.get(previous).copied().unwrap_or(usize::MAX);
        }
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut kept = Vec::with_capacity(ends.len());
    let mut at = ends.last().copied().unwrap_or(usize::MAX);
    while at != usize::MAX {
        kept.push(at);
        at = before.get(at).copied().unwrap_or(usize::MAX);
    }
    kept.reverse();
    kept
}

/// How many pairs of equal things are looked at before occurrences are paired one to one instead.
const PAIRS: usize = 2_000_000;

/// A longest common order of two lists: positions in the one and in the other, both rising. The exact
/// longest one, unless equal things abound in both, where equals are paired by occurrence.
pub(super) fn common(one: &[u32], other: &[u32]) -> Vec<(usize, usize)> {
    let head = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let one_rest = one.get(head..).unwrap_or_default();
    let other_rest = other.get(head..).unwrap_or_default();
    let tail = (one_rest.iter().rev())
        .zip(other_rest.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let one_mid = one_rest.get(..one_rest.len() - tail).unwrap_or_default();
    let other_mid = other_rest
        .get(..other_rest.len() - tail)
        .unwrap_or_default();
    let mut pairs: Vec<(usize, usize)> = (0..head).map(|at| (at, at)).collect();
    let middle = common_middle(one_mid, other_mid);
    pairs.extend(middle.into_iter().map(|(a, b)| (head + a, head + b)));
    let ends = (one.len() - tail..one.len()).zip(other.len() - tail..other.len());
    pairs.extend(ends);
    pairs
}

/// The same, in which as many as can of the pinned things are: the rest goes between those.
pub(super) fn common_pinned(
    one: &[u32],
    other: &[u32],
    pinned: &HashSet<u32>,
) -> Vec<(usize, usize)> {
    if pinned.is_empty() {
        return common(one, other);
    }
    let places = |things: &[u32]| -> (Vec<usize>, Vec<u32>) {
        let pinned = things
            .iter()
            .enumerate()
            .filter(|(_, t)| pinned.contains(t));
        pinned.map(|(at, thing)| (at, *thing)).unzip()
    };
    let (one_at, one_pinned) = places(one);
    let (other_at, other_pinned) = places(other);
    let held = common(&one_pinned, &other_pinned).into_iter();
    let held = held.filter_map(|(a, b)| Some((*one_at.get(a)?, *other_at.get(b)?)));
    let mut pairs = Vec::new();
    let (mut from, mut to) = (0, 0);
    for (a, b) in held.chain([(one.len(), other.len())]) {
        let between = (one.get(from..a), other.get(to..b));
        let between = common(between.0.unwrap_or_default(), between.1.unwrap_or_default());
        pairs.extend(between.into_iter().map(|(x, y)| (from + x, to + y)));
        if a < one.len() && b < other.len() {
            pairs.push((a, b));
        }
        (from, to) = (a + 1, b + 1);
    }
    pairs
}

/// As Hunt and Szymanski (1977) have it: the pairs of equals, those of one thing with the later partner
/// first, and a longest rising run of partners among them.
fn common_middle(one: &[u32], other: &[u32]) -> Vec<(usize, usize)> {
    if one.is_empty() || other.is_empty() {
        return Vec::new();
    }
    let mut places: HashMap<u32, Vec<u32>, RandomState> = HashMap::default();
    for (at, thing) in (0..).zip(other) {
        places.entry(*thing).or_default().push(at);
    }
    let of = |thing: &u32| places.get(thing).map_or(&[][..], Vec::as_slice);
    let count: usize = one.iter().map(|thing| of(thing).len()).sum();
    let mut pairs: Vec<(u32, u32)> = Vec::with_capacity(count.min(PAIRS));
    if count <= PAIRS {
        for (at, thing) in (0..).zip(one) {
            pairs.extend(of(thing).iter().rev().map(|partner| (at, *partner)));
        }
    } else {
        let mut seen: HashMap<u32, usize, RandomState> = HashMap::default();
        for (at, thing) in (0..).zip(one) {
            let occurrence = seen.entry(*thing).or_default();
            pairs.extend(of(thing).get(*occurrence).map(|partner| (at, *partner)));
            *occurrence += 1;
        }
    }
    let partners: Vec<u32> = pairs.iter().map(|pair| pair.1).collect();
    longest_rising(&partners)
        .into_iter()
        .filter_map(|at| pairs.get(at))
        .map(|(a, b)| (*a as usize, *b as usize))
        .collect()
}

/// How many removals and additions [`common_of_few`] looks for.
const FEW: usize = 64;

/// The same for lists of that many things that differ in few places, by comparing the things themselves;
/// `None` where they differ in more. As Myers (1986) has it: the furthest that each diagonal gets with a
/// number of removals and additions, which is next to nothing but one walk along both lists.
pub(super) fn common_of_few(
    one: usize,
    other: usize,
    same: &mut dyn FnMut(usize, usize) -> bool,
) -> Option<Vec<(usize, usize)>> {
    let middle = FEW + 1;
    // How far each diagonal (`x - y`, counted from `middle`) got in `one`, after each number of changes.
    let mut far = vec![0usize; 2 * middle + 1];
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    for changes in 0..=FEW {
        rounds.push(far.clone());
        for diagonal in (middle - changes..=middle + changes).step_by(2) {
            let at = |diagonal: usize| far.get(diagonal).copied().unwrap_or(0);
            let (left, right) = (at(diagonal - 1), at(diagonal + 1));
            let comes_down =
                diagonal == middle - changes || (diagonal != middle + changes && left < right);
            let mut x = if comes_down { right } else { left + 1 };
            // Where this is below zero the diagonal begins outside the lists.
            let Some(mut y) = (x + middle).checked_sub(diagonal) else {
                continue;
            };
            while x < one && y < other && same(x, y) {
                (x, y) = (x + 1, y + 1);
            }
            if let Some(slot) = far.get_mut(diagonal) {
                *slot = x;
            }
            if x >= one && y >= other {
                return Some(walked_back(one, other, &rounds, middle));
            }
        }
    }
    None
}

/// The pairs on the way that reached the end of both lists with the last round.
fn walked_back(
    one: usize,
    other: usize,
    rounds: &[Vec<usize>],
    middle: usize,
) -> Vec<(usize, usize)> {
    let mut pairs = Vec::with_capacity(one.min(other));
    let (mut x, mut y) = (one, other);
    for (changes, far) in rounds.iter().enumerate().rev() {
        let diagonal = x + middle - y;
        let at = |diagonal: usize| far.get(diagonal).copied().unwrap_or(0);
        let (left, right) = (at(diagonal - 1), at(diagonal + 1));
        let came_down =
            diagonal == middle - changes || (diagonal != middle + changes && left < right);
        let (from_x, from_y) = match changes {
            0 => (0, 0),
            _ if came_down => (right, (right + middle).saturating_sub(diagonal + 1)),
            _ => (left, (left + 1 + middle).saturating_sub(diagonal)),
        };
        while x > from_x && y > from_y {
            (x, y) = (x - 1, y - 1);
            pairs.push((x, y));
        }
        (x, y) = (from_x, from_y);
    }
    pairs.reverse();
    pairs
}

/// Numbers for texts: equal texts have equal numbers.
#[derive(Default)]
pub(super) struct Words<'a> {
    numbers: HashMap<Cow<'a, [u8]>, u32, RandomState>,
}

impl<'a> Words<'a> {
    pub fn number(&mut self, text: Cow<'a, [u8]>) -> u32 {
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(text).or_insert(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_longest_rise_is_found() {
        assert_eq!(longest_rising(&[]), [0usize; 0]);
        assert_eq!(longest_rising(&[5, 1, 2, 9, 3]), [1, 2, 4]);
        assert_eq!(longest_rising(&[2, 2, 2]).len(), 1);
    }

    /// The length of a longest common order, the slow way.
    fn slow(one: &[u32], other: &[u32]) -> usize {
        let mut row = vec![0; other.len() + 1];
        for a in one {
            let mut diagonal = 0;
            for (at, b) in other.iter().enumerate() {
                let above = row[at + 1];
                row[at + 1] = if a == b {
                    diagonal + 1
                } else {
                    above.max(row[at])
                };
                diagonal = above;
            }
        }
        row[other.len()]
    }

    #[test]
    fn what_is_pinned_stands_still() {
        let pinned = HashSet::from([1]);
        assert_eq!(common_pinned(&[1, 2, 3], &[2, 3, 1], &pinned), [(0, 2)]);
        assert_eq!(common_pinned(&[5, 1, 2], &[5, 1, 2], &pinned).len(), 3);
        assert_eq!(common_pinned(&[1], &[], &pinned), []);
    }

    proptest! {
        #[test]
        fn the_common_order_is_common_and_longest(
            one in proptest::collection::vec(0u32..6, 0..14),
            other in proptest::collection::vec(0u32..6, 0..14),
        ) {
            let found = common(&one, &other);
            prop_assert_eq!(found.len(), slow(&one, &other));
            prop_assert!(found.iter().all(|(a, b)| one[*a] == other[*b]));
            prop_assert!(found.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1));
        }

        #[test]
        fn a_few_changes_are_found_by_comparing(
            one in proptest::collection::vec(0u32..6, 0..40),
            other in proptest::collection::vec(0u32..6, 0..40),
        ) {
            let found = common_of_few(one.len(), other.len(), &mut |a, b| one[a] == other[b]);
            let longest = slow(&one, &other);
            let changes = one.len() + other.len() - 2 * longest;
            let Some(found) = found else {
                prop_assert!(changes > FEW);
                return Ok(());
            };
            prop_assert_eq!(found.len(), longest);
            prop_assert!(found.iter().all(|(a, b)| one[*a] == other[*b]));
            prop_assert!(found.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1));
        }
    }
}
