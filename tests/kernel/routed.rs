//! What is said of packets that pass a box between two others, against what its kernel does with them: routing that
//! looks at marks and ports, addresses that NAT has settled, answers.

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use ruletop::app::connections::packets;
use ruletop::host;
use ruletop::netfilter::tracked::table;
use ruletop::netfilter::xtables::{self, Limits, Tools};
use ruletop::ruleset::{Document, Family, Hints, Origin, Ruleset};
use ruletop::verdict::{Facts, Path, Program, Verdict, completed, explained};

use crate::support::{Group, Net, in_namespace, wait_for};

/// The longest that a packet which passes takes on links within one machine.
const WHILE: Duration = Duration::from_millis(300);

/// A client at 10.0.0.2 and a server at 10.1.0.2, each in a namespace of its own beside the box: eth0 is 10.0.0.1 and
/// eth1 10.1.0.1.
struct Scene {
    client: UdpSocket,
    server: UdpSocket,
    _places: [Group; 2],
}

/// A namespace that is held by a process, and the process's number.
fn place(net: &Net, folder: &std::path::Path, name: &str) -> (Group, u32) {
    let file = folder.join(name);
    let path = file.display();
    let group = net.spawn(&format!(
        "exec unshare -n sh -c 'echo $$ > {path}; exec sleep 60'"
    ));
    let pid = wait_for("a namespace", || {
        std::fs::read_to_string(&file).ok()?.trim().parse().ok()
    });
    (group, pid)
}

/// A socket in another namespace.
fn socket_in(pid: u32, address: &'static str) -> UdpSocket {
    let open = move || {
        let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(WHILE)).unwrap();
        socket
    };
    std::thread::spawn(open).join().unwrap()
}

impl Scene {
    fn new(net: &Net) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (one, client) = place(net, folder.path(), "client");
        let (other, server) = place(net, folder.path(), "server");
        for (link, pid, own, far) in [
            ("eth0", client, "10.0.0.1", "10.0.0.2"),
            ("eth1", server, "10.1.0.1", "10.1.0.2"),
        ] {
            net.ok(&format!(
                "ip link add {link} type veth peer name far netns {pid}"
            ));
            net.ok(&format!(
                "ip addr add {own}/24 dev {link} && ip link set {link} up"
            ));
            net.ok(&format!("nsenter -t {pid} -n sh -c 'ip addr add {far}/24 dev far && ip link set far up && ip route add default via {own}'"));
        }
        net.ok("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0");
        Self {
            client: socket_in(client, "10.0.0.2:7777"),
            server: socket_in(server, "10.1.0.2:80"),
            _places: [one, other],
        }
    }

    /// Whether a packet of the client gets to the server, and whether the answer comes back.
    fn passes(&self, to: &str) -> (bool, bool) {
        let mut bytes = [0; 16];
        // Of an earlier question nothing is left.
        for socket in [&self.client, &self.server] {
            socket.set_nonblocking(true).unwrap();
            while socket.recv(&mut bytes).is_ok() {}
            socket.set_nonblocking(false).unwrap();
        }
        let _ = self.client.send_to(b"there", to); // an ICMP error of before
        let Ok((_, from)) = self.server.recv_from(&mut bytes) else {
            return (false, false);
        };
        let _ = self.server.send_to(b"back", from);
        (true, self.client.recv(&mut bytes).is_ok())
    }
}

/// What is said of the packets of the one connection of the client, in each direction.
fn said() -> Vec<(Path, Verdict)> {
    let tools = Tools::find();
    let saved = xtables::save(&tools, Origin::ALL[0], Limits::default()).unwrap();
    let document = Document::parse(saved.bytes, Hints::default()).unwrap();
    let rulesets: Vec<&Ruleset> = document.rulesets().iter().collect();
    let program = Program::compile(Family::V4, &rulesets);
    let mut machine = host::links();
    let facts = Facts::of(&machine);
    let own = machine.addresses().unwrap();
    let entries = table(100).unwrap().entries;
    let ours = |src: std::net::IpAddr| src.to_string() == "10.0.0.2";
    let entry = entries.iter().find(|one| ours(one.original.src)).unwrap();
    let of = packets(entry, &|ip| own.contains(&ip));
    let verdicts = of.into_iter().map(|packet| {
        let open = packet.output.is_none();
        let probe = completed(&packet, &mut machine, &mut host::routes)
            .pop()
            .unwrap();
        let (probe, explanation) = explained(
            &program,
            (probe, open),
            (&facts, &rulesets),
            &mut machine,
            &mut host::routes,
        );
        (probe.path, explanation.verdict)
    });
    verdicts.collect()
}

