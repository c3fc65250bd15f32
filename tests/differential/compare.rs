//! One ruleset after the other: predict, send, read the counters, compare.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fmt::Write;
use std::net::IpAddr;

use ruletop::flow::{Protocol, TcpFlags};
use ruletop::ruleset::{Document, Hints, Origin, RuleIdx, Ruleset};
use ruletop::verdict::{Answer, Facts, Program, Verdict, sets};
use ruletop::verdict::{CtState, Path, Probe};

use crate::dice::Dice;
use crate::packets::{Sample, finish, packet};
use crate::place::{Place, local};
use crate::rules::{Maker, restore, save, sets as set_text};

/// Mismatching rulesets that are shown in full.
const SHOWN: usize = 2;

/// What came of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub packets: usize,
    pub rulesets: usize,
    pub matches: u64,
    /// Packets not sent because the engine said that it could not know.
    pub unknown: usize,
    /// Rulesets with a counter that was not as predicted.
    pub mismatches: usize,
    pub verdicts: [usize; 3],
    pub later: usize,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.rulesets += other.rulesets;
        self.matches += other.matches;
        self.unknown += other.unknown;
        self.mismatches += other.mismatches;
        self.later += other.later;
        for (sum, more) in self.verdicts.iter_mut().zip(other.verdicts) {
            *sum += more;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [accept, drop, reject] = self.verdicts;
        write!(
            f,
            "{} packets ({accept} accepted, {drop} dropped, {reject} rejected; {} of answered connections), \
             {} rulesets, {} matches, {} mismatching rulesets, {} packets not sent as unknown",
            self.packets, self.later, self.rulesets, self.matches, self.mismatches, self.unknown
        )
    }
}

/// Address and port of one end.
type End = (Option<IpAddr>, Option<u16>);

/// Counts by rule (or by the name of a chain, for its policy).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<String, u64>);

pub struct Bench {
    place: Place,
    origin: Origin,
    tracked: bool,
    dice: Dice,
    facts: Facts,
    /// Connections that conntrack may still remember.
    used: HashSet<(u8, [End; 2])>,
}

impl Bench {
    pub fn new(place: Place, origin: Origin, tracked: bool, dice: Dice) -> Self {
        let text = set_text(origin.family);
        place.ok("ipset restore", text);
        if tracked {
            // A nat table of legacy whose rules ask nothing of conntrack does not turn it on, and is then
            // not consulted at all. On a box that is in use it is on; so it is here.
            place.ok("nft insert rule inet guard last ct state new drop", "");
        }
        let facts = Facts {
            local: Some(local(origin.family)),
            sets: sets::read(text.as_bytes()),
            ..Facts::default()
        };
        Self {
            place,
            origin,
            tracked,
            dice,
            facts,
            used: HashSet::new(),
        }
    }

    pub fn run(mut self, packets: usize, batch: usize) -> Tally {
        let mut tally = Tally::default();
        while tally.packets < packets {
            let text = Maker {
                origin: self.origin,
                tracked: self.tracked,
                dice: &mut self.dice,
            }
            .ruleset();
            self.place.ok(&restore(self.origin), &text);
            let saved = self.place.ok(&save(self.origin), "");
            let document = Document::parse(saved.clone().into_bytes(), Hints::default()).unwrap();
            let [ruleset] = document.rulesets() else {
                panic!("one ruleset was saved as several: {saved}");
            };
            let program = Program::compile(self.origin.family, &[ruleset]);
            let judge = Judge {
                program: &program,
                ruleset,
                facts: self.facts.clone(),
            };
            self.ruleset(&judge, &text, batch, &mut tally);
            tally.rulesets += 1;
        }
        tally
    }

    fn ruleset(&mut self, judge: &Judge<'_>, text: &str, batch: usize, tally: &mut Tally) {
        let mut expected = Counts::default();
        let mut sent: Vec<(Sample, Counts)> = Vec::new();
        if self.tracked {
            self.place.ok("conntrack -F 2>/dev/null", "");
            self.used.clear();
        }
        let before = self.place.passed();
        for _ in 0..batch {
            for (number, sample) in self.talk(judge).into_iter().enumerate() {
                let Some((counts, verdict)) = judge.predict(&sample.probe) else {
                    tally.unknown += 1;
                    break;
                };
                for (key, count) in &counts.0 {
                    *expected.0.entry(key.clone()).or_default() += count;
                    tally.matches += count;
                }
                tally.packets += 1;
                tally.later += usize::from(number > 0);
                let slot = match verdict {
                    Verdict::Accept => 0,
                    Verdict::Drop => 1,
                    _ => 2,
                };
                tally.verdicts[slot] += 1;
                self.send(&sample);
                sent.push((sample, counts));
            }
        }
        let arrived = self.place.passed() - before;
        assert_eq!(
            arrived,
            sent.len(),
            "packets that reached the first hook\n{text}"
        );
        let counted = judge.counts(&self.place.ok(&save(self.origin), ""));
        if counted != expected {
            tally.mismatches += 1;
            if tally.mismatches <= SHOWN {
                println!(
                    "{} packets of {}:\n{}",
                    sent.len(),
                    self.origin,
                    expected.unlike(&counted)
                );
                self.show(judge, text, &sent);
            }
        }
    }

