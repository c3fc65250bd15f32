//! Staging, review and the answer, as tables of keys and what the state comes to.

use std::sync::Arc;
use std::time::Duration;

use super::tests::{WEB, board, count, id, loaded, place, press, send};
use crate::app::change::{Checked, Checks, Pending, Phase, Session};
use crate::app::message::{Effect, Message};
use crate::app::shelf::Reshelve;
use crate::app::state::{Dialog, State};
use crate::edit::Mark;
use crate::ruleset::{Family, RuleIdx};

/// The rules of the chain in view: mark, number, text.
fn rows(state: &State) -> Vec<String> {
    let (firewall, place) = (state.firewall().unwrap(), state.board.place.unwrap());
    let rules = firewall.ruleset.chain(place.chain).rules().iter();
    let row = |(at, rule): (usize, &RuleIdx)| {
        let mark = match firewall.mark(*rule) {
            Mark::Same => ' ',
            Mark::Moved => 'm',
            Mark::New => '+',
            Mark::Changed => '~',
            Mark::Deleted => '-',
            Mark::Disabled => '#',
        };
        let number = firewall
            .number(*rule, at)
            .map_or("·".to_owned(), |n| n.to_string());
        let spec = String::from_utf8_lossy(firewall.ruleset.spec(*rule)).into_owned();
        format!("{mark}{number} {spec}")
    };
    rules.enumerate().map(row).collect()
}

fn said(state: &State) -> &str {
    state.said.as_ref().map_or("", |(words, _)| words)
}

fn packets(state: &State) -> Vec<u64> {
    let (firewall, place) = (state.firewall().unwrap(), state.board.place.unwrap());
    let rules = firewall.ruleset.chain(place.chain).rules().iter();
    rules.map(|rule| firewall.shown(*rule).packets).collect()
}

#[test]
fn a_rule_is_moved_and_its_counter_goes_on() {
    let mut state = board();
    count(&mut state, 1, "INPUT", &[10, 20, 30, 40], Some(5));
    press(&mut state, &["g", "j", "j", "K"]);
    assert_eq!(
        rows(&state),
        [
            " 1 -i lo -j ACCEPT",
            "m2 -p tcp -m tcp --dport 443 -j ACCEPT",
            " 3 -p tcp -m tcp --dport 443 -j DROP",
            " 4 -p tcp -m tcp --dport 80 -j web",
        ]
    );
    assert_eq!(
        place(&state),
        ("INPUT".to_owned(), 2),
        "the cursor goes along"
    );
    assert_eq!(packets(&state), [10, 30, 20, 40]);
    // The kernel still counts in its own order.
    let kernel = Arc::clone(state.firewalls[0].kernel());
    assert_eq!(kernel.rule_count(), 6);
    count(&mut state, 2, "INPUT", &[10, 20, 37, 40], Some(5));
    assert_eq!(packets(&state), [10, 37, 20, 40]);
    press(&mut state, &["u"]);
    assert_eq!(packets(&state), [10, 20, 37, 40]);
    assert_eq!(state.staged(), 0);
    press(&mut state, &["U"]);
    assert_eq!(packets(&state), [10, 37, 20, 40]);
    assert_eq!(state.staged(), 1);
}

#[test]
fn deleted_and_disabled_rules_stay_in_sight_without_a_number() {
    let mut state = board();
    press(&mut state, &["g", "j", "d", "j", "#"]);
    assert_eq!(
        rows(&state),
        [
            " 1 -i lo -j ACCEPT",
            "-· -p tcp -m tcp --dport 443 -j DROP",
            "#· -p tcp -m tcp --dport 443 -j ACCEPT",
            " 2 -p tcp -m tcp --dport 80 -j web",
        ]
    );
    press(&mut state, &["#", "k", "d"]);
    assert_eq!(state.staged(), 0, "both put back");
}

#[test]
fn rules_go_to_numbers_and_to_other_chains() {
    let mut state = board();
    press(&mut state, &["g", "M", "3", "<Enter>"]);
    assert!(
        rows(&state)[2].starts_with("m3 -i lo"),
        "{:?}",
        rows(&state)
    );
    press(&mut state, &["M", "w", "e", "b", "<Space>", "1", "<Enter>"]);
    assert_eq!(rows(&state).len(), 3);
    assert_eq!(place(&state).0, "INPUT", "the view stays");
    press(&mut state, &["]", "]", "]"]);
    assert_eq!(place(&state).0, "web");
    assert_eq!(rows(&state)[0], "m1 -i lo -j ACCEPT");
    press(&mut state, &["M", "n", "o", "<Enter>"]);
    assert!(
        said(&state).contains("expected a number"),
        "{}",
        said(&state)
    );
}

