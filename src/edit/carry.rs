//! Operations on rules, worked out as changes of a draft.
//!
//! Nothing here touches the draft but its arenas: a refusal leaves the stage as it was, and what is
//! returned can be carried out, undone and carried out again.

use crate::ruleset::{Policy, builtin_chains, single_rules};

use super::check::{check, unwritable};
use super::draft::{ChainId, Change, Draft, Entry, Standing};
use super::graph::callers;
use super::refused::{Refused, shown};
use super::{ChainName, Operation, RowId, Spot, chains};

/// How many rules one specification with address lists may make.
const LISTED: u32 = 1024;

/// What an operation comes to.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub changes: Vec<Change>,
    /// The row that a cursor should be on afterwards.
    pub focus: Option<RowId>,
    /// Rows that come into being.
    pub created: Vec<RowId>,
}

/// Works out an operation. Rows that it creates are numbered `created` as far as those go.
pub(super) fn plan(
    draft: &mut Draft,
    operation: &Operation,
    created: &[RowId],
) -> Result<Plan, Refused> {
    match operation {
        Operation::Move { row, to } => move_row(draft, *row, to),
        Operation::Insert { at, spec } => insert(draft, at, spec, created),
        Operation::Replace { row, spec } => replace(draft, *row, spec),
        Operation::Duplicate { row } => duplicate(draft, *row, created),
        Operation::Delete { row } => delete(draft, *row),
        Operation::Disable { row } => disable(draft, *row),
        Operation::Enable { row } => enable(draft, *row),
        Operation::ZeroRule { row } => zero_rule(draft, *row),
        Operation::SetPolicy { chain, policy } => chains::set_policy(draft, chain, *policy),
        Operation::AddChain { chain } => chains::add(draft, chain),
        Operation::RenameChain { chain, name } => chains::rename(draft, chain, name),
        Operation::DeleteChain { chain } => chains::delete(draft, chain),
        Operation::ZeroChain { chain } => chains::zero(draft, chain),
    }
}

/// A row that may be changed.
fn free_row(draft: &Draft, row: RowId) -> Result<(ChainId, usize, Entry), Refused> {
    let found = draft.find(row).ok_or(Refused::NoSuchRow { row })?;
    free(draft, found.0)?;
    if draft.chain(found.0).is_some_and(|held| held.head.gone) {
        return Err(Refused::Pointless {
            words: "the chain of the rule is to be deleted: undo that first",
        });
    }
    Ok(found)
}

/// Refuses a chain that is locked.
pub(super) fn free(draft: &Draft, chain: ChainId) -> Result<(), Refused> {
    let Some(held) = draft.chain(chain) else {
        return Ok(());
    };
    let table = draft.tables.get(held.table);
    let locked = held.locked.clone().or_else(|| table?.locked.clone());
    let quoted = || {
        let quoted = held.head.name.contains(&b'"');
        quoted.then(|| "its name holds a quote, which iptables-restore cannot read".into())
    };
    match locked.or_else(quoted) {
        Some(why) => Err(Refused::Locked {
            table: table.map_or(String::new(), |table| shown(&table.name)),
            chain: shown(&held.head.name),
            why: why.to_string(),
        }),
        None => Ok(()),
    }
}

/// Refuses a row whose text the tools cannot be given.
fn writable(draft: &Draft, chain: ChainId, entry: &Entry) -> Result<(), Refused> {
    let table = draft.chain(chain).map_or(usize::MAX, |chain| chain.table);
    let is_chain = |name: &[u8]| draft.find_chain(table, name).is_some();
    let spec = draft.text(entry.text);
    match unwritable(spec, draft.base.family(), &is_chain) {
        Some(why) => Err(Refused::Unwritable { why }),
        None => Ok(()),
    }
}

/// The chain of a name, and what must be done first for it to be there: a built-in chain that the
/// ruleset lacks comes with its table.
pub(super) fn chain_for(
    draft: &mut Draft,
    name: &ChainName,
    plan: &mut Plan,
) -> Result<ChainId, Refused> {
    let missing = || Refused::NoSuchChain {
        table: shown(&name.table),
        chain: shown(&name.chain),
    };
    let table = draft.find_table(&name.table);
    if let Some(found) = table.and_then(|table| draft.standing_chain(table, &name.chain)) {
        free(draft, found)?;
        return Ok(found);
    }
    let builtin = builtin_chains(&name.table);
    if !builtin.iter().any(|own| own.as_bytes() == &*name.chain) {
        return Err(missing());
    }
    if let Some(why) = table.and_then(|table| draft.tables.get(table)?.locked.clone()) {
        return Err(Refused::Locked {
            table: shown(&name.table),
            chain: shown(&name.chain),
            why: why.to_string(),
        });
    }
    let mut wanted = None;
    for chain in chains::with_table(draft, &name.table, plan) {
        if draft
            .chain(chain)
            .is_some_and(|held| *held.head.name == *name.chain)
        {
            wanted = Some(chain);
        }
    }
    wanted.ok_or_else(missing)
}

