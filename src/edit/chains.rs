//! Operations on chains, worked out as changes of a draft.
//!
//! The rules are the kernel's: a built-in chain has a policy and keeps its name, a user chain has neither
//! policy nor is it deleted while a rule jumps to it. Two liberties are taken, and shown: a chain that
//! is deleted takes its rules with it, and one that is renamed takes its jumps with it.

use std::sync::Arc;

use crate::ruleset::{Policy, builtin_chains, jump_in};

use super::ChainName;
use super::carry::{FIRST_POLICY, Plan, chain_for, free, named_callers};
use super::check::{check_name, unwritable};
use super::draft::{ChainId, Change, Draft, Entry, Head, Standing};
use super::graph::callers;
use super::refused::{Refused, shown};

/// A chain that stands and may be changed.
fn standing(draft: &Draft, name: &ChainName) -> Result<ChainId, Refused> {
    let found = draft
        .find_table(&name.table)
        .and_then(|table| draft.standing_chain(table, &name.chain));
    let chain = found.ok_or_else(|| Refused::NoSuchChain {
        table: shown(&name.table),
        chain: shown(&name.chain),
    })?;
    free(draft, chain)?;
    Ok(chain)
}

fn user_chain(draft: &Draft, name: &ChainName, tried: &'static str) -> Result<ChainId, Refused> {
    let chain = standing(draft, name)?;
    if draft.chain(chain).is_some_and(|held| held.builtin) {
        return Err(Refused::BuiltIn {
            chain: shown(&name.chain),
            tried,
        });
    }
    Ok(chain)
}

fn head_change(draft: &Draft, chain: ChainId, change: impl FnOnce(&mut Head)) -> Option<Change> {
    let old = draft.chain(chain)?.head.clone();
    let mut new = old.clone();
    change(&mut new);
    Some(Change::Head { chain, old, new })
}

/// Makes a table with its built-in chains, where it lacks them; the chains that come.
pub(super) fn with_table(draft: &mut Draft, table: &[u8], plan: &mut Plan) -> Vec<ChainId> {
    let index = draft.table_or_new(table);
    let mut made = Vec::new();
    for name in builtin_chains(table) {
        if draft.find_chain(index, name.as_bytes()).is_some() {
            continue;
        }
        let chain = draft.absent_chain(index, name.as_bytes(), Some(FIRST_POLICY));
        plan.changes
            .extend(head_change(draft, chain, |head| head.gone = false));
        made.push(chain);
    }
    made
}

pub(super) fn set_policy(
    draft: &mut Draft,
    name: &ChainName,
    policy: Policy,
) -> Result<Plan, Refused> {
    let mut plan = Plan::default();
    let chain = chain_for(draft, name, &mut plan)?;
    let held = draft.chain(chain);
    if held.is_some_and(|held| !held.builtin) {
        return Err(Refused::NoPolicy {
            chain: shown(&name.chain),
        });
    }
    if policy == Policy::Queue {
        return Err(Refused::Pointless {
            words: "no kernel of today takes QUEUE as a policy: ACCEPT or DROP",
        });
    }
    if plan.changes.is_empty() && held.is_some_and(|held| held.head.policy == Some(policy)) {
        return Err(Refused::Pointless {
            words: "the chain has that policy already",
        });
    }
    // A chain that comes with its table gets its policy after it came.
    let came = plan.changes.iter().find_map(|change| match change {
        Change::Head {
            chain: other, new, ..
        } if *other == chain => Some(new.clone()),
        _ => None,
    });
    let old = came.or_else(|| draft.chain(chain).map(|held| held.head.clone()));
    if let Some(old) = old {
        let new = Head {
            policy: Some(policy),
            ..old.clone()
        };
        plan.changes.push(Change::Head { chain, old, new });
    }
    Ok(plan)
}

pub(super) fn add(draft: &mut Draft, name: &ChainName) -> Result<Plan, Refused> {
    check_name(&name.chain)?;
    let mut plan = Plan::default();
    let builtin = builtin_chains(&name.table);
    if builtin.iter().any(|own| own.as_bytes() == &*name.chain) {
        return Err(Refused::BuiltIn {
            chain: shown(&name.chain),
            tried: "added",
        });
    }
    let table = draft.find_table(&name.table);
    if builtin.is_empty() && table.is_none() {
        return Err(Refused::NoSuchChain {
            table: shown(&name.table),
            chain: shown(&name.chain),
        });
    }
    if let Some(found) = table.and_then(|table| draft.find_chain(table, &name.chain)) {
        free(draft, found)?;
        if draft.chain(found).is_some_and(|held| !held.head.gone) {
            return Err(Refused::Pointless {
                words: "there is a chain of that name already",
            });
        }
        // One that is to be deleted stands again, without the rules that went with it.
        plan.changes
            .extend(head_change(draft, found, |head| head.gone = false));
        return Ok(plan);
    }
    if let Some(table) = table.and_then(|table| draft.tables.get(table))
        && let Some(why) = &table.locked
    {
        return Err(Refused::Locked {
            table: shown(&name.table),
            chain: shown(&name.chain),
            why: why.to_string(),
        });
    }
    if table.is_none_or(|table| is_empty_table(draft, table)) {
        with_table(draft, &name.table, &mut plan);
    }
    let table = draft.table_or_new(&name.table);
    let chain = draft.absent_chain(table, &name.chain, None);
    plan.changes
        .extend(head_change(draft, chain, |head| head.gone = false));
    Ok(plan)
}

