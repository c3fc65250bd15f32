//! Three-way merge of rulesets, by what their rules say.
//!
//! `merge(base, ours, theirs)` does to `theirs` what was changed from `base` to `ours`. A stage is
//! carried over to a ruleset that others changed meanwhile with it, and an applied change is taken back
//! with it: `merge(after, before, current)` has what was there before, and what others added since.
//! Where only one side changed anything the result is that side; where both did, nothing of theirs is
//! lost, and everything of ours is done or said of in a [`Remark`].
//!
//! Here are tables and chains; `rules` merges the rules of one chain, and `jumps` sees to it that the
//! result can be loaded: no jump into nothing, no loop, no chain gone that is still jumped to.

mod jumps;
mod rules;
mod undo;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::ruleset::{
    Assembly, Chain, ChainIdx, ChainParts, CounterSet, Counters, Policy, RuleIdx, RuleParts,
    Ruleset,
};

use super::align::Words;
use super::compare::{equal_ends, same_rules as compare_rules};
use super::{Remark, RuleName};
use rules::{Item, Merged, Word, merge_rules};
use undo::Labels;
pub use undo::{Known, undo};

/// What a merge came to.
#[derive(Clone, Debug)]
pub struct Merge {
    /// `theirs` with our changes. Its text carries the counters of theirs, and of ours for rules that come
    /// back.
    pub ruleset: Arc<Ruleset>,
    /// By rule of it, the rule of theirs that it is; `None` for what is put in.
    pub was: Vec<Option<RuleIdx>>,
    /// Rules of theirs that are put elsewhere; all others stand still.
    pub moved: HashSet<RuleIdx>,
    /// What could not simply be done, or is in doubt.
    pub remarks: Vec<Remark>,
}

/// Does to `theirs` what was changed from `base` to `ours`. All are of one family and back end.
pub fn merge<'a>(base: &'a Ruleset, ours: &'a Ruleset, theirs: &'a Ruleset) -> Merge {
    merge_with(base, ours, theirs, None)
}

fn merge_with<'a>(
    base: &'a Ruleset,
    ours: &'a Ruleset,
    theirs: &'a Ruleset,
    undo: Option<Labels<'a>>,
) -> Merge {
    let side = |ruleset: &'a Ruleset| Side {
        ruleset,
        counters: ruleset.saved_counters(),
    };
    let mut merger = Merger {
        base: side(base),
        ours: side(ours),
        theirs: side(theirs),
        words: Words::default(),
        remarks: Vec::new(),
        undo,
    };
    let mut tables = merger.tables();
    for table in &mut tables {
        jumps::settle(table, ours, theirs, &mut merger.remarks);
    }
    let stay = (tables.iter()).flat_map(|table| table.chains.iter().filter(|chain| !chain.goes));
    // As they are assembled: one of nobody is not.
    let rules = stay.flat_map(|chain| &chain.rules);
    let rules = rules.filter(|rule| rule.theirs.is_some() || rule.ours.is_some());
    let was = rules.clone().map(|rule| rule.theirs).collect();
    let moved = rules
        .filter(|rule| rule.placed)
        .filter_map(|rule| rule.theirs);
    let moved = moved.collect();
    Merge {
        ruleset: Arc::new(merger.assemble(&tables)),
        was,
        moved,
        remarks: merger.remarks,
    }
}

/// One of the three rulesets.
struct Side<'a> {
    ruleset: &'a Ruleset,
    counters: CounterSet,
}

impl<'a> Side<'a> {
    fn chain(&self, table: &[u8], chain: &[u8]) -> Option<ChainIdx> {
        let table = self.ruleset.table_named(table)?;
        self.ruleset.chain_named(table, chain)
    }

    fn rules(&self, chain: Option<ChainIdx>) -> &'a [RuleIdx] {
        chain.map_or(&[], |chain| self.ruleset.chain(chain).rules())
    }

    fn policy(&self, chain: Option<ChainIdx>) -> Option<Policy> {
        match chain {
            Some(chain) => self.ruleset.chain(chain).policy(),
            None => Some(Policy::Accept),
        }
    }

    fn name(&self, rule: RuleIdx) -> RuleName {
        let chain = self
            .ruleset
            .chain_of(rule)
            .map(|chain| self.ruleset.chain(chain));
        let table = chain.map(|chain| self.ruleset.table(chain.table()).name_bytes());
        RuleName {
            table: table.unwrap_or_default().into(),
            chain: chain.map(Chain::name_bytes).unwrap_or_default().into(),
            spec: self.ruleset.rule_text(rule).into(),
        }
    }
}

