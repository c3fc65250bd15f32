//! The explain screen: every demo scenario's block is explained in one step, and names the right rule.

use crate::harness::screen::Screen;
use crate::scene::{SCENARIOS, blocked, decider, demo, expected, scenario, type_packet};

/// Of a scenario: a packet that does not get through, in words, and who decides about it, as the files of
/// `assets/scenarios/` have it.
struct Case {
    scenario: &'static str,
    /// Said of the first packet that is blocked there.
    packet: String,
    /// Of IPv4 and IPv6: chain, and rule or policy. `None`: no rule does.
    decides: [Option<(String, Option<u64>)>; 2],
    /// Which lines of the drop feed tell of it.
    lines: String,
}

fn case(name: &'static str) -> Case {
    let table = scenario(name);
    let blocked = &blocked(&table)[0];
    let (port, proto) = (blocked.port, &blocked.proto);
    // There the line has what DNAT made of the packet.
    let lines = match name {
        "docker-beside-ufw" => "DOCKER proto:tcp".to_owned(),
        "forward-blocked" => "dport:8443 proto:tcp".to_owned(),
        _ if blocked.by_box => format!("sport:{port} proto:{proto}"),
        _ => format!("dport:{port} proto:{proto}"),
    };
    Case {
        scenario: name,
        packet: blocked.words(),
        decides: [4, 6].map(|family| expected(&table, family)),
        lines,
    }
}

/// The box was read.
fn is_whole(screen: &Screen) -> bool {
    ["✔", "✘"].iter().any(|mark| screen.contains(mark))
}

#[test]
fn every_block_is_explained_by_typing_its_packet() {
    for case in SCENARIOS.map(case) {
        let mut terminal = demo(case.scenario, "nft");
        type_packet(&mut terminal, &case.packet);
        let screen = terminal.wait_for_frame("the answer", is_whole);
        match &case.decides[0] {
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
        let mut terminal = demo(case.scenario, "nft");
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
        // The newest line may be of either family.
        let is_v6 = screen
            .find("▸ why")
            .is_some_and(|(row, _)| screen.row(row).contains("→ ["));
        let decides = case.decides[usize::from(is_v6)].as_ref().unwrap();
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
        let number = rule.map_or("–".to_owned(), |rule| rule.to_string());
        let is_cursor = |board: &Screen, row: usize| {
            let text = board.row(row);
            let rules = text.split_once("││").map_or("", |(_, rules)| rules);
            let first = rules.trim_start_matches(['■', '▸', ' ']).split(' ').next();
            first == Some(number.as_str()) && board.style_at(row, 60).reverse
        };
        // No waiting for silence: lines keep coming in the feed.
        terminal.wait_for("the rule on the board", |board| {
            board.contains(&chain)
                && !board.contains("▸ why")
                && (0..board.size().1).any(|row| is_cursor(board, row))
        });
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

/// What is offered is staged by its key, and nothing is before it is there to be read.
#[test]
fn an_offer_that_one_has_read_is_staged() {
    let mut terminal = crate::open(crate::dump().size(120, 36));
    terminal.press("j j j w");
    terminal.wait_for_text("lets in");
    terminal.press("s");
    terminal.wait_for("a staged change", |screen| {
        screen.contains("1 staged") && screen.contains("staged: move rule 5")
    });
}
