//! ipsets as `ipset save` prints them, and whether a packet is in one (ipset(8)).
//!
//! Sets of addresses, networks, ports, protocols with ports, Ethernet addresses, interfaces and marks,
//! in any combination that a set type has, and lists of sets. What an entry of a kind not known here
//! would say is unknown, never "not in it".
//!
//! A rule on the packet's way may change the members before another asks for them (`touch`).
//!
//! Sources: net/netfilter/xt_set.c, net/netfilter/ipset/ip_set_core.c (`ip_set_test`), ip_set_hash_gen.h
//! (`mtype_test_cidrs`), ip_set_getport.c.

mod read;
mod touch;

use super::cond::View;
use super::state::State;
use super::tri::Tri;
use crate::ruleset::spec::matches::Side;
pub use read::read;
use touch::touched;
pub(super) use touch::{Handling, Touch, touch};

/// One set with its members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpSet {
    v6: bool,
    dimensions: Vec<Dimension>,
    /// It is a hash, not a bitmap.
    hash: bool,
    /// `netmask`, `bitmask`: what of an address is looked up.
    mask: Option<u128>,
    /// `markmask`
    mark_mask: Option<u32>,
    /// `maxelem`
    most: Option<usize>,
    /// `bucketsize`
    bucket: Option<usize>,
    entries: Vec<Entry>,
    /// An entry could not be read.
    beyond: bool,
    /// Its kind, or an option that it was made with, is not known here.
    strange: bool,
}

/// What one part of its entries is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dimension {
    Ip,
    Net,
    Port,
    Mac,
    Iface,
    Mark,
    Set,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    parts: Vec<Part>,
    nomatch: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Net {
        bits: u128,
        mask: u128,
        /// The length that it was added with, whatever the mask of the set leaves of it.
        prefix: u8,
    },
    Range {
        first: u128,
        last: u128,
    },
    Port {
        /// `None` in a bitmap.
        proto: Option<u8>,
        ports: Ports,
    },
    Mac([u8; 6]),
    Iface {
        bits: u128,
        mask: u128,
    },
    /// `physdev:eth0`
    BridgePort,
    Mark(u32),
    Set(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    From(u16, u16),
    /// Said by a name: which is not known.
    Named,
}

impl Ports {
    /// A type and a code of ICMP stand in the place of a port.
    fn one((kind, code): (u8, u8)) -> Self {
        let both = u16::from_be_bytes([kind, code]);
        Self::From(both, both)
    }
}

/// How deep lists of sets are followed; the kernel refuses a list in a list.
const DEPTH: u8 = 4;

/// What `-m set` asks.
#[derive(Clone, Debug)]
pub(super) struct SetTest {
    pub name: Vec<u8>,
    /// For each dimension, whether the destination is meant.
    pub sides: Vec<bool>,
    pub invert: bool,
    /// `--return-nomatch`: who is taken out of the set by a `nomatch` entry is asked for, and nobody else.
    pub return_nomatch: bool,
    /// Something beyond membership is asked: counters of the entry.
    pub beyond: bool,
    pub text: Box<str>,
}

/// What a lookup finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    No,
    Yes,
    /// The narrowest entry says `nomatch`.
    Nomatch,
    Unknown,
}

impl SetTest {
    pub(super) fn sides(sides: &[Side]) -> Vec<bool> {
        sides
            .iter()
            .map(|side| *side == Side::Destination)
            .collect()
    }

    pub(super) fn test(&self, state: &State, view: View<'_>) -> Tri {
        self.holds(&self.name, state, view, DEPTH)
            .turned(self.invert)
    }

    /// Whether a set says yes: the one that is asked for, or one in a list.
    fn holds(&self, name: &[u8], state: &State, view: View<'_>, depth: u8) -> Tri {
        let Some(set) = view.facts.sets.get(name) else {
            return Tri::Unknown;
        };
        let found = if let Some(found) = touched(name, set, &self.sides, state) {
            found
        } else {
            self.find(set, state, view, depth)
        };
        match found {
            Found::No => Tri::No,
            // Where its counters do not fit, another entry may be found.
            _ if self.beyond => Tri::Unknown,
            Found::Unknown => Tri::Unknown,
            // Only a set that may have such entries knows the option.
            Found::Yes => Tri::of(!(self.return_nomatch && set.may_exclude())),
            Found::Nomatch => Tri::of(self.return_nomatch),
        }
    }