/// One table of the result.
struct MergedTable {
    name: Box<[u8]>,
    chains: Vec<MergedChain>,
}

/// One chain of the result.
struct MergedChain {
    name: Box<[u8]>,
    builtin: bool,
    policy: Option<Policy>,
    ours: Option<ChainIdx>,
    theirs: Option<ChainIdx>,
    /// We took it out.
    goes: bool,
    rules: Vec<Merged>,
}

struct Merger<'a> {
    base: Side<'a>,
    ours: Side<'a>,
    theirs: Side<'a>,
    words: Words<'a>,
    remarks: Vec<Remark>,
    /// A change is undone.
    undo: Option<Labels<'a>>,
}

impl<'a> Merger<'a> {
    /// Their tables in their order, then those that only we have.
    fn tables(&mut self) -> Vec<MergedTable> {
        let (ours, theirs) = (self.ours.ruleset, self.theirs.ruleset);
        let mut tables: Vec<MergedTable> = Vec::new();
        for table in theirs.tables().iter().chain(ours.tables()) {
            let name = table.name_bytes();
            if tables.iter().any(|made| *made.name == *name) {
                continue;
            }
            let chains_of = |set: &Ruleset| -> Vec<Box<[u8]>> {
                let table = set.table_named(name).map(|table| set.table(table));
                let chains = table.map_or(&[][..], crate::ruleset::Table::chains);
                (chains.iter())
                    .map(|chain| set.chain(*chain).name_bytes().into())
                    .collect()
            };
            let mut chains = Vec::new();
            for chain in chains_of(theirs) {
                chains.extend(self.chain(name, &chain));
            }
            for chain in chains_of(ours) {
                if self.theirs.chain(name, &chain).is_none() {
                    chains.extend(self.chain(name, &chain));
                }
            }
            tables.push(MergedTable {
                name: name.into(),
                chains,
            });
        }
        tables
    }

