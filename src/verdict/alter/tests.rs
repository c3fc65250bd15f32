//! Sets that a change opens and closes, in words on small rulesets.

mod packets;

use std::fmt::Write as _;

use super::*;
use crate::flow::Protocol;
use crate::ruleset::{Document, Hints};
use crate::verdict::{CtState, Verdict};

fn document(text: &str) -> Document {
    Document::parse(text.as_bytes().to_vec(), Hints::default()).unwrap()
}

fn with_change<T>(
    before: &str,
    after: &str,
    facts: &Facts,
    each: impl FnOnce(Side<'_>, Side<'_>, Alteration) -> T,
) -> T {
    let (before, after) = (document(before), document(after));
    let old: Vec<&Ruleset> = before.rulesets().iter().collect();
    let new: Vec<&Ruleset> = after.rulesets().iter().collect();
    let family = old[0].family();
    let (old_program, new_program) = (
        Program::compile(family, &old),
        Program::compile(family, &new),
    );
    let before = Side {
        program: &old_program,
        rulesets: &old,
    };
    let after = Side {
        program: &new_program,
        rulesets: &new,
    };
    each(before, after, change(before, after, facts))
}

/// `+` what is newly accepted, `-` what is newly dropped, each with its way.
fn told(before: &str, after: &str) -> Vec<String> {
    with_change(before, after, &Facts::default(), |_, _, changes| {
        assert!(changes.is_complete());
        let mut told = Vec::new();
        for way in &changes.ways {
            for (sign, traffic) in [("+", &way.newly_accepted), ("-", &way.newly_dropped)] {
                let path = way.path().name();
                told.extend(
                    traffic
                        .lines()
                        .iter()
                        .map(|line| format!("{sign} {path} {line}")),
                );
            }
        }
        told
    })
}

/// A filter table: rules by `;`, `-A INPUT` where no chain is said.
fn filter(rules: &str) -> String {
    let mut text = String::from(
        "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:a - [0:0]\n",
    );
    for rule in rules
        .split(';')
        .map(str::trim)
        .filter(|rule| !rule.is_empty())
    {
        let chain = if rule.starts_with("-A") {
            ""
        } else {
            "-A INPUT "
        };
        let _ = writeln!(text, "{chain}{rule}");
    }
    text + "COMMIT\n"
}

