//! The commands of restore input, carried out on chains and on the order of their rules.

use super::super::command::{Command, CommandLine};
use super::super::diagnostic::Severity;
use super::super::identity;
use super::super::line::Line;
use super::super::model::{ChainIdx, Renamed, Row, is_hooked};
use super::super::spec::Spec;
use super::super::spec::general::address_choices;
use super::super::{Family, Policy};
use super::{Builder, RENAMES, index_u32};

/// How many comparisons by letter one of typed forms is worth.
const TYPED_COST: usize = 10;

impl<'a> Builder<'a> {
    /// A command line, already read.
    pub(in super::super) fn command(&mut self, line: &Line<'a>, said: &CommandLine<'a>) {
        let idle = match said.command {
            Command::Query => {
                "a command that changes the ruleset: this one lists, checks or explains"
            }
            // Measured with both back ends: counters that the same text loads stay.
            Command::Zero => "no -Z: it has no effect on the counters that a text itself loads",
            _ => "",
        };
        if !idle.is_empty() {
            return self.remark(Severity::Note, line, 0, idle);
        }
        let table = if let Some(name) = said.table {
            self.remark(
                Severity::Warning,
                line,
                0,
                "no -t: iptables-restore refuses it; the rule is taken for that table",
            );
            self.plain = false;
            self.table_named(name)
        } else {
            self.table_or_filter(line)
        };
        match said.command {
            Command::Append { chain } => self.add(line, said, table, chain, None),
            Command::Insert { chain, at } => self.add(line, said, table, chain, Some(at)),
            Command::Replace { chain, number } => self.replace(line, said, table, chain, number),
            Command::DeleteNumber { chain, number } => self.delete(line, table, chain, number),
            Command::DeleteRule { chain } => self.delete_equal(line, said, table, chain),
            Command::Policy { chain, policy } => self.set_policy(line, said, table, chain, policy),
            Command::New { chain } => self.new_chain(line, table, chain),
            Command::DeleteChain { chain } => self.delete_chains(line, table, chain),
            Command::Flush { chain } => self.flush(line, table, chain),
            Command::Rename { old, new } => self.rename(line, table, old, new),
            Command::Zero | Command::Query => {}
        }
    }

    /// The chain that a rule goes into. A built-in one need not be declared; another one must, and is
    /// taken for a user chain where it is not.
    fn chain_for_rule(&mut self, line: &Line<'a>, table: u32, name: &'a [u8]) -> u32 {
        let (index, is_new) = self.chain_or_new(line, table, name, false);
        let builtin = self.chains.get(index as usize).is_some_and(|c| c.builtin);
        if is_new && !builtin {
            self.remark(
                Severity::Warning,
                line,
                0,
                "a ':CHAIN' line above for this chain: iptables-restore refuses the rule",
            );
        }
        index
    }

    fn add(
        &mut self,
        line: &Line<'a>,
        said: &CommandLine<'a>,
        table: u32,
        name: &'a [u8],
        at: Option<u32>,
    ) {
        let chain = self.chain_for_rule(line, table, name);
        let made = self.rules_of_line(line, said, chain);
        let Some(open) = self.chains.get_mut(chain as usize) else {
            return;
        };
        let Some(at) = at else {
            open.rules.extend(made);
            return;
        };
        self.plain = false;
        let position = (at - 1) as usize;
        let beyond = position > open.rules.len();
        let position = position.min(open.rules.len());
        // Each rule that the line makes is inserted at the same place, so the last one stands first.
        open.rules.splice(
            position..position,
            made.collect::<Vec<_>>().into_iter().rev(),
        );
        if beyond {
            self.remark(
                Severity::Warning,
                line,
                0,
                "a rule number in the chain or one past its end: taken as the end",
            );
        }
    }

