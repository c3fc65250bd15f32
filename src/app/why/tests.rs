//! Questions and answers, as tables.

mod screen;

use std::sync::Arc;

use super::question::{Answered, Held, Programs, Question, Spot, answer, packets_of};
use crate::app::firewall::FirewallId;
use crate::flow::{
    IfName, Interface, KernelLine, LogSource, Machine, RouteAnswer, RouteQuestion, Way, WayKind,
    parse_line,
};
use crate::ruleset::{Backend, Family, Origin, Ruleset};
use crate::verdict::{CtState, Facts, Path, Probe, Verdict, Words, read_words, typical};

const RULES: &str = "\
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:web - [0:0]
:lonely - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -p tcp -m tcp --dport 443 -j web
-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT
-A INPUT -j LOG --log-prefix \"IN DROP: \"
-A FORWARD -i eth0 -o docker0 -j REJECT --reject-with icmp-admin-prohibited
-A web -s 198.51.100.0/24 -j RETURN
-A web -s 203.0.113.0/24 -j DROP
-A lonely -j ACCEPT
COMMIT
";

fn id() -> FirewallId {
    Origin::new(Family::V4, Backend::Nft).into()
}

fn rules(text: &str) -> Arc<Ruleset> {
    let origin = Origin::new(Family::V4, Backend::Nft);
    Arc::new(Ruleset::parse(text.as_bytes(), origin).unwrap())
}

fn interface(name: &str, index: u32, address: &str) -> Interface {
    Interface {
        name: IfName::new(name.as_bytes()).unwrap(),
        index,
        up: true,
        carrier: true,
        loopback: false,
        port_of: None,
        bridge: false,
        addresses: vec![address.parse().unwrap()],
        broadcasts: Vec::new(),
        rp_filter: None,
        forwards_v4: None,
        forwards_v6: None,
    }
}

/// A box with the world at eth0 and containers at docker0.
fn machine() -> Machine {
    Machine {
        interfaces: Some(vec![
            interface("eth0", 2, "10.0.0.5/24"),
            interface("docker0", 3, "172.17.0.1/16"),
        ]),
        ..Machine::default()
    }
}

fn routes(asked: &[RouteQuestion]) -> Vec<(RouteQuestion, RouteAnswer)> {
    let way = |question: &RouteQuestion| {
        let inside = question.to.to_string().starts_with("172.17.");
        let name = if inside { "docker0" } else { "eth0" };
        RouteAnswer::Way(Way {
            kind: WayKind::Unicast,
            output: IfName::new(name.as_bytes()),
            gateway: None,
            table: 254,
        })
    };
    asked.iter().map(|one| (one.clone(), way(one))).collect()
}

fn asked(packets: Vec<Probe>, meets: Option<Spot>, live: bool) -> Question {
    Question {
        number: 1,
        packets,
        meets,
        sets: vec![Held {
            id: id(),
            ruleset: rules(RULES),
            staged: None,
            lossy: Vec::new(),
        }],
        natives: Vec::new(),
        live,
    }
}

fn answered(question: &Question) -> Answered {
    let mut machine = if question.live {
        machine()
    } else {
        Machine::default()
    };
    let facts = Facts {
        local: machine.addresses(),
        ..Facts::default()
    };
    let mut programs = Programs::default();
    answer(
        question,
        &mut programs,
        &facts,
        &mut machine,
        &mut |asked, _| routes(asked),
    )
    .unwrap()
}

fn said(words: &str) -> Answered {
    answered(&asked(vec![read_words(words).unwrap()], None, true))
}

