//! From what is staged to what is kept: the dialog before a change is applied, and the one after it.
//!
//! Nothing is confirmed by accident: neither dialog knows Enter, and a change that might lock the
//! administrator out asks for a typed word first.

use std::time::Duration;

use super::act;
use crate::app::action::Action;
use crate::app::change::{Checked, Checks, GO_ON, Page, Pending, Phase, Review, WINDOWS};
use crate::app::message::Effect;
use crate::app::state::{Dialog, Input, Purpose, State};
use crate::edit::{Shelved, Stage};

/// How much longer a pending change waits when asked.
const MORE: Duration = Duration::from_secs(60);

/// `A`: the pending change, else what is staged.
pub(super) fn open(state: &mut State) -> Vec<Effect> {
    if state.change.pending.is_some() {
        state.change.warned = false;
        state.dialog = Some(Dialog::Pending(0));
        return Vec::new();
    }
    if state.staged() == 0 {
        act::say(state, "nothing is staged");
        return Vec::new();
    }
    state.dialog = Some(Dialog::Review(Box::default()));
    vec![Effect::Check]
}

/// An action while what is staged is looked at.
pub(super) fn review(state: &mut State, action: Action) -> Vec<Effect> {
    let window = state.change.window();
    let Some(Dialog::Review(review)) = &mut state.dialog else {
        return Vec::new();
    };
    let busy = review.step.is_some();
    let turn = |review: &mut Review, page| {
        review.page = if review.page == page {
            Page::Summary
        } else {
            page
        };
        review.top = 0;
    };
    match action {
        Action::ReviewDiff => turn(review, Page::Diff),
        Action::ReviewCommands => turn(review, Page::Commands),
        Action::Up => review.top = review.top.saturating_sub(1),
        Action::Down => review.top = review.top.saturating_add(1).min(100_000),
        Action::PageUp => review.top = review.top.saturating_sub(10),
        Action::PageDown => review.top = review.top.saturating_add(10).min(100_000),
        Action::MoreTime => state.change.window = Some((window * 2).min(WINDOWS.1)),
        Action::LessTime => state.change.window = Some((window / 2).max(WINDOWS.0)),
        Action::Cancel if busy => act::say(state, "it is being applied; its guard answers for it"),
        Action::Cancel => state.dialog = None,
        Action::Copy => return copy(state),
        Action::Yes if busy => {}
        Action::Yes => return yes(state),
        _ => {}
    }
    Vec::new()
}

/// `y` before a change is applied.
fn yes(state: &mut State) -> Vec<Effect> {
    if let Some(why) = &state.change.refused {
        let why = why.clone();
        act::say(state, why);
        return Vec::new();
    }
    let Some(Dialog::Review(review)) = &mut state.dialog else {
        return Vec::new();
    };
    let Checks::Done(checked) = &review.checks else {
        act::say(state, "still being checked");
        return Vec::new();
    };
    if !checked.refused.is_empty() {
        act::say(state, "the dry run refused it: nothing is applied");
        return Vec::new();
    }
    if checked.is_risky() {
        state.input = Some(Input {
            purpose: Purpose::GoOn,
            ..Input::default()
        });
        return Vec::new();
    }
    apply(state)
}

/// The word to go on was typed, or another.
pub(super) fn go_on(state: &mut State, text: &str) -> Vec<Effect> {
    if text.trim() != GO_ON {
        act::say(state, "not applied");
        return Vec::new();
    }
    apply(state)
}

fn apply(state: &mut State) -> Vec<Effect> {
    if let Some(Dialog::Review(review)) = &mut state.dialog {
        review.step = Some("asking the guard".to_owned());
        review.refusal = None;
        review.page = Page::Summary;
    } else {
        return Vec::new();
    }
    let reshelve = state.about_to_shelve();
    state.shelf.take_up(&reshelve.come);
    state.change.shelving.clone_from(&reshelve.come);
    vec![Effect::Apply(state.change.window(), reshelve)]
}

/// The commands to the terminal's clipboard.
fn copy(state: &mut State) -> Vec<Effect> {
    let text = state.commands();
    act::say(state, "sent to the terminal's clipboard");
    vec![Effect::Copy(text)]
}

/// An action while a change waits for its answer.
pub(super) fn pending(state: &mut State, action: Action) -> Vec<Effect> {
    match action {
        // The same keys would apply what is staged here if nobody else's change were in the way.
        Action::Yes if !state.change.ours && state.staged() > 0 && !state.change.warned => {
            state.change.warned = true;
            act::say(
                state,
                "this is another's change, not what is staged here; once more keeps it",
            );
        }
        Action::Yes => return answer(state, Effect::Confirm, "keeping it"),
        Action::Revert => return answer(state, Effect::Revert, "reverting it"),
        Action::MoreTime => return answer(state, Effect::Extend(MORE), "a minute more"),
        Action::Cancel => state.dialog = None,
        Action::Up => scroll(state, -1),
        Action::Down => scroll(state, 1),
        Action::PageUp => scroll(state, -10),
        Action::PageDown => scroll(state, 10),
        _ => {}
    }
    Vec::new()
}