    /// Rows for the rules that one line makes: one, or one for each pair of listed addresses.
    fn rules_of_line(
        &mut self,
        line: &Line<'_>,
        said: &CommandLine<'_>,
        chain: u32,
    ) -> std::ops::Range<u32> {
        let spec = line.body.get(said.spec.clone()).unwrap_or_default();
        let within = identity::counters_within(spec);
        let counted = said.counters.or(within.map(|found| found.counters));
        self.rules_are_counted |= counted.is_some();
        // Counters at either end are no part of what the rule says; in the middle they stay.
        let (mut from, mut to) = (0, spec.len());
        match within {
            Some(found) if found.end == spec.len() => to = found.start,
            Some(found) if found.start == 0 => from = found.end,
            _ => {}
        }
        let bare = spec.get(from..to).unwrap_or_default();
        let start =
            line.start + said.spec.start + from + (bare.len() - bare.trim_ascii_start().len());
        let mut row = Row {
            start: index_u32(line.start),
            spec: index_u32(start),
            end: index_u32(start + bare.trim_ascii().len()),
            chain: ChainIdx(chain),
            position: 0,
            choice: 0,
        };
        let mut count = address_choices(spec);
        if count > 1 {
            self.plain = false;
            if count - 1 > self.listed_left {
                count = 1;
                self.remark(
                    Severity::Warning,
                    line,
                    said.spec.start,
                    "fewer addresses in lists: shown as one rule, the tool makes one of each pair",
                );
            }
            self.listed_left -= count - 1;
        }
        let first = index_u32(self.rows.len());
        for choice in 0..count {
            row.choice = choice;
            self.rows.push(row);
            self.counters.push(counted.unwrap_or_default());
        }
        first..index_u32(self.rows.len())
    }

    fn chain_that_is(&mut self, line: &Line<'_>, table: u32, name: &'a [u8]) -> Option<u32> {
        self.plain = false;
        let found = self.find(table, name).or_else(|| {
            let table_name = self.tables.get(table as usize)?.name;
            is_hooked(table_name, name)?.then(|| self.chain_or_new(line, table, name, false).0)
        });
        if found.is_none() {
            self.remark(Severity::Error, line, 0, "a chain that is there");
        }
        found
    }

    fn replace(
        &mut self,
        line: &Line<'a>,
        said: &CommandLine<'a>,
        table: u32,
        name: &'a [u8],
        number: u32,
    ) {
        let Some(chain) = self.chain_that_is(line, table, name) else {
            return;
        };
        let made = self.rules_of_line(line, said, chain).next();
        let slot = self
            .chains
            .get_mut(chain as usize)
            .and_then(|chain| chain.rules.get_mut((number - 1) as usize));
        match (slot, made) {
            (Some(slot), Some(made)) => *slot = made,
            _ => self.remark(
                Severity::Error,
                line,
                0,
                "the number of a rule that is there",
            ),
        }
    }

    fn delete(&mut self, line: &Line<'_>, table: u32, name: &'a [u8], number: u32) {
        let Some(chain) = self.chain_that_is(line, table, name) else {
            return;
        };
        let position = (number - 1) as usize;
        match self.chains.get_mut(chain as usize) {
            Some(chain) if position < chain.rules.len() => {
                chain.rules.remove(position);
            }
            _ => self.remark(
                Severity::Error,
                line,
                0,
                "the number of a rule that is there",
            ),
        }
    }

    fn delete_equal(
        &mut self,
        line: &Line<'_>,
        said: &CommandLine<'_>,
        table: u32,
        name: &'a [u8],
    ) {
        let Some(chain) = self.chain_that_is(line, table, name) else {
            return;
        };
        let wanted = line.body.get(said.spec.clone()).unwrap_or_default();
        let found = self.find_equal(chain, wanted);
        let left = self.comparisons_left;
        match (found, self.chains.get_mut(chain as usize)) {
            (Some(position), Some(chain)) => {
                chain.rules.remove(position);
            }
            _ if left == 0 => self.remark(
                Severity::Error,
                line,
                0,
                "fewer deletions by rule: this one is not carried out",
            ),
            _ => self.remark(
                Severity::Error,
                line,
                said.spec.start,
                "a rule written as one that stands in the chain",
            ),
        }
    }

    /// The position of the first rule that reads as `wanted`, letter by letter or else in its typed form.
    fn find_equal(&mut self, chain: u32, wanted: &[u8]) -> Option<usize> {
        let rules = self.chains.get(chain as usize)?.rules.as_slice();
        let specs = rules.iter().map(|rule| {
            let row = self.rows.get(*rule as usize);
            row.and_then(|row| self.text.get(row.spec as usize..row.end as usize))
                .unwrap_or_default()
        });
        let normal = identity::normal_form(wanted);
        let by_letter = specs
            .clone()
            .take(self.comparisons_left)
            .position(|spec| identity::normal_form(spec) == normal);
        self.comparisons_left = self.comparisons_left.saturating_sub(rules.len());
        if by_letter.is_some() {
            return by_letter;
        }
        // The family may not be known yet; addresses of the other one compare by letter.
        let typed = |spec| {
            let mut spec = Spec::parse(spec, Family::V4, &|_| true);
            spec.counters = None;
            spec
        };
        let wanted = typed(wanted);
        let by_type = specs
            .take(self.comparisons_left / TYPED_COST)
            .position(|spec| typed(spec) == wanted);
        let cost = rules.len().saturating_mul(TYPED_COST);
        self.comparisons_left = self.comparisons_left.saturating_sub(cost);
        by_type
    }

