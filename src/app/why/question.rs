//! A question about a packet, and its answer: what goes to the thread that reads the box, and what comes
//! back. The answer is worked out by [`answer`], which is pure; the thread only brings the facts.
//!
//! A question may come with several packets: a log line does not say what conntrack thought, and a rule can
//! be met by many. They are tried in order, and the first that meets the rule in question is taken.

use std::sync::Arc;

use crate::app::firewall::FirewallId;
use crate::edit::Stage;
use crate::flow::{IpVersion, KernelLine, Machine, Protocol, TcpFlags};
use crate::ruleset::{BaseChain, ChainIdx, Family, Lossy, Marked, RuleIdx, Ruleset};
use crate::verdict::{
    Answer, Ask, Cause, CtState, Explanation, Facts, Other, Path, Probe, Program, causes,
    completed, explained, homeward, looped, not_in_dump,
};

/// A rule, or the policy of a chain (`None`), of one of the rulesets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Which ruleset.
    pub id: FirewallId,
    /// The chain.
    pub chain: ChainIdx,
    /// The rule.
    pub rule: Option<RuleIdx>,
}

/// One of the kernel's rulesets, as it was when the question was put.
#[derive(Clone, Debug)]
pub struct Held {
    /// Which.
    pub id: FirewallId,
    /// Its structure.
    pub ruleset: Arc<Ruleset>,
    /// What is staged on it.
    pub staged: Option<Arc<Stage>>,
    /// Rules whose text says less than the kernel holds.
    pub lossy: Vec<Lossy>,
}

impl Held {
    /// The kernel's rules with what is known of them.
    pub fn marked(&self) -> Marked<'_> {
        Marked {
            ruleset: &self.ruleset,
            lossy: &self.lossy,
        }
    }
}

/// A question; two are the same when their numbers are.
#[derive(Clone, Debug)]
pub struct Question {
    /// Goes up by one with every question.
    pub number: u64,
    /// The packets to try, the most likely first; never empty.
    pub packets: Vec<Probe>,
    /// What one of them should meet.
    pub meets: Option<Spot>,
    /// All rulesets.
    pub sets: Vec<Held>,
    /// Base chains that iptables does not show.
    pub natives: Vec<BaseChain>,
    /// It is about this box, and not a saved dump: the box is to be read.
    pub live: bool,
}

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

/// The verdict on a packet. What the rest of the box has to say comes later.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Of which question.
    pub number: u64,
    /// The packet that was taken, with what the box filled in.
    pub probe: Probe,
    /// Its packet meets the rule that was asked about; true where none was.
    pub met: bool,
    /// What the rules say.
    pub explanation: Explanation,
    /// What they say of the packets that must follow it.
    pub others: Vec<Other>,
    /// The rulesets of the packet's family, as [`Explanation`]'s places count them.
    pub sets: Vec<Held>,
}

impl Answered {
    /// It says what the other one says, of the same rules.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let same = |(one, two): (&Held, &Held)| {
            let staged = match (&one.staged, &two.staged) {
                (None, None) => true,
                (Some(one), Some(two)) => Arc::ptr_eq(one, two),
                _ => false,
            };
            one.id == two.id && Arc::ptr_eq(&one.ruleset, &two.ruleset) && staged
        };
        self.probe == other.probe
            && self.met == other.met
            && self.sets.len() == other.sets.len()
            && self.sets.iter().zip(&other.sets).all(same)
            && self.explanation == other.explanation
            && self.others == other.others
    }

    /// What stops other packets of its connection, or may, each once. None where it does not get through itself.
    pub fn connection(&self) -> Vec<Cause> {
        causes(&self.explanation, &self.others, &self.rulesets())
    }

    /// The rulesets, for who asks the explanation about them.
    pub fn rulesets(&self) -> Vec<&Ruleset> {
        self.sets.iter().map(|held| held.ruleset.as_ref()).collect()
    }
}

/// What the rest of the box has to say about the packet of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Of which question.
    pub number: u64,
    /// The causes, the heaviest first.
    pub causes: Vec<Cause>,
}

/// Compiled programs, kept from one question to the next as long as the rulesets are the same.
#[derive(Debug, Default)]
pub struct Programs {
    kept: Vec<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    family: Family,
    sets: Vec<Arc<Ruleset>>,
    lossy: Vec<Vec<Lossy>>,
    natives: Vec<BaseChain>,
    program: Program,
}

impl Programs {
    fn of(&mut self, family: Family, sets: &[Held], natives: &[BaseChain]) -> &Program {
        let same = |one: &Compiled| {
            one.family == family
                && one.natives == natives
                && one.sets.len() == sets.len()
                && one
                    .sets
                    .iter()
                    .zip(sets)
                    .all(|(kept, held)| Arc::ptr_eq(kept, &held.ruleset))
                && one
                    .lossy
                    .iter()
                    .zip(sets)
                    .all(|(kept, held)| *kept == held.lossy)
        };
        let at = match self.kept.iter().position(same) {
            Some(at) => at,
            None => {
                self.kept.retain(|one| one.family != family);
                let marked: Vec<Marked<'_>> = sets.iter().map(Held::marked).collect();
                let program = Program::compile_marked(family, &marked, natives);
                self.kept.push(Compiled {
                    family,
                    sets: sets.iter().map(|held| Arc::clone(&held.ruleset)).collect(),
                    lossy: sets.iter().map(|held| held.lossy.clone()).collect(),
                    natives: natives.to_vec(),
                    program,
                });
                self.kept.len() - 1
            }
        };
        &self.kept[at].program
    }
}

