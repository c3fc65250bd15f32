//! Putting together again what came apart: areas that differ in one thing, and both answers to a question.
//!
//! It is tried for one thing after the other, by groups that are the same in everything else, so that it costs
//! little however many there are. The result holds the same packets; that it is the fewest areas possible is
//! not claimed.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::FixedState;

use crate::verdict::space::area::{Area, List};
use crate::verdict::space::cube::{Bytes, Span};

use super::parcel::Parcel;

/// Packets that arrive in an area, and for which these questions are answered so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct Conditional {
    pub area: Area,
    /// Numbers of a [`Book`](super::Book), in order.
    pub known: Vec<(u32, bool)>,
}

/// Rounds over all things.
const ROUNDS: usize = 3;

/// More than this are left as they are.
const MOST: usize = 20_000;

/// Something with an area and answers.
trait Held: Clone + Eq + Hash {
    fn area(&mut self) -> &mut Area;
    fn known(&mut self) -> &mut Vec<(u32, bool)>;
}

impl Held for Conditional {
    fn area(&mut self) -> &mut Area {
        &mut self.area
    }
    fn known(&mut self) -> &mut Vec<(u32, bool)> {
        &mut self.known
    }
}

impl Held for Parcel {
    fn area(&mut self) -> &mut Area {
        &mut self.area
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

fn together<T: Held>(mut all: Vec<T>) -> Vec<T> {
    for _ in 0..ROUNDS {
        let before = all.len();
        if !(2..=MOST).contains(&before) {
            break;
        }
        all = answers(all);
        macro_rules! lists {
            ($($field:ident),*) => {$({
                let nothing = List::one(Span::point(0));
                all = join(
                    all,
                    |area| area.$field = nothing.clone(),
                    |area, other| area.$field = area.$field.or(&other.$field),
                );
            })*};
        }
        lists!(dport, sport, src, dst, input, output);
        all = join(
            all,
            |area| area.protos = Bytes::NONE,
            |area, other| area.protos = area.protos.or(other.protos),
        );
        all = join(
            all,
            |area| area.flags = Bytes::NONE,
            |area, other| area.flags = area.flags.or(other.flags),
        );
        all = join(all, |area| area.ct = 0, |area, other| area.ct |= other.ct);
        all = join(
            all,
            |area| area.pieces = 0,
            |area, other| area.pieces |= other.pieces,
        );
        if all.len() == before {
            break;
        }
    }
    all
}

/// Puts those together that are the same in everything that `blank` leaves.
fn join<T: Held>(all: Vec<T>, blank: impl Fn(&mut Area), add: impl Fn(&mut Area, &Area)) -> Vec<T> {
    let mut numbers: HashMap<T, usize, FixedState> = HashMap::default();
    let mut joined: Vec<T> = Vec::new();
    for mut one in all {
        let mut key = one.clone();
        blank(key.area());
        let next = joined.len();
        let at = *numbers.entry(key).or_insert(next);
        match joined.get_mut(at) {
            Some(own) => add(own.area(), one.area()),
            None => joined.push(one),
        }
    }
    joined
}

/// Both answers to a question are no condition.
fn answers<T: Held>(all: Vec<T>) -> Vec<T> {
    let mut left: HashMap<T, usize, FixedState> = HashMap::default();
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
    use crate::verdict::space::cube::Cube;
    use crate::verdict::state::ct;

    #[test]
    fn what_came_apart_is_put_together() {
        let all = Area::all(false);
        let hole = Area::of(&Cube {
            src: Span::new(10, 20),
            dport: Span::point(80),
            ct: ct::NEW,
            ..Cube::all(false)
        });
        let plain = |area: &Area| Conditional {
            area: area.clone(),
            known: Vec::new(),
        };
        let mut parts = vec![plain(&hole)];
        all.minus(&hole, |area| parts.push(plain(&area)));
        assert!(parts.len() > 3);
        assert_eq!(merge(parts), [plain(&all)]);
        let answered = |known: &[(u32, bool)]| Conditional {
            area: hole.clone(),
            known: known.to_vec(),
        };
        let parts = vec![
            answered(&[(1, true), (2, true)]),
            answered(&[(1, false)]),
            answered(&[(1, true), (2, false)]),
        ];
        assert_eq!(merge(parts), [plain(&hole)]);
    }
}
