//! What the verdict engine says of small rulesets and boxes, and what the kernel does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use ruletop::host;
use ruletop::ruleset::{Backend, Family, Origin};

use crate::support::{LEGACY4, LEGACY6, NFT4, NFT6, Net, in_namespace};

fn loopback(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    }
}

/// One packet of that protocol over loopback: a datagram, or the first of a connection.
fn send(proto: &str, family: Family, sport: u16, dport: u16) {
    let (from, to) = (
        SocketAddr::new(loopback(family), sport),
        SocketAddr::new(loopback(family), dport),
    );
    if proto == "udp" {
        let socket = UdpSocket::bind(from).unwrap();
        socket.send_to(b"x", to).unwrap();
        return;
    }
    let af = match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(af, SockType::Stream, flags, None).unwrap();
    setsockopt(&socket, sockopt::ReuseAddr, &true).unwrap();
    bind(socket.as_raw_fd(), &SockaddrStorage::from(from)).unwrap();
    // Refused or in progress: its first packet was sent over loopback before the call came back.
    let _ = connect(socket.as_raw_fd(), &SockaddrStorage::from(to));
}

/// Packets that rule 1 of INPUT counted.
fn counted(net: &Net, origin: Origin) -> u64 {
    let text = net.ok(&format!("{origin}-save -c -t filter"));
    let line = text.lines().find(|line| line.contains("-A INPUT")).unwrap();
    let number = line.strip_prefix('[').unwrap().split(':').next().unwrap();
    number.parse().unwrap()
}

fn explain(net: &Net, words: &str) -> serde_json::Value {
    let program = env!("CARGO_BIN_EXE_ruletop");
    answer(net, words, &format!("{program} explain --json '{words}'"))
}

/// What the saved text alone says.
fn explain_saved(net: &Net, origin: Origin, words: &str) -> serde_json::Value {
    let program = env!("CARGO_BIN_EXE_ruletop");
    answer(
        net,
        words,
        &format!("{origin}-save | {program} explain --file - --json '{words}'"),
    )
}

fn answer(net: &Net, words: &str, command: &str) -> serde_json::Value {
    let output = net.run(command);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{words}: {error}"))
}

/// iptables-nft writes two ports that are not wanted as one comparison of four bytes, which holds as soon as one
/// of them differs; what is said for certain must be what the kernel does, whichever way this version writes it.
#[test]
fn two_ports_that_are_not_wanted_are_never_wrongly_certain() {
    in_namespace(|net| {
        for origin in [NFT4, NFT6, LEGACY4, LEGACY6] {
            for proto in ["udp", "tcp"] {
                // What a dropped or refused packet is answered with must not be counted.
                net.tables(origin, "-F");
                net.tables(
                    origin,
                    &format!("-A INPUT -p {proto} ! --sport 4000 ! --dport 22 -j DROP"),
                );
                net.tables(origin, "-A OUTPUT -p tcp --tcp-flags RST RST -j DROP");
                for (sport, dport) in [(4000, 22), (4000, 23), (4001, 22), (4001, 23)] {
                    let before = counted(net, origin);
                    send(proto, origin.family, sport, dport);
                    let dropped = counted(net, origin) > before;
                    let ip = SocketAddr::new(loopback(origin.family), sport);
                    let to = SocketAddr::new(loopback(origin.family), dport);
                    let words = format!("{proto} {ip} -> {to} in lo");
                    let said = explain_saved(net, origin, &words);
                    let doubtful =
                        origin.backend == Backend::Nft && (sport == 4000) != (dport == 22);
                    let expected = match (doubtful, dropped) {
                        (true, _) => "unknown",
                        (false, true) => "drop",
                        (false, false) => "accept",
                    };
                    assert_eq!(
                        said["verdict"], expected,
                        "{origin} {proto} {sport} {dport} dropped: {dropped} {said:#}"
                    );
                    // Of this box it is known that the rule's text is not the whole truth.
                    if origin.backend == Backend::Nft {
                        assert_eq!(explain(net, &words)["verdict"], "unknown", "{words}");
                    }
                }
            }
            net.tables(origin, "-F");
        }
    });
}

