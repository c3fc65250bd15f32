//! Which chain of one ruleset is called otherwise in the other.
//!
//! The tools cannot rename a chain in a transaction, so a renamed chain is a new one with the old one's
//! rules, and every jump to it is a new rule. To the packets they are the same rules: here is found out
//! which, so that they go on counting. A guess that is wrong costs nothing but a counter that belongs to
//! an equal rule, so it is made only where most of the rules agree.

use std::collections::{HashMap, HashSet};

use crate::ruleset::{ChainIdx, RuleIdx, Ruleset, jump_in};

use super::compare::TablePair;

/// How many pairs of chains are looked at: a person renames one or two, a program that rewrites its
/// thousands gives them no heirs.
const PAIRS: usize = 256;

/// Pairs of chains, by position in the table: one that went and the one that it became.
pub(super) fn renamed(table: &TablePair<'_>, from: &Ruleset, to: &Ruleset) -> Vec<(usize, usize)> {
    let gone = |at: &usize| {
        table
            .chains
            .get(*at)
            .is_some_and(|c| c.to.is_none() && !c.builtin)
    };
    let came = |at: &usize| {
        table
            .chains
            .get(*at)
            .is_some_and(|c| c.from.is_none() && !c.builtin)
    };
    let gone: Vec<usize> = (0..table.chains.len()).filter(gone).collect();
    let came: Vec<usize> = (0..table.chains.len()).filter(came).collect();
    if gone.len() * came.len() > PAIRS {
        return Vec::new();
    }
    let rules = |set: &'_ Ruleset, chain: Option<ChainIdx>| -> Vec<RuleIdx> {
        chain.map_or(Vec::new(), |chain| set.chain(chain).rules().to_vec())
    };
    let mut pairs = Vec::new();
    let mut taken: HashSet<usize> = HashSet::new();
    for old in &gone {
        let Some(old_rules) = table.chains.get(*old).map(|chain| rules(from, chain.from)) else {
            continue;
        };
        let texts: HashSet<_> = old_rules.iter().map(|rule| from.rule_text(*rule)).collect();
        let mut best: Option<(usize, usize)> = None;
        for new in came.iter().filter(|new| !taken.contains(new)) {
            let new_rules = table.chains.get(*new).map(|chain| rules(to, chain.to));
            let new_rules = new_rules.unwrap_or_default();
            let alike = new_rules
                .iter()
                .filter(|rule| texts.contains(&to.rule_text(**rule)));
            let alike = alike.count();
            let only = gone.len() == 1 && came.len() == 1;
            let agree = 2 * alike >= old_rules.len().max(new_rules.len());
            if agree && (alike > 0 || only) && best.is_none_or(|(_, count)| alike > count) {
                best = Some((*new, alike));
            }
        }
        if let Some((new, _)) = best {
            taken.insert(new);
            pairs.push((*old, new));
        }
    }
    pairs
}

/// Joins rules that jumped to the old name with those that are the same but for the new one.
pub(super) fn find_retargeted(
    table: &mut TablePair<'_>,
    from: &Ruleset,
    to: &Ruleset,
    renamed: &[(usize, usize)],
) {
    let name = |at: usize| table.chains.get(at).map(|chain| chain.name);
    let names: HashMap<&[u8], &[u8]> = renamed
        .iter()
        .filter_map(|(old, new)| Some((name(*old)?, name(*new)?)))
        .collect();
    if names.is_empty() {
        return;
    }
    for chain in &mut table.chains {
        let mut gone: HashMap<Vec<u8>, Vec<RuleIdx>> = HashMap::new();
        for removed in chain
            .removed
            .iter()
            .rev()
            .filter(|removed| removed.now.is_none())
        {
            let text = retargeted(&from.rule_text(removed.rule), &names);
            if let Some(text) = text {
                gone.entry(text).or_default().push(removed.rule);
            }
        }
        for added in chain.added.iter_mut().filter(|added| added.was.is_none()) {
            let found = gone.get_mut(&*to.rule_text(added.rule)).and_then(Vec::pop);
            added.counts_on = found.or(added.counts_on);
        }
    }
}

/// The text with the new name; `None` where it jumps to no renamed chain.
fn retargeted(text: &[u8], names: &HashMap<&[u8], &[u8]>) -> Option<Vec<u8>> {
    let (at, _) = jump_in(text)?;
    let new = names.get(text.get(at.clone())?)?;
    Some([text.get(..at.start)?, new, text.get(at.end..)?].concat())
}
