//! Whether a rule is about all of the packets that another one is about, about some of them, or about none.
//!
//! Condition by condition. What cannot be compared may hold or not, so it makes the answer "some". Two
//! liberties are taken, both on the side of what people mean: `! -i lo` holds for packets whose interface
//! is not said, and a packet that opens a TCP connection has the flags of a SYN.

use crate::ruleset::spec::matches::{Icmp, PortSide, TcpFlagTest};
use crate::ruleset::spec::value::{Net, StateSet, WordSet};
use crate::ruleset::spec::{Address, Addresses, Interface, Inv, Match, Ports, Spec};

/// How the packets of a rule stand to those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// All of the other's are among its own.
    All,
    /// Some are, or may be.
    Some,
    /// None is.
    None,
}

/// Whether one condition holds for the packets in question: for all, for none, or that is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Yes,
    No,
    Maybe,
}

impl Holds {
    fn turned(self, invert: bool) -> Self {
        match (self, invert) {
            (Self::Yes, true) => Self::No,
            (Self::No, true) => Self::Yes,
            (same, _) => same,
        }
    }

    fn of(all: bool, none: bool) -> Self {
        match (all, none) {
            (true, _) => Self::Yes,
            (_, true) => Self::No,
            _ => Self::Maybe,
        }
    }
}

/// What `rule` is to the packets of `wanted`.
pub(super) fn relation(rule: &Spec<'_>, wanted: &Spec<'_>) -> Relation {
    let mut all = vec![
        protocol(rule, wanted),
        addresses(rule.source.as_ref(), wanted.source.as_ref()),
        addresses(rule.destination.as_ref(), wanted.destination.as_ref()),
        interface(rule.in_interface.as_ref(), wanted.in_interface.as_ref()),
        interface(rule.out_interface.as_ref(), wanted.out_interface.as_ref()),
        match &rule.fragment {
            Some(fragment) if !fragment.invert => Holds::Maybe,
            _ => Holds::Yes,
        },
    ];
    all.extend(rule.matches.iter().map(|one| holds(one, wanted)));
    if !rule.stray.is_empty() {
        all.push(Holds::Maybe);
    }
    if all.contains(&Holds::No) {
        Relation::None
    } else if all.contains(&Holds::Maybe) {
        Relation::Some
    } else {
        Relation::All
    }
}

fn protocol(rule: &Spec<'_>, wanted: &Spec<'_>) -> Holds {
    let Some(own) = &rule.protocol else {
        return Holds::Yes;
    };
    if own.value.number == Some(0) {
        return Holds::Yes.turned(own.invert);
    }
    match &wanted.protocol {
        Some(other) if !other.invert && other.value.number != Some(0) => {
            let same = own.value == other.value;
            Holds::of(same, !same).turned(own.invert)
        }
        _ => Holds::Maybe,
    }
}

fn addresses(own: Option<&Inv<Addresses<'_>>>, wanted: Option<&Inv<Addresses<'_>>>) -> Holds {
    let Some(own) = own else { return Holds::Yes };
    let nets = |side: &Addresses<'_>| -> Option<Vec<Net>> {
        side.iter()
            .map(|address| match address {
                Address::Net(net) => Some(*net),
                Address::Name(_) => None,
            })
            .collect()
    };
    let Some(nets_own) = nets(&own.value) else {
        return Holds::Maybe;
    };
    if nets_own.iter().any(Net::is_any) {
        return Holds::Yes.turned(own.invert);
    }
    let Some(nets_wanted) = wanted
        .filter(|wanted| !wanted.invert)
        .and_then(|wanted| nets(&wanted.value))
    else {
        return Holds::Maybe;
    };
    let all = nets_wanted
        .iter()
        .all(|net| nets_own.iter().any(|own| is_within(net, own)));
    let none = nets_wanted
        .iter()
        .all(|net| nets_own.iter().all(|own| !overlap(net, own)));
    Holds::of(all, none).turned(own.invert)
}

fn first_address(net: &Net) -> std::net::IpAddr {
    match net {
        Net::V4 { address, .. } => (*address).into(),
        Net::V6 { address, .. } => (*address).into(),
    }
}

fn is_within(net: &Net, own: &Net) -> bool {
    match (net.prefix(), own.prefix()) {
        (Some(net_bits), Some(own_bits)) => {
            own_bits <= net_bits && own.contains(first_address(net))
        }
        _ => net == own,
    }
}

