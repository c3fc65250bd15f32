//! The commands as a script sees them, and what bad input and bad luck get: nothing applied, and the reason.

use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ruletop::ruleset::{Backend, Family, Origin, Ruleset};
use ruletop::safety::{
    self, ApplyError, Ended, Event, Places, Request, Step, To, Transition, Watch, Who,
};

use crate::bench::{Bench, on, tables};
use crate::harness::patiently;

const NFT4: Origin = Origin::new(Family::V4, Backend::Nft);
const LEGACY4: Origin = Origin::new(Family::V4, Backend::Legacy);

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A script, applied without waiting, that must be refused with nothing changed; what was said.
#[track_caller]
fn refused(bench: &Bench<'_>, script: &str, code: i32) -> String {
    let before = bench.save();
    let path = bench.path("script");
    std::fs::write(&path, script).unwrap();
    let output = bench.start(&path, "60s").wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let said = said(&output);
    let lines = said.lines().filter(|line| !line.starts_with("backup "));
    assert_eq!(lines.count(), 2, "what failed and what to do: {said}");
    bench.wait_for_no_process();
    bench.assert_same(&before);
    said
}

#[test]
fn a_rule_that_the_back_end_refuses() {
    for origin in [NFT4, LEGACY4] {
        on(origin, |bench| {
            let said = refused(bench, "*filter\n-A INPUT -j NOSUCH\nCOMMIT\n", 4);
            assert!(said.contains("NOSUCH"), "{said}");
            // The parser takes this one, the kernel does not: a chain that jumps to itself.
            let loops = "*filter\n-N a\n-A a -j a\n-A INPUT -j a\nCOMMIT\n";
            refused(bench, loops, 4);
            refused(bench, "no script at all\n", 4);
            let said = refused(bench, "*filter\nCOMMIT\n", 4);
            assert!(said.contains("nothing to apply"), "{said}");
        });
    }
}

#[test]
fn no_backup_no_change() {
    on(NFT4, |bench| {
        // As root there is no folder that cannot be written, but a file is none.
        std::fs::write(bench.path("backup"), b"").unwrap();
        let said = refused(bench, &Bench::change(), 4);
        assert!(said.contains("no backup could be made"), "{said}");
        std::fs::remove_file(bench.path("backup")).unwrap();
        std::fs::remove_dir_all(bench.path("log")).unwrap();
        std::fs::write(bench.path("log"), b"").unwrap();
        let said = refused(bench, &Bench::change(), 4);
        assert!(said.contains("audit trail"), "{said}");
    });
}

#[test]
fn a_disk_that_is_full() {
    on(NFT4, |bench| {
        let before = bench.save();
        // A mount namespace of its own, so that the full disk is nobody else's.
        let folder = bench.path("full");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(bench.path("change"), Bench::change()).unwrap();
        let program = env!("CARGO_BIN_EXE_ruletop");
        let script = format!(
            "mount -t tmpfs -o size=16k,mode=700 tmpfs {folder} && \
             dd if=/dev/zero of={folder}/fill bs=4k count=4 2>/dev/null; \
             exec {program} apply {} --backend nft --no-wait --state-folder {} \
             --backup-folder {folder}/backups --log-folder {}",
            bench.path("change"),
            bench.path("state"),
            bench.path("log")
        );
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        assert!(said(&output).contains("No space left"), "{output:?}");
        bench.assert_same(&before);
    });
}

#[test]
fn the_lock_is_waited_for_and_the_wait_can_be_ended() {
    on(LEGACY4, |bench| {
        let before = bench.save();
        let lock = bench.net.ok("printf %s \"$XTABLES_LOCKFILE\"");
        let file = std::fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(lock);
        let held = Flock::lock(file.unwrap(), FlockArg::LockExclusive).unwrap();
        let mut terminal = bench.apply("60s");
        terminal.wait_for_text("waiting for the xtables lock, held by");
        terminal.signal(Signal::SIGINT);
        assert_eq!(terminal.wait_for_exit().exit_code(), 4);
        terminal.wait_for_text("given up before anything was applied");
        terminal.wait_for_no_process();
        bench.assert_same(&before);
        // And let go of, it goes on.
        let mut terminal = bench.apply("60s");
        terminal.wait_for_text("waiting for the xtables lock, held by");
        drop(held);
        terminal.wait_for_text("Type yes to keep");
        terminal.send("no\r");
        assert_eq!(terminal.wait_for_exit().exit_code(), 4);
        terminal.wait_for_no_process();
        bench.assert_same(&before);
    });
}

