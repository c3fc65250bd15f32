//! What targets do to a parcel: the same as `change` does to a packet, for all packets of it at once.
//!
//! Where a target does one thing to some of the packets and another to the rest, the parcel comes apart.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::FixedState;

use crate::ruleset::Effects;
use crate::ruleset::spec::Net;
use crate::ruleset::spec::targets::{Connmark, Nat as NatTarget};
use crate::ruleset::spec::value::AddressRange;
use crate::verdict::Path;
use crate::verdict::facts::Facts;
use crate::verdict::program::Change;
use crate::verdict::sets::Handling;
use crate::verdict::space::area::{Area, List};
use crate::verdict::space::cube::{Bytes, Cube, Span};
use crate::verdict::space::lasts::looks;
use crate::verdict::state::{LO, To, address_of, bits_of, ct, name_of};

use super::parcel::{Become, Field, Nat, Parcel};

/// Another value for each sequence of changes.
fn after(before: u64, change: &Change) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    before.hash(&mut hasher);
    format!("{change:?}").hash(&mut hasher);
    hasher.finish()
}

/// Carries out a change; `is_dst` tells whether the hook is one that changes destinations.
pub(super) fn apply(
    change: &Change,
    mut parcel: Parcel,
    is_dst: bool,
    facts: &Facts,
    v6: bool,
) -> Vec<Parcel> {
    let what = alters(change);
    for (kind, own) in parcel.now.changes.iter_mut().enumerate() {
        if what & 1 << kind != 0 {
            *own = after(*own, change);
        }
    }
    match change {
        Change::Mark(mark) => {
            let (known, is) = parcel.now.mark;
            let known = known | mark.mask;
            parcel.now.mark = (known, mark.apply(is) & known);
        }
        Change::SomeMark => parcel.now.mark = (0, 0),
        Change::Connmark(change) => return connmark(*change, parcel),
        Change::Notrack if !parcel.now.ct_settled && parcel.now.ct == Some(ct::INVALID) => {
            parcel.now.ct = Some(ct::UNTRACKED);
            parcel.now.ct_settled = true;
            (parcel.now.dnat, parcel.now.snat) = (Nat::Is(false), Nat::Is(false));
        }
        Change::Template if !parcel.now.ct_settled && parcel.now.ct == Some(ct::INVALID) => {
            parcel.now.ct = Some(ct::NEW);
        }
        Change::Notrack | Change::Template | Change::Tos { .. } | Change::Hops(_) => {}
        Change::Members(handling) => members(handling, &mut parcel, change, facts),
        Change::Dnat(nat) => return destination(nat, parcel, change),
        Change::Snat(nat) => return source(nat, parcel, change),
        Change::Redirect(nat) => return redirect(nat, parcel, change, facts, v6),
        Change::Masquerade(nat) => {
            let mut parcels = source(nat, parcel, change);
            for parcel in &mut parcels {
                (parcel.now.src, parcel.now.snat) = (Field::Lost, Nat::Lost);
            }
            return parcels;
        }
        Change::Netmap(net) if is_dst => {
            parcel.now.translations = after(parcel.now.translations, change);
            (parcel.now.dst, parcel.now.dnat) = (Field::Lost, Nat::Lost);
            let (first, last) = whole(net);
            parcel.now.to = To::Among(first, last);
            leaves_elsewhere(&mut parcel);
        }
        Change::May(effects) => perhaps(*effects, &mut parcel, change),
        Change::Netmap(_) => {
            parcel.now.translations = after(parcel.now.translations, change);
            (parcel.now.src, parcel.now.snat) = (Field::Lost, Nat::Lost);
        }
    }
    vec![parcel]
}

