//! Whole connections: what stops the answer, or what follows, is named; and a way out that is offered lets the
//! client through, which real clients and servers in namespaces of their own show.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use ruletop::app::why::offer::{Offer, offers};
use ruletop::app::why::question::{Held, Programs, Question, answer};
use ruletop::edit::Stage;
use ruletop::flow::{Machine, RouteQuestion};
use ruletop::host;
use ruletop::ruleset::{Family, Origin, Ruleset};
use ruletop::verdict::{Facts, read_words};

use crate::support::{LEGACY4, LEGACY6, NFT4, NFT6, Net, in_namespace};

/// A namespace that somebody else lives in.
struct Place(File);

impl Place {
    fn new() -> Self {
        let made = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        Self(std::thread::spawn(made).join().unwrap())
    }

    /// The one that this thread is in.
    fn here() -> Self {
        Self(File::open("/proc/thread-self/ns/net").unwrap())
    }

    /// A file that stands for it.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let place = self.0.try_clone().unwrap();
        std::thread::spawn(move || {
            setns(place, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        })
    }
}

/// Answers on port 80 of both families until it is dropped.
struct Server(Arc<AtomicBool>, Vec<JoinHandle<()>>);

impl Server {
    fn new(place: &Place) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = place.spawn(move || {
            // Takes IPv4 too.
            let listener = TcpListener::bind("[::]:80").unwrap();
            ready.send(()).unwrap();
            while !told.load(Ordering::Relaxed) {
                let mut fds = [PollFd::new(
                    std::os::fd::AsFd::as_fd(&listener),
                    PollFlags::POLLIN,
                )];
                if poll(&mut fds, PollTimeout::from(50_u8)) == Ok(1) {
                    let (mut stream, _) = listener.accept().unwrap();
                    stream
                        .set_read_timeout(Some(Duration::from_millis(300)))
                        .unwrap();
                    let mut asked = [0; 4];
                    if stream.read_exact(&mut asked).is_ok() {
                        let _ = stream.write_all(&asked);
                    }
                }
            }
        });
        is_ready.recv().unwrap();
        Self(stop, vec![thread])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        for thread in self.1.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A box between a client and a server, which serves too.
struct Site<'a> {
    net: &'a Net,
    origin: Origin,
    client: Place,
    here: Place,
    _servers: [Server; 2],
}

/// eth0 to the client, eth1 to the server. Neighbours are known: a DROP of everything drops their discovery too.
const LINKS: &str = "for n in 0 1; do ip link add eth$n address 02:00:00:00:0$n:01 type veth \
    peer name far$n address 02:00:00:00:0$n:02 && ip addr add 10.$n.0.1/24 dev eth$n \
    && ip addr add fd0$n::1/64 dev eth$n nodad && ip link set eth$n up; done; \
    sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1";

impl<'a> Site<'a> {
    fn new(net: &'a Net, origin: Origin) -> Self {
        net.ok(LINKS);
        let (client, server) = (Place::new(), Place::new());
        for (n, place) in [(0, &client), (1, &server)] {
            let path = place.path();
            net.ok(&format!(
                "ip link set far{n} netns {path} && nsenter --net={path} sh -ec 'ip link set lo up; \
                 ip addr add 10.{n}.0.2/24 dev far{n}; ip addr add fd0{n}::2/64 dev far{n} nodad; \
                 ip link set far{n} up; ip route add default via 10.{n}.0.1; \
                 ip -6 route add default via fd0{n}::1; \
                 for to in 10.{n}.0.1 fd0{n}::1; do ip neigh replace $to lladdr 02:00:00:00:0{n}:01 dev far{n} nud permanent; done'; \
                 for to in 10.{n}.0.2 fd0{n}::2; do ip neigh replace $to lladdr 02:00:00:00:0{n}:02 dev eth{n} nud permanent; done"
            ));
        }
        let here = Place::here();
        let servers = [Server::new(&here), Server::new(&server)];
        Self {
            net,
            origin,
            client,
            here,
            _servers: servers,
        }
    }

