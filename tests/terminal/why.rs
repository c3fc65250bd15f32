//! The explain screen: every demo scenario's block is explained in one step, and names the right rule.

use std::process::Command;

use crate::harness::screen::Screen;
use crate::harness::{Launch, Terminal};

fn demo(scenario: &str, columns: u16, rows: u16) -> Terminal {
    Launch::ruletop()
        .args(["demo", scenario])
        .size(columns, rows)
        .start()
}

fn type_packet(terminal: &mut Terminal, words: &str) {
    terminal.press("W");
    terminal.wait_for_text("a packet: tcp");
    terminal.send(words);
    terminal.press("<Enter>");
}

#[test]
fn look() {
    for (columns, rows) in [(80, 24), (120, 36), (200, 50)] {
        let mut terminal = demo("drop-before-accept", columns, rows);
        terminal.wait_for_text("/tcp");
        terminal.wait_for("rules", |s| s.contains("DROP"));
        type_packet(&mut terminal, "tcp 203.0.113.77 -> 10.0.0.5:443");
        let screen = terminal.wait_for("ticks", |s| s.contains("✔"));
        eprintln!("{screen}");
    }
}
