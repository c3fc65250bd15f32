//! What `ipset save` prints, read.
//!
//! An entry of a kind that is not known here is remembered as one that cannot be told, and so is a set that was
//! made with an option that is not known here: either may make anything of a packet.
//!
//! Sources: ipset(8); net/netfilter/ipset/ip_set_hash_*.c and ip_set_bitmap_*.c for what an option does.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use super::{Dimension, Entry, IpSet, Part, Ports};
use crate::flow::Protocol;
use crate::verdict::state::{bits_of, name_bits};

/// Options of `create` that have one value and do not change who is in a set.
const PLAIN: &[&[u8]] = &[b"hashsize", b"timeout", b"initval", b"range", b"size"];

/// Options of `create` without a value that do not either.
const FLAGS: &[&[u8]] = &[b"counters", b"comment", b"skbinfo", b"forceadd"];

/// Reads what `ipset save` prints: the sets by name. Lines that say nothing of members are passed by.
pub fn read(text: &[u8]) -> HashMap<Vec<u8>, IpSet> {
    let mut sets: HashMap<Vec<u8>, IpSet> = HashMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let line = without_comment(line);
        let mut words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        match (words.next(), words.next(), words.next()) {
            (Some(b"create"), Some(name), Some(kind)) => {
                sets.insert(name.to_vec(), create(kind, &mut words));
            }
            (Some(b"add"), Some(name), Some(member)) => {
                let Some(set) = sets.get_mut(name) else {
                    continue;
                };
                let options: Vec<&[u8]> = words.collect();
                let has = |wanted: &[u8]| options.contains(&wanted);
                match entry(set, member, has(b"wildcard")) {
                    Some(parts) => set.entries.push(Entry {
                        parts,
                        nomatch: has(b"nomatch"),
                    }),
                    None => set.beyond = true,
                }
            }
            _ => {}
        }
    }
    sets
}

/// A comment stands in double quotes, cannot hold any, and may hold every other word.
fn without_comment(line: &[u8]) -> Cow<'_, [u8]> {
    if !line.contains(&b'"') {
        return Cow::Borrowed(line);
    }
    let outside = line.split(|byte| *byte == b'"').step_by(2);
    Cow::Owned(outside.collect::<Vec<_>>().concat())
}

fn create<'a>(kind: &[u8], options: &mut impl Iterator<Item = &'a [u8]>) -> IpSet {
    let mut set = IpSet {
        // Without them nobody can say who is in it.
        strange: true,
        ..IpSet::default()
    };
    let kind = kind.split(|byte| *byte == b':').collect::<Vec<_>>();
    let [method, dimensions] = kind[..] else {
        return set;
    };
    let dimensions: Option<Vec<Dimension>> = dimensions
        .split(|byte| *byte == b',')
        .map(Dimension::named)
        .collect();
    let Some(dimensions) = dimensions else {
        return set;
    };
    set.dimensions = dimensions;
    set.hash = method == b"hash";
    set.strange = false;
    // The masks are of the family, which stands before them.
    while let Some(option) = options.next() {
        if FLAGS.contains(&option) {
            continue;
        }
        let value = options.next().unwrap_or_default();
        let text = std::str::from_utf8(value).unwrap_or_default();
        let number = || text.parse::<usize>().ok();
        match option {
            b"family" => set.v6 = value == b"inet6",
            b"maxelem" => set.most = number(),
            b"bucketsize" => set.bucket = number(),
            b"netmask" | b"bitmask" => match mask(text, set.v6) {
                Some(mask) => set.mask = Some(mask),
                None => set.strange = true,
            },
            b"markmask" => match mark(text) {
                Some(mask) => set.mark_mask = Some(mask),
                None => set.strange = true,
            },
            _ => set.strange |= !PLAIN.contains(&option),
        }
    }
    set
}

impl Dimension {
    fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"ip" => Self::Ip,
            b"net" => Self::Net,
            b"port" => Self::Port,
            b"mac" => Self::Mac,
            b"iface" => Self::Iface,
            b"mark" => Self::Mark,
            b"set" => Self::Set,
            _ => return None,
        })
    }
}

/// `24`, or `255.255.0.255`.
fn mask(text: &str, v6: bool) -> Option<u128> {
    match text.parse::<u32>() {
        Ok(prefix) => prefix_mask(prefix, v6),
        Err(_) => address(text, v6),
    }
}

