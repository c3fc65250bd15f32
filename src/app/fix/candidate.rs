//! What to try for a packet that is blocked: operations just before the place that decides.
//!
//! A rule that is added says of the packet what is needed to tell its kind: protocol, service, interface,
//! and the addresses as rules at that place see them, after a DNAT. It never says more than the probe
//! does, so a probe that leaves much open makes a wide rule; the caller shows how wide.

use std::fmt::Write;
use std::net::IpAddr;

use crate::edit::template::rank;
use crate::edit::{Operation, RowId, Spot, Stage};
use crate::flow::{Hook, IfName};
use crate::ruleset::spec::Target;
use crate::ruleset::{ChainIdx, Family, RuleIdx, Ruleset};
use crate::verdict::{Answer, CtState, Decider, Explanation, Path, Place, Probe, Step, Verdict};

use super::spot::asks_who_or_what;
use super::{FixStep, Kind};

/// The rule that lets answers through.
const ANSWERS: &str = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";

/// A packet, and the place that stops it.
pub(super) struct Blocked<'a> {
    stages: &'a [Stage],
    probe: &'a Probe,
    pub(super) explanation: &'a Explanation,
    pub(super) at: Place,
    hook: Hook,
}

impl<'a> Blocked<'a> {
    /// `None` where what stops it is no rule and no policy.
    pub(super) fn of(
        stages: &'a [Stage],
        probe: &'a Probe,
        explanation: &'a Explanation,
    ) -> Option<Self> {
        let stops = |verdict: Verdict| matches!(verdict, Verdict::Drop | Verdict::Reject);
        let by = match explanation.by {
            Some(by) if stops(explanation.verdict) => by,
            // It may be stopped: the first that may.
            _ => {
                let mut ways = explanation.possible.iter();
                ways.find(|way| stops(way.verdict))?.by?
            }
        };
        let Decider::Place(at) = by else { return None };
        let step = explanation
            .path
            .iter()
            .rev()
            .find(|step| step.place == at)?;
        Some(Self {
            stages,
            probe,
            explanation,
            at,
            hook: step.hook,
        })
    }

    /// The chain that stops the packet.
    pub(super) fn chain(&self) -> (usize, ChainIdx) {
        (self.at.ruleset, self.at.chain)
    }

    /// The operations of a fix of that kind; `None` where there is nothing of the kind to do.
    pub(super) fn steps(&self, kind: Kind) -> Option<Vec<FixStep>> {
        match kind {
            Kind::MoveAccept => self.move_accept().map(|step| vec![step]),
            Kind::AcceptSource | Kind::AcceptAll => {
                let conditions = self.conditions(kind == Kind::AcceptSource)?;
                Some(vec![self.insert(&format!("{conditions}-j ACCEPT"))?])
            }
            Kind::AcceptAnswers => self.accept_answers().map(|step| vec![step]),
            Kind::Forward => self.forward(),
            Kind::Delete => self.delete().map(|step| vec![step]),
            // Nothing stops such a packet.
            Kind::Untracked => None,
        }
    }

    /// In a chain of the user: back to the caller, whose own rules then decide, as one makes an exception in a
    /// list of what is blocked. `None` where that is not the place, or the kind is another one.
    pub(super) fn return_step(&self, kind: Kind) -> Option<FixStep> {
        let ruleset = self.ruleset()?;
        let above = self.above(&ruleset);
        if ruleset.chain(above.chain).is_builtin() {
            return None;
        }
        let conditions = match kind {
            Kind::AcceptSource => self.conditions(true)?,
            Kind::AcceptAll => self.conditions(false)?,
            _ => return None,
        };
        self.insert(&format!("{conditions}-j RETURN"))
    }

    fn ruleset(&self) -> Option<std::sync::Arc<Ruleset>> {
        self.stages.get(self.at.ruleset).map(Stage::staged)
    }

    /// Just before a place: before that rule, or at the end of the chain.
    fn spot(&self, ruleset: &Ruleset, place: Place) -> Option<Spot> {
        let chain = ruleset.chain(place.chain);
        let table = ruleset.table(chain.table()).name();
        let before = match place.rule {
            Some(rule) => Some(self.row(ruleset, rule)?),
            None => None,
        };
        Some(Spot::new(table, chain.name_bytes(), before))
    }

