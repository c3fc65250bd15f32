//! Scenarios: a broken firewall as data.
//!
//! A scenario is one TOML file: the network around the box, the firewall, who listens, who calls, what
//! is wrong, and how one knows that it is mended. Those in `assets/scenarios/` are built in; the path
//! of another file may be given. Everything a demo, a test or the "fix it by keys" test needs to know
//! of a scenario stands in the file, so that a new one is a new file and no code.
//!
//! Here are the words of such a file. Where files come from stands in `library.rs`, whether one makes
//! sense in `check.rs`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A network, a firewall that is wrong in one point, and the traffic that shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The file's name without `.toml`; not a key of the file.
    #[serde(default)]
    pub name: String,
    /// A few words for a list.
    pub title: String,
    /// What is wrong, in one line: the answer.
    pub wrong: String,
    /// What the users report, in one line: the question.
    pub symptom: String,
    /// Sysctls of the box, by dotted name.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// Cables between the box and the other places.
    pub links: Vec<Link>,
    /// ipsets of the box.
    #[serde(default)]
    pub sets: Vec<Set>,
    /// The rules.
    pub firewall: Firewall,
    /// Who listens.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// Who calls, all the time.
    #[serde(default)]
    pub clients: Vec<Client>,
    /// Made-up conntrack entries, for a table that is to be full.
    #[serde(default)]
    pub conntrack: Option<Fill>,
    /// The rule (or policy) that stops the blocked flow, one per family.
    #[serde(default)]
    pub expected: Vec<Culprit>,
    /// Flows that must fail while the firewall is wrong and succeed once it is mended.
    pub blocked: Vec<Probe>,
    /// Flows that succeed before and after.
    pub works: Vec<Probe>,
    /// Commands that mend it: the program's name without its back end, then its arguments.
    pub fix: Vec<String>,
}

/// Where a process of the sandbox stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The machine with the firewall, where the UI runs.
    Box,
    /// The rest of the world.
    Outside,
    /// Machines that are reached through the box: containers, a LAN.
    Behind,
}

/// A cable (a veth pair) from the box to another place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Interface name in the box, e.g. `eth0`.
    pub name: String,
    /// The other end.
    pub to: Place,
    /// Make the box's end a port of this bridge, which then carries the addresses.
    #[serde(default)]
    pub bridge: Option<String>,
    /// Addresses of the box.
    pub addresses: Vec<IpNet>,
    /// Addresses of the other end.
    pub peer: Vec<IpNet>,
    /// Networks that live beyond the other end; the box routes them there.
    #[serde(default)]
    pub beyond: Vec<IpNet>,
}

/// An ipset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Type and options as ipset(8) takes them, e.g. `hash:net family inet6`.
    pub kind: String,
    /// Entries.
    #[serde(default)]
    pub members: Vec<String>,
}

/// iptables-restore text. `@LOG@ "prefix"` after `-j` stands for a log target; see [`LogTarget`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firewall {
    /// For iptables-restore.
    pub v4: String,
    /// For ip6tables-restore.
    pub v6: String,
}

/// What `@LOG@` becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogTarget {
    /// `LOG`, to the kernel's log.
    Log,
    /// `NFLOG`, to netlink group [`NFLOG_GROUP`].
    Nflog,
}

/// The netlink group that a sandbox's NFLOG rules write to.
pub const NFLOG_GROUP: u16 = 1;

/// Transport of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proto {
    /// A connection, one or more requests, an answer to each.
    Tcp,
    /// A datagram and its answer.
    Udp,
    /// Echo request and reply, of the family of the addresses. No port.
    Icmp,
}

/// A service that answers every request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Where it runs.
    pub at: Place,
    /// tcp or udp; the kernel answers echo requests by itself.
    pub proto: Proto,
    /// Port.
    pub port: u16,
    /// Where it is bound; empty: every address of both families. Those of another place than the box
    /// are added to it.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Bytes of an answer.
    #[serde(default = "default_reply")]
    pub reply: usize,
}

fn default_reply() -> usize {
    600
}

/// A group of clients that call at a steady rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Who they are: `shoppers`, `monitoring`.
    pub name: String,
    /// Where they are.
    pub at: Place,
    /// What they speak.
    pub proto: Proto,
    /// Source networks; each call comes from another address. Empty: the kernel chooses.
    #[serde(default)]
    pub from: Vec<IpNet>,
    /// Destinations, one per family.
    pub to: Vec<IpAddr>,
    /// Destination port; 0 for icmp.
    #[serde(default)]
    pub port: u16,
    /// Calls a second of the whole group.
    pub rate: f64,
    /// Seconds for which a TCP connection stays open after its first answer, with a request a second.
    #[serde(default)]
    pub hold: f64,
    /// Seconds after which a caller gives up.
    #[serde(default = "default_timeout")]
    pub timeout: f64,
}

fn default_timeout() -> f64 {
    3.0
}

/// Made-up entries that fill the conntrack table.
///
/// No kernel lets a network namespace have a `nf_conntrack_max` of its own (before Linux 5.12 writing
/// it in a namespace even changed the host's), so a full table has to be really full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// Source networks of the entries.
    pub from: Vec<IpNet>,
    /// Destinations, one per family.
    pub to: Vec<IpAddr>,
    /// Destination port of the TCP connections that they stand for.
    pub port: u16,
    /// Share of the table that is filled at once.
    pub at_once: f64,
    /// Entries a second after that, until and as long as the table is full.
    pub rate: u32,
}

/// Who is to blame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Culprit {
    /// 4 or 6.
    pub family: u8,
    /// Table.
    pub table: String,
    /// Chain.
    pub chain: String,
    /// Rule number, from 1; absent: the chain's policy.
    #[serde(default)]
    pub rule: Option<usize>,
}

/// One flow to try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Where it is sent from.
    pub at: Place,
    /// What it speaks.
    pub proto: Proto,
    /// Source address.
    pub from: IpAddr,
    /// Destination address.
    pub to: IpAddr,
    /// Destination port; 0 for icmp.
    #[serde(default)]
    pub port: u16,
}

/// What a client saw. `Connected` means that an *answer* came back, not only a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeResult {
    /// The service answered.
    Connected,
    /// A TCP reset or an ICMP port unreachable.
    Refused,
    /// Nothing came back in time: what a DROP looks like.
    TimedOut,
    /// Any other ICMP unreachable (a REJECT), no route, or refused before it left.
    Unreachable,
}

impl Link {
    /// The interface of the box that carries the addresses.
    pub fn interface(&self) -> &str {
        self.bridge.as_deref().unwrap_or(&self.name)
    }
}
