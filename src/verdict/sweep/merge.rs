//! Putting together again what came apart: boxes that lie side by side, and both answers to a question.
//!
//! Two boxes that differ in one thing only, and touch there, are one box. It is tried for one thing after
//! the other, by sorting, so that it costs little however many there are. The result holds the same packets;
//! that it is the fewest boxes possible is not claimed.

use std::collections::HashMap;
use std::hash::Hash;

use crate::verdict::space::cube::{Cube, Number, Span};

use super::parcel::Parcel;

/// Packets that arrive in a box, and for which these questions are answered so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct Conditional {
    pub cube: Cube,
    /// Numbers of a [`Book`](super::Book), in order.
    pub known: Vec<(u32, bool)>,
}

/// Rounds over all things.
const ROUNDS: usize = 3;

/// More boxes than this are left as they are.
const MOST: usize = 20_000;

/// Something with a box and answers.
trait Boxed: Clone + Eq + Hash {
    fn cube(&mut self) -> &mut Cube;
    fn known(&mut self) -> &mut Vec<(u32, bool)>;
}

impl Boxed for Conditional {
    fn cube(&mut self) -> &mut Cube {
        &mut self.cube
    }
    fn known(&mut self) -> &mut Vec<(u32, bool)> {
        &mut self.known
    }
}

impl Boxed for Parcel {
    fn cube(&mut self) -> &mut Cube {
        &mut self.cube
    }
    fn known(&mut self) -> &mut Vec<(u32, bool)> {
        &mut self.known
    }
}

/// Parcels on their way.
pub(super) fn parcels(parcels: Vec<Parcel>) -> Vec<Parcel> {
    together(parcels)
}

/// Packets that came to the same end.
pub(in super::super) fn merge(all: Vec<Conditional>) -> Vec<Conditional> {
    together(all)
}

fn together<T: Boxed>(mut all: Vec<T>) -> Vec<T> {
    for _ in 0..ROUNDS {
        let before = all.len();
        if !(2..=MOST).contains(&before) {
            break;
        }
        all = answers(all);
        macro_rules! spans {
            ($($field:ident),*) => {$(
                all = by_span(all, |cube| &mut cube.$field);
            )*};
        }
        spans!(dport, sport, src, dst, input, output);
        all = by_value(
            all,
            |cube, other| {
                let with = cube.protos.or(other.protos);
                cube.protos = with;
            },
            |cube| cube.protos = crate::verdict::space::cube::Bytes::NONE,
        );
        all = by_value(
            all,
            |cube, other| cube.flags = cube.flags.or(other.flags),
            |cube| {
                cube.flags = crate::verdict::space::cube::Bytes::NONE;
            },
        );
        all = by_value(all, |cube, other| cube.ct |= other.ct, |cube| cube.ct = 0);
        if all.len() == before {
            break;
        }
    }
    all
}

/// Groups in the order in which they first come.
fn groups<T: Boxed>(all: Vec<T>, blank: impl Fn(&mut T)) -> Vec<Vec<T>> {
    let mut numbers: HashMap<T, usize> = HashMap::new();
    let mut groups: Vec<Vec<T>> = Vec::new();
    for one in all {
        let mut key = one.clone();
        blank(&mut key);
        let next = groups.len();
        let at = *numbers.entry(key).or_insert(next);
        if at == next {
            groups.push(Vec::new());
        }
        if let Some(group) = groups.get_mut(at) {
            group.push(one);
        }
    }
    groups
}

/// Boxes that differ in one span only, and touch there.
fn by_span<T: Boxed, N: Number + Default>(
    all: Vec<T>,
    field: impl Fn(&mut Cube) -> &mut Span<N>,
) -> Vec<T> {
    let nothing = Span::point(N::default());
    let mut merged = Vec::new();
    for mut group in groups(all, |one| *field(one.cube()) = nothing) {
        if group.len() > 1 {
            group.sort_by_key(|one| *field(one.clone().cube()));
        }
        let mut last: Option<T> = None;
        for mut one in group {
            let own = *field(one.cube());
            if let Some(before) = &mut last {
                let span = field(before.cube());
                let touches = span.last.after().is_none_or(|next| own.first <= next);
                if touches {
                    span.last = span.last.max(own.last);
                    continue;
                }
            }
            merged.extend(last.replace(one));
        }
        merged.extend(last);
    }
    merged
}

/// Boxes that differ in one set of values only.
fn by_value<T: Boxed>(
    all: Vec<T>,
    add: impl Fn(&mut Cube, &Cube),
    blank: impl Fn(&mut Cube),
) -> Vec<T> {
    let mut merged = Vec::new();
    for group in groups(all, |one| blank(one.cube())) {
        let mut group = group.into_iter();
        if let Some(mut first) = group.next() {
            for mut other in group {
                let other = *other.cube();
                add(first.cube(), &other);
            }
            merged.push(first);
        }
    }
    merged
}

/// Both answers to a question are no condition.
fn answers<T: Boxed>(all: Vec<T>) -> Vec<T> {
    let mut left: HashMap<T, usize> = HashMap::new();
    let mut kept: Vec<Option<T>> = Vec::new();
    for mut one in all {
        let mut at = 0;
        while let Some((question, answer)) = one.known().get(at).copied() {
            let mut twin = one.clone();
            if let Some(known) = twin.known().get_mut(at) {
                *known = (question, !answer);
            }
            match left.remove(&twin) {
                Some(found) => {
                    if let Some(slot) = kept.get_mut(found) {
                        *slot = None;
                    }
                    one.known().remove(at);
                    at = 0;
                }
                None => at += 1,
            }
        }
        if !left.contains_key(&one) {
            left.insert(one.clone(), kept.len());
            kept.push(Some(one));
        }
    }
    kept.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::state::ct;

    #[test]
    fn what_came_apart_is_put_together() {
        let all = Cube::all(false);
        let hole = Cube {
            src: Span::new(10, 20),
            dport: Span::point(80),
            ct: ct::NEW,
            ..all
        };
        let plain = |cube| Conditional {
            cube,
            known: Vec::new(),
        };
        let mut parts = vec![plain(hole)];
        all.minus(&hole, |cube| parts.push(plain(cube)));
        assert!(parts.len() > 4);
        assert_eq!(merge(parts), [plain(all)]);
        let answered = |known: &[(u32, bool)]| Conditional {
            cube: hole,
            known: known.to_vec(),
        };
        let parts = vec![
            answered(&[(1, true), (2, true)]),
            answered(&[(1, false)]),
            answered(&[(1, true), (2, false)]),
        ];
        assert_eq!(merge(parts), [plain(hole)]);
    }
}
