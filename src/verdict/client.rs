//! What the program at the other end is told of a packet that does not get through.
//!
//! Sources: ip(7), icmp(7), tcp(7), and `icmp_err_convert` of net/ipv4/icmp.c and net/ipv6/icmp.c.

use super::explain::{Decider, Explanation, Verdict};
use super::probe::Probe;
use crate::flow::Protocol;
use crate::ruleset::Family;
use crate::ruleset::spec::targets::RejectWith;

impl Explanation {
    /// What the sender's program is told; `None` for a packet that gets through, or may.
    pub fn client_sees(&self, probe: &Probe) -> Option<&'static str> {
        let tcp = probe.proto == Some(Protocol::TCP);
        match (self.verdict, self.by, self.reject) {
            (Verdict::Drop, Some(Decider::Hops), _) => Some("time to live exceeded"),
            (Verdict::Drop, ..) if tcp => Some("a timeout (nothing answers)"),
            (Verdict::Drop, ..) => Some("nothing (no answer comes)"),
            (Verdict::Reject, _, Some(with)) => Some(told(with, probe.family)),
            _ => None,
        }
    }
}

fn told(with: RejectWith, family: Family) -> &'static str {
    let RejectWith::Icmp { code, .. } = with else {
        return "connection refused (a TCP reset)";
    };
    match (family, code) {
        (Family::V4 | Family::V6, 0) => "network is unreachable",
        (Family::V4, 9) => "network is unreachable (prohibited)",
        (Family::V4, 2) => "protocol not available",
        (Family::V4, 3) | (Family::V6, 4) => "connection refused (port unreachable)",
        (Family::V4, 1) | (Family::V6, 3) => "no route to host (host unreachable)",
        (Family::V4, _) => "no route to host (prohibited)",
        (Family::V6, _) => "permission denied (prohibited)",
    }
}
