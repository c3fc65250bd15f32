//! Rules called dead, and who covers them, on small rulesets; and no packet that reaches one.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::flow::{IfName, Protocol};
use crate::ruleset::{Document, Family, Hints};
use crate::verdict::space::cube::Cube;
use crate::verdict::state::{address_of, ct, name_bits};
use crate::verdict::tri::Tri;
use crate::verdict::walk::{Walk, Watch};
use crate::verdict::{Answer, Facts};
use crate::verdict::{CtState, Path, Probe};

/// What is said of the dead rules of a filter table: `INPUT 2 by INPUT 1`.
fn dead(rules: &str) -> Vec<String> {
    let dump = dump("filter", rules);
    let document = Document::parse(dump.into_bytes(), Hints::default()).unwrap();
    let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
    let shadows = Program::compile(Family::V4, &rulesets).shadows(&rulesets);
    assert!(shadows.complete);
    for shadow in &shadows.found {
        assert_eq!(shadows.of(shadow.rule), Some(shadow));
    }
    shadows
        .found
        .iter()
        .map(|shadow| {
            let word = match shadow.why {
                Dead::Never => "never",
                Dead::NotSent(_) => "not sent",
                Dead::Covered(_) => "by",
            };
            let by: Vec<String> = shadow.by().iter().map(|by| name(&rulesets, *by)).collect();
            let sep = if by.is_empty() { "" } else { " " };
            format!(
                "{} {word}{sep}{}",
                name(&rulesets, shadow.rule),
                by.join(", ")
            )
        })
        .collect()
}

fn name(rulesets: &[&Ruleset], place: Place) -> String {
    let ruleset = rulesets[place.ruleset];
    let chain = ruleset.chain(place.chain).name();
    place.rule.map_or(format!("{chain} policy"), |rule| {
        format!("{chain} {}", ruleset.number(rule))
    })
}

/// Rules in lines, `-A INPUT` where no chain is said.
fn dump(table: &str, rules: &str) -> String {
    let builtin = match table {
        "raw" => ":PREROUTING ACCEPT [0:0]\n",
        _ => ":INPUT DROP [0:0]\n",
    };
    let mut text = format!("*{table}\n{builtin}:a - [0:0]\n:b - [0:0]\n:c - [0:0]\n");
    for rule in rules.split(';').map(str::trim) {
        let said = rule.starts_with("-A");
        let chain = if said { "" } else { "-A INPUT " };
        let _ = writeln!(text, "{chain}{rule}");
    }
    text.push_str("COMMIT\n");
    text
}

