//! The rule editor and the templates in a real terminal, with the kernel's own verdict: a rule that it
//! refuses stays open in its words, one that it takes is staged as it would be saved.

use crate::harness::{Launch, Terminal};

/// A box of its own with a few rules, of one back end, and an ipset.
fn box_of(backend: &str) -> Terminal {
    let script = format!(
        "ip link set lo up
         export XTABLES_LOCKFILE=$(mktemp)
         ipset create blocked hash:ip
         ip{backend}-restore <<'RULES'
*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:web - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m tcp --dport 443 -j DROP
-A INPUT -p tcp -m tcp --dport 80 -j web
-A web -j ACCEPT
COMMIT
RULES
         exec {}",
        env!("CARGO_BIN_EXE_ruletop")
    );
    let mut terminal = Launch::new("unshare")
        .args(["--net", "--mount", "bash", "-c", &script])
        .size(100, 30)
        .start();
    terminal.wait_for_text("dport 443");
    terminal.press("g");
    terminal
}

#[test]
fn the_back_end_has_the_last_word() {
    for backend in ["tables-nft", "tables-legacy"] {
        let mut terminal = box_of(backend);
        terminal.press("i");
        terminal.wait_for_text("insert before rule 1");
        terminal.press("<F2>");
        // No quick check can know this; the tool does.
        terminal.send("-m nosuchmatch -j ACCEPT");
        terminal.wait_for_text("no match that is known here");
        terminal.press("<Enter>");
        terminal.wait_for_text("refused: ");
        terminal.press("<End> <C-u>");
        terminal.send("-p tcp --dport 8443 -m set --match-set bl");
        // The kernel's ipsets are offered, and the only one is taken.
        terminal.press("<Tab>");
        terminal.wait_for_text("--match-set blocked");
        terminal.send(" src -s 10.1.2.3/16 -j web");
        terminal.wait_for_text("Send TCP packets from 10.1.0.0/16 to port 8443, if their source");
        terminal.press("<Enter>");
        terminal.wait_for("the new rule as it would be saved", |screen| {
            !screen.contains("raw line")
                && screen.contains("10.1.0.0/16")
                && screen.contains("1 staged")
        });
    }
}

#[test]
fn a_template_is_placed_before_what_drops_it() {
    let mut terminal = box_of("tables-nft");
    terminal.press("T");
    terminal.wait_for_text("templates ── v4");
    terminal.press("<Enter>");
    terminal.wait_for_text("what is staged");
    terminal.send("443");
    terminal.wait_for_text("before rule 2");
    terminal.press("<Enter>");
    terminal.wait_for_text("staged");
    terminal.wait_for("the new rule", |screen| {
        !screen.contains("what is staged") && screen.contains("ctstate NEW")
    });
}
