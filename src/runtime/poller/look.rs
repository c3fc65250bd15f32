//! Which chains of a ruleset are read, and what is told of them.
//!
//! What is in view and cheap enough for every tick comes first and whatever the debt. Everything else
//! waits for the budget, and stops between two chains when somebody calls. A chain so dear that the others
//! would wait long for it is read only in view, or when everything was asked for.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::budget::{Purse, thread_cpu};
use super::live::{Live, UNREADABLE};
use crate::netfilter::counters::{CounterError, Look, Looked};
use crate::ruleset::{ChainCounters, ChainIdx, Reading};

/// What was asked for is told of at least this often.
const BATCH: Duration = Duration::from_millis(20);

/// One round of reading under way.
pub(super) struct Tick<'t> {
    purse: &'t mut Purse,
    /// Whether somebody calls.
    called: &'t dyn Fn() -> bool,
    /// What was found.
    pub(super) readings: Vec<Reading>,
    /// And what beside it.
    pub(super) findings: Findings,
}

impl<'t> Tick<'t> {
    /// Nothing is read yet.
    pub(super) fn new(purse: &'t mut Purse, called: &'t dyn Fn() -> bool) -> Self {
        Self {
            purse,
            called,
            readings: Vec::new(),
            findings: Findings::default(),
        }
    }