#[test]
fn dead_rules_and_who_covers_them() {
    for (rules, expected) in [
        // One earlier rule.
        ("-j DROP; -p tcp -j ACCEPT", &["INPUT 2 by INPUT 1"][..]),
        (
            "-s 10.0.0.0/8 -j DROP; -s 10.1.0.0/16 -p tcp -m tcp --dport 22 -j ACCEPT",
            &["INPUT 2 by INPUT 1"],
        ),
        ("-s 10.1.0.0/16 -j DROP; -s 10.0.0.0/8 -j ACCEPT", &[]),
        (
            "-p tcp -m tcp --dport 1:100 -j DROP; -i eth0 -p tcp -m tcp --dport 80 -j ACCEPT",
            &["INPUT 2 by INPUT 1"],
        ),
        (
            "-i eth+ -j DROP; -i eth0 -j ACCEPT",
            &["INPUT 2 by INPUT 1"],
        ),
        (
            "! -i lo -j DROP; -i eth0 -j ACCEPT",
            &["INPUT 2 by INPUT 1"],
        ),
        (
            "-m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT; -m conntrack --ctstate NEW -j DROP",
            &["INPUT 2 by INPUT 1"],
        ),
        ("-p tcp -j LOG; -p tcp -j ACCEPT", &[]),
        ("-p tcp -m limit --limit 1/s -j ACCEPT; -p tcp -j DROP", &[]),
        (
            "-p tcp -j ACCEPT; -p tcp -m limit --limit 1/s -j DROP",
            &["INPUT 2 by INPUT 1"],
        ),
        (
            "-p tcp -g a; -p tcp -j ACCEPT; -A a -j RETURN",
            &["INPUT 2 by INPUT 1"],
        ),
        // Itself.
        (
            "-m statistic --mode random --probability 0 -j DROP; -j ACCEPT",
            &["INPUT 1 never"],
        ),
        (
            "-m mark --mark 1 -m mark ! --mark 1 -j DROP",
            &["INPUT 1 never"],
        ),
        (
            "-p udp -m multiport --dports 1:5 -m udp --dport 9 -j DROP",
            &["INPUT 1 never"],
        ),
        // Several together, and only those that are needed.
        (
            "-s 10.0.0.0/9 -j DROP; -p tcp -j DROP; -s 10.128.0.0/9 -j DROP; -s 10.0.0.0/8 -j ACCEPT",
            &["INPUT 4 by INPUT 1, INPUT 3"],
        ),
        (
            "-p tcp -m tcp --dport 80 -j ACCEPT; -p tcp -m tcp --dport 443 -j ACCEPT; -p tcp -m multiport --dports 80,443 -j DROP",
            &["INPUT 3 by INPUT 1, INPUT 2"],
        ),
        (
            "-p tcp -m tcp --dport 80 -j ACCEPT; -p tcp -m multiport --dports 80,443 -j ACCEPT; -p tcp -m multiport --dports 80,443 -j DROP",
            &["INPUT 3 by INPUT 2"],
        ),
        (
            "-i eth0 -p udp -j DROP; ! -i eth0 -j DROP; -p udp -j ACCEPT",
            &["INPUT 3 by INPUT 1, INPUT 2"],
        ),
        (
            "-m state --state NEW -j a; -m state --state INVALID,ESTABLISHED,RELATED,UNTRACKED -j DROP; -p tcp -j ACCEPT; -A a -p tcp -j DROP",
            &["INPUT 3 by INPUT 2, a 1"],
        ),
        (
            "-p tcp -m tcp --sport 0:9 -j DROP; -p tcp -m tcp --sport 10: -j DROP; -p tcp -m tcp --dport 9 -j ACCEPT",
            &["INPUT 3 by INPUT 1, INPUT 2"],
        ),
        // A later fragment has no ports.
        (
            "-p tcp -m tcp --sport 0:9 -j DROP; -p tcp -m tcp --sport 10: -j DROP; -p tcp -j ACCEPT",
            &[],
        ),
        // Questions beside the header: the same one, and not after a change.
        (
            "-m mark --mark 1 -j DROP; -p tcp -m mark --mark 1 -j ACCEPT; -m mark --mark 2 -j ACCEPT",
            &["INPUT 2 by INPUT 1"],
        ),
        (
            "-m mark --mark 1 -j DROP; -j MARK --set-mark 1; -m mark --mark 1 -j ACCEPT",
            &[],
        ),
        (
            "-m set --match-set s src -j DROP; -m set --match-set s src -p tcp -j ACCEPT; -m set --match-set s dst -j ACCEPT",
            &["INPUT 2 by INPUT 1"],
        ),
        (
            "-m set --match-set s src -j DROP; -j SET --add-set s src; -m set --match-set s src -p tcp -j ACCEPT",
            &[],
        ),
        (
            "-m mark --mark 1 -j DROP; -j a; -m mark --mark 1 -j ACCEPT; -A a -j MARK --set-mark 1",
            &[],
        ),
        // Chains that decide, and chains that may come back.
        (
            "-p tcp -j a; -p tcp -m tcp --dport 22 -j ACCEPT; -A a -j LOG; -A a -j DROP",
            &["INPUT 2 by INPUT 1"],
        ),
        (
            "-p tcp -j a; -p tcp -j ACCEPT; -A a -s 10.0.0.1 -j RETURN; -A a -j DROP",
            &[],
        ),
        (
            "-p tcp -j a; -p tcp -m tcp --dport 22 -j ACCEPT; -A a -p tcp -m tcp --dport 22 -j DROP; -A a -j RETURN",
            &["INPUT 2 by a 1"],
        ),
        (
            "-p tcp -j a; -p tcp -j ACCEPT; -A a -g b; -A b -p udp -j DROP",
            &["b 1 not sent a 1"],
        ),
        // What callers leave.
        (
            "-p tcp -m tcp --dport 22 -j DROP; -j a; -A a -p tcp -m tcp --dport 22 -j ACCEPT",
            &["a 1 by INPUT 1"],
        ),
        (
            "-p tcp -j a; -A a -p udp -j DROP; -A a -p tcp -j ACCEPT",
            &["a 1 not sent INPUT 1"],
        ),
        (
            "-p tcp -j a; -j b; -A a -p udp -j c; -A b -p icmp -j c; -A c -p tcp -j DROP",
            &["a 1 not sent INPUT 1", "c 1 not sent a 1, b 1"],
        ),
        (
            "-p tcp -j DROP; -s 10.0.0.1 -j a; -s 10.0.0.2 -j a; -A a -p tcp -j ACCEPT",
            &["a 1 by INPUT 1"],
        ),
        (
            "-s 10.0.0.1 -p tcp -j DROP; -s 10.0.0.1 -j a; -s 10.0.0.2 -j a; -A a -p tcp -j ACCEPT",
            &[],
        ),
        // Nobody calls it, which may change.
        ("-j DROP; -A a -p tcp -j ACCEPT", &[]),
    ] {
        assert_eq!(dead(rules), expected, "{rules}");
    }
}

