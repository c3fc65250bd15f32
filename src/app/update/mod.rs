//! The one place where state changes: a message in, effects out. Pure.

mod act;
mod data;
mod editing;
mod probe;
mod review;
mod stage;
mod structure;
mod travel;
mod typing;
mod why;

#[cfg(test)]
mod editing_tests;
#[cfg(test)]
mod keep_tests;
#[cfg(test)]
mod log_tests;
#[cfg(test)]
mod probe_tests;
#[cfg(test)]
mod staging_tests;
#[cfg(test)]
mod structure_tests;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::app::message::{Effect, Message};
use crate::app::state::State;
use crate::app::{history, keep};

pub(super) use act::say;

/// The rules of the board are others: its lists are made anew.
pub(super) fn relist(state: &mut State) {
    state.board.list_chains(&state.firewalls, &state.native);
    state.board.measure(&state.firewalls);
    state.board.list_rules(&state.firewalls);
    state.dirty = true;
}

/// Takes in what happened at `now`, and says what is to be done about it.
pub fn update(state: &mut State, message: Message, now: Duration) -> Vec<Effect> {
    state.now = state.now.max(now);
    if state
        .said
        .as_ref()
        .is_some_and(|(_, until)| *until <= state.now)
    {
        state.said = None;
        state.dirty = true;
    }
    match message {
        Message::Key(key) => typing::key(state, key),
        Message::Paste(text) => typing::paste(state, &text),
        Message::Viewport(viewport) => travel::viewport(state, viewport),
        Message::Wake => {
            state.woken = state.now;
            state
                .drops
                .look(&state.feed, state.now, state.viewport.drops);
            state.dirty = true;
            data::listen(state)
        }
        Message::Names(names) => editing::know(state, names),
        Message::Resolved { name, result } => editing::resolved(state, &name, result),
        Message::RuleChecked { spec, result } => editing::checked(state, &spec, result),
        Message::SavedSeen(number, found) => {
            keep::found(state, number, found);
            Vec::new()
        }
        Message::SavedWritten(done) => {
            keep::written(state, done);
            Vec::new()
        }
        Message::History(found) => {
            history::read(state, found);
            Vec::new()
        }
        Message::PastState(found) => {
            history::stage(state, found);
            Vec::new()
        }
        Message::Answered(answered) => why::answered(state, *answered),
        Message::Beside(beside) => why::beside(state, beside),
        Message::Offered(offers) => why::offered(state, offers),
        // What the rules are decides about packets: the open question is asked again.
        other @ (Message::Loaded(_) | Message::Gone(_) | Message::Native(_)) => {
            match &other {
                Message::Loaded(loaded) => state.heard.insert(loaded.id),
                Message::Gone(id) => state.heard.insert(*id),
                _ => false,
            };
            let mut effects = data::take(state, other);
            effects.extend(why::again(state));
            effects
        }
        // It comes with every reading.
        other @ Message::Conntrack(_) => {
            let mut effects = data::take(state, other);
            effects.extend(why::refresh(state));
            effects
        }
        other => data::take(state, other),
    }
}