/// The mask of a prefix.
fn prefix_mask(prefix: u32, v6: bool) -> Option<u128> {
    let width: u32 = if v6 { 128 } else { 32 };
    let all = if v6 { u128::MAX } else { u32::MAX.into() };
    let free = width.checked_sub(prefix)?;
    Some(all & u128::MAX.checked_shl(free).unwrap_or(0))
}

fn address(text: &str, v6: bool) -> Option<u128> {
    let address: IpAddr = text.parse().ok()?;
    (address.is_ipv6() == v6).then(|| bits_of(address))
}

fn mark(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn entry(set: &IpSet, member: &[u8], wildcard: bool) -> Option<Vec<Part>> {
    let parts: Vec<&[u8]> = member.split(|byte| *byte == b',').collect();
    if parts.len() != set.dimensions.len() {
        return None;
    }
    set.dimensions
        .iter()
        .zip(parts)
        .map(|(kind, text)| part(set, *kind, text, wildcard))
        .collect()
}

fn part(set: &IpSet, kind: Dimension, text: &[u8], wildcard: bool) -> Option<Part> {
    if kind == Dimension::Set {
        return Some(Part::Set(text.to_vec()));
    }
    let text = std::str::from_utf8(text).ok()?;
    match kind {
        Dimension::Ip | Dimension::Net => net(set, text),
        Dimension::Port => port(text, set.hash),
        Dimension::Mac => {
            let mut mac = [0; 6];
            let mut octets = text.split(':');
            for octet in &mut mac {
                *octet = u8::from_str_radix(octets.next()?, 16).ok()?;
            }
            octets.next().is_none().then_some(Part::Mac(mac))
        }
        Dimension::Iface => match text.strip_prefix("physdev:") {
            Some(_) => Some(Part::BridgePort),
            None => {
                let free = u32::try_from(text.len().checked_mul(8)?).ok()?;
                let start = u128::MAX.checked_shl(128_u32.checked_sub(free)?);
                Some(Part::Iface {
                    bits: name_bits(text.as_bytes())?,
                    mask: if wildcard { start? } else { u128::MAX },
                })
            }
        },
        Dimension::Mark => Some(Part::Mark(mark(text)? & set.mark_mask.unwrap_or(u32::MAX))),
        Dimension::Set => None,
    }
}

/// An address, a network or a range, under the mask of the set.
fn net(set: &IpSet, text: &str) -> Option<Part> {
    let v6 = set.v6;
    let own = set.own_mask();
    if let Some((first, last)) = text.split_once('-') {
        // Under a mask with holes it would be no range.
        let whole = prefix_mask(own.count_ones(), v6) == Some(own);
        return whole
            .then(|| {
                Some(Part::Range {
                    first: address(first, v6)? & own,
                    last: address(last, v6)? & own,
                })
            })
            .flatten();
    }
    let (text, prefix) = match text.split_once('/') {
        Some((text, prefix)) => (text, prefix.parse().ok()?),
        None => (text, if v6 { 128 } else { 32 }),
    };
    let mask = prefix_mask(prefix, v6)? & own;
    Some(Part::Net {
        bits: address(text, v6)? & mask,
        mask,
        prefix: u8::try_from(prefix).ok()?,
    })
}

/// `tcp:80`, `gre:0`, `icmp:8/0`; a bitmap has numbers alone. What is said by name is of that protocol, and more
/// cannot be told.
fn port(text: &str, hash: bool) -> Option<Part> {
    if !hash {
        let ports = ports(text)?;
        return Some(Part::Port { proto: None, ports });
    }
    let (proto, text) = match text.split_once(':') {
        Some((proto, text)) => (Protocol::parse(proto.as_bytes())?, text),
        // What the tool takes it for.
        None => (Protocol::TCP, text),
    };
    let ports = match text.split_once('/') {
        Some((kind, code)) => kind
            .parse::<u8>()
            .ok()
            .zip(code.parse::<u8>().ok())
            .map(Ports::one),
        None => ports(text),
    };
    Some(Part::Port {
        proto: Some(proto.0),
        ports: ports.unwrap_or(Ports::Named),
    })
}

fn ports(text: &str) -> Option<Ports> {
    let (min, max) = text.split_once('-').unwrap_or((text, text));
    Some(Ports::From(min.parse().ok()?, max.parse().ok()?))
}
