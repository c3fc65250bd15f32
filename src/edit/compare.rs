//! Two rulesets side by side: which rules stand still, which moved, came and went.
//!
//! A rule is what it says; equal rules of a chain are the same rule as long as their order allows. What
//! does not stand still is looked for again: first in its own chain, then in the others of its table, and
//! where it is found it has moved, so it keeps its counters.
//!
//! A table or a built-in chain that one side does not mention is there, empty and accepting: that is what
//! the kernel does for a packet, and what the tools print as soon as somebody looks at it.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::ruleset::{ChainIdx, Policy, RuleIdx, Ruleset};

use super::align::{Words, common_of_few, common_pinned};
use super::renames::{find_retargeted, renamed};
use super::trace::Trace;

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
    /// The rule whose packets it goes on counting: what it was, or the one that it is but for the new name
    /// of the chain that it jumps to.
    pub counts_on: Option<RuleIdx>,
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
    compare_pinned(from, to, &HashSet::new())
}

/// The same; of rules that change places, those of these texts stand still where they can.
pub(super) fn compare_pinned<'a>(
    from: &'a Ruleset,
    to: &'a Ruleset,
    pinned: &HashSet<Vec<u8>>,
) -> Comparison<'a> {
    let mut words = Words::default();
    compare_with(from, to, &mut words, &mut |chain, words| {
        align_chain(chain, from, to, pinned, words);
    })
}

/// The same, of rules that are known to be the same or not.
pub(super) fn compare_traced<'a>(
    from: &'a Ruleset,
    to: &'a Ruleset,
    pinned: &HashSet<Vec<u8>>,
    trace: &Trace,
) -> Comparison<'a> {
    let mut words = Words::default();
    compare_with(from, to, &mut words, &mut |chain, _| {
        let old = (chain.from).map_or(&[][..], |chain| from.chain(chain).rules());
        let new = chain.to.map_or(&[][..], |chain| to.chain(chain).rules());
        let stays = |rule: &RuleIdx| {
            trace.fixed.contains(rule)
                || trace.still.contains(rule)
                || pinned.contains(&*from.rule_text(*rule))
        };
        let still: HashSet<u32> = old.iter().filter(|r| stays(r)).map(|r| r.0).collect();
        let old_numbers: Vec<u32> = old.iter().map(|rule| rule.0).collect();
        let number = |(at, rule): (u32, &RuleIdx)| {
            let was = trace.was.get(rule.0 as usize).copied().flatten();
            was.map_or(u32::MAX - at, |was| was.0)
        };
        let new_numbers: Vec<u32> = (0..).zip(new).map(number).collect();
        let standing = common_pinned(&old_numbers, &new_numbers, &still);
        sort_out(chain, old, new, standing.into_iter());
    })
}

fn compare_with<'a>(
    from: &'a Ruleset,
    to: &'a Ruleset,
    words: &mut Words<'a>,
    align: &mut dyn FnMut(&mut ChainPair<'a>, &mut Words<'a>),
) -> Comparison<'a> {
    let mut tables = pairs(from, to);
    for table in &mut tables {
        for chain in &mut table.chains {
            align(chain, words);
        }
        let renamed = renamed(table, from, to);
        find_moved(table, from, to, &renamed, words);
        find_retargeted(table, from, to, &renamed);
    }
    Comparison { from, to, tables }
}

/// The rules that stand in both, old and new, where they were or elsewhere in their chain.
pub(super) fn same_rules(from: &Ruleset, to: &Ruleset) -> Vec<(RuleIdx, RuleIdx)> {
    let comparison = compare(from, to);
    let chains = comparison.tables.iter().flat_map(|table| &table.chains);
    let pairs = chains.flat_map(|chain| {
        let moved = chain.removed.iter();
        let moved = moved.filter_map(|removed| Some((removed.rule, removed.now?)));
        chain.kept.iter().copied().chain(moved)
    });
    pairs.collect()
}

