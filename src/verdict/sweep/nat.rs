//! What is special about the nat table: who enters it, and where a changed destination leads.

use super::parcel::{Field, Nat, Parcel};
use crate::flow::Hook;
use crate::verdict::Path;
use crate::verdict::facts::Facts;
use crate::verdict::space::area::Area;
use crate::verdict::space::cube::{Bytes, Cube};
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