#[test]
fn a_change_in_words() {
    let cases: [(&str, &str, &[&str]); 14] = [
        (
            "",
            "-i eth0 -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW -j ACCEPT",
            &["+ input tcp any -> :443 on eth0, new"],
        ),
        (
            "-p tcp -m tcp --dport 22 -j ACCEPT",
            "",
            &["- input tcp any -> :22"],
        ),
        // Moved: only what the two rules share.
        (
            "-s 10.0.0.0/8 -j DROP; -p tcp -m multiport --dports 80,443 -j ACCEPT",
            "-p tcp -m multiport --dports 80,443 -j ACCEPT; -s 10.0.0.0/8 -j DROP",
            &["+ input tcp 10.0.0.0/8 -> :80,443"],
        ),
        (
            "-p tcp -j ACCEPT; -p udp -j ACCEPT",
            "-p udp -j ACCEPT; -p tcp -j ACCEPT",
            &[],
        ),
        ("-p tcp -j DROP", "-p tcp -j REJECT", &[]),
        ("-p tcp -j ACCEPT", "-p tcp -j LOG; -p tcp -j ACCEPT", &[]),
        // What is behind in the same list still holds.
        (
            "-p tcp -m tcp --dport 22 -j ACCEPT; -s 10.0.0.1 -j ACCEPT",
            "-s 10.0.0.1 -j ACCEPT",
            &["- input tcp not 10.0.0.1 -> :22"],
        ),
        (
            "! -i lo -p icmp -m icmp --icmp-type 8 -j ACCEPT",
            "-i lo -j ACCEPT",
            &[
                "+ input any protocol any -> any on lo",
                "- input icmp any -> any type 8 on not lo",
            ],
        ),
        (
            "-A FORWARD -i eth+ -o br0 -j ACCEPT",
            "",
            &["- forward any protocol any -> any in eth+ out br0"],
        ),
        // What arrives may be marked already: by traffic control, or a tunnel.
        (
            "-m mark --mark 0x2 -j ACCEPT",
            "",
            &["- input any protocol any -> any, when mark 0x2/0xffffffff"],
        ),
        (
            "",
            "-A OUTPUT -m mark --mark 0x1 -j DROP",
            &["- output any protocol any -> any, when mark 0x1/0xffffffff"],
        ),
        (
            "-p tcp -j ACCEPT",
            "-m set --match-set bl src -j DROP; -p tcp -j ACCEPT",
            &["- input tcp any -> any, when set bl src"],
        ),
        // A limit answers before as after.
        (
            "-m limit --limit 1/s -j ACCEPT",
            "-m limit --limit 1/s -j ACCEPT; -p tcp -j DROP",
            &[],
        ),
        (
            "-p tcp -j a; -A a -s 10.0.0.0/9 -j ACCEPT; -A a -s 10.128.0.0/9 -j ACCEPT",
            "",
            &["- input tcp 10.0.0.0/8 -> any"],
        ),
    ];
    for (before, after, expected) in cases {
        assert_eq!(
            told(&filter(before), &filter(after)),
            expected,
            "{before} => {after}"
        );
    }
    let six = |rules: &str| format!("# Generated by ip6tables-save v1.8.9\n{}", filter(rules));
    assert_eq!(
        told(
            &six(""),
            &six("-s 2001:db8::/32 -d fd00::1/128 -p udp -m udp --dport 53 -j ACCEPT")
        ),
        ["+ input udp 2001:db8::/32 -> [fd00::1]:53"]
    );
}

#[test]
fn a_policy_is_told_by_what_comes_to_it() {
    let before = filter("-p tcp -m tcp --dport 22 -j ACCEPT; -i lo -j ACCEPT");
    let after = before.replace(":INPUT DROP", ":INPUT ACCEPT");
    assert_eq!(told(&before, &before), [""; 0]);
    let opened = told(&before, &after);
    assert_eq!(
        opened,
        [
            "+ input any protocol but tcp any -> any on not lo",
            "+ input tcp any -> any not port 22 on not lo"
        ]
    );
}

/// Later fragments are packets of their own where nothing asks for conntrack, which puts them together.
#[test]
fn later_fragments_are_told_where_nothing_puts_them_together() {
    let ports = "-A FORWARD -p tcp -m tcp --dport 80 -j ACCEPT";
    let with = |first: &str| filter(&format!("{first}; {ports}"));
    assert_eq!(
        told(&with("-A FORWARD -f -j ACCEPT"), &with("")),
        ["- forward later fragments of any protocol any -> any"]
    );
    // A rule that looks at ports never was for them.
    assert_eq!(told(&with(""), &filter("")), ["- forward tcp any -> :80"]);
    let tracked = "-m conntrack --ctstate NEW -j ACCEPT";
    let both = |first: &str| filter(&format!("{tracked}; {first}; {ports}"));
    assert_eq!(told(&both("-A FORWARD -f -j ACCEPT"), &both("")), [""; 0]);
    // The first rule that asks for conntrack makes other packets of them.
    with_change(
        &with("-A FORWARD -f -j ACCEPT"),
        &both("-A FORWARD -f -j ACCEPT"),
        &Facts::default(),
        |_, _, changes| assert!(!changes.is_complete()),
    );
    // What is delivered is put together before INPUT, by IPv4; what is sent is cut up after the last rule.
    assert_eq!(told(&filter("-f -j ACCEPT"), &filter("")), [""; 0]);
    assert_eq!(told(&filter("-A OUTPUT -f -j DROP"), &filter("")), [""; 0]);
    // To leave packets alone conntrack is not needed.
    let raw = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j CT --notrack\nCOMMIT\n";
    let (old, new) = (
        raw.to_owned() + &with("-A FORWARD -f -j ACCEPT"),
        raw.to_owned() + &with(""),
    );
    assert_eq!(told(&old, &new).len(), 1);
}

