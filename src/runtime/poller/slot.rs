//! One origin's life: not known, loading, live, gone, failed; and when it is to be read again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::live::Live;
use super::load::Outcome;
use super::{Loaded, PollEvent};
use crate::netfilter::counters::CounterDoor;
use crate::netfilter::events::Touch;
use crate::ruleset::{Author, ChainIdx, Origin};

/// From the first sign of a change to reading it: a script that adds ten rules is read once.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Readings of the structure are at least so far apart, however small it is.
const APART: Duration = Duration::from_millis(200);
/// A failed origin is tried again after this long.
const RETRY: Duration = Duration::from_secs(30);

/// What is known of an origin.
pub(super) enum Phase {
    /// Not read yet.
    Unknown,
    /// Holds nothing.
    Gone,
    /// Could not be read; the error that was told.
    Failed(String),
    /// Loaded.
    Live(Box<Live>),
}

/// One origin.
pub(super) struct Slot {
    pub(super) origin: Origin,
    pub(super) phase: Phase,
    /// A thread is reading the structure.
    pub(super) loading: bool,
    /// When the structure is to be read.
    due: Option<Instant>,
    /// The load that is running, or ran last, is the first of all.
    first: bool,
    /// Not before that, by the budget.
    not_before: Instant,
    /// The last change that touched this origin since the last load began: its generation, how far.
    touched: (u32, Touch),
    author: Option<Author>,
    missed: bool,
}

impl Slot {
    pub(super) fn new(origin: Origin, now: Instant) -> Self {
        Self {
            origin,
            phase: Phase::Unknown,
            loading: false,
            due: Some(now),
            first: true,
            not_before: now,
            touched: (0, Touch::Nothing),
            author: None,
            missed: false,
        }
    }

    pub(super) fn live(&mut self) -> Option<&mut Live> {
        match &mut self.phase {
            Phase::Live(live) => Some(live),
            _ => None,
        }
    }

    /// The structure is to be read, a little later.
    pub(super) fn schedule(&mut self, now: Instant) {
        // Not put off by further changes: a writer that never rests would put it off for ever.
        let at = now + DEBOUNCE;
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// When a load may begin, if one is wanted and none is running.
    pub(super) fn load_at(&self) -> Option<Instant> {
        let due = self.due.filter(|_| !self.loading)?;
        Some(due.max(self.not_before))
    }

    /// Forgets the budget's wait, once.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.not_before = now;
        if matches!(self.phase, Phase::Failed(_)) {
            self.due = Some(now);
        }
    }

    /// A load begins.
    pub(super) fn begin(&mut self) {
        self.loading = true;
        self.first = matches!(self.phase, Phase::Unknown);
        self.due = None;
        self.touched = (0, Touch::Nothing);
    }

    /// nft: a change of that generation was told.
    pub(super) fn changed(
        &mut self,
        touch: &Touch,
        generation: u32,
        author: Option<&Author>,
        missed: bool,
        now: Instant,
    ) {
        if let Some(live) = self.live() {
            apply(live, touch, generation);
        }
        if *touch == Touch::Nothing {
            return;
        }
        self.touched.0 = generation;
        self.touched.1.add(touch.clone());
        self.author = author.cloned().or(self.author.take());
        self.missed |= missed;
        self.schedule(now);
    }

    /// A load has ended: the news to tell, if any. `generation` is nft's now; `rest` how much longer
    /// than the load itself to leave it alone.
    pub(super) fn finish(
        &mut self,
        outcome: Outcome,
        generation: u32,
        rest: f64,
        now: Instant,
    ) -> Option<PollEvent> {
        self.loading = false;
        let origin = self.origin;
        match outcome {
            Outcome::Stopped => None,
            Outcome::Gone => {
                let news = !matches!(self.phase, Phase::Gone);
                self.phase = Phase::Gone;
                news.then_some(PollEvent::Gone { origin })
            }
            Outcome::Failed(error, remedy) => {
                let news = !matches!(&self.phase, Phase::Failed(told) if *told == error);
                self.phase = Phase::Failed(error.clone());
                self.due.get_or_insert(now + RETRY);
                self.not_before = now + APART;
                news.then_some(PollEvent::Failed {
                    origin,
                    error,
                    remedy,
                })
            }
            Outcome::Loaded {
                loaded,
                door,
                generation: matched,
                misfits,
            } => {
                // Nobody waits for what the first load cost: a change is read at once, the one after it later.
                let rest = if self.first { 0.0 } else { rest };
                self.not_before = now + loaded.took.mul_f64(rest).max(APART);
                if door.is_none() {
                    self.due.get_or_insert(now); // it never stood still: again, when the budget allows
                }
                match (&mut self.phase, door) {
                    // It was told early: only its door was missing.
                    (Phase::Live(live), Some(door))
                        if Arc::ptr_eq(&live.ruleset, &loaded.ruleset) =>
                    {
                        live.bind(door, &misfits);
                        None
                    }
                    (_, door) => Some(self.show(loaded, door, matched, generation, &misfits)),
                }
            }
        }
    }

