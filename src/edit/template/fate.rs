//! What becomes of the packets of a rule that is not there yet: the first rule on their way that decides
//! about all of them, and those before it that decide about a part.

use std::collections::BTreeMap;

use super::cover::{Relation, relation};
use crate::edit::Stage;
use crate::ruleset::spec::{Spec, Target};
use crate::ruleset::{ChainIdx, Policy, RuleIdx};

/// A rule of a stage that the kernel would hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub rule: RuleIdx,
    /// Its number in its chain.
    pub number: u32,
}

/// What becomes of them in a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fate {
    /// The rule of this chain that decides, itself or by the chain that it jumps to, and whether it does
    /// what the wanted rule would do.
    pub decided: Option<(Held, bool)>,
    /// The rule of this chain at which they leave it undecided (RETURN, goto).
    pub leaves: Option<Held>,
    /// Rules of this chain before that one which drop some of them.
    pub partly: Vec<Held>,
}

/// Chains within chains that are looked into.
const DEEPEST: usize = 16;

/// Looks through chains, each once.
pub(super) struct Oracle<'s> {
    stage: &'s Stage,
    wanted: &'s Spec<'s>,
    known: BTreeMap<ChainIdx, Fate>,
}

impl<'s> Oracle<'s> {
    pub(super) fn new(stage: &'s Stage, wanted: &'s Spec<'s>) -> Self {
        Self {
            stage,
            wanted,
            known: BTreeMap::new(),
        }
    }

    /// What becomes of them in a chain.
    pub(super) fn fate(&mut self, chain: ChainIdx) -> Fate {
        self.look(chain, 0)
    }

    /// What a built-in chain does with all of them, its policy included; `None`: not one and the same
    /// thing, or not known.
    pub(super) fn passes(&mut self, chain: ChainIdx) -> Option<bool> {
        let fate = self.fate(chain);
        if let Some((_, same)) = fate.decided {
            return Some(same);
        }
        match self.stage.shown().ruleset.chain(chain).policy()? {
            Policy::Accept => Some(matches!(self.wanted.target, Some(Target::Accept))),
            Policy::Drop => Some(drops(self.wanted)),
            Policy::Queue => None,
        }
    }

    fn look(&mut self, chain: ChainIdx, depth: usize) -> Fate {
        if let Some(known) = self.known.get(&chain) {
            return known.clone();
        }
        if depth > DEEPEST {
            return Fate::default();
        }
        let mut fate = Fate::default();
        for held in held_rules(self.stage, chain) {
            let spec = self.stage.shown().ruleset.parse_rule(held.rule);
            let relation = relation(&spec, self.wanted);
            if relation == Relation::None {
                continue;
            }
            let all = relation == Relation::All;
            match &spec.target {
                Some(Target::Chain(name)) => {
                    let set = &self.stage.shown().ruleset;
                    let Some(into) = set.chain_meant(held.rule, name).filter(|_| all) else {
                        continue;
                    };
                    let inner = self.look(into, depth + 1);
                    if let Some((_, same)) = inner.decided {
                        fate.decided = Some((held, same));
                        break;
                    }
                    if !inner.partly.is_empty() {
                        fate.partly.push(held);
                    }
                    if spec.goto {
                        fate.leaves = Some(held);
                        break;
                    }
                }
                Some(Target::Return) if all => {
                    fate.leaves = Some(held);
                    break;
                }
                Some(target) if target.goes_on() == Some(false) && all => {
                    fate.decided = Some((held, does_the_same(&spec, self.wanted)));
                    break;
                }
                Some(_) if drops(&spec) && !drops(self.wanted) => fate.partly.push(held),
                _ => {}
            }
        }
        self.known.insert(chain, fate.clone());
        fate
    }
}

/// The rules of a chain that the kernel would hold, in order.
pub(super) fn held_rules(stage: &Stage, chain: ChainIdx) -> Vec<Held> {
    let shown = stage.shown();
    let rules = shown.ruleset.chain(chain).rules().iter();
    rules
        .filter_map(|rule| {
            let number = shown.row(*rule)?.number?;
            Some(Held {
                rule: *rule,
                number,
            })
        })
        .collect()
}

pub(super) fn drops(spec: &Spec<'_>) -> bool {
    spec.target.as_ref().is_some_and(Target::is_drop_or_reject)
}

/// Two drops are one as good as the other; what else ends a packet's way must say the same.
fn does_the_same(one: &Spec<'_>, other: &Spec<'_>) -> bool {
    (drops(one) && drops(other)) || one.target == other.target
}
