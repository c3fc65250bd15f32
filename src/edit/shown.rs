//! What the screen shows of a stage: the rules that the kernel would hold, and in their old places those
//! that it would not hold any more.
//!
//! The union is an ordinary [`Ruleset`], so whatever draws, searches or explains a ruleset draws this
//! one; parallel to its rules and chains stands what was done to each.

use std::sync::Arc;

use crate::ruleset::{
    Assembly, ChainIdx, ChainParts, Counters, Policy, RuleIdx, RuleParts, Ruleset,
};

use super::RowId;
use super::draft::{ChainId, Draft, DraftChain, Entry, Standing};
use super::marks::moved_rows;

/// What was done to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// Nothing.
    Same,
    /// It stands elsewhere.
    Moved,
    /// The kernel does not hold it yet.
    New,
    /// It says something else; it may have been moved as well.
    Changed,
    /// It goes.
    Deleted,
    /// It goes, or is gone, and is kept on the shelf.
    Disabled,
}

/// One rule of the union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownRow {
    /// Which row it is, for operations.
    pub id: RowId,
    /// What was done to it.
    pub mark: Mark,
    /// The rule of the base that it is: whose counters, heat and handle are its own.
    pub base: Option<RuleIdx>,
    /// Its number in the staged chain, from 1; `None` for a row that the kernel will not hold.
    pub number: Option<u32>,
    /// Its counters will start from zero, by [`ZeroRule`](super::Operation::ZeroRule) or its chain's.
    pub zeroed: bool,
}

/// What was done to a chain, its rules aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainMark {
    /// Nothing.
    Same,
    /// The kernel does not hold it yet.
    New,
    /// It had that name.
    Renamed {
        /// The name in the base.
        from: Box<[u8]>,
    },
    /// It goes, with its rules.
    Deleted,
    /// It had that policy; `None`: one that is not known.
    PolicyChanged {
        /// The policy in the base.
        from: Option<Policy>,
    },
}

/// One chain of the union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownChain {
    /// What was done to it.
    pub mark: ChainMark,
    /// The chain of the base that it is.
    pub base: Option<ChainIdx>,
    /// Why nothing can be done to it.
    pub locked: Option<Arc<str>>,
    /// Its policy's counters, and those of its rules, will start from zero.
    pub zeroed: bool,
}

/// The union of what is and what will be.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Deleted and disabled rules stand in it as ordinary ones.
    pub ruleset: Arc<Ruleset>,
    /// Parallel to the rules of the ruleset.
    pub rows: Vec<ShownRow>,
    /// Parallel to its chains.
    pub chains: Vec<ShownChain>,
    /// Rules and chains that are not as the base and the shelf have them.
    pub(super) changes: usize,
    /// Something stands in it that the kernel will not hold.
    pub(super) has_ghosts: bool,
}

impl Shown {
    /// The row of a rule of the union.
    pub fn row(&self, rule: RuleIdx) -> Option<&ShownRow> {
        self.rows.get(rule.0 as usize)
    }

    /// The rule of the union that a row is.
    pub fn rule_of(&self, row: RowId) -> Option<RuleIdx> {
        let at = self.rows.iter().position(|shown| shown.id == row)?;
        u32::try_from(at).ok().map(RuleIdx)
    }
}

/// The union.
pub(super) fn show(draft: &Draft) -> Shown {
    let mut shown = Shown {
        ruleset: Arc::clone(&draft.base),
        rows: Vec::with_capacity(draft.base.rule_count() + 16),
        chains: Vec::with_capacity(draft.chains.len()),
        changes: 0,
        has_ghosts: false,
    };
    let is_there = |chain: &DraftChain| chain.base.is_some() || !chain.head.gone;
    let mut tell = |made: Made<'_>| match made {
        Made::Chain(chain) => {
            shown.has_ghosts |= chain.head.gone;
            shown.push_chain(shown_chain(draft, chain));
        }
        Made::Rules(id) => shown.push_rows(draft, id),
    };
    let made = assemble(draft, &is_there, &mut tell, true);
    if shown.changes == 0 && !shown.has_ghosts {
        return show_base(draft);
    }
    shown.ruleset = Arc::new(made);
    shown
}

/// The base, where nothing is done to it.
pub(super) fn show_base(draft: &Draft) -> Shown {
    let base = &draft.base;
    let row = |rule| ShownRow {
        id: draft.id_of(rule).unwrap_or(RowId(u32::MAX)),
        mark: Mark::Same,
        base: Some(rule),
        number: Some(base.number(rule)),
        zeroed: false,
    };
    let chains = draft.chains.iter().filter(|chain| chain.base.is_some());
    Shown {
        ruleset: Arc::clone(base),
        rows: base.rules().map(row).collect(),
        chains: chains.map(|chain| shown_chain(draft, chain)).collect(),
        changes: 0,
        has_ghosts: false,
    }
}

