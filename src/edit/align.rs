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
    }
}
