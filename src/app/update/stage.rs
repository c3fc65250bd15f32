//! Staging: from a key on a row to an operation on what is staged. Nothing here reaches the kernel.
//!
//! The cursor stays on the rule that was worked on, wherever it went.

use super::{act, probe, travel};
use crate::app::action::Action;
use crate::app::board::{Pane, Place, Row, Show, Sort};
use crate::app::firewall::{Firewall, FirewallId};
use crate::app::message::Effect;
use crate::app::state::{Input, Purpose, State};
use crate::edit::{ChainName, Mark, Operation, RowId, Spot, Stage};
use crate::ruleset::{ChainIdx, Policy, RuleIdx, Ruleset};

/// Runs an action that stages something.
pub(super) fn run(state: &mut State, action: Action) -> Vec<Effect> {
    if let Some(why) = &state.change.locked {
        let why = why.clone();
        act::say(state, why);
        return Vec::new();
    }
    if of_rule(action) && state.board.pane == Pane::Rules && probe::is_selected(state) {
        probe::refuse(state);
        return Vec::new();
    }
    match (action, state.board.pane) {
        (Action::MoveUp, _) => step(state, false),
        (Action::MoveDown, _) => step(state, true),
        (Action::MoveTo, _) => ask(state, Purpose::MoveTo, ""),
        (Action::AddChain, _) => ask(state, Purpose::AddChain, ""),
        (Action::RenameChain, _) => {
            let name = here(state).map(|(f, chain)| f.ruleset.chain(chain).name().to_owned());
            ask(state, Purpose::RenameChain, &name.unwrap_or_default());
        }
        (Action::Delete, Pane::Chains) => on_chain(state, |chain| Operation::DeleteChain { chain }),
        (Action::Delete, _) => on_rule(state, |row, mark| match mark {
            Mark::Deleted => Operation::Enable { row },
            _ => Operation::Delete { row },
        }),
        (Action::Disable, _) => on_rule(state, |row, mark| match mark {
            Mark::Disabled => Operation::Enable { row },
            _ => Operation::Disable { row },
        }),
        (Action::Duplicate, _) => on_rule(state, |row, _| Operation::Duplicate { row }),
        (Action::Policy, _) => policy(state),
        (Action::ZeroKernel, Pane::Chains) => {
            on_chain(state, |chain| Operation::ZeroChain { chain });
        }
        (Action::ZeroKernel, _) => match state.selected().and_then(|s| s.row) {
            Some(Row::Policy) => on_chain(state, |chain| Operation::ZeroChain { chain }),
            _ => on_rule(state, |row, _| Operation::ZeroRule { row }),
        },
        (Action::Undo, _) => again(state, Stage::undo, "nothing to undo"),
        (Action::Redo, _) => again(state, Stage::redo, "nothing to redo"),
        _ => {}
    }
    Vec::new()
}

/// It does something to the rule under the cursor.
fn of_rule(action: Action) -> bool {
    matches!(
        action,
        Action::MoveUp
            | Action::MoveDown
            | Action::MoveTo
            | Action::Delete
            | Action::Disable
            | Action::Duplicate
            | Action::ZeroKernel
    )
}

/// What was typed for an operation was taken.
pub(super) fn typed(state: &mut State, purpose: Purpose, text: &str) {
    let text = text.trim();
    if text.is_empty() {
        return;
    }
    match purpose {
        Purpose::MoveTo => move_to(state, text),
        Purpose::AddChain => {
            let Some((firewall, chain)) = here(state) else {
                return;
            };
            let chain = ChainName::new(name_of(&firewall.ruleset, chain).table, text);
            carry_out(state, Operation::AddChain { chain }, None);
        }
        Purpose::RenameChain => {
            let Some((firewall, chain)) = here(state) else {
                return;
            };
            let chain = name_of(&firewall.ruleset, chain);
            let name = text.as_bytes().into();
            carry_out(state, Operation::RenameChain { chain, name }, None);
        }
        Purpose::Filter | Purpose::GoOn => {}
    }
}

/// Opens a line to type in.
fn ask(state: &mut State, purpose: Purpose, text: &str) {
    if here(state).is_none() {
        act::say(state, "no chain is selected");
        return;
    }
    if purpose == Purpose::MoveTo && selected(state).is_none() {
        act::say(state, "no rule is selected");
        return;
    }
    state.input = Some(Input {
        purpose,
        text: text.to_owned(),
        before: String::new(),
    });
}

/// The firewall and the chain in view.
fn here(state: &State) -> Option<(&Firewall, ChainIdx)> {
    Some((state.firewall()?, state.board.place?.chain))
}

/// The rule under the cursor.
fn selected(state: &State) -> Option<RuleIdx> {
    match state.selected()?.row? {
        Row::Rule(rule, _) => Some(rule),
        Row::Policy => None,
    }
}

/// The stage to work on: the one that is there, or a fresh one.
pub(super) fn stage_of(firewall: &Firewall) -> Stage {
    firewall.stage_or_fresh()
}

