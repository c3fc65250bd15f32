//! The thread that looks for rules that no packet can match. It takes some tenths of a second for 100,000
//! rules, so it is nobody else's business; of structures that came while it was at work only the last of each
//! ruleset is looked at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::mpsc::UnboundedSender;

use crate::app::firewall::FirewallId;
use crate::app::message::Message;
use crate::app::shadowed::Shadowed;
use crate::ruleset::{Lossy, Ruleset};
use crate::runtime::board::Event;

/// Where structures go.
#[derive(Debug)]
pub struct Shadower(Sender<(FirewallId, Structure)>);

/// A ruleset, with those of its rules that must not be believed.
type Structure = (Arc<Ruleset>, Vec<Lossy>);

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
    pub fn look(&self, id: FirewallId, ruleset: Arc<Ruleset>, lossy: Vec<Lossy>) {
        let _ = self.0.send((id, (ruleset, lossy)));
    }
}

fn run(loaded: &Receiver<(FirewallId, Structure)>, events: &UnboundedSender<Event>) {
    while let Ok(first) = loaded.recv() {
        let waiting: BTreeMap<_, _> = std::iter::once(first).chain(loaded.try_iter()).collect();
        for (id, (ruleset, lossy)) in waiting {
            let found = Message::Shadowed(Shadowed::of(id, &ruleset, &lossy));
            if events.send(Event::Message(found)).is_err() {
                return;
            }
        }
    }
}