    fn find(&self, set: &IpSet, state: &State, view: View<'_>, depth: u8) -> Found {
        if set.strange || depth == 0 {
            return Found::Unknown;
        }
        // A rule that names fewer sides than the set has dimensions never matches.
        if self.sides.len() < set.dimensions.len() || !set.sees(state.v6) {
            return Found::No;
        }
        let mut best: Option<((u8, u8), Found)> = None;
        let mut open = set.beyond;
        let excludes = set.entries.iter().any(|entry| entry.nomatch);
        for entry in &set.entries {
            let mut holds = Tri::Yes;
            for (part, is_dst) in entry.parts.iter().zip(&self.sides) {
                holds = holds.and(match part {
                    Part::Set(name) => self.holds(name, state, view, depth - 1),
                    part => part.holds(set, *is_dst, state, view),
                });
                if holds == Tri::No {
                    break;
                }
            }
            match holds {
                Tri::No => continue,
                Tri::Unknown => {
                    open = true;
                    continue;
                }
                Tri::Yes => {}
            }
            let own = if entry.nomatch {
                Found::Nomatch
            } else {
                Found::Yes
            };
            let Some(order) = entry.order() else {
                // How a range is cut up into networks is not looked at.
                open |= excludes;
                best = best.or(Some(((0, 0), own)));
                continue;
            };
            best = match best {
                Some((other, found)) if other > order => Some((other, found)),
                // Which of two comes first is not known.
                Some((other, found)) if other == order && found != own => {
                    Some((other, Found::Unknown))
                }
                _ => Some((order, own)),
            };
        }
        match best {
            None if open => Found::Unknown,
            None => Found::No,
            // One that cannot be told may exclude it, or include it again.
            Some(_) if open && (excludes || set.beyond && set.may_exclude()) => Found::Unknown,
            Some((_, found)) => found,
        }
    }
}

impl IpSet {
    /// The mask that it puts on addresses.
    fn own_mask(&self) -> u128 {
        let all = if self.v6 { u128::MAX } else { u32::MAX.into() };
        self.mask.unwrap_or(all)
    }

    /// Packets of that family may be in it.
    fn sees(&self, v6: bool) -> bool {
        let of_none = |kind: &Dimension| {
            matches!(kind, Dimension::Set | Dimension::Mac)
                || *kind == Dimension::Port && !self.hash
        };
        self.v6 == v6 || matches!(&self.dimensions[..], [kind] if of_none(kind))
    }

    /// Its entries may say `nomatch` (`IPSET_TYPE_NOMATCH`): those of networks.
    fn may_exclude(&self) -> bool {
        self.dimensions.contains(&Dimension::Net)
    }
}

impl Entry {
    /// The order in which the kernel looks: the longest prefix first, and of two networks those of the first.
    /// `None` of a range.
    fn order(&self) -> Option<(u8, u8)> {
        let mut prefixes = (0, 0);
        let mut is_first = true;
        for part in &self.parts {
            match part {
                Part::Net { prefix, .. } if is_first => {
                    prefixes.0 = *prefix;
                    is_first = false;
                }
                Part::Net { prefix, .. } => prefixes.1 = *prefix,
                Part::Range { .. } => return None,
                _ => {}
            }
        }
        Some(prefixes)
    }
}

