//! The explain screen: every demo scenario's block is explained in one step, and names the right rule.

use crate::harness::screen::Screen;
use crate::harness::{Launch, Terminal};

/// Of a scenario: a packet that does not get through, in words, and who decides about it, as the files of
/// `assets/scenarios/` have it.
struct Case {
    scenario: &'static str,
    /// Said of the first packet that is blocked there.
    packet: String,
    /// Of IPv4: chain, and rule or policy. `None`: no rule does.
    decides: Option<(String, Option<u64>)>,
    /// Which lines of the drop feed tell of it.
    lines: String,
}

const SCENARIOS: [&str; 8] = [
    "busy-box",
    "conntrack-full",
    "default-drop-no-service",
    "docker-beside-ufw",
    "drop-before-accept",
    "forward-blocked",
    "missing-established",
    "wrong-interface",
];

fn case(scenario: &'static str) -> Case {
    let path = format!(
        "{}/assets/scenarios/{scenario}.toml",
        env!("CARGO_MANIFEST_DIR")
    );
    let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let blocked = &table["blocked"][0];
    let word = |key: &str| blocked[key].as_str().unwrap().to_owned();
    let port = blocked["port"].as_integer().unwrap();
    let (proto, from, to) = (word("proto"), word("from"), word("to"));
    // What the box itself asks for gets out: it is the answer that is dropped.
    let (packet, lines) = if word("at") == "box" {
        (
            format!("{proto} {to}:{port} -> {from}:40000 established"),
            format!("sport:{port} proto:{proto}"),
        )
    } else {
        (
            format!("{proto} {from} -> {to}:{port}"),
            format!("dport:{port} proto:{proto}"),
        )
    };
    // There the line has what DNAT made of the packet.
    let lines = match scenario {
        "docker-beside-ufw" => "DOCKER proto:tcp".to_owned(),
        "forward-blocked" => "dport:8443 proto:tcp".to_owned(),
        _ => lines,
    };
    let expected = table["expected"].as_array().unwrap().first();
    let decides = expected.map(|expected| {
        let rule = expected.get("rule").map(|rule| rule.as_integer().unwrap());
        let chain = expected["chain"].as_str().unwrap().to_owned();
        (chain, rule.map(|rule| u64::try_from(rule).unwrap()))
    });
    Case {
        scenario,
        packet,
        decides,
        lines,
    }
}

fn demo(scenario: &str, columns: u16, rows: u16) -> Terminal {
    let mut terminal = Launch::ruletop()
        .args(["demo", scenario])
        .size(columns, rows)
        .start();
    terminal.wait_for("the rules", |screen| {
        screen.contains("DROP") && screen.contains("ct ")
    });
    terminal
}

fn type_packet(terminal: &mut Terminal, words: &str) {
    terminal.press("W");
    terminal.wait_for_text("a packet: tcp");
    terminal.send(words);
    terminal.press("<Enter>");
}

/// The chain and the number of the rule that decides, as the screen has it.
fn decider(screen: &Screen) -> Option<(String, Option<u64>)> {
    let inner = |row: usize| screen.row(row).trim_matches(['│', ' ']).to_owned();
    let (row, _) = screen.find("← decides")?;
    let text = inner(row);
    let number = text.trim_start_matches(['■', '▸', ' ']);
    let number = number.split(' ').next()?.parse().ok();
    // The heading above: a table and a chain, and no number.
    let heading = (0..row).rev().map(inner).find(|text| {
        let table = text.split(' ').next().unwrap_or_default();
        ["filter", "nat", "mangle", "raw", "security"].contains(&table)
    })?;
    let chain = heading.split_whitespace().nth(1)?.to_owned();
    Some((chain, number))
}

/// The box was read.
fn is_whole(screen: &Screen) -> bool {
    ["✔", "✘"].iter().any(|mark| screen.contains(mark))
}

#[test]
fn every_block_is_explained_by_typing_its_packet() {
    for case in SCENARIOS.map(case) {
        let mut terminal = demo(case.scenario, 120, 36);
        type_packet(&mut terminal, &case.packet);
        let screen = terminal.wait_for_frame("the answer", is_whole);
        match &case.decides {
            Some(decides) => {
                assert_eq!(
                    decider(&screen).as_ref(),
                    Some(decides),
                    "{}\n{screen}",
                    case.scenario
                );
                assert!(screen.contains("certain"), "{}\n{screen}", case.scenario);
                assert!(
                    screen.contains("client sees"),
                    "{}\n{screen}",
                    case.scenario
                );
            }
            None => {
                // The rules let it pass; the box says what does not.
                assert!(
                    screen.contains("ACCEPT certain"),
                    "{}\n{screen}",
                    case.scenario
                );
                terminal.wait_for("the table, which is being filled", |screen| {
                    screen.contains("✘ the connection table is full")
                });
            }
        }
        terminal.press("q");
        terminal.wait_for("the board", |screen| !screen.contains("client sees"));
    }
}

#[test]
fn every_block_is_explained_from_its_log_line() {
    // In the other two no rule logs what is blocked.
    let logged = SCENARIOS
        .iter()
        .filter(|name| !["busy-box", "conntrack-full"].contains(name));
    for case in logged.copied().map(case) {
        let decides = case.decides.as_ref().unwrap();
        let mut terminal = demo(case.scenario, 120, 36);
        terminal.press("3 /");
        terminal.send(&case.lines);
        terminal.press("<Enter>");
        let found = terminal.wait_for("its line, or that there is none to come", |screen| {
            screen.contains("/tcp")
                || screen.contains("/udp")
                || screen.contains("nf_log_all_netns")
        });
        if found.contains("nf_log_all_netns") {
            continue; // such a scenario logs to the kernel, which tells this namespace nothing
        }
        terminal.press("w");
        let screen = terminal.wait_for_frame("the answer", |screen| decider(screen).is_some());
        assert_eq!(
            decider(&screen).as_ref(),
            Some(decides),
            "{}\n{screen}",
            case.scenario
        );
        // Enter goes to the rule that decides.
        terminal.press("<Enter>");
        let (chain, rule) = decides;
        let chain = format!("filter {chain}");
        let board = terminal.wait_for_frame("the board", |screen| {
            screen.contains(&chain) && !screen.contains("▸ why")
        });
        let number = rule.map_or("–".to_owned(), |rule| rule.to_string());
        let is_cursor = |row: usize| {
            let text = board.row(row);
            let rules = text
                .split_once("││")
                .map_or("", |(_, rules)| rules)
                .to_owned();
            let first = rules
                .trim_start_matches(['■', '▸', ' '])
                .split(' ')
                .next()
                .map(str::to_owned);
            first == Some(number.clone()) && board.style_at(row, 60).reverse
        };
        assert!(
            (0..36).any(is_cursor),
            "{}: {number}\n{board}",
            case.scenario
        );
    }
}

/// However small the screen becomes, and whatever is open in it.
#[test]
fn any_size_will_do() {
    let mut terminal = crate::open(crate::dump().size(120, 36));
    terminal.press("j j j w");
    terminal.wait_for_text("← decides");
    for (columns, rows) in [(24, 6), (10, 3), (60, 8), (300, 80), (150, 7), (80, 24)] {
        terminal.resize(columns, rows);
        terminal.settled();
        terminal.press("<Space> j k G g / x <Esc>");
        terminal.settled();
    }
    terminal.wait_for("the decider", |screen| {
        screen.contains("← decides") && screen.contains("DROP certain")
    });
}
