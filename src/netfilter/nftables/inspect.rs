//! One look at everything that iptables-nft owns in one family: tables, chains, and of every rule its
//! handle, whether it is counted, where it jumps to, and whether its text would lie.
//!
//! This is the slow look, made when the structure is read; the quick one, at every tick, is
//! [`counters::nft`](crate::netfilter::counters::nft). It runs beside the save tool, so it does not wait
//! for the text: chains are found by asking the kernel for their names.

use std::collections::HashMap;

use netlink_packet_core::NLM_F_DUMP;

use super::{chain, generation_mark, msg, named, nfproto, rule, rules_of, tables};
use crate::netfilter::counters::CounterError;
use crate::netfilter::native::lossy;
use crate::netfilter::netlink::{Dump, Message, Netlink, Request, attributes, be32, be64, text};
use crate::ruleset::{ChainIdx, Family, Lossy, Ruleset};

/// A writer in a loop must not hold us for ever.
const TRIES: u32 = 8;

/// What was seen of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleSeen {
    /// Unique in its table and kept by a rule that replaces it; counted from 1 again in a table made anew.
    pub handle: u64,
    /// It has a counter.
    pub counted: bool,
    /// The chain that it jumps or goes to.
    pub target: Option<ChainNumber>,
}

/// A chain's number in one [`Inspection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChainNumber(u32);

/// What was seen of one chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainSeen {
    first: usize,
    rules: usize,
    /// A base chain with a counter on its policy.
    pub policy_counted: bool,
}

/// A rule whose saved text says less than it does.
#[derive(Clone, Debug)]
struct Doubtful {
    /// Position in [`Inspection::rules`].
    rule: usize,
    why: String,
    does_more: bool,
}

/// One family's iptables tables at one generation.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// The generation that all of this belongs to.
    pub generation: u32,
    /// Some rule looks a verdict up in a map, so that not every jump is known.
    pub has_maps: bool,
    tables: Vec<(Vec<u8>, u64)>,
    numbers: HashMap<ChainKey, ChainNumber>,
    chains: Vec<ChainSeen>,
    rules: Vec<RuleSeen>,
    /// By position in `rules`, ascending.
    lossy: Vec<Doubtful>,
}

impl Inspection {
    /// The handle of a table; 0 when it is not there.
    pub fn table_handle(&self, table: &[u8]) -> u64 {
        self.table_number(table)
            .and_then(|number| self.tables.get(usize::from(number)))
            .map_or(0, |(_, handle)| *handle)
    }

    /// How many chains there are; their numbers are below it.
    pub fn chain_count(&self) -> usize {
        self.chains.len()
    }

    /// Finds a chain by names.
    pub fn find(&self, table: &[u8], chain: &[u8]) -> Option<ChainNumber> {
        let table = self.table_number(table)?;
        self.numbers.get(&(table, chain.to_vec())).copied()
    }

    /// What was seen of a chain; an empty chain for a number of another inspection.
    pub fn chain(&self, number: ChainNumber) -> ChainSeen {
        self.chains.get(number.index()).copied().unwrap_or_default()
    }

    /// Every chain, as (table, chain), in no order.
    pub fn chain_names(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.numbers.keys().filter_map(|(table, chain)| {
            let (table, _) = self.tables.get(usize::from(*table))?;
            Some((table.as_slice(), chain.as_slice()))
        })
    }

    /// The rules of a chain, in order.
    pub fn rules(&self, chain: &ChainSeen) -> &[RuleSeen] {
        self.rules
            .get(chain.first..chain.first + chain.rules)
            .unwrap_or_default()
    }

    /// Rules of a chain whose saved text says less than they do: position from 0, and what is left out.
    pub fn lossy(&self, chain: &ChainSeen) -> impl Iterator<Item = (usize, &str)> {
        let (first, end) = (chain.first, chain.first + chain.rules);
        self.doubtful(first, end)
            .iter()
            .map(move |one| (one.rule - first, one.why.as_str()))
    }

    /// The same as marks of the chain of a ruleset that has as many rules.
    pub fn marks(&self, chain: &ChainSeen, index: ChainIdx) -> impl Iterator<Item = Lossy> {
        let (first, end) = (chain.first, chain.first + chain.rules);
        self.doubtful(first, end).iter().map(move |one| Lossy {
            chain: index,
            position: one.rule - first,
            why: one.why.clone(),
            does_more: one.does_more,
        })
    }

    fn doubtful(&self, first: usize, end: usize) -> &[Doubtful] {
        let place = |at: usize| self.lossy.partition_point(|one| one.rule < at);
        self.lossy.get(place(first)..place(end)).unwrap_or_default()
    }

    /// The same of a whole ruleset, as far as its chains have as many rules as the kernel's.
    pub fn lossy_of(&self, ruleset: &Ruleset) -> Vec<Lossy> {
        let mut all = Vec::new();
        for (index, chain) in (0..).map(ChainIdx).zip(ruleset.chains()) {
            let table = ruleset.table(chain.table()).name();
            let Some(seen) = self.find(table.as_bytes(), chain.name_bytes()) else {
                continue;
            };
            let seen = self.chain(seen);
            if seen.rules == chain.rules().len() {
                all.extend(self.marks(&seen, index));
            }
        }
        all
    }

    fn table_number(&self, table: &[u8]) -> Option<u8> {
        let found = self.tables.iter().position(|(name, _)| name == table)?;
        u8::try_from(found).ok()
    }

