//! Changes on their way to the kernel: the checks before, the apply, the watch over what is pending.
//!
//! Each of them takes its time, so each has a thread of its own; the loop hears of them by messages. What
//! decides is `safety`, and the process that undoes an unconfirmed change is its guard: this room may die at
//! any moment.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::app::change::{self, Checked, Evidence, Session};
use crate::app::firewall::FirewallId;
use crate::app::message::Message;
use crate::app::notice::{Level, Notice};
use crate::app::state::State;
use crate::host;
use crate::ruleset::{BaseChain, Origin, Ruleset};
use crate::runtime::board::Event;
use crate::safety::preflight::{Question, Report, Standing, preflight};
use crate::safety::{
    self, DecideError, Ended, PendingView, Places, Request, Step, To, Transition, Watch, Who,
};
use crate::verdict::Facts;

/// What is staged on one ruleset.
#[derive(Clone, Debug)]
pub struct Staged {
    /// Which one.
    pub origin: Origin,
    /// As the kernel has it.
    pub before: Arc<Ruleset>,
    /// As it would be.
    pub after: Arc<Ruleset>,
}

/// All that the checks look at, taken out of the state so that they can run beside it.
#[derive(Debug)]
pub struct Material {
    of: Vec<(FirewallId, usize)>,
    staged: Vec<Staged>,
    before: Vec<Arc<Ruleset>>,
    after: Vec<Arc<Ruleset>>,
    natives: Vec<BaseChain>,
    tracked: bool,
}

impl Material {
    /// What the state has staged.
    pub fn of(state: &State) -> Self {
        let mut material = Self {
            of: state.staged_counts(),
            staged: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            natives: state.native.clone(),
            tracked: state
                .gauge
                .reading()
                .is_some_and(|reading| reading.count > 0),
        };
        for firewall in &state.firewalls {
            let before = Arc::clone(firewall.kernel());
            let after = match firewall.stage().filter(|stage| !stage.is_empty()) {
                Some(stage) => stage.staged(),
                None => Arc::clone(&before),
            };
            if let (Some(origin), false) = (firewall.id.origin(), Arc::ptr_eq(&before, &after)) {
                material.staged.push(Staged {
                    origin,
                    before: Arc::clone(&before),
                    after: Arc::clone(&after),
                });
            }
            material.before.push(before);
            material.after.push(after);
        }
        material
    }
}

impl Material {
    fn transitions(&self) -> impl Iterator<Item = Transition> + '_ {
        self.staged.iter().map(|staged| Transition {
            origin: staged.origin,
            before: Arc::clone(&staged.before),
            to: To::Ruleset(Arc::clone(&staged.after)),
        })
    }
}

/// Why the back end would not take a change, in its own words.
fn refusal(transition: Transition) -> Option<String> {
    let error = safety::dry_run(&transition).err()?;
    Some(format!("{}: {error}", transition.origin))
}

/// Looks at what is staged, on a thread of its own.
pub fn check(events: UnboundedSender<Event>, material: Material, live: bool) {
    let look = move || {
        let checked = checked(&material, live);
        let _ = events.send(Event::Message(Message::Checked(checked)));
    };
    if let Err(error) = std::thread::Builder::new()
        .name("check".to_owned())
        .spawn(look)
    {
        tracing::warn!(%error, "no thread to check a change with");
    }
}

fn checked(material: &Material, live: bool) -> Checked {
    let mut checked = Checked {
        of: material.of.clone(),
        ..Checked::default()
    };
    if live {
        checked.refused = material.transitions().filter_map(refusal).collect();
        checked.sessions = sessions(material);
    }
    checked.has_kernel = live;
    checked
}

