//! A described packet in the words of the kernel's LOG target, so that a packet that came by NFLOG
//! reads, searches and pastes like one that came by the kernel's log.
//!
//! The order and the spelling are those of net/netfilter/nf_log_syslog.c; what was not said is left
//! out. [`super::parse_message`] reads back what is written here.

use super::IpVersion;
use std::io::Write as _;
use std::net::IpAddr;

use super::{Body, Condition};
use super::{Fragment, IfName, KernelLine, LogLine, LogSource, Packet, Protocol, Stamp, TcpFlags};

impl KernelLine {
    /// A line made of a prefix and fields, for sources that have no text of their own.
    pub fn from_fields(prefix: &[u8], mut log: LogLine, stamp: Stamp, source: LogSource) -> Self {
        let mut text = Vec::with_capacity(prefix.len() + 256);
        text.extend_from_slice(prefix);
        log.prefix_len = prefix.len();
        log.times = log.times.max(1);
        write_log(&mut text, &log);
        Self {
            stamp,
            source,
            text: text.into(),
            age: std::time::Duration::ZERO,
            body: Body::Packet(log),
        }
    }
}

/// Formats into a vector, which cannot fail.
macro_rules! put {
    ($out:expr, $($format:tt)*) => {
        let _ = write!($out, $($format)*);
    };
}

fn write_log(out: &mut Vec<u8>, log: &LogLine) {
    debug_assert_eq!(
        log.condition,
        Condition::Whole,
        "fields are not read from a line"
    );
    put_name(out, "IN=", log.input);
    put_name(out, "OUT=", log.output);
    for (key, port) in [("PHYSIN=", log.physin), ("PHYSOUT=", log.physout)] {
        if !port.is_none() {
            put_name(out, key, port);
        }
    }
    if !log.link.is_none() {
        put!(out, "MAC={} ", log.link);
    }
    write_packet(out, &log.packet, log.inner.as_deref());
    if let Some(uid) = log.uid {
        put!(out, "UID={uid} ");
    }
    if let Some(gid) = log.gid {
        put!(out, "GID={gid} ");
    }
    if let Some(mark) = log.packet.mark.filter(|mark| *mark != 0) {
        put!(out, "MARK=0x{mark:x} ");
    }
}

/// Names are bytes, so they are not formatted.
fn put_name(out: &mut Vec<u8>, key: &str, name: IfName) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(name.as_bytes());
    out.push(b' ');
}

fn write_packet(out: &mut Vec<u8>, packet: &Packet, inner: Option<&Packet>) {
    for (key, addr) in [("SRC=", packet.src), ("DST=", packet.dst)] {
        match addr {
            Some(IpAddr::V4(addr)) => {
                put!(out, "{key}{addr} ");
            }
            Some(IpAddr::V6(addr)) => {
                out.extend_from_slice(key.as_bytes());
                let mut colon = "";
                for segment in addr.segments() {
                    put!(out, "{colon}{segment:04x}");
                    colon = ":";
                }
                out.push(b' ');
            }
            None => {}
        }
    }
    if let Some(length) = packet.length {
        put!(out, "LEN={length} ");
    }
    match packet.family {
        Some(IpVersion::V6) => write_v6(out, packet),
        _ => write_v4(out, packet),
    }
    if let Some(proto) = packet.proto {
        write_transport(out, proto, packet, inner);
    }
    if packet.incomplete {
        out.extend_from_slice(b"TRUNCATED ");
    }
}

fn write_v4(out: &mut Vec<u8>, packet: &Packet) {
    if let Some(tos) = packet.tos {
        put!(out, "TOS=0x{:02X} PREC=0x{:02X} ", tos & 0x1f, tos & 0xe0);
    }
    if let Some(ttl) = packet.ttl {
        put!(out, "TTL={ttl} ");
    }
    if let Some(id) = packet.id {
        put!(out, "ID={id} ");
    }
    if packet.dont_fragment {
        out.extend_from_slice(b"DF ");
    }
    if let Some(Fragment { offset, more, .. }) = packet.fragment {
        if more {
            out.extend_from_slice(b"MF ");
        }
        if offset > 0 {
            put!(out, "FRAG:{} ", offset / 8);
        }
    }
}

fn write_v6(out: &mut Vec<u8>, packet: &Packet) {
    if let Some(class) = packet.tos {
        put!(out, "TC={class} ");
    }
    if let Some(limit) = packet.ttl {
        put!(out, "HOPLIMIT={limit} ");
    }
    if let Some(label) = packet.flow_label {
        put!(out, "FLOWLBL={label} ");
    }
    if let Some(Fragment { offset, more, id }) = packet.fragment {
        let more = if more { "INCOMPLETE " } else { "" };
        put!(out, "OPT ( FRAG:{offset} {more}");
        if let Some(id) = id {
            put!(out, "ID:{id:08x} ");
        }
        out.extend_from_slice(b") ");
    }
}

