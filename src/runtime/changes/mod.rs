//! Changes on their way to the kernel: the checks before, the apply, the watch over what is pending.
//!
//! Each of them takes its time, so each has a thread of its own; the loop hears of them by messages. What
//! decides is `safety`, and the process that undoes an unconfirmed change is its guard: this room may die at
//! any moment.

mod check;
mod keep;
mod shelf;
mod traffic;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::app::message::{Effect, Message};
use crate::app::notice::{Level, Notice};
use crate::app::shelf::Reshelve;
use crate::app::state::State;
use crate::edit::Shelved;
use crate::netfilter::xtables::Tools;
use crate::ruleset::{Origin, Ruleset};
use crate::runtime::board::Event;
use crate::safety::{self, ApplyError, DecideError, Places, Request, Step, Who};

pub use check::{Material, check};
use shelf::Shelf;
use watch::Watcher;

/// The changes of one network namespace: what the state asks for is handed to `safety`, and what happens to
/// a pending change, whoever made it, is told to the loop.
#[derive(Debug)]
pub struct Changes {
    events: UnboundedSender<Event>,
    places: Places,
    /// The root folder of the machine whose next boot is kept for.
    root: PathBuf,
    shown: keep::Shown,
    shelf: Shelf,
}

impl Changes {
    /// Begins to watch for pending changes.
    ///
    /// The demo's firewall is not the machine's: what it keeps goes to a folder of its own, whatever else of the
    /// machine's files it can see.
    pub fn open(
        events: UnboundedSender<Event>,
        places: Places,
        start: Instant,
        is_demo: bool,
    ) -> Self {
        let root = if is_demo {
            keep::demo_root(&places)
        } else {
            PathBuf::from("/")
        };
        let watcher = Watcher::new(events.clone(), places.clone(), start);
        if let Err(error) = std::thread::Builder::new()
            .name("pending".to_owned())
            .spawn(move || watcher.run())
        {
            tracing::warn!(%error, "no thread to watch pending changes with");
        }
        Self {
            shelf: Shelf::open(places.clone()),
            events,
            places,
            root,
            shown: keep::Shown::default(),
        }
    }

    /// What is disabled on this machine, or why that is not known.
    pub fn shelf(&self) -> Message {
        match safety::shelf(&self.places) {
            Ok(shelf) => Message::Shelf(shelf),
            Err(error) => Message::Notice(Notice::new(
                Level::Warning,
                "shelf",
                format!("the disabled rules are not shown: {error}"),
                error.remedy(),
            )),
        }
    }

    /// Carries out what the state asks of the firewall itself; false for an effect that is none of these.
    pub fn carry_out(&self, effect: &Effect, state: &State) -> bool {
        match *effect {
            Effect::LookAtSaved(look) => self.look_at_saved(look),
            Effect::WriteSaved(number) => self.write_saved(number),
            Effect::ReadHistory => self.read_history(),
            Effect::ReadConnections => self.read_connections(),
            Effect::ReadBackup(ref id) => self.read_backup(id.clone()),
            Effect::Apply(window, ref reshelve) => {
                self.apply(&Material::of(state), window, reshelve.clone());
            }
            Effect::Reshelve(ref reshelve) => self.reshelve(reshelve.clone()),
            Effect::Confirm => {
                self.decide(|places| safety::confirm(places, None, &Who::here()).map(drop));
            }
            Effect::Revert => {
                self.decide(|places| safety::revert(places, None, &Who::here()).map(drop));
            }
            Effect::Extend(more) => {
                self.decide(move |places| safety::extend(places, None, more).map(drop));
            }
            _ => return false,
        }
        true
    }

    fn read_connections(&self) {
        let events = self.events.clone();
        self.aside("connections", move || {
            let listed = check::listed();
            let _ = events.send(Event::Message(Message::Connections(listed)));
        });
    }

    /// Applies what is staged.
    fn apply(&self, material: &Material, window: Duration, reshelve: Reshelve) {
        let transitions = material.transitions().collect();
        let mut request = Request::new(self.places.clone(), "the board", transitions);
        request.window = window;
        let events = self.events.clone();
        let zeroed = material.zeroed();
        let Reshelve { gone, come } = reshelve;
        // First of all: a disabled rule is held by nobody else.
        let (written, shelved) = channel();
        let come = Reshelve {
            come,
            gone: Vec::new(),
        };
        self.shelf.write(come, move |how| drop(written.send(how)));
        self.aside("apply", move || {
            let tell = |message| drop(events.send(Event::Message(message)));
            let refused = match shelved.recv() {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some((error.to_string(), error.remedy())),
                Err(ended) => Some((ended.to_string(), "start the program anew")),
            };
            match refused {
                None => carry_through(&request, &zeroed, gone, &tell),
                Some((why, remedy)) => {
                    let what = format!("the disabled rules could not be kept: {why}");
                    tell(Message::Refused(what, remedy.to_owned()));
                }
            }
        });
    }

