//! The demo: every scenario moves on the screen, and when it ends nothing of it is left.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::screen::Screen;
use crate::harness::{Launch, Terminal};

/// The names of the scenarios, as the program lists them.
fn scenarios() -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_ruletop"))
        .args(["demo", "--list"])
        .output()
        .unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    let names = list.lines().filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

fn demo(scenario: &str) -> Terminal {
    Launch::ruletop()
        .args(["demo", scenario])
        .size(120, 36)
        .start()
}

/// A rule's counter rose: the mark of heat stands before its number.
fn is_lit(screen: &Screen) -> bool {
    rules(screen).any(|row| row.starts_with(['▸', '■']))
}

/// What stands right of the chain list.
fn rules(screen: &Screen) -> impl Iterator<Item = String> {
    let rows = (3..screen.size().1).map(|row| screen.row(row));
    rows.filter_map(|row| Some(row.split_once("││")?.1.to_owned()))
}

#[test]
fn every_scenario_moves_on_the_screen() {
    let scenarios = scenarios();
    assert!(scenarios.len() >= 8, "{scenarios:?}");
    for scenario in scenarios {
        let mut terminal = demo(&scenario);
        let first = terminal.wait_for(&format!("a lit rule in {scenario}"), is_lit);
        assert!(first.contains(&format!("demo {scenario}")), "{first}");
        terminal.wait_for("both families", |screen| screen.row(0).contains("v4 v6"));
        terminal.wait_for("the conntrack gauge", |screen| {
            screen.row(1).contains("ct ") && screen.row(1).contains('%')
        });
        let before: Vec<String> = rules(&terminal.screen()).collect();
        terminal.wait_for("other numbers", |screen| {
            !rules(screen).eq(before.iter().cloned())
        });
        if scenario != "conntrack-full" {
            // That one has no connection to spare for anybody whom a rule would drop.
            terminal.wait_for(
                "a dropped packet in the feed, or why there is none",
                |screen| {
                    ["/tcp", "/udp", "nf_log_all_netns"]
                        .iter()
                        .any(|word| screen.contains(word))
                },
            );
        }
        terminal.press("q");
        assert_eq!(terminal.wait_for_exit().exit_code(), 0, "{scenario}");
        assert_eq!(terminal.disorder(), Vec::<String>::new(), "{scenario}");
        terminal.wait_for_no_process();
    }
}

#[test]
fn a_full_table_is_an_alarm() {
    let mut terminal = demo("conntrack-full");
    let screen = terminal.wait_for("a full table", |screen| {
        screen.row(1).contains("██████████ ") && screen.contains("table full")
    });
    assert_eq!(
        screen.style_of("██████████ ").foreground,
        vt100::Color::Idx(9),
        "{screen}"
    );
}

#[test]
fn however_it_ends_no_process_is_left() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGHUP] {
        let mut terminal = demo("drop-before-accept");
        terminal.wait_for("a lit rule", is_lit);
        assert!(
            terminal.processes().len() > 2,
            "helpers are not known as this terminal's"
        );
        terminal.signal(signal);
        terminal.wait_for_no_process();
    }
    let mut terminal = demo("drop-before-accept");
    terminal.wait_for("a lit rule", is_lit);
    terminal.close();
    terminal.wait_for_no_process();
}

#[test]
fn killed_while_it_sets_up_it_leaves_nothing() {
    for step in 0..8 {
        let mut terminal = demo("busy-box");
        // Somewhere on the way: which step it is at does not matter, that it is at many does.
        terminal.output_during(std::time::Duration::from_millis(step * 60));
        terminal.signal(Signal::SIGKILL);
        terminal.wait_for_no_process();
    }
}

/// The demo's namespaces are its own: this one has the same rules, links and sysctls as before.
#[test]
fn the_namespace_that_it_was_started_in_is_not_touched() {
    let look = || {
        let script = "ip link; ip -br address; ip route; nft list ruleset; iptables-legacy-save; \
                      cat /proc/sys/net/netfilter/nf_log_all_netns /proc/sys/net/ipv4/ip_forward";
        let output = Command::new("sh").args(["-c", script]).output().unwrap();
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let before = look();
    assert!(before.contains("lo"), "{before}");
    let mut terminal = demo("docker-beside-ufw");
    terminal.wait_for("a lit rule", is_lit);
    assert_eq!(look(), before);
    terminal.press("q");
    terminal.wait_for_no_process();
    assert_eq!(look(), before);
}