    fn note(&mut self, family: Family, table: u8, message: &Message<'_>) {
        let mut handle = 0;
        let mut expressions = &[][..];
        for (kind, value) in attributes(message.attributes) {
            match kind {
                rule::HANDLE => handle = be64(value).unwrap_or_default(),
                rule::EXPRESSIONS => expressions = value,
                _ => {}
            }
        }
        if let Err(why) = lossy::judge(family, expressions) {
            self.lossy.push(Doubtful {
                rule: self.rules.len(),
                why: why.to_string(),
                does_more: lossy::does_more(expressions),
            });
        }
        let mut seen = RuleSeen {
            handle,
            counted: false,
            target: None,
        };
        for (name, data) in attributes(expressions).filter_map(|(_, value)| named(value)) {
            match name {
                b"counter" => seen.counted = true,
                b"lookup" => self.has_maps = true,
                b"immediate" => {
                    let target = jump_target(data).map(|name| (table, name.to_vec()));
                    seen.target = target.and_then(|key| self.numbers.get(&key).copied());
                }
                _ => {}
            }
        }
        self.rules.push(seen);
    }
}

impl ChainNumber {
    /// For a vector with one place a chain.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Looks at the iptables tables of `family`.
pub fn inspect(netlink: &mut Netlink, family: Family) -> Result<Inspection, CounterError> {
    let mut request = Request::default();
    for _ in 0..TRIES {
        if let Some(seen) = try_inspect(netlink, &mut request, family)? {
            return Ok(seen);
        }
    }
    Err(CounterError::Unsettled { tries: TRIES })
}

/// `None` when something changed meanwhile.
fn try_inspect(
    netlink: &mut Netlink,
    request: &mut Request,
    family: Family,
) -> Result<Option<Inspection>, CounterError> {
    let generation = super::generation(netlink, request)?;
    let (found, dump) = tables(netlink, request, nfproto(family))?;
    if dump == Dump::Interrupted {
        return Ok(None);
    }
    let mut seen = Inspection {
        generation,
        tables: found
            .into_iter()
            .filter(|table| super::IPTABLES_TABLES.contains(&table.name.as_slice()))
            .map(|table| (table.name, table.handle))
            .collect(),
        ..Inspection::default()
    };
    let Some(names) = list_chains(netlink, request, family, &mut seen)? else {
        return Ok(None);
    };
    for (number, (table, name)) in names.into_iter().enumerate() {
        let first = seen.rules.len();
        let Some((table_name, _)) = seen.tables.get(usize::from(table)) else {
            continue;
        };
        let mut whole = true;
        let question = rules_of(request, nfproto(family), table_name, &name);
        let dump = netlink.ask("for a chain's rules", question, |message| {
            if message.kind == msg::NEWRULE {
                whole &= message.res_id == generation_mark(generation);
                seen.note(family, table, &message);
            }
        })?;
        if !whole || dump == Dump::Interrupted {
            return Ok(None);
        }
        let rules = seen.rules.len() - first;
        if let Some(chain) = seen.chains.get_mut(number) {
            (chain.first, chain.rules) = (first, rules);
        }
    }
    let settled = super::generation(netlink, request)? == generation;
    Ok(settled.then_some(seen))
}

/// The number of a chain's table, and its name.
type ChainKey = (u8, Vec<u8>);

/// Numbers the chains; their names (with the number of the table) in that order.
fn list_chains(
    netlink: &mut Netlink,
    request: &mut Request,
    family: Family,
    seen: &mut Inspection,
) -> Result<Option<Vec<ChainKey>>, CounterError> {
    let mut names = Vec::new();
    request.start(msg::GETCHAIN, NLM_F_DUMP, nfproto(family));
    let dump = netlink.ask("for the chains", request, |message| {
        let mut table = None;
        let mut name = &[][..];
        let mut policy_counted = false;
        for (kind, value) in attributes(message.attributes) {
            match kind {
                chain::TABLE => table = seen.table_number(text(value)),
                chain::NAME => name = text(value),
                chain::COUNTERS => policy_counted = true,
                _ => {}
            }
        }
        if let Some(table) = table.filter(|_| message.kind == msg::NEWCHAIN) {
            let number = ChainNumber(u32::try_from(names.len()).unwrap_or(u32::MAX));
            seen.numbers.insert((table, name.to_vec()), number);
            seen.chains.push(ChainSeen {
                policy_counted,
                ..ChainSeen::default()
            });
            names.push((table, name.to_vec()));
        }
    })?;
    Ok((dump == Dump::Whole).then_some(names))
}

/// The chain that an immediate verdict names: `NFTA_IMMEDIATE_DATA`, `NFTA_DATA_VERDICT`,
/// `NFTA_VERDICT_CHAIN`, with the code of a jump or a goto.
fn jump_target(immediate: &[u8]) -> Option<&[u8]> {
    const DATA: u16 = 2;
    const VERDICT: u16 = 2;
    const CODE: u16 = 1;
    const CHAIN: u16 = 2;
    const JUMP: i32 = -3;
    const GOTO: i32 = -4;
    let find = |encoded, wanted| {
        let mut parts = attributes(encoded);
        parts
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, value)| value)
    };
    let verdict = find(find(immediate, DATA)?, VERDICT)?;
    let code = be32(find(verdict, CODE)?)?.cast_signed();
    matches!(code, JUMP | GOTO).then(|| find(verdict, CHAIN).map(text))?
}
