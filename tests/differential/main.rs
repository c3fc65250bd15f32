//! The verdict engine against the kernel.
//!
//! Random rulesets with random packets, in private network namespaces: both back ends, both families, the
//! ways in, through and out. The prediction of each packet is its whole path; what is compared is the
//! counter of every rule and policy, so that a right verdict for a wrong reason is found too.
//!
//! A packet is written to a TAP device or a raw socket and has passed every hook when the write returns:
//! the kernel takes it there and then. A counter in a chain of its own checks that all of them arrived.
//! Answers that the kernel itself gives (resets, ICMP errors, neighbour discovery) are dropped before
//! OUTPUT by a chain that lets only the test's own packets through.
//!
//! Packets of which the engine itself says that it cannot know are not sent, but counted. The seed is
//! printed; `RULETOP_SEED` repeats a run, `RULETOP_PACKETS` makes it longer, `RULETOP_CASE` (0 to 7) picks
//! one back end, family and kind.

// clippy.toml lets `#[test]` functions unwrap; their helpers are tests too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs
)]

mod compare;
mod dice;
mod known;
mod packets;
mod place;
mod rules;

use ruletop::ruleset::{Backend, Family, Origin};

use crate::compare::{Bench, Tally};
use crate::dice::Dice;

/// Packets of a run, unless the environment says more.
const PACKETS: usize = 20_000;

/// Packets put through one ruleset.
const BATCH: usize = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_counter_is_as_predicted() {
    let seed = number("RULETOP_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now();
        now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    });
    let packets = number("RULETOP_PACKETS").map_or(PACKETS, |n| usize::try_from(n).unwrap());
    println!("seed {seed} (RULETOP_SEED={seed} repeats this run)");
    let mut cases = Vec::new();
    for backend in [Backend::Legacy, Backend::Nft] {
        for family in [Family::V4, Family::V6] {
            for tracked in [true, false] {
                cases.push((Origin { family, backend }, tracked));
            }
        }
    }
    let each = packets.div_ceil(cases.len());
    let mut all = Tally::default();
    // Of the eight cases only that one, to look at a mismatch of it again.
    let only = number("RULETOP_CASE");
    for (number, (origin, tracked)) in cases.into_iter().enumerate() {
        if only.is_some_and(|only| only != number as u64) {
            continue;
        }
        let dice = Dice::new(seed.wrapping_mul(1000).wrapping_add(number as u64));
        let tally = place::in_namespace(origin, move |place| {
            Bench::new(place, origin, tracked, dice).run(each, BATCH)
        });
        println!(
            "{origin} {}: {tally}",
            if tracked { "tracked" } else { "untracked" }
        );
        all.add(&tally);
    }
    println!("all: {all}");
    assert!(
        only.is_some() || all.packets >= packets,
        "only {} of {packets} packets",
        all.packets
    );
    assert!(
        all.matches > all.packets as u64,
        "rules hardly ever matched: {all}"
    );
    assert_eq!(
        all.mismatches, 0,
        "seed {seed}: the first of each case is above"
    );
}
