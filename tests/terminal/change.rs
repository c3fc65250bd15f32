//! The whole way of a change, in a real terminal: staged, looked at, applied, kept or taken back; and every
//! scenario of the demo mended by keys alone.

use std::path::Path;

use nix::unistd::Pid;

use crate::harness::screen::Screen;
use crate::harness::{Launch, Terminal, patiently};
use crate::scene::{SCENARIOS, apply, demo, inside, namespace, play, quit};

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

/// What is done to mend a scenario, in the chain of that name.
enum Deed {
    Delete(usize),
    Insert(usize, &'static str),
    Edit(usize, &'static str),
}
use Deed::{Delete, Edit, Insert};

struct Mended {
    scenario: &'static str,
    /// By chain, for IPv4 and for IPv6.
    deeds: &'static [(&'static str, [&'static [Deed]; 2])],
}

/// `WEB` in a rule stands for an address of that family.
const MENDED: &[Mended] = &[
    Mended {
        scenario: "busy-box",
        deeds: &[("filter blocklist", [&[Delete(85)], &[Delete(27)]])],
    },
    Mended {
        scenario: "conntrack-full",
        deeds: &[
            ("raw PREROUTING", [UNTRACKED_IN; 2]),
            ("raw OUTPUT", [UNTRACKED_OUT; 2]),
        ],
    },
    Mended {
        scenario: "default-drop-no-service",
        deeds: &[("filter INPUT", [ACCEPT_SERVICE; 2])],
    },
    Mended {
        scenario: "docker-beside-ufw",
        deeds: &[("filter DOCKER-USER", [BEFORE_DNAT; 2])],
    },
    Mended {
        scenario: "drop-before-accept",
        deeds: &[("filter INPUT", [&[Delete(7), Delete(6)]; 2])],
    },
    Mended {
        scenario: "forward-blocked",
        deeds: &[("filter fwd-in", [NEW_ADDRESS; 2])],
    },
    Mended {
        scenario: "missing-established",
        deeds: &[("filter INPUT", [ACCEPT_ANSWERS; 2])],
    },
    Mended {
        scenario: "wrong-interface",
        deeds: &[("filter INPUT", [RIGHT_INTERFACE; 2])],
    },
];
const UNTRACKED_IN: &[Deed] = &[Insert(
    1,
    "-i eth0 -p tcp -m tcp --dport 443 -j CT --notrack",
)];
const UNTRACKED_OUT: &[Deed] = &[Insert(
    1,
    "-o eth0 -p tcp -m tcp --sport 443 -j CT --notrack",
)];
const ACCEPT_SERVICE: &[Deed] = &[Insert(
    7,
    "-p tcp --dport 8443 -m conntrack --ctstate NEW -j ACCEPT",
)];
const BEFORE_DNAT: &[Deed] = &[Edit(
    2,
    "-i eth0 -p tcp -m conntrack --ctorigdstport 8080 --ctdir ORIGINAL -j RETURN",
)];
const NEW_ADDRESS: &[Deed] = &[Edit(1, "-d WEB -p tcp -m tcp --dport 8443 -j ACCEPT")];
const ACCEPT_ANSWERS: &[Deed] = &[Insert(
    2,
    "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
)];
const RIGHT_INTERFACE: &[Deed] = &[Edit(
    5,
    "-i eth0 -p tcp -m multiport --dports 80,443 -m conntrack --ctstate NEW -j ACCEPT",
)];
const WEB: [&str; 2] = ["172.16.20.11", "2001:db8:20::11"];

fn do_it(terminal: &mut Terminal, deed: &Deed, web: &str) {
    match deed {
        Delete(number) => {
            go_to(terminal, *number);
            terminal.press("d");
        }
        Insert(number, spec) => {
            go_to(terminal, *number);
            terminal.press("i");
            write_rule(terminal, &spec.replace("WEB", web));
        }
        Edit(number, spec) => {
            go_to(terminal, *number);
            terminal.press("e");
            write_rule(terminal, &spec.replace("WEB", web));
        }
    }
}

fn mend(mended: &Mended, backend: &str) {
    play(mended.scenario, backend, |terminal, _| {
        for (at, family) in ["v4", "v6"].into_iter().enumerate() {
            for (chain, deeds) in mended.deeds {
                open_chain(terminal, &format!("{family} {chain}"));
                for deed in deeds[at] {
                    do_it(terminal, deed, WEB[at]);
                }
            }
        }
    });
}

#[test]
fn every_scenario_is_mended_by_keys_alone_with_nft() {
    assert_eq!(
        MENDED.iter().map(|one| one.scenario).collect::<Vec<_>>(),
        SCENARIOS
    );
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
        quit(terminal);
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
        quit(terminal);
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
    quit(terminal);
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
    let inner = namespace(Pid::from_raw(i32::try_from(keeper.0.id()).unwrap()));
    let name = |link: &Path| std::fs::read_link(link).unwrap();
    // Started is not yet inside: until then its rules are those of the outside.
    let wanted = name(&namespace(own));
    patiently("the keeper to be inside", || name(&inner) == wanted);
    let rules = || {
        let out = inside(&inner)
            .args(["iptables-nft-save", "-t", "filter"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        text.lines()
            .filter(|line| line.starts_with("-A"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let before = rules();
    assert_eq!(before.len(), 2);
    terminal.press("g d A");
    terminal.wait_for_text("✔ the back end takes it");
    terminal.press("- - -");
    terminal.wait_for_text("after 0:10");
    terminal.press("y");
    terminal.wait_for_text("it reverts by itself in 0:");
    assert_eq!(rules().len(), 1);
    terminal.close();
    patiently("the old order to come back", || rules() == before);
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

/// A dump without the header that names its back end: what a change does to traffic is told all the same.
#[test]
fn a_change_of_a_dump_of_unknown_origin_is_looked_at() {
    let home = tempfile::tempdir().unwrap();
    let dump = home.path().join("dump");
    let text = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT\nCOMMIT\n";
    std::fs::write(&dump, text).unwrap();
    let mut terminal = Launch::ruletop()
        .args(["--file", dump.to_str().unwrap()])
        .size(120, 40)
        .start();
    terminal.wait_for("the board", |screen| screen.contains("filter INPUT ─"));
    terminal.press("g d A");
    let shown = terminal.wait_for("the traffic", |screen| {
        screen.contains("any -> :22") || screen.contains("no packet fares")
    });
    assert!(shown.contains("v4 in: tcp any -> :22"), "{shown}");
    terminal.press("<Esc>");
    terminal.wait_for("the board again", |screen| !screen.contains("any -> :22"));
    terminal.press("u");
    quit(terminal);
}
