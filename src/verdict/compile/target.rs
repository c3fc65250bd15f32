//! What targets mean for the packet's way.

use crate::ruleset::Spec;
use crate::ruleset::spec::Target;
use crate::ruleset::spec::targets::RejectWith;
use crate::verdict::program::{Action, Change};
use crate::verdict::sets::Handling;

/// What a rule that matches does, before it has a place in the program.
pub(super) enum Meaning {
    Plain(Action),
    Reject(RejectWith),
    Change(Change),
    /// It cannot be told what becomes of the packet.
    Beyond(Box<str>),
}

/// Targets of which nothing is typed but that they change nothing that a rule could look at, and that the
/// rules go on after them (`XT_CONTINUE` in their net/netfilter/xt_*.c).
const GO_ON: &[&str] = &[
    "AUDIT",
    "CHECKSUM",
    "CLASSIFY",
    "CONNSECMARK",
    "IDLETIMER",
    "LED",
    "RATEEST",
    "SECMARK",
    "TCPOPTSTRIP",
    "TEE",
    "ULOG",
    "ECN",
];

/// Reads the target of a rule. `entry` gives the place of a chain of the rule's table.
pub(super) fn meaning(spec: &Spec<'_>, entry: &dyn Fn(&[u8]) -> Option<u32>) -> Meaning {
    let Some(target) = &spec.target else {
        return Meaning::Plain(Action::Next);
    };
    match target {
        Target::Accept => Meaning::Plain(Action::Accept),
        Target::Drop => Meaning::Plain(Action::Drop),
        Target::Return => Meaning::Plain(Action::Return),
        Target::Chain(name) => match entry(name) {
            Some(place) if spec.goto => Meaning::Plain(Action::Goto(place)),
            Some(place) => Meaning::Plain(Action::Jump(place)),
            None => beyond(target, "no such chain"),
        },
        Target::Reject(with) => Meaning::Reject(*with),
        Target::Queue | Target::Nfqueue(_) => beyond(target, "a program decides"),
        Target::Mark(mark) => Meaning::Change(Change::Mark(*mark)),
        Target::Connmark(mark) => Meaning::Change(Change::Connmark(*mark)),
        Target::Dnat(nat) => Meaning::Change(Change::Dnat(*nat)),
        Target::Snat(nat) => Meaning::Change(Change::Snat(*nat)),
        Target::Masquerade(nat) => Meaning::Change(Change::Masquerade(*nat)),
        Target::Redirect(nat) => Meaning::Change(Change::Redirect(*nat)),
        Target::Netmap(net) => Meaning::Change(Change::Netmap(*net)),
        Target::Ct(ct) if ct.notrack => Meaning::Change(Change::Notrack),
        Target::Ct(_) => Meaning::Change(Change::Template),
        Target::Notrack => Meaning::Change(Change::Notrack),
        Target::Set(set) => Meaning::Change(Change::Members(Handling::of(set))),
        Target::Tos(tos) => Meaning::Change(Change::Tos {
            value: tos.value,
            mask: tos.mask,
        }),
        // The code point is the upper six bits.
        Target::Dscp(value) => Meaning::Change(Change::Tos {
            value: value << 2,
            mask: 0xfc,
        }),
        Target::Ttl(change) | Target::Hl(change) => Meaning::Change(Change::Hops(*change)),
        // A SYN that gets an MSS option is longer after it, which only `length` could see: TCPMSS adds
        // one only where there was none.
        Target::Log(_) | Target::Nflog(_) | Target::Tcpmss(_) | Target::Trace => {
            Meaning::Plain(Action::Next)
        }
        Target::Unknown(unknown) => {
            let is = |name: &&str| name.as_bytes() == &*unknown.name;
            if GO_ON.iter().any(is) {
                return Meaning::Plain(Action::Next);
            }
            if *unknown.name == *b"HMARK" {
                return Meaning::Change(Change::SomeMark);
            }
            beyond(target, "what this target does is not known here")
        }
    }
}

fn beyond(target: &Target<'_>, why: &str) -> Meaning {
    Meaning::Beyond(format!("{}: {why}", target.name()).into())
}
