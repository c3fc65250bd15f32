//! The rule editor as tables of keys: what is asked, what is staged, what is refused.

use std::net::IpAddr;

use super::tests::{WEB, board, loaded, press, send};
use crate::app::editor::{HostState, Verdict};
use crate::app::message::{Effect, Message};
use crate::app::state::{Dialog, State};
use crate::edit::form::Field;
use crate::edit::form::complete::{Names, Service};
use crate::ruleset::Family;

fn editor(state: &State) -> &crate::app::editor::Editor {
    match &state.dialog {
        Some(Dialog::Editor(editor)) => editor,
        other => panic!("no editor is open: {other:?}"),
    }
}

/// Types text, a key a character.
fn type_in(state: &mut State, text: &str) -> Vec<Effect> {
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

fn rules(state: &State) -> Vec<String> {
    let (firewall, place) = (state.firewall().unwrap(), state.board.place.unwrap());
    let rules = firewall.ruleset.chain(place.chain).rules().iter();
    rules
        .map(|rule| String::from_utf8_lossy(firewall.ruleset.spec(*rule)).into_owned())
        .collect()
}

/// The back end takes the rule that it was asked about, and prints it so.
fn accept(state: &mut State, effects: &[Effect], printed: &[&str]) -> String {
    let Some(Effect::CheckRule { spec, .. }) = effects.last() else {
        panic!("nothing was asked: {effects:?}");
    };
    let result = Ok(printed.iter().map(|p| p.as_bytes().to_vec()).collect());
    let spec = spec.clone();
    let asked = String::from_utf8(spec.clone()).unwrap();
    send(state, 1, Message::RuleChecked { spec, result });
    asked
}

#[test]
fn a_rule_is_written_in_the_form_and_staged_as_the_back_end_prints_it() {
    let mut state = board();
    let effects = press(&mut state, &["g", "j", "i"]);
    assert!(effects.contains(&Effect::ReadNames), "{effects:?}");
    assert_eq!(editor(&state).doing, "insert before rule 2");
    type_in(&mut state, "ACCEPT");
    press(&mut state, &["<Down>"]);
    type_in(&mut state, "tcp");
    press(&mut state, &["<Down>", "<Down>", "<Tab>"]);
    assert_eq!(editor(&state).field, Field::DestinationPorts);
    type_in(&mut state, "80,443");
    assert_eq!(
        editor(&state).raw.text(),
        "-p tcp -m multiport --dports 80,443 -j ACCEPT"
    );
    assert_eq!(
        editor(&state).sentence,
        "Accept TCP packets to port 80 or 443"
    );
    let effects = press(&mut state, &["<Enter>"]);
    assert!(matches!(editor(&state).verdict, Verdict::Asked(_)));
    assert!(press(&mut state, &["<Enter>"]).is_empty(), "asked once");
    accept(
        &mut state,
        &effects,
        &["-p tcp -m multiport --dports 80,443 -j ACCEPT"],
    );
    assert!(state.dialog.is_none());
    assert_eq!(
        rules(&state)[1],
        "-p tcp -m multiport --dports 80,443 -j ACCEPT"
    );
    assert_eq!(state.staged(), 1);
    press(&mut state, &["u"]);
    assert_eq!(state.staged(), 0);
}

#[test]
fn the_place_is_kept_when_the_rules_change_meanwhile() {
    for (open, at) in [("i", 2), ("o", 3)] {
        let mut state = board();
        press(&mut state, &["g", "j", open]);
        type_in(&mut state, "RETURN");
        let more = WEB.replace(
            "[0:0] -A INPUT -i lo",
            "[0:0] -A INPUT -i new -j DROP\n[0:0] -A INPUT -i lo",
        );
        let reading = loaded(Family::V4, &more, &[9, 10, 11, 12, 13, 14, 15]);
        send(&mut state, 1, Message::Loaded(Box::new(reading)));
        let effects = press(&mut state, &["<Enter>"]);
        accept(&mut state, &effects, &["-j RETURN"]);
        assert_eq!(
            rules(&state)[at],
            "-j RETURN",
            "{open}: {:?}",
            rules(&state)
        );
    }
}

#[test]
fn the_raw_line_and_the_form_follow_each_other() {
    let mut state = board();
    press(&mut state, &["g", "j", "e", "<F2>", "<End>"]);
    type_in(&mut state, " --bogus");
    let open = editor(&state);
    let problem = open.problem().unwrap();
    assert_eq!(
        open.column(problem),
        open.raw.text().find("--bogus").unwrap() + 1
    );
    let effects = press(&mut state, &["<Enter>"]);
    assert!(
        effects.is_empty(),
        "nothing is asked of what cannot be: {effects:?}"
    );
    press(&mut state, &["<End>", "<C-w>", "<C-w>"]);
    type_in(&mut state, "REJECT");
    assert_eq!(editor(&state).form.get(Field::Target), "REJECT");
    let effects = press(&mut state, &["<F2>", "<Enter>"]);
    let asked = accept(
        &mut state,
        &effects,
        &["-p tcp -m tcp --dport 443 -j REJECT --reject-with icmp-port-unreachable"],
    );
    assert_eq!(asked, "-p tcp -m tcp --dport 443 -j REJECT");
    assert!(rules(&state)[1].ends_with("icmp-port-unreachable"));
}

#[test]
fn what_the_back_end_refuses_stays_open_in_its_own_words() {
    let mut state = board();
    press(&mut state, &["g", "e"]);
    let effects = press(&mut state, &["<Enter>"]);
    let Some(Effect::CheckRule { spec, .. }) = effects.last() else {
        panic!("{effects:?}");
    };
    let late = Message::RuleChecked {
        spec: b"another".to_vec(),
        result: Ok(vec![b"another".to_vec()]),
    };
    send(&mut state, 1, late);
    assert!(
        matches!(editor(&state).verdict, Verdict::Asked(_)),
        "of another text"
    );
    let result = Err("unknown option".to_owned());
    let spec = spec.clone();
    send(&mut state, 1, Message::RuleChecked { spec, result });
    assert_eq!(
        editor(&state).verdict,
        Verdict::Refused("unknown option".into())
    );
    type_in(&mut state, "X");
    assert_eq!(editor(&state).verdict, Verdict::Unasked);
    press(&mut state, &["<Esc>"]);
    assert!(state.dialog.is_none());
    assert_eq!(state.staged(), 0);
}

#[test]
fn host_names_are_looked_up_and_shown_before_anything_is_asked() {
    let mut state = board();
    press(&mut state, &["g", "i"]);
    type_in(&mut state, "DROP");
    press(&mut state, &["<Down>", "<Down>"]);
    type_in(&mut state, "www.example.org");
    let effects = press(&mut state, &["<Down>"]);
    assert_eq!(effects, [Effect::Resolve("www.example.org".into())]);
    assert!(press(&mut state, &["<Enter>"]).is_empty(), "not known yet");
    let found: Vec<IpAddr> = ["192.0.2.1", "2001:db8::1", "192.0.2.2"]
        .iter()
        .map(|ip| ip.parse().unwrap())
        .collect();
    let name = "www.example.org".to_owned();
    send(
        &mut state,
        1,
        Message::Resolved {
            name,
            result: Ok(found),
        },
    );
    assert!(matches!(&editor(&state).hosts[0].state, HostState::Found(found) if found.len() == 2));
    let effects = press(&mut state, &["<Enter>"]);
    let asked = accept(
        &mut state,
        &effects,
        &["-s 192.0.2.1/32 -j DROP", "-s 192.0.2.2/32 -j DROP"],
    );
    assert_eq!(asked, "-s 192.0.2.1,192.0.2.2 -j DROP");
    assert_eq!(
        rules(&state)[..2],
        ["-s 192.0.2.1/32 -j DROP", "-s 192.0.2.2/32 -j DROP"]
    );
}

#[test]
fn names_that_cannot_be_looked_up_are_said_and_tried_again() {
    let mut state = board();
    press(&mut state, &["g", "e", "<Down>", "<Down>"]);
    type_in(&mut state, "nowhere.invalid");
    let effects = press(&mut state, &["<Enter>"]);
    let name = "nowhere.invalid".to_owned();
    assert_eq!(effects, [Effect::Resolve(name.clone())]);
    let result = Err("cannot be looked up".to_owned());
    send(
        &mut state,
        1,
        Message::Resolved {
            name: name.clone(),
            result,
        },
    );
    assert_eq!(press(&mut state, &["<Enter>"]), [Effect::Resolve(name)]);
}

#[test]
fn candidates_are_offered_taken_and_left() {
    let mut state = board();
    press(&mut state, &["g", "i"]);
    let service = |name: &str, port| Service {
        name: name.to_owned(),
        port,
        protocol: "tcp".to_owned(),
    };
    let names = Names {
        interfaces: vec!["eth0".into(), "lo".into()],
        services: vec![service("http", 80), service("https", 443)],
        sets: Vec::new(),
    };
    send(&mut state, 0, Message::Names(names));
    type_in(&mut state, "REJ");
    press(&mut state, &["<Tab>"]);
    assert_eq!(
        editor(&state).input.text(),
        "REJECT",
        "the only one is taken"
    );
    press(&mut state, &["<Down>"]);
    type_in(&mut state, "tcp");
    press(&mut state, &["<Down>", "<Down>", "<Tab>"]);
    assert_eq!(editor(&state).field, Field::DestinationPorts);
    type_in(&mut state, "ht");
    press(&mut state, &["<Tab>", "<Tab>"]);
    assert_eq!(editor(&state).list.as_ref().unwrap().at, 1);
    press(&mut state, &["<S-Tab>", "<Down>", "<Enter>"]);
    assert_eq!(editor(&state).input.text(), "https");
    assert!(editor(&state).list.is_none());
    press(&mut state, &["<C-u>", "<Tab>"]);
    assert!(editor(&state).list.is_some());
    press(&mut state, &["<Esc>"]);
    assert!(
        editor(&state).list.is_none(),
        "the list closes before the editor"
    );
    type_in(&mut state, "80");
    assert_eq!(
        editor(&state).raw.text(),
        "-p tcp -m tcp --dport 80 -j REJECT"
    );
}

#[test]
fn what_is_typed_over_comes_back_with_its_letters() {
    let mut state = board();
    press(&mut state, &["g", "i", "<F2>"]);
    type_in(&mut state, "-j LOG --log-prefix x --log-uid");
    press(&mut state, &["<F2>", "<Backspace>"]);
    assert_eq!(editor(&state).raw.text(), "-j LO");
    type_in(&mut state, "G");
    assert_eq!(editor(&state).raw.text(), "-j LOG --log-prefix x --log-uid");
}

#[test]
fn pasted_text_goes_where_the_cursor_is() {
    let mut state = board();
    press(&mut state, &["g", "i", "<F2>"]);
    send(&mut state, 0, Message::Paste("-p tcp\n -j\x1b DROP".into()));
    assert_eq!(editor(&state).raw.text(), "-p tcp -j DROP");
}

#[test]
fn a_template_is_chosen_filled_in_checked_and_staged() {
    let mut state = board();
    press(&mut state, &["T"]);
    type_in(&mut state, "service");
    let Some(Dialog::Templates(picker)) = &state.dialog else {
        panic!("no picker is open");
    };
    assert_eq!(picker.choices()[0].name, "allow-service");
    press(&mut state, &["<Enter>"]);
    assert!(
        press(&mut state, &["<Enter>"]).is_empty(),
        "the service is needed"
    );
    type_in(&mut state, "443");
    let effects = press(&mut state, &["<Enter>"]);
    let asked = accept(
        &mut state,
        &effects,
        &["-p tcp -m tcp --dport 443 -m conntrack --ctstate NEW -j ACCEPT"],
    );
    assert!(asked.contains("--dport 443"), "{asked}");
    // The policy drops, so the answers' rule comes along and is asked about next.
    let Some(Dialog::Templates(picker)) = &state.dialog else {
        panic!("more is to be asked");
    };
    let filling = picker.filling.as_ref().unwrap();
    assert_eq!(filling.plan.steps.len(), 2, "{:?}", filling.plan);
    let spec = b"-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT".to_vec();
    let result = Ok(vec![spec.clone()]);
    send(&mut state, 1, Message::RuleChecked { spec, result });
    assert!(state.dialog.is_none());
    assert_eq!(
        rules(&state)[..4],
        [
            "-i lo -j ACCEPT",
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-p tcp -m tcp --dport 443 -m conntrack --ctstate NEW -j ACCEPT",
            "-p tcp -m tcp --dport 443 -j DROP",
        ]
    );
}

#[test]
fn a_template_that_the_back_end_refuses_stages_nothing() {
    let mut state = board();
    press(&mut state, &["T"]);
    type_in(&mut state, "loopback");
    press(&mut state, &["<Enter>"]);
    press(&mut state, &["<Enter>"]);
    assert!(
        state.said.is_some(),
        "lo is accepted already: nothing to stage"
    );
    press(&mut state, &["<Esc>", "<C-u>"]);
    type_in(&mut state, "invalid");
    press(&mut state, &["<Enter>"]);
    let effects = press(&mut state, &["<Enter>"]);
    let Some(Effect::CheckRule { spec, .. }) = effects.last() else {
        panic!("{effects:?}");
    };
    let (spec, result) = (spec.clone(), Err("no".to_owned()));
    send(&mut state, 1, Message::RuleChecked { spec, result });
    assert!(matches!(state.dialog, Some(Dialog::Templates(_))));
    assert_eq!(state.staged(), 0);
    press(&mut state, &["<Esc>", "<Esc>"]);
    assert!(state.dialog.is_none());
}
