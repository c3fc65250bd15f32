//! The write door: `iptables-restore` and its three siblings, with the lock, both streams and the exit code
//! looked at.
//!
//! A script is text in iptables-restore(8) syntax and goes in on standard input. Each `COMMIT` is one
//! transaction of the kernel, so a script with two tables can end half done: who needs all or nothing
//! rereads and undoes (`safety` does).
//!
//! Legacy writers are held apart by a lock file, and a script is only as good as the reading that it was
//! made from. So the lock can be taken here ([`Held`]), the ruleset read under it, and the script run under
//! it: the tool is then given a private lock file (`XTABLES_LOCKFILE`, iptables 1.8.3), since it would wait
//! for ever for ours. nf_tables has no lock; there the caller compares generations.
//!
//! There is no `--test` here: it asks the kernel nothing, or too little. [`scratch`](super::scratch) does.
//!
//! What it does not do: look at what a script says, or know what it is good for.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::lock::{self, Holder};
use super::tools::{Tool, Tools};
use super::{Limits, XtablesError, child, failure};
use crate::ruleset::{Backend, Origin};

/// Between tries for the lock. flock(2) has no queue, so trying often is what gets it.
const RETRY: Duration = Duration::from_millis(20);
/// The tool's own word for a lock that it did not get (iptables/xshared.c, `XTABLES_LOCK`: exit code 4).
const LOCK_CODE: i32 = 4;

/// What to do with a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `-n -c`: change what the script says and leave the rest.
    Amend,
    /// `-n`: the same for a text by hand, whose policies may lack the counters that `-c` insists on.
    Plain,
    /// `-c`: each table of the script becomes what the script says; other tables stay.
    Replace,
}

/// Why a script was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The back end refuses it, in its own words.
    #[error("{tool} refused{}: {words}", line_words(*.line))]
    Refused {
        /// The tool as run.
        tool: String,
        /// Line of the script, from 1, where the tool names one.
        line: Option<usize>,
        /// What it said. Holds parts of the script: strip before drawing.
        words: String,
    },
    /// Somebody else holds the xtables lock and did not let go in time.
    #[error("the xtables lock is held by {} for more than {} s", holder_words(.holder.as_ref()), waited.as_secs())]
    LockHeld {
        /// Who, where /proc tells.
        holder: Option<Holder>,
        /// How long was waited.
        waited: Duration,
    },
    /// The lock file cannot be opened.
    #[error("cannot take the xtables lock {path}: {source}")]
    Lock {
        /// The file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// No private network namespace to try things in.
    #[error("cannot make a scratch network namespace: {0}")]
    Scratch(#[source] std::io::Error),
    /// It was told to stop while it waited.
    #[error("stopped while waiting for the xtables lock")]
    Stopped,
    /// The tool is not there, was killed, or failed in a way that says nothing about the script.
    #[error(transparent)]
    Tool(#[from] XtablesError),
}

impl RestoreError {
    /// One sentence of what to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "change what it names; nothing of that table was applied",
            Self::LockHeld { .. } => "wait for that program, or end it, and try again",
            Self::Lock { .. } => "run as root (sudo); the folder of the lock must be writable",
            Self::Scratch(_) => "run as root (sudo), or allow network namespaces",
            Self::Stopped => "start again",
            Self::Tool(error) => error.remedy(),
        }
    }
}

fn line_words(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(" line {line}"))
}

fn holder_words(holder: Option<&Holder>) -> String {
    match holder {
        Some(Holder {
            pid,
            name: Some(name),
        }) => format!("{name} (pid {pid})"),
        Some(Holder { pid, name: None }) => format!("pid {pid}"),
        None => "another program".to_owned(),
    }
}

/// How to wait for the lock: for how long, until told to stop, and who is told of the holder.
pub struct Wait<'a> {
    /// Given up after this.
    pub limit: Duration,
    /// Given up when this says so; asked at each try.
    pub stop: &'a mut dyn FnMut() -> bool,
    /// Called once for each holder that is waited for.
    pub told: &'a mut dyn FnMut(Option<&Holder>),
}

