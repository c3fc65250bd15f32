//! One look at everything that iptables-nft owns in one family: tables, chains, and of every rule its
//! handle, whether it is counted, and whether its text would lie.
//!
//! This is the slow look, made when the structure is read; the quick one, at every tick, is
//! [`counters::nft`](crate::netfilter::counters::nft). It runs beside the save tool, so it does not wait
//! for the text: chains are found by asking the kernel for their names.

use std::collections::HashMap;

use netlink_packet_core::NLM_F_DUMP;

use super::{chain, counter_of, generation_mark, msg, nfproto, rule, rules_of, tables};
use crate::netfilter::counters::CounterError;
use crate::netfilter::native::lossy;
use crate::netfilter::netlink::{Dump, Message, Netlink, Request, attributes, be64, text};
use crate::ruleset::Family;

/// A writer in a loop must not hold us for ever.
const TRIES: u32 = 8;

/// What was seen of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleSeen {
    /// Unique in its table and kept by a rule that replaces it; counted from 1 again in a table made anew.
    pub handle: u64,
    /// It has a counter.
    pub counted: bool,
}

/// What was seen of one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainSeen {
    first: usize,
    rules: usize,
    /// A base chain with a counter on its policy.
    pub policy_counted: bool,
}

/// One family's iptables tables at one generation.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// The generation that all of this belongs to.
    pub generation: u32,
    tables: Vec<(Vec<u8>, u64)>,
    chains: HashMap<(u8, Vec<u8>), ChainSeen>,
    rules: Vec<RuleSeen>,
    /// (number in `rules`, why), ascending.
    lossy: Vec<(usize, String)>,
}

impl Inspection {
    /// The handle of a table; 0 when it is not there.
    pub fn table_handle(&self, table: &[u8]) -> u64 {
        self.table_number(table)
            .and_then(|number| self.tables.get(usize::from(number)))
            .map_or(0, |(_, handle)| *handle)
    }

    /// Finds a chain by names.
    pub fn chain(&self, table: &[u8], chain: &[u8]) -> Option<&ChainSeen> {
        let table = self.table_number(table)?;
        self.chains.get(&(table, chain.to_vec()))
    }

    /// Every chain, as (table, chain), in no order.
    pub fn chain_names(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.chains.keys().filter_map(|(table, chain)| {
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
        let end = chain.first + chain.rules;
        let from = self.lossy.partition_point(|(rule, _)| *rule < chain.first);
        self.lossy[from..]
            .iter()
            .take_while(move |(rule, _)| *rule < end)
            .map(|(rule, why)| (*rule - chain.first, why.as_str()))
    }

    fn table_number(&self, table: &[u8]) -> Option<u8> {
        let found = self.tables.iter().position(|(name, _)| name == table)?;
        u8::try_from(found).ok()
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
    let Some(chains) = chains(netlink, request, family, &seen)? else {
        return Ok(None);
    };
    for ((table, name), policy_counted) in chains {
        let first = seen.rules.len();
        let Some(table_name) = seen.tables.get(usize::from(table)).map(|t| t.0.clone()) else {
            continue;
        };
        let mut whole = true;
        let question = rules_of(request, nfproto(family), &table_name, &name);
        let dump = netlink.ask("for a chain's rules", question, |message| {
            if message.kind == msg::NEWRULE {
                whole &= message.res_id == generation_mark(generation);
                seen.note(family, &message);
            }
        })?;
        if !whole || dump == Dump::Interrupted {
            return Ok(None);
        }
        let rules = seen.rules.len() - first;
        seen.chains.insert(
            (table, name),
            ChainSeen {
                first,
                rules,
                policy_counted,
            },
        );
    }
    let settled = super::generation(netlink, request)? == generation;
    Ok(settled.then_some(seen))
}

/// A chain by the number of its table and its name, and whether its policy is counted.
type ChainFound = ((u8, Vec<u8>), bool);

fn chains(
    netlink: &mut Netlink,
    request: &mut Request,
    family: Family,
    seen: &Inspection,
) -> Result<Option<Vec<ChainFound>>, CounterError> {
    let mut found = Vec::new();
    request.start(msg::GETCHAIN, NLM_F_DUMP, nfproto(family));
    let dump = netlink.ask("for the chains", request, |message| {
        let mut table = None;
        let mut name = &[][..];
        let mut counted = false;
        for (kind, value) in attributes(message.attributes) {
            match kind {
                chain::TABLE => table = seen.table_number(text(value)),
                chain::NAME => name = text(value),
                chain::COUNTERS => counted = true,
                _ => {}
            }
        }
        if let Some(table) = table.filter(|_| message.kind == msg::NEWCHAIN) {
            found.push(((table, name.to_vec()), counted));
        }
    })?;
    Ok((dump == Dump::Whole).then_some(found))
}

impl Inspection {
    fn note(&mut self, family: Family, message: &Message<'_>) {
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
            self.lossy.push((self.rules.len(), why.to_string()));
        }
        self.rules.push(RuleSeen {
            handle,
            counted: counter_of(expressions).is_some(),
        });
    }
}
