//! Which packets: protocol, state, ends and interfaces.

use super::{either, lossy};
use crate::ruleset::spec::matches::{Multiport, PortSide};
use crate::ruleset::spec::value::{StateSet, WordSet};
use crate::ruleset::spec::{Addresses, Interface, Inv, Match, Ports, Protocol, Spec};

/// The packets of a rule, as its general options and the commonest matches have them.
pub(super) struct Packets<'s, 'a> {
    spec: &'s Spec<'a>,
    states: Option<Inv<StateSet>>,
    /// Ports of the two ends.
    source: Option<Inv<Vec<Ports>>>,
    destination: Option<Inv<Vec<Ports>>>,
    icmp: Option<String>,
    /// Something else than these must hold.
    has_more: bool,
}

/// How a protocol is called in a sentence.
fn protocol_word(protocol: &Protocol<'_>) -> String {
    match protocol.number {
        Some(1) => "ICMP".to_owned(),
        Some(58) => "ICMPv6".to_owned(),
        Some(_) => match protocol.to_string() {
            name if name.starts_with(|c: char| c.is_ascii_digit()) => format!("protocol {name}"),
            name => name.to_uppercase(),
        },
        None => format!("protocol {} (not known here)", lossy(&protocol.text)),
    }
}

impl<'s, 'a> Packets<'s, 'a> {
    pub(super) fn of(spec: &'s Spec<'a>) -> Self {
        Self {
            spec,
            states: None,
            source: None,
            destination: None,
            icmp: None,
            has_more: false,
        }
    }

    /// Takes a match in whole if all that it says can be said here; else what it says is a clause.
    pub(super) fn take(&mut self, one: &Match<'_>) -> bool {
        let taken = match one {
            Match::Udp(udp) => self.ports(udp.source_ports, udp.destination_ports),
            Match::Dccp(dccp) if dccp.types.is_none() && dccp.option.is_none() => {
                self.ports(dccp.source_ports, dccp.destination_ports)
            }
            Match::Sctp(sctp) if sctp.chunks.is_none() => {
                self.ports(sctp.source_ports, sctp.destination_ports)
            }
            Match::Multiport(Multiport { side, ports }) => {
                let place = match side {
                    PortSide::Source => &mut self.source,
                    PortSide::Destination => &mut self.destination,
                    PortSide::Either => return false,
                };
                put(place, ports.clone())
            }
            Match::Conntrack(ct) => {
                let only = crate::ruleset::spec::matches::Conntrack {
                    states: ct.states,
                    ..Default::default()
                };
                **ct == only && ct.states.is_some_and(|states| self.state(states))
            }
            Match::State(states) => self.state(*states),
            Match::Icmp(icmp) if !icmp.invert && icmp.kind.is_some() => {
                let kind = icmp.kind.unwrap_or_default();
                let name = icmp.type_name().map_or_else(
                    || match icmp.code {
                        Some(code) => format!("type {kind} code {code}"),
                        None => format!("type {kind}"),
                    },
                    str::to_owned,
                );
                self.icmp.is_none() && {
                    self.icmp = Some(name);
                    true
                }
            }
            Match::Comment(_) => return true,
            _ => false,
        };
        self.has_more |= !taken;
        taken
    }

    /// Takes the ports of both ends; not if there are some already.
    pub(super) fn ports(
        &mut self,
        source: Option<Inv<Ports>>,
        destination: Option<Inv<Ports>>,
    ) -> bool {
        let busy = (source.is_some() && self.source.is_some())
            || (destination.is_some() && self.destination.is_some());
        if busy {
            return false;
        }
        let list = |ports: Inv<Ports>| Inv {
            invert: ports.invert,
            value: vec![ports.value],
        };
        self.source = self.source.take().or(source.map(list));
        self.destination = self.destination.take().or(destination.map(list));
        true
    }

    fn state(&mut self, states: Inv<StateSet>) -> bool {
        let beyond = StateSet::SNAT | StateSet::DNAT;
        if states.value.intersects(beyond) || states.value.is_empty() {
            return false;
        }
        put(&mut self.states, states)
    }

