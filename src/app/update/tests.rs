//! Tables of (state, message) -> (state, effects).

use std::sync::Arc;
use std::time::Duration;

use super::update;
use crate::app::action::Keymap;
use crate::app::attribution::LogRules;
use crate::app::board::{Pane, Row, Show, Sort};
use crate::app::firewall::{FirewallId, Handle};
use crate::app::message::{Effect, Loaded, Message, Viewport};
use crate::app::motion::Heat;
use crate::app::state::{Dialog, Facts, State};
use crate::ruleset::{Backend, ChainCounters, Counters, Family, Origin, Reading, Ruleset};

pub(super) const WEB: &str = "\
*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:web - [0:0]
[0:0] -A INPUT -i lo -j ACCEPT
[0:0] -A INPUT -p tcp -m tcp --dport 443 -j DROP
[0:0] -A INPUT -p tcp -m tcp --dport 443 -j ACCEPT
[0:0] -A INPUT -p tcp -m tcp --dport 80 -j web
[0:0] -A web -s 203.0.113.0/24 -j REJECT --reject-with icmp-port-unreachable
[0:0] -A web -j ACCEPT
COMMIT
";

pub(super) fn id(family: Family) -> FirewallId {
    Origin::new(family, Backend::Nft).into()
}

pub(super) fn loaded(family: Family, text: &str, handles: &[u64]) -> Loaded {
    let origin = Origin::new(family, Backend::Nft);
    let ruleset = Ruleset::parse(text.as_bytes(), origin).expect("ruleset");
    let handles: Vec<Handle> = handles.iter().map(|h| (1, *h)).collect();
    Loaded {
        id: origin.into(),
        handles,
        log_rules: LogRules::of(&ruleset),
        ruleset: Arc::new(ruleset),
        lossy: Vec::new(),
        uncounted_rules: Vec::new(),
        uncounted_policies: Vec::new(),
        author: None,
    }
}

pub(super) fn blank() -> State {
    let keymap = Keymap::shipped().expect("keymap");
    State::new(Facts::default(), keymap, Duration::from_secs(1))
}

/// A board on [`WEB`], eight rows high.
pub(super) fn board() -> State {
    let mut state = blank();
    let viewport = Viewport {
        hidden: false,
        chains: 8,
        rules: 8,
        drops: 4,
        dialog: 8,
        single: false,
    };
    send(&mut state, 0, Message::Viewport(viewport));
    send(
        &mut state,
        0,
        Message::Loaded(Box::new(loaded(Family::V4, WEB, &[10, 11, 12, 13, 14, 15]))),
    );
    state
}

pub(super) fn send(state: &mut State, seconds: u64, message: Message) -> Vec<Effect> {
    update(state, message, Duration::from_secs(seconds))
}

pub(super) fn press(state: &mut State, keys: &[&str]) -> Vec<Effect> {
    let now = state.now;
    keys.iter()
        .flat_map(|key| update(state, Message::Key(key.parse().expect(key)), now))
        .collect()
}

/// Packets of the rules of a chain and of its policy, read at a time.
pub(super) fn count(
    state: &mut State,
    seconds: u64,
    chain: &str,
    rules: &[u64],
    policy: Option<u64>,
) -> Vec<Effect> {
    let set = &state.firewalls[0].ruleset;
    let counters = |packets: u64| Counters {
        packets,
        bytes: packets * 60,
    };
    let reading = Reading {
        chain: set.find_chain("filter", chain).expect(chain),
        counters: Some(ChainCounters {
            policy: policy.map(counters),
            rules: rules.iter().copied().map(counters).collect(),
        }),
    };
    let at = Duration::from_secs(seconds);
    send(
        state,
        seconds,
        Message::Counters {
            id: id(Family::V4),
            at,
            readings: vec![reading],
        },
    )
}

/// Table, chain and row number under the cursor; 0 is the policy.
pub(super) fn place(state: &State) -> (String, usize) {
    let selected = state.selected().expect("a selection");
    let chain = state.firewalls[selected.firewall]
        .ruleset
        .chain(selected.chain);
    let number = match selected.row {
        Some(Row::Rule(_, number)) => number,
        Some(Row::Policy) => 0,
        None => 999,
    };
    (chain.name().to_owned(), number)
}

#[test]
fn the_board_begins_at_input_and_watches_it() {
    let mut state = blank();
    let effects = send(
        &mut state,
        0,
        Message::Loaded(Box::new(loaded(Family::V4, WEB, &[]))),
    );
    assert!(matches!(effects[..], [Effect::Watch(..)]), "{effects:?}");
    assert_eq!(place(&state), ("INPUT".to_owned(), 1));
}

