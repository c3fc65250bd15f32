//! The state of a stage: chains as lists of rows, over a base that is never copied.
//!
//! A chain that nothing was done to has no list of its own; its rows are those of the base. A list is 16
//! bytes a row, so that copying, searching and splicing one of 100,000 rows is a matter of microseconds.
//! Deleted and disabled rows stay in their list: that is what the screen shows, and what comes back.
//!
//! Every change is a [`Change`] that knows what was before, so undoing is exact whatever the operation
//! was, and costs what the operation cost. Texts and chains that come into being stay in their arenas
//! when they are undone: redo finds them there.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ruleset::{ChainIdx, Policy, RuleIdx, Ruleset};

use super::RowId;

/// Index into [`Draft::chains`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ChainId(pub u32);

impl ChainId {
    pub const NONE: Self = Self(u32::MAX);
}

/// Whether the kernel will hold a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Stands,
    Deleted,
    Disabled,
}

/// One row of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub id: RowId,
    /// Index of its text: of a rule of the base, or past those, of [`Draft::own`].
    pub text: u32,
    pub standing: Standing,
    /// Somebody moved it: among rows that changed their order, this is the one to say so of.
    pub moved: bool,
    pub zeroed: bool,
}

/// What a chain is besides its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub name: Arc<[u8]>,
    pub policy: Option<Policy>,
    /// Deleted; or, of a chain that the base does not have, not there yet.
    pub gone: bool,
    pub zeroed: bool,
}

#[derive(Clone, Debug)]
pub(super) struct DraftChain {
    pub table: usize,
    pub head: Head,
    pub builtin: bool,
    pub base: Option<ChainIdx>,
    pub locked: Option<Arc<str>>,
    /// `None`: as in the base.
    pub rows: Option<Vec<Entry>>,
}

#[derive(Clone, Debug)]
pub(super) struct DraftTable {
    pub name: Arc<[u8]>,
    pub chains: Vec<ChainId>,
    /// Chains that are there, or were in the base.
    names: HashMap<Arc<[u8]>, ChainId>,
    /// Why the whole table must not be touched.
    pub locked: Option<Arc<str>>,
}

/// Where a row is, and which rule of the base it is.
#[derive(Clone, Copy, Debug)]
struct Place {
    base: Option<RuleIdx>,
    /// The text that it has on the shelf.
    shelved: Option<u32>,
    chain: ChainId,
}

impl Place {
    const NOWHERE: Self = Self {
        base: None,
        shelved: None,
        chain: ChainId::NONE,
    };
}

/// One change that can be undone.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Rows taken out of a chain, and rows put in their place.
    Rows {
        chain: ChainId,
        at: usize,
        out: Vec<Entry>,
        into: Vec<Entry>,
    },
    Head {
        chain: ChainId,
        old: Head,
        new: Head,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub base: Arc<Ruleset>,
    /// Texts of the base that are not spelled as the save tool spells them.
    odd: HashMap<u32, Box<[u8]>>,
    /// Row of each rule of the base.
    ids: Vec<RowId>,
    /// By row.
    places: Vec<Place>,
    own: Vec<Arc<[u8]>>,
    pub tables: Vec<DraftTable>,
    pub chains: Vec<DraftChain>,
}

impl Draft {
    /// The base as it is, with these rows for its rules; without any, rows are numbered as they come.
    pub fn new(base: Arc<Ruleset>, ids: Option<Vec<RowId>>) -> Self {
        let base = base.loaded();
        let ids = ids.unwrap_or_else(|| base.rules().map(|rule| RowId(rule.0)).collect());
        let count = ids.iter().map(|id| id.0 as usize + 1).max().unwrap_or(0);
        let mut places = vec![Place::NOWHERE; count];
        let mut odd = HashMap::new();
        for (rule, id) in base.rules().zip(&ids) {
            if let Some(place) = places.get_mut(id.0 as usize) {
                place.base = Some(rule);
                place.chain = ChainId(base.chain_of(rule).map_or(u32::MAX, |chain| chain.0));
            }
            let text = base.rule_text(rule);
            if *text != *base.spec(rule) {
                odd.insert(rule.0, text.into());
            }
        }
        let mut draft = Self {
            odd,
            ids,
            places,
            own: Vec::new(),
            tables: Vec::new(),
            chains: Vec::with_capacity(base.chains().len()),
            base,
        };
        let base = Arc::clone(&draft.base);
        for table in base.tables() {
            draft.tables.push(DraftTable {
                name: table.name_bytes().into(),
                chains: Vec::new(),
                names: HashMap::new(),
                locked: None,
            });
        }
        for (index, chain) in (0..).zip(base.chains()) {
            let head = Head {
                name: chain.name_bytes().into(),
                policy: chain.policy(),
                gone: false,
                zeroed: false,
            };
            let table = chain.table().0 as usize;
            draft.push_chain(table, head, chain.is_builtin(), Some(ChainIdx(index)));
        }
        draft
    }

