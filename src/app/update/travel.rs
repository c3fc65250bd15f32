//! Moving about: to a chain, along a jump and back, to what drops the most, to a lit rule.

use super::act;
use crate::app::board::{Cursor, Entry, Pane, Place, Row, Show};
use crate::app::filter::Filter;
use crate::app::message::{Effect, Viewport};
use crate::app::motion::Heat;
use crate::app::state::State;
use crate::ruleset::{ChainIdx, RuleIdx};

/// The drawing said how many rows there are: cursors scroll into view.
pub(super) fn viewport(state: &mut State, viewport: Viewport) -> Vec<Effect> {
    if state.viewport != viewport {
        state.viewport = viewport;
        settle(state);
        state.dirty = true;
    }
    Vec::new()
}

/// Keeps every cursor inside its list and on the screen.
pub(super) fn settle(state: &mut State) {
    let board = &mut state.board;
    let rows = board.row_count();
    board.rules.go(board.rules.at, rows, state.viewport.rules);
    board
        .chains
        .go(board.chains.at, board.entries.len(), state.viewport.chains);
    let drops = &mut state.drops;
    drops
        .cursor
        .go(drops.cursor.at, drops.rows.len(), state.viewport.drops);
    if let Some(crate::app::state::Dialog::Why(why)) = &mut state.dialog {
        why.resize(state.viewport.dialog);
    }
}

/// Works out the rows anew and keeps the cursor on the same rule.
pub(super) fn relist(state: &mut State) {
    let row = state.selected().and_then(|s| s.row);
    state.board.list_rules(&state.firewalls);
    aim(state, row);
}

/// Puts the cursor on that row where it is shown, else leaves it where it is.
pub(super) fn aim(state: &mut State, row: Option<Row>) {
    let at = row.and_then(|row| state.firewall().and_then(|f| state.board.find_row(row, f)));
    let rows = state.board.row_count();
    if let Some(at) = at {
        state.board.rules.jump(at, rows, state.viewport.rules);
    }
    settle(state);
}

/// Shows a chain, with the cursor on a rule of it (`None`: on the first).
pub(super) fn go(state: &mut State, place: Place, row: Option<Row>) -> Vec<Effect> {
    let Some(firewall) = state.firewalls.get(place.firewall) else {
        return Vec::new();
    };
    if place.chain.0 as usize >= firewall.ruleset.chains().len() {
        return Vec::new();
    }
    let (origin, watched) = (firewall.id, firewall.kernel_chain(place.chain));
    if state.board.place != Some(place) {
        state.board.place = Some(place);
        state.board.rules = Cursor::default();
        state.board.shift = 0;
        state.board.filter = Filter::default();
        state.board.measure(&state.firewalls);
        state.board.list_rules(&state.firewalls);
    }
    state.board.aim_chains();
    aim(state, row);
    state.dirty = true;
    let watch = watched.map(|chain| Effect::Watch(origin, chain));
    watch.into_iter().collect()
}

/// Shows a rule, though the filter or the choice of rows hid it; the way back is kept.
pub(super) fn go_to_rule(state: &mut State, place: Place, rule: Option<RuleIdx>) -> Vec<Effect> {
    remember(state);
    if state.board.show != Show::default() {
        state.board.show = Show::default();
        state.board.list_rules(&state.firewalls);
    }
    let row = match rule {
        None => Some(Row::Policy),
        Some(rule) => number(state, place, rule).map(|n| Row::Rule(rule, n)),
    };
    if state.board.place == Some(place) && !state.board.filter.is_empty() {
        state.board.filter = Filter::default();
        state.board.list_rules(&state.firewalls);
    }
    state.board.pane = Pane::Rules;
    go(state, place, row)
}

/// The number of a rule in its chain, from 1.
fn number(state: &State, place: Place, rule: RuleIdx) -> Option<usize> {
    let chain = state
        .firewalls
        .get(place.firewall)?
        .ruleset
        .chain(place.chain);
    chain.rules().iter().position(|r| *r == rule).map(|i| i + 1)
}

/// Keeps the way back to here.
fn remember(state: &mut State) {
    const LONGEST: usize = 50;
    if let Some(place) = state.board.place {
        state.board.trail.push((place, state.board.rules.at));
        if state.board.trail.len() > LONGEST {
            state.board.trail.remove(0);
        }
    }
}

/// Back to where the last jump was made.
pub(super) fn back(state: &mut State) -> Vec<Effect> {
    let Some((place, at)) = state.board.trail.pop() else {
        act::say(state, "no jump to go back from");
        return Vec::new();
    };
    let effects = go(state, place, None);
    let rows = state.board.row_count();
    state.board.rules.jump(at, rows, state.viewport.rules);
    effects
}

/// Follows the jump of the selected rule. `None` where it makes none.
pub(super) fn follow(state: &mut State) -> Option<Vec<Effect>> {
    let selected = state.selected()?;
    let Some(Row::Rule(rule, _)) = selected.row else {
        return None;
    };
    let target = state
        .firewalls
        .get(selected.firewall)?
        .ruleset
        .jump(rule)?
        .chain?;
    remember(state);
    Some(go(
        state,
        Place {
            firewall: selected.firewall,
            chain: target,
        },
        None,
    ))
}

