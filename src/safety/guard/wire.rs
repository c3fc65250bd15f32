//! What goes over the two pipes between a caller and the guard.
//!
//! In: one line of JSON, then the texts that it gives the lengths of; rulesets are bytes, and JSON is not.
//! The pipe then stays open: when it closes before the apply, the caller has given up or died, and nothing
//! is applied. Out: one line of JSON a step, until the change is pending or refused. After that neither side
//! needs the other.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use crate::ruleset::{Origin, Ruleset};
use crate::safety::places::Places;
use crate::safety::record::millis;
use crate::safety::request::{ApplyError, Pending, Request, Step, To, Transition};
use crate::safety::who::Who;

/// What a guard process is told to be.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "order")]
pub enum Order {
    /// Make a change and guard it.
    Run(Header),
    /// Guard the change whose guards have all died.
    Adopt {
        /// Where it is.
        places: Places,
    },
    /// Wait for the guard of that change to die.
    Standby {
        /// Where it is.
        places: Places,
        /// Its name.
        id: String,
    },
}

/// A request without its texts.
#[derive(Debug, Serialize, Deserialize)]
pub struct Header {
    /// Where safety keeps its things.
    pub places: Places,
    window: u64,
    /// How many backups are kept.
    pub keep: usize,
    /// For the record.
    pub why: String,
    /// For the record.
    pub who: Who,
    /// What was odd about the start of the guard.
    pub remark: Option<String>,
    parts: Vec<Part>,
    /// Length of the text of the ipsets, which comes last.
    sets: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Part {
    origin: String,
    before: usize,
    to: usize,
    script: bool,
}

/// What the guard says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// It has come that far.
    Step(Step),
    /// It is applied and guarded.
    Pending(Pending),
    /// It is not.
    Failed(ApplyError),
}

impl Header {
    /// How long the change waits.
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.window)
    }
}

/// Writes a request, and what is to be remarked about the guard's start.
pub fn send(request: &Request, remark: Option<String>, pipe: &mut impl Write) -> io::Result<()> {
    let mut texts: Vec<&[u8]> = Vec::new();
    let mut parts = Vec::new();
    for transition in &request.transitions {
        let (to, script) = match &transition.to {
            To::Ruleset(ruleset) => (ruleset.bytes(), false),
            To::Script(script) => (script.as_slice(), true),
        };
        let before = transition.before.bytes();
        parts.push(Part {
            origin: transition.origin.to_string(),
            before: before.len(),
            to: to.len(),
            script,
        });
        texts.extend([before, to]);
    }
    texts.push(&request.sets);
    order(
        &Order::Run(Header {
            places: request.places.clone(),
            window: millis(request.window),
            keep: request.keep,
            why: request.why.clone(),
            who: request.who.clone(),
            remark,
            parts,
            sets: request.sets.len(),
        }),
        pipe,
    )?;
    texts.into_iter().try_for_each(|text| pipe.write_all(text))
}

/// Writes an order.
pub fn order(order: &Order, pipe: &mut impl Write) -> io::Result<()> {
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    pipe.write_all(&line)
}

/// The guard's end of both pipes.
pub struct Line {
    input: BufReader<io::Stdin>,
    deaf: bool,
}

impl Line {
    /// Over standard input and output.
    pub fn new() -> Self {
        Self {
            input: BufReader::new(io::stdin()),
            deaf: false,
        }
    }

    /// Reads what this process is to be.
    pub fn order(&mut self) -> io::Result<Order> {
        let mut line = Vec::new();
        self.input.read_until(b'\n', &mut line)?;
        Ok(serde_json::from_slice(&line)?)
    }

    /// Reads the texts that belong to the header: the transitions, and the ipsets.
    pub fn texts(&mut self, header: &Header) -> io::Result<(Vec<Transition>, Vec<u8>)> {
        let odd = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut text = |length: usize| {
            let mut text = Vec::new();
            let read = (&mut self.input)
                .take(length as u64)
                .read_to_end(&mut text)?;
            if read == length {
                Ok(text)
            } else {
                Err(odd("the request is cut short"))
            }
        };
        let mut transitions = Vec::new();
        for part in &header.parts {
            let origin = Origin::ALL
                .into_iter()
                .find(|origin| origin.to_string() == part.origin)
                .ok_or_else(|| odd("a ruleset that is not known"))?;
            let parse = |text: Vec<u8>| {
                Ruleset::parse(text, origin)
                    .map(Arc::new)
                    .map_err(|error| odd(&error.to_string()))
            };
            let before = parse(text(part.before)?)?;
            let to = text(part.to)?;
            let to = if part.script {
                To::Script(to)
            } else {
                To::Ruleset(parse(to)?)
            };
            transitions.push(Transition { origin, before, to });
        }
        let sets = text(header.sets)?;
        Ok((transitions, sets))
    }

    /// Says it, if anybody listens.
    pub fn say(&mut self, word: &Word) {
        if self.deaf {
            return;
        }
        let mut out = io::stdout().lock();
        let said = serde_json::to_vec(word).map_err(io::Error::from);
        let said = said.and_then(|mut line| {
            line.push(b'\n');
            out.write_all(&line)?;
            out.flush()
        });
        self.deaf = said.is_err();
    }

    /// Whether the caller has given up: its end of our input is closed.
    pub fn is_abandoned(&self) -> bool {
        let stdin = io::stdin();
        let mut ready = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        // Nothing but the end of file is expected there any more.
        self.deaf || matches!(poll(&mut ready, PollTimeout::ZERO), Ok(1..))
    }
}
