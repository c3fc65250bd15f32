//! Questions, answers and the rows of a path, as tables.

use std::sync::Arc;
use std::time::Duration;

use super::offer::Offers;
use super::question::{Answered, Beside, Held, Programs, Question, Spot, answer, packets_of};
use super::{Row, Why};
use crate::app::action::Keymap;
use crate::app::attribution::LogRules;
use crate::app::firewall::FirewallId;
use crate::app::message::{Effect, Loaded, Message, Viewport};
use crate::app::state::{Dialog, Facts as BoxFacts, State};
use crate::app::update::update;
use crate::flow::{
    ConntrackState, IfName, Interface, KernelLine, LogSource, Machine, RouteAnswer, RouteQuestion,
    Way, WayKind, parse_line,
};
use crate::ruleset::{Backend, Family, Origin, Ruleset};
use crate::verdict::{Cause, CtState, Facts, Path, Probe, Verdict, Words, read_words, typical};

const RULES: &str = "\
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:web - [0:0]
:lonely - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -p tcp -m tcp --dport 443 -j web
-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT
-A INPUT -j LOG --log-prefix \"IN DROP: \"
-A FORWARD -i eth0 -o docker0 -j REJECT --reject-with icmp-admin-prohibited
-A web -s 198.51.100.0/24 -j RETURN
-A web -s 203.0.113.0/24 -j DROP
-A lonely -j ACCEPT
COMMIT
";

fn id() -> FirewallId {
    Origin::new(Family::V4, Backend::Nft).into()
}

fn rules(text: &str) -> Arc<Ruleset> {
    let origin = Origin::new(Family::V4, Backend::Nft);
    Arc::new(Ruleset::parse(text.as_bytes(), origin).unwrap())
}

fn interface(name: &str, index: u32, address: &str) -> Interface {
    Interface {
        name: IfName::new(name.as_bytes()).unwrap(),
        index,
        up: true,
        carrier: true,
        loopback: false,
        port_of: None,
        bridge: false,
        addresses: vec![address.parse().unwrap()],
        broadcasts: Vec::new(),
        rp_filter: None,
        forwards_v4: None,
        forwards_v6: None,
    }
}

/// A box with the world at eth0 and containers at docker0.
fn machine() -> Machine {
    Machine {
        interfaces: Some(vec![
            interface("eth0", 2, "10.0.0.5/24"),
            interface("docker0", 3, "172.17.0.1/16"),
        ]),
        ..Machine::default()
    }
}

fn routes(asked: &[RouteQuestion]) -> Vec<(RouteQuestion, RouteAnswer)> {
    let way = |question: &RouteQuestion| {
        let inside = question.to.to_string().starts_with("172.17.");
        let name = if inside { "docker0" } else { "eth0" };
        RouteAnswer::Way(Way {
            kind: WayKind::Unicast,
            output: IfName::new(name.as_bytes()),
            gateway: None,
            table: 254,
        })
    };
    asked.iter().map(|one| (one.clone(), way(one))).collect()
}

fn asked(packets: Vec<Probe>, meets: Option<Spot>, live: bool) -> Question {
    Question {
        number: 1,
        packets,
        meets,
        sets: vec![Held {
            id: id(),
            ruleset: rules(RULES),
            staged: None,
            lossy: Vec::new(),
        }],
        natives: Vec::new(),
        live,
    }
}

fn answered(question: &Question) -> Answered {
    let mut machine = if question.live {
        machine()
    } else {
        Machine::default()
    };
    let facts = Facts {
        local: machine.addresses(),
        ..Facts::default()
    };
    let mut programs = Programs::default();
    answer(
        question,
        &mut programs,
        &facts,
        &mut machine,
        &mut |asked, _| routes(asked),
    )
    .unwrap()
}

fn said(words: &str) -> Answered {
    answered(&asked(vec![read_words(words).unwrap()], None, true))
}

