//! The lossy mark: native rules that iptables-save prints wider are marked, and nothing that iptables-nft
//! wrote itself is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ruletop::netfilter::netlink::Netlink;
use ruletop::netfilter::nftables::inspect::inspect;
use ruletop::ruleset::{Family, Origin, Ruleset};

use crate::support::{NFT4, NFT6, Net, dump_of, in_namespace};

/// Why each rule of `filter INPUT` is lossy, by position.
fn lossy_in_input(family: Family) -> Vec<(usize, String)> {
    let mut netlink = Netlink::open().expect("a socket");
    let seen = inspect(&mut netlink, family).expect("nf_tables answers");
    let chain = seen.chain(seen.find(b"filter", b"INPUT").expect("the chain"));
    let found = seen.lossy(&chain).map(|(at, why)| (at, why.to_owned()));
    found.collect()
}

fn fresh(net: &Net, origin: Origin) {
    net.ok("nft flush ruleset");
    for chain in ["INPUT", "FORWARD", "OUTPUT"] {
        net.tables(origin, &format!("-P {chain} ACCEPT"));
    }
    net.tables(origin, "-N web");
}

/// Native rules, and what iptables-nft-save 1.8.9 makes of them: wider, other or nothing.
const WIDER: &[&str] = &[
    "tcp dport {80,443} accept",
    "ip saddr @bl drop",
    "ip saddr {1.2.3.4,5.6.7.8} drop",
    "ip saddr vmap {1.2.3.4:drop, 5.6.7.8:accept}",
    "tcp dport vmap {22:accept}",
    "ip saddr . tcp dport {1.2.3.4 . 22} accept",
    "iifname {lo,eth0} accept",
    "ip protocol {tcp,udp} accept",
    "tcp flags { syn, ack } accept",
    "tcp dport 80 tcp dport != 90 accept",
    "tcp dport 100-200 tcp dport != 150 accept",
    "tcp dport & 1 == 1 drop",
    "ip saddr 10.0.0.0/8 ip saddr != 10.1.0.0/16 drop",
    "ip saddr 10.0.0.1-10.0.0.9 drop",
    "ip saddr < 10.0.0.9 drop",
    "ip saddr & 0.0.0.255 == 0.0.1.1 drop",
    "meta l4proto > 5 drop",
    "meta l4proto != tcp meta l4proto != udp drop",
    "meta l4proto 0 drop",
    "iifname lo iifname != lo drop",
    "iifname \"eth+\" drop",
    "iif lo accept",
    "ip frag-off & 0x2000 != 0 accept",
    "ip frag-off 5 accept",
    "tcp sequence 5 drop",
    "tcp window 5 drop",
    "udp length 5 drop",
    "@ll,0,8 5 drop",
    "ip daddr set 1.2.3.4",
    "ip ttl set 5",
    "limit rate 5/week accept",
    "log group 2 accept",
    "meta nftrace set 1 accept",
    "counter ip saddr 1.2.3.4 drop",
    "counter counter drop",
    "tcp flags & (ecn|cwr) == ecn accept",
    // With these the save tool refuses the table, fails or crashes; no text of theirs may be believed.
    "ct state established accept",
    "quota 10 mbytes drop",
    "numgen inc mod 2 0 drop",
    "update @dyn { ip saddr limit rate 5/second } drop",
    "reject",
    "log prefix \"x\" drop",
    "limit rate over 5/second accept",
    "meta mark set 5",
    "meta skuid 0 accept",
    "ip dscp 5 accept",
    "th dport 53 accept",
    "sctp dport 53 accept",
    "tcp flags == syn accept",
    "ip saddr != 10.0.0.1-10.0.0.9 drop",
    "mark 1-5 accept",
    "fib daddr type local accept",
    "notrack",
];

