//! A service whose packets need no entry of the connection table, for when that is full.
//!
//! The rules let the packet through and the kernel drops it: a first packet finds no room for its entry. More
//! room is a sysctl; the way out by rule is to leave this service's packets untracked, both directions of them,
//! in the raw table. That is right only where the rules accept such packets without asking for their state and
//! nothing translates them, so all of it is walked: the first packet, a later one, and the answer.

use std::fmt::Write;

use crate::edit::{Operation, Spot, Stage};
use crate::flow::{IfName, TcpFlags};
use crate::ruleset::{BaseChain, Marked};
use crate::verdict::{Answer, CtState, Decider, Explanation, Facts, Path, Probe, Step, Verdict};

use super::candidate::sayable;
use super::{Bench, Fix, FixStep, Kind, carry_out};

/// Rules that keep the packet's service out of the connection table, and let it through as they did. `None`
/// where it is no service of a port, an address is translated, or untracked packets are stopped.
pub fn untracked(
    stages: &[Stage],
    marked: &[Marked<'_>],
    native: &[BaseChain],
    probe: &Probe,
    facts: &Facts,
) -> Option<Fix> {
    let bench = Bench {
        marked,
        native,
        probe,
        facts,
    };
    let before = bench.compiled(stages);
    let passes = |explained: &Explanation| {
        let translated = explained.dst.is_some() || explained.src.is_some();
        explained.verdict == Verdict::Accept && !translated
    };
    let explained = bench.explain(&before, probe);
    if !passes(&explained) {
        return None;
    }
    // With several back ends, where the rules are that let it through.
    let stage = match explained.by {
        Some(Decider::Place(place)) => place.ruleset,
        _ => 0,
    };
    let steps: Vec<FixStep> = rules(probe)?
        .into_iter()
        .map(|(chain, spec)| FixStep {
            stage,
            operation: Operation::Insert {
                at: Spot::new("raw", chain.as_bytes(), None),
                spec: spec.into_bytes(),
            },
        })
        .collect();
    let mut stages = stages.to_vec();
    for step in &steps {
        carry_out(&mut stages, step).ok()?;
    }
    let after = bench.compiled(&stages);
    // The rule that was added is the last of its chain.
    let is_left = |explained: &Explanation| {
        let is_ours = |step: &Step| {
            let ruleset = after.rulesets.get(stage);
            let rule = step.place.rule.filter(|_| step.place.ruleset == stage);
            ruleset.zip(rule).is_some_and(|(ruleset, rule)| {
                let chain = ruleset.chain(step.place.chain);
                ruleset.table(chain.table()).name() == "raw" && chain.rules().last() == Some(&rule)
            })
        };
        let mut path = explained.path.iter();
        path.any(|step| step.answer == Answer::Match && is_ours(step))
    };
    let packets = [probe.clone(), later(probe), answer(probe)];
    let holds = packets.iter().all(|packet| {
        let explained = bench.explain(&after, packet);
        passes(&explained) && is_left(&explained)
    });
    if !holds {
        return None;
    }
    let alteration = bench.change(&before, &after);
    Some(Fix {
        kind: Kind::Untracked,
        steps,
        alteration,
        limits: Vec::new(),
    })
}

/// The two rules with their chains: for the packet, and for what answers it.
fn rules(probe: &Probe) -> Option<[(&'static str, String); 2]> {
    let proto = probe.proto.filter(|proto| proto.has_ports())?;
    let port = probe.dport?;
    let (there, back) = match probe.path {
        Path::Input => ("PREROUTING", "OUTPUT"),
        Path::Forward => ("PREROUTING", "PREROUTING"),
        Path::Output => ("OUTPUT", "PREROUTING"),
    };
    let rule = |chain: &'static str, interface: Option<IfName>, side: &str| {
        let mut spec = String::new();
        if let Some(name) = interface.and_then(sayable) {
            let option = if chain == "OUTPUT" { "-o" } else { "-i" };
            let _ = write!(spec, "{option} {name} ");
        }
        let _ = write!(spec, "-p {proto} -m {proto} {side} {port} -j CT --notrack");
        (chain, spec)
    };
    let (from, to) = match probe.path {
        Path::Input => (probe.input, probe.input),
        Path::Forward => (probe.input, probe.output),
        Path::Output => (probe.output, probe.output),
    };
    Some([rule(there, from, "--dport"), rule(back, to, "--sport")])
}

/// A later packet of the same connection.
fn later(probe: &Probe) -> Probe {
    Probe {
        tcp_flags: probe.tcp_flags.map(|_| TcpFlags::ACK),
        ctstate: Some(CtState::Established),
        ..probe.clone()
    }
}

/// What comes back to the sender.
fn answer(probe: &Probe) -> Probe {
    let (path, input, output) = match probe.path {
        Path::Input => (Path::Output, None, probe.input),
        Path::Forward => (Path::Forward, probe.output, probe.input),
        Path::Output => (Path::Input, probe.output, None),
    };
    Probe {
        input,
        output,
        proto: probe.proto,
        src: probe.dst,
        dst: probe.src,
        sport: probe.dport,
        dport: probe.sport,
        tcp_flags: probe.tcp_flags.map(|_| TcpFlags::ACK),
        ctstate: Some(CtState::Established),
        ..Probe::new(probe.family, path)
    }
}
