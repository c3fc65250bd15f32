//! The other packets of a connection: which they are, what rules see of them, and what is said of them.

use super::input;
use crate::ruleset::{Document, Hints, Ruleset};
use crate::verdict::{
    CtState, Facts, Grade, Other, Part, Program, Verdict, causes, connection_seen, looped,
    read_words,
};

/// The others of a packet in words, on a box with the address 10.0.0.1; what is said of them, and what is seen.
fn others(dump: &str, words: &str) -> (Vec<Other>, Vec<(Grade, String)>, Option<&'static str>) {
    let document = Document::parse(dump.as_bytes().to_vec(), Hints::default()).unwrap();
    let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
    let probe = read_words(words).unwrap();
    let program = Program::compile(probe.family, &rulesets);
    let facts = Facts {
        local: Some(vec!["10.0.0.1".parse().unwrap()]),
        ..Facts::default()
    };
    let first = program.explain(&probe, &facts, &rulesets);
    let others = program.others(&probe, &facts, &rulesets);
    let told = causes(&first, &others, &rulesets).into_iter();
    let told = told.map(|cause| (cause.grade, cause.says)).collect();
    let seen = connection_seen(&others);
    (others, told, seen)
}

fn words(dump: &str, packet: &str) -> Vec<String> {
    let (others, ..) = others(dump, packet);
    let told = |other: &Other| {
        format!(
            "{}: {} {}",
            other.part.name(),
            other.words(),
            other.explanation.verdict.name()
        )
    };
    others.iter().map(told).collect()
}

const OPEN: &str =
    "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";

#[test]
fn each_way_has_its_others() {
    for (packet, expected) in [
        (
            "tcp 10.0.0.2 -> 10.0.0.1:80 in eth0",
            &[
                "answer: tcp 10.0.0.1:80 -> 10.0.0.2 out eth0 established accept",
                "rest: tcp 10.0.0.2 -> 10.0.0.1:80 in eth0 established accept",
                "rest: tcp 10.0.0.1:80 -> 10.0.0.2 out eth0 established accept",
            ][..],
        ),
        (
            "udp 10.0.0.2:5353 -> 192.0.2.1:53 in eth0 out eth1",
            &[
                "answer: udp 192.0.2.1:53 -> 10.0.0.2:5353 in eth1 out eth0 established accept",
                "rest: udp 10.0.0.2:5353 -> 192.0.2.1:53 in eth0 out eth1 established accept",
            ],
        ),
        (
            "ping 10.0.0.1 -> 192.0.2.1 out eth1",
            &[
                "answer: icmp 192.0.2.1 -> 10.0.0.1 in eth1 type 0 code 0 established accept",
                "rest: icmp 10.0.0.1 -> 192.0.2.1 out eth1 type 8 code 0 established accept",
            ],
        ),
        (
            "udp 10.0.0.1 -> 10.0.0.1:53 in lo",
            &[
                "out: udp 10.0.0.1 -> 10.0.0.1:53 out lo new accept",
                "answer: udp 10.0.0.1:53 -> 10.0.0.1 out lo established accept",
                "answer: udp 10.0.0.1:53 -> 10.0.0.1 in lo established accept",
                "rest: udp 10.0.0.1 -> 10.0.0.1:53 out lo established accept",
                "rest: udp 10.0.0.1 -> 10.0.0.1:53 in lo established accept",
            ],
        ),
        // Nobody waits for an answer of these, or it is not told whose it would be.
        ("tcp 10.0.0.2:80 -> 10.0.0.1:40000 in eth0 established", &[]),
        ("udp 10.0.0.2 -> 224.0.0.251:5353 in eth0", &[]),
        ("icmp 10.0.0.2 -> 10.0.0.1 in eth0 type 3", &[]),
        ("gre 10.0.0.2 -> 10.0.0.1 in eth0", &[]),
        ("udp 10.0.0.2 -> 10.0.0.1:53 in eth0 fragment", &[]),
    ] {
        assert_eq!(words(OPEN, packet), expected, "{packet}");
    }
    // Of what is stopped itself nothing follows.
    assert_eq!(words(&input(""), "tcp -> :80 in eth0"), [""; 0]);
}

