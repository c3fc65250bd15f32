//! What one refresh of every counter costs, beside the save tool that it replaces.
//!
//! Both are measured in one run, in CPU time (user and system): ours of the thread that reads, the
//! tool's of the process that ran. Two ways are measured: reading every chain, and following the packets
//! as the poller does at each tick, which gives the same numbers. Everything happens in a private network
//! namespace. The kube-like ruleset needs `../shared/data/gen_kube.py` and python3, and is left out
//! without them.
//!
//! `cargo bench --bench refresh`, or with words of the cases that are wanted: `-- 100 nft`.

#![allow(clippy::print_stdout, clippy::expect_used)]

#[path = "figure/mod.rs"]
mod figure;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use figure::{Reach, Unit};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use ruletop::netfilter::counters::CounterDoor;
use ruletop::netfilter::counters::legacy::LegacyDoor;
use ruletop::netfilter::counters::nft::NftDoor;
use ruletop::netfilter::xtables::{Limits, Tools, save};
use ruletop::ruleset::{Backend, ChainIdx, CounterSet, Family, Origin, Ruleset};
use ruletop::runtime::poller::{Command as Tell, Options, PollEvent, Poller};

/// How long the poller is watched for its steady cost.
const STEADY: Duration = Duration::from_secs(6);

/// A ruleset to measure with, and which part of the tool's cost the design asks of a refresh.
struct Case {
    name: &'static str,
    dump: String,
    nft: f64,
    legacy: f64,
}

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    for case in cases() {
        for backend in [Backend::Nft, Backend::Legacy] {
            let origin = Origin::new(Family::V4, backend);
            let name = format!("{} {origin}", case.name);
            if !wanted.iter().all(|word| name.contains(word.as_str())) {
                continue;
            }
            let part = match backend {
                Backend::Nft => case.nft,
                Backend::Legacy => case.legacy,
            };
            let dump = case.dump.clone();
            let thread = std::thread::spawn(move || measure(&name, origin, &dump, part));
            thread.join().expect("measured");
        }
    }
}

fn cases() -> Vec<Case> {
    let case = |name, dump, nft, legacy| Case {
        name,
        dump,
        nft,
        legacy,
    };
    let mut cases = vec![
        case("100 flat", flat(10, 9), 1.0 / 20.0, 1.0 / 20.0),
        case("100,000 flat", flat(1000, 99), 1.0 / 4.0, 1.0 / 2.0),
    ];
    match kube() {
        Some(dump) => cases.push(case("100,000 kube", dump, 1.0 / 20.0, 1.0 / 2.0)),
        None => {
            println!("(no kube-like ruleset: ../shared/data/gen_kube.py or python3 is not here)");
        }
    }
    cases
}

/// `chains` chains of `each` rules, jumped to from INPUT by source; loopback's goes to the first.
fn flat(chains: usize, each: usize) -> String {
    let mut dump = String::from("*filter\n");
    for chain in 0..chains {
        let _ = writeln!(dump, ":chain-{chain} - [0:0]");
    }
    for chain in 0..chains {
        let (high, low) = (chain >> 8, chain & 0xff);
        let source = match chain {
            0 => "127.0.0.0/8".to_owned(),
            _ => format!("10.{high}.{low}.0/24"),
        };
        let _ = writeln!(dump, "-A INPUT -s {source} -j chain-{chain}");
    }
    for rule in 0..chains * each {
        let (chain, port) = (rule / each, rule % 60_000 + 1);
        let _ = writeln!(
            dump,
            "-A chain-{chain} -d 10.0.0.0/24 -p tcp -m tcp --dport {port} -j ACCEPT"
        );
    }
    dump.push_str("COMMIT\n");
    dump
}

fn kube() -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/gen_kube.py");
    if !script.exists() {
        return None;
    }
    let output = Command::new("python3")
        .arg(script)
        .args(["--rules", "100000", "--seed", "1"])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

fn measure(name: &str, origin: Origin, dump: &str, part: f64) {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run as root");
    run("ip", &["link", "set", "lo", "up"]);
    let lock = tempfile::tempdir().expect("a folder");
    restore(origin, dump, lock.path());
    let tools = Tools::find();
    let peer = mean(
        UsageWho::RUSAGE_CHILDREN,
        || {},
        || {
            save(&tools, origin, Limits::default()).expect("saved");
        },
    );
    let took = Instant::now();
    let bytes = save(&tools, origin, Limits::default())
        .expect("saved")
        .bytes;
    let took = took.elapsed().as_secs_f64();
    let ruleset = Arc::new(Ruleset::parse(bytes, origin).expect("parsed"));
    let mut door: Box<dyn CounterDoor> = match origin.backend {
        Backend::Nft => Box::new(NftDoor::open(origin.family).expect("a socket")),
        Backend::Legacy => Box::new(LegacyDoor::open(origin.family).expect("a socket")),
    };
    door.attach(&ruleset).expect("attached");
    let mut counters = ruleset.saved_counters();

    let (rules, chains) = (ruleset.rule_count(), ruleset.chains().len());
    figure::head(&format!("{name}: {rules} rules, {chains} chains"));
    let by_part = |name, ours| {
        figure::line(name, Unit::Seconds, ours, Some(peer), Reach::Ratio(part));
    };
    let thread = UsageWho::RUSAGE_THREAD;
    let ours = mean(
        thread,
        || {},
        || refresh(&mut *door, &ruleset, &mut counters),
    );
    by_part("refresh, every chain read (CPU)", ours);
    if door.can_follow() {
        let quiet = mean(
            thread,
            || {},
            || follow(&mut *door, &ruleset, &mut counters),
        );
        by_part("refresh, packets followed, none came (CPU)", quiet);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let send = || drop(socket.send_to(b"x", "127.0.0.1:9"));
        let busy = mean(thread, send, || follow(&mut *door, &ruleset, &mut counters));
        by_part("refresh, packets followed, some came (CPU)", busy);
    }
    drop(door);
    let (load, steady) = live(origin);
    figure::line(
        "first load (time)",
        Unit::Seconds,
        load,
        Some(took),
        Reach::Ratio(1.3),
    );
    println!("  steady with one chain in view: {steady:.2} % of a core (cap 5 %)");
}

