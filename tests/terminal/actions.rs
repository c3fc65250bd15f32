//! Every key of the keymap does what it says, in a real terminal.
//!
//! One row an action and place; each of its keys is pressed on a fresh board, and the screen must come
//! to show what the row asks for, which it must not have shown before. A key that is added to
//! `assets/keymap.toml` without a row here fails the test that compares the two.

use std::collections::BTreeSet;

use ruletop::app::action::Keymap;

use crate::harness::screen::Screen;
use crate::harness::{Launch, Terminal};
use crate::{dump, open, redraws, scrolls};

/// What the board looks at.
#[derive(Clone, Copy)]
enum On {
    /// The project's dump: nothing moves.
    Dump,
    /// A namespace in which rules 2 and 3 of INPUT are hit all the time.
    Live,
    /// The same, read once and then only when asked.
    LiveOnce,
    /// A machine of its own with a place for the rules of the next boot.
    Boot,
    /// The demo, once its drop feed has lines.
    Demo,
}

/// One action in one place.
struct Row {
    run: &'static str,
    place: &'static str,
    on: On,
    /// Pressed before, one after the other.
    first: &'static [&'static str],
    /// Whether the action shows, given the screen before the key and the one after it.
    shows: fn(&Screen, &Screen) -> bool,
}

const fn row(
    place: &'static str,
    run: &'static str,
    on: On,
    first: &'static [&'static str],
    shows: fn(&Screen, &Screen) -> bool,
) -> Row {
    Row {
        run,
        place,
        on,
        first,
        shows,
    }
}

