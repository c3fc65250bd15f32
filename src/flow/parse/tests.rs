//! Lines as the kernel writes them, and as they arrive when something went wrong.

use crate::flow::IpVersion;
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::flow::{
    Condition, Fragment, Icmp, IfName, LogLine, Mac, NoticeKind, Packet, Protocol, Suppressed,
    TcpFlags, TraceStep, Wall,
};

const SYN: &str = "[UFW BLOCK] IN=br0 OUT= PHYSIN=lan0 MAC=02:00:00:bb:00:01:02:00:00:aa:00:02:08:00 \
    SRC=10.0.0.2 DST=10.0.0.1 LEN=60 TOS=0x02 PREC=0xC0 TTL=64 ID=1 DF PROTO=TCP SPT=50000 DPT=3389 \
    SEQ=3335848604 ACK=0 WINDOW=8192 RES=0x00 ECE SYN URGP=0 OPT (020405A0) UID=1000 GID=100 MARK=0x2a ";

const ERROR: &str = "x: IN=wan0 OUT=br0 MAC=02:00:00:bb:00:02:02:00:00:cc:00:50:86:dd \
    SRC=2001:0db8:0000:0000:0000:0000:0000:0080 DST=fd00:000a:0000:0000:0000:0000:0000:0002 LEN=116 TC=0 \
    HOPLIMIT=63 FLOWLBL=743415 PROTO=ICMPv6 TYPE=2 CODE=0 \
    [SRC=fd00:000a:0000:0000:0000:0000:0000:0002 DST=2001:0db8:0000:0000:0000:0000:0000:0080 LEN=68 TC=0 \
    HOPLIMIT=63 FLOWLBL=349288 PROTO=UDP SPT=51962 DPT=9 LEN=28 ] MTU=1280 ";

fn line(text: &str) -> KernelLine {
    bytes(text.as_bytes())
}

fn bytes(text: &[u8]) -> KernelLine {
    match parse_line(text, LogSource::Text) {
        Some(line) => line,
        None => panic!("not read: {}", String::from_utf8_lossy(text)),
    }
}

