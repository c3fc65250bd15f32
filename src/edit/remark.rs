//! What a merge or a rebase could not simply do, or what its reader should know. Nothing that was staged
//! is dropped without one of these.

use std::fmt;

use super::refused::shown;
use super::{Operation, Refused};

/// A rule in a remark: where it stands and what it says. Other people's bytes: strip before drawing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleName {
    /// Its table.
    pub table: Box<[u8]>,
    /// Its chain.
    pub chain: Box<[u8]>,
    /// What it says.
    pub spec: Box<[u8]>,
}

/// What became of one part of a change that was carried over to another ruleset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// A rule that the change moves or replaces is gone: that part of the change fell away.
    Vanished(RuleName),
    /// A rule that the change takes out was gone already: nothing is left to do.
    AlreadyGone(RuleName),
    /// A rule that the change adds stands there already: it is not added a second time, and stays where it
    /// stands.
    AlreadyThere(RuleName),
    /// Both moved the rule: it stands where the change puts it.
    MovedByBoth(RuleName),
    /// Others changed the rules around the place: the rule follows the one that it stood after, and what
    /// they added comes after it.
    PlaceChanged(RuleName),
    /// The chain is gone: the rule could not be put into it.
    ChainGone(RuleName),
    /// The rule jumps to a chain that is gone: it is left out.
    JumpsNowhere(RuleName),
    /// The jump would close a loop with what others added: it is left out.
    MakesLoop(RuleName),
    /// The chain that the change takes out is kept, since others put rules into it or jump to it.
    ChainKept {
        /// Its table.
        table: Box<[u8]>,
        /// Its name.
        chain: Box<[u8]>,
        /// Why.
        why: &'static str,
    },
    /// Both changed the policy of the chain: the change's own holds.
    PolicyChanged {
        /// Its table.
        table: Box<[u8]>,
        /// Its name.
        chain: Box<[u8]>,
    },
    /// Others emptied the chain of what a change that is undone had left alone: nothing is put back into it.
    Emptied {
        /// Its table.
        table: Box<[u8]>,
        /// Its name.
        chain: Box<[u8]>,
    },
    /// The rules that let through above it are gone: it is not put back, since it would lock out.
    Withheld(RuleName),
    /// It says what the change had put there, in a chain that others emptied: it may be theirs, and is left.
    LeftThere(RuleName),
    /// Others took away what made a policy of DROP safe: the policy stays as it is.
    PolicyLeft {
        /// Its table.
        table: Box<[u8]>,
        /// Its name.
        chain: Box<[u8]>,
    },
    /// A staged operation that the other ruleset does not allow. It fell away.
    Refused {
        /// The operation.
        operation: Operation,
        /// Why.
        why: Refused,
    },
}

impl Remark {
    /// Nothing of the change is lost and nothing stands in doubt: what it wanted is so already.
    pub fn is_harmless(&self) -> bool {
        match self {
            Self::AlreadyGone(_) | Self::AlreadyThere(_) => true,
            Self::Refused { why, .. } => matches!(why, Refused::Pointless { .. }),
            _ => false,
        }
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (chain, spec) = (shown(&self.chain), shown(&self.spec));
        write!(f, "-t {} -A {chain} {spec}", shown(&self.table))
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vanished(rule) => {
                write!(
                    f,
                    "gone meanwhile, what was to be done to it fell away: {rule}"
                )
            }
            Self::AlreadyGone(rule) => write!(f, "gone already: {rule}"),
            Self::AlreadyThere(rule) => write!(f, "there already, not added twice: {rule}"),
            Self::MovedByBoth(rule) => {
                write!(
                    f,
                    "moved by others as well, stands where this change puts it: {rule}"
                )
            }
            Self::PlaceChanged(rule) => {
                write!(
                    f,
                    "others changed the rules beside it, look at its place: {rule}"
                )
            }
            Self::ChainGone(rule) => write!(f, "its chain is gone, left out: {rule}"),
            Self::JumpsNowhere(rule) => {
                write!(f, "jumps to a chain that is gone, left out: {rule}")
            }
            Self::MakesLoop(rule) => write!(f, "would make a loop now, left out: {rule}"),
            Self::ChainKept { table, chain, why } => {
                write!(
                    f,
                    "chain {} of table {} is kept: {why}",
                    shown(chain),
                    shown(table)
                )
            }
            Self::PolicyChanged { table, chain } => write!(
                f,
                "the policy of {} in table {} was changed by others as well, this change's own holds",
                shown(chain),
                shown(table)
            ),
            Self::Emptied { table, chain } => write!(
                f,
                "others emptied chain {} of table {} meanwhile: it stays as they left it, nothing is put back into it",
                shown(chain),
                shown(table)
            ),
            Self::Withheld(rule) => write!(
                f,
                "others took out the rules above it that let through: not put back, it would lock out: {rule}"
            ),
            Self::LeftThere(rule) => write!(
                f,
                "others emptied its chain, so it may be theirs, and is left: {rule}"
            ),
            Self::PolicyLeft { table, chain } => write!(
                f,
                "others took out the rules of {} in table {}: its policy stays ACCEPT, DROP would lock out",
                shown(chain),
                shown(table)
            ),
            Self::Refused { why, .. } => write!(f, "fell away: {why}"),
        }
    }
}
