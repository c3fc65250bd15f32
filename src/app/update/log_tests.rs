//! Rules that log, heard and not heard.

use std::time::Duration;

use super::tests::{blank, count, loaded, place, press, send};
use super::update;
use crate::app::board::Pane;
use crate::app::message::{Effect, Message};
use crate::app::state::{Dialog, State};
use crate::ruleset::Family;

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
