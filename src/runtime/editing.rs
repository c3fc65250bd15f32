//! What the rule editor asks of the box: names that a rule can hold, addresses of host names, and the back
//! end's verdict on a rule. Each is asked on a thread of its own, since files, resolvers and tools take
//! their time; the answer comes as a message, and one that nobody waits for any more does no harm.

use std::net::ToSocketAddrs;

use tokio::sync::mpsc::UnboundedSender;

use crate::app::firewall::FirewallId;
use crate::app::message::{Effect, Message};
use crate::edit::form::complete::{Names, Service};
use crate::host::services::services;
use crate::netfilter::ipset;
use crate::netfilter::xtables::Tools;
use crate::netfilter::xtables::beside::{self, Found};
use crate::netfilter::xtables::restore::RestoreError;
use crate::netfilter::xtables::scratch::{NewRule, canonical};
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
        Effect::CheckRule {
            id,
            table,
            chain,
            spec,
            chains,
        } => {
            let (id, table, spec) = (*id, table.clone(), spec.clone());
            let (chain, chains) = (chain.clone(), chains.clone());
            ask(events, move || Message::RuleChecked {
                result: verdict(id, &table, &chain, &chains, &spec),
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

/// The back end's verdict: the rule is loaded where it decides about nothing, and read back.
fn verdict(
    id: FirewallId,
    table: &str,
    chain: &[u8],
    chains: &[Vec<u8>],
    spec: &[u8],
) -> Result<Vec<Vec<u8>>, String> {
    let Some(origin) = id.origin() else {
        return Err("the back end of these rules is not known, so it cannot be asked".to_owned());
    };
    let tools = Tools::find();
    let chains: Vec<&[u8]> = chains.iter().map(Vec::as_slice).collect();
    // Without them, only a rule that matches on a set is refused, and says so.
    let sets = beside::sets().map(Found::into_text).unwrap_or_default();
    let rule = NewRule { chain, spec };
    let words = |error: RestoreError| match error {
        RestoreError::Refused { words, .. } => words,
        other => format!("{other}; {}", other.remedy()),
    };
    let mut answers = canonical(&tools, origin, table, &chains, &sets, &[rule]).map_err(words)?;
    let answer = answers.pop().unwrap_or_else(|| Ok(Vec::new()));
    answer.map_err(words)
}