#[test]
fn chains_and_policies_are_staged_too() {
    let mut state = board();
    press(&mut state, &["P"]);
    let firewall = &state.firewalls[0];
    let input = firewall.ruleset.find_chain("filter", "INPUT").unwrap();
    assert!(firewall.policy_is_staged(input));
    press(&mut state, &["1", "i", "n", "e", "w", "<Enter>"]);
    assert!(
        state.firewalls[0]
            .ruleset
            .find_chain("filter", "new")
            .is_some()
    );
    press(
        &mut state,
        &[
            "2", "]", "]", "]", "1", "e", "<C-u>", "h", "t", "t", "p", "<Enter>",
        ],
    );
    assert_eq!(place(&state).0, "http", "the view follows the new name");
    press(&mut state, &["d"]);
    assert!(said(&state).contains("jumped to"), "{}", said(&state));
}

#[test]
fn what_is_staged_is_put_on_a_ruleset_that_changed_meanwhile() {
    let mut state = board();
    press(&mut state, &["g", "j", "j", "K"]);
    let text = WEB.replace(
        "[0:0] -A INPUT -i lo -j ACCEPT\n",
        "[0:0] -A INPUT -i lo -j ACCEPT\n[0:0] -A INPUT -s 192.0.2.1/32 -j DROP\n",
    );
    let handles = [10, 20, 11, 12, 13, 14, 15];
    send(
        &mut state,
        3,
        Message::Loaded(Box::new(loaded(Family::V4, &text, &handles))),
    );
    assert_eq!(
        rows(&state),
        [
            " 1 -i lo -j ACCEPT",
            " 2 -s 192.0.2.1/32 -j DROP",
            "m3 -p tcp -m tcp --dport 443 -j ACCEPT",
            " 4 -p tcp -m tcp --dport 443 -j DROP",
            " 5 -p tcp -m tcp --dport 80 -j web",
        ]
    );
    assert_eq!(place(&state).1, 3, "the cursor is on the moved rule");
    // The rule is gone: it is said, and nothing is guessed.
    let text = text.replace("[0:0] -A INPUT -p tcp -m tcp --dport 443 -j ACCEPT\n", "");
    let handles = [10, 20, 11, 13, 14, 15];
    send(
        &mut state,
        4,
        Message::Loaded(Box::new(loaded(Family::V4, &text, &handles))),
    );
    assert!(said(&state).contains("gone meanwhile"), "{}", said(&state));
    assert_eq!(state.staged(), 0);
}

#[test]
fn a_stage_that_was_applied_is_none() {
    let mut state = board();
    press(&mut state, &["g", "j", "d"]);
    let text = WEB.replace("[0:0] -A INPUT -p tcp -m tcp --dport 443 -j DROP\n", "");
    send(
        &mut state,
        3,
        Message::Loaded(Box::new(loaded(Family::V4, &text, &[10, 12, 13, 14, 15]))),
    );
    assert_eq!(state.staged(), 0);
    assert_eq!(rows(&state).len(), 3);
}

fn checked(state: &State, safe: bool) -> Message {
    Message::Checked(Checked {
        of: state.staged_counts(),
        sessions: vec![Session {
            words: "198.51.100.20 → :22".to_owned(),
            safe,
        }],
        ..Checked::default()
    })
}

#[test]
fn nothing_is_applied_unchecked() {
    let mut state = board();
    assert!(press(&mut state, &["A"]).is_empty());
    assert!(said(&state).contains("nothing is staged"));
    let effects = press(&mut state, &["g", "j", "d", "A"]);
    assert!(effects.contains(&Effect::Check));
    assert!(
        press(&mut state, &["y"]).is_empty(),
        "the checks are not done"
    );
    let message = checked(&state, true);
    send(&mut state, 1, message);
    assert!(
        press(&mut state, &["<Enter>"]).is_empty(),
        "Enter never applies"
    );
    assert_eq!(
        press(&mut state, &["y"]),
        [Effect::Apply(Duration::from_secs(60), Reshelve::default())]
    );
    assert!(press(&mut state, &["y"]).is_empty(), "once is enough");
    send(
        &mut state,
        2,
        Message::Refused("no".to_owned(), "try".to_owned()),
    );
    assert_eq!(state.staged(), 1, "what is staged stays staged");
    assert_eq!(
        press(&mut state, &["+", "y"]),
        [Effect::Apply(Duration::from_secs(120), Reshelve::default())]
    );
}

#[test]
fn checks_of_another_stage_count_for_nothing() {
    let mut state = board();
    press(&mut state, &["g", "j", "d", "A"]);
    let old = Message::Checked(Checked {
        of: vec![(id(Family::V4), 7)],
        ..Checked::default()
    });
    assert_eq!(send(&mut state, 1, old), [Effect::Check]);
    assert!(
        matches!(&state.dialog, Some(Dialog::Review(r)) if matches!(r.checks, Checks::Waiting))
    );
}