/// `reread` with those rules and chains to be counted from zero that are so in `staged`: what was staged, in
/// the words in which a back end printed it. Both hold the same rules, or nearly.
pub fn zero_as(staged: &Ruleset, reread: Ruleset) -> Ruleset {
    if staged.zeroed_rules().is_empty() && staged.zeroed_chains().is_empty() {
        return reread;
    }
    let (mut rules, mut chains) = (Vec::new(), Vec::new());
    for chain in compare(staged, &reread)
        .tables
        .iter()
        .flat_map(|table| &table.chains)
    {
        let kept = chain.kept.iter().filter(|(old, _)| staged.is_zeroed(*old));
        rules.extend(kept.map(|(_, new)| *new));
        if chain
            .from
            .is_some_and(|chain| staged.is_chain_zeroed(chain))
        {
            chains.extend(chain.to);
        }
    }
    reread.counting_anew(rules, chains)
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

/// Aligns two lists of rules: by comparing them where they differ in few places, else by the numbers of
/// their texts.
fn align_middle<'a>(
    (from, old): (&'a Ruleset, &[RuleIdx]),
    (to, new): (&'a Ruleset, &[RuleIdx]),
    pinned: &HashSet<Vec<u8>>,
    words: &mut Words<'a>,
) -> Vec<(usize, usize)> {
    if pinned.is_empty() {
        let mut same = |a: usize, b: usize| match (old.get(a), new.get(b)) {
            (Some(a), Some(b)) => from.says_the_same(*a, to, *b),
            _ => false,
        };
        if let Some(pairs) = common_of_few(old.len(), new.len(), &mut same) {
            return pairs;
        }
    }
    let mut numbers = |set: &'a Ruleset, rules: &[RuleIdx]| -> Vec<u32> {
        let numbers = rules.iter().map(|rule| words.number(set.rule_text(*rule)));
        numbers.collect()
    };
    let old = numbers(from, old);
    let new = numbers(to, new);
    let pinned = pinned.iter().map(|text| words.number(text.clone().into()));
    let pinned: HashSet<u32> = pinned.collect();
    common_pinned(&old, &new, &pinned)
}

fn align_chain<'a>(
    chain: &mut ChainPair<'a>,
    from: &'a Ruleset,
    to: &'a Ruleset,
    pinned: &HashSet<Vec<u8>>,
    words: &mut Words<'a>,
) {
    let old = chain
        .from
        .map_or(&[][..], |chain| from.chain(chain).rules());
    let new = chain.to.map_or(&[][..], |chain| to.chain(chain).rules());
    // Most chains are the same on both sides, and most of those that are not are but for a few rules.
    let (head, tail) = equal_ends((from, old), (to, new));
    let (old_tail, new_tail) = (old.len() - tail, new.len() - tail);
    let old_middle = old.get(head..old_tail).unwrap_or_default();
    let new_middle = new.get(head..new_tail).unwrap_or_default();
    let middle = align_middle((from, old_middle), (to, new_middle), pinned, words).into_iter();
    let standing = ((0..head).map(|at| (at, at)))
        .chain(middle.map(|(a, b)| (head + a, head + b)))
        .chain((old_tail..old.len()).zip(new_tail..new.len()));
    sort_out(chain, old, new, standing);
}

/// What stands still, by position in both, and so what goes and what comes.
fn sort_out(
    chain: &mut ChainPair<'_>,
    old: &[RuleIdx],
    new: &[RuleIdx],
    standing: impl Iterator<Item = (usize, usize)>,
) {
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
            counts_on: None,
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

/// Joins rules that went with equal rules that came: in one chain first, then from a chain to the one
/// that it is called now, then across the table.
fn find_moved<'a>(
    table: &mut TablePair<'_>,
    from: &'a Ruleset,
    to: &'a Ruleset,
    renamed: &[(usize, usize)],
    words: &mut Words<'a>,
) {
    let same = (0..table.chains.len()).map(|at| (at, at));
    for (old, new) in same.chain(renamed.iter().copied()).collect::<Vec<_>>() {
        join(table, &[old], &[new], from, to, words);
    }
    let all: Vec<usize> = (0..table.chains.len()).collect();
    join(table, &all, &all, from, to, words);
}

/// Joins rules that went from these chains with equal rules that came to those, in their order.
fn join<'a>(
    table: &mut TablePair<'_>,
    old: &[usize],
    new: &[usize],
    from: &'a Ruleset,
    to: &'a Ruleset,
    words: &mut Words<'a>,
) {
    let mut gone: HashMap<u32, VecDeque<(usize, usize)>> = HashMap::new();
    for index in old {
        let removed = table
            .chains
            .get(*index)
            .map_or(&[][..], |chain| &chain.removed);
        for (at, removed) in removed.iter().enumerate().filter(|(_, r)| r.now.is_none()) {
            let word = words.number(from.rule_text(removed.rule));
            gone.entry(word).or_default().push_back((*index, at));
        }
    }
    if gone.is_empty() {
        return;
    }
    for index in new {
        let added = table
            .chains
            .get(*index)
            .map_or(&[][..], |chain| &chain.added);
        let mut found = Vec::new();
        for (at, added) in added.iter().enumerate().filter(|(_, a)| a.was.is_none()) {
            let word = words.number(to.rule_text(added.rule));
            let removed = gone.get_mut(&word).and_then(VecDeque::pop_front);
            found.extend(removed.map(|removed| (at, added.rule, removed)));
        }
        for (at, rule, (from_chain, from_at)) in found {
            let from_chain = table.chains.get_mut(from_chain);
            let Some(removed) = from_chain.and_then(|chain| chain.removed.get_mut(from_at)) else {
                continue;
            };
            removed.now = Some(rule);
            let was = Some(removed.rule);
            let chain = table.chains.get_mut(*index);
            if let Some(added) = chain.and_then(|chain| chain.added.get_mut(at)) {
                added.was = was;
                added.counts_on = was;
            }
        }
    }
}
