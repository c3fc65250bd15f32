//! The entries of the conntrack table, by ctnetlink (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
//!
//! Asked for when somebody wants to know what a change would do to connections that stand, and never by a
//! tick: a full table is a quarter of a million entries. The dump stops being kept at a bound; what is more is
//! counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::netlink::{Netlink, NetlinkError, Request, attributes, be32};
use crate::flow::{Direction, Protocol, Tracked};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`.
const GET: u16 = 1 << 8 | 1;
/// `NLM_F_DUMP` (linux/netlink.h).
const DUMP: u16 = 0x300;

// enum ctattr_type
const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const MARK: u16 = 8;
// enum ctattr_tuple
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
// enum ctattr_ip
const V4_SRC: u16 = 1;
const V4_DST: u16 = 2;
const V6_SRC: u16 = 3;
const V6_DST: u16 = 4;
// enum ctattr_l4proto
const PROTO_NUM: u16 = 1;
const PROTO_SRC_PORT: u16 = 2;
const PROTO_DST_PORT: u16 = 3;
/// `IPS_SEEN_REPLY` of enum ip_conntrack_status.
const SEEN_REPLY: u32 = 1 << 1;

/// What a dump brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The entries that were kept.
    pub entries: Vec<Tracked>,
    /// How many there were in all.
    pub total: usize,
}

/// The entries of this network namespace, at most `most` of them kept.
pub fn table(most: usize) -> Result<Table, NetlinkError> {
    let mut netlink = Netlink::open()?;
    let mut request = Request::default();
    request.start(GET, DUMP, 0);
    let mut table = Table::default();
    netlink.ask("conntrack entries", &mut request, |message| {
        table.total += 1;
        if table.entries.len() < most {
            table.entries.extend(entry(message.attributes));
        }
    })?;
    Ok(table)
}

/// One entry; `None` for one that lacks a direction.
fn entry(encoded: &[u8]) -> Option<Tracked> {
    let mut original = None;
    let mut reply = None;
    let (mut mark, mut status) = (0, 0);
    for (kind, value) in attributes(encoded) {
        match kind {
            TUPLE_ORIG => original = direction(value),
            TUPLE_REPLY => reply = direction(value),
            STATUS => status = be32(value)?,
            MARK => mark = be32(value)?,
            _ => {}
        }
    }
    let (proto, original) = original?;
    Some(Tracked {
        proto,
        original,
        reply: reply?.1,
        mark,
        answered: status & SEEN_REPLY != 0,
    })
}

fn direction(encoded: &[u8]) -> Option<(Protocol, Direction)> {
    let (mut src, mut dst) = (None, None);
    let (mut proto, mut sport, mut dport) = (None, None, None);
    for (kind, value) in attributes(encoded) {
        match kind {
            TUPLE_IP => {
                for (kind, value) in attributes(value) {
                    match kind {
                        V4_SRC | V6_SRC => src = address(value),
                        V4_DST | V6_DST => dst = address(value),
                        _ => {}
                    }
                }
            }
            TUPLE_PROTO => {
                for (kind, value) in attributes(value) {
                    match kind {
                        PROTO_NUM => proto = value.first().copied(),
                        PROTO_SRC_PORT => sport = port(value),
                        PROTO_DST_PORT => dport = port(value),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let direction = Direction {
        src: src?,
        dst: dst?,
        sport,
        dport,
    };
    Some((Protocol(proto?), direction))
}

fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

fn port(value: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(value.get(..2)?.try_into().ok()?))
}