impl Part {
    fn holds(&self, set: &IpSet, is_dst: bool, state: &State, view: View<'_>) -> Tri {
        let address = if is_dst { state.dst } else { state.src };
        match self {
            Self::Net { bits, mask, .. } => Tri::of_known(address, |is| is & mask == *bits),
            Self::Range { first, last } => Tri::of_known(address, |is| {
                (*first..=*last).contains(&(is & set.own_mask()))
            }),
            Self::Port { proto, ports } => {
                let by_proto = match proto {
                    Some(wanted) => Tri::of_known(state.proto, |is| is == *wanted),
                    None => Tri::of_known(state.proto, |is| matches!(is, TCP | UDP)),
                };
                by_proto.and(port(state, is_dst, *ports))
            }
            // Where to is known later than rules ask.
            Self::Mac(_) if is_dst => Tri::Unknown,
            Self::Mac(mac) => Tri::of_known(view.probe.mac, |is| is.0 == *mac),
            Self::Iface { bits, mask } => {
                let name = if is_dst { state.output } else { state.input };
                Tri::of_known(name, |is| is != 0 && is & mask == *bits)
            }
            Self::Mark(mark) => Tri::of_known(state.mark, |is| {
                is & set.mark_mask.unwrap_or(u32::MAX) == *mark
            }),
            Self::BridgePort | Self::Set(_) => Tri::Unknown,
        }
    }
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
const UDPLITE: u8 = 136;

/// What stands for the port of a packet (`get_port`): of ICMP its type and code, of what has no ports 0.
fn port(state: &State, is_dst: bool, wanted: Ports) -> Tri {
    let Some(proto) = state.proto else {
        return Tri::Unknown;
    };
    let port = match proto {
        0 if !state.v6 => return Tri::No,
        // Of a later fragment nothing is looked up that would stand in the first.
        TCP | UDP | SCTP | UDPLITE | ICMP if state.fragment => return Tri::No,
        _ if state.fragment && state.v6 => return Tri::No,
        TCP | UDP | SCTP | UDPLITE => {
            if is_dst {
                state.dport
            } else {
                state.sport
            }
        }
        ICMP | ICMPV6 if state.fragment => return Tri::Unknown,
        ICMP | ICMPV6 => state
            .icmp_type
            .zip(state.icmp_code)
            .map(|(kind, code)| u16::from_be_bytes([kind, code])),
        _ => Some(0),
    };
    match wanted {
        Ports::From(min, max) => Tri::of_known(port, |is| (min..=max).contains(&is)),
        Ports::Named => Tri::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::flow::Protocol;
    use crate::ruleset::Family;
    use crate::verdict::Facts;
    use crate::verdict::{Path, Probe};

    const SAVED: &str = "\
create bl hash:ip family inet hashsize 1024 maxelem 65536
add bl 192.0.2.1
add bl 192.0.2.2 timeout 30
create nets hash:net family inet
add nets 10.0.0.0/8
add nets 10.1.0.0/16 nomatch
create svc hash:ip,port family inet
add svc 192.0.2.1,tcp:80
create both list:set size 8
add both bl
add both nets
create six hash:net family inet6
add six fd00::/8
create bits bitmap:port range 0-1024
add bits 22
create odd hash:whatever
add odd x
";

    fn ask(set: &str, sides: &[bool], src: &str, dport: u16) -> Tri {
        let facts = Facts {
            sets: read(SAVED.as_bytes()),
            ..Facts::default()
        };
        let src: IpAddr = src.parse().unwrap();
        let family = if src.is_ipv6() {
            Family::V6
        } else {
            Family::V4
        };
        let probe = Probe {
            src: Some(src),
            proto: Some(Protocol::TCP),
            dport: Some(dport),
            ..Probe::new(family, Path::Input)
        };
        let test = SetTest {
            name: set.as_bytes().to_vec(),
            sides: sides.to_vec(),
            invert: false,
            return_nomatch: false,
            beyond: false,
            text: "".into(),
        };
        test.test(
            &State::new(&probe),
            View {
                probe: &probe,
                facts: &facts,
            },
        )
    }

    #[test]
    fn members_are_found() {
        let src = [false];
        for (set, sides, address, port, expected) in [
            ("bl", &src[..], "192.0.2.1", 1, Tri::Yes),
            ("bl", &src[..], "192.0.2.2", 1, Tri::Yes),
            ("bl", &src[..], "192.0.2.3", 1, Tri::No),
            ("nets", &src[..], "10.2.3.4", 1, Tri::Yes),
            ("nets", &src[..], "10.1.3.4", 1, Tri::No),
            ("svc", &[false, true][..], "192.0.2.1", 80, Tri::Yes),
            ("svc", &[false, true][..], "192.0.2.1", 81, Tri::No),
            ("both", &src[..], "10.2.3.4", 1, Tri::Yes),
            ("both", &src[..], "11.2.3.4", 1, Tri::No),
            ("six", &src[..], "fd12::1", 1, Tri::Yes),
            ("six", &src[..], "10.0.0.1", 1, Tri::No),
            ("bits", &[true][..], "10.0.0.1", 22, Tri::Yes),
            ("odd", &src[..], "10.0.0.1", 22, Tri::Unknown),
            ("none", &src[..], "10.0.0.1", 22, Tri::Unknown),
        ] {
            assert_eq!(
                ask(set, sides, address, port),
                expected,
                "{set} {address} {port}"
            );
        }
    }

    /// What the packet from 192.0.2.1 to TCP 80 is said to be of a set.
    fn of(saved: &str, sides: &[bool], change: impl FnOnce(&mut Probe)) -> Tri {
        let facts = Facts {
            sets: read(saved.as_bytes()),
            ..Facts::default()
        };
        let mut probe = Probe {
            src: Some("192.0.2.1".parse().unwrap()),
            dst: Some("10.1.2.3".parse().unwrap()),
            proto: Some(Protocol::TCP),
            dport: Some(80),
            mark: Some(0x1234),
            input: crate::flow::IfName::new(b"eth0"),
            ..Probe::new(Family::V4, Path::Input)
        };
        change(&mut probe);
        let test = SetTest {
            name: b"s".to_vec(),
            sides: sides.to_vec(),
            invert: false,
            return_nomatch: false,
            beyond: false,
            text: "".into(),
        };
        let view = View {
            probe: &probe,
            facts: &facts,
        };
        test.test(&State::new(&probe), view)
    }

    #[test]
    fn the_longest_prefix_decides_that_of_the_first_network_first() {
        let both = [false, true];
        for (members, expected) in [
            (
                "add s 192.0.0.0/8,10.1.2.0/24 nomatch\nadd s 192.0.0.0/16,10.0.0.0/8",
                Tri::Yes,
            ),
            (
                "add s 192.0.0.0/8,10.1.2.0/24\nadd s 192.0.0.0/16,10.0.0.0/8 nomatch",
                Tri::No,
            ),
            (
                "add s 192.0.0.0/16,10.0.0.0/8\nadd s 192.0.0.0/16,10.1.0.0/16 nomatch",
                Tri::No,
            ),
            // How the kernel cuts up a range is not looked at.
            (
                "add s 192.0.0.0-192.0.9.0,10.0.0.0/8 nomatch\nadd s 192.0.0.0/16,10.0.0.0/8",
                Tri::Unknown,
            ),
            ("add s 192.0.0.0/16,10.0.0.0/8\nadd s huh", Tri::Unknown),
        ] {
            let saved = format!("create s hash:net,net family inet\n{members}\n");
            assert_eq!(of(&saved, &both, |_| {}), expected, "{members}");
        }
        // The mask of a set is not the length of a network.
        let masked = "create s hash:net,net family inet bitmask 255.255.0.0\n\
            add s 192.0.2.0/24,10.1.2.0/28\nadd s 192.0.2.0/23,10.1.2.0/28 nomatch";
        assert_eq!(of(masked, &both, |_| {}), Tri::Yes);
    }

    #[test]
    fn every_kind_of_part_is_looked_up_as_the_kernel_does() {
        let proto = |number| move |probe: &mut Probe| probe.proto = Some(Protocol(number));
        let yes = Tri::Yes;
        for (saved, expected) in [
            (
                "create s hash:ip,mark markmask 0xff\nadd s 192.0.2.1,0x34",
                yes,
            ),
            ("create s hash:ip,mark\nadd s 192.0.2.1,0x34", Tri::No),
            (
                "create s hash:net,iface\nadd s 192.0.2.0/24,physdev:eth0",
                Tri::Unknown,
            ),
            (
                "create s hash:net,iface\nadd s 192.0.3.0/24,physdev:eth0",
                Tri::No,
            ),
            (
                "create s hash:ip,mac\nadd s 192.0.2.1,00:11:22:33:44:55",
                Tri::Unknown,
            ),
            (
                "create s hash:ip frobnicate 3\nadd s 192.0.2.1",
                Tri::Unknown,
            ),
            (
                "create s hash:ip comment skbinfo counters forceadd timeout 9\nadd s 192.0.2.1 timeout 3",
                yes,
            ),
            ("create s hash:ip\nadd s 192.0.2.0-192.0.2.9", yes),
            ("create s hash:ip netmask 33\nadd s 192.0.2.1", Tri::Unknown),
        ] {
            assert_eq!(of(saved, &[false, false], |_| {}), expected, "{saved}");
        }
        let mac = "create s hash:mac\nadd s 00:11:22:33:44:55";
        let from = |probe: &mut Probe| {
            probe.mac = Some(crate::flow::Mac([0, 0x11, 0x22, 0x33, 0x44, 0x55]));
        };
        assert_eq!(of(mac, &[false], from), yes);
        assert_eq!(of(mac, &[true], from), Tri::Unknown, "whom it is sent to");
        let both = [false, true];
        let gre = "create s hash:ip,port\nadd s 192.0.2.1,gre:0";
        assert_eq!(of(gre, &both, proto(47)), yes);
        assert_eq!(of(gre, &both, |_| {}), Tri::No);
        let ping =
            "create s hash:ip,port\nadd s 192.0.2.1,icmp:8/0\nadd s 192.0.2.1,icmp:echo-reply";
        let echo = |kind| {
            move |probe: &mut Probe| {
                probe.proto = Some(Protocol::ICMP);
                (probe.icmp_type, probe.icmp_code) = (Some(kind), Some(0));
            }
        };
        assert_eq!(of(ping, &both, echo(8)), yes);
        assert_eq!(of(ping, &both, echo(0)), Tri::Unknown);
        assert_eq!(of(ping, &both, |_| {}), Tri::No);
        // A bitmap knows the ports of TCP and UDP only.
        let ports = "create s bitmap:port range 0-1024\nadd s 80";
        assert_eq!(of(ports, &[true], |_| {}), yes);
        assert_eq!(of(ports, &[true], proto(132)), Tri::No);
    }
}
