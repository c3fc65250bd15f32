//! Behaviour of the whole engine on small rulesets: what the kernel does, one case a line.

mod connection;
mod marked;
mod translated;

use crate::ruleset::{Document, Hints, Ruleset};
use crate::verdict::Probe;
use crate::verdict::{Answer, Decider, Explanation, Facts, Program, Verdict};

/// A dump with one rule list for filter INPUT, whose policy is DROP.
fn input(rules: &str) -> String {
    format!(
        "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT DROP [0:0]\n{rules}\nCOMMIT\n"
    )
}

fn ask_with(dump: &str, packet: &str, facts: &Facts) -> Explanation {
    let probe = Probe::from_json(packet.as_bytes()).unwrap();
    let document = Document::parse(
        dump.as_bytes().to_vec(),
        Hints {
            family: Some(probe.family),
            backend: None,
        },
    )
    .unwrap();
    let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
    let program = Program::compile(probe.family, &rulesets);
    let explanation = program.explain(&probe, facts, &rulesets);
    let decision = program.decide(&probe, facts, &rulesets);
    assert_eq!(
        (decision.verdict, decision.by),
        (explanation.verdict, explanation.by),
        "{packet}"
    );
    explanation
}

fn ask(dump: &str, packet: &str) -> Explanation {
    ask_with(dump, packet, &Facts::default())
}

/// What one rule says of a packet on the way in.
fn says(rule: &str, packet: &str) -> Answer {
    let explanation = ask(&input(&format!("-A INPUT {rule} -j ACCEPT")), packet);
    explanation
        .path
        .iter()
        .find(|step| step.place.rule.is_some())
        .unwrap()
        .answer
}

const SYN: &str = r#"{"proto":"tcp","src":"192.0.2.1","dst":"192.0.2.9","sport":40000,"dport":443,"tcp_flags":["SYN"],"ctstate":"NEW","in":"eth0","length":60,"ttl":64,"tos":184}"#;
const LATER: &str = r#"{"proto":"tcp","src":"192.0.2.1","path":"forward","fragment":true,"in":"eth0","out":"eth1"}"#;
const NOTHING: &str = "{}";