/// The xtables lock, held by this process until dropped, and by every restore tool that runs under it: one
/// that outlives a killed parent is still protected.
///
/// For single-threaded use: whatever another thread starts at the moment at which a tool is started inherits
/// the lock as well.
#[derive(Debug)]
pub struct Held {
    lock: Option<Flock<File>>,
    private: PrivateLock,
}

impl Held {
    /// Does without the lock: for undoing a change while a program that hangs holds it. A kernel table is
    /// still replaced as a whole; what a holder that wakes up writes then can be lost or win.
    pub fn without() -> Result<Self, RestoreError> {
        let private = PrivateLock::new().map_err(|source| RestoreError::Lock {
            path: "memfd".to_owned(),
            source,
        })?;
        Ok(Self {
            lock: None,
            private,
        })
    }

    /// Takes the lock that processes with our environment use.
    pub fn take(wait: &mut Wait<'_>) -> Result<Self, RestoreError> {
        let path = lock::path();
        let failed = |source| RestoreError::Lock {
            path: path.display().to_string(),
            source,
        };
        let begun = Instant::now();
        let mut told: Option<Option<Holder>> = None;
        let mut file = lock::open(&path).map_err(failed)?;
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => {
                    return Ok(Self {
                        lock: Some(lock),
                        private: PrivateLock::new().map_err(failed)?,
                    });
                }
                Err((file, Errno::EWOULDBLOCK | Errno::EINTR)) => file,
                Err((_, errno)) => return Err(failed(errno.into())),
            };
            let holder = lock::holder(&path);
            if told.as_ref() != Some(&holder) {
                (wait.told)(holder.as_ref());
                told = Some(holder.clone());
            }
            if (wait.stop)() {
                return Err(RestoreError::Stopped);
            }
            if begun.elapsed() >= wait.limit {
                return Err(RestoreError::LockHeld {
                    holder,
                    waited: begun.elapsed(),
                });
            }
            std::thread::sleep(RETRY);
        }
    }
}

impl Held {
    /// Whether a process that is started now gets the lock too. It is a safeguard, so failing is no error.
    fn inherited(&self, yes: bool) {
        let flags = if yes {
            FdFlag::empty()
        } else {
            FdFlag::FD_CLOEXEC
        };
        if let Some(lock) = &self.lock {
            let _ = fcntl(&**lock, FcntlArg::F_SETFD(flags));
        }
    }
}

/// A lock file that nobody else can open: in memory, known by our /proc entry.
#[derive(Debug)]
pub(super) struct PrivateLock(File);

