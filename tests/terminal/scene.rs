//! A demo's scenario as a test plays it: the screen it starts with, the clients that cannot get through, and
//! the keys by which a change is made.
//!
//! Whether a client gets through is asked from where the clients are: a namespace beyond the box, from that
//! client's own address, with a connection of its own over which an answer comes.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::Pid;

use crate::harness::screen::Screen;
use crate::harness::{Launch, Terminal, patiently};

/// Every scenario that is built in.
pub const SCENARIOS: [&str; 8] = [
    "busy-box",
    "conntrack-full",
    "default-drop-no-service",
    "docker-beside-ufw",
    "drop-before-accept",
    "forward-blocked",
    "missing-established",
    "wrong-interface",
];

/// A scenario's file.
pub fn scenario(name: &str) -> toml::Table {
    let path = format!(
        "{}/assets/scenarios/{name}.toml",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

/// A flow that a scenario names.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Sent by the box itself, and not to it from outside.
    pub by_box: bool,
    pub proto: String,
    pub from: IpAddr,
    pub to: IpAddr,
    pub port: u16,
}

impl Flow {
    /// 4 or 6.
    pub fn family(&self) -> i64 {
        if self.to.is_ipv4() { 4 } else { 6 }
    }

    /// The packet that is stopped, as one types it. What the box itself asks for gets out: it is the answer
    /// that is dropped.
    pub fn words(&self) -> String {
        let to = SocketAddr::new(self.to, self.port);
        let proto = &self.proto;
        if self.by_box {
            let back = SocketAddr::new(self.from, 40_000);
            format!("{proto} {to} -> {back} established")
        } else {
            format!("{proto} {} -> {to}", self.from)
        }
    }

    /// Whether a TCP connection comes about and brings an answer.
    fn connect(&self) -> Option<()> {
        assert_eq!(self.proto, "tcp");
        let family = if self.to.is_ipv4() {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        };
        let end = |address, port| SockaddrStorage::from(SocketAddr::new(address, port));
        let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let second = TimeVal::seconds(1);
        setsockopt(&socket, sockopt::SendTimeout, &second).unwrap();
        setsockopt(&socket, sockopt::ReceiveTimeout, &second).unwrap();
        // Of the networks beyond the box, an IPv6 address may be used though no interface has it.
        setsockopt(&socket, sockopt::IpFreebind, &true).unwrap();
        bind(socket.as_raw_fd(), &end(self.from, 0)).unwrap();
        connect(socket.as_raw_fd(), &end(self.to, self.port)).ok()?;
        let mut stream = TcpStream::from(socket);
        stream.write_all(b"anybody there?\n").ok()?;
        let mut answer = [0; 1];
        matches!(stream.read(&mut answer), Ok(1)).then_some(())
    }
}

/// Which of the flows get through from that namespace, all tried at once.
fn through(flows: &[Flow], place: &Path) -> Vec<bool> {
    let attempt = |flow: &Flow| {
        let (flow, place) = (flow.clone(), std::fs::File::open(place).unwrap());
        // A thread has a network namespace of its own.
        std::thread::spawn(move || {
            setns(place, CloneFlags::CLONE_NEWNET).unwrap();
            flow.connect().is_some()
        })
    };
    let attempts: Vec<_> = flows.iter().map(attempt).collect();
    attempts
        .into_iter()
        .map(|one| one.join().unwrap())
        .collect()
}

/// What does not get through in a scenario.
pub fn blocked(scenario: &toml::Table) -> Vec<Flow> {
    let flows = scenario["blocked"].as_array().unwrap().iter();
    let flow = |flow: &toml::Value| {
        let word = |key: &str| flow[key].as_str().unwrap();
        Flow {
            by_box: word("at") == "box",
            proto: word("proto").to_owned(),
            from: word("from").parse().unwrap(),
            to: word("to").parse().unwrap(),
            port: u16::try_from(flow["port"].as_integer().unwrap()).unwrap(),
        }
    };
    flows.map(flow).collect()
}

/// Who stops it, of one family: chain, and rule or policy. `None`: no rule does.
pub fn expected(scenario: &toml::Table, family: i64) -> Option<(String, Option<u64>)> {
    let mut all = scenario["expected"].as_array().unwrap().iter();
    let one = all.find(|one| one["family"].as_integer() == Some(family))?;
    let rule = one.get("rule").map(|rule| rule.as_integer().unwrap());
    let chain = one["chain"].as_str().unwrap().to_owned();
    Some((chain, rule.map(|rule| u64::try_from(rule).unwrap())))
}

/// The demo, with a rule lit.
pub fn demo(scenario: &str, backend: &str) -> Terminal {
    let mut terminal = Launch::ruletop()
        .args(["demo", scenario, "--backend", backend])
        .size(120, 40)
        .start();
    terminal.wait_for("a lit rule", |screen| {
        let mut rows = (0..screen.size().1).map(|row| screen.row(row));
        rows.any(|row| row.contains("││▸") || row.contains("││■"))
    });
    terminal
}

/// Plays a scenario: its clients, one of each family, cannot get through; what `mend` stages is applied, and
/// they can; it is kept, and they still can.
pub fn play(name: &str, backend: &str, mend: impl FnOnce(&mut Terminal, &[Flow])) {
    let mut flows = blocked(&scenario(name));
    flows.retain(|flow| flow.proto == "tcp");
    let families: Vec<i64> = flows.iter().map(Flow::family).collect();
    assert_eq!(families, [4, 6], "{name}");
    let mut terminal = demo(name, backend);
    let client = place_of(&terminal, &flows[0]);
    // A connection table has to fill first.
    patiently(&format!("{name}, {backend}: both to be blocked"), || {
        through(&flows, &client) == [false; 2]
    });
    mend(&mut terminal, &flows);
    apply(&mut terminal);
    patiently(&format!("{name}, {backend}: both to get through"), || {
        through(&flows, &client) == [true; 2]
    });
    keep(&mut terminal);
    assert_eq!(
        through(&flows, &client),
        [true; 2],
        "{name}, {backend}: kept, and one is blocked"
    );
    quit(terminal);
}

/// Ends it, and waits until nothing of it is left.
pub fn quit(mut terminal: Terminal) {
    terminal.press("q");
    terminal.wait_for_exit();
    terminal.wait_for_no_process();
}

/// Asks the explain screen about a packet.
pub fn type_packet(terminal: &mut Terminal, words: &str) {
    terminal.press("W");
    terminal.wait_for_text("a packet: tcp");
    terminal.send(words);
    terminal.press("<Enter>");
}

/// The chain and the number of the rule that decides, as the explain screen has it.
pub fn decider(screen: &Screen) -> Option<(String, Option<u64>)> {
    let inner = |row: usize| screen.row(row).trim_matches(['│', ' ']).to_owned();
    let (row, _) = screen.find("← decides")?;
    let text = inner(row);
    let number = text.trim_start_matches(['■', '▸', ' ']);
    let number = number.split(' ').next()?.parse().ok();
    // The heading above: a table and a chain, and no number.
    let heading = (0..row).rev().map(inner).find(|text| {
        let table = text.split(' ').next().unwrap_or_default();
        ["filter", "nat", "mangle", "raw", "security"].contains(&table)
    })?;
    let chain = heading.split_whitespace().nth(1)?.to_owned();
    Some((chain, number))
}

/// Applies what is staged; the change is pending then.
pub fn apply(terminal: &mut Terminal) {
    terminal.press("A");
    terminal.wait_for("the checks", |screen| {
        screen.contains("✔ the back end takes it") && screen.contains("nobody to lock out")
    });
    terminal.press("y");
    terminal.wait_for_text("─ keep it? ─");
}

/// Confirms it.
fn keep(terminal: &mut Terminal) {
    terminal.press("y");
    terminal.wait_for("the change to be kept", |screen| {
        screen.contains("the change is kept") && !screen.contains("PENDING")
    });
}

/// A network namespace, as a file.
pub fn namespace(process: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{process}/ns/net"))
}

/// Where a flow is sent from: the box (the program's own namespace), or that of the machines beyond it, which
/// hold the other end of its cable. The demo's helpers stand in several, a thread each.
fn place_of(terminal: &Terminal, flow: &Flow) -> PathBuf {
    if flow.by_box {
        return namespace(terminal.pid());
    }
    let threads = terminal.tagged().into_iter().flat_map(|process| {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task"));
        tasks
            .into_iter()
            .flatten()
            .flatten()
            .map(|task| task.path().join("ns/net"))
    });
    let holds = |place: &PathBuf| {
        let out = inside(place)
            .args(["ip", "-o", "address"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).contains("10.0.0.1/24")
    };
    threads
        .into_iter()
        .find(holds)
        .expect("nobody has that address")
}

/// A command in a network namespace.
pub fn inside(place: &Path) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", place.display())).arg("--");
    command
}