    fn set_policy(
        &mut self,
        line: &Line<'_>,
        said: &CommandLine<'_>,
        table: u32,
        name: &'a [u8],
        policy: Policy,
    ) {
        self.plain = false;
        let (index, _) = self.chain_or_new(line, table, name, true);
        match self.chains.get_mut(index as usize) {
            Some(chain) if chain.builtin => {
                chain.policy = Some(policy);
                chain.counters = said.counters.unwrap_or_default();
            }
            _ => self.remark(
                Severity::Error,
                line,
                0,
                "a built-in chain: only those have a policy",
            ),
        }
    }

    fn new_chain(&mut self, line: &Line<'_>, table: u32, name: &'a [u8]) {
        self.plain = false;
        let (index, is_new) = self.chain_or_new(line, table, name, false);
        if let Some(chain) = self.chains.get_mut(index as usize) {
            chain.declared = true;
        }
        if !is_new {
            self.remark(
                Severity::Error,
                line,
                0,
                "the name of a chain that is not there yet",
            );
        }
    }

    fn delete_chains(&mut self, line: &Line<'_>, table: u32, name: Option<&'a [u8]>) {
        self.plain = false;
        self.recent = None;
        if let Some(name) = name {
            let Some(index) = self.chain_that_is(line, table, name) else {
                return;
            };
            self.recent = None;
            let chain = self.chains.get_mut(index as usize);
            match chain.filter(|chain| chain.rules.is_empty() && !chain.builtin) {
                Some(chain) => {
                    chain.gone = true;
                    self.lookup.remove(&(table, name));
                }
                None => self.remark(Severity::Error, line, 0, "a user chain without rules"),
            }
            return;
        }
        let mut kept = false;
        for chain in self
            .chains
            .iter_mut()
            .filter(|c| c.table == table && !c.builtin)
        {
            chain.gone |= chain.rules.is_empty();
            kept |= !chain.gone;
        }
        let chains = &self.chains;
        self.lookup
            .retain(|_, index| chains.get(*index as usize).is_some_and(|chain| !chain.gone));
        if kept {
            self.remark(
                Severity::Error,
                line,
                0,
                "user chains without rules: those with rules are kept",
            );
        }
    }

    fn flush(&mut self, line: &Line<'_>, table: u32, name: Option<&'a [u8]>) {
        self.plain = false;
        let only = match name {
            Some(name) => match self.chain_that_is(line, table, name) {
                Some(index) => Some(index),
                None => return,
            },
            None => None,
        };
        for (index, chain) in self.chains.iter_mut().enumerate() {
            if chain.table == table && only.is_none_or(|only| only as usize == index) {
                chain.rules.clear();
            }
        }
    }

    fn rename(&mut self, line: &Line<'_>, table: u32, old: &'a [u8], new: &'a [u8]) {
        let Some(index) = self.chain_that_is(line, table, old) else {
            return;
        };
        self.recent = None;
        if self.renamed.len() >= RENAMES {
            return self.remark(
                Severity::Error,
                line,
                0,
                "fewer renamed chains: this one keeps its name",
            );
        }
        if self.find(table, new).is_some() {
            self.remark(Severity::Error, line, 0, "a new name that no chain has");
            return;
        }
        self.recent = None;
        match self.chains.get_mut(index as usize) {
            Some(chain) if !chain.builtin => chain.name = new,
            _ => {
                self.remark(
                    Severity::Error,
                    line,
                    0,
                    "a user chain: a built-in one keeps its name",
                );
                return;
            }
        }
        self.lookup.remove(&(table, old));
        self.lookup.insert((table, new), index);
        self.renamed.push(Renamed {
            before: index_u32(line.start),
            old: old.into(),
            chain: ChainIdx(index),
        });
    }
}
