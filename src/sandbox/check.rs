//! Whether a scenario makes sense, beyond what its types say.
//!
//! Everything that a file could do to the machine or to the sandbox itself is bounded here: which
//! sysctls may be set (only those that are a namespace's own on every kernel), how much traffic there
//! may be, and names that become words of a command. Built-in files pass through it like any other.

use std::net::IpAddr;

use ipnet::IpNet;

use super::scenario::{Client, Link, Place, Probe, Proto, Scenario};

/// Sysctls of the network namespace itself. Not `nf_conntrack_max`, `_buckets`, `_expect_max` and
/// `nf_log*`: those are the machine's, and before Linux 5.12 could be written from a namespace.
const SYSCTLS: &[&str] = &[
    "net.ipv4.conf.",
    "net.ipv4.ip_forward",
    "net.ipv4.tcp_",
    "net.ipv4.icmp_",
    "net.ipv6.conf.",
    "net.netfilter.nf_conntrack_tcp_",
    "net.netfilter.nf_conntrack_udp_",
    "net.netfilter.nf_conntrack_icmp",
    "net.netfilter.nf_conntrack_generic_",
    "net.netfilter.nf_conntrack_acct",
];
/// Calls a second of one group.
const RATE: f64 = 500.0;
/// … and of all of them.
const RATE_OF_ALL: f64 = 1_000.0;
/// Seconds.
const LONGEST_HOLD: f64 = 600.0;
/// IFNAMSIZ less the closing zero.
const INTERFACE_NAME: usize = 15;

/// The first thing that is wrong, in words.
pub fn check(scenario: &Scenario) -> Result<(), String> {
    for (name, value) in &scenario.sysctls {
        let known = SYSCTLS.iter().any(|prefix| name.starts_with(prefix));
        // `/` separates too (sysctl(8)), and `..` would lead out of the folder.
        if !known || name.contains("..") || name.contains('/') || value.contains('\n') {
            return Err(format!("sysctl {name} is not one that a sandbox may set"));
        }
    }
    if !scenario.links.iter().any(|link| link.to == Place::Outside) {
        return Err("there is no link to the outside".to_owned());
    }
    scenario.links.iter().try_for_each(link)?;
    for set in &scenario.sets {
        word("set", &set.name, 31)?;
        let mut lines = set.members.iter().chain([&set.kind]);
        if lines.any(|text| text.contains('\n')) {
            return Err(format!("set {}: an entry is one line", set.name));
        }
    }
    for one in &scenario.listeners {
        at(scenario, one.at)?;
        if one.proto == Proto::Icmp || one.port == 0 {
            return Err("a listener needs tcp or udp and a port".to_owned());
        }
        if one.reply > 4_096 {
            return Err(format!(
                "listener on {}: reply is at most 4096 bytes",
                one.port
            ));
        }
    }
    for one in &scenario.clients {
        at(scenario, one.at)?;
        client(one).map_err(|why| format!("clients \"{}\": {why}", one.name))?;
    }
    if scenario.clients.iter().map(|one| one.rate).sum::<f64>() > RATE_OF_ALL {
        return Err(format!(
            "all clients together call at most {RATE_OF_ALL} times a second"
        ));
    }
    for one in scenario.blocked.iter().chain(&scenario.works) {
        at(scenario, one.at)?;
        probe(one)?;
    }
    if let Some(fill) = &scenario.conntrack
        && (!(0.0..=1.0).contains(&fill.at_once) || fill.to.is_empty())
    {
        return Err("conntrack: at_once is a share from 0 to 1, and `to` is needed".to_owned());
    }
    for culprit in &scenario.expected {
        if !matches!(culprit.family, 4 | 6) || culprit.rule == Some(0) {
            return Err("expected: family is 4 or 6, and rules count from 1".to_owned());
        }
    }
    Ok(())
}

fn link(link: &Link) -> Result<(), String> {
    word("link", &link.name, INTERFACE_NAME)?;
    if let Some(bridge) = &link.bridge {
        word("bridge", bridge, INTERFACE_NAME)?;
    }
    if link.to == Place::Box {
        return Err(format!("link {} leads from the box to itself", link.name));
    }
    for near in &link.addresses {
        let same = |far: &IpNet| near.contains(&far.addr()) && near.addr() != far.addr();
        if !link.peer.iter().any(same) {
            return Err(format!("link {}: no peer in {near}", link.name));
        }
    }
    Ok(())
}

/// A name that goes into a command of `ip` or `ipset`.
fn word(what: &str, name: &str, longest: usize) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    let good = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() <= longest
        && name.chars().all(plain);
    if good {
        Ok(())
    } else {
        Err(format!(
            "{what} \"{name}\": not a name of at most {longest} letters"
        ))
    }
}

fn at(scenario: &Scenario, place: Place) -> Result<(), String> {
    if place == Place::Box || scenario.links.iter().any(|link| link.to == place) {
        Ok(())
    } else {
        Err(format!("somebody is {place:?}, where no link leads").to_lowercase())
    }
}

