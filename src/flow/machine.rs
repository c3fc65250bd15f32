//! What is known of the box beside its firewall, at one moment: interfaces, routes, listening sockets,
//! switches of the kernel, other programs that manage firewalls, the administrator's own connections.
//!
//! Words only: `host` reads them, `verdict` reasons over them, the screen shows them. A part that could
//! not be read is `None`, never empty, and [`Machine::problems`] says why: what is not known must not
//! become "nobody listens". Everything is of one network namespace. Names are bytes of strangers (a
//! process may call itself anything): strip before drawing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::{IfName, Protocol};

/// The box at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Its interfaces, by index.
    pub interfaces: Option<Vec<Interface>>,
    /// Sockets that wait for packets: TCP in LISTEN, UDP that is bound.
    pub listeners: Option<Vec<Listener>>,
    /// Switches of the kernel.
    pub sysctls: Sysctls,
    /// Questions about routes, with the kernel's answers.
    pub routes: Vec<(RouteQuestion, RouteAnswer)>,
    /// A rule of routing asks for a mark (`ip rule`, fwmark), so that the way may be another for a marked packet.
    pub routes_by_mark: bool,
    /// Other programs that write firewall rules and seem to be at work.
    pub managers: Vec<Manager>,
    /// What could not be read, and why: one line each.
    pub problems: Vec<String>,
}

impl Machine {
    /// The interface of that name. `None` also where interfaces are not known.
    pub fn interface(&self, name: IfName) -> Option<&Interface> {
        self.interfaces
            .as_ref()?
            .iter()
            .find(|interface| interface.name == name)
    }

    /// The interface of that index.
    pub fn interface_at(&self, index: u32) -> Option<&Interface> {
        self.interfaces
            .as_ref()?
            .iter()
            .find(|interface| interface.index == index)
    }

    /// Every address of the box; `None` where interfaces are not known.
    pub fn addresses(&self) -> Option<Vec<IpAddr>> {
        let of = |interface: &Interface| {
            let own: Vec<IpAddr> = interface.addresses.iter().map(IpNet::addr).collect();
            own
        };
        Some(self.interfaces.as_ref()?.iter().flat_map(of).collect())
    }

    /// Broadcast addresses of its networks: those that addresses came with, and the last one of each network
    /// wider than /31, to which the kernel makes a broadcast route whatever was said (`fib_add_ifaddr`).
    pub fn broadcasts(&self) -> Vec<IpAddr> {
        let interfaces = self.interfaces.iter().flatten();
        let mut all: Vec<IpAddr> = interfaces.flat_map(Interface::to_many).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What the kernel answered to a question; `None` where it was not asked.
    pub fn route(&self, question: &RouteQuestion) -> Option<&RouteAnswer> {
        let found = self.routes.iter().find(|(asked, _)| asked == question);
        found.map(|(_, answer)| answer)
    }
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: IfName,
    /// Its number in this namespace.
    pub index: u32,
    /// Somebody switched it on (IFF_UP).
    pub up: bool,
    /// It has a carrier (IFF_LOWER_UP).
    pub carrier: bool,
    /// The loopback interface.
    pub loopback: bool,
    /// Of which bridge or bond it is a port: that one's index.
    pub port_of: Option<u32>,
    /// It is a bridge itself.
    pub bridge: bool,
    /// Its addresses with their networks.
    pub addresses: Vec<IpNet>,
    /// Broadcast addresses of its IPv4 networks.
    pub broadcasts: Vec<Ipv4Addr>,
    /// `net.ipv4.conf.NAME.rp_filter`: 0 off, 1 strict, 2 loose. The greater of this and `all` holds.
    pub rp_filter: Option<u8>,
    /// `net.ipv4.conf.NAME.forwarding`.
    pub forwards_v4: Option<bool>,
    /// `net.ipv6.conf.NAME.forwarding`.
    pub forwards_v6: Option<bool>,
}

impl Interface {
    /// Broadcast addresses of its networks, as [`Machine::broadcasts`] has them; none while it is down.
    pub fn to_many(&self) -> Vec<IpAddr> {
        let said = self.broadcasts.iter().copied();
        let last = self.addresses.iter().filter_map(|net| match net {
            IpNet::V4(four) if four.prefix_len() < 31 => Some(four.broadcast()),
            _ => None,
        });
        let all = said.chain(last).filter(|_| self.up);
        all.map(IpAddr::V4).collect()
    }
}

/// A socket that waits for packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// TCP or UDP.
    pub proto: Protocol,
    /// Its own address; unspecified for all of them.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// An IPv6 socket that takes no IPv4 (IPV6_V6ONLY); `None` where the kernel does not say.
    pub only_v6: Option<bool>,
    /// Takes packets of this interface only (SO_BINDTODEVICE): its index.
    pub interface: Option<u32>,
    /// Takes packets of this peer only: a UDP socket that is connected.
    pub peer: Option<SocketAddr>,
    /// Who holds it, where that may be seen.
    pub process: Option<Process>,
}