    fn send(&mut self, sample: &Sample) {
        match (sample.probe.path, sample.probe.mac) {
            (Path::Output, _) | (_, None) => {
                let (mark, to) = (sample.probe.mark.unwrap(), sample.probe.dst.unwrap());
                self.place.send(mark, to, &sample.bytes);
            }
            (_, Some(mac)) => self.place.receive(mac.0, &sample.bytes),
        }
    }

    /// A packet that belongs to nothing yet, or a connection with its answer and what follows.
    fn talk(&mut self, judge: &Judge<'_>) -> Vec<Sample> {
        let first = loop {
            let sample = packet(self.origin.family, self.tracked, &mut self.dice);
            let probe = &sample.probe;
            // Without ports a packet is soon taken for the answer to another, so the ends count in any order;
            // and this box's own addresses, which DNAT makes one of, do not count at all.
            let proto = probe.proto.unwrap();
            let mut ends = [(probe.src, probe.sport), (probe.dst, probe.dport)];
            if !proto.has_ports() {
                let ours = local(self.origin.family);
                for (address, _) in &mut ends {
                    *address = address.filter(|address| !ours.contains(address));
                }
            }
            ends.sort_unstable();
            if !self.tracked || proto.is_icmp() || self.used.insert((proto.0, ends)) {
                break sample;
            }
        };
        if !self.tracked || !self.dice.one_in(3) {
            return vec![first];
        }
        let mut talk = conversation(first);
        // What was never confirmed has no answer, and an answer that conntrack never saw answers nothing.
        if !judge.begins(&talk[0].probe) {
            talk.truncate(1);
        } else if talk.len() > 1 && !judge.is_heard(&talk[1].probe) {
            talk.truncate(2);
        }
        talk
    }

    /// Sends the packets again one by one on fresh counters, to find the first that goes another way.
    fn show(&mut self, judge: &Judge<'_>, text: &str, sent: &[(Sample, Counts)]) {
        let mut out = format!("{} MISMATCH\n", self.origin);
        self.place.ok("conntrack -F 2>/dev/null || true", "");
        self.place.ok(&restore(self.origin), text);
        let mut last = Counts::default();
        for (sample, expected) in sent {
            self.send(sample);
            let now = judge.counts(&self.place.ok(&save(self.origin), ""));
            let moved = now.since(&last);
            last = now;
            if moved != *expected {
                let mut probe = sample.probe.clone();
                probe.bytes = None;
                let _ = writeln!(out, "{probe:?}");
                out.push_str(&expected.unlike(&moved));
                let explanation =
                    judge
                        .program
                        .explain(&sample.probe, &judge.facts, &[judge.ruleset]);
                let json = explanation.to_json(self.origin.family, &[judge.ruleset]);
                let _ = writeln!(out, "  {json}");
                break;
            }
        }
        let _ = writeln!(out, "{text}");
        println!("{out}");
    }
}

/// The first packet, its answer, and the first way again, as conntrack sees them.
fn conversation(first: Sample) -> Vec<Sample> {
    let one = &first.probe;
    let starts = one.proto == Some(Protocol::UDP) || one.tcp_flags == Some(TcpFlags::SYN);
    if one.path != Path::Input || !starts {
        return vec![first];
    }
    let mut reply = one.clone();
    (reply.src, reply.dst) = (one.dst, one.src);
    (reply.sport, reply.dport) = (one.dport, one.sport);
    reply.path = Path::Output;
    reply.input = None;
    reply.mac = None;
    reply.link = None;
    reply.ttl = Some(64);
    let near = match one.src {
        Some(IpAddr::V4(address)) => address.octets()[..3] == [10, 0, 0],
        Some(IpAddr::V6(address)) => address.octets()[..2] == [0xfd, 0],
        None => false,
    };
    reply.output = ruletop::flow::IfName::new(if near { b"eth0" } else { b"eth1" });
    let mut again = one.clone();
    for (probe, is_reply) in [(&mut reply, true), (&mut again, false)] {
        probe.ctstate = Some(CtState::Established);
        probe.connection.reply = Some(is_reply);
        (probe.connection.src, probe.connection.dst) = (one.src, one.dst);
        (probe.connection.sport, probe.connection.dport) = (one.sport, one.dport);
    }
    let (seq, number) = (1000, 5000);
    let (opening, answer, third) = if one.proto == Some(Protocol::TCP) {
        let mut opening = one.clone();
        opening.tcp_flags = Some(TcpFlags::SYN);
        reply.tcp_flags = Some(TcpFlags::SYN | TcpFlags::ACK);
        again.tcp_flags = Some(TcpFlags::ACK);
        (
            finish(opening, seq, 0, 0),
            finish(reply, number, seq + 1, 0),
            finish(again, seq + 1, number + 1, 0),
        )
    } else {
        (first, finish(reply, 0, 0, 4), finish(again, 0, 0, 8))
    };
    vec![opening, answer, third]
}