fn client(client: &Client) -> Result<(), String> {
    if !(client.rate > 0.0 && client.rate <= RATE) {
        return Err(format!("rate is above 0 and at most {RATE} a second"));
    }
    if !(client.timeout >= 0.1 && client.timeout <= LONGEST_HOLD) {
        return Err(format!("timeout is 0.1 to {LONGEST_HOLD} seconds"));
    }
    if !(client.hold >= 0.0 && client.hold <= LONGEST_HOLD) {
        return Err(format!("hold is 0 to {LONGEST_HOLD} seconds"));
    }
    port(client.proto, client.port)?;
    if client.to.is_empty() {
        return Err("nobody to call".to_owned());
    }
    for to in &client.to {
        let same = |net: &IpNet| net.addr().is_ipv4() == to.is_ipv4();
        if !client.from.is_empty() && !client.from.iter().any(same) {
            return Err(format!("no source network of the family of {to}"));
        }
    }
    Ok(())
}

fn probe(probe: &Probe) -> Result<(), String> {
    if probe.from.is_ipv4() != probe.to.is_ipv4() {
        return Err(format!(
            "probe: {} and {} are of two families",
            probe.from, probe.to
        ));
    }
    if matches!(probe.to, IpAddr::V6(to) if to.is_unicast_link_local()) {
        return Err(format!("probe: {} needs a scope", probe.to));
    }
    port(probe.proto, probe.port)
}

fn port(proto: Proto, port: u16) -> Result<(), String> {
    if (proto == Proto::Icmp) == (port == 0) {
        Ok(())
    } else {
        Err("tcp and udp have a port, icmp has none".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../assets/scenarios/conntrack-full.toml");

    /// What is said of the good file with one thing changed.
    fn said(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        let error = Scenario::parse("x", &GOOD.replacen(from, to, 1)).unwrap_err();
        error.to_string()
    }

    #[test]
    fn sysctls_of_the_machine_are_refused() {
        for name in [
            "net.netfilter.nf_conntrack_max",
            "net.netfilter.nf_conntrack_buckets",
            "net.netfilter.nf_log_all_netns",
            "kernel.panic",
            "vm.drop_caches",
            "net.ipv4.conf.../../../kernel/panic",
            "net.ipv4.tcp_/../../../kernel/panic",
            "net.core.rmem_max",
        ] {
            let to = format!("[sysctls]\n\"{name}\" = \"1\"\n[firewall]");
            assert!(said("[firewall]", &to).contains("sysctl"), "{name}");
        }
    }

    #[test]
    fn names_that_would_become_other_commands_are_refused() {
        for name in [
            "",
            "eth 0",
            "eth0\\nlink add evil",
            "-batch",
            "0123",
            "a234567890123456",
        ] {
            let to = format!("name = \"{name}\", to");
            assert!(said("name = \"eth0\", to", &to).contains("link"), "{name}");
        }
        let set =
            "sets = [{ name = \"a\", kind = \"hash:ip\", members = [\"1.2.3.4\\ndestroy\"] }]\n";
        assert!(said("links =", &format!("{set}links =")).contains("set a"));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (from, to, word) in [
            ("rate = 15", "rate = 0", "rate"),
            ("rate = 15", "rate = -1", "rate"),
            ("rate = 15", "rate = nan", "rate"),
            ("rate = 15", "rate = 501", "rate"),
            ("hold = 20", "hold = inf", "hold"),
            ("hold = 20", "hold = 20, timeout = 0", "timeout"),
            ("at_once = 0.97", "at_once = 1.5", "at_once"),
            (
                "at = \"outside\", proto = \"icmp\"",
                "at = \"behind\", proto = \"icmp\"",
                "behind",
            ),
            (
                "at = \"outside\", proto = \"icmp\"",
                "at = \"inside\", proto = \"icmp\"",
                "inside",
            ),
            ("to = \"outside\"", "to = \"box\"", "outside"),
            (
                "expected = []",
                "expected = [{ family = 5, table = \"a\", chain = \"b\" }]",
                "family",
            ),
            (
                "expected = []",
                "expected = [{ family = 4, table = \"a\", chain = \"b\", rule = 0 }]",
                "from 1",
            ),
            (
                "port = 443, reply = 2400",
                "port = 0, reply = 2400",
                "listener",
            ),
            ("reply = 2400", "reply = 9999999999", "reply"),
            (
                "\"10.0.0.5\", port = 443 }",
                "\"2001:db8::1\", port = 443 }",
                "families",
            ),
            (
                "peer = [\"10.0.0.1/24\"",
                "peer = [\"10.0.1.1/24\"",
                "no peer",
            ),
            ("title =", "tilte =", "tilte"),
        ] {
            let said = said(from, to);
            assert!(said.contains(word), "{to}: {said}");
            assert!(!said.contains('\n'), "{said}");
        }
    }
}