fn scroll(state: &mut State, by: isize) {
    if let Some(Dialog::Pending(top)) = &mut state.dialog {
        *top = top.saturating_add_signed(by).min(100_000);
    }
}

fn answer(state: &mut State, effect: Effect, words: &str) -> Vec<Effect> {
    match &state.change.pending {
        Some(pending) if pending.phase == Phase::Waiting => {
            act::say(state, words);
            vec![effect]
        }
        Some(_) => {
            act::say(state, "its guard is at work");
            Vec::new()
        }
        None => {
            state.dialog = None;
            Vec::new()
        }
    }
}

/// The checks are done; of a stage that has changed meanwhile they say nothing.
pub(super) fn checked(state: &mut State, checked: Checked) -> Vec<Effect> {
    let now = state.staged_counts();
    let Some(Dialog::Review(review)) = &mut state.dialog else {
        return Vec::new();
    };
    state.dirty = true;
    if checked.of != now {
        review.checks = Checks::Waiting;
        return vec![Effect::Check];
    }
    review.checks = Checks::Done(checked);
    Vec::new()
}

/// How far an apply is.
pub(super) fn step(state: &mut State, words: String) {
    if let Some(Dialog::Review(review)) = &mut state.dialog {
        review.step = Some(words);
        state.dirty = true;
    }
}

/// The apply was refused: nothing has changed.
pub(super) fn refused(state: &mut State, what: String, remedy: String) -> Vec<Effect> {
    state.dirty = true;
    match &mut state.dialog {
        Some(Dialog::Review(review)) => {
            review.step = None;
            review.refusal = Some((what, remedy));
        }
        _ => act::say(state, what),
    }
    // Words about one that is pending, if there is one, are no end of it.
    match state.change.pending {
        Some(_) => Vec::new(),
        None => state.unshelve(),
    }
}

/// What is staged without a change of rules is done; where that was all, the review is over.
pub(super) fn settled(state: &mut State, words: String, deleted: Vec<Shelved>) -> Vec<Effect> {
    for firewall in &mut state.firewalls {
        if let Some(stage) = firewall.stage().and_then(Stage::settled) {
            firewall.restage(Some(stage));
        }
    }
    if matches!(state.dialog, Some(Dialog::Review(_))) && state.change.pending.is_none() {
        state.dialog = None;
    }
    act::say(state, words);
    super::relist(state);
    let mut effects = state.delete_shelved(deleted);
    effects.push(Effect::ReadNow);
    effects
}

/// The change that waits for its answer, or that none does any more.
pub(super) fn now_pending(state: &mut State, pending: Option<Pending>) -> Vec<Effect> {
    if state.change.pending == pending {
        return Vec::new();
    }
    state.dirty = true;
    state.change.turned = Some(state.now);
    let before = std::mem::replace(&mut state.change.pending, pending);
    if before.is_none() {
        state.change.evidence = None;
    }
    match (&before, &state.change.pending) {
        // Our own dialog turns into the question once there is one; another's change only shows its bar.
        (_, Some(now)) if now.phase == Phase::Waiting => {
            if matches!(&state.dialog, Some(Dialog::Review(review)) if review.step.is_some()) {
                state.change.ours = true;
                state.dialog = Some(Dialog::Pending(0));
            }
        }
        (Some(_), None) => {
            state.change.evidence = None;
            if matches!(state.dialog, Some(Dialog::Pending(_))) {
                state.dialog = None;
            }
        }
        _ => {}
    }
    let mut effects = vec![Effect::ReadNow];
    if before.is_some() && state.change.pending.is_none() {
        let ours = std::mem::take(&mut state.change.ours);
        match state.change.kept.take() {
            Some(true) => effects.extend(state.settle_shelf()),
            Some(false) => {
                if ours {
                    forget_staged(state);
                }
                effects.extend(state.unshelve());
            }
            // The next reading tells; until then nothing leaves the shelf.
            None => {}
        }
    }
    effects
}

/// What was staged was made and taken back before the board read it in between. It is not staged any more, as in
/// all other cases; redo brings it back.
fn forget_staged(state: &mut State) {
    for firewall in &mut state.firewalls {
        let Some(mut stage) = firewall.stage().filter(|s| !s.is_empty()).cloned() else {
            continue;
        };
        while stage.undo() {}
        firewall.restage(Some(stage));
    }
    super::relist(state);
}
