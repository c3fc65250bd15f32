//! A log file under a daemon that rotates it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use ruletop::netfilter::drops::{DropError, LogFile, Options};

use super::{Listening, message, wait_for};

struct Log {
    folder: tempfile::TempDir,
}

impl Log {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = Self { folder };
        File::create(log.path()).unwrap();
        log
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("kern.log")
    }

    fn append(&self, text: &str) {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(self.path())
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn line(&self, number: u16) {
        self.append(&syslog(number));
    }

    fn follow(&self, history: usize) -> Listening {
        Listening::to(LogFile::open(&self.path(), &Options { history }).unwrap())
    }
}

fn syslog(number: u16) -> String {
    format!("Nov 20 22:19:12 web kernel: {}\n", message(number))
}

#[test]
fn the_past_then_the_present() {
    let log = Log::new();
    for number in 0..10 {
        log.line(number);
    }
    let listening = log.follow(3);
    assert_eq!(listening.ports(3), [7, 8, 9]);
    log.line(10);
    assert_eq!(listening.ports(4), [7, 8, 9, 10]);
    let lines = listening.take();
    assert!(lines[0].stamp.wall.is_some());
}

#[test]
fn without_a_past_only_the_present() {
    let log = Log::new();
    log.line(1);
    let listening = log.follow(0);
    // The thread may not be there yet: what it skips is what lay there when it came.
    let mut number = 2;
    let first = wait_for("the first line", || {
        log.line(number);
        number += 1;
        listening.take().first().cloned()
    });
    assert_ne!(first.log().unwrap().packet.dport, Some(1));
}

#[test]
fn only_the_kernels_lines_are_taken() {
    let log = Log::new();
    let listening = log.follow(10);
    log.append(&format!(
        "Nov 20 22:19:12 web sshd[1]: Invalid user {}\n",
        message(1)
    ));
    log.append(&format!("{}\n", message(2)));
    log.line(3);
    assert_eq!(listening.ports(1), [3]);
}

#[test]
fn a_line_waits_for_its_end() {
    let log = Log::new();
    let listening = log.follow(10);
    log.line(1);
    let (begin, end) = (syslog(2), syslog(3));
    let (head, tail) = begin.split_at(60);
    log.append(head);
    assert_eq!(listening.ports(1), [1]);
    log.append(tail);
    log.append(&end);
    assert_eq!(listening.ports(3), [1, 2, 3]);
}

/// As logrotate does it: the daemon goes on writing to the old file until it is told to reopen.
#[test]
fn rotation_by_rename_loses_nothing() {
    let log = Log::new();
    let listening = log.follow(10);
    log.line(1);
    assert_eq!(listening.ports(1), [1]);
    let old = log.folder.path().join("kern.log.1");
    for round in 0..5u16 {
        let base = 10 * (round + 1);
        let mut daemon = File::options().append(true).open(log.path()).unwrap();
        fs::rename(log.path(), &old).unwrap();
        daemon.write_all(syslog(base).as_bytes()).unwrap();
        File::create(log.path()).unwrap();
        daemon.write_all(syslog(base + 1).as_bytes()).unwrap();
        log.line(base + 2);
        let count = usize::from(round) * 3 + 4;
        let ports = listening.ports(count);
        assert_eq!(ports[count - 3..], [base, base + 1, base + 2]);
    }
}

#[test]
fn rotation_by_copy_and_truncate_begins_again() {
    let log = Log::new();
    let listening = log.follow(10);
    log.line(1);
    log.line(2);
    log.append("Nov 20 22:19:12 web kernel: half a li");
    assert_eq!(listening.ports(2), [1, 2]);
    File::options()
        .write(true)
        .open(log.path())
        .unwrap()
        .set_len(0)
        .unwrap();
    log.line(3);
    assert_eq!(listening.ports(3), [1, 2, 3]);
}

#[test]
fn a_file_that_goes_away_is_waited_for() {
    let log = Log::new();
    let listening = log.follow(10);
    log.line(1);
    assert_eq!(listening.ports(1), [1]);
    fs::remove_file(log.path()).unwrap();
    log.line(2);
    assert_eq!(listening.ports(2), [1, 2]);
}

#[test]
fn what_is_no_log_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::default();
    let missing = LogFile::open(&folder.path().join("none"), &options);
    assert!(
        matches!(missing, Err(DropError::Absent { .. })),
        "{missing:?}"
    );
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for odd in [fifo.as_path(), folder.path()] {
        let refused = LogFile::open(odd, &options);
        assert!(matches!(refused, Err(DropError::Io { .. })), "{refused:?}");
    }
}

#[test]
fn stopping_does_not_wait_for_a_line() {
    let log = Log::new();
    let listening = log.follow(10);
    drop(listening);
}
