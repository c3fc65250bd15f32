//! What may stand in the way of an undoing: rules that iptables cannot say, a full folder, a damaged record, guards
//! that are all dead. None of it keeps an unconfirmed change in force, and none of it costs others their rules.

use std::path::Path;
use std::time::{Duration, Instant};

use ruletop::ruleset::{Backend, Family, Origin};

use crate::bench::{Bench, on, on_every, tables};
use crate::harness::patiently;
use crate::matrix::kill_all;

/// Rules that make the save tool fail, and leave out the whole table.
const STRANGE: [&str; 2] = [
    "insert rule FAMILY filter INPUT index 1 meta length 3 th dport 3 drop",
    "add rule FAMILY filter FORWARD ct state vmap { established : accept }",
];

#[test]
fn a_rule_that_only_nft_can_say_is_in_nobodys_way() {
    for family in [Family::V4, Family::V6] {
        on(Origin::new(family, Backend::Nft), move |bench| {
            let nft = match family {
                Family::V4 => "ip",
                Family::V6 => "ip6",
            };
            for (rules, window) in [
                (&STRANGE[..1], "60s"),
                (&STRANGE[1..], "60s"),
                (&STRANGE[..], "1s"),
            ] {
                let before = bench.save();
                assert!(bench.start_change(window).wait().unwrap().success());
                for rule in rules {
                    bench
                        .net
                        .ok(&format!("nft '{}'", rule.replace("FAMILY", nft)));
                }
                if window == "60s" {
                    let said = bench.ok(&["revert"]);
                    assert!(said.contains("taken out and put back"), "{said}");
                }
                bench.wait_for_no_process();
                let listed = bench.net.ok(&format!("nft -a list table {nft} filter"));
                let strange: Vec<&str> = listed
                    .lines()
                    .filter(|line| line.contains("th dport 3 drop") || line.contains("vmap"))
                    .collect();
                assert_eq!(strange.len(), rules.len(), "{listed}");
                for line in strange {
                    let chain = if line.contains("vmap") {
                        "FORWARD"
                    } else {
                        "INPUT"
                    };
                    let handle = line.rsplit(' ').next().unwrap();
                    bench.net.ok(&format!(
                        "nft delete rule {nft} filter {chain} handle {handle}"
                    ));
                }
                bench.assert_same(&before);
            }
        });
    }
}

/// The state folder on a disk of its own that is full once the change is made.
fn on_a_full_disk(bench: &Bench<'_>, window: &str, then: &str) {
    let state = bench.path("state");
    std::fs::create_dir_all(&state).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=64k,mode=700 tmpfs {state} && apply && \
         {{ dd if=/dev/zero of={state}/fill bs=4k status=none || true; }} && {then}"
    );
    let out = bench.in_mounts(window, &script);
    assert!(out.status.success(), "{out:?}");
}

#[test]
fn a_full_folder_keeps_nothing_in_force() {
    for origin in [
        Origin::new(Family::V4, Backend::Nft),
        Origin::new(Family::V6, Backend::Legacy),
    ] {
        on(origin, |bench| {
            let before = bench.save();
            on_a_full_disk(bench, "2s", "true");
            patiently("the deadline to undo it", || {
                tables(&bench.save()) == tables(&before)
            });
            bench.wait_for_no_process();
            on_a_full_disk(bench, "60s", "ruletop revert");
            // The guard could only be told by a signal; that it was a person is said all the same.
            let history = bench.ok(&["status", "--history"]);
            let last = history
                .lines()
                .rfind(|line| line.contains(" reverted "))
                .unwrap();
            assert!(!last.contains("TERM"), "{history}");
            assert_eq!(tables(&bench.save()), tables(&before));
            bench.wait_for_no_process();
        });
    }
}

#[test]
fn a_damaged_record_is_written_anew() {
    on_every(|bench| {
        let before = bench.save();
        assert!(bench.start_change("60s").wait().unwrap().success());
        let record = bench.path("state/pending.json");
        for damage in ["garbage", ""] {
            std::fs::write(&record, damage).unwrap();
            patiently("the record", || {
                bench.ok(&["status"]).contains("ruletop confirm keeps it")
            });
            assert!(Path::new(&record).exists());
        }
        bench.ok(&["revert"]);
        bench.settle();
        bench.assert_same(&before);
    });
}