/// Networks with odd masks may always overlap.
fn overlap(one: &Net, other: &Net) -> bool {
    one.prefix().is_none()
        || other.prefix().is_none()
        || one.contains(first_address(other))
        || other.contains(first_address(one))
}

fn interface(own: Option<&Inv<Interface<'_>>>, wanted: Option<&Inv<Interface<'_>>>) -> Holds {
    let Some(own) = own else { return Holds::Yes };
    if own.value.is_any() {
        return Holds::Yes.turned(own.invert);
    }
    match wanted.filter(|wanted| !wanted.invert) {
        Some(wanted) => {
            let name = &wanted.value.text;
            if name.ends_with(b"+") {
                return Holds::of(own.value.text == *name, false).turned(own.invert);
            }
            let same = own.value.matches(name);
            Holds::of(same, !same).turned(own.invert)
        }
        None if own.invert && *own.value.text == *b"lo" => Holds::Yes,
        None => Holds::Maybe,
    }
}

/// Whether a match holds for the packets of the wanted rule.
fn holds(one: &Match<'_>, wanted: &Spec<'_>) -> Holds {
    let destination = |own: Option<Inv<Ports>>| {
        ports(
            own.map(list),
            ports_of(wanted, PortSide::Destination).as_ref(),
        )
    };
    let source =
        |own: Option<Inv<Ports>>| ports(own.map(list), ports_of(wanted, PortSide::Source).as_ref());
    let both = |source_ports, destination_ports| match (
        source(source_ports),
        destination(destination_ports),
    ) {
        (Holds::No, _) | (_, Holds::No) => Holds::No,
        (Holds::Yes, Holds::Yes) => Holds::Yes,
        _ => Holds::Maybe,
    };
    match one {
        Match::Comment(_) => Holds::Yes,
        Match::Tcp(tcp) => {
            let flags = match tcp.flags {
                None => Holds::Yes,
                Some(Inv {
                    invert: false,
                    value,
                }) if value == TcpFlagTest::SYN && is_new(wanted) => Holds::Yes,
                Some(_) => Holds::Maybe,
            };
            match (
                both(tcp.source_ports, tcp.destination_ports),
                flags,
                tcp.option,
            ) {
                (Holds::No, ..) => Holds::No,
                (Holds::Yes, Holds::Yes, None) => Holds::Yes,
                _ => Holds::Maybe,
            }
        }
        Match::Udp(udp) => both(udp.source_ports, udp.destination_ports),
        Match::Dccp(dccp) if dccp.types.is_none() && dccp.option.is_none() => {
            both(dccp.source_ports, dccp.destination_ports)
        }
        Match::Sctp(sctp) if sctp.chunks.is_none() => {
            both(sctp.source_ports, sctp.destination_ports)
        }
        Match::Multiport(multiport) if multiport.side != PortSide::Either => ports(
            Some(multiport.ports.clone()),
            ports_of(wanted, multiport.side).as_ref(),
        ),
        Match::State(states) => state(*states, wanted),
        Match::Conntrack(ct) => {
            let only = crate::ruleset::spec::matches::Conntrack {
                states: ct.states,
                ..Default::default()
            };
            match ct.states.map(|states| state(states, wanted)) {
                Some(Holds::No) => Holds::No,
                Some(found) if **ct == only => found,
                _ => Holds::Maybe,
            }
        }
        Match::Icmp(icmp) => icmp_types(*icmp, wanted),
        // What arrives at INPUT is for this machine.
        Match::Addrtype(types)
            if types.source.is_none()
                && types.destination.is_some_and(|kind| {
                    !kind.invert && kind.value == crate::ruleset::spec::value::AddrTypes::LOCAL
                }) =>
        {
            Holds::Yes
        }
        Match::Hl(own) => {
            let same = wanted
                .matches
                .iter()
                .any(|m| matches!(m, Match::Hl(other) if other == own));
            Holds::of(same, false)
        }
        _ => Holds::Maybe,
    }
}

fn list(ports: Inv<Ports>) -> Inv<Vec<Ports>> {
    Inv {
        invert: ports.invert,
        value: vec![ports.value],
    }
}