/// `redraw` shows nothing; it has a test of its own. So have the long texts, which scroll, the keys of a
/// pending change, which one change tries in turn, and those of the history, which wants two changes first.
const ELSEWHERE: [(&str, &str); 33] = [
    ("any", "redraw"),
    ("review", "redraw"),
    ("review", "up"),
    ("review", "down"),
    ("review", "page-up"),
    ("review", "page-down"),
    ("pending", "redraw"),
    ("pending", "up"),
    ("pending", "down"),
    ("pending", "page-up"),
    ("pending", "page-down"),
    ("pending", "cancel"),
    ("pending", "more-time"),
    ("pending", "quit"),
    ("pending", "suspend"),
    ("pending", "yes"),
    ("pending", "revert"),
    ("why", "next-fix"),
    ("why", "stage-fix"),
    ("history", "down"),
    ("history", "open"),
    ("history", "page-down"),
    ("history", "page-up"),
    ("history", "redraw"),
    ("history", "stage-past"),
    ("history", "suspend"),
    ("history", "up"),
    ("keep", "down"),
    ("keep", "page-down"),
    ("keep", "page-up"),
    ("keep", "redraw"),
    ("keep", "suspend"),
    ("keep", "up"),
];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("any", "help", On::Dump, &[], |_, s| s.contains("─ keys ─") && s.contains("every key and action")),
    row("any", "filter", On::Dump, &[], |_, s| foot(s).starts_with(" /▏")),
    row("any", "back", On::Dump, &["j j j j j", "<Enter>"], |_, s| in_chain(s, "v4 filter INPUT") && at_rule(s, "6")),
    row("any", "next-lit", On::Live, &["g"], |_, s| at_rule(s, "2")),
    row("any", "previous-lit", On::Live, &["G"], |_, s| at_rule(s, "3")),
    row("any", "sort", On::Dump, &[], |_, s| s.contains("by rate")),
    row("any", "hide", On::Dump, &[], |_, s| s.contains("matched only") && s.contains("9 of 11 rules")),
    row("any", "zero", On::Dump, &[], |_, s| s.contains("Δ since zeroed") && !s.contains("18.2M")),
    row("any", "freeze", On::Live, &[], |_, s| s.contains("❚❚ frozen")),
    row("any", "detail", On::Dump, &["j j j"], |_, s| s.contains("─ rule ─") && s.contains("9,812")),
    row("any", "conntrack", On::Dump, &[], |_, s| s.contains("─ conntrack ─")),
    row("any", "connections", On::Live, &[], |_, s| s.contains("─ connections ─")),
    row("any", "why", On::Dump, &["j j j"], |_, s| s.contains("▸ why tcp 203.0.113.9") && s.row(deciding(s)).contains("DROP")),
    row("any", "ask", On::Dump, &[], |_, s| s.contains("a packet: tcp")),
    row("why", "open", On::Dump, &["j j j", "w"], |_, s| in_chain(s, "v4 filter INPUT") && at_rule(s, "4")),
    row("why", "ask", On::Dump, &["j j j", "w"], |_, s| s.contains("a packet: tcp")),
    row("why", "unfold", On::Dump, &["j j j", "w"], |before, s| before.contains("none matches") && !s.contains("none matches")),
    row("why", "cancel", On::Dump, &["j j j", "w"], |_, s| in_chain(s, "v4 filter INPUT")),
    row("any", "pause", On::Demo, &[], |_, s| s.contains("❚❚ paused")),
    row("any", "next-pane", On::Dump, &[], |_, s| has_focus(s, "drops")),
    row("any", "previous-pane", On::Dump, &[], |_, s| has_focus(s, "chains")),
    row("any", "pane-chains", On::Dump, &[], |_, s| has_focus(s, "chains")),
    row("any", "pane-rules", On::Dump, &["1"], |_, s| has_focus(s, "v4 filter INPUT")),
    row("any", "pane-drops", On::Dump, &[], |_, s| has_focus(s, "drops")),
    row("any", "zoom", On::Dump, &[], |_, s| in_chain(s, "v4 filter INPUT") && !s.contains("─ chains ─")),
    row("any", "chains", On::Dump, &[], |_, s| s.contains("v4 filter never-called")),
    row("any", "next-chain", On::Dump, &[], |_, s| in_chain(s, "v4 filter FORWARD")),
    row("any", "previous-chain", On::Dump, &["]", "]"], |_, s| in_chain(s, "v4 filter FORWARD")),
    row("any", "hottest", On::Live, &["g"], |_, s| at_rule(s, "2")),
    row("any", "units", On::Live, &[], |_, s| s.contains("bit/s")),
    row("any", "notices", On::Dump, &[], |_, s| s.contains("─ what is missing, and why ─")),
    row("any", "copy", On::Dump, &[], |_, s| s.contains("sent to the terminal's clipboard")),
    row("any", "faster", On::Dump, &[], |_, s| s.contains("a reading every 500ms")),
    row("any", "slower", On::Dump, &[], |_, s| s.contains("a reading every 2s")),
    row("any", "read-now", On::LiveOnce, &[], |before, s| s.row(5) != before.row(5)),
    row("any", "cancel", On::Dump, &["/ 4 4 3 <Enter>"], |_, s| s.contains("─ 11 rules ─")),
    row("any", "quit", On::Dump, &[], |_, s| !s.alternate),
    row("any", "suspend", On::Dump, &[], |_, s| s.contains("not suspended")),
    row("any", "down", On::Dump, &[], |_, s| at_rule(s, "2")),
    row("any", "up", On::Dump, &["j j"], |_, s| at_rule(s, "2")),
    row("any", "page-down", On::Dump, &[], |_, s| at_rule(s, "–")),
    row("any", "page-up", On::Dump, &["G"], |_, s| at_rule(s, "1")),
    row("any", "first", On::Dump, &["j j j"], |_, s| at_rule(s, "1")),
    row("any", "last", On::Dump, &[], |_, s| at_rule(s, "–")),
    row("any", "right", On::Dump, &[], |_, s| s.contains("▸8") && !s.contains("ctstate RELATED")),
    row("any", "left", On::Dump, &["l"], |_, s| !s.contains("▸8") && s.contains("ctstate RELATED")),
    row("any", "keep", On::LiveOnce, &[], |_, s| s.contains("─ keep for the next boot ─")),
    row("any", "history", On::LiveOnce, &[], |_, s| s.contains("─ history ─")),
    row("keep", "cancel", On::LiveOnce, &["S"], |_, s| !s.contains("─ keep for the next boot ─")),
    row("keep", "keep-runtime", On::Boot, &["S"], |_, s| s.contains("without what docker")),
    row("keep", "yes", On::Boot, &["S"], |_, s| s.contains("written for the next boot")),
    row("keep", "quit", On::Boot, &["S"], |_, s| !s.alternate),
    row("history", "cancel", On::LiveOnce, &["H"], |_, s| !s.contains("─ history ─")),
    row("history", "quit", On::LiveOnce, &["H"], |_, s| !s.alternate),
    row("chains", "open", On::Dump, &["1 j j j"], |_, s| has_focus(s, "v4 filter LOGDROP")),
    row("rules", "open", On::Dump, &["j j j j j"], |_, s| in_chain(s, "v4 filter f2b-sshd")),
    row("rules", "probe", On::Live, &["g"], |_, s| s.contains("◦") || s.contains("a probe logs")),
    row("drops", "open", On::Demo, &["3"], |_, s| has_focus_on_rules(s) && selected(s).contains("LOG")),
    row("drops", "group", On::Demo, &["3"], |_, s| s.contains("─ raw ")),
    row("input", "accept", On::Dump, &["/ 4 4 3"], |_, s| s.contains("3 of 11 rules") && foot(s).contains("help")),
    row("input", "cancel", On::Dump, &["/ 4 4 3"], |_, s| s.contains("─ 11 rules ─")),
    row("input", "erase", On::Dump, &["/ 4 4 3 x"], |_, s| s.contains("3 of 11 rules")),
    row("input", "erase-word", On::Dump, &["/ 4 4 3 <Space> x"], |_, s| s.contains("3 of 11 rules")),
    row("input", "erase-line", On::Dump, &["/ 4 4 3 <Space> x"], |_, s| s.contains("─ 11 rules ─")),
    row("input", "down", On::Dump, &["/ 4 4 3"], |_, s| at_rule(s, "5")),
    row("input", "up", On::Dump, &["/ 4 4 3", "<Down> <Down>"], |_, s| at_rule(s, "5")),
    row("input", "quit", On::Dump, &["/ 4 4 3"], |_, s| !s.alternate),
    row("rules", "insert-before", On::Dump, &["j"], |_, s| s.contains("insert before rule 2")),
    row("rules", "insert-after", On::Dump, &["j"], |_, s| s.contains("insert after rule 2")),
    row("rules", "edit-rule", On::Dump, &["j j j"], |_, s| s.contains("edit rule 4") && s.contains("Drop TCP packets to port 443 arriving on eth0")),
    row("any", "templates", On::Dump, &[], |_, s| s.contains("templates ── v4") && s.contains("Forward a port")),
    row("editor", "accept", On::Dump, &["i", "D R O P"], |_, s| !s.contains("raw line") && s.contains("12 rules")),
    row("editor", "cancel", On::Dump, &["i"], |_, s| !s.contains("raw line")),
    row("editor", "complete", On::Dump, &["i", "R E J"], |_, s| s.contains("Reject every packet")),
    row("editor", "complete-back", On::Dump, &["i"], |_, s| s.contains("for people; says nothing to the kernel")),
    row("editor", "switch-view", On::Dump, &["i"], |_, s| s.contains("the rule as iptables takes it")),
    row("editor", "left", On::Dump, &["i", "a b"], |b, s| cursor(s) + 1 == cursor(b)),
    row("editor", "right", On::Dump, &["i", "a b <Home>"], |b, s| cursor(s) == cursor(b) + 1),
    row("editor", "first", On::Dump, &["i", "a b"], |b, s| cursor(s) + 2 == cursor(b)),
    row("editor", "last", On::Dump, &["i", "a b <Home>"], |b, s| cursor(s) == cursor(b) + 2),
    row("editor", "erase-next", On::Dump, &["i", "a b <Home>"], |_, s| s.contains("-j b ")),
    row("editor", "page-down", On::Dump, &["c", "v 6 <Space> I N P U T <Enter>", "T", "i c m p <Enter>"], |_, s| !s.contains("destination unreachable;")),
    row("editor", "page-up", On::Dump, &["c", "v 6 <Space> I N P U T <Enter>", "T", "i c m p <Enter>", "<PageDown>"], |_, s| s.contains("destination unreachable;")),
    row("any", "apply", On::Dump, &["d"], |_, s| s.contains("─ apply 1 change ─")),
    row("any", "undo", On::Dump, &["d"], |_, s| !s.contains("1 staged")),
    row("any", "redo", On::Dump, &["d", "u"], |_, s| s.contains("1 staged")),
    row("rules", "move-up", On::Dump, &["j"], |_, s| s.contains("↕ 1 ")),
    row("rules", "move-down", On::Dump, &[], |_, s| s.contains("↕ 2 ")),
    row("rules", "move-to", On::Dump, &[], |_, s| foot(s).contains("move to")),
    row("rules", "delete", On::Dump, &[], |_, s| s.contains("− ·")),
    row("rules", "disable", On::Dump, &[], |_, s| s.contains("# ·")),
    row("rules", "duplicate", On::Dump, &[], |_, s| s.contains("+ 2")),
    row("rules", "policy", On::Dump, &[], |_, s| s.contains("→ ACCEPT ─")),
    row("rules", "zero-kernel", On::Dump, &[], |_, s| s.contains(" 0 1 ") && s.contains("1 staged")),
    row("chains", "add-chain", On::Dump, &["1"], |_, s| foot(s).contains("new chain:")),
    row("chains", "rename-chain", On::Dump, &["1"], |_, s| foot(s).contains("new name: INPUT")),
    row("chains", "delete", On::Dump, &["1 j j j j j"], |_, s| s.contains("1 staged")),
    row("chains", "policy", On::Dump, &["1"], |_, s| s.contains("→ ACCEPT ─")),
    row("chains", "zero-kernel", On::Dump, &["1"], |_, s| s.contains("1 staged")),
    row("review", "review-diff", On::Dump, &["d A"], |_, s| s.contains("─ the full diff of 1 change ─")),
    row("review", "review-commands", On::Dump, &["d A"], |_, s| s.contains("─ what runs for 1 change ─") && s.contains("-D INPUT 1")),
    row("review", "copy", On::Dump, &["d A"], |_, s| foot(s).contains("sent to the terminal's clipboard")),
    row("review", "more-time", On::Live, &["d A"], |_, s| s.contains("after 2:00")),
    row("review", "less-time", On::Live, &["d A"], |_, s| s.contains("after 0:30")),
    row("review", "cancel", On::Dump, &["d A"], |_, s| !s.contains("─ apply 1 change ─") && s.contains("1 staged")),
    row("review", "yes", On::Dump, &["d A"], |_, s| foot(s).contains("this is a saved dump")),
    row("review", "quit", On::Dump, &["d A"], |_, s| !s.alternate),
    row("review", "suspend", On::Dump, &["d A"], |_, s| foot(s).contains("not suspended")),
    row("dialog", "cancel", On::Dump, &["!"], |_, s| !s.contains("what is missing")),
];