impl Listener {
    /// Whether a packet to this address (`None`: any of the box) is for it, ports left aside.
    pub fn takes(&self, address: Option<IpAddr>, v6: bool) -> bool {
        match (self.address, v6) {
            (IpAddr::V6(own), false) => {
                own.is_unspecified() && self.only_v6 != Some(true)
                    || own
                        .to_ipv4_mapped()
                        .is_some_and(|four| address.is_none_or(|wanted| wanted == four))
            }
            (IpAddr::V4(_), true) => false,
            (own, _) => own.is_unspecified() || address.is_none_or(|wanted| wanted == own),
        }
    }
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name, at most 15 bytes of its own choice (proc(5), comm).
    pub name: String,
}

/// Switches and figures of the kernel, each `None` where it does not exist or cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sysctls {
    /// `net.ipv4.ip_forward`.
    pub forward_v4: Option<bool>,
    /// `net.ipv6.conf.all.forwarding`.
    pub forward_v6: Option<bool>,
    /// `net.ipv4.conf.all.rp_filter`.
    pub rp_filter_all: Option<u8>,
    /// `net.ipv4.conf.all.log_martians`: packets that routing refuses are written to the log.
    pub log_martians: Option<bool>,
    /// `net.bridge.bridge-nf-call-iptables`; exists where br_netfilter is loaded.
    pub bridge_v4: Option<bool>,
    /// `net.bridge.bridge-nf-call-ip6tables`.
    pub bridge_v6: Option<bool>,
    /// `net.netfilter.nf_conntrack_count`.
    pub conntrack_count: Option<u64>,
    /// `net.netfilter.nf_conntrack_max`; 0 for no bound.
    pub conntrack_max: Option<u64>,
}

/// "Which way would this packet go?"
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteQuestion {
    /// Where to.
    pub to: IpAddr,
    /// From which address.
    pub from: Option<IpAddr>,
    /// It came in by this interface; `None` for a packet of this box.
    pub input: Option<IfName>,
    /// It must leave by this interface.
    pub output: Option<IfName>,
    /// Its fwmark, which policy routing may look at.
    pub mark: Option<u32>,
    /// Its protocol, at which policy routing may look too; the kernel takes TCP, UDP and its family's ICMP.
    pub proto: Option<Protocol>,
    /// Its source port.
    pub sport: Option<u16>,
    /// Its destination port.
    pub dport: Option<u16>,
    /// Every way is asked for that the route has, and not one of them: an answer that names no interface then has
    /// several.
    pub every: bool,
}

impl RouteQuestion {
    /// The way to an address, for a packet of this box.
    pub fn toward(to: IpAddr) -> Self {
        Self {
            to,
            from: None,
            input: None,
            output: None,
            mark: None,
            proto: None,
            sport: None,
            dport: None,
            every: false,
        }
    }

