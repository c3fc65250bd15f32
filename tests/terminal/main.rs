//! The program in a real terminal: a pty with a screen model.
//!
//! Every test waits for what the screen shows and never for time to pass. Layouts are kept as
//! snapshots of text and style (`snapshots/`, one file a size and theme).

// clippy.toml lets `#[test]` functions unwrap; their helpers are tests too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod actions;
mod change;
mod demo;
mod editor;
mod fix;
mod harness;
mod harness_holds;
mod keep;
mod layouts;
mod life;
mod misfortune;
mod scene;
mod why;

use harness::screen::Screen;
use harness::{Launch, Terminal};

/// The project's own dump: v4 and v6 in one file, hostile bytes in a comment. Relative to the
/// checkout, in which every program here is started, because the board names it.
const DUMP: &str = "tests/fixtures/board.save";

/// The board on that dump, not started yet.
fn dump() -> Launch {
    Launch::ruletop().args(["--file", DUMP])
}

/// The board is drawn: its dump is named and its rules are there.
fn is_board(screen: &Screen) -> bool {
    screen.alternate && screen.contains("INPUT")
}

/// Starts a board and waits for it.
#[track_caller]
fn open(launch: Launch) -> Terminal {
    let mut terminal = launch.start();
    terminal.wait_for_frame("the board", is_board);
    terminal
}

/// A long text that shows how much of it stands above and below goes by every key of scrolling, from its
/// top and back to it.
#[track_caller]
fn scrolls(terminal: &mut Terminal) {
    for (key, shown) in [
        ("<Down>", "1 above"),
        ("j", "2 above"),
        ("k", "1 above"),
        ("<Up>", "0 above"),
        ("<PageDown>", "0 below"),
        ("<PageUp>", "0 above"),
    ] {
        terminal.press(key);
        terminal.wait_for(&format!("{shown} by {key}"), |screen| {
            screen.contains(shown)
        });
    }
}

/// All that is drawn anew is the same.
#[track_caller]
fn redraws(terminal: &mut Terminal) {
    let before = terminal.settled();
    let mark = terminal.mark();
    terminal.press("<C-l>");
    terminal.wait_for_bytes(mark);
    assert_eq!(terminal.settled().text(), before.text());
}
