//! Where the kernel's words about dropped packets come from: one trait, one file an implementation.

use std::time::Duration;

use crate::flow::{Batch, LogSource};

/// A place that kernel lines can be read from.
pub trait DropSource: Send {
    /// Which kind of door this is.
    fn kind(&self) -> LogSource;

    /// What to call it on the screen: `/dev/kmsg`, `/var/log/kern.log`, `nflog group 5`.
    fn describe(&self) -> String;

    /// Blocks, handing over batches as lines come, until `stop` says so or the source ends.
    fn follow(&mut self, stop: &Stop, sink: &mut dyn FnMut(Batch)) -> Result<(), DropError>;
}

/// Tells a source that is blocked in [`DropSource::follow`] to return.
#[derive(Debug)]
pub struct Stop {}

/// A source being followed by its own thread. Dropping it stops the thread and waits for it.
pub struct Following {}

/// What [`Following::take`] found.
#[derive(Debug, Default)]
pub struct Taken {
    /// Lines since the last call; when the flood was faster than the caller, the newest of them, and
    /// the others counted in [`Batch::lost`].
    pub batch: Batch,
    /// The source has ended: there will be no more. `Err` says why.
    pub ended: Option<Result<(), DropError>>,
}

impl Following {
    /// Starts a thread that follows `source`. `wake` is called, from that thread, when there is
    /// something to take and the last call was already answered: at most once for each
    /// [`Self::take`], however many lines come.
    pub fn start(
        source: Box<dyn DropSource>,
        wake: impl Fn() + Send + 'static,
    ) -> Result<Self, DropError> {
        let _ = (source, wake);
        Ok(Self {})
    }

    /// Which kind of door this is.
    pub fn kind(&self) -> LogSource {
        LogSource::Kmsg
    }

    /// What to call it on the screen.
    pub fn describe(&self) -> &str {
        ""
    }

    /// What came since the last call. Never blocks for long.
    pub fn take(&self) -> Taken {
        Taken::default()
    }
}

/// What [`open_best`] found.
pub struct Opened {
    /// The best source there is; `None` when there is none.
    pub source: Option<Box<dyn DropSource>>,
    /// The better ones that could not be had, and why.
    pub passed_over: Vec<PassedOver>,
}

/// A source that could not be had.
#[derive(Debug)]
pub struct PassedOver {
    /// What it is called.
    pub name: String,
    /// Why not.
    pub error: DropError,
}

/// What to open.
#[derive(Clone, Debug)]
pub struct Options {
    /// Records of the past to hand over first.
    pub history: usize,
}

impl Default for Options {
    /// The last 500 records.
    fn default() -> Self {
        Self { history: 500 }
    }
}

/// Opens the kernel's ring, else the journal, else a log file.
pub fn open_best(options: &Options) -> Opened {
    let _ = options;
    Opened {
        source: None,
        passed_over: Vec::new(),
    }
}

/// Opens NFLOG groups in the calling thread's network namespace, for both families.
pub fn open_nflog(groups: &[u16]) -> Result<Box<dyn DropSource>, DropError> {
    let _ = groups;
    Err(DropError::Absent {
        what: "nflog".into(),
        remedy: "",
    })
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// It is not there.
    #[error("{what} is not there; {remedy}")]
    Absent {
        /// What was looked for.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// The longest that a line waits before it is handed over.
pub const LATENCY: Duration = Duration::from_millis(50);
