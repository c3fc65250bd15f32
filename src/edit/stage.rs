//! The stage: changes to one ruleset that the kernel does not know of yet.

use std::sync::{Arc, OnceLock};

use crate::ruleset::{Lossy, Ruleset, Warning};

use super::carry::plan;
use super::diff::Diff;
use super::draft::{ChainId, Change, Draft, Entry, Standing};
use super::shelf::{NEIGHBOURS, Shelf, Shelved};
use super::shown::{Shown, show, show_base, stage};
use super::{Operation, Refused, RowId};

/// An operation that was carried out, and what it came to.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub operation: Operation,
    changes: Vec<Change>,
    focus: Option<RowId>,
    pub created: Vec<RowId>,
}

/// A disabled rule that a stage began with.
#[derive(Clone, Debug)]
pub(super) struct Earlier {
    /// Its row, where it has one already.
    pub row: Option<RowId>,
    pub rule: Shelved,
    /// It is on the shelf; else the stage is to put it there.
    pub is_kept: bool,
}

/// Staged operations on one ruleset: one family, one back end.
///
/// What is asked of it is worked out once after each change and kept, so it can be asked at every frame.
#[derive(Clone, Debug)]
pub struct Stage {
    pub(super) draft: Draft,
    pub(super) done: Vec<Step>,
    undone: Vec<Step>,
    /// Of other rulesets, and of chains that are not there.
    pub(super) aside: Vec<Shelved>,
    /// The disabled rules that it began with.
    pub(super) earlier: Vec<Earlier>,
    focus: Option<RowId>,
    shown: OnceLock<Shown>,
    staged: OnceLock<Arc<Ruleset>>,
}

impl Stage {
    /// Nothing staged, nothing disabled.
    pub fn new(base: Arc<Ruleset>) -> Self {
        Self::over(Draft::new(base, None))
    }

    /// Nothing staged; rules that were disabled earlier are shown where they stood, but for those that stand in
    /// their chain again.
    pub fn new_with(base: Arc<Ruleset>, shelf: &Shelf) -> Self {
        let mut stage = Self::new(base);
        let gone = shelf
            .rules
            .iter()
            .filter(|rule| !rule.stands_in(&stage.draft.base));
        let earlier = gone.map(|rule| Earlier {
            row: None,
            rule: rule.clone(),
            is_kept: true,
        });
        let earlier: Vec<Earlier> = earlier.collect();
        stage.take_shelf(earlier.into_iter());
        stage
    }

    /// The same with more rules that were disabled earlier: a change that had enabled them was taken back.
    #[must_use]
    pub fn with_shelved(mut self, rules: Vec<Shelved>) -> Self {
        self.take_shelf(rules.into_iter().map(|rule| Earlier {
            row: None,
            rule,
            is_kept: true,
        }));
        self
    }

    /// The rules that were disabled before anything was staged here, of whatever ruleset.
    pub fn shelved(&self) -> impl Iterator<Item = &Shelved> {
        self.earlier.iter().map(|earlier| &earlier.rule)
    }

    pub(super) fn over(draft: Draft) -> Self {
        let mut stage = Self {
            draft,
            done: Vec::new(),
            undone: Vec::new(),
            aside: Vec::new(),
            earlier: Vec::new(),
            focus: None,
            shown: OnceLock::new(),
            staged: OnceLock::new(),
        };
        stage.lock_incompatible();
        stage
    }

    /// Locks chains that hold more than their text says: every operation on them is refused, with the
    /// reason. Positions in it are those of the base.
    #[must_use]
    pub fn locked(mut self, lossy: &[Lossy]) -> Self {
        for one in lossy {
            let base = Some(one.chain);
            if let Some(chain) = self
                .draft
                .chains
                .iter_mut()
                .find(|chain| chain.base == base)
            {
                chain.locked.get_or_insert_with(|| {
                    let number = one.position + 1;
                    format!("rule {number} holds what iptables cannot say: {}", one.why).into()
                });
            }
        }
        self.forget();
        self
    }

    fn lock_incompatible(&mut self) {
        let base = Arc::clone(&self.draft.base);
        for warning in base.warnings() {
            if let Warning::TableIncompatible(name) = warning {
                let table = self.draft.table_or_new(name.as_bytes());
                if let Some(table) = self.draft.tables.get_mut(table) {
                    table.locked = Some("iptables cannot show what is in it".into());
                }
            }
        }
    }

    /// Puts disabled rules in their places; those that have a row already keep it.
    pub(super) fn take_shelf(&mut self, rules: impl Iterator<Item = Earlier>) {
        for mut earlier in rules {
            let rule = &earlier.rule;
            let table = self.draft.find_table(&rule.table.0);
            let chain = table.and_then(|table| self.draft.standing_chain(table, &rule.chain.0));
            let Some(chain) = chain.filter(|_| rule.is_of(&self.draft.base)) else {
                self.aside.push(rule.clone());
                self.earlier.push(earlier);
                continue;
            };
            let entries: Vec<Entry> = self.draft.entries(chain).collect();
            let at = rule.place(&entries.iter().map(|entry| self.draft.text(entry.text)));
            let entry = Entry {
                id: earlier.row.unwrap_or_else(|| self.draft.new_row()),
                text: self.draft.new_text(&rule.spec.0),
                standing: Standing::Disabled,
                moved: false,
                zeroed: false,
            };
            if earlier.is_kept {
                self.draft.mark_shelved(entry.id, entry.text);
            }
            earlier.row = Some(entry.id);
            self.earlier.push(earlier);
            self.draft.apply(&Change::Rows {
                chain,
                at,
                out: Vec::new(),
                into: vec![entry],
            });
        }
        self.forget();
    }

