//! The journal's door, with a program in the place of journalctl.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ruletop::netfilter::drops::{DropError, Journal, Options};

use super::{Listening, message, wait_for};

/// A journalctl of our own.
fn journalctl(folder: &tempfile::TempDir, script: &str) -> PathBuf {
    let path = folder.path().join("journalctl");
    fs::write(
        &path,
        format!("#!/bin/sh\ncd '{}'\n{script}", folder.path().display()),
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn entry(number: u16) -> String {
    format!(
        r#"{{"MESSAGE":"{}","SYSLOG_FACILITY":"0","_SOURCE_MONOTONIC_TIMESTAMP":"5"}}"#,
        message(number)
    )
}

fn follow(program: &std::path::Path) -> Listening {
    Listening::to(Journal::with_program(program, &Options { history: 7 }))
}

#[test]
fn entries_are_followed_and_the_program_goes_with_us() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("entries"),
        format!("{}\nnonsense\n{}\n", entry(1), entry(2)),
    )
    .unwrap();
    let program = journalctl(
        &folder,
        "echo $$ > pid; echo \"$*\" > arguments; cat entries; exec sleep 1000\n",
    );
    let listening = follow(&program);
    assert_eq!(listening.ports(2), [1, 2]);
    let arguments = fs::read_to_string(folder.path().join("arguments")).unwrap();
    assert!(
        arguments.contains("--lines=7") && arguments.contains("--dmesg"),
        "{arguments}"
    );
    let pid = fs::read_to_string(folder.path().join("pid")).unwrap();
    let process = PathBuf::from(format!("/proc/{}", pid.trim()));
    assert!(process.exists());
    drop(listening);
    assert!(!process.exists());
}

#[test]
fn its_last_words_are_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let program = journalctl(&folder, "echo 'no journal for you' >&2; exit 1\n");
    let Err(error) = follow(&program).end() else {
        panic!("it ended well");
    };
    let text = error.to_string();
    assert!(
        text.contains("exit status: 1: no journal for you"),
        "{text}"
    );
}

#[test]
fn a_program_that_is_not_there_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let ended = follow(&folder.path().join("none")).end();
    assert!(matches!(ended, Err(DropError::Absent { .. })), "{ended:?}");
}

/// A program that was killed cannot clean up; the kernel does it.
#[test]
fn the_program_goes_with_us_even_when_we_are_killed() {
    // The test runs itself as the process that is killed.
    const PROGRAM: &str = "RULETOP_TEST_JOURNAL";
    const THIS: &str = "journal::the_program_goes_with_us_even_when_we_are_killed";
    if let Some(program) = std::env::var_os(PROGRAM) {
        let listening = follow(program.as_ref());
        return wait_for("somebody to kill this process", || listening.end().ok());
    }
    let folder = tempfile::tempdir().unwrap();
    let program = journalctl(
        &folder,
        "echo $$ > pid.new; mv pid.new pid; exec sleep 1000\n",
    );
    let mut us = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", THIS])
        .env(PROGRAM, &program)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = wait_for("the program", || {
        fs::read_to_string(folder.path().join("pid")).ok()
    });
    let process = PathBuf::from(format!("/proc/{}", pid.trim()));
    assert!(process.exists());
    us.kill().unwrap();
    us.wait().unwrap();
    wait_for("the program's end", || {
        let state = fs::read_to_string(process.join("stat")).unwrap_or_default();
        // Whoever inherits it may take a while to bury it.
        (state.is_empty() || state.contains(") Z ")).then_some(())
    });
}

#[test]
fn half_an_entry_waits_for_the_other_half() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (entry(1), entry(2));
    fs::write(folder.path().join("a"), &one[..100]).unwrap();
    fs::write(folder.path().join("b"), format!("{}\n{two}\n", &one[100..])).unwrap();
    let script = "cat a; while [ ! -e go ]; do sleep 0.01; done; cat b; exec sleep 1000\n";
    let listening = follow(&journalctl(&folder, script));
    assert!(listening.take().is_empty());
    fs::write(folder.path().join("go"), "").unwrap();
    assert_eq!(listening.ports(2), [1, 2]);
    wait_for("nothing more", || {
        (listening.take().len() == 2).then_some(())
    });
}
