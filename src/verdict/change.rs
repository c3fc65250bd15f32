//! What targets do to a packet that goes on: marks, header fields, addresses.
//!
//! Each follows the kernel's own function (net/netfilter/xt_mark.c, xt_connmark.c, xt_DSCP.c, xt_HL.c,
//! xt_CT.c, xt_nat.c, nf_nat_redirect.c). Where the kernel chooses one address or port of several, what it
//! becomes is not known; that it is one of them stands in the rule.

use super::cond::View;
use super::facts::Facts;
use super::program::Change;
use super::sets::touch;
use super::state::{LO, State, To, address_of, bits_of, ct, name_of};
use crate::ruleset::Effects;
use crate::ruleset::spec::Net;
use crate::ruleset::spec::targets::{Connmark, HopChange, Nat};
use crate::verdict::Path;

impl Change {
    /// Carries it out. `is_dst` tells whether the hook is one that changes destinations, which is all that
    /// NETMAP is told by.
    pub(super) fn apply(&self, state: &mut State, is_dst: bool, view: View<'_>) {
        state.altered |= !matches!(
            self,
            Self::Mark(_)
                | Self::SomeMark
                | Self::Members(_)
                | Self::Connmark(_)
                | Self::Notrack
                | Self::Template
        );
        match self {
            // Where every bit is set anew it does not matter what it was.
            Self::Mark(mark) => {
                let anew = (mark.mask == u32::MAX).then_some(mark.value);
                state.mark = state.mark.map(|old| mark.apply(old)).or(anew);
            }
            Self::SomeMark => state.mark = None,
            Self::Connmark(change) => connmark(*change, state),
            Self::Tos { value, mask } => state.tos = state.tos.map(|tos| (tos & !mask) ^ value),
            Self::Hops(change) => {
                state.ttl = match change {
                    HopChange::Set(hops) => Some(*hops),
                    HopChange::Decrement(by) => state.ttl.map(|ttl| ttl.saturating_sub(*by)),
                    HopChange::Increment(by) => state.ttl.map(|ttl| ttl.saturating_add(*by)),
                }
            }
            // Both leave a packet alone that conntrack knows already, as one that loops back is.
            Self::Notrack if !state.ct_settled && state.ct == ct::INVALID => {
                state.ct = ct::UNTRACKED;
                state.ct_to_be = ct::UNTRACKED;
                state.ct_settled = true;
                (state.dnat, state.snat) = (Some(false), Some(false));
            }
            // A template looks like the first packet of a connection until conntrack has its turn.
            Self::Template if !state.ct_settled && state.ct == ct::INVALID => state.ct = ct::NEW,
            Self::Notrack | Self::Template => {}
            Self::Members(handling) => {
                touch(handling, state, view);
                if handling.mark {
                    state.mark = None;
                }
            }
            Self::Dnat(nat) => destination(nat, state),
            Self::Snat(nat) => source(nat, state),
            Self::Redirect(nat) => redirect(nat, state, view.facts),
            Self::Masquerade(nat) => {
                let kept = state.src;
                source(nat, state);
                if kept == state.src {
                    state.src = None;
                    state.snat = None;
                }
            }
            Self::Netmap(net) => netmap(net, state, is_dst),
            Self::May(effects) => perhaps(*effects, state),
        }
    }
}

fn connmark(change: Connmark, state: &mut State) {
    match state.tracked() {
        Some(false) => return,
        Some(true) => {}
        None => {
            state.connmark = None;
            if matches!(change, Connmark::Restore { .. }) {
                state.mark = None;
            }
            return;
        }
    }
    match change {
        Connmark::Set(mark) => {
            let anew = (mark.mask == u32::MAX).then_some(mark.value);
            state.connmark = state.connmark.map(|old| mark.apply(old)).or(anew);
        }
        Connmark::Save {
            packet_mask,
            connection_mask,
        } => {
            state.connmark = match (state.connmark, state.mark) {
                (_, Some(mark)) if connection_mask == u32::MAX => Some(mark & packet_mask),
                (Some(old), Some(mark)) => Some((old & !connection_mask) ^ (mark & packet_mask)),
                _ => None,
            };
        }
        Connmark::Restore {
            packet_mask,
            connection_mask,
        } => {
            state.mark = match (state.mark, state.connmark) {
                (_, Some(from)) if packet_mask == u32::MAX => Some(from & connection_mask),
                (Some(old), Some(from)) => Some((old & !packet_mask) ^ (from & connection_mask)),
                _ => None,
            };
        }
    }
}

/// What may have been changed is not known afterwards.
fn perhaps(effects: Effects, state: &mut State) {
    if effects.mark {
        state.mark = None;
    }
    if effects.connmark {
        state.connmark = None;
    }
    if effects.tos {
        state.tos = None;
    }
    if effects.hops {
        state.ttl = None;
    }
    if effects.source || effects.snat {
        (state.src, state.sport) = (None, None);
        state.snat = None;
    }
    if effects.destination || effects.dnat {
        (state.dst, state.dport, state.among) = (None, None, None);
        state.dnat = None;
        state.to = To::Anywhere;
        if state.path == Path::Output {
            state.leaves_by = None;
        }
    }
}

