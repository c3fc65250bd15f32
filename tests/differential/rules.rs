//! Random rulesets as a person might have typed them, for the restore tools of one family.

mod matches;
mod targets;

use std::fmt::Write;

use ruletop::ruleset::{Family, Origin};

use crate::dice::Dice;

pub struct Maker<'a> {
    pub origin: Origin,
    /// Conntrack may be used.
    pub tracked: bool,
    pub dice: &'a mut Dice,
}

/// Table and built-in chains.
const TABLES: &[(&str, &[&str])] = &[
    ("raw", &["PREROUTING", "OUTPUT"]),
    (
        "mangle",
        &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
    ),
    ("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]),
    ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
    ("security", &["INPUT", "FORWARD", "OUTPUT"]),
];

impl Maker<'_> {
    fn v6(&self) -> bool {
        self.origin.family == Family::V6
    }

    /// A whole ruleset.
    pub fn ruleset(&mut self) -> String {
        let mut text = String::new();
        for (table, chains) in TABLES {
            let wanted = *table == "filter" || self.dice.one_in(2);
            let nat = *table == "nat";
            if nat && !self.tracked {
                // The table alone would make conntrack look at every packet.
                continue;
            }
            if wanted || nat && self.dice.one_in(2) {
                self.table(&mut text, table, chains);
            } else {
                // An empty table, so that none is left from the ruleset before.
                let _ = write!(text, "*{table}\nCOMMIT\n");
            }
        }
        text
    }

    fn table(&mut self, text: &mut String, table: &str, chains: &[&str]) {
        let _ = writeln!(text, "*{table}");
        for chain in chains {
            let drop = table == "filter" && self.dice.one_in(3);
            let _ = writeln!(
                text,
                ":{chain} {} [0:0]",
                if drop { "DROP" } else { "ACCEPT" }
            );
        }
        let users = self.dice.below(4);
        for user in 0..users {
            let _ = writeln!(text, ":u{user} - [0:0]");
        }
        for chain in chains {
            for _ in 0..self.dice.below(8) {
                self.rule(text, table, chain, 0, users);
            }
        }
        for user in 0..users {
            for _ in 0..self.dice.below(6) {
                // Calls go to later chains only: the kernel refuses loops.
                self.rule(text, table, &format!("u{user}"), user + 1, users);
            }
        }
        text.push_str("COMMIT\n");
    }

    fn rule(&mut self, text: &mut String, table: &str, chain: &str, from: usize, users: usize) {
        let _ = write!(text, "-A {chain}");
        let proto = self.general(text, chain);
        // Each kind once: of two matches of one kind iptables-nft-save may print only one (seen with tcp,
        // 1.8.9), and then the dump says less than the kernel does.
        let mut kinds = Vec::new();
        for _ in 0..self.dice.below(3) {
            let one = self.one_match(proto, chain);
            let kind = one.split(' ').nth(2).unwrap_or_default().to_owned();
            if !kinds.contains(&kind) {
                text.push_str(&one);
                kinds.push(kind);
            }
        }
        let target = self.target(table, chain, proto, from, users);
        let _ = writeln!(text, "{target}");
    }

    /// Protocol, addresses, interfaces; gives the protocol that matches may build on.
    fn general(&mut self, text: &mut String, chain: &str) -> &'static str {
        let icmp = if self.v6() { "ipv6-icmp" } else { "icmp" };
        let proto = self.dice.pick(&[
            "", "", "tcp", "tcp", "tcp", "udp", "udp", icmp, "udplite", "99", "!tcp", "!udp",
        ]);
        match proto.strip_prefix('!') {
            Some(not) => {
                let _ = write!(text, " ! -p {not}");
            }
            None if proto.is_empty() => {}
            None => {
                let _ = write!(text, " -p {proto}");
            }
        }
        for side in ["-s", "-d"] {
            if self.dice.one_in(4) {
                let (not, net) = (self.dice.not(), self.net());
                let _ = write!(text, " {not}{side} {net}");
            }
        }
        if self.dice.one_in(4) && !["OUTPUT", "POSTROUTING"].contains(&chain) {
            let (not, name) = (
                self.dice.not(),
                self.dice.pick(&["eth0", "eth1", "lo", "eth+", "et+", "l+"]),
            );
            let _ = write!(text, " {not}-i {name}");
        }
        if self.dice.one_in(4) && !["PREROUTING", "INPUT"].contains(&chain) {
            let (not, name) = (
                self.dice.not(),
                self.dice.pick(&["eth0", "eth1", "lo", "eth+", "e+"]),
            );
            let _ = write!(text, " {not}-o {name}");
        }
        if !self.v6() && self.dice.one_in(12) {
            let not = self.dice.not();
            let _ = write!(text, " {not}-f");
        }
        if proto.starts_with('!') { "" } else { proto }
    }
}

/// The ipsets that rules ask.
pub fn sets(family: Family) -> &'static str {
    match family {
        Family::V4 => {
            "create a hash:ip family inet\nadd a 10.0.0.1\nadd a 10.0.0.51\ncreate b hash:net family inet\n\
             add b 203.0.113.0/24\nadd b 203.0.113.64/26 nomatch\nadd b 10.1.0.0/16\n\
             create c hash:ip,port family inet\nadd c 10.0.0.1,tcp:80\nadd c 10.0.0.2,udp:53\n"
        }
        Family::V6 => {
            "create a hash:ip family inet6\nadd a fd00::1\nadd a fd00::101\ncreate b hash:net family inet6\n\
             add b 2001:db8::/32\nadd b 2001:db8::400/118 nomatch\nadd b fd01::/16\n\
             create c hash:ip,port family inet6\nadd c fd00::1,tcp:80\nadd c fd00::2,udp:53\n"
        }
    }
}

/// The restore tool of an origin.
pub fn restore(origin: Origin) -> String {
    format!("{origin}-restore")
}

/// The save tool, with counters.
pub fn save(origin: Origin) -> String {
    format!("{origin}-save -c")
}