/// Where in a chain a spot is.
fn position(draft: &Draft, chain: ChainId, before: Option<RowId>) -> Result<usize, Refused> {
    match before {
        None => Ok(draft.entries(chain).len()),
        Some(row) => match draft.find(row) {
            Some((found, at, _)) if found == chain => Ok(at),
            _ => Err(Refused::NoSuchRow { row }),
        },
    }
}

fn splice(chain: ChainId, at: usize, out: Vec<Entry>, into: Vec<Entry>) -> Change {
    Change::Rows {
        chain,
        at,
        out,
        into,
    }
}

fn move_row(draft: &mut Draft, row: RowId, to: &Spot) -> Result<Plan, Refused> {
    let (chain, at, entry) = free_row(draft, row)?;
    if entry.standing == Standing::Deleted {
        return Err(Refused::Pointless {
            words: "the rule is to be deleted: enable it first",
        });
    }
    writable(draft, chain, &entry)?;
    let mut plan = Plan::default();
    let name = ChainName::new(&to.table, &to.chain);
    let there = chain_for(draft, &name, &mut plan)?;
    let mut place = position(draft, there, to.before)?;
    if there == chain {
        if place == at || place == at + 1 {
            return Err(Refused::Pointless {
                words: "the rule stands there already",
            });
        }
        place -= usize::from(place > at);
    } else {
        let spec = draft.text(entry.text).to_vec();
        check_in(draft, there, chain, &spec)?;
    }
    let moved = Entry {
        moved: true,
        ..entry
    };
    plan.changes
        .push(splice(chain, at, vec![entry], Vec::new()));
    plan.changes
        .push(splice(there, place, Vec::new(), vec![moved]));
    plan.focus = Some(row);
    Ok(plan)
}

/// Refuses to take a rule to another chain where it would jump elsewhere, nowhere or in a loop.
fn check_in(draft: &Draft, there: ChainId, from: ChainId, spec: &[u8]) -> Result<(), Refused> {
    let table = |chain| draft.chain(chain).map(|held| held.table);
    if table(there) != table(from)
        && let Some((at, _)) = crate::ruleset::jump_in(spec)
        && let Some(name) = spec.get(at.clone())
        && table(from).is_some_and(|from| draft.standing_chain(from, name).is_some())
    {
        return Err(Refused::Spec {
            column: at.start + 1,
            words: format!(
                "{} is a chain of the rule's own table: in another table the rule cannot jump to it",
                shown(name)
            ),
        });
    }
    check(draft, there, spec)
}

fn new_entry(draft: &mut Draft, spec: &[u8], id: Option<RowId>) -> Entry {
    Entry {
        id: id.unwrap_or_else(|| draft.new_row()),
        text: draft.new_text(spec),
        standing: Standing::Stands,
        moved: false,
        zeroed: false,
    }
}

fn insert(draft: &mut Draft, at: &Spot, spec: &[u8], created: &[RowId]) -> Result<Plan, Refused> {
    let mut plan = Plan::default();
    let name = ChainName::new(&at.table, &at.chain);
    let chain = chain_for(draft, &name, &mut plan)?;
    let place = position(draft, chain, at.before)?;
    check(draft, chain, spec)?;
    let rules = single_rules(spec, LISTED).ok_or(Refused::Spec {
        column: 1,
        words: "the address lists make more than 1024 rules: use an ipset".to_owned(),
    })?;
    let entries: Vec<Entry> = rules
        .iter()
        .enumerate()
        .map(|(index, rule)| new_entry(draft, rule, created.get(index).copied()))
        .collect();
    plan.focus = entries.first().map(|entry| entry.id);
    plan.created = entries.iter().map(|entry| entry.id).collect();
    plan.changes.push(splice(chain, place, Vec::new(), entries));
    Ok(plan)
}

fn replace(draft: &mut Draft, row: RowId, spec: &[u8]) -> Result<Plan, Refused> {
    let (chain, at, entry) = free_row(draft, row)?;
    if entry.standing == Standing::Deleted {
        return Err(Refused::Pointless {
            words: "the rule is to be deleted: enable it first",
        });
    }
    check(draft, chain, spec)?;
    let rules = single_rules(spec, LISTED).unwrap_or_default();
    let [rule] = rules.as_slice() else {
        return Err(several());
    };
    if draft.text(entry.text) == rule.as_slice() {
        return Err(Refused::Pointless {
            words: "the rule says that already",
        });
    }
    let base = draft
        .base_of(row)
        .filter(|base| draft.text(base.0) == rule.as_slice());
    let changed = Entry {
        // Back to what the kernel has: then it is that rule again.
        text: match base {
            Some(base) => base.0,
            None => draft.new_text(rule),
        },
        ..entry
    };
    Ok(Plan {
        changes: vec![splice(chain, at, vec![entry], vec![changed])],
        focus: Some(row),
        created: Vec::new(),
    })
}

