//! The whole way of a change, in a real terminal: staged, looked at, applied, kept or taken back; and every
//! scenario of the demo mended by keys alone.
//!
//! Whether a client gets through is asked from where the clients are: a namespace beyond the box, with a
//! connection of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::Pid;

use crate::harness::screen::Screen;
use crate::harness::{Launch, Terminal, patiently};

fn demo(scenario: &str, backend: &str) -> Terminal {
    let mut terminal = Launch::ruletop()
        .args(["demo", scenario, "--backend", backend])
        .size(120, 40)
        .start();
    terminal.wait_for("a lit rule", |screen| {
        (0..screen.size().1).any(|row| screen.row(row).contains("││▸"))
    });
    terminal
}

/// The row of the rules pane under the cursor.
fn selected(screen: &Screen) -> String {
    let is_band = |row: &usize| {
        let column = screen
            .row(*row)
            .find("││")
            .map_or(0, |at| screen.row(*row)[..at].chars().count() + 4);
        column > 0 && screen.style_at(*row, column).reverse
    };
    (3..screen.size().1)
        .find(is_band)
        .map(|row| screen.row(row))
        .unwrap_or_default()
}

/// Opens a chain by its name, the cursor on its first rule.
fn open_chain(terminal: &mut Terminal, name: &str) {
    terminal.press("c");
    terminal.wait_for_text("─ chains ─");
    terminal.send(name);
    terminal.wait_for("the name", |screen| screen.contains(&format!("/{name}")));
    terminal.press("<Enter>");
    terminal.wait_for(name, |screen| screen.contains(&format!("▸ {name} ─")));
    terminal.press("g");
}

/// Puts the cursor on rule `number` of the chain.
fn go_to(terminal: &mut Terminal, number: usize) {
    terminal.press("g");
    for _ in 1..number {
        terminal.press("j");
    }
}

/// Types a rule into the open editor and stages it.
fn write_rule(terminal: &mut Terminal, spec: &str) {
    terminal.wait_for_text("─ raw line ─");
    terminal.press("<F2> <C-u>");
    terminal.send(spec);
    terminal.press("<Enter>");
    terminal.wait_for("the rule to be taken", |screen| {
        !screen.contains("╭─ insert") && !screen.contains("╭─ edit")
    });
}

/// Applies what is staged; the change is pending then.
fn apply(terminal: &mut Terminal) {
    terminal.press("A");
    terminal.wait_for("the checks", |screen| {
        screen.contains("✔ the back end takes it") && screen.contains("nobody to lock out")
    });
    terminal.press("y");
    terminal.wait_for_text("─ keep it? ─");
}

