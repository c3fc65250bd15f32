//! The UI process's end of the helper processes: start, ask, end.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ACTOR;
use super::error::SandboxError;
use super::wire::{Event, Line, Plan};

/// A step of the set-up, or a probe, that takes longer than this will never end.
const PATIENCE: Duration = Duration::from_secs(20);
/// What an orderly end may take before it is made a disorderly one.
const FAREWELL: Duration = Duration::from_secs(2);

/// The keeper and its sockets. Dropping it ends every helper, and waits until they are gone.
#[derive(Debug)]
pub struct Helpers {
    keeper: Child,
    /// Mutexes, because a question and its answer belong together and any thread may ask.
    control: Mutex<Line>,
    traffic: Mutex<Line>,
}

impl Helpers {
    /// Start the keeper: `actor` is the binary that knows [`ACTOR`].
    pub fn start(actor: &Path) -> Result<Self, SandboxError> {
        let spawn = || -> io::Result<Self> {
            let (control, its_control) = UnixStream::pair()?;
            let (traffic, its_traffic) = UnixStream::pair()?;
            for socket in [&control, &traffic] {
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.set_write_timeout(Some(PATIENCE))?;
            }
            let keeper = Command::new(actor)
                .arg0("ruletop")
                .args([ACTOR, "keeper", &std::process::id().to_string()])
                .current_dir("/")
                .stdin(Stdio::from(OwnedFd::from(its_control)))
                .stdout(Stdio::from(OwnedFd::from(its_traffic)))
                .stderr(Stdio::null())
                .spawn()?;
            Ok(Self {
                keeper,
                control: Mutex::new(Line::new(control)),
                traffic: Mutex::new(Line::new(traffic)),
            })
        };
        spawn().map_err(|error| SandboxError::Gone(format!("{}: {error}", actor.display())))
    }

    /// Let them build the sandbox; returns their notes when it stands.
    pub fn build(
        &mut self,
        plan: &Plan,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Vec<String>, SandboxError> {
        let control = self
            .control
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        control.send(plan).map_err(gone)?;
        loop {
            match control.receive::<Event>().map_err(gone)? {
                Some(Event::Progress(step)) => progress(&step.to_string()),
                Some(Event::Ready { notes }) => return Ok(notes),
                Some(Event::Failed { step, detail }) => {
                    return Err(SandboxError::Setup { step, detail });
                }
                None => {
                    return Err(SandboxError::Gone(
                        "they ended during the set-up".to_owned(),
                    ));
                }
            }
        }
    }

    /// Ask on the control line.
    pub fn ask<A: DeserializeOwned>(&self, question: &impl Serialize) -> Result<A, SandboxError> {
        ask(&self.control, question)
    }

    /// Ask on the traffic line.
    pub fn ask_traffic<A: DeserializeOwned>(
        &self,
        question: &impl Serialize,
    ) -> Result<A, SandboxError> {
        ask(&self.traffic, question)
    }
}

/// One question, its answer. After a failure the line is shut, lest a late answer be taken for the next one.
fn ask<A: DeserializeOwned>(
    line: &Mutex<Line>,
    question: &impl Serialize,
) -> Result<A, SandboxError> {
    let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = line
        .send(question)
        .and_then(|()| line.receive::<A>())
        .map_err(gone);
    match answer {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(SandboxError::Gone("they have ended".to_owned())),
        Err(error) => {
            let _ = line.stream().shutdown(Shutdown::Both);
            Err(error)
        }
    }
}

#[allow(clippy::needless_pass_by_value)] // the shape that map_err wants
fn gone(error: io::Error) -> SandboxError {
    SandboxError::Gone(error.to_string())
}

impl Drop for Helpers {
    fn drop(&mut self) {
        for line in [&mut self.control, &mut self.traffic] {
            let line = line.get_mut().unwrap_or_else(PoisonError::into_inner);
            let _ = line.stream().shutdown(Shutdown::Both);
        }
        let end = Instant::now() + FAREWELL;
        while matches!(self.keeper.try_wait(), Ok(None)) {
            if Instant::now() > end {
                let _ = self.keeper.kill();
                let _ = self.keeper.wait();
                return;
            }
            sleep(Duration::from_millis(2));
        }
    }
}
