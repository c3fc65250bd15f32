//! From the blocked client to the kept change: every demo scenario's block is explained in both families, a way
//! out that the screen offers is staged, and once applied the client gets through from its own address.
//!
//! With one back end the first offer is taken, which is what one comes to without looking any further, with the
//! other one the last.

use crate::harness::Terminal;
use crate::harness::screen::Screen;
use crate::scene::{Flow, SCENARIOS, decider, expected, play, scenario, type_packet};

/// Which of the offers is taken.
#[derive(Clone, Copy, PartialEq)]
enum Offer {
    First,
    Last,
}

/// `fix 2/3`: which offer is shown, and how many there are. `None` as long as none is.
fn offer(screen: &Screen) -> Option<(usize, usize)> {
    let rows = (0..screen.size().1).map(|row| screen.row(row));
    let mut rows = rows.filter_map(|row| row.strip_prefix("│ fix ").map(str::to_owned));
    let row = rows.next()?;
    let Some((at, of)) = row.split(' ').next()?.split_once('/') else {
        // One alone is not numbered; and it may be said that there is none.
        return (!row.contains("nothing that was tried")).then_some((1, 1));
    };
    Some((at.parse().ok()?, of.parse().ok()?))
}

/// Has the packet explained and stages a way out.
fn stage(terminal: &mut Terminal, flow: &Flow, who: Option<(String, Option<u64>)>, take: Offer) {
    type_packet(terminal, &flow.words());
    let screen = terminal.wait_for_frame("a way out", |screen| offer(screen).is_some());
    match who {
        Some(who) => {
            assert_eq!(decider(&screen), Some(who), "{flow:?}\n{screen}");
            assert!(screen.contains("lets in"), "{screen}");
        }
        // The remedy for the machine stands beside the one for the rules.
        None => {
            assert!(screen.contains("ACCEPT certain"), "{screen}");
            assert!(
                screen.contains("✘ the connection table is full"),
                "{screen}"
            );
            assert!(
                screen.contains("sysctl -w net.netfilter.nf_conntrack_max="),
                "{screen}"
            );
            assert!(screen.contains("leave it untracked: "), "{screen}");
        }
    }
    let (_, count) = offer(&screen).unwrap();
    if take == Offer::Last {
        for at in 2..=count {
            terminal.press("n");
            terminal.wait_for("the next one", |screen| offer(screen) == Some((at, count)));
        }
    }
    terminal.press("s");
    terminal.wait_for_text("staged: ");
}

fn every_scenario(backend: &str, take: Offer) {
    for name in SCENARIOS {
        let told = scenario(name);
        play(name, backend, |terminal, flows| {
            for flow in flows {
                stage(terminal, flow, expected(&told, flow.family()), take);
            }
        });
    }
}

#[test]
fn the_first_offer_lets_the_client_through_with_nft() {
    every_scenario("nft", Offer::First);
}

#[test]
fn the_last_offer_lets_the_client_through_with_legacy() {
    every_scenario("legacy", Offer::Last);
}
