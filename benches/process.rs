//! Figures of the whole program: the built binary in a terminal, beside what people run today.
//!
//! Everything happens in a network namespace of this process's own. Times are the median of a few
//! runs; the terminal is the one of the tests, so a byte here is a byte on an SSH line.

// A bench stops at what surprises it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "figure/mod.rs"]
mod figure;
#[path = "../tests/terminal/harness/mod.rs"]
mod harness;

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use figure::{Reach, Unit, head, line};
use harness::{Launch, Terminal};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};

/// Rules of the large rulesets, in chains of a hundred.
const MANY: usize = 100_000;

fn main() {
    // `cargo bench` hands its own arguments on; there is nothing to choose here.
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .expect("a network namespace: as root, or through .ci/rooted.sh");
    run("ip", &["link", "set", "lo", "up"]);
    bytes();
    for backend in ["nft", "legacy"] {
        large(backend);
    }
    keys();
}

/// Bytes on the line: a second in which nothing happens, and one in which one counter moves.
fn bytes() {
    head("bytes to the terminal, 80x24");
    load(
        "nft",
        "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p udp --dport 9 -j DROP\n-A INPUT -p tcp --dport 80 -j ACCEPT\nCOMMIT\n",
    );
    let mut terminal = Launch::ruletop().start();
    terminal.wait_for_frame("the board", |screen| screen.contains("DROP"));
    let mark = terminal.mark();
    terminal.press("<C-l>");
    terminal.settled();
    let redraw = count(terminal.bytes_since(mark));
    // What was lit at the start fades first.
    terminal.output_during(Duration::from_secs(6));
    let seconds = 10;
    let quiet = terminal.output_during(Duration::from_secs(seconds)).len();
    line(
        "a quiet second",
        Unit::Bytes,
        count(quiet) / seconds as f64,
        Some(redraw),
        Reach::Most(0.0),
    );

    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    // Another rate every second: a steady one shows the same digits, which cost nothing.
    let mut number = 0;
    let mut beat = |terminal: &mut Terminal| {
        number += 1;
        for _ in 0..=number % 7 {
            // A packet that the rule drops is an error to nobody.
            let _ = socket.send_to(b"x", "127.0.0.1:9");
        }
        terminal.output_during(Duration::from_secs(1)).len()
    };
    for _ in 0..5 {
        beat(&mut terminal);
    }
    let moving: usize = (0..seconds).map(|_| beat(&mut terminal)).sum();
    assert!(moving > 0, "the counter moved and the screen did not");
    line(
        "a second with one counter moving",
        Unit::Bytes,
        count(moving) / seconds as f64,
        Some(redraw),
        Reach::Most(60.0),
    );
}

/// Start, memory and CPU with many rules.
fn large(backend: &str) {
    head(&format!("{MANY} rules, {backend}"));
    load(backend, &flat(MANY));
    let save = format!("iptables-{backend}-save");
    let peer_save = figure::median_of(3, || run_quietly(&save, &["-c"]));
    let peer_memory = peak_of(&save);

    let (mut first, mut full) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let start = Instant::now();
        let mut terminal = Launch::ruletop().start();
        terminal.wait_for("a first frame", |screen| {
            screen.alternate && screen.contains("ruletop")
        });
        first.push(start.elapsed());
        terminal.wait_for("the rules", is_full);
        full.push(start.elapsed());
    }
    let first = figure::median(first).as_secs_f64();
    line(
        "start to a first frame",
        Unit::Seconds,
        first,
        Some(peer_save),
        Reach::Most(0.1),
    );
    let full = figure::median(full).as_secs_f64();
    line(
        "start to the full one",
        Unit::Seconds,
        full,
        Some(peer_save),
        Reach::Ratio(1.3),
    );

    let mut terminal = Launch::ruletop().start();
    terminal.wait_for("the rules", is_full);
    terminal.output_during(Duration::from_secs(5));
    let memory = status_of(&terminal, "VmRSS");
    line(
        "resident memory",
        Unit::Bytes,
        memory,
        Some(peer_memory),
        Reach::Ratio(0.5),
    );
    let peak = status_of(&terminal, "VmHWM");
    line(
        "  its peak since the start",
        Unit::Bytes,
        peak,
        Some(peer_memory),
        Reach::Ratio(1.0),
    );

    let span = Duration::from_secs(15);
    let before = cpu_of(&terminal);
    terminal.output_during(span);
    let ours = (cpu_of(&terminal) - before) / span.as_secs_f64();
    let listing = format!("iptables-{backend}");
    let once = cpu_of_children(|| run_quietly(&listing, &["-w", "-nvxL"]));
    // `watch -n1` waits a second after each run.
    let peer = once / (1.0 + once);
    line(
        "CPU a second, one chain in view",
        Unit::Seconds,
        ours,
        Some(peer),
        Reach::Ratio(0.02),
    );
    drop(terminal);
    load(backend, "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n");
    if backend == "nft" {
        run("nft", &["flush", "ruleset"]);
    }
}