#[test]
fn what_could_be_left_out() {
    for (rules, expected) in [
        (
            "-p tcp -m tcp --dport 22 -j ACCEPT; -p tcp -j ACCEPT",
            &["INPUT 1 anyway INPUT 2"][..],
        ),
        (
            "-p tcp -m tcp --dport 22 -j ACCEPT; -s 10.0.0.1 -j DROP; -p tcp -j ACCEPT",
            &[],
        ),
        (
            "-p tcp -m tcp --dport 22 -j ACCEPT; -s 10.0.0.1 -p udp -j DROP; -j LOG; -p tcp -j ACCEPT",
            &["INPUT 1 anyway INPUT 4", "INPUT 2 anyway INPUT policy"],
        ),
        (
            "-p tcp -j DROP; -p udp -j ACCEPT",
            &["INPUT 1 anyway INPUT policy"],
        ),
        (
            "-s 10.0.0.0/8 -j ACCEPT; -s 10.0.0.0/9 -j ACCEPT; -s 10.128.0.0/9 -j ACCEPT",
            &["INPUT 1 anyway INPUT 2, INPUT 3"],
        ),
        ("-p tcp -j ACCEPT; -j MARK --set-mark 1; -j ACCEPT", &[]),
        ("-p tcp -j REJECT; -j REJECT --reject-with tcp-reset", &[]),
        ("-j a; -A a -p tcp -j DROP", &[]),
        // What it covers would come to life.
        (
            "-p tcp -j ACCEPT; -p tcp -m tcp --dport 22 -j DROP; -p tcp -j ACCEPT; -p udp -j ACCEPT",
            &[],
        ),
    ] {
        let dump = dump("filter", rules);
        let document = Document::parse(dump.into_bytes(), Hints::default()).unwrap();
        let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
        let program = Program::compile(Family::V4, &rulesets);
        let found = program.redundancies(&program.shadows(&rulesets), &rulesets);
        assert!(found.complete);
        let said: Vec<String> = found
            .found
            .iter()
            .map(|one| {
                let anyway: Vec<_> = one.anyway.iter().map(|at| name(&rulesets, *at)).collect();
                format!("{} anyway {}", name(&rulesets, one.rule), anyway.join(", "))
            })
            .filter(|said| !said.starts_with("a ") || !expected.is_empty())
            .collect();
        assert_eq!(said, expected, "{rules}");
    }
}

/// Before conntrack a state may still become another one.
#[test]
fn the_state_of_a_packet_in_raw() {
    let rules = "-A PREROUTING -m conntrack --ctstate UNTRACKED -j DROP; -A PREROUTING -j CT --notrack; -A PREROUTING -m conntrack --ctstate UNTRACKED -j ACCEPT";
    let document = Document::parse(dump("raw", rules).into_bytes(), Hints::default()).unwrap();
    let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
    let shadows = Program::compile(Family::V4, &rulesets).shadows(&rulesets);
    assert_eq!(shadows.found, []);
}

/// Chains that call each other in a ring are no kernel's, but may stand in a file.
#[test]
fn rings_end() {
    let found = dead("-j a; -A a -j b; -A b -j a; -A b -p tcp -j DROP; -A b -p tcp -j ACCEPT");
    assert!(found.contains(&"b 3 by b 2".to_owned()), "{found:?}");
}

