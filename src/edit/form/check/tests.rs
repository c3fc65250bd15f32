//! Mistakes are found where they are, and what is in order is let alone.

use super::*;
use crate::edit::form::tests::site;
use crate::ruleset::Family;

fn site_of(family: Family, table: &str, hooks: &[&str]) -> Site {
    Site {
        family,
        table: table.to_owned(),
        hooks: hooks.iter().map(|hook| (*hook).to_owned()).collect(),
        chain: hooks.first().unwrap_or(&"web").as_bytes().to_vec(),
        ..site("INPUT")
    }
}

/// Place in the text, weight and words of the first problem.
fn first(rule: &str, site: &Site) -> Option<(String, Severity, String)> {
    let found = check(rule.as_bytes(), site, &Names::default());
    found.into_iter().next().map(|problem| {
        let at = rule[problem.at.clone()].to_owned();
        (at, problem.severity, problem.words)
    })
}

#[test]
fn mistakes_are_found_where_they_are() {
    let input = site("INPUT");
    let v6 = site_of(Family::V6, "filter", &["INPUT"]);
    let output = site_of(Family::V4, "filter", &["OUTPUT"]);
    let prerouting = site_of(Family::V4, "nat", &["PREROUTING"]);
    let postrouting = site_of(Family::V4, "nat", &["POSTROUTING"]);
    let long = format!("-m comment --comment \"{}\"", "é".repeat(128));
    let prefix = format!("-j LOG --log-prefix {}", "x".repeat(30));
    let cases: [(&str, &Site, &str, &str); 44] = [
        (
            "--dport 22 -j ACCEPT",
            &input,
            "--dport",
            "ports need -p tcp",
        ),
        (
            "-p icmp -m multiport --dports 22",
            &input,
            "multiport",
            "needs -p tcp, udp, udplite, sctp or dccp",
        ),
        ("-m tcp --dport 22", &input, "tcp", "needs -p tcp"),
        ("! -p tcp -m tcp --dport 22", &input, "tcp", "needs -p tcp"),
        (
            "-p tcp -m tcp --dport 99999",
            &input,
            "99999",
            "expected a port",
        ),
        (
            "-p tcp -m tcp --dport nosuch",
            &input,
            "nosuch",
            "expected a port",
        ),
        (
            "-p tcp --dport 90:80",
            &input,
            "90:80",
            "from the lower to the higher",
        ),
        (
            "-p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16",
            &input,
            "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16",
            "at most 15",
        ),
        ("-p nosuch", &input, "nosuch", "expected a protocol"),
        ("! -p all", &input, "all", "nothing is left"),
        (
            "-s 10.0.0.300",
            &input,
            "10.0.0.300",
            "expected an IPv4 address",
        ),
        ("-s 10.0.0.0/33", &input, "10.0.0.0/33", "prefix"),
        (
            "-s fe80::1",
            &input,
            "fe80::1",
            "an IPv6 address in an IPv4 rule",
        ),
        (
            "-s 10.0.0.1",
            &v6,
            "10.0.0.1",
            "an IPv4 address in an IPv6 rule",
        ),
        ("-s fe80::1/129", &v6, "fe80::1/129", "prefix"),
        (
            "-s 10.0.0.5/24",
            &input,
            "10.0.0.5/24",
            "the kernel keeps 10.0.0.0/24",
        ),
        ("-s www.example.org", &input, "www.example.org", "host name"),
        (
            "-s in_valid!",
            &input,
            "in_valid!",
            "expected an IPv4 address",
        ),
        (
            "! -s 10.0.0.1,10.0.0.2",
            &input,
            "10.0.0.1,10.0.0.2",
            "one address",
        ),
        (
            "-s 10.0.0.1,10.0.0.2 -j DROP",
            &input,
            "10.0.0.1,10.0.0.2",
            "2 rules",
        ),
        (
            "-i averylongnameofit",
            &input,
            "averylongnameofit",
            "at most 15",
        ),
        ("-i eth0/1", &input, "eth0/1", "no '/'"),
        ("-i eth0", &output, "-i eth0", "OUTPUT"),
        ("-o eth0", &input, "-o eth0", "INPUT"),
        ("-o eth0", &prerouting, "-o eth0", "PREROUTING"),
        ("-i eth0", &postrouting, "-i eth0", "POSTROUTING"),
        (&long, &input, &long[21..], "at most 255"),
        (&prefix, &input, &prefix[20..], "at most 29"),
        (
            "-j DNAT --to-destination 10.0.0.1",
            &input,
            "DNAT",
            "only in the table nat",
        ),
        (
            "-j DNAT --to-destination 10.0.0.1",
            &postrouting,
            "DNAT",
            "PREROUTING or OUTPUT",
        ),
        ("-j MASQUERADE", &prerouting, "MASQUERADE", "POSTROUTING"),
        (
            "-j REJECT",
            &prerouting,
            "REJECT",
            "only in the table filter",
        ),
        ("-j DROP", &prerouting, "DROP", "only in the table"),
        ("-j NOSUCH", &input, "NOSUCH", "neither a chain"),
        ("-j INPUT", &input, "INPUT", "built-in chain"),
        (
            "-j REJECT --reject-with nosuch",
            &input,
            "nosuch",
            "expected an ICMP error",
        ),
        (
            "-p udp -j REJECT --reject-with tcp-reset",
            &input,
            "tcp-reset",
            "needs -p tcp",
        ),
        (
            "-m owner --uid-owner 0",
            &input,
            "owner",
            "OUTPUT or POSTROUTING",
        ),
        ("-m icmp --icmp-type 8", &v6, "icmp", "only IPv4 has it"),
        ("-p tcp -p udp", &input, "-p udp", "there already"),
        ("-s", &input, "-s", "expected a value"),
        (
            "-j ACCEPT --log-prefix x",
            &input,
            "--log-prefix",
            "no match or target",
        ),
        (
            "-m conntrack --ctstate NWE",
            &input,
            "NWE",
            "expected a list of",
        ),
        ("hello", &input, "hello", "expected an option"),
    ];
    for (rule, site, at, words) in cases {
        let (found, _, said) = first(rule, site).unwrap_or_else(|| panic!("{rule}: nothing wrong"));
        assert_eq!(found, at, "{rule}: {said}");
        assert!(said.contains(words), "{rule}: {said}");
    }
}

