//! The thread that looks for rules that no packet can match. It takes some tenths of a second for 100,000
//! rules, so it is nobody else's business; of structures that came while it was at work only the last of each
//! ruleset is looked at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::mpsc::UnboundedSender;

use crate::app::firewall::FirewallId;
use crate::app::message::{Message, Shadowed};
use crate::ruleset::Ruleset;
use crate::runtime::board::Event;

/// Where structures go.
#[derive(Debug)]
pub struct Shadower(Sender<(FirewallId, Arc<Ruleset>)>);

impl Shadower {
    /// Starts the thread. It ends when this is dropped, or nobody hears it.
    pub fn start(events: UnboundedSender<Event>) -> std::io::Result<Self> {
        let (structures, loaded) = channel();
        std::thread::Builder::new()
            .name("shadows".to_owned())
            .spawn(move || run(&loaded, &events))?;
        Ok(Self(structures))
    }

    /// Looks at a structure; what is found comes as a message.
    pub fn look(&self, id: FirewallId, ruleset: Arc<Ruleset>) {
        let _ = self.0.send((id, ruleset));
    }
}

fn run(loaded: &Receiver<(FirewallId, Arc<Ruleset>)>, events: &UnboundedSender<Event>) {
    while let Ok(first) = loaded.recv() {
        let waiting: BTreeMap<_, _> = std::iter::once(first).chain(loaded.try_iter()).collect();
        for (id, ruleset) in waiting {
            let found = Message::Shadowed(Shadowed::of(id, ruleset));
            if events.send(Event::Message(found)).is_err() {
                return;
            }
        }
    }
}
