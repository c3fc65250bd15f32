//! The systemd journal, for boxes where the ring itself may not be read but the journal may (group
//! `systemd-journal` or `adm`).
//!
//! `journalctl` reads it for us: the journal's files have a format of their own that changes, and the
//! library that reads it is not everywhere that the tool is. The tool follows as long as we do: it is
//! killed when we stop, and asked by `PR_SET_PDEATHSIG` to die with the thread that started it, since a
//! program that was killed cannot clean up. That request is made between fork and exec, hence the
//! `unsafe` in this file.
//!
//! What the kernel said is told from what programs wrote to the ring by the facility, as for
//! [`super::Kmsg`].

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use serde::Deserialize;

use super::lines::Lines;
use super::{DropError, DropSource, Options, Stop, Woken, hand_over};
use crate::flow::{Batch, KernelLine, LogSource, Stamp, Wall, parse_message};

const NAME: &str = "journal";
/// Where journald keeps its files (systemd-journald.service(8)).
const FOLDERS: [&str; 2] = ["/run/log/journal", "/var/log/journal"];
/// One read of the pipe: its usual size.
const CHUNK: usize = 64 * 1024;
/// Older than this when it arrives is history.
const NEWS: Duration = Duration::from_secs(3);
/// Last words of the tool that are worth repeating.
const LAST_WORDS: u64 = 2_000;

/// The journal's kernel lines.
#[derive(Debug)]
pub struct Journal {
    program: PathBuf,
    history: usize,
}

impl Journal {
    /// Checks that there is a journal that we may read. Starts nothing yet.
    pub fn open(options: &Options) -> Result<Self, DropError> {
        let folders = FOLDERS.map(PathBuf::from);
        readable(&folders)?;
        Ok(Self::with_program(Path::new("journalctl"), options))
    }

    /// Follows what `program` prints, which must understand journalctl's options.
    pub fn with_program(program: &Path, options: &Options) -> Self {
        Self {
            program: program.to_owned(),
            history: options.history,
        }
    }

    fn start(&self) -> Result<Running, DropError> {
        let mut command = Command::new(&self.program);
        command
            .args([
                "--dmesg",
                "--follow",
                "--output=json",
                "--no-pager",
                "--quiet",
            ])
            .arg(format!("--lines={}", self.history))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        die_with_us(&mut command);
        let name = self.program.display().to_string();
        let mut child = command.spawn().map_err(|source| {
            DropError::open(&name, source, "install systemd's journalctl", "run as root")
        })?;
        let Some(stdout) = child.stdout.take() else {
            return Err(DropError::reading(&name, io::Error::other("no pipe")));
        };
        let running = Running { child, stdout };
        fcntl(&running.stdout, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(|errno| DropError::reading(&name, errno))?;
        Ok(running)
    }
}

/// A journal file of the system's own that we may open; else why not.
fn readable(folders: &[PathBuf]) -> Result<(), DropError> {
    let mut denied = None;
    for folder in folders {
        let machines = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for machine in machines {
            match std::fs::File::open(machine.path().join("system.journal")) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    denied = Some(error);
                }
                Err(_) => {}
            }
        }
    }
    let denied = denied.unwrap_or_else(|| io::Error::from(io::ErrorKind::NotFound));
    Err(DropError::open(
        NAME,
        denied,
        "systemd-journald keeps no files on this machine",
        "run as root, or join the group systemd-journal",
    ))
}

/// Has the child killed when the thread that starts it ends, however it ends.
fn die_with_us(command: &mut Command) {
    let set = || nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from);
    // SAFETY: runs between fork and exec and makes one system call, prctl(2), which is
    // async-signal-safe; it takes no lock and allocates nothing.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(set);
    }
}

/// The tool at work; killed and reaped on every way out.
struct Running {
    child: Child,
    stdout: ChildStdout,
}

