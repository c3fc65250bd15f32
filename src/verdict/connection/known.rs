//! What conntrack knows of the connection that a packet belongs to, as whoever asks has said it.
//!
//! `None` is "not said" here as in a [`Probe`](crate::verdict::Probe).

use std::net::IpAddr;

use crate::flow::{Direction, IfName};

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
    /// What NAT makes of the packet, as conntrack has settled it for the connection: rules of nat are not asked any
    /// more. `None`: not settled, or not known.
    pub becomes: Option<Bound>,
    /// The interface by which packets leave to whoever sent the first one, where it is known: ways need not be
    /// the same in both directions.
    pub home: Option<IfName>,
}

/// What NAT does to a packet after the first one of its connection: conntrack translates it without asking a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// The connection's destination is translated; `None` where that is not known.
    pub dnat: Option<bool>,
    /// The same of its source.
    pub snat: Option<bool>,
    /// What the source of this very packet becomes, last of all; `None` where nothing is done to it.
    pub src: Option<End>,
    /// What the destination of this very packet becomes, in PREROUTING or OUTPUT; `None` as for the source.
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

impl Bound {
    /// Of a packet that arrives like this and is like that in the end. `reply`: it goes against the direction of the
    /// first one, whose destination is then its source.
    pub fn settled(arrives: Direction, becomes: Direction, reply: bool) -> Self {
        let dst = (arrives.dst, arrives.dport) != (becomes.dst, becomes.dport);
        let src = (arrives.src, arrives.sport) != (becomes.src, becomes.sport);
        let (dnat, snat) = if reply { (src, dst) } else { (dst, src) };
        let end = |address, port| {
            Some(End {
                address: Some(address),
                port,
            })
        };
        Self {
            dnat: Some(dnat),
            snat: Some(snat),
            src: end(becomes.src, becomes.sport),
            dst: end(becomes.dst, becomes.dport),
        }
    }
}
