//! Whether a logged packet is one that a rule matches: yes, no, or the line does not say.
//!
//! Only what a log line tells is looked at. Everything else (connection state, limits, sets, time)
//! is unknown, and unknown is neither yes nor no.

use std::net::IpAddr;

use crate::flow::{LogLine, Packet, TcpFlags};
use crate::ruleset::spec::matches::{
    Dccp, Icmp, Iprange, Multiport, Owner, OwnerId, Physdev, PortSide, Sctp, Tcp, TcpFlagTest, Udp,
};
use crate::ruleset::spec::value::WordSet;
use crate::ruleset::spec::{Addresses, Interface, Inv, Match, Ports, Protocol, Spec};

/// Yes, no, or not known.
type Fit = Option<bool>;

/// Whether every condition of the rule holds for the packet of the line.
pub(super) fn fits(spec: &Spec<'_>, log: &LogLine) -> Fit {
    let packet = &log.packet;
    let general = [
        address(spec.source.as_ref(), packet.src),
        address(spec.destination.as_ref(), packet.dst),
        interface(spec.in_interface.as_ref(), log.input.as_bytes()),
        interface(spec.out_interface.as_ref(), log.output.as_bytes()),
        protocol(spec.protocol.as_ref(), packet),
        fragment(spec.fragment.as_ref(), packet),
    ];
    let matches = spec.matches.iter().map(|one| condition(one, log));
    let stray = (!spec.stray.is_empty()).then_some(None);
    all(general.into_iter().chain(matches).chain(stray))
}

/// No if any says no; else unknown if any is; else yes.
fn all(fits: impl IntoIterator<Item = Fit>) -> Fit {
    let mut result = Some(true);
    for fit in fits {
        match fit {
            Some(false) => return Some(false),
            Some(true) => {}
            None => result = None,
        }
    }
    result
}

/// The answer about a value that may be inverted, or not known.
fn known<T>(option: Option<&Inv<T>>, answer: impl FnOnce(&T) -> Fit) -> Fit {
    let Some(option) = option else {
        return Some(true);
    };
    answer(&option.value).map(|holds| holds != option.invert)
}

fn address(option: Option<&Inv<Addresses<'_>>>, ip: Option<IpAddr>) -> Fit {
    known(option, |addresses| addresses.contains(ip?))
}

fn interface(option: Option<&Inv<Interface<'_>>>, name: &[u8]) -> Fit {
    known(option, |interface| Some(interface.matches(name)))
}

fn protocol(option: Option<&Inv<Protocol<'_>>>, packet: &Packet) -> Fit {
    known(option, |protocol| match protocol.number? {
        0 => Some(true),
        number => Some(packet.proto?.0 == number),
    })
}

fn fragment(option: Option<&Inv<()>>, packet: &Packet) -> Fit {
    known(option, |()| {
        Some(packet.fragment.is_some_and(|fragment| fragment.offset > 0))
    })
}

fn condition(one: &Match<'_>, log: &LogLine) -> Fit {
    let packet = &log.packet;
    match one {
        Match::Comment(_) => Some(true),
        Match::Tcp(tcp) => fits_tcp(tcp, packet),
        Match::Udp(Udp {
            source_ports,
            destination_ports,
            ..
        })
        | Match::Sctp(Sctp {
            source_ports,
            destination_ports,
            chunks: None,
        })
        | Match::Dccp(Dccp {
            source_ports,
            destination_ports,
            types: None,
            option: None,
        }) => ports(source_ports.as_ref(), destination_ports.as_ref(), packet),
        Match::Multiport(multiport) => fits_multiport(multiport, packet),
        Match::Icmp(icmp) => fits_icmp(*icmp, packet),
        Match::Mark(mark) => Some(mark.holds(|mark| mark.holds(packet.mark.unwrap_or(0)))),
        Match::Length(length) => {
            let size = u16::try_from(packet.length?).unwrap_or(u16::MAX);
            Some(length.holds(|bounds| bounds.contains(size)))
        }
        Match::Ttl(hops) | Match::Hl(hops) => {
            let left = packet.ttl?;
            Some(hops.holds(|hops| hops.holds(left)))
        }
        Match::Tos(tos) => {
            let class = packet.tos?;
            Some(tos.holds(|tos| class & tos.mask == tos.value))
        }
        Match::Dscp(dscp) => {
            let class = packet.tos? >> 2;
            Some(dscp.holds(|dscp| class == *dscp))
        }
        Match::Mac(mac) => {
            let source = log.link.source()?;
            Some(mac.holds(|mac| source.0 == *mac))
        }
        Match::Iprange(range) => fits_range(range, packet),
        Match::Physdev(physdev) => fits_physdev(physdev, log),
        Match::Owner(owner) => fits_owner(owner, log),
        _ => None,
    }
}

