//! Cases in which the engine was wrong, or that random rules do not make: destinations that lead elsewhere,
//! and native nft chains beside the rules. Each is put to the kernel too, and every counter compared.

use ruletop::flow::{IfName, Mac, Protocol, TcpFlags};
use ruletop::netfilter::native;
use ruletop::netfilter::netlink::Netlink;
use ruletop::ruleset::{Backend, Document, Family, Hints, Origin};
use ruletop::verdict::sets;
use ruletop::verdict::{CtState, Facts, LinkType, Path, Probe, Program, Verdict};

use crate::compare::{Counts, Judge};
use crate::packets::{SENDERS, finish};
use crate::place::{Place, in_namespace, local};
use crate::rules::{restore, save};

/// One case: sets, a native ruleset, rules for iptables, the port asked for, and what the engine has to say.
struct Case {
    sets: &'static str,
    mangle: &'static str,
    native: &'static str,
    nat: &'static str,
    filter: &'static str,
    dst: &'static str,
    port: u16,
    verdict: Verdict,
}

const PLAIN: Case = Case {
    sets: "",
    mangle: "",
    native: "",
    nat: "",
    filter: "",
    dst: "10.0.0.1",
    port: 80,
    verdict: Verdict::Accept,
};

/// INPUT accepts, FORWARD drops.
fn cases() -> Vec<Case> {
    let nat = |nat, verdict| Case {
        nat,
        verdict,
        ..PLAIN
    };
    let native = |native, port, verdict| Case {
        native,
        port,
        verdict,
        ..PLAIN
    };
    let dnat = "-A INPUT -m conntrack --ctstate DNAT -j DROP";
    vec![
        nat(
            "-p tcp -m tcp --dport 80 -j DNAT --to-destination 10.1.0.5-10.1.0.9",
            Verdict::Drop,
        ),
        nat(
            "-p tcp -m tcp --dport 80 -j DNAT --to-destination 10.1.0.2:80-90",
            Verdict::Drop,
        ),
        nat(
            "-p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.1-10.0.0.2",
            Verdict::Accept,
        ),
        Case {
            filter: dnat,
            ..nat(
                "-p tcp -m tcp --dport 80 -j REDIRECT --to-ports 80",
                Verdict::Accept,
            )
        },
        Case {
            filter: dnat,
            ..nat("-p tcp -j REDIRECT", Verdict::Accept)
        },
        Case {
            filter: dnat,
            ..nat("-p tcp -j REDIRECT --to-ports 81", Verdict::Drop)
        },
        Case {
            filter: dnat,
            dst: "10.0.0.2",
            ..nat("-p tcp -j REDIRECT", Verdict::Drop)
        },
        Case {
            filter: "-A INPUT -m mark --mark 2 -j DROP",
            ..native(
                "table inet mk { chain pre { type filter hook prerouting priority -100; tcp dport 443 meta mark set 2; }; }",
                443,
                Verdict::Drop,
            )
        },
        Case {
            filter: "-A INPUT -m mark --mark 2 -j DROP",
            ..native(
                "table inet mk { chain pre { type filter hook prerouting priority -100; tcp dport 443 meta mark set 2; }; }",
                444,
                Verdict::Accept,
            )
        },
        Case {
            filter: "-A INPUT -m mark --mark 0x12 -j DROP",
            ..native(
                "table ip mk { chain pre { type filter hook prerouting priority -150; meta mark set 0x10; meta mark set meta mark or 2 counter accept; }; }",
                443,
                Verdict::Drop,
            )
        },
        native(
            "table ip away { chain pre { type nat hook prerouting priority -90; tcp dport 80 dnat to 10.1.0.2:81; }; }",
            80,
            Verdict::Drop,
        ),
        native(
            "table ip away { chain pre { type nat hook prerouting priority 77; tcp dport 80 dnat to 10.1.0.2; }; }",
            81,
            Verdict::Accept,
        ),
        native(
            "table inet nat1 { chain in { type filter hook input priority 1; tcp dport 77 drop; }; }",
            77,
            Verdict::Drop,
        ),
        native(
            "table inet nat1 { chain in { type filter hook input priority 1; tcp dport 77 drop; }; }",
            80,
            Verdict::Accept,
        ),
        native(
            "table inet t { chain in { type filter hook input priority 5; policy drop; iif lo accept; ct state established,related accept; ct state invalid drop; ip saddr 10.0.0.0/24 tcp dport 80-90 accept; }; }",
            85,
            Verdict::Accept,
        ),
        native(
            "table inet t { chain in { type filter hook input priority 5; policy drop; iifname \"eth0\" ip saddr != 10.0.0.0/24 accept; ip6 saddr fd00::/8 accept; tcp dport != 80 accept; }; }",
            80,
            Verdict::Drop,
        ),
        native(
            "table inet t { chain in { type filter hook input priority 5; jump a; drop; }; chain a { tcp dport 22 return; ip saddr 10.0.0.50-10.0.0.60 goto b; }; chain b { meta l4proto tcp counter accept; }; }",
            80,
            Verdict::Accept,
        ),
        native(
            "table inet t { chain in { type filter hook input priority 5; jump a; drop; }; chain a { tcp dport 22 return; goto b; }; chain b { meta l4proto udp accept; }; }",
            22,
            Verdict::Drop,
        ),
        native(
            "table inet t { chain in { type filter hook input priority 5; tcp flags syn reject with tcp reset; }; }",
            80,
            Verdict::Reject,
        ),
        // What is not read is not guessed.
        native(
            "table inet t { chain in { type filter hook input priority 5; tcp dport { 22, 80 } drop; }; }",
            80,
            Verdict::Unknown,
        ),
        native(
            "table inet t { chain in { type filter hook input priority 5; ip protocol udp limit rate 1/second drop; }; }",
            80,
            Verdict::Accept,
        ),
        native(
            "table ip away { chain pre { type nat hook prerouting priority -90; dnat to tcp dport map { 80 : 10.1.0.2 }; }; }",
            80,
            Verdict::Unknown,
        ),
        native(
            "table ip mk { chain pre { type filter hook prerouting priority -150; ip daddr set 10.1.0.2; }; }",
            80,
            Verdict::Unknown,
        ),
    ]
}

