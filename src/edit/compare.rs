//! Two rulesets side by side: which rules stand still, which moved, came and went.
//!
//! A rule is what it says; equal rules of a chain are the same rule as long as their order allows. What
//! does not stand still is looked for again: first in its own chain, then in the others of its table, and
//! where it is found it has moved, so it keeps its counters.
//!
//! A table or a built-in chain that one side does not mention is there, empty and accepting: that is what
//! the kernel does for a packet, and what the tools print as soon as somebody looks at it.

use std::collections::{HashMap, VecDeque};

use crate::ruleset::{ChainIdx, Policy, RuleIdx, Ruleset};

use super::align::{Words, common};

/// All tables of both sides.
pub(super) struct Comparison<'a> {
    pub from: &'a Ruleset,
    pub to: &'a Ruleset,
    pub tables: Vec<TablePair<'a>>,
}

pub(super) struct TablePair<'a> {
    pub name: &'a [u8],
    pub chains: Vec<ChainPair<'a>>,
}

/// A chain by its name, on both sides.
pub(super) struct ChainPair<'a> {
    pub name: &'a [u8],
    pub builtin: bool,
    pub from: Option<ChainIdx>,
    pub to: Option<ChainIdx>,
    /// Rules that stand still: the old one and the new one.
    pub kept: Vec<(RuleIdx, RuleIdx)>,
    /// Rules that go, by their old order.
    pub removed: Vec<Removed>,
    /// Rules that come, by their new order.
    pub added: Vec<Added>,
}

pub(super) struct Removed {
    pub rule: RuleIdx,
    /// Where it stands from now on.
    pub now: Option<RuleIdx>,
}

pub(super) struct Added {
    pub rule: RuleIdx,
    /// The rule that it was.
    pub was: Option<RuleIdx>,
}

impl ChainPair<'_> {
    /// The policies, where the chain has one and both are known.
    pub fn policies(&self, from: &Ruleset, to: &Ruleset) -> Option<(Policy, Policy)> {
        if !self.builtin {
            return None;
        }
        let of = |ruleset: &Ruleset, chain: Option<ChainIdx>| match chain {
            Some(chain) => ruleset.chain(chain).policy(),
            None => Some(Policy::Accept),
        };
        Some((of(from, self.from)?, of(to, self.to)?))
    }
}

/// Compares two rulesets of one family and back end.
pub(super) fn compare<'a>(from: &'a Ruleset, to: &'a Ruleset) -> Comparison<'a> {
    let mut words = Words::default();
    let mut tables = pairs(from, to);
    for table in &mut tables {
        for chain in &mut table.chains {
            align_chain(chain, from, to, &mut words);
        }
        find_moved(table, from, to, &mut words);
    }
    Comparison { from, to, tables }
}

/// How many rules at the head of both lists, and then at their tail, say the same.
pub(super) fn equal_ends(
    (from, old): (&Ruleset, &[RuleIdx]),
    (to, new): (&Ruleset, &[RuleIdx]),
) -> (usize, usize) {
    let same = |(a, b): &(&RuleIdx, &RuleIdx)| from.says_the_same(**a, to, **b);
    let head = old.iter().zip(new).take_while(same).count();
    let old = old.get(head..).unwrap_or_default().iter().rev();
    let new = new.get(head..).unwrap_or_default().iter().rev();
    (head, old.zip(new).take_while(same).count())
}

/// The chains of both sides by name: those of `from` in their order, then those that only `to` has.
fn pairs<'a>(from: &'a Ruleset, to: &'a Ruleset) -> Vec<TablePair<'a>> {
    let mut tables: Vec<TablePair<'a>> = Vec::new();
    let names = from.tables().iter().chain(to.tables());
    for name in names.map(crate::ruleset::Table::name_bytes) {
        if tables.iter().any(|table| table.name == name) {
            continue;
        }
        let (in_from, in_to) = (from.table_named(name), to.table_named(name));
        let chain_pair = |name, from_chain: Option<ChainIdx>, to_chain: Option<ChainIdx>| {
            let is_builtin = |set: &Ruleset, chain: Option<ChainIdx>| {
                chain.is_some_and(|chain| set.chain(chain).is_builtin())
            };
            ChainPair {
                name,
                builtin: is_builtin(from, from_chain) || is_builtin(to, to_chain),
                from: from_chain,
                to: to_chain,
                kept: Vec::new(),
                removed: Vec::new(),
                added: Vec::new(),
            }
        };
        let mut chains = Vec::new();
        for index in in_from.map_or(&[][..], |table| from.table(table).chains()) {
            let name = from.chain(*index).name_bytes();
            let other = in_to.and_then(|table| to.chain_named(table, name));
            chains.push(chain_pair(name, Some(*index), other));
        }
        for index in in_to.map_or(&[][..], |table| to.table(table).chains()) {
            let name = to.chain(*index).name_bytes();
            if in_from
                .and_then(|table| from.chain_named(table, name))
                .is_none()
            {
                chains.push(chain_pair(name, None, Some(*index)));
            }
        }
        tables.push(TablePair { name, chains });
    }
    tables
}