/// Answers. `machine` holds the interfaces of the box, or nothing at all for a dump; `ask` is asked for routes,
/// which are added to it. `None` for a question without a packet.
pub fn answer(
    question: &Question,
    programs: &mut Programs,
    facts: &Facts,
    machine: &mut Machine,
    ask: &mut Ask<'_>,
) -> Option<Answered> {
    let mut first = None;
    for packet in &question.packets {
        // Of a dump's box nothing is known.
        let probes = if question.live {
            completed(packet, machine, ask)
        } else {
            vec![packet.clone()]
        };
        for probe in probes {
            let answered = answer_one(question, packet, &probe, programs, facts, machine, ask);
            if answered.met {
                return Some(answered);
            }
            first.get_or_insert(answered);
        }
    }
    first
}

/// The answer for one of the packets; `probe` is it with what the box says of it.
fn answer_one(
    question: &Question,
    packet: &Probe,
    probe: &Probe,
    programs: &mut Programs,
    facts: &Facts,
    machine: &mut Machine,
    ask: &mut Ask<'_>,
) -> Answered {
    let of_family = |held: &&Held| held.id.family == probe.family;
    let sets: Vec<Held> = question.sets.iter().filter(of_family).cloned().collect();
    let rulesets: Vec<&Ruleset> = sets.iter().map(|held| held.ruleset.as_ref()).collect();
    let program = programs.of(probe.family, &sets, &question.natives);
    let probe = looped(probe);
    let (probe, explanation) = match question.live {
        true => explained(
            program,
            (homeward(probe, machine, ask), packet.output.is_none()),
            (facts, &rulesets),
            machine,
            ask,
        ),
        // That a dump lacks a family says nothing of the box.
        false if rulesets.is_empty() => {
            let explanation = Explanation::untold(not_in_dump(probe.family));
            (probe, explanation)
        }
        false => {
            let explanation = program.explain(&probe, facts, &rulesets);
            (probe, explanation)
        }
    };
    let others = program.others(&probe, facts, &rulesets);
    let met = question
        .meets
        .is_none_or(|spot| meets(&explanation, &sets, spot));
    Answered {
        number: question.number,
        probe,
        met,
        explanation,
        others,
        sets,
    }
}

fn meets(explanation: &Explanation, sets: &[Held], spot: Spot) -> bool {
    explanation.path.iter().any(|step| {
        let id = sets.get(step.place.ruleset).map(|held| held.id);
        step.answer != Answer::No
            && id == Some(spot.id)
            && (step.place.chain, step.place.rule) == (spot.chain, spot.rule)
    })
}

/// The packets that a log line may tell of: its packet, with what conntrack may have thought of it. None for
/// a line without a packet.
pub fn packets_of(line: &KernelLine) -> Vec<Probe> {
    let Some(log) = line.log() else {
        return Vec::new();
    };
    let packet = &log.packet;
    let family = match packet.family {
        Some(IpVersion::V6) => Family::V6,
        Some(IpVersion::V4) => Family::V4,
        None => return Vec::new(),
    };
    let path = match (log.input.is_none(), log.output.is_none()) {
        (false, false) => Path::Forward,
        (true, false) => Path::Output,
        _ => Path::Input,
    };
    let given = |name: crate::flow::IfName| Some(name).filter(|name| !name.is_none());
    let probe = Probe {
        input: given(log.input),
        output: given(log.output),
        proto: packet.proto,
        src: packet.src,
        sport: packet.sport,
        dst: packet.dst,
        dport: packet.dport,
        icmp_type: packet.icmp.map(|icmp| icmp.kind),
        icmp_code: packet.icmp.and_then(|icmp| icmp.code),
        tcp_flags: packet.tcp_flags,
        length: packet.length,
        // In FORWARD the line has one hop less than the packet came with.
        ttl: packet.ttl.filter(|_| path != Path::Forward),
        tos: packet.tos,
        mark: Some(packet.mark.unwrap_or(0)),
        fragment: packet.fragment.is_some_and(|fragment| fragment.offset > 0),
        mac: log.link.source(),
        ..Probe::new(family, path)
    };
    let with = |state: &CtState| Probe {
        ctstate: Some(*state),
        ..probe.clone()
    };
    likely(&probe).iter().map(with).collect()
}

/// What conntrack thought of a packet that was logged, the likeliest first.
fn likely(probe: &Probe) -> &'static [CtState] {
    use CtState::{Established, Invalid, New, Related};
    let answers = |from: u16, to: u16| from < 1_024 && to >= 1_024;
    match probe.proto {
        Some(Protocol::TCP) => {
            let flags = probe.tcp_flags.unwrap_or(TcpFlags::SYN);
            if flags.contains(TcpFlags::SYN) && !flags.contains(TcpFlags::ACK) {
                &[New, Invalid, Established]
            } else {
                &[Established, Invalid, New]
            }
        }
        // Errors: unreachable, time exceeded, too big (RFC 792, RFC 4443).
        Some(Protocol::ICMP) if matches!(probe.icmp_type, Some(3 | 4 | 5 | 11 | 12)) => {
            &[Related, Invalid, New]
        }
        Some(Protocol::ICMPV6) if matches!(probe.icmp_type, Some(1..=4)) => {
            &[Related, Invalid, New]
        }
        _ => match (probe.sport, probe.dport) {
            (Some(from), Some(to)) if answers(from, to) => &[Established, New, Invalid],
            _ => &[New, Established, Invalid],
        },
    }
}
