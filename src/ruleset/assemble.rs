//! Puts a ruleset together from parts, as the save tool would have printed it.
//!
//! A staged or merged ruleset is mostly the old one with a few rules in other places. Printing it and
//! reading it back would lex 100,000 rules at every key; here the text is laid down and the positions
//! are noted in passing, so the cost is that of copying. The text reads back as the same ruleset, which
//! the tests of `edit` hold it to.
//!
//! What it does not do: it does not look into specifications. Whoever hands one in has made it a single
//! rule, blanks even and counters out ([`Ruleset::rule_text`], [`single_rules`]).

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use super::build::index_u32;
use super::identity::normal_form;
use super::model::{Chain, ChainIdx, Name, Row, RuleIdx, Ruleset, Table, TableIdx, hooked_chains};
use super::spec::general::{address_choices, with_choice};
use super::{CounterSet, Counters, Policy};

/// What a chain is besides its rules.
#[derive(Clone, Copy, Debug)]
pub struct ChainParts<'a> {
    /// As the kernel has it.
    pub name: &'a [u8],
    /// Of a built-in chain, where it is known.
    pub policy: Option<Policy>,
    /// Called from a hook.
    pub builtin: bool,
    /// Of the policy.
    pub counters: Counters,
    /// The kernel shall count from zero again: every rule of it, and its policy.
    pub zeroed: bool,
}

/// What a rule is.
#[derive(Clone, Copy, Debug)]
pub struct RuleParts<'a> {
    /// One rule, without `-A CHAIN`, blanks even, counters out.
    pub spec: &'a [u8],
    /// That the text will carry.
    pub counters: Counters,
    /// The kernel shall count from zero again.
    pub zeroed: bool,
}

/// A ruleset that is being put together: a table, its chains, then the rules of each chain in order.
#[derive(Debug)]
pub struct Assembly {
    made: Ruleset,
    text: Vec<u8>,
    open: bool,
}

impl Assembly {
    /// An empty one of the family, back end, header and warnings of `model`.
    pub fn like(model: &Ruleset) -> Self {
        let made = Ruleset {
            text: Arc::default(),
            from: 0,
            to: 0,
            family: model.family,
            evidence: model.evidence,
            backend: model.backend,
            header: model.header.clone(),
            tables: Vec::with_capacity(model.tables.len()),
            chains: Vec::with_capacity(model.chains.len()),
            by_name: Vec::new(),
            rows: Vec::with_capacity(model.rows.len() + 16),
            saved: CounterSet::default(),
            rules_are_counted: model.rules_are_counted || model.rows.is_empty(),
            renamed: Vec::new(),
            plain: true,
            warnings: model.warnings.clone(),
            diagnostics: model.diagnostics.clone(),
            zeroed: Vec::new(),
            zeroed_chains: Vec::new(),
            ids: OnceLock::new(),
        };
        Self {
            made,
            text: Vec::with_capacity(model.bytes().len() + 4096),
            open: false,
        }
    }

    /// Begins the next table.
    pub fn table(&mut self, name: &[u8]) {
        self.close();
        self.open = true;
        self.text.push(b'*');
        self.text.extend_from_slice(name);
        self.text.push(b'\n');
        self.made.tables.push(Table {
            name: Name::new(name),
            chains: Vec::new(),
        });
    }

    /// Adds a chain to the table.
    pub fn chain(&mut self, parts: &ChainParts<'_>) -> ChainIdx {
        let index = ChainIdx(index_u32(self.made.chains.len()));
        self.text.push(b':');
        self.text.extend_from_slice(parts.name);
        self.text.push(b' ');
        let policy = parts.policy.map_or("-", Policy::name);
        self.text.extend_from_slice(policy.as_bytes());
        self.text.push(b' ');
        parts.counters.write_brackets(&mut self.text);
        self.text.push(b'\n');
        let table = TableIdx(index_u32(self.made.tables.len().saturating_sub(1)));
        self.made.chains.push(Chain {
            name: Name::new(parts.name),
            table,
            policy: parts.policy,
            builtin: parts.builtin,
            declared: true,
            rules: Vec::new(),
        });
        self.made.saved.policies.push(parts.counters);
        if parts.zeroed {
            self.made.zeroed_chains.push(index);
        }
        if let Some(table) = self.made.tables.last_mut() {
            table.chains.push(index);
        }
        index
    }

