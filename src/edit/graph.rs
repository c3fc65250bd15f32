//! Who jumps where in a stage: loops are refused, and a chain that is jumped to stays.

use std::collections::HashMap;

use crate::ruleset::jump_in;

use super::draft::{ChainId, Draft, Entry, Standing};

/// The chains that the standing rules of a chain call, each once.
fn calls(draft: &Draft, from: ChainId) -> Vec<ChainId> {
    let Some(chain) = draft.chain(from) else {
        return Vec::new();
    };
    let mut called = Vec::new();
    for entry in draft
        .entries(from)
        .filter(|e| e.standing == Standing::Stands)
    {
        if let Some(to) = called_by(draft, chain.table, &entry)
            && !called.contains(&to)
        {
            called.push(to);
        }
    }
    called
}

/// The user chain that a row calls.
fn called_by(draft: &Draft, table: usize, entry: &Entry) -> Option<ChainId> {
    let spec = draft.text(entry.text);
    let (name, _) = jump_in(spec)?;
    draft.standing_chain(table, spec.get(name)?)
}

/// The chains on the way from one chain to another, both included, if there is a way.
pub(super) fn path(draft: &Draft, from: ChainId, to: ChainId) -> Option<Vec<ChainId>> {
    let mut came_from: HashMap<ChainId, ChainId> = HashMap::new();
    let mut open = vec![from];
    came_from.insert(from, ChainId::NONE);
    while let Some(at) = open.pop() {
        if at == to {
            let mut way = vec![at];
            let mut last = at;
            while let Some(previous) = came_from.get(&last).filter(|p| **p != ChainId::NONE) {
                way.push(*previous);
                last = *previous;
            }
            way.reverse();
            return Some(way);
        }
        for next in calls(draft, at) {
            came_from.entry(next).or_insert_with(|| {
                open.push(next);
                at
            });
        }
    }
    None
}

/// The rows that call a chain, with their chain and position; disabled and deleted ones left out.
pub(super) fn callers(draft: &Draft, chain: ChainId) -> Vec<(ChainId, usize, Entry)> {
    let Some(held) = draft.chain(chain) else {
        return Vec::new();
    };
    let name = &held.head.name;
    let mut found = Vec::new();
    let ids = draft
        .tables
        .get(held.table)
        .map_or(&[][..], |table| &table.chains);
    // Looking for the letters first spares reading the words of every rule.
    let finder = memchr::memmem::Finder::new(&**name);
    for id in ids {
        if draft.chain(*id).is_none_or(|chain| chain.head.gone) {
            continue;
        }
        for (at, entry) in draft.entries(*id).enumerate() {
            if entry.standing == Standing::Deleted {
                continue;
            }
            let spec = draft.text(entry.text);
            if finder.find(spec).is_none() {
                continue;
            }
            let is_it = jump_in(spec).is_some_and(|(at, _)| spec.get(at) == Some(name));
            if is_it {
                found.push((*id, at, entry));
            }
        }
    }
    found
}
