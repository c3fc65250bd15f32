//! The board as it looks, in every size that it was designed for: text and style, in colour and
//! without. A snapshot that changes is to be looked at, not waved through.

use crate::harness::{Launch, Terminal};
use crate::{dump, open};

/// The board with the mark of the rule that can never match: the last thing to come to it.
#[track_caller]
fn complete(launch: Launch) -> Terminal {
    let mut terminal = open(launch);
    terminal.wait_for_frame("the marks of dead rules", |screen| screen.contains("⌀"));
    terminal
}

/// Asserts the portrait of a screen, under its name.
macro_rules! assert_screen {
    ($name:expr, $screen:expr) => {
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!($name, $screen);
        });
    };
}

#[test]
fn the_board_in_every_size_and_theme() {
    for (columns, rows) in [(80, 24), (60, 20), (120, 36), (200, 50)] {
        for theme in ["ansi", "mono"] {
            let mut terminal = complete(dump().args(["--theme", theme]).size(columns, rows));
            let name = format!("board-{columns}x{rows}-{theme}");
            assert_screen!(name, terminal.settled());
        }
    }
}

#[test]
fn what_opens_over_the_board() {
    for (name, keys) in [
        ("help", "?"),
        ("chains", "c"),
        ("notices", "!"),
        ("rule", "j j j v"),
        ("filter", "/ d p o r t"),
    ] {
        let mut terminal = complete(dump());
        terminal.press(keys);
        assert_screen!(format!("{name}-80x24"), terminal.settled());
    }
}

/// Why a packet of a rule is dropped, and a packet that is being typed.
#[test]
fn the_explain_screen_in_every_size() {
    for (columns, rows) in [(80, 24), (60, 20), (120, 36), (200, 50)] {
        let mut terminal = open(dump().size(columns, rows));
        terminal.press("j j j w");
        // The last that comes.
        terminal.wait_for_frame("what could be staged", |screen| screen.contains("lets in"));
        assert_screen!(format!("why-{columns}x{rows}"), terminal.settled());
    }
    let mut terminal = open(dump());
    terminal.press("W");
    terminal.send("tcp 1.2.3.4 -> :99999");
    terminal.wait_for_text("not understood");
    assert_screen!("why-typed-80x24", terminal.settled());
}

/// Below 80 columns one pane at a time has the screen.
#[test]
fn one_pane_at_a_time_on_a_small_screen() {
    let mut terminal = complete(dump().size(60, 20));
    for (name, key) in [("chains", "1"), ("drops", "3"), ("rules", "2")] {
        terminal.press(key);
        assert_screen!(format!("single-{name}-60x20"), terminal.settled());
    }
}

/// NO_COLOR (no-color.org) is the mono theme: no colour at all, and nothing lost but colour.
#[test]
fn without_colour_state_shows_by_weight_and_glyph() {
    let mut coloured = open(dump());
    for launch in [
        dump().env("NO_COLOR", "1"),
        dump().args(["--theme", "mono"]),
    ] {
        let mut terminal = open(launch);
        let screen = terminal.settled();
        assert!(
            screen.styles().all(|style| !style.is_coloured()),
            "{screen}"
        );
        assert!(screen.styles().any(|style| style.reverse), "{screen}");
        assert_eq!(screen.text(), coloured.settled().text());
    }
    // The sixteen colours of the terminal's own palette, and no others.
    assert!(coloured.settled().styles().all(|style| style.is_ansi()));
}
