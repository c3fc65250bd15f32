//! Probes, as tables of keys and what the state asks for.

use std::sync::Arc;

use super::tests::{board, id, press};
use crate::app::message::{Effect, Message};
use crate::app::state::State;
use crate::edit::probe::{Before, Means, Site, Tag, with};
use crate::ruleset::{Family, RuleIdx};

fn site(number: Option<(u32, u32)>, spec: &str) -> Site {
    Site {
        table: b"filter".to_vec(),
        chain: b"INPUT".to_vec(),
        before: number.map(|(number, shown)| Before {
            number,
            shown,
            spec: spec.as_bytes().to_vec(),
        }),
    }
}

fn said(state: &State) -> &str {
    state.said.as_ref().map_or("", |(words, _)| words)
}

/// Numbers of the chain in view.
fn numbers(state: &State) -> Vec<Option<u32>> {
    let (firewall, place) = (state.firewall().unwrap(), state.board.place.unwrap());
    let rules = firewall.ruleset.chain(place.chain).rules().iter();
    rules
        .enumerate()
        .map(|(at, rule)| firewall.number(*rule, at))
        .collect()
}

/// The same board once the kernel holds a probe before rule 2.
fn probed() -> State {
    let mut state = board();
    let site = site(Some((2, 2)), "-p tcp -m tcp --dport 443 -j DROP");
    let tag = Tag {
        id: "7-7".to_owned(),
        deadline: 9,
    };
    let now = with(state.firewalls[0].kernel(), &site, Means::Kernel, &tag).unwrap();
    let text = String::from_utf8(now.bytes().to_vec()).unwrap();
    super::tests::send(
        &mut state,
        1,
        Message::Loaded(Box::new(super::tests::loaded(Family::V4, &text, &[]))),
    );
    state
}

#[test]
fn the_key_asks_for_a_probe_before_the_rule_or_the_policy() {
    let mut state = board();
    let rule = site(Some((2, 2)), "-p tcp -m tcp --dport 443 -j DROP");
    let asked = press(&mut state, &["g", "j", "L"]);
    assert_eq!(asked, [Effect::Probe(id(Family::V4), Box::new(rule))]);
    let asked = press(&mut state, &["G", "L"]);
    let policy = Effect::Probe(id(Family::V4), Box::new(site(None, "")));
    assert_eq!(asked, [policy]);
    assert_eq!(state.staged(), 0, "nothing is staged");
}

#[test]
fn a_probe_has_no_number_and_takes_none() {
    let mut state = probed();
    assert_eq!(numbers(&state), [Some(1), None, Some(2), Some(3), Some(4)]);
    // Staged numbers neither.
    press(&mut state, &["g", "d"]);
    assert_eq!(numbers(&state), [None, None, Some(1), Some(2), Some(3)]);
}

#[test]
fn the_key_takes_away_what_it_put_there() {
    let mut state = probed();
    let take = [Effect::Unprobe(id(Family::V4), "7-7".to_owned())];
    assert_eq!(press(&mut state, &["g", "j", "L"]), take, "on the probe");
    assert_eq!(
        press(&mut state, &["g", "j", "j", "L"]),
        take,
        "on its rule"
    );
    let next = site(Some((4, 3)), "-p tcp -m tcp --dport 443 -j ACCEPT");
    let asked = press(&mut state, &["g", "j", "j", "j", "L"]);
    assert_eq!(asked, [Effect::Probe(id(Family::V4), Box::new(next))]);
}

#[test]
fn nothing_is_staged_on_a_probe() {
    for key in ["d", "#", "D", "K", "J", "e"] {
        let mut state = probed();
        press(&mut state, &["g", "j", key]);
        assert!(
            said(&state).contains("this is a probe"),
            "{key}: {}",
            said(&state)
        );
        assert_eq!(state.staged(), 0, "{key}");
    }
}

#[test]
fn a_rule_is_moved_past_a_probe_in_one_step() {
    let mut state = probed();
    press(&mut state, &["g", "j", "j", "K"]);
    let (firewall, place) = (state.firewall().unwrap(), state.board.place.unwrap());
    let first = firewall.ruleset.chain(place.chain).rules()[0];
    assert_eq!(
        firewall.ruleset.spec(first),
        b"-p tcp -m tcp --dport 443 -j DROP"
    );
    assert_eq!(first, RuleIdx(0));
}

#[test]
fn what_the_kernel_does_not_have_yet_is_not_probed() {
    let mut state = board();
    let asked = press(&mut state, &["g", "D", "j", "L"]);
    assert_eq!(asked, []);
    assert!(said(&state).contains("apply first"), "{}", said(&state));
    let mut state = board();
    state.change.locked = Some("read only".to_owned());
    assert_eq!(press(&mut state, &["L"]), []);
    assert_eq!(said(&state), "read only");
    let kernel = Arc::clone(state.firewalls[0].kernel());
    assert!(crate::edit::probe::probes(&kernel).is_empty());
}
