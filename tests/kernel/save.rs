//! The save door: presence, warnings, failures, and that looking creates nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ruletop::netfilter::counters::legacy::LegacyDoor;
use ruletop::netfilter::counters::{CounterDoor, CounterError};
use ruletop::netfilter::netlink::{Netlink, Request};
use ruletop::netfilter::nftables::generation;
use ruletop::netfilter::xtables::{
    self, Limits, Presence, Tools, Warning, XtablesError, save, save_unless,
};
use ruletop::ruleset::Warning::{IncompatibleBaseChains, LegacyTablesPresent, TableIncompatible};
use ruletop::ruleset::{Family, Origin};

use crate::support::{LEGACY6, NFT4, NFT6, in_namespace, wait_for};

fn tools() -> Tools {
    Tools::find()
}

fn tables(origin: Origin) -> Vec<String> {
    match Presence::of(origin) {
        Presence::Tables(names) => names,
        Presence::Nothing => Vec::new(),
        Presence::Unknown(error) => panic!("{origin}: {error}"),
    }
}

#[test]
fn an_empty_namespace_holds_nothing_and_looking_makes_nothing() {
    in_namespace(|_| {
        let mut netlink = Netlink::open().unwrap();
        let before = generation(&mut netlink, &mut Request::default()).unwrap();
        for _ in 0..2 {
            for origin in Origin::ALL {
                assert_eq!(tables(origin), [""; 0], "{origin}");
                let saved = save(&tools(), origin, Limits::default()).unwrap();
                assert!(saved.bytes.is_empty(), "{origin}");
                assert_eq!(saved.warnings, [], "{origin}");
            }
        }
        let after = generation(&mut netlink, &mut Request::default()).unwrap();
        assert_eq!(before, after);
    });
}

#[test]
fn each_origin_is_seen_on_its_own() {
    in_namespace(|net| {
        for (done, origin) in Origin::ALL.into_iter().enumerate() {
            net.tables(origin, "-A INPUT -p tcp --dport 22 -j ACCEPT");
            for (index, other) in Origin::ALL.into_iter().enumerate() {
                assert_eq!(
                    Presence::of(other).is_there(),
                    index <= done,
                    "{origin} {other}"
                );
            }
        }
        for origin in Origin::ALL {
            assert_eq!(tables(origin), ["filter"]);
            let saved = save(&tools(), origin, Limits::default()).unwrap();
            let text = String::from_utf8(saved.bytes).unwrap();
            assert!(
                text.contains("[0:0] -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"),
                "{text}"
            );
            let expected: &[Warning] = match origin {
                NFT4 | NFT6 => &[Warning::Known(LegacyTablesPresent)],
                _ => &[],
            };
            assert_eq!(saved.warnings, expected, "{origin}");
        }
    });
}

#[test]
fn incompatible_tables_and_chains_are_told() {
    in_namespace(|net| {
        net.tables(NFT4, "-A INPUT -j DROP");
        net.ok("nft add chain ip filter odd '{ type filter hook input priority 7; }'");
        net.ok("nft add table ip nat");
        net.ok("nft add chain ip nat c");
        net.ok("nft add rule ip nat c ct state new accept");
        let saved = save(&tools(), NFT4, Limits::default()).unwrap();
        assert_eq!(
            saved.warnings,
            [
                Warning::Known(IncompatibleBaseChains("filter".into())),
                Warning::Known(TableIncompatible("nat".into())),
            ]
        );
    });
}

#[test]
fn a_rule_that_the_tool_cannot_print_is_an_error_of_its_own() {
    in_namespace(|net| {
        net.tables(NFT4, "-A INPUT -j DROP");
        net.ok("nft add rule ip filter INPUT meta length 100 accept");
        let error = save(&tools(), NFT4, Limits::default()).unwrap_err();
        assert!(matches!(error, XtablesError::NativeRule { .. }), "{error}");
        assert!(error.remedy().contains("nft list ruleset"));
    });
}

/// A tool that does what `script` says, under the name of the nft save.
fn fake(script: &str) -> (tempfile::TempDir, Tools) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("iptables-nft-save");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let tools = Tools::find_in(&[folder.path().to_owned()]);
    (folder, tools)
}

#[test]
fn a_hung_tool_is_killed_with_what_it_runs() {
    let limits = Limits {
        time: Duration::from_millis(200),
        ..Limits::default()
    };
    // One that prints nothing, one that has closed its pipes, one that waits for another.
    for ending in [
        "exec sleep 600",
        "exec >&- 2>&-; exec sleep 600",
        "sleep 600 & echo $! >> PIDS; wait",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let script = format!("echo $$ > PIDS; {ending}").replace("PIDS", &pids.to_string_lossy());
        let (_folder, tools) = fake(&script);
        let error = save(&tools, NFT4, limits).unwrap_err();
        assert!(matches!(error, XtablesError::TimedOut { .. }), "{error}");
        for pid in fs::read_to_string(pids).unwrap().lines() {
            wait_for("the tool to be gone", || {
                let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                // Where nobody reaps orphans a zombie stays: dead is what it must be.
                (status.is_empty() || status.contains(") Z ")).then_some(())
            });
        }
    }
}