#[test]
fn the_second_of_two_sees_the_first() {
    on(NFT4, |bench| {
        let before = bench.save();
        assert!(bench.start_change("60s").wait().unwrap().success());
        let output = bench.start_change("60s").wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(4));
        assert!(
            said(&output).contains("another change is pending"),
            "{output:?}"
        );
        let status = bench.ok(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["schema"], "ruletop.status/1");
        assert_eq!(status["pending"]["phase"], "pending");
        assert_eq!(status["pending"]["guarded"], true);
        assert_eq!(
            bench.ruletop(&["confirm", "another-one"]).status.code(),
            Some(4)
        );
        bench.ok(&["revert"]);
        bench.assert_same(&before);
        for command in ["confirm", "revert"] {
            let output = bench.ruletop(&[command]);
            assert_eq!(output.status.code(), Some(4), "{output:?}");
            assert!(said(&output).contains("no change is pending"));
        }
    });
}

#[test]
fn without_a_terminal_nobody_can_be_asked() {
    on(NFT4, |bench| {
        std::fs::write(bench.path("script"), Bench::change()).unwrap();
        let output = bench.ruletop(&["apply", &bench.path("script")]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(said(&output).contains("--no-wait"));
        let output = bench.ruletop(&["apply", "/nonexistent", "--no-wait"]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    });
}

#[test]
fn backups_are_listed_shown_compared_and_put_back() {
    for origin in [NFT4, LEGACY4] {
        on(origin, |bench| {
            let before = bench.save();
            let first = bench.ok(&["backup"]).trim().to_owned();
            bench.start_change("60s").wait().unwrap();
            bench.ok(&["confirm"]);
            let lines = bench.ok(&["backup", "diff", &first, "live"]);
            assert!(lines.contains("filter FORWARD policy DROP"), "{lines}");
            assert_eq!(bench.ok(&["backup", "diff", &first, &first]), "");
            let shown = bench.ok(&["backup", "show", &first]);
            assert_eq!(shown.as_bytes(), before.bytes());
            let list = bench.ok(&["backup", "list", "--json"]);
            let list: serde_json::Value = serde_json::from_str(&list).unwrap();
            assert_eq!(list["backups"].as_array().unwrap().len(), 2);
            bench.ok(&["restore", &first, "--no-wait"]);
            bench.ok(&["confirm"]);
            let now = bench.save();
            let bare = |tables: Vec<String>| -> Vec<String> {
                // nft keeps the table that was made, emptied: it was confirmed, and a restore removes none.
                tables
                    .into_iter()
                    .filter(|t| !t.starts_with("*mangle"))
                    .collect()
            };
            assert_eq!(bare(tables(&now)), bare(tables(&before)));
            assert!(!tables(&now).concat().contains("4010"));
        });
    }
}

#[test]
fn a_damaged_backup_is_refused_with_the_reason() {
    on(NFT4, |bench| {
        let id = bench.ok(&["backup"]).trim().to_owned();
        let file = bench.path(&format!("backup/{id}/iptables-nft.rules"));
        let mut text = std::fs::read(&file).unwrap();
        text.pop();
        std::fs::write(&file, text).unwrap();
        for command in [&["restore", &id, "--no-wait"][..], &["backup", "show", &id]] {
            let output = bench.ruletop(command);
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            assert!(
                said(&output).contains("does not have its checksum"),
                "{output:?}"
            );
        }
        std::fs::write(bench.path(&format!("backup/{id}/manifest.json")), b"{").unwrap();
        let output = bench.ruletop(&["restore", "latest", "--no-wait"]);
        assert!(said(&output).contains("manifest.json"), "{output:?}");
        for odd in ["../../etc", "", "nope", "."] {
            let output = bench.ruletop(&["backup", "show", odd]);
            assert_eq!(output.status.code(), Some(2), "{output:?}");
        }
    });
}

#[test]
fn only_the_newest_backups_are_kept() {
    on(NFT4, |bench| {
        for _ in 0..3 {
            bench.ok(&["backup", "--keep-backups", "2"]);
        }
        assert_eq!(bench.ok(&["backup", "list"]).lines().count(), 2);
    });
}

#[test]
fn sets_that_rules_need_come_first() {
    on(NFT4, |bench| {
        bench
            .net
            .ok("ipset create bad hash:ip && ipset add bad 192.0.2.9");
        bench
            .net
            .tables(NFT4, "-A INPUT -m set --match-set bad src -j DROP");
        let before = bench.save();
        let id = bench.ok(&["backup"]).trim().to_owned();
        bench
            .net
            .tables(NFT4, "-D INPUT -m set --match-set bad src -j DROP");
        // A reader of the set that was just let go of may still be around for a moment.
        patiently("the set to be free", || {
            bench.net.run("ipset destroy bad").status.success()
        });
        let said = refused(
            bench,
            "*filter\n-A INPUT -m set --match-set bad src -j DROP\nCOMMIT\n",
            4,
        );
        assert!(said.contains("bad"), "{said}");
        bench.ok(&["restore", &id, "--no-wait"]);
        bench.ok(&["confirm"]);
        bench.assert_same(&before);
        assert!(bench.net.ok("ipset list bad").contains("192.0.2.9"));
    });
}

#[test]
fn a_chain_whose_text_is_not_the_whole_truth_is_locked() {
    on(NFT4, |bench| {
        bench
            .net
            .ok("nft add rule ip filter FORWARD tcp dport '{ 80, 443 }' drop");
        let said = refused(bench, "*filter\n-I FORWARD 1 -j ACCEPT\nCOMMIT\n", 4);
        assert!(said.contains("locked"), "{said}");
        // The rest of the table is not.
        let path = bench.path("script");
        std::fs::write(&path, "*filter\n-I INPUT 1 -j ACCEPT\nCOMMIT\n").unwrap();
        assert!(bench.start(&path, "60s").wait().unwrap().success());
        bench.ok(&["revert"]);
        assert!(
            bench
                .net
                .ok("nft list chain ip filter FORWARD")
                .contains("80, 443")
        );
    });
}

/// iptables-save prints it, and nothing loads it again: a newline within a comment.
#[test]
fn a_rule_that_has_no_text_stays_where_it_is() {
    for origin in [NFT4, LEGACY4] {
        on(origin, move |bench| {
            bench.net.ok(&format!(
                "{origin} -I INPUT 3 -m comment --comment \"$(printf 'two\\nlines')\" -j ACCEPT"
            ));
            let before = bench.save();
            assert!(bench.start_change("60s").wait().unwrap().success());
            assert!(bench.ok(&["status"]).contains("4009"));
            bench.ok(&["revert"]);
            bench.assert_same(&before);
            // But it cannot be taken out: there would be no way back.
            let said = refused(bench, "*filter\n-D INPUT 3\nCOMMIT\n", 4);
            assert!(said.contains("does not load again"), "{said}");
        });
    }
}

/// The library, as the board uses it.
fn places(bench: &Bench<'_>) -> Places {
    Places {
        state: bench.path("state").into(),
        backups: bench.path("backup").into(),
        log: bench.path("log").into(),
        data: bench.path("data").into(),
    }
}

fn request(bench: &Bench<'_>, transitions: Vec<Transition>) -> Request {
    let mut request = Request::new(places(bench), "a test", transitions);
    request.program = Some(env!("CARGO_BIN_EXE_ruletop").into());
    request
}

fn with_rule(bench: &Bench<'_>, origin: Origin, rule: &str) -> Transition {
    let text = bench.net.ok(&format!("{origin}-save -c"));
    let before = Arc::new(Ruleset::parse(text.clone().into_bytes(), origin).unwrap());
    let text = if text.is_empty() {
        format!(
            "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{rule}\nCOMMIT\n"
        )
    } else {
        text.replacen("COMMIT\n", &format!("{rule}\nCOMMIT\n"), 1)
    };
    let to = Arc::new(Ruleset::parse(text.into_bytes(), origin).unwrap());
    Transition {
        origin,
        before,
        to: To::Ruleset(to),
    }
}

#[test]
fn both_families_in_one_change_both_undone() {
    on(NFT4, |bench| {
        let before = bench.save();
        let v6 = Origin::new(Family::V6, Backend::Nft);
        // Not in the tool's own words: it is verified in those all the same.
        let rule = "-A INPUT -p tcp --dport 22 -j ACCEPT";
        let transitions = vec![with_rule(bench, NFT4, rule), with_rule(bench, v6, rule)];
        let mut steps = Vec::new();
        let watch = Watch::new(&places(bench)).unwrap();
        let pending =
            safety::begin(&request(bench, transitions), &mut |step| steps.push(step)).unwrap();
        assert!(matches!(steps.first(), Some(Step::Checking)), "{steps:?}");
        assert!(
            steps.contains(&Step::Applying) && steps.contains(&Step::Verifying),
            "{steps:?}"
        );
        assert!(watch.drain(), "nobody was woken");
        let view = safety::pending(&places(bench)).unwrap();
        assert_eq!(
            (view.id.as_str(), view.guarded),
            (pending.id.as_str(), true)
        );
        assert_eq!(view.diff.len(), 2, "{view:?}");
        let left = safety::extend(&places(bench), Some(&pending.id), Duration::from_secs(60));
        assert!(left.unwrap() > Duration::from_secs(100));
        assert!(bench.net.ok("ip6tables-nft-save").contains("--dport 22"));
        safety::revert(&places(bench), Some(&pending.id), &Who::here()).unwrap();
        let end = safety::wait_for_end(&places(bench), &pending.id, Duration::from_secs(30));
        assert!(matches!(end, Ended::Known(entry) if entry.event == Event::Reverted));
        bench.assert_same(&before);
        assert_eq!(
            bench.net.ok("ip6tables-nft-save"),
            "",
            "the table that was made is gone"
        );
        let events: Vec<Event> = safety::history(&places(bench))
            .unwrap()
            .iter()
            .map(|entry| entry.event)
            .collect();
        assert_eq!(events, [Event::Applied, Event::Extended, Event::Reverted]);
    });
}

#[test]
fn what_others_added_meanwhile_stays() {
    on(NFT4, |bench| {
        let transition = with_rule(bench, NFT4, "-A INPUT -p tcp --dport 22 -j ACCEPT");
        // Added after the change was thought of: it is carried over.
        bench.net.tables(NFT4, "-A OUTPUT -d 192.0.2.1 -j ACCEPT");
        safety::begin(&request(bench, vec![transition]), &mut |_| {}).unwrap();
        bench.net.tables(NFT4, "-I INPUT 1 -s 192.0.2.2 -j ACCEPT");
        bench.ok(&["revert"]);
        let now = tables(&bench.save()).concat();
        assert!(
            now.contains("192.0.2.1") && now.contains("192.0.2.2"),
            "{now}"
        );
        assert!(!now.contains("--dport 22"), "{now}");
    });
}

#[test]
fn a_place_that_changed_under_the_stage_is_refused() {
    on(NFT4, |bench| {
        let before = bench.save();
        let text = String::from_utf8(before.bytes().to_vec()).unwrap();
        let line = |port| {
            let mut lines = text.lines();
            lines.find(|line| line.contains(port)).unwrap().to_owned() + "\n"
        };
        let (second, third) = (line("4002"), line("4003"));
        // The third rule moves above the second; meanwhile somebody deletes it.
        let moved = text
            .replace(&third, "")
            .replace(&second, &(third + &second));
        let transition = Transition {
            origin: NFT4,
            before: Arc::new(before),
            to: To::Ruleset(Arc::new(Ruleset::parse(moved.into_bytes(), NFT4).unwrap())),
        };
        bench.net.tables(NFT4, "-D INPUT 4");
        let before = bench.save();
        let error = safety::begin(&request(bench, vec![transition]), &mut |_| {}).unwrap_err();
        assert!(matches!(error, ApplyError::Changed { .. }), "{error:?}");
        bench.assert_same(&before);
    });
}

#[test]
fn no_guard_no_change() {
    on(NFT4, |bench| {
        let before = bench.save();
        let transition = with_rule(bench, NFT4, "-A INPUT -j ACCEPT");
        let mut request = request(bench, vec![transition]);
        for program in ["/bin/false", "/nonexistent"] {
            request.program = Some(program.into());
            let error = safety::begin(&request, &mut |_| {}).unwrap_err();
            assert!(matches!(error, ApplyError::Guard { .. }), "{error:?}");
        }
        bench.assert_same(&before);
    });
}

#[test]
fn a_caller_that_gives_up_before_the_apply_ends_it() {
    on(NFT4, |bench| {
        let before = bench.save();
        let transition = with_rule(bench, NFT4, "-A INPUT -j ACCEPT");
        let request = request(bench, vec![transition]);
        let stop = Arc::clone(&request.stop);
        let error = safety::begin(&request, &mut |step| {
            if matches!(step, Step::BackingUp) {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        });
        assert_eq!(error.unwrap_err(), ApplyError::Stopped);
        bench.assert_same(&before);
    });
}

#[test]
fn a_guard_that_dies_before_anything_is_applied_is_said() {
    on(NFT4, |bench| {
        let before = bench.save();
        let transition = with_rule(bench, NFT4, "-A INPUT -j ACCEPT");
        let error = safety::begin(&request(bench, vec![transition]), &mut |step| {
            if let Step::Armed { guard, standby } = step {
                for pid in [standby, guard] {
                    let _ = kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL);
                }
            }
        });
        assert!(matches!(error, Err(ApplyError::Guard { .. })), "{error:?}");
        patiently("the change to be undone", || {
            let _ = bench.ruletop(&["status"]);
            safety::pending(&places(bench)).is_none()
        });
        bench.wait_for_no_process();
        bench.assert_same(&before);
    });
}
