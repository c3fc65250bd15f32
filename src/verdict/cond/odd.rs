//! The rare conditions, boxed: what looks at bytes, clocks, sets and sockets, and what nobody can know.

use super::{AddrtypeTest, CtTest, PhysdevTest, RpfilterTest, View};
use crate::ruleset::spec::matches::U32;
use crate::verdict::Path;
use crate::verdict::bytes::{Pattern, u32_holds};
use crate::verdict::clock::TimeTest;
use crate::verdict::sets::SetTest;
use crate::verdict::state::State;
use crate::verdict::tri::Tri;

/// See [`Cond::Odd`](super::Cond::Odd).
#[derive(Clone, Debug)]
pub(in super::super) enum Odd {
    Ct(CtTest),
    Addrtype(AddrtypeTest),
    Physdev(PhysdevTest),
    Rpfilter(RpfilterTest),
    /// One of several networks; `unknown` when one of the list is a name.
    AnyNet {
        dst: bool,
        nets: Vec<(u128, u128)>,
        unknown: bool,
        invert: bool,
        text: Box<str>,
    },
    Set(SetTest),
    Time(TimeTest),
    Bytes(BytesTest),
    Owner(OwnerTest),
    /// `! --sport` and `! --dport` of one port each. iptables-nft writes both as one comparison of four bytes
    /// (`add_nft_tcpudp`, iptables 1.8.8 and later), which is unequal already when one of them is; its text
    /// says that both have to be. Which of the two the kernel holds, the text cannot tell.
    NotBoth {
        sport: u16,
        dport: u16,
    },
    /// Whether a rule of a native chain does a thing.
    Native(NativeTest),
    /// Nothing here can tell; the reason, after the match's name.
    Unknown {
        what: Box<str>,
        why: &'static str,
    },
}

/// A test of bytes that the packet may have been given with.
#[derive(Clone, Debug)]
pub(in super::super) struct BytesTest {
    pub test: Bytes,
    pub invert: bool,
    pub text: Box<str>,
}

/// What is looked for.
#[derive(Clone, Debug)]
pub(in super::super) enum Bytes {
    String(Pattern),
    U32(U32),
}

/// `-m owner`: which of its questions are inverted. Whose socket it was is never known here.
#[derive(Clone, Debug)]
pub(in super::super) struct OwnerTest {
    pub all_inverted: bool,
    pub text: Box<str>,
}

/// What a rule of a native chain may do; the words are of somebody else's names.
#[derive(Clone, Debug)]
pub(in super::super) struct NativeTest {
    /// `the native chain inet t in`
    pub whose: Box<str>,
    /// `rule 3 matches`: no other question about that chain has these words.
    pub what: Box<str>,
    pub why: &'static str,
    /// Nothing is known of any rule of the chain, so that what one of them does is no news.
    pub unread: bool,
}

impl Odd {
    pub(super) fn test(&self, state: &State, view: View<'_>) -> Tri {
        match self {
            Self::Ct(test) => test.test(state, view.probe),
            Self::Addrtype(test) => test.test(state, view),
            Self::Physdev(test) => test.test(state),
            Self::Rpfilter(test) => test.test(state, view),
            Self::AnyNet {
                dst,
                nets,
                unknown,
                invert,
                ..
            } => {
                let address = if *dst { state.dst } else { state.src };
                let found = Tri::of_known(address, |address| {
                    nets.iter().any(|(bits, mask)| address & mask == *bits)
                });
                let found = if *unknown {
                    found.or(Tri::Unknown)
                } else {
                    found
                };
                found.turned(*invert)
            }
            Self::Set(test) => test.test(state, view),
            Self::NotBoth { sport, dport } => {
                if state.fragment {
                    return Tri::Unknown;
                }
                let differs = |is: Option<u16>, not: u16| is.map(|is| is != not);
                match (differs(state.sport, *sport), differs(state.dport, *dport)) {
                    (Some(true), Some(true)) => Tri::Yes,
                    (Some(false), Some(false)) => Tri::No,
                    _ => Tri::Unknown,
                }
            }
            Self::Time(test) => view
                .facts
                .now
                .map_or(Tri::Unknown, |now| Tri::of(test.holds(now))),
            Self::Bytes(test) => test.test(state, view),
            // A packet that only passes through has no socket: every question fails, so that only
            // inverted ones hold (owner_mt).
            Self::Owner(test) if state.path != Path::Output => Tri::of(test.all_inverted),
            Self::Owner(_) | Self::Native(_) | Self::Unknown { .. } => Tri::Unknown,
        }
    }
}

impl BytesTest {
    /// A string is looked for in the payload, which no target here changes; u32 may read what one did.
    fn test(&self, state: &State, view: View<'_>) -> Tri {
        let Some(bytes) = &view.probe.bytes else {
            return Tri::Unknown;
        };
        match &self.test {
            Bytes::String(pattern) => Tri::of(pattern.is_in(bytes) != self.invert),
            Bytes::U32(_) if state.altered => Tri::Unknown,
            Bytes::U32(test) => Tri::of(u32_holds(test, bytes) != self.invert),
        }
    }
}

/// A statistic that is certain: every packet, or none.
pub(in super::super) fn certain_chance(
    mode: crate::ruleset::spec::matches::StatisticMode,
) -> Option<bool> {
    use crate::ruleset::spec::matches::StatisticMode;
    match mode {
        StatisticMode::Random(0) => Some(false),
        StatisticMode::Random(chance) if chance >= 1 << 31 => Some(true),
        StatisticMode::Nth { every: 0 | 1, .. } => Some(true),
        _ => None,
    }
}
