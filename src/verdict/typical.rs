//! The packets that a rule is there for.
//!
//! Somebody points at a rule and asks why. The rule, and the jumps that lead to its chain, name protocols,
//! networks, ports, states: from them come packets as they usually are, the most usual first. They are
//! guesses, and the verdict engine tells whether one of them reaches the rule at all, which is often the
//! answer itself: a rule above decides about all of them.
//!
//! What no rule names is filled in as the world has it: an address of a documentation network (RFC 5737,
//! RFC 3849) for somebody outside, marked as made up. Interfaces and the box's own addresses are left open for
//! [`complete`](super::complete) to fill in; [`fitting`](super::fitting) finds a neighbour for an end that was made up
//! where the rule names an interface behind which nobody outside is.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::probe::{CtState, Path, Probe};
use crate::flow::{IfName, Mac, Protocol, TcpFlags};
use crate::ruleset::spec::matches::{PortSide, Tcp};
use crate::ruleset::spec::value::{StateSet, WordSet};
use crate::ruleset::spec::{Address, Addresses, Interface, Inv, Match, Net, Ports, Spec};
use crate::ruleset::{ChainIdx, Family, RuleIdx, Ruleset};

/// Ways from hooks to a chain that are tried; a chain may be called from thousands of places.
const MOST_WAYS: usize = 6;
/// Packets that are thought of for one rule.
const MOST_PACKETS: usize = 16;
/// Where no rule names a port: one that everybody knows, and one that nobody names.
const USUAL_PORTS: [Option<u16>; 2] = [Some(443), Some(49_151)];
/// The port of a client that no rule names.
const FROM_PORT: u16 = 40_000;
/// Chains that are looked at on the search for them.
const MOST_CHAINS: usize = 2_000;

/// Packets for a rule of a chain, or for its policy (`None`), the most usual first; none for a chain that
/// nothing leads to.
pub fn typical(ruleset: &Ruleset, chain: ChainIdx, rule: Option<RuleIdx>) -> Vec<Probe> {
    let mut packets = Vec::new();
    for (hook, way) in ways(ruleset, chain) {
        let specs: Vec<Spec<'_>> = rule
            .iter()
            .chain(way.iter())
            .map(|rule| ruleset.parse_rule(*rule))
            .collect();
        let name = ruleset.chain(hook).name();
        for path in paths(name) {
            let mut draft = Draft::new(ruleset.family(), *path);
            // The rule itself first: where it names a host, a caller's network adds nothing.
            for spec in &specs {
                draft.take(spec);
            }
            packets.extend(draft.packets());
        }
    }
    packets.truncate(MOST_PACKETS);
    packets
}

/// The ways of packets that meet a built-in chain.
fn paths(chain: &str) -> &'static [Path] {
    match chain {
        "FORWARD" => &[Path::Forward],
        "OUTPUT" => &[Path::Output],
        "PREROUTING" => &[Path::Input, Path::Forward],
        "POSTROUTING" => &[Path::Forward, Path::Output],
        _ => &[Path::Input],
    }
}

/// Built-in chains from which the chain is reached, each with the rules that jump, the last jump first.
fn ways(ruleset: &Ruleset, chain: ChainIdx) -> Vec<(ChainIdx, Vec<RuleIdx>)> {
    if ruleset.chain(chain).is_builtin() {
        return vec![(chain, Vec::new())];
    }
    let references = ruleset.references();
    let mut found = Vec::new();
    let mut met = vec![chain];
    let mut waiting = VecDeque::from([(chain, Vec::new())]);
    while let Some((at, way)) = waiting.pop_front() {
        for caller in references.to(at) {
            let Some(from) = ruleset.chain_of(*caller) else {
                continue;
            };
            let mut longer: Vec<RuleIdx> = way.clone();
            longer.push(*caller);
            if ruleset.chain(from).is_builtin() {
                found.push((from, longer));
                if found.len() == MOST_WAYS {
                    return found;
                }
            } else if !met.contains(&from) && met.len() < MOST_CHAINS {
                met.push(from);
                waiting.push_back((from, longer));
            }
        }
    }
    found
}

/// A packet that takes shape.
struct Draft {
    probe: Probe,
    /// What each end must not be.
    not_src: Vec<Net>,
    not_dst: Vec<Net>,
    /// States that every rule of the way allows.
    states: u32,
    /// Flags were asked for.
    flags: Option<TcpFlags>,
}