fn log(text: &str) -> LogLine {
    match line(text).body {
        Body::Packet(log) => log,
        other => panic!("not a packet: {other:?}"),
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "fields are options, and what is wanted of them too"
)]
fn addr(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

fn name(text: &str) -> IfName {
    IfName::new(text.as_bytes()).unwrap()
}

#[test]
fn every_field_of_a_tcp_line_is_read() {
    let got = log(SYN);
    assert_eq!(line(SYN).prefix(), b"[UFW BLOCK] ");
    assert_eq!((got.input, got.output), (name("br0"), IfName::NONE));
    assert_eq!((got.physin, got.physout), (name("lan0"), IfName::NONE));
    assert_eq!(got.link.source(), Some(Mac([2, 0, 0, 0xaa, 0, 2])));
    assert_eq!((got.uid, got.gid), (Some(1000), Some(100)));
    assert_eq!(got.condition, Condition::Whole);
    let want = Packet {
        family: Some(IpVersion::V4),
        src: addr("10.0.0.2"),
        dst: addr("10.0.0.1"),
        proto: Some(Protocol::TCP),
        sport: Some(50000),
        dport: Some(3389),
        tcp_flags: Some(TcpFlags::SYN | TcpFlags::ECE),
        tcp_seq: Some(3_335_848_604),
        tcp_ack: Some(0),
        window: Some(8192),
        urgent: Some(0),
        length: Some(60),
        ttl: Some(64),
        tos: Some(0xc2),
        id: Some(1),
        dont_fragment: true,
        mark: Some(0x2a),
        ..Packet::default()
    };
    assert_eq!(got.packet, want);
}

#[test]
fn an_icmp_error_quotes_the_packet_that_caused_it() {
    let got = log(ERROR);
    assert_eq!(got.condition, Condition::Whole);
    assert_eq!(got.packet.src, addr("2001:db8::80"));
    assert_eq!(got.packet.mtu, Some(1280));
    let icmp = got.packet.icmp.unwrap();
    assert_eq!((icmp.kind, icmp.code), (2, Some(0)));
    let inner = got.inner.unwrap();
    assert_eq!((inner.src, inner.dport), (addr("fd00:a::2"), Some(9)));
    assert_eq!(inner.proto, Some(Protocol::UDP));
}

#[test]
fn prefixes_may_look_like_fields() {
    let body = "IN=lan0 OUT= SRC=10.0.0.2 DST=10.0.0.1 LEN=28 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=UDP SPT=1 DPT=7 LEN=8 ";
    for prefix in [
        "",
        "nospace",
        "OUT=fake SRC= ",
        "IN=eth0 OUT=eth1 SRC=1.2.3.4",
        "IN=lan0 ",
        "a  b ",
        "TRACE: ",
        "[1.2] ",
    ] {
        let whole = format!("{prefix}{body}");
        let got = parse_message(whole.as_bytes(), Stamp::default(), LogSource::Kmsg).unwrap();
        assert_eq!(got.prefix(), prefix.as_bytes());
        let log = got.log().unwrap();
        assert_eq!(log.input, name("lan0"), "{prefix}");
        assert_eq!(log.packet.src, addr("10.0.0.2"), "{prefix}");
        assert_eq!(log.condition, Condition::Whole, "{prefix}");
    }
}

#[test]
fn hostile_bytes_stay_bytes() {
    let raw = b"4,1,2,-;esc\\x1b[31m\\xc3\\x28\\x5c: IN=lan0 OUT= SRC=1.2.3.4 DST=1.2.3.5 LEN=20 TOS=0x00 PREC=0x00 TTL=1 ID=0 PROTO=2 ";
    let got = bytes(raw);
    assert_eq!(got.prefix(), b"esc\x1b[31m\xc3\x28\\: ");
    assert_eq!(got.stamp.boot, Some(Duration::from_micros(2)));
    assert_eq!(unescape(b"\\x4"), &b"\\x4"[..]);
    assert_eq!(unescape(b"\\xzz\\x41\\"), &b"\\xzzA\\"[..]);
}

#[test]
fn what_programs_write_to_kmsg_is_not_the_kernels() {
    let forged = SYN.replace("[UFW", "12,7,8,-;[UFW");
    assert_eq!(parse_line(forged.as_bytes(), LogSource::Text), None);
}

#[test]
fn a_login_name_is_not_a_packet() {
    let forged = format!("Mar 15 20:55:15 web sshd[123]: Invalid user {SYN}");
    assert_eq!(parse_line(forged.as_bytes(), LogSource::Text), None);
    let untagged = format!("Mar 15 20:55:15 web sshd: {SYN}");
    assert_eq!(parse_line(untagged.as_bytes(), LogSource::File), None);
    let ours = format!("Mar 15 20:55:15 web kernel: {SYN}");
    assert!(parse_line(ours.as_bytes(), LogSource::File).is_some());
}

#[test]
fn wrappings_are_taken_off() {
    let boot = Some(Duration::from_micros(3_200_562_860));
    let local = |day| {
        Some(Wall::Local {
            month: 11,
            day,
            hour: 22,
            minute: 19,
            second: 12,
        })
    };
    let at = |text: &str| Some(Wall::At(text.parse().unwrap()));
    let cases = [
        ("", None, None),
        ("6,1807,3200562860,-;", boot, None),
        ("6,1807,3200562860,-,caller=T12;", boot, None),
        ("<4>[ 3200.562860] ", boot, None),
        ("[ 3200.562860][   T12] ", boot, None),
        ("[ 3200.562860 <    0.126210>] ", boot, None),
        ("[  +0.126210] ", None, None),
        ("[Nov20 22:19] ", None, None),
        ("[Fri Nov 20 22:19:12 2026] ", None, local(20)),
        ("kern  :warn  : [ 3200.562860] ", boot, None),
        (
            "2026-11-20T22:19:12,562860+00:00 ",
            None,
            at("2026-11-20T22:19:12.56286Z"),
        ),
        (
            "2026-11-20T22:19:12.562860+02:00 web kernel: ",
            None,
            at("2026-11-20T20:19:12.56286Z"),
        ),
        (
            "<6>2021-03-12T14:10:18Z web kernel: ",
            None,
            at("2021-03-12T14:10:18Z"),
        ),
        (
            "Nov  2 22:19:12 web kernel: [ 3200.562860] ",
            boot,
            local(2),
        ),
        (
            "Nov 20 22:19:12 web kern.warn kernel: [ 3200.562860] ",
            boot,
            local(20),
        ),
        ("Nov 20 22:19:12 web ulogd[99]: ", None, local(20)),
        ("Nov 20 22:19:12 web ", None, local(20)),
        ("kernel: [ 3200.562860] ", boot, None),
    ];
    for (wrapping, boot, wall) in cases {
        let got = line(&format!("{wrapping}{SYN}\r\n"));
        assert_eq!(got.prefix(), b"[UFW BLOCK] ", "{wrapping}");
        assert_eq!(got.stamp, Stamp { boot, wall }, "{wrapping}");
    }
}

#[test]
fn fragments_and_options() {
    let v4 = "f: IN=lan0 OUT= SRC=10.0.0.2 DST=10.0.0.1 LEN=1500 TOS=0x00 PREC=0x00 TTL=64 ID=4660";
    let later = log(&format!("{v4} MF FRAG:185 PROTO=UDP "));
    let want = Fragment {
        offset: 1480,
        more: true,
        id: None,
    };
    assert_eq!(later.packet.fragment, Some(want));
    assert_eq!(later.condition, Condition::Whole);
    let options = log(&format!(
        "{v4} OPT (07030400) PROTO=UDP SPT=1 DPT=7 LEN=10 "
    ));
    assert_eq!(
        (options.condition, options.packet.dport),
        (Condition::Whole, Some(7))
    );

    let v6 = "f: IN=lan0 OUT= SRC=fe80::1 DST=ff02::2 LEN=72 TC=0 HOPLIMIT=63 FLOWLBL=0";
    let first = log(&format!(
        "{v6} OPT ( FRAG:0 INCOMPLETE ID:00001234 ) OPT ( ) PROTO=UDP SPT=53 DPT=82 LEN=8 "
    ));
    let want = Fragment {
        offset: 0,
        more: true,
        id: Some(0x1234),
    };
    assert_eq!(
        (first.packet.fragment, first.packet.dport),
        (Some(want), Some(82))
    );
    let later = log(&format!("{v6} FRAG:1448 INCOMPLETE ID:37d28149 PROTO=UDP "));
    let want = Fragment {
        offset: 1448,
        more: true,
        id: Some(0x37d2_8149),
    };
    assert_eq!(later.packet.fragment, Some(want));
    assert_eq!(
        (later.condition, later.packet.incomplete),
        (Condition::Whole, false)
    );
    let esp = log(&format!("{v6} OPT ( ESP SPI=0xcb886522 )"));
    assert_eq!(esp.condition, Condition::Whole);
    assert_eq!(
        (esp.packet.proto, esp.packet.spi),
        (Some(Protocol::ESP), Some(0xcb88_6522))
    );
    let short = log(&format!("{v6} PROTO=TCP INCOMPLETE [7 bytes] "));
    assert!(short.packet.incomplete && short.condition == Condition::Whole);
}

#[test]
fn trace_lines_tell_their_step() {
    let text = SYN.replace("[UFW BLOCK] ", "TRACE: filter:we:ird:return:12 ");
    let got = line(&text);
    let Body::Trace(trace) = &got.body else {
        panic!("{got:?}");
    };
    assert_eq!(
        (&*trace.table, &*trace.chain),
        (&b"filter"[..], &b"we:ird"[..])
    );
    assert_eq!((trace.step, trace.number), (TraceStep::Return, 12));
    assert_eq!(got.log().unwrap().packet.dport, Some(3389));
}

#[test]
fn the_kernels_other_lines() {
    let body = |text: &str| line(text).body;
    let full = |netns| Body::TableFull(crate::flow::TableFull { netns });
    assert_eq!(
        body("nf_conntrack: nf_conntrack: table full, dropping packet"),
        full(None)
    );
    assert_eq!(
        body("ip_conntrack: table full, dropping packet."),
        full(None)
    );
    assert_eq!(
        body("nf_conntrack: table full in netns 4026532177, dropping packet"),
        full(Some(4_026_532_177))
    );
    assert_eq!(
        body("IPv4: martian source 10.184.155.136 from 37.35.96.16, on dev eth0"),
        Body::Martian(crate::flow::Martian {
            destination: false,
            src: addr("37.35.96.16"),
            dst: addr("10.184.155.136"),
            dev: name("eth0"),
        })
    );
    for (text, port, from, cookies) in [
        (
            "TCP: request_sock_TCP: Possible SYN flooding on port 80. Sending cookies.  Check SNMP counters.",
            80,
            None,
            true,
        ),
        (
            "TCP: request_sock_TCP: Possible SYN flooding on port [::1]:8080. Dropping request.",
            8080,
            addr("::1"),
            false,
        ),
        (
            "TCP: Possible SYN flooding on port 10.0.0.1:443. Sending cookies.",
            443,
            addr("10.0.0.1"),
            true,
        ),
    ] {
        let want = crate::flow::SynFlood {
            port,
            addr: from,
            cookies,
        };
        assert_eq!(body(text), Body::SynFlood(want));
    }
    for (text, count, by) in [
        (
            "net_ratelimit: 90 callbacks suppressed",
            90,
            "net_ratelimit",
        ),
        (
            "[1.000000] nf_hook_slow: 3 callbacks suppressed",
            3,
            "nf_hook_slow",
        ),
        (
            "Nov 20 22:19:12 web systemd-journald[1]: Missed 12 kernel messages",
            12,
            "journald",
        ),
        (
            "Nov 20 22:19:12 web rsyslogd: imjournal: 99 messages lost due to rate-limiting",
            99,
            "rsyslog",
        ),
    ] {
        let want = Suppressed {
            count,
            by: by.as_bytes().into(),
        };
        assert_eq!(body(text), Body::Suppressed(want));
    }
    let notice = |kind| Body::Notice(crate::flow::Notice { kind });
    assert_eq!(
        body("neighbour: arp_cache: neighbor table overflow!"),
        notice(NoticeKind::NeighboursFull)
    );
    assert_eq!(
        body("nf_queue: full at 1024 entries, dropping packets(s)"),
        notice(NoticeKind::QueueFull)
    );
    assert_eq!(
        body(
            "a: IN=eth0 OUT= ARP HTYPE=1 PTYPE=0x0800 OPCODE=1 MACSRC=02:00:00:aa:00:02 IPSRC=10.0.0.1"
        ),
        notice(NoticeKind::Arp)
    );
}

#[test]
fn what_is_not_ours_is_nothing() {
    for text in [
        "",
        "usb 1-1: new high-speed USB device",
        "ll header: 00000000: 02 00 00 bb 00 01",
        "blk_update_request: 7 callbacks suppressed",
        "throughput IN=12 OUT=34 of pipe",
        "IN= OUT=",
        "SRC=1.2.3.4 DST=1.2.3.4",
        " 12,13,14,-",
    ] {
        assert_eq!(parse_line(text.as_bytes(), LogSource::Text), None, "{text}");
    }
}

#[test]
fn folded_repeats_are_counted() {
    let got = log(&format!(
        "Nov 20 22:19:12 web kernel: message repeated 3 times: [ {SYN}]"
    ));
    assert_eq!((got.times, got.condition), (3, Condition::Whole));
}

/// Cut anywhere, a line never says anything that the whole line did not say.
#[test]
fn a_cut_line_never_lies() {
    for text in [SYN, ERROR] {
        let whole = log(text);
        for end in 0..text.len() {
            let Some(cut) = parse_line(&text.as_bytes()[..end], LogSource::Text) else {
                continue;
            };
            let Body::Packet(cut) = cut.body else {
                panic!("{end}: {cut:?}");
            };
            let agrees = |got: Option<u64>, want: Option<u64>| got.is_none() || got == want;
            let (got, want) = (&cut.packet, &whole.packet);
            assert!(got.src.is_none() || got.src == want.src, "src at {end}");
            assert!(got.dst.is_none() || got.dst == want.dst, "dst at {end}");
            assert!(
                got.proto.is_none() || got.proto == want.proto,
                "proto at {end}"
            );
            assert!(
                agrees(got.sport.map(u64::from), want.sport.map(u64::from)),
                "sport at {end}"
            );
            assert!(
                agrees(got.dport.map(u64::from), want.dport.map(u64::from)),
                "dport at {end}"
            );
            assert!(
                agrees(got.length.map(u64::from), want.length.map(u64::from)),
                "len at {end}"
            );
            assert!(
                cut.output.is_none() || cut.output == whole.output,
                "out at {end}"
            );
            // Nothing need follow these, so a cut behind them cannot be noticed.
            let v6_may_end = ["FLOWLBL=743415 ", "PROTO=ICMPv6 "];
            if v6_may_end.iter().any(|word| text[..end].ends_with(word)) {
                continue;
            }
            let optional = text.find("URGP=0").or(text.find("] MTU")).unwrap();
            if end <= optional {
                assert_eq!(
                    cut.condition,
                    Condition::Truncated,
                    "at {end}: {}",
                    &text[..end]
                );
            }
        }
    }
}

/// Two lines run into each other, either way round, anywhere.
#[test]
fn spliced_lines_are_damaged_or_the_later_line() {
    let other = "[UFW AUDIT] IN=wan0 OUT= SRC=203.0.113.9 DST=203.0.113.1 LEN=40 TOS=0x00 PREC=0x00 TTL=9 ID=7 \
        PROTO=TCP SPT=7 DPT=443 WINDOW=1 RES=0x00 SYN URGP=0 ";
    let second = log(other);
    for end in 0..SYN.len() {
        let cut = &SYN.as_bytes()[..end];
        let inside = [cut, other.as_bytes(), &SYN.as_bytes()[end..]].concat();
        let run_on = [cut, other.as_bytes()].concat();
        for (text, whole_after) in [(run_on, true), (inside, end < 12)] {
            let Some(got) = parse_line(&text, LogSource::Text) else {
                panic!("lost at {end}");
            };
            let log = got.log().unwrap();
            let is_one = log.packet == second.packet || log.packet == self::log(SYN).packet;
            assert!(
                log.condition != Condition::Whole || (is_one && whole_after),
                "at {end}: {}",
                String::from_utf8_lossy(&text)
            );
        }
    }
}

#[test]
fn odd_values_are_damage_not_panic() {
    for (from, to) in [
        ("SRC=10.0.0.2", "SRC=444.333.222.111"),
        ("DPT=3389", "DPT=99999"),
        ("MAC=02", "MAC=zz"),
        ("TTL=64", "TTL=64 TTL=64"),
        ("LEN=60", "LEN=18446744073709551616"),
        ("DST=10.0.0.1", "DST=fe80::1"),
        ("DF", "PR"),
    ] {
        let got = log(&SYN.replace(from, to));
        assert_eq!(got.condition, Condition::Damaged, "{to}");
    }
    let later_kernel = log(&SYN.replace("TTL=64", "TTL=64 NEWFIELD=1"));
    assert_eq!(later_kernel.condition, Condition::Whole);
}

#[test]
fn echo_and_icmp_needs() {
    let head = "p: IN=lan0 OUT= SRC=10.0.0.2 DST=10.0.0.1 LEN=84 TOS=0x00 PREC=0x00 TTL=64 ID=2 DF PROTO=ICMP";
    let echo = log(&format!("{head} TYPE=8 CODE=0 ID=181 SEQ=1 "));
    let want = Icmp {
        kind: 8,
        code: Some(0),
        echo: Some((181, 1)),
    };
    assert_eq!(
        (echo.packet.icmp, echo.condition),
        (Some(want), Condition::Whole)
    );
    assert_eq!(echo.packet.id, Some(2));
    let cut = log(&format!("{head} TYPE=8 CODE=0 ID=181 "));
    assert_eq!(cut.condition, Condition::Truncated);
    let unreachable = log(&format!(
        "{head} TYPE=3 CODE=3 [SRC=10.0.0.1 DST=10.0.0.2 LEN=36 TOS=0x00 "
    ));
    assert_eq!(unreachable.condition, Condition::Truncated);
    assert_eq!(unreachable.inner.unwrap().dst, addr("10.0.0.2"));
}

proptest! {
    #[test]
    fn any_bytes_are_harmless(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_line(&text, LogSource::File);
        let _ = parse_record(&text);
        let _ = unescape(&text);
    }

    #[test]
    fn any_words_are_harmless(words in proptest::collection::vec(
        prop_oneof![
            "(IN|OUT|MAC|SRC|DST|LEN|TOS|ID|PROTO|TYPE|CODE|SPT|DPT|FRAG:|OPT|MARK|UID|[A-Z]{1,4})=?[0-9a-fx:.\\[\\]()]{0,12}",
            Just("[SRC=1.2.3.4".to_owned()),
            Just("]".to_owned()),
            Just("OPT".to_owned()),
            Just("(".to_owned()),
            Just("PROTO=ICMP".to_owned()),
            Just("INCOMPLETE".to_owned()),
        ],
        0..40,
    )) {
        let text = format!("p: IN=a OUT=b {}", words.join(" "));
        if let Some(line) = parse_line(text.as_bytes(), LogSource::Text) {
            prop_assert_eq!(&*line.text, text.as_bytes());
        }
    }
}