/// What a question may look at that is changed, of [`looks`].
fn alters(change: &Change) -> u8 {
    let bit = |is: bool, bit: u8| if is { bit } else { 0 };
    match change {
        Change::Mark(_) | Change::SomeMark | Change::Connmark(Connmark::Restore { .. }) => {
            looks::MARK
        }
        Change::Connmark(_) => looks::CONNMARK,
        Change::Tos { .. } => looks::TOS,
        Change::Hops(_) => looks::HOPS,
        Change::Notrack | Change::Template => looks::STATE,
        Change::Members(handling) => bit(handling.mark, looks::MARK),
        Change::Dnat(_)
        | Change::Snat(_)
        | Change::Redirect(_)
        | Change::Masquerade(_)
        | Change::Netmap(_) => looks::ADDRESSES,
        Change::May(effects) => {
            let turned = effects.dnat || effects.snat || effects.destination || effects.source;
            bit(turned, looks::ADDRESSES)
                | bit(effects.mark, looks::MARK)
                | bit(effects.connmark, looks::CONNMARK)
                | bit(effects.tos, looks::TOS)
                | bit(effects.hops, looks::HOPS)
                | bit(effects.state, looks::STATE)
        }
    }
}

/// Members of sets are changed, and the mark may be set.
fn members(handling: &Handling, parcel: &mut Parcel, change: &Change, facts: &Facts) {
    if handling.mark {
        parcel.now.mark = (0, 0);
    }
    if !handling.is_something() {
        return;
    }
    let which = match handling.sets(&facts.sets) {
        Some(names) => names.iter().map(|name| name_hash(name)).collect(),
        None => vec![ANY_SET],
    };
    for set in which {
        let touched = &mut parcel.now.touched;
        match touched.binary_search_by_key(&set, |(own, _)| *own) {
            Ok(at) => {
                if let Some((_, own)) = touched.get_mut(at) {
                    *own = after(*own, change);
                }
            }
            Err(at) => touched.insert(at, (set, after(0, change))),
        }
    }
}

/// Stands for every set.
const ANY_SET: u64 = 0;

fn name_hash(name: &[u8]) -> u64 {
    FixedState::default().hash_one(name).max(1)
}

impl Become {
    /// Tells stretches apart in which the answer to a question that looks at these things lasts; 0 is the first.
    pub(super) fn stretch(&self, what: u8) -> u64 {
        let changes = self.changes.iter().enumerate();
        let asked = changes.filter(|(kind, own)| what & 1 << kind != 0 && **own != 0);
        one_of(asked.map(|(kind, own)| (kind as u64, *own)))
    }

    /// The same of the members of a set.
    pub(super) fn stretch_of_set(&self, name: &[u8]) -> u64 {
        let wanted = [ANY_SET, name_hash(name)];
        let touched = self.touched.iter().copied();
        one_of(touched.filter(|(set, _)| wanted.contains(set)))
    }
}

/// One number for several; 0 of none.
fn one_of(all: impl Iterator<Item = (u64, u64)>) -> u64 {
    all.fold(0, |before, one| {
        FixedState::default().hash_one((before, one)).max(1)
    })
}

/// What may have been changed is not known afterwards.
fn perhaps(effects: Effects, parcel: &mut Parcel, change: &Change) {
    let now = &mut parcel.now;
    if effects.mark {
        now.mark = (0, 0);
    }
    if effects.connmark {
        now.connmark = Field::Lost;
    }
    if effects.source || effects.snat {
        (now.src, now.sport, now.snat) = (Field::Lost, Field::Lost, Nat::Lost);
    }
    let is_turned = effects.destination || effects.dnat;
    if is_turned {
        (now.dst, now.dport, now.dnat) = (Field::Lost, Field::Lost, Nat::Lost);
        now.to = To::Anywhere;
    }
    if is_turned || effects.source || effects.snat {
        now.translations = after(now.translations, change);
    }
    if is_turned {
        leaves_elsewhere(parcel);
    }
}

/// Its destination was changed: what a program sends is routed anew, where to is not known.
fn leaves_elsewhere(parcel: &mut Parcel) {
    if parcel.now.path == Path::Output && parcel.now.dnat != Nat::Is(false) {
        parcel.now.leaves = Field::Lost;
    }
}