/// The footer, or the line in its place.
fn foot(screen: &Screen) -> String {
    screen.row(screen.size().1 - 1)
}

/// The row of the explain screen that decides; one past the last where there is none.
fn deciding(screen: &Screen) -> usize {
    screen
        .find("← decides")
        .map_or(screen.size().1, |(row, _)| row)
}

/// The pane of that title has the focus.
fn has_focus(screen: &Screen, title: &str) -> bool {
    screen.contains(&format!("▸ {title} ─"))
}

/// The rules are those of that chain.
fn in_chain(screen: &Screen, title: &str) -> bool {
    screen.contains(&format!(" {title} ─"))
}

/// The rules have the focus, whichever chain's they are.
fn has_focus_on_rules(screen: &Screen) -> bool {
    screen.contains("▸ v4 ") || screen.contains("▸ v6 ")
}

/// The column of the cursor in the rule editor's first field.
fn cursor(screen: &Screen) -> usize {
    let (row, _) = screen.find("│ target ").unwrap();
    let reversed = |column: &usize| screen.style_at(row, *column).reverse;
    (0..screen.size().0).find(reversed).unwrap()
}

/// The row of the selected rule, right of the chain list; empty where none is selected.
fn selected(screen: &Screen) -> String {
    // The selection is a bar over the whole width of the pane.
    let column = screen.size().0 - 10;
    let selected = (0..screen.size().1).find(|row| screen.style_at(*row, column).reverse);
    let text = selected.map_or_else(String::new, |row| screen.row(row));
    text.rsplit_once("││")
        .map_or(text.clone(), |(_, rule)| rule.to_owned())
}

