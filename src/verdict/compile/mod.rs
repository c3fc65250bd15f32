//! Rulesets to a [`Program`].
//!
//! Every rule is read once; what the packet loop needs is put into flat arrays, names are left behind.
//! Nothing is refused: what is not understood becomes a condition or an action that says so.

mod doubt;
mod matches;
mod native;
mod odd;
mod target;
mod whole;

use std::collections::HashMap;

use super::program::{
    Action, CONNTRACK, Chain, Change, End, HOOKS, Program, Rule, Stage, TableKind, index, priority,
    translation,
};
use crate::flow::Hook;
use crate::ruleset::spec::targets::RejectWith;
use crate::ruleset::{Backend, BaseChain, ChainIdx, Family, Marked, RuleIdx, Ruleset, TableIdx};

impl Program {
    /// Compiles the rulesets of `family` in the list; those of the other family are passed by. Where two
    /// of them have a chain at the same place, both are run, in the order of the list: which of two back
    /// ends registered first is in no dump.
    pub fn compile(family: Family, rulesets: &[&Ruleset]) -> Self {
        Self::compile_beside(family, rulesets, &[])
    }

    /// The same of rulesets of which it is known where the kernel holds more than they say: the way to decide
    /// packets of a live box.
    pub fn compile_marked(family: Family, marked: &[Marked<'_>], native: &[BaseChain]) -> Self {
        let rulesets: Vec<&Ruleset> = marked.iter().map(|one| one.ruleset).collect();
        let mut program = Self::compile_beside(family, &rulesets, native);
        for (at, one) in marked.iter().enumerate() {
            program.doubt(at, *one);
        }
        program
    }

    /// The same on a box where native nft chains stand in the way too. Where their rules were not read, one with
    /// rules may do anything to the packet, and one without does what its policy says.
    pub fn compile_beside(family: Family, rulesets: &[&Ruleset], native: &[BaseChain]) -> Self {
        let mut compiler = Compiler::new(family);
        for (number, ruleset) in rulesets.iter().enumerate() {
            let Ok(number) = u16::try_from(number) else {
                break;
            };
            if ruleset.family() == family {
                compiler.lay_out(number, ruleset);
            }
        }
        let chains = compiler.program.chains.clone();
        for chain in &chains {
            if let Some(ruleset) = rulesets.get(usize::from(chain.ruleset)) {
                compiler.fill(ruleset, chain);
            }
        }
        compiler.hooks(rulesets, native);
        compiler.program
    }
}

struct Compiler {
    program: Program,
    /// Where each chain of each ruleset begins.
    entries: HashMap<(u16, ChainIdx), u32>,
    /// How many places have been laid out.
    places: u32,
}

impl Compiler {
    fn new(family: Family) -> Self {
        Self {
            program: Program {
                family,
                conds: Vec::new(),
                rules: Vec::new(),
                chains: Vec::new(),
                changes: Vec::new(),
                rejects: Vec::new(),
                reasons: Vec::new(),
                natives: Vec::new(),
                whole: false,
                looks_at_pieces: false,
                looks_back: false,
                does_more: false,
                hooks: Default::default(),
            },
            entries: HashMap::new(),
            places: 0,
        }
    }

    /// Gives every chain its place, so that calls have somewhere to go before the rules are read.
    fn lay_out(&mut self, number: u16, ruleset: &Ruleset) {
        for at in 0..ruleset.chains().len() {
            let Ok(at) = u32::try_from(at) else { break };
            let index = ChainIdx(at);
            let chain = ruleset.chain(index);
            let length = u32::try_from(chain.rules().len()).unwrap_or(u32::MAX - 1);
            let Some(next) = self.places.checked_add(length + 1) else {
                break;
            };
            let policy = match chain.policy() {
                _ if !chain.is_builtin() => None,
                Some(policy) => Some(End::Policy(policy)),
                None => Some(End::NotStated),
            };
            let table = TableKind::named(ruleset.table(chain.table()).name());
            self.entries.insert((number, index), self.places);
            self.program.chains.push(Chain {
                ruleset: number,
                index,
                entry: self.places,
                end: next - 1,
                policy,
                table,
            });
            self.places = next;
        }
    }

    /// Reads the rules of a chain into its place.
    fn fill(&mut self, ruleset: &Ruleset, chain: &Chain) {
        let number = self.program.rules.len();
        let own = self
            .program
            .chains
            .partition_point(|other| other.entry <= chain.entry);
        let own = u32::try_from(own.saturating_sub(1)).unwrap_or(u32::MAX);
        debug_assert_eq!(number, chain.entry as usize);
        for rule in ruleset.chain(chain.index).rules() {
            let rule = self.rule(ruleset, chain, own, *rule);
            self.program.rules.push(rule);
        }
        self.end_of_chain(own);
    }