impl PrivateLock {
    pub(super) fn new() -> std::io::Result<Self> {
        let file = memfd_create("xtables-lock", MFdFlags::MFD_CLOEXEC)?;
        Ok(Self(File::from(file)))
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Runs `script` through the restore tool of `origin` in the calling thread's network namespace.
///
/// With `held` the lock is ours already. Without, legacy takes it itself and `wait` is how.
pub fn restore(
    tools: &Tools,
    origin: Origin,
    script: &[u8],
    mode: Mode,
    held: Option<&Held>,
    wait: &mut Wait<'_>,
) -> Result<(), RestoreError> {
    let taken = match (held, origin.backend) {
        (None, Backend::Legacy) => Some(Held::take(wait)?),
        _ => None,
    };
    let Some(held) = held.or(taken.as_ref()) else {
        return run(tools, origin, script, mode, None);
    };
    held.inherited(true);
    let done = run(tools, origin, script, mode, Some(&held.private));
    held.inherited(false);
    done
}

pub(super) fn run(
    tools: &Tools,
    origin: Origin,
    script: &[u8],
    mode: Mode,
    private: Option<&PrivateLock>,
) -> Result<(), RestoreError> {
    if script.is_empty() {
        return Ok(());
    }
    let tool = restorer(tools, origin)?;
    let name = tool.to_string();
    let mut command = tool.command();
    command.args(match mode {
        Mode::Amend => &["-n", "-c"][..],
        Mode::Plain => &["-n"],
        Mode::Replace => &["-c"],
    });
    // nft's variant takes the option and has no lock.
    command.args(["-w", "5"]);
    if let (Some(private), Backend::Legacy) = (private, origin.backend) {
        command.env("XTABLES_LOCKFILE", private.path());
    }
    let limits = Limits::default();
    let ended = child::run_with(command, script, limits, &AtomicBool::new(false), &name)?;
    let stderr = String::from_utf8_lossy(&ended.stderr);
    let words = stderr.trim();
    match ended.status {
        child::Status::Code(0) => Ok(()),
        child::Status::Code(LOCK_CODE) if words.contains("xtables lock") => {
            Err(RestoreError::LockHeld {
                holder: lock::holder(&lock::path()),
                waited: Duration::from_secs(5),
            })
        }
        // 1 is the kernel's no, 2 the parser's (iptables/xshared.h, `xtables_exittype`); 4 is what nft calls a
        // shortage of anything.
        child::Status::Code(1 | 2 | LOCK_CODE) => match failure(&name, &ended, words) {
            Some(error @ XtablesError::Permission { .. }) => Err(error.into()),
            _ => Err(RestoreError::Refused {
                line: line_in(words).filter(|line| !is_commit(script, *line)),
                words: said(words),
                tool: name,
            }),
        },
        _ => Err(failure(&name, &ended, words).map_or_else(
            || RestoreError::Refused {
                line: None,
                words: said(words),
                tool: name,
            },
            RestoreError::Tool,
        )),
    }
}

fn restorer(tools: &Tools, origin: Origin) -> Result<Tool, XtablesError> {
    tools
        .save(origin)?
        .sibling("-restore")
        .ok_or_else(|| XtablesError::NotInstalled {
            origin,
            looked_for: format!("{origin}-restore beside {origin}-save"),
        })
}

/// The line that `line 2 failed` or `Error occurred at line: 2` names.
fn line_in(words: &str) -> Option<usize> {
    let number = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().ok()
    };
    if let Some((_, rest)) = words.split_once("Error occurred at line: ") {
        return number(rest);
    }
    let (before, _) = words.split_once(" failed")?;
    number(before.rsplit_once("line ")?.1)
}

/// nft's variant works its commands off at COMMIT and names that line for what stands in any other.
fn is_commit(script: &[u8], line: usize) -> bool {
    let mut lines = script.split(|byte| *byte == b'\n');
    lines
        .nth(line.saturating_sub(1))
        .is_some_and(|line| line.trim_ascii() == b"COMMIT")
}

/// The tool's words in one line, without its advice.
fn said(words: &str) -> String {
    let lines: Vec<&str> = words
        .lines()
        .map(str::trim)
        .filter(|line| {
            !line.is_empty()
                && !line.starts_with("Try `")
                && !line.starts_with("Error occurred at line")
                && !line.starts_with("# Warning")
        })
        .collect();
    if lines.is_empty() {
        "it gave no reason".to_owned()
    } else {
        lines.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_the_tool_means() {
        let nft = "iptables-nft-restore v1.8.9 (nf_tables): Chain 'FOO' does not exist\nError occurred at line: 3\nTry `iptables-nft-restore -h' or 'iptables-nft-restore --help' for more information.";
        assert_eq!(line_in(nft), Some(3));
        assert!(is_commit(b"*filter\n-A INPUT -j FOO\nCOMMIT\n", 3));
        assert!(!is_commit(b"*filter\n-A INPUT -j FOO\nCOMMIT\n", 9));
        assert_eq!(
            said(nft),
            "iptables-nft-restore v1.8.9 (nf_tables): Chain 'FOO' does not exist"
        );
        let legacy = "iptables-restore v1.8.9 (legacy): Couldn't load target `FOO':No such file or directory\n\nError occurred at line: 2\n";
        assert_eq!(line_in(legacy), Some(2));
        assert_eq!(line_in("iptables-restore: line 7 failed"), Some(7));
        assert_eq!(line_in(""), None);
        assert_eq!(line_in("failed failed"), None);
        assert_eq!(said(""), "it gave no reason");
    }

    #[test]
    fn the_holder_is_named_as_well_as_it_is_known() {
        let holder = Holder {
            pid: 7,
            name: Some("ufw".to_owned()),
        };
        assert_eq!(holder_words(Some(&holder)), "ufw (pid 7)");
        assert_eq!(holder_words(None), "another program");
    }
}