/// eth0 and eth1 are up; no address came with a broadcast address.
const LINKS: &str = "ip link add eth0 type veth peer name world && ip link add eth1 type veth peer name within \
    && for link in eth0 world eth1 within; do ip link set $link up; done \
    && ip addr add 10.0.0.1/24 dev eth0 && ip addr add 10.1.0.1/30 dev eth1 && ip addr add 10.9.0.1/31 dev eth1 \
    && sysctl -qw net.ipv4.ip_forward=1 \
       net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.eth1.rp_filter=0";

/// The kernel's broadcast routes are there whatever an address came with.
#[test]
fn broadcast_addresses_are_those_that_the_kernel_has_routes_to() {
    in_namespace(|net| {
        net.ok(LINKS);
        net.ok("ip addr add 10.2.0.9/28 brd 10.2.0.77 dev eth1 && ip link add off type veth peer name far && ip addr add 10.3.0.1/24 dev off");
        let text = net.ok("ip route show table local type broadcast");
        let mut routes: Vec<IpAddr> = text
            .lines()
            .filter_map(|line| {
                let words: Vec<&str> = line
                    .split_whitespace()
                    .filter(|w| *w != "broadcast")
                    .collect();
                words.first()?.parse().ok()
            })
            .collect();
        routes.sort_unstable();
        routes.dedup();
        // Kernels before 5.14 have one to the first address of a network too.
        routes.retain(|route| !route.to_string().ends_with(".0"));
        let known = host::links().broadcasts();
        assert!(routes.contains(&"10.0.0.255".parse().unwrap()), "{text}");
        assert_eq!(known, routes, "{text}");

        net.tables(NFT4, "-P INPUT DROP");
        net.tables(NFT4, "-A INPUT -m addrtype --dst-type BROADCAST -j ACCEPT");
        let said = explain(net, "udp 10.0.0.9 -> 10.0.0.255:9 in eth0");
        assert_eq!(said["verdict"], "accept", "{said:#}");
        let told = said["elsewhere"].to_string();
        assert!(!told.contains("is no address of this box"), "{told}");
    });
}

