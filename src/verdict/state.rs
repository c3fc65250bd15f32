//! The packet as the rules see it at one point of its way.
//!
//! Small, flat and copied at every fork: targets change it (marks, addresses, TTL), hooks change it (the
//! interfaces that rules may see, conntrack), and a rule that follows sees the change. Addresses are
//! numbers of 128 bits for both families; interface names are their bytes as one number, so that an
//! exact name and a `eth+` are the same masked comparison.

use std::net::IpAddr;

use super::facts::Facts;
use super::sets::Touch;
use crate::flow::IfName;
use crate::ruleset::Family;
use crate::verdict::{CtState, Path, Probe};

/// A set of conntrack states: those that the packet may be in.
pub(super) mod ct {
    pub const INVALID: u8 = 1;
    pub const NEW: u8 = 2;
    pub const RELATED: u8 = 4;
    pub const ESTABLISHED: u8 = 8;
    pub const UNTRACKED: u8 = 16;
    pub const ANY: u8 = 31;
    /// Those of a packet that has a connection.
    pub const TRACKED: u8 = NEW | RELATED | ESTABLISHED;
}

/// What NAT on the way has said about where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum To {
    /// Nothing: its way is the one that whoever asks has said, or one that needs no address.
    Said,
    /// To the destination that it has now.
    Here,
    /// To one of these addresses, both ends included.
    Among(u128, u128),
    /// Nothing that is known here.
    Anywhere,
}

impl To {
    /// Whether that is this box; `None` where it may be either. `dst` is the destination as it is now.
    pub(super) fn is_local(self, dst: Option<u128>, facts: &Facts, v6: bool) -> Option<bool> {
        match self {
            Self::Said | Self::Anywhere => None,
            Self::Here => facts.is_local(address_of(dst?, v6)),
            Self::Among(first, last) => facts.are_local(first, last, v6),
        }
    }
}

/// See the file's essay. `None` is not known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub v6: bool,
    pub path: Path,
    /// What NAT said of where it goes; it is routed by that.
    pub to: To,
    pub src: Option<u128>,
    pub dst: Option<u128>,
    /// Where the destination is not known: the first and the last that it may be, of those that NAT chose from.
    pub among: Option<(u128, u128)>,
    pub sport: Option<u16>,
    pub dport: Option<u16>,
    pub proto: Option<u8>,
    pub icmp_type: Option<u8>,
    pub icmp_code: Option<u8>,
    pub flags: Option<u8>,
    pub fragment: bool,
    pub length: Option<u32>,
    pub ttl: Option<u8>,
    pub tos: Option<u8>,
    pub mark: Option<u32>,
    /// The mark that it was last routed with.
    pub routed_mark: Option<u32>,
    pub connmark: Option<u32>,
    /// The interface that this hook shows as the incoming one; 0 is none.
    pub input: Option<u128>,
    /// The same of the outgoing one.
    pub output: Option<u128>,
    /// The box has decided where it goes.
    pub routed: bool,
    /// The interface by which it will leave.
    pub leaves_by: Option<u128>,
    /// The states of [`ct`] that it may be in, as rules see it here.
    pub ct: u8,
    /// The states that conntrack will find when its turn comes.
    pub ct_to_be: u8,
    /// Conntrack will not look at it, or has already.
    pub ct_settled: bool,
    /// Its bytes are no longer those that it was asked with.
    pub altered: bool,
    /// Its destination was changed, or was not; `None` in the middle of a connection.
    pub dnat: Option<bool>,
    /// The same of its source.
    pub snat: Option<bool>,
    /// A rule of nat has decided about the destination.
    pub dst_bound: bool,
    /// A rule of nat has decided about the source.
    pub src_bound: bool,
    /// What rules have done to sets, the latest last.
    pub touched: Vec<Touch>,
}

/// The bytes of an address as a number.
pub(super) fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of such a number.
pub(super) fn address_of(bits: u128, v6: bool) -> IpAddr {
    if v6 {
        IpAddr::V6(bits.into())
    } else {
        // A number of an IPv4 address has no more than 32 bits.
        IpAddr::V4(u32::try_from(bits).unwrap_or_default().into())
    }
}

/// The bytes of an interface name as a number; 0 is no interface.
pub(super) fn name_bits(name: &[u8]) -> Option<u128> {
    let mut bytes = [0; 16];
    // A name has at most 15 bytes; the last is the terminator, which an exact comparison looks at.
    bytes.get_mut(..name.len())?.copy_from_slice(name);
    (bytes[15] == 0).then(|| u128::from_be_bytes(bytes))
}

/// The name that has these bytes; `None` of no interface.
pub(super) fn name_of(bits: u128) -> Option<IfName> {
    let bytes = bits.to_be_bytes();
    let end = bytes.iter().position(|byte| *byte == 0)?;
    IfName::new(bytes.get(..end).filter(|name| !name.is_empty())?)
}

