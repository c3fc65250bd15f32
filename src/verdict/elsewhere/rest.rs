//! What stands beside the packet's way: the connection table, bridges, chains that iptables does not show,
//! other programs that write rules.

use super::{About, Finder, Grade};
use crate::flow::IfName;
use crate::ruleset::BaseChain;
use crate::verdict::{CtState, Decider, Explanation, Path};

impl Finder<'_> {
    /// A full table drops the first packets of connections; those of standing ones pass.
    pub(super) fn conntrack(&mut self) {
        let sysctls = &self.machine.sysctls;
        let (Some(count), Some(max)) = (sysctls.conntrack_count, sysctls.conntrack_max) else {
            return;
        };
        if max == 0 || self.packet.probe.ctstate == Some(CtState::Untracked) {
            return;
        }
        // Nine tenths of a table fill up in a moment. Counts beyond u64/100 there are none.
        let share = count.saturating_mul(100) / max;
        let evidence = if count == max {
            // On one line of the screen, or what is to be typed would be broken.
            let more = max.saturating_mul(2);
            format!(
                "nf_conntrack_count = nf_conntrack_max = {max}; \
                 room: sysctl -w net.netfilter.nf_conntrack_max={more}"
            )
        } else {
            format!("nf_conntrack_count = {count}, nf_conntrack_max = {max}")
        };
        let (grade, says) = match (share, self.packet.opens()) {
            (100.., true) => (
                Grade::Blocks,
                "the connection table is full: new connections are dropped".to_owned(),
            ),
            (90.., _) => (Grade::Doubt, format!("conntrack {share} % full")),
            _ => (Grade::Fine, format!("conntrack {share} %")),
        };
        self.say(About::Conntrack, grade, says, evidence);
    }

    /// Frames that a bridge passes on meet these chains only where br_netfilter sends them there.
    pub(super) fn bridge(&mut self) {
        let probe = self.packet.probe;
        let bridge = |name: Option<IfName>| {
            let found = self.machine.interface(name?)?;
            if found.bridge {
                return Some(found);
            }
            self.machine
                .interface_at(found.port_of?)
                .filter(|above| above.bridge)
        };
        let (input, output) = (bridge(probe.input), bridge(probe.output));
        let through = match (input, output) {
            (Some(one), Some(other)) if one.index == other.index => one.name,
            _ => return,
        };
        let (on, key) = if self.packet.v6() {
            (self.machine.sysctls.bridge_v6, "ip6tables")
        } else {
            (self.machine.sysctls.bridge_v4, "iptables")
        };
        if probe.path != Path::Forward {
            return;
        }
        if on == Some(true) {
            self.say(
                About::Bridge,
                Grade::Note,
                format!("frames that {through} switches meet these chains too"),
                format!("net.bridge.bridge-nf-call-{key} = 1"),
            );
        } else {
            self.say(
                About::Bridge,
                Grade::Note,
                format!("frames that {through} switches do not meet these chains"),
                format!("net.bridge.bridge-nf-call-{key} is 0 or br_netfilter is not loaded"),
            );
        }
    }

    /// Chains that iptables does not show, at the hooks that the packet passes.
    pub(super) fn natives(&mut self, explanation: &Explanation, natives: &[BaseChain]) {
        let probe = self.packet.probe;
        let hooks: &[&str] = match self.packet.path {
            Path::Input => &["ingress", "prerouting", "input"],
            Path::Forward => &["ingress", "prerouting", "forward", "postrouting", "egress"],
            Path::Output => &["output", "postrouting", "egress"],
        };
        let decider = match explanation.by {
            Some(Decider::Native(at)) => explanation.natives.get(usize::from(at)),
            _ => None,
        };
        for chain in natives {
            let name = format!("{} {} {}", chain.family, chain.table, chain.chain);
            let does_something = chain.rules > 0 || chain.drops_by_default;
            let device = if chain.hook == "egress" {
                probe.output
            } else {
                probe.input
            };
            let on_device = chain.devices.is_empty()
                || device.is_none_or(|device| {
                    chain
                        .devices
                        .iter()
                        .any(|known| known.as_bytes() == device.as_bytes())
                });
            // A nat chain does not drop; it may send the packet elsewhere.
            let met = hooks.contains(&chain.hook)
                && chain.family.sees(probe.family)
                && !chain.dormant
                && does_something
                && on_device
                && chain.kind != "nat";
            if !met {
                continue;
            }
            let (grade, does) = if decider.is_some_and(|by| *by == name) {
                (Grade::Blocks, "drops")
            } else {
                (Grade::Doubt, "may drop")
            };
            let policy = if chain.drops_by_default {
                "drop"
            } else {
                "accept"
            };
            self.say(
                About::Native,
                grade,
                format!("the nft chain {name} {does} it"),
                format!(
                    "{}, priority {}, policy {policy}, {} rules, which iptables does not show",
                    chain.hook, chain.priority, chain.rules
                ),
            );
        }
    }

    pub(super) fn managers(&mut self) {
        for manager in &self.machine.managers {
            self.say(
                About::Manager,
                Grade::Note,
                format!("{} is at work", manager.name),
                format!("{}; {}", manager.seen, manager.habit),
            );
        }
    }
}
