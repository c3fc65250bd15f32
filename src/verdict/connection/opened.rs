//! The packets that follow a first one, from what it was and what became of it.
//!
//! Each hook sees other addresses of them: those that are translated come with what is to be done ([`Bound`]), and
//! the walk does it where NAT stands.

use super::{Bound, Connection, End, Part, lo};
use crate::flow::{IfName, Protocol, RouteAnswer, TcpFlags, Way, WayKind};
use crate::verdict::facts::Facts;
use crate::verdict::program::Program;
use crate::verdict::state::{LO, State, address_of, ct, name_of};
use crate::verdict::{CtState, Path, Probe};

/// A first packet, and what it was when it left.
pub(super) struct Opened {
    pub first: Probe,
    pub end: State,
}

impl Opened {
    /// The others, in the order in which they come.
    pub(super) fn packets(&self, program: &Program, facts: &Facts) -> Vec<(Part, Probe)> {
        let untracked = self.end.ct == ct::UNTRACKED;
        if !untracked && self.end.ct & ct::UNTRACKED != 0 {
            return Vec::new();
        }
        let back = self.back(untracked);
        let rest = self.rest(untracked);
        // Of others the second answer is as the first.
        let later = rest.tcp_flags.map(|flags| Probe {
            tcp_flags: Some(flags),
            ctstate: rest.ctstate,
            ..back.clone()
        });
        let mut following = vec![(Part::Answer, back), (Part::Rest, rest)];
        following.extend(later.map(|later| (Part::Rest, later)));
        let mut parts = Vec::new();
        if self.is_to_itself(facts) {
            match self.first.path {
                Path::Output => parts.extend(self.again(&self.end, &self.first, Part::WayIn)),
                _ => {
                    let out = Probe {
                        connection: Connection::default(),
                        ..Self::sent(&self.first)
                    };
                    parts.push((Part::WayOut, out));
                }
            }
            for (part, packet) in following {
                let out = Self::sent(&packet);
                let end = program.end(&out, facts);
                parts.push((part, out));
                // What is stopped on its way out does not come in again.
                parts.extend(end.and_then(|end| self.again(&end, &packet, part)));
            }
        } else {
            parts.append(&mut following);
        }
        parts
    }

    /// From this box to this box.
    fn is_to_itself(&self, facts: &Facts) -> bool {
        let own = |bits: Option<u128>| {
            let address = bits.map(|bits| address_of(bits, self.end.v6));
            address.is_some_and(|address| facts.is_local(address) == Some(true))
        };
        let lo = |name: Option<IfName>| name.is_some_and(|name| name.as_bytes() == b"lo");
        match self.end.path {
            Path::Output => own(self.end.dst) || self.end.leaves_by == Some(LO),
            Path::Input => {
                let src = self.first.src;
                lo(self.first.input) || src.is_some_and(|src| facts.is_local(src) == Some(true))
            }
            Path::Forward => false,
        }
    }

    /// The packet where a program of this box sends it to this box.
    fn sent(packet: &Probe) -> Probe {
        Probe {
            path: Path::Output,
            input: None,
            // Routed by where it goes at first, which is elsewhere where a rule then turns it.
            output: match packet.path {
                Path::Output => packet.output.or(lo()),
                _ => lo(),
            },
            ..packet.clone()
        }
    }

    /// The packet that left so, where it comes in again.
    fn again(&self, end: &State, packet: &Probe, part: Part) -> Option<(Part, Probe)> {
        let address = |bits: Option<u128>| bits.map(|bits| address_of(bits, end.v6));
        let bound = Bound {
            dnat: end.dnat,
            snat: end.snat,
            src: None,
            dst: None,
        };
        // Nobody looks at the connection of a packet again that has none.
        let ctstate = match end.ct {
            ct::UNTRACKED => CtState::Untracked,
            ct::INVALID => CtState::Invalid,
            ct::NEW => CtState::New,
            ct::ESTABLISHED => CtState::Established,
            _ => return None,
        };
        let probe = Probe {
            path: Path::Input,
            input: lo(),
            output: None,
            src: address(end.src),
            dst: address(end.dst),
            sport: end.sport,
            dport: end.dport,
            mark: end.mark,
            ctstate: Some(ctstate),
            connection: Connection {
                mark: end.connmark,
                becomes: Some(bound),
                ..self.connection(packet.connection.reply == Some(true))
            },
            ..packet.clone()
        };
        Some((part, probe))
    }