#[test]
fn what_is_left_open_is_filled_in_and_shown() {
    for (words, shown, verdict) in [
        (
            "tcp 203.0.113.9 -> :443",
            "tcp 203.0.113.9 -> 10.0.0.5:443 in eth0 new",
            Verdict::Drop,
        ),
        (
            "tcp 192.0.2.9 -> :443",
            "tcp 192.0.2.9 -> 10.0.0.5:443 in eth0 new",
            Verdict::Accept,
        ),
        // A DNAT sends it on, by the way to its new end.
        (
            "tcp 192.0.2.9 -> :8080",
            "tcp 192.0.2.9 -> 10.0.0.5:8080 in eth0 out docker0 new",
            Verdict::Reject,
        ),
        (
            "udp -> 192.0.2.9:53 output",
            "udp 10.0.0.5 -> 192.0.2.9:53 out eth0 new",
            Verdict::Accept,
        ),
        // To somebody else's address it is forwarded.
        (
            "tcp 192.0.2.9 -> 10.0.0.9:443 in eth7",
            "tcp 192.0.2.9 -> 10.0.0.9:443 in eth7 out eth0 new",
            Verdict::Drop,
        ),
        // What was said stays.
        (
            "tcp 192.0.2.9 -> 10.0.0.9:443 in eth7 input",
            "tcp 192.0.2.9 -> 10.0.0.9:443 in eth7 new",
            Verdict::Accept,
        ),
    ] {
        let answer = said(words);
        assert_eq!(Words(&answer.probe).to_string(), shown);
        assert_eq!(answer.explanation.verdict, verdict, "{words}");
    }
    let dump = asked(
        vec![read_words("tcp 203.0.113.9 -> :443").unwrap()],
        None,
        false,
    );
    assert_eq!(answered(&dump).probe.input, None, "a dump has no box");
}

/// The rule of a chain by its number, as a spot and its typical packets.
fn pointed(chain: &str, number: Option<usize>) -> (Spot, Vec<Probe>) {
    let set = rules(RULES);
    let chain = set.find_chain("filter", chain).unwrap();
    let rule = number.map(|number| set.chain(chain).rules()[number - 1]);
    let spot = Spot {
        id: id(),
        chain,
        rule,
    };
    (spot, typical(&set, chain, rule))
}

#[test]
fn the_packets_of_a_rule_reach_it_or_say_what_stands_above() {
    for (chain, number, met, verdict, words) in [
        (
            "INPUT",
            Some(1),
            true,
            Verdict::Accept,
            "tcp 127.0.0.1:40000 -> 127.0.0.1:443 in lo new",
        ),
        (
            "INPUT",
            Some(2),
            true,
            Verdict::Accept,
            "tcp 203.0.113.9:40000 -> 10.0.0.5:443 in eth0 established flags ACK",
        ),
        (
            "INPUT",
            Some(3),
            true,
            Verdict::Accept,
            "icmp 203.0.113.9 -> 10.0.0.5 in eth0 type 8 code 0 new",
        ),
        (
            "web",
            Some(2),
            true,
            Verdict::Drop,
            "tcp 203.0.113.1:40000 -> 10.0.0.5:443 in eth0 new",
        ),
        (
            "web",
            Some(1),
            true,
            Verdict::Accept,
            "tcp 198.51.100.1:40000 -> 10.0.0.5:443 in eth0 new",
        ),
        // What no other rule asks for gets as far as the policy.
        (
            "INPUT",
            None,
            true,
            Verdict::Drop,
            "tcp 203.0.113.9:40000 -> 10.0.0.5:49151 in eth0 new",
        ),
        (
            "FORWARD",
            Some(1),
            true,
            Verdict::Reject,
            "tcp 203.0.113.9:40000 -> 172.17.0.2:443 in eth0 out docker0 new",
        ),
        // Its usual packet is dropped in the chain above.
        (
            "INPUT",
            Some(5),
            false,
            Verdict::Drop,
            "tcp 203.0.113.9:40000 -> 10.0.0.5:443 in eth0 new",
        ),
    ] {
        let (spot, packets) = pointed(chain, number);
        let answer = answered(&asked(packets, Some(spot), true));
        assert_eq!(
            Words(&answer.probe).to_string(),
            words,
            "{chain} {number:?}"
        );
        assert_eq!(
            (answer.met, answer.explanation.verdict),
            (met, verdict),
            "{words}"
        );
    }
    assert_eq!(pointed("lonely", Some(1)).1, [], "nothing leads there");
}

