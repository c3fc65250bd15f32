//! When the poller's thread reads numbers: at each tick, and all of them when it is asked to.
//!
//! What is in view is read for all origins, and told, before anything that may take long. What was asked
//! for beyond that is done in steps between which the thread does everything else that it does.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::PollEvent;
use super::live::Live;
use super::look::Tick;
use super::slot::Slot;
use super::thread::PollerThread;
use crate::netfilter::counters::CounterError;

/// A part of a tick.
type Part = fn(&mut Live, &mut Tick<'_>) -> Result<(), CounterError>;

impl PollerThread {
    pub(super) fn tick_if_due(&mut self) {
        let now = Instant::now();
        if now < self.tick_at {
            return;
        }
        self.purse.begin_tick(self.interval, now);
        self.tick_at = (self.tick_at + self.interval).max(now + self.interval / 2);
        self.look_for_legacy(now);
        for part in [Live::look_at_view as Part, Live::look_beyond] {
            for step in 0..self.slots.len() {
                let index = (self.first + step) % self.slots.len();
                self.read(index, part);
            }
        }
        self.first = (self.first + 1) % self.slots.len();
    }

    /// Reads some of one origin's numbers; false when that is not to be gone on with for now.
    fn read(&mut self, index: usize, part: Part) -> bool {
        let now = Instant::now();
        let slot = &mut self.slots[index];
        let origin = slot.origin;
        let Some(live) = slot.live() else {
            return false;
        };
        let woken = &self.line.woken;
        let called = || is_called(woken);
        let mut tick = Tick::new(&mut self.purse, &called);
        let done = part(live, &mut tick);
        let (findings, readings) = (tick.findings, tick.readings);
        if done.is_err() {
            live.asked.clear();
        }
        // The next load says what is wrong, or finds that nothing is.
        if findings.out_of_step || done.is_err() {
            slot.schedule(now);
        }
        if findings.other_generation {
            self.strange_generation(now);
        }
        if !readings.is_empty() {
            self.tell(PollEvent::Counters {
                origin,
                at: now,
                readings,
            });
        }
        !findings.other_generation
    }

    /// Reads everything once: at once what is in view and cheap, then the structure where it changed; the
    /// rest [in steps](Self::do_what_was_asked).
    pub(super) fn read_now(&mut self, now: Instant) {
        self.open_listener(now);
        if let Some(changes) = self.drain() {
            self.changed(&changes, now);
        }
        self.purse.begin_tick(self.interval, now);
        for index in 0..self.slots.len() {
            self.read(index, Live::look_at_view);
        }
        self.look_for_legacy(now);
        for slot in &mut self.slots {
            slot.hurry(now);
        }
        self.start_loads();
        for live in self.slots.iter_mut().filter_map(Slot::live) {
            live.ask_for_all();
        }
        self.asked_at = Some(now);
    }

    /// A step of what was asked for, if anything was.
    pub(super) fn do_what_was_asked(&mut self) {
        let now = Instant::now();
        if self.asked_at.is_none_or(|at| now < at) {
            return;
        }
        let lives = self.slots.iter_mut().map(Slot::live).enumerate();
        let next = lives
            .filter_map(|(index, live)| Some((live?.next_asked()?, index)))
            .min();
        self.asked_at = next.map(|(_, index)| {
            if self.read(index, Live::look_at_asked) {
                now
            } else {
                now + self.interval
            }
        });
    }

    /// Nothing that was asked for is read any more.
    pub(super) fn forget_what_was_asked(&mut self) {
        self.asked_at = None;
        for live in self.slots.iter_mut().filter_map(Slot::live) {
            live.asked.clear();
        }
    }
}

/// Whether a command or the end of a load waits to be taken.
fn is_called(woken: &UnixStream) -> bool {
    let mut fds = [PollFd::new(woken.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}