/// Nobody said which way: to somebody else's address it is forwarded, by the kernel's own route.
#[test]
fn a_packet_goes_the_way_that_its_destination_tells() {
    in_namespace(|net| {
        net.ok(LINKS);
        net.tables(NFT4, "-P INPUT ACCEPT");
        net.tables(NFT4, "-A FORWARD -i eth0 -o eth1 -p tcp --dport 77 -j DROP");
        let words = "tcp 10.0.0.2:4000 -> 10.1.0.2:77 in eth0";
        assert_eq!(explain(net, words)["verdict"], "drop");
        assert_eq!(explain(net, &format!("{words} input"))["verdict"], "accept");
        assert_eq!(
            explain(net, &format!("{words} out lo"))["verdict"],
            "accept"
        );
        let here = explain(net, "tcp 10.0.0.2:4000 -> 10.1.0.1:77 in eth0");
        assert_eq!(here["verdict"], "accept");
        // The same of a file of packets; what says its path keeps it.
        let program = env!("CARGO_BIN_EXE_ruletop");
        let packet = r#"{"proto":"tcp","src":"10.0.0.2","dst":"10.1.0.2","dport":77,"in":"eth0""#;
        let output = net.run(&format!(
            "printf '%s\\n' '{packet}}}' '{packet},\"path\":\"input\"}}' | {program} explain --json --packets -"
        ));
        let verdicts: Vec<String> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| {
                let json: serde_json::Value = serde_json::from_str(line).unwrap();
                json["verdict"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(verdicts, ["drop", "accept"]);
    });
}

/// A connected UDP socket hears its peer and nobody else; a rule of routing that asks for a mark makes the way
/// depend on it.
#[test]
fn peers_and_marks_of_routing_are_looked_at() {
    in_namespace(|net| {
        let one = UdpSocket::bind("127.0.0.1:0").unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        one.connect(other.local_addr().unwrap()).unwrap();
        let (to, peer) = (one.local_addr().unwrap(), other.local_addr().unwrap());
        let said = |from: SocketAddr| {
            explain(net, &format!("udp {from} -> {to} in lo"))["elsewhere"].to_string()
        };
        assert!(!said(peer).contains("nobody listens"), "{}", said(peer));
        let stranger = SocketAddr::new(peer.ip(), peer.port() ^ 1);
        assert!(said(stranger).contains("nobody listens"));

        net.ok(LINKS);
        let way = || explain(net, "tcp 10.0.0.2 -> 10.1.0.2:77 in eth0")["elsewhere"].to_string();
        assert!(way().contains("route to 10.1.0.2 by eth1\""), "{}", way());
        net.ok("ip rule add fwmark 7 table 100");
        assert!(
            way().contains("route to 10.1.0.2 by eth1 depends on the mark"),
            "{}",
            way()
        );
    });
}

/// What the sets of a change rest on: what is sent is cut up after the last rule, comes in pieces to PREROUTING,
/// and IPv4 puts it together before INPUT; or before any rule as soon as one asks for conntrack.
#[test]
fn later_fragments_meet_rules_until_something_puts_them_together() {
    in_namespace(|net| {
        net.ok("ip link set lo mtu 1500");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for origin in [NFT4, LEGACY4] {
            for chain in ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"] {
                net.tables(origin, &format!("-t mangle -A {chain} -f"));
            }
            let counts = || -> Vec<u64> {
                socket.send_to(&[0; 4_000], "127.0.0.1:9").unwrap();
                let text = net.ok(&format!("{origin}-save -c -t mangle"));
                let rules = text.lines().filter(|line| line.ends_with("-f"));
                let count = |line: &str| line[1..].split(':').next().unwrap().parse().unwrap();
                rules.map(count).collect()
            };
            assert_eq!(counts(), [2, 0, 0, 0], "{origin}");
            net.tables(
                origin,
                "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT",
            );
            assert_eq!(counts(), [2, 0, 0, 0], "{origin}: no more of them");
            net.tables(origin, "-F INPUT");
            net.tables(origin, "-t mangle -F");
        }
    });
}

/// A set that a rule names is asked for its members: in it or not, both are certain.
#[test]
fn members_of_ipsets_are_read_from_the_box() {
    in_namespace(|net| {
        net.ok("ipset create blocked hash:net && ipset add blocked 203.0.113.0/24");
        for tool in ["iptables-nft", "iptables-legacy"] {
            net.ok(&format!(
                "{tool} -A INPUT -m set --match-set blocked src -j DROP"
            ));
            for (source, wanted) in [
                ("203.0.113.9", "DROP  certain"),
                ("198.51.100.9", "ACCEPT  certain"),
            ] {
                let program = env!("CARGO_BIN_EXE_ruletop");
                let asked = net.run(&format!("{program} explain 'tcp {source} -> :443 in eth0'"));
                let said = String::from_utf8_lossy(&asked.stdout).into_owned();
                assert!(said.contains(wanted), "{said}");
            }
            net.ok(&format!("{tool} -F INPUT"));
        }
    });
}

/// Chains of a device: `(native ruleset, packet, what is said, whether the kernel lets it pass)`. The packet goes
/// from eth0 to eth1, or is sent by eth1.
#[test]
fn chains_of_devices_are_met_by_those_that_come_or_leave_by_them() {
    let egress = "table netdev x { chain c { type filter hook egress device eth1 priority 0; tcp dport 77 drop; }; }";
    let closed = "table netdev x { chain c { type filter hook egress device eth1 priority 0; policy drop; }; }";
    let ingress = "table inet x { chain c { type filter hook ingress device eth0 priority 0; tcp dport 77 drop; }; }";
    let other = ingress.replace("eth0", "eth1");
    let shut = "table netdev x { chain c { type filter hook ingress device eth0 priority 0; policy drop; }; }";
    let through = "tcp 10.0.0.2:4000 -> 10.1.0.2:77 in eth0 out eth1";
    let own = "tcp 10.1.0.1:4000 -> 10.1.0.2:77 out eth1 output";
    let here = "tcp 10.0.0.2:4000 -> 10.0.0.1:77 in eth0";
    let loops = "tcp 127.0.0.1:4000 -> 127.0.0.1:77 in lo";
    in_namespace(move |net| {
        net.ok(LINKS);
        net.tables(NFT4, "-P FORWARD ACCEPT");
        for (native, packet, verdict) in [
            (egress, through, "unknown"),
            (egress, own, "unknown"),
            (egress, here, "accept"),
            (egress, loops, "accept"),
            (closed, through, "drop"),
            (closed, own, "drop"),
            (closed, here, "accept"),
            (ingress, through, "drop"),
            (ingress, here, "drop"),
            (
                ingress,
                "tcp 10.0.0.2:4000 -> 10.0.0.1:78 in eth0",
                "accept",
            ),
            (ingress, own, "accept"),
            (ingress, loops, "accept"),
            // eth0 may stand upon eth1, for all that is known here.
            (&other, here, "unknown"),
            (shut, here, "drop"),
            (shut, loops, "accept"),
        ] {
            net.ok(&format!("nft '{native}'"));
            let said = explain(net, packet);
            net.ok("nft delete table netdev x 2>/dev/null || nft delete table inet x");
            assert_eq!(said["verdict"], verdict, "{native} {packet} {said:#}");
        }
        // What the kernel does: a datagram to a neighbour that is known is counted on the other side, or is not.
        let shown = net.ok("ip -o link show within");
        let mac = shown
            .split_whitespace()
            .skip_while(|word| *word != "link/ether")
            .nth(1);
        let mac = mac.unwrap();
        net.ok(&format!("ip neigh replace 10.1.0.2 lladdr {mac} dev eth1"));
        let socket = UdpSocket::bind("10.1.0.1:0").unwrap();
        let arrives = || {
            let count = || net.ok("grep within: /proc/net/dev");
            let before = count();
            let sent = socket.send_to(b"x", "10.1.0.2:77").is_ok();
            sent && before != count()
        };
        assert!(arrives());
        for native in [egress.replace("tcp", "udp").as_str(), closed] {
            net.ok(&format!("nft '{native}'"));
            assert!(!arrives(), "{native}");
            net.ok("nft delete table netdev x");
        }
    });
}

/// A native rule that is open is named by its place in its chain, as `nft list` counts them, and a chain of which
/// nothing was read has no rule with a number.
#[test]
fn native_rules_are_named_by_their_place() {
    in_namespace(|net| {
        net.ok(LINKS);
        net.tables(NFT4, "-A INPUT -p udp -j ACCEPT");
        net.tables(NFT4, "-A INPUT -p tcp --dport 1 -j ACCEPT");
        net.ok("nft 'table inet x { chain c { type filter hook input priority 5; udp dport 9 drop; tcp dport { 77, 78 } drop; jump d; }; chain d { tcp dport { 79, 80 } drop; }; }'");
        let packet = "tcp 10.0.0.2:4000 -> 10.0.0.1:77 in eth0";
        let unknown = || explain(net, packet)["unknown"].to_string();
        let said = unknown();
        let why = "what more a native rule asks is not read";
        for place in ["rule 2 matches", "rule 1 of d matches"] {
            let wanted = format!("the native chain inet x c: {place}: {why}");
            assert!(said.contains(&wanted), "{said}");
        }
        // One rule more for iptables, and one that is only for IPv6 and stands before them.
        net.tables(NFT4, "-I INPUT -p tcp --dport 2 -j ACCEPT");
        assert_eq!(unknown(), said);
        net.ok("nft insert rule inet x c ip6 saddr fd00::1 drop");
        assert!(unknown().contains("rule 3 matches"), "{}", unknown());
        net.ok("nft delete table inet x");
        net.ok("nft add rule ip filter INPUT fib daddr type local drop");
        let said = unknown();
        let wanted = "the native chain ip filter INPUT, whose table iptables cannot print: its rules are not read";
        assert!(said.contains(wanted), "{said}");
    });
}
