//! What rules on a packet's way do to sets, for those rules that ask for the members afterwards.
//!
//! `-j SET` adds what the packet has to a set, or takes it out, at once. Where it is plain whether that succeeds
//! a later lookup is answered by it; else nothing is known of that set any more. Plain is a hash of single
//! addresses that is far from full: the kernel gives it no more room on behalf of a packet, and what does not
//! fit is not added (`mtype_add` in net/netfilter/ipset/ip_set_hash_gen.h).

use std::collections::HashMap;

use super::{DEPTH, Dimension, Found, IpSet, Part, SetTest};
use crate::ruleset::spec::targets::{SetChange, SetTarget};
use crate::verdict::cond::View;
use crate::verdict::state::State;
use crate::verdict::tri::Tri;

/// Entries that one bucket holds where the set does not say it (`AHASH_MAX_SIZE`).
const BUCKET: usize = 12;

/// Entries that a set holds where it does not say it.
const MOST: usize = 65_536;

/// What `-j SET` does.
#[derive(Clone, Debug)]
pub(in super::super) struct Handling {
    add: Option<SetTest>,
    remove: Option<SetTest>,
    /// The packet gets the mark of an entry.
    pub mark: bool,
}

/// What happened to a set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct Touch {
    /// Which; `None` is any, because what was changed may have been a list of sets.
    name: Option<Box<[u8]>>,
    /// The address that it happened to; `None` is any.
    member: Option<u128>,
    /// That is in it now, or is not; `None` where it may be.
    within: Option<bool>,
}

impl Handling {
    pub(in super::super) fn of(target: &SetTarget<'_>) -> Self {
        let test = |change: &Option<SetChange<'_>>| {
            change.as_ref().map(|change| SetTest {
                name: change.name.to_vec(),
                sides: SetTest::sides(&change.sides),
                invert: false,
                return_nomatch: false,
                beyond: false,
                text: "".into(),
            })
        };
        Self {
            add: test(&target.add),
            remove: test(&target.remove),
            mark: target.map_mark,
        }
    }

    /// In the order of the kernel.
    fn both(&self) -> impl Iterator<Item = (&SetTest, bool)> {
        let add = self.add.iter().map(|key| (key, true));
        add.chain(self.remove.iter().map(|key| (key, false)))
    }

    /// It changes members.
    pub(in super::super) fn is_something(&self) -> bool {
        self.both().next().is_some()
    }

    /// The sets of which the answer may be another one afterwards; `None` is any.
    pub(in super::super) fn sets(&self, sets: &HashMap<Vec<u8>, IpSet>) -> Option<Vec<Vec<u8>>> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        for (key, _) in self.both() {
            let set = sets.get(&key.name)?;
            names.push(key.name.clone());
            if set.is_list() {
                names.extend(set.inner()?.map(<[u8]>::to_vec));
            }
        }
        let holds = |set: &IpSet| match set.is_list().then(|| set.inner()) {
            None => set.strange,
            Some(None) => true,
            Some(Some(mut inner)) => inner.any(|inner| names.iter().any(|name| name == inner)),
        };
        let lists = sets.iter().filter(|(_, set)| holds(set));
        let lists: Vec<Vec<u8>> = lists.map(|(name, _)| name.clone()).collect();
        names.extend(lists);
        Some(names)
    }
}

impl IpSet {
    fn is_list(&self) -> bool {
        self.dimensions == [Dimension::Set]
    }

    /// The names of the sets in a list; `None` where not all are known.
    fn inner(&self) -> Option<impl Iterator<Item = &[u8]>> {
        let parts = self.entries.iter().flat_map(|entry| &entry.parts);
        let names = parts.filter_map(|part| match part {
            Part::Set(name) => Some(name.as_slice()),
            _ => None,
        });
        (!self.beyond && !self.strange).then_some(names)
    }

    /// Another entry fits in, wherever it has to stand.
    fn has_room(&self, more: usize) -> bool {
        let bucket = self.bucket.unwrap_or(BUCKET);
        !self.is_full(more) && self.entries.len().saturating_add(more) < bucket
    }

    /// It may hold all that it may.
    fn is_full(&self, more: usize) -> bool {
        let most = self.most.unwrap_or(MOST);
        self.beyond || self.entries.len().saturating_add(more) >= most
    }
}

/// Carries it out, for those who ask later.
pub(in super::super) fn touch(handling: &Handling, state: &mut State, view: View<'_>) {
    for (key, within) in handling.both() {
        let name = key.name.as_slice();
        let Some(set) = view.facts.sets.get(name) else {
            push(state, None, None, None);
            continue;
        };
        // Nothing is done to a set of another family, or to one of more dimensions than there are sides.
        let refused = key.sides.len() < set.dimensions.len() || !set.sees(state.v6);
        if refused && !set.strange {
            continue;
        }
        if set.is_list() {
            match set.inner() {
                Some(inner) => inner.for_each(|name| push(state, Some(name), None, None)),
                None => push(state, None, None, None),
            }
            continue;
        }
        let is_dst = key.sides.first().is_some_and(|is_dst| *is_dst);
        let address = if is_dst { state.dst } else { state.src };
        let plain = set.hash && set.dimensions == [Dimension::Ip] && !set.strange;
        let Some(address) = address.filter(|_| plain) else {
            push(state, Some(name), None, None);
            continue;
        };
        let member = address & set.own_mask();
        // No address is no member.
        if member == 0 {
            continue;
        }
        if !within {
            push(state, Some(name), Some(member), Some(false));
            continue;
        }
        let is_in = key.holds(name, state, view, DEPTH) == Tri::Yes;
        if !is_in {
            let more = state.touched.len();
            // A full set may give up any of its entries for a new one (`forceadd`).
            let member = (!set.is_full(more)).then_some(member);
            push(
                state,
                Some(name),
                member,
                set.has_room(more).then_some(true),
            );
        }
    }
}

fn push(state: &mut State, name: Option<&[u8]>, member: Option<u128>, within: Option<bool>) {
    let touch = Touch {
        name: name.map(Into::into),
        member,
        within,
    };
    state.touched.retain(|other| *other != touch);
    state.touched.push(touch);
}

/// What a lookup in a set finds because of what was done to it before; `None` where that is what it would have
/// found anyway.
pub(super) fn touched(name: &[u8], set: &IpSet, sides: &[bool], state: &State) -> Option<Found> {
    for touch in state.touched.iter().rev() {
        if touch.name.as_ref().is_some_and(|own| **own != *name) {
            continue;
        }
        let Some(member) = touch.member else {
            return Some(Found::Unknown);
        };
        // Only sets of single addresses have such a member.
        let is_dst = *sides.first()?;
        let address = if is_dst { state.dst } else { state.src };
        match address {
            _ if !set.sees(state.v6) => return None,
            None => return Some(Found::Unknown),
            Some(address) if address & set.own_mask() == member => {
                return Some(match touch.within {
                    Some(true) => Found::Yes,
                    Some(false) => Found::No,
                    None => Found::Unknown,
                });
            }
            Some(_) => {}
        }
    }
    None
}