fn on_rule(state: &mut State, operation: impl FnOnce(RowId, Mark) -> Operation) {
    let Some((firewall, rule)) = state.firewall().zip(selected(state)) else {
        act::say(state, "no rule is selected");
        return;
    };
    let stage = stage_of(firewall);
    if let Some(row) = stage.shown().rows.get(rule.0 as usize) {
        let (id, mark) = (row.id, row.mark);
        carry_out(state, operation(id, mark), Some(id));
    }
}

fn on_chain(state: &mut State, operation: impl FnOnce(ChainName) -> Operation) {
    let Some((firewall, chain)) = here(state) else {
        act::say(state, "no chain is selected");
        return;
    };
    let name = name_of(&firewall.ruleset, chain);
    carry_out(state, operation(name), None);
}

/// The other policy of the chain in view.
fn policy(state: &mut State) {
    let Some((firewall, chain)) = here(state) else {
        return;
    };
    let it = firewall.ruleset.chain(chain);
    if !it.is_builtin() {
        act::say(
            state,
            "only a built-in chain has a policy; a user chain returns to where the jump was made",
        );
        return;
    }
    let policy = match it.policy() {
        Some(Policy::Drop) => Policy::Accept,
        _ => Policy::Drop,
    };
    on_chain(state, |chain| Operation::SetPolicy { chain, policy });
}

/// Moves the rule by one row of what the kernel would try; rows that it does not hold are stepped over.
fn step(state: &mut State, down: bool) {
    if state.board.sort != Sort::Kernel
        || state.board.show != Show::All
        || !state.board.filter.is_empty()
    {
        act::say(
            state,
            "rules are moved in the kernel's own order: no filter, no sort",
        );
        return;
    }
    let Some((firewall, rule)) = state.firewall().zip(selected(state)) else {
        act::say(state, "no rule is selected");
        return;
    };
    let stage = stage_of(firewall);
    let shown = stage.shown();
    let Some(chain) = shown.ruleset.chain_of(rule) else {
        return;
    };
    let rules = shown.ruleset.chain(chain).rules();
    let Some(at) = rules.iter().position(|r| *r == rule) else {
        return;
    };
    let row = |i: usize| rules.get(i).and_then(|r| shown.rows.get(r.0 as usize));
    let held = |i: &usize| {
        row(*i).is_some_and(|row| row.number.is_some())
            && rules.get(*i).is_some_and(|r| firewall.probe(*r).is_none())
    };
    let before = if down {
        let Some(next) = (at + 1..rules.len()).find(held) else {
            act::say(state, "it is the last rule of its chain");
            return;
        };
        row(next + 1).map(|row| row.id)
    } else {
        let Some(next) = (0..at).rev().find(held) else {
            act::say(state, "it is the first rule of its chain");
            return;
        };
        row(next).map(|row| row.id)
    };
    let Some(id) = row(at).map(|row| row.id) else {
        return;
    };
    let names = name_of(&shown.ruleset, chain);
    let to = Spot::new(names.table, names.chain, before);
    carry_out(state, Operation::Move { row: id, to }, Some(id));
}

