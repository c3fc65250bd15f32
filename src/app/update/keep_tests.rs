//! Saving for the next boot, and the history, as tables of keys and what the state comes to.

use std::sync::Arc;

use super::tests::{board, press};
use crate::app::history::{Locked, Past, PastState};
use crate::app::keep::{Difference, KeptFile, Step};
use crate::app::message::{Effect, Message};
use crate::app::state::{Dialog, State};
use crate::edit::Diff;
use crate::ruleset::Ruleset;

fn send(state: &mut State, message: Message) {
    assert_eq!(super::tests::send(state, 1, message), []);
}

fn said(state: &State) -> &str {
    state.said.as_ref().map_or("", |(words, _)| words)
}

fn step(state: &State) -> &Step {
    match &state.dialog {
        Some(Dialog::Keep(keep)) => &keep.step,
        other => panic!("{other:?}"),
    }
}

/// The number of the question that the effects ask.
fn asked(effects: &[Effect], without: bool) -> u64 {
    match effects {
        [Effect::LookAtSaved(look)] => {
            assert_eq!(look.without_runtime, without);
            assert!(look.prefer.is_some(), "the back end in view");
            look.number
        }
        other => panic!("{other:?}"),
    }
}

fn differing(differs: bool) -> Difference {
    Difference {
        place: "loaded at boot by netfilter-persistent".to_owned(),
        files: vec![KeptFile {
            differs,
            ..KeptFile::default()
        }],
    }
}

#[test]
fn what_was_shown_is_written_and_nothing_else() {
    let mut state = board();
    let first = asked(&press(&mut state, &["S"]), false);
    assert_eq!(press(&mut state, &["y"]), [], "not before it is shown");
    let second = asked(&press(&mut state, &["t"]), true);
    send(&mut state, Message::SavedSeen(first, Ok(differing(true))));
    assert_eq!(
        *step(&state),
        Step::Looking,
        "an answer to the other question"
    );
    send(&mut state, Message::SavedSeen(second, Ok(differing(true))));
    assert_eq!(press(&mut state, &["<Enter>"]), [], "never by Enter");
    assert_eq!(press(&mut state, &["y"]), [Effect::WriteSaved(second)]);
    assert_eq!(press(&mut state, &["y", "t"]), [], "once");
    send(
        &mut state,
        Message::SavedWritten(Ok("written: x".to_owned())),
    );
    assert!(state.dialog.is_none());
    assert_eq!(said(&state), "written: x");
}

#[test]
fn nothing_differs_or_it_is_refused() {
    let mut state = board();
    let n = asked(&press(&mut state, &["S"]), false);
    send(&mut state, Message::SavedSeen(n, Ok(differing(false))));
    assert_eq!(press(&mut state, &["y"]), []);
    assert!(said(&state).contains("nothing differs"));
    press(&mut state, &["q"]);
    assert!(state.dialog.is_none());
    let n = asked(&press(&mut state, &["S"]), false);
    let refused = || ("ufw is in charge".to_owned(), "use ufw".to_owned());
    send(&mut state, Message::SavedSeen(n, Err(refused())));
    assert!(matches!(step(&state), Step::Refused(..)));
    assert_eq!(press(&mut state, &["y"]), []);
    state.dialog = None;
    state.change.refused = Some("a saved dump".to_owned());
    assert_eq!(press(&mut state, &["S"]), []);
    assert_eq!(said(&state), "a saved dump");
}

fn past(id: &str) -> Past {
    Past {
        id: id.to_owned(),
        backup: format!("backup-{id}"),
        lines: vec!["filter INPUT - 1: -j DROP".to_owned()],
        ..Past::default()
    }
}

/// The board with the history open, the second of two changes chosen.
fn history() -> State {
    let mut state = board();
    assert_eq!(press(&mut state, &["H"]), [Effect::ReadHistory]);
    assert_eq!(
        press(&mut state, &["s", "<Enter>", "j"]),
        [],
        "still being read"
    );
    send(&mut state, Message::History(Ok(vec![past("b"), past("a")])));
    press(&mut state, &["j", "j", "j"]);
    state
}

fn goal(state: &State, text: &str) -> PastState {
    let origin = state.firewalls[0].id.origin().unwrap();
    PastState {
        backup: "backup-a".to_owned(),
        rulesets: vec![(
            origin,
            Arc::new(Ruleset::parse(text.as_bytes(), origin).unwrap()),
        )],
        locked: Vec::new(),
    }
}

const GOAL: &str = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:other - [0:0]\n-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT\n-A INPUT -j other\n-A INPUT -i lo -j ACCEPT\nCOMMIT\n";

#[test]
fn a_past_state_is_staged_again() {
    let mut state = history();
    press(&mut state, &["<Enter>"]);
    assert!(matches!(&state.dialog, Some(Dialog::History(h)) if h.page == Some(0) && h.at == 1));
    let effects = press(&mut state, &["s"]);
    assert_eq!(effects, [Effect::ReadBackup("backup-a".to_owned())]);
    let before = goal(&state, GOAL);
    let wanted = Arc::clone(&before.rulesets[0].1);
    send(&mut state, Message::PastState(Ok(before)));
    assert!(state.dialog.is_none(), "{}", said(&state));
    assert!(state.staged() > 0);
    let staged = state.firewalls[0].stage().unwrap().staged();
    assert!(Diff::between(&staged, &wanted).is_empty());
    // Nothing is staged over what is staged already.
    press(&mut state, &["H"]);
    send(&mut state, Message::History(Ok(vec![past("a")])));
    assert_eq!(press(&mut state, &["s"]), []);
    assert!(said(&state).contains("staged already"));
}

#[test]
fn a_past_state_that_cannot_be_staged_says_why() {
    let mut state = history();
    press(&mut state, &["s"]);
    let mut past = goal(&state, GOAL);
    past.locked = vec![Locked {
        origin: past.rulesets[0].0.to_string(),
        table: "filter".to_owned(),
        chain: "INPUT".to_owned(),
        why: "a set".to_owned(),
    }];
    send(&mut state, Message::PastState(Ok(past)));
    assert!(
        said(&state).contains("not the whole truth"),
        "{}",
        said(&state)
    );
    send(&mut state, Message::PastState(Err("damaged".to_owned())));
    assert_eq!(said(&state), "damaged");
    assert_eq!(state.staged(), 0);
    assert!(state.dialog.is_some());
    press(&mut state, &["<Esc>"]);
    assert!(state.dialog.is_none());
    send(&mut state, Message::PastState(Err("late".to_owned())));
    assert_eq!(said(&state), "damaged", "nobody waits for it any more");
}