    /// What answers it.
    fn back(&self, untracked: bool) -> Probe {
        let (first, end) = (&self.first, &self.end);
        let address = |bits: Option<u128>| bits.map(|bits| address_of(bits, end.v6));
        let left_by = end.leaves_by.and_then(name_of).or(first.output);
        let home = first.connection.home.or(first.input);
        let (path, input, output) = match end.path {
            Path::Input => (Path::Output, None, home),
            Path::Forward => (Path::Forward, left_by, home),
            Path::Output => (Path::Input, left_by, None),
        };
        let is_syn = first
            .tcp_flags
            .is_none_or(|flags| flags.contains(TcpFlags::SYN));
        let flags = if is_syn {
            TcpFlags::SYN | TcpFlags::ACK
        } else {
            TcpFlags::ACK
        };
        let tcp = first.proto == Some(Protocol::TCP);
        let icmp = first.proto.is_some_and(Protocol::is_icmp);
        let ctstate = match untracked {
            false => CtState::Established,
            true if icmp || tcp && is_syn => CtState::Invalid,
            true => CtState::New,
        };
        let bound = Bound {
            dnat: end.dnat,
            snat: end.snat,
            src: Some(End {
                address: first.dst,
                port: first.dport,
            }),
            dst: Some(End {
                address: first.src,
                port: first.sport,
            }),
        };
        Probe {
            input,
            output,
            proto: first.proto,
            src: address(end.dst),
            sport: end.dport,
            dst: address(end.src),
            dport: end.sport,
            // Echo reply: RFC 792, RFC 4443.
            icmp_type: icmp.then_some(if end.v6 { 129 } else { 0 }),
            icmp_code: icmp.then_some(0),
            tcp_flags: tcp.then_some(flags),
            ctstate: Some(ctstate),
            // The first packet went to its sender by that interface.
            back: left_by.filter(|_| path != Path::Output).map(|name| {
                RouteAnswer::Way(Way {
                    kind: WayKind::Unicast,
                    output: Some(name),
                    gateway: None,
                    table: 0,
                })
            }),
            connection: if untracked {
                Connection {
                    reply: Some(true),
                    ..Connection::default()
                }
            } else {
                Connection {
                    mark: end.connmark,
                    becomes: Some(bound),
                    ..self.connection(true)
                }
            },
            ..Probe::new(first.family, path)
        }
    }

    /// What follows it from the same side.
    fn rest(&self, untracked: bool) -> Probe {
        let (first, end) = (&self.first, &self.end);
        let address = |bits: Option<u128>| bits.map(|bits| address_of(bits, end.v6));
        let bound = Bound {
            dnat: end.dnat,
            snat: end.snat,
            src: Some(End {
                address: address(end.src),
                port: end.sport,
            }),
            dst: Some(End {
                address: address(end.dst),
                port: end.dport,
            }),
        };
        let tcp = first.proto == Some(Protocol::TCP);
        Probe {
            path: end.path,
            open: false,
            output: match end.path {
                Path::Forward => end.leaves_by.and_then(name_of).or(first.output),
                _ => first.output,
            },
            tcp_flags: tcp.then_some(TcpFlags::ACK),
            // Untracked by the rule that made the first one so, or taken for a new one.
            ctstate: Some(if untracked {
                CtState::New
            } else {
                CtState::Established
            }),
            connection: if untracked {
                Connection::default()
            } else {
                Connection {
                    mark: end.connmark,
                    becomes: Some(bound),
                    ..self.connection(false)
                }
            },
            length: None,
            bytes: None,
            ..first.clone()
        }
    }

    /// The ends of the first packet.
    fn connection(&self, reply: bool) -> Connection {
        Connection {
            reply: Some(reply),
            src: self.first.src,
            dst: self.first.dst,
            sport: self.first.sport,
            dport: self.first.dport,
            ..Connection::default()
        }
    }
}