    /// The same, of a packet with that protocol and those ports, as far as the kernel can be asked about them.
    #[must_use]
    pub fn of(self, proto: Option<Protocol>, sport: Option<u16>, dport: Option<u16>) -> Self {
        let icmp = match self.to {
            IpAddr::V4(_) => Protocol::ICMP,
            IpAddr::V6(_) => Protocol::ICMPV6,
        };
        let proto = proto.filter(|proto| [Protocol::TCP, Protocol::UDP, icmp].contains(proto));
        let has_ports = proto.is_some_and(Protocol::has_ports);
        Self {
            proto,
            sport: sport.filter(|_| has_ports),
            dport: dport.filter(|_| has_ports),
            ..self
        }
    }
}

/// What the kernel does with such a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteAnswer {
    /// It has a way.
    Way(Way),
    /// It has none, with the kernel's error in words: `Network is unreachable`.
    None {
        /// The number (errno(3)).
        errno: i32,
        /// Its words.
        words: String,
    },
    /// The question could not be asked, and why: an interface that is not there, no socket.
    NotAsked(String),
}

/// A way of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// What sort of route.
    pub kind: WayKind,
    /// The interface that it leaves by.
    pub output: Option<IfName>,
    /// The next hop; `None` when the destination is a neighbour.
    pub gateway: Option<IpAddr>,
    /// The routing table that has the route.
    pub table: u32,
}

/// Sorts of routes (ip-route(8)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayKind {
    /// To somewhere else.
    Unicast,
    /// To this box.
    Local,
    /// To all of a network.
    Broadcast,
    /// To a group.
    Multicast,
    /// Thrown away silently.
    Blackhole,
    /// Refused: host unreachable.
    Unreachable,
    /// Refused: prohibited.
    Prohibit,
    /// Something else.
    Other,
}

/// Another program that writes firewall rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    /// `ufw`, `firewalld`, `docker`, `fail2ban`, `netfilter-persistent` …
    pub name: &'static str,
    /// How it was seen: `process 812`, `/etc/ufw/ufw.conf says ENABLED=yes`.
    pub seen: String,
    /// What it does to a ruleset that somebody else changes: a sentence.
    pub habit: &'static str,
}

/// How a session was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An ancestor of this program holds the socket.
    Socket,
    /// An ancestor's environment names it (SSH_CONNECTION), and such a connection stands.
    Environment,
}

/// A connection that somebody administers this box through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// TCP, unless something odd is found.
    pub proto: Protocol,
    /// The administrator's end.
    pub peer: SocketAddr,
    /// This box's end.
    pub local: SocketAddr,
    /// The interface that packets to the peer leave by, and so presumably the one that they come in by.
    pub interface: Option<IfName>,
    /// The process that holds it: `sshd`, `sshd-session`.
    pub process: Process,
    /// How it was found.
    pub seen: Seen,
    /// What lies between it and this program, the nearest last: `bash`, `tmux: client`, `sudo`.
    pub through: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str, only_v6: Option<bool>) -> Listener {
        Listener {
            proto: Protocol::TCP,
            address: address.parse().unwrap(),
            port: 80,
            only_v6,
            interface: None,
            peer: None,
            process: None,
        }
    }

    #[test]
    fn a_listener_takes_what_is_for_its_address() {
        let four: Option<IpAddr> = Some("10.0.0.1".parse().unwrap());
        let six: Option<IpAddr> = Some("fd00::1".parse().unwrap());
        for (own, only_v6, address, v6, takes) in [
            ("0.0.0.0", None, four, false, true),
            ("0.0.0.0", None, six, true, false),
            ("127.0.0.1", None, four, false, false),
            ("127.0.0.1", None, None, false, true),
            ("10.0.0.1", None, four, false, true),
            ("::", Some(false), four, false, true),
            ("::", None, four, false, true),
            ("::", Some(true), four, false, false),
            ("::", Some(true), six, true, true),
            ("::1", Some(false), six, true, false),
            ("::ffff:10.0.0.1", Some(false), four, false, true),
            ("::ffff:10.0.0.2", Some(false), four, false, false),
        ] {
            let found = listener(own, only_v6).takes(address, v6);
            assert_eq!(found, takes, "{own} {only_v6:?} {address:?}");
        }
    }
}
