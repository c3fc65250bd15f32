//! What became of a packet, for those who ask: the verdict alone, or the whole path.
//!
//! [`Program::decide`] says the verdict and who made it and allocates nothing as long as everything is
//! known. [`Program::explain`] writes down every rule that was tried. Both follow the same walk.

use std::collections::HashSet;

use super::compile::rule_at;
use super::diary::{Diary, Entry};
use super::facts::Facts;
use super::program::{Action, NATIVE, Place, Program};
use super::state::{State, address_of};
use super::thread::{By, Fate, Outcome};
use super::tri::Tri;
use super::walk::{Unwatched, Walk};
use crate::flow::Hook;
use crate::ruleset::spec::targets::RejectWith;
use crate::ruleset::{Family, Ruleset};
use crate::verdict::Probe;

/// What happens to the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It gets through all hooks.
    Accept,
    /// It is gone, and nobody is told.
    Drop,
    /// It is gone, and its sender is told.
    Reject,
    /// It depends on what is not known.
    Unknown,
}

impl Verdict {
    /// `accept`, `drop`, `reject` or `unknown`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Unknown => "unknown",
        }
    }
}

/// Who made a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decider {
    /// A rule, or the policy of a chain.
    Place(Place),
    /// The kernel's own rule: a packet without hops left is not forwarded.
    Hops,
    /// A native nft chain that iptables does not show: its place in [`Explanation::natives`].
    Native(u16),
}

/// A verdict without its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What happens.
    pub verdict: Verdict,
    /// Who says so. `None` where no chain stands in the way, and where several ways are possible that end
    /// at different rules.
    pub by: Option<Decider>,
}

/// One way that a packet may go where not everything is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Possible {
    /// Its end.
    pub verdict: Verdict,
    /// Who says so.
    pub by: Option<Decider>,
}

/// What a rule said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It matched.
    Match,
    /// It did not.
    No,
    /// It cannot be told.
    Unknown,
}

/// One rule that was tried, or a policy that was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub place: Place,
    /// At which hook.
    pub hook: Hook,
    /// What it said; a policy matches.
    pub answer: Answer,
    /// The condition that failed or cannot be told; empty for a match. Holds names out of the dump: strip
    /// before drawing.
    pub why: String,
}

/// A change by NAT: what an end of the packet becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translated {
    /// The rule; `None` where conntrack had settled it before.
    pub place: Option<Place>,
    /// The address, where it is known.
    pub address: Option<std::net::IpAddr>,
    /// The port, where there is one and it is known.
    pub port: Option<u16>,
}

/// A verdict and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What happens.
    pub verdict: Verdict,
    /// Who says so; see [`Decision::by`].
    pub by: Option<Decider>,
    /// What the sender is told, for a certain [`Verdict::Reject`].
    pub reject: Option<RejectWith>,
    /// Every rule tried and every policy reached, in order.
    pub path: Vec<Step>,
    /// The new destination.
    pub dst: Option<Translated>,
    /// The new source.
    pub src: Option<Translated>,
    /// The fwmark that it is routed with, after the rules that may set it; `None` where that is not known.
    pub mark: Option<u32>,
    /// What is not known and matters, each reason once.
    pub unknown: Vec<String>,
    /// All the ways that it may go, each once.
    pub possible: Vec<Possible>,
    /// The native nft chains of the program, as `inet firewalld filter_INPUT`. Strip before drawing.
    pub natives: Vec<String>,
    /// For a packet that is blocked: the first later rule that would have let it pass.
    pub would_accept: Option<Place>,
}

impl Explanation {
    /// Nothing can be told of the packet, for this reason.
    pub fn untold(why: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Unknown,
            by: None,
            reject: None,
            path: Vec::new(),
            dst: None,
            src: None,
            mark: None,
            unknown: vec![why.into()],
            possible: Vec::new(),
            natives: Vec::new(),
            would_accept: None,
        }
    }
}

/// Why nothing is known of a packet whose family a dump does not hold: its absence there says nothing of the box.
pub fn not_in_dump(family: Family) -> String {
    format!("the dump holds no {} rules", family.name())
}

