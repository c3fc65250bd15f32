//! A ruleset that was read anew, came or went, under a board in use.

use std::time::Duration;

use super::tests::{WEB, blank, board, count, id, loaded, place, press, send};
use crate::app::message::Message;
use crate::app::motion::Heat;
use crate::ruleset::{Author, Family};

#[test]
fn a_new_structure_carries_cursor_and_heat_by_identity() {
    let mut state = board();
    press(&mut state, &["j"]);
    count(&mut state, 1, "INPUT", &[0, 0, 0, 0], Some(0));
    count(&mut state, 2, "INPUT", &[0, 9, 0, 0], Some(0));
    // The rule under the cursor moved from place 2 to place 3: another handle, the same text.
    let moved = "\
*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:web - [0:0]
[0:0] -A INPUT -i lo -j ACCEPT
[0:0] -A INPUT -p tcp -m tcp --dport 443 -j ACCEPT
[9:540] -A INPUT -p tcp -m tcp --dport 443 -j DROP
[0:0] -A INPUT -p tcp -m tcp --dport 80 -j web
[0:0] -A web -j ACCEPT
COMMIT
";
    let mut new = loaded(Family::V4, moved, &[10, 12, 16, 13, 15]);
    new.author = Some(Author {
        generation: 3,
        pid: 4711,
        name: "ansible".to_owned(),
        cmdline: None,
        parent: None,
    });
    send(&mut state, 3, Message::Loaded(Box::new(new)));
    assert_eq!(place(&state), ("INPUT".to_owned(), 3));
    let firewall = &state.firewalls[0];
    let rules = firewall.ruleset.chains()[0].rules();
    let one = Duration::from_secs(1);
    let heats: Vec<Heat> = rules
        .iter()
        .map(|r| firewall.heat(*r, state.now, one))
        .collect();
    assert_eq!(heats, [Heat::Cold, Heat::Cold, Heat::Hot, Heat::Cold]);
    let said = state.said.as_ref().expect("said").0.clone();
    assert!(said.contains("ansible") && said.contains("4711"), "{said}");
}

#[test]
fn a_rule_that_went_is_said() {
    let mut state = board();
    press(&mut state, &["j"]);
    let without = WEB.replace("[0:0] -A INPUT -p tcp -m tcp --dport 443 -j DROP\n", "");
    send(
        &mut state,
        1,
        Message::Loaded(Box::new(loaded(
            Family::V4,
            &without,
            &[10, 12, 13, 14, 15],
        ))),
    );
    assert_eq!(state.said.as_ref().expect("said").0, "rule 2 went");
    assert_eq!(place(&state), ("INPUT".to_owned(), 2), "the place stays");
}

#[test]
fn a_chain_that_went_leaves_the_board_at_its_beginning() {
    let mut state = board();
    press(&mut state, &["j", "j", "j", "<Enter>"]);
    let text = "*filter\n:INPUT DROP [0:0]\n[0:0] -A INPUT -i lo -j ACCEPT\nCOMMIT\n";
    send(
        &mut state,
        1,
        Message::Loaded(Box::new(loaded(Family::V4, text, &[10]))),
    );
    assert_eq!(place(&state).0, "INPUT");
    assert!(
        state
            .said
            .as_ref()
            .expect("said")
            .0
            .contains("chain web went")
    );
    assert!(state.board.trail.iter().all(|(p, _)| p.chain.0 == 0));
}

#[test]
fn a_ruleset_that_comes_later_keeps_the_cursor_where_it_is() {
    let mut state = blank();
    send(
        &mut state,
        0,
        Message::Loaded(Box::new(loaded(Family::V6, WEB, &[]))),
    );
    press(&mut state, &["j"]);
    send(
        &mut state,
        1,
        Message::Loaded(Box::new(loaded(Family::V4, WEB, &[]))),
    );
    let order: Vec<Family> = state.firewalls.iter().map(|f| f.id.family).collect();
    assert_eq!(order, [Family::V4, Family::V6]);
    assert_eq!(
        (state.board.place.expect("place").firewall, place(&state).1),
        (1, 2)
    );
    send(&mut state, 2, Message::Gone(id(Family::V4)));
    assert_eq!(
        (state.board.place.expect("place").firewall, place(&state).1),
        (0, 2)
    );
    send(&mut state, 3, Message::Gone(id(Family::V6)));
    assert!(state.board.place.is_none() && state.selected().is_none());
    press(
        &mut state,
        &[
            "j", "n", "x", "<Enter>", "v", "y", "s", "m", "]", "c", "<Enter>",
        ],
    );
}

#[test]
fn a_new_structure_is_a_reading_too() {
    let mut state = board();
    count(&mut state, 1, "INPUT", &[0, 100, 0, 0], Some(0));
    let handles = [10, 11, 12, 13, 14, 15];
    let text = |packets: u64| {
        let rule = "-A INPUT -p tcp -m tcp --dport 443 -j DROP";
        WEB.replace(
            &format!("[0:0] {rule}"),
            &format!("[{packets}:{}] {rule}", packets * 60),
        )
    };
    let load = |packets| Message::Loaded(Box::new(loaded(Family::V4, &text(packets), &handles)));
    send(&mut state, 3, load(150));
    let rule = state.firewalls[0].ruleset.chains()[0].rules()[1];
    assert!(
        (state.firewalls[0].rate(rule).packets - 25.0).abs() < 1e-9,
        "50 packets in two seconds"
    );
    assert!(!state.firewalls[0].was_reset(rule));
    // An nft zeroing is a new generation: the numbers of its text went backwards.
    send(&mut state, 4, load(2));
    assert!(state.firewalls[0].was_reset(rule));
    assert!(!state.firewalls[0].rate(rule).moves());
}
