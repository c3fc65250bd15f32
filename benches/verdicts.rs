//! How many verdicts a core gives: packets through sets of rules, no path asked for.
//!
//! The figure of the design is one packet through a 100-rule set, 1,000,000 a second. There is no peer that
//! answers the same question; the kernel does it in its own address space. Set sizes beyond it are printed
//! to show that time grows with the rules tried and with nothing else.

// A bench prints; and what cannot be set up is the bench's end.
#![allow(clippy::print_stdout, clippy::expect_used, missing_docs)]

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use ruletop::flow::{IfName, Protocol, TcpFlags};
use ruletop::ruleset::{Document, Family, Hints, Ruleset};
use ruletop::verdict::{CtState, Path, Probe};
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
}
