//! The box around the firewall, in namespaces where it is what the test made it.

use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};

use ruletop::flow::{IfName, Machine, Protocol, RouteAnswer, RouteQuestion, Seen, WayKind};
use ruletop::host;

use crate::support::{in_namespace, wait_for};

fn name(text: &str) -> IfName {
    IfName::new(text.as_bytes()).unwrap()
}

fn question(to: &str) -> RouteQuestion {
    RouteQuestion::toward(to.parse().unwrap())
}

fn answer<'a>(machine: &'a Machine, asked: &RouteQuestion) -> &'a RouteAnswer {
    machine.route(asked).unwrap()
}

#[test]
fn interfaces_say_whether_they_are_up_and_what_they_are_called() {
    in_namespace(|net| {
        net.ok("ip link add eth0 type veth peer name eth1 && ip link set eth1 up");
        net.ok("ip link add br.0 type bridge && ip link set eth1 master br.0");
        net.ok("ip addr add 10.0.0.5/24 brd + dev eth0 && ip link set eth0 up");
        net.ok("ip addr add fd00::5/64 dev eth0 nodad");
        net.ok("sysctl -qw net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.br/0.forwarding=1");
        let machine = host::links();
        assert_eq!(machine.problems, Vec::<String>::new());
        let eth0 = machine.interface(name("eth0")).unwrap();
        assert!(eth0.up && !eth0.loopback && eth0.carrier, "{eth0:?}");
        let own: Vec<String> = eth0.addresses.iter().map(ToString::to_string).collect();
        assert!(own.contains(&"10.0.0.5/24".to_owned()), "{own:?}");
        assert!(own.contains(&"fd00::5/64".to_owned()), "{own:?}");
        assert_eq!(
            eth0.broadcasts,
            ["10.0.0.255".parse::<std::net::Ipv4Addr>().unwrap()]
        );
        assert_eq!(eth0.rp_filter, Some(1));
        let bridge = machine.interface(name("br.0")).unwrap();
        assert!(bridge.bridge && !bridge.up);
        assert_eq!(
            bridge.forwards_v4,
            Some(true),
            "a name with a dot is one folder"
        );
        let port = machine.interface(name("eth1")).unwrap();
        assert_eq!(port.port_of, Some(bridge.index));
        assert!(machine.interface(name("lo")).unwrap().loopback);
        assert!(machine.interface(name("eth9")).is_none());
        assert!(
            machine
                .addresses()
                .unwrap()
                .contains(&"10.0.0.5".parse().unwrap())
        );
    });
}

#[test]
fn the_kernel_says_which_way_a_packet_goes() {
    in_namespace(|net| {
        net.ok("ip link add eth0 type veth peer name eth1 && ip link set eth1 up");
        net.ok("ip addr add 10.0.0.5/24 dev eth0 && ip link set eth0 up");
        net.ok(
            "ip route add 203.0.113.0/24 via 10.0.0.1 && ip route add blackhole 198.51.100.0/24",
        );
        net.ok("ip route add prohibit 192.0.2.0/24");
        net.ok("ip rule add fwmark 7 lookup 70 && ip route add default via 10.0.0.9 table 70");
        let marked = RouteQuestion {
            mark: Some(7),
            ..question("8.8.8.8")
        };
        let absent = RouteQuestion {
            output: Some(name("eth9")),
            ..question("10.0.0.1")
        };
        let asked = [
            question("203.0.113.9"),
            question("10.0.0.5"),
            question("8.8.8.8"),
            question("192.0.2.1"),
            marked,
            absent,
            question("2001:db8::1"),
        ];
        let machine = host::machine(&asked);
        let RouteAnswer::Way(way) = answer(&machine, &asked[0]) else {
            panic!("{machine:?}");
        };
        assert_eq!(
            (way.kind, way.output),
            (WayKind::Unicast, Some(name("eth0")))
        );
        assert_eq!(way.gateway, Some("10.0.0.1".parse::<IpAddr>().unwrap()));
        let RouteAnswer::Way(own) = answer(&machine, &asked[1]) else {
            panic!("{machine:?}");
        };
        assert_eq!(own.kind, WayKind::Local);
        for lost in [&asked[2], &asked[3], &asked[6]] {
            let found = answer(&machine, lost);
            assert!(
                matches!(found, RouteAnswer::None { .. }),
                "{lost:?}: {found:?}"
            );
        }
        let RouteAnswer::Way(by_mark) = answer(&machine, &asked[4]) else {
            panic!("{machine:?}");
        };
        assert_eq!(
            (by_mark.table, by_mark.gateway),
            (70, Some("10.0.0.9".parse().unwrap()))
        );
        let found = answer(&machine, &asked[5]);
        assert!(
            matches!(found, RouteAnswer::NotAsked(why) if why.contains("eth9")),
            "{found:?}"
        );
    });
}