    /// Whether to stop here.
    fn is_over(&self) -> bool {
        self.findings != Findings::default() || (self.called)()
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

impl Live {
    /// Begins a round: reads the chains in view that fit into every tick.
    pub(super) fn look_at_view(&mut self, tick: &mut Tick<'_>) -> Result<(), CounterError> {
        self.round = if self.round >= UNREADABLE - 1 {
            1
        } else {
            self.round + 1
        };
        for at in 0..self.watched.len() {
            if let Some(chain) = self.watched.get(at).copied()
                && self.is_unseen(chain)
                && tick.purse.fits_in_view(self.prices.of(chain))
            {
                self.pay(chain, tick, Purse::charge)?;
            }
        }
        Ok(())
    }

    /// As far as the purse reaches: what is in view and dear, then where packets go, then others in turn.
    pub(super) fn look_beyond(&mut self, tick: &mut Tick<'_>) -> Result<(), CounterError> {
        let dear = self.watched.iter().position(|chain| self.is_unseen(*chain));
        if let Some(at) = dear
            && tick.purse.is_open()
            && !tick.is_over()
        {
            let chain = self.watched.remove(at);
            self.watched.push(chain);
            self.pay(chain, tick, Purse::charge)?;
        }
        self.follow(tick)?;
        let chains = self.seen.len();
        for _ in 0..chains {
            if !tick.purse.may_sweep() || tick.is_over() {
                break;
            }
            let chain = ChainIdx(u32::try_from(self.next).unwrap_or(u32::MAX));
            self.next = (self.next + 1) % chains;
            if self.is_worth(chain, tick) {
                self.pay(chain, tick, Purse::charge_sweep)?;
            }
        }
        Ok(())
    }

    /// Reads the chains that a hook calls, then those that their rules sent packets to, and so on. Where no
    /// packet went nothing has changed, so this finds all that moves at the cost of what moves.
    fn follow(&mut self, tick: &mut Tick<'_>) -> Result<(), CounterError> {
        let Some(door) = self.door.as_mut().filter(|door| door.can_follow()) else {
            return Ok(());
        };
        // What was in view may have sent packets on as well.
        door.follow(&mut self.entered);
        if self.queue.is_empty() {
            for at in 0..self.roots.len() {
                if let Some(root) = self.roots.get(at).copied() {
                    self.queue_up(root);
                }
            }
            // Entered at the last tick: a packet may have been under way then.
            while let Some(chain) = self.again.pop_front() {
                if let Some(lists) = self.lists.get_mut(chain.0 as usize) {
                    lists.again = false;
                }
                self.queue_up(chain);
            }
        }
        loop {
            while let Some(chain) = self.entered.pop() {
                self.queue_up(chain);
                if let Some(lists) = self.lists.get_mut(chain.0 as usize)
                    && !std::mem::replace(&mut lists.again, true)
                {
                    self.again.push_back(chain);
                }
            }
            if !tick.purse.may_follow() || tick.is_over() {
                return Ok(()); // the rest of the queue is for the next tick
            }
            let Some(chain) = self.queue.pop_front() else {
                return Ok(());
            };
            if let Some(lists) = self.lists.get_mut(chain.0 as usize) {
                lists.queue = false;
            }
            if self.is_worth(chain, tick)
                && self.pay(chain, tick, Purse::charge_follow)?
                && let Some(door) = &mut self.door
            {
                door.follow(&mut self.entered);
            }
        }
    }

    fn queue_up(&mut self, chain: ChainIdx) {
        if let Some(lists) = self.lists.get_mut(chain.0 as usize)
            && !std::mem::replace(&mut lists.queue, true)
        {
            self.queue.push_back(chain);
        }
    }

    /// Everything not read in this round is to be read once, whatever it costs: what is in view first,
    /// then the cheap before the dear.
    pub(super) fn ask_for_all(&mut self) {
        self.asked.clear();
        for place in 0..self.seen.len() {
            let chain = ChainIdx(u32::try_from(place).unwrap_or(u32::MAX));
            let unseen = self.is_unseen(chain);
            if let Some(lists) = self.lists.get_mut(place) {
                lists.asked = unseen;
            }
            if unseen {
                self.asked.push(chain);
            }
        }
        let mut asked = std::mem::take(&mut self.asked);
        asked.sort_by_cached_key(|chain| Reverse(self.urgency(*chain)));
        self.asked = asked;
    }

    /// How urgent the next chain asked for is, the least first; `None` when all were read.
    pub(super) fn next_asked(&self) -> Option<(bool, Duration)> {
        self.asked.last().map(|chain| self.urgency(*chain))
    }

    fn urgency(&self, chain: ChainIdx) -> (bool, Duration) {
        (!self.watched.contains(&chain), self.prices.of(chain))
    }

    /// Reads some of what was asked for.
    pub(super) fn look_at_asked(&mut self, tick: &mut Tick<'_>) -> Result<(), CounterError> {
        let end = Instant::now() + BATCH;
        while let Some(chain) = self.asked.pop() {
            let lists = self.lists.get(chain.0 as usize);
            if lists.is_some_and(|lists| lists.asked) {
                self.pay(chain, tick, Purse::charge)?;
            }
            if tick.findings.other_generation {
                self.asked.push(chain); // in a later round, when it is known which
            }
            if tick.is_over() || Instant::now() >= end {
                break;
            }
        }
        Ok(())
    }

    /// Whether it may be read and was not in this round.
    fn is_unseen(&self, chain: ChainIdx) -> bool {
        let seen = self.seen.get(chain.0 as usize);
        self.door.is_some() && seen.is_some_and(|seen| *seen != UNREADABLE && *seen != self.round)
    }

    /// Whether it may be read out of view. Where a reading is a whole table there is no leaving out, and no
    /// other way to notice a change.
    fn is_worth(&self, chain: ChainIdx, tick: &Tick<'_>) -> bool {
        !self.prices.are_by_chain() || tick.purse.is_worth(self.prices.of(chain))
    }

    /// Looks at a chain, unless it was looked at in this round (false then), and has it paid for.
    fn pay(
        &mut self,
        chain: ChainIdx,
        tick: &mut Tick<'_>,
        charge: impl FnOnce(&mut Purse, Duration),
    ) -> Result<bool, CounterError> {
        if !self.is_unseen(chain) {
            return Ok(false);
        }
        let clock = Clock::start(self.by_tool);
        let done = self.look(chain, tick);
        let cost = clock.used();
        charge(tick.purse, cost);
        done?;
        for looked in &self.looked {
            // What ended early says nothing.
            if matches!(looked.look, Look::Same | Look::Changed) {
                self.prices.paid(looked.chain, cost);
            }
        }
        Ok(true)
    }

    fn look(&mut self, chain: ChainIdx, tick: &mut Tick<'_>) -> Result<(), CounterError> {
        let Some(door) = &mut self.door else {
            return Ok(());
        };
        self.looked.clear();
        door.read(chain, &mut self.counters, &mut self.looked)?;
        for at in 0..self.looked.len() {
            if let Some(looked) = self.looked.get(at).copied() {
                self.note(looked, tick);
            }
        }
        Ok(())
    }

    fn note(&mut self, looked: Looked, tick: &mut Tick<'_>) {
        let place = looked.chain.0 as usize;
        let (Some(seen), Some(lists)) = (self.seen.get_mut(place), self.lists.get_mut(place))
        else {
            return;
        };
        if *seen == UNREADABLE {
            return;
        }
        *seen = self.round;
        let counters = match looked.look {
            Look::Same => None,
            Look::Changed => Some(looked.chain),
            Look::OutOfStep => {
                tick.findings.out_of_step = true;
                return;
            }
            Look::OtherGeneration => {
                tick.findings.other_generation = true;
                return;
            }
        };
        lists.asked = false;
        tick.readings.push(Reading {
            chain: looked.chain,
            counters: counters.map(|chain| self.counters_of(chain)),
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

/// What is charged: CPU time of this thread, or the time that passes while a tool runs.
enum Clock {
    Cpu(Duration),
    Tool(Instant),
}

impl Clock {
    fn start(by_tool: bool) -> Self {
        if by_tool {
            Self::Tool(Instant::now())
        } else {
            Self::Cpu(thread_cpu())
        }
    }

    fn used(&self) -> Duration {
        match self {
            Self::Cpu(start) => thread_cpu().saturating_sub(*start),
            Self::Tool(start) => start.elapsed(),
        }
    }
}

#[cfg(test)]
mod tests;
