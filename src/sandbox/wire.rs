//! What the UI process and the helpers say to each other: JSON, one document a line, over socket pairs.
//!
//! Two pairs, handed to the helper as its standard input and output, so that no descriptor has to
//! survive an `exec` by other means. *Control* (input) carries the plan, the progress of the set-up,
//! then probes; *traffic* (output) carries the questions of how the clients fare, which must not wait
//! behind a probe. On both, each side takes its turn: a question, its answer. End of file means that the other side is gone.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Traffic;
use super::error::Step;
use super::scenario::{LogTarget, Probe, ProbeResult, Scenario};
use super::tools::Tools;

/// A line longer than this is not one of ours.
const LONGEST: u64 = 16 << 20;

/// First line on control, from the UI process: what to build.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    pub scenario: Scenario,
    pub tools: Tools,
    pub log: LogTarget,
    /// Whether the kernel speaks IPv6 at all.
    pub ipv6: bool,
}

/// Lines on control, from the helper, until `Ready` or `Failed`.
#[derive(Debug, Serialize, Deserialize)]
pub enum Event {
    Progress(Step),
    Ready { notes: Vec<String> },
    Failed { step: Step, detail: String },
}

/// A question on control once it is ready: flows to try, all at once.
pub type ProbeQuestion = Vec<Probe>;
/// The answers, in the same order, or why there are none.
pub type ProbeAnswer = Result<Vec<ProbeResult>, String>;

/// The question on traffic.
#[derive(Debug, Serialize, Deserialize)]
pub struct TrafficQuestion;
/// The answer to it, one per client group, in the order of the scenario.
pub type TrafficAnswer = Vec<Traffic>;

/// One end of a pair.
#[derive(Debug)]
pub struct Line {
    stream: BufReader<UnixStream>,
}

impl Line {
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// The socket, for timeouts and shutdown.
    pub fn stream(&self) -> &UnixStream {
        self.stream.get_ref()
    }

    pub fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        let mut text = serde_json::to_vec(message)?;
        text.push(b'\n');
        self.stream.get_mut().write_all(&text)
    }

    /// The next message; `None` when the other side is gone.
    pub fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut text = Vec::new();
        io::Read::take(&mut self.stream, LONGEST).read_until(b'\n', &mut text)?;
        if text.last() != Some(&b'\n') {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&text)?))
    }
}