#[test]
fn what_is_left_open_is_filled_in_and_shown() {
    for (words, shown, verdict) in [
        (
            "tcp 203.0.113.9 -> :443",
            "tcp 203.0.113.9 -> 10.0.0.5:443 in eth0 new",
            Verdict::Drop,
        ),
        (
            "tcp 192.0.2.9 -> :443",
            "tcp 192.0.2.9 -> 10.0.0.5:443 in eth0 new",
            Verdict::Accept,
        ),
        // A DNAT sends it on, by the way to its new end.
        (
            "tcp 192.0.2.9 -> :8080",
            "tcp 192.0.2.9 -> 10.0.0.5:8080 in eth0 out docker0 new",
            Verdict::Reject,
        ),
        (
            "udp -> 192.0.2.9:53 output",
            "udp 10.0.0.5 -> 192.0.2.9:53 out eth0 new",
            Verdict::Accept,
        ),
        // To somebody else's address it is forwarded.
        (
            "tcp 192.0.2.9 -> 10.0.0.9:443 in eth7",
            "tcp 192.0.2.9 -> 10.0.0.9:443 in eth7 out eth0 new",
            Verdict::Drop,
        ),
        // What was said stays.
        (
            "tcp 192.0.2.9 -> 10.0.0.9:443 in eth7 input",
            "tcp 192.0.2.9 -> 10.0.0.9:443 in eth7 new",
            Verdict::Accept,
        ),
    ] {
        let answer = said(words);
        assert_eq!(Words(&answer.probe).to_string(), shown);
        assert_eq!(answer.explanation.verdict, verdict, "{words}");
    }
    let dump = asked(
        vec![read_words("tcp 203.0.113.9 -> :443").unwrap()],
        None,
        false,
    );
    assert_eq!(answered(&dump).probe.input, None, "a dump has no box");
}

/// The rule of a chain by its number, as a spot and its typical packets.
fn pointed(chain: &str, number: Option<usize>) -> (Spot, Vec<Probe>) {
    let set = rules(RULES);
    let chain = set.find_chain("filter", chain).unwrap();
    let rule = number.map(|number| set.chain(chain).rules()[number - 1]);
    let spot = Spot {
        id: id(),
        chain,
        rule,
    };
    (spot, typical(&set, chain, rule))
}

#[test]
fn the_packets_of_a_rule_reach_it_or_say_what_stands_above() {
    for (chain, number, met, verdict, words) in [
        (
            "INPUT",
            Some(1),
            true,
            Verdict::Accept,
            "tcp 127.0.0.1:40000 -> 127.0.0.1:443 in lo new",
        ),
        (
            "INPUT",
            Some(2),
            true,
            Verdict::Accept,
            "tcp 203.0.113.9:40000 -> 10.0.0.5:443 in eth0 established flags ACK",
        ),
        (
            "INPUT",
            Some(3),
            true,
            Verdict::Accept,
            "icmp 203.0.113.9 -> 10.0.0.5 in eth0 type 8 code 0 new",
        ),
        (
            "web",
            Some(2),
            true,
            Verdict::Drop,
            "tcp 203.0.113.1:40000 -> 10.0.0.5:443 in eth0 new",
        ),
        (
            "web",
            Some(1),
            true,
            Verdict::Accept,
            "tcp 198.51.100.1:40000 -> 10.0.0.5:443 in eth0 new",
        ),
        // What no other rule asks for gets as far as the policy.
        (
            "INPUT",
            None,
            true,
            Verdict::Drop,
            "tcp 203.0.113.9:40000 -> 10.0.0.5:49151 in eth0 new",
        ),
        (
            "FORWARD",
            Some(1),
            true,
            Verdict::Reject,
            "tcp 203.0.113.9:40000 -> 172.17.0.2:443 in eth0 out docker0 new",
        ),
        // Its usual packet is dropped in the chain above.
        (
            "INPUT",
            Some(5),
            false,
            Verdict::Drop,
            "tcp 203.0.113.9:40000 -> 10.0.0.5:443 in eth0 new",
        ),
    ] {
        let (spot, packets) = pointed(chain, number);
        let answer = answered(&asked(packets, Some(spot), true));
        assert_eq!(
            Words(&answer.probe).to_string(),
            words,
            "{chain} {number:?}"
        );
        assert_eq!(
            (answer.met, answer.explanation.verdict),
            (met, verdict),
            "{words}"
        );
    }
    assert_eq!(pointed("lonely", Some(1)).1, [], "nothing leads there");
}

