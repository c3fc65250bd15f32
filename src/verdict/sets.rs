//! ipsets as `ipset save` prints them, and whether a packet is in one (ipset(8)).
//!
//! Sets of addresses, networks, ports, protocols with ports, Ethernet addresses, interfaces and marks,
//! in any combination that a set type has, and lists of sets. What an entry of a kind not known here
//! would say is unknown, never "not in it".

use std::collections::HashMap;
use std::net::IpAddr;

use super::cond::View;
use super::state::{State, bits_of, name_bits};
use super::tri::Tri;
use crate::flow::Protocol;
use crate::ruleset::spec::matches::Side;

/// One set with its members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpSet {
    v6: bool,
    entries: Vec<Entry>,
    /// An entry could not be read.
    beyond: bool,
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
    },
    Range {
        first: u128,
        last: u128,
    },
    Port {
        proto: Option<u8>,
        min: u16,
        max: u16,
    },
    Mac([u8; 6]),
    Iface(u128),
    Mark(u32),
    Set(Vec<u8>),
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
    /// Something beyond membership is asked: counters of the entry.
    pub beyond: bool,
    pub text: Box<str>,
}

impl SetTest {
    pub(super) fn sides(sides: &[Side]) -> Vec<bool> {
        sides
            .iter()
            .map(|side| *side == Side::Destination)
            .collect()
    }

    pub(super) fn test(&self, state: &State, view: View<'_>) -> Tri {
        let Some(set) = view.facts.sets.get(&self.name) else {
            return Tri::Unknown;
        };
        let found = set.holds(&self.sides, state, view, DEPTH);
        let found = if self.beyond {
            found.and(Tri::Unknown)
        } else {
            found
        };
        found.turned(self.invert)
    }
}

/// Reads what `ipset save` prints: the sets by name. Lines that say nothing of members are passed by.
pub fn read(text: &[u8]) -> HashMap<Vec<u8>, IpSet> {
    let mut sets: HashMap<Vec<u8>, IpSet> = HashMap::new();
    let mut kinds: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        match (words.next(), words.next(), words.next()) {
            (Some(b"create"), Some(name), Some(kind)) => {
                let v6 = words.any(|word| word == b"inet6");
                sets.insert(
                    name.to_vec(),
                    IpSet {
                        v6,
                        ..IpSet::default()
                    },
                );
                kinds.insert(name.to_vec(), kind.to_vec());
            }
            (Some(b"add"), Some(name), Some(member)) => {
                let (Some(set), Some(kind)) = (sets.get_mut(name), kinds.get(name)) else {
                    continue;
                };
                let nomatch = words.any(|word| word == b"nomatch");
                match entry(kind, member, set.v6) {
                    Some(parts) => set.entries.push(Entry { parts, nomatch }),
                    None => set.beyond = true,
                }
            }
            _ => {}
        }
    }
    sets
}

fn entry(kind: &[u8], member: &[u8], v6: bool) -> Option<Vec<Part>> {
    let kind = std::str::from_utf8(kind).ok()?;
    let (_, dimensions) = kind.split_once(':')?;
    let dimensions: Vec<&str> = dimensions.split(',').collect();
    let parts: Vec<&[u8]> = member.split(|byte| *byte == b',').collect();
    if parts.len() != dimensions.len() {
        return None;
    }
    dimensions
        .iter()
        .zip(parts)
        .map(|(kind, text)| part(kind, text, v6))
        .collect()
}

fn part(kind: &str, text: &[u8], v6: bool) -> Option<Part> {
    if kind == "set" {
        return Some(Part::Set(text.to_vec()));
    }
    let text = std::str::from_utf8(text).ok()?;
    match kind {
        "ip" | "net" => net(text, v6),
        "port" => port(text),
        "mac" => {
            let mut mac = [0; 6];
            let mut octets = text.split(':');
            for octet in &mut mac {
                *octet = u8::from_str_radix(octets.next()?, 16).ok()?;
            }
            octets.next().is_none().then_some(Part::Mac(mac))
        }
        "iface" => name_bits(text.as_bytes()).map(Part::Iface),
        "mark" => {
            let digits = text.strip_prefix("0x");
            let mark =
                digits.map_or_else(|| text.parse().ok(), |d| u32::from_str_radix(d, 16).ok());
            mark.map(Part::Mark)
        }
        _ => None,
    }
}