/// Runs `work` for about a second, `before` each time; the mean CPU time of one run, by `who`.
fn mean(who: UsageWho, before: impl Fn(), mut work: impl FnMut()) -> f64 {
    let started = Instant::now();
    let (mut runs, mut used) = (0u32, Duration::ZERO);
    while runs == 0 || (started.elapsed() < Duration::from_secs(1) && runs < 2000) {
        before();
        let start = cpu(who);
        work();
        used += cpu(who).saturating_sub(start);
        runs += 1;
    }
    used.as_secs_f64() / f64::from(runs)
}

fn cpu(who: UsageWho) -> Duration {
    let usage = getrusage(who).expect("usage");
    let time = |time: TimeVal| {
        let micros = u64::try_from(time.tv_usec()).unwrap_or_default();
        Duration::from_secs(time.tv_sec().unsigned_abs()) + Duration::from_micros(micros)
    };
    time(usage.user_time()) + time(usage.system_time())
}

/// Every chain once; a chain that came with another one is not asked for again.
fn refresh(door: &mut dyn CounterDoor, ruleset: &Ruleset, counters: &mut CounterSet) {
    let mut seen = vec![false; ruleset.chains().len()];
    let mut looked = Vec::with_capacity(seen.len());
    for index in 0..seen.len() {
        if seen[index] {
            continue;
        }
        looked.clear();
        let chain = ChainIdx(u32::try_from(index).expect("few enough"));
        door.read(chain, counters, &mut looked).expect("read");
        for looked in &looked {
            seen[looked.chain.0 as usize] = true;
        }
    }
}

/// The chains that a hook calls, and those that packets went to from there.
fn follow(door: &mut dyn CounterDoor, ruleset: &Ruleset, counters: &mut CounterSet) {
    let chains = ruleset.chains().iter().enumerate();
    let mut queue: Vec<ChainIdx> = chains
        .filter(|(_, chain)| chain.is_builtin())
        .map(|(index, _)| ChainIdx(u32::try_from(index).expect("few enough")))
        .collect();
    let mut looked = Vec::new();
    while let Some(chain) = queue.pop() {
        looked.clear();
        door.read(chain, counters, &mut looked).expect("read");
        door.follow(&mut queue);
    }
}

/// Seconds that a poller takes to its first load, and what it costs from then on, in per cent of a core.
fn live(origin: Origin) -> (f64, f64) {
    let started = Instant::now();
    let (sender, events) = channel();
    let sink = Box::new(move |event| sender.send(event).is_ok());
    let poller = Poller::spawn(Options::default(), sink).expect("a thread");
    let chain = loop {
        match events.recv().expect("it runs") {
            PollEvent::Loaded(loaded) if loaded.origin == origin => {
                let input = loaded.ruleset.find_chain("filter", "INPUT");
                break input.unwrap_or(ChainIdx(0));
            }
            PollEvent::Failed { error, .. } => panic!("{error}"),
            _ => {}
        }
    };
    let load = started.elapsed().as_secs_f64();
    poller.send(Tell::Watch { origin, chain });
    std::thread::sleep(STEADY / 3); // a legacy door is still being bound
    let (before, since) = (cpu(UsageWho::RUSAGE_SELF), Instant::now());
    std::thread::sleep(STEADY); // what is measured, not what is waited for
    let used = cpu(UsageWho::RUSAGE_SELF).saturating_sub(before);
    (
        load,
        used.as_secs_f64() / since.elapsed().as_secs_f64() * 100.0,
    )
}

fn restore(origin: Origin, dump: &str, lock: &Path) {
    let mut child = Command::new(format!("{origin}-restore"))
        .env("XTABLES_LOCKFILE", lock.join("lock"))
        .stdin(Stdio::piped())
        .spawn()
        .expect("restore runs");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(dump.as_bytes()).expect("restore reads");
    drop(input);
    assert!(
        child.wait().expect("restore ends").success(),
        "{origin}-restore failed"
    );
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{program} failed"
    );
}