#[test]
fn a_risky_change_asks_for_a_word() {
    let mut state = board();
    press(&mut state, &["g", "j", "d", "A"]);
    let message = checked(&state, false);
    send(&mut state, 1, message);
    assert!(press(&mut state, &["y"]).is_empty());
    assert!(
        press(&mut state, &["y", "e", "s", "<Enter>"]).is_empty(),
        "another word"
    );
    assert!(press(&mut state, &["y", "<Esc>"]).is_empty());
    assert!(
        matches!(state.dialog, Some(Dialog::Review(_))),
        "Esc leaves the word, not the review"
    );
    let effects = press(&mut state, &["y", "r", "i", "s", "k", "<Enter>"]);
    assert_eq!(
        effects,
        [Effect::Apply(Duration::from_secs(60), Reshelve::default())]
    );
}

fn pending(seconds: u64) -> Message {
    Message::Pending(Some(Pending {
        id: "1".to_owned(),
        who: "root".to_owned(),
        deadline: Duration::from_secs(seconds),
        window: Duration::from_secs(60),
        undoes: Vec::new(),
        phase: Phase::Waiting,
    }))
}

#[test]
fn a_pending_change_is_answered_by_y_or_r_and_by_nothing_else() {
    let mut state = board();
    press(&mut state, &["g", "j", "d", "A"]);
    let message = checked(&state, true);
    send(&mut state, 1, message);
    press(&mut state, &["y"]);
    send(&mut state, 2, pending(62));
    assert!(
        matches!(state.dialog, Some(Dialog::Pending(_))),
        "the question comes by itself"
    );
    assert!(press(&mut state, &["<Enter>", "d", "a", "<Space>"]).is_empty());
    assert_eq!(
        press(&mut state, &["+"]),
        [Effect::Extend(Duration::from_secs(60))]
    );
    assert_eq!(press(&mut state, &["y"]), [Effect::Confirm]);
    assert_eq!(press(&mut state, &["<Esc>", "A", "r"]), [Effect::Revert]);
    assert_eq!(
        state.next_wake(),
        Some(Duration::from_secs(3)),
        "the countdown ticks"
    );
    send(&mut state, 3, Message::Pending(None));
    assert!(state.dialog.is_none());
}

#[test]
fn another_ones_change_shows_its_bar_and_opens_nothing() {
    let mut state = board();
    send(&mut state, 2, pending(62));
    assert!(state.dialog.is_none());
    press(&mut state, &["A"]);
    assert!(matches!(state.dialog, Some(Dialog::Pending(_))));
}

#[test]
fn a_read_only_board_stages_nothing() {
    let mut state = board();
    state.change.locked = Some("read only".to_owned());
    press(&mut state, &["g", "d", "J", "#", "D", "P", "M"]);
    assert_eq!(state.staged(), 0);
    assert_eq!(said(&state), "read only");
    assert!(state.input.is_none());
}

/// A revert whose end nobody saw leaves a rule on the shelf that the kernel holds. Disabled again and kept, it stays
/// there, also where the answer is known before the kernel was read.
#[test]
fn a_rule_left_on_the_shelf_is_disabled_like_any_other() {
    let mut state = board();
    press(&mut state, &["g", "j", "#"]);
    let left = state.firewall().unwrap().stage().unwrap().shelf();
    assert_eq!(left.rules.len(), 1);
    press(&mut state, &["#"]);
    send(&mut state, 1, Message::Shelf(left.clone()));
    press(&mut state, &["g", "j", "#", "A"]);
    let message = checked(&state, true);
    send(&mut state, 1, message);
    let effects = press(&mut state, &["y"]);
    let comes = Reshelve {
        come: left.rules.clone(),
        gone: Vec::new(),
    };
    assert_eq!(effects, [Effect::Apply(Duration::from_secs(60), comes)]);
    send(&mut state, 2, pending(62));
    let end = Message::Ended(Some(true), "the change is kept".to_owned());
    send(&mut state, 3, end);
    let effects = send(&mut state, 3, Message::Pending(None));
    let is_written = |effect: &Effect| matches!(effect, Effect::Reshelve(_));
    assert!(!effects.iter().any(is_written), "{effects:?}");
    assert_eq!(state.shelf, left);
}

/// A chain becomes lossy while something is staged: it is locked for that stage as for a fresh one.
#[test]
fn a_chain_that_becomes_lossy_is_locked_under_a_stage_too() {
    let mut state = board();
    press(&mut state, &["g", "j", "d"]);
    assert_eq!(state.staged(), 1);
    let mut again = loaded(Family::V4, WEB, &[]);
    let chain = again.ruleset.find_chain("filter", "INPUT").unwrap();
    again.lossy = vec![crate::ruleset::Lossy {
        chain,
        position: 3,
        why: "a set decides".to_owned(),
        does_more: false,
    }];
    send(&mut state, 1, Message::Loaded(Box::new(again)));
    assert_eq!(state.staged(), 0, "what was staged there fell away");
    press(&mut state, &["g", "d"]);
    assert_eq!(state.staged(), 0);
    assert!(said(&state).contains("a set decides"), "{}", said(&state));
}
