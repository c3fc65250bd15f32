//! What a random rule does with a packet.

use super::Maker;

impl Maker<'_> {
    pub fn target(
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
            _ => format!(
                " -j MARK {}",
                self.dice.pick(&[
                    "--set-mark 1",
                    "--set-xmark 0x10/0xf0",
                    "--or-mark 3",
                    "--and-mark 0xfe",
                    "--xor-mark 1"
                ])
            ),
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
                let to = if v6 { "fd00::2" } else { "10.0.0.2" };
                if ports && self.dice.one_in(2) {
                    let to = if v6 { format!("[{to}]") } else { to.to_owned() };
                    return format!(
                        " -m addrtype --dst-type LOCAL -j DNAT --to-destination {to}:8080"
                    );
                }
                format!(" -m addrtype --dst-type LOCAL -j DNAT --to-destination {to}")
            }
            "POSTROUTING" => match self.dice.below(3) {
                0 => " -j MASQUERADE".to_owned(),
                1 => format!(
                    " -j SNAT --to-source {}",
                    if v6 { "fd01::1" } else { "10.1.0.1" }
                ),
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
