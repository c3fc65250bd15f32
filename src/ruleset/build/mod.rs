//! Carries out what the lines of a dump say, as iptables-restore would, and keeps the result.
//!
//! iptables-save only appends, and then this is bookkeeping. Restore input may also insert, replace,
//! delete, flush, rename and zero; those are carried out on the order of the rules, so that a chain holds
//! what the kernel would hold once the text is loaded into empty tables. What the tool would refuse is
//! carried out where the meaning is plain and remarked on in any case.
//!
//! Where restore is run without `-n`, a table line empties its table first; a table that stands twice in
//! one ruleset therefore counts only from its second line on, and that is remarked on.
//!
//! Here are tables, chains and remarks; `commands` carries out commands, `finish` makes the result.

mod commands;
mod finish;

use std::borrow::Cow;
use std::collections::HashMap;

pub(super) use finish::About;

use super::detect::Header;
use super::diagnostic::{Diagnostic, Diagnostics, Severity, Warning};
use super::line::{ChainLine, Line};
use super::model::{Renamed, Row, is_hooked};
use super::{Counters, Policy};

/// Longest chain name, in bytes (`XT_EXTENSION_MAXNAMELEN` less the terminating zero).
const NAME_LIMIT: usize = 28;

/// How many rules `-D CHAIN rule` may be compared with in one text. Each such line walks its chain; ten
/// megabytes of them must not keep the reader busy for minutes.
const COMPARISONS: usize = 500_000;

/// How many chains `-E` may rename in one text: every jump is looked up among them.
const RENAMES: usize = 1000;

/// How many rules address lists may make in one text beyond one a line. Two lists of 32 addresses make
/// 1,024 rules of one line; a hostile file must not grow a thousandfold in memory.
const LISTED: u32 = 200_000;

struct OpenTable<'a> {
    name: &'a [u8],
    chains: Vec<u32>,
}

struct OpenChain<'a> {
    name: &'a [u8],
    table: u32,
    policy: Option<Policy>,
    counters: Counters,
    builtin: bool,
    declared: bool,
    rules: Vec<u32>,
    gone: bool,
}

