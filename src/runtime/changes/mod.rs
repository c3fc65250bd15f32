//! Changes on their way to the kernel: the checks before, the apply, the watch over what is pending.
//!
//! Each of them takes its time, so each has a thread of its own; the loop hears of them by messages. What
//! decides is `safety`, and the process that undoes an unconfirmed change is its guard: this room may die at
//! any moment.

mod check;
mod keep;
mod traffic;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::app::message::Message;
use crate::netfilter::xtables::Tools;
use crate::ruleset::{Origin, Ruleset};
use crate::runtime::board::Event;
use crate::safety::{self, ApplyError, DecideError, Places, Request, Step, Who};

pub use check::{Material, check};
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
            events,
            places,
            root,
            shown: keep::Shown::default(),
        }
    }

    /// Applies what is staged.
    pub fn apply(&self, material: &Material, window: Duration) {
        let transitions = material.transitions().collect();
        let mut request = Request::new(self.places.clone(), "the board", transitions);
        request.window = window;
        let events = self.events.clone();
        let zeroed = material.zeroed();
        self.aside("apply", move || {
            let tell = |message| drop(events.send(Event::Message(message)));
            let done = safety::begin(&request, &mut |step| {
                tell(Message::Applying(step_words(&step)));
            });
            let told = match done {
                // Counters are no part of what the guard compares: a change can be of nothing else.
                Ok(_) => zero(&zeroed).map(|count| (count > 0).then_some(count)),
                Err(ApplyError::Nothing) if !zeroed.is_empty() => zero(&zeroed).map(Some),
                Err(error) => Err(error),
            };
            match told {
                Ok(Some(count)) => tell(Message::Zeroed(count)),
                Ok(None) => {}
                Err(error) => tell(Message::Refused(error.to_string(), error.remedy())),
            }
        });
    }

    /// Keeps the pending change.
    pub fn confirm(&self) {
        self.decide(|places| safety::confirm(places, None, &Who::here()).map(drop));
    }

    /// Puts back what was before it.
    pub fn revert(&self) {
        self.decide(|places| safety::revert(places, None, &Who::here()).map(drop));
    }

    /// Lets it wait longer.
    pub fn extend(&self, more: Duration) {
        self.decide(move |places| safety::extend(places, None, more).map(drop));
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
