//! How many verdicts a core gives: packets through sets of rules, no path asked for.
//!
//! The figure of the design is one packet through a 100-rule set, 1,000,000 a second. There is no peer that
//! answers the same question; the kernel does it in its own address space. Set sizes beyond it are printed
//! to show that time grows with the rules tried and with nothing else. Below them: how long it takes to find
//! the rules that nothing can match (0.2 s for 10,000 rules, 3 s for 100,000).

// A bench prints; and what cannot be set up is the bench's end.
#![allow(clippy::print_stdout, clippy::expect_used, missing_docs)]

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use ruletop::flow::{IfName, Protocol, TcpFlags};
use ruletop::ruleset::{Document, Family, Hints, Ruleset};
use ruletop::verdict::{CtState, Path, Probe, Side, change};
use ruletop::verdict::{Facts, Program, Verdict};

/// A server's rules: the usual opening, then one service after the other. The packet meets the last.
fn dump(rules: usize) -> String {
    let mut text =
        String::from("*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n");
    text.push_str(
        "-A INPUT -i lo -j ACCEPT\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n",
    );
    for rule in 2..rules - 1 {
        let port = 1024 + rule % 60_000;
        let _ = match rule % 4 {
            0 => writeln!(text, "-A INPUT -s 10.{}.0.0/16 -j DROP", rule % 250),
            1 => writeln!(text, "-A INPUT -p udp -m udp --dport {port} -j ACCEPT"),
            2 => writeln!(
                text,
                "-A INPUT -i eth0 -p tcp -m multiport --dports {port},{} -j ACCEPT",
                port + 7
            ),
            _ => writeln!(
                text,
                "-A INPUT -p tcp -m tcp --dport {port} -m conntrack --ctstate NEW -j ACCEPT"
            ),
        };
    }
    text.push_str(
        "-A INPUT -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n",
    );
    text
}

fn probe() -> Probe {
    Probe {
        input: IfName::new(b"eth0"),
        proto: Some(Protocol::TCP),
        src: "203.0.113.9".parse().ok(),
        dst: "192.0.2.1".parse().ok(),
        sport: Some(40_000),
        dport: Some(443),
        tcp_flags: Some(TcpFlags::SYN),
        ctstate: Some(CtState::New),
        length: Some(60),
        ttl: Some(64),
        tos: Some(0),
        ..Probe::new(Family::V4, Path::Input)
    }
}

/// Calls a second, over a second.
fn rate(mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut calls = 0_u32;
    while start.elapsed() < Duration::from_secs(1) {
        for _ in 0..64 {
            call();
        }
        calls += 64;
    }
    f64::from(calls) / start.elapsed().as_secs_f64()
}

/// Addresses and ports one after the other, as a block list or a hosting box has them.
fn flat(rules: usize) -> String {
    let mut text = String::from("*filter\n:INPUT DROP [0:0]\n");
    for rule in 0..rules {
        let (a, b, c) = (rule / 65_536 % 250, rule / 256 % 256, rule % 256);
        let _ = match rule % 5 {
            0 => writeln!(text, "-A INPUT -s 10.{a}.{b}.{c}/32 -j DROP"),
            1 => writeln!(
                text,
                "-A INPUT -s 172.{a}.{b}.0/24 -i eth0 -p tcp -m tcp --dport {} -j ACCEPT",
                1 + rule % 60_000
            ),
            2 => writeln!(
                text,
                "-A INPUT -d 192.{a}.{b}.{c}/32 -p udp -m udp --dport {} -j ACCEPT",
                1 + rule % 60_000
            ),
            3 => writeln!(
                text,
                "-A INPUT -s 10.{a}.{b}.{c}/32 -p tcp -m multiport --dports 80,443,{} -j ACCEPT",
                1024 + rule % 60_000
            ),
            _ => writeln!(
                text,
                "-A INPUT ! -i lo -s 11.{b}.{a}.{c}/32 -p tcp -m tcp --sport 1024:65535 --dport {}:{} -m conntrack --ctstate NEW -j ACCEPT",
                rule % 30_000,
                rule % 30_000 + 20
            ),
        };
    }
    text.push_str("COMMIT\n");
    text
}