/// The selected rule has that number.
fn at_rule(screen: &Screen, number: &str) -> bool {
    let row = selected(screen);
    let mut words = row.split_whitespace();
    words.find(|word| !matches!(*word, "▸" | "▹" | "·" | "■" | "□")) == Some(number)
}

/// A namespace of its own with a few rules, two of which are hit by packets to its own loopback.
fn live(interval: &str) -> Launch {
    let script = format!(
        "ip link set lo up
         iptables-nft-restore <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT
-A INPUT -p udp -m udp --dport 9 -j DROP
-A INPUT -p udp -m udp --dport 10 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT
COMMIT
RULES
         while sleep 0.1; do echo x >/dev/udp/127.0.0.1/9; echo x >/dev/udp/127.0.0.1/10; done 2>/dev/null &
         exec {} --interval {interval}",
        env!("CARGO_BIN_EXE_ruletop")
    );
    Launch::new("unshare").args(["--net", "--mount", "bash", "-c", &script])
}

fn start(on: On) -> Terminal {
    match on {
        On::Dump => open(dump().size(120, 36)),
        On::Live => {
            let mut terminal = open(live("250ms").size(120, 36));
            terminal.wait_for("two hot rules", |screen| {
                [5, 6].iter().all(|row| {
                    screen.row(*row).contains("/s")
                        || screen.row(*row).contains('▸')
                        || screen.row(*row).contains('■')
                })
            });
            terminal
        }
        On::LiveOnce => {
            let mut terminal = open(live("1h").size(120, 36));
            terminal.wait_for_text("dport 443");
            // What the screen shows is from the load; only packets since then can show a reading.
            let shown = dropped(&terminal);
            let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
            while dropped(&terminal) == shown {
                assert!(std::time::Instant::now() < until, "no packet came");
            }
            terminal
        }
        On::Boot => crate::keep::machine(),
        On::Demo => {
            let mut terminal = open(Launch::ruletop().arg("demo").size(120, 36));
            terminal.wait_for_text("/tcp");
            terminal
        }
    }
}