    /// `new TCP connections`, `every packet`.
    pub(super) fn words(&self) -> String {
        let spec = self.spec;
        let (protocol, any) = match &spec.protocol {
            Some(p) if p.value.number == Some(0) && !p.invert => (String::new(), true),
            Some(p) if p.invert => (
                format!("packets of anything but {}", protocol_word(&p.value)),
                false,
            ),
            Some(p) => (protocol_word(&p.value), false),
            None => (String::new(), true),
        };
        let inverted = spec.protocol.as_ref().is_some_and(|p| p.invert);
        let of_protocol = |noun: &str| match (any, inverted) {
            (true, _) => noun.to_owned(),
            (false, true) => protocol.clone(),
            (false, false) => format!("{protocol} {noun}"),
        };
        let fragments = spec.fragment.as_ref().map_or("", |fragment| {
            if fragment.invert {
                "whole or first-fragment "
            } else {
                "later fragments of "
            }
        });
        if let Some(icmp) = self.icmp.as_ref().filter(|_| !inverted) {
            let states = self.states.map(state_words).unwrap_or_default();
            return format!(
                "{fragments}{} {icmp} messages{states}",
                protocol_or(&protocol)
            );
        }
        let Some(states) = &self.states else {
            let nothing = spec.source.is_none()
                && spec.destination.is_none()
                && spec.in_interface.is_none()
                && spec.out_interface.is_none()
                && self.source.is_none()
                && self.destination.is_none()
                && !spec.matches.iter().any(|m| matches!(m, Match::Unknown(_)))
                && !self.has_more
                && !spec.matches.iter().any(|m| matches!(m, Match::Tcp(_)));
            return if any && nothing && fragments.is_empty() {
                "every packet".to_owned()
            } else {
                format!("{fragments}{}", of_protocol("packets"))
            };
        };
        let only_new = !states.invert && states.value == StateSet::NEW;
        if only_new && fragments.is_empty() && !inverted {
            return format!("new {}", of_protocol("connections"));
        }
        if !states.invert && states.value == StateSet::INVALID {
            return format!("{fragments}invalid {}", of_protocol("packets"));
        }
        if !states.invert && states.value == StateSet::UNTRACKED {
            return format!("{fragments}untracked {}", of_protocol("packets"));
        }
        format!(
            "{fragments}{}{}",
            of_protocol("packets"),
            state_words(*states)
        )
    }

    /// ` from 10.0.0.1 to port 443 arriving on eth0`.
    pub(super) fn ends(&self) -> String {
        let spec = self.spec;
        let mut text = end("from", spec.source.as_ref(), self.source.as_ref());
        text += &end("to", spec.destination.as_ref(), self.destination.as_ref());
        text += &way("arriving on", spec.in_interface.as_ref());
        text += &way("leaving by", spec.out_interface.as_ref());
        text
    }
}

fn protocol_or(protocol: &str) -> &str {
    if protocol.is_empty() {
        "ICMP"
    } else {
        protocol
    }
}

fn put<T>(place: &mut Option<T>, value: T) -> bool {
    let free = place.is_none();
    if free {
        *place = Some(value);
    }
    free
}

/// ` of related or established connections`.
fn state_words(states: Inv<StateSet>) -> String {
    let words: Vec<String> = StateSet::WORDS
        .iter()
        .filter(|row| states.value.bits() & row.1 != 0)
        .map(|row| row.0.to_lowercase())
        .collect();
    let tracked = !states
        .value
        .intersects(StateSet::INVALID | StateSet::UNTRACKED);
    let list = either(&words);
    match (states.invert, tracked) {
        (true, _) => format!(" of any but {list} connections"),
        (false, true) => format!(" of {list} connections"),
        (false, false) => format!(" whose state is {list}"),
    }
}

/// ` from 10.0.0.1 port 53`, ` to any port but 22`.
fn end(
    word: &str,
    addresses: Option<&Inv<Addresses<'_>>>,
    ports: Option<&Inv<Vec<Ports>>>,
) -> String {
    let list = |ports: &Inv<Vec<Ports>>| {
        let words: Vec<String> = ports.value.iter().copied().map(port_words).collect();
        either(&words)
    };
    let address = addresses.map(|side| {
        let all: Vec<String> = side.value.iter().map(ToString::to_string).collect();
        let all = either(&all);
        if side.invert {
            format!("anywhere but {all}")
        } else {
            all
        }
    });
    match (address, ports) {
        (None, None) => String::new(),
        (Some(address), None) => format!(" {word} {address}"),
        (None, Some(ports)) if ports.invert => format!(" {word} any port but {}", list(ports)),
        (None, Some(ports)) => format!(" {word} port {}", list(ports)),
        (Some(address), Some(ports)) if ports.invert => {
            format!(" {word} {address} on any port but {}", list(ports))
        }
        (Some(address), Some(ports)) => format!(" {word} {address} on port {}", list(ports)),
    }
}

/// `22`, `8000 to 8010`.
pub(super) fn port_words(ports: Ports) -> String {
    if ports.min == ports.max {
        ports.min.to_string()
    } else {
        format!("{} to {}", ports.min, ports.max)
    }
}

/// ` arriving on eth0`, ` not leaving by an interface that begins with ppp`.
fn way(word: &str, interface: Option<&Inv<Interface<'_>>>) -> String {
    let Some(interface) = interface else {
        return String::new();
    };
    let not = if interface.invert { "not " } else { "" };
    let name = lossy(&interface.value.text);
    let name = match name.strip_suffix('+') {
        Some("") => "any interface".to_owned(),
        Some(start) => format!("an interface that begins with {start}"),
        None => name,
    };
    format!(" {not}{word} {name}")
}
