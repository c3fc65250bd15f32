//! Bad luck: what the board shows when something is missing, taken away, or replaced under it. It runs
//! on with what there is, says what is missing and why, and never says more than it knows.

use crate::harness::{Launch, Terminal};
use crate::open;

const BINARY: &str = env!("CARGO_BIN_EXE_ruletop");

/// The board on a namespace of its own, after a few lines of shell in it.
fn namespace(prepare: &str) -> Terminal {
    let script = format!(
        "mount --make-rprivate /; ip link set lo up\n{prepare}\nexec {BINARY} --interval 250ms"
    );
    Launch::new("unshare")
        .args(["--net", "--mount", "bash", "-c", &script])
        .size(120, 36)
        .start()
}

const ONE_DROP: &str =
    "iptables-nft -P INPUT DROP; iptables-nft -A INPUT -p tcp --dport 22 -j DROP";

#[test]
fn without_iptables_it_says_so_and_claims_nothing() {
    // Every folder in which the tools could lie is empty.
    let hide = "for folder in /usr/sbin /usr/local/sbin; do mount -t tmpfs none $folder; done";
    let mut terminal = namespace(&format!("{ONE_DROP}\n{hide}"));
    let screen = terminal.wait_for("the reason", |screen| {
        screen
            .row(4)
            .contains("no iptables-nft-save on this machine")
    });
    assert!(!screen.contains("every packet passes"), "{screen}");
    // What needs no tool is still there: the kernel's own list of base chains.
    terminal.wait_for_text("native nft");
    terminal.press("!");
    terminal.wait_for_text("install the package iptables");
}

#[test]
fn without_rules_it_says_what_that_means() {
    let mut terminal = namespace("");
    terminal.wait_for_text("no rules: every packet passes");
    // A native chain may drop what iptables knows nothing of.
    let mut terminal = namespace(
        "nft add table inet x; nft add chain inet x in '{ type filter hook input priority 0; policy drop; }'",
    );
    let screen = terminal.wait_for_text("native nft base chain decides");
    assert!(!screen.contains("every packet passes"), "{screen}");
}

/// The other rules come from outside, as a configuration tool would load them.
fn change(terminal: &Terminal, script: &str) {
    let pid = terminal.pid().to_string();
    let arguments = ["--target", &pid, "--net", "sh", "-c", script];
    let status = std::process::Command::new("nsenter")
        .args(arguments)
        .status();
    assert!(status.unwrap().success(), "{script}");
}

#[test]
fn a_ruleset_replaced_under_the_view_is_followed_by_identity() {
    let rules =
        "for port in 21 22 23 24; do iptables-nft -A INPUT -p tcp --dport $port -j ACCEPT; done";
    let mut terminal = namespace(rules);
    terminal.wait_for_text("dport 24");
    terminal.press("g j");
    terminal.settled();
    let selected = |screen: &crate::harness::screen::Screen| {
        let column = screen.size().0 - 10;
        let row = (0..screen.size().1).find(|row| screen.style_at(*row, column).reverse);
        row.map_or_else(String::new, |row| screen.row(row))
    };
    assert!(selected(&terminal.screen()).contains("dport 22"));
    // Two rules before it: the same rule, two rows further down.
    change(
        &terminal,
        "iptables-nft -I INPUT -p tcp --dport 1 -j DROP; iptables-nft -I INPUT -p tcp --dport 2 -j DROP",
    );
    terminal.wait_for("the same rule further down", |screen| {
        screen.contains("─ 6 rules") && selected(screen).contains("dport 22")
    });
    // Everything else: nothing of the old is left on the screen, and no row is made up.
    change(
        &terminal,
        "printf '*filter\\n:INPUT DROP [0:0]\\n-A INPUT -i lo -j ACCEPT\\nCOMMIT\\n' | iptables-nft-restore",
    );
    let screen = terminal.wait_for_text("policy DROP");
    assert!(!screen.contains("dport 22"), "{screen}");
    assert!(screen.contains("1 rule"), "{screen}");
    // And nothing at all.
    change(&terminal, "nft flush ruleset");
    terminal.wait_for_text("every packet passes");
    terminal.press("q");
    assert_eq!(terminal.wait_for_exit().exit_code(), 0);
}

/// A rule that goes while its text lies open, a chain that goes while one stands in it.
#[test]
fn what_lies_open_may_go_away() {
    let rules =
        "iptables-nft -N side; iptables-nft -A side -p udp -j DROP; iptables-nft -A INPUT -j side";
    let mut terminal = namespace(rules);
    terminal.wait_for_text("→side");
    terminal.press("g <Enter>");
    terminal.wait_for_text(" v4 filter side ─");
    terminal.press("v");
    terminal.wait_for_text("─ rule ─");
    change(&terminal, "iptables-nft -F; iptables-nft -X");
    terminal.wait_for("the chain to go", |screen| {
        !screen.contains(" v4 filter side ─")
    });
    for keys in [
        "<Enter>",
        "<Backspace> <Backspace>",
        "j k G g n N x s m 0 v",
        "<Esc>",
    ] {
        terminal.press(keys);
        terminal.settled();
    }
    terminal.press("q");
    assert_eq!(terminal.wait_for_exit().exit_code(), 0);
}

/// Keys in any order find no state in which the board falls over.
#[test]
fn any_keys_in_any_order_are_survived() {
    let mut terminal = open(crate::dump().size(100, 30));
    let keys: Vec<Vec<u8>> = {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/keymap.toml");
        let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
        let rows = table["key"].as_array().unwrap().iter();
        rows.flat_map(|row| row["on"].as_array().unwrap())
            .map(|key| key.as_str().unwrap())
            // Leaving, stopping and Escape (which would join the next key) are tested elsewhere.
            .filter(|key| !matches!(*key, "q" | "<C-c>" | "<C-z>" | "<Esc>"))
            .map(|key| crate::harness::keys::bytes(key).unwrap())
            .collect()
    };
    let mut number = 1_u16;
    for step in 0..3_000_usize {
        number = number.wrapping_mul(25_173).wrapping_add(13_849);
        terminal.send(&keys[usize::from(number >> 4) % keys.len()]);
        if step % 100 == 99 {
            terminal.resize(60 + number % 90, 15 + number % 40);
            terminal.settled();
        }
    }
    terminal.press("<Esc>");
    terminal.settled();
    terminal.press("<Esc>");
    let screen = terminal.settled();
    assert!(screen.alternate, "{screen}");
    terminal.press("<C-c>");
    assert_eq!(terminal.wait_for_exit().exit_code(), 0);
    assert_eq!(terminal.disorder(), Vec::<String>::new());
}
