//! SIGKILL at random moments of an apply, to any of its processes: never an unconfirmed change left after the
//! deadline, never half of one.
//!
//! `RULETOP_KILLS=200` sets how many a back end; the seed is fixed, the moments are the machine's.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ruletop::ruleset::{Backend, Family, Origin};

use crate::bench::{Bench, on};

/// Numbers that are the same in every run (xorshift).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

pub fn times(variable: &str, usual: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}

fn killed_at_random(origin: Origin) {
    on(origin, move |bench| {
        let mut dice = Dice::new(0x9e37_79b9_7f4a_7c15);
        let before = bench.save();
        let mut tally = [0_u32; 4];
        for _ in 0..times("RULETOP_KILLS", 20) {
            let outcome = once(bench, &mut dice);
            tally[outcome] += 1;
            bench.assert_same(&before);
        }
        println!(
            "{origin}: killed before the record {}, while applied {}, while pending {}, all at once {}",
            tally[0], tally[1], tally[2], tally[3]
        );
    });
}

/// One apply and one kill; which of the four kinds it was.
fn once(bench: &Bench<'_>, dice: &mut Dice) -> usize {
    let mut caller = bench.start_change("200ms");
    if dice.below(2) == 0 {
        // Any moment: an apply takes some 100 to 200 ms here.
        std::thread::sleep(Duration::from_micros(dice.below(200_000)));
    } else {
        // The moments in which the kernel is written to, which are few: those after the record is there.
        while !bench.path_exists("state/pending.json") && caller.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(100));
        }
        std::thread::sleep(Duration::from_micros(dice.below(40_000)));
    }
    let record = std::fs::read_to_string(bench.path("state/pending.json")).unwrap_or_default();
    let mut victims = bench.tagged();
    let all = dice.below(4) == 0;
    if !all && !victims.is_empty() {
        let chosen = usize::try_from(dice.below(victims.len() as u64)).unwrap();
        victims = vec![victims[chosen]];
    }
    if all {
        // Stopped first, so that none of them acts on the death of another.
        for victim in &victims {
            let _ = kill(Pid::from_raw(*victim), Signal::SIGSTOP);
        }
    }
    for victim in &victims {
        let _ = kill(Pid::from_raw(*victim), Signal::SIGKILL);
    }
    let _ = caller.wait();
    bench.settle();
    bench.clear_unfinished();
    match (all, record.contains("\"applying\""), record.is_empty()) {
        (true, ..) => 3,
        (_, true, _) => 1,
        (_, _, true) => 0,
        _ => 2,
    }
}

#[test]
fn kill_at_random_moments_nft() {
    killed_at_random(Origin::new(Family::V4, Backend::Nft));
}

#[test]
fn kill_at_random_moments_legacy() {
    killed_at_random(Origin::new(Family::V4, Backend::Legacy));
}

/// The restore tool itself, while it writes to the kernel: what it had done of its two tables is undone.
#[test]
fn kill_of_the_tool_undoes() {
    for origin in [Origin::ALL[0], Origin::ALL[2]] {
        on(origin, |bench| {
            let before = bench.save();
            let mut killed = 0;
            for _ in 0..30 {
                let mut caller = bench.start_change("200ms");
                let before_this = killed;
                while caller.try_wait().unwrap().is_none() {
                    // One an apply: else the way back is killed as well, and tried again some seconds later.
                    if killed == before_this && bench.path_exists("state/pending.json") {
                        killed += kill_tools(bench);
                    }
                }
                bench.settle();
                bench.assert_same(&before);
                if killed > 2 {
                    return;
                }
            }
            panic!("the tool was never met at work");
        });
    }
}

fn kill_tools(bench: &Bench<'_>) -> usize {
    let tools = bench.tagged().into_iter().filter(|pid| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
        line.is_ok_and(|line| line.contains("-restore"))
    });
    tools
        .filter(|pid| kill(Pid::from_raw(*pid), Signal::SIGKILL).is_ok())
        .count()
}
