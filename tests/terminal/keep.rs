//! Saving for the next boot and the history, in a real terminal: on a machine whose /etc, /run, /var/log and
//! /var/backups are its own, in a mount namespace, so that nothing of the real one is written.

use std::process::Command;

use crate::harness::screen::Screen;
use crate::harness::{Launch, Terminal, patiently};
use crate::{open, redraws, scrolls};

/// A board over a namespace with a few rules, and Debian's place for saved ones.
pub fn machine() -> Terminal {
    machine_of(120, 36)
}

fn machine_of(columns: u16, rows: u16) -> Terminal {
    let script = format!(
        "set -e
         for folder in /etc /run /var; do mount -t tmpfs none $folder; done
         mkdir -p /etc/iptables /var/log /var/backups
         echo '*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 23 -j ACCEPT
COMMIT' >/etc/iptables/rules.v4
         iptables-nft-restore <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:f2b-sshd - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j f2b-sshd
-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT
-A INPUT -p udp -m udp --dport 9 -j DROP
COMMIT
RULES
         exec {} --interval 1h",
        env!("CARGO_BIN_EXE_ruletop")
    );
    let launch = Launch::new("unshare").args(["--net", "--mount", "bash", "-c", &script]);
    let mut terminal = open(launch.size(columns, rows));
    terminal.wait_for_text("dport 80");
    terminal
}

