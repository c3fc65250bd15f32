//! What is staged on a ruleset, and how the kernel's numbers find their rows in it.
//!
//! While something is staged the board shows one structure for both: the rules as they would stand, the
//! deleted ones where they were. Readings go on coming in the kernel's own numbering; they are brought to
//! their rows here. That is why counters stay live while one edits, and why nothing else of the board
//! knows that there are two structures.

use std::sync::Arc;

use crate::app::firewall::Firewall;
use crate::app::motion::Track;
use crate::edit::probe::{self, Tag};
use crate::edit::{ChainMark, Mark, ShownRow, Stage};
use crate::ruleset::{ChainIdx, Counters, Policy, RuleIdx, Ruleset};

/// A stage with its maps.
#[derive(Debug)]
pub(super) struct Staging {
    pub(super) stage: Stage,
    /// The shown rule for each rule of the kernel.
    rules: Vec<RuleIdx>,
    /// The shown chain for each chain of the kernel.
    chains: Vec<ChainIdx>,
}

impl Staging {
    fn of(stage: Stage) -> Self {
        let base = Arc::clone(stage.base());
        let shown = stage.shown();
        let mut rules = vec![RuleIdx(u32::MAX); base.rule_count()];
        for (row, i) in shown.rows.iter().zip(0..) {
            if let Some(slot) = row.base.and_then(|rule| rules.get_mut(rule.0 as usize)) {
                *slot = RuleIdx(i);
            }
        }
        let mut chains = vec![ChainIdx(u32::MAX); base.chains().len()];
        for (chain, i) in shown.chains.iter().zip(0..) {
            if let Some(slot) = chain.base.and_then(|from| chains.get_mut(from.0 as usize)) {
                *slot = ChainIdx(i);
            }
        }
        Self {
            stage,
            rules,
            chains,
        }
    }
}

/// What the numbers of one rule were.
#[derive(Clone, Copy, Default)]
struct Numbers {
    track: Track,
    counters: Counters,
    baseline: Counters,
}

/// Something is staged, could be redone, or is kept disabled.
fn is_worth_keeping(stage: &Stage) -> bool {
    !stage.is_empty() || stage.last_undone().is_some() || stage.shelved().next().is_some()
}

impl Firewall {
    /// What is staged on it.
    pub fn stage(&self) -> Option<&Stage> {
        self.staging.as_ref().map(|staging| &staging.stage)
    }

    /// What is staged on it, or a stage for something to be.
    pub fn stage_or_fresh(&self) -> Stage {
        let fresh = || Stage::new(Arc::clone(self.kernel())).locked(self.all_lossy());
        self.stage().cloned().unwrap_or_else(fresh)
    }

    /// How many changes are staged.
    pub fn staged(&self) -> usize {
        self.stage().map_or(0, Stage::count)
    }

    /// The row of a shown rule in the stage; `None` while nothing is staged.
    pub fn staged_row(&self, rule: RuleIdx) -> Option<&ShownRow> {
        self.stage()?.shown().rows.get(rule.0 as usize)
    }

    /// What happened to a shown rule.
    pub fn mark(&self, rule: RuleIdx) -> Mark {
        self.staged_row(rule).map_or(Mark::Same, |row| row.mark)
    }

    /// The number that the rule at `position` (from 0) of its chain has, or would have once what is staged
    /// is applied, probes not counted; `None` for a probe, and for one that the kernel would not hold.
    pub fn number(&self, rule: RuleIdx, position: usize) -> Option<u32> {
        if self.probes.is_empty() {
            return self.held_number(rule, position);
        }
        // Probes come and go by themselves: they have no number, and take none from the others.
        if self.probe(rule).is_some() {
            return None;
        }
        let held = self.held_number(rule, position)?;
        let set = &self.ruleset;
        let (chain, at) = (set.chain_of(rule), set.number(rule));
        let before = self.probes.iter().map(|(probe, _)| *probe).filter(|probe| {
            set.chain_of(*probe) == chain
                && set.number(*probe) < at
                && self
                    .staged_row(*probe)
                    .is_none_or(|row| row.number.is_some())
        });
        u32::try_from(before.count())
            .ok()
            .and_then(|count| held.checked_sub(count))
    }

    /// The number of a rule of the kernel in its chain, from 1, probes not counted.
    pub fn kernel_number(&self, rule: RuleIdx) -> u32 {
        let set = self.kernel();
        let (chain, number) = (set.chain_of(rule), set.number(rule));
        let probes = self
            .probes
            .iter()
            .filter_map(|(probe, _)| self.kernel_rule(*probe));
        let before =
            probes.filter(|probe| set.chain_of(*probe) == chain && set.number(*probe) < number);
        number.saturating_sub(u32::try_from(before.count()).unwrap_or(0))
    }

    /// The number that a rule of the kernel has on the board: the one that it would have once what is staged is
    /// applied. That of now for one that goes.
    pub fn board_number(&self, rule: RuleIdx) -> u32 {
        let shown = self.shown_rule(rule);
        let position = self.ruleset.number(shown).checked_sub(1);
        let number = position.and_then(|at| self.number(shown, at as usize));
        number.unwrap_or_else(|| self.kernel_number(rule))
    }

    /// The number with probes counted: the kernel's own once what is staged is applied.
    fn held_number(&self, rule: RuleIdx, position: usize) -> Option<u32> {
        match self.staged_row(rule) {
            Some(row) => row.number,
            None => u32::try_from(position + 1).ok(),
        }
    }

