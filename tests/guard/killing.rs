//! SIGKILL at random moments of an apply, to any of its processes: never an unconfirmed change left after the
//! deadline, never half of one.
//!
//! `RULETOP_KILLS=200` sets how many a back end; the seed is fixed, the moments are the machine's.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ruletop::ruleset::{Backend, Family, Origin};

use crate::bench::{Bench, on, on_every};

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

/// The restore tool is killed between its two transactions: what it had done is undone. A stand-in for the tool
/// makes sure of the moment.
#[test]
fn kill_of_the_tool_undoes() {
    on_every(|bench| {
        let before = bench.save();
        let tool = format!("{}-restore", bench.origin);
        let real = bench
            .net
            .ok(&format!("command -v {tool}"))
            .trim()
            .to_owned();
        let save = real.replace("-restore", "-save");
        let (folder, killed) = (bench.path("tools"), bench.path("killed"));
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(&save, format!("{folder}/{}-save", bench.origin)).unwrap();
        let script = format!(
            "#!/bin/sh\nif [ -e {}/pending.json ] && [ ! -e {killed} ]; then\n\
             touch {killed}; sed '/^COMMIT/q' | {real} \"$@\"; kill -9 $$\nfi\nexec {real} \"$@\"\n",
            bench.path("state")
        );
        let path = format!("{folder}/{tool}");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let output = bench.run_change_with(&folder);
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("was killed by signal 9"), "{said}");
        assert!(bench.path_exists("killed"));
        bench.wait_for_no_process();
        bench.assert_same(&before);
    });
}
