//! Targets, typed: one file a family of targets, one row a target in the table of its file.

mod change;
mod ct;
mod log;
mod nat;
mod reject;

use std::borrow::Cow;

pub use change::{Connmark, HopChange, Tcpmss, TosChange, XMark};
pub use ct::{Ct, SetChange, SetTarget, Zone, ZoneFor};
pub use log::{Log, Nflog, Nfqueue};
pub use nat::{Nat, NatPorts};
pub use reject::RejectWith;

use super::options::{TargetExtension, Unknown};
use super::value::Net;
use super::words::Phrase;

/// What a rule does with a packet that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// Ends the table: the packet goes on.
    Accept,
    /// Ends everything: the packet is gone.
    Drop,
    /// Back to the rule after the jump; in a built-in chain, to the policy.
    Return,
    /// To the ip_queue of old; to queue 0 on today's kernels.
    Queue,
    /// Into a user chain.
    Chain(Cow<'a, [u8]>),
    /// Ends everything: dropped, and the sender is told.
    Reject(RejectWith),
    /// To the kernel log; the rules go on.
    Log(Box<Log<'a>>),
    /// To a netlink group; the rules go on.
    Nflog(Box<Nflog<'a>>),
    /// To a program, which decides.
    Nfqueue(Nfqueue),
    /// Sets the packet's mark; the rules go on.
    Mark(XMark),
    /// Sets, saves or restores the connection's mark; the rules go on.
    Connmark(Connmark),
    /// Destination NAT; ends the table.
    Dnat(Nat),
    /// Source NAT; ends the table.
    Snat(Nat),
    /// Source NAT to the address of the interface; ends the table.
    Masquerade(Nat),
    /// Destination NAT to this host; ends the table.
    Redirect(Nat),
    /// NAT of a network one to one; ends the table.
    Netmap(Net),
    /// Changes the MSS option of TCP; the rules go on.
    Tcpmss(Tcpmss),
    /// Settings of connection tracking; the rules go on.
    Ct(Box<Ct<'a>>),
    /// No connection tracking for the packet; the rules go on.
    Notrack,
    /// Traces the packet; the rules go on.
    Trace,
    /// Changes an ipset; the rules go on.
    Set(Box<SetTarget<'a>>),
    /// Changes the type of service; the rules go on.
    Tos(TosChange),
    /// Sets the DiffServ code point; the rules go on.
    Dscp(u8),
    /// Changes the TTL; the rules go on.
    Ttl(HopChange),
    /// Changes the hop limit; the rules go on.
    Hl(HopChange),
    /// Not understood: neither a target that is known here nor a chain of the table, or one with
    /// something unknown in it.
    Unknown(Box<Unknown<'a>>),
}

/// The tables of all files.
const EXTENSIONS: &[&[TargetExtension]] = &[
    reject::EXTENSIONS,
    log::EXTENSIONS,
    nat::EXTENSIONS,
    change::EXTENSIONS,
    ct::EXTENSIONS,
];

/// The extension of that name.
pub(super) fn find(name: &[u8]) -> Option<&'static TargetExtension> {
    EXTENSIONS
        .iter()
        .flat_map(|table| table.iter())
        .find(|extension| extension.name.as_bytes() == name)
}

/// The targets without options, which are verdicts.
pub(super) fn standard<'a>(name: &[u8]) -> Option<Target<'a>> {
    match name {
        b"ACCEPT" => Some(Target::Accept),
        b"DROP" => Some(Target::Drop),
        b"RETURN" => Some(Target::Return),
        b"QUEUE" => Some(Target::Queue),
        _ => None,
    }
}

impl Target<'_> {
    /// Its name after `-j`; a chain's own.
    pub fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::Accept => "ACCEPT",
            Self::Drop => "DROP",
            Self::Return => "RETURN",
            Self::Queue => "QUEUE",
            Self::Chain(name) => return String::from_utf8_lossy(name),
            Self::Reject(_) => "REJECT",
            Self::Log(_) => "LOG",
            Self::Nflog(_) => "NFLOG",
            Self::Nfqueue(_) => "NFQUEUE",
            Self::Mark(_) => "MARK",
            Self::Connmark(_) => "CONNMARK",
            Self::Dnat(_) => "DNAT",
            Self::Snat(_) => "SNAT",
            Self::Masquerade(_) => "MASQUERADE",
            Self::Redirect(_) => "REDIRECT",
            Self::Netmap(_) => "NETMAP",
            Self::Tcpmss(_) => "TCPMSS",
            Self::Ct(_) => "CT",
            Self::Notrack => "NOTRACK",
            Self::Trace => "TRACE",
            Self::Set(_) => "SET",
            Self::Tos(_) => "TOS",
            Self::Dscp(_) => "DSCP",
            Self::Ttl(_) => "TTL",
            Self::Hl(_) => "HL",
            Self::Unknown(unknown) => return String::from_utf8_lossy(&unknown.name),
        })
    }

    /// Ends the packet's way: DROP or REJECT, understood or not.
    pub fn is_drop_or_reject(&self) -> bool {
        match self {
            Self::Drop | Self::Reject(_) => true,
            Self::Unknown(unknown) => *unknown.name == *b"REJECT",
            _ => false,
        }
    }

    /// Writes to the kernel log or a netlink group.
    pub fn logs(&self) -> bool {
        matches!(self, Self::Log(_) | Self::Nflog(_))
    }

    /// After it the rules of the chain go on with the same packet; `None` where that is not known or
    /// depends on the chain that it jumps to.
    pub fn goes_on(&self) -> Option<bool> {
        match self {
            Self::Chain(_) | Self::Unknown(_) => None,
            Self::Accept
            | Self::Drop
            | Self::Return
            | Self::Queue
            | Self::Reject(_)
            | Self::Nfqueue(_)
            | Self::Dnat(_)
            | Self::Snat(_)
            | Self::Masquerade(_)
            | Self::Redirect(_)
            | Self::Netmap(_) => Some(false),
            Self::Log(_)
            | Self::Nflog(_)
            | Self::Mark(_)
            | Self::Connmark(_)
            | Self::Tcpmss(_)
            | Self::Ct(_)
            | Self::Notrack
            | Self::Trace
            | Self::Set(_)
            | Self::Tos(_)
            | Self::Dscp(_)
            | Self::Ttl(_)
            | Self::Hl(_) => Some(true),
        }
    }

    /// Its options in the short words of the board: `group 1 prefix "x"`.
    pub fn words(&self) -> String {
        let mut phrase = Phrase::default();
        self.describe(&mut phrase);
        phrase.into_text()
    }

    /// Its options in a few words for the board.
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        match self {
            Self::Accept
            | Self::Drop
            | Self::Return
            | Self::Queue
            | Self::Chain(_)
            | Self::Notrack
            | Self::Trace => {}
            Self::Reject(with) => phrase.keyed(false, "reject-with", with),
            Self::Log(log) => log.describe(phrase),
            Self::Nflog(log) => log.describe(phrase),
            Self::Nfqueue(queue) => queue.describe(phrase),
            Self::Mark(mark) => mark.describe(phrase),
            Self::Connmark(mark) => mark.describe(phrase),
            Self::Dnat(nat) | Self::Snat(nat) | Self::Masquerade(nat) | Self::Redirect(nat) => {
                nat.describe(phrase);
            }
            Self::Netmap(net) => phrase.keyed(false, "to", net),
            Self::Tcpmss(mss) => mss.describe(phrase),
            Self::Ct(ct) => ct.describe(phrase),
            Self::Set(set) => set.describe(phrase),
            Self::Tos(tos) => tos.describe(phrase),
            Self::Dscp(value) => phrase.keyed(false, "set-dscp", format_args!("{value:#04x}")),
            Self::Ttl(change) => change.describe("ttl", phrase),
            Self::Hl(change) => change.describe("hl", phrase),
            // The name stands in the target's own column.
            Self::Unknown(unknown) => {
                for word in &unknown.args {
                    phrase.flag(false, &String::from_utf8_lossy(word.raw));
                }
            }
        }
    }
}