/// The first and the last address of a network.
fn whole(net: &Net) -> (u128, u128) {
    match net {
        Net::V4 { address, mask } => {
            let last = address.to_bits() | !mask.to_bits();
            (address.to_bits().into(), last.into())
        }
        Net::V6 { address, mask } => (address.to_bits(), address.to_bits() | !mask.to_bits()),
    }
}

/// To the loopback address for what this box sends, else to the address of the interface.
fn redirect(
    nat: &NatTarget,
    parcel: Parcel,
    change: &Change,
    facts: &Facts,
    v6: bool,
) -> Vec<Parcel> {
    let is_sent = parcel.now.path == Path::Output;
    let to = if is_sent {
        Some(if v6 { 1 } else { 0x7f00_0001 })
    } else {
        let name = parcel.area.input.point().and_then(name_of);
        let own = name.and_then(|name| facts.first.get(&name));
        own.filter(|_| !v6).map(|own| bits_of((*own).into()))
    };
    let addresses = to.map(|to| {
        let to = address_of(to, v6);
        AddressRange {
            first: to,
            last: to,
        }
    });
    let nat = NatTarget { addresses, ..*nat };
    let mut parcels = destination(&nat, parcel, change);
    for parcel in &mut parcels {
        if to.is_none() {
            parcel.now.dst = Field::Lost;
            if parcel.now.dnat != Nat::Is(true) {
                parcel.now.dnat = Nat::Lost;
            }
        }
        if is_sent {
            parcel.now.leaves = Field::Is(LO);
        } else {
            parcel.now.path = Path::Input;
            parcel.now.leaves = Field::Is(0);
        }
        parcel.now.to = To::Said;
    }
    parcels
}

/// Protocols whose ports NAT may change.
fn with_ports() -> Area {
    Area::of(&Cube {
        protos: Bytes::those(|proto| crate::flow::Protocol(proto).has_ports()),
        ..Cube::all(true)
    })
}

/// The port that a target leaves.
fn port(nat: &NatTarget, old: Field<u16>, has_ports: bool) -> Field<u16> {
    match nat.ports.filter(|_| has_ports) {
        None if nat.random || nat.random_fully => Field::Lost,
        None => old,
        Some(ports) if ports.range.min == ports.range.max => Field::Is(ports.range.min),
        Some(_) => Field::Lost,
    }
}

/// The address that a target leaves.
fn address(nat: &NatTarget, old: Field<u128>) -> Field<u128> {
    match nat.addresses {
        None => old,
        Some(range) if range.first == range.last => Field::Is(bits_of(range.first)),
        Some(_) => Field::Lost,
    }
}

/// Whether NAT changed anything, of a parcel that is all or nothing of what it becomes.
fn changed(address: (Field<u128>, &List<u128>), port: (Field<u16>, &List<u16>)) -> Nat {
    let address = match address {
        (Field::Is(new), old) if !old.holds(new) => Some(true),
        (Field::Is(_) | Field::Own, _) => Some(false),
        (Field::Lost, _) => None,
    };
    let port = match port {
        (Field::Is(new), old) if !old.holds(new) => Some(true),
        (Field::Is(_) | Field::Own, _) => Some(false),
        (Field::Lost, _) => None,
    };
    match (address, port) {
        (Some(true), _) | (_, Some(true)) => Nat::Is(true),
        (Some(false), Some(false)) => Nat::Is(false),
        _ => Nat::Lost,
    }
}

/// Takes the parcel apart such that each part is all or nothing of what NAT makes of it.
fn apart(parcel: Parcel, becomes: impl Fn(&mut Area)) -> Vec<Parcel> {
    let mut wanted = parcel.view();
    becomes(&mut wanted);
    let (inside, mut outside) = parcel.divide(&wanted);
    outside.extend(inside);
    outside
}