/// The port that a target leaves, where there is only one that it can be.
fn port(nat: &Nat, old: Option<u16>, has_ports: Option<bool>) -> Option<u16> {
    let Some(ports) = nat.ports.filter(|_| has_ports != Some(false)) else {
        return if nat.random || nat.random_fully {
            None
        } else {
            old
        };
    };
    match ports.base {
        _ if ports.range.min == ports.range.max => Some(ports.range.min),
        // `8000-8010/5000`: counted from the base, around the range.
        Some(base) => {
            let size = u32::from(ports.range.max - ports.range.min) + 1;
            let offset = u32::from(old?.wrapping_sub(base)) % size;
            u16::try_from(u32::from(ports.range.min) + offset).ok()
        }
        None => None,
    }
}

/// The address that a target leaves, where there is only one.
fn address(nat: &Nat, old: Option<u128>) -> Option<u128> {
    match nat.addresses {
        None => old,
        Some(range) if range.first == range.last => Some(bits_of(range.first)),
        Some(_) => None,
    }
}

/// Whether an end of the packet is another now; NAT marks the connection only then.
fn changed(old: (Option<u128>, Option<u16>), new: (Option<u128>, Option<u16>)) -> Option<bool> {
    let address = old.0.zip(new.0).map(|(old, new)| old != new);
    let port = match (old.1, new.1) {
        (Some(old), Some(new)) => Some(old != new),
        (None, None) => Some(false),
        _ => None,
    };
    match (address, port) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

fn destination(nat: &Nat, state: &mut State) {
    let old = (state.dst, state.dport);
    state.dst = address(nat, state.dst);
    state.dport = port(nat, state.dport, state.has_ports());
    state.dnat = changed(old, (state.dst, state.dport));
    if let Some(range) = nat.addresses {
        let (first, last) = (bits_of(range.first), bits_of(range.last));
        let is_outside = |old: u128| old < first || old > last;
        if old.0.is_some_and(is_outside) {
            state.dnat = Some(true);
        }
        (state.to, state.among) = if first == last {
            (To::Here, None)
        } else {
            (To::Among(first, last), Some((first, last)))
        };
    }
    if state.dnat != Some(false) && state.path == Path::Output {
        // It is routed anew; where to is not known.
        state.leaves_by = None;
    }
}

fn source(nat: &Nat, state: &mut State) {
    let old = (state.src, state.sport);
    state.src = address(nat, state.src);
    state.sport = port(nat, state.sport, state.has_ports());
    state.snat = changed(old, (state.src, state.sport));
}

/// To the loopback address for what this box sends, else to the address of the interface. A packet that
/// goes there anyway, to that port, is not changed by it.
fn redirect(nat: &Nat, state: &mut State, facts: &Facts) {
    let old = (state.dst, state.dport);
    destination(nat, state);
    state.among = None;
    if state.path == Path::Output {
        state.dst = Some(if state.v6 { 1 } else { 0x7f00_0001 });
        state.leaves_by = Some(LO);
    } else {
        let first = state.input.and_then(name_of);
        let first = first.and_then(|name| facts.first.get(&name));
        state.dst = first
            .filter(|_| !state.v6)
            .map(|own| bits_of((*own).into()));
        state.path = Path::Input;
        state.leaves_by = Some(0);
    }
    state.to = To::Said;
    state.dnat = changed(old, (state.dst, state.dport));
    let is_foreign = |dst: u128| facts.is_local(address_of(dst, state.v6)) == Some(false);
    if old.0.is_some_and(is_foreign) {
        state.dnat = Some(true);
    }
}

/// The network's bits from the rule, the host's from the packet.
fn netmap(net: &Net, state: &mut State, is_dst: bool) {
    let (bits, mask) = match net {
        Net::V4 { address, mask } => (address.to_bits().into(), mask.to_bits().into()),
        Net::V6 { address, mask } => (address.to_bits(), mask.to_bits()),
    };
    let map = |old: u128| (old & !mask) | bits;
    if is_dst {
        let new = state.dst.map(map);
        state.dnat = state.dst.zip(new).map(|(old, new)| old != new);
        state.dst = new;
        state.among = None;
        let whole = if state.v6 { u128::MAX } else { u32::MAX.into() };
        state.to = match new {
            Some(_) => To::Here,
            None => To::Among(bits, bits | (!mask & whole)),
        };
        if state.path == Path::Output && state.dnat != Some(false) {
            state.leaves_by = None;
        }
    } else {
        let new = state.src.map(map);
        state.snat = state.src.zip(new).map(|(old, new)| old != new);
        state.src = new;
    }
}
