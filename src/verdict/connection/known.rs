//! What conntrack knows of the connection that a packet belongs to, as whoever asks has said it.
//!
//! `None` is "not said" here as in a [`Probe`](crate::verdict::Probe).

use std::net::IpAddr;

use crate::flow::IfName;

/// What conntrack knows of the packet's connection beyond its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// The packet goes against the direction of the first one.
    pub reply: Option<bool>,
    /// Source of the first packet as it arrived.
    pub src: Option<IpAddr>,
    /// Destination of the first packet, before any DNAT.
    pub dst: Option<IpAddr>,
    /// Source port of the first packet.
    pub sport: Option<u16>,
    /// Destination port of the first packet, before any DNAT.
    pub dport: Option<u16>,
    /// The connection's mark; `None` is 0 for the first packet, else not known.
    pub mark: Option<u32>,
    /// What NAT does to it, where that was decided before this packet and is known.
    pub nat: Option<Bound>,
    /// The interface by which packets leave to whoever sent the first one, where it is known: ways need not be
    /// the same in both directions.
    pub back: Option<IfName>,
}

/// What NAT does to a connection after its first packet: conntrack translates the others without asking a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Its destination is translated.
    pub dnat: Option<bool>,
    /// Its source is translated.
    pub snat: Option<bool>,
    /// What the source of this very packet becomes, last of all.
    pub src: Option<End>,
    /// What the destination of this very packet becomes, in PREROUTING or OUTPUT.
    pub dst: Option<End>,
}

/// An end of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Its address.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
}
