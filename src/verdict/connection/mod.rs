//! The other packets of a connection: what must get through too, so that somebody is served.
//!
//! A first packet that is accepted helps nobody where its answer is dropped, or the packet after that. So a
//! packet that opens a connection is followed by those that it needs: its answer, as conntrack sees it, with the
//! addresses that each hook sees of it; the packets that come later; and of a packet from the box to itself the
//! other half of its way, for what passes OUTPUT there comes in again by lo.
//!
//! NAT is decided with the first packet. Its result is carried over ([`Bound`]) and the nat table is not asked
//! again (`nf_nat_inet_fn`). Of an untracked packet conntrack knows nothing: what follows it is new to it, and a
//! SYN-ACK out of nowhere is invalid (`tcp_conntracks`).
//!
//! It asks about packets that whoever sent the first one waits for, and knows no application: that a syslog
//! message needs no answer is not known here. A client's port that was not said is taken for one of those that
//! clients have.
//!
//! `opened` makes the packets; `known` is what conntrack knows of a packet's connection.

mod known;
mod opened;

pub use known::{Bound, Connection, End};

use super::explain::{Explanation, Verdict};
use super::facts::Facts;
use super::program::Program;
use super::state::State;
use super::thread::Fate;
use super::walk::{Unwatched, Walk};
use super::{About, Cause, Grade, Words};
use crate::flow::{IfName, Protocol};
use crate::ruleset::Ruleset;
use crate::verdict::{CtState, Path, Probe};
use opened::Opened;

/// A port of a client, where none was said: of those that Linux gives out (ip_local_port_range) and of those that
/// IANA sets aside for it (RFC 6335, 6).
const CLIENT: u16 = 50_000;

/// Which other packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The same packet where it leaves a program of this box, to come in again by lo.
    WayOut,
    /// The same packet where it has come in again.
    WayIn,
    /// What answers it.
    Answer,
    /// What follows, in both directions.
    Rest,
}

impl Part {
    /// As the subject of a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Self::WayOut => "on its way out it",
            Self::WayIn => "on its way in again it",
            Self::Answer => "the answer",
            Self::Rest => "the rest of the connection",
        }
    }

    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::WayOut => "out",
            Self::WayIn => "in",
            Self::Answer => "answer",
            Self::Rest => "rest",
        }
    }
}

/// One of them, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Which it is.
    pub part: Part,
    /// The packet.
    pub probe: Probe,
    /// What the rules say of it.
    pub explanation: Explanation,
}

impl Other {
    /// It does not get through.
    pub fn is_blocked(&self) -> bool {
        matches!(self.explanation.verdict, Verdict::Drop | Verdict::Reject)
    }

    /// What it means for who sent the first packet; `None` for one that gets through. `rulesets` are those that
    /// were compiled.
    pub fn cause(&self, rulesets: &[&Ruleset]) -> Option<Cause> {
        let subject = self.part.words();
        let (grade, says) = match self.explanation.verdict {
            Verdict::Accept => return None,
            Verdict::Unknown => {
                let why = self.explanation.unknown.first();
                let why = why.map_or("what is not known", String::as_str);
                (Grade::Doubt, format!("{subject} may be stopped: {why}"))
            }
            verdict => {
                let done = if verdict == Verdict::Drop {
                    "dropped"
                } else {
                    "rejected"
                };
                let by = self.explanation.by.map_or_else(
                    || "one of several rules".to_owned(),
                    |by| self.explanation.decider(by, rulesets),
                );
                (Grade::Blocks, format!("{subject} is {done} by {by}"))
            }
        };
        Some(Cause {
            about: About::Connection,
            grade,
            says,
            evidence: self.words(),
        })
    }

    /// The packet, less what was made up for it.
    pub fn words(&self) -> String {
        let real = |port: Option<u16>| port.filter(|port| *port != CLIENT);
        let shown = Probe {
            sport: real(self.probe.sport),
            dport: real(self.probe.dport),
            tcp_flags: None,
            ..self.probe.clone()
        };
        Words(&shown).to_string()
    }
}

/// What stops the other packets of a connection, or may, each once; of a connection of which all gets through
/// that it does. None for a first packet that does not get through itself: what follows it is not the question then.
pub fn causes(first: &Explanation, others: &[Other], rulesets: &[&Ruleset]) -> Vec<Cause> {
    let mut causes: Vec<Cause> = Vec::new();
    if first.verdict != Verdict::Accept || others.is_empty() {
        return causes;
    }
    let mut known = Vec::new();
    for other in others {
        let said = &other.explanation;
        let stands = (said.verdict, said.by, &said.unknown);
        // What stops the answer stops what follows it: once is enough.
        if !known.contains(&stands) {
            known.push(stands);
            causes.extend(other.cause(rulesets));
        }
    }
    if causes.is_empty() {
        causes.push(Cause {
            about: About::Connection,
            grade: Grade::Fine,
            says: "answers and what follows pass too".to_owned(),
            evidence: String::new(),
        });
    }
    causes
}

