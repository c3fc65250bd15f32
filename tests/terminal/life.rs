//! From start to end: whatever happens to the board, the terminal is left in order and no process stays
//! behind; and while nothing happens, nothing is sent.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Launch, Terminal, patiently};
use crate::{DUMP, dump, is_board, open};

const BINARY: &str = env!("CARGO_BIN_EXE_ruletop");

/// The board as a shell would start it, between two lines of the shell's own.
fn between_lines(before: &str) -> Terminal {
    let script = format!("{before} echo before; {BINARY} --file {DUMP}; echo \"after $?\"");
    let mut terminal = Launch::shell(&script).start();
    terminal.wait_for_frame("the board", is_board);
    terminal
}

/// The process of the board that a shell in this terminal started.
#[track_caller]
fn board_of(terminal: &Terminal) -> nix::unistd::Pid {
    let processes = terminal.processes();
    let board = processes
        .iter()
        .find_map(|process| process.strip_suffix(" ruletop"));
    let id = board.unwrap_or_else(|| panic!("no board among {processes:?}"));
    nix::unistd::Pid::from_raw(id.parse().unwrap())
}

#[test]
fn leaving_gives_the_terminal_back_as_it_was() {
    for key in ["q", "<C-c>"] {
        let mut terminal = between_lines("");
        assert!(!terminal.screen().contains("before"));
        terminal.press(key);
        let screen = terminal.wait_for_text("after 0");
        assert!(
            screen.contains("before"),
            "the shell's screen came back:\n{screen}"
        );
        terminal.wait_for_exit();
        assert_eq!(terminal.disorder(), Vec::<String>::new());
        assert_eq!(terminal.processes(), Vec::<String>::new());
    }
}

#[test]
fn signals_that_end_it_give_the_terminal_back() {
    for signal in [
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
    ] {
        let mut terminal = between_lines("");
        nix::sys::signal::kill(board_of(&terminal), signal).unwrap();
        // What a shell reports of a process that a signal ended.
        let screen = terminal.wait_for_text(&format!("after {}", 128 + signal as i32));
        assert!(screen.contains("before"), "{signal}:\n{screen}");
        terminal.wait_for_exit();
        assert_eq!(terminal.disorder(), Vec::<String>::new(), "{signal}");
        assert_eq!(terminal.processes(), Vec::<String>::new(), "{signal}");
    }
}

#[test]
fn killed_it_leaves_no_process() {
    let mut terminal = open(dump());
    terminal.signal(Signal::SIGKILL);
    terminal.wait_for_no_process();
}

#[test]
fn a_terminal_that_goes_away_ends_it() {
    let mut terminal = open(dump());
    terminal.close();
    terminal.wait_for_no_process();
}

/// As under nohup or in some containers: the terminal is gone and no signal says so. A reader of keys
/// that only waits for signals would spin for ever.
#[test]
fn a_terminal_that_goes_away_without_a_signal_ends_it() {
    let script = format!("trap '' HUP; exec {BINARY} --file {DUMP}");
    let mut terminal = open(Launch::shell(&script));
    terminal.close();
    terminal.wait_for_no_process();
}

/// A dead link: the terminal takes nothing any more, and then the process is told to go.
#[test]
fn a_terminal_that_takes_nothing_does_not_hold_it() {
    const FRAMES: usize = 60;
    let mut terminal = open(dump().size(200, 50));
    let mark = terminal.mark();
    terminal.press("<C-l>");
    terminal.settled();
    let frame = terminal.bytes_since(mark);
    let mark = terminal.mark();
    terminal.stall();
    // One frame after the other until the pty is full; what comes then finds the program waiting.
    for _ in 0..FRAMES {
        terminal.press("<C-l>");
        std::thread::sleep(Duration::from_millis(10));
    }
    terminal.signal(Signal::SIGTERM);
    terminal.wait_for_no_process();
    terminal.unstall();
    terminal.wait_for_exit();
    let sent = terminal.bytes_since(mark);
    assert!(
        (frame..frame * FRAMES).contains(&sent),
        "the pty was not full: {sent} bytes, {frame} a frame"
    );
}

/// A shell with job control, without its own line editing.
fn job_shell() -> Terminal {
    let mut terminal = Launch::new("bash")
        .args(["--norc", "--noprofile", "--noediting", "-i"])
        .env("PS1", "shell> ")
        .start();
    terminal.wait_for_text("shell>");
    terminal
}

