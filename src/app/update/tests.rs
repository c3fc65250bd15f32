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
use crate::ruleset::{Author, Backend, ChainCounters, Counters, Family, Origin, Reading, Ruleset};

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

fn blank() -> State {
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

/// A board on one LOG rule, and the chain that holds it.
fn logging() -> State {
    let mut state = blank();
    let text = "*filter\n:INPUT ACCEPT [0:0]\n[0:0] -A INPUT -p udp -j LOG --log-prefix \"udp in: \"\nCOMMIT\n";
    send(
        &mut state,
        0,
        Message::Loaded(Box::new(loaded(Family::V4, text, &[]))),
    );
    state
}

fn line(text: &str) -> Message {
    let stamp = crate::flow::Stamp::default();
    let line = crate::flow::parse_message(text.as_bytes(), stamp, crate::flow::LogSource::Kmsg);
    Message::Lines(crate::flow::Batch {
        lines: vec![line.expect(text)],
        lost: 0,
    })
}

const LOGGED: &str = "udp in: IN=lo OUT= SRC=127.0.0.1 DST=127.0.0.1 LEN=30 TOS=0x00 PREC=0x00 TTL=64 \
                      ID=1 DF PROTO=UDP SPT=40000 DPT=9 LEN=10 ";

#[test]
fn rules_that_log_and_are_not_heard_are_asked_about_and_a_line_takes_it_back() {
    let mut state = logging();
    let mut asked = Vec::new();
    for second in 1..10 {
        count(&mut state, second, "INPUT", &[second * 2], Some(0));
        let waits = state.silence.is_waiting();
        assert!(
            !waits || state.next_wake().is_some(),
            "somebody has to look at the clock"
        );
        asked.extend(send(&mut state, second, Message::Wake));
    }
    let channel = crate::flow::LogChannel::Kernel(crate::flow::IpVersion::V4);
    assert_eq!(asked, [Effect::ExplainSilence(channel)], "once");
    let why = Message::Silent {
        channel,
        cause: "no logger".to_owned(),
        remedy: "load it".to_owned(),
    };
    send(&mut state, 10, why);
    assert_eq!(state.notices.grave(), 1);
    send(&mut state, 11, line(&LOGGED.replace("udp in", "other")));
    assert_eq!(state.notices.grave(), 1, "somebody else's line is no sign");
    send(&mut state, 12, line(LOGGED));
    assert_eq!(state.notices.grave(), 0);
}

#[test]
fn the_clock_is_not_put_off_by_messages() {
    let mut state = logging();
    count(&mut state, 1, "INPUT", &[0], Some(0));
    count(&mut state, 2, "INPUT", &[9], Some(0));
    send(&mut state, 2, Message::Wake);
    let due = state.next_wake().expect("it waits");
    send(&mut state, 2, Message::Say(String::new()));
    let now = state.now + Duration::from_millis(900);
    update(&mut state, Message::Withdraw("x".to_owned()), now);
    assert!(state.next_wake().expect("it waits") <= due);
}

#[test]
fn a_line_of_the_feed_leads_to_its_rule_and_back() {
    let mut state = logging();
    send(&mut state, 1, line(LOGGED));
    press(&mut state, &["3", "<Enter>"]);
    assert_eq!(
        (place(&state), state.board.pane),
        (("INPUT".to_owned(), 1), Pane::Rules)
    );
    assert!(
        state
            .said
            .as_ref()
            .expect("said")
            .0
            .contains("policy of INPUT decided")
    );
    send(
        &mut state,
        2,
        line("nf_conntrack: nf_conntrack: table full, dropping packet"),
    );
    press(&mut state, &["3", "g", "<Enter>"]);
    assert!(state.said.as_ref().expect("said").0.contains("no rule did"));
}

/// Of a rule one asks with what was seen of it first: the line says who is turned away.
#[test]
fn a_rule_that_wrote_lines_is_asked_about_with_the_packets_of_those() {
    let sources = |state: &mut State| {
        press(state, &["2", "g"]);
        press(state, &["w"]);
        let Some(Dialog::Why(why)) = state.dialog.take() else {
            panic!("nothing is asked");
        };
        let all = why.packets.iter().map(|p| (p.src, p.dport));
        all.collect::<Vec<_>>()
    };
    let mut state = logging();
    let thought_up = sources(&mut state);
    assert!(!thought_up.contains(&("192.0.2.7".parse().ok(), Some(9))));
    send(&mut state, 1, line(&LOGGED.replace("udp in", "other")));
    send(
        &mut state,
        2,
        line(&LOGGED.replace("SRC=127.0.0.1", "SRC=192.0.2.7")),
    );
    let asked = sources(&mut state);
    assert_eq!(asked[0], ("192.0.2.7".parse().ok(), Some(9)));
    assert!(asked.ends_with(&thought_up), "and then those thought up");
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
