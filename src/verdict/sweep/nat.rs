//! What is special on the way: who enters the nat table, where a changed destination leads, and that IPv4 puts
//! packets together before INPUT.

use super::parcel::{Field, Nat, Parcel};
use crate::flow::Hook;
use crate::verdict::Path;
use crate::verdict::facts::Facts;
use crate::verdict::space::area::Area;
use crate::verdict::space::cube::{Bytes, Cube, piece};
use crate::verdict::state::{To, ct};
use crate::verdict::thread::{Turn, turn};

/// The nat table sees the first packet of a connection, and each end of it is decided once: those that it
/// sees, and the others.
pub(super) fn begins(parcels: Vec<Parcel>, hook: Hook) -> (Vec<Parcel>, Vec<Parcel>) {
    let is_dst = matches!(hook, Hook::Prerouting | Hook::Output);
    let mut icmp = Bytes::one(1);
    icmp.add(58);
    let all = Cube::all(true);
    let first = [
        Area::of(&Cube {
            protos: icmp,
            ct: ct::NEW,
            ..all
        }),
        Area::of(&Cube {
            protos: Bytes::ALL.without(icmp),
            ct: ct::NEW | ct::RELATED,
            ..all
        }),
    ];
    let (mut entering, mut others) = (Vec::new(), Vec::new());
    for parcel in parcels {
        let bound = if is_dst {
            parcel.now.dst_bound
        } else {
            parcel.now.src_bound
        };
        if bound {
            others.push(parcel);
            continue;
        }
        let mut left = vec![parcel];
        for wanted in &first {
            let mut rest = Vec::new();
            for parcel in left {
                let (inside, outside) = parcel.divide(wanted);
                entering.extend(inside);
                rest.extend(outside);
            }
            left = rest;
        }
        others.extend(left);
    }
    (entering, others)
}

/// A destination that NAT changed is routed as what it is now, where the box's addresses are known: the way of
/// the parcel, or that it may be either.
pub(super) fn way(parcel: &Parcel, facts: &Facts, v6: bool) -> Turn {
    let dnat = match parcel.now.dnat {
        Nat::Is(is) => Some(is),
        Nat::Before | Nat::Lost => None,
    };
    let now = &parcel.now;
    match now.dst {
        // Each has its own, which NAT did not touch.
        Field::Own if now.to == To::Here => Turn::Said,
        Field::Own | Field::Lost => turn(now.path, now.to, dnat, now.to.is_local(None, facts, v6)),
        Field::Is(dst) => {
            let local = now.to.is_local(Some(dst), facts, v6);
            turn(now.path, now.to, dnat, local)
        }
    }
}

/// IPv4 puts together what it delivers before INPUT sees it (`ip_local_deliver`), IPv6 after: those that INPUT
/// sees, and later fragments, which are past all rules.
pub(super) fn delivered(parcels: Vec<Parcel>, v6: bool) -> (Vec<Parcel>, Vec<Parcel>) {
    if v6 {
        return (parcels, Vec::new());
    }
    let part = |parcel: &Parcel, pieces: u8| {
        let pieces = parcel.area.pieces & pieces;
        let mut part = parcel.clone();
        part.area.pieces = pieces;
        (pieces != 0).then_some(part)
    };
    let of = |pieces: u8| {
        let parts = parcels.iter().filter_map(|parcel| part(parcel, pieces));
        parts.collect()
    };
    (of(piece::WHOLE), of(piece::COMPARED | piece::REFUSED))
}

/// The packets go that way, and are routed no more.
pub(super) fn go(parcel: &mut Parcel, path: Path) {
    parcel.now.to = To::Said;
    if path == parcel.now.path {
        return;
    }
    parcel.now.dnat = Nat::Is(true);
    parcel.now.leaves = match path {
        Path::Input => Field::Is(0),
        _ => Field::Lost,
    };
    parcel.now.path = path;
}