fn net(text: &str, v6: bool) -> Option<Part> {
    let address = |text: &str| {
        let address: IpAddr = text.parse().ok()?;
        (address.is_ipv6() == v6).then(|| bits_of(address))
    };
    if let Some((first, last)) = text.split_once('-') {
        return Some(Part::Range {
            first: address(first)?,
            last: address(last)?,
        });
    }
    let width: u32 = if v6 { 128 } else { 32 };
    let (text, prefix) = match text.split_once('/') {
        Some((text, prefix)) => (text, prefix.parse().ok().filter(|p| *p <= width)?),
        None => (text, width),
    };
    let all = if v6 { u128::MAX } else { u32::MAX.into() };
    let mask = all & u128::MAX.checked_shl(width - prefix).unwrap_or(0);
    Some(Part::Net {
        bits: address(text)? & mask,
        mask,
    })
}

fn port(text: &str) -> Option<Part> {
    let (proto, ports) = match text.split_once(':') {
        Some((proto, ports)) => (Some(Protocol::parse(proto.as_bytes())?.0), ports),
        None => (None, text),
    };
    let (min, max) = ports.split_once('-').unwrap_or((ports, ports));
    let (min, max) = (min.parse().ok()?, max.parse().ok()?);
    Some(Part::Port { proto, min, max })
}

impl IpSet {
    fn holds(&self, sides: &[bool], state: &State, view: View<'_>, depth: u8) -> Tri {
        if depth == 0 {
            return Tri::Unknown;
        }
        // The narrowest entry decides: a `nomatch` in it takes the packet out.
        let mut found = Tri::No;
        let mut narrowest = 0;
        for entry in &self.entries {
            let (holds, width) = entry.holds(self.v6, sides, state, view, depth);
            match holds {
                Tri::Unknown => return Tri::Unknown,
                Tri::Yes if width >= narrowest => {
                    narrowest = width;
                    found = Tri::of(!entry.nomatch);
                }
                _ => {}
            }
        }
        if self.beyond {
            found.or(Tri::Unknown)
        } else {
            found
        }
    }
}

impl Entry {
    /// Whether the packet is in it, and how many bits of address it fixes.
    fn holds(
        &self,
        v6: bool,
        sides: &[bool],
        state: &State,
        view: View<'_>,
        depth: u8,
    ) -> (Tri, u32) {
        let mut all = Tri::Yes;
        let mut width = 0;
        for (at, part) in self.parts.iter().enumerate() {
            if let Part::Set(name) = part {
                let inner = view.facts.sets.get(name);
                let holds =
                    inner.map_or(Tri::Unknown, |set| set.holds(sides, state, view, depth - 1));
                all = all.and(holds);
                continue;
            }
            // A rule that names fewer sides than the set has dimensions never matches.
            let Some(is_dst) = sides.get(at) else {
                return (Tri::No, 0);
            };
            all = all.and(part.holds(v6, *is_dst, state, view));
            if let Part::Net { mask, .. } = part {
                width += mask.count_ones();
            }
        }
        (all, width)
    }
}

impl Part {
    fn holds(&self, v6: bool, is_dst: bool, state: &State, view: View<'_>) -> Tri {
        let address = if is_dst { state.dst } else { state.src };
        match self {
            Self::Net { .. } | Self::Range { .. } if v6 != state.v6 => Tri::No,
            Self::Net { bits, mask } => Tri::of_known(address, |is| is & mask == *bits),
            Self::Range { first, last } => {
                Tri::of_known(address, |is| (*first..=*last).contains(&is))
            }
            Self::Port { proto, min, max } => {
                let port = if is_dst { state.dport } else { state.sport };
                let by_proto = proto.map_or(Tri::Yes, |wanted| {
                    Tri::of_known(state.proto, |is| is == wanted)
                });
                let has = state.has_ports().map_or(Tri::Unknown, Tri::of);
                by_proto
                    .and(has)
                    .and(Tri::of_known(port, |is| (*min..=*max).contains(&is)))
            }
            Self::Mac(mac) => Tri::of_known(view.probe.mac, |is| is.0 == *mac),
            Self::Iface(bits) => {
                let name = if is_dst { state.output } else { state.input };
                Tri::of_known(name, |is| is == *bits)
            }
            Self::Mark(mark) => Tri::of_known(state.mark, |is| is == *mark),
            Self::Set(_) => Tri::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
