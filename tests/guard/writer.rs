//! Another program that writes all the time: none of its changes is lost, none of ours is half done.
//!
//! `RULETOP_APPLIES=500` sets how many applies a back end.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sched::{CloneFlags, setns};
use ruletop::ruleset::{Backend, Family, Origin, Ruleset};

use crate::bench::{Bench, on};
use crate::killing::{Dice, times};

/// The rules of INPUT that hold `mark`.
fn rules_with(ruleset: &Ruleset, mark: &str) -> Vec<String> {
    let chain = ruleset.find_chain("filter", "INPUT").unwrap();
    let specs = ruleset.chain(chain).rules().iter();
    specs
        .map(|rule| String::from_utf8_lossy(ruleset.spec(*rule)).into_owned())
        .filter(|spec| spec.contains(mark))
        .collect()
}

/// Adds and removes rules at the top, in the middle and at the end until told to stop; what should be there.
fn write(bench: &Bench<'_>, stop: &AtomicBool) -> (VecDeque<String>, usize, usize) {
    let mut mine: VecDeque<String> = VecDeque::new();
    let mut dice = Dice::new(77);
    let (mut written, mut stumbled) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let name = format!("writer-{written}");
        let place =
            ["-I INPUT 1", "-I INPUT 3", "-A INPUT"][usize::try_from(dice.below(3)).unwrap()];
        bench.net.tables(
            bench.origin,
            &format!("-w {place} -m comment --comment {name} -j ACCEPT"),
        );
        mine.push_back(name);
        written += 1;
        if mine.len() > 5 {
            let oldest = mine.pop_front().unwrap();
            let delete = format!(
                "{} -w -D INPUT -m comment --comment {oldest} -j ACCEPT",
                bench.origin
            );
            // iptables-nft 1.8.9 starts over when the ruleset changed under it, with the handles of before: where
            // its own rule was put back meanwhile it fails, and has to be asked again.
            let tries = (0..5).position(|_| bench.net.run(&delete).status.success());
            stumbled += tries.unwrap_or_else(|| panic!("the writer's {oldest} is lost"));
        }
    }
    (mine, written, stumbled)
}

fn beside_a_writer(origin: Origin) {
    on(origin, move |bench| {
        let namespace = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        let stop = AtomicBool::new(false);
        let applies = times("RULETOP_APPLIES", 30);
        let (mut kept, mut undone, mut refused) = (Vec::new(), 0, 0);
        let (theirs, written, stumbled) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
                write(bench, &stop)
            });
            // However this ends, the writer does too.
            let end = StopAtEnd(&stop);
            for turn in 0..applies {
                let name = format!("ours-{turn}-");
                if !apply(bench, &name) {
                    refused += 1;
                    continue;
                }
                assert_eq!(rules_with(&bench.save(), &name).len(), 2, "half of {name}");
                if turn % 2 == 0 {
                    bench.ok(&["revert"]);
                    undone += 1;
                    assert_eq!(rules_with(&bench.save(), &name).len(), 0, "{name} is left");
                } else {
                    bench.ok(&["confirm"]);
                    kept.push(name);
                }
            }
            drop(end);
            writer.join().unwrap()
        });
        let now = bench.save();
        for name in &theirs {
            assert_eq!(
                rules_with(&now, &format!("{name} ")).len(),
                1,
                "the writer's {name} is lost"
            );
        }
        assert_eq!(
            rules_with(&now, "writer-").len(),
            theirs.len(),
            "a rule that was removed is back"
        );
        for name in &kept {
            assert_eq!(rules_with(&now, name).len(), 2, "{name} was kept");
        }
        assert_eq!(rules_with(&now, "ours-").len(), 2 * kept.len());
        println!(
            "{origin}: {applies} applies beside {written} writes ({stumbled} of them tried twice): {} kept, {undone} undone, {refused} refused",
            kept.len()
        );
        assert!(
            refused * 4 <= applies,
            "{refused} of {applies} were refused"
        );
    });
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Two rules at two places, in one change; whether it was applied.
fn apply(bench: &Bench<'_>, name: &str) -> bool {
    let path = bench.path("ours");
    let script = format!(
        "*filter\n-I INPUT 2 -m comment --comment {name}a -j ACCEPT\n-A INPUT -m comment --comment {name}b -j ACCEPT\nCOMMIT\n"
    );
    std::fs::write(&path, script).unwrap();
    let output = bench.start(&path, "60s").wait_with_output().unwrap();
    match output.status.code() {
        Some(0) => true,
        Some(4) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("nothing is applied"), "{said}");
            false
        }
        _ => panic!("{output:?}"),
    }
}

#[test]
fn a_writer_beside_nft() {
    beside_a_writer(Origin::new(Family::V4, Backend::Nft));
}

#[test]
fn a_writer_beside_legacy() {
    beside_a_writer(Origin::new(Family::V6, Backend::Legacy));
}