/// Packets from 10.0.0.50, or fd00::50, to port 80.
fn set_cases() -> Vec<Case> {
    let set = |sets, filter, verdict| Case {
        sets,
        filter,
        verdict,
        ..PLAIN
    };
    let six = |sets, filter, verdict| Case {
        dst: "fd00::1",
        ..set(sets, filter, verdict)
    };
    let dropped = "-A INPUT -m set --match-set s src -j DROP";
    let both = "-A INPUT -m set --match-set s src,dst -j DROP";
    let excepted = "-A INPUT -m set --match-set s src --return-nomatch -j DROP";
    let not_excepted = "-A INPUT -m set ! --match-set s src --return-nomatch -j DROP";
    let nets = "create s hash:net\nadd s 10.0.0.0/8\nadd s 10.0.0.0/24 nomatch";
    let list = "create i hash:net\nadd i 10.0.0.0/8\nadd i 10.0.0.0/24 nomatch\ncreate s list:set\nadd s i";
    let add = "-A INPUT -j SET --add-set s src\n-A INPUT -m set --match-set s src -j DROP";
    let del = "-A INPUT -j SET --del-set s src\n-A INPUT -m set --match-set s src -j DROP";
    vec![
        set(
            "create s hash:ip netmask 24\nadd s 10.0.0.77",
            dropped,
            Verdict::Drop,
        ),
        set(
            "create s hash:ip netmask 25\nadd s 10.0.0.177",
            dropped,
            Verdict::Accept,
        ),
        set(
            "create s hash:ip bitmask 255.255.0.255\nadd s 10.0.9.50",
            dropped,
            Verdict::Drop,
        ),
        set(
            "create s hash:ip bitmask 255.255.0.255\nadd s 10.0.9.51",
            dropped,
            Verdict::Accept,
        ),
        set(
            "create s bitmap:ip range 10.0.0.0/16 netmask 24\nadd s 10.0.0.77",
            dropped,
            Verdict::Drop,
        ),
        set(
            "create s bitmap:ip range 10.0.0.0/16 netmask 24\nadd s 10.0.1.77",
            dropped,
            Verdict::Accept,
        ),
        set(
            "create s hash:ip,port netmask 24\nadd s 10.0.0.77,tcp:80",
            both,
            Verdict::Drop,
        ),
        set(
            "create s hash:ip,port netmask 24\nadd s 10.0.0.77,gre:0\nadd s 10.0.0.77,icmp:ping",
            both,
            Verdict::Accept,
        ),
        six(
            "create s hash:ip family inet6 netmask 64\nadd s fd00::77",
            dropped,
            Verdict::Drop,
        ),
        six(
            "create s hash:ip family inet6 netmask 64\nadd s fd00:0:0:1::77",
            dropped,
            Verdict::Accept,
        ),
        set(
            "create s hash:ip counters",
            "-A INPUT -m set ! --match-set s src --packets-gt 3 -j DROP",
            Verdict::Drop,
        ),
        set(
            "create s hash:ip counters\nadd s 10.0.0.50",
            "-A INPUT -m set ! --match-set s src --packets-gt 3 -j DROP",
            Verdict::Unknown,
        ),
        set(nets, dropped, Verdict::Accept),
        set(nets, excepted, Verdict::Drop),
        set(nets, not_excepted, Verdict::Accept),
        set(
            "create s hash:net\nadd s 10.0.0.0/8",
            excepted,
            Verdict::Accept,
        ),
        set("create s hash:net", not_excepted, Verdict::Drop),
        set("create s hash:ip\nadd s 10.0.0.50", excepted, Verdict::Drop),
        set(list, dropped, Verdict::Accept),
        set(list, excepted, Verdict::Drop),
        set(
            "create s hash:net comment\nadd s 10.0.0.0/24 comment \"nomatch wildcard\"",
            dropped,
            Verdict::Drop,
        ),
        set(
            "create s hash:net,iface\nadd s 10.0.0.0/8,eth wildcard",
            "-A INPUT -m set --match-set s src,src -j DROP",
            Verdict::Drop,
        ),
        set(
            "create s hash:net,iface\nadd s 10.0.0.0/8,eth",
            "-A INPUT -m set --match-set s src,src -j DROP",
            Verdict::Accept,
        ),
        set("create s hash:ip", add, Verdict::Drop),
        set("create s hash:ip netmask 16", add, Verdict::Drop),
        set("create s hash:ip\nadd s 10.0.0.50", del, Verdict::Accept),
        set(
            "create s hash:ip",
            "-A INPUT -j SET --add-set s src\n-A INPUT -m set --match-set s dst -j DROP",
            Verdict::Accept,
        ),
        set(
            "create s hash:ip",
            "-A INPUT -j SET --add-set s src --del-set s src\n-A INPUT -m set --match-set s src -j DROP",
            Verdict::Accept,
        ),
        set(
            "create s hash:ip maxelem 1\nadd s 10.9.9.9",
            add,
            Verdict::Unknown,
        ),
        set("create s hash:net", add, Verdict::Unknown),
        set(
            "create i hash:ip\ncreate s list:set\nadd s i",
            add,
            Verdict::Unknown,
        ),
        set(
            "create i hash:ip\ncreate s list:set\nadd s i",
            "-A INPUT -j SET --add-set i src\n-A INPUT -m set --match-set s src -j DROP",
            Verdict::Drop,
        ),
        Case {
            mangle: "-A PREROUTING -j SET --del-set s src",
            ..set(
                "create s hash:ip\nadd s 10.0.0.50",
                dropped,
                Verdict::Accept,
            )
        },
        Case {
            mangle: "-A PREROUTING -p tcp -j SET --add-set s src,dst",
            ..set("create s hash:ip,port", both, Verdict::Unknown)
        },
        six("create s hash:ip family inet6", add, Verdict::Drop),
        Case {
            nat: "-p tcp -m tcp --dport 80 -j DNAT --to-destination 10.1.0.2-10.1.0.3",
            ..set(
                "",
                "-P FORWARD ACCEPT\n-A FORWARD -d 10.1.0.2/32 -j DROP\n-A FORWARD -d 10.1.0.3/32 -j DROP",
                Verdict::Drop,
            )
        },
    ]
}