    /// Adds a rule at the end of a chain of the table.
    pub fn rule(&mut self, chain: ChainIdx, parts: &RuleParts<'_>) -> RuleIdx {
        let index = RuleIdx(index_u32(self.made.rows.len()));
        let start = index_u32(self.text.len());
        let Some(held) = self.made.chains.get_mut(chain.0 as usize) else {
            return index;
        };
        if self.made.rules_are_counted {
            parts.counters.write_brackets(&mut self.text);
            self.text.push(b' ');
        }
        self.text.extend_from_slice(b"-A ");
        self.text.extend_from_slice(held.name_bytes());
        if !parts.spec.is_empty() {
            self.text.push(b' ');
        }
        let spec = index_u32(self.text.len());
        self.text.extend_from_slice(parts.spec);
        self.made.rows.push(Row {
            start,
            spec,
            end: index_u32(self.text.len()),
            chain,
            position: index_u32(held.rules.len()),
            choice: 0,
        });
        held.rules.push(index);
        self.text.push(b'\n');
        self.made.saved.rules.push(parts.counters);
        if parts.zeroed {
            self.made.zeroed.push(index);
        }
        index
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            self.text.extend_from_slice(b"COMMIT\n");
        }
    }

    /// The ruleset.
    pub fn finish(mut self) -> Ruleset {
        self.close();
        let mut made = self.made;
        made.to = index_u32(self.text.len());
        made.text = self.text.into();
        made.sort_names();
        made
    }
}

impl Ruleset {
    /// The rule as the save tool prints it: blanks even, counters out, one address where the line lists
    /// several, and the present name of a chain that was renamed further down.
    pub fn rule_text(&self, rule: RuleIdx) -> Cow<'_, [u8]> {
        let normal = self.normal_spec(rule);
        if self.plain {
            return normal;
        }
        let choice = self.row(rule).map_or(0, |row| row.choice);
        let mut out = Vec::with_capacity(normal.len());
        self.print_spec(rule, &with_choice(&normal, choice), &mut out);
        Cow::Owned(out)
    }

    /// Whether two rules say the same, as [`Ruleset::rule_text`] has it: without looking at words where the
    /// texts are equal byte for byte, as those of two save tools are.
    pub fn says_the_same(&self, rule: RuleIdx, other: &Self, other_rule: RuleIdx) -> bool {
        let alike = self.plain && other.plain && self.spec(rule) == other.spec(other_rule);
        alike || self.rule_text(rule) == other.rule_text(other_rule)
    }

    /// Whether the kernel shall count this rule from zero again. Only a ruleset that was put together
    /// says so; a dump never does.
    pub fn is_zeroed(&self, rule: RuleIdx) -> bool {
        self.zeroed.binary_search(&rule).is_ok()
    }

    /// The rules of which [`Ruleset::is_zeroed`] is true, rising.
    pub fn zeroed_rules(&self) -> &[RuleIdx] {
        &self.zeroed
    }

    /// The chains of which [`Ruleset::is_chain_zeroed`] is true, rising.
    pub fn zeroed_chains(&self) -> &[ChainIdx] {
        &self.zeroed_chains
    }

    /// The same, of which these rules and chains are to be counted from zero. The text does not carry that,
    /// so whoever hands a ruleset on as text hands on these beside it.
    #[must_use]
    pub fn counting_anew(mut self, mut rules: Vec<RuleIdx>, mut chains: Vec<ChainIdx>) -> Self {
        rules.sort_unstable();
        chains.sort_unstable();
        self.zeroed = rules;
        self.zeroed_chains = chains;
        self
    }

    /// The same ruleset with nothing to be counted from zero: what an assembled one is once it is loaded.
    #[must_use]
    pub fn loaded(self: Arc<Self>) -> Arc<Self> {
        if self.zeroed.is_empty() && self.zeroed_chains.is_empty() {
            return self;
        }
        let mut assembly = Assembly::like(&self);
        for table in &self.tables {
            assembly.table(table.name_bytes());
            let mut made = Vec::with_capacity(table.chains.len());
            for index in &table.chains {
                let chain = self.chain(*index);
                made.push(assembly.chain(&ChainParts {
                    name: chain.name_bytes(),
                    policy: chain.policy,
                    builtin: chain.builtin,
                    counters: self.saved.policy(*index),
                    zeroed: false,
                }));
            }
            for (index, to) in table.chains.iter().zip(made) {
                for rule in self.chain(*index).rules() {
                    let parts = RuleParts {
                        spec: &self.rule_text(*rule),
                        counters: self.saved.rule(*rule),
                        zeroed: false,
                    };
                    assembly.rule(to, &parts);
                }
            }
        }
        Arc::new(assembly.finish())
    }

    /// The same of a chain: every rule of it, and its policy.
    pub fn is_chain_zeroed(&self, chain: ChainIdx) -> bool {
        self.zeroed_chains.binary_search(&chain).is_ok()
    }
}

/// The chains that the kernel calls from its hooks in a table of that name, in the order in which the
/// save tool prints them; none for a table that is not known.
pub fn builtin_chains(table: &[u8]) -> &'static [&'static str] {
    hooked_chains(table).unwrap_or_default()
}

/// The rules that one specification makes, each as the save tool spaces it: one, or one for each pair
/// of listed addresses, in the order in which an append would have them. At most `limit` of them; `None`
/// when there would be more.
pub fn single_rules(spec: &[u8], limit: u32) -> Option<Vec<Vec<u8>>> {
    let normal = normal_form(spec.trim_ascii());
    let count = address_choices(&normal);
    let one = |choice| with_choice(&normal, choice).into_owned();
    (count <= limit).then(|| (0..count).map(one).collect())
}
