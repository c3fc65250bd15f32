//! Sees to it that a merged table can be loaded.
//!
//! Each side on its own could be: what the two make together need not. A chain that we took out may be
//! jumped to by a rule that others added; a rule that we added may jump to a chain that others took out;
//! and two jumps that are each harmless may close a loop. What others have stays, ours gives way, and
//! that is said.

use std::collections::HashMap;

use crate::ruleset::{Ruleset, jump_in};

use super::rules::Merged;
use super::{MergedTable, Remark, RuleName};

/// Settles one table.
pub(super) fn settle(
    table: &mut MergedTable,
    ours: &Ruleset,
    theirs: &Ruleset,
    remarks: &mut Vec<Remark>,
) {
    let texts = Texts { ours, theirs };
    keep_chains_in_use(table, &texts, remarks);
    drop_jumps_into_nothing(table, &texts, remarks);
    drop_loops(table, &texts, remarks);
}

struct Texts<'a> {
    ours: &'a Ruleset,
    theirs: &'a Ruleset,
}

impl<'a> Texts<'a> {
    fn of(&self, rule: &Merged) -> std::borrow::Cow<'a, [u8]> {
        match (rule.theirs, rule.ours) {
            (Some(theirs), _) => self.theirs.rule_text(theirs),
            (None, Some(ours)) => self.ours.rule_text(ours),
            (None, None) => std::borrow::Cow::Borrowed(b""),
        }
    }

    /// The name after `-j` or `-g`.
    fn target(&self, rule: &Merged) -> Option<Vec<u8>> {
        let text = self.of(rule);
        let (at, _) = jump_in(&text)?;
        text.get(at).map(<[u8]>::to_vec)
    }
}

