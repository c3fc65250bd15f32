//! What one refresh of every counter costs, beside the save tool that it replaces.
//!
//! Both are measured in one run, in CPU time (user and system): ours of the thread that reads, the
//! tool's of the process that ran. Everything happens in a private network namespace; run as root. The
//! kube-like ruleset needs `../shared/data/gen_kube.py` and python3, and is left out without them.
//!
//! `cargo bench --bench refresh`, or with words of the cases that are wanted: `-- nft 100`.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use ruletop::netfilter::counters::CounterDoor;
use ruletop::netfilter::counters::legacy::LegacyDoor;
use ruletop::netfilter::counters::nft::NftDoor;
use ruletop::netfilter::xtables::{Limits, Tools, save};
use ruletop::ruleset::{Backend, ChainIdx, CounterSet, Family, Origin, Ruleset};
use ruletop::runtime::poller::{Command as Tell, Options, PollEvent, Poller, Source};

/// How long the poller is watched for its steady cost.
const STEADY: Duration = Duration::from_secs(6);

/// A ruleset to measure with, and what the design asks of a refresh of it: the tool's cost over ours.
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
    println!(
        "One refresh of every counter beside one `*-save -c`, in CPU time; the first load beside"
    );
    println!(
        "one `*-save -c`, in time that passed; then the poller's cost with one chain in view."
    );
    for case in cases() {
        for backend in [Backend::Nft, Backend::Legacy] {
            let origin = Origin::new(Family::V4, backend);
            let name = format!("{} {origin}", case.name);
            if !wanted.iter().all(|word| name.contains(word.as_str())) {
                continue;
            }
            let asked = match backend {
                Backend::Nft => case.nft,
                Backend::Legacy => case.legacy,
            };
            let dump = case.dump.clone();
            let thread = std::thread::spawn(move || measure(&name, origin, &dump, asked));
            thread.join().expect("measured");
        }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case {
            name: "100 flat",
            dump: flat(90, 9),
            nft: 20.0,
            legacy: 20.0,
        },
        Case {
            name: "100,000 flat",
            dump: flat(99_000, 99),
            nft: 4.0,
            legacy: 2.0,
        },
    ];
    match kube() {
        Some(dump) => cases.push(Case {
            name: "100,000 kube",
            dump,
            nft: 20.0,
            legacy: 2.0,
        }),
        None => {
            println!("(no kube-like ruleset: ../shared/data/gen_kube.py or python3 is not here)");
        }
    }
    cases
}

