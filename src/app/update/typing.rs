//! Keys and typed lines: from a key to an action, or to a character of the filter.

use super::{act, editing, review, stage, travel, why};
use crate::app::action::{Action, Key, Place as KeyPlace};
use crate::app::board::Pane;
use crate::app::filter::Filter;
use crate::app::message::Effect;
use crate::app::state::{Dialog, Input, Purpose, State};

/// A key was pressed.
pub(super) fn key(state: &mut State, key: Key) -> Vec<Effect> {
    state.dirty = true;
    let place = state.key_place();
    if place == KeyPlace::Editor {
        return editing::key(state, key);
    }
    match state.keymap.action(place, key) {
        Some(action) if place == KeyPlace::Input => command(state, action),
        Some(action) => act::run(state, action),
        None if place == KeyPlace::Input => match key.typed() {
            Some(c) => type_text(state, &c.to_string()),
            None => Vec::new(),
        },
        None => Vec::new(),
    }
}

/// Text was pasted: it counts in typed lines, without its control characters.
pub(super) fn paste(state: &mut State, text: &str) -> Vec<Effect> {
    let place = state.key_place();
    if !matches!(place, KeyPlace::Input | KeyPlace::Editor) {
        return Vec::new();
    }
    state.dirty = true;
    let printable = text.chars().filter(|c| !c.is_control());
    if place == KeyPlace::Editor {
        return editing::type_text(state, &printable.collect::<String>());
    }
    let clean: String = printable.take(200).collect();
    type_text(state, &clean)
}

fn type_text(state: &mut State, text: &str) -> Vec<Effect> {
    edit(state, |line| line.push_str(text))
}

/// An action while a line is being typed.
fn command(state: &mut State, action: Action) -> Vec<Effect> {
    match action {
        Action::Erase => edit(state, |line| {
            line.pop();
        }),
        Action::EraseWord => edit(state, |line| {
            let kept = line
                .trim_end()
                .rfind(char::is_whitespace)
                .map_or(0, |i| i + 1);
            line.truncate(kept);
        }),
        Action::EraseLine => edit(state, String::clear),
        Action::Accept => accept(state),
        Action::Cancel => leave(state),
        Action::Up => step(state, false),
        Action::Down => step(state, true),
        other => act::run(state, other),
    }
}

/// Changes the line being typed, and shows at once what it finds.
fn edit(state: &mut State, change: impl FnOnce(&mut String)) -> Vec<Effect> {
    match &mut state.dialog {
        Some(Dialog::Help(picker) | Dialog::Chains(picker)) => {
            change(&mut picker.query);
            picker.at = 0;
            return Vec::new();
        }
        Some(Dialog::Connections(open)) => {
            change(&mut open.picker.query);
            open.picker.at = 0;
            return Vec::new();
        }
        Some(Dialog::Why(open)) => {
            why::edit(open, change);
            return Vec::new();
        }
        Some(_) | None => {}
    }
    let Some(input) = &mut state.input else {
        return Vec::new();
    };
    change(&mut input.text);
    if input.purpose == Purpose::Filter {
        let text = input.text.clone();
        apply(state, &text);
    }
    Vec::new()
}

/// Puts a filter on the focused pane.
pub(super) fn apply(state: &mut State, text: &str) {
    match state.board.pane {
        Pane::Chains => {
            state.board.chain_filter = Filter::new(text);
            state.board.list_chains(&state.firewalls, &state.native);
        }
        Pane::Rules => {
            state.board.filter = Filter::new(text);
            travel::relist(state);
        }
        Pane::Drops => {
            state.feed.set_filter(crate::app::feed::Filter::parse(text));
            state.drops.forget();
            state
                .drops
                .take(&state.feed, state.now, state.viewport.drops);
        }
    }
}

/// Opens a line for the focused pane's filter, with what stands there.
pub(super) fn open(state: &mut State) {
    let text = match state.board.pane {
        Pane::Chains => state.board.chain_filter.text(),
        Pane::Rules => state.board.filter.text(),
        Pane::Drops => state.feed.filter().text(),
    };
    state.input = Some(Input {
        purpose: Purpose::Filter,
        text: text.to_owned(),
        before: text.to_owned(),
    });
}

fn accept(state: &mut State) -> Vec<Effect> {
    if matches!(state.dialog, Some(Dialog::Why(_))) {
        return why::accept(state);
    }
    match state.dialog.take() {
        Some(Dialog::Help(picker)) => {
            let chosen = state.help_choices(&picker).get(picker.at).copied();
            let action = chosen
                .and_then(|i| state.keymap.bindings().get(i))
                .map(|b| b.action);
            action.map_or_else(Vec::new, |action| act::run(state, action))
        }
        Some(Dialog::Chains(picker)) => {
            let chosen = state
                .chain_choices(&picker)
                .get(picker.at)
                .map(|(place, _)| *place);
            state.board.pane = Pane::Rules;
            chosen.map_or_else(Vec::new, |place| travel::go(state, place, None))
        }
        Some(Dialog::Connections(open)) => {
            let chosen = open
                .choices()
                .get(open.picker.at)
                .map(|one| one.packet.clone());
            chosen.map_or_else(Vec::new, |packet| why::about(state, packet))
        }
        other => {
            state.dialog = other;
            match state.input.take() {
                Some(input) if input.purpose == Purpose::GoOn => review::go_on(state, &input.text),
                Some(input) => {
                    stage::typed(state, input.purpose, &input.text);
                    Vec::new()
                }
                None => Vec::new(),
            }
        }
    }
}

fn leave(state: &mut State) -> Vec<Effect> {
    if why::stop_typing(state) {
        return Vec::new();
    }
    match state.input.take() {
        Some(input) if input.purpose == Purpose::Filter => apply(state, &input.before),
        Some(_) => {} // what lies under it stays open
        None => state.dialog = None,
    }
    Vec::new()
}

/// Up and down move the chosen line, or the pane under the filter.
fn step(state: &mut State, down: bool) -> Vec<Effect> {
    let count = match &state.dialog {
        Some(Dialog::Help(picker)) => state.help_choices(picker).len(),
        Some(Dialog::Chains(picker)) => state.chain_choices(picker).len(),
        Some(Dialog::Connections(open)) => open.choices().len(),
        _ => return act::run(state, if down { Action::Down } else { Action::Up }),
    };
    let picker = match &mut state.dialog {
        Some(Dialog::Help(picker) | Dialog::Chains(picker)) => Some(picker),
        Some(Dialog::Connections(open)) => Some(&mut open.picker),
        _ => None,
    };
    if let Some(picker) = picker {
        picker.at = if down {
            picker.at + 1
        } else {
            picker.at.saturating_sub(1)
        };
        picker.at = picker.at.min(count.saturating_sub(1));
    }
    Vec::new()
}
