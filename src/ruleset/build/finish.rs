//! Makes the immutable result of what was built.

use std::sync::{Arc, OnceLock};

use super::super::detect::Evidence;
use super::super::model::{Chain, ChainIdx, Name, Row, RuleIdx, Ruleset, Table, TableIdx};
use super::super::{Backend, CounterSet, Family};
use super::{Builder, index_u32};

/// What is known of a ruleset besides its lines.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct About {
    pub family: Family,
    pub evidence: Evidence,
    pub backend: Option<Backend>,
}

impl Builder<'_> {
    /// The ruleset, whose text ends at `to`.
    pub(in super::super) fn finish(mut self, text: &Arc<[u8]>, to: usize, about: About) -> Ruleset {
        if !self.plain {
            self.drop_what_is_gone();
        }
        let mut policies = Vec::with_capacity(self.chains.len());
        let mut chains = Vec::with_capacity(self.chains.len());
        for open in self.chains {
            for (position, rule) in open.rules.iter().enumerate() {
                if let Some(row) = self.rows.get_mut(*rule as usize) {
                    row.position = index_u32(position);
                }
            }
            policies.push(open.counters);
            chains.push(Chain {
                name: Name::new(open.name),
                table: TableIdx(open.table),
                policy: open.policy,
                builtin: open.builtin,
                declared: open.declared,
                rules: open.rules.into_iter().map(RuleIdx).collect(),
            });
        }
        let tables = self.tables.into_iter().map(|open| Table {
            name: Name::new(open.name),
            chains: open.chains.into_iter().map(ChainIdx).collect(),
        });
        self.rows.shrink_to_fit();
        self.counters.shrink_to_fit();
        let mut made = Ruleset {
            text: Arc::clone(text),
            from: index_u32(self.from),
            to: index_u32(to),
            family: about.family,
            evidence: about.evidence,
            backend: about.backend,
            header: self.header,
            tables: tables.collect(),
            by_name: Vec::new(),
            chains,
            rows: self.rows,
            saved: CounterSet {
                rules: self.counters,
                policies,
            },
            rules_are_counted: self.rules_are_counted,
            renamed: self.renamed,
            plain: self.plain,
            warnings: self.warnings,
            diagnostics: self.diagnostics,
            zeroed: Vec::new(),
            zeroed_chains: Vec::new(),
            ids: OnceLock::new(),
        };
        made.sort_names();
        made
    }

    /// Renumber after deletions: rules in no chain and chains that are gone leave their places.
    fn drop_what_is_gone(&mut self) {
        let mut new_chain = vec![u32::MAX; self.chains.len()];
        let mut count = 0;
        for (chain, new) in self.chains.iter().zip(&mut new_chain) {
            if !chain.gone {
                *new = count;
                count += 1;
            }
        }
        let renumber = |old: u32| new_chain.get(old as usize).copied().unwrap_or(u32::MAX);
        for table in &mut self.tables {
            table.chains.retain(|chain| renumber(*chain) != u32::MAX);
            table
                .chains
                .iter_mut()
                .for_each(|chain| *chain = renumber(*chain));
        }
        for renamed in &mut self.renamed {
            renamed.chain = ChainIdx(renumber(renamed.chain.0));
        }
        self.renamed.retain(|renamed| renamed.chain.0 != u32::MAX);
        let mut held = vec![false; self.rows.len()];
        self.chains.retain(|chain| !chain.gone);
        for rule in self.chains.iter().flat_map(|chain| &chain.rules) {
            if let Some(held) = held.get_mut(*rule as usize) {
                *held = true;
            }
        }
        let mut new_rule = Vec::with_capacity(held.len());
        let mut rows = Vec::new();
        let mut counters = Vec::new();
        for ((row, counted), held) in self.rows.iter().zip(&self.counters).zip(&held) {
            new_rule.push(index_u32(rows.len()));
            if *held {
                let chain = ChainIdx(renumber(row.chain.0));
                rows.push(Row { chain, ..*row });
                counters.push(*counted);
            }
        }
        for rule in self.chains.iter_mut().flat_map(|chain| &mut chain.rules) {
            *rule = new_rule.get(*rule as usize).copied().unwrap_or(u32::MAX);
        }
        self.rows = rows;
        self.counters = counters;
    }
}
