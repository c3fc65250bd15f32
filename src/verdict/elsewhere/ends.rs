//! Both ends on this box: the interfaces, the address, who waits there.

use std::net::IpAddr;

use super::{About, Finder, Grade};
use crate::flow::{Interface, Listener, Protocol};
use crate::verdict::Path;

impl Finder<'_> {
    /// Those that the packet names: there, up, with a carrier.
    pub(super) fn interfaces(&mut self) {
        if self.machine.interfaces.is_none() {
            return;
        }
        let probe = self.packet.probe;
        let input = probe.input.filter(|_| probe.path != Path::Output);
        let output = probe.output.filter(|_| probe.path != Path::Input);
        let output = output.filter(|_| output != input);
        for name in [input, output].into_iter().flatten() {
            let (grade, says, evidence) = match self.machine.interface(name) {
                None => (
                    Grade::Blocks,
                    format!("there is no interface {name}"),
                    "not among the interfaces of this network namespace".to_owned(),
                ),
                Some(found) if !found.up => (
                    Grade::Blocks,
                    format!("{name} is down"),
                    format!("ip link: {name} is not UP"),
                ),
                Some(found) if !found.carrier => (
                    Grade::Blocks,
                    format!("{name} has no carrier"),
                    format!("ip link: {name} is UP without LOWER_UP"),
                ),
                Some(_) => (Grade::Fine, format!("{name} up"), String::new()),
            };
            self.say(About::Interface, grade, says, evidence);
        }
    }

    /// The packet is asked about as one to this box, or as one through it: is that so?
    pub(super) fn address(&mut self) {
        let Some(dst) = self.packet.dst else { return };
        let becomes = if self.packet.translated {
            "becomes "
        } else {
            "is "
        };
        match (self.packet.probe.path, self.packet.is_local) {
            (Path::Input, Some(false)) if !self.packet.translated => self.say(
                About::Address,
                Grade::Blocks,
                format!("{dst} is no address of this box"),
                "such a packet is forwarded, not delivered here: ask with `forward out IFACE`",
            ),
            (Path::Forward, Some(true)) if !self.packet.translated => self.say(
                About::Address,
                Grade::Doubt,
                format!("{dst} is an address of this box"),
                "such a packet is delivered here through INPUT, not forwarded",
            ),
            (Path::Input, Some(true)) if self.packet.to_many => self.say(
                About::Address,
                Grade::Fine,
                format!("{dst} {becomes}the broadcast address of a network of this box"),
                "such a packet is delivered here",
            ),
            (Path::Input, Some(true)) => {
                let holder = self.holder(dst).unwrap_or_default();
                self.say(
                    About::Address,
                    Grade::Fine,
                    format!("{dst} {becomes}an address of this box{holder}"),
                    "",
                );
            }
            _ => {}
        }
    }

    /// ` (eth0)`.
    fn holder(&self, address: IpAddr) -> Option<String> {
        let interfaces = self.machine.interfaces.as_ref()?;
        let has =
            |interface: &&Interface| interface.addresses.iter().any(|net| net.addr() == address);
        let found = interfaces.iter().find(has)?;
        Some(format!(" ({})", found.name))
    }

    /// Somebody waits for a first packet that is delivered here.
    pub(super) fn listener(&mut self) {
        let probe = self.packet.probe;
        let (Some(all), Some(proto), Some(port)) =
            (&self.machine.listeners, probe.proto, self.packet.dport)
        else {
            return;
        };
        let asked = matches!(proto, Protocol::TCP | Protocol::UDP)
            && self.packet.path == Path::Input
            // NAT may have sent it anywhere: then nobody here is asked for.
            && (!self.packet.translated || self.packet.dst.is_some())
            && self.packet.opens();
        if !asked {
            return;
        }
        let there: Vec<&Listener> = all
            .iter()
            .filter(|listener| (listener.proto, listener.port) == (proto, port))
            .filter(|listener| {
                let from = probe.src.zip(probe.sport);
                let peer = listener.peer.map(|peer| (peer.ip(), peer.port()));
                peer.is_none() || peer == from
            })
            .collect();
        let takes = |listener: &&&Listener| listener.takes(self.packet.dst, self.packet.v6());
        let own = there.iter().filter(takes);
        let on_it = |listener: &&&Listener| {
            let bound = listener
                .interface
                .and_then(|at| self.machine.interface_at(at));
            match (bound, probe.input) {
                (Some(bound), Some(input)) => bound.name == input,
                _ => true,
            }
        };
        let told = if proto == Protocol::TCP {
            "the client is refused (a TCP reset)"
        } else if self.packet.to_many {
            "the client is told nothing, as always of broadcast and multicast"
        } else {
            "the client is told that the port is unreachable"
        };
        let (grade, says, evidence) =
            match (there.first(), own.clone().find(on_it), own.clone().next()) {
                (None, ..) => (
                    Grade::Blocks,
                    format!("nobody listens on {port}/{proto}"),
                    format!("no such socket in this network namespace: {told}"),
                ),
                (_, Some(found), _) => (Grade::Fine, listens(found), String::new()),
                (_, None, Some(found)) => {
                    let bound = found.interface.and_then(|at| self.machine.interface_at(at));
                    let bound = bound.map_or_else(String::new, |bound| bound.name.to_string());
                    (
                        Grade::Blocks,
                        format!("{} on {bound} only", listens(found)),
                        format!("the socket is bound to that interface: {told}"),
                    )
                }
                (Some(found), None, None) => (
                    Grade::Blocks,
                    format!("{} only", listens(found)),
                    format!("not on the address that is asked for: {told}"),
                ),
            };
        self.say(About::Listener, grade, says, evidence);
    }
}

/// `nginx listens on 0.0.0.0:443`.
fn listens(listener: &Listener) -> String {
    let who = listener
        .process
        .as_ref()
        .map_or("somebody", |process| process.name.as_str());
    let at = std::net::SocketAddr::new(listener.address, listener.port);
    format!("{who} listens on {at}")
}
