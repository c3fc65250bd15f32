//! Counters, read straight from the kernel.
//!
//! One trait, three doors: [`legacy`] copies a table's blob with one getsockopt, [`nft`] dumps the rules
//! of one chain over netlink, [`save`] runs the save tool and is what remains when the other two may not
//! or cannot. All of them are [attached](CounterDoor::attach) to one [`Ruleset`] and then only refresh
//! numbers in a flat [`CounterSet`]; a refresh allocates nothing once the buffers have grown.
//!
//! **Never shifted numbers.** A number belongs to a rule only when the kernel's structure is provably the
//! one that was attached: for nft every rule's handle and the generation that each answer carries, for
//! legacy the blob without its counters. Anything else makes the chain [`OutOfStep`](Look::OutOfStep),
//! which tells the caller to read the structure again.

pub mod blob;
pub mod legacy;
pub mod nft;
pub mod save;

use crate::netfilter::netlink::NetlinkError;
use crate::netfilter::xtables::XtablesError;
use crate::ruleset::{ChainIdx, CounterSet, RuleIdx, Ruleset};

/// What one look at one chain found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Look {
    /// Read, and every number is the one known already.
    Same,
    /// Read, and at least one number moved; the [`CounterSet`] holds the new ones.
    Moved,
    /// The kernel's chain is not the attached one; nothing was taken. Read the structure again.
    OutOfStep,
}

/// A chain that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Looked {
    /// The chain.
    pub chain: ChainIdx,
    /// What was found.
    pub look: Look,
}

/// Rules and policies that the kernel does not count: they stay at zero whatever passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uncounted {
    /// nft rules without a counter expression, in order.
    pub rules: Vec<RuleIdx>,
    /// Built-in chains whose policy has no counter: chains that iptables-nft made by itself (`-A` into an
    /// empty table), until the first `-P` or restore.
    pub policies: Vec<ChainIdx>,
}

/// Why counters could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CounterError {
    /// Privilege lacks (CAP_NET_ADMIN, for legacy CAP_NET_RAW too).
    #[error("reading counters of {what}: permission denied")]
    Permission {
        /// What was being read.
        what: &'static str,
    },
    /// The system call failed.
    #[error("reading counters of {what}: {source}")]
    Io {
        /// What was being read.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The kernel's table does not parse.
    #[error("the kernel's {table} table cannot be read: {detail}")]
    Malformed {
        /// Name of the table.
        table: String,
        /// What was wrong, and at which byte.
        detail: String,
    },
    /// The rules kept changing under the reader.
    #[error("the rules changed {tries} times while they were being read")]
    Unsettled {
        /// How often it was tried.
        tries: u32,
    },
    /// nf_tables netlink.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The save tool, for the fallback.
    #[error(transparent)]
    Save(#[from] XtablesError),
    /// The save tool printed what the model cannot read, for the fallback.
    #[error("what {tool} printed cannot be read: {detail}")]
    Unreadable {
        /// The tool.
        tool: String,
        /// Where and why.
        detail: String,
    },
}

/// Reads the counters of one origin.
pub trait CounterDoor: Send {
    /// Binds the door to a structure, which is the one that the kernel has now or the error says so.
    /// What does not fit shows as [`Look::OutOfStep`] at each look.
    fn attach(&mut self, ruleset: &Ruleset) -> Result<(), CounterError>;

    /// Whether the kernel's structure is still the attached one, as cheaply as the back end can tell.
    /// For the fallback this is always `true`: only a look can tell.
    fn is_in_step(&mut self) -> Result<bool, CounterError>;

    /// Reads `chain`, and whatever comes with it at no further cost (for legacy its whole table, for the
    /// fallback everything): refreshes their numbers in `counters` and appends each to `looked`.
    fn read(
        &mut self,
        chain: ChainIdx,
        counters: &mut CounterSet,
        looked: &mut Vec<Looked>,
    ) -> Result<(), CounterError>;
}