/// What is told is of packets as they arrive, before NAT.
#[test]
fn a_forwarded_service_is_told_by_its_outside() {
    let nat = "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
        -A PREROUTING -i eth0 -d 192.0.2.1/32 -p tcp -m tcp --dport 8443 -j DNAT --to-destination 10.0.0.5:443\n\
        -A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n";
    let rule = "-A FORWARD -d 10.0.0.5/32 -i eth0 -o br0 -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW -j ACCEPT";
    let (before, after) = (nat.to_owned() + &filter(""), nat.to_owned() + &filter(rule));
    let opened = told(&before, &after);
    assert_eq!(
        opened,
        [
            "+ input tcp any -> 192.0.2.1:8443 on eth0, new, when not (its new destination is an address of this box) and out br0 (as it was translated)",
            "+ forward tcp any -> 192.0.2.1:8443 in eth0 out br0, new",
            "+ forward tcp any -> 10.0.0.5:443 in eth0 out br0, new",
        ]
    );
}

#[test]
fn from_where_a_port_is_reached_and_who_stops_the_rest() {
    let rules = "-s 10.0.0.0/8 -j DROP; -i eth1 -j REJECT; -p tcp -m tcp --dport 443 -s 192.0.2.0/24 -j ACCEPT";
    let document = document(&filter(rules));
    let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
    let program = Program::compile(Family::V4, &rulesets);
    let kind = Probe {
        proto: Some(Protocol::TCP),
        dport: Some(443),
        ctstate: Some(CtState::New),
        ..Probe::new(Family::V4, Path::Input)
    };
    let reach = program.reach(&kind, &Facts::default(), &rulesets);
    assert!(reach.complete);
    let lines = |traffic: &Traffic| -> Vec<String> {
        traffic.lines().iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        lines(&reach.accepted),
        ["tcp 192.0.2.0/24 -> :443 on not eth1, new"]
    );
    let stopped: Vec<(String, Verdict, Vec<String>)> = reach
        .stopped
        .iter()
        .map(|one| {
            let Some(crate::verdict::Decider::Place(place)) = one.by else {
                panic!("{one:?}");
            };
            let rule = place.rule.map_or("policy".to_owned(), |rule| {
                rulesets[0].number(rule).to_string()
            });
            (rule, one.verdict, lines(&one.traffic))
        })
        .collect();
    let line = |text: &str| vec![text.to_owned()];
    assert_eq!(
        stopped,
        [
            (
                "2".to_owned(),
                Verdict::Reject,
                line("tcp not 10.0.0.0/8 -> :443 on eth1, new")
            ),
            (
                "policy".to_owned(),
                Verdict::Drop,
                line("tcp not 10.0.0.0/8,192.0.2.0/24 -> :443 on not eth1, new")
            ),
            (
                "1".to_owned(),
                Verdict::Drop,
                line("tcp 10.0.0.0/8 -> :443, new")
            ),
        ]
    );
}

