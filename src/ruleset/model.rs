//! What a dump holds once it is read: tables, chains, and rules as positions in the text.
//!
//! A rule costs 24 bytes here, 16 for the counters that the dump carried and 4 in its chain's order.
//! Everything is immutable: a changed firewall is read anew. Order is data: tables and chains stand as
//! the text had them, rules as the kernel would try them once the text is restored.

use std::sync::{Arc, LazyLock, OnceLock};

use super::build::index_u32;
use super::detect::{Evidence, Header};
use super::diagnostic::{Diagnostic, Diagnostics, Warning};
use super::identity::TextId;
use super::line::Lines;
use super::{Backend, CounterSet, Family};

/// Index into [`Ruleset::tables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableIdx(pub u32);

/// Index into [`Ruleset::chains`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainIdx(pub u32);

/// Index of a rule, in the order of the text, below [`Ruleset::rule_count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleIdx(pub u32);

/// What a built-in chain does with a packet that no rule decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Policy {
    /// Let it pass.
    Accept,
    /// Drop it without an answer.
    Drop,
    /// Only ip_queue's old QUEUE; legal in restore input.
    Queue,
}

impl Policy {
    /// By its name in a dump.
    pub fn from_word(word: &[u8]) -> Option<Self> {
        match word {
            b"ACCEPT" => Some(Self::Accept),
            b"DROP" => Some(Self::Drop),
            b"QUEUE" => Some(Self::Queue),
            _ => None,
        }
    }

    /// Its name in a dump.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Drop => "DROP",
            Self::Queue => "QUEUE",
        }
    }
}

/// The chains that the kernel calls from its hooks, by table (iptables(8), "TABLES").
const HOOKED: &[(&str, &[&str])] = &[
    ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
    ("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]),
    (
        "mangle",
        &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
    ),
    ("raw", &["PREROUTING", "OUTPUT"]),
    ("security", &["INPUT", "FORWARD", "OUTPUT"]),
];

/// Whether the kernel calls that chain of that table from a hook; `None` for a table that is not known.
pub(super) fn is_hooked(table: &[u8], chain: &[u8]) -> Option<bool> {
    let chains = hooked_chains(table)?;
    Some(chains.iter().any(|name| name.as_bytes() == chain))
}

/// The chains that the kernel calls from the hooks of a table; `None` for a table that is not known.
pub(super) fn hooked_chains(table: &[u8]) -> Option<&'static [&'static str]> {
    let (_, chains) = HOOKED.iter().find(|(name, _)| name.as_bytes() == table)?;
    Some(chains)
}

/// A name out of a dump. The kernel's names are bytes; most are ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    text: Box<str>,
    /// Only when the bytes are not UTF-8.
    raw: Option<Box<[u8]>>,
}

impl Name {
    pub(super) fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self {
                text: text.into(),
                raw: None,
            },
            Err(_) => Self {
                text: String::from_utf8_lossy(bytes).into(),
                raw: Some(bytes.into()),
            },
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.text.as_bytes())
    }
}

/// One table of a ruleset.
#[derive(Clone, Debug)]
pub struct Table {
    pub(super) name: Name,
    pub(super) chains: Vec<ChainIdx>,
}

impl Table {
    /// Its name: `filter`, `nat`, … Bytes that are not UTF-8 show as U+FFFD.
    pub fn name(&self) -> &str {
        &self.name.text
    }

    /// Its name as the kernel has it.
    pub fn name_bytes(&self) -> &[u8] {
        self.name.bytes()
    }

    /// Its chains, in the order of the text.
    pub fn chains(&self) -> &[ChainIdx] {
        &self.chains
    }
}

/// One chain.
#[derive(Clone, Debug)]
pub struct Chain {
    pub(super) name: Name,
    pub(super) table: TableIdx,
    pub(super) policy: Option<Policy>,
    pub(super) builtin: bool,
    pub(super) declared: bool,
    pub(super) rules: Vec<RuleIdx>,
}

impl Chain {
    /// Its name. Bytes that are not UTF-8 show as U+FFFD. Hostile text: strip before drawing.
    pub fn name(&self) -> &str {
        &self.name.text
    }

    /// Its name as the kernel has it.
    pub fn name_bytes(&self) -> &[u8] {
        self.name.bytes()
    }

    /// The table that holds it.
    pub fn table(&self) -> TableIdx {
        self.table
    }

    /// `None` for a user chain, and for a built-in chain whose policy the text does not state
    /// (`:INPUT - [0:0]`, or a partial file without a line for it): the one in force stays, and is not
    /// known here.
    pub fn policy(&self) -> Option<Policy> {
        self.policy
    }

