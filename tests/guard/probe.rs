//! Probes: in where they were asked for, out whatever happens to whom.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ruletop::edit::probe::{Before, Site, Tag, probes};
use ruletop::ruleset::Ruleset;
use ruletop::safety::probe::Word;

use crate::bench::{Bench, on_every, tables};
use crate::harness::{Launch, Terminal, patiently};
use crate::support::send_udp;

/// A helper, as the board starts it.
struct Helper {
    child: Child,
    rope: Option<ChildStdin>,
    words: BufReader<ChildStdout>,
}

impl Helper {
    fn start(bench: &Bench<'_>, site: &Site, stay: u64) -> Self {
        let mut command = bench.command();
        command.arg("__probe").stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut rope = child.stdin.take().unwrap();
        let site = serde_json::to_value(site).unwrap();
        let order = serde_json::json!({
            "origin": bench.origin.to_string(), "site": site, "stay": stay
        });
        writeln!(rope, "{order}").unwrap();
        let mut words = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        words.read_line(&mut first).unwrap();
        assert_eq!(first, "here\n");
        Self {
            child,
            rope: Some(rope),
            words,
        }
    }

    fn hear(&mut self) -> Option<Word> {
        let mut line = String::new();
        self.words.read_line(&mut line).unwrap();
        serde_json::from_str(&line).ok()
    }