fn rule() -> impl Strategy<Value = String> {
    let proto = prop_oneof![
        "",
        "-p tcp",
        "-p udp",
        "! -p tcp",
        "-p tcp -m tcp --dport (2|80)",
        "-p tcp -m tcp ! --dport 1:9",
        "-p udp -m udp --sport 1:80"
    ];
    let net = prop_oneof![
        "",
        "! -s 10\\.0\\.0\\.(0|1)/3[0-2]",
        "-s 10\\.0\\.0\\.[0-3]",
        "-s 10\\.0\\.0\\.0/(30|31)",
        "-d 10\\.0\\.0\\.[0-3]/31"
    ];
    let rest = prop_oneof![
        "",
        "-i (eth0|eth\\+|lo)",
        "! -i eth0",
        "-m mark --mark [01]",
        "-m conntrack --ctstate (NEW|ESTABLISHED|NEW,ESTABLISHED)",
        "! -f"
    ];
    let target = prop_oneof![
        "-j ACCEPT",
        "-j DROP",
        "-j RETURN",
        "-j a",
        "-g a",
        "-j MARK --set-mark [01]",
        ""
    ];
    (proto, net, rest, target).prop_map(|(p, n, r, t)| format!("{p} {n} {r} {t}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// No packet out of many matches a rule that is called dead.
    #[test]
    fn nothing_matches_what_is_called_dead(
        rules in proptest::collection::vec((rule(), any::<bool>()), 2..14),
        packets in proptest::collection::vec(any::<u16>(), 100),
    ) {
        let mut dump = String::from("*filter\n:INPUT DROP [0:0]\n:a - [0:0]\n");
        for (rule, user) in &rules {
            // Calls from the user chain would be loops.
            let inner = rule.replace("-j a", "-j ACCEPT").replace("-g a", "-j DROP");
            let (chain, rule) = if *user { ("a", &inner) } else { ("INPUT", rule) };
            dump.extend(["-A ", chain, " ", rule, "\n"]);
        }
        dump.push_str("COMMIT\n");
        let document = Document::parse(dump.clone().into_bytes(), Hints::default()).unwrap();
        let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
        let program = Program::compile(Family::V4, &rulesets);
        let shadows = program.shadows(&rulesets);
        for bits in packets {
            let pick = |shift: u32, of: u16| (bits >> shift) % of;
            let address = |low: u16| Some(Ipv4Addr::new(10, 0, 0, u8::try_from(low).unwrap()).into());
            let probe = Probe {
                input: IfName::new([&b"eth0"[..], b"eth1", b"lo"][usize::from(pick(0, 3))]),
                proto: Some(if pick(2, 2) == 0 { Protocol::TCP } else { Protocol::UDP }),
                src: address(pick(3, 5)),
                dst: address(pick(6, 4)),
                sport: Some(pick(8, 2) * 79 + 1),
                dport: Some([2, 80, 9][usize::from(pick(9, 3))]),
                ctstate: Some(if pick(11, 2) == 0 { CtState::New } else { CtState::Established }),
                mark: Some(u32::from(pick(12, 2))),
                fragment: pick(13, 4) == 0,
                ..Probe::new(Family::V4, Path::Input)
            };
            let explanation = program.explain(&probe, &Facts::default(), &rulesets);
            for step in explanation.path {
                let called_dead = shadows.found.iter().any(|shadow| shadow.rule == step.place);
                prop_assert!(!(called_dead && step.answer == Answer::Match), "{probe:?}\n{dump}");
            }
        }
    }
}

/// Watches a walk for rules that are said to match nothing.
struct Spy<'a> {
    dead: &'a std::collections::HashSet<u32>,
    reached: Option<u32>,
}

impl Watch for Spy<'_> {
    fn tried(&mut self, _: (u8, u8), place: u32, answer: Tri, _: Option<u32>) {
        if answer == Tri::Yes && self.dead.contains(&place) {
            self.reached = Some(place);
        }
    }
    fn ended(&mut self, _: (u8, u8), _: u32) {}
    fn doubt(&mut self, _: &'static str) {}
    fn next_thread(&mut self) {}
}

/// A packet that meets what headers say in a rule, on the way that its chain may lie on.
fn packet(program: &Program, cube: &Cube, seed: u64) -> Probe {
    let point = cube.some(seed);
    let v6 = program.is_v6();
    // Most numbers are no name: then one that lies in the same span.
    let name = |bits: u128, span: crate::verdict::space::cube::Span<u128>| {
        let of = |bits: u128| {
            let bytes = bits.to_be_bytes();
            let length = bytes.iter().position(|byte| *byte == 0)?;
            let is_name = bytes[..length].iter().all(u8::is_ascii_graphic);
            let ends = bytes[length..].iter().all(|byte| *byte == 0);
            IfName::new(&bytes[..length]).filter(|_| is_name && ends)
        };
        let others = [
            &b"zz9"[..],
            b"a0",
            b"eth0",
            b"eth7",
            b"lo",
            b"br-x",
            b"tun3",
            b"wlan1",
        ];
        let others = others
            .iter()
            .filter_map(|name| name_bits(name))
            .filter(|bits| span.holds(*bits));
        of(bits).or_else(|| others.map(of).next()?)
    };
    let path = match seed % 3 {
        _ if point.output == 0 => Path::Input,
        _ if point.input == 0 => Path::Output,
        0 => Path::Input,
        1 => Path::Forward,
        _ => Path::Output,
    };
    let proto = Protocol(point.proto);
    let state = match point.ct {
        ct::INVALID => CtState::Invalid,
        ct::NEW => CtState::New,
        ct::RELATED => CtState::Related,
        ct::ESTABLISHED => CtState::Established,
        _ => CtState::Untracked,
    };
    let icmp = |value: u16| u8::try_from(value % 256).ok().filter(|_| proto.is_icmp());
    Probe {
        input: name(point.input, cube.input).or(IfName::new(b"none-such")),
        output: name(point.output, cube.output).or(IfName::new(b"none-such")),
        proto: Some(proto),
        src: Some(address_of(point.src, v6)),
        dst: Some(address_of(point.dst, v6)),
        sport: Some(point.sport).filter(|_| proto.has_ports()),
        dport: Some(point.dport).filter(|_| proto.has_ports()),
        icmp_type: icmp(point.sport),
        icmp_code: icmp(point.dport),
        tcp_flags: Some(crate::flow::TcpFlags(point.flags)).filter(|_| proto == Protocol::TCP),
        ctstate: Some(state),
        fragment: point.piece != 1,
        ..Probe::new(program.family(), path)
    }
}

/// In every dump that somebody else wrote: of 100,000 packets, picked from what the dead rules ask for, none
/// reaches one of them. A sample of the dead rules of each dump, since a big one has a thousand.
#[test]
fn no_packet_reaches_what_is_called_dead_in_real_rulesets() {
    const PACKETS: u64 = 100_000;
    const SAMPLE: usize = 40;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/rulesets");
    let files = ["", "/resaved"]
        .iter()
        .filter_map(|sub| std::fs::read_dir(format!("{folder}{sub}")).ok())
        .flat_map(|entries| entries.map(|entry| entry.unwrap().path()))
        .filter(|path| path.is_file());
    let mut programs = Vec::new();
    for path in files {
        let Ok(document) = Document::parse(std::fs::read(&path).unwrap(), Hints::default()) else {
            continue;
        };
        for family in [Family::V4, Family::V6] {
            let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
            let program = Program::compile(family, &rulesets);
            let mut survey = Survey::new(&program);
            survey.all();
            assert!(survey.complete, "{}", path.display());
            let all: std::collections::HashSet<u32> = survey.dead.keys().copied().collect();
            let mut sample: Vec<u32> = all
                .iter()
                .copied()
                .filter(|at| !program.region(*at).unwrap().is_empty())
                .collect();
            sample.sort_unstable();
            let step = sample.len() / SAMPLE + 1;
            let sample: Vec<u32> = sample.into_iter().step_by(step).collect();
            if !sample.is_empty() {
                programs.push((path.clone(), program, all, sample));
            }
        }
    }
    // Small rulesets get more of the packets: they cost less.
    let weight = |program: &Program, sample: &[u32]| {
        sample.len() as f64 / (program.rule_count() + 50) as f64
    };
    let all: f64 = programs
        .iter()
        .map(|(_, program, _, sample)| weight(program, sample))
        .sum();
    for (path, program, dead, sample) in &programs {
        let each = weight(program, sample) / all * PACKETS as f64 / sample.len() as f64;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of PACKETS
        let each = each as u64;
        for at in sample {
            let region = program.region(*at).unwrap();
            for seed in 0..=each {
                let cube = region.cubes[usize::try_from(seed).unwrap() % region.cubes.len()];
                let probe = packet(
                    program,
                    &cube,
                    seed.wrapping_mul(0x9e37_79b9) ^ u64::from(*at),
                );
                let facts = Facts::default();
                let mut walk = Walk::new(
                    program,
                    &probe,
                    &facts,
                    Spy {
                        dead,
                        reached: None,
                    },
                );
                walk.run(|_| {});
                assert_eq!(walk.watch.reached, None, "{}: {probe:?}", path.display());
            }
        }
    }
}
