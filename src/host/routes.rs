//! "Which way would this packet go?", asked of the kernel itself (RTM_GETROUTE of rtnetlink(7), what
//! `ip route get` does), so that policy routing, marks and every table count as they do for a packet.

use std::net::IpAddr;

use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType,
};
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::netlink::{Asker, NetlinkError};
use crate::flow::{IfName, Interface, Protocol, RouteAnswer, RouteQuestion, Way, WayKind};

/// Asks them all; `interfaces` turns names into the kernel's numbers and back.
pub fn ask(
    questions: &[RouteQuestion],
    interfaces: &[Interface],
) -> Vec<(RouteQuestion, RouteAnswer)> {
    let mut asker = Asker::open(NETLINK_ROUTE, "for a route");
    let mut answer = |question: &RouteQuestion| match &mut asker {
        Ok(asker) => one(asker, question, interfaces),
        Err(error) => RouteAnswer::NotAsked(error.to_string()),
    };
    questions
        .iter()
        .map(|question| (question.clone(), answer(question)))
        .collect()
}

/// Whether a rule of routing (`ip rule`) of either family asks for a mark.
pub fn by_mark() -> Result<bool, NetlinkError> {
    let mut asker = Asker::open(NETLINK_ROUTE, "for the rules of routing")?;
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut asked = RuleMessage::default();
        asked.header.family = family;
        let rules = match asker.dump(RouteNetlinkMessage::GetRule(asked)) {
            Ok(rules) => rules,
            // A kernel without policy routing, or without the family.
            Err(error) if error.refusal().is_some() => continue,
            Err(error) => return Err(error),
        };
        let asks = |message: &RouteNetlinkMessage| match message {
            RouteNetlinkMessage::NewRule(rule) => rule
                .attributes
                .iter()
                .any(|one| matches!(one, RuleAttribute::FwMark(_))),
            _ => false,
        };
        if rules.messages.iter().any(asks) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn one(asker: &mut Asker, question: &RouteQuestion, interfaces: &[Interface]) -> RouteAnswer {
    let message = match message(question, interfaces) {
        Ok(message) => message,
        Err(why) => return RouteAnswer::NotAsked(why),
    };
    match asker.one(RouteNetlinkMessage::GetRoute(message)) {
        Ok(answer) => match answer.messages.first() {
            Some(RouteNetlinkMessage::NewRoute(route)) => RouteAnswer::Way(way(route, interfaces)),
            _ => RouteAnswer::NotAsked("the kernel's answer is not understood".to_owned()),
        },
        Err(error) => refused(&error),
    }
}

/// An error of the kernel is its answer; anything else is none.
fn refused(error: &NetlinkError) -> RouteAnswer {
    match error.refusal() {
        Some(errno) => RouteAnswer::None {
            errno,
            words: nix::errno::Errno::from_raw(errno).desc().to_owned(),
        },
        None => RouteAnswer::NotAsked(error.to_string()),
    }
}

fn message(question: &RouteQuestion, interfaces: &[Interface]) -> Result<RouteMessage, String> {
    let index = |name: IfName| {
        let found = interfaces.iter().find(|interface| interface.name == name);
        found
            .map(|interface| interface.index)
            .ok_or_else(|| format!("there is no interface {name}"))
    };
    let (family, bits) = match question.to {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.destination_prefix_length = bits;
    // The table that the route is in, not merely "main" (ip-route(8), RTM_F_LOOKUP_TABLE).
    message.header.flags = RouteFlags::LookupTable;
    if question.every {
        message.header.flags |= RouteFlags::FibMatch;
    }
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Destination(question.to.into()));
    if let Some(from) = question.from {
        message.header.source_prefix_length = bits;
        attributes.push(RouteAttribute::Source(from.into()));
    }
    if let Some(name) = question.input {
        attributes.push(RouteAttribute::Iif(index(name)?));
    }
    if let Some(name) = question.output {
        attributes.push(RouteAttribute::Oif(index(name)?));
    }
    if let Some(mark) = question.mark {
        attributes.push(RouteAttribute::Mark(mark));
    }
    // Without a protocol the kernel has no ports to look at.
    if let Some(Protocol(proto)) = question.proto {
        attributes.push(RouteAttribute::IpProto(proto));
        attributes.extend(question.sport.map(RouteAttribute::Sport));
        attributes.extend(question.dport.map(RouteAttribute::Dport));
    }
    Ok(message)
}

fn way(route: &RouteMessage, interfaces: &[Interface]) -> Way {
    let mut way = Way {
        kind: match route.header.kind {
            RouteType::Unicast => WayKind::Unicast,
            RouteType::Local => WayKind::Local,
            RouteType::Broadcast => WayKind::Broadcast,
            RouteType::Multicast => WayKind::Multicast,
            RouteType::BlackHole => WayKind::Blackhole,
            RouteType::Unreachable => WayKind::Unreachable,
            RouteType::Prohibit => WayKind::Prohibit,
            _ => WayKind::Other,
        },
        output: None,
        gateway: None,
        table: u32::from(route.header.table),
    };
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => {
                let found = interfaces.iter().find(|known| known.index == *index);
                way.output = found.map(|interface| interface.name);
            }
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => way.gateway = Some((*ip).into()),
            RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => way.gateway = Some((*ip).into()),
            RouteAttribute::Table(table) => way.table = *table,
            _ => {}
        }
    }
    way
}