    /// The place after the rules of a chain.
    fn end_of_chain(&mut self, own: u32) {
        let first = u32::try_from(self.program.conds.len()).unwrap_or(u32::MAX);
        self.program.rules.push(Rule {
            first,
            count: 0,
            chain: own,
            action: Action::End,
        });
    }

    fn rule(&mut self, ruleset: &Ruleset, chain: &Chain, own: u32, rule: RuleIdx) -> Rule {
        let spec = ruleset.parse_rule(rule);
        let first = self.program.conds.len();
        let nft = ruleset.backend() == Some(Backend::Nft);
        self.program.whole |= whole::needs(&spec);
        self.program.looks_at_pieces |= whole::looks(&spec);
        self.program.looks_back |= odd::looks_back(&spec);
        matches::conditions(&spec, nft, &mut self.program.conds);
        let count = u16::try_from(self.program.conds.len() - first).unwrap_or(u16::MAX);
        let jump = |name: &[u8]| {
            let called = ruleset.chain_meant(rule, name)?;
            self.entries.get(&(chain.ruleset, called)).copied()
        };
        let meaning = target::meaning(&spec, &jump);
        let action = self.action(meaning);
        Rule {
            first: u32::try_from(first).unwrap_or(u32::MAX),
            count,
            chain: own,
            action,
        }
    }

    fn action(&mut self, meaning: target::Meaning) -> Action {
        use target::Meaning;
        let place = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        match meaning {
            Meaning::Plain(action) => action,
            Meaning::Reject(with) => Action::Reject(self.reject(with)),
            Meaning::Change(change) => self.change(change),
            Meaning::Beyond(why) => {
                let at = place(self.program.reasons.len());
                self.program.reasons.push(why);
                Action::Beyond(at)
            }
        }
    }

    fn change(&mut self, change: Change) -> Action {
        let at = u32::try_from(self.program.changes.len()).unwrap_or(u32::MAX);
        let is_nat = native::is_nat(&change);
        self.program.changes.push(change);
        if is_nat {
            Action::Nat(at)
        } else {
            Action::Change(at)
        }
    }

    fn reject(&mut self, with: RejectWith) -> u16 {
        let known = self.program.rejects.iter().position(|other| *other == with);
        let at = known.unwrap_or_else(|| {
            self.program.rejects.push(with);
            self.program.rejects.len() - 1
        });
        // There are some twenty ways to reject.
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    /// Puts the built-in chains to their hooks in the order of the kernel.
    fn hooks(&mut self, rulesets: &[&Ruleset], native: &[BaseChain]) {
        for hook in HOOKS {
            let mut stages: Vec<((i32, i32), Stage)> = Vec::new();
            // The first of its priority: the sort is stable.
            stages.extend(translation(hook).map(|at| ((at, i32::MIN), Stage::Translation)));
            for (at, chain) in self.program.chains.iter().enumerate() {
                let Some(ruleset) = rulesets.get(usize::from(chain.ruleset)) else {
                    continue;
                };
                let named = ruleset.chain(chain.index);
                let here = chain.policy.is_some() && named.name() == hook.chain();
                if let (true, Some(priority)) =
                    (here, priority(chain.table, hook, ruleset.backend()))
                {
                    stages.push((
                        (priority, priority),
                        Stage::Chain(u32::try_from(at).unwrap_or(u32::MAX)),
                    ));
                }
            }
            if matches!(hook, Hook::Prerouting | Hook::Output) {
                stages.push(((CONNTRACK, CONNTRACK), Stage::Conntrack));
            }
            for chain in native {
                stages.extend(self.native(chain, hook));
            }
            let family = self.program.family;
            for ruleset in rulesets.iter().filter(|one| one.family() == family) {
                for chain in native::not_printed(ruleset, hook) {
                    stages.extend(self.unprinted(&chain, hook));
                }
            }
            // Stable: chains of one priority stay in the order of the rulesets.
            stages.sort_by_key(|(priority, _)| *priority);
            if let Some(own) = self.program.hooks.get_mut(index(hook)) {
                *own = stages.into_iter().map(|(_, stage)| stage).collect();
            }
        }
    }
}

/// The rule at a place of its chain, for the way back to the ruleset.
pub(super) fn rule_at(ruleset: &Ruleset, chain: ChainIdx, position: u32) -> Option<RuleIdx> {
    ruleset.chain(chain).rules().get(position as usize).copied()
}

/// The name of the table of a chain.
pub(super) fn table_name(ruleset: &Ruleset, chain: ChainIdx) -> &str {
    let table: TableIdx = ruleset.chain(chain).table();
    ruleset.table(table).name()
}