/// Names, masks and texts that no kernel holds bring nothing down.
#[test]
fn too_much_is_said_to_be_too_much() {
    let mut many = String::new();
    for at in 0..2_000_u32 {
        let bits = at.wrapping_mul(2_654_435_761);
        let (a, b, c) = (bits % 200, bits / 200 % 250, bits / 50_000 % 250);
        let _ = write!(
            many,
            "-s {a}.{b}.0.0/14 -d {c}.{b}.0.0/13 -p tcp -m tcp --sport {}:{} -j ACCEPT;",
            at * 7,
            at * 7 + 9_000
        );
    }
    let before = filter(&many);
    let after = before.replace(":INPUT DROP", ":INPUT ACCEPT");
    with_change(&before, &after, &Facts::default(), |_, _, changes| {
        assert!(!changes.is_complete());
        let policies: Vec<String> = changes.policies.iter().map(ToString::to_string).collect();
        assert_eq!(
            policies,
            ["all that no rule of filter INPUT decides: ACCEPT, not DROP"]
        );
        assert!(!changes.is_nothing());
    });
}

/// What DNAT sends to a range of other addresses is not let in by INPUT.
#[test]
fn what_goes_elsewhere_is_not_opened_by_input() {
    let nat = "*nat\n:PREROUTING ACCEPT [0:0]\n\
        -A PREROUTING -d 192.0.2.1/32 -p tcp -m tcp --dport 8082 -j DNAT --to-destination 10.1.0.5-10.1.0.9\nCOMMIT\n";
    let rule = "-A INPUT -p tcp -m tcp --dport 8082 -j ACCEPT";
    let (before, after) = (nat.to_owned() + &filter(""), nat.to_owned() + &filter(rule));
    let facts = Facts {
        local: Some(vec![
            "192.0.2.1".parse().unwrap(),
            "192.0.2.2".parse().unwrap(),
        ]),
        ..Facts::default()
    };
    let packet = |dst: &str| {
        let text = format!(
            r#"{{"proto":"tcp","src":"203.0.113.9","dst":"{dst}","sport":40000,"dport":8082,"ctstate":"NEW","in":"eth0"}}"#
        );
        Probe::from_json(text.as_bytes()).unwrap()
    };
    with_change(&before, &after, &facts, |_, _, changes| {
        assert_eq!(changes.of(&packet("192.0.2.1")).0, Belongs::No);
        assert_eq!(changes.of(&packet("192.0.2.2")).0, Belongs::Yes);
    });
}

/// A native chain that may set the mark leaves it open what a rule on the mark opens; one that does set it
/// does not.
#[test]
fn native_chains_are_in_the_way_of_a_change() {
    use crate::ruleset::{BaseChain, Effects, NativeDoes, NativeRule, NativeRules, NftFamily};
    let chain = |does| BaseChain {
        family: NftFamily::Inet,
        table: "mk".into(),
        chain: "pre".into(),
        kind: "filter".into(),
        hook: "prerouting",
        priority: -100,
        drops_by_default: false,
        devices: Vec::new(),
        rules: 1,
        read: Some(NativeRules {
            chains: vec![vec![NativeRule {
                place: "rule 1".into(),
                family: None,
                tests: "-p 6 -m tcp --dport 443:443".into(),
                open: false,
                does,
            }]],
        }),
        owner: None,
        dormant: false,
    };
    let (before, after) = (
        document(&filter("")),
        document(&filter("-A INPUT -m mark --mark 2 -j ACCEPT")),
    );
    let (old, new) = (&before.rulesets()[0], &after.rulesets()[0]);
    let marks = NativeDoes::Target("-j MARK --set-xmark 0x2/0xffffffff".into());
    let may = NativeDoes::May(Effects {
        mark: true,
        ..Effects::default()
    });
    for (does, to_443) in [(marks, Belongs::Yes), (may, Belongs::Perhaps)] {
        let natives = [chain(does)];
        let programs = [old, new]
            .map(|ruleset| Program::compile_beside(ruleset.family(), &[ruleset], &natives));
        let side = |at: usize, rulesets| Side {
            program: &programs[at],
            rulesets,
        };
        let (one, other) = ([old], [new]);
        let changes = change(side(0, &one), side(1, &other), &Facts::default());
        // A packet to 80 may have come with that mark.
        for (port, wanted) in [(443, to_443), (80, Belongs::Perhaps)] {
            let text = format!(
                r#"{{"proto":"tcp","src":"203.0.113.9","dst":"192.0.2.1","sport":40000,"dport":{port},"ctstate":"NEW","in":"eth0"}}"#
            );
            let probe = Probe::from_json(text.as_bytes()).unwrap();
            assert_eq!(changes.of(&probe).0, wanted, "{port} {natives:?}");
        }
    }
}

