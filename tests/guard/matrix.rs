//! Every way for an apply to end, on every back end and family.

use nix::sys::signal::{Signal, kill};
use ruletop::ruleset::{Backend, Family, Origin, Ruleset};

use crate::bench::{Bench, on_every, tables};
use crate::harness::{Terminal, patiently};
use crate::support::send_udp;

/// Long enough for whatever is to happen before it.
const LONG: &str = "60s";
/// Short enough to wait for.
const SHORT: &str = "1500ms";

/// Applies in a terminal and waits for the question; what was before, and the terminal.
fn applied(bench: &Bench<'_>, window: &str) -> (Ruleset, Terminal) {
    let before = bench.save();
    let mut terminal = bench.apply(window);
    terminal.wait_for_text("Type yes to keep");
    let now = bench.save();
    assert_ne!(
        tables(&now),
        tables(&before),
        "{}: nothing was applied",
        bench.origin
    );
    assert_eq!(
        first_rule(&now),
        "-p udp -m udp --dport 4003 -m comment --comment \"the third\" -j DROP"
    );
    bench.assert_counters(&before, &now);
    // What is counted while it is pending is not lost either.
    send_udp(bench.origin.family, 4001, 2, 8);
    (before, terminal)
}

fn first_rule(ruleset: &Ruleset) -> String {
    let chain = ruleset.find_chain("filter", "INPUT").unwrap();
    let rule = ruleset.chain(chain).rules()[0];
    String::from_utf8_lossy(ruleset.spec(rule)).into_owned()
}

/// The end of a change that was undone: exit code 4 where the program lived to tell, the old rules, nothing
/// left over.
fn undone(bench: &Bench<'_>, before: &Ruleset, mut terminal: Terminal, lived: bool) {
    if lived {
        let status = terminal.wait_for_exit();
        assert_eq!(status.exit_code(), 4, "{:?}", terminal.screen());
    }
    terminal.wait_for_no_process();
    bench.assert_same(before);
}

fn signalled(signal: Signal) {
    on_every(move |bench| {
        let (before, terminal) = applied(bench, LONG);
        terminal.signal(signal);
        undone(bench, &before, terminal, true);
    });
}

#[test]
fn hup_undoes_at_once() {
    signalled(Signal::SIGHUP);
}

#[test]
fn int_undoes_at_once() {
    signalled(Signal::SIGINT);
}

#[test]
fn term_undoes_at_once() {
    signalled(Signal::SIGTERM);
}

#[test]
fn kill_of_the_caller_undoes_at_the_deadline() {
    on_every(|bench| {
        let (before, terminal) = applied(bench, SHORT);
        terminal.signal(Signal::SIGKILL);
        undone(bench, &before, terminal, false);
    });
}

#[test]
fn a_terminal_that_goes_away_undoes_at_once() {
    on_every(|bench| {
        let (before, mut terminal) = applied(bench, LONG);
        terminal.close();
        undone(bench, &before, terminal, true);
    });
}

#[test]
fn no_answer_undoes_at_the_deadline() {
    on_every(|bench| {
        let (before, terminal) = applied(bench, SHORT);
        undone(bench, &before, terminal, true);
    });
}

#[test]
fn a_typed_no_undoes_and_enter_alone_decides_nothing() {
    on_every(|bench| {
        let (before, mut terminal) = applied(bench, LONG);
        terminal.send("\r");
        terminal.wait_for_text("type the whole word");
        terminal.send("y\r");
        terminal.send("no\r");
        undone(bench, &before, terminal, true);
    });
}

/// It stays, with the counters of what was moved (but for the one tool that loads them as zero).
fn kept(bench: &Bench<'_>, before: &Ruleset, mut terminal: Terminal, staged: &Ruleset) {
    let status = terminal.wait_for_exit();
    assert_eq!(status.exit_code(), 0, "{:?}", terminal.screen());
    terminal.wait_for_no_process();
    let now = bench.save();
    assert_eq!(tables(&now), tables(staged), "{}", bench.origin);
    bench.assert_counters(before, &now);
    bench.assert_clean();
}

#[test]
fn a_typed_yes_keeps() {
    on_every(|bench| {
        let (before, mut terminal) = applied(bench, LONG);
        let staged = bench.save();
        terminal.send("yes\r");
        kept(bench, &before, terminal, &staged);
    });
}

#[test]
fn confirm_from_elsewhere_keeps() {
    on_every(|bench| {
        let (before, terminal) = applied(bench, LONG);
        let staged = bench.save();
        bench.ok(&["confirm"]);
        kept(bench, &before, terminal, &staged);
    });
}

#[test]
fn revert_from_elsewhere_undoes() {
    on_every(|bench| {
        let (before, terminal) = applied(bench, LONG);
        bench.ok(&["revert"]);
        undone(bench, &before, terminal, true);
    });
}

#[test]
fn kill_of_the_guard_leaves_a_guard() {
    on_every(|bench| {
        let (before, terminal) = applied(bench, SHORT);
        kill(bench.pid("guard"), Signal::SIGKILL).unwrap();
        undone(bench, &before, terminal, true);
    });
}