/// Native rules that are printed as they are.
const TRUTHFUL: &[(&str, &str)] = &[
    (
        "tcp dport 80 accept",
        "-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT",
    ),
    (
        "tcp dport 80-90 accept",
        "-A INPUT -p tcp -m tcp --dport 80:90 -j ACCEPT",
    ),
    (
        "tcp dport != 80-90 accept",
        "-A INPUT -p tcp -m tcp ! --dport 80:90 -j ACCEPT",
    ),
    (
        "tcp dport < 80 accept",
        "-A INPUT -p tcp -m tcp --dport 0:79 -j ACCEPT",
    ),
    (
        "tcp dport >= 80 accept",
        "-A INPUT -p tcp -m tcp --dport 80:65535 -j ACCEPT",
    ),
    (
        "tcp sport 1 tcp dport 80 accept",
        "-A INPUT -p tcp -m tcp --sport 1 --dport 80 -j ACCEPT",
    ),
    (
        "udp dport 53 accept",
        "-A INPUT -p udp -m udp --dport 53 -j ACCEPT",
    ),
    ("ip protocol tcp accept", "-A INPUT -p tcp -j ACCEPT"),
    ("meta l4proto != tcp accept", "-A INPUT ! -p tcp -j ACCEPT"),
    (
        "ip saddr != 1.2.3.4 drop",
        "-A INPUT ! -s 1.2.3.4/32 -j DROP",
    ),
    ("ip saddr 10.0.0.0/8 drop", "-A INPUT -s 10.0.0.0/8 -j DROP"),
    ("iifname \"eth*\" accept", "-A INPUT -i eth+ -j ACCEPT"),
    (
        "meta mark and 0xff != 1 accept",
        "-A INPUT -m mark ! --mark 0x1/0xff -j ACCEPT",
    ),
    (
        "meta mark 1 meta mark != 2 drop",
        "-A INPUT -m mark --mark 0x1 -m mark ! --mark 0x2 -j DROP",
    ),
    (
        "tcp flags & (syn|ack) == syn accept",
        "-A INPUT -p tcp -m tcp --tcp-flags SYN,ACK SYN -j ACCEPT",
    ),
    (
        "tcp flags syn accept",
        "-A INPUT -p tcp -m tcp ! --tcp-flags SYN NONE -j ACCEPT",
    ),
    (
        "limit rate 5/second burst 10 packets accept",
        "-A INPUT -m limit --limit 5/sec --limit-burst 10 -j ACCEPT",
    ),
    ("log group 2", "-A INPUT -j NFLOG --nflog-group 2"),
    ("meta nftrace set 1", "-A INPUT -j TRACE"),
    (
        "jump web comment \"hi\"",
        "-A INPUT -m comment --comment hi -j web",
    ),
    ("goto web", "-A INPUT -g web"),
    ("counter accept", "-A INPUT -j ACCEPT"),
    ("drop", "-A INPUT -j DROP"),
];

#[test]
fn native_rules_that_print_wider_are_marked() {
    in_namespace(|net| {
        let mut missed = Vec::new();
        for rule in WIDER {
            fresh(net, NFT4);
            net.ok("nft add set ip filter bl '{ type ipv4_addr; }'");
            net.ok("nft add set ip filter dyn '{ type ipv4_addr; flags dynamic; }'");
            net.ok(&format!("nft add rule ip filter INPUT '{rule}'"));
            match lossy_in_input(Family::V4).as_slice() {
                [(0, why)] if !why.is_empty() => {}
                other => missed.push((rule, other.to_vec())),
            }
        }
        assert!(missed.is_empty(), "{missed:#?}");
    });
}

/// A set leaves out whom a rule matches; a map of verdicts and a write also what becomes of the packet.
#[test]
fn what_a_rule_does_beside_its_text_is_part_of_the_mark() {
    in_namespace(|net| {
        for (rule, does_more) in [
            ("ip saddr { 1.2.3.4, 5.6.7.8 } drop", false),
            ("ip saddr 10.0.0.1-10.0.0.9 drop", false),
            ("ip saddr vmap { 1.2.3.4 : drop }", true),
            ("ip daddr set 1.2.3.4 accept", true),
        ] {
            fresh(net, NFT4);
            net.ok(&format!("nft add rule ip filter INPUT '{rule}'"));
            let saved = net.ok("iptables-nft-save");
            let ruleset = Ruleset::parse(saved.into_bytes(), NFT4).expect("a dump");
            let mut netlink = Netlink::open().expect("a socket");
            let seen = inspect(&mut netlink, Family::V4).expect("nf_tables answers");
            let marks = seen.lossy_of(&ruleset);
            let marks: Vec<bool> = marks.iter().map(|one| one.does_more).collect();
            assert_eq!(marks, [does_more], "{rule}");
        }
    });
}

#[test]
fn native_rules_that_print_as_they_are_are_not() {
    in_namespace(|net| {
        for (rule, printed) in TRUTHFUL {
            fresh(net, NFT4);
            net.ok(&format!("nft add rule ip filter INPUT '{rule}'"));
            assert_eq!(lossy_in_input(Family::V4), [], "{rule}");
            let saved = net.ok("iptables-nft-save");
            assert!(saved.contains(&format!("\n{printed}\n")), "{rule}: {saved}");
        }
    });
}

