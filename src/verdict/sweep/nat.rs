//! What is special on the way: who enters the nat table, where a changed destination leads, and that IPv4 puts
//! packets together before INPUT.

use super::parcel::{Field, Nat, Parcel};
use crate::flow::Hook;
use crate::verdict::Path;
use crate::verdict::facts::Facts;
use crate::verdict::space::area::Area;
use crate::verdict::space::cube::{Bytes, Cube, piece};
use crate::verdict::state::{address_of, ct};

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

/// A destination that NAT changed is routed as what it is now, where the box's addresses are known.
pub(super) fn turn(parcel: &mut Parcel, facts: &Facts, v6: bool) {
    let (Field::Is(dst), Nat::Is(true)) = (parcel.now.dst, parcel.now.dnat) else {
        return;
    };
    match (facts.is_local(address_of(dst, v6)), parcel.now.path) {
        (Some(true), Path::Forward) => {
            parcel.now.path = Path::Input;
            parcel.now.leaves = Field::Is(0);
        }
        (Some(false), Path::Input) => {
            parcel.now.path = Path::Forward;
            parcel.now.leaves = Field::Lost;
        }
        _ => {}
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