    #[track_caller]
    fn inside(&mut self) -> Tag {
        match self.hear() {
            Some(Word::In(tag)) => tag,
            other => panic!("{other:?}"),
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// It says that its probe is gone, and ends.
    #[track_caller]
    fn gone(mut self) {
        assert_eq!(self.hear(), Some(Word::Gone));
        assert!(self.child.wait().unwrap().success());
    }
}

/// Before the rule at `number` of INPUT; zero: before its policy.
fn site(ruleset: &Ruleset, number: u32) -> Site {
    let chain = ruleset.find_chain("filter", "INPUT").unwrap();
    let at = (number as usize).checked_sub(1);
    Site {
        table: b"filter".to_vec(),
        chain: b"INPUT".to_vec(),
        before: at.map(|at| Before {
            number,
            shown: number,
            spec: ruleset.spec(ruleset.chain(chain).rules()[at]).to_vec(),
        }),
    }
}

fn input(ruleset: &Ruleset) -> Vec<String> {
    let chain = ruleset.find_chain("filter", "INPUT").unwrap();
    let rules = ruleset.chain(chain).rules().iter();
    rules
        .map(|rule| String::from_utf8_lossy(ruleset.spec(*rule)).into_owned())
        .collect()
}

/// All is as before, counters no lower.
#[track_caller]
fn assert_as_before(bench: &Bench<'_>, before: &Ruleset) {
    let now = bench.save();
    assert_eq!(tables(&now), tables(before), "{}", bench.origin);
    bench.assert_counters(before, &now);
}

#[test]
fn a_probe_stands_where_it_was_asked_for_and_goes_after_its_time() {
    on_every(|bench| {
        let before = bench.save();
        // The third has the text, the policy has none.
        for (number, at, matches) in [(4, 3, "--dport 4003"), (0, 4, "-m limit")] {
            let mut helper = Helper::start(bench, &site(&before, number), 1_000);
            let tag = helper.inside();
            let now = bench.save();
            let mut rules = input(&now);
            let probe = rules.remove(at);
            assert!(probe.contains(matches), "{probe}");
            assert!(probe.contains("-j NFLOG"), "LOG is silent here: {probe}");
            assert!(!probe.contains("the third"), "{probe}");
            assert_eq!(rules, input(&before));
            assert_eq!(probes(&now).len(), 1);
            assert_eq!(probes(&now)[0].1, tag);
            bench.assert_counters(&before, &now);
            helper.gone();
            assert_as_before(bench, &before);
        }
    });
}

#[test]
fn a_helper_hears_no_hangup_and_follows_its_rope_and_term() {
    on_every(|bench| {
        let before = bench.save();
        let mut helper = Helper::start(bench, &site(&before, 2), 60_000);
        helper.inside();
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGPIPE] {
            helper.signal(signal);
        }
        assert_eq!(probes(&bench.save()).len(), 1);
        // Somebody moves it and others about: it is found by its tag.
        bench
            .net
            .tables(bench.origin, "-I INPUT 1 -p udp --dport 4999 -j ACCEPT");
        drop(helper.rope.take());
        helper.gone();
        bench.net.tables(bench.origin, "-D INPUT 1");
        assert_as_before(bench, &before);

        let mut helper = Helper::start(bench, &site(&before, 0), 60_000);
        helper.inside();
        helper.signal(Signal::SIGTERM);
        helper.gone();
        assert_as_before(bench, &before);
    });
}

#[test]
fn a_probe_that_cannot_be_is_refused_and_changes_nothing() {
    on_every(|bench| {
        let before = bench.save();
        let mut gone = site(&before, 2);
        gone.before.as_mut().unwrap().spec = b"-p udp -j DROP".to_vec();
        let mut helper = Helper::start(bench, &gone, 60_000);
        let word = helper.hear();
        assert!(
            matches!(&word, Some(Word::Failed(why)) if why.contains("the rule is not there")),
            "{word:?}"
        );
        helper.child.wait().unwrap();
        assert_as_before(bench, &before);
    });
}

/// A probe that is there during a change is neither a reason to refuse it nor part of what is undone.
#[test]
fn a_change_is_applied_and_undone_around_probes() {
    on_every(|bench| {
        let before = bench.save();
        let mut helper = Helper::start(bench, &site(&before, 2), 60_000);
        helper.inside();
        let script = bench.path("around");
        std::fs::write(
            &script,
            "*filter\n-A INPUT -p udp --dport 4008 -j DROP\nCOMMIT\n",
        )
        .unwrap();
        let done = bench.start(&script, "60s").wait_with_output().unwrap();
        assert!(done.status.success(), "{done:?}");
        assert_eq!(input(&bench.save()).len(), 6);
        drop(helper.rope.take());
        helper.gone();
        bench.ok(&["revert"]);
        bench.settle();
        assert_as_before(bench, &before);
    });
}

/// A backup is of everything; but a probe that was in it is not put back, and one that is there now stays.
#[test]
fn a_restore_leaves_probes_alone() {
    on_every(|bench| {
        let before = bench.save();
        let mut helper = Helper::start(bench, &site(&before, 2), 60_000);
        helper.inside();
        let id = bench.ok(&["backup"]);
        let id = id.split_whitespace().next().unwrap().to_owned();
        drop(helper.rope.take());
        helper.gone();
        bench
            .net
            .tables(bench.origin, "-A INPUT -p udp --dport 4009 -j DROP");
        let mut helper = Helper::start(bench, &site(&before, 4), 60_000);
        let tag = helper.inside();
        bench.ok(&["restore", &id, "--no-wait"]);
        bench.ok(&["confirm"]);
        let now = bench.save();
        let standing: Vec<_> = probes(&now).into_iter().map(|(_, tag)| tag).collect();
        assert_eq!(standing, [tag]);
        assert_eq!(input(&now).len(), input(&before).len() + 1);
        drop(helper.rope.take());
        helper.gone();
        assert_as_before(bench, &before);
    });
}

#[test]
fn what_a_killed_helper_leaves_is_found_and_removed() {
    on_every(|bench| {
        let before = bench.save();
        let mut living = Helper::start(bench, &site(&before, 4), 60_000);
        living.inside();
        let mut helper = Helper::start(bench, &site(&before, 2), 60_000);
        let tag = helper.inside();
        helper.signal(Signal::SIGKILL);
        helper.child.wait().unwrap();
        let left = bench.save();
        assert_eq!(ruletop::safety::probe::leftovers(&left), [tag]);
        let listed = bench.command().arg("probe").output().unwrap();
        let text = String::from_utf8(listed.stdout).unwrap();
        assert_eq!(listed.status.code(), Some(1), "{text}");
        assert!(
            text.contains("left over") && text.contains("at work"),
            "{text}"
        );

        // The board says so.
        let mut terminal = open(bench);
        terminal.press("!");
        terminal.wait_for_text("a probe of a ruletop that was killed");
        terminal.signal(Signal::SIGTERM);
        terminal.wait_for_exit();
        terminal.wait_for_no_process();

        let cleaned = bench.command().args(["probe", "--clean"]).output().unwrap();
        assert!(cleaned.status.success(), "{cleaned:?}");
        assert_eq!(
            probes(&bench.save()).len(),
            1,
            "that of the living one stays"
        );
        drop(living.rope.take());
        living.gone();
        assert_as_before(bench, &before);
    });
}

/// The board on INPUT, the cursor on its second rule.
fn open(bench: &Bench<'_>) -> Terminal {
    let lock = bench.net.ok("printf %s \"$XTABLES_LOCKFILE\"");
    let mut terminal = Launch::ruletop()
        .size(160, 40)
        .env("XTABLES_LOCKFILE", &lock)
        .start();
    let rules = |screen: &crate::harness::screen::Screen| screen.contains("filter INPUT ─");
    terminal.wait_for("the rules", |screen| screen.contains("INPUT"));
    terminal.press("c");
    terminal.wait_for_text("─ chains ─");
    terminal.send("filter INPUT");
    terminal.wait_for_text("/filter INPUT");
    terminal.press("<Enter>");
    terminal.wait_for("INPUT", rules);
    terminal.press("g j");
    terminal
}

/// Opens a board, presses the key, and waits until the probe is there and its lines are on the screen.
fn probing(bench: &Bench<'_>) -> Terminal {
    let mut terminal = open(bench);
    terminal.press("L");
    terminal.wait_for_text("◦");
    let now = bench.save();
    assert_eq!(probes(&now).len(), 1);
    assert!(input(&now)[1].contains("--dport 4002"));
    patiently("a line of the probe", || {
        send_udp(bench.origin.family, 4002, 1, 8);
        terminal.screen().contains("probe INPUT 2")
    });
    terminal
}

fn by(end: impl Fn(&mut Terminal) + Send + Sync + Copy + 'static) {
    on_every(move |bench| {
        let before = bench.save();
        let mut terminal = probing(bench);
        end(&mut terminal);
        patiently("the end of the probe", || probes(&bench.save()).is_empty());
        terminal.wait_for_no_process();
        assert_as_before(bench, &before);
    });
}

#[test]
fn a_probe_goes_with_a_board_that_is_killed() {
    by(|terminal| terminal.signal(Signal::SIGKILL));
}

#[test]
fn a_probe_goes_with_a_terminal_that_is_closed() {
    by(Terminal::close);
}

#[test]
fn the_key_takes_it_away_again_and_a_killed_helper_is_stood_in_for() {
    on_every(|bench| {
        let before = bench.save();
        let mut terminal = probing(bench);
        terminal.press("L");
        patiently("the end of the probe", || probes(&bench.save()).is_empty());
        terminal.wait_for("no probe", |screen| !screen.contains("◦"));
        terminal.press("L");
        terminal.wait_for_text("◦");
        let tag = probes(&bench.save()).remove(0).1;
        let (pid, _) = tag.id.split_once('-').unwrap();
        kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
        patiently("the board to remove it", || {
            probes(&bench.save()).is_empty()
        });
        terminal.press("q");
        terminal.wait_for_exit();
        terminal.wait_for_no_process();
        assert_as_before(bench, &before);
    });
}
