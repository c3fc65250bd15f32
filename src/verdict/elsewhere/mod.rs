//! Causes that are not this firewall: nobody listens, an interface is down, there is no way there or back,
//! the kernel does not forward, the connection table is full, somebody else's table drops.
//!
//! Facts of the box go in ([`Machine`]) with a packet and what the rules say of it; a list of causes comes out,
//! each with its evidence and with how much it weighs. What is fine is said too: a tick is an answer. What
//! was not read gives no cause and no tick.
//!
//! The kernel is asked, not imitated: whether a packet would be routed, and whether the reverse path filter
//! lets it in, is its own answer to [`questions`]; the switches (rp_filter, forwarding) then say why.

mod ends;
mod rest;
#[cfg(test)]
mod tests;
mod ways;

use std::net::IpAddr;

use super::explain::Explanation;
use super::probe::{CtState, Path, Probe};
use crate::flow::{Machine, RouteQuestion};
use crate::ruleset::{BaseChain, Family};

/// How much a cause weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Looked at, and in order.
    Fine,
    /// Good to know.
    Note,
    /// May stop the packet.
    Doubt,
    /// Stops it, whatever the rules say.
    Blocks,
}

/// What a cause is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// An interface that the packet passes.
    Interface,
    /// Whose address the destination is.
    Address,
    /// Who waits for the packet.
    Listener,
    /// The way to the destination.
    Route,
    /// The way of the answer.
    RouteBack,
    /// The reverse path filter.
    RpFilter,
    /// Packets of others are passed on.
    Forwarding,
    /// The connection table.
    Conntrack,
    /// Bridged packets and these chains.
    Bridge,
    /// A native nft chain.
    Native,
    /// Another program that writes rules.
    Manager,
    /// Another packet of the same connection, and the rules.
    Connection,
    /// Something that could not be read.
    Unread,
}

/// One cause, or tick. Texts hold names of strangers: strip before drawing.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Cause {
    /// What it is about.
    pub about: About,
    /// How much it weighs.
    pub grade: Grade,
    /// A few words: `nobody listens on 443/tcp`.
    pub says: String,
    /// Where that stands: `net.ipv4.ip_forward = 0`.
    pub evidence: String,
}