impl Draft {
    fn new(family: Family, path: Path) -> Self {
        Self {
            probe: Probe::new(family, path),
            not_src: Vec::new(),
            not_dst: Vec::new(),
            states: u32::MAX,
            flags: None,
        }
    }

    fn take(&mut self, spec: &Spec<'_>) {
        let probe = &mut self.probe;
        address(&mut probe.src, &mut self.not_src, spec.source.as_ref());
        address(&mut probe.dst, &mut self.not_dst, spec.destination.as_ref());
        interface(&mut probe.input, spec.in_interface.as_ref());
        interface(&mut probe.output, spec.out_interface.as_ref());
        if let Some(Inv {
            invert: false,
            value,
        }) = &spec.protocol
            && let Some(number) = value.number.filter(|number| *number != 0)
        {
            probe.proto.get_or_insert(Protocol(number));
        }
        for one in &spec.matches {
            self.take_match(one);
        }
    }

    fn take_match(&mut self, one: &Match<'_>) {
        let probe = &mut self.probe;
        match one {
            Match::Tcp(tcp) => {
                port(&mut probe.sport, tcp.source_ports.as_ref());
                port(&mut probe.dport, tcp.destination_ports.as_ref());
                self.flags = self.flags.or(wanted_flags(tcp));
            }
            Match::Udp(udp) => {
                port(&mut probe.sport, udp.source_ports.as_ref());
                port(&mut probe.dport, udp.destination_ports.as_ref());
            }
            Match::Sctp(sctp) => {
                port(&mut probe.sport, sctp.source_ports.as_ref());
                port(&mut probe.dport, sctp.destination_ports.as_ref());
            }
            Match::Dccp(dccp) => {
                port(&mut probe.sport, dccp.source_ports.as_ref());
                port(&mut probe.dport, dccp.destination_ports.as_ref());
            }
            Match::Multiport(multiport) if !multiport.ports.invert => {
                let side = match multiport.side {
                    PortSide::Source => &mut probe.sport,
                    _ => &mut probe.dport,
                };
                let first = multiport.ports.value.first();
                *side = side.or(first.copied().map(usual_port));
            }
            Match::Icmp(icmp) if !icmp.invert => {
                probe.icmp_type = probe.icmp_type.or(icmp.kind);
                probe.icmp_code = probe.icmp_code.or(icmp.code);
            }
            Match::Conntrack(conntrack) => {
                if let Some(states) = &conntrack.states {
                    self.allow(*states);
                }
            }
            Match::State(states) => self.allow(*states),
            Match::Mark(mark) if !mark.invert => {
                probe.mark = Some(mark.value.value);
            }
            Match::Iprange(range) => {
                if let Some(source) = range.source.as_ref().filter(|side| !side.invert) {
                    probe.src.get_or_insert(source.value.first);
                }
                if let Some(end) = range.destination.as_ref().filter(|side| !side.invert) {
                    probe.dst.get_or_insert(end.value.first);
                }
            }
            Match::Length(length) if !length.invert => {
                probe.length = Some(u32::from(length.value.min));
            }
            Match::Mac(mac) if !mac.invert => probe.mac = Some(Mac(mac.value)),
            _ => {}
        }
    }

    fn allow(&mut self, states: Inv<StateSet>) {
        let bits = states.value.bits();
        self.states &= if states.invert { !bits } else { bits };
    }

    /// The packets: one for each of the usual states that is allowed, and for each of the usual ports where
    /// no rule names one.
    fn packets(mut self) -> Vec<Probe> {
        self.fill_addresses();
        let probe = &mut self.probe;
        let proto = *probe.proto.get_or_insert(Protocol::TCP);
        if proto.is_icmp() && probe.icmp_type.is_none() {
            let echo = if probe.family == Family::V6 { 128 } else { 8 };
            (probe.icmp_type, probe.icmp_code) = (Some(echo), Some(0));
        }
        let ports: &[Option<u16>] = match probe.dport {
            _ if !proto.has_ports() => &[None],
            Some(_) => &[probe.dport],
            None => &USUAL_PORTS,
        };
        if proto.has_ports() {
            probe.sport.get_or_insert(FROM_PORT);
        }
        let usual = [
            (StateSet::NEW, CtState::New),
            (StateSet::ESTABLISHED, CtState::Established),
            (StateSet::INVALID, CtState::Invalid),
            (StateSet::RELATED, CtState::Related),
            (StateSet::UNTRACKED, CtState::Untracked),
        ];
        let mut packets = Vec::new();
        for (bit, state) in usual {
            if self.states & bit.bits() == 0 {
                continue;
            }
            let flags = match state {
                CtState::New => TcpFlags::SYN,
                _ => TcpFlags::ACK,
            };
            packets.extend(ports.iter().map(|port| {
                Probe {
                    ctstate: Some(state),
                    tcp_flags: self
                        .flags
                        .or(Some(flags))
                        .filter(|_| proto == Protocol::TCP),
                    dport: *port,
                    ..self.probe.clone()
                }
            }));
        }
        packets
    }