    fn push_chain(
        &mut self,
        table: usize,
        head: Head,
        builtin: bool,
        base: Option<ChainIdx>,
    ) -> ChainId {
        let id = ChainId(u32::try_from(self.chains.len()).unwrap_or(u32::MAX));
        if let Some(table) = self.tables.get_mut(table) {
            table.chains.push(id);
            if base.is_some() {
                table.names.insert(Arc::clone(&head.name), id);
            }
        }
        self.chains.push(DraftChain {
            table,
            head,
            builtin,
            base,
            locked: None,
            rows: base.is_none().then(Vec::new),
        });
        id
    }

    /// A chain that will come with a change of its head.
    pub fn absent_chain(&mut self, table: usize, name: &[u8], policy: Option<Policy>) -> ChainId {
        let head = Head {
            name: name.into(),
            policy,
            gone: true,
            zeroed: false,
        };
        self.push_chain(table, head, policy.is_some(), None)
    }

    /// The table of that name, made if it is not there. An empty one is not shown.
    pub fn table_or_new(&mut self, name: &[u8]) -> usize {
        if let Some(found) = self.find_table(name) {
            return found;
        }
        self.tables.push(DraftTable {
            name: name.into(),
            chains: Vec::new(),
            names: HashMap::new(),
            locked: None,
        });
        self.tables.len() - 1
    }

    pub fn find_table(&self, name: &[u8]) -> Option<usize> {
        self.tables.iter().position(|table| *table.name == *name)
    }

    /// The chain of that name, there or deleted.
    pub fn find_chain(&self, table: usize, name: &[u8]) -> Option<ChainId> {
        self.tables.get(table)?.names.get(name).copied()
    }

    /// The chain of that name that is there.
    pub fn standing_chain(&self, table: usize, name: &[u8]) -> Option<ChainId> {
        let found = self.find_chain(table, name)?;
        self.chain(found).filter(|chain| !chain.head.gone)?;
        Some(found)
    }

    pub fn chain(&self, chain: ChainId) -> Option<&DraftChain> {
        self.chains.get(chain.0 as usize)
    }

    /// A row that is in no chain yet.
    pub fn new_row(&mut self) -> RowId {
        let id = RowId(u32::try_from(self.places.len()).unwrap_or(u32::MAX));
        self.places.push(Place::NOWHERE);
        id
    }

    /// Makes room for rows that another stage has given out.
    pub fn reserve_rows(&mut self, count: usize) {
        while self.places.len() < count {
            self.new_row();
        }
    }

    /// How many rows were given out.
    pub fn row_count(&self) -> usize {
        self.places.len()
    }

    pub fn new_text(&mut self, text: &[u8]) -> u32 {
        self.own.push(text.into());
        u32::try_from(self.base.rule_count() + self.own.len() - 1).unwrap_or(u32::MAX)
    }

    pub fn text(&self, text: u32) -> &[u8] {
        let own = (text as usize).checked_sub(self.base.rule_count());
        match own {
            Some(own) => self.own.get(own).map_or(&[], |text| text),
            None => match self.odd.get(&text) {
                Some(text) => text,
                None => self.base.spec(RuleIdx(text)),
            },
        }
    }

    /// Whether a text is that of a rule of the base.
    pub fn says_the_same(&self, rule: RuleIdx, text: u32) -> bool {
        rule.0 == text || self.text(rule.0) == self.text(text)
    }

    /// The rule of the base that a row is.
    pub fn base_of(&self, row: RowId) -> Option<RuleIdx> {
        self.places.get(row.0 as usize)?.base
    }

    /// Says that a row is on the shelf, with that text.
    pub fn mark_shelved(&mut self, row: RowId, text: u32) {
        if let Some(place) = self.places.get_mut(row.0 as usize) {
            place.shelved = Some(text);
        }
    }