/// Packets that the DROP rule of [`live`] has counted, as the kernel says.
fn dropped(terminal: &Terminal) -> u64 {
    let pid = terminal.pid().to_string();
    let saved = std::process::Command::new("nsenter")
        .args(["--target", &pid, "--net", "iptables-nft-save", "-c"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&saved.stdout).into_owned();
    let rule = text
        .lines()
        .find(|line| line.contains("--dport 9 "))
        .unwrap_or("[0:0]");
    let packets: String = rule
        .chars()
        .skip(1)
        .take_while(char::is_ascii_digit)
        .collect();
    packets.parse().unwrap()
}

/// Plays a row with one of its keys.
fn play(row: &Row, key: &str) {
    let mut terminal = start(row.on);
    for keys in row.first {
        terminal.press(keys);
        terminal.settled();
    }
    let before = terminal.screen();
    assert!(
        !(row.shows)(&before, &before),
        "{} shows already before {key}:\n{before}",
        row.run
    );
    terminal.press(key);
    let what = format!("{} of {} by {key}", row.run, row.place);
    terminal.wait_for(&what, |screen| (row.shows)(&before, screen));
}

/// The rows of the shipped keymap: place, action, keys, all as the file writes them.
fn keymap() -> Vec<(String, String, Vec<String>)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/keymap.toml");
    let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let rows = table["key"].as_array().unwrap().iter();
    rows.map(|row| {
        let keys = row["on"].as_array().unwrap().iter().map(text).collect();
        (text(&row["in"]), text(&row["run"]), keys)
    })
    .collect()
}

#[test]
fn every_key_has_a_row_here_and_every_row_a_key() {
    let keymap = keymap();
    assert_eq!(keymap.len(), Keymap::shipped().unwrap().bindings().len());
    let bound: BTreeSet<(&str, &str)> = keymap
        .iter()
        .map(|(place, run, _)| (place.as_str(), run.as_str()))
        .collect();
    let tested: BTreeSet<(&str, &str)> = ROWS
        .iter()
        .map(|row| (row.place, row.run))
        .chain(ELSEWHERE)
        .collect();
    assert_eq!(bound, tested);
}

