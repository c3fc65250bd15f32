//! General options and matches as conditions, in the order in which the kernel tests them.

use std::borrow::Cow;
use std::net::IpAddr;

use super::odd;
use crate::ruleset::spec::matches::{Ecn, Iprange, PacketType, Tcp};
use crate::ruleset::spec::value::{AddressRange, StateSet, WordSet};
use crate::ruleset::spec::{Address, Addresses, Interface, Inv, Match, Net, Ports, Spec};
use crate::verdict::LinkType;
use crate::verdict::cond::{Cond, End, Odd, StateTest};
use crate::verdict::state::{bits_of, ct, name_bits};

/// Protocol numbers of the matches that read a transport header.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
const UDPLITE: u8 = 136;

/// Adds the conditions of a rule. `nft` is of the back end: it reads the ports of TCP and UDP itself instead
/// of asking the match (iptables 1.8.8 and later).
pub(super) fn conditions(spec: &Spec<'_>, nft: bool, out: &mut Vec<Cond>) {
    if spec.only_family.is_some_and(|family| family != spec.family) {
        out.push(Cond::Never("a rule of the other family"));
    }
    if let Some(protocol) = &spec.protocol {
        match protocol.value.number {
            Some(0) if !protocol.invert => {}
            Some(0) => out.push(Cond::Never("not any protocol")),
            Some(number) => out.push(Cond::Proto {
                number,
                invert: protocol.invert,
            }),
            None => out.push(unknown(
                protocol.value.to_string(),
                "a protocol that is not known here",
            )),
        }
    }
    for (addresses, end) in [(&spec.source, End::Src), (&spec.destination, End::Dst)] {
        if let Some(addresses) = addresses {
            push_addresses(addresses, end, out);
        }
    }
    for (interface, is_out) in [(&spec.in_interface, false), (&spec.out_interface, true)] {
        if let Some(interface) = interface {
            push_interface(interface, is_out, out);
        }
    }
    if let Some(fragment) = &spec.fragment {
        out.push(Cond::Fragment {
            invert: fragment.invert,
        });
    }
    for one in &spec.matches {
        push_match(one, spec, nft, out);
    }
    if !spec.stray.is_empty() {
        let words: Vec<Cow<'_, str>> = spec
            .stray
            .iter()
            .map(|word| String::from_utf8_lossy(word.raw))
            .collect();
        out.push(unknown(words.join(" "), "words that belong to no option"));
    }
}

pub(super) fn unknown(what: impl Into<Box<str>>, why: &'static str) -> Cond {
    Cond::Odd(Box::new(Odd::Unknown {
        what: what.into(),
        why,
    }))
}

/// Bits and mask of a network.
pub(super) fn net_bits(net: &Net) -> (u128, u128) {
    match net {
        Net::V4 { address, mask } => (address.to_bits().into(), mask.to_bits().into()),
        Net::V6 { address, mask } => (address.to_bits(), mask.to_bits()),
    }
}

fn push_addresses(addresses: &Inv<Addresses<'_>>, end: End, out: &mut Vec<Cond>) {
    let invert = addresses.invert;
    match (&addresses.value.first, addresses.value.more.is_empty()) {
        (Address::Net(net), true) if net.is_any() && !invert => {}
        (Address::Net(net), true) => {
            let (bits, mask) = net_bits(net);
            out.push(Cond::Net {
                end,
                bits,
                mask,
                invert,
            });
        }
        _ => {
            let nets: Vec<(u128, u128)> = addresses
                .value
                .iter()
                .filter_map(|address| match address {
                    Address::Net(net) => Some(net_bits(net)),
                    Address::Name(_) => None,
                })
                .collect();
            let unknown = nets.len() < addresses.value.more.len() + 1;
            let text = addresses.value.to_string().into();
            let dst = end == End::Dst;
            out.push(Cond::Odd(Box::new(Odd::AnyNet {
                dst,
                nets,
                unknown,
                invert,
                text,
            })));
        }
    }
}

