//! Conditions: what a rule asks of a packet, compiled.
//!
//! A rule is a run of these in the order of its text. The common ones are a comparison of two numbers
//! and stand in the array itself; the rare ones ([`Odd`]) are boxed. Testing allocates nothing and says
//! yes, no or unknown; the words for why ([`std::fmt::Display`]) are made only when somebody reads them.
//!
//! What each of them holds is the kernel's own function: net/ipv4/netfilter/ip_tables.c
//! (`ip_packet_match`), net/ipv6/netfilter/ip6_tables.c, net/netfilter/xt_*.c. Two habits of those recur
//! here: a match that reads the transport header never matches a later fragment, inverted or not; and a
//! `!` turns round the single comparison, not the match.

mod conn;
mod link;
mod odd;
mod show;

pub(super) use conn::{CtTest, StateTest, TupleEnd};
pub(super) use link::{AddrtypeTest, PhysdevTest, RpfilterTest};
pub(super) use odd::{Bytes, BytesTest, NativeTest, Odd, OwnerTest, certain_chance};

use super::facts::Facts;
use super::state::State;
use super::tri::Tri;
use crate::ruleset::spec::matches::{Hops, Multiport};
use crate::ruleset::spec::{Bounds, Ports};
use crate::verdict::{LinkType, Probe};

/// Which end of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Src,
    Dst,
}

/// One thing that must hold for a rule to match.
#[derive(Clone, Debug)]
pub(super) enum Cond {
    /// Nothing can meet it.
    Never(&'static str),
    /// The protocol.
    Proto { number: u8, invert: bool },
    /// An address has the bits `bits` under `mask`.
    Net {
        end: End,
        bits: u128,
        mask: u128,
        invert: bool,
    },
    /// An address is in a range.
    Range {
        end: End,
        first: u128,
        last: u128,
        invert: bool,
    },
    /// An interface name has the bits `bits` under `mask`.
    Iface {
        out: bool,
        bits: u128,
        mask: u128,
        invert: bool,
    },
    /// It is a later fragment.
    Fragment { invert: bool },
    /// It is of that protocol, and the header is there to be read.
    Header(u8),
    /// A port.
    Port {
        end: End,
        ports: Ports,
        invert: bool,
    },
    /// Several ports.
    Ports(Box<Multiport>),
    /// TCP flags under a mask.
    Flags { mask: u8, set: u8, invert: bool },
    /// ICMP type and code; `None` is any.
    Icmp {
        kind: Option<u8>,
        code: Option<u8>,
        invert: bool,
    },
    /// The state of the connection.
    State(StateTest),
    /// fwmark.
    Mark { value: u32, mask: u32, invert: bool },
    /// The connection's mark.
    Connmark { value: u32, mask: u32, invert: bool },
    /// Length of the packet.
    Length { bounds: Bounds<u16>, invert: bool },
    /// TTL or hop limit.
    Hops { test: Hops, invert: bool },
    /// The type-of-service byte under a mask; also DSCP and ECN.
    Tos { value: u8, mask: u8, invert: bool },
    /// The sender's Ethernet address.
    Mac { mac: [u8; 6], invert: bool },
    /// How the link layer addressed it.
    Link { kind: LinkType, invert: bool },
    /// A rare one.
    Odd(Box<Odd>),
}

/// What a test may look at beside the packet on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub probe: &'a Probe,
    pub facts: &'a Facts,
}

impl Cond {
    /// Whether the packet meets it.
    #[inline]
    pub(super) fn test(&self, state: &State, view: View<'_>) -> Tri {
        match self {
            Self::Proto { number, invert } => {
                Tri::of_known(state.proto, |proto| (proto == *number) != *invert)
            }
            Self::Net {
                end,
                bits,
                mask,
                invert,
            } => {
                if *mask == 0 {
                    return Tri::of(!*invert);
                }
                let within = match end {
                    End::Src => state.src.map(|src| src & mask == *bits),
                    End::Dst => state.goes_to(*bits, *mask),
                };
                Tri::of_known(within, |within| within != *invert)
            }
            Self::Iface {
                out,
                bits,
                mask,
                invert,
            } => {
                let name = if *out { state.output } else { state.input };
                if *mask == 0 {
                    return Tri::of(!*invert);
                }
                Tri::of_known(name, |name| (name & mask == *bits) != *invert)
            }
            Self::Port { end, ports, invert } => port(state, *end, *ports, *invert),
            Self::Header(number) => {
                if state.fragment {
                    return Tri::No;
                }
                Tri::of_known(state.proto, |proto| proto == *number)
            }
            Self::State(test) => test.test(state),
            _ => self.test_more(state, view),
        }
    }