/// Plays every `parts`-th row: tests of one binary run side by side, so the table is dealt out.
fn play_part(part: usize, parts: usize) {
    let keymap = keymap();
    for row in ROWS.iter().skip(part).step_by(parts) {
        let keys = keymap
            .iter()
            .find(|(place, run, _)| (place.as_str(), run.as_str()) == (row.place, row.run));
        for key in keys.map_or(&[][..], |(_, _, keys)| keys) {
            play(row, key);
        }
    }
}

#[test]
fn every_key_does_what_it_says_first_part() {
    play_part(0, 3);
}

#[test]
fn every_key_does_what_it_says_second_part() {
    play_part(1, 3);
}

#[test]
fn every_key_does_what_it_says_third_part() {
    play_part(2, 3);
}

#[test]
fn redraw_sends_the_whole_screen() {
    let mut terminal = open(dump());
    let before = terminal.settled();
    let mark = terminal.mark();
    terminal.press("<C-l>");
    terminal.wait_for_bytes(mark);
    assert_eq!(terminal.settled().to_string(), before.to_string());
    let cells = before
        .text()
        .split_whitespace()
        .map(str::len)
        .sum::<usize>();
    assert!(
        terminal.bytes_since(mark) > cells,
        "only {} bytes",
        terminal.bytes_since(mark)
    );
}

#[test]
fn a_long_review_scrolls() {
    let mut terminal = open(dump().size(80, 14));
    terminal.press("d j d j d j d j d j d j d j d");
    terminal.press("A d");
    terminal.wait_for_text("0 above");
    scrolls(&mut terminal);
    redraws(&mut terminal);
}

/// In one change and its repetition, since each has to be applied.
#[test]
fn a_pending_change_knows_its_keys() {
    let mut terminal = open(Launch::ruletop().arg("demo").size(80, 18));
    let apply = |terminal: &mut Terminal| {
        terminal.press("g d A");
        terminal.wait_for_text("✔ the back end takes it");
        terminal.press("y");
        terminal.wait_for_text("it reverts by itself in 0:");
    };
    apply(&mut terminal);
    terminal.press("+");
    terminal.wait_for_text("it reverts by itself in 1:");
    terminal.press("<C-z>");
    terminal.wait_for_text("no shell to come back from");
    for keys in ["j <Down> <PageDown>", "k <Up> <PageUp>", "<C-l>"] {
        terminal.press(keys);
        terminal.wait_for("the question to stay", |screen| {
            screen.contains("─ keep it? ─")
        });
    }
    for close in ["<Esc>", "q"] {
        terminal.press(close);
        terminal.wait_for(&format!("the board under its bar by {close}"), |screen| {
            !screen.contains("─ keep it? ─") && screen.contains("PENDING")
        });
        terminal.press("A");
        terminal.wait_for_text("─ keep it? ─");
    }
    terminal.press("r");
    terminal.wait_for_text("the change is taken back");
    apply(&mut terminal);
    terminal.press("y");
    terminal.wait_for_text("the change is kept");
    apply(&mut terminal);
    terminal.press("<C-c>");
    assert_eq!(terminal.wait_for_exit().exit_code(), 0);
}

#[test]
fn the_next_fix_is_another_one() {
    let mut terminal = open(dump().size(120, 36));
    terminal.press("j j j w");
    let first = terminal.wait_for_text("fix 1/");
    terminal.press("n");
    let second = terminal.wait_for_text("fix 2/");
    assert_ne!(first.text(), second.text());
}

/// OSC 52 holds the rule as the dump writes it, in base64.
#[test]
fn copy_sends_the_rule_itself() {
    let mut terminal = open(dump());
    terminal.press("j j");
    terminal.settled();
    let mark = terminal.mark();
    terminal.press("y");
    terminal.wait_for_text("sent to the terminal's clipboard");
    let output = String::from_utf8(terminal.output_since(mark)).unwrap();
    let sent = output
        .split("\x1b]52;c;")
        .nth(1)
        .unwrap()
        .split('\x07')
        .next()
        .unwrap();
    // `-A INPUT -m conntrack --ctstate INVALID -j DROP`
    assert_eq!(
        sent,
        "LUEgSU5QVVQgLW0gY29ubnRyYWNrIC0tY3RzdGF0ZSBJTlZBTElEIC1qIERST1A="
    );
}
