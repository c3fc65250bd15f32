//! What the box sends: structures, counters, log lines, the conntrack table.

use std::time::Duration;

use super::{act, travel};
use crate::app::board::{Place, Row};
use crate::app::firewall::{Firewall, FirewallId};
use crate::app::message::{Effect, Loaded, Message};
use crate::app::notice::{Level, Notice};
use crate::app::state::State;
use crate::flow::Batch;
use crate::ruleset::{Author, Reading};

/// Takes in one message from the box.
pub(super) fn take(state: &mut State, message: Message) -> Vec<Effect> {
    match message {
        Message::Loaded(loaded) => return load(state, *loaded),
        Message::Counters { id, at, readings } => return count(state, id, at, &readings),
        Message::Gone(id) => return gone(state, id),
        Message::Loading(id, stage) => {
            state.loading.retain(|(o, _)| *o != id);
            state.loading.push((id, stage));
            state.dirty = true;
        }
        Message::Native(chains) => {
            if state.native != chains {
                state.native = chains;
                state.board.list_chains(&state.firewalls, &state.native);
                state.dirty = true;
            }
        }
        Message::Conntrack(seen) => {
            if !state.frozen {
                state.gauge.push(state.now, seen);
                state.dirty = true;
            }
        }
        Message::Lines(batch) => lines(state, batch),
        Message::Source(text) => {
            state.dirty |= state.source != text;
            state.source = text;
        }
        Message::Notice(notice) => put(state, notice),
        Message::Withdraw(key) => state.dirty |= state.notices.withdraw(&key),
        Message::Say(text) => act::say(state, text),
        Message::Key(_) | Message::Paste(_) | Message::Viewport(_) | Message::Wake => {}
    }
    Vec::new()
}

/// Adds a notice; what is more than good to know is said once on the message line.
fn put(state: &mut State, notice: Notice) {
    let words = (notice.level > Level::Info).then(|| notice.text.clone());
    if state.notices.put(notice) {
        state.dirty = true;
        if let Some(words) = words {
            act::say(state, words);
        }
    }
}

/// A structure was read, for the first time or anew.
fn load(state: &mut State, loaded: Loaded) -> Vec<Effect> {
    state.dirty = true;
    state.loading.retain(|(id, _)| *id != loaded.id);
    let mut firewall = Firewall::new(loaded.id, loaded.ruleset, loaded.handles);
    firewall.set_lossy(loaded.lossy);
    let known = state.firewalls.iter().position(|f| f.id == loaded.id);
    match known {
        Some(at) => replace(state, at, firewall, loaded.author),
        None => {
            let at = state
                .firewalls
                .partition_point(|f| order(f.id) < order(firewall.id));
            insert(state, at, firewall);
        }
    }
    relist(state)
}

/// v4 before v6 within a back end, nft before legacy.
fn order(id: FirewallId) -> impl Ord {
    (id.backend, id.family, id.nth)
}

fn insert(state: &mut State, at: usize, mut firewall: Firewall) {
    firewall.set_zero(state.zeroed.is_some());
    state.firewalls.insert(at, firewall);
    let moved = |place: &mut Place| place.firewall += usize::from(place.firewall >= at);
    state.board.place.iter_mut().for_each(moved);
    state
        .board
        .trail
        .iter_mut()
        .for_each(|(place, _)| moved(place));
}

/// A structure took the place of another: the cursor follows the rule that it was on, or says that it
/// went.
fn replace(state: &mut State, at: usize, mut new: Firewall, author: Option<Author>) {
    let old = &state.firewalls[at];
    new.inherit(old);
    let map = crate::app::firewall::chain_map(&new.ruleset, &old.ruleset);
    let successor = |chain: crate::ruleset::ChainIdx| {
        let to = map.get(chain.0 as usize).copied().flatten()?;
        u32::try_from(to).ok().map(crate::ruleset::ChainIdx)
    };
    let by = author
        .map(|who| format!(" by {} ({})", who.name, who.pid))
        .unwrap_or_default();
    let mut words = format!("{} changed{by}", state.label(new.id));
    let selected = state.selected().filter(|s| s.firewall == at);
    let mut wanted = None;
    if let Some(selected) = selected {
        match (successor(selected.chain), selected.row) {
            (None, _) => {
                let chain = old.ruleset.chain(selected.chain).name();
                words = format!("chain {chain} went{by}");
            }
            (Some(_), Some(Row::Rule(rule, number))) => match new.successor(old, rule) {
                Some(rule) => wanted = Some(rule),
                None => words = format!("rule {number} went{by}"),
            },
            (Some(_), _) => {}
        }
    }
    state.board.trail.retain_mut(|(place, _)| {
        place.firewall != at || successor(place.chain).map(|to| place.chain = to).is_some()
    });
    if let Some(place) = &mut state.board.place
        && place.firewall == at
    {
        match successor(place.chain) {
            Some(chain) => place.chain = chain,
            None => state.board.place = None,
        }
    }
    let policy = matches!(selected.and_then(|s| s.row), Some(Row::Policy));
    state.firewalls[at] = new;
    state.board.measure(&state.firewalls);
    state.board.list_rules(&state.firewalls);
    let row = wanted
        .and_then(|rule| number_of(state, rule))
        .or(policy.then_some(Row::Policy));
    travel::aim(state, row);
    act::say(state, words);
}

