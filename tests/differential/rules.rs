//! Random rulesets as a person might have typed them, for the restore tools of one family.

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

    fn net(&mut self) -> &'static str {
        if self.v6() {
            self.dice.pick(&[
                "fd00::/16",
                "fd00::1",
                "fd00::2",
                "fd01::/64",
                "2001:db8::/32",
                "fd00::100/120",
                "2001:db8::/ffff:ffff::",
                "::/1",
                "fd00::/ffff::1",
            ])
        } else {
            self.dice.pick(&[
                "10.0.0.0/24",
                "10.0.0.1",
                "10.0.0.2",
                "10.1.0.0/16",
                "203.0.113.0/24",
                "198.51.100.0/26",
                "0.0.0.0/1",
                "10.0.0.1/255.0.0.255",
                "203.0.113.64/28",
            ])
        }
    }

    fn ports(&mut self) -> &'static str {
        self.dice.pick(&[
            "22",
            "53",
            "80",
            "443",
            "1:100",
            "80:443",
            ":1023",
            "1024:",
            "20000:40000",
            "0:65535",
        ])
    }

    fn one_match(&mut self, proto: &str, chain: &str) -> String {
        let dice_of_all = self.dice.below(if self.tracked { 27 } else { 20 });
        let not = self.dice.not();
        match dice_of_all {
            0..=4 => self.of_protocol(proto, not),
            5 => format!(
                " -m mark {not}--mark {}",
                self.dice
                    .pick(&["0x0", "0x1", "0x10/0xf0", "0x3/0x3", "0x0/0x1"])
            ),
            6 => format!(
                " -m length {not}--length {}",
                self.dice.pick(&["0:60", "61:80", "40", "28:", ":48"])
            ),
            7 if self.v6() => format!(" -m hl {}", self.hops("hl")),
            7 => format!(" -m ttl {}", self.hops("ttl")),
            8 => format!(
                " -m tos {not}--tos {}",
                self.dice
                    .pick(&["0x10/0xff", "0x00/0xfc", "0x08/0x3f", "0x02/0x03"])
            ),
            9 => format!(
                " -m dscp {not}--dscp {}",
                self.dice.pick(&["0x00", "0x04", "0x2e", "0x3f"])
            ),
            10 => format!(" -m ecn {not}--ecn-ip-ect {}", self.dice.below(4)),
            11 => self.iprange(not),
            12 => {
                let side = self.dice.pick(&["src", "dst"]);
                let kinds = if self.v6() {
                    &["LOCAL", "UNICAST", "MULTICAST"][..]
                } else {
                    &[
                        "LOCAL",
                        "UNICAST",
                        "LOCAL,UNICAST",
                        "BROADCAST",
                        "MULTICAST,LOCAL",
                    ][..]
                };
                format!(" -m addrtype {not}--{side}-type {}", self.dice.pick(kinds))
            }
            13 if ["PREROUTING", "INPUT", "FORWARD"].contains(&chain) => {
                format!(
                    " -m mac {not}--mac-source 02:00:00:00:00:{}",
                    self.dice.pick(&["11", "12", "13"])
                )
            }
            14 => format!(
                " -m pkttype {not}--pkt-type {}",
                self.dice.pick(&["unicast", "multicast", "broadcast"])
            ),
            15 => {
                let (icase, from) = (
                    self.dice.pick(&["", " --icase"]),
                    self.dice
                        .pick(&["", " --from 20", " --from 40", " --to 60"]),
                );
                let word = self.dice.pick(&["GET", "secret", "secret HTTP", "nothere"]);
                format!(
                    " -m string {not}--string \"{word}\" --algo {}{from}{icase}",
                    self.dice.pick(&["bm", "kmp"])
                )
            }
            16 if self.v6() => format!(
                " -m u32 {not}--u32 \"4&0xFF00={}\"",
                self.dice.pick(&["0x600", "0x1100", "0x600,0x1100"])
            ),
            16 => format!(
                " -m u32 {not}--u32 \"{}\"",
                self.dice.pick(&[
                    "6&0xFF=6",
                    "6&0xFF=6:17",
                    "0&0xFFFF=0:60 && 6&0xFF=17",
                    "0>>22&0x3C@0&0xFFFF=0x50:0x1bb"
                ])
            ),
            17 => format!(
                " -m statistic --mode random {not}--probability {}",
                self.dice.pick(&["1", "0"])
            ),
            18 => format!(
                " -m set {not}--match-set {} {}",
                self.dice.pick(&["a", "b"]),
                self.dice.pick(&["src", "dst"])
            ),
            19 => format!(
                " -m set {not}--match-set c {}",
                self.dice.pick(&["src,dst", "dst,dst"])
            ),
            20..=22 => format!(" -m conntrack {not}--ctstate {}", self.states()),
            23 => format!(
                " -m state {not}--state {}",
                self.dice.pick(&[
                    "NEW",
                    "ESTABLISHED",
                    "RELATED,ESTABLISHED",
                    "INVALID",
                    "UNTRACKED"
                ])
            ),
            24 => format!(
                " -m conntrack --ctdir {}",
                self.dice.pick(&["ORIGINAL", "REPLY"])
            ),
            25 => {
                let net = self.net();
                let field = self
                    .dice
                    .pick(&["ctorigsrc", "ctorigdst", "ctreplsrc", "ctrepldst"]);
                let states = if self.dice.one_in(3) {
                    format!(" --ctstate {}", self.states())
                } else {
                    String::new()
                };
                format!(" -m conntrack{states} {not}--{field} {net}")
            }
            26 => match self.dice.below(3) {
                0 => format!(
                    " -m conntrack {not}--ctorigdstport {}",
                    self.dice.pick(&["22", "80", "1:100"])
                ),
                1 => format!(
                    " -m connmark {not}--mark {}",
                    self.dice.pick(&["0x0", "0x1", "0x10/0xf0"])
                ),
                _ => format!(
                    " -m conntrack {not}--ctstatus {}",
                    self.dice
                        .pick(&["SEEN_REPLY", "CONFIRMED", "EXPECTED", "NONE"])
                ),
            },
            _ => String::new(),
        }
    }

    fn states(&mut self) -> &'static str {
        self.dice.pick(&[
            "NEW",
            "NEW,UNTRACKED",
            "ESTABLISHED",
            "RELATED,ESTABLISHED",
            "INVALID",
            "UNTRACKED",
            "DNAT",
            "INVALID,SNAT",
        ])
    }

    fn hops(&mut self, word: &str) -> String {
        match self.dice.below(3) {
            0 => format!("{}--{word}-eq 64", self.dice.not()),
            1 => format!("--{word}-lt {}", self.dice.pick(&["2", "64", "100"])),
            _ => format!("--{word}-gt {}", self.dice.pick(&["1", "63", "127"])),
        }
    }

    fn iprange(&mut self, not: &str) -> String {
        let side = self.dice.pick(&["src", "dst"]);
        let range = if self.v6() {
            self.dice.pick(&[
                "fd00::1-fd00::2",
                "2001:db8::10-2001:db8::500",
                "fd00::-fd02::",
            ])
        } else {
            self.dice.pick(&[
                "10.0.0.1-10.0.0.60",
                "203.0.113.5-203.0.113.50",
                "10.0.0.0-10.255.255.255",
            ])
        };
        format!(" -m iprange {not}--{side}-range {range}")
    }

    /// What only a rule of that protocol may ask.
    fn of_protocol(&mut self, proto: &str, not: &str) -> String {
        let ports = self.ports();
        // udplite has no match of its own in every build of the tools; multiport serves it.
        let kind = if proto == "udplite" {
            1
        } else {
            self.dice.below(4)
        };
        match (proto, kind) {
            ("tcp", 0) => {
                let flags = self.dice.pick(&[
                    "SYN,RST,ACK,FIN SYN",
                    "ALL NONE",
                    "ALL FIN,URG,PSH",
                    "SYN SYN",
                    "ACK,RST ACK",
                ]);
                format!(" -m tcp {not}--tcp-flags {flags}")
            }
            ("tcp" | "udp" | "udplite", 1) => {
                let side = self.dice.pick(&["sports", "dports", "ports"]);
                format!(
                    " -m multiport {not}--{side} {}",
                    self.dice.pick(&["22,80", "53,1000:30000", "443,8080,22"])
                )
            }
            ("tcp" | "udp", 2) if !ports.starts_with("0:") => {
                format!(" -m {proto} {not}--sport {ports}")
            }
            ("tcp" | "udp", _) if !ports.starts_with("0:") || not.is_empty() => {
                format!(" -m {proto} {not}--dport {ports}")
            }
            ("icmp", _) => format!(
                " -m icmp {not}--icmp-type {}",
                self.dice.pick(&["8", "0", "3/1", "3", "11", "13"])
            ),
            ("ipv6-icmp", _) => format!(
                " -m icmp6 {not}--icmpv6-type {}",
                self.dice.pick(&["128", "129", "1/3", "1", "3"])
            ),
            _ => " -m comment --comment \"any \\\"thing\\\"\"".to_owned(),
        }
    }

    fn target(
        &mut self,
        table: &str,
        chain: &str,
        proto: &str,
        from: usize,
        users: usize,
    ) -> String {
        if from < users && self.dice.one_in(3) {
            let to = from + self.dice.below(users - from);
            return format!(" -{} u{to}", self.dice.pick(&["j", "j", "g"]));
        }
        let v6 = self.v6();
        match self.dice.below(10) {
            0 => String::new(),
            1 if from > 0 || self.dice.one_in(2) => " -j RETURN".to_owned(),
            2 | 3 => " -j ACCEPT".to_owned(),
            4 if table != "nat" => " -j DROP".to_owned(),
            5 if table == "filter" => self.reject(proto),
            6..=8 if table == "mangle" => self.change(),
            6..=8 if table == "nat" => self.translate(chain, proto),
            6 | 7 if table == "raw" && self.tracked => " -j CT --notrack".to_owned(),
            8 => " -j LOG --log-prefix \"x \"".to_owned(),
            _ => {
                let _ = v6;
                format!(
                    " -j MARK {}",
                    self.dice.pick(&[
                        "--set-mark 1",
                        "--set-xmark 0x10/0xf0",
                        "--or-mark 3",
                        "--and-mark 0xfe",
                        "--xor-mark 1"
                    ])
                )
            }
        }
    }

    fn reject(&mut self, proto: &str) -> String {
        if proto == "tcp" && self.dice.one_in(2) {
            return " -j REJECT --reject-with tcp-reset".to_owned();
        }
        let with = if self.v6() {
            self.dice.pick(&[
                "icmp6-port-unreachable",
                "icmp6-adm-prohibited",
                "icmp6-no-route",
            ])
        } else {
            self.dice.pick(&[
                "icmp-port-unreachable",
                "icmp-host-prohibited",
                "icmp-admin-prohibited",
            ])
        };
        format!(" -j REJECT --reject-with {with}")
    }

    fn change(&mut self) -> String {
        let hop = if self.v6() {
            ("HL", "hl")
        } else {
            ("TTL", "ttl")
        };
        match self.dice.below(if self.tracked { 6 } else { 4 }) {
            0 => format!(
                " -j TOS --set-tos {}",
                self.dice.pick(&["0x10/0xff", "0x00/0xfc", "0x08/0x1c"])
            ),
            1 => format!(
                " -j DSCP --set-dscp {}",
                self.dice.pick(&["0x2e", "0x00", "0x04"])
            ),
            2 | 3 => format!(
                " -j {} --{}-{}",
                hop.0,
                hop.1,
                self.dice
                    .pick(&["set 64", "set 1", "dec 2", "inc 5", "dec 1"])
            ),
            4 => format!(
                " -j CONNMARK {}",
                self.dice.pick(&[
                    "--set-xmark 0x1/0xffffffff",
                    "--save-mark",
                    "--save-mark --nfmask 0xf --ctmask 0xff"
                ])
            ),
            _ => format!(
                " -j CONNMARK --restore-mark{}",
                self.dice.pick(&["", " --nfmask 0xf0 --ctmask 0xff"])
            ),
        }
    }

    /// NAT that does not turn the packet's way: this box's addresses among themselves.
    fn translate(&mut self, chain: &str, proto: &str) -> String {
        let v6 = self.v6();
        let ports = matches!(proto, "tcp" | "udp");
        match chain {
            "PREROUTING" => {
                let (local, to) = if v6 {
                    ("fd00::1", "fd00::2")
                } else {
                    ("10.0.0.1", "10.0.0.2")
                };
                if ports && self.dice.one_in(2) {
                    let to = if v6 { format!("[{to}]") } else { to.to_owned() };
                    return format!(
                        " -m addrtype --dst-type LOCAL -j DNAT --to-destination {to}:8080"
                    );
                }
                let _ = local;
                format!(" -m addrtype --dst-type LOCAL -j DNAT --to-destination {to}")
            }
            "POSTROUTING" => match self.dice.below(3) {
                0 => " -j MASQUERADE".to_owned(),
                1 => format!(
                    " -j SNAT --to-source {}",
                    if v6 { "fd01::1" } else { "10.1.0.1" }
                ),
                _ if v6 => " -s fd00::/64 -j ACCEPT".replace(" -s fd00::/64", ""),
                _ => " -j ACCEPT".to_owned(),
            },
            "INPUT" => format!(
                " -j SNAT --to-source {}",
                if v6 { "2001:db8::9" } else { "203.0.113.99" }
            ),
            _ => " -j ACCEPT".to_owned(),
        }
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