    /// The row of a rule of the staged ruleset.
    fn row(&self, ruleset: &Ruleset, rule: RuleIdx) -> Option<RowId> {
        let chain = ruleset.chain(ruleset.chain_of(rule)?);
        let table = ruleset.table(chain.table()).name();
        let shown = self.stages.get(self.at.ruleset)?.shown();
        let table = shown.ruleset.find_table(table)?;
        let own = shown.ruleset.chain_named(table, chain.name_bytes())?;
        let wanted = Some(ruleset.number(rule));
        let rows = shown.ruleset.chain(own).rules().iter();
        rows.filter_map(|rule| shown.row(*rule))
            .find(|row| row.number == wanted)
            .map(|row| row.id)
    }

    /// A rule before what stops the packet.
    fn insert(&self, spec: &str) -> Option<FixStep> {
        let ruleset = self.ruleset()?;
        Some(self.insert_at(self.spot(&ruleset, self.above(&ruleset))?, spec))
    }

    fn insert_at(&self, at: Spot, spec: &str) -> FixStep {
        FixStep {
            stage: self.at.ruleset,
            operation: Operation::Insert {
                at,
                spec: spec.as_bytes().to_vec(),
            },
        }
    }

    /// The rule that would accept to just before the one that decides, if both stand in one chain. Where it
    /// stands in a chain that calls the deciding one, it stays in its chain and goes before the call. In any
    /// other chain it says less than what it lets through: its callers' conditions count too, and whoever keeps
    /// that chain looks for it there.
    fn move_accept(&self) -> Option<FixStep> {
        let would = self.explanation.would_accept?;
        let ruleset = self.ruleset()?;
        if would.ruleset != self.at.ruleset {
            return None;
        }
        let mut calls = self.callers(&ruleset);
        let decides = calls.find(|place| place.chain == would.chain)?;
        let above = self.above_logs(&ruleset, decides);
        Some(FixStep {
            stage: self.at.ruleset,
            operation: Operation::Move {
                row: self.row(&ruleset, would.rule?)?,
                to: self.spot(&ruleset, above)?,
            },
        })
    }

    /// The rule for answers where it belongs: in the built-in chain, first but for loopback.
    fn accept_answers(&self) -> Option<FixStep> {
        let is_answer = matches!(
            self.probe.ctstate,
            Some(CtState::Established | CtState::Related)
        );
        let ruleset = self.ruleset().filter(|_| is_answer)?;
        let at = self.callers(&ruleset).last()?;
        let is_loopback = |rule: &&RuleIdx| rank(&ruleset.parse_rule(**rule)) == Some(0);
        let mut rules = ruleset.chain(at.chain).rules().iter();
        let first = Place {
            rule: rules.find(|rule| !is_loopback(rule)).copied(),
            ..at
        };
        Some(self.insert_at(self.spot(&ruleset, first)?, ANSWERS))
    }

    /// The rule that stops the packet goes, where it is about this traffic and not the chain's last word.
    fn delete(&self) -> Option<FixStep> {
        let ruleset = self.ruleset()?;
        let rule = self.at.rule?;
        if !asks_who_or_what(&ruleset.parse_rule(rule)) {
            return None;
        }
        Some(FixStep {
            stage: self.at.ruleset,
            operation: Operation::Delete {
                row: self.row(&ruleset, rule)?,
            },
        })
    }

    /// The destination as rules see it here.
    fn seen_dst(&self) -> (Option<IpAddr>, Option<u16>) {
        if self.hook == Hook::Prerouting {
            return (self.probe.dst, self.probe.dport);
        }
        // Of a later packet it was decided with the first one.
        let bound = self.probe.connection.becomes.and_then(|bound| bound.dst);
        match (&self.explanation.dst, bound) {
            (Some(to), _) => (to.address, to.port),
            (None, Some(end)) => (end.address, end.port),
            (None, None) => (self.probe.dst, self.probe.dport),
        }
    }

    /// It answers another packet: the far end is its destination.
    fn is_answer(&self) -> bool {
        self.probe.connection.reply == Some(true)
    }

    /// A state can be asked for: conntrack has seen it, and was not told to leave it alone.
    fn has_state(&self) -> bool {
        let Some(ruleset) = self.ruleset() else {
            return false;
        };
        let table = ruleset.table(ruleset.chain(self.at.chain).table()).name();
        let untracked = |step: &Step| {
            let rule = step.place.rule.filter(|_| step.answer != Answer::No);
            let stage = self.stages.get(step.place.ruleset).map(Stage::staged);
            let target = |(stage, rule): (std::sync::Arc<Ruleset>, RuleIdx)| matches!(stage.parse_rule(rule).target, Some(Target::Ct(ct)) if ct.notrack);
            stage.zip(rule).is_some_and(target)
        };
        table != "raw" && !self.explanation.path.iter().any(untracked)
    }

