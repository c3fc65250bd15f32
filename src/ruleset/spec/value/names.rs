//! Names that stand for numbers: protocols and well-known services.
//!
//! A live dump holds numbers for ports and one name for each protocol; people write `--dport ssh`. The
//! tool asks /etc/protocols and /etc/services, which a pure room cannot, and which may differ from box to
//! box. The names here are those that IANA assigned and that firewall files use; a name that is not here
//! makes its match not understood, never a guess.

use std::borrow::Cow;
use std::fmt;

use super::super::matches;
use super::small;

/// A protocol as `-p` and `--ctproto` take it.
#[derive(Clone, Debug)]
pub struct Protocol<'a> {
    /// Its number; 0 is any. `None` for a name that is not known here.
    pub number: Option<u8>,
    /// As written.
    pub text: Cow<'a, [u8]>,
}

impl PartialEq for Protocol<'_> {
    /// By number; by text where the number is not known.
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number && (self.number.is_some() || self.text == other.text)
    }
}

impl Eq for Protocol<'_> {}

impl<'a> Protocol<'a> {
    pub(crate) fn read(text: Cow<'a, [u8]>) -> Self {
        let number = small(&text).or_else(|| {
            let row = PROTOCOLS
                .iter()
                .find(|row| row.1.as_bytes().eq_ignore_ascii_case(&text));
            row.map(|row| row.0)
        });
        Self { number, text }
    }

    /// The match that iptables loads by itself for its options: `tcp` of TCP; `None` where there is none.
    pub fn implied_match(&self) -> Option<&'static str> {
        matches::implied(self.number?)
    }

    /// The usual names of protocols, in the order of their numbers.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PROTOCOLS.iter().map(|row| row.1)
    }
}

impl fmt::Display for Protocol<'_> {
    /// The usual name, else what was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self
            .number
            .and_then(|number| PROTOCOLS.iter().find(|row| row.0 == number));
        match row {
            Some(row) => f.write_str(row.1),
            None => f.write_str(&String::from_utf8_lossy(&self.text)),
        }
    }
}

/// Number and name; the first name of a number is the one shown. IANA protocol numbers, and the names
/// that iptables itself knows (xtables_chain_protos in libxtables).
const PROTOCOLS: &[(u8, &str)] = &[
    (0, "all"),
    (1, "icmp"),
    (2, "igmp"),
    (4, "ipencap"),
    (4, "ipip"),
    (6, "tcp"),
    (8, "egp"),
    (9, "igp"),
    (17, "udp"),
    (27, "rdp"),
    (33, "dccp"),
    (41, "ipv6"),
    (43, "ipv6-route"),
    (44, "ipv6-frag"),
    (46, "rsvp"),
    (47, "gre"),
    (50, "esp"),
    (50, "ipv6-crypt"),
    (51, "ah"),
    (51, "ipv6-auth"),
    (58, "icmpv6"),
    (58, "ipv6-icmp"),
    (59, "ipv6-nonxt"),
    (60, "ipv6-opts"),
    (88, "eigrp"),
    (89, "ospf"),
    (89, "ospfigp"),
    (94, "ipip"),
    (97, "etherip"),
    (98, "encap"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "vrrp"),
    (115, "l2tp"),
    (132, "sctp"),
    (135, "mh"),
    (135, "ipv6-mh"),
    (135, "mobility-header"),
    (136, "udplite"),
    (137, "mpls-in-ip"),
    (139, "hip"),
    (141, "wesp"),
];

/// The port of a well-known service.
pub(super) fn service(name: &[u8]) -> Option<u16> {
    let row = SERVICES.iter().find(|row| row.0.as_bytes() == name)?;
    Some(row.1)
}

/// IANA service names that occur in firewall files.
const SERVICES: &[(&str, u16)] = &[
    ("auth", 113),
    ("bgp", 179),
    ("bootpc", 68),
    ("bootps", 67),
    ("dhcpv6-client", 546),
    ("dhcpv6-server", 547),
    ("dict", 2628),
    ("discard", 9),
    ("domain", 53),
    ("echo", 7),
    ("finger", 79),
    ("ftp", 21),
    ("ftp-data", 20),
    ("ftps", 990),
    ("ftps-data", 989),
    ("git", 9418),
    ("gopher", 70),
    ("http", 80),
    ("http-alt", 8080),
    ("https", 443),
    ("imap", 143),
    ("imap2", 143),
    ("imaps", 993),
    ("ipp", 631),
    ("ipsec-nat-t", 4500),
    ("irc", 6667),
    ("ircd", 6667),
    ("isakmp", 500),
    ("kerberos", 88),
    ("kerberos-adm", 749),
    ("l2f", 1701),
    ("ldap", 389),
    ("ldaps", 636),
    ("mdns", 5353),
    ("microsoft-ds", 445),
    ("ms-sql-s", 1433),
    ("mysql", 3306),
    ("netbios-dgm", 138),
    ("netbios-ns", 137),
    ("netbios-ssn", 139),
    ("nfs", 2049),
    ("nntp", 119),
    ("nntps", 563),
    ("ntp", 123),
    ("openvpn", 1194),
    ("pop3", 110),
    ("pop3s", 995),
    ("postgresql", 5432),
    ("pptp", 1723),
    ("printer", 515),
    ("radius", 1812),
    ("radius-acct", 1813),
    ("redis", 6379),
    ("rfb", 5900),
    ("route", 520),
    ("router", 520),
    ("rsync", 873),
    ("rtsp", 554),
    ("sieve", 4190),
    ("sip", 5060),
    ("sip-tls", 5061),
    ("smtp", 25),
    ("smtps", 465),
    ("snmp", 161),
    ("snmp-trap", 162),
    ("snmptrap", 162),
    ("socks", 1080),
    ("ssdp", 1900),
    ("ssh", 22),
    ("submission", 587),
    ("submissions", 465),
    ("sunrpc", 111),
    ("svn", 3690),
    ("syslog", 514),
    ("syslog-tls", 6514),
    ("tacacs", 49),
    ("telnet", 23),
    ("telnets", 992),
    ("tftp", 69),
    ("time", 37),
    ("webcache", 8080),
    ("whois", 43),
    ("x11", 6000),
    ("xmpp-client", 5222),
    ("xmpp-server", 5269),
    ("zabbix-agent", 10050),
    ("zabbix-trapper", 10051),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_by_name_and_number() {
        let read = |text: &'static str| Protocol::read(Cow::Borrowed(text.as_bytes()));
        assert_eq!(read("tcp"), read("6"));
        assert_eq!(read("TCP"), read("tcp"));
        assert_eq!(read("ipv6-icmp").to_string(), "icmpv6");
        assert_eq!(read("250").to_string(), "250");
        assert_eq!(read("nosuch").number, None);
        assert_ne!(read("nosuch"), read("other"));
    }

    #[test]
    fn services_are_sorted_and_single() {
        assert!(SERVICES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(service(b"ssh"), Some(22));
        assert_eq!(service(b"SSH"), None);
    }
}
