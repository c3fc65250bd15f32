//! Staged changes to a ruleset: what to do, what it would look like, and the script that does it.
//!
//! A [`Stage`] holds operations on one ruleset, of one address family and one back end. Nothing reaches
//! the kernel from here; what comes out is a [`Ruleset`](crate::ruleset::Ruleset) as it would be
//! ([`Stage::staged`]), one for the screen in which what goes still stands in its place
//! ([`Stage::shown`]), a [`Diff`], and a [`Script`] for `iptables-restore -n -c`.
//!
//! Everything goes by identity. Rows of a stage have a [`RowId`] that stays with them; two rulesets are
//! compared by what their rules say, never by number. So a change can be carried over to a ruleset that
//! others have changed meanwhile ([`merge`], [`Stage::rebase`]), and where that is not plain a
//! [`Remark`] says so. The same merge undoes a change: what was done from `before` to `after`, done
//! backwards to what is there now.
//!
//! What this room does not do: it never reads the kernel, runs a tool or looks at a clock. Whether the
//! back end takes a rule, and how it prints it, is asked elsewhere before a rule is staged; counters are
//! handed in.
//!
//! Rooms within: `operation`, `refused` and `remark` are the words; `draft` is the state, `carry` and
//! `chains` work operations out, `check` and `graph` say what cannot be; `stage` is all of it with undo,
//! `shown` and `marks` its picture, `shelf` the disabled rules; `align`, `compare` and `renames` put two
//! rulesets side by side (`trace` says which rule is which where text is not enough), and `diff`, `script` and `merge` are made of that. [`form`] is one
//! rule as a form and a line, with what is wrong in it and what it does in words; [`template`] rules that
//! everybody needs, placed where they take effect; [`probe`] is a rule that only logs.

mod align;
mod carry;
mod chains;
mod check;
mod compare;
mod diff;
mod draft;
pub mod form;
mod graph;
mod marks;
mod merge;
mod operation;
pub mod probe;
mod rebase;
mod refused;
mod remark;
mod renames;
mod script;
mod shelf;
mod shown;
mod stage;
pub mod template;
#[cfg(test)]
mod tests;
mod toward;
mod trace;

pub use compare::zero_as;
pub use diff::{ChainDiff, Diff, DiffLine};
pub use merge::{Known, Merge, merge, undo};
pub use operation::{ChainName, Operation, RowId, Spot};
pub use refused::Refused;
pub use remark::{Remark, RuleName};
pub use script::{Script, ScriptError, script, script_around, script_traced};
pub use shelf::{Bytes, Shelf, Shelved};
pub use shown::{ChainMark, Mark, Shown, ShownChain, ShownRow};
pub use stage::Stage;
pub use toward::TowardError;
pub use trace::Trace;