/// A cluster's services: a chain for each, and one for each of its three endpoints.
fn kube(rules: usize) -> String {
    let services = rules / 16;
    let mut text = String::from(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n",
    );
    for service in 0..services {
        let _ = writeln!(text, ":KUBE-SVC-{service} - [0:0]");
        for end in 0..3 {
            let _ = writeln!(text, ":KUBE-SEP-{service}-{end} - [0:0]");
        }
    }
    text.push_str("-A PREROUTING -j KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n");
    for service in 0..services {
        let (b, c) = (service / 250, service % 250);
        let _ = writeln!(
            text,
            "-A KUBE-SERVICES -d 10.96.{b}.{c}/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-{service}"
        );
        let _ = writeln!(
            text,
            "-A KUBE-SVC-{service} ! -s 10.244.0.0/16 -d 10.96.{b}.{c}/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ"
        );
        for end in 0..3 {
            let chance = [
                "-m statistic --mode random --probability 0.333 ",
                "-m statistic --mode random --probability 0.5 ",
                "",
            ][end];
            let address = format!("10.{}.{b}.{c}", 100 + end);
            let _ = writeln!(
                text,
                "-A KUBE-SVC-{service} {chance}-j KUBE-SEP-{service}-{end}"
            );
            let _ = writeln!(
                text,
                "-A KUBE-SEP-{service}-{end} -s {address}/32 -j KUBE-MARK-MASQ"
            );
            let _ = writeln!(
                text,
                "-A KUBE-SEP-{service}-{end} -p tcp -m tcp -j DNAT --to-destination {address}:8080"
            );
            let _ = writeln!(
                text,
                "-A KUBE-SEP-{service}-{end} -p udp -m udp -j DNAT --to-destination {address}:8080"
            );
        }
    }
    text.push_str("COMMIT\n");
    text
}

/// The time in which all shadows are found, and how many.
fn shadows(name: &str, dump: String) {
    let document = Document::parse(dump.into_bytes(), Hints::default()).expect("a dump");
    let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
    let program = Program::compile(Family::V4, &rulesets);
    let start = Instant::now();
    let found = program.shadows(&rulesets);
    let shadows = start.elapsed();
    let redundant = program.redundancies(&found, &rulesets);
    println!(
        "{:>7} rules, {name}: shadows in {shadows:>9.3?} ({} dead, complete: {}), redundant in {:>9.3?} ({}, complete: {})",
        program.rule_count(),
        found.found.len(),
        found.complete,
        start.elapsed().saturating_sub(shadows),
        redundant.found.len(),
        redundant.complete
    );
}

/// The rulesets of others, where they are at hand: all of them, and the slowest.
fn real() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/rulesets");
    let files = ["", "/resaved"]
        .iter()
        .filter_map(|sub| std::fs::read_dir(format!("{folder}{sub}")).ok())
        .flat_map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())))
        .filter(|path| path.is_file());
    let (mut count, mut rules, mut dead, mut redundant) = (0, 0, 0, 0);
    let (mut all, mut slowest) = (Duration::ZERO, (Duration::ZERO, 0));
    let (mut told, mut dearest) = (Duration::ZERO, (Duration::ZERO, 0));
    for path in files {
        let text = std::fs::read(&path).unwrap_or_default();
        let Ok(document) = Document::parse(text, Hints::default()) else {
            continue;
        };
        let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
        for family in [Family::V4, Family::V6] {
            let program = Program::compile(family, &rulesets);
            let start = Instant::now();
            let found = program.shadows(&rulesets);
            let took = start.elapsed();
            redundant += program.redundancies(&found, &rulesets).found.len();
            (count, rules, dead, all) = (
                count + 1,
                rules + program.rule_count(),
                dead + found.found.len(),
                all + took,
            );
            slowest = slowest.max((took, program.rule_count()));
            let Some(after) = altered(document.bytes()) else {
                continue;
            };
            let new: Vec<&Ruleset> = after.rulesets().iter().collect();
            let second = Program::compile(family, &new);
            let side = |program, rulesets| Side { program, rulesets };
            let start = Instant::now();
            let _ = change(
                side(&program, &rulesets),
                side(&second, &new),
                &Facts::default(),
            );
            let took = start.elapsed();
            told += took;
            dearest = dearest.max((took, program.rule_count()));
        }
    }
    if count > 0 {
        println!(
            "{rules:>7} rules, real: shadows in {all:>9.3?} ({dead} dead, {redundant} redundant; the slowest {:.3?}, of {} rules)",
            slowest.0, slowest.1
        );
        println!(
            "{rules:>7} rules, real: what one move opens and closes in {told:>9.3?} (the slowest {:.3?}, of {} rules)",
            dearest.0, dearest.1
        );
    }
}