#[test]
fn suspended_it_gives_the_terminal_to_the_shell_and_comes_back_whole() {
    let mut terminal = job_shell();
    terminal.send(format!("{BINARY} --file {DUMP}\r"));
    let first = terminal.wait_for_frame("the board", is_board);
    for round in 0..3 {
        terminal.press("<C-z>");
        terminal.wait_for_text("Stopped");
        terminal.wait_for("the shell", |screen| {
            let last = screen
                .text()
                .trim_end()
                .lines()
                .last()
                .unwrap_or("")
                .to_owned();
            last.starts_with("shell>") && !screen.alternate
        });
        patiently("a terminal in order", || terminal.disorder().is_empty());
        terminal.send(format!("echo line $((40 + {round}))\r"));
        terminal.wait_for_text(&format!("line {}", 40 + round));
        terminal.send("fg\r");
        let again = terminal.wait_for_frame("the board again", is_board);
        assert_eq!(again.to_string(), first.to_string(), "round {round}");
    }
    terminal.press("q");
    terminal.wait_for("the shell", |screen| !screen.alternate);
    terminal.send("echo status $?\r");
    terminal.wait_for_text("status 0");
    assert_eq!(terminal.disorder(), Vec::<String>::new());
    terminal.send("exit\r");
    terminal.wait_for_no_process();
}

#[test]
fn resized_while_it_is_stopped_it_comes_back_in_the_new_size() {
    let mut terminal = job_shell();
    terminal.send(format!("{BINARY} --file {DUMP}\r"));
    terminal.wait_for_frame("the board", is_board);
    terminal.press("<C-z>");
    terminal.wait_for("the shell", |screen| {
        !screen.alternate && screen.contains("Stopped")
    });
    terminal.resize(120, 36);
    terminal.send("fg\r");
    let screen = terminal.wait_for_frame("the board again", is_board);
    assert_eq!(screen.size(), (120, 36));
    assert_eq!(
        screen.to_string(),
        open(dump().size(120, 36)).screen().to_string()
    );
}

/// How people keep a board through an incident: left in tmux, and looked at from another desk.
#[test]
fn in_tmux_it_is_left_and_found_again_in_another_size() {
    let place = tempfile::tempdir().unwrap();
    let tmux = |command: &str| {
        Launch::new("tmux")
            .args(["-f", "/dev/null", command])
            .env("TMUX_TMPDIR", place.path().to_str().unwrap())
    };
    let board = format!("{BINARY} --file {DUMP}");
    // One row of each terminal is tmux's own.
    let mut desk = open(tmux("new-session").arg(&board).size(80, 25));
    let first = desk.settled();
    desk.press("<C-b> d");
    desk.wait_for_text("detached");
    assert_eq!(desk.wait_for_exit().exit_code(), 0);
    let mut other = open(tmux("attach-session").size(120, 37));
    other.press("q");
    assert_eq!(other.wait_for_exit().exit_code(), 0);
    desk.wait_for_no_process();
    let rows = |screen: &str| {
        screen
            .lines()
            .take(16)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(&first.text()), rows(&open(dump()).screen().text()));
}

#[test]
fn stopped_and_continued_from_outside_it_draws_itself_anew() {
    let mut terminal = job_shell();
    terminal.send(format!("{BINARY} --file {DUMP}\r"));
    let first = terminal.wait_for_frame("the board", is_board);
    let board = board_of(&terminal);
    nix::sys::signal::kill(board, Signal::SIGTSTP).unwrap();
    terminal.wait_for("the shell", |screen| {
        !screen.alternate && screen.contains("Stopped")
    });
    terminal.send("fg\r");
    let again = terminal.wait_for_frame("the board again", is_board);
    assert_eq!(again.to_string(), first.to_string());
}

/// Started by a shell without job control nobody could bring it back.
#[test]
fn without_a_shell_to_come_back_from_it_is_not_suspended() {
    let mut terminal = open(dump());
    terminal.press("<C-z>");
    terminal.wait_for_text("not suspended");
    terminal.press("q");
    assert_eq!(terminal.wait_for_exit().exit_code(), 0);
}

#[test]
fn any_size_is_survived_and_the_old_one_shows_the_old_board() {
    let mut terminal = open(dump());
    let first = terminal.settled();
    for (columns, rows) in [
        (10, 3),
        (1, 1),
        (24, 6),
        (23, 5),
        (500, 200),
        (80, 5),
        (20, 100),
    ] {
        terminal.resize(columns, rows);
        terminal.wait_for_frame("something", |screen| !screen.text().trim().is_empty());
    }
    // Faster than frames are drawn; any sequence will do, this one reaches all corners.
    let mut number = 7_u16;
    for _ in 0..300 {
        number = number.wrapping_mul(25_173).wrapping_add(13_849);
        terminal.resize((number >> 3) % 260 + 1, (number >> 7) % 90 + 1);
    }
    terminal.resize(80, 24);
    let last = terminal.wait_for_frame("the board", |screen| {
        is_board(screen) && screen.text() == first.text()
    });
    assert_eq!(last.to_string(), first.to_string());
}

