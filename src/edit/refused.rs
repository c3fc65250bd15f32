//! Why an operation is not carried out: what was tried, why not, what to do.
//!
//! A refusal leaves the stage as it was. Names in it are other people's bytes, read as UTF-8 with U+FFFD
//! for what is not: strip them before drawing.

use super::RowId;

/// Why an operation is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The row is not of this stage, or no longer.
    #[error("the rule is no longer there\nlook where the rule stands now, and try again")]
    NoSuchRow {
        /// The row asked for.
        row: RowId,
    },
    /// The chain is not in the ruleset.
    #[error("there is no chain {chain} in table {table}\nadd the chain first, or choose another")]
    NoSuchChain {
        /// Its table.
        table: String,
        /// Its name.
        chain: String,
    },
    /// A specification that does not read as a rule.
    #[error("column {column}: {words}")]
    Spec {
        /// Where, in bytes from 1.
        column: usize,
        /// What is wrong there, and what was expected.
        words: String,
    },
    /// A rule of the same chain of calls: the kernel refuses loops.
    #[error(
        "column {column}: the jump makes a loop: {}\nthe kernel refuses a chain that leads back to itself",
        path.join(" -> ")
    )]
    Loop {
        /// Where the target stands in the specification, in bytes from 1.
        column: usize,
        /// The chains of the loop, first and last the same.
        path: Vec<String>,
    },
    /// A name that the tools do not take for a chain.
    #[error("the chain name {name:?} cannot be had: {words}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        words: &'static str,
    },
    /// The chain is one of the kernel's own.
    #[error("{chain} is a chain of the kernel's own: it cannot be {tried}")]
    BuiltIn {
        /// Its name.
        chain: String,
        /// `renamed`, `deleted`.
        tried: &'static str,
    },
    /// A user chain has no policy.
    #[error(
        "{chain} is a user chain: it has no policy, what its rules let through returns to the caller"
    )]
    NoPolicy {
        /// Its name.
        chain: String,
    },
    /// Rules jump to the chain.
    #[error(
        "{chain} is still jumped to, from {}{}\ndelete or change those rules first",
        by.join(", "),
        if *more > 0 { format!(" and {more} more") } else { String::new() }
    )]
    Referenced {
        /// Its name.
        chain: String,
        /// The first of the rules that do: chain and number.
        by: Vec<String>,
        /// How many further ones there are.
        more: usize,
    },
    /// The chain must not be touched.
    #[error("chain {chain} of table {table} is locked: {why}\nchange it with nft")]
    Locked {
        /// Its table.
        table: String,
        /// Its name.
        chain: String,
        /// Why.
        why: String,
    },
    /// The text of the rule cannot be handed to the tools without becoming something else.
    #[error("the rule cannot be written back: {why}\nit can be deleted, or replaced by another")]
    Unwritable {
        /// What in it.
        why: &'static str,
    },
    /// It is so already, or makes no sense for a row in that state.
    #[error("{words}")]
    Pointless {
        /// Why.
        words: &'static str,
    },
}

/// A name in a message.
pub(super) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
