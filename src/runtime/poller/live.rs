//! One loaded ruleset under watch: which chains are in view and which may be read at all. `look` reads them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Source;
use super::price::Prices;
use crate::netfilter::counters::{CounterDoor, Looked};
use crate::netfilter::events::ChainName;
use crate::ruleset::{ChainIdx, CounterSet, Ruleset};

/// A loaded ruleset under watch.
pub(super) struct Live {
    pub(super) ruleset: Arc<Ruleset>,
    /// `None` when nothing may be read until the next load.
    pub(super) door: Option<Box<dyn CounterDoor>>,
    /// The door runs a process, whose CPU time is not this thread's: time is charged instead.
    pub(super) by_tool: bool,
    pub(super) counters: CounterSet,
    /// In view; of those that are too dear for every tick the first is read next.
    pub(super) watched: Vec<ChainIdx>,
    pub(super) prices: Prices,
    /// Parallel to the chains: the round in which each was last looked at.
    pub(super) seen: Vec<u32>,
    pub(super) round: u32,
    /// Where the sweep goes on.
    pub(super) next: usize,
    /// Chains that a hook calls.
    pub(super) roots: Vec<ChainIdx>,
    /// Chains that packets went through and that are still to be read, in this tick or a later one.
    pub(super) queue: VecDeque<ChainIdx>,
    /// Read because packets went there, and to be read once more at the next tick.
    pub(super) again: VecDeque<ChainIdx>,
    /// To be read once whatever it costs; the last one first.
    pub(super) asked: Vec<ChainIdx>,
    /// Parallel to the chains: which of the last three lists it is in.
    pub(super) lists: Vec<Lists>,
    // Kept between ticks, so that a tick allocates nothing but its message.
    pub(super) looked: Vec<Looked>,
    pub(super) entered: Vec<ChainIdx>,
}

/// Which lists a chain is in, so that it is in none twice.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lists {
    pub(super) queue: bool,
    pub(super) again: bool,
    pub(super) asked: bool,
}

/// No chain was looked at in this round.
pub(super) const NEVER: u32 = 0;
/// Never looked at: the door cannot.
pub(super) const UNREADABLE: u32 = u32::MAX;

impl Live {
    /// `misfits` are never read.
    pub(super) fn new(
        ruleset: Arc<Ruleset>,
        door: Option<Box<dyn CounterDoor>>,
        source: Source,
        misfits: &[ChainIdx],
    ) -> Self {
        let chains = ruleset.chains().iter().enumerate();
        let roots = chains
            .filter(|(_, chain)| chain.is_builtin())
            .map(|(place, _)| ChainIdx(u32::try_from(place).unwrap_or(u32::MAX)))
            .collect();
        let seen = vec![NEVER; ruleset.chains().len()];
        let by_tool = source == Source::Tool;
        let mut live = Self {
            counters: ruleset.saved_counters(),
            prices: Prices::new(&ruleset, by_tool),
            lists: vec![Lists::default(); ruleset.chains().len()],
            asked: Vec::new(),
            ruleset,
            door,
            by_tool,
            watched: Vec::new(),
            seen,
            round: 1,
            next: 0,
            roots,
            queue: VecDeque::new(),
            again: VecDeque::new(),
            looked: Vec::new(),
            entered: Vec::new(),
        };
        live.give_up(misfits);
        live
    }

    /// Numbers of this generation belong to the rules that were loaded, in all chains not distrusted.
    pub(super) fn trust(&mut self, generation: u32) {
        if let Some(door) = &mut self.door {
            door.trust(generation);
        }
    }

    /// These chains are not what was loaded: never read again.
    pub(super) fn distrust<'c>(&mut self, chains: impl IntoIterator<Item = &'c ChainName>) {
        for name in chains {
            let table = String::from_utf8_lossy(&name.table);
            let table = self.ruleset.find_table(&table);
            let chain = table.and_then(|table| self.ruleset.chain_named(table, &name.chain));
            if let Some(place) = chain.and_then(|chain| self.seen.get_mut(chain.0 as usize)) {
                *place = UNREADABLE;
            }
        }
    }

    /// Nothing may be read any more: a table was made anew, and numbers could be another rule's.
    pub(super) fn suspend(&mut self) {
        self.door = None;
    }

    /// Gives it the door that it was loaded without.
    pub(super) fn bind(&mut self, door: Box<dyn CounterDoor>, misfits: &[ChainIdx]) {
        self.door = Some(door);
        self.give_up(misfits);
    }

    fn give_up(&mut self, misfits: &[ChainIdx]) {
        for misfit in misfits {
            if let Some(place) = self.seen.get_mut(misfit.0 as usize) {
                *place = UNREADABLE;
            }
        }
    }

    /// Keeps watching what `earlier` watched, by table and name.
    pub(super) fn watch_as(&mut self, earlier: &Self) {
        let names = earlier.watched.iter().map(|chain| {
            let chain = earlier.ruleset.chain(*chain);
            (
                earlier.ruleset.table(chain.table()).name(),
                chain.name_bytes(),
            )
        });
        for (table, chain) in names {
            let table = self.ruleset.find_table(table);
            if let Some(chain) = table.and_then(|table| self.ruleset.chain_named(table, chain)) {
                self.watch(chain);
            }
        }
    }

    /// Reads `chain` at every tick from now on.
    pub(super) fn watch(&mut self, chain: ChainIdx) {
        if (chain.0 as usize) < self.seen.len() && !self.watched.contains(&chain) {
            self.watched.push(chain);
        }
    }

    /// No longer at every tick.
    pub(super) fn unwatch(&mut self, chain: ChainIdx) {
        self.watched.retain(|watched| *watched != chain);
    }
}
