//! A connection as conntrack keeps it: where its first packet came from and went to, and what answers look
//! like, which differ where NAT is at work.

use std::net::IpAddr;

use super::Protocol;

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Direction {
    /// Source address of its packets.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port, where the protocol has one.
    pub sport: Option<u16>,
    /// Destination port.
    pub dport: Option<u16>,
}

/// An entry of the conntrack table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tracked {
    /// Transport protocol.
    pub proto: Protocol,
    /// As the first packet was when it arrived.
    pub original: Direction,
    /// As the answers are when they arrive.
    pub reply: Direction,
    /// The connection's mark.
    pub mark: u32,
    /// Packets were seen in both directions (`IPS_SEEN_REPLY`).
    pub answered: bool,
}

impl Tracked {
    /// Addresses or ports are translated.
    pub fn is_translated(&self) -> bool {
        let (there, back) = (self.original, self.reply);
        (there.src, there.dst, there.sport, there.dport)
            != (back.dst, back.src, back.dport, back.sport)
    }
}