fn number_of(state: &State, rule: crate::ruleset::RuleIdx) -> Option<Row> {
    let chain = state.firewall()?.ruleset.chain(state.board.place?.chain);
    let at = chain.rules().iter().position(|r| *r == rule)?;
    Some(Row::Rule(rule, at + 1))
}

/// The lists follow what is there; a board without a place gets one.
fn relist(state: &mut State) -> Vec<Effect> {
    state.board.list_chains(&state.firewalls, &state.native);
    // As long as the cursor is nobody's, it stands where the whole picture begins.
    let free = state.board.place.is_none() || (!state.aimed && !state.board.touched);
    if free && let Some(place) = travel::beginning(state) {
        return travel::go(state, place, None);
    }
    state.board.list_rules(&state.firewalls);
    travel::settle(state);
    let watch = state
        .board
        .place
        .and_then(|p| Some(Effect::Watch(state.firewalls.get(p.firewall)?.id, p.chain)));
    watch.into_iter().collect()
}

/// A ruleset is no longer there.
fn gone(state: &mut State, id: FirewallId) -> Vec<Effect> {
    state.loading.retain(|(o, _)| *o != id);
    let Some(at) = state.firewalls.iter().position(|f| f.id == id) else {
        return Vec::new();
    };
    let label = state.label(id);
    state.firewalls.remove(at);
    let follow = |place: &mut Place| {
        let stays = place.firewall != at;
        place.firewall -= usize::from(place.firewall > at);
        stays
    };
    state.board.trail.retain_mut(|(place, _)| follow(place));
    if state
        .board
        .place
        .as_mut()
        .is_some_and(|place| !follow(place))
    {
        state.board.place = None;
    }
    act::say(state, format!("{label} went: its ruleset is empty"));
    relist(state)
}

/// Counters were read.
fn count(state: &mut State, id: FirewallId, at: Duration, readings: &[Reading]) -> Vec<Effect> {
    if state.frozen {
        return Vec::new();
    }
    let Some(firewall) = state.firewalls.iter_mut().find(|f| f.id == id) else {
        return Vec::new();
    };
    if !firewall.read(at, readings) {
        return Vec::new();
    }
    state.dirty = true;
    if state.board.rows_follow_counters() {
        travel::relist(state);
    }
    // Once, while the cursor is nobody's: onto what drops the most.
    if !state.aimed
        && !state.board.touched
        && let Some((place, rule)) = travel::hottest(state)
    {
        state.aimed = true;
        let row = match rule {
            Some(rule) => number_in(state, place, rule),
            None => Some(Row::Policy),
        };
        return travel::go(state, place, row);
    }
    Vec::new()
}

fn number_in(state: &State, place: Place, rule: crate::ruleset::RuleIdx) -> Option<Row> {
    let chain = state
        .firewalls
        .get(place.firewall)?
        .ruleset
        .chain(place.chain);
    let at = chain.rules().iter().position(|r| *r == rule)?;
    Some(Row::Rule(rule, at + 1))
}

/// The kernel's log brought lines.
fn lines(state: &mut State, batch: Batch) {
    state.feed.push(state.now, batch);
    state.dirty |= state
        .drops
        .look(&state.feed, state.now, state.viewport.drops);
}

/// From a line of the feed to the rule that wrote it.
pub(super) fn open_line(state: &mut State) -> Vec<Effect> {
    act::say(state, "which rule wrote this line is not known yet");
    Vec::new()
}