fn line(text: &str) -> KernelLine {
    parse_line(text.as_bytes(), LogSource::Kmsg).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn a_log_line_is_its_packet_in_the_state_that_fits() {
    let text = "IN DROP: IN=eth0 OUT= MAC=02:00:00:00:00:01:02:00:00:00:00:02:08:00 SRC=198.51.100.53 DST=10.0.0.5 \
        LEN=90 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=UDP SPT=53 DPT=40000 LEN=70";
    let packets = packets_of(&line(text));
    assert_eq!(
        packets[0].ctstate,
        Some(CtState::Established),
        "an answer comes first"
    );
    assert_eq!((packets[0].path, packets[0].sport), (Path::Input, Some(53)));
    // The line was written by the rule before the policy: ESTABLISHED would not have come so far.
    let set = rules(RULES);
    let chain = set.find_chain("filter", "INPUT").unwrap();
    let meets = Spot {
        id: id(),
        chain,
        rule: set.chain(chain).rules().last().copied(),
    };
    let answer = answered(&asked(packets, Some(meets), true));
    assert_eq!(answer.probe.ctstate, Some(CtState::New));
    assert!(answer.met && answer.explanation.verdict == Verdict::Drop);

    let forward = "x IN=eth0 OUT=eth1 SRC=1.2.3.4 DST=5.6.7.8 LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=1 DF PROTO=TCP SPT=1 DPT=80 WINDOW=1 RES=0x00 SYN URGP=0";
    let packets = packets_of(&line(forward));
    assert_eq!((packets[0].path, packets[0].ttl), (Path::Forward, None));
    assert_eq!(packets[0].ctstate, Some(CtState::New));
    let full = line("nf_conntrack: nf_conntrack: table full, dropping packet");
    assert_eq!(packets_of(&full), []);
}

/// Behind `docker0` is nobody of the world: the one who stands for all is a neighbour there.
#[test]
fn ends_that_were_made_up_fit_the_interfaces_that_the_rule_names() {
    let text = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -i docker0 -j DROP\n-A FORWARD -i eth0 -o docker0 -j DROP\n-A FORWARD -i docker0 ! -s 172.17.0.0/16 -j DROP\nCOMMIT\n";
    let set = rules(text);
    let ends = |chain: &str, nth: usize| {
        let chain = set.find_chain("filter", chain).unwrap();
        let rule = set.chain(chain).rules()[nth];
        let spot = Spot {
            id: id(),
            chain,
            rule: Some(rule),
        };
        let mut question = asked(typical(&set, chain, Some(rule)), Some(spot), true);
        question.sets[0].ruleset = Arc::clone(&set);
        let answered = answered(&question);
        assert!(answered.met);
        let (src, dst) = (answered.probe.src.unwrap(), answered.probe.dst.unwrap());
        (src.to_string(), dst.to_string())
    };
    assert_eq!(ends("INPUT", 0).0, "172.17.0.2");
    assert_eq!(
        ends("FORWARD", 0),
        ("203.0.113.9".to_owned(), "172.17.0.2".to_owned())
    );
    // What the rule says of the address comes first.
    assert_eq!(ends("FORWARD", 1).0, "203.0.113.9");
}

/// A packet through the box leaves by the way to where DNAT sends it; nobody said that it leaves by another one.
#[test]
fn a_translated_packet_leaves_by_the_way_to_its_new_destination() {
    let text = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 443 -j DNAT --to-destination 172.17.0.9:8443\nCOMMIT\n*filter\n:FORWARD DROP [0:0]\n-A FORWARD -o docker0 -j DROP\nCOMMIT\n";
    let mut probe =
        crate::app::why::read_line("tcp 203.0.113.9 -> 198.51.100.1:443 forward new").unwrap();
    let leaves = |probe: &Probe| {
        let mut question = asked(vec![probe.clone()], None, true);
        question.sets[0].ruleset = rules(text);
        answered(&question).probe.output
    };
    assert_eq!(leaves(&probe), IfName::new(b"docker0"));
    probe.output = IfName::new(b"eth0");
    assert_eq!(leaves(&probe), IfName::new(b"eth0"), "it was asked so");
}