/// `4`, `f2b-sshd` (its end), `f2b-sshd 4`.
fn move_to(state: &mut State, text: &str) {
    let Some((firewall, rule)) = state.firewall().zip(selected(state)) else {
        return;
    };
    let stage = stage_of(firewall);
    let shown = stage.shown();
    let Some(own) = shown.ruleset.chain_of(rule) else {
        return;
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |word: &str| word.parse::<u32>().ok().filter(|n| *n > 0);
    let (chain, number) = match words.as_slice() {
        [one] => match number(one) {
            Some(n) => (own, Some(n)),
            None => (
                chain_named(&shown.ruleset, own, one).unwrap_or(ChainIdx(u32::MAX)),
                None,
            ),
        },
        [name, n] if number(n).is_some() => (
            chain_named(&shown.ruleset, own, name).unwrap_or(ChainIdx(u32::MAX)),
            number(n),
        ),
        _ => (ChainIdx(u32::MAX), None),
    };
    if chain.0 == u32::MAX {
        act::say(
            state,
            format!("{text}: expected a number, or a chain of this table and a number"),
        );
        return;
    }
    let Some(id) = shown.rows.get(rule.0 as usize).map(|row| row.id) else {
        return;
    };
    // The number that it will have: counted among the rules that the kernel would hold, without this one.
    let held = shown
        .ruleset
        .chain(chain)
        .rules()
        .iter()
        .filter(|r| firewall.probe(**r).is_none())
        .filter_map(|r| shown.rows.get(r.0 as usize));
    let mut held = held.filter(|row| row.number.is_some() && row.id != id);
    let before = number
        .and_then(|n| held.nth(n as usize - 1))
        .map(|row| row.id);
    let names = name_of(&shown.ruleset, chain);
    let to = Spot::new(names.table, names.chain, before);
    carry_out(state, Operation::Move { row: id, to }, Some(id));
}

/// The names of a chain.
fn name_of(set: &Ruleset, chain: ChainIdx) -> ChainName {
    let chain = set.chain(chain);
    ChainName::new(set.table(chain.table()).name(), chain.name_bytes())
}

fn chain_named(set: &Ruleset, beside: ChainIdx, name: &str) -> Option<ChainIdx> {
    set.chain_named(set.chain(beside).table(), name.as_bytes())
}

/// Puts an operation on the stage of the firewall in view, and the cursor on the row that it is about.
pub(super) fn carry_out(state: &mut State, operation: Operation, follow: Option<RowId>) {
    let Some(firewall) = state.firewall() else {
        return;
    };
    let mut stage = stage_of(firewall);
    match stage.carry_out(operation) {
        Ok(()) => {
            // What was said of an earlier try is not the word on this one.
            state.said = None;
            show(state, stage, follow);
        }
        Err(refused) => act::say(state, refused.to_string().replace('\n', ": ")),
    }
}

/// Puts several operations on the stages of several rulesets, all or none, and shows where the last one is.
pub(super) fn carry_out_all(
    state: &mut State,
    steps: &[(FirewallId, Operation)],
) -> Result<Vec<Effect>, String> {
    let mut stages: Vec<(usize, Stage)> = Vec::new();
    for (id, operation) in steps {
        let changed = || "the rules have just changed".to_owned();
        let at = state
            .firewalls
            .iter()
            .position(|f| f.id == *id)
            .ok_or_else(changed)?;
        let known = stages.iter().position(|(firewall, _)| *firewall == at);
        let slot = known.unwrap_or_else(|| {
            stages.push((at, stage_of(&state.firewalls[at])));
            stages.len() - 1
        });
        let done = stages[slot].1.carry_out(operation.clone());
        done.map_err(|refused| refused.to_string().replace('\n', ": "))?;
    }
    let mut last = None;
    for (at, stage) in stages {
        let touched = stage.touched();
        state.firewalls[at].restage(Some(stage));
        let firewall = &state.firewalls[at];
        let rule = touched.and_then(|id| firewall.stage()?.shown().rule_of(id));
        let chain = rule.and_then(|rule| firewall.ruleset.chain_of(rule));
        last = chain
            .map(|chain| {
                (
                    Place {
                        firewall: at,
                        chain,
                    },
                    rule,
                )
            })
            .or(last);
    }
    state.board.list_chains(&state.firewalls, &state.native);
    state.board.measure(&state.firewalls);
    state.board.list_rules(&state.firewalls);
    state.dirty = true;
    Ok(last.map_or_else(Vec::new, |(place, rule)| {
        travel::go_to_rule(state, place, rule)
    }))
}

fn again(state: &mut State, turn: impl FnOnce(&mut Stage) -> bool, nothing: &str) {
    let Some(mut stage) = state.firewall().map(stage_of) else {
        return;
    };
    if turn(&mut stage) {
        show(state, stage, None);
    } else {
        act::say(state, nothing);
    }
}

/// Shows a stage in place of what the firewall in view had.
pub(super) fn show(state: &mut State, stage: Stage, follow: Option<RowId>) {
    let Some(place) = state.board.place else {
        return;
    };
    let Some(firewall) = state.firewalls.get_mut(place.firewall) else {
        return;
    };
    let names = name_of(&firewall.ruleset, place.chain);
    let kernel_chain = firewall.kernel_chain(place.chain);
    let at = state.board.rules.at;
    let follow = follow
        .or(stage.touched())
        .or_else(|| match state.board.row(at, firewall)? {
            Row::Rule(rule, _) => firewall.staged_row(rule).map(|row| row.id),
            Row::Policy => None,
        });
    firewall.restage(Some(stage));
    // A renamed chain is found by what it is in the kernel, a new one by its name.
    let found = follow.and_then(|id| firewall.stage()?.shown().rule_of(id));
    let table = firewall
        .ruleset
        .find_table(&String::from_utf8_lossy(&names.table));
    let chain = kernel_chain
        .map(|chain| firewall.shown_chain(chain))
        .or_else(|| firewall.ruleset.chain_named(table?, &names.chain))
        .unwrap_or(ChainIdx(0));
    let row = found
        .filter(|rule| firewall.ruleset.chain_of(*rule) == Some(chain))
        .and_then(|rule| {
            let rules = firewall.ruleset.chain(chain).rules();
            Some(Row::Rule(rule, rules.iter().position(|r| *r == rule)? + 1))
        });
    state.board.place = Some(Place { chain, ..place });
    state.board.list_chains(&state.firewalls, &state.native);
    state.board.measure(&state.firewalls);
    state.board.list_rules(&state.firewalls);
    state.board.aim_chains();
    state.board.rules.at = at;
    travel::aim(state, row);
    state.dirty = true;
}