/// From a key to the frame that answers it, in one chain of many rules.
fn keys() {
    head(&format!("keys, one chain of {MANY} rules"));
    let mut dump = String::from("*filter\n:INPUT ACCEPT [0:0]\n");
    for rule in 0..MANY {
        let _ = writeln!(dump, "{}", rule_line("INPUT", rule));
    }
    dump.push_str("COMMIT\n");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(dump.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let mut terminal = Launch::ruletop()
        .args(["--file", path])
        .size(120, 36)
        .start();
    terminal.wait_for_frame("the rules", is_full);
    for (name, key) in [("one row down", "j"), ("a page down", "<PageDown>")] {
        let before = cpu_of(&terminal);
        let mut times: Vec<Duration> = (0..1_000).map(|_| answer(&mut terminal, key)).collect();
        // Ticks are 10 ms: too coarse for one key, fine for a thousand. A busy machine changes it little.
        let cpu = (cpu_of(&terminal) - before) / count(times.len());
        times.sort_unstable();
        let at = |percent: usize| times[times.len() * percent / 100].as_secs_f64();
        let show = |what: &str, value: f64| {
            let name = format!("{name}, {what}");
            line(&name, Unit::Seconds, value, None, Reach::Most(0.005));
        };
        show("p99 of 1,000", at(99));
        show("median", at(50));
        show("CPU", cpu);
    }
    let times = (0..20).map(|_| answer(&mut terminal, "G") + answer(&mut terminal, "g"));
    let both = figure::median(times.collect()).as_secs_f64();
    line(
        "to the last row and back",
        Unit::Seconds,
        both,
        None,
        Reach::Most(0.01),
    );
}

/// The time from a key to the first byte of its answer.
fn answer(terminal: &mut Terminal, key: &str) -> Duration {
    terminal.wait_for_silence(Duration::from_millis(3));
    let mark = terminal.mark();
    let start = Instant::now();
    terminal.press(key);
    terminal.wait_for_bytes(mark);
    start.elapsed()
}

/// The board with the rules of a chain in it.
fn is_full(screen: &harness::screen::Screen) -> bool {
    screen.alternate && screen.contains("203.0.113.")
}

/// A ruleset of so many rules: INPUT and chains of a hundred that it jumps to, as in FORMATS.
fn flat(rules: usize) -> String {
    let chains = rules / 100;
    let mut text =
        String::from("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n");
    for chain in 0..chains {
        let _ = writeln!(text, ":chain-{chain} - [0:0]");
    }
    let _ = writeln!(text, "{}", rule_line("INPUT", 0));
    for chain in 0..chains {
        for rule in 0..100 {
            let _ = writeln!(
                text,
                "{}",
                rule_line(&format!("chain-{chain}"), chain * 100 + rule)
            );
        }
    }
    text + "COMMIT\n"
}

fn rule_line(chain: &str, number: usize) -> String {
    let (host, port) = (number % 254 + 1, number % 60_000 + 1);
    format!("-A {chain} -s 203.0.113.{host}/32 -p tcp -m tcp --dport {port} -j DROP")
}

fn load(backend: &str, text: &str) {
    let mut child = Command::new(format!("iptables-{backend}-restore"))
        .arg("-w")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}

fn run(program: &str, arguments: &[&str]) {
    assert!(
        Command::new(program)
            .args(arguments)
            .status()
            .unwrap()
            .success()
    );
}

fn run_quietly(program: &str, arguments: &[&str]) {
    let status = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

/// The peak of a `*-save`, looked at while it waits for somebody to read what it has gathered.
fn peak_of(save: &str) -> f64 {
    let mut child = Command::new(save)
        .arg("-c")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut [0; 4096]).unwrap();
    let peak = status(i32::try_from(child.id()).unwrap(), "VmHWM");
    std::io::copy(&mut output, &mut std::io::sink()).unwrap();
    child.wait().unwrap();
    peak
}

fn status_of(terminal: &Terminal, field: &str) -> f64 {
    status(terminal.pid().as_raw(), field)
}

/// A field of /proc/PID/status, in bytes (proc(5) gives kB).
fn status(pid: i32, field: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let row = text
        .lines()
        .find_map(|row| row.strip_prefix(field))
        .unwrap();
    let digits: String = row.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<f64>().unwrap() * 1024.0
}

/// CPU time of the program so far, its children's that have ended included: fields 14 to 17 of
/// /proc/PID/stat, in clock ticks.
fn cpu_of(terminal: &Terminal) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", terminal.pid())).unwrap();
    let after_name = text.rsplit_once(") ").unwrap().1;
    let ticks: f64 = after_name
        .split(' ')
        .skip(11)
        .take(4)
        .map(|field| field.parse::<f64>().unwrap())
        .sum();
    ticks / sysconf(SysconfVar::CLK_TCK).unwrap().unwrap() as f64
}

/// CPU time that children use in `run`, in seconds.
fn cpu_of_children(run: impl FnOnce()) -> f64 {
    let used = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        let seconds =
            |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        seconds(usage.user_time()) + seconds(usage.system_time())
    };
    let before = used();
    run();
    used() - before
}

fn count(number: usize) -> f64 {
    number as f64
}
