//! The probes of this board: a rope to each helper, and an ear for what it says.
//!
//! A rope that is dropped takes its probe away, so leaving the board in whatever way takes all of them. A helper
//! that ends without saying that its probe is gone was killed: then it is removed from here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::UnboundedSender;

use crate::app::firewall::FirewallId;
use crate::app::message::Message;
use crate::edit::probe::Site;
use crate::netfilter::xtables::Tools;
use crate::ruleset::Origin;
use crate::runtime::board::Event;
use crate::safety::probe::{self, Rope, STAY, Word, Words};

/// A screen has no use for more, and each is a process.
const MOST: usize = 8;

/// Those that are at work.
#[derive(Debug)]
pub struct Probes {
    events: UnboundedSender<Event>,
    running: Arc<Mutex<Vec<Running>>>,
    /// For telling one from the next.
    count: u64,
}

#[derive(Debug)]
struct Running {
    serial: u64,
    origin: Origin,
    site: Site,
    /// Known once it is in the kernel.
    id: Option<String>,
    _rope: Rope,
}

impl Running {
    fn is_at(&self, origin: Origin, site: &Site) -> bool {
        let text = |site: &Site| site.before.as_ref().map(|before| before.spec.clone());
        self.origin == origin
            && (&self.site.table, &self.site.chain) == (&site.table, &site.chain)
            && text(&self.site) == text(site)
    }
}

fn lock(running: &Mutex<Vec<Running>>) -> MutexGuard<'_, Vec<Running>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Probes {
    /// None yet.
    pub fn new(events: UnboundedSender<Event>) -> Self {
        Self {
            events,
            running: Arc::default(),
            count: 0,
        }
    }

    fn say(&self, words: String) {
        let _ = self.events.send(Event::Message(Message::Say(words)));
    }

    /// Puts a probe there. One that is on its way there already is called back.
    pub fn toggle(&mut self, id: FirewallId, site: &Site) {
        let Some(origin) = id.origin() else {
            self.say("this ruleset does not say its back end".to_owned());
            return;
        };
        let mut running = lock(&self.running);
        if let Some(at) = running.iter().position(|r| r.is_at(origin, site)) {
            running.remove(at);
            return;
        }
        if running.len() >= MOST {
            drop(running);
            self.say(format!("{MOST} probes are at work; stop one of them first"));
            return;
        }
        let started = probe::start(origin, site, STAY).and_then(|(rope, words)| {
            self.count += 1;
            let ear = Ear {
                events: self.events.clone(),
                running: Arc::clone(&self.running),
                serial: self.count,
                origin,
                place: place(site),
            };
            running.push(Running {
                serial: self.count,
                origin,
                site: site.clone(),
                id: None,
                _rope: rope,
            });
            let thread = std::thread::Builder::new().name("probe".to_owned());
            let begun = thread.spawn(move || ear.listen(words));
            // Without an ear there shall be no probe.
            begun.map(drop).inspect_err(|_| drop(running.pop()))
        });
        drop(running);
        if let Err(error) = started {
            self.say(format!("no probe: its helper cannot be started: {error}"));
        }
    }

    /// Takes one away, whoever put it there.
    pub fn remove(&mut self, id: FirewallId, probe: &str) {
        let mut running = lock(&self.running);
        if let Some(at) = running.iter().position(|r| r.id.as_deref() == Some(probe)) {
            running.remove(at);
            return;
        }
        drop(running);
        let Some(origin) = id.origin() else { return };
        let (events, probe) = (self.events.clone(), probe.to_owned());
        let work = move || {
            let words = removed(origin, &probe);
            let _ = events.send(Event::Message(Message::Say(words)));
        };
        let thread = std::thread::Builder::new().name("probe".to_owned());
        if let Err(error) = thread.spawn(work) {
            self.say(format!("no thread to remove the probe with: {error}"));
        }
    }
}

/// Removes the probe from here; how that went.
fn removed(origin: Origin, id: &str) -> String {
    match probe::remove(&Tools::find(), origin, |tag| tag.id == id) {
        Ok(0) => "the probe was gone already".to_owned(),
        Ok(_) => "the probe is gone".to_owned(),
        Err(error) => format!("the probe stays: {error}"),
    }
}

/// `rule 3 of INPUT`, `the policy of INPUT`.
fn place(site: &Site) -> String {
    let chain = String::from_utf8_lossy(&site.chain);
    match &site.before {
        Some(before) => format!("what rule {} of {chain} matches", before.shown),
        None => format!("what reaches the policy of {chain}"),
    }
}

/// Listens to one helper.
struct Ear {
    events: UnboundedSender<Event>,
    running: Arc<Mutex<Vec<Running>>>,
    serial: u64,
    origin: Origin,
    place: String,
}

impl Ear {
    fn say(&self, words: String) {
        let _ = self.events.send(Event::Message(Message::Say(words)));
    }

    fn listen(self, mut words: Words) {
        let mut inside: Option<String> = None;
        while let Some(word) = words.next_word() {
            match word {
                Word::In(tag) => {
                    let mut running = lock(&self.running);
                    if let Some(ours) = running.iter_mut().find(|r| r.serial == self.serial) {
                        ours.id = Some(tag.id.clone());
                    }
                    drop(running);
                    inside = Some(tag.id);
                    let (place, time) = (&self.place, STAY.as_secs());
                    self.say(format!("a probe logs {place}, for {time} s"));
                }
                Word::Failed(why) => self.say(format!("no probe: {why}")),
                Word::Gone => {
                    inside = None;
                    self.say("the probe is gone".to_owned());
                }
                Word::Stays(why) => self.say(format!("the probe stays: {why}")),
            }
        }
        if let Some(id) = inside {
            self.say(removed(self.origin, &id));
        }
        lock(&self.running).retain(|r| r.serial != self.serial);
        words.end();
    }
}