#[test]
fn a_running_tool_is_killed_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let (_folder, tools) = fake(&format!("echo $$ > {}; exec sleep 600", pid_file.display()));
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let save = std::thread::spawn(move || save_unless(&told, &tools, NFT4, Limits::default()));
    let pid = wait_for("the tool to run", || {
        let pid = fs::read_to_string(&pid_file).ok()?;
        (!pid.is_empty()).then_some(pid)
    });
    stop.store(true, Ordering::Relaxed);
    let error = save.join().unwrap().unwrap_err();
    assert!(matches!(error, XtablesError::Stopped { .. }), "{error}");
    assert!(
        !Path::new("/proc").join(pid.trim()).exists(),
        "the tool is still there"
    );
}

#[test]
fn failures_say_what_happened() {
    let error_of = |script: &str| {
        let (_folder, tools) = fake(script);
        save(&tools, NFT4, Limits::default()).unwrap_err()
    };
    let denied =
        error_of("echo 'Fatal: can'\"'\"'t open lock file: Permission denied' >&2; exit 4");
    assert!(
        matches!(denied, XtablesError::Permission { .. }),
        "{denied}"
    );
    let killed = error_of("kill -9 $$");
    assert!(
        matches!(killed, XtablesError::Signal { signal: 9, .. }),
        "{killed}"
    );
    let failed = error_of("echo half; echo broken >&2; exit 3");
    assert!(
        matches!(&failed, XtablesError::Failed { code: 3, stderr, .. } if stderr == "broken"),
        "{failed}"
    );
    let (_folder, tools) = fake("true");
    let absent = save(&tools, LEGACY6, Limits::default()).unwrap_err();
    assert!(
        matches!(
            absent,
            XtablesError::NotInstalled {
                origin: LEGACY6,
                ..
            }
        ),
        "{absent}"
    );
    let (_folder, tools) = fake("head -c 100000 /dev/zero");
    let limits = Limits {
        bytes: 1000,
        ..Limits::default()
    };
    let long = save(&tools, NFT4, limits).unwrap_err();
    assert!(
        matches!(long, XtablesError::TooLong { limit: 1000, .. }),
        "{long}"
    );
}

#[test]
fn whoever_holds_the_lock_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let file = fs::File::create(&path).unwrap();
    assert_eq!(xtables::lock::holder(&path), None);
    let held = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let holder = xtables::lock::holder(&path).unwrap();
    assert_eq!(holder.pid, std::process::id());
    drop(held);
}

#[test]
fn without_privilege_the_remedy_is_named() {
    in_namespace(|net| {
        for origin in Origin::ALL {
            net.tables(origin, "-A INPUT -j DROP");
        }
        drop_capabilities();
        for origin in [NFT4, NFT6] {
            let Presence::Unknown(error) = Presence::of(origin) else {
                panic!("{origin} was looked at without privilege");
            };
            assert!(error.remedy().contains("root"), "{error}");
        }
        for origin in Origin::ALL {
            let error = save(&tools(), origin, Limits::default()).unwrap_err();
            assert!(
                matches!(error, XtablesError::Permission { .. }),
                "{origin}: {error}"
            );
            assert!(error.remedy().contains("root"), "{error}");
        }
        for family in [Family::V4, Family::V6] {
            let denied = LegacyDoor::open(family).and_then(|mut door| door.mark());
            assert!(
                matches!(denied, Err(CounterError::Permission { .. })),
                "{denied:?}"
            );
        }
    });
}

/// Takes every capability from this thread, and from what it runs. Capabilities are per thread, so the
/// other tests keep theirs; and unlike becoming another user it works in a user namespace of one user.
fn drop_capabilities() {
    /// `_LINUX_CAPABILITY_VERSION_3` and this thread (capget(2)); then three sets of two words, empty.
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    const NONE: [u32; 6] = [0; 6];
    #[allow(unsafe_code)] // neither call has a wrapper
    // SAFETY: prctl takes numbers only; capset reads two structures of the sizes given by its version.
    let result = unsafe {
        for capability in 0..=40 {
            nix::libc::prctl(nix::libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
        }
        nix::libc::syscall(nix::libc::SYS_capset, HEADER.as_ptr(), NONE.as_ptr())
    };
    assert_eq!(result, 0, "capabilities can always be given up");
}