/// The engine, with what it was given.
pub struct Judge<'a> {
    pub program: &'a Program,
    pub ruleset: &'a Ruleset,
    pub facts: Facts,
}

impl Judge<'_> {
    /// What every counter will have gained; `None` when something on the way is not known.
    pub fn predict(&self, probe: &Probe) -> Option<(Counts, Verdict)> {
        let explanation = self.program.explain(probe, &self.facts, &[self.ruleset]);
        let decision = self.program.decide(probe, &self.facts, &[self.ruleset]);
        assert_eq!(
            (decision.verdict, decision.by),
            (explanation.verdict, explanation.by)
        );
        if explanation.verdict == Verdict::Unknown {
            return None;
        }
        let mut counts = Counts::default();
        for step in &explanation.path {
            match step.answer {
                Answer::Unknown => return None,
                Answer::No => {}
                Answer::Match => {
                    let key = match step.place.rule {
                        Some(rule) => self.rule_name(rule),
                        None => self.chain_name(step.place.chain),
                    };
                    *counts.0.entry(key).or_default() += 1;
                }
            }
        }
        Some((counts, explanation.verdict))
    }

    /// A connection whose later packets can be foretold: accepted, not translated.
    fn begins(&self, probe: &Probe) -> bool {
        let explanation = self.program.explain(probe, &self.facts, &[self.ruleset]);
        let udp_or_syn = probe.proto == Some(Protocol::UDP)
            || probe.tcp_flags.is_some_and(|flags| flags == TcpFlags::SYN);
        let untouched = explanation.dst.is_none() && explanation.src.is_none();
        let notrack = explanation.path.iter().any(|step| {
            let target = step.place.rule.and_then(|rule| self.ruleset.jump(rule));
            step.answer == Answer::Match && target.is_some_and(|jump| jump.name == b"CT")
        });
        let certain = explanation
            .path
            .iter()
            .all(|step| step.answer != Answer::Unknown);
        explanation.verdict == Verdict::Accept
            && probe.ctstate == Some(CtState::New)
            && udp_or_syn
            && untouched
            && certain
            && !notrack
    }

    /// Conntrack sees it: raw neither drops it nor takes it out.
    fn is_heard(&self, probe: &Probe) -> bool {
        let explanation = self.program.explain(probe, &self.facts, &[self.ruleset]);
        explanation.path.iter().all(|step| {
            let table = self.ruleset.chain(step.place.chain).table();
            let target = step.place.rule.and_then(|rule| self.ruleset.jump(rule));
            let ends = target.is_some_and(|jump| matches!(jump.name, b"CT" | b"DROP"));
            !(self.ruleset.table(table).name() == "raw" && step.answer == Answer::Match && ends)
        })
    }

    fn rule_name(&self, rule: RuleIdx) -> String {
        let chain = self.ruleset.chain_of(rule).unwrap();
        let spec = String::from_utf8_lossy(self.ruleset.spec(rule));
        format!(
            "{} {}: {spec}",
            self.chain_name(chain),
            self.ruleset.number(rule)
        )
    }

    fn chain_name(&self, chain: ruletop::ruleset::ChainIdx) -> String {
        let chain = self.ruleset.chain(chain);
        format!(
            "{} {}",
            self.ruleset.table(chain.table()).name(),
            chain.name()
        )
    }

    /// The counters in what the save tool prints of the same ruleset.
    pub fn counts(&self, saved: &str) -> Counts {
        let document = Document::parse(saved.as_bytes().to_vec(), Hints::default()).unwrap();
        let [now] = document.rulesets() else {
            panic!("several rulesets: {saved}")
        };
        assert_eq!(now.rule_count(), self.ruleset.rule_count(), "{saved}");
        let counters = now.saved_counters();
        let mut counts = Counts::default();
        for rule in now.rules() {
            let packets = counters.rule(rule).packets;
            if packets > 0 {
                counts.0.insert(self.rule_name(rule), packets);
            }
        }
        for (index, chain) in now.chains().iter().enumerate() {
            let index = ruletop::ruleset::ChainIdx(u32::try_from(index).unwrap());
            let packets = counters.policy(index).packets;
            if packets > 0 && chain.is_builtin() {
                counts.0.insert(self.chain_name(index), packets);
            }
        }
        counts
    }
}

impl Counts {
    /// What differs from what was counted, a line each.
    fn unlike(&self, counted: &Self) -> String {
        let keys: std::collections::BTreeSet<_> = self.0.keys().chain(counted.0.keys()).collect();
        let mut out = String::new();
        for key in keys {
            let (e, c) = (
                self.0.get(key).unwrap_or(&0),
                counted.0.get(key).unwrap_or(&0),
            );
            if e != c {
                let _ = writeln!(out, "  predicted {e}, counted {c}: {key}");
            }
        }
        out
    }

    fn since(&self, before: &Self) -> Self {
        let moved = self
            .0
            .iter()
            .map(|(key, count)| (key.clone(), count - before.0.get(key).copied().unwrap_or(0)));
        Self(moved.filter(|(_, count)| *count > 0).collect())
    }
}