#[test]
fn the_cursor_goes_once_to_what_drops_the_most() {
    let mut state = board();
    count(&mut state, 1, "INPUT", &[0, 0, 0, 0], Some(0));
    count(&mut state, 2, "INPUT", &[9, 41, 0, 0], Some(2));
    assert_eq!(
        place(&state),
        ("INPUT".to_owned(), 2),
        "rule 2 drops 41/s, the policy 2/s"
    );
    count(&mut state, 3, "INPUT", &[9, 41, 0, 0], Some(99));
    assert_eq!(
        place(&state),
        ("INPUT".to_owned(), 2),
        "the second time it stays"
    );
    press(&mut state, &["x"]);
    assert_eq!(
        place(&state),
        ("INPUT".to_owned(), 0),
        "asked for, it goes to the policy"
    );
}

#[test]
fn a_cursor_that_was_moved_is_the_users_own() {
    let mut state = board();
    press(&mut state, &["j"]);
    count(&mut state, 1, "INPUT", &[0, 0, 0, 0], Some(0));
    count(&mut state, 2, "INPUT", &[0, 0, 0, 0], Some(50));
    assert_eq!(place(&state), ("INPUT".to_owned(), 2));
}

#[test]
fn rates_come_from_two_readings_and_rows_light_and_fade() {
    let mut state = board();
    count(&mut state, 1, "INPUT", &[100, 0, 0, 0], Some(0));
    let rule = state.firewalls[0].ruleset.chains()[0].rules()[0];
    let one = Duration::from_secs(1);
    assert!(
        !state.firewalls[0].rate(rule).moves(),
        "one reading makes no rate"
    );
    count(&mut state, 3, "INPUT", &[150, 0, 0, 0], Some(0));
    assert!((state.firewalls[0].rate(rule).packets - 25.0).abs() < 1e-9);
    let heats: Vec<Heat> = [3, 5, 8, 20]
        .map(|s| state.firewalls[0].heat(rule, Duration::from_secs(s), one))
        .to_vec();
    assert_eq!(heats, [Heat::Hot, Heat::Warm, Heat::Fading, Heat::Cold]);
    let wake = state.next_wake().expect("it fades");
    assert!(
        wake > Duration::from_secs(3) && wake < Duration::from_secs(6),
        "{wake:?}"
    );
    // Nothing moved: the rate is gone, and nothing wakes once all has faded.
    let still = Reading {
        chain: state.board.place.expect("place").chain,
        counters: None,
    };
    let at = Duration::from_secs(4);
    send(
        &mut state,
        4,
        Message::Counters {
            id: id(Family::V4),
            at,
            readings: vec![still],
        },
    );
    assert!(!state.firewalls[0].rate(rule).moves());
    send(&mut state, 60, Message::Wake);
    assert_eq!(state.next_wake(), None);
}

#[test]
fn a_counter_that_went_backwards_was_zeroed() {
    let mut state = board();
    count(&mut state, 1, "INPUT", &[100, 0, 0, 0], Some(0));
    count(&mut state, 2, "INPUT", &[3, 0, 0, 0], Some(0));
    let rule = state.firewalls[0].ruleset.chains()[0].rules()[0];
    assert!(state.firewalls[0].was_reset(rule));
    assert!(!state.firewalls[0].rate(rule).moves());
    assert_eq!(state.firewalls[0].shown(rule).packets, 3);
}

#[test]
fn a_reading_of_another_structure_is_left_alone() {
    let mut state = board();
    count(&mut state, 1, "INPUT", &[7, 7], Some(0));
    let rule = state.firewalls[0].ruleset.chains()[0].rules()[0];
    assert_eq!(state.firewalls[0].shown(rule).packets, 0);
}

#[test]
fn the_view_can_count_from_now_while_the_kernel_goes_on() {
    let mut state = board();
    count(&mut state, 1, "INPUT", &[100, 0, 0, 0], Some(5));
    press(&mut state, &["0"]);
    count(&mut state, 2, "INPUT", &[103, 0, 0, 0], Some(5));
    let rule = state.firewalls[0].ruleset.chains()[0].rules()[0];
    assert_eq!(state.firewalls[0].shown(rule).packets, 3);
    assert_eq!(state.firewalls[0].counters().rule(rule).packets, 103);
    press(&mut state, &["0"]);
    assert_eq!(state.firewalls[0].shown(rule).packets, 103);
}

#[test]
fn sorting_and_hiding_keep_the_true_numbers_and_the_cursor_on_its_rule() {
    let mut state = board();
    count(&mut state, 1, "INPUT", &[0, 0, 0, 0], Some(0));
    count(&mut state, 2, "INPUT", &[1, 0, 50, 0], Some(0));
    press(&mut state, &["g", "s"]);
    assert_eq!(state.board.sort, Sort::Rate);
    assert_eq!(place(&state).1, 1, "still on rule 1");
    let rows: Vec<usize> = (0..state.board.row_count())
        .filter_map(|i| match state.board.row(i, &state.firewalls[0]) {
            Some(Row::Rule(_, number)) => Some(number),
            _ => None,
        })
        .collect();
    assert_eq!(rows, [3, 1, 2, 4]);
    press(&mut state, &["s", "s", "m"]);
    assert_eq!(
        (state.board.sort, state.board.show),
        (Sort::Kernel, Show::Matched)
    );
    assert_eq!(state.board.row_count(), 2);
    press(&mut state, &["m"]);
    assert_eq!(
        state.board.row_count(),
        3,
        "two rules and the policy never matched"
    );
}