/// The ports that a rule says of a side; none where it says nothing that could be compared.
fn ports_of(spec: &Spec<'_>, side: PortSide) -> Option<Vec<Ports>> {
    let of = |source: Option<Inv<Ports>>, destination: Option<Inv<Ports>>| {
        let own = if side == PortSide::Source {
            source
        } else {
            destination
        };
        own.filter(|own| !own.invert).map(|own| vec![own.value])
    };
    spec.matches.iter().find_map(|one| match one {
        Match::Tcp(tcp) => of(tcp.source_ports, tcp.destination_ports),
        Match::Udp(udp) => of(udp.source_ports, udp.destination_ports),
        Match::Sctp(sctp) => of(sctp.source_ports, sctp.destination_ports),
        Match::Dccp(dccp) => of(dccp.source_ports, dccp.destination_ports),
        Match::Multiport(list) if list.side == side && !list.ports.invert => {
            Some(list.ports.value.clone())
        }
        _ => None,
    })
}

fn ports(own: Option<Inv<Vec<Ports>>>, wanted: Option<&Vec<Ports>>) -> Holds {
    let Some(own) = own else { return Holds::Yes };
    let Some(wanted) = wanted else {
        return Holds::Maybe;
    };
    let within = |one: &Ports| {
        own.value
            .iter()
            .any(|o| o.min <= one.min && one.max <= o.max)
    };
    let apart = |one: &Ports| own.value.iter().all(|o| o.max < one.min || one.max < o.min);
    Holds::of(wanted.iter().all(within), wanted.iter().all(apart)).turned(own.invert)
}

/// The states that a rule asks for; none where it asks for none, or by exclusion.
pub(super) fn states_of(spec: &Spec<'_>) -> Option<StateSet> {
    spec.matches.iter().find_map(|one| match one {
        Match::State(states) if !states.invert => Some(states.value),
        Match::Conntrack(ct) => ct
            .states
            .filter(|states| !states.invert)
            .map(|states| states.value),
        _ => None,
    })
}

fn is_new(wanted: &Spec<'_>) -> bool {
    states_of(wanted).is_none_or(|states| states == StateSet::NEW)
}

fn state(own: Inv<StateSet>, wanted: &Spec<'_>) -> Holds {
    match states_of(wanted) {
        Some(states) => {
            Holds::of(own.value.contains(states), !own.value.intersects(states)).turned(own.invert)
        }
        None => Holds::Maybe,
    }
}

fn icmp_types(own: Icmp, wanted: &Spec<'_>) -> Holds {
    let Some(own_kind) = own.kind else {
        return Holds::Yes.turned(own.invert);
    };
    let other = wanted.matches.iter().find_map(|one| match one {
        Match::Icmp(icmp) if !icmp.invert => Some(*icmp),
        _ => None,
    });
    let Some(Icmp {
        kind: Some(kind),
        code,
        ..
    }) = other
    else {
        return Holds::Maybe;
    };
    let same = own_kind == kind && (own.code.is_none() || own.code == code);
    let apart = own_kind != kind || own.code.zip(code).is_some_and(|(a, b)| a != b);
    Holds::of(same, apart).turned(own.invert)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::Family;

    #[test]
    fn conditions_are_compared() {
        use Relation as R;
        let wanted = "-i eth0 -s 10.1.0.0/16 -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW";
        let cases = [
            ("", R::All),
            ("-p tcp", R::All),
            ("-p udp", R::None),
            ("! -p udp", R::All),
            ("-p tcp --dport 443", R::All),
            ("-p tcp --dport 400:500", R::All),
            ("-p tcp --dport 80", R::None),
            ("-p tcp -m multiport --dports 80,443", R::All),
            ("-p tcp -m multiport ! --dports 80,443", R::None),
            ("-p tcp --sport 1024:", R::Some),
            ("-s 10.0.0.0/8", R::All),
            ("-s 10.1.2.0/24", R::Some),
            ("-s 192.168.0.0/16", R::None),
            ("! -s 192.168.0.0/16", R::All),
            ("-s example.org", R::Some),
            ("-i eth+", R::All),
            ("-i eth1", R::None),
            ("! -i lo", R::All),
            ("-m conntrack --ctstate NEW,ESTABLISHED", R::All),
            ("-m conntrack --ctstate INVALID", R::None),
            ("-p tcp --syn", R::All),
            ("-m limit --limit 5/min", R::Some),
            ("-m set --match-set x src", R::Some),
            ("-m foo", R::Some),
            ("-m comment --comment x", R::All),
        ];
        let parse = |text: &'static str| Spec::parse(text.as_bytes(), Family::V4, &|_| false);
        for (rule, expected) in cases {
            assert_eq!(relation(&parse(rule), &parse(wanted)), expected, "{rule}");
        }
    }
}
