//! The lock-out pre-flight of this very box: finds the administrator's sessions, reads every ruleset with what its
//! text does not say, and has a change that comes from a command judged by [`preflight`].
//!
//! The board has most of that in its panes and asks [`preflight`] itself; the sessions are looked for here for both.

use std::sync::Arc;

use super::carry;
use super::dry_run::dry_run;
use super::preflight::{Question, Report, preflight};
use super::request::Transition;
use crate::flow::{ConntrackState, Session};
use crate::host;
use crate::netfilter::conntrack::ConntrackMeter;
use crate::netfilter::native;
use crate::netfilter::netlink::Netlink;
use crate::netfilter::nftables::inspect;
use crate::netfilter::xtables::{Presence, Tools};
use crate::ruleset::{Backend, BaseChain, Lossy, Marked, Origin, Ruleset};
use crate::verdict::Facts;

/// Why it cannot be told whether the administrator stays in. What it says is to be read as a warning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unjudged {
    /// The sessions cannot be found.
    #[error("your session cannot be found: {0}")]
    Sessions(String),
    /// A login is told of, and none is there.
    #[error(
        "SSH_CONNECTION names {0}, and no such connection is found (mosh?): not proved to survive"
    )]
    Claimed(std::net::IpAddr),
    /// The box does not tell what decides.
    #[error("your session is not proved to survive: {0}")]
    Box(String),
}

/// The connections that this process is administered through; none where nobody comes over the network.
pub fn sessions() -> Result<Vec<Session>, Unjudged> {
    let sessions = host::sessions().map_err(|error| Unjudged::Sessions(error.to_string()))?;
    // Another namespace is nobody's way in.
    if sessions.is_empty()
        && host::is_first_namespace()
        && let Some(peer) = host::claimed()
    {
        return Err(Unjudged::Claimed(peer));
    }
    Ok(sessions)
}

/// What verdicts may know of this box.
pub fn facts() -> Facts {
    let links = host::links();
    Facts {
        local: links.addresses(),
        broadcast: links.broadcasts(),
        first: Facts::first_addresses(links.interfaces.as_deref().unwrap_or_default()),
        ..Facts::default()
    }
}

/// Judges the administrator's sessions by what a change would make of the rules; none where there is no session, or
/// where the back end would not take the change, which applying it will tell.
///
/// Blocks: for the rehearsal some tenths of a second.
pub fn judge(transitions: &[Transition]) -> Result<Vec<Report>, Unjudged> {
    let sessions = sessions()?;
    if sessions.is_empty() {
        return Ok(Vec::new());
    }
    let unread = |error: &dyn std::error::Error| Unjudged::Box(error.to_string());
    let tools = Tools::find();
    let mut sets: Vec<(Origin, Arc<Ruleset>, Arc<Ruleset>)> = Vec::new();
    for origin in Origin::ALL {
        let change = transitions.iter().find(|one| one.origin == origin);
        if let Some(change) = change {
            let Ok(after) = dry_run(change) else {
                return Ok(Vec::new());
            };
            sets.push((origin, Arc::clone(&change.before), after));
        } else if Presence::of(origin).is_there() {
            let now = carry::read(&tools, origin).map_err(|error| unread(&error))?;
            sets.push((origin, Arc::clone(&now), now));
        }
    }
    let mut netlink = Netlink::open().map_err(|error| unread(&error))?;
    let mut natives: Vec<BaseChain> =
        native::base_chains(&mut netlink).map_err(|error| unread(&error))?;
    natives.retain(|chain| !native::is_shown_by_iptables(chain));
    let mut marks: Vec<Vec<Lossy>> = Vec::new();
    for (origin, before, _) in &sets {
        marks.push(if origin.backend == Backend::Nft {
            let seen = inspect::inspect(&mut netlink, origin.family);
            seen.map_err(|error| unread(&error))?.lossy_of(before)
        } else {
            Vec::new()
        });
    }
    let before: Vec<Marked<'_>> = sets
        .iter()
        .zip(&marks)
        .map(|((_, ruleset, _), lossy)| Marked { ruleset, lossy })
        .collect();
    let carried: Vec<Vec<Lossy>> = before
        .iter()
        .zip(&sets)
        .map(|(marked, (_, _, after))| marked.carried(after))
        .collect();
    let after: Vec<Marked<'_>> = sets
        .iter()
        .zip(&carried)
        .map(|((_, _, ruleset), lossy)| Marked { ruleset, lossy })
        .collect();
    Ok(preflight(&Question {
        sessions: &sessions,
        before: &before,
        after: &after,
        natives: &natives,
        facts: &facts(),
        tracked: matches!(
            ConntrackMeter::new().read(),
            Ok(ConntrackState::Present(reading)) if reading.count > 0
        ),
    }))
}