#[test]
fn a_filter_narrows_as_one_types_and_escape_puts_back_what_was() {
    let mut state = board();
    press(&mut state, &["/", "4", "4", "3"]);
    assert_eq!(state.board.row_count(), 2);
    press(&mut state, &["<Space>", "d", "r"]);
    assert_eq!((state.board.row_count(), place(&state).1), (1, 2));
    press(&mut state, &["<Esc>"]);
    assert_eq!(state.board.row_count(), 5, "four rules and the policy");
    press(&mut state, &["/", "w", "e", "b", "<Enter>", "<Enter>"]);
    assert_eq!(
        place(&state).0,
        "web",
        "the filter taken, Enter follows the jump"
    );
}

#[test]
fn pasted_controls_do_not_reach_a_typed_line() {
    let mut state = board();
    send(&mut state, 0, Message::Paste("q".to_owned()));
    assert!(state.input.is_none() && state.board.filter.is_empty());
    press(&mut state, &["/"]);
    send(&mut state, 0, Message::Paste("4\u{1b}[2J\n43".to_owned()));
    assert_eq!(state.input.as_ref().expect("typing").text, "4[2J43");
}

#[test]
fn a_jump_is_followed_and_leads_back_to_its_row() {
    let mut state = board();
    press(&mut state, &["j", "j", "j", "<Enter>"]);
    assert_eq!(place(&state), ("web".to_owned(), 1));
    press(&mut state, &["<Backspace>"]);
    assert_eq!(place(&state), ("INPUT".to_owned(), 4));
    press(&mut state, &["<Backspace>"]);
    assert!(state.said.is_some(), "no way further back is said");
}

#[test]
fn a_rule_without_a_jump_opens_in_full() {
    let mut state = board();
    press(&mut state, &["<Enter>"]);
    assert!(matches!(state.dialog, Some(Dialog::Detail(_))));
    press(&mut state, &["q"]);
    assert!(
        state.dialog.is_none(),
        "q closes what is open and does not leave"
    );
}

#[test]
fn lit_rules_are_found_here_and_in_other_chains() {
    let mut state = board();
    count(&mut state, 1, "INPUT", &[0, 0, 0, 0], Some(0));
    count(&mut state, 1, "web", &[0, 0], None);
    count(&mut state, 2, "INPUT", &[1, 0, 1, 0], Some(0));
    count(&mut state, 2, "web", &[0, 4], None);
    press(&mut state, &["g", "n"]);
    assert_eq!(place(&state), ("INPUT".to_owned(), 3));
    press(&mut state, &["n"]);
    assert_eq!(place(&state), ("web".to_owned(), 2));
    press(&mut state, &["n"]);
    assert_eq!(place(&state), ("INPUT".to_owned(), 1));
    press(&mut state, &["N"]);
    assert_eq!(place(&state), ("web".to_owned(), 2));
}

#[test]
fn frozen_means_that_nothing_moves() {
    let mut state = board();
    count(&mut state, 1, "INPUT", &[1, 0, 0, 0], Some(0));
    assert_eq!(press(&mut state, &["z"]), [Effect::Freeze(true)]);
    count(&mut state, 2, "INPUT", &[99, 0, 0, 0], Some(0));
    let rule = state.firewalls[0].ruleset.chains()[0].rules()[0];
    assert_eq!(state.firewalls[0].shown(rule).packets, 1);
    assert_eq!(press(&mut state, &["z"]), [Effect::Freeze(false)]);
}

#[test]
fn every_action_is_safe_on_an_empty_board() {
    let mut state = blank();
    let keys: Vec<_> = state
        .keymap
        .bindings()
        .iter()
        .flat_map(|b| b.keys.clone())
        .collect();
    for pane in [Pane::Chains, Pane::Rules, Pane::Drops] {
        for key in &keys {
            state.board.pane = pane;
            state.dialog = None;
            state.input = None;
            update(&mut state, Message::Key(*key), Duration::from_secs(1));
        }
    }
}

#[test]
fn the_help_runs_what_is_chosen() {
    let mut state = board();
    press(&mut state, &["?", "f", "r", "e", "e", "z", "e"]);
    assert_eq!(press(&mut state, &["<Enter>"]), [Effect::Freeze(true)]);
    assert!(state.dialog.is_none());
}

#[test]
fn a_copied_rule_has_nothing_that_a_shell_could_run_by_itself() {
    let mut state = board();
    let effects = press(&mut state, &["y"]);
    assert_eq!(
        effects,
        [Effect::Copy("-A INPUT -i lo -j ACCEPT".to_owned())]
    );
}
