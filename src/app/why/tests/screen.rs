//! The screen and its keys: from the board to an answer, through it, and back.

use std::time::Duration;

use super::*;
use crate::app::action::Keymap;
use crate::app::attribution::LogRules;
use crate::app::message::{Effect, Loaded, Message, Viewport};
use crate::app::state::{Dialog, Facts as BoxFacts, State};
use crate::app::update::update;
use crate::app::why::offer::Offers;
use crate::app::why::question::Beside;
use crate::app::why::{Row, Why};
use crate::flow::ConntrackState;
use crate::verdict::Cause;

/// A screen that took this answer, so high.
fn screen(answer: Answered, height: usize) -> Why {
    let mut why = Why::asked(
        answer.number,
        vec![answer.probe.clone()],
        None,
        Duration::ZERO,
    );
    assert!(why.take(answer, height));
    why
}

#[test]
fn the_path_is_folded_where_it_does_not_fit_and_opens() {
    let why = screen(said("tcp 203.0.113.9 -> :443"), 30);
    // nat passed; INPUT: three that do not match, the jump; web: one that does not, the one that decides.
    let shapes = |why: &Why| -> Vec<&'static str> {
        let shape = |row: &Row| match row {
            Row::Chain(_) => "chain",
            Row::Passed(..) => "passed",
            Row::Fold(..) => "fold",
            Row::Step(_) => "step",
            Row::Would(_) => "would",
            Row::End => "end",
        };
        why.rows.iter().map(shape).collect()
    };
    let whole = [
        "passed", "chain", "step", "step", "step", "step", "chain", "step", "step", "would",
    ];
    assert_eq!(shapes(&why), whole);
    assert_eq!(why.deciding_row(), Some(8));
    assert_eq!(why.cursor.at, 8, "the cursor begins where it is decided");

    let mut why = screen(said("tcp 203.0.113.9 -> :443"), 8);
    let folded = [
        "passed", "chain", "fold", "step", "chain", "step", "step", "would",
    ];
    assert_eq!(shapes(&why), folded);
    why.go(-4, 8);
    assert!(why.unfold(8), "the fold opens");
    assert_eq!(shapes(&why), whole);
    assert!(!why.unfold(8), "a rule does not");
    why.unfold_all(8);
    assert!(!shapes(&why).contains(&"passed"), "everything is open");
    why.unfold_all(8);
    assert_eq!(shapes(&why), folded);
    why.resize(30);
    assert_eq!(shapes(&why), whole, "now it fits");

    let open = screen(said("tcp 192.0.2.9 -> 192.0.2.10:25 out eth0"), 30);
    let policy = shapes(&open)[open.deciding_row().unwrap()];
    assert_eq!(policy, "step", "a policy decides: {:?}", open.rows);
}

#[test]
fn an_answer_that_says_the_same_changes_nothing() {
    let question = asked(
        vec![read_words("tcp 203.0.113.9 -> :443").unwrap()],
        None,
        true,
    );
    let first = answered(&question);
    let mut why = screen(first.clone(), 30);
    why.go(-3, 30);
    let at = why.cursor.at;
    assert!(!why.take(first.clone(), 30));
    assert_eq!(why.cursor.at, at);
    let other = Answered { number: 7, ..first };
    assert!(!why.take(other, 30), "an answer to another question");
}

/// A board with the rules loaded.
fn board() -> State {
    let mut state = State::new(
        BoxFacts::default(),
        Keymap::shipped().unwrap(),
        Duration::from_secs(1),
    );
    send(&mut state, load(RULES));
    let legacy = Origin::new(Family::V4, Backend::Legacy);
    send(&mut state, Message::Gone(legacy.into()));
    let viewport = Viewport {
        hidden: false,
        chains: 20,
        rules: 20,
        drops: 6,
        dialog: 30,
        single: false,
    };
    send(&mut state, Message::Viewport(viewport));
    state
}

fn load(text: &str) -> Message {
    let ruleset = rules(text);
    Message::Loaded(Box::new(Loaded {
        id: id(),
        handles: Vec::new(),
        log_rules: LogRules::of(&ruleset),
        ruleset,
        lossy: Vec::new(),
        uncounted_rules: Vec::new(),
        uncounted_policies: Vec::new(),
        author: None,
    }))
}

