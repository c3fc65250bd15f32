//! The save door: what `iptables-save -c` and its three siblings print, whole and unchanged, and every
//! sign that the text is not the whole truth.
//!
//! The text is handed on as bytes; parsing is the model's. Nothing is believed on the exit code alone:
//! these tools print "incompatible" to standard output and "legacy tables present" to standard error
//! while exiting 0, so both are read and turned into [`Warning`]s.
//!
//! Writing is [`restore`]'s, trying out is [`scratch`]'s.
//!
//! No `-w` here: `iptables-save` of either back end has no such option and takes no lock (1.8.9, 1.8.11). Who
//! holds the lock matters to writers; [`lock`] answers that.
//!
//! Looking must not touch. `iptables-legacy-save` without `-t` prints the tables that
//! /proc/net/ip_tables_names lists and makes none; with `-t`, or with `-L`, it would create the table
//! (and load its module). So a save is only ever run whole, and for legacy only where a table exists.

pub mod beside;
mod child;
pub mod lock;
pub mod presence;
pub mod restore;
pub mod scratch;
mod tools;
mod warning;
pub mod zero;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use presence::Presence;
pub use tools::{Tool, Tools, Version};
pub use warning::Warning;

use crate::ruleset::Origin;

/// Why a ruleset could not be had as text. [`remedy`](XtablesError::remedy) says what to do.
#[derive(Debug, thiserror::Error)]
pub enum XtablesError {
    /// No tool of this back end and family on the machine.
    #[error(
        "no {origin}-save on this machine (looked for {looked_for} in PATH and the sbin folders)"
    )]
    NotInstalled {
        /// What was wanted.
        origin: Origin,
        /// The names tried.
        looked_for: String,
    },
    /// The tool says that privilege lacks.
    #[error("{tool}: permission denied: {stderr}")]
    Permission {
        /// The tool as run.
        tool: String,
        /// What it said.
        stderr: String,
    },
    /// The kernel lacks the tables, or their module could not be loaded.
    #[error("{tool}: the kernel lacks what it needs: {stderr}")]
    NoKernelSupport {
        /// The tool as run.
        tool: String,
        /// What it said.
        stderr: String,
    },
    /// A native nft rule in iptables' own tables stopped the tool (it fails on some and crashes on
    /// others).
    #[error("{tool} cannot print a native nft rule in its tables: {stderr}")]
    NativeRule {
        /// The tool as run.
        tool: String,
        /// What it said.
        stderr: String,
    },
    /// Killed because it did not end in time.
    #[error("{tool} did not end within {} s and was killed", limit.as_secs())]
    TimedOut {
        /// The tool as run.
        tool: String,
        /// How long it was given.
        limit: Duration,
    },
    /// Killed because this program told so.
    #[error("{tool} was stopped")]
    Stopped {
        /// The tool as run.
        tool: String,
    },
    /// Somebody or something killed the tool.
    #[error("{tool} was killed by signal {signal}")]
    Signal {
        /// The tool as run.
        tool: String,
        /// Number of the signal.
        signal: i32,
    },
    /// Any other failure, in the tool's own words.
    #[error("{tool} failed with exit code {code}: {stderr}")]
    Failed {
        /// The tool as run.
        tool: String,
        /// Exit code.
        code: i32,
        /// What it said.
        stderr: String,
    },
    /// It printed more than anybody's firewall.
    #[error("{tool} printed more than {limit} bytes and was killed")]
    TooLong {
        /// The tool as run.
        tool: String,
        /// The bound, in bytes.
        limit: usize,
    },
    /// It could not be run or read.
    #[error("cannot run {tool}: {source}")]
    Run {
        /// The tool as run.
        tool: String,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl XtablesError {
    /// One sentence of what to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotInstalled { origin, .. } => match origin.backend {
                crate::ruleset::Backend::Nft => {
                    "install the package iptables (iptables-nft on Fedora, RHEL and openSUSE)"
                }
                crate::ruleset::Backend::Legacy => {
                    "install the package iptables (iptables-legacy on Fedora, Arch and Alpine; not packaged for RHEL 8 and later)"
                }
            },
            Self::Permission { .. } => "run as root (sudo), or with CAP_NET_ADMIN and CAP_NET_RAW",
            Self::NoKernelSupport { .. } => {
                "the kernel has no such table: load its module (modprobe), or use the other back end"
            }
            Self::NativeRule { .. } => "see the rule with: nft list ruleset",
            Self::Signal { signal, .. } if *signal == nix::libc::SIGSEGV => {
                "some native nft rules crash it: see them with: nft list ruleset"
            }
            Self::TimedOut { .. } | Self::Signal { .. } | Self::TooLong { .. } => {
                "run the same command by hand to see where it stops"
            }
            Self::Stopped { .. } => "start again",
            Self::Failed { .. } => "run the same command by hand; its own words are above",
            Self::Run { .. } => "check that the file exists and may be executed",
        }
    }
}