/// A chain that we took out stays where others put rules into it or jump to it.
fn keep_chains_in_use(table: &mut MergedTable, texts: &Texts<'_>, remarks: &mut Vec<Remark>) {
    if !table.chains.iter().any(|chain| chain.goes) {
        return;
    }
    let mut kept: Vec<(usize, &'static str)> = Vec::new();
    for (at, chain) in table.chains.iter().enumerate().filter(|(_, c)| c.goes) {
        if !chain.rules.is_empty() {
            kept.push((at, "others put rules into it"));
        }
    }
    let going: HashMap<&[u8], usize> = (table.chains.iter().enumerate())
        .filter(|(_, chain)| chain.goes && chain.rules.is_empty())
        .map(|(at, chain)| (&*chain.name, at))
        .collect();
    let mut used: Vec<usize> = Vec::new();
    for rule in table.chains.iter().flat_map(|chain| &chain.rules) {
        let target = texts.target(rule);
        let to = target.and_then(|target| going.get(target.as_slice()).copied());
        used.extend(to.filter(|to| !used.contains(to)));
    }
    kept.extend(
        used.into_iter()
            .map(|at| (at, "rules of others jump to it")),
    );
    for (at, why) in kept {
        if let Some(chain) = table.chains.get_mut(at) {
            chain.goes = false;
            remarks.push(Remark::ChainKept {
                table: table.name.clone(),
                chain: chain.name.clone(),
                why,
            });
        }
    }
}

/// A rule of ours goes where the chain that it meant is not there.
fn drop_jumps_into_nothing(table: &mut MergedTable, texts: &Texts<'_>, remarks: &mut Vec<Remark>) {
    let there: Vec<Vec<u8>> = table.by_name().keys().map(|name| name.to_vec()).collect();
    let there: std::collections::HashSet<Vec<u8>> = there.into_iter().collect();
    for chain in &mut table.chains {
        let name = chain.name.clone();
        chain.rules.retain(|rule| {
            let Some(ours) = rule.ours.filter(|_| rule.placed) else {
                return true;
            };
            let meant = texts
                .ours
                .jump(ours)
                .is_some_and(|jump| jump.chain.is_some());
            let lost = meant
                && texts
                    .target(rule)
                    .is_some_and(|target| !there.contains(&target));
            if lost {
                remarks.push(Remark::JumpsNowhere(RuleName {
                    table: table.name.clone(),
                    chain: name.clone(),
                    spec: texts.of(rule).into(),
                }));
            }
            !lost
        });
    }
}

/// The calls of a table: for each chain the chains that it calls, with the position of the rule.
fn calls(table: &MergedTable, texts: &Texts<'_>) -> Vec<Vec<(usize, usize)>> {
    let by_name = table.by_name();
    let of_chain = |chain: &super::MergedChain| {
        let rules = chain.rules.iter().enumerate().filter(|_| !chain.goes);
        let to = |rule| by_name.get(texts.target(rule)?.as_slice()).copied();
        rules
            .filter_map(|(at, rule)| Some((to(rule)?, at)))
            .collect()
    };
    table.chains.iter().map(of_chain).collect()
}

/// Chains on a loop, or between two: what is left when chains without calls are taken away again and
/// again, and chains without callers.
fn on_loops(calls: &[Vec<(usize, usize)>]) -> Vec<bool> {
    let mut callers: Vec<Vec<usize>> = vec![Vec::new(); calls.len()];
    let mut called: Vec<Vec<usize>> = vec![Vec::new(); calls.len()];
    for (from, targets) in calls.iter().enumerate() {
        for (to, _) in targets {
            if let (Some(callers), Some(called)) = (callers.get_mut(*to), called.get_mut(from)) {
                callers.push(from);
                called.push(*to);
            }
        }
    }
    let (up, down) = (peel(&called, &callers), peel(&callers, &called));
    up.into_iter()
        .zip(down)
        .map(|(up, down)| up && down)
        .collect()
}

/// What is left when those without any `next` are taken away again and again.
fn peel(next: &[Vec<usize>], previous: &[Vec<usize>]) -> Vec<bool> {
    let mut left: Vec<usize> = next.iter().map(Vec::len).collect();
    let mut free: Vec<usize> = (0..next.len())
        .filter(|at| left.get(*at) == Some(&0))
        .collect();
    while let Some(at) = free.pop() {
        for from in previous.get(at).into_iter().flatten() {
            if let Some(count) = left.get_mut(*from) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    free.push(*from);
                }
            }
        }
    }
    left.into_iter().map(|count| count > 0).collect()
}

/// Takes out rules of ours until no loop is left.
fn drop_loops(table: &mut MergedTable, texts: &Texts<'_>, remarks: &mut Vec<Remark>) {
    let by_name = table.by_name();
    let jumps = |rule: &Merged| {
        let target = rule.placed.then(|| texts.target(rule)).flatten();
        target.is_some_and(|target| by_name.contains_key(target.as_slice()))
    };
    if !table
        .chains
        .iter()
        .flat_map(|chain| &chain.rules)
        .any(jumps)
    {
        return;
    }
    loop {
        let calls = calls(table, texts);
        let looping = on_loops(&calls);
        let is_looping = |at: usize| looping.get(at) == Some(&true);
        let found = calls
            .iter()
            .enumerate()
            .filter(|(at, _)| is_looping(*at))
            .find_map(|(from, to)| {
                let chain = table.chains.get(from)?;
                let placed = |at: &usize| chain.rules.get(*at).is_some_and(|rule| rule.placed);
                let (_, at) = to.iter().find(|(to, at)| is_looping(*to) && placed(at))?;
                Some((from, *at))
            });
        let Some((chain, at)) = found else { return };
        let Some(chain) = table.chains.get_mut(chain) else {
            return;
        };
        let rule = chain.rules.remove(at);
        remarks.push(Remark::MakesLoop(RuleName {
            table: table.name.clone(),
            chain: chain.name.clone(),
            spec: texts.of(&rule).into(),
        }));
    }
}
