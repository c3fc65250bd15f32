//! The harness itself, held to what it promises with programs that everybody knows.
//!
//! A harness that always says yes would make every test above it worthless, so each of these looks at
//! the harness saying no as well.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use nix::sys::signal::Signal;
use vt100::Color;

use crate::harness::{Launch, Terminal, keys, patiently};

/// What a closure that must fail says.
fn complaint(run: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(run)).expect_err("this should have failed");
    payload
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_default()
}

/// A program that shows `ready` and then waits for input for ever.
fn waiting(script: &str) -> Terminal {
    let mut terminal = Launch::shell(&format!("{script}; printf ready; exec cat")).start();
    terminal.wait_for_text("ready");
    terminal
}

#[test]
fn shows_what_is_written_and_how() {
    let mut terminal = Launch::shell(
        r"printf '\033[2;5Hplain \033[1;31mhot\033[0m \033[7;38;5;200mhere\033[0m \033[48;2;1;2;3mx\033[0m 漢y'; exec cat",
    )
    .start();
    let screen = terminal.wait_for_text("漢y");
    assert_eq!(screen.row(1), "    plain hot here x 漢y");
    assert_eq!(screen.find("hot"), Some((1, 10)));
    // A wide character takes two cells.
    assert_eq!(screen.find("y"), Some((1, 23)));
    let hot = screen.style_of("hot");
    assert!(hot.bold && !hot.reverse && hot.foreground == Color::Idx(1));
    assert!(screen.style_of("here").reverse);
    assert!(screen.style_of("plain").is_plain());
    assert_eq!(screen.style_of("x").background, Color::Rgb(1, 2, 3));
    assert!(!screen.contains("plainhot"));
    insta::assert_snapshot!("portrait", terminal.settled());
}

#[test]
fn a_wait_that_fails_shows_the_screen() {
    let mut terminal = Launch::shell("printf 'all there is'; exit 3").start();
    let said = complaint(|| {
        terminal.wait_for_text("something else");
    });
    assert!(
        said.contains("waited for the text \"something else\""),
        "{said}"
    );
    assert!(said.contains("all there is"), "{said}");
    assert!(said.contains("has ended"), "{said}");
    let said = complaint(|| {
        terminal.screen().style_of("nowhere");
    });
    assert!(said.contains("\"nowhere\" is not on the screen"), "{said}");
}

#[test]
fn keys_arrive_as_a_terminal_sends_them() {
    let mut terminal =
        Launch::shell("stty raw -echo; printf ready; dd bs=1 count=14 2>/dev/null | od -An -tx1")
            .start();
    terminal.wait_for_text("ready");
    terminal.press("q <Enter> <Up> <F5> <C-c> <A-x> <Esc>");
    terminal.wait_for_text("71 0d 1b 5b 41 1b 5b 31 35 7e 03 1b 78 1b");
    let cases = [
        ("<PageDown>", Some("\x1b[6~")),
        ("<S-Tab>", Some("\x1b[Z")),
        ("<C-z>", Some("\x1a")),
        ("<", Some("<")),
        ("é", Some("é")),
        ("<Hyper>", None),
        ("<C-é>", None),
        ("<C-Up>", None),
        ("Enter", None),
        ("", None),
    ];
    for (name, wanted) in cases {
        let wanted = wanted.map(|sequence| sequence.as_bytes().to_vec());
        assert_eq!(keys::bytes(name), wanted, "{name}");
    }
    assert!(complaint(|| terminal.press("Enter")).contains("no key is called"));
    assert!(complaint(|| terminal.press("<Esc> x")).contains("keys after <Esc>"));
}

#[test]
fn a_new_size_reaches_the_program_and_the_screen() {
    let script = "trap 'stty size' WINCH; printf ready; while :; do sleep 0.02; done";
    let mut terminal = Launch::new("bash")
        .args(["-c", script])
        .size(100, 30)
        .start();
    assert_eq!(terminal.wait_for_text("ready").size(), (100, 30));
    terminal.resize(61, 19);
    let screen = terminal.wait_for_text("19 61");
    assert_eq!(screen.size(), (61, 19));
}

