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
