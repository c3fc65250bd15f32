//! Conditions on what conntrack knows: net/netfilter/xt_conntrack.c, xt_state.c.

use crate::ruleset::spec::Ports;
use crate::verdict::Probe;
use crate::verdict::state::{State, bits_of, ct};
use crate::verdict::tri::Tri;

/// `--ctstate`, `--state`.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct StateTest {
    /// Wanted states, of [`ct`].
    pub states: u8,
    /// The source was changed by NAT.
    pub snat: bool,
    /// The destination was changed by NAT.
    pub dnat: bool,
    pub invert: bool,
}

impl StateTest {
    pub(super) fn test(self, state: &State) -> Tri {
        let may = state.ct & self.states != 0;
        let may_not = state.ct & !self.states != 0;
        let by_state = match (may, may_not) {
            (true, false) => Tri::Yes,
            (_, true) if may => Tri::Unknown,
            _ => Tri::No,
        };
        let nat = |wanted: bool, is: Option<bool>| {
            if !wanted || state.tracked() == Some(false) {
                return Tri::No;
            }
            Tri::of_known(is, |is| is)
        };
        let found = by_state
            .or(nat(self.snat, state.snat))
            .or(nat(self.dnat, state.dnat));
        found.turned(self.invert)
    }

    pub(super) fn learn(self, state: &mut State, holds: bool) {
        if self.snat || self.dnat {
            return;
        }
        let states = if holds == self.invert {
            !self.states
        } else {
            self.states
        };
        if state.ct & states != 0 {
            state.ct &= states;
            state.ct_to_be &= states;
        }
    }
}

/// `-m conntrack` with more than states.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct CtTest {
    pub states: Option<StateTest>,
    /// Direction: wanted is the reply's.
    pub reply: Option<bool>,
    pub proto: Option<(u8, bool)>,
    /// Addresses of the tuple: which, bits, mask, inverted.
    pub addresses: Vec<(TupleEnd, u128, u128, bool)>,
    pub ports: Vec<(TupleEnd, Ports, bool)>,
    /// Wanted bits of the status as `--ctstatus` names them: EXPECTED 1, SEEN_REPLY 2, ASSURED 4,
    /// CONFIRMED 8.
    pub status: Option<(u32, bool)>,
    /// Something that cannot be told: a time until it expires, a name as an address.
    pub beyond: bool,
    pub text: Box<str>,
}

/// One end of a connection's tuples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum TupleEnd {
    OrigSrc,
    OrigDst,
    ReplSrc,
    ReplDst,
}

impl CtTest {
    pub(super) fn test(&self, state: &State, probe: &Probe) -> Tri {
        let by_state = self.states.map_or(Tri::Yes, |states| states.test(state));
        if by_state == Tri::No {
            return Tri::No;
        }
        match state.tracked() {
            // Without a connection nothing but the state is asked, and there must be such a question.
            Some(false) if self.states.is_some() => return by_state,
            Some(false) => return Tri::No,
            None => return Tri::Unknown,
            Some(true) => {}
        }
        let reply = Self::is_reply(state, probe);
        let mut all = by_state;
        if let Some(wanted) = self.reply {
            all = all.and(Tri::of_known(reply, |reply| reply == wanted));
        }
        if let Some((proto, invert)) = self.proto {
            all = all.and(Tri::of_known(state.proto, |is| (is == proto) != invert));
        }
        for (end, bits, mask, invert) in &self.addresses {
            let address = address(*end, state, probe, reply);
            all = all.and(Tri::of_known(address, |is| (is & mask == *bits) != *invert));
        }
        for (end, ports, invert) in &self.ports {
            let port = port(*end, state, probe, reply);
            all = all.and(Tri::of_known(port, |is| ports.contains(is) != *invert));
        }
        if let Some((wanted, invert)) = self.status {
            all = all.and(status(wanted, state).turned(invert));
        }
        if self.beyond {
            all.and(Tri::Unknown)
        } else {
            all
        }
    }

    fn is_reply(state: &State, probe: &Probe) -> Option<bool> {
        // The first packet sets the direction.
        (state.ct == ct::NEW)
            .then_some(false)
            .or(probe.connection.reply)
    }
}

fn address(end: TupleEnd, state: &State, probe: &Probe, reply: Option<bool>) -> Option<u128> {
    let connection = &probe.connection;
    let told = match end {
        TupleEnd::OrigSrc => connection.src,
        TupleEnd::OrigDst => connection.dst,
        _ => None,
    };
    if let Some(told) = told {
        return Some(bits_of(told));
    }
    let becomes = connection.becomes.filter(|_| reply.is_some());
    if let Some((src, dst)) = becomes.and_then(|new| new.src.zip(new.dst)) {
        // The answer comes from where the first packet goes in the end, and is for whom that then is from.
        return match (end, reply == Some(true)) {
            (TupleEnd::ReplSrc, true) => probe.src.map(bits_of),
            (TupleEnd::ReplDst, true) => probe.dst.map(bits_of),
            (TupleEnd::ReplSrc | TupleEnd::OrigDst, _) => dst.address.map(bits_of),
            (TupleEnd::ReplDst | TupleEnd::OrigSrc, _) => src.address.map(bits_of),
        };
    }
    // Of the first packet both tuples are known: it is the original one, and the answer comes from
    // where it goes, NAT included. Its source is changed last of all.
    if state.ct != ct::NEW || reply != Some(false) {
        return None;
    }
    match end {
        TupleEnd::OrigSrc => probe.src.map(bits_of),
        TupleEnd::OrigDst => probe.dst.map(bits_of),
        TupleEnd::ReplSrc => state.dst,
        TupleEnd::ReplDst => state.src,
    }
}

fn port(end: TupleEnd, state: &State, probe: &Probe, reply: Option<bool>) -> Option<u16> {
    let connection = &probe.connection;
    let told = match end {
        TupleEnd::OrigSrc => connection.sport,
        TupleEnd::OrigDst => connection.dport,
        _ => None,
    };
    if told.is_some() || state.ct != ct::NEW || reply != Some(false) {
        return told;
    }
    // What ICMP has in their place (identifier, type and code) is not asked for here.
    if state.has_ports() != Some(true) {
        return None;
    }
    match end {
        TupleEnd::OrigSrc => probe.sport,
        TupleEnd::OrigDst => probe.dport,
        TupleEnd::ReplSrc => state.dport,
        TupleEnd::ReplDst => state.sport,
    }
}

/// Whether one of the wanted bits is set.
fn status(wanted: u32, state: &State) -> Tri {
    const SEEN_REPLY: u32 = 2;
    const CONFIRMED: u32 = 8;
    let (set, clear) = match state.ct {
        // Not confirmed until it has passed all hooks, and nobody expected it.
        ct::NEW => (0, u32::MAX),
        ct::ESTABLISHED => (SEEN_REPLY | CONFIRMED, 0),
        _ => (0, 0),
    };
    if wanted & set != 0 {
        Tri::Yes
    } else if wanted & !clear == 0 {
        Tri::No
    } else {
        Tri::Unknown
    }
}
