//! The numbers of one loaded ruleset: which chains are read at a tick, and what is told of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Source;
use super::budget::{Bucket, thread_cpu};
use crate::netfilter::counters::{CounterDoor, CounterError, Look, Looked};
use crate::netfilter::events::ChainName;
use crate::ruleset::{ChainCounters, ChainIdx, CounterSet, Reading, Ruleset};

/// A loaded ruleset under watch.
pub(super) struct Live {
    pub(super) ruleset: Arc<Ruleset>,
    /// `None` when nothing may be read until the next load.
    door: Option<Box<dyn CounterDoor>>,
    /// The door runs a process, whose CPU time is not this thread's: time is charged instead.
    by_tool: bool,
    counters: CounterSet,
    watched: Vec<ChainIdx>,
    /// Parallel to the chains: the round in which each was last looked at.
    seen: Vec<u32>,
    round: u32,
    /// Where the sweep goes on.
    next: usize,
    /// Kept between ticks, so that a tick allocates nothing but its message.
    looked: Vec<Looked>,
}

/// What a tick found beside readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// The structure must be read again.
    pub(super) out_of_step: bool,
    /// Some generation that no event has told of yet.
    pub(super) other_generation: bool,
}

/// No chain was looked at in this round.
const NEVER: u32 = 0;
/// Never looked at: the door cannot.
const UNREADABLE: u32 = u32::MAX;

impl Live {
    /// `misfits` are never read.
    pub(super) fn new(
        ruleset: Arc<Ruleset>,
        door: Option<Box<dyn CounterDoor>>,
        source: Source,
        misfits: &[ChainIdx],
    ) -> Self {
        let mut seen = vec![NEVER; ruleset.chains().len()];
        for misfit in misfits {
            if let Some(place) = seen.get_mut(misfit.0 as usize) {
                *place = UNREADABLE;
            }
        }
        Self {
            counters: ruleset.saved_counters(),
            ruleset,
            door,
            by_tool: source == Source::Tool,
            watched: Vec::new(),
            seen,
            round: 1,
            next: 0,
            looked: Vec::new(),
        }
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

    fn used(&self, since: Instant) -> Duration {
        if self.by_tool {
            since.elapsed()
        } else {
            thread_cpu()
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

    /// Reads the chains in view, charged to `cap`, then others in turn while `sweep` is open, charged to
    /// both; everything when there is no `sweep` to hold it.
    pub(super) fn tick(
        &mut self,
        cap: &mut Bucket,
        mut sweep: Option<&mut Bucket>,
        readings: &mut Vec<Reading>,
    ) -> Result<Findings, CounterError> {
        let mut findings = Findings::default();
        self.round = if self.round >= UNREADABLE - 1 {
            1
        } else {
            self.round + 1
        };
        let started = Instant::now();
        let mut before = self.used(started);
        for at in 0..self.watched.len() {
            if let Some(chain) = self.watched.get(at).copied() {
                self.look(chain, readings, &mut findings)?;
            }
        }
        before = self.charge(started, before, cap, None);
        let chains = self.seen.len();
        for _ in 0..chains {
            if sweep.as_ref().is_some_and(|sweep| !sweep.is_open())
                || findings != Findings::default()
            {
                break;
            }
            let chain = ChainIdx(u32::try_from(self.next).unwrap_or(u32::MAX));
            self.next = (self.next + 1) % chains;
            if self.look(chain, readings, &mut findings)? {
                before = self.charge(started, before, cap, sweep.as_deref_mut());
            }
        }
        Ok(findings)
    }

    /// Charges what was used since `before`; what has been used by now.
    fn charge(
        &self,
        started: Instant,
        before: Duration,
        cap: &mut Bucket,
        sweep: Option<&mut Bucket>,
    ) -> Duration {
        let now = self.used(started);
        let cost = now.saturating_sub(before);
        cap.charge(cost);
        if let Some(sweep) = sweep {
            sweep.charge(cost);
        }
        now
    }

    /// Looks at a chain, unless it was looked at in this round; false when it was.
    fn look(
        &mut self,
        chain: ChainIdx,
        readings: &mut Vec<Reading>,
        findings: &mut Findings,
    ) -> Result<bool, CounterError> {
        let Some(door) = &mut self.door else {
            return Ok(false);
        };
        match self.seen.get(chain.0 as usize) {
            Some(seen) if *seen != UNREADABLE && *seen != self.round => {}
            _ => return Ok(false),
        }
        self.looked.clear();
        door.read(chain, &mut self.counters, &mut self.looked)?;
        for at in 0..self.looked.len() {
            if let Some(looked) = self.looked.get(at).copied() {
                self.note(looked, readings, findings);
            }
        }
        Ok(true)
    }

    fn note(&mut self, looked: Looked, readings: &mut Vec<Reading>, findings: &mut Findings) {
        let Some(seen) = self.seen.get_mut(looked.chain.0 as usize) else {
            return;
        };
        if *seen == UNREADABLE {
            return;
        }
        *seen = self.round;
        let counters = match looked.look {
            Look::Same => None,
            Look::Changed => Some(self.counters_of(looked.chain)),
            Look::OutOfStep => {
                findings.out_of_step = true;
                return;
            }
            Look::OtherGeneration => {
                findings.other_generation = true;
                return;
            }
        };
        readings.push(Reading {
            chain: looked.chain,
            counters,
        });
    }

    fn counters_of(&self, index: ChainIdx) -> ChainCounters {
        let chain = self.ruleset.chain(index);
        ChainCounters {
            policy: chain.is_builtin().then(|| self.counters.policy(index)),
            rules: chain
                .rules()
                .iter()
                .map(|rule| self.counters.rule(*rule))
                .collect(),
        }
    }
}
