//! Structures: read for the first time, replaced, gone. What hangs on a rule follows it.

use std::sync::Arc;

use super::{act, travel};
use crate::app::board::{Place, Row};
use crate::app::firewall::{Firewall, FirewallId};
use crate::app::message::{Effect, Loaded};
use crate::app::shelf;
use crate::app::state::State;
use crate::edit::Stage;
use crate::ruleset::{Author, ChainIdx, RuleIdx, Ruleset, TextId};

/// A structure was read, for the first time or anew.
pub(super) fn load(state: &mut State, loaded: Loaded) -> Vec<Effect> {
    state.dirty = true;
    state.answered = true;
    state.loading.retain(|(id, _)| *id != loaded.id);
    let mut firewall = Firewall::new(loaded.id, loaded.ruleset, loaded.handles);
    firewall.set_lossy(loaded.lossy);
    firewall.log_rules = loaded.log_rules;
    firewall.set_uncounted(loaded.uncounted_rules, loaded.uncounted_policies);
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
    let mut effects = relist(state);
    if state.change.unsettled && state.change.pending.is_none() && state.staged() == 0 {
        effects.extend(state.settle_shelf());
    }
    effects
}

/// v4 before v6 within a back end, nft before legacy.
fn order(id: FirewallId) -> impl Ord {
    (id.backend, id.family, id.nth)
}

fn insert(state: &mut State, at: usize, mut firewall: Firewall) {
    shelf::show(&state.shelf, &mut firewall);
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

/// What the cursor was on, in words that outlive the structure.
enum Under {
    /// A rule of the kernel, with the number that it had on the screen.
    Kernel(RuleIdx, usize),
    /// A rule that is only staged: known by its text.
    Staged(TextId),
    /// The policy.
    Policy,
}

/// A structure took the place of another: what is staged is put on the new one, and the cursor follows the
/// rule that it was on, or says that it went.
fn replace(state: &mut State, at: usize, mut new: Firewall, author: Option<Author>) {
    let selected = state.selected().filter(|s| s.firewall == at);
    let old = &mut state.firewalls[at];
    let under = selected.and_then(|s| Some(under(old, s.row?)));
    let names = |set: &Ruleset, chain: ChainIdx| {
        let chain = set.chain(chain);
        (
            set.table(chain.table()).name().to_owned(),
            chain.name().to_owned(),
        )
    };
    let place = selected.map(|s| names(&old.ruleset, s.chain));
    let trail: Vec<_> = state
        .board
        .trail
        .iter()
        .map(|(p, _)| (p.firewall == at).then(|| names(&old.ruleset, p.chain)))
        .collect();
    let stage = old.stage().cloned();
    old.restage(None);
    let heirs = new.inherit(old, state.now);
    let same = new.has_structure_of(old);
    let was_staged = stage.as_ref().is_some_and(|stage| !stage.is_empty());
    let remarks = rebase(&mut new, stage);
    // Nothing is left to stage: the change that was applied was this. Not every back end tells who made it.
    let is_applied = was_staged
        && new.stage().is_none_or(Stage::is_empty)
        && state.change.is_going_on(state.now);
    shelf::take_back(&state.shelf, &old.ruleset, &mut new);
    let is_by_guard = author
        .as_ref()
        .is_some_and(|who| state.change.is_by_guard(&who.name, state.now));
    let is_ours = is_by_guard || is_applied;
    let by = author
        .map(|who| format!(" by {} ({})", who.name, who.pid))
        .unwrap_or_default();
    let mut words = format!("{} changed{by}", state.label(new.id));
    let find = |(table, chain): &(String, String)| new.ruleset.find_chain(table, chain);
    let mut wanted = None;
    match (&place, under) {
        (Some(place), _) if find(place).is_none() => words = format!("chain {} went{by}", place.1),
        (_, Some(Under::Kernel(rule, number))) => match heirs.of(rule) {
            Some(rule) => wanted = Some(new.shown_rule(rule)),
            None => words = format!("rule {number} went{by}"),
        },
        (_, Some(Under::Staged(text))) => {
            wanted = new
                .ruleset
                .rules()
                .find(|rule| new.ruleset.text_id(*rule) == text);
        }
        _ => {}
    }
    let mut trail = trail.iter();
    state
        .board
        .trail
        .retain_mut(|(place, _)| match trail.next() {
            Some(Some(names)) => find(names).map(|to| place.chain = to).is_some(),
            _ => true,
        });
    if let (Some(here), Some(names)) = (&mut state.board.place, &place)
        && here.firewall == at
    {
        match find(names) {
            Some(chain) => here.chain = chain,
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
    if !remarks.is_empty() {
        act::say(state, remarks);
    } else if !same && !is_ours {
        act::say(state, words);
    }
}

/// What the cursor is on.
fn under(firewall: &Firewall, row: Row) -> Under {
    match row {
        Row::Policy => Under::Policy,
        Row::Rule(rule, number) => match firewall.kernel_rule(rule) {
            Some(rule) => Under::Kernel(rule, number),
            None => Under::Staged(firewall.ruleset.text_id(rule)),
        },
    }
}

/// Puts what was staged on the new structure; gives what could not be carried over, in words.
fn rebase(new: &mut Firewall, stage: Option<Stage>) -> String {
    let Some(stage) = stage else {
        return String::new();
    };
    // A chain that became lossy meanwhile is locked for what is staged already, too.
    let (stage, remarks) = stage.rebase_locked(Arc::clone(&new.ruleset), new.all_lossy());
    new.restage(Some(stage));
    let words: Vec<String> = remarks.iter().map(ToString::to_string).collect();
    words.join("; ")
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
    let watch = state.board.place.and_then(|p| {
        let firewall = state.firewalls.get(p.firewall)?;
        Some(Effect::Watch(firewall.id, firewall.kernel_chain(p.chain)?))
    });
    watch.into_iter().collect()
}

/// A ruleset is no longer there.
pub(super) fn gone(state: &mut State, id: FirewallId) -> Vec<Effect> {
    state.dirty |= !state.answered;
    state.answered = true;
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