impl Running {
    /// Why it ended by itself.
    fn ended(mut self, name: String) -> DropError {
        let mut words = String::new();
        let _ = self.child.kill();
        let status = self.child.wait().map(|status| status.to_string());
        if let Some(stderr) = self.child.stderr.take() {
            let _ = stderr.take(LAST_WORDS).read_to_string(&mut words);
        }
        let status = status.unwrap_or_else(|error| error.to_string());
        DropError::Ended {
            what: name,
            detail: match words.trim() {
                "" => status,
                words => format!("{status}: {words}"),
            },
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl DropSource for Journal {
    fn kind(&self) -> LogSource {
        LogSource::Journal
    }

    fn describe(&self) -> String {
        NAME.to_owned()
    }

    fn follow(&mut self, stop: &Stop, sink: &mut dyn FnMut(Batch)) -> Result<(), DropError> {
        let mut running = self.start()?;
        let mut lines = Lines::default();
        let mut chunk = vec![0; CHUNK];
        loop {
            let woken = stop.wait(running.stdout.as_fd(), None);
            if woken.map_err(|source| DropError::reading(NAME, source))? == Woken::Stopped {
                return Ok(());
            }
            let length = match running.stdout.read(&mut chunk) {
                Ok(0) => return Err(running.ended(self.program.display().to_string())),
                Ok(length) => length,
                Err(error) if is_passing(&error) => continue,
                Err(error) => return Err(DropError::reading(NAME, error)),
            };
            let now = Timestamp::now();
            let mut batch = Batch::default();
            lines.feed(chunk.get(..length).unwrap_or_default(), |line| {
                batch.lines.extend(entry(line, now));
            });
            hand_over(batch, sink);
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// What we need of a journal entry (systemd.journal-fields(7)).
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "MESSAGE")]
    message: Message,
    #[serde(rename = "SYSLOG_FACILITY", default)]
    facility: Option<String>,
    #[serde(rename = "_SOURCE_MONOTONIC_TIMESTAMP", default)]
    boot: Option<String>,
    #[serde(rename = "__REALTIME_TIMESTAMP", default)]
    wall: Option<String>,
}

/// Text, or the bytes of a message that is not clean UTF-8.
#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Text(String),
    Bytes(Vec<u8>),
    Other(serde::de::IgnoredAny),
}

/// One line of `--output=json`.
fn entry(json: &[u8], now: Timestamp) -> Option<KernelLine> {
    let entry: Entry = serde_json::from_slice(json).ok()?;
    if entry.facility.is_some_and(|facility| facility != "0") {
        return None;
    }
    let message = match entry.message {
        Message::Text(text) => text.into_bytes(),
        Message::Bytes(bytes) => bytes,
        Message::Other(_) => return None,
    };
    let micros = |text: Option<String>| text?.parse::<u64>().ok();
    let wall = micros(entry.wall)
        .and_then(|micros| Timestamp::from_microsecond(i64::try_from(micros).ok()?).ok());
    let stamp = Stamp {
        boot: micros(entry.boot).map(Duration::from_micros),
        wall: wall.map(Wall::At),
    };
    let mut line = parse_message(&message, stamp, LogSource::Journal)?;
    line.age = age(wall, now);
    Some(line)
}

/// How old a line is by its wall time; what is nearly new is new, since clocks are read at different
/// moments.
pub(super) fn age(wall: Option<Timestamp>, now: Timestamp) -> Duration {
    let passed = wall.map_or(SignedDuration::ZERO, |wall| now.duration_since(wall));
    let passed = Duration::try_from(passed).unwrap_or_default();
    if passed > NEWS {
        passed
    } else {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str =
        "x: IN=a OUT= SRC=1.2.3.4 DST=1.2.3.5 LEN=20 TOS=0x00 PREC=0x00 TTL=1 ID=0 PROTO=2";

    fn now() -> Timestamp {
        Timestamp::from_microsecond(1_700_000_100_000_000).unwrap()
    }

    #[test]
    fn entries_are_read_with_both_clocks() {
        let json = format!(
            r#"{{"MESSAGE":"{LOG}","SYSLOG_FACILITY":"0","PRIORITY":"4","_SOURCE_MONOTONIC_TIMESTAMP":"5000001","__REALTIME_TIMESTAMP":"1700000000000000","_HOSTNAME":"x"}}"#
        );
        let line = entry(json.as_bytes(), now()).unwrap();
        assert_eq!(line.prefix(), b"x: ");
        assert_eq!(line.stamp.boot, Some(Duration::from_micros(5_000_001)));
        assert_eq!(line.age, Duration::from_secs(100));
    }

    #[test]
    fn messages_that_are_no_text_come_as_bytes() {
        let bytes: Vec<String> = format!("\u{1b}[31m{LOG}")
            .bytes()
            .map(|b| b.to_string())
            .collect();
        let json = format!(r#"{{"MESSAGE":[{}]}}"#, bytes.join(","));
        let line = entry(json.as_bytes(), now()).unwrap();
        assert_eq!(line.prefix(), b"\x1b[31mx: ");
        assert_eq!(line.age, Duration::ZERO);
    }

    #[test]
    fn what_programs_wrote_and_what_is_no_entry_is_nothing() {
        let forged = format!(r#"{{"MESSAGE":"{LOG}","SYSLOG_FACILITY":"3"}}"#);
        for json in [
            forged.as_str(),
            "",
            "{",
            "[]",
            r#"{"MESSAGE":null}"#,
            r#"{"MESSAGE":[1,999]}"#,
        ] {
            assert!(entry(json.as_bytes(), now()).is_none(), "{json}");
        }
    }

    #[test]
    fn a_journal_that_is_not_there_is_absent() {
        let empty = tempfile::tempdir().unwrap();
        let none = readable(&[empty.path().to_owned()]);
        assert!(matches!(none, Err(DropError::Absent { .. })), "{none:?}");
        let machine = empty.path().join("0123");
        std::fs::create_dir(&machine).unwrap();
        std::fs::write(machine.join("system.journal"), "").unwrap();
        assert!(readable(&[empty.path().to_owned()]).is_ok());
    }
}
