//! What is done with the packets: what stands before them in the sentence, and what behind.

use std::fmt::Write as _;

use super::clauses::as_written;
use super::lossy;
use crate::ruleset::spec::targets::{
    Connmark, Ct, HopChange, Log, Nat, Nflog, Nfqueue, RejectWith, SetTarget, Tcpmss, XMark,
};
use crate::ruleset::spec::{Spec, Target};

/// The two parts of a verb.
pub(super) struct Verb {
    /// `Change the destination of`
    pub before: String,
    /// `: it becomes 10.0.0.5`, with the blank or sign that it begins with.
    pub after: String,
}

fn verb(before: impl Into<String>, after: impl Into<String>) -> Verb {
    Verb {
        before: before.into(),
        after: after.into(),
    }
}

pub(super) fn of(spec: &Spec<'_>, in_builtin: bool) -> Verb {
    let Some(target) = &spec.target else {
        return verb("Count", ", and do nothing else");
    };
    match target {
        Target::Accept => verb("Accept", ""),
        Target::Drop => verb("Drop", ""),
        Target::Return if in_builtin => verb("Leave", " to the policy of the chain"),
        Target::Return => verb("Send", " back to the calling chain"),
        Target::Queue => verb("Hand", " to a program at queue 0, which decides"),
        Target::Chain(name) if spec.goto => verb(
            "Send",
            format!(" to the chain {}, not to come back", lossy(name)),
        ),
        Target::Chain(name) => verb("Send", format!(" through the chain {}", lossy(name))),
        Target::Reject(RejectWith::TcpReset) => verb("Reject", " and answer with a TCP reset"),
        Target::Reject(with) => verb("Reject", format!(" and answer with {with}")),
        Target::Log(log) => log_words(log),
        Target::Nflog(log) => nflog(log),
        Target::Nfqueue(queue) => nfqueue(*queue),
        Target::Mark(mark) => verb("Mark", format!(" {}, and go on", mark_words(*mark))),
        Target::Connmark(mark) => connmark(mark),
        Target::Dnat(nat) => verb("Change the destination of", becomes(nat)),
        Target::Snat(nat) => verb("Change the source of", becomes(nat)),
        Target::Masquerade(nat) => {
            let ports = nat
                .ports
                .map_or_else(String::new, |ports| format!(", port {ports}"));
            verb(
                "Hide",
                format!(
                    " behind the address of that interface{ports}{}",
                    extras(nat)
                ),
            )
        }
        Target::Redirect(nat) => {
            let to = nat.ports.map_or_else(
                || " to this host".to_owned(),
                |ports| format!(" to port {ports} of this host"),
            );
            verb("Redirect", to + &extras(nat))
        }
        Target::Netmap(net) => verb("Map the network of", format!(" one to one onto {net}")),
        Target::Tcpmss(Tcpmss::Set(mss)) => {
            verb("Cap the segments of", format!(" at {mss} bytes, and go on"))
        }
        Target::Tcpmss(Tcpmss::ClampToPmtu) => {
            verb("Cap the segments of", " at what the path takes, and go on")
        }
        Target::Ct(ct) => ct_words(ct),
        Target::Notrack => verb("Do not track the connections of", ""),
        Target::Trace => verb("Trace the way of", ", and go on"),
        Target::Set(set) => set_words(set),
        Target::Tos(_) => verb(
            "Change the type of service of",
            format!(" ({}), and go on", target.words()),
        ),
        Target::Dscp(value) => verb(
            "Set the DiffServ class of",
            format!(" to {value:#04x}, and go on"),
        ),
        Target::Ttl(change) => verb("Change the TTL of", hops(*change)),
        Target::Hl(change) => verb("Change the hop limit of", hops(*change)),
        Target::Unknown(odd) => {
            let option = if spec.goto { "-g" } else { "-j" };
            let words = as_written(option, odd);
            verb("Give", format!(" to {words}, which is not understood here"))
        }
    }
}

fn hops(change: HopChange) -> String {
    match change {
        HopChange::Set(value) => format!(" to {value}, and go on"),
        HopChange::Decrement(by) => format!(" by -{by}, and go on"),
        HopChange::Increment(by) => format!(" by +{by}, and go on"),
    }
}

fn log_words(log: &Log<'_>) -> Verb {
    let prefix = if log.prefix.is_empty() {
        String::new()
    } else {
        format!(" with the prefix \"{}\"", lossy(&log.prefix))
    };
    verb("Log", format!("{prefix} and go on"))
}

fn nflog(log: &Nflog<'_>) -> Verb {
    let prefix = if log.prefix.is_empty() {
        String::new()
    } else {
        format!(" with the prefix \"{}\"", lossy(&log.prefix))
    };
    verb(
        "Log",
        format!(" to netlink group {}{prefix} and go on", log.group),
    )
}

fn nfqueue(queue: Nfqueue) -> Verb {
    let else_what = if queue.bypass {
        "accepted if none listens"
    } else {
        "dropped if none listens"
    };
    verb(
        "Hand",
        format!(
            " to a program at queue {}, which decides ({else_what})",
            queue.queues
        ),
    )
}

fn mark_words(mark: XMark) -> String {
    if mark.mask == u32::MAX {
        format!("with {:#x}", mark.value)
    } else {
        format!("with {:#x} under the mask {:#x}", mark.value, mark.mask)
    }
}

fn connmark(mark: &Connmark) -> Verb {
    match mark {
        Connmark::Set(mark) => verb(
            "Mark the connections of",
            format!(" {}, and go on", mark_words(*mark)),
        ),
        Connmark::Save { .. } => verb("Save the mark of", " to their connection, and go on"),
        Connmark::Restore { .. } => verb("Give", " the mark of their connection, and go on"),
    }
}

/// `: it becomes 10.0.0.5 port 8080`
fn becomes(nat: &Nat) -> String {
    let mut to = String::new();
    if let Some(addresses) = nat.addresses {
        to = format!(" {addresses}");
    }
    if let Some(ports) = nat.ports {
        let _ = write!(to, " port {ports}");
    }
    format!(": it becomes{to}{}", extras(nat))
}

fn extras(nat: &Nat) -> String {
    let flags = [
        (nat.random, "at random"),
        (nat.random_fully, "fully at random"),
        (nat.persistent, "the same for a client"),
    ];
    let words: Vec<&str> = flags.iter().filter(|f| f.0).map(|f| f.1).collect();
    if words.is_empty() {
        String::new()
    } else {
        format!(" ({})", words.join(", "))
    }
}

fn ct_words(ct: &Ct<'_>) -> Verb {
    if ct.notrack {
        return verb("Do not track the connections of", "");
    }
    let words = Target::Ct(Box::new(ct.clone())).words();
    verb("Set up the tracking of", format!(" ({words}), and go on"))
}

fn set_words(set: &SetTarget<'_>) -> Verb {
    let words = Target::Set(Box::new(set.clone())).words();
    verb("Change ipsets by", format!(" ({words}), and go on"))
}