/// What to ask the kernel about a packet's ways. `links`: the interfaces of the box, where they are known.
pub fn questions(probe: &Probe, explanation: &Explanation, links: &Machine) -> Vec<RouteQuestion> {
    let packet = Packet::new(probe, explanation, links);
    [
        packet.first_question(),
        packet.way_question(),
        packet.back_question(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The causes, the heaviest first, and of one weight in the order in which a packet meets them.
/// `explanation` is what the rules say of the packet, `natives` the nft chains that iptables does not show.
pub fn elsewhere(
    probe: &Probe,
    explanation: &Explanation,
    machine: &Machine,
    natives: &[BaseChain],
) -> Vec<Cause> {
    let mut finder = Finder {
        packet: Packet::new(probe, explanation, machine),
        machine,
        found: Vec::new(),
    };
    finder.interfaces();
    finder.address();
    finder.listener();
    finder.routes();
    finder.forwarding();
    finder.conntrack();
    finder.bridge();
    finder.natives(explanation, natives);
    finder.managers();
    for problem in &machine.problems {
        finder.say(
            About::Unread,
            Grade::Note,
            "not everything could be read",
            problem,
        );
    }
    let mut found = finder.found;
    found.sort_by_key(|cause| std::cmp::Reverse(cause.grade));
    found
}

/// The packet as routing sees it: after NAT of its destination.
pub(super) struct Packet<'a> {
    probe: &'a Probe,
    /// Where it goes in the end.
    pub(super) dst: Option<IpAddr>,
    dport: Option<u16>,
    /// The mark that it is routed with.
    mark: Option<u32>,
    /// It came by the loopback interface: this box sent it, and it was routed then.
    loops: bool,
    /// Its destination was changed.
    translated: bool,
    /// Its way in truth, where the addresses of the box are known.
    pub(super) path: Path,
    /// The destination is an address of the box, or the broadcast address of one of its networks.
    is_local: Option<bool>,
    /// It is for more than one: broadcast or multicast.
    to_many: bool,
}

impl<'a> Packet<'a> {
    pub(super) fn new(probe: &'a Probe, explanation: &Explanation, machine: &Machine) -> Self {
        let (local, broadcasts) = (machine.addresses(), machine.broadcasts());
        let new = explanation.dst.as_ref();
        let dst = new.map_or(probe.dst, |new| new.address);
        let dport = new.map_or(probe.dport, |new| new.port);
        let group = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
            IpAddr::V6(ip) => ip.is_multicast(),
        };
        let is_local = dst.and_then(|dst| match &local {
            _ if dst.is_loopback() => Some(true),
            Some(_) if group(dst) => None,
            Some(local) => Some(local.contains(&dst) || broadcasts.contains(&dst)),
            None => None,
        });
        let to_many = dst.is_some_and(|dst| group(dst) || broadcasts.contains(&dst));
        let path = match (probe.path, is_local) {
            (Path::Output, _) | (_, None) => probe.path,
            (_, Some(true)) => Path::Input,
            (_, Some(false)) => Path::Forward,
        };
        let input = probe.input.filter(|_| probe.path != Path::Output);
        let loops = input.is_some_and(|name| {
            let known = machine.interface(name);
            known.map_or(name.as_bytes() == b"lo", |known| known.loopback)
        });
        Self {
            probe,
            dst,
            dport,
            mark: explanation.mark,
            loops,
            translated: new.is_some(),
            path,
            is_local,
            to_many,
        }
    }

    fn v6(&self) -> bool {
        self.probe.family == Family::V6
    }

    /// It opens a connection, or nothing else is said of it.
    fn opens(&self) -> bool {
        matches!(self.probe.ctstate, None | Some(CtState::New))
    }

    /// The way to the destination; of a packet that comes in with its source, so that the kernel checks
    /// that too.
    pub(super) fn way_question(&self) -> Option<RouteQuestion> {
        if self.loops {
            return None; // it carries the route that it was sent with (`skb_valid_dst`, ip_rcv_finish_core)
        }
        let to = self.dst?;
        let comes_in = self.probe.path != Path::Output;
        let input = self.probe.input.filter(|_| comes_in);
        if comes_in && (input.is_none() || self.probe.src.is_none()) && self.path == Path::Input {
            return None; // only a packet with both ends is routed in
        }
        let question = RouteQuestion {
            // Without its interface the kernel takes a strange source for a mistake of ours.
            from: self.probe.src.filter(|_| input.is_some()),
            input: input.filter(|_| self.probe.src.is_some()),
            // Asked with an interface, IPv4 takes a destination without a route for a neighbour there; a
            // link-local address of IPv6 means nothing without one.
            output: self.probe.output.filter(|_| !comes_in && is_link_local(to)),
            mark: self.mark.filter(|mark| *mark != 0),
            ..RouteQuestion::toward(to)
        };
        Some(question.of(self.probe.proto, self.probe.sport, self.dport))
    }

    /// The way of a packet of this box before rules of OUTPUT change it: without one it is not even made.
    pub(super) fn first_question(&self) -> Option<RouteQuestion> {
        let to = self.probe.dst.filter(|_| self.probe.path == Path::Output)?;
        if !self.translated && self.mark == self.probe.mark {
            return None;
        }
        let question = RouteQuestion {
            output: self.probe.output.filter(|_| is_link_local(to)),
            mark: self.probe.mark.filter(|mark| *mark != 0),
            ..RouteQuestion::toward(to)
        };
        Some(question.of(self.probe.proto, self.probe.sport, self.probe.dport))
    }

    /// The way of the answer, to the source of a packet that comes in.
    fn back_question(&self) -> Option<RouteQuestion> {
        if self.probe.path == Path::Output {
            return None;
        }
        let to = self.probe.src?;
        let question = RouteQuestion {
            from: self.dst.filter(|_| self.is_local == Some(true)),
            output: self.probe.input.filter(|_| is_link_local(to)),
            ..RouteQuestion::toward(to)
        };
        Some(question.of(self.probe.proto, self.dport, self.probe.sport))
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(six) if six.is_unicast_link_local())
}

struct Finder<'a> {
    packet: Packet<'a>,
    machine: &'a Machine,
    found: Vec<Cause>,
}

impl Finder<'_> {
    fn say(
        &mut self,
        about: About,
        grade: Grade,
        says: impl Into<String>,
        evidence: impl Into<String>,
    ) {
        self.found.push(Cause {
            about,
            grade,
            says: says.into(),
            evidence: evidence.into(),
        });
    }
}