/// What the client sees of a connection whose first packet gets through and others do not; `None` where all do, or
/// may.
pub fn connection_seen(others: &[Other]) -> Option<&'static str> {
    let other = others.iter().find(|other| other.is_blocked())?;
    let tcp = other.probe.proto == Some(Protocol::TCP);
    match other.part {
        Part::WayOut | Part::WayIn => other.explanation.client_sees(&other.probe),
        // Its sender is told of a reject, which is not the client.
        Part::Answer if tcp => Some("a timeout (nothing answers)"),
        Part::Answer => Some("nothing (no answer comes)"),
        Part::Rest if tcp => Some("it connects, and then nothing comes through"),
        Part::Rest => Some("one answer, and then none"),
    }
}

/// The packet may be the first of a connection that somebody waits to be answered.
pub fn opens(probe: &Probe) -> bool {
    let asks = match probe.proto {
        Some(Protocol::TCP | Protocol::UDP) => true,
        Some(Protocol::ICMP) => probe.icmp_type == Some(8),
        Some(Protocol::ICMPV6) => probe.icmp_type == Some(128),
        _ => false,
    };
    let is_first = matches!(probe.ctstate, None | Some(CtState::New));
    asks && is_first && !probe.fragment && probe.dst.is_none_or(|dst| !dst.is_multicast())
}

/// A packet that comes in by lo, with what that means: nat had its say when it went out, and is not asked again.
/// Any other packet as it is.
pub fn looped(probe: &Probe) -> Probe {
    let mut probe = probe.clone();
    if probe.path == Path::Input && probe.input == lo() && probe.connection.becomes.is_none() {
        probe.connection.becomes = Some(Bound::default());
    }
    probe
}

impl Program {
    /// The other packets of the connection that `probe` opens, in the order in which they come. Empty for a packet
    /// that opens none, or does not get through itself, or where it cannot be told where it goes.
    pub fn others(&self, probe: &Probe, facts: &Facts, rulesets: &[&Ruleset]) -> Vec<Other> {
        let to_all = probe.dst.is_some_and(|dst| facts.broadcast.contains(&dst));
        if !opens(probe) || to_all {
            return Vec::new();
        }
        let ported = probe.proto.is_some_and(Protocol::has_ports);
        let first = Probe {
            ctstate: Some(CtState::New),
            sport: probe.sport.or(ported.then_some(CLIENT)),
            ..probe.clone()
        };
        let Some(end) = self.end(&first, facts) else {
            return Vec::new();
        };
        let packets = Opened { first, end }.packets(self, facts);
        let told = |(part, probe): (Part, Probe)| Other {
            part,
            explanation: self.explain(&probe, facts, rulesets),
            probe,
        };
        packets.into_iter().map(told).collect()
    }

    /// The packet as it leaves the last hook; what it leaves in different ways is not known. `None` where it does
    /// not get through, or in different directions.
    fn end(&self, probe: &Probe, facts: &Facts) -> Option<State> {
        let mut ends: Vec<State> = Vec::new();
        let mut walk = Walk::new(self, probe, facts, Unwatched);
        walk.run(|outcome| {
            if outcome.fate == Fate::Accept {
                ends.push(outcome.state);
            }
        });
        let cut_short = walk.too_much;
        let mut ends = ends.into_iter().filter(|_| !cut_short);
        let mut end = ends.next()?;
        for other in ends {
            if other.path != end.path {
                return None;
            }
            agree(&mut end.src, other.src);
            agree(&mut end.dst, other.dst);
            agree(&mut end.sport, other.sport);
            agree(&mut end.dport, other.dport);
            agree(&mut end.mark, other.mark);
            agree(&mut end.connmark, other.connmark);
            agree(&mut end.leaves_by, other.leaves_by);
            agree(&mut end.dnat, other.dnat);
            agree(&mut end.snat, other.snat);
            end.ct |= other.ct;
        }
        Some(end)
    }
}

fn agree<T: PartialEq + Copy>(one: &mut Option<T>, other: Option<T>) {
    if *one != other {
        *one = None;
    }
}

/// The loopback interface.
fn lo() -> Option<IfName> {
    IfName::new(b"lo")
}
