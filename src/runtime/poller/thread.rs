//! The poller's loop: one poll(2) on what wakes it (a command, a finished load, a change event) and on
//! the next moment at which something is due.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::budget::Purse;
use super::load::{Loader, Outcome};
use super::slot::{Phase, Slot};
use super::{Command, Loaded, Options, PollEvent, Sink, Stage};
use crate::netfilter::events::Listener;
use crate::netfilter::xtables::Tools;
use crate::ruleset::{Backend, BaseChain, Origin};

/// Shorter ticks than this are not asked for by anybody.
const SHORTEST_TICK: Duration = Duration::from_millis(50);
/// What the thread is told, from outside and by its loaders.
pub(super) enum Note {
    Command(Command),
    Progress(Origin, Stage),
    Early(Origin, Box<Loaded>),
    Done(Origin, Outcome),
}

/// How it is told.
pub(super) struct Line {
    pub(super) notes: mpsc::Receiver<Note>,
    pub(super) woken: UnixStream,
    pub(super) back: mpsc::Sender<Note>,
    pub(super) wake: UnixStream,
    pub(super) stop: Arc<AtomicBool>,
}

/// Wakes the thread; a full pipe wakes it as well.
pub(super) fn ring(mut wake: &UnixStream) {
    let _ = wake.write(&[0]);
}

/// Runs until told to stop, or until nobody listens.
pub(super) fn run(options: Options, sink: Sink, line: Line) {
    let mut poller = PollerThread::new(options, sink, line);
    while !poller.ended {
        poller.wait();
        poller.take_notes();
        if !poller.frozen && !poller.ended {
            poller.take_events();
            poller.start_loads();
            poller.look_at_native();
            poller.tick_if_due();
        }
        if !poller.ended {
            poller.do_what_was_asked();
        }
    }
    poller.line.stop.store(true, Ordering::Relaxed);
    for loader in poller.loaders.drain(..) {
        let _ = loader.join();
    }
}

pub(super) struct PollerThread {
    pub(super) sink: Sink,
    pub(super) line: Line,
    pub(super) ended: bool,
    pub(super) frozen: bool,
    pub(super) interval: Duration,
    /// A load is left alone for this many times as long as it took.
    pub(super) rest: f64,
    pub(super) purse: Purse,
    pub(super) tools: Arc<Tools>,
    pub(super) slots: [Slot; 4],
    pub(super) loaders: Vec<JoinHandle<()>>,
    pub(super) tick_at: Instant,
    /// When what was asked for is gone on with.
    pub(super) asked_at: Option<Instant>,
    /// Which origin is swept first at the next tick.
    pub(super) first: usize,
    pub(super) listener: Option<Listener>,
    pub(super) listen_from: Instant,
    pub(super) look_for_nft_at: Instant,
    pub(super) generation: u32,
    pub(super) strange_ticks: u32,
    /// The end of the tick in which the last of them was counted.
    pub(super) strange_at: Option<Instant>,
    pub(super) native_at: Option<Instant>,
    pub(super) native_told: Option<Vec<BaseChain>>,
}

impl PollerThread {
    fn new(options: Options, sink: Sink, line: Line) -> Self {
        let now = Instant::now();
        let budget = options.budget;
        Self {
            sink,
            line,
            ended: false,
            frozen: false,
            interval: options.interval.max(SHORTEST_TICK),
            rest: 1.0 / budget.cap.clamp(0.001, 1.0) - 1.0,
            purse: Purse::new(budget, now),
            tools: Arc::new(Tools::find()),
            slots: Origin::ALL.map(|origin| Slot::new(origin, now)),
            loaders: Vec::new(),
            tick_at: now + options.interval.max(SHORTEST_TICK),
            asked_at: None,
            first: 0,
            listener: None,
            listen_from: now,
            look_for_nft_at: now,
            generation: 0,
            strange_ticks: 0,
            strange_at: None,
            native_at: Some(now),
            native_told: None,
        }
    }

    pub(super) fn tell(&mut self, event: PollEvent) {
        if !self.ended && !(self.sink)(event) {
            self.ended = true;
        }
    }