    /// The case's text for this family: `{box}` and its like become addresses.
    fn said(&self, text: &str) -> String {
        let six = self.origin.family == Family::V6;
        let names = [
            ("{lo}", "127.0.0.1", "::1"),
            ("{client}", "10.0.0.2", "fd00::2"),
            ("{box}", "10.0.0.1", "fd00::1"),
            ("{inner}", "10.1.0.1", "fd01::1"),
            ("{server}", "10.1.0.2", "fd01::2"),
            ("{lo:}", "127.0.0.1", "[::1]"),
            ("{client:}", "10.0.0.2", "[fd00::2]"),
            ("{box:}", "10.0.0.1", "[fd00::1]"),
            ("{server:}", "10.1.0.2", "[fd01::2]"),
        ];
        names.iter().fold(text.to_owned(), |text, (name, v4, v6)| {
            text.replace(name, if six { v6 } else { v4 })
        })
    }

    /// Whether data comes back, from the client or from the box itself.
    fn is_served(&self, to: &str, from_box: bool, patience: Duration) -> bool {
        let to: SocketAddr = self.said(to).parse().unwrap();
        let place = if from_box { &self.here } else { &self.client };
        let attempt = move || -> std::io::Result<()> {
            let mut stream = TcpStream::connect_timeout(&to, patience)?;
            stream.set_read_timeout(Some(patience))?;
            stream.write_all(b"data")?;
            stream.read_exact(&mut [0; 4])
        };
        place.spawn(attempt).join().unwrap().is_ok()
    }

    fn dump(&self) -> String {
        self.net.ok(&format!("{}-save -c", self.origin))
    }

    /// All rules away.
    fn clear(&self) {
        let tables = "for table in raw mangle nat filter; do for chain in PREROUTING INPUT FORWARD OUTPUT POSTROUTING; \
             do TOOL -t $table -P $chain ACCEPT 2>/dev/null; done; TOOL -t $table -F; TOOL -t $table -X; done";
        self.net
            .ok(&tables.replace("TOOL", &self.origin.to_string()));
    }

    fn explain(&self, words: &str) -> (i32, serde_json::Value) {
        let program = env!("CARGO_BIN_EXE_ruletop");
        let output = self
            .net
            .run(&format!("{program} explain --json '{}'", self.said(words)));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let json = serde_json::from_str(&text)
            .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code().unwrap(), json)
    }

    /// The ways out with the rules that each is found for, as the explain screen has them; and what stops the
    /// connection there.
    fn offers(&self, words: &str) -> (Vec<Offer>, Arc<Ruleset>, Vec<String>) {
        let dump = self.dump();
        let ruleset = Arc::new(Ruleset::parse(dump.as_bytes(), self.origin).unwrap());
        let question = Question {
            number: 1,
            packets: vec![read_words(&self.said(words)).unwrap()],
            meets: None,
            sets: vec![Held {
                id: self.origin.into(),
                ruleset: Arc::clone(&ruleset),
                staged: None,
                lossy: Vec::new(),
            }],
            natives: Vec::new(),
            live: true,
        };
        let mut machine = host::links();
        let facts = Facts::of(&machine);
        let mut ask = |asked: &[RouteQuestion], machine: &Machine| host::routes(asked, machine);
        let mut programs = Programs::default();
        let answered = answer(&question, &mut programs, &facts, &mut machine, &mut ask).unwrap();
        let causes = answered.connection().into_iter().map(|cause| cause.says);
        let causes = causes.collect();
        (
            offers(&question, &answered, &facts, false).list,
            ruleset,
            causes,
        )
    }

    /// What the kernel would hold with an offer.
    fn staged(&self, ruleset: &Arc<Ruleset>, offer: &Offer) -> String {
        let mut stage = Stage::new(Arc::clone(ruleset));
        for (id, operation) in &offer.steps {
            assert_eq!(*id, self.origin.into());
            stage.carry_out(operation.clone()).unwrap();
        }
        String::from_utf8(stage.staged().bytes().to_vec()).unwrap()
    }
}