#[test]
fn each_match_as_the_kernel_has_it() {
    use Answer::{Match, No, Unknown};
    #[rustfmt::skip]
    let cases = [
        ("-p tcp", SYN, Match), ("! -p tcp", SYN, No), ("-p udp", SYN, No), ("-p tcp", NOTHING, Unknown), ("-p all", NOTHING, Match),
        ("-s 192.0.2.0/24", SYN, Match), ("! -s 192.0.2.0/24", SYN, No), ("-s 192.0.2.1/255.0.0.255", SYN, Match),
        ("-s 0.0.0.0/0", NOTHING, Match), ("! -s 10.0.0.0/8", NOTHING, Unknown), ("-s host.example", SYN, Unknown),
        ("-i eth0", SYN, Match), ("-i eth+", SYN, Match), ("-i eth", SYN, No), ("! -i lo", SYN, Match), ("-i +", NOTHING, Match),
        ("-i eth0", NOTHING, Unknown), ("-o eth0", SYN, No), ("! -o eth0", SYN, Match), ("-f", SYN, No), ("! -f", SYN, Match),
        ("-p tcp -m tcp --dport 443", SYN, Match), ("-p tcp -m tcp ! --dport 443", SYN, No), ("-p tcp -m tcp --dport 400:500", SYN, Match),
        ("-p tcp -m tcp --sport :1023", SYN, No), ("-p tcp -m tcp --syn", SYN, Match), ("-p tcp -m tcp ! --syn", SYN, No),
        ("-p tcp -m tcp --tcp-flags ALL SYN,ACK", SYN, No), ("-p tcp -m tcp --tcp-option 2", SYN, Unknown),
        ("-p tcp -m tcp --dport 0:65535", r#"{"proto":"tcp"}"#, Match), ("-p tcp -m tcp --dport 22", r#"{"proto":"tcp"}"#, Unknown),
        ("-p tcp -m multiport --dports 80,400:500", SYN, Match), ("-p tcp -m multiport ! --ports 443", SYN, No),
        ("-p tcp -m multiport --ports 443", r#"{"proto":"tcp","dport":443}"#, Match),
        ("-p udp -m udp --dport 53", r#"{"proto":"udp","dport":53}"#, Match),
        ("-p icmp -m icmp --icmp-type 8", r#"{"proto":"icmp","icmp_type":8,"icmp_code":0}"#, Match),
        ("-p icmp -m icmp --icmp-type 3/1", r#"{"proto":"icmp","icmp_type":3,"icmp_code":0}"#, No),
        ("-p icmp -m icmp --icmp-type any", r#"{"proto":"icmp"}"#, Match), ("-p icmp -m icmp --icmp-type 3/1", r#"{"proto":"icmp","icmp_type":3}"#, Unknown),
        ("-m conntrack --ctstate NEW", SYN, Match), ("-m conntrack ! --ctstate NEW,INVALID", SYN, No), ("-m state --state ESTABLISHED", SYN, No),
        ("-m conntrack --ctstate NEW", NOTHING, Unknown), ("-m conntrack --ctdir REPLY", SYN, No), ("-m conntrack --ctdir ORIGINAL", SYN, Match),
        ("-m conntrack --ctorigdst 192.0.2.9", SYN, Match), ("-m conntrack --ctorigdstport 80", SYN, No), ("-m conntrack --ctstatus NONE", SYN, No),
        ("-m conntrack --ctdir ORIGINAL", r#"{"ctstate":"INVALID"}"#, No), ("-m conntrack --ctstate INVALID --ctdir REPLY", r#"{"ctstate":"INVALID"}"#, Match),
        ("-m conntrack --ctexpire 1:10", SYN, Unknown), ("-m connmark --mark 0", SYN, Match), ("-m connmark ! --mark 1", r#"{"ctstate":"INVALID"}"#, No),
        ("-m mark --mark 0", SYN, Match), ("-m mark ! --mark 0x1/0x1", SYN, Match), ("-m length --length 60", SYN, Match),
        ("-m length ! --length 0:100", SYN, No), ("-m ttl --ttl-gt 63", SYN, Match), ("-m ttl --ttl-eq 64", NOTHING, Unknown),
        ("-m tos --tos 0xb8/0xff", SYN, Match), ("-m dscp --dscp 0x2e", SYN, Match), ("-m dscp ! --dscp-class EF", SYN, No), ("-m ecn --ecn-ip-ect 0", SYN, Match),
        ("-p tcp -m ecn --ecn-tcp-ece", SYN, No), ("-m iprange --src-range 192.0.2.0-192.0.2.5", SYN, Match),
        ("-m mac --mac-source 02:00:00:00:00:01", r#"{"mac":"02:00:00:00:00:01"}"#, Match), ("-m mac --mac-source 02:00:00:00:00:01", SYN, Unknown),
        ("-m pkttype --pkt-type broadcast", r#"{"pkttype":"unicast"}"#, No), ("-m pkttype --pkt-type unicast", r#"{"in":"lo","dst":"127.0.0.1"}"#, Match),
        ("-m addrtype --dst-type LOCAL", SYN, Match), ("-m addrtype --dst-type MULTICAST", r#"{"dst":"224.0.0.1"}"#, Match),
        ("-m addrtype --dst-type LOCAL", r#"{"dst":"192.0.2.255"}"#, Unknown), ("-m addrtype --src-type LOCAL", SYN, Unknown),
        ("-m addrtype --dst-type LOCAL", r#"{"dst":"fd00::1"}"#, Match), ("-m addrtype --dst-type UNICAST", r#"{"dst":"ff02::1"}"#, No),
        ("-m limit --limit 1/s", SYN, Unknown), ("-m recent --set --name x", SYN, Match), ("-m recent --rcheck --name x", SYN, Unknown),
        ("-m statistic --mode random --probability 1", SYN, Match), ("-m statistic --mode nth --every 2", SYN, Unknown),
        ("-m set --match-set x src", SYN, Unknown), ("-m time --timestart 08:00", SYN, Unknown), ("-m comment --comment x", NOTHING, Match),
        ("-m owner --uid-owner 0", SYN, No), ("-m owner ! --uid-owner 0", SYN, Match), ("-m rpfilter", SYN, Unknown), ("-m nosuch --thing 1", SYN, Unknown),
        ("-m physdev --physdev-in eth0", r#"{"in":"lo"}"#, No), ("-m physdev ! --physdev-is-bridged", r#"{"in":"lo"}"#, Match), ("-m physdev --physdev-in x", SYN, Unknown),
        ("-m string --string GET --algo bm", r#"{"bytes":"00474554"}"#, Match), ("-m u32 --u32 0=0x474554", r#"{"bytes":"00474554"}"#, Match), ("-m u32 --u32 0=1", SYN, Unknown),
    ];
    for (rule, packet, expected) in cases {
        assert_eq!(says(rule, packet), expected, "{rule} of {packet}");
    }
}

#[test]
fn later_fragments_have_no_ports() {
    let forward = |rule: &str| {
        let dump = input(&format!("-A FORWARD {rule} -j ACCEPT"));
        ask(&dump, LATER).path[0].answer
    };
    for rule in [
        "-p tcp -m tcp --dport 80",
        "-p tcp -m tcp ! --dport 80",
        "-p tcp -m multiport ! --dports 80",
        "! -f",
    ] {
        assert_eq!(forward(rule), Answer::No, "{rule}");
    }
    assert_eq!(forward("-p tcp -f"), Answer::Match);
}

fn decided(dump: &str, packet: &str) -> (Verdict, String) {
    let explanation = ask(dump, packet);
    let document = Document::parse(dump.as_bytes().to_vec(), Hints::default()).unwrap();
    let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
    let by = match explanation.by {
        Some(Decider::Place(place)) => {
            let ruleset = rulesets[place.ruleset];
            let rule = place
                .rule
                .map_or("policy".to_owned(), |rule| ruleset.number(rule).to_string());
            format!("{} {rule}", ruleset.chain(place.chain).name())
        }
        Some(Decider::Hops) => "hops".to_owned(),
        Some(Decider::Native(_)) => "native".to_owned(),
        None => String::new(),
    };
    (explanation.verdict, by)
}

#[test]
fn calls_gotos_and_returns() {
    let dump = "*filter\n:INPUT DROP [0:0]\n:a - [0:0]\n:b - [0:0]\n\
        -A INPUT -p tcp -j a\n-A INPUT -p udp -g b\n-A INPUT -j ACCEPT\n\
        -A a -p tcp -m tcp --dport 1 -j RETURN\n-A a -p tcp -m tcp --dport 2 -g b\n-A a -j REJECT\n\
        -A b -p tcp -m tcp --dport 2 -j RETURN\n-A b -p udp -m udp --dport 3 -j DROP\nCOMMIT\n";
    for (packet, verdict, by) in [
        (r#"{"proto":"tcp","dport":1}"#, Verdict::Accept, "INPUT 3"),
        // The goto leaves no way back into `a`.
        (r#"{"proto":"tcp","dport":2}"#, Verdict::Accept, "INPUT 3"),
        (r#"{"proto":"tcp","dport":9}"#, Verdict::Reject, "a 3"),
        (r#"{"proto":"udp","dport":3}"#, Verdict::Drop, "b 2"),
        // Nor one into INPUT: its policy decides.
        (
            r#"{"proto":"udp","dport":4}"#,
            Verdict::Drop,
            "INPUT policy",
        ),
        (r#"{"proto":"icmp"}"#, Verdict::Accept, "INPUT 3"),
    ] {
        assert_eq!(decided(dump, packet), (verdict, by.to_owned()), "{packet}");
    }
}

#[test]
fn changes_are_seen_by_later_rules() {
    let dump = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp -j CT --notrack\nCOMMIT\n\
        *mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j MARK --set-xmark 0x10/0xf0\n\
        -A PREROUTING -p tcp -j CONNMARK --save-mark\n-A PREROUTING -j TTL --ttl-set 9\n\
        -A PREROUTING -j DSCP --set-dscp 0x2e\nCOMMIT\n\
        *nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080\nCOMMIT\n\
        *filter\n:INPUT DROP [0:0]\n-A INPUT -p udp -m conntrack --ctstate UNTRACKED -j ACCEPT\n\
        -A INPUT -m mark ! --mark 0x10/0xf0 -j DROP\n-A INPUT -m connmark --mark 0x10 -m ttl --ttl-eq 9 -m dscp --dscp 0x2e -m tcp -p tcp --dport 8080 -m conntrack --ctstate DNAT --ctorigdstport 80 -j ACCEPT\nCOMMIT\n";
    let packet = |proto: &str, state: &str| {
        format!(
            r#"{{"proto":"{proto}","dport":80,"dst":"192.0.2.9","ctstate":"{state}","ttl":64,"tos":0}}"#
        )
    };
    assert_eq!(
        decided(dump, &packet("udp", "NEW")),
        (Verdict::Accept, "INPUT 1".into())
    );
    assert_eq!(
        decided(dump, &packet("tcp", "NEW")),
        (Verdict::Accept, "INPUT 3".into())
    );
    // Nat is for the first packet only.
    assert_eq!(
        decided(dump, &packet("tcp", "ESTABLISHED")),
        (Verdict::Drop, "INPUT policy".into())
    );
    let explanation = ask(dump, &packet("tcp", "NEW"));
    assert_eq!(explanation.dst.unwrap().port, Some(8080));
}

#[test]
fn what_is_not_known_is_followed_both_ways() {
    let limited = input("-A INPUT -m limit --limit 1/s -j ACCEPT");
    let explanation = ask(&limited, SYN);
    assert_eq!(
        (explanation.verdict, explanation.possible.len()),
        (Verdict::Unknown, 2)
    );
    assert!(
        explanation.unknown[0].contains("limit"),
        "{:?}",
        explanation.unknown
    );
    // Both ways end alike: certain, by nobody in particular.
    let agreed = ask(&input("-A INPUT -m limit --limit 1/s -j DROP"), SYN);
    assert_eq!((agreed.verdict, agreed.by), (Verdict::Drop, None));
    // A log changes nothing.
    let logged = ask(&input("-A INPUT -m limit --limit 1/s -j LOG"), SYN);
    assert_eq!((logged.verdict, logged.possible.len()), (Verdict::Drop, 1));
    // What one rule would make known the next one knows.
    let split = input(
        "-A INPUT -m conntrack --ctstate NEW -j DROP\n-A INPUT -m conntrack ! --ctstate NEW -j DROP\n-A INPUT -j ACCEPT",
    );
    assert_eq!(ask(&split, NOTHING).verdict, Verdict::Drop);
    let queued = ask(&input("-A INPUT -j NFQUEUE"), SYN);
    assert_eq!(queued.verdict, Verdict::Unknown);
    let stated = ask("*filter\n:INPUT - [0:0]\nCOMMIT\n", SYN);
    assert_eq!(stated.verdict, Verdict::Unknown);
}

#[test]
fn the_work_is_bounded() {
    let many: Vec<String> = (0..60)
        .map(|bit| {
            format!(
                "-A INPUT -m limit --limit 1/s -j MARK --xor-mark {:#x}",
                1_u32 << (bit % 32)
            )
        })
        .collect();
    let explanation = ask(&input(&many.join("\n")), SYN);
    assert_eq!(explanation.verdict, Verdict::Unknown);
    let endless = "*filter\n:INPUT DROP [0:0]\n:a - [0:0]\n:b - [0:0]\n-A INPUT -g a\n-A a -g b\n-A b -g a\nCOMMIT\n";
    assert_eq!(ask(endless, SYN).verdict, Verdict::Unknown);
    let deep = "*filter\n:INPUT DROP [0:0]\n:a - [0:0]\n-A INPUT -j a\n-A a -j a\nCOMMIT\n";
    assert_eq!(ask(deep, SYN).verdict, Verdict::Unknown);
}

#[test]
fn a_forwarded_packet_loses_a_hop_before_forward() {
    let dump = input("-A FORWARD -m ttl --ttl-eq 63 -j ACCEPT");
    let packet = |ttl: u8| format!(r#"{{"in":"eth0","out":"eth1","ttl":{ttl}}}"#);
    assert_eq!(
        decided(&dump, &packet(64)),
        (Verdict::Accept, "FORWARD 1".into())
    );
    assert_eq!(
        decided(&dump, &packet(63)),
        (Verdict::Drop, "FORWARD policy".into())
    );
    assert_eq!(decided(&dump, &packet(1)), (Verdict::Drop, "hops".into()));
}

/// Found by the differential test: iptables-nft registers security after source NAT.
#[test]
fn security_stands_after_nat_in_nft_only() {
    let body = "*nat\n:INPUT ACCEPT [0:0]\n-A INPUT -j ACCEPT\nCOMMIT\n*security\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\nCOMMIT\n";
    let nft = format!(
        "# Generated by iptables-save v1.8.9 (nf_tables) on Fri Nov 20 21:00:00 2026\n{body}"
    );
    let legacy = format!("# Generated by iptables-save v1.8.9 on Fri Nov 20 21:00:00 2026\n{body}");
    let rules = |dump: &str| {
        ask(dump, SYN)
            .path
            .iter()
            .filter(|step| step.place.rule.is_some())
            .count()
    };
    assert_eq!((rules(&nft), rules(&legacy)), (2, 1));
}

/// Found by the differential test: iptables-nft reads the bytes of a later fragment as if they were ports.
#[test]
fn native_ports_read_later_fragments() {
    let rule = "-A FORWARD -p tcp -m tcp ! --dport 443 -j ACCEPT";
    let dump = format!(
        "# Generated by iptables-save v1.8.9 (nf_tables) on Fri Nov 20 21:00:00 2026\n{}",
        input(rule)
    );
    assert_eq!(ask(&dump, LATER).path[0].answer, Answer::Unknown);
}

#[test]
fn a_blocked_packet_knows_what_would_have_let_it_pass() {
    let dump =
        input("-A INPUT -i eth0 -p tcp -j DROP\n-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT");
    let explanation = ask(&dump, SYN);
    assert_eq!(
        explanation.would_accept.unwrap().rule,
        Some(crate::ruleset::RuleIdx(1))
    );
    assert_eq!(ask(&input(""), SYN).would_accept, None);
}

#[test]
fn a_dnat_turns_the_way_where_the_box_is_known() {
    let dump = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j DNAT --to-destination 10.9.9.9:81\nCOMMIT\n\
        *filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\nCOMMIT\n";
    let facts = Facts {
        local: Some(vec!["192.0.2.9".parse().unwrap()]),
        ..Facts::default()
    };
    assert_eq!(ask_with(dump, SYN, &facts).verdict, Verdict::Drop);
    assert_eq!(ask(dump, SYN).verdict, Verdict::Unknown);
}

/// Both back ends stand at the same hooks, and a packet must please both.
#[test]
fn both_back_ends_decide() {
    let one = |header: &str, rule: &str| {
        format!(
            "# Generated by iptables-save v1.8.9{header} on Fri Nov 20 21:00:00 2026\n*filter\n\
             :INPUT ACCEPT [0:0]\n{rule}\nCOMMIT\n# Completed on Fri Nov 20 21:00:00 2026\n"
        )
    };
    let dump = one(
        " (nf_tables)",
        "-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT",
    ) + &one("", "-A INPUT -p tcp -m tcp --dport 443 -j DROP");
    let explanation = ask(&dump, SYN);
    assert_eq!(explanation.verdict, Verdict::Drop);
    let rulesets: Vec<usize> = explanation
        .path
        .iter()
        .map(|step| step.place.ruleset)
        .collect();
    assert_eq!(rulesets, [0, 1]);
    let Some(Decider::Place(place)) = explanation.by else {
        panic!("{:?}", explanation.by);
    };
    assert_eq!(place.ruleset, 1);
}

/// Conntrack leaves neighbour discovery alone, whoever asks.
#[test]
fn neighbour_discovery_is_untracked() {
    let rule = "-m conntrack --ctstate UNTRACKED";
    let solicit = r#"{"family":6,"proto":"icmpv6","icmp_type":135}"#;
    assert_eq!(says(rule, solicit), Answer::Match);
    let echo = r#"{"family":6,"proto":"icmpv6","icmp_type":128}"#;
    assert_eq!(says(rule, echo), Answer::No);
}

#[test]
fn native_chains_drop_or_may_drop() {
    use crate::ruleset::{BaseChain, Family, NftFamily};
    let chain = |hook, rules, drops_by_default| BaseChain {
        family: NftFamily::Inet,
        table: "fw".into(),
        chain: "c".into(),
        kind: "filter".into(),
        hook,
        priority: 10,
        drops_by_default,
        devices: Vec::new(),
        rules,
        read: None,
        owner: None,
        dormant: false,
    };
    let document =
        Document::parse(input("-A INPUT -j ACCEPT").into_bytes(), Hints::default()).unwrap();
    let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
    let probe = Probe::from_json(SYN.as_bytes()).unwrap();
    for (native, verdict) in [
        (chain("input", 0, false), Verdict::Accept),
        (chain("input", 0, true), Verdict::Drop),
        (chain("input", 3, false), Verdict::Unknown),
        (chain("forward", 0, true), Verdict::Accept),
        (chain("ingress", 1, false), Verdict::Unknown),
    ] {
        let program = Program::compile_beside(Family::V4, &rulesets, std::slice::from_ref(&native));
        let explanation = program.explain(&probe, &Facts::default(), &rulesets);
        assert_eq!(explanation.verdict, verdict, "{native:?}");
        if verdict == Verdict::Drop {
            assert_eq!(explanation.by, Some(Decider::Native(0)));
        }
    }
}

/// Every dump that somebody else wrote compiles, and answers.
#[test]
fn real_rulesets_compile_and_answer() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/rulesets");
    let mut files: Vec<_> = ["", "/resaved"]
        .iter()
        .filter_map(|sub| std::fs::read_dir(format!("{folder}{sub}")).ok())
        .flat_map(|entries| entries.map(|entry| entry.unwrap().path()))
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    for path in files {
        let Ok(document) = Document::parse(std::fs::read(&path).unwrap(), Hints::default()) else {
            continue;
        };
        let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
        for family in [crate::ruleset::Family::V4, crate::ruleset::Family::V6] {
            let of_family = rulesets
                .iter()
                .filter(|r| r.family() == family)
                .map(|r| r.rule_count())
                .sum::<usize>();
            let program = Program::compile(family, &rulesets);
            assert_eq!(program.rule_count(), of_family, "{}", path.display());
            for way in [
                crate::verdict::Path::Input,
                crate::verdict::Path::Forward,
                crate::verdict::Path::Output,
            ] {
                let probe = Probe::new(family, way);
                let explanation = program.explain(&probe, &Facts::default(), &rulesets);
                assert!(
                    !explanation.possible.is_empty() || explanation.verdict == Verdict::Unknown
                );
            }
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_brings_it_down(rules in proptest::collection::vec("(-[A-Z] (INPUT|a|b)|-[psdiogjmf]|!|--[a-z]{3,9}| |tcp|[0-9./:,]{1,9}|a|b|ACCEPT|eth\\+){1,14}", 0..12)) {
        let mut dump = String::from("*filter\n:INPUT DROP [0:0]\n:a - [0:0]\n:b - [0:0]\n");
        for rule in rules {
            dump.push_str("-A INPUT ");
            dump.push_str(&rule);
            dump.push('\n');
        }
        dump.push_str("COMMIT\n");
        if let Ok(document) = Document::parse(dump.into_bytes(), Hints::default()) {
            let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
            for probe in [SYN, NOTHING, LATER] {
                let probe = Probe::from_json(probe.as_bytes()).unwrap();
                let program = Program::compile(probe.family, &rulesets);
                let _ = program.explain(&probe, &Facts::default(), &rulesets).to_json(probe.family, &rulesets).to_string();
            }
        }
    }
}

/// iptables-nft compares both ports at once, which is unequal when one of them is; its text cannot tell.
#[test]
fn two_ports_that_are_not_wanted_are_one_comparison_in_nft() {
    let dump = |header: &str, ports: &str| {
        format!(
            "# Generated by iptables-save v1.8.9{header} on Fri Nov 20 21:00:00 2026\n*filter\n\
             :INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp {ports} -j DROP\nCOMMIT\n\
             # Completed on Fri Nov 20 21:00:00 2026\n"
        )
    };
    let (nft, one) = (" (nf_tables)", "! --sport 4000 ! --dport 22");
    let packet = |sport: u16, dport: u16| {
        format!(
            r#"{{"proto":"tcp","path":"input","src":"10.0.0.1","dst":"10.0.0.2","sport":{sport},"dport":{dport}}}"#
        )
    };
    for (header, ports, sport, dport, verdict) in [
        (nft, one, 4000, 22, Verdict::Accept),
        (nft, one, 4001, 23, Verdict::Drop),
        (nft, one, 4000, 23, Verdict::Unknown),
        (nft, one, 4001, 22, Verdict::Unknown),
        ("", one, 4000, 23, Verdict::Accept),
        (
            nft,
            "! --sport 4000:4001 ! --dport 22",
            4000,
            23,
            Verdict::Accept,
        ),
        (nft, "! --sport 4000 --dport 22", 4000, 22, Verdict::Accept),
    ] {
        let explanation = ask(&dump(header, ports), &packet(sport, dport));
        assert_eq!(
            explanation.verdict, verdict,
            "{header} {ports} {sport} {dport}"
        );
    }
}

/// A program may have marked what it sends; of what arrives, 0 is said.
#[test]
fn a_mark_that_was_not_given_is_not_zero_on_the_way_out() {
    let dump = "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -m mark --mark 0x2 -j DROP\n\
        -A OUTPUT -m mark --mark 0x2 -j DROP\nCOMMIT\n";
    let document = Document::parse(dump.as_bytes().to_vec(), Hints::default()).unwrap();
    let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
    let program = Program::compile(crate::ruleset::Family::V4, &rulesets);
    for (words, verdict) in [
        ("udp -> 10.0.0.1:53 out eth0", Verdict::Unknown),
        ("udp -> 10.0.0.1:53 out eth0 mark 0", Verdict::Accept),
        ("udp -> 10.0.0.1:53 out eth0 mark 2", Verdict::Drop),
        ("udp -> 10.0.0.1:53 in eth0", Verdict::Accept),
    ] {
        let probe = crate::verdict::read_words(words).unwrap();
        let explanation = program.explain(&probe, &Facts::default(), &rulesets);
        assert_eq!(explanation.verdict, verdict, "{words}");
    }
}