    /// The text that a row has on the shelf.
    pub fn shelved_as(&self, row: RowId) -> Option<u32> {
        self.places.get(row.0 as usize)?.shelved
    }

    /// The kernel or the shelf holds the row: deleting it is a change.
    pub fn is_known(&self, row: RowId) -> bool {
        let place = self.places.get(row.0 as usize);
        place.is_some_and(|place| place.base.is_some() || place.shelved.is_some())
    }

    pub fn id_of(&self, rule: RuleIdx) -> Option<RowId> {
        self.ids.get(rule.0 as usize).copied()
    }

    /// The row that an untouched rule of the base is.
    fn entry_of(&self, rule: RuleIdx) -> Entry {
        Entry {
            id: self.id_of(rule).unwrap_or(RowId(u32::MAX)),
            text: rule.0,
            standing: Standing::Stands,
            moved: false,
            zeroed: false,
        }
    }

    /// The rows of a chain, in order.
    pub fn entries(
        &self,
        chain: ChainId,
    ) -> impl ExactSizeIterator<Item = Entry> + DoubleEndedIterator {
        let held = self.chain(chain);
        let own = held.and_then(|held| held.rows.as_deref());
        let base = match (own, held.and_then(|held| held.base)) {
            (None, Some(base)) => self.base.chain(base).rules(),
            _ => &[],
        };
        let own = own.unwrap_or_default();
        let count = own.len().max(base.len());
        (0..count).map(move |at| match own.get(at) {
            Some(entry) => *entry,
            None => self.entry_of(base.get(at).copied().unwrap_or(RuleIdx(u32::MAX))),
        })
    }

    pub fn entry_at(&self, chain: ChainId, at: usize) -> Option<Entry> {
        let held = self.chain(chain)?;
        match &held.rows {
            Some(rows) => rows.get(at).copied(),
            None => {
                let rules = self.base.chain(held.base?).rules();
                Some(self.entry_of(*rules.get(at)?))
            }
        }
    }

    /// Where a row is, if it is anywhere.
    pub fn find(&self, row: RowId) -> Option<(ChainId, usize, Entry)> {
        let place = self.places.get(row.0 as usize)?;
        let chain = self.chain(place.chain)?;
        let at = match (&chain.rows, place.base) {
            (None, Some(base)) => (self.base.number(base) as usize).checked_sub(1)?,
            (None, None) => return None,
            (Some(rows), _) => rows.iter().position(|entry| entry.id == row)?,
        };
        let entry = self.entry_at(place.chain, at)?;
        Some((place.chain, at, entry))
    }

    /// Carries a change out.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Rows {
                chain,
                at,
                out,
                into,
            } => self.splice(*chain, *at, out, into),
            Change::Head { chain, new, .. } => self.set_head(*chain, new),
        }
    }

    /// Takes a change back; the last one first.
    pub fn revert(&mut self, change: &Change) {
        match change {
            Change::Rows {
                chain,
                at,
                out,
                into,
            } => self.splice(*chain, *at, into, out),
            Change::Head { chain, old, .. } => self.set_head(*chain, old),
        }
    }

    fn splice(&mut self, chain: ChainId, at: usize, out: &[Entry], into: &[Entry]) {
        if self.chain(chain).is_some_and(|held| held.rows.is_none()) {
            let rows = self.entries(chain).collect();
            if let Some(held) = self.chains.get_mut(chain.0 as usize) {
                held.rows = Some(rows);
            }
        }
        let Some(rows) = self
            .chains
            .get_mut(chain.0 as usize)
            .and_then(|held| held.rows.as_mut())
        else {
            return;
        };
        let from = at.min(rows.len());
        let to = (from + out.len()).min(rows.len());
        rows.splice(from..to, into.iter().copied());
        for (entries, place) in [(out, ChainId::NONE), (into, chain)] {
            for entry in entries {
                if let Some(held) = self.places.get_mut(entry.id.0 as usize) {
                    held.chain = place;
                }
            }
        }
    }

    fn set_head(&mut self, id: ChainId, head: &Head) {
        let Some(chain) = self.chains.get_mut(id.0 as usize) else {
            return;
        };
        let Some(table) = self.tables.get_mut(chain.table) else {
            return;
        };
        if table.names.get(&chain.head.name) == Some(&id) {
            table.names.remove(&chain.head.name);
        }
        chain.head = head.clone();
        if chain.base.is_some() || !head.gone {
            table.names.insert(Arc::clone(&head.name), id);
        }
    }
}