#[test]
fn the_position_is_that_of_the_rule() {
    in_namespace(|net| {
        fresh(net, NFT4);
        net.tables(NFT4, "-A INPUT -p tcp --dport 22 -j ACCEPT");
        net.ok("nft add rule ip filter INPUT 'tcp dport {80,443} accept'");
        net.tables(NFT4, "-A INPUT -j DROP");
        let found = lossy_in_input(Family::V4);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, 1);
        assert!(found[0].1.contains("set"), "{}", found[0].1);
    });
}

#[test]
fn ipv6_and_transport_fields() {
    in_namespace(|net| {
        for (rule, lossy) in [
            ("ip6 saddr fe80::/10 drop", false),
            ("ip6 daddr != ::1 tcp dport 22 accept", false),
            ("ip6 saddr { ::1, ::2 } drop", true),
            ("ip6 nexthdr tcp drop", true),
            ("ip6 hoplimit 5 drop", true),
            ("ip6 saddr ::1-::5 drop", true),
        ] {
            fresh(net, NFT6);
            net.ok(&format!("nft add rule ip6 filter INPUT '{rule}'"));
            assert_eq!(!lossy_in_input(Family::V6).is_empty(), lossy, "{rule}");
        }
    });
}

/// Rule lines that iptables-nft prints exactly as they were given, so it wrote them and understands them.
fn exact_lines(family: &str) -> Vec<(String, String, String)> {
    let own = format!("tests/kernel/fixtures/exact-v{family}.tsv");
    let shared = format!("../shared/data/ext-lines-v{family}.tsv");
    let mut lines = BTreeSet::new();
    for path in [own, shared] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let Ok(bytes) = fs::read(&path) else {
            continue; // the shared data is not everywhere; our own lines are
        };
        for line in String::from_utf8_lossy(&bytes).lines() {
            let columns: Vec<&str> = line.split('\t').collect();
            if let [table, chain, _, tools, rule] = columns[..]
                && tools.split(',').any(|tool| tool == "N9")
            {
                lines.insert((table.to_owned(), chain.to_owned(), rule.to_owned()));
            }
        }
    }
    assert!(lines.len() >= 20, "no lines to test with");
    lines.into_iter().collect()
}

fn nothing_of_iptables_is_lossy(origin: Origin, version: &str) {
    let version = version.to_owned();
    in_namespace(move |net| {
        let lines = exact_lines(&version);
        let mut refused = Vec::new();
        let tables: BTreeSet<&str> = lines.iter().map(|(table, ..)| table.as_str()).collect();
        for table in tables {
            let of_table = lines.iter().filter(|(name, ..)| name == table);
            let rules: Vec<String> = of_table.map(|(.., rule)| rule.clone()).collect();
            for piece in rules.chunks(60) {
                if net
                    .try_restore(origin, "-n", &dump_of(table, piece))
                    .is_ok()
                {
                    continue;
                }
                // Some rules need root of the machine, or a module: all but those.
                for rule in piece {
                    let dump = dump_of(table, std::slice::from_ref(rule));
                    if let Err(stderr) = net.try_restore(origin, "-n", &dump) {
                        refused.push(format!("{rule}: {stderr}"));
                    }
                }
            }
        }
        assert!(refused.len() * 10 < lines.len(), "{refused:#?}");
        let mut netlink = Netlink::open().expect("a socket");
        let seen = inspect(&mut netlink, origin.family).expect("nf_tables answers");
        let mut marked = Vec::new();
        let mut rules = 0;
        for (table, chain) in seen.chain_names() {
            let found = &seen.chain(seen.find(table, chain).expect("listed"));
            rules += seen.rules(found).len();
            assert!(seen.rules(found).iter().all(|rule| rule.counted));
            let name = String::from_utf8_lossy(chain).into_owned();
            marked.extend(
                seen.lossy(found)
                    .map(|(at, why)| format!("{name} {at}: {why}")),
            );
        }
        assert_eq!(rules, lines.len() - refused.len());
        assert!(marked.is_empty(), "{marked:#?}");
    });
}

#[test]
fn nothing_that_iptables_nft_wrote_is_marked() {
    nothing_of_iptables_is_lossy(NFT4, "4");
}

#[test]
fn nothing_that_ip6tables_nft_wrote_is_marked() {
    nothing_of_iptables_is_lossy(NFT6, "6");
}
