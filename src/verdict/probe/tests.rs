//! Packets as the contract writes them.

use super::*;

#[test]
fn the_contract_is_read() {
    let text = br#"{"family":4,"path":"input","in":"eth0","out":null,"proto":"tcp","src":"1.2.3.4","sport":40000,"dst":"10.0.0.1","dport":80,"icmp_type":8,"icmp_code":0,"tcp_flags":["SYN","ack"],"ctstate":"NEW","length":60,"ttl":64,"tos":0,"mark":7,"fragment":false}"#;
    let probe = Probe::from_json(text).unwrap();
    assert_eq!(probe.path, Path::Input);
    assert_eq!(probe.proto, Some(Protocol::TCP));
    assert_eq!(probe.tcp_flags, Some(TcpFlags::SYN | TcpFlags::ACK));
    assert_eq!(probe.ctstate, Some(CtState::New));
    assert_eq!((probe.mark, probe.ttl), (Some(7), Some(64)));
}

#[test]
fn what_is_left_out_is_told_by_the_rest() {
    let read = |text: &str| Probe::from_json(text.as_bytes()).unwrap();
    let open = Probe {
        open: true,
        ..Probe::new(Family::V4, Path::Input)
    };
    assert_eq!(read("{}"), open);
    assert!(!read(r#"{"path":"input"}"#).open);
    assert_eq!(read(r#"{"out":"eth0"}"#).path, Path::Output);
    assert_eq!(read(r#"{"in":"a","out":"b"}"#).path, Path::Forward);
    let six = read(r#"{"src":"::1","proto":"icmp"}"#);
    assert_eq!(
        (six.family, six.proto),
        (Family::V6, Some(Protocol::ICMPV6))
    );
}

#[test]
fn what_cannot_be_is_refused() {
    for bad in [
        "",
        "[]",
        "{\"dprot\":1}",
        "{\"family\":5}",
        "{\"family\":4,\"src\":\"::1\"}",
        "{\"proto\":\"tpc\"}",
        "{\"tcp_flags\":[\"SIN\"]}",
        "{\"in\":\"a b\"}",
        "{\"dport\":65536}",
        "{\"mac\":\"1:2\"}",
        "{\"bytes\":\"4\"}",
        "{\"bytes\":\"zz\"}",
        "{\"ctdir\":\"up\"}",
        "{\"ctstate\":\"new\"}",
    ] {
        assert!(Probe::from_json(bad.as_bytes()).is_err(), "{bad}");
    }
}