    /// The tag of a shown rule that is a probe.
    pub fn probe(&self, rule: RuleIdx) -> Option<&Tag> {
        let at = self.probes.binary_search_by_key(&rule, |(probe, _)| *probe);
        self.probes.get(at.ok()?).map(|(_, tag)| tag)
    }

    /// What happened to a shown chain, its rules aside.
    pub fn chain_mark(&self, chain: ChainIdx) -> &ChainMark {
        let shown = self.stage().map(Stage::shown);
        shown
            .and_then(|shown| shown.chains.get(chain.0 as usize))
            .map_or(&ChainMark::Same, |chain| &chain.mark)
    }

    /// The counters of a shown chain are to start from zero.
    pub fn policy_is_zeroed(&self, chain: ChainIdx) -> bool {
        let shown = self.stage().map(Stage::shown);
        shown
            .and_then(|shown| shown.chains.get(chain.0 as usize))
            .is_some_and(|chain| chain.zeroed)
    }

    /// The policy that the kernel has, whatever is staged; that of the stage for a chain that it does not hold.
    pub fn kernel_policy(&self, chain: ChainIdx) -> Option<Policy> {
        match self.chain_mark(chain) {
            ChainMark::PolicyChanged { from } => *from,
            _ => self.ruleset.chain(chain).policy(),
        }
    }

    /// Another policy is staged.
    pub fn policy_is_staged(&self, chain: ChainIdx) -> bool {
        matches!(self.chain_mark(chain), ChainMark::PolicyChanged { .. })
    }

    /// The kernel's own structure, without what is staged.
    pub fn kernel(&self) -> &Arc<Ruleset> {
        match &self.staging {
            Some(staging) => staging.stage.base(),
            None => &self.ruleset,
        }
    }

    /// Where a rule of the kernel stands on the screen.
    pub fn shown_rule(&self, rule: RuleIdx) -> RuleIdx {
        let staging = self.staging.as_ref();
        staging.map_or(rule, |s| {
            s.rules.get(rule.0 as usize).copied().unwrap_or(rule)
        })
    }

    /// Where a chain of the kernel stands on the screen.
    pub fn shown_chain(&self, chain: ChainIdx) -> ChainIdx {
        let staging = self.staging.as_ref();
        staging.map_or(chain, |s| {
            s.chains.get(chain.0 as usize).copied().unwrap_or(chain)
        })
    }

    /// The kernel's rule that a shown one is; `None`: the kernel has none yet.
    pub fn kernel_rule(&self, rule: RuleIdx) -> Option<RuleIdx> {
        match self.stage() {
            Some(stage) => stage.shown().rows.get(rule.0 as usize)?.base,
            None => Some(rule),
        }
    }

    /// The kernel's chain that a shown one is; `None`: the kernel has none yet.
    pub fn kernel_chain(&self, chain: ChainIdx) -> Option<ChainIdx> {
        match self.stage() {
            Some(stage) => stage.shown().chains.get(chain.0 as usize)?.base,
            None => Some(chain),
        }
    }

    /// Shows what is staged: every number goes to the row that its rule has now. A stage without changes is
    /// none.
    pub fn restage(&mut self, stage: Option<Stage>) {
        let kernel = Arc::clone(self.kernel());
        let numbers: Vec<Numbers> = kernel.rules().map(|rule| self.numbers(rule)).collect();
        let chains: Vec<_> = (0..kernel.chains().len())
            .filter_map(|i| u32::try_from(i).ok())
            .map(|i| self.shown_chain(ChainIdx(i)).0 as usize)
            .map(|i| {
                let at = ChainIdx(u32::try_from(i).unwrap_or(u32::MAX));
                let baseline = self.baseline.as_ref().map(|b| b.policy(at));
                (
                    self.policies.get(i).copied().unwrap_or_default(),
                    self.counters.policy(at),
                    baseline.unwrap_or_default(),
                    self.activity(at),
                )
            })
            .collect();
        let zeroed = self.baseline.is_some();
        self.staging = stage
            .filter(is_worth_keeping)
            .map(|stage| Box::new(Staging::of(stage)));
        let shown = match self.stage() {
            Some(stage) => Arc::clone(&stage.shown().ruleset),
            None => kernel,
        };
        self.ruleset = shown;
        self.probes = probe::probes(&self.ruleset);
        self.make_room();
        let mut baseline = self.counters.clone();
        for (rule, numbers) in (0..).map(RuleIdx).zip(numbers) {
            let i = self.shown_rule(rule).0 as usize;
            if let (Some(track), Some(counters), Some(base)) = (
                self.rules.get_mut(i),
                self.counters.rules.get_mut(i),
                baseline.rules.get_mut(i),
            ) {
                (*track, *counters, *base) = (numbers.track, numbers.counters, numbers.baseline);
            }
        }
        for (chain, (track, counters, base, activity)) in (0..).map(ChainIdx).zip(chains) {
            let i = self.shown_chain(chain).0 as usize;
            if i < self.policies.len() {
                self.policies[i] = track;
                self.counters.policies[i] = counters;
                baseline.policies[i] = base;
                self.chains[i] = activity;
            }
        }
        self.baseline = zeroed.then_some(baseline);
    }

    fn numbers(&self, kernel_rule: RuleIdx) -> Numbers {
        let shown = self.shown_rule(kernel_rule);
        let baseline = self.baseline.as_ref().map(|b| b.rule(shown));
        Numbers {
            track: self
                .rules
                .get(shown.0 as usize)
                .copied()
                .unwrap_or_default(),
            counters: self.counters.rule(shown),
            baseline: baseline.unwrap_or_default(),
        }
    }
}