/// A table that came into being and went again.
fn is_empty_table(draft: &Draft, table: usize) -> bool {
    let chains = draft
        .tables
        .get(table)
        .map_or(&[][..], |table| &table.chains);
    chains.iter().all(|chain| {
        draft
            .chain(*chain)
            .is_none_or(|held| held.base.is_none() && held.head.gone)
    })
}

pub(super) fn rename(draft: &mut Draft, name: &ChainName, new: &[u8]) -> Result<Plan, Refused> {
    let chain = user_chain(draft, name, "renamed")?;
    check_name(new)?;
    let Some(table) = draft.chain(chain).map(|held| held.table) else {
        return Ok(Plan::default());
    };
    if *name.chain == *new {
        return Err(Refused::Pointless {
            words: "the chain has that name already",
        });
    }
    let taken = draft.find_chain(table, new).is_some()
        || builtin_chains(&name.table)
            .iter()
            .any(|own| own.as_bytes() == new);
    if taken {
        return Err(Refused::Name {
            name: shown(new),
            words: "a chain of the table has that name, or had it",
        });
    }
    for entry in draft
        .entries(chain)
        .filter(|entry| entry.standing == Standing::Stands)
    {
        rewritable(draft, table, &entry)?;
    }
    let mut plan = Plan::default();
    plan.changes
        .extend(head_change(draft, chain, |head| head.name = Arc::from(new)));
    for (from, at, entry) in callers(draft, chain) {
        free(draft, from)?;
        rewritable(draft, table, &entry)?;
        let spec = draft.text(entry.text);
        let Some((jump, _)) = jump_in(spec) else {
            continue;
        };
        let mut text = spec.get(..jump.start).unwrap_or_default().to_vec();
        text.extend_from_slice(new);
        text.extend_from_slice(spec.get(jump.end..).unwrap_or_default());
        let same = draft
            .base_of(entry.id)
            .filter(|base| draft.text(base.0) == text);
        let renamed = Entry {
            text: match same {
                Some(base) => base.0,
                None => draft.new_text(&text),
            },
            ..entry
        };
        plan.changes.push(Change::Rows {
            chain: from,
            at,
            out: vec![entry],
            into: vec![renamed],
        });
    }
    Ok(plan)
}

/// The tools have no way to rename a chain in a transaction: its rules and the jumps to it are written
/// anew.
fn rewritable(draft: &Draft, table: usize, entry: &Entry) -> Result<(), Refused> {
    let is_chain = |name: &[u8]| draft.find_chain(table, name).is_some();
    match unwritable(draft.text(entry.text), draft.base.family(), &is_chain) {
        Some(why) => Err(Refused::Unwritable { why }),
        None => Ok(()),
    }
}

pub(super) fn delete(draft: &mut Draft, name: &ChainName) -> Result<Plan, Refused> {
    let chain = user_chain(draft, name, "deleted")?;
    let (by, more) = named_callers(draft, chain);
    if !by.is_empty() {
        return Err(Refused::Referenced {
            chain: shown(&name.chain),
            by,
            more,
        });
    }
    let mut plan = Plan::default();
    let entries: Vec<Entry> = draft.entries(chain).collect();
    let known = |entry: &Entry| draft.is_known(entry.id);
    let left: Vec<Entry> = entries
        .iter()
        .filter(|entry| known(entry))
        .map(|entry| Entry {
            standing: Standing::Deleted,
            ..*entry
        })
        .collect();
    if entries != left {
        plan.changes.push(Change::Rows {
            chain,
            at: 0,
            out: entries,
            into: left,
        });
    }
    plan.changes.extend(head_change(draft, chain, |head| {
        head.gone = true;
        head.zeroed = false;
    }));
    Ok(plan)
}

pub(super) fn zero(draft: &mut Draft, name: &ChainName) -> Result<Plan, Refused> {
    let chain = standing(draft, name)?;
    let held = draft.chain(chain);
    if held.is_none_or(|held| held.base.is_none()) {
        return Err(Refused::Pointless {
            words: "the kernel does not count this chain yet",
        });
    }
    if held.is_some_and(|held| held.head.zeroed) {
        return Err(Refused::Pointless {
            words: "its counters start from zero already",
        });
    }
    let mut plan = Plan::default();
    plan.changes
        .extend(head_change(draft, chain, |head| head.zeroed = true));
    Ok(plan)
}