fn write_transport(out: &mut Vec<u8>, proto: Protocol, packet: &Packet, inner: Option<&Packet>) {
    match proto {
        Protocol::TCP => put_words(out, b"PROTO=TCP "),
        Protocol::UDP => put_words(out, b"PROTO=UDP "),
        Protocol::UDPLITE => put_words(out, b"PROTO=UDPLITE "),
        Protocol::ICMP => put_words(out, b"PROTO=ICMP "),
        Protocol::ICMPV6 => put_words(out, b"PROTO=ICMPv6 "),
        Protocol::AH => put_words(out, b"PROTO=AH "),
        Protocol::ESP => put_words(out, b"PROTO=ESP "),
        Protocol(number) => {
            put!(out, "PROTO={number} ");
        }
    }
    if let Some(sport) = packet.sport {
        put!(out, "SPT={sport} ");
    }
    if let Some(dport) = packet.dport {
        put!(out, "DPT={dport} ");
    }
    if let Some(length) = packet.udp_length {
        put!(out, "LEN={length} ");
    }
    if let Some(spi) = packet.spi.filter(|_| packet.icmp.is_none()) {
        put!(out, "SPI=0x{spi:x} ");
    }
    write_tcp(out, packet);
    write_icmp(out, packet, inner);
}

fn put_words(out: &mut Vec<u8>, words: &[u8]) {
    out.extend_from_slice(words);
}

fn write_tcp(out: &mut Vec<u8>, packet: &Packet) {
    if let Some(seq) = packet.tcp_seq {
        put!(out, "SEQ={seq} ");
    }
    if let Some(ack) = packet.tcp_ack {
        put!(out, "ACK={ack} ");
    }
    if let Some(window) = packet.window {
        put!(out, "WINDOW={window} ");
    }
    if let Some(flags) = packet.tcp_flags.filter(|flags| *flags != TcpFlags(0)) {
        put!(out, "{flags} ");
    }
    if let Some(urgent) = packet.urgent {
        put!(out, "URGP={urgent} ");
    }
}

fn write_icmp(out: &mut Vec<u8>, packet: &Packet, inner: Option<&Packet>) {
    let Some(icmp) = packet.icmp else { return };
    put!(out, "TYPE={} ", icmp.kind);
    if let Some(code) = icmp.code {
        put!(out, "CODE={code} ");
    }
    if let Some((id, seq)) = icmp.echo {
        put!(out, "ID={id} SEQ={seq} ");
    }
    if let Some(inner) = inner {
        out.push(b'[');
        write_packet(out, inner, None);
        out.extend_from_slice(b"] ");
    }
    if let Some(mtu) = packet.mtu {
        put!(out, "MTU={mtu} ");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::{LinkHeader, parse_message};

    fn back(log: &LogLine) -> LogLine {
        let line =
            KernelLine::from_fields(b"p: ", log.clone(), Stamp::default(), LogSource::Nflog(1));
        let again = parse_message(&line.text, Stamp::default(), LogSource::Nflog(1));
        let again = again.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&line.text)));
        assert_eq!(again.prefix(), b"p: ");
        again.log().unwrap().clone()
    }

    fn wire() -> impl Strategy<Value = Vec<u8>> {
        let v4 = (any::<[u8; 18]>(), 0usize..5).prop_map(|(mut random, proto)| {
            random[8] = [6, 17, 1, 50, 132][proto];
            random[5] = 0x40; // no fragment
            random[6] = 0;
            [&[0x45, 0][..], &random].concat()
        });
        let v6 = (any::<[u8; 38]>(), 0usize..6).prop_map(|(mut random, proto)| {
            random[4] = [6, 17, 58, 50, 0, 44][proto];
            [&[0x60, 0][..], &random].concat()
        });
        let payload = proptest::collection::vec(any::<u8>(), 40..120);
        (prop_oneof![v4, v6], payload).prop_map(|(head, tail)| [head, tail].concat())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes in wire(), mark in 1u32.., uid in any::<Option<u32>>()) {
            let (packet, inner) = Packet::from_wire(&bytes).unwrap();
            // A packet that ends inside a header says so at the end of its line only.
            prop_assume!(!packet.incomplete && inner.as_ref().is_none_or(|inner| !inner.incomplete));
            let log = LogLine {
                prefix_len: 3,
                times: 1,
                input: IfName::new(b"eth0").unwrap(),
                physin: IfName::new(b"port1").unwrap(),
                link: LinkHeader::new(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0]),
                packet: Packet { mark: Some(mark), ..packet },
                inner: inner.map(Box::new),
                uid,
                ..LogLine::default()
            };
            let again = back(&log);
            prop_assert_eq!(again.packet, log.packet);
            prop_assert_eq!(again.inner, log.inner);
            prop_assert_eq!((again.uid, again.link, again.physin), (log.uid, log.link, log.physin));
        }
    }

    #[test]
    fn a_bare_packet_is_a_line() {
        let log = LogLine {
            packet: Packet {
                src: Some([10, 0, 0, 1].into()),
                ..Packet::default()
            },
            ..LogLine::default()
        };
        assert_eq!(back(&log).packet.src, log.packet.src);
    }
}
