//! The rarer matches as conditions: conntrack's many questions, sets, clocks, bytes, sockets, and what
//! nobody can know.

use crate::ruleset::Family;
use crate::ruleset::spec::matches::{
    Addrtype, Conntrack, CtDirection, Owner, Physdev, RecentAction,
};
use crate::ruleset::spec::value::WordSet;
use crate::ruleset::spec::{Address, Inv, Match, Spec};
use crate::verdict::bytes::Pattern;
use crate::verdict::clock::TimeTest;
use crate::verdict::cond::{
    AddrtypeTest, Bytes, BytesTest, Cond, CtTest, Odd, OwnerTest, PhysdevTest, RpfilterTest,
    TupleEnd, certain_chance,
};
use crate::verdict::sets::SetTest;

use super::matches::{net_bits, state_test, unknown};

/// Adds the condition of a match that the common ones leave.
pub(super) fn push(one: &Match<'_>, spec: &Spec<'_>, out: &mut Vec<Cond>) {
    let text = || words(one, spec);
    let odd = match one {
        Match::Addrtype(types) => Some(Odd::Addrtype(addrtype(types, text()))),
        Match::Physdev(physdev) => Some(Odd::Physdev(physdev_test(physdev, text()))),
        Match::Set(set) => Some(Odd::Set(SetTest {
            name: set.name.value.to_vec(),
            sides: SetTest::sides(&set.sides),
            invert: set.name.invert,
            return_nomatch: set.return_nomatch,
            beyond: set.packets.is_some() || set.bytes.is_some(),
            text: text(),
        })),
        Match::Time(time) => TimeTest::of(time, text()).map(Odd::Time),
        Match::String(string) => Some(Odd::Bytes(BytesTest {
            test: Bytes::String(Pattern::of(string)),
            invert: string.pattern.invert,
            text: text(),
        })),
        Match::U32(test) => Some(Odd::Bytes(BytesTest {
            test: Bytes::U32(test.value.clone()),
            invert: test.invert,
            text: text(),
        })),
        Match::Rpfilter(filter) => Some(Odd::Rpfilter(RpfilterTest {
            loose: filter.loose,
            by_mark: filter.validmark,
            accept_local: filter.accept_local,
            invert: filter.invert,
            text: text(),
        })),
        Match::Owner(owner) => Some(Odd::Owner(owner_test(owner, text()))),
        _ => None,
    };
    match (odd, one) {
        (Some(odd), _) => out.push(Cond::Odd(Box::new(odd))),
        (None, Match::Statistic(statistic)) => match certain_chance(statistic.mode) {
            Some(always) if always != statistic.invert => {}
            Some(_) => out.push(Cond::Never("a chance of nothing")),
            None => out.push(unknown(text(), "it picks packets by count or chance")),
        },
        // It adds the address and matches.
        (None, Match::Recent(recent)) if recent.action == Inv::plain(RecentAction::Set) => {}
        (None, one) => out.push(unknown(text(), why_unknown(one))),
    }
}

/// The way back to the packet's source is asked for.
pub(super) fn looks_back(spec: &Spec<'_>) -> bool {
    spec.matches
        .iter()
        .any(|one| matches!(one, Match::Rpfilter(_)))
}

fn why_unknown(one: &Match<'_>) -> &'static str {
    match one {
        Match::Limit(_) | Match::Hashlimit(_) => "depends on the traffic of the moment",
        Match::Connlimit(_) => "depends on how many connections there are",
        Match::Recent(_) => "depends on its list of addresses",
        Match::Time(_) => "depends on the kernel's time zone",
        _ => "this match is not understood",
    }
}

/// The match in the words of the board.
fn words(one: &Match<'_>, spec: &Spec<'_>) -> Box<str> {
    let alone = Spec {
        source: None,
        destination: None,
        in_interface: None,
        out_interface: None,
        protocol: None,
        fragment: None,
        only_family: None,
        matches: vec![one.clone()],
        target: None,
        counters: None,
        stray: Vec::new(),
        ..spec.clone()
    };
    crate::ruleset::Cells::of(&alone).matches.into()
}

/// `-m conntrack`: states alone are a common condition, the rest is not.
pub(super) fn push_conntrack(conntrack: &Conntrack<'_>, one: &Match<'_>, out: &mut Vec<Cond>) {
    let states = conntrack.states.map(state_test);
    let only_states = Conntrack {
        states: conntrack.states,
        ..Conntrack::default()
    };
    if let (Some(states), true) = (states, *conntrack == only_states) {
        out.push(Cond::State(states));
        return;
    }
    let spec = Spec::parse(b"", Family::V4, &|_| false);
    let mut test = CtTest {
        states,
        reply: conntrack
            .direction
            .map(|direction| direction == CtDirection::Reply),
        status: conntrack
            .status
            .map(|status| (status.value.bits(), status.invert)),
        beyond: conntrack.expires.is_some(),
        text: words(one, &spec),
        ..CtTest::default()
    };
    if let Some(protocol) = &conntrack.protocol {
        match protocol.value.number {
            Some(number) => test.proto = Some((number, protocol.invert)),
            None => test.beyond = true,
        }
    }
    for (addresses, end) in [
        (&conntrack.original_source, TupleEnd::OrigSrc),
        (&conntrack.original_destination, TupleEnd::OrigDst),
        (&conntrack.reply_source, TupleEnd::ReplSrc),
        (&conntrack.reply_destination, TupleEnd::ReplDst),
    ] {
        let Some(addresses) = addresses else { continue };
        match (&addresses.value.first, addresses.value.more.is_empty()) {
            (Address::Net(net), true) => {
                let (bits, mask) = net_bits(net);
                test.addresses.push((end, bits, mask, addresses.invert));
            }
            _ => test.beyond = true,
        }
    }
    for (ports, end) in [
        (conntrack.original_source_ports, TupleEnd::OrigSrc),
        (conntrack.original_destination_ports, TupleEnd::OrigDst),
        (conntrack.reply_source_ports, TupleEnd::ReplSrc),
        (conntrack.reply_destination_ports, TupleEnd::ReplDst),
    ] {
        if let Some(ports) = ports {
            test.ports.push((end, ports.value, ports.invert));
        }
    }
    out.push(Cond::Odd(Box::new(Odd::Ct(test))));
}

fn addrtype(types: &Addrtype, text: Box<str>) -> AddrtypeTest {
    AddrtypeTest {
        source: types.source.map(|types| (types.value, types.invert)),
        destination: types.destination.map(|types| (types.value, types.invert)),
        limit_in: types.limit_in,
        limit_out: types.limit_out,
        text,
    }
}

/// A packet that did not come over a bridge meets only inverted questions.
fn physdev_test(physdev: &Physdev<'_>, text: Box<str>) -> PhysdevTest {
    let plain = [
        physdev.input.as_ref().map(|one| one.invert),
        physdev.output.as_ref().map(|one| one.invert),
        physdev.is_in.as_ref().map(|one| one.invert),
        physdev.is_out.as_ref().map(|one| one.invert),
        physdev.is_bridged.as_ref().map(|one| one.invert),
    ];
    PhysdevTest {
        wants_bridge: plain.contains(&Some(false)),
        text,
    }
}

fn owner_test(owner: &Owner<'_>, text: Box<str>) -> OwnerTest {
    let inverts = [
        owner.user.as_ref().map(|one| one.invert),
        owner.group.as_ref().map(|one| one.invert),
        owner.socket_exists.as_ref().map(|one| one.invert),
    ];
    OwnerTest {
        all_inverted: !inverts.contains(&Some(false)),
        text,
    }
}