    /// A structure that is read but not yet bound to a door; the news to tell.
    pub(super) fn early(&mut self, loaded: Box<Loaded>) -> PollEvent {
        self.show(loaded, None, 0, 0, &[])
    }

    fn show(
        &mut self,
        mut loaded: Box<Loaded>,
        door: Option<Box<dyn CounterDoor>>,
        matched: u32,
        generation: u32,
        misfits: &[ChainIdx],
    ) -> PollEvent {
        let ruleset = Arc::clone(&loaded.ruleset);
        let mut live = Live::new(ruleset, door, loaded.source, misfits);
        self.catch_up(&mut live, matched, generation);
        if let Phase::Live(earlier) = &self.phase {
            live.watch_as(earlier);
        }
        self.phase = Phase::Live(Box::new(live));
        loaded.author = self.author.take();
        loaded.missed_changes = std::mem::take(&mut self.missed);
        PollEvent::Loaded(loaded)
    }

    /// Brings a fresh door from the generation that it was matched at to the one of now.
    fn catch_up(&mut self, live: &mut Live, matched: u32, generation: u32) {
        let (touched, touch) = &self.touched;
        if generation_is_newer(*touched, matched) {
            apply(live, touch, generation);
        } else if generation_is_newer(generation, matched) {
            live.trust(generation);
        }
        if *touched != 0 && !generation_is_newer(*touched, matched) {
            self.begin_anew(); // the load has seen it
        }
    }

    fn begin_anew(&mut self) {
        self.touched = (0, Touch::Nothing);
        self.due = None;
    }
}

/// What a change means for numbers that are being read.
fn apply(live: &mut Live, touch: &Touch, generation: u32) {
    match touch {
        Touch::Nothing => live.trust(generation),
        Touch::Chains(chains) => {
            live.distrust(chains);
            live.trust(generation);
        }
        Touch::Everything => live.suspend(),
    }
}

/// Generations wrap around; 0 is none.
fn generation_is_newer(one: u32, than: u32) -> bool {
    one != 0 && one.wrapping_sub(than).cast_signed() > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::Ruleset;
    use crate::runtime::poller::{Source, Uncounted};

    fn slot(now: Instant) -> Slot {
        Slot::new(Origin::ALL[0], now)
    }

    #[test]
    fn a_restless_writer_does_not_put_the_load_off() {
        let now = Instant::now();
        let mut slot = slot(now);
        slot.begin();
        slot.loading = false;
        slot.schedule(now);
        for n in 1..50 {
            slot.schedule(now + n * Duration::from_millis(20));
        }
        assert_eq!(slot.load_at(), Some(now + DEBOUNCE));
    }

    #[test]
    fn nothing_is_loaded_twice_at_a_time() {
        let now = Instant::now();
        let mut slot = slot(now);
        assert_eq!(slot.load_at(), Some(now));
        slot.begin();
        slot.schedule(now);
        assert_eq!(slot.load_at(), None);
    }

    #[test]
    fn a_failure_is_told_once_and_tried_again() {
        let now = Instant::now();
        let mut slot = slot(now);
        let fail = || Outcome::Failed("no".into(), "do".into());
        slot.begin();
        assert!(matches!(
            slot.finish(fail(), 0, 19.0, now),
            Some(PollEvent::Failed { .. })
        ));
        assert_eq!(slot.load_at(), Some(now + RETRY));
        slot.begin();
        assert!(slot.finish(fail(), 0, 19.0, now).is_none());
        slot.begin();
        assert!(matches!(
            slot.finish(Outcome::Gone, 0, 19.0, now),
            Some(PollEvent::Gone { .. })
        ));
        assert_eq!(slot.load_at(), None);
        slot.begin();
        assert!(slot.finish(Outcome::Gone, 0, 19.0, now).is_none());
    }

    #[test]
    fn the_first_change_is_read_at_once_and_the_next_is_paid_for() {
        let now = Instant::now();
        let mut slot = slot(now);
        let origin = slot.origin;
        let took = Duration::from_secs(5);
        let outcome = || {
            let text = b"*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n".to_vec();
            Outcome::Loaded {
                loaded: Box::new(Loaded {
                    origin,
                    ruleset: Arc::new(Ruleset::parse(text, origin).unwrap()),
                    source: Source::DumpOnly,
                    handles: None,
                    lossy: Vec::new(),
                    uncounted: Uncounted::default(),
                    warnings: Vec::new(),
                    author: None,
                    missed_changes: false,
                    took,
                }),
                door: None,
                generation: 0,
                misfits: Vec::new(),
            }
        };
        slot.begin();
        slot.finish(outcome(), 0, 19.0, now);
        assert_eq!(slot.load_at(), Some(now + APART));
        slot.begin();
        slot.finish(outcome(), 0, 19.0, now);
        assert_eq!(slot.load_at(), Some(now + 19 * took));
    }

    #[test]
    fn generations_wrap_around() {
        assert!(generation_is_newer(3, 2));
        assert!(!generation_is_newer(2, 2));
        assert!(generation_is_newer(1, u32::MAX));
        assert!(!generation_is_newer(u32::MAX, 1));
        assert!(!generation_is_newer(0, u32::MAX));
    }
}