fn probe(case: &Case) -> Probe {
    let (family, src) = if case.dst.contains(':') {
        (Family::V6, "fd00::50")
    } else {
        (Family::V4, "10.0.0.50")
    };
    let mut probe = Probe::new(family, Path::Input);
    probe.input = IfName::new(b"eth0");
    probe.mac = Some(Mac(SENDERS[0]));
    probe.link = Some(LinkType::Unicast);
    probe.src = Some(src.parse().unwrap());
    probe.dst = Some(case.dst.parse().unwrap());
    probe.proto = Some(Protocol::TCP);
    (probe.sport, probe.dport) = (Some(40_000), Some(case.port));
    probe.tcp_flags = Some(TcpFlags::SYN);
    probe.ctstate = Some(CtState::New);
    (probe.ttl, probe.tos, probe.mark) = (Some(64), Some(0), Some(0));
    probe
}

fn put(place: &mut Place, origin: Origin, case: &Case) {
    let nat = if case.nat.is_empty() {
        String::new()
    } else {
        format!("-A PREROUTING {}\n", case.nat)
    };
    place.ok("ipset -exist restore", case.sets);
    let sets = sets::read(place.ok("ipset save", "").as_bytes());
    let mangle = case.mangle;
    let text = format!(
        "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n{mangle}\nCOMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n{nat}COMMIT\n*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n{}\nCOMMIT\n",
        case.filter
    );
    place.ok(&restore(origin), &text);
    place.ok("nft -f -", case.native);
    let saved = place.ok(&save(origin), "");
    let document = Document::parse(saved.clone().into_bytes(), Hints::default()).unwrap();
    let ruleset = &document.rulesets()[0];
    let mut natives = native::base_chains(&mut Netlink::open().unwrap()).unwrap();
    natives.retain(|chain| !native::is_shown_by_iptables(chain) && chain.table != "guard");
    let program = Program::compile_beside(origin.family, &[ruleset], &natives);
    let facts = Facts {
        local: Some(local(origin.family)),
        first: [(IfName::new(b"eth0").unwrap(), [10, 0, 0, 1].into())].into(),
        sets,
        ..Facts::default()
    };
    let judge = Judge {
        program: &program,
        ruleset,
        facts,
    };
    let sample = finish(probe(case), 1, 0, 0);
    let explanation = program.explain(&sample.probe, &judge.facts, &[ruleset]);
    let said = format!("{} {}\n{text}{explanation:#?}", case.native, case.port);
    assert_eq!(explanation.verdict, case.verdict, "{said}");
    place.ok("conntrack -F 2>/dev/null || true", "");
    place.receive(SENDERS[0], &sample.bytes);
    let counted = judge.counts(&place.ok(&save(origin), ""));
    match judge.predict(&sample.probe) {
        Some((expected, _)) => assert_eq!(counted, expected, "{said}"),
        // What cannot be told may still not be nothing.
        None => assert_ne!(counted, Counts::default(), "{said}"),
    }
    let names = case
        .native
        .split_whitespace()
        .skip(1)
        .take(2)
        .collect::<Vec<_>>();
    if let [family, table] = names[..] {
        place.ok(&format!("nft delete table {family} {table}"), "");
    }
}

/// A packet is put to the kernel once it is known what is expected of it, so that what it leaves in a set is no
/// matter.
#[test]
fn sets_are_as_the_kernel_has_them() {
    for (backend, family) in [
        (Backend::Legacy, Family::V4),
        (Backend::Nft, Family::V4),
        (Backend::Nft, Family::V6),
    ] {
        let origin = Origin { family, backend };
        in_namespace(origin, move |mut place| {
            place.ok("nft insert rule inet guard last ct state new drop", "");
            for case in set_cases() {
                if (family == Family::V6) != case.dst.contains(':') {
                    continue;
                }
                put(&mut place, origin, &case);
                let empty = "*mangle\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n";
                place.ok(&restore(origin), empty);
                place.ok("ipset flush && ipset destroy", "");
            }
        });
    }
}

#[test]
fn destinations_and_native_chains_are_as_the_kernel_has_them() {
    for backend in [Backend::Legacy, Backend::Nft] {
        let origin = Origin {
            family: Family::V4,
            backend,
        };
        in_namespace(origin, move |mut place| {
            place.ok("nft insert rule inet guard last ct state new drop", "");
            for case in cases() {
                put(&mut place, origin, &case);
            }
        });
    }
}
