//! Carries a stage over to a ruleset that others have changed meanwhile.
//!
//! The operations are carried out again, one by one, on the new ruleset: so each can be undone there as
//! it could before, and where one does not fit any more that is said of it alone. For that to work every
//! row must still be the same row. A rule of the new ruleset is the row that it was in the old one; one
//! that is new, and says what a staged row says in its chain, is that row, already there: somebody else
//! had the same thought, or the stage was applied in part.
//!
//! A place before a row that is gone becomes a place before the next row below it that is still there.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::ruleset::{ChainIdx, Lossy, RuleIdx, Ruleset, single_rules};

use super::compare::{Comparison, compare};
use super::diff::Diff;
use super::draft::{ChainId, Draft, Standing};
use super::shelf::Shelved;
use super::stage::{Earlier, Step};
use super::{Operation, Refused, Remark, RowId, RuleName, Spot, Stage};

impl Stage {
    /// The same operations on a newer reading of the ruleset, and what became of those that do not fit. Rows
    /// that are still there keep their [`RowId`]. What was locked stays so where nothing newer is known: see
    /// [`Stage::rebase_locked`].
    ///
    /// Where the new ruleset is what was staged, as it is after an apply, nothing is left to do and the
    /// stage is empty; its disabled rules are then taken to be on the shelf.
    pub fn rebase(&self, new_base: Arc<Ruleset>) -> (Self, Vec<Remark>) {
        if self.is_carried_out_in(&new_base) {
            let stage = self.on(new_base, self.shelf_of_now());
            return (stage.with_locks_of(self), Vec::new());
        }
        let stage = self.on(new_base, self.earlier.clone()).with_locks_of(self);
        self.replay(stage)
    }

    /// The same, where it is known which chains of the new ruleset are lossy.
    pub fn rebase_locked(&self, new_base: Arc<Ruleset>, lossy: &[Lossy]) -> (Self, Vec<Remark>) {
        if self.is_carried_out_in(&new_base) {
            let stage = self.on(new_base, self.shelf_of_now());
            return (stage.locked(lossy), Vec::new());
        }
        let stage = self.on(new_base, self.earlier.clone()).locked(lossy);
        self.replay(stage)
    }

    /// The stage once what needs no change of rules is done (counters zeroed, disabled rules deleted), where
    /// nothing else is staged; `None` where rules or chains still differ.
    pub fn settled(&self) -> Option<Self> {
        let is_all =
            !self.is_empty() && Diff::between(&self.staged().loaded(), self.base()).is_empty();
        let settled = || self.on(Arc::clone(self.base()), self.shelf_of_now());
        is_all.then(settled).map(|stage| stage.with_locks_of(self))
    }

    /// Somebody applied what is staged here, and all of it.
    fn is_carried_out_in(&self, new_base: &Ruleset) -> bool {
        !self.is_empty()
            && Diff::between(&self.staged(), new_base).is_empty()
            && !Diff::between(&self.draft.base, new_base).is_empty()
    }

    /// The shelf as it is once everything here is carried out.
    fn shelf_of_now(&self) -> Vec<Earlier> {
        let aside = self.aside.iter().map(|rule| (None, rule.clone()));
        let disabled = self.disabled();
        let disabled = disabled.into_iter().map(|(row, rule)| (Some(row), rule));
        let earlier = |(row, rule)| Earlier {
            row,
            rule,
            is_kept: true,
        };
        aside.chain(disabled).map(earlier).collect()
    }

    /// A stage over the new base, with our rows and that shelf, and nothing done yet.
    fn on(&self, new_base: Arc<Ruleset>, shelf: Vec<Earlier>) -> Self {
        let ids = self.rows_of(&new_base);
        let taken: HashSet<RowId> = ids.iter().copied().collect();
        let mut draft = Draft::new(new_base, Some(ids));
        draft.reserve_rows(self.draft.row_count());
        let mut stage = Self::over(draft);
        let mut shelved: Vec<Earlier> = Vec::with_capacity(shelf.len());
        for earlier in shelf {
            // The kernel holds it: it was enabled, by us, by a revert or by anybody.
            if earlier.row.is_none_or(|row| !taken.contains(&row)) {
                shelved.push(earlier);
            }
        }
        let held: HashSet<RowId> = shelved.iter().filter_map(|earlier| earlier.row).collect();
        // What the stage disables and the kernel has lost meanwhile is not lost here.
        for (row, rule) in self.disabled() {
            let is_lost = self.draft.base_of(row).is_some() && !taken.contains(&row);
            if is_lost && !held.contains(&row) {
                shelved.push(Earlier {
                    row: Some(row),
                    rule,
                    is_kept: false,
                });
            }
        }
        stage.take_shelf(shelved.into_iter());
        stage
    }