const FORWARD: &str = "tcp 10.0.0.2:4000 -> 192.0.2.1:80 in eth0 out eth1";

/// Tables of nat and mangle with an open filter.
fn translated(nat: &str, mangle: &str) -> String {
    format!(
        "*mangle\n:PREROUTING ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n{mangle}\nCOMMIT\n\
         *nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n{nat}\nCOMMIT\n{OPEN}"
    )
}

#[test]
fn conntrack_undoes_translations_where_nat_stands_and_no_table_is_asked() {
    let snat = "-A POSTROUTING -o eth1 -j SNAT --to-source 198.51.100.1\n-A PREROUTING -i eth1 -j DNAT --to 10.9.9.9";
    let dnat = "-A PREROUTING -i eth0 -p tcp --dport 80 -j DNAT --to 10.7.7.7:8080";
    for (nat, rule, stopped) in [
        // Before nat the answer is for who it was sent to, afterwards for who is meant.
        (
            snat,
            "PREROUTING -i eth1 -d 198.51.100.1",
            Some(Part::Answer),
        ),
        (snat, "FORWARD -i eth1 -d 198.51.100.1", None),
        (
            snat,
            "FORWARD -i eth1 -d 10.0.0.2 -p tcp --dport 4000",
            Some(Part::Answer),
        ),
        (snat, "FORWARD -d 10.9.9.9", None),
        // What follows has its old destination up to there, and the answer its new source all the way.
        (
            dnat,
            "PREROUTING -d 192.0.2.1 -m conntrack --ctstate ESTABLISHED",
            Some(Part::Rest),
        ),
        (dnat, "FORWARD -d 192.0.2.1", None),
        (
            dnat,
            "FORWARD -d 10.7.7.7 -p tcp --dport 8080 -m conntrack --ctstate ESTABLISHED",
            Some(Part::Rest),
        ),
        (
            dnat,
            "FORWARD -s 10.7.7.7 -p tcp --sport 8080",
            Some(Part::Answer),
        ),
        (
            dnat,
            "FORWARD -i eth1 -m conntrack --ctstate DNAT",
            Some(Part::Answer),
        ),
        (dnat, "FORWARD -i eth1 -m conntrack --ctstate SNAT", None),
        (
            dnat,
            "FORWARD -i eth1 -m conntrack --ctorigdst 192.0.2.1",
            Some(Part::Answer),
        ),
        (
            dnat,
            "FORWARD -m conntrack --ctdir REPLY",
            Some(Part::Answer),
        ),
    ] {
        let dump = translated(nat, &format!("-A {rule} -j DROP"));
        let (others, told, _) = others(&dump, FORWARD);
        let is = others.iter().find(|other| other.is_blocked());
        assert_eq!(is.map(|other| other.part), stopped, "{rule}: {told:?}");
        let sure = others
            .iter()
            .all(|other| other.explanation.verdict != Verdict::Unknown);
        assert!(sure, "{rule}: {told:?}");
    }
}

