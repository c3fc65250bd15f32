//! What can be done to a ruleset, in the words of a key press.
//!
//! An operation names rows by [`RowId`], never by number: between the key and the moment at which it is
//! carried out the rows may have moved.

use crate::ruleset::Policy;

/// A row of a stage: a rule that stands, is deleted, or is disabled. It stays with the rule for the life
/// of the stage and through [`Stage::rebase`](super::Stage::rebase), whatever is done to the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId(pub u32);

/// A place for a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spot {
    /// Name of the table. A table that the ruleset does not have yet comes with its built-in chains.
    pub table: Box<[u8]>,
    /// Name of the chain, as the stage shows it.
    pub chain: Box<[u8]>,
    /// The row that will follow; `None`: the end of the chain.
    pub before: Option<RowId>,
}

impl Spot {
    /// Before that row of a chain, or at its end.
    pub fn new(
        table: impl AsRef<[u8]>,
        chain: impl AsRef<[u8]>,
        before: impl Into<Option<RowId>>,
    ) -> Self {
        Self {
            table: table.as_ref().into(),
            chain: chain.as_ref().into(),
            before: before.into(),
        }
    }
}

/// A chain by its names, as the stage shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainName {
    /// Name of its table.
    pub table: Box<[u8]>,
    /// Its own.
    pub chain: Box<[u8]>,
}

impl ChainName {
    /// By both names.
    pub fn new(table: impl AsRef<[u8]>, chain: impl AsRef<[u8]>) -> Self {
        Self {
            table: table.as_ref().into(),
            chain: chain.as_ref().into(),
        }
    }
}

/// One change to a stage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Takes a rule to another place of its table. It keeps its counters.
    Move {
        /// The rule.
        row: RowId,
        /// Where to.
        to: Spot,
    },
    /// Adds a rule; one for each address where the specification lists several.
    Insert {
        /// Where.
        at: Spot,
        /// Without `-A CHAIN`: `-p tcp -m tcp --dport 22 -j ACCEPT`.
        spec: Vec<u8>,
    },
    /// Gives a rule another text. The kernel counts it from zero.
    Replace {
        /// The rule.
        row: RowId,
        /// As for [`Operation::Insert`], one rule.
        spec: Vec<u8>,
    },
    /// Adds a copy of a rule below it.
    Duplicate {
        /// The rule.
        row: RowId,
    },
    /// Takes a rule out.
    Delete {
        /// The rule.
        row: RowId,
    },
    /// Takes a rule out and keeps it, in its place, on the shelf.
    Disable {
        /// The rule.
        row: RowId,
    },
    /// Puts a disabled rule, or one that the stage deletes, back in its place.
    Enable {
        /// The rule.
        row: RowId,
    },
    /// What a built-in chain does with packets that no rule decided.
    SetPolicy {
        /// The chain.
        chain: ChainName,
        /// Its new policy.
        policy: Policy,
    },
    /// Adds a user chain.
    AddChain {
        /// The new chain.
        chain: ChainName,
    },
    /// Gives a user chain another name, and the jumps to it as well.
    RenameChain {
        /// The chain.
        chain: ChainName,
        /// Its new name.
        name: Box<[u8]>,
    },
    /// Takes a user chain out, with its rules. No other rule may jump to it.
    DeleteChain {
        /// The chain.
        chain: ChainName,
    },
    /// Has the kernel count a rule from zero again.
    ZeroRule {
        /// The rule.
        row: RowId,
    },
    /// The same for a policy and every rule of a chain.
    ZeroChain {
        /// The chain.
        chain: ChainName,
    },
}
