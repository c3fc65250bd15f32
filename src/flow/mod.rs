//! The vocabulary of packets and flows: what log lines, conntrack entries, captures and verdicts say
//! about traffic.
//!
//! This room holds words, not doors: [`Packet`] and what surrounds it in a kernel log line
//! ([`KernelLine`], [`LogLine`]), one look at conntrack ([`ConntrackReading`]), and the box
//! around the firewall ([`Machine`]). It also reads the
//! kernel's text ([`parse_line`] and its kin), because the same bytes come from a ring buffer, a
//! journal, a file or a pasted line, and they mean the same wherever they come from.
//!
//! It is pure: no file, socket or clock. Times stand as the line said them ([`Stamp`]); whoever has a
//! clock resolves them. Everything here is written by strangers (packets, prefixes, other people's
//! programs), so bytes stay bytes, nothing panics, and what was cut or spliced says so
//! ([`Condition`]) instead of passing for a packet.
//!
//! Every field of a [`Packet`] is optional: `None` means "not said", never "zero" and never "any".

mod batch;
mod line;
mod link;
mod machine;
mod packet;
mod parse;
mod reading;
mod render;
mod stamp;
mod tracked;
mod wire;

pub use batch::{Batch, LogChannel, LogSource};
pub use line::{
    Body, Condition, KernelLine, LogLine, Martian, Notice, NoticeKind, Suppressed, SynFlood,
    TableFull, TraceLine, TraceStep,
};
pub use link::{IfName, LinkHeader, Mac};
pub use machine::{
    Interface, Listener, Machine, Manager, Process, RouteAnswer, RouteQuestion, Seen, Session,
    Sysctls, Way, WayKind,
};
pub use packet::{Fragment, Hook, Icmp, IpVersion, Packet, Protocol, TcpFlags};
pub use parse::{Record, parse_line, parse_message, parse_record, unescape};
pub use reading::{ConntrackReading, ConntrackState, ConntrackStats};
pub use stamp::{Stamp, Wall};
pub use tracked::{Direction, Tracked};
