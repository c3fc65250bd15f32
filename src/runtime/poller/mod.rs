//! The poller: a thread that owns the doors to the firewall and tells the loop what it sees.
//!
//! Commands go in ([`Command`]), events come out ([`PollEvent`]) through a sink that the caller gives, so
//! that nothing here knows the loop. Every origin is answered once at the start (loaded, gone or failed)
//! and again whenever that changes; one that fails leaves the others running.
//!
//! Rooms within: `thread` is the loop, `news` what wakes it, `ticks` when numbers are read, `slot` the life
//! of one origin, `load` reads a structure (on a thread of its own, so that a large one holds nothing up),
//! `live` is a loaded one and `look` reads its numbers, `price` says what that will cost and `budget` when
//! there may be more.
//!
//! Looking costs CPU on a box that has none to spare, so there is a [`Budget`], and an order. First the
//! chains in view: at every tick, whatever else was spent, as long as their own price fits into it; a
//! dearer one as often as the budget pays for it. Then, for nft, the chains that packets go through: those
//! that a hook calls, and from there every chain that a jump with a moving counter leads to; where no
//! packet went no number moved, so this finds all that is lit at the cost of what is lit and not of what
//! is loaded. Then the others in turn, slowly, for whatever following cannot see. These two wait until
//! debts are paid off, and leave out the chain that would take long to pay off: reading one nft chain of
//! 100,000 rules takes the kernel seconds. Frozen means nothing is read and nothing wakes.

mod budget;
mod live;
mod load;
mod look;
mod news;
mod price;
mod slot;
mod thread;
mod ticks;

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use crate::netfilter::counters::{Handles, Uncounted};
use crate::netfilter::xtables::Warning;
use crate::ruleset::{Author, BaseChain, ChainIdx, Lossy, Origin, Reading, Ruleset};

/// What the poller tells.
#[derive(Debug)]
pub enum PollEvent {
    /// How far the first load of an origin has come.
    Progress {
        /// Which one.
        origin: Origin,
        /// What it is doing now.
        stage: Stage,
    },
    /// The structure of an origin, new or anew. Its counters are the ruleset's
    /// [`saved_counters`](Ruleset::saved_counters).
    Loaded(Box<Loaded>),
    /// Counters of some chains of the ruleset that was loaded last.
    Counters {
        /// Which ruleset.
        origin: Origin,
        /// When they were read.
        at: Instant,
        /// One per chain looked at; without counters where nothing had changed.
        readings: Vec<Reading>,
    },
    /// The origin holds nothing (any more).
    Gone {
        /// Which one.
        origin: Origin,
    },
    /// The origin cannot be read; it is tried again when something changes, and now and then.
    Failed {
        /// Which one.
        origin: Origin,
        /// What failed.
        error: String,
        /// What to do about it.
        remedy: String,
    },
    /// The base chains that iptables does not show, all of them, whenever they changed.
    Native(Vec<BaseChain>),
}

/// A structure that was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Which one.
    pub origin: Origin,
    /// The structure, with the counters that the dump carried.
    pub ruleset: Arc<Ruleset>,
    /// Where its counters come from from now on.
    pub source: Source,
    /// The kernel's handles; `None` for legacy, which has none, and for an nft ruleset that never stood
    /// still long enough to be matched with them.
    pub handles: Option<Arc<Handles>>,
    /// Rules whose saved text says less than the kernel's rule.
    pub lossy: Vec<Lossy>,
    /// Rules and policies that the kernel does not count.
    pub uncounted: Uncounted,
    /// What the save tool admitted.
    pub warnings: Vec<Warning>,
    /// Who made the change that led to this reading, where the kernel said so.
    pub author: Option<Author>,
    /// True when changes may have been made that no event told of.
    pub missed_changes: bool,
    /// How long reading and matching took.
    pub took: Duration,
}

/// How the counters of a loaded ruleset are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Straight from the kernel.
    Kernel,
    /// By running the save tool: the kernel would not be asked directly.
    Tool,
    /// Not at all until the next load: the ruleset kept changing while it was read, so nothing proves which
    /// number belongs to which rule. The dump's own numbers are right for the moment of the dump.
    DumpOnly,
}

/// What a first load is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Looking whether the back end holds anything.
    Looking,
    /// The save tool is running.
    Saving,
    /// The model is reading this many bytes.
    Parsing {
        /// Size of the dump.
        bytes: usize,
    },
    /// Rules are being matched with their kernel handles.
    Matching,
}

/// What the poller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read this chain every tick, or as often as the budget pays for it, until [`Command::Unwatch`]. Kept
    /// over a load, by table and name.
    Watch {
        /// Which ruleset.
        origin: Origin,
        /// Its chain.
        chain: ChainIdx,
    },
    /// No longer in view.
    Unwatch {
        /// Which ruleset.
        origin: Origin,
        /// Its chain.
        chain: ChainIdx,
    },
    /// The length of a tick (default one second; at least 50 ms).
    Interval(Duration),
    /// True: read nothing and wake for nothing until false.
    Freeze(bool),
    /// Read everything now, whatever the tick and the budget, once; also while frozen. What is in view
    /// comes first, then the structure where it changed, then the rest, the dearest last.
    ReadNow,
    /// End the thread.
    Stop,
}

/// How much CPU the poller may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Share of one core that everything together may take; what is out of view waits to hold it.
    pub cap: f64,
    /// Share of one core that reading chains in turn, out of view and without a sign of traffic, may take.
    pub sweep: f64,
}

impl Default for Budget {
    /// The sweep's share keeps a box with 100,000 nft rules under a fiftieth of what `watch iptables -L` takes.
    fn default() -> Self {
        Self {
            cap: 0.05,
            sweep: 0.006,
        }
    }
}

/// How a poller starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The length of a tick.
    pub interval: Duration,
    /// CPU limits.
    pub budget: Budget,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            budget: Budget::default(),
        }
    }
}

/// Takes the poller's events, on the poller's thread; false ends the poller (nobody listens any more).
pub type Sink = Box<dyn FnMut(PollEvent) -> bool + Send>;

/// The running thread. Dropping it kills a running tool, ends the thread and waits for it.
#[derive(Debug)]
pub struct Poller {
    commands: mpsc::Sender<thread::Note>,
    wake: UnixStream,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Poller {
    /// Starts the thread in the network namespace of the calling thread.
    pub fn spawn(options: Options, sink: Sink) -> io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let (commands, notes) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let line = thread::Line {
            notes,
            woken,
            back: commands.clone(),
            wake: wake.try_clone()?,
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new()
            .name("poller".into())
            .spawn(move || thread::run(options, sink, line))?;
        Ok(Self {
            commands,
            wake,
            stop,
            thread: Some(thread),
        })
    }

    /// Tells the poller something. A poller that has ended takes it without a word.
    pub fn send(&self, command: Command) {
        if command == Command::Stop {
            self.stop.store(true, Ordering::Relaxed);
        }
        let _ = self.commands.send(thread::Note::Command(command));
        thread::ring(&self.wake);
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic there has been printed there
        }
    }
}
