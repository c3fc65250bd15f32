//! Where the kernel's words about dropped packets come from: one trait, one file an implementation.
//!
//! ```text
//! kmsg      the kernel's own ring: first choice, complete, stamped, cannot be forged
//! journal   the systemd journal, by a journalctl that lives as long as we follow
//! file      a file that a syslog daemon writes: last choice, other programs write there too
//! nflog     netlink NFLOG groups, beside the others: works in every namespace
//! follow    a thread that follows a source, and the mailbox that it fills
//! silence   why no line comes although LOG rules count
//! ```
//!
//! A source blocks until there is something ([`DropSource::follow`] waits on descriptors, never on a
//! timer) and hands over batches. A flood is bounded by [`Following`]: what nobody takes in time is
//! dropped, oldest first, and counted.
//!
//! Nothing here changes the system. In particular the NFLOG door binds groups, which is private to
//! us, and never a protocol family, which would redirect other people's logging.

mod file;
mod follow;
mod journal;
mod kmsg;
mod lines;
mod nflog;
pub mod silence;
mod stop;

use std::io;

use crate::flow::{Batch, LogSource};

pub use file::LogFile;
pub use follow::{Following, Taken};
pub use journal::Journal;
pub use kmsg::Kmsg;
pub use nflog::Nflog;
pub use stop::{Stop, StopHandle, Woken};

/// A place that kernel lines can be read from.
pub trait DropSource: Send {
    /// Which kind of door this is.
    fn kind(&self) -> LogSource;

    /// What to call it on the screen: `/dev/kmsg`, `/var/log/kern.log`, `nflog group 5`.
    fn describe(&self) -> String;

    /// Blocks, handing over batches as lines come, until `stop` says so (`Ok`) or the source ends
    /// (`Err`, which says why). History comes first, its lines marked by their age.
    fn follow(&mut self, stop: &Stop, sink: &mut dyn FnMut(Batch)) -> Result<(), DropError>;
}

/// What [`open_best`] found.
pub struct Opened {
    /// The best source there is; `None` when there is none.
    pub source: Option<Box<dyn DropSource>>,
    /// The better ones that could not be had, and why.
    pub passed_over: Vec<PassedOver>,
}

/// A source that could not be had.
#[derive(Debug)]
pub struct PassedOver {
    /// What it is called.
    pub name: String,
    /// Why not.
    pub error: DropError,
}

/// What to open.
#[derive(Clone, Debug)]
pub struct Options {
    /// Firewall lines of the past to hand over first, at most.
    pub history: usize,
}

impl Default for Options {
    /// The last 500 lines.
    fn default() -> Self {
        Self { history: 500 }
    }
}

/// Opens the kernel's ring, else the journal, else a log file.
pub fn open_best(options: &Options) -> Opened {
    let mut passed_over = Vec::new();
    let mut attempt = |name: &str, opened: Result<Box<dyn DropSource>, DropError>| match opened {
        Ok(source) => Some(source),
        Err(error) => {
            passed_over.push(PassedOver {
                name: name.to_owned(),
                error,
            });
            None
        }
    };
    let boxed = |source| Box::new(source) as Box<dyn DropSource>;
    let source = attempt(kmsg::PATH, Kmsg::open(options).map(boxed))
        .or_else(|| {
            let journal = Journal::open(options);
            attempt(
                "journal",
                journal.map(|source| Box::new(source) as Box<dyn DropSource>),
            )
        })
        .or_else(|| {
            let file = LogFile::open_any(options);
            attempt(
                "log files",
                file.map(|source| Box::new(source) as Box<dyn DropSource>),
            )
        });
    Opened {
        source,
        passed_over,
    }
}

/// Opens NFLOG groups in the calling thread's network namespace, for both families.
pub fn open_nflog(groups: &[u16]) -> Result<Box<dyn DropSource>, DropError> {
    Ok(Box::new(Nflog::open(groups)?))
}

/// Nothing is no news.
fn hand_over(batch: Batch, sink: &mut dyn FnMut(Batch)) {
    if !batch.lines.is_empty() || batch.lost > 0 {
        sink(batch);
    }
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// It is not there.
    #[error("{what}: not there; {remedy}")]
    Absent {
        /// What was looked for.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// We may not read it.
    #[error("{what}: {source}; {remedy}")]
    Denied {
        /// What was opened.
        what: String,
        /// What the system said.
        source: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// Another program listens to that NFLOG group.
    #[error(
        "NFLOG group {group} is taken by {listener}; stop it, or give the rule another \
         --nflog-group"
    )]
    Busy {
        /// The group.
        group: u16,
        /// Who has it, as far as can be told.
        listener: String,
    },
    /// Reading failed.
    #[error("{doing} {what}: {source}")]
    Io {
        /// What was being done: `reading`, `waiting for`.
        doing: &'static str,
        /// The source.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A helper program ended.
    #[error("{what} ended: {detail}")]
    Ended {
        /// The program.
        what: String,
        /// Its exit status and last words.
        detail: String,
    },
}

impl DropError {
    /// A failed open, sorted by what can be done about it.
    fn open(what: &str, source: io::Error, absent: &'static str, denied: &'static str) -> Self {
        let what = what.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Absent {
                what,
                remedy: absent,
            },
            io::ErrorKind::PermissionDenied => Self::Denied {
                what,
                source,
                remedy: denied,
            },
            _ => Self::Io {
                doing: "opening",
                what,
                source,
            },
        }
    }

    fn reading(what: &str, source: impl Into<io::Error>) -> Self {
        Self::Io {
            doing: "reading",
            what: what.to_owned(),
            source: source.into(),
        }
    }
}
