//! A verdict in words: who decides, and what the program at the other end is told of a packet that does not
//! get through.
//!
//! Sources: ip(7), icmp(7), tcp(7), and `icmp_err_convert` of net/ipv4/icmp.c and net/ipv6/icmp.c.

use super::compile::table_name;
use super::explain::{Decider, Explanation, Verdict};
use super::probe::Probe;
use crate::flow::Protocol;
use crate::ruleset::spec::targets::RejectWith;
use crate::ruleset::{Family, Ruleset};

impl Explanation {
    /// `filter INPUT rule 4: -p tcp -j DROP`, `filter INPUT policy`, with the back end where both hold rules of
    /// this family. `rulesets` are those that were compiled. Strip before drawing.
    pub fn decider(&self, by: Decider, rulesets: &[&Ruleset]) -> String {
        let place = match by {
            Decider::Hops => return "the kernel: no hops left to forward it".to_owned(),
            Decider::Native(at) => {
                let name = self.natives.get(usize::from(at));
                return format!("the native nft chain {}", name.map_or("?", String::as_str));
            }
            Decider::Place(place) => place,
        };
        let Some(ruleset) = rulesets.get(place.ruleset) else {
            return String::new();
        };
        let chain = ruleset.chain(place.chain).name();
        let table = table_name(ruleset, place.chain);
        let backend = match ruleset.backend() {
            Some(backend) if rulesets.len() > 1 => format!(" ({})", backend.name()),
            _ => String::new(),
        };
        match place.rule {
            None => format!("{table} {chain} policy{backend}"),
            Some(rule) => {
                let spec = String::from_utf8_lossy(ruleset.spec(rule));
                format!(
                    "{table} {chain} rule {}{backend}: {spec}",
                    ruleset.number(rule)
                )
            }
        }
    }

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