    /// In evaluation order; the rule number is the position plus one.
    pub fn rules(&self) -> &[RuleIdx] {
        &self.rules
    }

    /// A chain that the kernel calls from a hook (INPUT, PREROUTING …).
    pub fn is_builtin(&self) -> bool {
        self.builtin
    }

    /// Stated by a `:CHAIN` line or `-N`; false when only a rule mentions it.
    pub fn is_declared(&self) -> bool {
        self.declared
    }
}

/// Where a rule stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Offset of its line without leading blanks.
    pub start: u32,
    /// Offset of its specification: after the counters and `-A CHAIN`.
    pub spec: u32,
    /// Offset after its specification.
    pub end: u32,
    pub chain: ChainIdx,
    /// Position in its chain, from 0.
    pub position: u32,
    /// Which of the rules that the line makes: `-s a,b` makes two.
    pub choice: u32,
}

/// A chain that `-E` renamed: jumps above that line still use the old name.
#[derive(Clone, Debug)]
pub(super) struct Renamed {
    pub before: u32,
    pub old: Box<[u8]>,
    pub chain: ChainIdx,
}

/// What one `*-save` printed for one family and back end. Immutable; counters are apart.
#[derive(Clone, Debug)]
pub struct Ruleset {
    pub(super) text: Arc<[u8]>,
    /// The part of `text` that this ruleset is.
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) family: Family,
    pub(super) evidence: Evidence,
    pub(super) backend: Option<Backend>,
    pub(super) header: Option<Header>,
    pub(super) tables: Vec<Table>,
    pub(super) chains: Vec<Chain>,
    /// Chains sorted by table and name, for the lookup.
    pub(super) by_name: Vec<ChainIdx>,
    pub(super) rows: Vec<Row>,
    pub(super) saved: CounterSet,
    pub(super) rules_are_counted: bool,
    pub(super) renamed: Vec<Renamed>,
    /// Holds nothing but what `*-save` prints: each rule is one `-A` line in its place.
    pub(super) plain: bool,
    pub(super) warnings: Vec<Warning>,
    pub(super) diagnostics: Diagnostics,
    /// Rules, and chains, whose counters shall start anew; sorted. Empty but for an assembled ruleset.
    pub(super) zeroed: Vec<RuleIdx>,
    pub(super) zeroed_chains: Vec<ChainIdx>,
    pub(super) ids: OnceLock<Vec<TextId>>,
}

impl Ruleset {
    /// Address family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// How the family was found.
    pub fn family_evidence(&self) -> Evidence {
        self.evidence
    }

    /// Back end; `None` where nothing tells (a hand-written file).
    pub fn backend(&self) -> Option<Backend> {
        self.backend
    }

    /// The first header line, if there is one.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Tables in the order of the text. A table that the text does not mention is absent.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Chains of all tables, in the order of the text.
    pub fn chains(&self) -> &[Chain] {
        &self.chains
    }

    /// One chain. An index that is not there (kept from a ruleset since replaced) gives a chain without
    /// name and rules: a screen that is one tick behind must not bring the program down.
    pub fn chain(&self, chain: ChainIdx) -> &Chain {
        static NONE: LazyLock<Chain> = LazyLock::new(|| Chain {
            name: Name::new(b""),
            table: TableIdx(u32::MAX),
            policy: None,
            builtin: false,
            declared: false,
            rules: Vec::new(),
        });
        self.chains.get(chain.0 as usize).unwrap_or(&NONE)
    }

    /// One table. An index that is not there gives a table without name and chains.
    pub fn table(&self, table: TableIdx) -> &Table {
        static NONE: LazyLock<Table> = LazyLock::new(|| Table {
            name: Name::new(b""),
            chains: Vec::new(),
        });
        self.tables.get(table.0 as usize).unwrap_or(&NONE)
    }

    /// Find a chain by the names of its table and itself.
    pub fn find_chain(&self, table: &str, chain: &str) -> Option<ChainIdx> {
        let table = self.find_table(table)?;
        self.chain_named(table, chain.as_bytes())
    }

    /// Find a table by name.
    pub fn find_table(&self, name: &str) -> Option<TableIdx> {
        let index = self.tables.iter().position(|table| table.name() == name)?;
        u32::try_from(index).ok().map(TableIdx)
    }

    /// Find a table by its name as the kernel has it.
    pub fn table_named(&self, name: &[u8]) -> Option<TableIdx> {
        let index = (self.tables.iter()).position(|table| table.name.bytes() == name)?;
        u32::try_from(index).ok().map(TableIdx)
    }

