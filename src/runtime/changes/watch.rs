//! The watch over what is pending, whoever made it, and over who gets in while it is.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::app::change::{self, Evidence};
use crate::app::message::Message;
use crate::app::notice::{Level, Notice};
use crate::host;
use crate::runtime::board::Event;
use crate::safety::{self, Ended, PendingView, Places, Watch};

/// Waits for changes of the pending change, and looks who gets in while there is one.
pub(super) struct Watcher {
    events: UnboundedSender<Event>,
    places: Places,
    start: Instant,
    pending: Option<PendingView>,
    doorbell: Option<Doorbell>,
}

/// While nothing is pending the folder is looked at this often beside the kernel's own word, in case it was
/// taken away and made anew.
const IDLE: Duration = Duration::from_secs(3_600);
/// While a change is pending, new connections are looked for this often.
const BUSY: Duration = Duration::from_secs(1);
/// How long a guard may take to write down how its change ended, on a box that is busy.
const PATIENCE: Duration = Duration::from_secs(10);

impl Watcher {
    pub(super) fn new(events: UnboundedSender<Event>, places: Places, start: Instant) -> Self {
        Self {
            events,
            places,
            start,
            pending: None,
            doorbell: None,
        }
    }

    /// Until the loop is gone.
    pub(super) fn run(mut self) {
        let watch = match Watch::new(&self.places) {
            Ok(watch) => watch,
            Err(error) => {
                self.tell(Message::Notice(Notice::new(
                    Level::Warning,
                    "pending",
                    format!("changes cannot be applied from here: {error}"),
                    error.remedy(),
                )));
                return;
            }
        };
        loop {
            if !self.look() {
                return; // the loop is gone
            }
            watch.wait(if self.pending.is_some() { BUSY } else { IDLE });
        }
    }

    fn tell(&self, message: Message) -> bool {
        self.events.send(Event::Message(message)).is_ok()
    }

    /// Tells what is new. False when nobody listens any more.
    fn look(&mut self) -> bool {
        let now = safety::pending(&self.places);
        if let (Some(was), None) = (&self.pending, &now) {
            let (kept, words) = self.ended(&was.id);
            self.tell(Message::Ended(kept, words));
        }
        if now.as_ref().is_some_and(|view| !view.guarded)
            && let Err(error) = safety::rescue(&self.places)
        {
            tracing::warn!(%error, "a pending change without a guard");
        }
        // The time that is left changes at every look; a deadline that was moved is news.
        let news = match (&self.pending, &now) {
            (None, None) => false,
            (Some(was), Some(is)) => {
                let moved = was.left.abs_diff(is.left) > Duration::from_secs(5);
                was.id != is.id || was.phase != is.phase || was.window != is.window || moved
            }
            _ => true,
        };
        if now.is_none() {
            self.doorbell = None;
        } else if self.doorbell.is_none() {
            self.doorbell = Some(Doorbell::new());
        }
        let alive = !news || self.tell(Message::Pending(now.as_ref().map(|view| self.words(view))));
        self.pending = now;
        let evidence = self.doorbell.as_mut().and_then(Doorbell::listen);
        alive && evidence.is_none_or(|evidence| self.tell(Message::Evidence(evidence)))
    }

    /// How a change ended.
    fn ended(&self, id: &str) -> (Option<bool>, String) {
        match safety::wait_for_end(&self.places, id, PATIENCE) {
            Ended::Known(entry) => {
                let by = entry.by.map(|by| format!(" by {by}")).unwrap_or_default();
                let kept = entry.event == safety::Event::Confirmed;
                let words = match entry.event {
                    safety::Event::Confirmed => format!("the change is kept{by}"),
                    safety::Event::Reverted => format!("the change is taken back{by}"),
                    _ => format!("the change ended{by}: {}", entry.detail.unwrap_or_default()),
                };
                (Some(kept), words)
            }
            Ended::Unknown | Ended::NotYet => (None, "the change is over".to_owned()),
        }
    }

    fn words(&self, view: &PendingView) -> change::Pending {
        change::Pending {
            id: view.id.clone(),
            who: format!("{}, {}", view.who, view.why),
            deadline: self.start.elapsed() + view.left,
            window: view.window,
            undoes: view.diff.clone(),
            phase: match view.phase {
                safety::Phase::Applying => change::Phase::Applying,
                safety::Phase::Pending => change::Phase::Waiting,
                safety::Phase::Confirmed | safety::Phase::Reverting | safety::Phase::Reverted => {
                    change::Phase::Reverting
                }
            },
        }
    }
}

/// New connections from the administrator's addresses: the proof that a new login still gets in, which a
/// session that stands cannot give.
struct Doorbell {
    /// Addresses that sessions come from, and the ports that they came to.
    homes: Vec<(IpAddr, u16)>,
    /// Connections that stood before.
    old: HashSet<(SocketAddr, SocketAddr)>,
    new: HashSet<(SocketAddr, SocketAddr)>,
    told: Option<usize>,
}

impl Doorbell {
    fn new() -> Self {
        let sessions = host::sessions().unwrap_or_default();
        let homes = sessions
            .iter()
            .map(|session| (session.peer.ip(), session.local.port()));
        Self {
            homes: homes.collect(),
            old: connections(),
            new: HashSet::new(),
            told: None,
        }
    }

    /// What is new to say.
    fn listen(&mut self) -> Option<Evidence> {
        let (homes, old) = (&self.homes, &self.old);
        let from_home = |(peer, local): &(SocketAddr, SocketAddr)| {
            homes.contains(&(peer.ip(), local.port())) && !old.contains(&(*peer, *local))
        };
        self.new.extend(connections().into_iter().filter(from_home));
        let accepted = self.new.len();
        if self.told.replace(accepted) == Some(accepted) {
            return None;
        }
        let words = match (self.homes.first(), accepted) {
            (None, _) => "your session does not come over the network".to_owned(),
            (Some((peer, port)), 0) => {
                format!("no new connection from {peer} to :{port} yet; open one")
            }
            (Some((peer, port)), 1) => format!("1 new connection from {peer} to :{port}"),
            (Some((peer, port)), n) => format!("{n} new connections from {peer} to :{port}"),
        };
        Some(Evidence { accepted, words })
    }
}

fn connections() -> HashSet<(SocketAddr, SocketAddr)> {
    let connections = host::connections().unwrap_or_default();
    connections.into_iter().map(|c| (c.peer, c.local)).collect()
}