#[test]
fn kill_of_guard_and_caller_leaves_a_guard() {
    on_every(|bench| {
        let (before, terminal) = applied(bench, SHORT);
        kill(bench.pid("guard"), Signal::SIGKILL).unwrap();
        terminal.signal(Signal::SIGKILL);
        undone(bench, &before, terminal, false);
    });
}

#[test]
fn what_a_second_guard_guards_can_be_confirmed() {
    on_every(|bench| {
        let (before, terminal) = applied(bench, LONG);
        let staged = bench.save();
        let (guard, standby) = (bench.pid("guard"), bench.pid("standby"));
        kill(guard, Signal::SIGKILL).unwrap();
        patiently("the standby to be the guard", || {
            bench.pid("guard") == standby
        });
        bench.ok(&["confirm"]);
        kept(bench, &before, terminal, &staged);
    });
}

#[test]
fn a_standby_that_dies_is_replaced() {
    on_every(|bench| {
        let (before, terminal) = applied(bench, "3s");
        let standby = bench.pid("standby");
        kill(standby, Signal::SIGKILL).unwrap();
        patiently("another standby", || bench.pid("standby") != standby);
        kill(bench.pid("guard"), Signal::SIGKILL).unwrap();
        undone(bench, &before, terminal, true);
    });
}

#[test]
fn term_of_the_guard_undoes_at_once() {
    on_every(|bench| {
        let (before, terminal) = applied(bench, LONG);
        kill(bench.pid("guard"), Signal::SIGTERM).unwrap();
        undone(bench, &before, terminal, true);
    });
}

#[test]
fn whoever_looks_puts_a_guard_over_an_orphan() {
    on_every(|bench| {
        let before = bench.save();
        assert!(bench.start_change("2s").wait().unwrap().success());
        kill_all(bench);
        assert_ne!(
            tables(&bench.save()),
            tables(&before),
            "nobody is left to undo it"
        );
        let said = bench.ok(&["status"]);
        assert!(said.contains("its guard was gone"), "{said}");
        bench.settle();
        bench.assert_same(&before);
    });
}

#[test]
fn an_emptied_state_folder_takes_nothing_from_either_guard() {
    on_every(|bench| {
        let (before, terminal) = applied(bench, SHORT);
        // The guard writes its record anew at once, so only what is there now is taken away.
        let entries = std::fs::read_dir(bench.path("state")).unwrap();
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_none_or(|ending| ending != "lock") && !path.ends_with("lock") {
                let _ = std::fs::remove_file(&path);
                let _ = std::fs::remove_dir_all(&path);
            }
        }
        kill(bench.pid("guard"), Signal::SIGKILL).unwrap();
        undone(bench, &before, terminal, true);
    });
}

#[test]
fn an_orphan_whose_texts_are_lost_is_undone_from_its_backup() {
    on_every(|bench| {
        let before = bench.save();
        assert!(bench.start_change("2s").wait().unwrap().success());
        kill_all(bench);
        for entry in std::fs::read_dir(bench.path("state")).unwrap().flatten() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
        bench.settle();
        let now = bench.save();
        assert_eq!(tables(&now), tables(&before), "{}", bench.origin);
        // A ruleset that ip6tables-nft-restore 1.8.9 loads as a whole has no counters at all.
        if bench.origin != Origin::new(Family::V6, Backend::Nft) {
            bench.assert_counters(&before, &now);
        }
        bench.assert_clean();
    });
}

#[test]
fn an_orphan_can_be_confirmed() {
    on_every(|bench| {
        assert!(bench.start_change("60s").wait().unwrap().success());
        let staged = bench.save();
        kill_all(bench);
        bench.ok(&["confirm"]);
        bench.settle();
        assert_eq!(tables(&bench.save()), tables(&staged), "{}", bench.origin);
        bench.assert_clean();
    });
}

#[test]
fn a_change_of_another_boot_is_forgotten() {
    on_every(|bench| {
        let before = bench.save();
        assert!(bench.start_change("60s").wait().unwrap().success());
        kill_all(bench);
        let path = bench.path("state/pending.json");
        let record = std::fs::read_to_string(&path).unwrap();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        std::fs::write(&path, record.replace(boot.trim(), "another")).unwrap();
        // As after a boot: the rules are the old ones again.
        bench.net.ok(&format!(
            "{}-restore -c < {}",
            bench.origin,
            bench.saved(&before)
        ));
        assert!(!bench.ruletop(&["confirm"]).status.success());
        bench.settle();
        bench.assert_clean();
    });
}

/// Both guards at the same instant.
pub fn kill_all(bench: &Bench<'_>) {
    let (guard, standby) = (bench.pid("guard"), bench.pid("standby"));
    // Stopped first: else the standby is the guard before it can be killed.
    kill(standby, Signal::SIGSTOP).unwrap();
    kill(guard, Signal::SIGSTOP).unwrap();
    kill(guard, Signal::SIGKILL).unwrap();
    kill(standby, Signal::SIGKILL).unwrap();
    bench.wait_for_no_process();
}