/// The chain `by` lines further in the list.
pub(super) fn neighbour(state: &mut State, forward: bool) -> Vec<Effect> {
    let chains: Vec<Place> = state
        .board
        .entries
        .iter()
        .filter_map(|e| match e {
            Entry::Chain(firewall, chain) => Some(Place {
                firewall: *firewall,
                chain: *chain,
            }),
            _ => None,
        })
        .collect();
    let here = chains.iter().position(|p| Some(*p) == state.board.place);
    let next = match (here, forward) {
        (Some(i), true) => chains.get(i + 1),
        (Some(i), false) => i.checked_sub(1).and_then(|i| chains.get(i)),
        (None, _) => chains.first(),
    };
    next.copied()
        .map_or_else(Vec::new, |place| go(state, place, None))
}

/// The next lit rule: in this chain, else in the next chain that has one.
pub(super) fn next_lit(state: &mut State, forward: bool) -> Vec<Effect> {
    let (now, interval) = (state.now, state.interval);
    let found = state
        .firewall()
        .and_then(|f| state.board.next_lit(f, forward, now, interval));
    let rows = state.board.row_count();
    if let Some(at) = found {
        state.board.rules.jump(at, rows, state.viewport.rules);
        return Vec::new();
    }
    let Some(place) = next_lit_chain(state, forward) else {
        act::say(state, "no lit rule elsewhere");
        return Vec::new();
    };
    let effects = go(state, place, None);
    let rows = state.board.row_count();
    // Step onto the chain from outside, so that its first (or last) row counts too.
    let edge = if forward { 0 } else { rows };
    state.board.rules.at = edge;
    let first = state.firewall().and_then(|f| {
        let on = |i| match state.board.row(i, f) {
            Some(Row::Rule(rule, _)) => f.heat(rule, now, interval),
            Some(Row::Policy) => f.policy_heat(place.chain, now, interval),
            None => Heat::Cold,
        };
        if forward && on(0) > Heat::Cold {
            return Some(0);
        }
        state.board.next_lit(f, forward, now, interval)
    });
    state
        .board
        .rules
        .jump(first.unwrap_or(0), rows, state.viewport.rules);
    effects
}

fn next_lit_chain(state: &State, forward: bool) -> Option<Place> {
    let lit: Vec<(usize, Place)> = state
        .board
        .entries
        .iter()
        .enumerate()
        .filter_map(|(i, e)| match e {
            Entry::Chain(f, chain) => {
                let heat = state
                    .firewalls
                    .get(*f)?
                    .chain_heat(*chain, state.now, state.interval);
                (heat > Heat::Cold).then_some((
                    i,
                    Place {
                        firewall: *f,
                        chain: *chain,
                    },
                ))
            }
            _ => None,
        })
        .filter(|(_, place)| Some(*place) != state.board.place)
        .collect();
    let here = state.board.entries.iter().position(|e| {
        matches!(e, Entry::Chain(f, c) if state.board.place == Some(Place { firewall: *f, chain: *c }))
    })?;
    let found = if forward {
        lit.iter().find(|(i, _)| *i > here).or(lit.first())
    } else {
        lit.iter().rev().find(|(i, _)| *i < here).or(lit.last())
    };
    found.map(|(_, place)| *place)
}

/// What drops the most now, over all rulesets.
pub(super) fn hottest(state: &State) -> Option<(Place, Option<RuleIdx>)> {
    let mut best: Option<(f64, Place, Option<RuleIdx>)> = None;
    for (firewall, f) in state.firewalls.iter().enumerate() {
        if let Some((chain, rule, rate)) = f.hottest_drop()
            && best.is_none_or(|(b, ..)| rate.packets > b)
        {
            best = Some((rate.packets, Place { firewall, chain }, rule));
        }
    }
    best.map(|(_, place, rule)| (place, rule))
}

/// Where to begin: filter INPUT where it has rules, else the fullest chain.
pub(super) fn beginning(state: &State) -> Option<Place> {
    let input = state
        .firewalls
        .iter()
        .enumerate()
        .find_map(|(firewall, f)| {
            let chain = f.ruleset.find_chain("filter", "INPUT")?;
            let worth = !f.ruleset.chain(chain).rules().is_empty();
            worth.then_some(Place { firewall, chain })
        });
    let fullest = || {
        state
            .firewalls
            .iter()
            .enumerate()
            .flat_map(|(firewall, f)| {
                let lengths = f.ruleset.chains().iter().map(|c| c.rules().len());
                lengths.zip(0..).map(move |(len, i)| {
                    (
                        len,
                        Place {
                            firewall,
                            chain: ChainIdx(i),
                        },
                    )
                })
            })
            .max_by_key(|(len, place)| (*len, std::cmp::Reverse((place.firewall, place.chain))))
            .map(|(_, place)| place)
    };
    input.or_else(fullest)
}