fn line(text: &str) -> KernelLine {
    parse_line(text.as_bytes(), LogSource::Kmsg).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn a_log_line_is_its_packet_in_the_state_that_fits() {
    let text = "IN DROP: IN=eth0 OUT= MAC=02:00:00:00:00:01:02:00:00:00:00:02:08:00 SRC=198.51.100.53 DST=10.0.0.5 \
        LEN=90 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=UDP SPT=53 DPT=40000 LEN=70";
    let packets = packets_of(&line(text));
    assert_eq!(
        packets[0].ctstate,
        Some(CtState::Established),
        "an answer comes first"
    );
    assert_eq!((packets[0].path, packets[0].sport), (Path::Input, Some(53)));
    // The line was written by the rule before the policy: ESTABLISHED would not have come so far.
    let set = rules(RULES);
    let chain = set.find_chain("filter", "INPUT").unwrap();
    let meets = Spot {
        id: id(),
        chain,
        rule: set.chain(chain).rules().last().copied(),
    };
    let answer = answered(&asked(packets, Some(meets), true));
    assert_eq!(answer.probe.ctstate, Some(CtState::New));
    assert!(answer.met && answer.explanation.verdict == Verdict::Drop);

    let forward = "x IN=eth0 OUT=eth1 SRC=1.2.3.4 DST=5.6.7.8 LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=1 DF PROTO=TCP SPT=1 DPT=80 WINDOW=1 RES=0x00 SYN URGP=0";
    let packets = packets_of(&line(forward));
    assert_eq!((packets[0].path, packets[0].ttl), (Path::Forward, None));
    assert_eq!(packets[0].ctstate, Some(CtState::New));
    let full = line("nf_conntrack: nf_conntrack: table full, dropping packet");
    assert_eq!(packets_of(&full), []);
}

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

/// Behind `docker0` is nobody of the world: the one who stands for all is a neighbour there.
#[test]
fn ends_that_were_made_up_fit_the_interfaces_that_the_rule_names() {
    let text = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -i docker0 -j DROP\n-A FORWARD -i eth0 -o docker0 -j DROP\n-A FORWARD -i docker0 ! -s 172.17.0.0/16 -j DROP\nCOMMIT\n";
    let set = rules(text);
    let ends = |chain: &str, nth: usize| {
        let chain = set.find_chain("filter", chain).unwrap();
        let rule = set.chain(chain).rules()[nth];
        let spot = Spot {
            id: id(),
            chain,
            rule: Some(rule),
        };
        let mut question = asked(typical(&set, chain, Some(rule)), Some(spot), true);
        question.sets[0].ruleset = Arc::clone(&set);
        let answered = answered(&question);
        assert!(answered.met);
        let (src, dst) = (answered.probe.src.unwrap(), answered.probe.dst.unwrap());
        (src.to_string(), dst.to_string())
    };
    assert_eq!(ends("INPUT", 0).0, "172.17.0.2");
    assert_eq!(
        ends("FORWARD", 0),
        ("203.0.113.9".to_owned(), "172.17.0.2".to_owned())
    );
    // What the rule says of the address comes first.
    assert_eq!(ends("FORWARD", 1).0, "203.0.113.9");
}

/// A packet through the box leaves by the way to where DNAT sends it; nobody said that it leaves by another one.
#[test]
fn a_translated_packet_leaves_by_the_way_to_its_new_destination() {
    let text = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 443 -j DNAT --to-destination 172.17.0.9:8443\nCOMMIT\n*filter\n:FORWARD DROP [0:0]\n-A FORWARD -o docker0 -j DROP\nCOMMIT\n";
    let mut probe =
        crate::app::why::read_line("tcp 203.0.113.9 -> 198.51.100.1:443 forward new").unwrap();
    let leaves = |probe: &Probe| {
        let mut question = asked(vec![probe.clone()], None, true);
        question.sets[0].ruleset = rules(text);
        answered(&question).probe.output
    };
    assert_eq!(leaves(&probe), IfName::new(b"docker0"));
    probe.output = IfName::new(b"eth0");
    assert_eq!(leaves(&probe), IfName::new(b"eth0"), "it was asked so");
}
