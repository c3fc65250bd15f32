//! Conditions on where a packet came from and what kind of address it has: net/netfilter/xt_pkttype.c,
//! xt_addrtype.c, xt_physdev.c.

use std::net::IpAddr;

use super::View;
use crate::ruleset::spec::value::{AddrTypes, WordSet};
use crate::verdict::facts::Facts;
use crate::verdict::state::{LO, State, address_of};
use crate::verdict::tri::Tri;
use crate::verdict::{LinkType, Path};

/// How the link layer addressed the packet, where that is told or cannot be otherwise.
pub(super) fn link_type(state: &State, view: View<'_>) -> Option<LinkType> {
    if let Some(told) = view.probe.link {
        return Some(told);
    }
    let dst = address_of(state.dst?, state.v6);
    let to_many = dst.is_multicast() || dst == IpAddr::from([255, 255, 255, 255]);
    match (state.path, state.input) {
        // Only what is meant for this host alone is forwarded.
        (Path::Forward, _) => Some(LinkType::Unicast),
        // What this box sends is marked as meant for it, unless it loops back.
        (Path::Output, _) | (Path::Input, Some(LO)) if !to_many => Some(LinkType::Unicast),
        _ => None,
    }
}

/// `-m addrtype`.
#[derive(Clone, Debug)]
pub(in super::super) struct AddrtypeTest {
    pub source: Option<(AddrTypes, bool)>,
    pub destination: Option<(AddrTypes, bool)>,
    /// Looked up on one interface only, whose addresses are not known here.
    pub limited: bool,
    pub text: Box<str>,
}

impl AddrtypeTest {
    pub(super) fn test(&self, state: &State, view: View<'_>) -> Tri {
        let one = |wanted: Option<(AddrTypes, bool)>, address: Option<u128>, is_dst: bool| {
            let Some((types, invert)) = wanted else {
                return Tri::Yes;
            };
            let Some(address) = address.map(|bits| address_of(bits, state.v6)) else {
                return Tri::Unknown;
            };
            let found = match address {
                IpAddr::V4(_) => of_four(address, types, is_dst, self.limited, state, view.facts),
                IpAddr::V6(_) => of_six(address, types, is_dst, self.limited, state, view.facts),
            };
            found.turned(invert)
        };
        one(self.source, state.src, false).and(one(self.destination, state.dst, true))
    }
}

/// Local, where that is known: by the box's addresses, or because a packet that was routed to it took
/// that way. Before it was routed a NAT rule may still turn it.
fn is_local(address: IpAddr, is_dst: bool, state: &State, facts: &Facts) -> Option<bool> {
    facts.is_local(address).or(match state.path {
        Path::Input if is_dst && state.routed => cannot_be_shared(address).then_some(true),
        Path::Forward if is_dst && state.routed => Some(false),
        _ => None,
    })
}

/// Neither the broadcast address of a network (its host bits are all one; older kernels take all zero
/// too) nor the anycast address of its routers (all zero), whatever the network's prefix is.
fn cannot_be_shared(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !matches!(address.to_bits() & 3, 0 | 3),
        IpAddr::V6(address) => address.to_bits() & 1 == 1,
    }
}

/// An address has one type: by its bits, else what the table of local routes says (`inet_addr_type`),
/// and UNICAST if that says nothing.
fn of_four(
    address: IpAddr,
    types: AddrTypes,
    is_dst: bool,
    limited: bool,
    state: &State,
    facts: &Facts,
) -> Tri {
    let IpAddr::V4(four) = address else {
        return Tri::Unknown;
    };
    let may_be = if four.is_broadcast() || matches!(four.octets(), [0, ..]) {
        AddrTypes::BROADCAST
    } else if four.is_multicast() {
        AddrTypes::MULTICAST
    } else if facts.broadcast.contains(&address) {
        AddrTypes::BROADCAST
    } else {
        match is_local(address, is_dst, state, facts) {
            // Which interface holds an address is not known here.
            Some(true) if limited => AddrTypes::LOCAL | AddrTypes::UNICAST,
            Some(true) => AddrTypes::LOCAL,
            Some(false) => AddrTypes::UNICAST,
            None => AddrTypes::LOCAL | AddrTypes::BROADCAST | AddrTypes::UNICAST,
        }
    };
    match (types.contains(may_be), types.intersects(may_be)) {
        (true, _) => Tri::Yes,
        (_, false) => Tri::No,
        _ => Tri::Unknown,
    }
}

/// All types that are asked for must hold, as the kernel has it (`match_type6`).
fn of_six(
    address: IpAddr,
    types: AddrTypes,
    is_dst: bool,
    limited: bool,
    state: &State,
    facts: &Facts,
) -> Tri {
    let has = |one: AddrTypes| types.contains(one);
    let multicast = address.is_multicast();
    let unspecified = address.is_unspecified();
    if has(AddrTypes::MULTICAST) && !multicast
        || has(AddrTypes::UNICAST) && (multicast || unspecified)
        || has(AddrTypes::UNSPEC) && !unspecified
    {
        return Tri::No;
    }
    let routed = AddrTypes::LOCAL | AddrTypes::ANYCAST | AddrTypes::UNREACHABLE;
    if !types.intersects(routed) {
        return Tri::Yes;
    }
    if limited || has(AddrTypes::ANYCAST) || has(AddrTypes::UNREACHABLE) {
        return Tri::Unknown;
    }
    Tri::of_known(is_local(address, is_dst, state, facts), |local| local)
}

/// `-m physdev`.
#[derive(Clone, Debug)]
pub(in super::super) struct PhysdevTest {
    /// Something is asked for that only a bridged packet has.
    pub wants_bridge: bool,
    pub text: Box<str>,
}

impl PhysdevTest {
    /// Known only where the packet cannot have come over a bridge.
    pub(super) fn test(&self, state: &State) -> Tri {
        let not_bridged = state.path == Path::Output || state.input == Some(LO);
        if not_bridged {
            Tri::of(!self.wants_bridge)
        } else {
            Tri::Unknown
        }
    }
}
