//! Cases in which the engine was wrong, or that random rules do not make: destinations that lead elsewhere,
//! and native nft chains beside the rules. Each is put to the kernel too, and every counter compared.

use ruletop::flow::{IfName, Mac, Protocol, TcpFlags};
use ruletop::netfilter::native;
use ruletop::netfilter::netlink::Netlink;
use ruletop::ruleset::{Backend, Document, Family, Hints, Origin};
use ruletop::verdict::{CtState, Facts, LinkType, Path, Probe, Program, Verdict};

use crate::compare::{Counts, Judge};
use crate::packets::{SENDERS, finish};
use crate::place::{Place, in_namespace, local};
use crate::rules::{restore, save};

/// One case: a native ruleset, rules for iptables, the port asked for, and what the engine has to say.
struct Case {
    native: &'static str,
    nat: &'static str,
    filter: &'static str,
    dst: &'static str,
    port: u16,
    verdict: Verdict,
}

const PLAIN: Case = Case {
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

fn probe(case: &Case) -> Probe {
    let mut probe = Probe::new(Family::V4, Path::Input);
    probe.input = IfName::new(b"eth0");
    probe.mac = Some(Mac(SENDERS[0]));
    probe.link = Some(LinkType::Unicast);
    probe.src = Some("10.0.0.50".parse().unwrap());
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
    let text = format!(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n{nat}COMMIT\n*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n{}\nCOMMIT\n",
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