    /// The row of every rule of the new base.
    fn rows_of(&self, new_base: &Ruleset) -> Vec<RowId> {
        let comparison = compare(&self.draft.base, new_base);
        let mut rows: Vec<Option<RowId>> = vec![None; new_base.rule_count()];
        let mut used: HashSet<RowId> = HashSet::new();
        let mut join = |new: RuleIdx, row: Option<RowId>| {
            if let (Some(slot), Some(row)) = (rows.get_mut(new.0 as usize), row) {
                *slot = Some(row);
                used.insert(row);
            }
        };
        for chain in comparison.tables.iter().flat_map(|table| &table.chains) {
            for (old, new) in &chain.kept {
                join(*new, self.draft.id_of(*old));
            }
            for added in &chain.added {
                join(added.rule, added.was.and_then(|was| self.draft.id_of(was)));
            }
        }
        self.find_staged(&comparison, &mut rows, &used);
        let mut next = u32::try_from(self.draft.row_count()).unwrap_or(u32::MAX);
        rows.into_iter()
            .map(|row| {
                row.unwrap_or_else(|| {
                    next = next.saturating_add(1);
                    RowId(next - 1)
                })
            })
            .collect()
    }

    /// Rules that are new there and that the stage has as well.
    fn find_staged(
        &self,
        comparison: &Comparison<'_>,
        rows: &mut [Option<RowId>],
        used: &HashSet<RowId>,
    ) {
        for table in &comparison.tables {
            for chain in &table.chains {
                if chain.added.iter().all(|added| added.was.is_some()) {
                    continue;
                }
                let ours = (self.draft.find_table(table.name))
                    .and_then(|table| self.draft.standing_chain(table, chain.name));
                let Some(ours) = ours else { continue };
                let mut staged: HashMap<&[u8], VecDeque<RowId>> = HashMap::new();
                for entry in self.draft.entries(ours) {
                    if entry.standing == Standing::Stands && !used.contains(&entry.id) {
                        let text = self.draft.text(entry.text);
                        staged.entry(text).or_default().push_back(entry.id);
                    }
                }
                for added in chain.added.iter().filter(|added| added.was.is_none()) {
                    let text = comparison.to.rule_text(added.rule);
                    let row = staged.get_mut(&*text).and_then(VecDeque::pop_front);
                    if let (Some(slot), Some(row)) = (rows.get_mut(added.rule.0 as usize), row) {
                        *slot = Some(row);
                    }
                }
            }
        }
    }

    fn with_locks_of(mut self, other: &Self) -> Self {
        for chain in other
            .draft
            .chains
            .iter()
            .filter(|chain| chain.locked.is_some())
        {
            let Some(base) = chain.base else { continue };
            let (table, name) = names(&other.draft.base, base);
            let found =
                (self.draft.find_table(table)).and_then(|table| self.draft.find_chain(table, name));
            let held = found.and_then(|found| self.draft.chains.get_mut(found.0 as usize));
            if let Some(held) = held {
                held.locked.clone_from(&chain.locked);
            }
        }
        self
    }

    fn replay(&self, mut stage: Self) -> (Self, Vec<Remark>) {
        let mut remarks = Vec::new();
        // The old stage as it was before each step: for texts, and for what stood below what is gone.
        let mut old = self.clone();
        while old.undo() {}
        for step in &self.done {
            let fitted = fit(&old, &stage, step, &mut remarks);
            for (operation, created) in fitted {
                if let Err(why) = stage.carry_out_with(operation.clone(), &created) {
                    remarks.push(refused(&old, &stage, operation, why));
                }
            }
            old.redo();
        }
        (stage, remarks)
    }
}

fn names(ruleset: &Ruleset, chain: ChainIdx) -> (&[u8], &[u8]) {
    let chain = ruleset.chain(chain);
    (
        ruleset.table(chain.table()).name_bytes(),
        chain.name_bytes(),
    )
}

