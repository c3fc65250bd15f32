//! The model of a ruleset.
//!
//! STUB API: signatures are agreed, the body is being written.

mod counters;
mod hooks;
mod origin;

pub use counters::{ChainCounters, CounterSet, Counters, Reading};
pub use hooks::{BaseChain, Lossy, NftFamily, Owner};
pub use origin::{Author, Origin};

use std::sync::Arc;

/// Address family of a ruleset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4: iptables.
    V4,
    /// IPv6: ip6tables.
    V6,
}

/// Which kernel subsystem holds the ruleset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// nf_tables, through iptables-nft.
    Nft,
    /// x_tables, through iptables-legacy.
    Legacy,
}

/// Index into [`Ruleset::tables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableIdx(pub u32);
/// Index into [`Ruleset::chains`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainIdx(pub u32);
/// Index into [`Ruleset::rules`], in the order of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleIdx(pub u32);

/// What a built-in chain does with a packet that no rule decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Policy {
    Accept,
    Drop,
    /// Only ip_queue's old QUEUE; legal in restore input.
    Queue,
}

/// One table of a ruleset.
#[derive(Clone, Debug)]
pub struct Table {
    name: Box<str>,
}
impl Table {
    pub fn chains(&self) -> &[ChainIdx] {
        &[]
    }
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// One chain. Names are bytes in the kernel; a name that is not UTF-8 shows U+FFFD here.
#[derive(Clone, Debug)]
pub struct Chain {
    name: Box<str>,
    table: TableIdx,
    policy: Option<Policy>,
    rules: Vec<RuleIdx>,
}
impl Chain {
    pub fn name(&self) -> &str {
        &self.name
    }
    pub fn table(&self) -> TableIdx {
        self.table
    }
    pub fn name_bytes(&self) -> &[u8] {
        self.name.as_bytes()
    }
    /// `None` for a user chain.
    pub fn policy(&self) -> Option<Policy> {
        self.policy
    }
    /// In evaluation order; the rule number is the position plus one.
    pub fn rules(&self) -> &[RuleIdx] {
        &self.rules
    }
    /// A chain that the kernel calls from a hook (INPUT, PREROUTING …).
    pub fn is_builtin(&self) -> bool {
        self.policy.is_some()
    }
}

/// What one `*-save` printed for one family and back end. Immutable; counters are apart.
#[derive(Debug)]
pub struct Ruleset {
    text: Arc<[u8]>,
    family: Family,
    backend: Option<Backend>,
    tables: Vec<Table>,
    chains: Vec<Chain>,
}

impl Ruleset {
    pub fn family(&self) -> Family {
        self.family
    }
    pub fn backend(&self) -> Option<Backend> {
        self.backend
    }
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }
    pub fn chains(&self) -> &[Chain] {
        &self.chains
    }
    pub fn chain(&self, chain: ChainIdx) -> &Chain {
        &self.chains[chain.0 as usize]
    }
    pub fn table(&self, table: TableIdx) -> &Table {
        &self.tables[table.0 as usize]
    }
    /// Find by names.
    pub fn find_chain(&self, _table: &str, _chain: &str) -> Option<ChainIdx> {
        None
    }
    pub fn parse(_t: Vec<u8>, _o: Origin) -> Result<Self, std::fmt::Error> {
        Err(std::fmt::Error)
    }
    pub fn find_table(&self, _n: &str) -> Option<TableIdx> {
        None
    }
    pub fn chain_named(&self, _table: TableIdx, _name: &[u8]) -> Option<ChainIdx> {
        None
    }
    pub fn rule_count(&self) -> usize {
        0
    }
    /// The rule without its counters and without `-A CHAIN`: `-p tcp -m tcp --dport 22 -j ACCEPT`.
    pub fn spec(&self, _rule: RuleIdx) -> &[u8] {
        &self.text[..0]
    }
    /// The counters that the dump itself carried.
    pub fn saved_counters(&self) -> CounterSet {
        CounterSet::default()
    }
    /// Identity of a rule that survives reorders: hash of (table, chain, normalised text) and the occurrence.
    pub fn text_id(&self, _rule: RuleIdx) -> TextId {
        TextId {
            hash: 0,
            occurrence: 0,
        }
    }
    /// Printing an unedited ruleset gives the same bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.text
    }
}

/// Identity of a rule by its text: equal rules of one chain are told apart by their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TextId {
    pub hash: u64,
    pub occurrence: u32,
}