    /// Brings the shelf of disabled rules up to what the kernel holds.
    fn reshelve(&self, reshelve: Reshelve) {
        let events = self.events.clone();
        self.shelf.write(reshelve, move |written| {
            if let Err(error) = written {
                let words = format!("the shelf of disabled rules: {error}: {}", error.remedy());
                let _ = events.send(Event::Message(Message::Say(words)));
            }
        });
    }

    fn decide(&self, decide: impl FnOnce(&Places) -> Result<(), DecideError> + Send + 'static) {
        let (places, events) = (self.places.clone(), self.events.clone());
        self.aside("decide", move || {
            if let Err(error) = decide(&places) {
                let words = format!("{error}: {}", error.remedy());
                let _ = events.send(Event::Message(Message::Say(words)));
            }
        });
    }

    fn aside(&self, name: &str, work: impl FnOnce() + Send + 'static) {
        if let Err(error) = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(work)
        {
            let refused = Message::Refused(
                format!("no thread to {name} with: {error}"),
                "nothing is applied; raise the limit of processes (ulimit -u)".to_owned(),
            );
            let _ = self.events.send(Event::Message(refused));
        }
    }
}

/// Makes the change of the rules, and then of what the guard does not compare: counters, and disabled rules that
/// are deleted. A change can be of these alone.
fn carry_through(
    request: &Request,
    zeroed: &[(Origin, Arc<Ruleset>)],
    gone: Vec<Shelved>,
    tell: &dyn Fn(Message),
) {
    let done = safety::begin(request, &mut |step| {
        tell(Message::Applying(step_words(&step)));
    });
    // Of a change of rules, which may be taken back, nothing leaves the shelf yet.
    let (is_pending, deleted) = match done {
        Ok(_) => (true, Vec::new()),
        Err(ApplyError::Nothing) if !zeroed.is_empty() || !gone.is_empty() => (false, gone),
        Err(error) => {
            tell(Message::Refused(error.to_string(), error.remedy()));
            return;
        }
    };
    match zero(zeroed) {
        Ok(0) if deleted.is_empty() => {}
        Ok(count) => {
            let words = settled_words(count, deleted.len());
            tell(Message::Settled(words, deleted));
        }
        // The rules are as they were staged all the same.
        Err(error) if is_pending => {
            tell(Message::Say(format!("{error}: {}", error.remedy())));
        }
        Err(error) => tell(Message::Refused(error.to_string(), error.remedy())),
    }
}

/// Counts from zero what is staged so, in every ruleset.
fn zero(zeroed: &[(Origin, Arc<Ruleset>)]) -> Result<usize, ApplyError> {
    if zeroed.is_empty() {
        return Ok(0);
    }
    let tools = Tools::find();
    let counts = zeroed
        .iter()
        .map(|(origin, staged)| safety::zero(&tools, *origin, staged));
    counts.sum()
}

/// What was done beside the rules, in words.
fn settled_words(counters: usize, deleted: usize) -> String {
    let counters = match counters {
        0 => None,
        1 => Some("1 counter starts from zero".to_owned()),
        n => Some(format!("{n} counters start from zero")),
    };
    let deleted = match deleted {
        0 => None,
        1 => Some("1 disabled rule is deleted".to_owned()),
        n => Some(format!("{n} disabled rules are deleted")),
    };
    [counters, deleted]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; ")
}

/// How far an apply is, in words.
fn step_words(step: &Step) -> String {
    match step {
        Step::Checking => "trying it, and the way back, in a scratch namespace".to_owned(),
        Step::Waiting { holder } => format!("waiting for the xtables lock, held by {holder}"),
        Step::BackingUp => "backing up everything".to_owned(),
        Step::BackedUp { backup } => format!("backup {backup} verified"),
        Step::Armed { .. } => "the guard is armed".to_owned(),
        Step::Applying => "applying".to_owned(),
        Step::Again => "another program wrote at the same moment; carried over".to_owned(),
        Step::Verifying => "reading back what the kernel holds".to_owned(),
    }
}