/// A broken box.
struct Case {
    /// Arguments of iptables, a line each.
    rules: &'static str,
    /// The packet that is asked about.
    words: &'static str,
    /// Where the client connects to, and whether it runs on the box.
    to: &'static str,
    from_box: bool,
    /// What is said to stop the connection; of a packet that is stopped itself, nothing.
    says: &'static str,
}

const fn case(
    rules: &'static str,
    words: &'static str,
    to: &'static str,
    says: &'static str,
) -> Case {
    Case {
        rules,
        words,
        to,
        from_box: false,
        says,
    }
}

const IN: &str = "tcp {client} -> {box:}:80 in eth0";
const THROUGH: &str = "tcp {client} -> {server:}:80 in eth0";

/// The usual incidents.
const MAIN: &[Case] = &[
    case(
        "-P OUTPUT DROP",
        IN,
        "{box:}:80",
        "the answer is dropped by filter OUTPUT policy",
    ),
    case(
        "-P FORWARD DROP\n-A FORWARD -i eth0 -j ACCEPT",
        THROUGH,
        "{server:}:80",
        "the answer is dropped by filter FORWARD policy",
    ),
    case(
        "-t nat -A PREROUTING -p tcp --dport 1234 -j DNAT --to-destination {server:}:80\n\
         -P FORWARD DROP\n-A FORWARD -p tcp --dport 80 -j ACCEPT",
        "tcp {client} -> {box:}:1234 in eth0",
        "{box:}:1234",
        "the answer is dropped by filter FORWARD policy",
    ),
    case("-P INPUT DROP", IN, "{box:}:80", ""),
    case("-P FORWARD DROP", THROUGH, "{server:}:80", ""),
];

const MORE: &[Case] = &[
    case(
        "-t raw -A OUTPUT -p tcp --sport 80 -j DROP",
        IN,
        "{box:}:80",
        "the answer is dropped by raw OUTPUT rule 1: -p tcp -m tcp --sport 80 -j DROP",
    ),
    case(
        "-t mangle -P POSTROUTING DROP",
        IN,
        "{box:}:80",
        "the answer is dropped by mangle POSTROUTING policy",
    ),
    case(
        "-P INPUT DROP\n-A INPUT -m conntrack --ctstate NEW -j ACCEPT",
        IN,
        "{box:}:80",
        "the rest of the connection is dropped by filter INPUT policy",
    ),
    // The answer is for the box until conntrack undoes the translation, which mangle does not live to see.
    case(
        "-t nat -A POSTROUTING -o eth1 -j SNAT --to-source {inner}\n\
         -t mangle -A PREROUTING -i eth1 -d {inner} -j DROP",
        THROUGH,
        "{server:}:80",
        "the answer is dropped by mangle PREROUTING rule 1",
    ),
    case("-P INPUT DROP\n-P OUTPUT DROP", IN, "{box:}:80", ""),
    case(
        "-t raw -A PREROUTING -p tcp --dport 80 -j CT --notrack\n-P INPUT DROP\n\
         -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT",
        IN,
        "{box:}:80",
        "",
    ),
    Case {
        rules: "-A OUTPUT -d {lo} -j DROP",
        words: "tcp {lo} -> {lo:}:80",
        to: "{lo:}:80",
        from_box: true,
        says: "on its way out it is dropped by filter OUTPUT rule 1",
    },
    Case {
        rules: "-A INPUT -i lo -j DROP",
        words: "tcp {lo} -> {lo:}:80 out lo",
        to: "{lo:}:80",
        from_box: true,
        says: "on its way in again it is dropped by filter INPUT rule 1: -i lo -j DROP",
    },
    Case {
        rules: "-t nat -A OUTPUT -p tcp --dport 1234 -j REDIRECT --to-ports 80\n-A INPUT -i lo -j DROP",
        words: "tcp {box} -> {client:}:1234 out eth0",
        to: "{client:}:1234",
        from_box: true,
        says: "on its way in again it is dropped by filter INPUT rule 1: -i lo -j DROP",
    },
];

