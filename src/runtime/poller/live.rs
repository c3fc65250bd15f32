//! The numbers of one loaded ruleset: which chains are read at a tick, and what is told of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Source;
use super::budget::{Purse, thread_cpu};
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
    /// Chains that a hook calls.
    roots: Vec<ChainIdx>,
    /// Chains that packets went through and that are still to be read, in this tick or a later one.
    queue: VecDeque<ChainIdx>,
    /// Read because packets went there, and to be read once more at the next tick.
    again: VecDeque<ChainIdx>,
    // Kept between ticks, so that a tick allocates nothing but its message.
    looked: Vec<Looked>,
    entered: Vec<ChainIdx>,
}

/// One tick under way.
struct Tick<'t> {
    findings: Findings,
    readings: &'t mut Vec<Reading>,
    clock: Clock,
}

/// What is charged: CPU time of this thread, or the time that passes while a tool runs.
struct Clock {
    by_tool: Option<Instant>,
    last: Duration,
}

impl Clock {
    fn start(by_tool: bool) -> Self {
        let mut clock = Self {
            by_tool: by_tool.then(Instant::now),
            last: Duration::ZERO,
        };
        clock.lap();
        clock
    }

    /// What was used since the last lap.
    fn lap(&mut self) -> Duration {
        let now = self
            .by_tool
            .map_or_else(thread_cpu, |start| start.elapsed());
        let used = now.saturating_sub(self.last);
        self.last = now;
        used
    }
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
        let chains = ruleset.chains().iter().enumerate();
        let roots = chains
            .filter(|(_, chain)| chain.is_builtin())
            .map(|(place, _)| ChainIdx(u32::try_from(place).unwrap_or(u32::MAX)))
            .collect();
        let seen = vec![NEVER; ruleset.chains().len()];
        let mut live = Self {
            counters: ruleset.saved_counters(),
            ruleset,
            door,
            by_tool: source == Source::Tool,
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

    /// Reads the chains in view; then, as far as the purse reaches, those that packets go through; then
    /// others in turn. Everything, whatever it costs, unless `bounded`.
    pub(super) fn tick(
        &mut self,
        purse: &mut Purse,
        bounded: bool,
        readings: &mut Vec<Reading>,
    ) -> Result<Findings, CounterError> {
        self.round = if self.round >= UNREADABLE - 1 {
            1
        } else {
            self.round + 1
        };
        let mut tick = Tick {
            findings: Findings::default(),
            readings,
            clock: Clock::start(self.by_tool),
        };
        for at in 0..self.watched.len() {
            if let Some(chain) = self.watched.get(at).copied() {
                self.look(chain, &mut tick)?;
            }
        }
        purse.cap.charge(tick.clock.lap());
        if bounded {
            self.follow(purse, &mut tick)?;
        }
        let chains = self.seen.len();
        for _ in 0..chains {
            if bounded && !purse.sweep.is_open() || tick.findings != Findings::default() {
                break;
            }
            let chain = ChainIdx(u32::try_from(self.next).unwrap_or(u32::MAX));
            self.next = (self.next + 1) % chains;
            if self.look(chain, &mut tick)? {
                let cost = tick.clock.lap();
                purse.cap.charge(cost);
                purse.sweep.charge(cost);
            }
        }
        Ok(tick.findings)
    }

    /// Reads the chains that a hook calls, then those that their rules sent packets to, and so on. Where no
    /// packet went nothing has changed, so this finds all that moves at the cost of what moves.
    fn follow(&mut self, purse: &mut Purse, tick: &mut Tick<'_>) -> Result<(), CounterError> {
        let Some(door) = self.door.as_mut().filter(|door| door.can_follow()) else {
            return Ok(());
        };
        // What was in view may have sent packets on as well.
        door.follow(&mut self.entered);
        if self.queue.is_empty() {
            self.queue.extend(&self.roots);
            // Entered at the last tick: a packet may have been under way then.
            self.queue.append(&mut self.again);
        }
        loop {
            for chain in self.entered.drain(..) {
                self.queue.push_back(chain);
                self.again.push_back(chain);
            }
            if !purse.follow.is_open() || tick.findings != Findings::default() {
                return Ok(()); // the rest of the queue is for the next tick
            }
            let Some(chain) = self.queue.pop_front() else {
                return Ok(());
            };
            if self.look(chain, tick)? {
                let cost = tick.clock.lap();
                purse.cap.charge(cost);
                purse.follow.charge(cost);
                if let Some(door) = &mut self.door {
                    door.follow(&mut self.entered);
                }
            }
        }
    }

    /// Looks at a chain, unless it was looked at in this round; false when it was.
    fn look(&mut self, chain: ChainIdx, tick: &mut Tick<'_>) -> Result<bool, CounterError> {
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
                self.note(looked, tick);
            }
        }
        Ok(true)
    }

    fn note(&mut self, looked: Looked, tick: &mut Tick<'_>) {
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
                tick.findings.out_of_step = true;
                return;
            }
            Look::OtherGeneration => {
                tick.findings.other_generation = true;
                return;
            }
        };
        tick.readings.push(Reading {
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