fn align_chain<'a>(
    chain: &mut ChainPair<'a>,
    from: &'a Ruleset,
    to: &'a Ruleset,
    words: &mut Words<'a>,
) {
    let old = chain
        .from
        .map_or(&[][..], |chain| from.chain(chain).rules());
    let new = chain.to.map_or(&[][..], |chain| to.chain(chain).rules());
    // Most chains are the same on both sides, and most of those that are not are but for a few rules.
    let (head, tail) = equal_ends((from, old), (to, new));
    let (old_tail, new_tail) = (old.len() - tail, new.len() - tail);
    let mut numbers = |set: &'a Ruleset, rules: Option<&[RuleIdx]>| -> Vec<u32> {
        let rules = rules.unwrap_or_default().iter();
        rules
            .map(|rule| words.number(set.rule_text(*rule)))
            .collect()
    };
    let old_words = numbers(from, old.get(head..old_tail));
    let new_words = numbers(to, new.get(head..new_tail));
    let middle = common(&old_words, &new_words).into_iter();
    let standing = ((0..head).map(|at| (at, at)))
        .chain(middle.map(|(a, b)| (head + a, head + b)))
        .chain((old_tail..old.len()).zip(new_tail..new.len()));
    let (mut at_old, mut at_new) = (0, 0);
    let removed = |rules: Option<&[RuleIdx]>, into: &mut Vec<Removed>| {
        let rules = rules.unwrap_or_default().iter();
        into.extend(rules.map(|rule| Removed {
            rule: *rule,
            now: None,
        }));
    };
    let added = |rules: Option<&[RuleIdx]>, into: &mut Vec<Added>| {
        let rules = rules.unwrap_or_default().iter();
        into.extend(rules.map(|rule| Added {
            rule: *rule,
            was: None,
        }));
    };
    for (a, b) in standing {
        removed(old.get(at_old..a), &mut chain.removed);
        added(new.get(at_new..b), &mut chain.added);
        if let (Some(old), Some(new)) = (old.get(a), new.get(b)) {
            chain.kept.push((*old, *new));
        }
        (at_old, at_new) = (a + 1, b + 1);
    }
    removed(old.get(at_old..), &mut chain.removed);
    added(new.get(at_new..), &mut chain.added);
}

/// Joins rules that went with equal rules that came: in one chain first, then across the table.
fn find_moved<'a>(
    table: &mut TablePair<'_>,
    from: &'a Ruleset,
    to: &'a Ruleset,
    words: &mut Words<'a>,
) {
    for chain in &mut table.chains {
        let mut gone: HashMap<u32, VecDeque<usize>> = HashMap::new();
        for (at, removed) in chain.removed.iter().enumerate() {
            let word = words.number(from.rule_text(removed.rule));
            gone.entry(word).or_default().push_back(at);
        }
        for added in &mut chain.added {
            let word = words.number(to.rule_text(added.rule));
            let found = gone.get_mut(&word).and_then(VecDeque::pop_front);
            if let Some(removed) = found.and_then(|at| chain.removed.get_mut(at)) {
                removed.now = Some(added.rule);
                added.was = Some(removed.rule);
            }
        }
    }
    let mut gone: HashMap<u32, VecDeque<(usize, usize)>> = HashMap::new();
    for (index, chain) in table.chains.iter().enumerate() {
        for (at, removed) in chain
            .removed
            .iter()
            .enumerate()
            .filter(|(_, r)| r.now.is_none())
        {
            let word = words.number(from.rule_text(removed.rule));
            gone.entry(word).or_default().push_back((index, at));
        }
    }
    for index in 0..table.chains.len() {
        let count = table.chains.get(index).map_or(0, |chain| chain.added.len());
        for at in 0..count {
            let Some(added) = table
                .chains
                .get(index)
                .and_then(|chain| chain.added.get(at))
            else {
                continue;
            };
            let rule = added.rule;
            if added.was.is_some() {
                continue;
            }
            let word = words.number(to.rule_text(rule));
            let found = gone.get_mut(&word).and_then(VecDeque::pop_front);
            let Some((from_chain, from_at)) = found else {
                continue;
            };
            let removed = table
                .chains
                .get_mut(from_chain)
                .and_then(|c| c.removed.get_mut(from_at));
            let was = removed.map(|removed| {
                removed.now = Some(rule);
                removed.rule
            });
            if let Some(added) = table
                .chains
                .get_mut(index)
                .and_then(|c| c.added.get_mut(at))
            {
                added.was = was;
            }
        }
    }
}
