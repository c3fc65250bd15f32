//! Filling the conntrack table with made-up connections, as a hoard of idle clients would.
//!
//! `nf_conntrack_max` is one number for the whole machine, which a namespace may not change (and must
//! not: before Linux 5.12 it could, and changed it for everybody). Entries, however, are counted per
//! namespace. So the table is filled for real, by ctnetlink, with established TCP connections that the
//! kernel may not evict early. An entry takes some 375 bytes of kernel memory (measured, Linux 6.18): 98 MB at the usual
//! limit of 262,144. Where the limit is so high, or memory so scarce, that this would hurt, it is not done.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::Duration;

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoInfo, ProtoInfoTCP, ProtoTuple, Protocol,
    Status, Tuple,
};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage};
use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};

use super::client::nth_address;
use crate::sandbox::scenario::Fill;

/// Entries above which the table is left alone, and the kernel memory that one takes.
const LIMIT: u64 = 600_000;
pub const ENTRY_BYTES: u64 = 375;
/// Messages in one send; some 40 kB, well under the default send buffer.
const BATCH: u64 = 200;
/// How often a table that should be full is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// TCP_CONNTRACK_ESTABLISHED (nf_conntrack_tcp.h) and the kernel's default timeout for it, in seconds.
const ESTABLISHED: u8 = 3;
const TIMEOUT: u32 = 432_000;
/// IP_CT_TCP_FLAG_BE_LIBERAL (nf_conntrack_tcp.h): there are no sequence numbers to check.
const LIBERAL: u8 = 0x08;

/// How many entries the table takes, if it may be filled; else why not.
pub fn allowed() -> Result<u64, String> {
    let max = number("nf_conntrack_max")
        .ok_or("the kernel tracks no connections here, so the table cannot be filled")?;
    if max > LIMIT {
        return Err(format!(
            "this machine's nf_conntrack_max is {max}: too many to fill, so the table does not get full"
        ));
    }
    let available = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find(|line| line.starts_with("MemAvailable:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .unwrap_or(u64::MAX / 1024)
        .saturating_mul(1024);
    if max.saturating_mul(ENTRY_BYTES) > available / 4 {
        return Err("too little memory to fill the conntrack table".to_owned());
    }
    Ok(max)
}

/// Fill the table of the calling thread's namespace, and keep it full, for ever.
pub fn run(fill: &Fill, max: u64) -> io::Result<()> {
    let socket = Socket::new(NETLINK_NETFILTER)?;
    socket.set_non_blocking(true)?;
    let mut next = 0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of at most 600,000
    let at_once = (max as f64 * fill.at_once.clamp(0.0, 1.0)) as u64;
    while next < at_once {
        next = insert(&socket, fill, next, BATCH.min(at_once - next))?;
    }
    let mut owed = 0.0;
    loop {
        sleep(LOOK);
        let room = max.saturating_sub(number("nf_conntrack_count").unwrap_or(max));
        owed = f64::min(
            owed + f64::from(fill.rate) * LOOK.as_secs_f64(),
            BATCH as f64,
        );
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most BATCH
        let now = room.min(owed as u64);
        if now > 0 {
            next = insert(&socket, fill, next, now)?;
            owed -= now as f64;
        }
    }
}

/// Insert `count` entries from number `next` on. An entry that the kernel refuses is made up for later.
fn insert(socket: &Socket, fill: &Fill, next: u64, count: u64) -> io::Result<u64> {
    let mut batch = Vec::new();
    for number in next..next + count {
        if let Some(message) = entry(fill, number) {
            let start = batch.len();
            batch.resize(start + message.buffer_len(), 0);
            if let Some(room) = batch.get_mut(start..) {
                message.serialize(room);
            }
        }
    }
    match socket.send(&batch, 0) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(LOOK),
        Err(error) => return Err(error),
    }
    // Refusals come back as messages; unread they would fill the socket's buffer.
    let mut answer = Vec::with_capacity(8192);
    while socket.recv(&mut answer, 0).is_ok() {
        answer.clear();
    }
    Ok(next + count)
}

/// The made-up connection of that number.
fn entry(fill: &Fill, number: u64) -> Option<NetlinkMessage<NetfilterMessage>> {
    let ways = u64::try_from(fill.to.len()).ok().filter(|ways| *ways > 0)?;
    let to = *fill.to.get(usize::try_from(number % ways).ok()?)?;
    let round = number / ways;
    let net = fill
        .from
        .iter()
        .find(|net| net.addr().is_ipv4() == to.is_ipv4())?;
    // Few addresses with many connections each is what hoarding looks like.
    let from = nth_address(net, round % 40);
    let sport = u16::try_from(1024 + (round / 40) % 64_000).ok()?;
    let (client, server) = (SocketAddr::new(from, sport), SocketAddr::new(to, fill.port));
    let attributes = vec![
        ConntrackAttribute::CtaTupleOrig(tuple(client, server)),
        ConntrackAttribute::CtaTupleReply(tuple(server, client)),
        ConntrackAttribute::CtaStatus(Status::SeenReply | Status::Assured | Status::Confirmed),
        ConntrackAttribute::CtaTimeout(TIMEOUT),
        ConntrackAttribute::CtaProtoInfo(vec![ProtoInfo::TCP(vec![
            ProtoInfoTCP::State(ESTABLISHED),
            ProtoInfoTCP::Other(DefaultNla::new(4, vec![LIBERAL, LIBERAL])),
            ProtoInfoTCP::Other(DefaultNla::new(5, vec![LIBERAL, LIBERAL])),
        ])]),
    ];
    let family = match to {
        IpAddr::V4(_) => nix::libc::AF_INET,
        IpAddr::V6(_) => nix::libc::AF_INET6,
    };
    let header = NetfilterHeader::new(u8::try_from(family).ok()?.into(), 0, 0);
    let mut message = NetlinkMessage::from(NetfilterMessage::new(
        header,
        ConntrackMessage::New(attributes),
    ));
    message.header.flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL;
    message.finalize();
    Some(message)
}

fn tuple(from: SocketAddr, to: SocketAddr) -> Vec<Tuple> {
    vec![
        Tuple::Ip(vec![
            IPTuple::SourceAddress(from.ip()),
            IPTuple::DestinationAddress(to.ip()),
        ]),
        Tuple::Proto(vec![
            ProtoTuple::Protocol(Protocol::Tcp),
            ProtoTuple::SourcePort(from.port()),
            ProtoTuple::DestinationPort(to.port()),
        ]),
    ]
}

/// A conntrack sysctl of the calling thread's namespace.
fn number(name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/sys/net/netfilter/{name}")).ok()?;
    text.trim().parse().ok()
}