/// Bits and mask of a name; `None` for one that no interface can have.
fn interface_bits(interface: &Interface<'_>) -> Option<(u128, u128)> {
    match interface.text.strip_suffix(b"+") {
        Some(start) => {
            let bits = name_bits(start)?;
            let width = u32::try_from(start.len() * 8).ok()?;
            Some((bits, u128::MAX.checked_shl(128 - width).unwrap_or(0)))
        }
        None => Some((name_bits(&interface.text)?, u128::MAX)),
    }
}

fn push_interface(interface: &Inv<Interface<'_>>, out: bool, conds: &mut Vec<Cond>) {
    let invert = interface.invert;
    match interface_bits(&interface.value) {
        Some((_, 0)) if !invert => {}
        Some((bits, mask)) => conds.push(Cond::Iface {
            out,
            bits,
            mask,
            invert,
        }),
        None if invert => {}
        None => conds.push(Cond::Never("no interface can have that name")),
    }
}

fn push_match(one: &Match<'_>, spec: &Spec<'_>, nft: bool, out: &mut Vec<Cond>) {
    match one {
        Match::Comment(_) => {}
        Match::Tcp(tcp) => push_tcp(tcp, nft, out),
        Match::Udp(udp) => {
            let proto = if udp.lite { UDPLITE } else { UDP };
            push_ports(
                proto,
                nft && !udp.lite && udp.source_ports.or(udp.destination_ports).is_some(),
                [udp.source_ports, udp.destination_ports],
                out,
            );
        }
        Match::Sctp(sctp) => {
            push_ports(
                SCTP,
                false,
                [sctp.source_ports, sctp.destination_ports],
                out,
            );
            if sctp.chunks.is_some() {
                out.push(unknown(
                    "sctp chunk types",
                    "the packet's chunks are not known",
                ));
            }
        }
        Match::Dccp(dccp) => {
            push_ports(
                DCCP,
                false,
                [dccp.source_ports, dccp.destination_ports],
                out,
            );
            if dccp.types.is_some() || dccp.option.is_some() {
                out.push(unknown(
                    "dccp types and options",
                    "they are not known of the packet",
                ));
            }
        }
        Match::Icmp(icmp) => {
            out.push(Cond::Header(if icmp.v6 { ICMPV6 } else { ICMP }));
            if icmp.kind.is_some() || icmp.invert {
                out.push(Cond::Icmp {
                    kind: icmp.kind,
                    code: icmp.code,
                    invert: icmp.invert,
                });
            }
        }
        Match::Multiport(multiport) => out.push(Cond::Ports(Box::new(multiport.clone()))),
        Match::Conntrack(conntrack) => odd::push_conntrack(conntrack, one, out),
        Match::State(states) => out.push(Cond::State(state_test(*states))),
        Match::Connmark(mark) => out.push(Cond::Connmark {
            value: mark.value.value,
            mask: mark.value.mask,
            invert: mark.invert,
        }),
        Match::Mark(mark) => out.push(Cond::Mark {
            value: mark.value.value,
            mask: mark.value.mask,
            invert: mark.invert,
        }),
        Match::Iprange(range) => push_iprange(range, out),
        Match::Length(length) => {
            out.push(Cond::Length {
                bounds: length.value,
                invert: length.invert,
            });
        }
        Match::Ttl(hops) | Match::Hl(hops) => {
            out.push(Cond::Hops {
                test: hops.value,
                invert: hops.invert,
            });
        }
        Match::Tos(tos) => {
            let (value, mask) = (tos.value.value, tos.value.mask);
            out.push(Cond::Tos {
                value,
                mask,
                invert: tos.invert,
            });
        }
        Match::Dscp(dscp) => {
            out.push(Cond::Tos {
                value: dscp.value << 2,
                mask: 0xfc,
                invert: dscp.invert,
            });
        }
        Match::Ecn(ecn) => push_ecn(*ecn, out),
        Match::Mac(mac) => out.push(Cond::Mac {
            mac: mac.value,
            invert: mac.invert,
        }),
        Match::Pkttype(kind) => {
            let invert = kind.invert;
            let kind = match kind.value {
                PacketType::Unicast => LinkType::Unicast,
                PacketType::Broadcast => LinkType::Broadcast,
                PacketType::Multicast => LinkType::Multicast,
            };
            out.push(Cond::Link { kind, invert });
        }
        _ => odd::push(one, spec, out),
    }
}