    /// One chain; `None` where it is gone from theirs.
    fn chain(&mut self, table: &[u8], name: &[u8]) -> Option<MergedChain> {
        let base = self.base.chain(table, name);
        let ours = self.ours.chain(table, name);
        let theirs = self.theirs.chain(table, name);
        let is_builtin = |side: &Side<'_>, chain: Option<ChainIdx>| {
            chain.is_some_and(|chain| side.ruleset.chain(chain).is_builtin())
        };
        let builtin = is_builtin(&self.theirs, theirs) || is_builtin(&self.ours, ours);
        let taken_out = base.is_some() && theirs.is_none() && !builtin;
        let mut said = Vec::new();
        let (rules, stripped) = if self.undo.is_some() {
            self.undone(base, ours, theirs, &mut |word| said.push(word))
        } else {
            let rules = self.rules(base, ours, theirs, &mut |word| said.push(word));
            (rules, false)
        };
        if taken_out {
            for rule in rules.iter().filter(|rule| rule.placed) {
                let name = rule.ours.map(|rule| self.ours.name(rule));
                self.remarks.extend(name.map(Remark::ChainGone));
            }
            said.retain(|word| matches!(word, Word::Vanished(_)));
        }
        let place = || (Box::from(table), Box::from(name));
        for word in said {
            self.remarks.push(match word {
                Word::Emptied => {
                    let (table, chain) = place();
                    Remark::Emptied { table, chain }
                }
                Word::Withheld(rule) => Remark::Withheld(self.ours.name(rule)),
                Word::LeftThere(rule) => Remark::LeftThere(self.base.name(rule)),
                Word::Vanished(rule) => Remark::Vanished(self.base.name(rule)),
                Word::AlreadyGone(rule) => Remark::AlreadyGone(self.base.name(rule)),
                Word::AlreadyThere(rule) => Remark::AlreadyThere(self.ours.name(rule)),
                Word::MovedByBoth(rule) => Remark::MovedByBoth(self.ours.name(rule)),
                Word::PlaceChanged(rule) => Remark::PlaceChanged(self.ours.name(rule)),
            });
        }
        (!taken_out).then(|| MergedChain {
            name: name.into(),
            builtin,
            policy: if builtin {
                self.policy(table, name, [base, ours, theirs], stripped)
            } else {
                None
            },
            ours,
            theirs,
            goes: base.is_some() && ours.is_none() && !builtin,
            rules,
        })
    }

    /// The rules of a chain. What all three have at its head and its tail is not looked at twice.
    fn rules(
        &mut self,
        base: Option<ChainIdx>,
        ours: Option<ChainIdx>,
        theirs: Option<ChainIdx>,
        say: &mut dyn FnMut(Word),
    ) -> Vec<Merged> {
        let base = (self.base.ruleset, self.base.rules(base));
        let ours = (self.ours.ruleset, self.ours.rules(ours));
        let theirs = (self.theirs.ruleset, self.theirs.rules(theirs));
        let (with_ours, with_theirs) = (equal_ends(base, ours), equal_ends(base, theirs));
        let head = with_ours.0.min(with_theirs.0);
        let tail = with_ours.1.min(with_theirs.1);
        let mut items = |(set, rules): (&'a Ruleset, &'a [RuleIdx])| -> Vec<Item> {
            let middle = rules.get(head..rules.len() - tail).unwrap_or_default();
            let items = middle.iter().map(|rule| self.words_of(set, *rule));
            items.collect()
        };
        let lists = [items(base), items(ours), items(theirs)];
        let pairs = ours.1.iter().zip(theirs.1).take(head);
        let mut merged: Vec<Merged> = pairs.map(Merged::both).collect();
        merged.extend(merge_rules(&lists, head > 0, say));
        let our_tail = ours.1.get(ours.1.len() - tail..).unwrap_or_default();
        let their_tail = theirs.1.get(theirs.1.len() - tail..).unwrap_or_default();
        merged.extend(our_tail.iter().zip(their_tail).map(Merged::both));
        merged
    }

    fn policy(
        &mut self,
        table: &[u8],
        name: &[u8],
        [base, ours, theirs]: [Option<ChainIdx>; 3],
        stripped: bool,
    ) -> Option<Policy> {
        let base = self.base.policy(base);
        let ours = self.ours.policy(ours);
        let theirs = self.theirs.policy(theirs);
        if ours == base || ours.is_none() {
            return theirs;
        }
        if stripped && ours == Some(Policy::Drop) && theirs != ours {
            self.remarks.push(Remark::PolicyLeft {
                table: table.into(),
                chain: name.into(),
            });
            return theirs;
        }
        if theirs != base && theirs != ours {
            self.remarks.push(Remark::PolicyChanged {
                table: table.into(),
                chain: name.into(),
            });
        }
        ours
    }

    fn assemble(&self, tables: &[MergedTable]) -> Ruleset {
        let mut assembly = Assembly::like(self.theirs.ruleset);
        for table in tables {
            assembly.table(&table.name);
            let kept: Vec<&MergedChain> = table.chains.iter().filter(|c| !c.goes).collect();
            let made: Vec<ChainIdx> = kept
                .iter()
                .map(|chain| {
                    let counters = chain.theirs.map(|index| self.theirs.counters.policy(index));
                    let zeroed = chain
                        .ours
                        .is_some_and(|o| self.ours.ruleset.is_chain_zeroed(o));
                    assembly.chain(&ChainParts {
                        name: &chain.name,
                        policy: chain.policy,
                        builtin: chain.builtin,
                        counters: counters.filter(|_| !zeroed).unwrap_or_default(),
                        zeroed: zeroed && chain.theirs.is_some(),
                    })
                })
                .collect();
            for (chain, to) in kept.iter().zip(made) {
                for rule in &chain.rules {
                    self.assemble_rule(&mut assembly, to, rule);
                }
            }
        }
        assembly.finish()
    }

    fn assemble_rule(&self, assembly: &mut Assembly, to: ChainIdx, rule: &Merged) {
        let (spec, counters) = match (rule.theirs, rule.ours) {
            (Some(theirs), _) => (
                self.theirs.ruleset.rule_text(theirs),
                self.theirs.counters.rule(theirs),
            ),
            (None, Some(ours)) => (
                self.ours.ruleset.rule_text(ours),
                self.ours.counters.rule(ours),
            ),
            (None, None) => return,
        };
        let zeroed = rule
            .ours
            .is_some_and(|ours| self.ours.ruleset.is_zeroed(ours));
        assembly.rule(
            to,
            &RuleParts {
                spec: &spec,
                counters: if zeroed {
                    Counters::default()
                } else {
                    counters
                },
                zeroed,
            },
        );
    }
}

impl MergedTable {
    /// The chains that stay, by name.
    fn by_name(&self) -> HashMap<&[u8], usize> {
        let chains = self
            .chains
            .iter()
            .enumerate()
            .filter(|(_, chain)| !chain.goes);
        chains.map(|(at, chain)| (&*chain.name, at)).collect()
    }
}