impl Program {
    /// The verdict and who made it. `rulesets` are those that were compiled.
    pub fn decide(&self, probe: &Probe, facts: &Facts, rulesets: &[&Ruleset]) -> Decision {
        let mut merged: Option<(Verdict, Option<By>)> = None;
        let mut walk = Walk::new(self, probe, facts, Unwatched);
        walk.run(|outcome| {
            let (verdict, by) = (verdict_of(outcome.fate), outcome.by);
            merged = Some(match merged {
                None => (verdict, Some(by)),
                Some((before, who)) => (
                    if before == verdict {
                        verdict
                    } else {
                        Verdict::Unknown
                    },
                    who.filter(|who| *who == by),
                ),
            });
        });
        match merged {
            Some((verdict, by)) if !walk.too_much => Decision {
                verdict,
                by: by.and_then(|by| self.decider(by, rulesets)),
            },
            _ => Decision {
                verdict: Verdict::Unknown,
                by: None,
            },
        }
    }

    /// Whether the packet gets through, whoever stops it and however; `None` where that depends on what is not
    /// known. A drop or a reject, and it cannot be told which, is a no.
    pub fn passes(&self, probe: &Probe, facts: &Facts) -> Option<bool> {
        let mut ends = [false; 3];
        let mut walk = Walk::new(self, probe, facts, Unwatched);
        walk.run(|outcome| {
            let [accepted, stopped, unknown] = &mut ends;
            match verdict_of(outcome.fate) {
                Verdict::Accept => *accepted = true,
                Verdict::Drop | Verdict::Reject => *stopped = true,
                Verdict::Unknown => *unknown = true,
            }
        });
        match ends {
            _ if walk.too_much => None,
            [true, false, false] => Some(true),
            [false, true, false] => Some(false),
            _ => None,
        }
    }