#[test]
fn listeners_are_named_with_who_holds_them() {
    in_namespace(|_net| {
        let four = TcpListener::bind("127.0.0.1:0").unwrap();
        let both = TcpListener::bind("[::]:0").unwrap();
        let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
        let idle = UdpSocket::bind("127.0.0.1:0").unwrap();
        idle.connect("127.0.0.1:9").unwrap();
        let machine = host::machine(&[]);
        let all = machine.listeners.unwrap();
        let find = |proto: Protocol, port: u16| {
            let mut found = all
                .iter()
                .filter(move |l| (l.proto, l.port) == (proto, port));
            found.next()
        };
        let one = find(Protocol::TCP, four.local_addr().unwrap().port()).unwrap();
        assert!(!one.takes(Some("10.0.0.5".parse().unwrap()), false));
        assert_eq!(one.process.as_ref().unwrap().pid, std::process::id());
        let two = find(Protocol::TCP, both.local_addr().unwrap().port()).unwrap();
        assert_eq!(
            two.only_v6,
            Some(false),
            "the kernel says that IPv4 comes there too"
        );
        assert!(two.takes(Some("10.0.0.5".parse().unwrap()), false));
        assert!(find(Protocol::UDP, udp.local_addr().unwrap().port()).is_some());
        let connected = find(Protocol::UDP, idle.local_addr().unwrap().port());
        let peer = connected.expect("it hears its peer").peer;
        assert_eq!(peer, Some(idle.peer_addr().unwrap()));
    });
}

/// A shell under a daemon's name that holds a connection on loopback; below it another shell that ends with
/// a process of its own. Its number is printed.
const TREE: &str = r#"
set -e
cp "$(command -v bash)" "$1/sshd-session"
exec "$1/sshd-session" -c '
    exec 9<>/dev/tcp/127.0.0.1/'"$2"'
    SSH_CONNECTION= bash -c "exec 9>&-; cat <(echo \$\$) - ; :" ; :'
"#;

#[test]
fn the_administrators_connection_is_found_through_the_parents() {
    in_namespace(|_net| {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let mut tree = Command::new("bash")
            .args(["-c", TREE, "tree"])
            .arg(folder.path())
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (_stream, from) = server.accept().unwrap();
        let mut line = String::new();
        let mut out = std::io::BufReader::new(tree.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        let pid: u32 = line.trim().parse().unwrap();
        let found = host::sessions_of(pid, &host::Processes::read()).unwrap();
        drop(tree.stdin.take());
        tree.wait().unwrap();
        let [session] = found.as_slice() else {
            panic!("{found:?}");
        };
        // The fake daemon called out, so its own end is the one that we saw come.
        assert_eq!((session.local, session.peer.port()), (from, port));
        assert_eq!(session.process.name, "sshd-session");
        assert_eq!(session.seen, Seen::Socket);
        assert_eq!(session.interface, Some(name("lo")));
    });
}

#[test]
fn an_environment_is_believed_while_its_connection_stands() {
    in_namespace(|_net| {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = server.local_addr().unwrap();
        let client = TcpStream::connect(here).unwrap();
        let (ours, peer) = server.accept().unwrap();
        let told = format!(
            "{} {} {} {}",
            peer.ip(),
            peer.port(),
            here.ip(),
            here.port()
        );
        let mut shell = Command::new("cat")
            .env("SSH_CONNECTION", told)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = shell.id();
        let find = move || {
            let found = host::sessions_of(pid, &host::Processes::read()).unwrap();
            let by = |seen: Seen| found.iter().filter(move |s| s.seen == seen).count();
            (by(Seen::Environment), by(Seen::Socket))
        };
        // The process that started it holds the connection too and is no daemon: this test itself.
        let (environment, _) =
            wait_for("the environment", || Some(find()).filter(|f| f.0 + f.1 > 0));
        assert!(environment <= 1);
        drop((ours, client));
        let gone = wait_for("the end of it", || Some(find()).filter(|f| f.0 == 0));
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(gone.0, 0);
    });
}