/// The administrator's sessions, put through what is staged.
fn sessions(material: &Material) -> Vec<Session> {
    let sessions = match host::sessions() {
        Ok(sessions) => sessions,
        Err(error) => {
            return vec![Session {
                words: format!("cannot be found: {error}"),
                safe: false,
            }];
        }
    };
    let links = host::links();
    let facts = Facts {
        local: links.addresses(),
        broadcast: links.broadcasts(),
        ..Facts::default()
    };
    let before: Vec<&Ruleset> = material.before.iter().map(AsRef::as_ref).collect();
    let after: Vec<&Ruleset> = material.after.iter().map(AsRef::as_ref).collect();
    let reports = preflight(&Question {
        sessions: &sessions,
        before: &before,
        after: &after,
        natives: &material.natives,
        facts: &facts,
        tracked: material.tracked,
    });
    reports.iter().map(session).collect()
}

/// One session in a line.
fn session(report: &Report) -> Session {
    let (peer, port) = (report.session.peer.ip(), report.session.local.port());
    let name = format!("{peer} → :{port}");
    match report.foremost() {
        None => Session {
            words: format!("{name} accepted, established and new"),
            safe: true,
        },
        Some(passage) => {
            let what = match passage.standing {
                Standing::Cut => "would be cut",
                Standing::Doubtful | Standing::Accepted => "is not provably accepted",
            };
            let was = if passage.before == passage.standing {
                ", as it is now"
            } else {
                ""
            };
            Session {
                words: format!(
                    "{name}: {} {what}{was}: {}",
                    passage.moment.words(),
                    passage.why
                ),
                safe: false,
            }
        }
    }
}

/// The changes of one network namespace: what the state asks for is handed to `safety`, and what happens to
/// a pending change, whoever made it, is told to the loop.
#[derive(Debug)]
pub struct Changes {
    events: UnboundedSender<Event>,
    places: Places,
}

impl Changes {
    /// Begins to watch for pending changes.
    pub fn open(events: UnboundedSender<Event>, places: Places, start: Instant) -> Self {
        let watcher = Watcher {
            events: events.clone(),
            places: places.clone(),
            start,
            pending: None,
            doorbell: None,
        };
        if let Err(error) = std::thread::Builder::new()
            .name("pending".to_owned())
            .spawn(move || watcher.run())
        {
            tracing::warn!(%error, "no thread to watch pending changes with");
        }
        Self { events, places }
    }

    /// Applies what is staged.
    pub fn apply(&self, material: Material, window: Duration) {
        let transitions = material.transitions().collect();
        let mut request = Request::new(self.places.clone(), "the board", transitions);
        request.window = window;
        let events = self.events.clone();
        self.aside("apply", move || {
            let tell = |message| drop(events.send(Event::Message(message)));
            let done = safety::begin(&request, &mut |step| {
                tell(Message::Applying(step_words(&step)))
            });
            if let Err(error) = done {
                tell(Message::Refused(error.to_string(), error.remedy()));
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

/// Waits for changes of the pending change, and looks who gets in while there is one.
struct Watcher {
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

impl Watcher {
    fn run(mut self) {
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
            let words = self.ended(&was.id.clone());
            self.tell(Message::Say(words));
        }
        if now.as_ref().is_some_and(|view| !view.guarded) {
            if let Err(error) = safety::rescue(&self.places) {
                tracing::warn!(%error, "a pending change without a guard");
            }
        }
        // The time that is left changes at every look; a deadline that was moved is news.
        let news = match (&self.pending, &now) {
            (None, None) => false,
            (Some(was), Some(is)) => {
                let moved = was.left.abs_diff(is.left) > Duration::from_secs(5);
                (was.id != is.id) || was.phase != is.phase || was.window != is.window || moved
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
    fn ended(&self, id: &str) -> String {
        match safety::wait_for_end(&self.places, id, Duration::from_secs(2)) {
            Ended::Known(entry) => {
                let by = entry.by.map(|by| format!(" by {by}")).unwrap_or_default();
                match entry.event {
                    safety::Event::Confirmed => format!("the change is kept{by}"),
                    safety::Event::Reverted => format!("the change is taken back{by}"),
                    _ => format!("the change ended{by}: {}", entry.detail.unwrap_or_default()),
                }
            }
            Ended::Unknown | Ended::NotYet => "the change is over".to_owned(),
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