fn several() -> Refused {
    Refused::Spec {
        column: 1,
        words: "one rule cannot become several: the address list makes a rule of each".to_owned(),
    }
}

fn duplicate(draft: &mut Draft, row: RowId, created: &[RowId]) -> Result<Plan, Refused> {
    let (chain, at, entry) = free_row(draft, row)?;
    writable(draft, chain, &entry)?;
    let copy = Entry {
        id: match created.first() {
            Some(id) => *id,
            None => draft.new_row(),
        },
        standing: Standing::Stands,
        moved: false,
        zeroed: false,
        ..entry
    };
    Ok(Plan {
        changes: vec![splice(chain, at + 1, Vec::new(), vec![copy])],
        focus: Some(copy.id),
        created: vec![copy.id],
    })
}

/// A row with another standing. One that neither the kernel nor the shelf knows goes when it is deleted.
fn with_standing(draft: &Draft, row: RowId, standing: Standing) -> Result<Plan, Refused> {
    let (chain, at, entry) = free_row(draft, row)?;
    let words = match standing {
        Standing::Stands => "the rule stands already",
        Standing::Deleted => "the rule is to be deleted already",
        Standing::Disabled => "the rule is disabled already",
    };
    if entry.standing == standing {
        return Err(Refused::Pointless { words });
    }
    let vanishes = standing == Standing::Deleted && !draft.is_known(row);
    let into = if vanishes {
        Vec::new()
    } else {
        vec![Entry { standing, ..entry }]
    };
    let next = draft
        .entry_at(chain, at + 1)
        .or_else(|| draft.entry_at(chain, at.checked_sub(1)?));
    Ok(Plan {
        focus: if vanishes {
            next.map(|next| next.id)
        } else {
            Some(row)
        },
        changes: vec![splice(chain, at, vec![entry], into)],
        created: Vec::new(),
    })
}

fn delete(draft: &mut Draft, row: RowId) -> Result<Plan, Refused> {
    with_standing(draft, row, Standing::Deleted)
}

fn disable(draft: &mut Draft, row: RowId) -> Result<Plan, Refused> {
    let (chain, _, entry) = free_row(draft, row)?;
    // What cannot be written back could never be enabled again.
    writable(draft, chain, &entry)?;
    with_standing(draft, row, Standing::Disabled)
}

fn enable(draft: &mut Draft, row: RowId) -> Result<Plan, Refused> {
    let (chain, _, entry) = free_row(draft, row)?;
    // The chain that it jumps to may have gone, or lead back here by now.
    if draft.base_of(row).is_none() || jumps(draft, &entry) {
        let spec = draft.text(entry.text).to_vec();
        check(draft, chain, &spec)?;
        // Only a shelf that somebody wrote by hand holds such a one.
        if single_rules(&spec, LISTED).is_none_or(|rules| rules.len() != 1) {
            return Err(several());
        }
    }
    with_standing(draft, row, Standing::Stands)
}

fn jumps(draft: &Draft, entry: &Entry) -> bool {
    let spec = draft.text(entry.text);
    let name = crate::ruleset::jump_in(spec).and_then(|(at, _)| spec.get(at));
    name.is_some_and(|name| !super::check::is_target(name))
}

fn zero_rule(draft: &mut Draft, row: RowId) -> Result<Plan, Refused> {
    let (chain, at, entry) = free_row(draft, row)?;
    if entry.standing != Standing::Stands || draft.base_of(row).is_none() {
        return Err(Refused::Pointless {
            words: "the kernel does not count this rule",
        });
    }
    if entry.zeroed {
        return Err(Refused::Pointless {
            words: "its counters start from zero already",
        });
    }
    writable(draft, chain, &entry)?;
    let zeroed = Entry {
        zeroed: true,
        ..entry
    };
    Ok(Plan {
        changes: vec![splice(chain, at, vec![entry], vec![zeroed])],
        focus: Some(row),
        created: Vec::new(),
    })
}

/// The rows that jump to a chain, as `CHAIN 3`, the first few of them, and how many more.
pub(super) fn named_callers(draft: &Draft, chain: ChainId) -> (Vec<String>, usize) {
    const NAMED: usize = 3;
    let standing = callers(draft, chain)
        .into_iter()
        .filter(|(from, _, entry)| *from != chain && entry.standing == Standing::Stands);
    let all: Vec<_> = standing.collect();
    let number = |from: ChainId, at: usize| {
        let above = draft.entries(from).take(at + 1);
        above
            .filter(|entry| entry.standing == Standing::Stands)
            .count()
    };
    let named = all.iter().take(NAMED).map(|(from, at, _)| {
        let name = draft
            .chain(*from)
            .map_or(String::new(), |held| shown(&held.head.name));
        format!("{name} {}", number(*from, *at))
    });
    (named.collect(), all.len().saturating_sub(NAMED))
}

/// The policy that a built-in chain has when its table comes into being (iptables(8)).
pub(super) const FIRST_POLICY: Policy = Policy::Accept;