/// Long enough for a packet to cross three namespaces many times.
const BRIEF: Duration = Duration::from_millis(400);
const PATIENT: Duration = Duration::from_secs(5);

fn put_right(site: &Site<'_>, case: &Case) {
    site.clear();
    for rule in case.rules.lines() {
        site.net.tables(site.origin, &site.said(rule.trim()));
    }
    let told = format!("{}: {}", site.origin, case.rules);
    assert!(!site.is_served(case.to, case.from_box, BRIEF), "{told}");
    let (code, json) = site.explain(case.words);
    assert_eq!(code, 1, "{told}: {json:#}");
    let (offers, ruleset, causes) = site.offers(case.words);
    let stopped = |packet: &serde_json::Value| packet["verdict"] == "drop";
    if case.says.is_empty() {
        assert_eq!(json["verdict"], "drop", "{told}: {json:#}");
        assert_eq!(causes, [""; 0], "{told}");
    } else {
        assert_eq!(json["verdict"], "accept", "{told}: {json:#}");
        let packets = json["connection"].as_array().unwrap();
        assert!(packets.iter().any(stopped), "{told}: {json:#}");
        assert!(
            causes[0].starts_with(&site.said(case.says)),
            "{told}: {causes:?}"
        );
    }
    assert!(!offers.is_empty(), "{told}");
    for offer in &offers {
        let staged = site.staged(&ruleset, offer);
        site.net.restore(site.origin, "", &staged);
        let told = format!("{told}\n{}\n{staged}", offer.words);
        assert!(site.is_served(case.to, case.from_box, PATIENT), "{told}");
        let (code, json) = site.explain(case.words);
        assert_eq!(code, 0, "{told}: {json:#}");
    }
}

fn every(origin: Origin, lists: &'static [&'static [Case]]) {
    in_namespace(move |net| {
        let site = Site::new(net, origin);
        for case in lists.iter().flat_map(|list| list.iter()) {
            put_right(&site, case);
        }
    });
}

#[test]
fn whole_connections_are_let_through_with_nft_and_ipv4() {
    every(NFT4, &[MAIN, MORE]);
}

#[test]
fn whole_connections_are_let_through_with_legacy_and_ipv6() {
    every(LEGACY6, &[MAIN, MORE]);
}

#[test]
fn whole_connections_are_let_through_by_the_other_pairs() {
    every(LEGACY4, &[MAIN]);
    every(NFT6, &[MAIN]);
}

#[test]
fn what_gets_through_is_not_doubted_and_a_switch_that_stops_answers_is_named() {
    in_namespace(|net| {
        let site = Site::new(net, NFT4);
        for rules in [
            "",
            "-t nat -A POSTROUTING -o eth1 -j SNAT --to-source {inner}\n-P FORWARD DROP\n\
             -A FORWARD -s {client} -j ACCEPT\n-A FORWARD -d {client} -j ACCEPT",
            "-P FORWARD DROP\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
             -A FORWARD -i eth0 -o eth1 -p tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT",
            "-t raw -A PREROUTING -p tcp --dport 80 -j CT --notrack\n-t raw -A PREROUTING -p tcp --sport 80 -j CT --notrack\n\
             -P FORWARD DROP\n-A FORWARD -m conntrack --ctstate UNTRACKED -j ACCEPT",
        ] {
            site.clear();
            for rule in rules.lines() {
                net.tables(site.origin, &site.said(rule.trim()));
            }
            assert!(site.is_served("{server:}:80", false, PATIENT), "{rules}");
            let (code, json) = site.explain(THROUGH);
            assert_eq!(code, 0, "{rules}: {json:#}");
            let packets = json["connection"].as_array().unwrap();
            assert_eq!(packets.len(), 3, "{json:#}");
        }
        site.clear();
        net.ok("sysctl -qw net.ipv4.conf.eth1.forwarding=0");
        assert!(!site.is_served("{server:}:80", false, BRIEF));
        let (code, json) = site.explain(THROUGH);
        let causes = json["elsewhere"].to_string();
        assert!(
            code == 1 && causes.contains("this box does not forward the answers"),
            "{causes}"
        );
    });
}