/// The protocol of a match. `-p` has said it already: one question is enough.
fn push_header(number: u8, native: bool, out: &mut Vec<Cond>) {
    let said =
        |cond: &Cond| matches!(cond, Cond::Proto { number: n, invert: false } if *n == number);
    match out.last().is_some_and(said) {
        true if native => return,
        true => {
            out.pop();
        }
        false => {}
    }
    let invert = false;
    out.push(if native {
        Cond::Proto { number, invert }
    } else {
        Cond::Header(number)
    });
}

/// The one port that is not wanted.
fn not_port(ports: Inv<Ports>) -> Option<u16> {
    let one = ports.invert && ports.value.min == ports.value.max && ports.value.min != 0;
    one.then_some(ports.value.min)
}

/// Ports of a protocol; `native` ones are read without looking whether the packet is a later fragment. A
/// match that says nothing is asked of the match itself, which looks.
fn push_ports(number: u8, native: bool, ports: [Option<Inv<Ports>>; 2], out: &mut Vec<Cond>) {
    push_header(number, native, out);
    if let (true, [Some(sport), Some(dport)]) = (native, ports)
        && let (Some(sport), Some(dport)) = (not_port(sport), not_port(dport))
    {
        out.push(Cond::Odd(Box::new(Odd::NotBoth { sport, dport })));
        return;
    }
    for (ports, end) in ports.into_iter().zip([End::Src, End::Dst]) {
        let Some(Inv {
            invert,
            value: ports,
        }) = ports
        else {
            continue;
        };
        if invert || ports.min != 0 || ports.max != u16::MAX {
            out.push(Cond::Port { end, ports, invert });
        }
    }
}

fn push_tcp(tcp: &Tcp, native: bool, out: &mut Vec<Cond>) {
    let native = native && *tcp != Tcp::default();
    push_ports(TCP, native, [tcp.source_ports, tcp.destination_ports], out);
    if let Some(Inv { invert, value }) = tcp.flags {
        let bits =
            |flags: crate::ruleset::spec::value::TcpFlags| u8::try_from(flags.bits()).unwrap_or(0);
        out.push(Cond::Flags {
            mask: bits(value.mask),
            set: bits(value.set),
            invert,
        });
    }
    if tcp.option.is_some() {
        out.push(unknown("tcp option", "the packet's options are not known"));
    }
}

pub(super) fn state_test(states: Inv<StateSet>) -> StateTest {
    let has = |one: StateSet, bit: u8| if states.value.contains(one) { bit } else { 0 };
    StateTest {
        states: has(StateSet::INVALID, ct::INVALID)
            | has(StateSet::NEW, ct::NEW)
            | has(StateSet::RELATED, ct::RELATED)
            | has(StateSet::ESTABLISHED, ct::ESTABLISHED)
            | has(StateSet::UNTRACKED, ct::UNTRACKED),
        snat: states.value.contains(StateSet::SNAT),
        dnat: states.value.contains(StateSet::DNAT),
        invert: states.invert,
    }
}

fn push_iprange(range: &Iprange, out: &mut Vec<Cond>) {
    let ends = |range: AddressRange| match (range.first, range.last) {
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
            (bits_of(range.first), bits_of(range.last))
        }
        // Not of one family: nothing is between them.
        _ => (1, 0),
    };
    for (range, end) in [(range.source, End::Src), (range.destination, End::Dst)] {
        if let Some(Inv { invert, value }) = range {
            let (first, last) = ends(value);
            out.push(Cond::Range {
                end,
                first,
                last,
                invert,
            });
        }
    }
}

/// The two ECN bits of the IP header, and the ECN flags of TCP.
fn push_ecn(ecn: Ecn, out: &mut Vec<Cond>) {
    const ECE: u8 = 0x40;
    const CWR: u8 = 0x80;
    if let Some(Inv { invert, value }) = ecn.ect {
        out.push(Cond::Tos {
            value,
            mask: 3,
            invert,
        });
    }
    for (flag, bit) in [(ecn.ece, ECE), (ecn.cwr, CWR)] {
        if let Some(flag) = flag {
            out.push(Cond::Header(TCP));
            out.push(Cond::Flags {
                mask: bit,
                set: bit,
                invert: flag.invert,
            });
        }
    }
}