#[test]
fn what_is_stopped_is_said_and_seen() {
    let in_eth0 = "tcp 10.0.0.2 -> 10.0.0.1:80 in eth0";
    let new = "-A INPUT -m conntrack --ctstate NEW -j ACCEPT";
    let both = "-A INPUT -p tcp --dport 80 -j ACCEPT\n-A OUTPUT";
    for (rules, packet, grade, says, seen) in [
        (
            format!("{both} -p tcp --sport 80 -j ACCEPT"),
            in_eth0,
            Grade::Fine,
            "answers and what follows pass too",
            None,
        ),
        (
            new.to_owned(),
            in_eth0,
            Grade::Blocks,
            "the answer is dropped by filter OUTPUT policy",
            Some("a timeout (nothing answers)"),
        ),
        (
            format!("{both} -j REJECT"),
            in_eth0,
            Grade::Blocks,
            "the answer is rejected by filter OUTPUT rule 1: -j REJECT",
            Some("a timeout (nothing answers)"),
        ),
        (
            format!("{new}\n-A OUTPUT -j ACCEPT"),
            in_eth0,
            Grade::Blocks,
            "the rest of the connection is dropped by filter INPUT policy",
            Some("it connects, and then nothing comes through"),
        ),
        (
            format!("{both} -m owner --uid-owner 0 -j ACCEPT"),
            in_eth0,
            Grade::Doubt,
            "the answer may be stopped: uid 0: whose socket",
            None,
        ),
        (
            "-A INPUT -j ACCEPT".to_owned(),
            "ping 10.0.0.2 -> 10.0.0.1 in eth0",
            Grade::Blocks,
            "the answer is dropped by filter OUTPUT policy",
            Some("nothing (no answer comes)"),
        ),
        (
            "-A OUTPUT -j ACCEPT\n-A INPUT -i lo -p tcp -j REJECT --reject-with tcp-reset"
                .to_owned(),
            "tcp 127.0.0.1 -> 127.0.0.1:80 out lo",
            Grade::Blocks,
            "on its way in again it is rejected by filter INPUT rule 1",
            Some("connection refused (a TCP reset)"),
        ),
    ] {
        let (_, told, is_seen) = others(&input(&rules), packet);
        let (is, said) = &told[0];
        assert!(*is == grade && said.starts_with(says), "{rules}: {told:?}");
        assert_eq!(is_seen, seen, "{rules}");
    }
}

#[test]
fn untracked_packets_have_answers_that_belong_to_nothing() {
    let raw =
        "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp --dport 80 -j CT --notrack\nCOMMIT\n";
    let states = |words: &str| -> Vec<Option<CtState>> {
        let (others, ..) = others(&format!("{raw}{OPEN}"), words);
        others.iter().map(|other| other.probe.ctstate).collect()
    };
    // A SYN-ACK out of nowhere is invalid; what goes on in the middle is taken for new.
    let new = Some(CtState::New);
    assert_eq!(
        states("tcp 10.0.0.2 -> 10.0.0.1:80 in eth0"),
        [Some(CtState::Invalid), new, new]
    );
    let established = Some(CtState::Established);
    assert_eq!(
        states("tcp 10.0.0.2 -> 10.0.0.1:81 in eth0"),
        [established; 3]
    );
    let dump = format!("{raw}{OPEN}").replace(
        "COMMIT\n*filter",
        "COMMIT\n*mangle\n:INPUT ACCEPT [0:0]\n-A INPUT -m conntrack --ctstate UNTRACKED -p tcp ! --syn -j DROP\nCOMMIT\n*filter",
    );
    let (_, told, _) = others(&dump, "tcp 10.0.0.2 -> 10.0.0.1:80 in eth0");
    assert!(
        told[0]
            .1
            .starts_with("the rest of the connection is dropped by mangle INPUT"),
        "{told:?}"
    );
}

/// What nat made of a packet to this box itself it made when that went out.
#[test]
fn nat_is_not_asked_about_what_comes_in_by_lo() {
    let dump = translated(
        "-A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 81",
        "",
    );
    let document = Document::parse(dump.as_bytes().to_vec(), Hints::default()).unwrap();
    let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
    let ask = |words: &str| {
        let probe = looped(&read_words(words).unwrap());
        let program = Program::compile(probe.family, &rulesets);
        let said = program.explain(&probe, &Facts::default(), &rulesets);
        said.dst.and_then(|end| end.port)
    };
    assert_eq!(ask("tcp 127.0.0.1 -> 127.0.0.1:80 in lo"), None);
    assert_eq!(ask("tcp 10.0.0.2 -> 10.0.0.1:80 in eth0"), Some(81));
}

/// The answer goes by the route to the client, which need not be the way that the client's packets come by.
#[test]
fn an_answer_leaves_by_the_way_back() {
    let document = Document::parse(OPEN.as_bytes().to_vec(), Hints::default()).unwrap();
    let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
    let mut probe = read_words("tcp 10.0.0.2 -> 10.0.0.1:80 in eth0").unwrap();
    probe.connection.home = crate::flow::IfName::new(b"wan1");
    let program = Program::compile(probe.family, &rulesets);
    let others = program.others(&probe, &Facts::default(), &rulesets);
    assert_eq!(others[0].probe.output, crate::flow::IfName::new(b"wan1"));
}