#[test]
fn what_is_in_order_is_let_alone() {
    let fine = [
        "",
        "-p tcp -m tcp --dport 22 -j ACCEPT",
        "-s 10.0.0.0/8 ! -d 192.168.0.1 -i eth0 -p tcp --dport 1000:2000 -j DROP",
        "-p tcp -m multiport --dports 80,443,1000:2000 -j web",
        "-m conntrack --ctstate NEW -m limit --limit 5/min -j LOG --log-prefix \"a: \"",
        "-p tcp -j REJECT --reject-with tcp-reset",
        "-g web",
        "-m comment --comment \"it is\"",
        "-i eth+",
    ];
    for rule in fine {
        let found = check(rule.as_bytes(), &site("INPUT"), &Names::default());
        assert!(found.is_empty(), "{rule}: {found:?}");
    }
}

#[test]
fn a_problem_knows_its_field() {
    let field = |rule: &str| check(rule.as_bytes(), &site("INPUT"), &Names::default())[0].field;
    assert_eq!(field("-s 10.0.0.300"), Some(Field::Source));
    assert_eq!(field("--dport 22"), Some(Field::DestinationPorts));
    assert_eq!(field("-p tcp --dport x"), Some(Field::DestinationPorts));
    assert_eq!(field("-j MASQUERADE"), Some(Field::Target));
    assert_eq!(
        field("-j REJECT --reject-with x"),
        Some(Field::TargetOptions)
    );
    assert_eq!(field("hello"), None);
}
