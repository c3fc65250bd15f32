//! What a random rule asks of a packet.

use super::Maker;

impl Maker<'_> {
    pub fn net(&mut self) -> &'static str {
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

    pub fn one_match(&mut self, proto: &str, chain: &str) -> String {
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
}