    /// The verdict with its path. `rulesets` are those that were compiled.
    pub fn explain(&self, probe: &Probe, facts: &Facts, rulesets: &[&Ruleset]) -> Explanation {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut walk = Walk::new(self, probe, facts, Diary::default());
        walk.run(|outcome| outcomes.push(outcome));
        let too_much = walk.too_much;
        let diary = walk.watch;
        let mut unknown = diary.doubts.clone();
        let mut possible: Vec<Possible> = Vec::new();
        for outcome in &outcomes {
            let one = Possible {
                verdict: verdict_of(outcome.fate),
                by: self.decider(outcome.by, rulesets),
            };
            if !possible.contains(&one) {
                possible.push(one);
            }
            if let Fate::Beyond(why) = outcome.fate {
                let why = self.reasons.get(why as usize);
                unknown.push(
                    why.map_or("a policy hands it to a program", |why| why)
                        .to_owned(),
                );
            }
        }
        let path = self.steps(&diary, rulesets);
        let all_agree = possible
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if a.verdict == b.verdict));
        let verdict = match possible.first() {
            Some(first) if all_agree && !too_much => first.verdict,
            _ => Verdict::Unknown,
        };
        let first = possible.first().and_then(|first| first.by);
        let by = first.filter(|by| !too_much && possible.iter().all(|way| way.by == Some(*by)));
        if too_much {
            unknown.push("too many ways to follow: the work was cut short".to_owned());
        }
        if verdict == Verdict::Unknown {
            let doubts = path.iter().filter(|step| step.answer == Answer::Unknown);
            unknown.extend(doubts.map(|step| step.why.clone()));
            unknown.extend(self.native_doubts(&diary));
        }
        let mut seen = HashSet::new();
        unknown.retain(|why| seen.insert(why.clone()));
        if verdict != Verdict::Unknown {
            unknown.clear();
        }
        let blocked = matches!(verdict, Verdict::Drop | Verdict::Reject);
        let reject = outcomes.first().and_then(|outcome| match outcome.fate {
            Fate::Reject(with) if verdict == Verdict::Reject => {
                self.rejects.get(usize::from(with)).copied()
            }
            _ => None,
        });
        let marks = |outcome: &Outcome| outcome.state.routed_mark;
        let first = outcomes.first().and_then(marks);
        let mark = first.filter(|_| outcomes.iter().all(|one| marks(one) == first));
        let agreed = |side: usize| {
            let settled = settled(probe, side);
            settled.or_else(|| self.translated(&outcomes, side, rulesets))
        };
        Explanation {
            verdict,
            by,
            reject,
            path,
            dst: agreed(0),
            src: agreed(1),
            mark,
            unknown,
            possible,
            natives: self.natives.iter().map(ToString::to_string).collect(),
            would_accept: if blocked {
                self.would_accept(probe, facts, rulesets)
            } else {
                None
            },
        }
    }

    /// The rule that would let the packet pass if none dropped or rejected it.
    fn would_accept(&self, probe: &Probe, facts: &Facts, rulesets: &[&Ruleset]) -> Option<Place> {
        let mut found = None;
        let mut walk = Walk::new(self, probe, facts, Unwatched);
        walk.lenient = true;
        walk.run(|outcome| {
            if let (None, Fate::Accept, By::Place(place)) = (found, outcome.fate, outcome.by) {
                let is_rule = self
                    .rules
                    .get(place as usize)
                    .is_some_and(|rule| rule.action == Action::Accept);
                // Of a rule that is not believed nobody can say what it would do.
                found = (is_rule && !self.is_doubted(place)).then_some(place);
            }
        });
        self.place(found?, rulesets)
    }

    /// The change of an end on which all outcomes agree.
    fn translated(
        &self,
        outcomes: &[Outcome],
        side: usize,
        rulesets: &[&Ruleset],
    ) -> Option<Translated> {
        let first = outcomes.first()?;
        let of = |outcome: &Outcome| outcome.nat.get(side).copied().flatten();
        let at = of(first)?;
        if outcomes.iter().any(|outcome| of(outcome) != Some(at)) {
            return None;
        }
        let state: &State = &first.state;
        let (address, port) = if side == 0 {
            (state.dst, state.dport)
        } else {
            (state.src, state.sport)
        };
        Some(Translated {
            place: Some(self.place(at, rulesets)?),
            address: address.map(|bits| address_of(bits, state.v6)),
            port,
        })
    }

    fn steps(&self, diary: &Diary, rulesets: &[&Ruleset]) -> Vec<Step> {
        let mut entries = diary.entries.clone();
        entries.sort_by_key(|entry| entry.order);
        let step = |entry: &Entry| {
            let v6 = self.family == crate::ruleset::Family::V6;
            let cond = entry.cond.and_then(|cond| self.conds.get(cond as usize));
            let why = cond.map_or(String::new(), |cond| {
                let words = cond.words(v6);
                match (entry.answer, self.doubt_of(cond)) {
                    (Tri::Unknown, doubt) if !doubt.is_empty() => format!("{words}: {doubt}"),
                    _ => words,
                }
            });
            Some(Step {
                place: self.place(entry.place, rulesets)?,
                hook: super::program::HOOKS
                    .get(usize::from(entry.order.0))
                    .copied()?,
                answer: match entry.answer {
                    Tri::Yes => Answer::Match,
                    Tri::No => Answer::No,
                    Tri::Unknown => Answer::Unknown,
                },
                why,
            })
        };
        entries.iter().filter_map(step).collect()
    }

    pub(super) fn decider(&self, by: By, rulesets: &[&Ruleset]) -> Option<Decider> {
        match by {
            By::Nobody => None,
            By::Hops => Some(Decider::Hops),
            By::Place(at) => match self.native_at(at) {
                Some(native) => u16::try_from(native).ok().map(Decider::Native),
                None => self.place(at, rulesets).map(Decider::Place),
            },
        }
    }

    /// A place of the program as one of the rulesets.
    pub(super) fn place(&self, at: u32, rulesets: &[&Ruleset]) -> Option<Place> {
        let (_, chain) = self.chain_at(at)?;
        if chain.ruleset == NATIVE {
            return None;
        }
        let number = usize::from(chain.ruleset);
        let rule = if at == chain.end {
            None
        } else {
            Some(rule_at(
                rulesets.get(number)?,
                chain.index,
                self.position(at),
            )?)
        };
        Some(Place {
            ruleset: number,
            chain: chain.index,
            rule,
        })
    }
}

/// What conntrack had settled about an end of the packet before any rule was asked.
fn settled(probe: &Probe, side: usize) -> Option<Translated> {
    let new = probe.connection.becomes?;
    let (old, new) = if side == 0 {
        ((probe.dst, probe.dport), new.dst?)
    } else {
        ((probe.src, probe.sport), new.src?)
    };
    (old != (new.address, new.port)).then_some(Translated {
        place: None,
        address: new.address,
        port: new.port,
    })
}

fn verdict_of(fate: Fate) -> Verdict {
    match fate {
        Fate::Accept => Verdict::Accept,
        Fate::Drop => Verdict::Drop,
        Fate::Reject(_) => Verdict::Reject,
        Fate::Beyond(_) => Verdict::Unknown,
    }
}
