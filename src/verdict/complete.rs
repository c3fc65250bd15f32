//! What a question leaves open and the box can answer: by which interface such a packet comes, which of
//! the box's addresses it is for.
//!
//! A person types `tcp 203.0.113.9 -> :443`, and every rule with an interface then depends. The kernel's own
//! routes say where a packet from there comes in, as far as ways are the same in both directions; that is
//! what an administrator would have typed. What is filled in shows in the packet's words, so nobody takes
//! it for something that he said. Where nothing is known of the box, nothing is filled in.

use std::net::IpAddr;

use super::probe::{Path, Probe};
use crate::flow::{IfName, Interface, Machine, RouteAnswer, RouteQuestion};
use crate::ruleset::Family;

/// The packet on the way that its destination tells, where nobody said which: what comes in for an address
/// that is not this box's is forwarded, what has one of the box's as its source is sent. Needs the box's
/// addresses; where it leaves is for [`gaps`] and [`complete`].
pub fn settle(probe: &Probe, machine: &Machine) -> Probe {
    let mut probe = probe.clone();
    let open = std::mem::replace(&mut probe.open, false);
    let (Some(local), Some(dst)) = (machine.addresses(), probe.dst) else {
        return probe;
    };
    let to_many = match dst {
        IpAddr::V4(four) => four.is_broadcast() || machine.broadcasts().contains(&dst),
        IpAddr::V6(_) => false,
    };
    let own = |ip: IpAddr| ip.is_loopback() || local.contains(&ip);
    let here = own(dst) || to_many || dst.is_multicast() || dst.is_unspecified();
    if !open || probe.path != Path::Input || here {
        return probe;
    }
    if probe.input.is_none() && probe.src.is_some_and(own) {
        probe.path = Path::Output;
        // A program may have given it another one.
        probe.mark = probe.mark.filter(|mark| *mark != 0);
    } else {
        probe.path = Path::Forward;
    }
    probe
}

/// What must be asked of the routes to complete a packet.
pub fn gaps(probe: &Probe) -> Vec<RouteQuestion> {
    let mut asked = Vec::new();
    if probe.path != Path::Output && probe.input.is_none() {
        asked.extend(probe.src.map(toward));
    }
    if probe.path != Path::Input && probe.output.is_none() {
        asked.extend(onward(probe));
        asked.extend(probe.goal().map(toward));
    }
    asked
}

/// The packet with what the box says of it; `machine` holds the answers to [`gaps`].
pub fn complete(probe: &Probe, machine: &Machine) -> Probe {
    let mut probe = probe.clone();
    if probe.path != Path::Output && probe.input.is_none() {
        probe.input = way_out(machine, probe.src);
    }
    if probe.path != Path::Input && probe.output.is_none() {
        let onward = onward(&probe).and_then(|asked| output(machine, &asked));
        probe.output = onward.or_else(|| way_out(machine, probe.goal()));
    }
    if probe.path == Path::Input && probe.dst.is_none() {
        probe.dst = probe
            .input
            .and_then(|name| own(machine, name, probe.family));
    }
    if probe.path == Path::Output && probe.src.is_none() {
        probe.src = probe
            .output
            .and_then(|name| own(machine, name, probe.family));
    }
    probe
}

/// A completed packet with ends that fit its interfaces: where one that was made up is not reached by the interface
/// that the packet names, a neighbour there takes its place. `None` where all fits, or nobody is known there. `machine`
/// holds the answers to [`toward`] the ends that were made up.
pub fn fitting(probe: &Probe, machine: &Machine) -> Option<Probe> {
    let elsewhere = |end: Option<IpAddr>, name: Option<IfName>| {
        let name = name.filter(|name| way_out(machine, end) != Some(*name))?;
        neighbour(machine, name, probe.family)
    };
    let made_up = probe.made_up;
    let src = (made_up.src && probe.path != Path::Output)
        .then(|| elsewhere(probe.src, probe.input))
        .flatten();
    let dst = (made_up.dst && probe.path != Path::Input)
        .then(|| elsewhere(probe.dst, probe.output))
        .flatten();
    if src.is_none() && dst.is_none() {
        return None;
    }
    Some(Probe {
        src: src.or(probe.src),
        dst: dst.or(probe.dst),
        ..probe.clone()
    })
}

/// Somebody in a network of an interface: the number beside the box's own.
fn neighbour(machine: &Machine, name: IfName, family: Family) -> Option<IpAddr> {
    let own = own(machine, name, family)?;
    let interface = machine.interface(name)?;
    let net = interface.addresses.iter().find(|net| net.addr() == own)?;
    let beside = match own {
        IpAddr::V4(ip) => [ip.to_bits().checked_add(1), ip.to_bits().checked_sub(1)]
            .map(|bits| bits.map(|bits| IpAddr::V4(bits.into()))),
        IpAddr::V6(ip) => [ip.to_bits().checked_add(1), ip.to_bits().checked_sub(1)]
            .map(|bits| bits.map(|bits| IpAddr::V6(bits.into()))),
    };
    // In a network of two (RFC 3021, RFC 6164) both numbers are hosts.
    let is_host = |ip: &IpAddr| {
        let of_two = net.prefix_len() + 1 >= net.max_prefix_len();
        net.contains(ip) && (of_two || (*ip != net.network() && *ip != net.broadcast()))
    };
    beside.into_iter().flatten().find(is_host)
}

/// The way of a packet that passes through, with where it comes from: rules of routing may ask for that.
fn onward(probe: &Probe) -> Option<RouteQuestion> {
    if probe.path != Path::Forward {
        return None;
    }
    let dport = probe
        .connection
        .becomes
        .and_then(|new| new.dst)
        .map_or(probe.dport, |new| new.port);
    let question = RouteQuestion {
        from: Some(probe.src?),
        input: Some(probe.input?),
        mark: probe.mark.filter(|mark| *mark != 0),
        ..toward(probe.goal()?)
    };
    Some(question.of(probe.proto, probe.sport, dport))
}

/// The way to an address, for a packet of this box.
pub fn toward(address: IpAddr) -> RouteQuestion {
    RouteQuestion::toward(address)
}

/// The interface by which packets to an address leave, where `machine` has the answer to [`toward`].
pub fn way_out(machine: &Machine, address: Option<IpAddr>) -> Option<IfName> {
    output(machine, &toward(address?))
}

pub(super) fn output(machine: &Machine, asked: &RouteQuestion) -> Option<IfName> {
    match machine.route(asked)? {
        RouteAnswer::Way(way) => way.output,
        RouteAnswer::None { .. } | RouteAnswer::NotAsked(_) => None,
    }
}

/// The first address of an interface that others would call it by: not a link-local one.
fn own(machine: &Machine, name: IfName, family: Family) -> Option<IpAddr> {
    let interface: &Interface = machine.interface(name)?;
    let is_local = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let of_family = |ip: &IpAddr| ip.is_ipv6() == (family == Family::V6);
    let all = interface.addresses.iter().map(ipnet::IpNet::addr);
    let mut own = all.filter(of_family);
    own.clone().find(|ip| !is_local(ip)).or_else(|| own.next())
}
