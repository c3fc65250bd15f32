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

use std::sync::Arc;

use crate::netfilter::netlink::NetlinkError;
use crate::netfilter::xtables::XtablesError;
use crate::netfilter::xtables::presence::PresenceError;
use crate::ruleset::{ChainIdx, CounterSet, Counters, Lossy, RuleIdx, Ruleset};

/// What one look at one chain found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Look {
    /// Read, and every number is the one known already.
    Same,
    /// Read, and at least one number is another; the [`CounterSet`] holds the new ones.
    Changed,
    /// The kernel's chain is not the attached one; nothing was taken. Read the structure again.
    OutOfStep,
    /// nft: the ruleset has another generation than the door was told to trust; nothing was taken. When
    /// the change did not touch this chain, [`trust`](CounterDoor::trust) the new one and look again.
    OtherGeneration,
}

/// A chain that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Looked {
    /// The chain.
    pub chain: ChainIdx,
    /// What was found.
    pub look: Look,
}

/// The structure of an origin at one moment: equal marks of one door are equal structures. The generation
/// for nft, a hash for legacy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark(pub u64);

impl Mark {
    /// nft: the generation that it is.
    pub const fn generation(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }
}

/// What attaching found out beside the numbers.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The structure that the kernel had. Only when it is the mark taken *before* the save tool ran is the
    /// text known to be this structure.
    pub mark: Mark,
    /// nft only.
    pub handles: Option<Arc<Handles>>,
    /// What the kernel does not count.
    pub uncounted: Uncounted,
    /// Rules that the text does not tell whole; nft only.
    pub lossy: Vec<Lossy>,
    /// Chains whose text and kernel have different numbers of rules; each look at them is
    /// [`Look::OutOfStep`].
    pub misfits: Vec<ChainIdx>,
}

/// nf_tables handles of a ruleset. Two rules of two readings are the same rule when both their handles
/// and the handles of their tables are equal: a restore that makes a table anew counts rules from 1 again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handles {
    /// Parallel to the ruleset's tables; 0 where the kernel has no such table.
    pub tables: Vec<u64>,
    /// Parallel to the ruleset's rules (indexed by [`RuleIdx`]); 0 where unknown.
    pub rules: Vec<u64>,
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
    /// The tables could not be listed.
    #[error(transparent)]
    Presence(#[from] PresenceError),
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
    /// The structure that the kernel has now. Take it before the save tool runs.
    fn mark(&mut self) -> Result<Mark, CounterError>;

    /// Binds the door to a structure, matched with the kernel's chain by chain.
    fn attach(&mut self, ruleset: &Arc<Ruleset>) -> Result<Attached, CounterError>;

    /// Reads `chain`, and whatever comes with it at no further cost (for legacy its whole table, for the
    /// fallback everything): refreshes their numbers in `counters` and appends each to `looked`. Before
    /// anything is attached every chain is out of step.
    fn read(
        &mut self,
        chain: ChainIdx,
        counters: &mut CounterSet,
        looked: &mut Vec<Looked>,
    ) -> Result<(), CounterError>;

    /// Whether [`follow`](CounterDoor::follow) tells of every chain that a packet enters. Then a chain that
    /// no hook calls and that it does not tell of has the numbers that it had.
    fn can_follow(&self) -> bool {
        false
    }

    /// Moves to `entered` the chains that a packet was sent to by a rule read since the last call, perhaps
    /// several times each. A packet may have been counted by that rule and not yet by the chain's: look at
    /// the chain now, and once more a little later.
    fn follow(&mut self, entered: &mut Vec<ChainIdx>) {
        let _ = entered;
    }

    /// Tells that the generation is now `generation` and that the chains that are still going to be read
    /// were not touched on the way to it. The kernel's events say which were; handles alone do not, since a
    /// replaced rule keeps the handle of the old one. Without meaning for doors that have no generations.
    fn trust(&mut self, generation: u32) {
        let _ = generation;
    }
}

/// Stores what was read; true when it is news.
fn replace(place: Option<&mut Counters>, read: Counters) -> bool {
    match place {
        Some(place) if *place != read => {
            *place = read;
            true
        }
        _ => false,
    }
}