    /// Every disabled rule, for the shelf to be once this stage is applied: those that it disables, those
    /// of earlier that it leaves disabled, and those that are none of its business.
    pub fn shelf(&self) -> Shelf {
        let disabled = self.disabled().into_iter().map(|(_, rule)| rule);
        Shelf {
            rules: self.aside.iter().cloned().chain(disabled).collect(),
        }
    }

    pub(super) fn shelve(&self, id: ChainId, rules: &mut Vec<(RowId, Shelved)>) {
        let Some(chain) = self.draft.chain(id) else {
            return;
        };
        let Some(table) = self.draft.tables.get(chain.table) else {
            return;
        };
        let entries: Vec<Entry> = (self.draft.entries(id))
            .filter(|entry| entry.standing != Standing::Deleted)
            .collect();
        let text = |entry: &Entry| self.draft.text(entry.text).into();
        let is_alike = |one: &Entry| {
            let spec = self.draft.text(one.text);
            move |entry: &&Entry| {
                entry.standing != Standing::Disabled && self.draft.text(entry.text) == spec
            }
        };
        for (at, entry) in entries.iter().enumerate() {
            if entry.standing != Standing::Disabled {
                continue;
            }
            let above = entries.get(..at).unwrap_or_default();
            let below = entries.get(at + 1..).unwrap_or_default();
            let rule = Shelved {
                family: self.draft.base.family(),
                backend: self.draft.base.backend(),
                table: (&*table.name).into(),
                chain: (&*chain.head.name).into(),
                spec: text(entry),
                after: above.iter().rev().take(NEIGHBOURS).map(text).collect(),
                before: below.iter().take(NEIGHBOURS).map(text).collect(),
                others: u32::try_from(entries.iter().filter(is_alike(entry)).count())
                    .unwrap_or(u32::MAX),
            };
            rules.push((entry.id, rule));
        }
    }

    /// The ruleset that it began with.
    pub fn base(&self) -> &Arc<Ruleset> {
        &self.draft.base
    }

    /// Stages an operation. A refusal leaves everything as it was; what was undone can be redone until
    /// another operation is carried out.
    pub fn carry_out(&mut self, operation: Operation) -> Result<(), Refused> {
        self.carry_out_with(operation, &[])
    }

    /// The same; rows that come into being are those, as far as they go.
    pub(super) fn carry_out_with(
        &mut self,
        operation: Operation,
        created: &[RowId],
    ) -> Result<(), Refused> {
        let plan = plan(&mut self.draft, &operation, created)?;
        for change in &plan.changes {
            self.draft.apply(change);
        }
        self.focus = plan.focus.or(self.focus);
        self.done.push(Step {
            operation,
            changes: plan.changes,
            focus: plan.focus,
            created: plan.created,
        });
        self.undone.clear();
        self.forget();
        Ok(())
    }

    /// Takes the last operation back; false when there is none.
    pub fn undo(&mut self) -> bool {
        let Some(step) = self.done.pop() else {
            return false;
        };
        for change in step.changes.iter().rev() {
            self.draft.revert(change);
        }
        self.focus = step.focus;
        self.undone.push(step);
        self.forget();
        true
    }

    /// Carries out again what was taken back last; false when there is nothing.
    pub fn redo(&mut self) -> bool {
        let Some(step) = self.undone.pop() else {
            return false;
        };
        for change in &step.changes {
            self.draft.apply(change);
        }
        self.focus = step.focus;
        self.done.push(step);
        self.forget();
        true
    }

    /// What was carried out and not taken back, the first first.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &Operation> {
        self.done.iter().map(|step| &step.operation)
    }

    /// The operation that [`Stage::undo`] takes back.
    pub fn last_done(&self) -> Option<&Operation> {
        self.done.last().map(|step| &step.operation)
    }

    /// The operation that [`Stage::redo`] carries out.
    pub fn last_undone(&self) -> Option<&Operation> {
        self.undone.last().map(|step| &step.operation)
    }

    /// The row that was last touched, by an operation, undo or redo: where a cursor should follow. It may
    /// be gone.
    pub fn touched(&self) -> Option<RowId> {
        self.focus.filter(|row| self.draft.find(*row).is_some())
    }

    /// Nothing is staged: the kernel would be left as it is, and so would the shelf.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How many rules and chains are not as the base has them.
    pub fn count(&self) -> usize {
        self.shown().changes
    }

    /// What the kernel would hold. Its text carries the counters of the base: for numbers that move, see
    /// [`ShownRow::base`](super::ShownRow).
    pub fn staged(&self) -> Arc<Ruleset> {
        let make = || {
            if self.is_empty() {
                return Arc::clone(&self.draft.base);
            }
            // Mostly nothing stands on the screen that the kernel would not hold.
            let shown = self.shown();
            if shown.has_ghosts {
                Arc::new(stage(&self.draft))
            } else {
                Arc::clone(&shown.ruleset)
            }
        };
        Arc::clone(self.staged.get_or_init(make))
    }

    /// What the screen shows.
    pub fn shown(&self) -> &Shown {
        let has_shelved = self.earlier.iter().any(|earlier| earlier.row.is_some());
        self.shown.get_or_init(|| {
            if self.done.is_empty() && !has_shelved {
                show_base(&self.draft)
            } else {
                show(&self.draft)
            }
        })
    }

    /// What applying would change, chain by chain.
    pub fn diff(&self) -> Diff {
        Diff::of_stage(self)
    }

    /// What was worked out belongs to the state before.
    fn forget(&mut self) {
        self.shown = OnceLock::new();
        self.staged = OnceLock::new();
    }
}
