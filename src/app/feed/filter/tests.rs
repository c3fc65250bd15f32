//! Words of a filter against lines of the feed.

use super::*;
use crate::flow::{LogSource, parse_line};

fn accepts(filter: &str, line: &str) -> bool {
    let line = parse_line(line.as_bytes(), LogSource::Text).unwrap();
    Filter::parse(filter).accepts(&line)
}

const TCP: &str = "[UFW BLOCK] IN=br0 OUT= PHYSIN=lan0 MAC=02:00:00:bb:00:01:02:00:00:aa:00:02:08:00 \
    SRC=203.0.113.9 DST=10.0.0.1 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=1 DF PROTO=TCP SPT=50000 DPT=443 \
    WINDOW=8192 RES=0x00 SYN URGP=0 MARK=0x2a ";
const ECHO: &str = "x: IN= OUT=eth0 SRC=fe80:0000:0000:0000:0000:0000:0000:0001 \
    DST=2001:0db8:0000:0000:0000:0000:0000:0080 LEN=104 TC=0 HOPLIMIT=64 FLOWLBL=0 PROTO=ICMPv6 \
    TYPE=128 CODE=0 ID=3427 SEQ=1 ";

#[test]
fn words_hold_or_not() {
    for (filter, tcp, echo) in [
        ("", true, true),
        ("port:443", true, false),
        ("port:50000", true, false),
        ("sport:443", false, false),
        ("dport:400-500", true, false),
        ("dport:400-", false, false),
        ("src:203.0.113", true, false),
        ("src:203.0.113.", true, false),
        ("src:203.0.113.90", false, false),
        ("src:20.0.113.9", false, false),
        ("dst:10.0.0.0/8", true, false),
        ("10.0.0.1", true, false),
        ("fe80::/10", false, true),
        ("dst:2001:db8::80", false, true),
        ("dst:2001:db8::", false, true),
        ("in:br0", true, false),
        ("in:lan", true, false),
        ("in:eth0", false, false),
        ("out:eth", false, true),
        ("proto:TCP", true, false),
        ("proto:58", false, true),
        ("prefix:ufw", true, false),
        ("prefix:\"UFW BLOCK\"", true, false),
        ("mac:aa:00", true, false),
        ("mark:0x2a", true, false),
        ("mark:42", true, false),
        ("mark:0", false, true),
        ("is:syn", true, false),
        ("is:v6", false, true),
        ("is:event", false, false),
        ("block syn", true, false),
        ("-block", false, true),
        ("!port:443", false, true),
        ("\"-block\"", false, false),
        ("\"port:443\"", false, false),
        ("SPT=50000", true, false),
        ("port:443 src:1.", false, false),
    ] {
        assert_eq!(accepts(filter, TCP), tcp, "{filter} on tcp");
        assert_eq!(accepts(filter, ECHO), echo, "{filter} on echo");
    }
}

#[test]
fn events_have_ends_too() {
    let martian = "IPv4: martian source 10.0.0.1 from 37.35.96.16, on dev eth0";
    assert!(accepts("src:37. in:eth0 is:event", martian));
    let flood = "TCP: Possible SYN flooding on port 10.0.0.1:443. Sending cookies.";
    assert!(accepts("port:443 dst:10.0.0.1", flood));
    assert!(!accepts("proto:tcp", flood));
}

#[test]
fn unfinished_words_hide_nothing_and_wrong_ones_say_so() {
    for unfinished in ["port:", "-", "src:", "port:443 proto:", "\"", "is:"] {
        let filter = Filter::parse(unfinished);
        assert_eq!(filter.problem(), None, "{unfinished}");
        assert!(accepts(unfinished, TCP), "{unfinished}");
    }
    for (wrong, problem) in [
        ("port:x", "port:x: a port or a range of ports expected"),
        (
            "port:99999",
            "port:99999: a port or a range of ports expected",
        ),
        (
            "-proto:tpc",
            "-proto:tpc: a protocol's name or number expected",
        ),
        ("mark:-1", "mark:-1: a number expected"),
    ] {
        assert_eq!(Filter::parse(wrong).problem(), Some(problem));
        assert!(accepts(wrong, TCP));
    }
}

proptest::proptest! {
    #[test]
    fn anything_may_be_typed(text in "(.{0,40}|[a-z:\"\\- .0-9/]{0,40})") {
        let filter = Filter::parse(&text);
        let line = parse_line(TCP.as_bytes(), LogSource::Text).unwrap();
        let _ = filter.accepts(&line);
        proptest::prop_assert_eq!(filter.text(), text);
    }
}
