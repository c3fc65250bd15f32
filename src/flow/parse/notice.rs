//! The kernel's other lines that say that packets are being lost, and by whom.
//!
//! Each is recognised by a phrase that has stood in the kernel for years; numbers and addresses are
//! read where they stand. Sources: net/netfilter/nf_conntrack_core.c, net/ipv4/route.c,
//! net/ipv4/tcp_input.c, lib/ratelimit.c, net/core/neighbour.c, net/netfilter/nfnetlink_queue.c,
//! net/netfilter/ipset/, net/netfilter/xt_hashlimit.c.

use std::sync::LazyLock;

use memchr::memmem;
use regex::bytes::Regex;

use super::number::{address, decimal};
use crate::flow::{Body, IfName, Martian, Notice, NoticeKind, Suppressed, SynFlood, TableFull};

/// A phrase, and what it stands for when all of its parts are in the line.
const PHRASES: [(&[&[u8]], NoticeKind); 7] = [
    (&[b"expectation table full"], NoticeKind::ExpectationsFull),
    (
        &[b"nf_queue: full at", b"dropping packet"],
        NoticeKind::QueueFull,
    ),
    (&[b"is full, maxelem", b"reached"], NoticeKind::SetFull),
    (&[b"hashlimit", b"max count of"], NoticeKind::HashlimitFull),
    (&[b"eighbor table overflow"], NoticeKind::NeighboursFull),
    (&[b"eighbour table overflow"], NoticeKind::NeighboursFull),
    (&[b"oute cache is full"], NoticeKind::RoutesFull),
];

/// One pass that turns away the many lines that hold none of the phrases.
static ANY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let phrases = "_conntrack: table full|martian |ossible SYN flooding on port |s suppressed|\
         expectation table full|nf_queue: full at|is full, maxelem|max count of|\
         eighbou?r table overflow|oute cache is full";
    Regex::new(&format!("(?-u){phrases}")).ok()
});

/// A line of the kernel that is not about one logged packet.
pub(super) fn parse(message: &[u8]) -> Option<Body> {
    if ANY.as_ref().is_some_and(|any| !any.is_match(message)) {
        return None;
    }
    if let Some(body) = table_full(message)
        .or_else(|| martian(message))
        .or_else(|| syn_flood(message))
        .or_else(|| callbacks(message))
    {
        return Some(body);
    }
    let has = |part: &&[u8]| memmem::find(message, part).is_some();
    PHRASES
        .iter()
        .find(|(parts, _)| parts.iter().all(has))
        .map(|(_, kind)| Body::Notice(Notice { kind: *kind }))
}

/// What a log daemon says of lines that it lost: `Missed 12 kernel messages`, `imjournal: 99 messages
/// lost due to rate-limiting`, `Suppressed 7 messages from …`.
pub(super) fn parse_daemon(message: &[u8]) -> Option<Body> {
    let (count, by): (&[u8], &[u8]) = if let Some(rest) = after(message, b"Missed ") {
        after(rest, b" kernel messages")?;
        (rest, b"journald")
    } else if memmem::find(message, b" messages lost").is_some() {
        (after(message, b": ")?, b"rsyslog")
    } else {
        (after(message, b"Suppressed ")?, b"journald")
    };
    Some(Body::Suppressed(Suppressed {
        count: u64::from(decimal(leading(count, u8::is_ascii_digit))?),
        by: by.into(),
    }))
}

/// `nf_conntrack: nf_conntrack: table full, dropping packet`, `ip_conntrack: table full, …`,
/// `nf_conntrack: table full in netns 4026532177, dropping packet`.
fn table_full(message: &[u8]) -> Option<Body> {
    let rest = after(message, b"_conntrack: table full")?;
    let netns = after(rest, b" in netns ")
        .and_then(|rest| decimal(leading(rest, u8::is_ascii_digit)))
        .map(u64::from);
    Some(Body::TableFull(TableFull { netns }))
}

/// `IPv4: martian source DST from SRC, on dev eth0`, `… martian destination DST from SRC, dev eth0`.
fn martian(message: &[u8]) -> Option<Body> {
    let rest = after(message, b"martian ")?;
    let destination = rest.starts_with(b"destination ");
    let rest = rest
        .strip_prefix(b"destination ")
        .or_else(|| rest.strip_prefix(b"source "))?;
    let (dst, rest) = split_at(rest, b" from ")?;
    let (src, rest) = split_at(rest, b", ")?;
    let dev = after(rest, b"dev ")?;
    Some(Body::Martian(Martian {
        destination,
        src: address(src),
        dst: address(dst),
        dev: IfName::new(dev.trim_ascii()).unwrap_or_default(),
    }))
}

/// `TCP: request_sock_TCP: Possible SYN flooding on port 80. Sending cookies.`, since 6.1 or so with the
/// address, `on port 0.0.0.0:80.` or `on port [::]:80.`.
fn syn_flood(message: &[u8]) -> Option<Body> {
    let rest = after(message, b"ossible SYN flooding on port ")?;
    let word = leading(rest, |b| !b.is_ascii_whitespace());
    let word = word.strip_suffix(b".").unwrap_or(word);
    let colon = memchr::memrchr(b':', word);
    let (addr, port) = match colon {
        Some(at) => word.split_at(at + 1),
        None => (&[][..], word),
    };
    let addr = addr.strip_suffix(b":").unwrap_or(addr);
    let addr = addr.strip_prefix(b"[").unwrap_or(addr);
    let addr = addr.strip_suffix(b"]").unwrap_or(addr);
    Some(Body::SynFlood(SynFlood {
        port: super::number::narrow(port)?,
        addr: address(addr),
        cookies: memmem::find(rest, b"ending cookies").is_some(),
    }))
}

/// `net_ratelimit: 90 callbacks suppressed`, of the network's own functions only: a disk that has
/// much to say is nobody's packet.
fn callbacks(message: &[u8]) -> Option<Body> {
    const NETWORK: [&[u8]; 14] = [
        b"net_ratelimit",
        b"__ratelimit",
        b"printk",
        b"nf_",
        b"nft_",
        b"xt_",
        b"ip_",
        b"ip6",
        b"ipt_",
        b"tcp_",
        b"udp",
        b"icmp",
        b"neigh",
        b"dump_ipv",
    ];
    let (head, _) = split_at(message, b" callbacks suppressed")
        .or_else(|| split_at(message, b" messages suppressed"))?;
    let (by, count) = head.split_at(memmem::rfind(head, b": ")?);
    let start = memchr::memrchr(b' ', by).map_or(0, |blank| blank + 1);
    let by = by.get(start..)?;
    NETWORK
        .iter()
        .any(|name| by.starts_with(name))
        .then_some(())?;
    Some(Body::Suppressed(Suppressed {
        count: u64::from(decimal(count.get(2..)?)?),
        by: by.into(),
    }))
}

/// What follows the first `phrase`.
fn after<'a>(text: &'a [u8], phrase: &[u8]) -> Option<&'a [u8]> {
    text.get(memmem::find(text, phrase)? + phrase.len()..)
}

/// What stands before and behind the first `phrase`.
fn split_at<'a>(text: &'a [u8], phrase: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memmem::find(text, phrase)?;
    Some((text.get(..at)?, text.get(at + phrase.len()..)?))
}

/// The bytes at the start that hold.
fn leading(text: &[u8], holds: impl Fn(&u8) -> bool) -> &[u8] {
    let end = text.iter().position(|b| !holds(b)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}