impl Shown {
    fn push_chain(&mut self, chain: ShownChain) {
        self.changes += usize::from(chain.mark != ChainMark::Same || chain.zeroed);
        self.chains.push(chain);
    }

    fn push_rows(&mut self, draft: &Draft, id: ChainId) {
        let Some(chain) = draft.chain(id) else { return };
        let moved = moved_rows(draft, id);
        let mut number = 0;
        for (at, entry) in draft.entries(id).enumerate() {
            let mark = match entry.standing {
                Standing::Deleted => Mark::Deleted,
                Standing::Disabled => Mark::Disabled,
                Standing::Stands => standing_mark(draft, &entry, moved.get(at) == Some(&true)),
            };
            let stands = entry.standing == Standing::Stands;
            number += u32::from(stands);
            self.has_ghosts |= !stands;
            let is_as_shelved = mark == Mark::Disabled
                && !entry.moved
                && draft.shelved_as(entry.id) == Some(entry.text);
            let changed = (mark != Mark::Same && !is_as_shelved) || entry.zeroed;
            self.changes += usize::from(changed);
            self.rows.push(ShownRow {
                id: entry.id,
                mark,
                base: draft.base_of(entry.id),
                number: stands.then_some(number),
                zeroed: stands && (entry.zeroed || chain.head.zeroed),
            });
        }
    }
}

/// What the kernel would hold.
pub(super) fn stage(draft: &Draft) -> Ruleset {
    assemble(
        draft,
        &|chain: &DraftChain| !chain.head.gone,
        &mut |_| {},
        false,
    )
}

enum Made<'a> {
    Chain(&'a DraftChain),
    Rules(ChainId),
}

fn assemble(
    draft: &Draft,
    is_there: &dyn Fn(&DraftChain) -> bool,
    tell: &mut dyn FnMut(Made<'_>),
    ghosts: bool,
) -> Ruleset {
    let counters = draft.base.saved_counters();
    let mut assembly = Assembly::like(&draft.base);
    for (index, table) in draft.tables.iter().enumerate() {
        let chains: Vec<(ChainId, &DraftChain)> = table
            .chains
            .iter()
            .filter_map(|id| Some((*id, draft.chain(*id)?)))
            .filter(|(_, chain)| is_there(chain))
            .collect();
        if chains.is_empty() && index >= draft.base.tables().len() {
            continue;
        }
        assembly.table(&table.name);
        let mut made = Vec::with_capacity(chains.len());
        for (_, chain) in &chains {
            tell(Made::Chain(chain));
            let counted = chain
                .base
                .map_or(Counters::default(), |base| counters.policy(base));
            made.push(assembly.chain(&ChainParts {
                name: &chain.head.name,
                policy: chain.head.policy,
                builtin: chain.builtin,
                counters: if chain.head.zeroed {
                    Counters::default()
                } else {
                    counted
                },
                zeroed: chain.head.zeroed,
            }));
        }
        for ((id, chain), to) in chains.iter().zip(made) {
            tell(Made::Rules(*id));
            for entry in draft.entries(*id) {
                if !ghosts && entry.standing != Standing::Stands {
                    continue;
                }
                let zeroed = entry.zeroed || chain.head.zeroed;
                let base = draft.base_of(entry.id).filter(|_| !zeroed);
                let same_text = |rule: &RuleIdx| draft.says_the_same(*rule, entry.text);
                let counted = base.filter(same_text).map(|rule| counters.rule(rule));
                assembly.rule(
                    to,
                    &RuleParts {
                        spec: draft.text(entry.text),
                        counters: counted.unwrap_or_default(),
                        zeroed,
                    },
                );
            }
        }
    }
    assembly.finish()
}

fn shown_chain(draft: &Draft, chain: &DraftChain) -> ShownChain {
    let head = &chain.head;
    let base = chain.base.map(|base| draft.base.chain(base));
    let mark = match base {
        None => ChainMark::New,
        Some(_) if head.gone => ChainMark::Deleted,
        Some(base) if base.name_bytes() != &*head.name => ChainMark::Renamed {
            from: base.name_bytes().into(),
        },
        Some(base) if base.policy() != head.policy => ChainMark::PolicyChanged {
            from: base.policy(),
        },
        Some(_) => ChainMark::Same,
    };
    let table = draft.tables.get(chain.table);
    ShownChain {
        mark,
        base: chain.base,
        locked: chain.locked.clone().or_else(|| table?.locked.clone()),
        zeroed: head.zeroed,
    }
}

fn standing_mark(draft: &Draft, entry: &Entry, moved: bool) -> Mark {
    match draft.base_of(entry.id) {
        None => Mark::New,
        Some(base) if !draft.says_the_same(base, entry.text) => Mark::Changed,
        Some(_) if moved => Mark::Moved,
        Some(_) => Mark::Same,
    }
}
