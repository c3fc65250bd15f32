//! The interfaces of this network namespace with their addresses, from rtnetlink(7), and what sysctl
//! says of each.

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::netlink::{Asker, NetlinkError};
use super::sysctls;
use crate::flow::{IfName, Interface};

/// All interfaces, by index.
pub fn interfaces() -> Result<Vec<Interface>, NetlinkError> {
    let mut asker = Asker::open(NETLINK_ROUTE, "for the interfaces")?;
    let links = asker.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let mut found: Vec<Interface> = links.messages.iter().filter_map(link).collect();
    found.sort_by_key(|interface| interface.index);
    let addresses = asker.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    for message in &addresses.messages {
        if let RouteNetlinkMessage::NewAddress(message) = message {
            let index = message.header.index;
            let owner = found.iter_mut().find(|interface| interface.index == index);
            if let Some(owner) = owner {
                address(owner, message);
            }
        }
    }
    Ok(found)
}

fn link(message: &RouteNetlinkMessage) -> Option<Interface> {
    let RouteNetlinkMessage::NewLink(message) = message else {
        return None;
    };
    let flags = message.header.flags;
    let has = |flag: LinkFlags| flags.contains(flag);
    let mut interface = Interface {
        name: IfName::NONE,
        index: message.header.index,
        up: has(LinkFlags::Up),
        carrier: has(LinkFlags::LowerUp),
        loopback: has(LinkFlags::Loopback),
        port_of: None,
        bridge: false,
        addresses: Vec::new(),
        broadcasts: Vec::new(),
        rp_filter: None,
        forwards_v4: None,
        forwards_v6: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name = IfName::new(name.as_bytes())?,
            LinkAttribute::Controller(index) => interface.port_of = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                interface.bridge = infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
            }
            _ => {}
        }
    }
    if interface.name.is_none() {
        return None;
    }
    let name = String::from_utf8_lossy(interface.name.as_bytes()).into_owned();
    // A name may hold dots; as a path of /proc it is one folder all the same.
    let switch = |version: &str, key: &str| {
        sysctls::number(
            &Path::new("/proc/sys/net")
                .join(version)
                .join("conf")
                .join(&name)
                .join(key),
        )
    };
    interface.rp_filter = switch("ipv4", "rp_filter").and_then(|value| u8::try_from(value).ok());
    interface.forwards_v4 = switch("ipv4", "forwarding").map(|value| value != 0);
    interface.forwards_v6 = switch("ipv6", "forwarding").map(|value| value != 0);
    Some(interface)
}

/// On a point-to-point link IFA_ADDRESS is the other end and IFA_LOCAL ours; IPv6 has the first alone
/// (rtnetlink(7)).
fn address(owner: &mut Interface, message: &AddressMessage) {
    let (mut local, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Broadcast(ip) => owner.broadcasts.push(*ip),
            _ => {}
        }
    }
    let own: Option<IpAddr> = local.or(address);
    let net = own.and_then(|own| IpNet::new(own, message.header.prefix_len).ok());
    owner.addresses.extend(net);
}
