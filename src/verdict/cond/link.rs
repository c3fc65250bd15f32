//! Conditions on where a packet came from and what kind of address it has: net/netfilter/xt_pkttype.c,
//! xt_addrtype.c, xt_physdev.c, ipt_rpfilter.c.

use std::net::IpAddr;

use super::View;
use crate::flow::{RouteAnswer, WayKind};
use crate::ruleset::spec::value::{AddrTypes, WordSet};
use crate::verdict::facts::Facts;
use crate::verdict::state::{LO, State, address_of, name_bits};
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
    /// Looked up on the interface only by which the packet came.
    pub limit_in: bool,
    /// Looked up on the one only by which it leaves.
    pub limit_out: bool,
    pub text: Box<str>,
}

/// Whether an address is held by the interface that a lookup is limited to.
#[derive(Clone, Copy)]
enum Limit {
    /// It is not limited.
    None,
    /// It is, and the address is of that interface; `None` where that is not known.
    Held(Option<bool>),
}

impl AddrtypeTest {
    /// It is looked up on one interface only.
    pub(super) fn is_limited(&self) -> bool {
        self.limit_in || self.limit_out
    }

    pub(super) fn test(&self, state: &State, view: View<'_>) -> Tri {
        let on = match (self.limit_in, self.limit_out) {
            (true, _) => Some(state.input),
            (_, true) => Some(state.output),
            _ => None,
        };
        let limit = |address| match on {
            None => Limit::None,
            Some(name) => Limit::Held(name.and_then(|name| view.facts.is_held(address, name))),
        };
        let one = |wanted: Option<(AddrTypes, bool)>, address: Option<u128>, is_dst: bool| {
            let Some((types, invert)) = wanted else {
                return Tri::Yes;
            };
            let Some(address) = address.map(|bits| address_of(bits, state.v6)) else {
                return Tri::Unknown;
            };
            let found = match address {
                IpAddr::V4(_) => of_four(address, types, is_dst, limit(address), state, view.facts),
                IpAddr::V6(_) => of_six(address, types, is_dst, limit(address), state, view.facts),
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
    limit: Limit,
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
    } else if matches!(limit, Limit::Held(Some(false))) {
        // Of another interface, or of nobody here (`__inet_dev_addr_type`).
        AddrTypes::UNICAST
    } else if facts.broadcast.contains(&address) {
        match limit {
            Limit::Held(None) => AddrTypes::BROADCAST | AddrTypes::UNICAST,
            _ => AddrTypes::BROADCAST,
        }
    } else {
        match is_local(address, is_dst, state, facts) {
            Some(true) if matches!(limit, Limit::Held(None)) => {
                AddrTypes::LOCAL | AddrTypes::UNICAST
            }
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
    limit: Limit,
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
    if has(AddrTypes::ANYCAST) || has(AddrTypes::UNREACHABLE) {
        return Tri::Unknown;
    }
    if let Limit::Held(held) = limit {
        return Tri::of_known(held, |held| held); // `ipv6_chk_addr`, strict
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

/// `-m rpfilter`: ipt_rpfilter.c, ip6t_rpfilter.c.
#[derive(Clone, Debug)]
pub(in super::super) struct RpfilterTest {
    pub loose: bool,
    /// The packet's mark counts.
    pub by_mark: bool,
    pub accept_local: bool,
    pub invert: bool,
    pub text: Box<str>,
}

impl RpfilterTest {
    pub(super) fn test(&self, state: &State, view: View<'_>) -> Tri {
        if state.input == Some(LO) || state.src == Some(0) && state.v6 {
            return Tri::Yes.turned(self.invert);
        }
        // The way was asked for without a mark.
        if state.src == Some(0) || self.by_mark && state.mark != Some(0) {
            return Tri::Unknown;
        }
        let passes = match &view.probe.back {
            None | Some(RouteAnswer::NotAsked(_)) => Tri::Unknown,
            Some(RouteAnswer::None { .. }) => Tri::No,
            Some(RouteAnswer::Way(way)) => match way.kind {
                WayKind::Local if !self.accept_local => Tri::No,
                WayKind::Unicast | WayKind::Local if self.loose => Tri::Yes,
                WayKind::Unicast | WayKind::Local => {
                    let by = way.output.and_then(|name| name_bits(name.as_bytes()));
                    // Without an interface it is one of several.
                    Tri::of_known(by.zip(state.input), |(by, input)| by == input)
                }
                _ => Tri::No,
            },
        };
        passes.turned(self.invert)
    }
}