/// A question is the same before and after a change, unless something that it looks at was changed on the way.
#[test]
fn what_a_rule_does_to_a_set_makes_its_members_another_question() {
    let rules = |first: &str, test: &str| {
        document_of(&format!(
            "-A INPUT -p tcp {first}\n-A INPUT -p tcp {test} -j ACCEPT"
        ))
    };
    let set = "-m set --match-set s src";
    // What is put into one set is no matter for another that is known, nor is a mark.
    let sets = "create s hash:ip\ncreate t hash:ip\ncreate u hash:net\n";
    let facts = Facts {
        sets: crate::verdict::sets::read(sets.as_bytes()),
        ..Facts::default()
    };
    for first in [
        "-j SET --add-set t src",
        "-j MARK --set-mark 1",
        "-j TOS --set-tos 16",
    ] {
        for test in [set, "-m length --length 100", "-m ttl --ttl-eq 3"] {
            let changed = with_change(
                &rules(first, test),
                &rules("", test),
                &facts,
                |_, _, all| all,
            );
            assert!(changed.is_nothing(), "{first} {test} {changed:?}");
        }
    }
    let lines = told(&rules("-j SET --add-set s src", set), &rules("", set));
    for line in lines {
        assert!(
            line.contains("set s src (as rules have changed it)"),
            "{line}"
        );
        assert!(!line.contains("newly"), "{line}");
    }
}

/// A filter table whose INPUT drops by default.
fn document_of(rules: &str) -> String {
    format!(
        "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{rules}\nCOMMIT\n"
    )
}

/// An open rule of a native chain asks the same question before a change and after it, wherever it comes to stand in
/// the program.
#[test]
fn an_open_native_rule_is_the_same_before_and_after() {
    use crate::ruleset::{Effects, NativeDoes, NativeRule, NativeRules};
    let rule = |place: &str, open, does| NativeRule {
        place: place.into(),
        family: None,
        tests: "-p 6".into(),
        open,
        does,
    };
    let may = Effects {
        ends: true,
        ..Effects::default()
    };
    let native = |read: Option<NativeRules>| crate::ruleset::BaseChain {
        family: crate::ruleset::NftFamily::Inet,
        table: "t".into(),
        chain: "in".into(),
        kind: "filter".into(),
        hook: "input",
        priority: 5,
        drops_by_default: true,
        devices: Vec::new(),
        rules: 2,
        read,
        owner: None,
        dormant: false,
    };
    let rules = NativeRules {
        chains: vec![vec![
            rule("rule 1", true, NativeDoes::Target("-j DROP".into())),
            rule("rule 2", false, NativeDoes::May(may)),
        ]],
    };
    for natives in [[native(Some(rules))], [native(None)]] {
        // Nothing of what packets meet is changed, but there is one rule more.
        let before = document(&document_of("-A INPUT -p tcp -j ACCEPT"));
        let after = document(&document_of(
            "-A INPUT -p tcp --dport 1:80 -j ACCEPT\n-A INPUT -p tcp -j ACCEPT",
        ));
        let (old, new) = (&before.rulesets()[0], &after.rulesets()[0]);
        let programs =
            [old, new].map(|one| Program::compile_beside(one.family(), &[one], &natives));
        let [one, other] = [[old], [new]];
        let side = |program, rulesets| Side { program, rulesets };
        let changes = change(
            side(&programs[0], &one),
            side(&programs[1], &other),
            &Facts::default(),
        );
        assert!(changes.is_nothing(), "{changes:?}");
    }
}