#[test]
fn packets_of_a_standing_connection_fare_as_is_said() {
    let nats = [
        ("", "10.1.0.2:80"),
        ("-t nat -A POSTROUTING -o eth1 -j MASQUERADE", "10.1.0.2:80"),
        (
            "-t nat -A PREROUTING -p udp --dport 1234 -j DNAT --to-destination 10.1.0.2:80",
            "10.0.0.1:1234",
        ),
    ];
    // Filters that come when the connection stands, with what they do.
    let filters = [
        "-P FORWARD DROP; -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT",
        "-P FORWARD DROP; -A FORWARD -i eth0 -o eth1 -j ACCEPT; -A FORWARD -i eth1 -o eth0 -j ACCEPT",
        "-A FORWARD -s 10.1.0.2 -j DROP",
        "-A FORWARD -d 10.1.0.2 -p udp --dport 80 -j DROP",
        "-A FORWARD -m conntrack --ctdir REPLY -j DROP",
        "-A FORWARD -m conntrack --ctstate DNAT -j DROP",
        "-A FORWARD -m conntrack --ctreplsrc 10.1.0.2 --ctorigdst 10.0.0.1 -j DROP",
        "-t mangle -A PREROUTING -d 10.0.0.2 -j DROP",
        "-t mangle -A POSTROUTING -s 10.0.0.2 -j DROP",
        "-t nat -F",
    ];
    for (nat, to) in nats {
        in_namespace(move |net| {
            let scene = Scene::new(net);
            let tables = |arguments: &str| net.tables(Origin::ALL[0], arguments);
            // Without any rule that asks for it there is no conntrack, and no NAT.
            tables("-A INPUT -m conntrack --ctstate NEW");
            if !nat.is_empty() {
                tables(nat);
            }
            wait_for("the connection", || {
                (scene.passes(to) == (true, true)).then_some(())
            });
            for filter in filters {
                for line in filter.split("; ") {
                    tables(line);
                }
                // On a busy machine a packet that passes may come late: what is said to pass gets a second chance.
                let agree = || {
                    let (there, back) = scene.passes(to);
                    let said = said();
                    let fate = |passes| {
                        (
                            Path::Forward,
                            if passes {
                                Verdict::Accept
                            } else {
                                Verdict::Drop
                            },
                        )
                    };
                    // No answer goes where nothing came.
                    (said[0] == fate(there) && (!there || said[1] == fate(back)))
                        .then_some(())
                        .ok_or((said, there, back))
                };
                let seen = agree().or_else(|_| agree()).or_else(|_| agree());
                assert_eq!(seen, Ok(()), "{nat}; {filter}");
                tables("-P FORWARD ACCEPT");
                tables("-F FORWARD");
                tables("-t mangle -F");
            }
        });
    }
}

/// The verdict, whether something of the box blocks, and the exit code, of a packet through the program itself.
fn explain(net: &Net, words: &str) -> (serde_json::Value, Vec<String>) {
    let program = env!("CARGO_BIN_EXE_ruletop");
    let output = net.run(&format!("{program} explain --json '{words}'"));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{words}: {}", String::from_utf8_lossy(&output.stderr)));
    let causes = json["elsewhere"].as_array().unwrap().iter();
    let blocking = causes.filter(|cause| cause["grade"] == "blocks");
    let blocking = blocking.map(|cause| cause["says"].as_str().unwrap().to_owned());
    let blocking: Vec<String> = blocking.collect();
    // What must follow it counts too.
    let mut connection = json["connection"].as_array().unwrap().iter();
    let passes = json["verdict"] == "accept"
        && blocking.is_empty()
        && connection.all(|packet| packet["verdict"] == "accept");
    assert_eq!(output.status.code(), Some(i32::from(!passes)), "{json:#}");
    (json, blocking)
}