fn ports(source: Option<&Inv<Ports>>, destination: Option<&Inv<Ports>>, packet: &Packet) -> Fit {
    all([
        known(source, |ports| Some(ports.contains(packet.sport?))),
        known(destination, |ports| Some(ports.contains(packet.dport?))),
    ])
}

fn fits_tcp(tcp: &Tcp, packet: &Packet) -> Fit {
    let flags = known(tcp.flags.as_ref(), |test| {
        Some(flags_hold(*test, packet.tcp_flags?))
    });
    let option = tcp.option.as_ref().map_or(Some(true), |_| None);
    let ports = ports(
        tcp.source_ports.as_ref(),
        tcp.destination_ports.as_ref(),
        packet,
    );
    all([ports, flags, option])
}

fn flags_hold(test: TcpFlagTest, flags: TcpFlags) -> bool {
    test.holds(WordSet::from_bits(u32::from(flags.0)))
}

fn fits_multiport(multiport: &Multiport, packet: &Packet) -> Fit {
    // Of the port that is not looked at the value does not matter.
    let (source, destination) = match multiport.side {
        PortSide::Source => (packet.sport?, 0),
        PortSide::Destination => (0, packet.dport?),
        PortSide::Either => (packet.sport?, packet.dport?),
    };
    Some(multiport.holds(source, destination))
}

fn fits_icmp(icmp: Icmp, packet: &Packet) -> Fit {
    let said = packet.icmp?;
    Some(icmp.holds(said.kind, said.code?))
}

fn fits_range(range: &Iprange, packet: &Packet) -> Fit {
    all([
        known(range.source.as_ref(), |range| {
            Some(range.contains(packet.src?))
        }),
        known(range.destination.as_ref(), |range| {
            Some(range.contains(packet.dst?))
        }),
    ])
}

fn fits_physdev(physdev: &Physdev<'_>, log: &LogLine) -> Fit {
    let has = |port: &crate::flow::IfName| Some(!port.is_none());
    all([
        interface(physdev.input.as_ref(), log.physin.as_bytes()),
        interface(physdev.output.as_ref(), log.physout.as_bytes()),
        known(physdev.is_in.as_ref(), |()| has(&log.physin)),
        known(physdev.is_out.as_ref(), |()| has(&log.physout)),
        physdev.is_bridged.as_ref().map_or(Some(true), |_| None),
    ])
}

/// A line says the owner only where the rule asks for it, so nothing said is nothing known.
fn fits_owner(owner: &Owner<'_>, log: &LogLine) -> Fit {
    let id = |option: Option<&Inv<OwnerId<'_>>>, said: Option<u32>| {
        known(option, |owner| match owner {
            OwnerId::Ids(ids) => Some(ids.contains(said?)),
            OwnerId::Name(_) => None,
        })
    };
    let group = if owner.supplementary {
        owner.group.as_ref().map_or(Some(true), |_| None)
    } else {
        id(owner.group.as_ref(), log.gid)
    };
    let socket = owner.socket_exists.as_ref().map_or(Some(true), |_| None);
    all([id(owner.user.as_ref(), log.uid), group, socket])
}
