//! A reading of a ruleset in which rules that say the same are told apart.
//!
//! nf_tables gives every rule a handle, and says of native rules what iptables-save leaves out. Both are read
//! beside the text and hold only if nothing was written in between, so it is read until that is so. Legacy knows
//! its rules by their place alone; there one of two equal rules is as good as the other.

use std::sync::Arc;

use super::carry::{self, CarryError};
use crate::edit::Known;
use crate::netfilter::netlink::{Netlink, Request};
use crate::netfilter::nftables::{self, inspect};
use crate::netfilter::xtables::Tools;
use crate::ruleset::{Backend, ChainIdx, Origin, Ruleset};

/// Readings that are tried to have text and handles of one moment.
const READINGS: u32 = 40;

/// A reading, and what tells its rules apart.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    pub ruleset: Arc<Ruleset>,
    pub known: Known,
}

impl Sight {
    /// One of which only the text is known.
    pub fn plain(ruleset: Arc<Ruleset>) -> Self {
        let known = Known::default();
        Self { ruleset, known }
    }
}

/// Reads `origin`.
///
/// Beside a writer that never rests only the text is had, which is enough unless a rule of it lies.
pub(super) fn see(tools: &Tools, origin: Origin) -> Result<Sight, CarryError> {
    if origin.backend == Backend::Legacy {
        return carry::read(tools, origin).map(Sight::plain);
    }
    let mut netlink = Netlink::open()?;
    let mut request = Request::default();
    let mut may_lie = false;
    for _ in 0..READINGS {
        let Ok(seen) = inspect::inspect(&mut netlink, origin.family) else {
            continue;
        };
        let ruleset = carry::read_once(tools, origin)?;
        let after = nftables::generation(&mut netlink, &mut request)?;
        let known = known(&seen, &ruleset);
        may_lie |= known.is_none();
        if let Some(known) = known.filter(|_| after == seen.generation) {
            return Ok(Sight { ruleset, known });
        }
    }
    if may_lie {
        return Err(CarryError::Unsettled { origin });
    }
    carry::read(tools, origin).map(Sight::plain)
}

/// What was seen of each rule; `None` where a chain that holds native rules is not the same in both.
fn known(seen: &inspect::Inspection, ruleset: &Ruleset) -> Option<Known> {
    let mut known = Known {
        handles: vec![None; ruleset.rule_count()],
        ..Known::default()
    };
    for (index, chain) in (0..).map(ChainIdx).zip(ruleset.chains()) {
        let table = ruleset.table(chain.table()).name_bytes();
        let Some(number) = seen.find(table, chain.name_bytes()) else {
            continue;
        };
        let of = seen.chain(number);
        let rules = seen.rules(&of);
        if rules.len() != chain.rules().len() {
            if seen.lossy(&of).next().is_some() {
                return None;
            }
            continue;
        }
        let handle = seen.table_handle(table);
        for (rule, seen) in chain.rules().iter().zip(rules) {
            if let Some(slot) = known.handles.get_mut(rule.0 as usize) {
                *slot = Some((handle, seen.handle));
            }
        }
        let marks = seen.marks(&of, index);
        known
            .lossy
            .extend(marks.filter_map(|mark| chain.rules().get(mark.position).copied()));
    }
    Some(known)
}