    fn test_more(&self, state: &State, view: View<'_>) -> Tri {
        match self {
            Self::Never(_) => Tri::No,
            Self::Range {
                end,
                first,
                last,
                invert,
            } => {
                let address = match end {
                    End::Src => state.src,
                    End::Dst => state.dst,
                };
                let within = |address| (*first <= address && address <= *last) != *invert;
                Tri::of_known(address, within)
            }
            Self::Fragment { invert } => Tri::of(state.fragment != *invert),
            Self::Ports(test) => ports(state, test),
            Self::Flags { mask, set, invert } => {
                if state.fragment {
                    return Tri::Unknown;
                }
                Tri::of_known(state.flags, |flags| (flags & mask == *set) != *invert)
            }
            Self::Icmp { kind, code, invert } => icmp(state, *kind, *code).turned(*invert),
            Self::Mark {
                value,
                mask,
                invert,
            } => masked(state.mark, *value, *mask).turned(*invert),
            Self::Connmark {
                value,
                mask,
                invert,
            } => match state.tracked() {
                // Without a connection there is no mark to compare, inverted or not.
                Some(false) => Tri::No,
                Some(true) => masked(state.connmark, *value, *mask).turned(*invert),
                None => Tri::Unknown,
            },
            Self::Length { bounds, invert } => Tri::of_known(state.length, |length| {
                let within = u32::from(bounds.min) <= length && length <= u32::from(bounds.max);
                within != *invert
            }),
            Self::Hops { test, invert } => {
                Tri::of_known(state.ttl, |ttl| test.holds(ttl) != *invert)
            }
            Self::Tos {
                value,
                mask,
                invert,
            } => Tri::of_known(state.tos, |tos| (tos & mask == *value) != *invert),
            Self::Mac { mac, invert } => {
                Tri::of_known(view.probe.mac, |from| (from.0 == *mac) != *invert)
            }
            Self::Link { kind, invert } => link::link_type(state, view)
                .map_or(Tri::Unknown, |link| Tri::of((link == *kind) != *invert)),
            Self::Odd(odd) => odd.test(state, view),
            // Answered by the caller.
            _ => Tri::Unknown,
        }
    }

    /// What a packet of which this holds (or does not) is then known to be. Only what a single value
    /// says is learnt.
    pub(super) fn learn(&self, state: &mut State, holds: bool) {
        match self {
            Self::Proto { number, invert } if holds != *invert => {
                state.proto.get_or_insert(*number);
            }
            Self::Header(number) if holds => {
                state.proto.get_or_insert(*number);
            }
            Self::State(test) => test.learn(state, holds),
            Self::Net {
                end: End::Dst,
                bits,
                mask,
                invert,
            } => state.learn_dst(*bits, *mask, holds != *invert),
            Self::Net {
                end: End::Src,
                bits,
                mask,
                invert,
            } if holds != *invert => {
                let all = if state.v6 { u128::MAX } else { u32::MAX.into() };
                if *mask == all {
                    state.src.get_or_insert(*bits);
                }
            }
            Self::Iface {
                out,
                bits,
                mask,
                invert,
            } if holds != *invert && *mask == u128::MAX => {
                if *out {
                    state.output.get_or_insert(*bits);
                    state.leaves_by.get_or_insert(*bits);
                } else {
                    state.input.get_or_insert(*bits);
                }
            }
            Self::Port { end, ports, invert } if holds != *invert && ports.min == ports.max => {
                match end {
                    End::Src => state.sport.get_or_insert(ports.min),
                    End::Dst => state.dport.get_or_insert(ports.min),
                };
            }
            _ => {}
        }
    }
}

fn masked(value: Option<u32>, wanted: u32, mask: u32) -> Tri {
    if mask == 0 {
        return Tri::of(wanted == 0);
    }
    Tri::of_known(value, |value| value & mask == wanted)
}

fn port(state: &State, end: End, ports: Ports, invert: bool) -> Tri {
    // Only a rule that does not ask for the header first comes here with a later fragment: it compares
    // whatever bytes stand there.
    if state.fragment {
        return Tri::Unknown;
    }
    if ports.min == 0 && ports.max == u16::MAX {
        return Tri::of(!invert);
    }
    let port = match end {
        End::Src => state.sport,
        End::Dst => state.dport,
    };
    Tri::of_known(port, |port| ports.contains(port) != invert)
}

fn ports(state: &State, test: &Multiport) -> Tri {
    use crate::ruleset::spec::matches::PortSide;
    match state.has_ports() {
        Some(true) => {}
        Some(false) => return Tri::No,
        None => return Tri::Unknown,
    }
    let one = |port: Option<u16>| {
        Tri::of_known(port, |port| {
            test.ports.value.iter().any(|ports| ports.contains(port))
        })
    };
    let found = match test.side {
        PortSide::Source => one(state.sport),
        PortSide::Destination => one(state.dport),
        PortSide::Either => one(state.sport).or(one(state.dport)),
    };
    found.turned(test.ports.invert)
}

fn icmp(state: &State, kind: Option<u8>, code: Option<u8>) -> Tri {
    let Some(kind) = kind else {
        return Tri::Yes;
    };
    let kind = Tri::of_known(state.icmp_type, |is| is == kind);
    let code = code.map_or(Tri::Yes, |code| {
        Tri::of_known(state.icmp_code, |is| is == code)
    });
    kind.and(code)
}
