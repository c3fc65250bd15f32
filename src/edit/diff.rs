//! What a change does, chain by chain, for a dialog, and for the question whether two rulesets are the
//! same at all.
//!
//! Counters are no part of it, nor is the order of tables and user chains, which differs between two
//! runs of the same save tool. A table or a built-in chain that one side does not mention counts as
//! empty and accepting.

use crate::ruleset::{Policy, RuleIdx, Ruleset};

use super::compare::{ChainPair, Comparison, compare};
use super::probe::Net;
use super::{ChainMark, Mark, Stage};

/// One line of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiffLine {
    /// A rule that goes.
    Removed {
        /// Its old number.
        number: u32,
        /// What it says. Hostile text: strip before drawing.
        spec: Vec<u8>,
        /// It is kept on the shelf.
        disabled: bool,
    },
    /// A rule that comes.
    Added {
        /// Its new number.
        number: u32,
        /// What it says.
        spec: Vec<u8>,
    },
    /// A rule that stands elsewhere; it keeps its counters.
    Moved {
        /// Its old number.
        from: u32,
        /// The chain that it comes from; `None`: this one.
        from_chain: Option<Box<[u8]>>,
        /// Its new number.
        to: u32,
        /// What it says.
        spec: Vec<u8>,
    },
    /// A rule whose counters start from zero.
    Zeroed {
        /// Its new number.
        number: u32,
        /// What it says.
        spec: Vec<u8>,
    },
}

/// What becomes of one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainDiff {
    /// Its table.
    pub table: Box<[u8]>,
    /// Its name, the new one if it is renamed.
    pub chain: Box<[u8]>,
    /// What is done to the chain itself.
    pub mark: ChainMark,
    /// The policy that it gets.
    pub policy: Option<Policy>,
    /// Counters of its policy and all its rules start from zero.
    pub zeroed: bool,
    /// Rules that go, then rules that come or change their place, by number.
    pub lines: Vec<DiffLine>,
}

impl ChainDiff {
    fn says_nothing(&self) -> bool {
        self.mark == ChainMark::Same && !self.zeroed && self.lines.is_empty()
    }
}

impl DiffLine {
    /// What the rule says.
    pub fn into_spec(self) -> Vec<u8> {
        match self {
            Self::Removed { spec, .. }
            | Self::Added { spec, .. }
            | Self::Moved { spec, .. }
            | Self::Zeroed { spec, .. } => spec,
        }
    }
}

/// What a change does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// The chains that something is done to.
    pub chains: Vec<ChainDiff>,
}

impl Diff {
    /// From one ruleset to another of the same family and back end. Where `to` was put together here and
    /// has counters start anew, that is part of it; so what a kernel holds is compared with what was staged
    /// as `between(staged, reread)`.
    pub fn between(from: &Ruleset, to: &Ruleset) -> Self {
        let comparison = compare(from, to);
        let nets = (Net::of(from), Net::of(to));
        let mut chains = Vec::new();
        for table in &comparison.tables {
            for chain in &table.chains {
                chains.push(chain_diff(&comparison, &nets, table.name, chain));
            }
        }
        chains.retain(|chain| !chain.says_nothing());
        Self { chains }
    }

    /// Nothing differs: both rulesets have the same rules in the same order, and no counter starts anew.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// The difference that a stage makes, which knows of names and of the shelf.
    pub(super) fn of_stage(stage: &Stage) -> Self {
        let staged = stage.staged();
        let mut diff = Self::between(stage.base(), &staged);
        let shown = stage.shown();
        let net = Net::of(stage.base());
        for chain in &mut diff.chains {
            let Some(table) = shown.ruleset.table_named(&chain.table) else {
                continue;
            };
            let Some(index) = shown.ruleset.chain_named(table, &chain.chain) else {
                continue;
            };
            if let Some(held) = shown.chains.get(index.0 as usize)
                && matches!(held.mark, ChainMark::Renamed { .. })
            {
                chain.mark = held.mark.clone();
            }
            let disabled = shown
                .ruleset
                .chain(index)
                .rules()
                .iter()
                .filter_map(|rule| {
                    let row = shown.row(*rule)?;
                    let base = row.base.filter(|_| row.mark == Mark::Disabled)?;
                    Some(net.number(base))
                });
            let disabled: Vec<u32> = disabled.collect();
            for line in &mut chain.lines {
                if let DiffLine::Removed {
                    number,
                    disabled: is_disabled,
                    ..
                } = line
                {
                    *is_disabled = disabled.contains(number);
                }
            }
        }
        diff
    }
}

/// Numbers of both sides.
type Nets<'a> = (Net<'a>, Net<'a>);

fn chain_diff(
    comparison: &Comparison<'_>,
    nets: &Nets<'_>,
    table: &[u8],
    chain: &ChainPair<'_>,
) -> ChainDiff {
    let (from, to) = (comparison.from, comparison.to);
    let policies = chain.policies(from, to).filter(|(old, new)| old != new);
    let mark = match (chain.from, chain.to) {
        _ if policies.is_some() => ChainMark::PolicyChanged {
            from: policies.map(|policies| policies.0),
        },
        _ if chain.builtin => ChainMark::Same,
        (None, _) => ChainMark::New,
        (_, None) => ChainMark::Deleted,
        _ => ChainMark::Same,
    };
    ChainDiff {
        table: table.into(),
        chain: chain.name.into(),
        mark,
        policy: policies.map(|policies| policies.1),
        zeroed: chain.to.is_some_and(|chain| to.is_chain_zeroed(chain)),
        lines: lines(comparison, nets, chain),
    }
}

fn lines(
    comparison: &Comparison<'_>,
    (old, new): &Nets<'_>,
    chain: &ChainPair<'_>,
) -> Vec<DiffLine> {
    let (from, to) = (comparison.from, comparison.to);
    let mut lines: Vec<DiffLine> = chain
        .removed
        .iter()
        .filter(|removed| removed.now.is_none())
        .map(|removed| DiffLine::Removed {
            number: old.number(removed.rule),
            spec: from.rule_text(removed.rule).into_owned(),
            disabled: false,
        })
        .collect();
    let come = chain.added.iter().map(|added| {
        let spec = to.rule_text(added.rule).into_owned();
        let number = new.number(added.rule);
        let line = match added.was {
            Some(was) => DiffLine::Moved {
                from: old.number(was),
                from_chain: other_chain(from, was, chain),
                to: number,
                spec,
            },
            None => DiffLine::Added { number, spec },
        };
        (added.rule, line)
    });
    let zeroed = chain.kept.iter().map(|(_, new)| *new);
    let zeroed = zeroed.filter(|rule| to.is_zeroed(*rule)).map(|rule| {
        let spec = to.rule_text(rule).into_owned();
        let number = new.number(rule);
        (rule, DiffLine::Zeroed { number, spec })
    });
    let whole = chain.to.is_some_and(|chain| to.is_chain_zeroed(chain));
    let mut come: Vec<(RuleIdx, DiffLine)> = come.chain(zeroed.filter(|_| !whole)).collect();
    come.sort_by_key(|(rule, _)| to.number(*rule));
    lines.extend(come.into_iter().map(|(_, line)| line));
    lines
}

fn other_chain(from: &Ruleset, rule: RuleIdx, chain: &ChainPair<'_>) -> Option<Box<[u8]>> {
    let was = from.chain_of(rule).filter(|was| Some(*was) != chain.from)?;
    Some(from.chain(was).name_bytes().into())
}