/// A step as it can be carried out there: places by rows that are there, and without the rules that are
/// there already. Each operation with the rows that it creates.
fn fit(
    old: &Stage,
    new: &Stage,
    step: &Step,
    remarks: &mut Vec<Remark>,
) -> Vec<(Operation, Vec<RowId>)> {
    match &step.operation {
        Operation::Move { row, to } => {
            let (to, changed) = place(old, new, to);
            if changed && new.draft.find(*row).is_some() {
                remarks.extend(old.name(*row).map(Remark::PlaceChanged));
            }
            vec![(Operation::Move { row: *row, to }, Vec::new())]
        }
        Operation::Insert { at, spec } => {
            let (at, changed) = place(old, new, at);
            let rules = single_rules(spec, u32::MAX).unwrap_or_default();
            let mut missing = Vec::new();
            for (rule, row) in rules.into_iter().zip(&step.created) {
                let name = RuleName {
                    table: at.table.clone(),
                    chain: at.chain.clone(),
                    spec: rule.as_slice().into(),
                };
                if new.draft.find(*row).is_some() {
                    remarks.push(Remark::AlreadyThere(name));
                    continue;
                }
                if changed {
                    remarks.push(Remark::PlaceChanged(name));
                }
                let at = at.clone();
                missing.push((Operation::Insert { at, spec: rule }, vec![*row]));
            }
            missing
        }
        Operation::Duplicate { row } => {
            let copy = step.created.first().copied();
            if copy.is_some_and(|copy| new.draft.find(copy).is_some()) {
                remarks.extend(old.name(*row).map(Remark::AlreadyThere));
                return Vec::new();
            }
            vec![(step.operation.clone(), step.created.clone())]
        }
        other => vec![(other.clone(), Vec::new())],
    }
}

/// A place there, and whether the row that it was before is gone or elsewhere.
fn place(old: &Stage, new: &Stage, spot: &Spot) -> (Spot, bool) {
    let Some(before) = spot.before else {
        return (spot.clone(), false);
    };
    let chain = (new.draft.find_table(&spot.table))
        .and_then(|table| new.draft.standing_chain(table, &spot.chain));
    let is_there = |row: RowId| {
        let found = new.draft.find(row);
        found.is_some_and(|(found, ..)| Some(found) == chain)
    };
    if is_there(before) {
        return (spot.clone(), false);
    }
    let below = old.draft.find(before).and_then(|(chain, at, _)| {
        let below = old.draft.entries(chain).skip(at + 1);
        below.map(|entry| entry.id).find(|row| is_there(*row))
    });
    let spot = Spot {
        before: below,
        ..spot.clone()
    };
    (spot, true)
}

impl Stage {
    /// A row in words.
    fn name(&self, row: RowId) -> Option<RuleName> {
        let (chain, _, entry) = self.draft.find(row)?;
        let held = self.draft.chain(chain)?;
        Some(RuleName {
            table: self.draft.tables.get(held.table)?.name.as_ref().into(),
            chain: held.head.name.as_ref().into(),
            spec: self.draft.text(entry.text).into(),
        })
    }

    /// The disabled rows and what the shelf will have of them.
    pub(super) fn disabled(&self) -> Vec<(RowId, Shelved)> {
        let mut rules = Vec::new();
        for (index, chain) in (0..).map(ChainId).zip(&self.draft.chains) {
            // A list that is not its own holds rules of the base only.
            if chain.rows.is_some() && !chain.head.gone {
                self.shelve(index, &mut rules);
            }
        }
        rules
    }
}

/// What to say of an operation that was refused.
fn refused(old: &Stage, new: &Stage, operation: Operation, why: Refused) -> Remark {
    let name = |row: RowId| old.name(row);
    let gone = |row: &RowId| new.draft.find(*row).is_none();
    let already = |words| Refused::Pointless { words };
    match &operation {
        Operation::Delete { row } if gone(row) => name(*row).map(Remark::AlreadyGone),
        Operation::Move { row, .. }
        | Operation::Replace { row, .. }
        | Operation::Duplicate { row }
        | Operation::Disable { row }
        | Operation::Enable { row }
        | Operation::ZeroRule { row }
            if gone(row) =>
        {
            name(*row).map(Remark::Vanished)
        }
        Operation::DeleteChain { .. } if matches!(why, Refused::NoSuchChain { .. }) => {
            Some(Remark::Refused {
                operation: operation.clone(),
                why: already("the chain is gone already"),
            })
        }
        Operation::RenameChain { chain, name } if matches!(why, Refused::NoSuchChain { .. }) => {
            let there = (new.draft.find_table(&chain.table))
                .and_then(|table| new.draft.standing_chain(table, name));
            there.map(|_| Remark::Refused {
                operation: operation.clone(),
                why: already("the chain has that name already"),
            })
        }
        _ => None,
    }
    .unwrap_or(Remark::Refused { operation, why })
}