#[test]
fn a_revert_past_the_deadline_finds_a_guard() {
    on_every(|bench| {
        let before = bench.save();
        let begun = Instant::now();
        assert!(bench.start_change("1s").wait().unwrap().success());
        kill_all(bench);
        patiently("the deadline", || begun.elapsed() > Duration::from_secs(1));
        if tables(&bench.save()) == tables(&before) {
            return; // this machine was slower than the window
        }
        let said = bench.ok(&["revert"]);
        assert!(said.contains("undone"), "{said}");
        bench.settle();
        bench.assert_same(&before);
    });
}

/// What another program did to the same rules stays, and nobody says that all is as it was.
#[test]
fn an_undoing_beside_others_says_so() {
    on(Origin::new(Family::V4, Backend::Nft), |bench| {
        assert!(bench.start_change("60s").wait().unwrap().success());
        bench.net.ok("nft delete table ip filter");
        let said = bench.ok(&["revert"]);
        assert!(!said.contains("as it was"), "{said}");
        bench.wait_for_no_process();
    });
}

#[test]
fn another_name_than_the_pending_one_is_said_to_be_another() {
    on(Origin::new(Family::V4, Backend::Legacy), |bench| {
        for verb in ["confirm", "revert"] {
            let none = bench.ruletop(&[verb, "20200101-000000-000000"]);
            assert!(String::from_utf8_lossy(&none.stderr).contains("no change is pending"));
        }
        assert!(bench.start_change("60s").wait().unwrap().success());
        for verb in ["confirm", "revert"] {
            let other = bench.ruletop(&[verb, "20200101-000000-000000"]);
            let said = String::from_utf8_lossy(&other.stderr).into_owned();
            assert_eq!(other.status.code(), Some(4), "{said}");
            assert!(said.contains("is not pending;"), "{said}");
        }
        bench.ok(&["revert"]);
        bench.settle();
    });
}

#[test]
fn a_damaged_record_of_dead_guards_is_still_a_change() {
    on_every(|bench| {
        for (at, damage) in ["", "garbage", "{\"schema\":\"rule"]
            .into_iter()
            .enumerate()
        {
            let before = bench.save();
            assert!(bench.start_change("60s").wait().unwrap().success());
            kill_all(bench);
            std::fs::write(bench.path("state/pending.json"), damage).unwrap();
            if at == 0 {
                let said = bench.ok(&["status"]);
                assert!(said.contains("ruletop confirm keeps it"), "{said}");
            }
            let said = bench.ok(&["revert"]);
            assert!(said.contains("undone"), "{said}");
            bench.settle();
            bench.assert_same(&before);
        }
        // Nothing at all is known of it: that is said, and not that there is none.
        std::fs::write(bench.path("state/pending.json"), "garbage").unwrap();
        let said = bench.ok(&["status"]);
        assert!(said.contains("damaged"), "{said}");
        let refused = bench.ruletop(&["revert"]);
        assert!(String::from_utf8_lossy(&refused.stderr).contains("damaged"));
        // The next change does not trip over it.
        assert!(bench.start_change("60s").wait().unwrap().success());
        bench.ok(&["revert"]);
        bench.settle();
    });
}

#[test]
fn a_log_that_cannot_be_written_hides_no_end() {
    on_every(|bench| {
        for verb in ["revert", "confirm"] {
            let before = bench.save();
            let log = bench.path("log");
            std::fs::create_dir_all(&log).unwrap();
            let script = format!(
                "mount -t tmpfs -o size=64k,mode=700 tmpfs {log} && apply && \
                 mount -o remount,ro {log} && ruletop {verb}"
            );
            let out = bench.in_mounts("60s", &script);
            let said = String::from_utf8_lossy(&out.stdout).into_owned();
            assert!(out.status.success(), "{out:?}");
            assert!(
                said.contains("warning: the audit trail lacks this"),
                "{said}"
            );
            bench.wait_for_no_process();
            let is_undone = tables(&bench.save()) == tables(&before);
            assert_eq!(is_undone, verb == "revert");
            assert_eq!(
                said.contains("the firewall is as it was"),
                is_undone,
                "{said}"
            );
        }
    });
}