#[test]
fn too_small_a_terminal_is_told_so() {
    let mut terminal = dump().size(12, 4).start();
    terminal.wait_for("a word", |screen| {
        screen.alternate && !screen.text().trim().is_empty()
    });
    terminal.resize(80, 24);
    terminal.wait_for_frame("the board", is_board);
    terminal.press("q");
    assert_eq!(terminal.wait_for_exit().exit_code(), 0);
}

#[test]
fn nothing_is_sent_while_nothing_changes() {
    for size in [(80, 24), (200, 50)] {
        let mut terminal = open(dump().args(["--interval", "100ms"]).size(size.0, size.1));
        terminal.settled();
        let sent = terminal.output_during(Duration::from_secs(1));
        assert_eq!(String::from_utf8_lossy(&sent), "");
        // A key that changes nothing costs nothing either.
        let mark = terminal.mark();
        terminal.press("g g");
        terminal.settled();
        terminal.press("<Esc>");
        terminal.settled();
        let sent = terminal.output_since(mark);
        assert_eq!(String::from_utf8_lossy(&sent), "");
    }
}

#[test]
fn the_terminal_is_asked_nothing() {
    let mut terminal = open(dump());
    for keys in ["?", "<Esc>", "/ a", "<Esc>", "<C-l> y"] {
        terminal.press(keys);
        terminal.settled();
    }
    assert_eq!(terminal.unanswered(), Vec::<String>::new());
    terminal.press("q");
    terminal.wait_for_exit();
    assert_eq!(terminal.unanswered(), Vec::<String>::new());
}

/// Bytes of the dump never reach the terminal as they are: its comment holds a colour and a title.
#[test]
fn hostile_text_of_a_dump_is_not_obeyed() {
    let mut terminal = open(dump().size(200, 50));
    let screen = terminal.wait_for_frame("the comment", |screen| screen.contains("hostile"));
    assert!(screen.contains("hostile ␛[31m␛]0;"), "{screen}");
    assert_eq!(screen.style_of("]0;"), screen.style_of("hostile"));
    let output = terminal.output_since_start();
    assert!(
        !contains(&output, b"\x1b[31m\x1b]0;"),
        "an escape came through"
    );
    assert!(!contains(&output, b"\x07"), "a bell came through");
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn a_dump_on_standard_input_leaves_the_keys_to_the_terminal() {
    let script = format!("cat {DUMP} | {BINARY} --file -");
    let mut terminal = open(Launch::shell(&script));
    terminal.press("q");
    assert_eq!(terminal.wait_for_exit().exit_code(), 0);
    assert_eq!(terminal.disorder(), Vec::<String>::new());
}

#[test]
fn a_paste_types_only_where_something_is_typed() {
    let mut terminal = open(dump());
    terminal.send("\x1b[200~qqq\x1b[201~");
    terminal.press("/");
    terminal.send("\x1b[200~4\x1b[31m4\x073\r\n\x1b[201~");
    let screen = terminal.wait_for("the pasted text", |screen| {
        screen.contains("443") || screen.contains("4[31m43")
    });
    assert!(screen.alternate);
    terminal.press("<Esc>");
    terminal.settled();
    terminal.press("q");
    assert_eq!(terminal.wait_for_exit().exit_code(), 0);
}

/// Said on standard error, one line of what failed and one of what to do; the screen untouched.
#[test]
fn what_cannot_be_shown_is_said_and_told_by_the_code() {
    let cases: [(&str, i32, &str); 6] = [
        ("RULETOP --file /nowhere/at.all", 2, "/nowhere/at.all"),
        ("RULETOP --file Cargo.toml", 2, "Cargo.toml"),
        ("RULETOP --file tests", 2, "tests"),
        ("RULETOP --file DUMP --theme no-such", 2, "no-such"),
        ("RULETOP --file DUMP | cat", 2, "not a terminal"),
        // A user namespace without a map: somebody without any power.
        ("unshare --user RULETOP", 3, "sudo"),
    ];
    for (line, code, word) in cases {
        let line = line.replace("RULETOP", BINARY).replace("DUMP", DUMP);
        let script = format!("set -o pipefail; {line}; echo \"code $?\"");
        let mut terminal = Launch::new("bash")
            .args(["-c", &script])
            .size(120, 24)
            .start();
        let screen = terminal.wait_for_text("code ");
        let said = screen.text();
        assert!(said.contains(&format!("code {code}")), "{line}:\n{screen}");
        assert!(said.contains(word), "{line}:\n{screen}");
        assert!(said.starts_with("ruletop: "), "{line}:\n{screen}");
        let lines = said.trim_end().lines().count();
        assert!(
            lines <= 4,
            "one line of what failed and one of what to do: {line}\n{screen}"
        );
        terminal.wait_for_exit();
        assert_eq!(terminal.disorder(), Vec::<String>::new(), "{line}");
    }
}