#[test]
fn a_packet_is_routed_with_its_mark_and_its_ports() {
    in_namespace(|net| {
        let scene = Scene::new(net);
        let tables = |arguments: &str| net.tables(Origin::ALL[0], arguments);
        let there = "udp 10.0.0.2:7777 -> 10.1.0.2:80 in eth0";
        let fares = |expected: &[&str]| {
            let (json, blocks) = explain(net, there);
            assert_eq!(blocks, expected, "{json:#}");
            assert_eq!(scene.passes("10.1.0.2:80").0, expected.is_empty());
        };
        wait_for("the links", || {
            (scene.passes("10.1.0.2:80") == (true, true)).then_some(())
        });
        fares(&[]);
        net.ok("ip rule add fwmark 5 table 55 && ip route add prohibit default table 55");
        fares(&[]);
        tables("-t mangle -A PREROUTING -j MARK --set-mark 5");
        fares(&["no route to 10.1.0.2"]);
        tables("-t mangle -F");
        net.ok("ip rule add iif eth0 ipproto udp dport 81 blackhole");
        fares(&[]);
        net.ok("ip rule add iif eth0 ipproto udp dport 80 sport 7777 blackhole");
        fares(&["no route to 10.1.0.2"]);
        net.ok("ip rule del iif eth0 ipproto udp dport 80 sport 7777 blackhole");
        // What a program marks is not said: the way depends on it.
        let (json, _) = explain(net, "udp 10.0.0.1 -> 10.1.0.2:80 out eth1");
        let causes = json["elsewhere"].as_array().unwrap();
        let open = causes
            .iter()
            .find(|cause| cause["about"] == "route")
            .unwrap();
        assert_eq!(open["grade"], "doubt", "{json:#}");
        // A mark that mangle sets sends it another way, and one that comes too late does not.
        let own = "udp 10.0.0.1 -> 10.1.0.2:80 out eth1 mark 0";
        for (rule, expected) in [
            (
                "-t mangle -A OUTPUT -p udp -j MARK --set-mark 5",
                &["no route to 10.1.0.2"][..],
            ),
            ("-A OUTPUT -p udp -j MARK --set-mark 5", &[]),
        ] {
            tables(rule);
            let (json, blocks) = explain(net, own);
            assert_eq!(blocks, expected, "{rule}: {json:#}");
            let sent = UdpSocket::bind("0.0.0.0:0").unwrap();
            let mut bytes = [0; 8];
            let _ = sent.send_to(b"own", "10.1.0.2:80");
            assert_eq!(
                scene.server.recv(&mut bytes).is_ok(),
                expected.is_empty(),
                "{rule}"
            );
            tables("-t mangle -F");
            tables("-F");
        }
    });
}

#[test]
fn what_loops_back_was_routed_when_it_was_sent() {
    in_namespace(|net| {
        net.ok("ip link add eth0 type veth peer name far && ip addr add 10.0.0.1/24 dev eth0 && ip link set eth0 up");
        let web = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = web.local_addr().unwrap().port();
        for own in ["127.0.0.1", "10.0.0.1"] {
            std::net::TcpStream::connect((own, port)).unwrap();
            let (json, blocks) = explain(net, &format!("tcp {own} -> {own}:{port} in lo"));
            assert!(blocks.is_empty() && json["verdict"] == "accept", "{json:#}");
        }
    });
}