fn destination(nat: &NatTarget, parcel: Parcel, change: &Change) -> Vec<Parcel> {
    let (with, without) = parcel.divide(&with_ports());
    let with = with.into_iter().map(|parcel| (parcel, true));
    let without = without.into_iter().map(|parcel| (parcel, false));
    let mut done = Vec::new();
    for (parcel, has_ports) in with.chain(without) {
        let dst = address(nat, parcel.now.dst);
        let dport = port(nat, parcel.now.dport, has_ports);
        let parts = apart(parcel, |area| {
            if let Field::Is(dst) = dst {
                area.dst = List::one(Span::point(dst));
            }
            if let Field::Is(dport) = dport {
                area.dport = List::one(Span::point(dport));
            }
        });
        for mut parcel in parts {
            let view = parcel.view();
            parcel.now.dnat = changed((dst, &view.dst), (dport, &view.dport));
            if let Some(range) = nat.addresses {
                let (first, last) = (bits_of(range.first), bits_of(range.last));
                parcel.now.to = if first == last {
                    To::Here
                } else {
                    To::Among(first, last)
                };
            }
            (parcel.now.dst, parcel.now.dport) = (dst, dport);
            parcel.now.translations = after(parcel.now.translations, change);
            leaves_elsewhere(&mut parcel);
            done.push(parcel);
        }
    }
    done
}

fn source(nat: &NatTarget, parcel: Parcel, change: &Change) -> Vec<Parcel> {
    let (with, without) = parcel.divide(&with_ports());
    let with = with.into_iter().map(|parcel| (parcel, true));
    let without = without.into_iter().map(|parcel| (parcel, false));
    let mut done = Vec::new();
    for (parcel, has_ports) in with.chain(without) {
        let src = address(nat, parcel.now.src);
        let sport = port(nat, parcel.now.sport, has_ports);
        let parts = apart(parcel, |area| {
            if let Field::Is(src) = src {
                area.src = List::one(Span::point(src));
            }
            if let Field::Is(sport) = sport {
                area.sport = List::one(Span::point(sport));
            }
        });
        for mut parcel in parts {
            let view = parcel.view();
            parcel.now.snat = changed((src, &view.src), (sport, &view.sport));
            (parcel.now.src, parcel.now.sport) = (src, sport);
            parcel.now.translations = after(parcel.now.translations, change);
            done.push(parcel);
        }
    }
    done
}

fn connmark(change: Connmark, parcel: Parcel) -> Vec<Parcel> {
    let states = |states: u8| {
        Area::of(&Cube {
            ct: states,
            ..Cube::all(true)
        })
    };
    let (tracked, mut done) = parcel.divide(&states(ct::TRACKED));
    for parcel in tracked {
        let (first, later) = parcel.divide(&states(ct::NEW));
        let first = first.into_iter().map(|parcel| (parcel, Some(0)));
        let later = later.into_iter().map(|parcel| (parcel, None));
        for (mut parcel, before) in first.chain(later) {
            let old = match parcel.now.connmark {
                Field::Own => before,
                Field::Is(is) => Some(is),
                Field::Lost => None,
            };
            marked(change, &mut parcel, old);
            done.push(parcel);
        }
    }
    done
}

fn marked(change: Connmark, parcel: &mut Parcel, old: Option<u32>) {
    let (known, is) = parcel.now.mark;
    let mark = (known == u32::MAX).then_some(is);
    let set = |value: Option<u32>| value.map_or(Field::Lost, Field::Is);
    match change {
        Connmark::Set(mark) => {
            let anew = (mark.mask == u32::MAX).then_some(mark.value);
            parcel.now.connmark = set(old.map(|old| mark.apply(old)).or(anew));
        }
        Connmark::Save {
            packet_mask,
            connection_mask,
        } => {
            parcel.now.connmark = set(match (old, mark) {
                (_, Some(mark)) if connection_mask == u32::MAX => Some(mark & packet_mask),
                (Some(old), Some(mark)) => Some((old & !connection_mask) ^ (mark & packet_mask)),
                _ => None,
            });
        }
        Connmark::Restore {
            packet_mask,
            connection_mask,
        } => {
            parcel.now.mark = match old {
                Some(from) => {
                    let known = known | packet_mask;
                    (
                        known,
                        ((is & !packet_mask) ^ (from & connection_mask)) & known,
                    )
                }
                None => (0, 0),
            };
        }
    }
}
