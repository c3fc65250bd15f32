//! Which rule is which, where that is known by more than text: two rules that say the same are told apart, and
//! one whose text is not the whole truth stands still, since it could not be put back.

use std::collections::HashSet;

use crate::ruleset::RuleIdx;

use super::compare::Comparison;
use super::refused::shown;
use super::{Merge, ScriptError};

/// Which rules are which.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// By rule of the new ruleset, the old one that it is.
    pub was: Vec<Option<RuleIdx>>,
    /// Old rules that must stand still.
    pub fixed: HashSet<RuleIdx>,
    /// Old rules that stand still where they can: another program may know one by its handle, which a rule that is
    /// taken out and put back does not keep.
    pub still: HashSet<RuleIdx>,
}

impl Trace {
    /// As a merge has it, in which nobody may touch the `fixed` rules of theirs.
    pub fn of(merged: &Merge, fixed: HashSet<RuleIdx>) -> Self {
        let was = merged.was.clone();
        let still = was
            .iter()
            .flatten()
            .filter(|rule| !merged.moved.contains(rule));
        Self {
            still: still.copied().collect(),
            was,
            fixed,
        }
    }

    /// Why no script may be written: a rule that must stand still would be taken out.
    pub(super) fn broken(&self, comparison: &Comparison<'_>) -> Option<ScriptError> {
        comparison.tables.iter().find_map(|table| {
            table.chains.iter().find_map(|chain| {
                let mut removed = chain.removed.iter().map(|removed| removed.rule);
                let rule = removed.find(|rule| self.fixed.contains(rule))?;
                Some(ScriptError::Rule {
                    table: shown(table.name),
                    chain: shown(chain.name),
                    spec: shown(&comparison.from.rule_text(rule)),
                    why: "its text is not the whole truth",
                })
            })
        })
    }
}