    /// Waits for a note, an event or the next thing due.
    fn wait(&mut self) {
        let now = Instant::now();
        let mut next = self.asked_at;
        let mut listening: Option<BorrowedFd<'_>> = None;
        if !self.frozen {
            let mut earliest = next.map_or(self.tick_at, |at| at.min(self.tick_at));
            let loads = self.slots.iter().filter_map(Slot::load_at);
            for at in loads.chain(self.native_at) {
                earliest = earliest.min(at);
            }
            if let Some(listener) = &self.listener {
                if now >= self.listen_from {
                    listening = Some(listener.fd());
                } else {
                    earliest = earliest.min(self.listen_from);
                }
            }
            next = Some(earliest);
        }
        let mut fds: Vec<PollFd<'_>> = [Some(self.line.woken.as_fd()), listening]
            .into_iter()
            .flatten()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        let timeout = next.map_or(PollTimeout::NONE, |at| {
            let wait = at.saturating_duration_since(now);
            // Rounded up: waking a millisecond early would be waking twice.
            let millis = wait.as_micros().div_ceil(1000);
            i32::try_from(millis)
                .ok()
                .and_then(|millis| PollTimeout::try_from(millis).ok())
                .unwrap_or(PollTimeout::MAX)
        });
        let _ = poll(&mut fds, timeout); // EINTR is as good as a wake
        let mut bytes = [0; 64];
        while matches!((&self.line.woken).read(&mut bytes), Ok(count) if count == bytes.len()) {}
    }

    fn take_notes(&mut self) {
        while let Ok(note) = self.line.notes.try_recv() {
            match note {
                Note::Command(command) => self.obey(command),
                Note::Progress(origin, stage) => {
                    if matches!(self.slots[origin.index()].phase, Phase::Unknown) {
                        self.tell(PollEvent::Progress { origin, stage });
                    }
                }
                Note::Early(origin, loaded) => {
                    let news = self.slots[origin.index()].early(loaded);
                    self.tell(news);
                }
                Note::Done(origin, outcome) => self.loaded(origin, outcome),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Watch { origin, chain } => {
                if let Some(live) = self.slots[origin.index()].live() {
                    live.watch(chain);
                }
            }
            Command::Unwatch { origin, chain } => {
                if let Some(live) = self.slots[origin.index()].live() {
                    live.unwatch(chain);
                }
            }
            Command::Interval(interval) => {
                self.interval = interval.max(SHORTEST_TICK);
                self.tick_at = self.tick_at.min(now + self.interval);
            }
            Command::Freeze(frozen) => {
                self.frozen = frozen;
                self.tick_at = now;
                if frozen {
                    self.forget_what_was_asked();
                }
            }
            Command::ReadNow => self.read_now(now),
            Command::Stop => self.ended = true,
        }
    }

    fn loaded(&mut self, origin: Origin, outcome: Outcome) {
        let now = Instant::now();
        let slot = &mut self.slots[origin.index()];
        if let Some(news) = slot.finish(outcome, self.generation, self.rest, now) {
            self.tell(news);
            if origin.backend == Backend::Nft {
                self.native_at.get_or_insert(now);
            }
        }
        self.loaders.retain(|loader| !loader.is_finished());
    }

    pub(super) fn start_loads(&mut self) {
        let now = Instant::now();
        for index in 0..self.slots.len() {
            if self.slots[index].load_at().is_some_and(|at| at <= now) {
                self.start_load(index);
            }
        }
    }

    fn start_load(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        let origin = slot.origin;
        slot.begin();
        let (back, tools) = (self.line.back.clone(), Arc::clone(&self.tools));
        let stop = Arc::clone(&self.line.stop);
        let Ok(wake) = self.line.wake.try_clone() else {
            return self.loaded(origin, no_thread());
        };
        let tell = move |note| {
            let _ = back.send(note);
            ring(&wake);
        };
        let loader = std::thread::Builder::new()
            .name(format!("load {origin}"))
            .spawn(move || {
                let loader = Loader {
                    origin,
                    started: Instant::now(),
                    tools: &tools,
                    stop: &stop,
                    progress: &|stage| tell(Note::Progress(origin, stage)),
                    early: &|loaded| tell(Note::Early(origin, loaded)),
                };
                tell(Note::Done(origin, loader.load()));
            });
        match loader {
            Ok(loader) => self.loaders.push(loader),
            Err(_) => self.loaded(origin, no_thread()),
        }
    }
}

fn no_thread() -> Outcome {
    Outcome::Failed(
        "no thread or descriptor to read the firewall with".into(),
        "check the limits on processes and open files (ulimit -a)".into(),
    )
}