fn send(state: &mut State, message: Message) -> Vec<Effect> {
    let now = state.now;
    update(state, message, now)
}

/// Presses keys; the last question that came of them.
fn press(state: &mut State, keys: &[&str]) -> Option<Question> {
    let mut last = None;
    for key in keys {
        let key = key.parse().unwrap();
        for effect in send(state, Message::Key(key)) {
            if let Effect::Explain(question) = effect {
                last = Some(*question);
            }
        }
    }
    last
}

fn why(state: &State) -> &Why {
    match &state.dialog {
        Some(Dialog::Why(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn typed(state: &mut State, text: &str) -> Option<Question> {
    let keys: Vec<String> = text
        .chars()
        .map(|c| {
            if c == ' ' {
                "<Space>".to_owned()
            } else {
                c.to_string()
            }
        })
        .collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    press(state, &keys)
}

#[test]
fn from_a_rule_to_the_answer_and_back_to_the_board() {
    let mut state = board();
    press(&mut state, &["j", "j", "j", "j"]);
    let question = press(&mut state, &["w"]).unwrap();
    assert!(question.live && question.meets.is_some());
    assert!(why(&state).answer.is_none());
    send(&mut state, Message::Answered(Box::new(answered(&question))));
    assert!(why(&state).answer.is_some());
    // The rule that decides is in another chain: Enter goes there, Backspace comes back.
    press(&mut state, &["<Enter>"]);
    assert!(state.dialog.is_none());
    let place = |state: &State| {
        let place = state.board.place.unwrap();
        state.firewalls[0]
            .ruleset
            .chain(place.chain)
            .name()
            .to_owned()
    };
    assert_eq!((place(&state).as_str(), state.board.rules.at), ("web", 1));
    press(&mut state, &["<Backspace>"]);
    assert_eq!((place(&state).as_str(), state.board.rules.at), ("INPUT", 4));
}

#[test]
fn a_packet_is_typed_checked_and_asked() {
    let mut state = board();
    press(&mut state, &["W"]);
    assert_eq!(typed(&mut state, "tcp 1.2.3.4 -> :99999"), None);
    let problem = |state: &State| why(state).line.as_ref().unwrap().problem.clone();
    assert!(problem(&state).unwrap().contains(":99999"));
    assert_eq!(press(&mut state, &["<Enter>"]), None);
    assert!(
        why(&state).line.is_some(),
        "what is no packet stays to be mended"
    );
    press(&mut state, &["<Backspace>"]);
    assert_eq!(problem(&state), None);
    let question = press(&mut state, &["<Enter>"]).unwrap();
    assert_eq!(question.packets[0].dport, Some(9999));
    assert!(question.meets.is_none());
    send(&mut state, Message::Answered(Box::new(answered(&question))));
    // Once more: with the packet that was answered, interface and all.
    press(&mut state, &["/"]);
    let line = why(&state).line.as_ref().unwrap().text.clone();
    assert_eq!(line, "tcp 1.2.3.4 -> 10.0.0.5:9999 in eth0 new");
    press(&mut state, &["<Esc>"]);
    assert!(why(&state).line.is_none() && why(&state).answer.is_some());
    press(&mut state, &["<Esc>"]);
    assert!(state.dialog.is_none());
    // Nothing asked, nothing to go back to.
    press(&mut state, &["W", "<Esc>"]);
    assert!(state.dialog.is_none());
    // Pasted text has no say but in the line, and no line break.
    press(&mut state, &["W"]);
    send(&mut state, Message::Paste("tcp\n\u{1b}".to_owned()));
    assert_eq!(why(&state).line.as_ref().unwrap().text, "tcp");
}

#[test]
fn keys_of_the_board_do_nothing_behind_the_screen() {
    let mut state = board();
    press(&mut state, &["j", "w"]);
    let before = (state.board.rules.at, state.board.pane, state.board.sort);
    press(&mut state, &["s", "3", "<Tab>", "x", "]", "j", "n", "0"]);
    assert_eq!(
        (state.board.rules.at, state.board.pane, state.board.sort),
        before
    );
    assert!(matches!(state.dialog, Some(Dialog::Why(_))));
}

#[test]
fn new_rules_and_time_ask_again_with_the_same_packet() {
    let mut state = board();
    let question = press(&mut state, &["j", "w"]).unwrap();
    let effects = send(
        &mut state,
        load(&RULES.replace("-A web -s 203.0.113.0/24 -j DROP\n", "")),
    );
    let again = effects.iter().find_map(|effect| match effect {
        Effect::Explain(question) => Some(question),
        _ => None,
    });
    let again = again.expect("asked again");
    assert_eq!(again.number, question.number + 1);
    assert!(!Arc::ptr_eq(
        &again.sets[0].ruleset,
        &question.sets[0].ruleset
    ));
    // The answer to the old question comes too late.
    send(&mut state, Message::Answered(Box::new(answered(&question))));
    assert!(why(&state).answer.is_none());
    send(&mut state, Message::Answered(Box::new(answered(again))));
    let packet = why(&state).answer.as_ref().unwrap().probe.clone();

    let gauge = || Message::Conntrack(Ok(ConntrackState::Absent));
    let explains = |effects: &[Effect]| {
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Explain(_)))
    };
    let at = |state: &mut State, seconds| update(state, gauge(), Duration::from_secs(seconds));
    assert!(!explains(&at(&mut state, 2)));
    assert!(!explains(&at(&mut state, 6)), "not all was said yet");
    let offers = Offers {
        number: why(&state).number,
        list: Vec::new(),
    };
    send(&mut state, Message::Offered(offers));
    assert!(explains(&at(&mut state, 6)));
    assert!(!explains(&at(&mut state, 7)), "not with every reading");
    assert_eq!(why(&state).packets, [packet]);
    // What the box says comes after, and only news are drawn.
    let number = why(&state).number;
    let beside = |causes: Vec<Cause>| Message::Beside(Beside { number, causes });
    state.dirty = false;
    send(&mut state, beside(Vec::new()));
    assert!(std::mem::take(&mut state.dirty));
    send(&mut state, beside(Vec::new()));
    assert!(!state.dirty);
}

#[test]
fn offers_of_other_rules_are_withdrawn() {
    let mut why = screen(said("tcp 203.0.113.9 -> :443"), 30);
    why.offers = Some(Vec::new());
    let fine = said("tcp 192.0.2.9 -> :443");
    assert!(why.take(fine, 30));
    assert_eq!(why.offers, None, "their steps would mean other rows");
}

#[test]
fn no_verdict_is_asked_for_before_all_that_decides_was_read() {
    let mut state = State::new(
        BoxFacts::default(),
        Keymap::shipped().unwrap(),
        Duration::from_secs(1),
    );
    send(&mut state, load(RULES));
    press(&mut state, &["W"]);
    typed(&mut state, "tcp 203.0.113.9 -> :443");
    assert_eq!(
        press(&mut state, &["<Enter>"]),
        None,
        "legacy may hold rules too"
    );
    assert_eq!(why(&state).packets.len(), 1);
    let legacy = Origin::new(Family::V4, Backend::Legacy);
    let effects = send(&mut state, Message::Gone(legacy.into()));
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Explain(_)))
    );
}

#[test]
fn nothing_to_ask_about_says_so() {
    let mut state = board();
    let lonely = state.firewalls[0]
        .ruleset
        .find_chain("filter", "lonely")
        .unwrap();
    state.board.place = Some(crate::app::board::Place {
        firewall: 0,
        chain: lonely,
    });
    state.board.list_rules(&state.firewalls);
    assert_eq!(press(&mut state, &["w"]), None);
    assert!(
        state
            .said
            .as_ref()
            .unwrap()
            .0
            .contains("nothing leads to this chain")
    );
    // An empty feed, and the chain list, ask for a packet.
    for pane in ["3", "1"] {
        press(&mut state, &[pane, "w"]);
        assert!(why(&state).line.is_some(), "{pane}");
        press(&mut state, &["<Esc>"]);
    }
}