    /// The conditions of a rule for the packet's kind, each with a space behind it; `None` where there are none.
    fn conditions(&self, from_there_only: bool) -> Option<String> {
        let probe = self.probe;
        if from_there_only && probe.src.is_none() {
            return None;
        }
        let mut spec = String::new();
        let (dst, dport) = self.seen_dst();
        let (says_src, says_dst) = if self.is_answer() {
            (
                from_there_only || probe.path != Path::Output,
                from_there_only,
            )
        } else {
            // To this host itself the address says nothing; through it, it says which host is opened.
            (
                from_there_only,
                from_there_only || probe.path != Path::Input,
            )
        };
        if let Some(src) = probe.src.filter(|_| says_src) {
            let _ = write!(spec, "-s {} ", host(src));
        }
        if let Some(dst) = dst.filter(|_| says_dst) {
            let _ = write!(spec, "-d {} ", host(dst));
        }
        let shows_input = self.hook != Hook::Output && self.hook != Hook::Postrouting;
        if let Some(input) = probe
            .input
            .and_then(sayable)
            .filter(|_| shows_input && probe.path != Path::Output)
        {
            let _ = write!(spec, "-i {input} ");
        }
        let shows_output = matches!(self.hook, Hook::Forward | Hook::Output | Hook::Postrouting);
        if let Some(output) = probe
            .output
            .and_then(sayable)
            .filter(|_| shows_output && probe.path != Path::Input)
        {
            let _ = write!(spec, "-o {output} ");
        }
        self.service(&mut spec, dport);
        let state = match probe.ctstate {
            Some(CtState::New) => "NEW",
            // Without it, whoever sends from that port comes in.
            Some(CtState::Established) => "ESTABLISHED",
            Some(CtState::Related) => "RELATED",
            _ => "",
        };
        if !state.is_empty() && self.hook != Hook::Prerouting && self.has_state() {
            let _ = write!(spec, "-m conntrack --ctstate {state} ");
        }
        (!spec.is_empty()).then_some(spec)
    }

    /// Protocol and port.
    fn service(&self, spec: &mut String, dport: Option<u16>) {
        let Some(proto) = self.probe.proto else {
            return;
        };
        let _ = write!(spec, "-p {proto} ");
        if proto.has_ports() {
            let ports = match (dport, self.probe.sport) {
                (_, from) if self.is_answer() => match from {
                    Some(from) => format!("--sport {from} "),
                    None => return,
                },
                // An answer is told by the port that it comes from.
                (Some(to), Some(from)) if from < 1024 && to >= 1024 => format!("--sport {from} "),
                (Some(to), _) => format!("--dport {to} "),
                (None, _) => return,
            };
            let _ = write!(spec, "-m {proto} {ports}");
        } else if let (Some(kind), true) = (self.probe.icmp_type, proto.is_icmp()) {
            let (name, option) = if self.probe.family == Family::V6 {
                ("icmp6", "--icmpv6-type")
            } else {
                ("icmp", "--icmp-type")
            };
            let _ = write!(spec, "-m {name} {option} {kind} ");
        }
    }

    /// For a packet that a DNAT sends on: the accept in FORWARD to where it goes, and the way back.
    fn forward(&self) -> Option<Vec<FixStep>> {
        let to = self.explanation.dst.as_ref()?;
        let inside = to.address?;
        if self.hook != Hook::Forward || self.probe.path != Path::Forward {
            return None;
        }
        let mut there = format!("-d {} ", host(inside));
        self.service(&mut there, to.port);
        there.push_str("-m conntrack --ctstate NEW,ESTABLISHED,RELATED -j ACCEPT");
        let back = format!(
            "-s {} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
            host(inside)
        );
        Some(vec![self.insert(&there)?, self.insert(&back)?])
    }
}

/// One address as a network.
fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}/32"),
        IpAddr::V6(address) => format!("{address}/128"),
    }
}

/// A name that a rule can say: nothing that a shell or the rule's own syntax would read as something else, such
/// as the `+` of a wildcard.
pub(super) fn sayable(name: IfName) -> Option<IfName> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._@:-".contains(byte);
    let bytes = name.as_bytes();
    let first = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
    (first && bytes.iter().all(plain)).then_some(name)
}