#[test]
fn bytes_are_counted_from_a_mark() {
    let mut terminal = waiting("stty -echo");
    let mark = terminal.mark();
    assert_eq!(terminal.output_during(Duration::from_millis(50)), b"");
    terminal.send("ab\r");
    terminal.wait_for_text("ab");
    assert_eq!(terminal.output_since(mark), b"ab\r\n");
    assert_eq!(terminal.bytes_since(mark), 4);
}

#[test]
fn an_end_is_told_by_code_or_signal() {
    let mut terminal = Launch::shell("printf last; exit 7").start();
    assert_eq!(terminal.wait_for_exit().exit_code(), 7);
    assert!(terminal.screen().contains("last"));
    let mut terminal = waiting(":");
    terminal.signal(Signal::SIGTERM);
    let status = terminal.wait_for_exit();
    assert!(status.signal().is_some(), "{status:?}");
}

#[test]
fn closing_the_terminal_hangs_up_and_types_nothing() {
    let note = tempfile::NamedTempFile::new().unwrap();
    let path = note.path().to_str().unwrap();
    // The shell notes a line that it is given, and the hang-up.
    let script = format!(
        "trap 'echo hup >>{path}; exit' HUP; printf ready; read -r x && echo typed >>{path}; sleep 60"
    );
    let mut terminal = Launch::new("bash").args(["-c", &script]).start();
    terminal.wait_for_text("ready");
    terminal.close();
    terminal.wait_for_exit();
    assert_eq!(std::fs::read_to_string(note.path()).unwrap(), "hup\n");
}

#[test]
fn every_process_of_a_terminal_is_known_and_ended() {
    let mut terminal = waiting("setsid sleep 1000 & (sleep 1001 &) ");
    let column = |processes: &[String], at: usize| {
        let words = |process: &String| process.split(' ').nth(at).unwrap().to_owned();
        let mut column: Vec<String> = processes.iter().map(words).collect();
        column.sort();
        column
    };
    // Forked already, but perhaps still under the name of the shell that forked them.
    patiently("all three under their names", || {
        column(&terminal.processes(), 1) == ["cat", "sleep", "sleep"]
    });
    let ids = column(&terminal.processes(), 0);
    terminal.signal(Signal::SIGKILL);
    terminal.wait_for_exit();
    // The kernel hangs up on the terminal's own session; what left it lives on, and is still known.
    patiently("the one that left", || {
        column(&terminal.processes(), 1) == ["sleep"]
    });
    drop(terminal);
    for id in ids {
        let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let ended = state.is_empty() || state.contains(") Z ");
        assert!(ended, "{id} was left behind: {state}");
    }
}

#[test]
fn a_terminal_in_disorder_is_noticed() {
    let mut terminal = waiting(":");
    assert_eq!(terminal.disorder(), Vec::<String>::new());
    drop(terminal);
    terminal = waiting(
        r"stty raw -echo; printf '\033[?1049h\033[?25l\033[?2004h\033[?1000h\033[?2026h\033[?1004h\033[?1004l\033[1m'",
    );
    let disorder = terminal.disorder().join(", ");
    assert_eq!(
        disorder,
        "the alternate screen is on, the cursor is hidden, bracketed paste is on, \
         mouse reports are on, text attributes are set, private mode 2026 is set, \
         echo is off, line editing is off, signals from keys is off"
    );
}

#[test]
fn questions_to_the_terminal_are_noticed() {
    let terminal = waiting(r"printf '\033[c\033[6n\033]11;?\007\033[?u'");
    assert_eq!(
        terminal.unanswered(),
        ["CSI 0c", "CSI 6n", "CSI ?0u", "OSC 11;?"]
    );
    assert!(waiting(":").unanswered().is_empty());
}

#[test]
fn a_stalled_terminal_blocks_the_program_until_it_is_read() {
    let mut terminal = waiting("stty raw -echo");
    terminal.stall();
    let mark = terminal.mark();
    terminal.send("x");
    assert!(terminal.output_during(Duration::from_millis(50)).len() <= 1);
    terminal.unstall();
    terminal.send("y");
    terminal.wait_for_text("xy");
    assert_eq!(terminal.bytes_since(mark), 2);
}