/// What one `*-save -c` printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Standard output, byte for byte.
    pub bytes: Vec<u8>,
    /// What the tool said beside it, and what its comment lines admit.
    pub warnings: Vec<Warning>,
}

/// Bounds on one run of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Killed when it has not ended by then. 100,000 kube-like rules take iptables-nft-save 6.5 s.
    pub time: Duration,
    /// Killed when it prints more, in bytes.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(120),
            bytes: 1 << 30,
        }
    }
}

/// Runs the save tool of `origin` in the calling thread's network namespace.
///
/// An origin that holds nothing prints nothing: that is `Ok` with no bytes. Ask [`Presence`] first to
/// tell "empty" from "not there", and because a save of an absent legacy back end needs its tool for
/// nothing.
pub fn save(tools: &Tools, origin: Origin, limits: Limits) -> Result<Saved, XtablesError> {
    save_unless(&AtomicBool::new(false), tools, origin, limits)
}

/// As [`save`]; setting `stop` kills the running tool, which is then [`XtablesError::Stopped`].
pub fn save_unless(
    stop: &AtomicBool,
    tools: &Tools,
    origin: Origin,
    limits: Limits,
) -> Result<Saved, XtablesError> {
    let tool = tools.save(origin)?;
    let name = tool.to_string();
    let mut command = tool.command();
    command.arg("-c");
    let ended = child::run(command, limits, stop, &name)?;
    let stderr = String::from_utf8_lossy(&ended.stderr);
    if let Some(error) = failure(&name, &ended, stderr.trim()) {
        return Err(error);
    }
    let mut warnings = warning::from_stderr(&stderr);
    warnings.extend(warning::from_stdout(&ended.stdout));
    Ok(Saved {
        bytes: ended.stdout,
        warnings,
    })
}

/// The error that an ended run stands for, if any. The words are those of libiptc, libxtables and
/// nft (iptables/iptables-save.c, nft.c `nft_strerror`, libiptc/libiptc.c `iptc_strerror`).
fn failure(name: &str, ended: &child::Ended, stderr: &str) -> Option<XtablesError> {
    let (tool, text) = (name.to_owned(), stderr.to_owned());
    let code = match ended.status {
        child::Status::Code(0) => return None,
        child::Status::Code(code) => code,
        child::Status::Signal(signal) => return Some(XtablesError::Signal { tool, signal }),
    };
    let says = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    Some(if says(&DENIED) {
        XtablesError::Permission { tool, stderr: text }
    } else if says(&["Parsing nftables rule failed"]) {
        XtablesError::NativeRule { tool, stderr: text }
    } else if says(&UNSUPPORTED) {
        XtablesError::NoKernelSupport { tool, stderr: text }
    } else {
        XtablesError::Failed {
            tool,
            code,
            stderr: text,
        }
    })
}

const DENIED: [&str; 3] = [
    "Permission denied",
    "you must be root",
    "Operation not permitted",
];
const UNSUPPORTED: [&str; 7] = [
    "Table does not exist",
    "do you need to insmod",
    "Protocol not available",
    "Protocol not supported",
    "Module is wrong version",
    "Could not fetch rule set generation id: Invalid argument",
    "Failed to initialize nft",
];