    /// Find a chain of a table by its name as the kernel has it.
    pub fn chain_named(&self, table: TableIdx, name: &[u8]) -> Option<ChainIdx> {
        let found = self.by_name.binary_search_by(|idx| {
            let chain = self.chains.get(idx.0 as usize);
            chain.map_or(std::cmp::Ordering::Less, |chain| {
                (chain.table, chain.name.bytes()).cmp(&(table, name))
            })
        });
        self.by_name.get(found.ok()?).copied()
    }

    /// The chain that a rule means when it jumps to `name`: one of its own table.
    pub fn chain_meant(&self, rule: RuleIdx, name: &[u8]) -> Option<ChainIdx> {
        let row = self.row(rule)?;
        let renamed = self.renamed.iter().find(|r| {
            row.start < r.before && *r.old == *name && self.same_table(r.chain, row.chain)
        });
        match renamed {
            Some(renamed) => Some(renamed.chain),
            None => self.chain_named(self.chains.get(row.chain.0 as usize)?.table, name),
        }
    }

    fn same_table(&self, one: ChainIdx, other: ChainIdx) -> bool {
        let table = |idx: ChainIdx| self.chains.get(idx.0 as usize).map(|chain| chain.table);
        table(one) == table(other)
    }

    /// How many rules there are; a [`RuleIdx`] is below it.
    pub fn rule_count(&self) -> usize {
        self.rows.len()
    }

    /// Every rule, in the order of the text.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = RuleIdx> + use<> {
        // Positions are 32 bits wide, so the count is too.
        (0..u32::try_from(self.rows.len()).unwrap_or(u32::MAX)).map(RuleIdx)
    }

    /// Sorts the chains for the lookup by name.
    pub(super) fn sort_names(&mut self) {
        let mut by_name: Vec<ChainIdx> = (0..index_u32(self.chains.len())).map(ChainIdx).collect();
        by_name.sort_unstable_by_key(|idx| {
            let chain = self.chains.get(idx.0 as usize);
            chain.map(|chain| (chain.table, chain.name.bytes()))
        });
        self.by_name = by_name;
    }

    pub(super) fn row(&self, rule: RuleIdx) -> Option<Row> {
        self.rows.get(rule.0 as usize).copied()
    }

    /// The chain that holds the rule; `None` for an index that is not there.
    pub fn chain_of(&self, rule: RuleIdx) -> Option<ChainIdx> {
        self.row(rule).map(|row| row.chain)
    }

    /// The rule's number in its chain, from 1; 0 for an index that is not there.
    pub fn number(&self, rule: RuleIdx) -> u32 {
        self.row(rule).map_or(0, |row| row.position + 1)
    }

    /// The rule without its counters and without `-A CHAIN`: `-p tcp -m tcp --dport 22 -j ACCEPT`.
    /// Bytes as they stand in the text; cheap enough for every rule of 100,000.
    pub fn spec(&self, rule: RuleIdx) -> &[u8] {
        self.row(rule)
            .and_then(|row| self.text.get(row.spec as usize..row.end as usize))
            .unwrap_or_default()
    }

    /// The rule's whole line without blanks around it, counters and command included. Holds newlines when
    /// a quoted value does.
    pub fn line(&self, rule: RuleIdx) -> &[u8] {
        self.row(rule)
            .and_then(|row| Lines::from(self.bytes_to_end(), row.start as usize).next())
            .map_or(&[], |line| line.body)
    }

    /// The line number of the rule in its document, from 1. Counts newlines: for a message, not for a loop.
    pub fn line_number(&self, rule: RuleIdx) -> usize {
        let before = self
            .row(rule)
            .and_then(|row| self.text.get(..row.start as usize));
        1 + memchr::memchr_iter(b'\n', before.unwrap_or_default()).count()
    }

    /// The counters that the dump itself carried; zero where it carried none.
    pub fn saved_counters(&self) -> CounterSet {
        self.saved.clone()
    }

    /// Whether the dump carries counters for its rules (`-c`); without, only policies have them.
    pub fn rules_are_counted(&self) -> bool {
        self.rules_are_counted
    }

    /// What the save tool warned of, in the text.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Remarks on the text, in the order of its lines, at most 1,000 of them.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        self.diagnostics.list()
    }

    /// How many further remarks were left out of [`Ruleset::diagnostics`].
    pub fn diagnostics_left_out(&self) -> usize {
        self.diagnostics.left_out()
    }

    /// Printing an unedited ruleset gives the same bytes.
    pub fn bytes(&self) -> &[u8] {
        self.text
            .get(self.from as usize..self.to as usize)
            .unwrap_or_default()
    }

    /// The text up to the end of this ruleset; offsets in it are those of the document.
    pub(super) fn bytes_to_end(&self) -> &[u8] {
        self.text.get(..self.to as usize).unwrap_or_default()
    }
}
