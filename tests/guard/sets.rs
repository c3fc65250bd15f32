//! Ipsets that a restore makes because rules of the backup need them: they go when it is undone, they stay when it
//! is confirmed or when others have come to use them.

use nix::sys::signal::{Signal, kill};
use ruletop::ruleset::{Family, Ruleset};

use crate::bench::{Bench, on_every};
use crate::harness::patiently;

/// A backup with a rule that needs a set of sets, and neither rule nor sets any more: its name, and the rules now.
fn lost(bench: &Bench<'_>) -> (String, Ruleset) {
    let (family, member) = match bench.origin.family {
        Family::V4 => ("inet", "192.0.2.9"),
        Family::V6 => ("inet6", "2001:db8::9"),
    };
    bench.net.ok(&format!(
        "ipset create bad hash:ip family {family} && ipset add bad {member} && \
         ipset create all list:set && ipset add all bad"
    ));
    let rule = "INPUT -m set --match-set all src -j DROP";
    bench.net.tables(bench.origin, &format!("-A {rule}"));
    let id = bench.ok(&["backup"]).trim().to_owned();
    bench.net.tables(bench.origin, &format!("-D {rule}"));
    free(bench);
    (id, bench.save())
}

/// A reader of a set that was just let go of may still be around for a moment.
fn free(bench: &Bench<'_>) {
    for set in ["all", "bad"] {
        patiently("the set to be free", || {
            bench
                .net
                .run(&format!("ipset destroy {set}"))
                .status
                .success()
        });
    }
}

fn sets(bench: &Bench<'_>) -> String {
    bench.net.ok("ipset list -name | sort | tr '\\n' ' '")
}

#[test]
fn sets_of_a_restore_go_with_it() {
    on_every(|bench| {
        let (id, before) = lost(bench);
        bench.ok(&["restore", &id, "--no-wait", "--confirm-within", "1s"]);
        bench.wait_for_no_process();
        bench.assert_same(&before);
        assert_eq!(sets(bench), "", "{}", bench.origin);
        // By the one who comes after a killed guard.
        bench.ok(&["restore", &id, "--no-wait"]);
        assert_eq!(sets(bench), "all bad ");
        let _ = kill(bench.pid("guard"), Signal::SIGKILL);
        let said = bench.ok(&["revert"]);
        assert!(!said.contains("stays"), "{said}");
        bench.settle();
        bench.assert_same(&before);
        assert_eq!(sets(bench), "", "{}", bench.origin);
    });
}

#[test]
fn sets_that_were_there_stay() {
    on_every(|bench| {
        let (id, before) = lost(bench);
        bench
            .net
            .ok("ipset create bad hash:net && ipset create other hash:ip");
        bench.ok(&["restore", &id, "--no-wait"]);
        assert_eq!(sets(bench), "all bad other ");
        bench.ok(&["revert"]);
        bench.wait_for_no_process();
        bench.assert_same(&before);
        assert_eq!(sets(bench), "bad other ");
    });
}

#[test]
fn sets_that_others_use_stay() {
    on_every(|bench| {
        let (id, before) = lost(bench);
        // In a rule of theirs.
        let theirs = "FORWARD -m set --match-set bad dst -j ACCEPT";
        bench.ok(&["restore", &id, "--no-wait"]);
        bench.net.tables(bench.origin, &format!("-A {theirs}"));
        let said = bench.ok(&["revert"]);
        assert!(said.contains("the ipset bad stays"), "{said}");
        bench.wait_for_no_process();
        assert_eq!(sets(bench), "bad ");
        bench.net.tables(bench.origin, &format!("-D {theirs}"));
        bench.assert_same(&before);
        patiently("the set to be free", || {
            bench.net.run("ipset destroy bad").status.success()
        });
        // Filled by them.
        bench.ok(&["restore", &id, "--no-wait"]);
        bench.net.ok("ipset flush bad");
        let said = bench.ok(&["revert"]);
        assert!(said.contains("the ipset bad stays: others"), "{said}");
        bench.wait_for_no_process();
        bench.assert_same(&before);
        assert_eq!(sets(bench), "bad ");
        bench.net.ok("ipset destroy bad");
        // Wanted: the change is confirmed.
        bench.ok(&["restore", &id, "--no-wait"]);
        bench.ok(&["confirm"]);
        bench.wait_for_no_process();
        assert_eq!(sets(bench), "all bad ");
        bench.assert_clean();
    });
}