/// The same dump with a rule of its middle at the front of its block.
fn altered(text: &[u8]) -> Option<Document> {
    let is_rule = |line: &&[u8]| {
        line.starts_with(b"-A ")
            || line.starts_with(b"[") && line.windows(4).any(|four| four == b" -A ")
    };
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let rules: Vec<usize> = (0..lines.len()).filter(|at| is_rule(&lines[*at])).collect();
    let from = *rules.get(rules.len() / 2)?;
    let first = (0..from).rev().find(|at| !is_rule(&lines[*at]))? + 1;
    let moved = lines.remove(from);
    lines.insert(first, moved);
    Document::parse(lines.join(&b'\n'), Hints::default()).ok()
}

/// The time in which it is told what a change does.
fn changes(name: &str, before: &str, after: &str) {
    let read =
        |text: &str| Document::parse(text.as_bytes().to_vec(), Hints::default()).expect("a dump");
    let (before, after) = (read(before), read(after));
    let old: Vec<&Ruleset> = before.rulesets().iter().collect();
    let new: Vec<&Ruleset> = after.rulesets().iter().collect();
    let (first, second) = (
        Program::compile(Family::V4, &old),
        Program::compile(Family::V4, &new),
    );
    let side = |program, rulesets| Side { program, rulesets };
    let start = Instant::now();
    let found = change(side(&first, &old), side(&second, &new), &Facts::default());
    let took = start.elapsed();
    let lines: usize = found
        .ways
        .iter()
        .map(|way| way.newly_accepted.lines().len() + way.newly_dropped.lines().len())
        .sum();
    println!(
        "{:>7} rules, {name}: told in {took:>9.3?} ({lines} lines, complete: {})",
        first.rule_count(),
        found.is_complete()
    );
}

fn main() {
    // `cargo test` runs benches with --test; there is nothing to test here.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let facts = Facts::default();
    for rules in [100, 1_000, 10_000, 100_000] {
        let document = Document::parse(dump(rules).into_bytes(), Hints::default()).expect("a dump");
        let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
        let start = Instant::now();
        let program = Program::compile(Family::V4, &rulesets);
        let compiled = start.elapsed();
        let probe = probe();
        let decision = program.decide(&probe, &facts, &rulesets);
        assert_eq!(decision.verdict, Verdict::Accept);
        let decisions = rate(|| {
            black_box(program.decide(black_box(&probe), &facts, &rulesets));
        });
        let explained = rate(|| {
            black_box(program.explain(black_box(&probe), &facts, &rulesets));
        });
        println!(
            "{rules:>7} rules: compiled in {compiled:>10.3?}, {decisions:>10.0} verdicts/s, {explained:>8.0} explained/s"
        );
    }
    for rules in [10_000, 100_000] {
        shadows("flat", flat(rules));
        shadows("server", dump(rules));
        shadows("kube", kube(rules));
    }
    real();
    for rules in [100, 1_000, 10_000, 100_000] {
        for (name, text) in [
            ("flat", flat(rules)),
            ("server", dump(rules)),
            ("kube", kube(rules)),
        ] {
            // The last rule goes to the front of its chain.
            let mut lines: Vec<&str> = text.lines().collect();
            let last = lines.len() - 2;
            let moved = lines.remove(last);
            let chain = moved.split(' ').nth(1).unwrap_or_default();
            let own = format!("-A {chain} ");
            let first = lines
                .iter()
                .position(|line| line.starts_with(&own))
                .unwrap_or(last);
            lines.insert(first, moved);
            changes(
                &format!("{name}, a rule moved"),
                &text,
                &(lines.join("\n") + "\n"),
            );
            if name != "kube" {
                changes(
                    &format!("{name}, a policy"),
                    &text,
                    &text.replace(":INPUT DROP", ":INPUT ACCEPT"),
                );
            }
        }
    }
}
