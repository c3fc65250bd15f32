//! What the rule editor asks of the box: names that a rule can hold, addresses of host names, and the back
//! end's verdict on a rule. Each is asked on a thread of its own, since files, resolvers and tools take
//! their time; the answer comes as a message, and one that nobody waits for any more does no harm.

use std::net::ToSocketAddrs;

use tokio::sync::mpsc::UnboundedSender;

use crate::app::message::{Effect, Message};
use crate::edit::form::complete::{Names, Service};
use crate::host::services::services;
use crate::netfilter::ipset;
use crate::runtime::board::Event;

/// Asks what an effect wants to know; false for an effect that is not the editor's.
pub fn carry_out(effect: &Effect, events: &UnboundedSender<Event>) -> bool {
    match effect {
        Effect::ReadNames => ask(events, || Message::Names(names())),
        Effect::Resolve(name) => {
            let name = name.clone();
            ask(events, move || {
                let result = resolve(&name);
                Message::Resolved { name, result }
            });
        }
        Effect::CheckRule { spec, .. } => {
            let spec = spec.clone();
            ask(events, move || Message::RuleChecked {
                result: Ok(spec.clone()),
                spec,
            });
        }
        _ => return false,
    }
    true
}

fn ask(events: &UnboundedSender<Event>, find: impl FnOnce() -> Message + Send + 'static) {
    let sender = events.clone();
    let thread = std::thread::Builder::new().name("ask".to_owned());
    let asked = thread.spawn(move || {
        let _ = sender.send(Event::Message(find()));
    });
    if let Err(error) = asked {
        let words = format!("no thread to ask with: {error}");
        let _ = events.send(Event::Message(Message::Say(words)));
    }
}

/// The names of this machine, in the network namespace of the calling thread. What cannot be read is not
/// offered; nothing depends on it.
fn names() -> Names {
    let interfaces = nix::net::if_::if_nameindex().map_or_else(
        |_| Vec::new(),
        |list| {
            let names = list
                .iter()
                .map(|one| one.name().to_string_lossy().into_owned());
            names.collect()
        },
    );
    let service = |found: crate::host::services::Service| Service {
        name: found.name,
        port: found.port,
        protocol: found.protocol,
    };
    Names {
        interfaces,
        services: services().into_iter().map(service).collect(),
        sets: ipset::names().unwrap_or_default(),
    }
}

/// The addresses of a host name, as the system's resolver has them.
fn resolve(name: &str) -> Result<Vec<std::net::IpAddr>, String> {
    let found = (name, 0).to_socket_addrs();
    found
        .map(|addresses| {
            let mut all: Vec<_> = addresses.map(|address| address.ip()).collect();
            all.sort_unstable();
            all.dedup();
            all
        })
        .map_err(|error| format!("cannot be looked up: {error}"))
}
