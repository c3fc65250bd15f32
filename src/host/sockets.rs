//! Sockets of this network namespace, from sock_diag(7): those that wait for packets, and the TCP
//! connections that stand.
//!
//! Not from /proc/net/tcp, which does not say whether an IPv6 listener takes IPv4 too.

use std::net::{IpAddr, SocketAddr};

use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla,
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::netlink::{Asker, NetlinkError};
use super::processes::Processes;
use crate::flow::{Listener, Protocol};

/// `AF_INET` and `AF_INET6` of linux/socket.h.
const FAMILIES: [u8; 2] = [2, 10];

/// A TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Our end. An IPv4 connection of an IPv6 socket is told as IPv4.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// The socket's inode, by which its holder is found.
    pub inode: u64,
    /// The interface that the socket is bound to, as those of link-local addresses are: its index.
    pub interface: Option<u32>,
}

/// Sockets that wait for packets, with the processes that hold them.
pub fn listeners(processes: &Processes) -> Result<Vec<Listener>, NetlinkError> {
    let mut found: Vec<(Listener, u64)> = Vec::new();
    // A UDP socket that is bound but not connected is in the state that TCP calls CLOSE; a connected one takes
    // what its peer sends.
    for (proto, states) in [
        (Protocol::TCP, StateFlags::LISTEN),
        (Protocol::UDP, StateFlags::CLOSE | StateFlags::ESTABLISHED),
    ] {
        for response in ask(proto, &states)? {
            let header = &response.header;
            if header.socket_id.source_port == 0 {
                continue; // not bound to a port yet
            }
            let only_v6 = response.nlas.iter().find_map(|nla| match nla {
                Nla::SkV6Only(only) => Some(*only),
                _ => None,
            });
            let index = header.socket_id.interface_id;
            let listener = Listener {
                proto,
                address: header.socket_id.source_address,
                port: header.socket_id.source_port,
                only_v6,
                interface: (index != 0).then_some(index),
                peer: (header.socket_id.destination_port != 0).then(|| {
                    SocketAddr::new(
                        plain(header.socket_id.destination_address),
                        header.socket_id.destination_port,
                    )
                }),
                process: None,
            };
            found.push((listener, u64::from(header.inode)));
        }
    }
    let inodes: Vec<u64> = found.iter().map(|(_, inode)| *inode).collect();
    let mut holders = processes.holders(&inodes);
    let named = found.into_iter().map(|(mut listener, inode)| {
        listener.process = holders.remove(&inode);
        listener
    });
    Ok(named.collect())
}

/// The TCP connections that stand.
pub fn connections() -> Result<Vec<Connection>, NetlinkError> {
    let all = ask(Protocol::TCP, &StateFlags::ESTABLISHED)?;
    let connection = |response: &InetResponse| {
        let id = &response.header.socket_id;
        Connection {
            local: SocketAddr::new(plain(id.source_address), id.source_port),
            peer: SocketAddr::new(plain(id.destination_address), id.destination_port),
            inode: u64::from(response.header.inode),
            interface: (id.interface_id != 0).then_some(id.interface_id),
        }
    };
    Ok(all.iter().map(connection).collect())
}

/// The TCP ports at which somebody listens.
pub fn listening_ports() -> Result<Vec<u16>, NetlinkError> {
    let all = ask(Protocol::TCP, &StateFlags::LISTEN)?;
    let port = |response: &InetResponse| response.header.socket_id.source_port;
    Ok(all.iter().map(port).collect())
}

/// An IPv4 address that an IPv6 socket writes as `::ffff:1.2.3.4` is one.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn ask(proto: Protocol, states: &StateFlags) -> Result<Vec<InetResponse>, NetlinkError> {
    let mut asker = Asker::open(NETLINK_SOCK_DIAG, "for the sockets")?;
    let mut found = Vec::new();
    for family in FAMILIES {
        let request = InetRequest {
            family,
            protocol: proto.0,
            extensions: ExtensionFlags::empty(),
            states: states.clone(),
            socket_id: if family == FAMILIES[0] {
                SocketId::new_v4()
            } else {
                SocketId::new_v6()
            },
        };
        let answer = asker.dump(SockDiagMessage::InetRequest(request))?;
        let responses = answer
            .messages
            .into_iter()
            .filter_map(|message| match message {
                SockDiagMessage::InetResponse(response) => Some(*response),
                _ => None,
            });
        found.extend(responses);
    }
    Ok(found)
}