/// One ruleset while its lines are read.
pub(super) struct Builder<'a> {
    text: &'a [u8],
    pub from: usize,
    pub header: Option<Header>,
    tables: Vec<OpenTable<'a>>,
    chains: Vec<OpenChain<'a>>,
    lookup: HashMap<(u32, &'a [u8]), u32>,
    rows: Vec<Row>,
    counters: Vec<Counters>,
    rules_are_counted: bool,
    renamed: Vec<Renamed>,
    plain: bool,
    warnings: Vec<Warning>,
    diagnostics: Diagnostics,
    table: Option<u32>,
    /// The chain of the line before, since rules of one chain mostly follow each other.
    recent: Option<(u32, &'a [u8], u32)>,
    outside_said: bool,
    comparisons_left: usize,
    listed_left: u32,
}

impl<'a> Builder<'a> {
    pub(super) fn new(text: &'a [u8], from: usize) -> Self {
        Self {
            text,
            from,
            header: None,
            tables: Vec::new(),
            chains: Vec::new(),
            lookup: HashMap::new(),
            rows: Vec::new(),
            counters: Vec::new(),
            rules_are_counted: false,
            renamed: Vec::new(),
            plain: true,
            warnings: Vec::new(),
            diagnostics: Diagnostics::default(),
            table: None,
            recent: None,
            outside_said: false,
            comparisons_left: COMPARISONS,
            listed_left: LISTED,
        }
    }

    pub(super) fn is_untouched(&self) -> bool {
        self.header.is_none() && self.tables.is_empty() && self.warnings.is_empty()
    }

    pub(super) fn has_tables(&self) -> bool {
        !self.tables.is_empty()
    }

    pub(super) fn has_table(&self, name: &[u8]) -> bool {
        self.tables.iter().any(|table| table.name == name)
    }

    pub(super) fn is_inside_table(&self) -> bool {
        self.table.is_some()
    }

    pub(super) fn warn(&mut self, warning: Warning) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Remark on a line, at an offset of its body.
    pub(super) fn remark(
        &mut self,
        severity: Severity,
        line: &Line<'_>,
        at: usize,
        expected: impl Into<Cow<'static, str>>,
    ) {
        let text = line.body.get(at..).unwrap_or_default();
        let text = text.get(..Diagnostic::TEXT_LIMIT).unwrap_or(text);
        let column = line.start - line.from + at + 1;
        self.diagnostics.push(Diagnostic {
            line: line.number,
            column: u32::try_from(column).unwrap_or(u32::MAX),
            severity,
            expected: expected.into(),
            text: text.into(),
        });
    }

    /// `*table`
    pub(super) fn open_table(&mut self, line: &Line<'a>, name: &'a [u8]) {
        if self.table.is_some() {
            self.remark(
                Severity::Warning,
                line,
                0,
                "COMMIT before the next table: iptables-restore refuses this",
            );
        }
        let known = self.tables.iter().position(|table| table.name == name);
        let index = known.unwrap_or(self.tables.len());
        if known.is_some() {
            self.remark(
                Severity::Warning,
                line,
                0,
                "this table a second time: without -n iptables-restore empties it here, what stands above has no effect",
            );
            self.empty_table(index_u32(index));
        } else {
            self.tables.push(OpenTable {
                name,
                chains: Vec::new(),
            });
        }
        self.table = Some(index_u32(index));
    }

    fn empty_table(&mut self, table: u32) {
        self.plain = false;
        self.recent = None;
        for chain in self.chains.iter_mut().filter(|chain| chain.table == table) {
            chain.rules.clear();
            chain.gone |= !chain.builtin;
            chain.declared = false;
        }
        let chains = &self.chains;
        self.lookup
            .retain(|_, index| chains.get(*index as usize).is_some_and(|chain| !chain.gone));
    }

    /// `COMMIT`
    pub(super) fn commit(&mut self, line: &Line<'_>) {
        if self.table.take().is_none() {
            self.remark(
                Severity::Warning,
                line,
                0,
                "COMMIT only after a '*table' line",
            );
        }
        self.recent = None;
    }

    /// `:CHAIN POLICY [packets:bytes]`
    pub(super) fn chain_line(&mut self, line: &Line<'a>, said: &ChainLine<'a>) {
        let table = self.table_or_filter(line);
        if let Some((at, expected)) = said.complaint {
            self.remark(Severity::Warning, line, at, expected);
        }
        let (index, is_new) = self.chain_or_new(line, table, said.name, said.policy.is_some());
        let Some(chain) = self.chains.get_mut(index as usize) else {
            return;
        };
        let twice = !is_new && chain.declared;
        chain.declared = true;
        chain.counters = said.counters.unwrap_or(chain.counters);
        if chain.builtin {
            chain.policy = said.policy.or(chain.policy);
        } else if said.policy.is_some() {
            self.remark(
                Severity::Warning,
                line,
                1,
                "'-' as the policy of a chain that no hook calls",
            );
        }
        if twice {
            self.remark(Severity::Warning, line, 1, "each chain declared only once");
        }
    }

    fn table_or_filter(&mut self, line: &Line<'a>) -> u32 {
        if let Some(table) = self.table {
            return table;
        }
        if !self.outside_said {
            self.outside_said = true;
            self.remark(
                Severity::Warning,
                line,
                0,
                "a '*table' line above: taken as table filter, iptables-restore refuses this",
            );
        }
        self.table_named(b"filter")
    }

    fn table_named(&mut self, name: &'a [u8]) -> u32 {
        let known = self.tables.iter().position(|table| table.name == name);
        let index = known.unwrap_or_else(|| {
            self.plain = false;
            self.tables.push(OpenTable {
                name,
                chains: Vec::new(),
            });
            self.tables.len() - 1
        });
        index_u32(index)
    }

    /// The chain of that name, made if it is not there; and whether it was made.
    fn chain_or_new(
        &mut self,
        line: &Line<'_>,
        table: u32,
        name: &'a [u8],
        has_policy: bool,
    ) -> (u32, bool) {
        if let Some(found) = self.find(table, name) {
            return (found, false);
        }
        if name.len() > NAME_LIMIT {
            self.remark(
                Severity::Warning,
                line,
                0,
                "a chain name of at most 28 bytes",
            );
        }
        let index = index_u32(self.chains.len());
        let table_name = self.tables.get(table as usize).map_or(&b""[..], |t| t.name);
        self.chains.push(OpenChain {
            name,
            table,
            policy: None,
            counters: Counters::default(),
            builtin: is_hooked(table_name, name).unwrap_or(has_policy),
            declared: false,
            rules: Vec::new(),
            gone: false,
        });
        if let Some(table) = self.tables.get_mut(table as usize) {
            table.chains.push(index);
        }
        self.lookup.insert((table, name), index);
        (index, true)
    }

    fn find(&mut self, table: u32, name: &'a [u8]) -> Option<u32> {
        if let Some((recent_table, recent_name, index)) = self.recent
            && recent_table == table
            && recent_name == name
        {
            return Some(index);
        }
        let index = *self.lookup.get(&(table, name))?;
        self.recent = Some((table, name, index));
        Some(index)
    }
}

/// Positions and counts are below the length of the text, which is below 4 GiB.
pub(super) fn index_u32(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
