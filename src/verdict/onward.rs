//! A packet explained on the box that it is about: with what the box fills in, and with the way that routing gives
//! it once the rules have changed what routing looks at.
//!
//! Which interface a packet leaves by is asked before the rules are; a DNAT then sends it elsewhere, a mark may send
//! it by another table. So the rules are asked, then the way of what they made of the packet, and where it leaves by
//! another interface than was thought they are asked once more. What somebody said of the packet stays. The screen
//! and the command both come here, so that they say the same.

use super::complete::{complete, fitting, gaps, output, settle, toward};
use super::elsewhere::Packet;
use super::explain::Explanation;
use super::facts::Facts;
use super::probe::{Ends, Path, Probe};
use super::program::Program;
use crate::flow::{Machine, RouteAnswer, RouteQuestion};
use crate::ruleset::Ruleset;

/// Asks the kernel about the ways of packets.
pub type Ask<'a> = dyn FnMut(&[RouteQuestion], &Machine) -> Vec<(RouteQuestion, RouteAnswer)> + 'a;

/// The packet with what the box says of it; where ends were made up, first one with ends that fit. The answers are
/// added to `machine`.
pub fn completed(packet: &Probe, machine: &mut Machine, ask: &mut Ask<'_>) -> Vec<Probe> {
    let packet = settle(packet, machine);
    let mut asked = gaps(&packet);
    let ends = [
        packet.src.filter(|_| packet.made_up.src),
        packet.dst.filter(|_| packet.made_up.dst),
    ];
    asked.extend(ends.into_iter().flatten().map(toward));
    learn(asked, machine, ask);
    let whole = complete(&packet, machine);
    let mut probes: Vec<Probe> = fitting(&whole, machine).into_iter().collect();
    probes.push(whole);
    for probe in &mut probes {
        // Settled from here on: asked again, it is the same packet.
        probe.made_up = Ends::default();
    }
    probes
}

/// What the rules say of a packet of this box, and the packet as they were asked about it. `open`: nobody said by which
/// interface it leaves. The answers are added to `machine`.
pub fn explained(
    program: &Program,
    (mut probe, open): (Probe, bool),
    (facts, rulesets): (&Facts, &[&Ruleset]),
    machine: &mut Machine,
    ask: &mut Ask<'_>,
) -> (Probe, Explanation) {
    if program.looks_back
        && probe.back.is_none()
        && let Some(question) = way_back(&probe, machine)
    {
        learn(vec![question.clone()], machine, ask);
        probe.back = machine.route(&question).cloned();
    }
    let explanation = program.explain(&probe, facts, rulesets);
    match sent_on(&probe, open, &explanation, machine, ask) {
        Some(through) => {
            let explanation = program.explain(&through, facts, rulesets);
            (through, explanation)
        }
        None => (probe, explanation),
    }
}

/// The packet with the interface by which packets leave to its source. The answers are added to `machine`.
pub fn homeward(mut probe: Probe, machine: &mut Machine, ask: &mut Ask<'_>) -> Probe {
    if let Some(src) = probe.src.filter(|_| probe.path != Path::Output) {
        let question = toward(src);
        learn(vec![question.clone()], machine, ask);
        probe.connection.home = output(machine, &question);
    }
    probe
}

/// The way back to the source of a packet that comes in, as `rpfilter` looks it up: with the box's own address as
/// its source, and all the ways that there are.
fn way_back(probe: &Probe, machine: &Machine) -> Option<RouteQuestion> {
    let to = probe.src.filter(|_| probe.path != Path::Output)?;
    let own = machine.addresses()?;
    let is_link_local = matches!(to, std::net::IpAddr::V6(six) if six.is_unicast_link_local());
    Some(RouteQuestion {
        from: probe.dst.filter(|dst| own.contains(dst)),
        output: probe.input.filter(|_| is_link_local),
        every: true,
        ..toward(to)
    })
}

/// Asks what is not known yet.
fn learn(mut asked: Vec<RouteQuestion>, machine: &mut Machine, ask: &mut Ask<'_>) {
    asked.retain(|one| machine.route(one).is_none());
    if !asked.is_empty() {
        let answers = ask(&asked, machine);
        machine.routes.extend(answers);
    }
}

/// A packet that leaves otherwise than was thought: one to this box that a rule of nat sends on is one through it, and
/// what goes through leaves by the way that routing has for what the rules made of it, unless somebody said another:
/// it is not `open`. `None` where the packet is that already.
fn sent_on(
    probe: &Probe,
    open: bool,
    explanation: &Explanation,
    machine: &mut Machine,
    ask: &mut Ask<'_>,
) -> Option<Probe> {
    let is_open = match probe.path {
        Path::Input => explanation.dst.is_some(),
        Path::Forward => open,
        Path::Output => false,
    };
    machine.addresses()?;
    let packet = Packet::new(probe, explanation, machine);
    let (to, path) = (packet.dst?, packet.path);
    if !is_open || path != Path::Forward {
        return None;
    }
    let questions = [packet.way_question(), Some(toward(to))];
    let questions: Vec<RouteQuestion> = questions.into_iter().flatten().collect();
    learn(questions.clone(), machine, ask);
    let mut ways = questions.iter().map(|asked| output(machine, asked));
    let through = Probe {
        path: Path::Forward,
        output: ways.find_map(|way| way),
        ..probe.clone()
    };
    (through != *probe).then_some(through)
}