    /// Ends that no rule names: somebody outside. Of a packet that comes to this box its own is left open.
    fn fill_addresses(&mut self) {
        let probe = &mut self.probe;
        let v6 = probe.family == Family::V6;
        let loopback = IfName::new(b"lo");
        let on_lo = loopback.is_some() && (probe.input == loopback || probe.output == loopback);
        let pick = |not: &[Net], choices: [IpAddr; 3]| {
            let free = |ip: &IpAddr| not.iter().all(|net| !net.contains(*ip));
            choices.into_iter().find(free)
        };
        if on_lo {
            let own: IpAddr = if v6 {
                Ipv6Addr::LOCALHOST.into()
            } else {
                Ipv4Addr::LOCALHOST.into()
            };
            probe.src.get_or_insert(own);
            probe.dst.get_or_insert(own);
            return;
        }
        if probe.path != Path::Output && probe.src.is_none() {
            probe.src = pick(&self.not_src, outside(v6, 9));
            probe.made_up.src = probe.src.is_some();
        }
        if probe.path != Path::Input && probe.dst.is_none() {
            probe.dst = pick(&self.not_dst, outside(v6, 80));
            probe.made_up.dst = probe.dst.is_some();
        }
    }
}

/// Hosts of the documentation networks.
fn outside(v6: bool, host: u8) -> [IpAddr; 3] {
    if v6 {
        let of = |net: u16| Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host.into()).into();
        [of(203), of(198), of(192)]
    } else {
        let of = |a: u8, b: u8, c: u8| Ipv4Addr::new(a, b, c, host).into();
        [of(203, 0, 113), of(198, 51, 100), of(192, 0, 2)]
    }
}

fn address(end: &mut Option<IpAddr>, not: &mut Vec<Net>, addresses: Option<&Inv<Addresses<'_>>>) {
    let Some(addresses) = addresses else { return };
    let mut nets = addresses.value.iter().filter_map(|one| match one {
        Address::Net(net) => Some(*net),
        Address::Name(_) => None,
    });
    if addresses.invert {
        not.extend(nets);
    } else if let Some(net) = nets.next().filter(|net| !net.is_any()) {
        end.get_or_insert(host_of(net));
    }
}

/// The first host of a network: a network's own number is seldom one.
fn host_of(net: Net) -> IpAddr {
    match net {
        Net::V4 { address, mask } if mask.to_bits().trailing_zeros() >= 2 => {
            Ipv4Addr::from_bits(address.to_bits() | 1).into()
        }
        Net::V4 { address, .. } => address.into(),
        Net::V6 { address, mask } if mask.to_bits().trailing_zeros() >= 2 => {
            Ipv6Addr::from_bits(address.to_bits() | 1).into()
        }
        Net::V6 { address, .. } => address.into(),
    }
}

/// `eth+` is met by `eth0`.
fn interface(name: &mut Option<IfName>, wanted: Option<&Inv<Interface<'_>>>) {
    let Some(wanted) = wanted.filter(|wanted| !wanted.invert && !wanted.value.is_any()) else {
        return;
    };
    let mut text = wanted.value.text.to_vec();
    if text.last() == Some(&b'+') {
        text.pop();
        text.push(b'0');
    }
    *name = name.or(IfName::new(&text));
}

fn port(end: &mut Option<u16>, ports: Option<&Inv<Ports>>) {
    if let Some(ports) = ports.filter(|ports| !ports.invert) {
        end.get_or_insert(usual_port(ports.value));
    }
}

/// The first of a range; nobody uses port 0.
fn usual_port(ports: Ports) -> u16 {
    ports.min.max(1).min(ports.max)
}

fn wanted_flags(tcp: &Tcp) -> Option<TcpFlags> {
    let test = tcp.flags.as_ref()?;
    let bits = |set: crate::ruleset::spec::value::TcpFlags| u8::try_from(set.bits()).ok();
    if test.invert {
        // `! --syn`: a packet in the middle of a connection.
        return Some(TcpFlags::ACK);
    }
    bits(test.value.set).map(TcpFlags)
}