/// What is done to mend a scenario, in the chain of that name.
enum Deed {
    Delete(usize),
    Insert(usize, &'static str),
    Edit(usize, &'static str),
}
use Deed::{Delete, Edit, Insert};

/// A network namespace, as a file.
fn namespace(process: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{process}/ns/net"))
}

/// The box (the program's own namespace), or that of the machines beyond it that hold this address. The
/// demo's helpers stand in several, a thread each.
fn place_of(terminal: &Terminal, address: Option<&str>) -> PathBuf {
    let Some(address) = address else {
        return namespace(terminal.pid());
    };
    let threads = terminal.tagged().into_iter().flat_map(|process| {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task"));
        tasks
            .into_iter()
            .flatten()
            .flatten()
            .map(|task| task.path().join("ns/net"))
    });
    let holds = |place: &PathBuf| {
        let out = inside(place)
            .args(["ip", "-o", "address"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).contains(address)
    };
    threads
        .into_iter()
        .find(holds)
        .expect("nobody has that address")
}

/// A command in a network namespace.
fn inside(place: &Path) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", place.display())).arg("--");
    command
}

/// Whether a connection from there comes about.
fn connects(from: &Path, to: &str, port: u16) -> bool {
    let script = format!("exec 3<>/dev/tcp/{to}/{port}");
    let status = inside(from)
        .args(["timeout", "1", "bash", "-c", &script])
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    status.success()
}

struct Mended {
    scenario: &'static str,
    chain: &'static str,
    deeds: &'static [Deed],
    /// The client stands beyond the box, or in it.
    outside: bool,
    /// Where it cannot get to, by family.
    to: [&'static str; 2],
    port: u16,
}

/// `FAMILY` in a rule stands for the address of that family.
const MENDED: &[Mended] = &[
    Mended {
        scenario: "drop-before-accept",
        chain: "filter INPUT",
        deeds: &[Delete(7), Delete(6)],
        outside: true,
        to: BOX,
        port: 443,
    },
    Mended {
        scenario: "default-drop-no-service",
        chain: "filter INPUT",
        deeds: &[Insert(
            7,
            "-p tcp --dport 8443 -m conntrack --ctstate NEW -j ACCEPT",
        )],
        outside: true,
        to: BOX,
        port: 8443,
    },
    Mended {
        scenario: "wrong-interface",
        chain: "filter INPUT",
        deeds: &[Edit(
            5,
            "-i eth0 -p tcp -m multiport --dports 80,443 -m conntrack --ctstate NEW -j ACCEPT",
        )],
        outside: true,
        to: BOX,
        port: 443,
    },
    Mended {
        scenario: "missing-established",
        chain: "filter INPUT",
        deeds: &[Insert(
            2,
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        )],
        outside: false,
        to: ["198.51.100.80", "2001:db8:198::80"],
        port: 443,
    },
    Mended {
        scenario: "forward-blocked",
        chain: "filter fwd-in",
        deeds: &[Edit(1, "-d WEB -p tcp -m tcp --dport 8443 -j ACCEPT")],
        outside: true,
        to: BOX,
        port: 443,
    },
    Mended {
        scenario: "docker-beside-ufw",
        chain: "filter DOCKER-USER",
        deeds: &[Edit(
            2,
            "-i eth0 -p tcp -m conntrack --ctorigdstport 8080 --ctdir ORIGINAL -j RETURN",
        )],
        outside: true,
        to: BOX,
        port: 8080,
    },
];
const BOX: [&str; 2] = ["10.0.0.5", "2001:db8:10::5"];
const WEB: [&str; 2] = ["172.16.20.11", "2001:db8:20::11"];

fn mend(mended: &Mended, backend: &str) {
    let mut terminal = demo(mended.scenario, backend);
    let client = place_of(&terminal, mended.outside.then_some("10.0.0.1/24"));
    for to in mended.to {
        assert!(
            !connects(&client, to, mended.port),
            "{}: {to} is not blocked",
            mended.scenario
        );
    }
    for (family, web) in ["v4", "v6"].into_iter().zip(WEB) {
        open_chain(&mut terminal, &format!("{family} {}", mended.chain));
        for deed in mended.deeds {
            match deed {
                Delete(number) => {
                    go_to(&mut terminal, *number);
                    terminal.press("d");
                }
                Insert(number, spec) => {
                    go_to(&mut terminal, *number);
                    terminal.press("i");
                    write_rule(&mut terminal, &spec.replace("WEB", web));
                }
                Edit(number, spec) => {
                    go_to(&mut terminal, *number);
                    terminal.press("e");
                    write_rule(&mut terminal, &spec.replace("WEB", web));
                }
            }
        }
    }
    apply(&mut terminal);
    for to in mended.to {
        patiently("the client to get through", || {
            connects(&client, to, mended.port)
        });
    }
    terminal.press("y");
    terminal.wait_for("the change to be kept", |screen| {
        screen.contains("the change is kept") && !screen.contains("PENDING")
    });
    for to in mended.to {
        assert!(
            connects(&client, to, mended.port),
            "{}: kept, and {to} is blocked",
            mended.scenario
        );
    }
    terminal.press("q");
    terminal.wait_for_exit();
    terminal.wait_for_no_process();
}

#[test]
fn every_scenario_is_mended_by_keys_alone_with_nft() {
    for mended in MENDED {
        mend(mended, "nft");
    }
}

#[test]
fn every_scenario_is_mended_by_keys_alone_with_legacy() {
    for mended in MENDED {
        mend(mended, "legacy");
    }
}

/// What the box's namespace holds, without counters.
fn rules(terminal: &Terminal, tool: &str) -> String {
    let out = inside(&namespace(terminal.pid()))
        .args([tool, "-t", "filter"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let rules: Vec<&str> = text.lines().filter(|line| line.starts_with("-A")).collect();
    rules.join("\n")
}

/// A move is staged, seen, applied and not answered: the old order comes back by itself.
#[test]
fn a_change_that_nobody_answers_is_taken_back() {
    for (backend, tool) in [
        ("nft", "iptables-nft-save"),
        ("legacy", "iptables-legacy-save"),
    ] {
        let mut terminal = demo("drop-before-accept", backend);
        let before = rules(&terminal, tool);
        open_chain(&mut terminal, "v4 filter INPUT");
        go_to(&mut terminal, 9);
        terminal.wait_for("the accept", |screen| {
            selected(screen).contains("dports 80,443")
        });
        terminal.press("K K K");
        let screen = terminal.wait_for("the rule above the drop", |screen| {
            screen.contains("↕ 6") && screen.contains("1 staged")
        });
        assert!(!screen.contains("PENDING"));
        assert_eq!(rules(&terminal, tool), before, "staging touches nothing");
        terminal.press("A");
        terminal.wait_for("the diff", |screen| {
            screen.contains("↕ 9 → 6") || screen.contains("→ 9")
        });
        // The shortest time there is to answer in.
        terminal.press("- - -");
        terminal.wait_for_text("after 0:10");
        terminal.wait_for_text("✔ the back end takes it");
        terminal.press("y");
        terminal.wait_for_text("it reverts by itself in 0:");
        assert_ne!(rules(&terminal, tool), before);
        // Enter is no answer.
        terminal.press("<Enter>");
        terminal.wait_for_text("the change is taken back");
        assert_eq!(rules(&terminal, tool), before);
        terminal.press("q");
        terminal.wait_for_exit();
        terminal.wait_for_no_process();
    }
}

/// Packets that each rule of INPUT has counted.
fn counted(terminal: &Terminal, tool: &str) -> Vec<u64> {
    let out = inside(&namespace(terminal.pid()))
        .args([tool, "-c", "-t", "filter"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let rules = text.lines().filter(|line| line.contains(" -A INPUT "));
    let packets = |line: &str| line[1..].split(':').next().unwrap().parse().unwrap();
    rules.map(packets).collect()
}

/// Counters that are staged to start from zero do so in the kernel, with a change of rules and without one.
#[test]
fn staged_counters_start_from_zero() {
    for (backend, tool) in [
        ("nft", "iptables-nft-save"),
        ("legacy", "iptables-legacy-save"),
    ] {
        let mut terminal = demo("drop-before-accept", backend);
        open_chain(&mut terminal, "v4 filter INPUT");
        let at = {
            patiently("packets", || {
                counted(&terminal, tool).iter().any(|n| *n > 60)
            });
            let counts = counted(&terminal, tool);
            counts.iter().position(|n| *n > 60).unwrap()
        };
        let before = counted(&terminal, tool);
        go_to(&mut terminal, at + 1);
        terminal.press("Z A");
        terminal.wait_for_text("✔ the back end takes it");
        terminal.press("y");
        terminal.wait_for_text("1 counter starts from zero");
        let after = counted(&terminal, tool);
        assert!(after[at] < before[at], "{before:?}, then {after:?}");
        let others = (0..before.len()).filter(|i| *i != at);
        for i in others {
            assert!(after[i] >= before[i], "{before:?}, then {after:?}");
        }
        terminal.wait_for("nothing staged", |screen| {
            !screen.contains("staged") && !screen.contains("─ apply")
        });

        // Together with a rule that goes.
        patiently("packets", || counted(&terminal, tool)[at] > 10);
        let before = counted(&terminal, tool);
        go_to(&mut terminal, before.len());
        terminal.press("d");
        go_to(&mut terminal, at + 1);
        terminal.press("Z");
        apply(&mut terminal);
        patiently("the counter to start anew", || {
            let after = counted(&terminal, tool);
            after.len() + 1 == before.len() && after[at] < before[at]
        });
        terminal.press("y");
        terminal.wait_for_text("the change is kept");
        terminal.wait_for("nothing staged", |screen| !screen.contains("staged"));
        terminal.press("q");
        terminal.wait_for_exit();
        terminal.wait_for_no_process();
    }
}

/// Leaving while a change is pending is no answer to it, and is said so; a demo takes it back as it ends.
#[test]
fn leaving_answers_nothing() {
    let mut terminal = crate::keep::machine();
    terminal.press("g d A");
    terminal.wait_for_text("✔ the back end takes it");
    terminal.press("- - -");
    terminal.wait_for_text("after 0:10");
    terminal.press("y");
    terminal.wait_for_text("it reverts by itself in 0:");
    terminal.press("<C-c>");
    terminal.wait_for_text("a change is pending and reverts by itself in");
    terminal.wait_for_exit();
    terminal.wait_for_no_process();

    let mut terminal = demo("drop-before-accept", "nft");
    terminal.press("g d");
    apply(&mut terminal);
    terminal.press("<C-c>");
    assert_eq!(terminal.wait_for_exit().exit_code(), 0);
    terminal.wait_for_no_process();
}

#[test]
fn a_change_is_taken_back_at_once_by_a_key() {
    let mut terminal = demo("drop-before-accept", "nft");
    let before = rules(&terminal, "iptables-nft-save");
    open_chain(&mut terminal, "v4 filter INPUT");
    terminal.press("d");
    apply(&mut terminal);
    assert_ne!(rules(&terminal, "iptables-nft-save"), before);
    terminal.press("r");
    terminal.wait_for_text("the change is taken back");
    assert_eq!(rules(&terminal, "iptables-nft-save"), before);
    terminal.press("q");
    terminal.wait_for_exit();
    terminal.wait_for_no_process();
}

/// The terminal goes while a change is pending: its guard takes it back. It stands in a namespace that the
/// test made, because a demo's goes with the demo.
#[test]
fn a_lost_terminal_takes_the_change_back() {
    let home = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/backups && mount --bind {home} /var/log && \
         iptables-nft -A INPUT -i lo -j ACCEPT && iptables-nft -A INPUT -p tcp --dport 22 -j ACCEPT && \
         iptables-nft -P INPUT DROP && readlink /proc/self/ns/net > {home}/ns && exec {program}",
        home = home.path().display(),
        program = env!("CARGO_BIN_EXE_ruletop"),
    );
    let mut terminal = Launch::new("unshare")
        .args([
            "--net",
            "--mount",
            "--fork",
            "--kill-child=SIGHUP",
            "bash",
            "-c",
            &script,
        ])
        .size(120, 40)
        .start();
    terminal.wait_for("the board", |screen| screen.contains("v4 filter INPUT ─"));
    let own = process_in(&terminal, home.path());
    // Held open, so that the rules outlive the program.
    let keeper = inside(&namespace(own))
        .args(["sleep", "60"])
        .spawn()
        .unwrap();
    let mut keeper = Keeper(keeper);
    let rules = |keeper: &Keeper| {
        let keeper = Pid::from_raw(i32::try_from(keeper.0.id()).unwrap());
        let out = inside(&namespace(keeper))
            .args(["iptables-nft-save", "-t", "filter"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        text.lines()
            .filter(|line| line.starts_with("-A"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let before = rules(&keeper);
    assert_eq!(before.len(), 2);
    terminal.press("g d A");
    terminal.wait_for_text("✔ the back end takes it");
    terminal.press("- - -");
    terminal.wait_for_text("after 0:10");
    terminal.press("y");
    terminal.wait_for_text("it reverts by itself in 0:");
    assert_eq!(rules(&keeper).len(), 1);
    terminal.close();
    patiently("the old order to come back", || rules(&keeper) == before);
    patiently("no guard to be left", || terminal.processes().is_empty());
    keeper.end();
}

/// The program in the namespace that the script wrote down.
fn process_in(terminal: &Terminal, home: &Path) -> Pid {
    let wanted = std::fs::read_to_string(home.join("ns")).unwrap();
    let found = terminal.tagged().into_iter().find(|pid| {
        std::fs::read_link(namespace(*pid))
            .is_ok_and(|name| name.to_string_lossy() == wanted.trim())
    });
    found.expect("nobody is in the namespace")
}

/// Ended however the test ends.
struct Keeper(std::process::Child);

impl Keeper {
    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}