#[test]
fn the_box_answers_what_rules_ask_of_its_addresses_and_routes() {
    in_namespace(|net| {
        let scene = Scene::new(net);
        let tables = |arguments: &str| net.tables(Origin::ALL[0], arguments);
        let decides = |words: &str| {
            let (json, _) = explain(net, words);
            assert_ne!(json["verdict"], "unknown", "{words}: {json:#}");
            json["decided_by"].clone()
        };
        let rule =
            |number: u32| serde_json::json!({"table": "filter", "chain": "INPUT", "rule": number});
        tables("-A INPUT -m addrtype --dst-type LOCAL --limit-iface-in -j DROP");
        tables("-A INPUT -m addrtype ! --dst-type LOCAL --limit-iface-in -j ACCEPT");
        assert_eq!(decides("udp 10.0.0.2 -> 10.0.0.1:9 in eth0"), rule(1));
        assert_eq!(decides("udp 10.0.0.2 -> 10.1.0.1:9 in eth0"), rule(2));
        tables("-F INPUT");
        // The kernel counts by the same rules.
        tables("-t raw -A PREROUTING -m rpfilter --invert -j DROP");
        let dropped = serde_json::json!({"table": "raw", "chain": "PREROUTING", "rule": 1});
        assert_eq!(decides("udp 10.1.0.9 -> 10.0.0.1:9 in eth0"), dropped);
        assert_eq!(decides("udp 203.0.113.9 -> 10.0.0.1:9 in eth0"), dropped);
        assert_ne!(decides("udp 10.0.0.2:7777 -> 10.1.0.2:80 in eth0"), dropped);
        assert_eq!(scene.passes("10.1.0.2:80"), (true, true));
        net.ok("ip route add 10.0.0.2 via 10.1.0.2");
        assert_eq!(decides("udp 10.0.0.2:7777 -> 10.1.0.2:80 in eth0"), dropped);
        assert!(!scene.passes("10.1.0.2:80").0);
        // One of several ways is enough.
        net.ok("ip route replace 10.0.0.2 nexthop via 10.1.0.2 dev eth1 nexthop dev eth0");
        let (json, _) = explain(net, "udp 10.0.0.2:7777 -> 10.1.0.2:80 in eth0");
        assert_eq!(json["verdict"], "unknown", "{json:#}");
    });
}

#[test]
fn a_translated_packet_leaves_by_the_way_to_its_new_destination() {
    in_namespace(|net| {
        let scene = Scene::new(net);
        let tables = |arguments: &str| net.tables(Origin::ALL[0], arguments);
        tables("-t nat -A PREROUTING -p udp --dport 1234 -j DNAT --to-destination 10.1.0.2:80");
        tables("-P FORWARD DROP");
        tables("-A FORWARD -i eth0 -o eth1 -j ACCEPT");
        let (json, _) = explain(net, "udp 10.0.0.2:7777 -> 10.0.0.1:1234 in eth0");
        assert_eq!(json["verdict"], "accept", "{json:#}");
        wait_for("the links", || {
            scene.passes("10.0.0.1:1234").0.then_some(())
        });
    });
}

/// Tables of the other back end that hold nothing decide nothing, and hide nothing.
#[test]
fn empty_tables_of_the_other_back_end_are_not_who_decides() {
    in_namespace(|net| {
        net.ok("iptables-legacy -L -n");
        for rule in [
            "-m conntrack --ctstate ESTABLISHED -j ACCEPT",
            "-s 10.0.0.0/24 -j DROP",
            "-p udp --dport 80 -j ACCEPT",
        ] {
            net.ok(&format!("iptables-nft -A INPUT {rule}"));
        }
        let rule = |number: u32| serde_json::json!({"table": "filter", "chain": "INPUT", "rule": number, "backend": "nft"});
        let (json, _) = explain(net, "udp 10.0.0.9 -> 127.0.0.1:80 in lo");
        assert_eq!(json["decided_by"], rule(2), "{json:#}");
        assert_eq!(json["would_accept"], rule(3), "{json:#}");
        let (json, _) = explain(net, "udp 10.9.0.9 -> 127.0.0.1:80 in lo");
        assert_eq!(json["decided_by"], rule(3), "{json:#}");
        // Where the box has no rules of a family at all, that is known.
        let (json, _) = explain(net, "tcp ::1 -> [::1]:80 in lo");
        assert_eq!(json["verdict"], "accept", "{json:#}");
    });
}