/// The saved file, as the machine sees it.
fn saved(terminal: &Terminal, name: &str) -> String {
    let pid = terminal.pid().to_string();
    let output = Command::new("nsenter")
        .args(["--target", &pid, "--mount", "cat"])
        .arg(format!("/etc/iptables/{name}"))
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_live_is_kept_and_what_was_changed_comes_back_from_the_history() {
    let mut terminal = machine();
    terminal.press("S");
    terminal.wait_for("the difference", |screen| {
        screen.contains("filter INPUT - 1: -p tcp -m tcp --dport 23 -j ACCEPT")
            && screen.contains("/etc/iptables/rules.v4 (iptables-nft)")
            && screen.contains("f2b-sshd + chain")
    });
    terminal.press("t");
    terminal.wait_for_text("left out: the chain f2b-sshd");
    terminal.press("y");
    terminal.wait_for_text("written for the next boot: /etc/iptables/rules.v4");
    let text = saved(&terminal, "rules.v4");
    assert!(
        text.contains("--dport 80 -j ACCEPT") && !text.contains("f2b"),
        "{text}"
    );
    assert!(saved(&terminal, "rules.v4.ruletop-old").contains("--dport 23"));

    // A rule goes, for good; the history knows it, and stages what was before.
    terminal.press("g j d A");
    terminal.wait_for_text("✔ the back end takes it");
    terminal.press("y");
    terminal.wait_for_text("─ keep it? ─");
    terminal.press("S");
    terminal.press("y");
    terminal.wait_for("the end of the change", |screen| {
        !screen.contains("─ keep it? ─") && !screen.contains("dport 80")
    });
    terminal.press("H");
    terminal.wait_for_text("confirmed by");
    terminal.press("<Enter>");
    terminal.wait_for_text("filter INPUT - 2: -p tcp -m tcp --dport 80 -j ACCEPT");
    terminal.press("s");
    terminal.wait_for("the rule staged again", |screen| {
        screen.contains("staged as it was before that change") && screen.contains("dport 80")
    });
}

/// The demo sees files of the real machine; what it keeps goes to a folder of its own.
#[test]
fn the_demo_keeps_in_a_folder_of_its_own() {
    let mut terminal = Launch::ruletop()
        .args(["demo", "drop-before-accept"])
        .size(120, 36)
        .start();
    terminal.wait_for_text("DROP");
    terminal.press("S");
    terminal.wait_for_text("/run/ruletop/machine/etc/iptables/rules.v4");
    terminal.press("y");
    terminal.wait_for_text("written for the next boot: /run/ruletop/machine/etc");
    assert!(!std::path::Path::new("/run/ruletop/machine").exists());
}

/// And nobody waits for the program to come back from being suspended here.
#[track_caller]
fn redraws_and_is_not_suspended(terminal: &mut Terminal) {
    redraws(terminal);
    terminal.press("<C-z>");
    terminal.wait_for_text("not suspended");
}

#[test]
fn what_would_be_kept_scrolls() {
    let mut terminal = machine_of(100, 12);
    terminal.press("S");
    terminal.wait_for_text("0 above");
    scrolls(&mut terminal);
    redraws_and_is_not_suspended(&mut terminal);
}

/// One change after the other is chosen, looked at in full and left again; any of them can be staged.
#[test]
fn the_history_knows_its_keys() {
    let mut terminal = machine();
    for rules in ["2 rules", "1 rule "] {
        terminal.press("g d A");
        terminal.wait_for_text("✔ the back end takes it");
        terminal.press("y");
        terminal.wait_for_text("─ keep it? ─");
        terminal.press("y");
        terminal.wait_for("the change to be kept", |screen| {
            !screen.contains("─ keep it? ─") && screen.contains(rules)
        });
    }
    terminal.press("H");
    let chosen = |screen: &Screen| {
        let of_history = |row: &usize| screen.row(*row).contains("confirmed by");
        let mut rows = (0..screen.size().1).filter(of_history);
        rows.position(|row| screen.row(row).contains("▸ 20"))
    };
    terminal.wait_for("two changes", |screen| chosen(screen) == Some(0));
    for (key, at) in [
        ("j", 1),
        ("k", 0),
        ("<Down>", 1),
        ("<Up>", 0),
        ("<PageDown>", 1),
        ("<PageUp>", 0),
    ] {
        terminal.press(key);
        terminal.wait_for(&format!("change {at} by {key}"), |screen| {
            chosen(screen) == Some(at)
        });
    }
    redraws_and_is_not_suspended(&mut terminal);
    terminal.press("j <Enter>");
    terminal.wait_for_text("filter INPUT - 1: -p tcp -m tcp --dport 22 -j f2b-sshd");
    terminal.press("<Enter>");
    terminal.wait_for("the list again", |screen| chosen(screen) == Some(1));
    terminal.press("s");
    terminal.wait_for("both rules staged again", |screen| {
        screen.contains("2 staged")
            && screen.contains("dport 80")
            && screen.contains("f2b-sshd tcp")
    });
}

/// A disabled rule is out of the kernel and not lost: not by leaving, and not by a change that enables it and is
/// taken back.
#[test]
fn a_disabled_rule_outlives_the_program() {
    for tool in ["iptables-legacy", "iptables-nft"] {
        outlives(tool);
    }
}

fn outlives(tool: &str) {
    let home = tempfile::tempdir().unwrap();
    let script = format!(
        "set -e
         for folder in /etc /var; do mount -t tmpfs none $folder; done
         mkdir -p /var/log /var/backups /run/ruletop && mount --bind {home} /run/ruletop
         for port in 22 80 443; do {tool} -A INPUT -p tcp --dport $port -j ACCEPT; done
         for start in 1 2 3 4; do {program}; read -p \"left for the $start. time \"; done",
        home = home.path().display(),
        program = env!("CARGO_BIN_EXE_ruletop")
    );
    let launch = Launch::new("unshare").args(["--net", "--mount", "bash", "-c", &script]);
    let mut terminal = open(launch.size(120, 36));
    let is_disabled = |screen: &Screen| {
        let mut rows = (0..screen.size().1).map(|row| screen.row(row));
        rows.any(|row| row.contains("# ·") && row.contains("dport 80"))
            && screen.contains("dport 443")
    };
    let is_live = |screen: &Screen| {
        let mut rows = (0..screen.size().1).map(|row| screen.row(row));
        rows.any(|row| row.contains("││   2  ") && row.contains("dport 80"))
    };
    let apply = |terminal: &mut Terminal, answer: &str| {
        terminal.press("A");
        terminal.wait_for_text("✔ the back end takes it");
        terminal.press("y");
        terminal.wait_for_text("─ keep it? ─");
        terminal.press(answer);
        terminal.wait_for("the answer", |screen| {
            !screen.contains("─ keep it? ─") && screen.contains("the change is ")
        });
    };
    // The screen below still shows the words of the times before.
    let mut times = 0;
    let mut again = |terminal: &mut Terminal| {
        times += 1;
        terminal.press("q");
        terminal.wait_for_text(&format!("left for the {times}. time"));
        terminal.press("<Enter>");
        terminal.wait_for_frame("the program again", |screen| {
            screen.contains("v4 filter INPUT ─")
        });
    };
    terminal.wait_for_text("dport 443");
    // Disabled and taken back: it is live, and nothing but live.
    terminal.press("g j #");
    terminal.wait_for("the staged mark", is_disabled);
    apply(&mut terminal, "r");
    terminal.wait_for("the rule back", is_live);
    again(&mut terminal);
    terminal.wait_for("a live rule", is_live);
    // Disabled and kept.
    terminal.press("g j #");
    apply(&mut terminal, "y");
    terminal.wait_for("the disabled rule", is_disabled);
    again(&mut terminal);
    terminal.wait_for("the disabled rule", is_disabled);
    // Enabled and taken back.
    terminal.press("g j #");
    terminal.wait_for_text("1 staged");
    apply(&mut terminal, "r");
    terminal.wait_for("the disabled rule again", |s| {
        is_disabled(s) && !s.contains("staged")
    });
    // Enabled and kept: nothing is left on the shelf.
    terminal.press("g j #");
    terminal.wait_for_text("1 staged");
    apply(&mut terminal, "y");
    terminal.wait_for("a live rule", is_live);
    patiently("the shelf to be empty", || {
        let files = std::fs::read_dir(home.path()).unwrap();
        let mut names = files.map(|file| file.unwrap().path());
        names.all(|path| !path.join("disabled.json").exists() && !path.ends_with("disabled.json"))
    });
    // Deleted for good, while it is disabled: no rule of the kernel changes.
    terminal.press("g j #");
    apply(&mut terminal, "y");
    terminal.wait_for("the disabled rule", |s| {
        is_disabled(s) && !s.contains("staged")
    });
    terminal.press("g j d A");
    terminal.wait_for_text("✔ the back end takes it");
    terminal.press("y");
    terminal.wait_for("the rule to be gone", |s| {
        s.contains("1 disabled rule is deleted") && !s.contains("dport 80")
    });
    again(&mut terminal);
    terminal.wait_for("two rules", |s| {
        s.contains("dport 443") && !s.contains("dport 80")
    });
}