/// The loopback interface.
pub(super) const LO: u128 = u128::from_be_bytes(*b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0");

fn named(name: Option<IfName>) -> Option<u128> {
    name_bits(name?.as_bytes())
}

/// Neighbour and multicast listener discovery, which conntrack leaves alone
/// (`nf_conntrack_icmpv6_error`).
fn is_discovery(probe: &Probe) -> bool {
    let icmp = probe.proto == Some(crate::flow::Protocol::ICMPV6);
    icmp && matches!(probe.icmp_type, Some(130..=136 | 143))
}

impl State {
    /// The packet where it enters: at PREROUTING, or at OUTPUT.
    pub(super) fn new(probe: &Probe) -> Self {
        let to_be = match probe.ctstate {
            None if is_discovery(probe) => ct::UNTRACKED,
            None => ct::ANY & !ct::UNTRACKED,
            Some(CtState::Invalid) => ct::INVALID,
            Some(CtState::New) => ct::NEW,
            Some(CtState::Related) => ct::RELATED,
            Some(CtState::Established) => ct::ESTABLISHED,
            Some(CtState::Untracked) => ct::UNTRACKED,
        };
        let is_first = to_be == ct::NEW;
        let input = match probe.path {
            Path::Output => Some(0),
            _ => named(probe.input),
        };
        // What comes in by lo was seen by conntrack on its way out, so it is no news to it.
        let seen = input == Some(LO) && probe.path != Path::Output;
        let leaves_by = match probe.path {
            Path::Input => Some(0),
            _ => named(probe.output),
        };
        let output = match probe.path {
            Path::Output => leaves_by,
            _ => Some(0),
        };
        let connection = &probe.connection;
        let settled = connection.becomes;
        let untouched = to_be & !(ct::NEW | ct::INVALID | ct::UNTRACKED) == 0;
        let untouched = untouched.then_some(false);
        Self {
            v6: probe.family == Family::V6,
            path: probe.path,
            to: To::Said,
            src: probe.src.map(bits_of),
            dst: probe.dst.map(bits_of),
            among: None,
            sport: probe.sport,
            dport: probe.dport,
            proto: probe.proto.map(|proto| proto.0),
            icmp_type: probe.icmp_type,
            icmp_code: probe.icmp_code,
            flags: probe.tcp_flags.map(|flags| flags.0),
            fragment: probe.fragment,
            length: probe.length,
            ttl: probe.ttl,
            tos: probe.tos,
            mark: probe.mark,
            routed_mark: probe.mark,
            connmark: probe.connection.mark.or(is_first.then_some(0)),
            input,
            output,
            routed: probe.path == Path::Output,
            leaves_by,
            // Before conntrack a packet has no connection, which the matches call INVALID.
            ct: if seen { to_be } else { ct::INVALID },
            ct_to_be: to_be,
            ct_settled: seen,
            altered: false,
            dnat: settled.map_or(untouched, |new| new.dnat),
            snat: settled.map_or(untouched, |new| new.snat),
            dst_bound: settled.is_some(),
            src_bound: settled.is_some(),
            touched: Vec::new(),
        }
    }

    /// Whether the destination is in a network, as far as that is known.
    #[inline]
    pub(super) fn goes_to(&self, bits: u128, mask: u128) -> Option<bool> {
        match self.dst {
            Some(dst) => Some(dst & mask == bits),
            None => self.may_go_to(bits, mask),
        }
    }

    /// The same of one of those that NAT chose from. Apart, so that the usual test stays small enough to be inlined.
    #[cold]
    fn may_go_to(&self, bits: u128, mask: u128) -> Option<bool> {
        let (first, last) = self.among?;
        let all = if self.v6 { u128::MAX } else { u32::MAX.into() };
        let free = all & !mask;
        // Of a mask with holes no more is said than that.
        if free & free.wrapping_add(1) != 0 || bits & free != 0 {
            return None;
        }
        let (from, to) = (bits, bits | free);
        if last < from || to < first {
            Some(false)
        } else {
            (from <= first && last <= to).then_some(true)
        }
    }

    /// The destination is in a network, or is not: what is left of those that it may be.
    pub(super) fn learn_dst(&mut self, bits: u128, mask: u128, holds: bool) {
        let all = if self.v6 { u128::MAX } else { u32::MAX.into() };
        let free = all & !mask;
        if free & free.wrapping_add(1) == 0
            && bits & free == 0
            && let Some((first, last)) = self.among
        {
            let (from, to) = (bits, bits | free);
            let left = match holds {
                true => (first.max(from), last.min(to)),
                // What is taken out of the middle stays.
                false if from <= first && to < last => (first.max(to.saturating_add(1)), last),
                false if to >= last && from > first => (first, last.min(from - 1)),
                false => (first, last),
            };
            if left.0 <= left.1 {
                self.among = Some(left);
            }
            if left.0 == left.1 {
                self.dst.get_or_insert(left.0);
            }
        }
        if holds && mask == all {
            self.dst.get_or_insert(bits);
        }
    }

    /// The packet has a connection, has none, or may have one.
    pub(super) fn tracked(&self) -> Option<bool> {
        match (self.ct & ct::TRACKED != 0, self.ct & !ct::TRACKED != 0) {
            (true, false) => Some(true),
            (false, _) => Some(false),
            (true, true) => None,
        }
    }

    /// Its header begins with ports; a later fragment has none.
    pub(super) fn has_ports(&self) -> Option<bool> {
        if self.fragment {
            return Some(false);
        }
        self.proto
            .map(|proto| crate::flow::Protocol(proto).has_ports())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_numbers() {
        assert_eq!(name_bits(b""), Some(0));
        assert_eq!(name_bits(b"lo"), Some(LO));
        assert_eq!(
            name_bits(b"fifteen-letters").map(|bits| bits & 0xff),
            Some(0)
        );
        assert_eq!(name_bits(b"sixteen-letters!"), None);
        for text in ["10.0.0.1", "fe80::1"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(address_of(bits_of(address), address.is_ipv6()), address);
        }
    }
}