/// `rules` rules in chains of `each`, every one of them jumped to from INPUT.
fn flat(rules: usize, each: usize) -> String {
    let mut dump = String::from("*filter\n");
    for chain in 0..rules / each {
        let _ = writeln!(dump, ":chain-{chain} - [0:0]");
    }
    for chain in 0..rules / each {
        let _ = writeln!(
            dump,
            "-A INPUT -s 10.{}.{}.0/24 -j chain-{chain}",
            chain >> 8,
            chain & 0xff
        );
    }
    for rule in 0..rules {
        let (chain, a, b) = (rule / each, (rule >> 8) & 0xff, rule & 0xff);
        let port = rule % 60_000 + 1;
        let _ = writeln!(
            dump,
            "-A chain-{chain} -s 10.{a}.{b}.0/24 -p tcp -m tcp --dport {port} -j ACCEPT"
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

fn measure(name: &str, origin: Origin, dump: &str, asked: f64) {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run as root");
    let lock = tempfile::tempdir().expect("a folder");
    restore(origin, dump, lock.path());
    let tools = Tools::find();
    let (peer, peer_took) = mean(UsageWho::RUSAGE_CHILDREN, || {
        save(&tools, origin, Limits::default()).expect("saved");
    });
    let bytes = save(&tools, origin, Limits::default())
        .expect("saved")
        .bytes;
    let parsing = Instant::now();
    let ruleset = Arc::new(Ruleset::parse(bytes, origin).expect("parsed"));
    let parsed = parsing.elapsed();
    let mut door: Box<dyn CounterDoor> = match origin.backend {
        Backend::Nft => Box::new(NftDoor::open(origin.family).expect("a socket")),
        Backend::Legacy => Box::new(LegacyDoor::open(origin.family).expect("a socket")),
    };
    door.attach(&ruleset).expect("attached");
    let mut counters = ruleset.saved_counters();
    let (ours, _) = mean(UsageWho::RUSAGE_THREAD, || {
        refresh(door.as_mut(), &ruleset, &mut counters);
    });
    let (quiet, _) = mean(UsageWho::RUSAGE_THREAD, || {
        follow(door.as_mut(), &ruleset, &mut counters);
    });
    drop(door);
    let (load, source, steady) = live(origin);
    let ratio = peer.as_secs_f64() / ours.as_secs_f64();
    println!(
        "\n{name}: {} rules, {} chains",
        ruleset.rule_count(),
        ruleset.chains().len()
    );
    println!(
        "  refresh  {:>12}   save -c {:>12}   1/{ratio:.1}   asked 1/{asked:.0}{}",
        millis(ours),
        millis(peer),
        if ratio >= asked { "" } else { "   SHORT" }
    );
    println!("  followed {:>12}   when nothing moved", millis(quiet));
    println!(
        "  load     {:>12}   save -c {:>12}   {:.2}x",
        millis(load),
        millis(peer_took),
        load.as_secs_f64() / peer_took.as_secs_f64()
    );
    println!("  (of which parsing {})", millis(parsed));
    println!("  steady   {steady:.2} % of a core, counters from {source:?}");
}

/// Runs `work` for about a second; the mean CPU time of one run, by `who`, and how long it took.
fn mean(who: UsageWho, mut work: impl FnMut()) -> (Duration, Duration) {
    let (started, before) = (Instant::now(), cpu(who));
    let mut runs = 0;
    while runs == 0 || (started.elapsed() < Duration::from_secs(1) && runs < 2000) {
        work();
        runs += 1;
    }
    (
        cpu(who).saturating_sub(before) / runs,
        started.elapsed() / runs,
    )
}

fn cpu(who: UsageWho) -> Duration {
    let usage = getrusage(who).expect("usage");
    let time = |time: TimeVal| {
        let micros = u64::try_from(time.tv_usec()).unwrap_or_default();
        Duration::from_secs(time.tv_sec().unsigned_abs()) + Duration::from_micros(micros)
    };
    time(usage.user_time()) + time(usage.system_time())
}

fn millis(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
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
    if !door.can_follow() {
        return refresh(door, ruleset, counters);
    }
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

/// How long a poller takes to its first load, and what it costs from then on, in per cent of a core.
fn live(origin: Origin) -> (Duration, Source, f64) {
    let started = Instant::now();
    let (sender, events) = channel();
    let sink = Box::new(move |event| sender.send(event).is_ok());
    let poller = Poller::spawn(Options::default(), sink).expect("a thread");
    let (chain, source) = loop {
        match events.recv().expect("it runs") {
            PollEvent::Loaded(loaded) if loaded.origin == origin => {
                let input = loaded.ruleset.find_chain("filter", "INPUT");
                break (input.unwrap_or(ChainIdx(0)), loaded.source);
            }
            PollEvent::Failed { error, .. } => panic!("{error}"),
            _ => {}
        }
    };
    let load = started.elapsed();
    poller.send(Tell::Watch { origin, chain });
    let (before, since) = (cpu(UsageWho::RUSAGE_SELF), Instant::now());
    std::thread::sleep(STEADY); // what is measured, not what is waited for
    let used = cpu(UsageWho::RUSAGE_SELF).saturating_sub(before);
    let share = used.as_secs_f64() / since.elapsed().as_secs_f64();
    (load, source, share * 100.0)
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
