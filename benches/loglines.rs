//! Log lines: parsed, grouped, put down to their rules, beside what people parse them with.
//!
//! The lines are made here, of the kinds that a busy box writes, each with its own source and port, so
//! that no cache helps. One core, no kernel, no privilege. Times are of the processor, not of the wall,
//! so that a busy machine measures the same.

// A bench stops at what surprises it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "figure/mod.rs"]
mod figure;

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use figure::{Reach, Unit, head, line, median};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use ruletop::app::attribution::{Attribution, LogRules, attribute};
use ruletop::app::feed::{Feed, Filter};
use ruletop::flow::{Batch, KernelLine, LogSource, parse_line};
use ruletop::ruleset::{Document, Hints};

const LINES: usize = 200_000;
/// What the design asks for.
const REACH: f64 = 200_000.0;
/// Lines that wait for a frame at most.
const FRAME: usize = 10_000;

/// The usual way: one expression with a name for each field.
const PATTERN: &str = r"(?-u)(?P<prefix>.*?)IN=(?P<in>\S*) OUT=(?P<out>\S*) (?:MAC=(?P<mac>\S*) )?SRC=(?P<src>\S+) DST=(?P<dst>\S+) LEN=(?P<len>\d+) .*?(?:TTL|HOPLIMIT)=(?P<ttl>\d+) .*?PROTO=(?P<proto>\S+)(?: SPT=(?P<spt>\d+) DPT=(?P<dpt>\d+))?";

fn main() {
    let records = made(|number| format!("4,{number},{},-;", number * 17));
    let syslog = made(|_| "Nov 20 22:19:12 web-3 kernel: [ 3200.562860] ".to_owned());
    parsing(&records, &syslog);
    feeding(&records);
    attributing(&records);
}

fn parsing(records: &[String], syslog: &[String]) {
    head(&format!("{LINES} log lines, one core"));
    let regex = regex::bytes::Regex::new(PATTERN).unwrap();
    let by_regex = a_second(|| {
        let mut ports = 0;
        for text in records {
            let found = regex.captures(text.as_bytes()).unwrap();
            let number = |name| {
                std::str::from_utf8(found.name(name)?.as_bytes())
                    .ok()?
                    .parse::<u16>()
                    .ok()
            };
            ports += u32::from(number("dpt").unwrap_or(0) > 0);
        }
        black_box(ports);
    });
    let ours = a_second(|| {
        for text in records {
            black_box(parse_line(text.as_bytes(), LogSource::Kmsg).unwrap());
        }
    });
    line(
        "records of the ring, parsed (peer: a regex)",
        Unit::PerSecond,
        ours,
        Some(by_regex),
        Reach::Least(REACH),
    );

    let text = syslog.concat();
    let grep = a_second(|| {
        let mut grep = Command::new("grep")
            .args(["-c", "DPT=443 "])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        grep.stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        grep.wait().unwrap();
    });
    let ours = a_second(|| {
        let lines = text
            .lines()
            .filter_map(|text| parse_line(text.as_bytes(), LogSource::File));
        let ports =
            lines.filter(|line| line.log().is_some_and(|log| log.packet.dport == Some(443)));
        black_box(ports.count());
    });
    line(
        "lines of a log file, parsed (peer: grep -c)",
        Unit::PerSecond,
        ours,
        Some(grep),
        Reach::Least(REACH),
    );

    let noise = vec![
        "6,1,2,-;usb 1-1: new high-speed USB device number 2 using xhci_hcd and more words";
        LINES
    ];
    let ours = a_second(|| {
        for text in &noise {
            black_box(parse_line(text.as_bytes(), LogSource::Kmsg));
        }
    });
    line(
        "other lines, passed over",
        Unit::PerSecond,
        ours,
        None,
        Reach::Least(REACH),
    );
}

fn feeding(records: &[String]) {
    head("through the feed: every line from another source");
    let parse = |records: &[String]| -> Vec<KernelLine> {
        let lines = records.iter();
        lines
            .filter_map(|text| parse_line(text.as_bytes(), LogSource::Kmsg))
            .collect()
    };
    let batches = |records: &[String]| -> Vec<Batch> {
        let chunks = records.chunks(1_000);
        chunks
            .map(|chunk| Batch {
                lines: parse(chunk),
                lost: 0,
            })
            .collect()
    };
    let mut times = Vec::new();
    let mut feed = Feed::default();
    for _ in 0..3 {
        let ready = batches(records);
        let start = used();
        for (number, batch) in (0u32..).zip(ready) {
            feed.push(Duration::from_millis(10) * number, batch);
        }
        times.push(since(start));
    }
    let feeding = LINES as f64 / median(times).as_secs_f64();
    line(
        "lines counted, kept, and thrown out again",
        Unit::PerSecond,
        feeding,
        None,
        Reach::Least(REACH),
    );

    let start = used();
    let mut feed = Feed::default();
    for (number, chunk) in (0u32..).zip(records.chunks(1_000)) {
        feed.push(
            Duration::from_millis(10) * number,
            Batch {
                lines: parse(chunk),
                lost: 0,
            },
        );
    }
    line(
        "parsed and fed",
        Unit::PerSecond,
        LINES as f64 / since(start).as_secs_f64(),
        None,
        Reach::Least(REACH),
    );

    head("what a frame costs while a flood runs");
    let now = Duration::from_secs(3);
    let mut waiting: Vec<Vec<KernelLine>> = (0..5).map(|_| parse(&records[..FRAME])).collect();
    let taking = median_of(5, || {
        let lines = waiting.pop().unwrap();
        feed.push(now, Batch { lines, lost: 0 });
    });
    line(
        "10,000 waiting lines taken in",
        Unit::Seconds,
        taking,
        None,
        Reach::Most(0.05),
    );
    let rows = median_of(21, || drop(black_box(feed.groups(now))));
    line(
        "2,048 groups in order",
        Unit::Seconds,
        rows,
        None,
        Reach::Most(0.005),
    );
    feed.set_filter(Filter::parse("src:10.1 port:443 -audit block"));
    let filtered = median_of(21, || {
        black_box(feed.lines().count());
    });
    line(
        "10,000 lines filtered at a key press",
        Unit::Seconds,
        filtered,
        None,
        Reach::Most(0.005),
    );
}

fn attributing(records: &[String]) {
    head("10,000 rules, 100 of which log");
    let mut text =
        String::from("*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n");
    for number in 0..10_000 {
        if number % 100 == 0 {
            writeln!(
                text,
                "-A INPUT -p tcp -m tcp --dport {number} -j LOG --log-prefix \"[UFW BLOCK] \""
            )
            .unwrap();
        } else {
            writeln!(
                text,
                "-A INPUT -s 10.{}.{}.0/24 -j DROP",
                number / 250,
                number % 250
            )
            .unwrap();
        }
    }
    text.push_str("COMMIT\n");
    let document = Document::parse(text.as_bytes(), Hints::default()).unwrap();
    let ruleset = &document.rulesets()[0];
    let index = median_of(5, || drop(black_box(LogRules::of(ruleset))));
    line(
        "rules that log, found",
        Unit::Seconds,
        index,
        None,
        Reach::Most(0.05),
    );
    let rules = LogRules::of(ruleset);
    let lines: Vec<KernelLine> = records[..1_000]
        .iter()
        .filter_map(|text| parse_line(text.as_bytes(), LogSource::Kmsg))
        .collect();
    let one = median_of(5, || {
        for line in &lines {
            let found = attribute([((), ruleset, &rules)], line);
            assert!(!matches!(found, Attribution::Several(_)));
            black_box(found);
        }
    }) / 1_000.0;
    line(
        "a line put down to its rule, of 100 with one prefix",
        Unit::Seconds,
        one,
        None,
        Reach::Most(0.001),
    );
}

/// Lines a second of a run over all of them.
fn a_second(run: impl FnMut()) -> f64 {
    LINES as f64 / median_of(3, run)
}

/// The median processor time of several runs, in seconds.
fn median_of(runs: usize, mut run: impl FnMut()) -> f64 {
    let times = (0..runs).map(|_| {
        let start = used();
        run();
        since(start)
    });
    median(times.collect()).as_secs_f64()
}

fn since(start: Duration) -> Duration {
    used().saturating_sub(start)
}

/// Processor time of this process and of children that have ended.
fn used() -> Duration {
    let of = |who| {
        let usage = getrusage(who).unwrap();
        usage.user_time() + usage.system_time()
    };
    let micros = (of(UsageWho::RUSAGE_SELF) + of(UsageWho::RUSAGE_CHILDREN)).num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

/// Lines of four kinds, none like another.
fn made(wrapping: impl Fn(usize) -> String) -> Vec<String> {
    let v4 = |n: usize| format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255);
    let v6 = |n: usize| {
        format!(
            "2001:0db8:0000:0000:0000:0000:{:04x}:{:04x}",
            n >> 16 & 0xffff,
            n & 0xffff
        )
    };
    (0..LINES)
        .map(|number| {
            let port = 1 + number * 7919 % 60_000;
            let ether = "MAC=02:00:00:bb:00:01:02:00:00:aa:00:02";
            let rest = match number % 4 {
                0 => format!(
                    "[UFW BLOCK] IN=eth0 OUT= {ether}:08:00 SRC={} DST=198.51.100.5 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID={port} DF PROTO=TCP SPT={port} DPT=443 WINDOW=64240 RES=0x00 SYN URGP=0 ",
                    v4(number)
                ),
                1 => format!(
                    "FINAL_REJECT: IN=eth0 OUT= {ether}:86:dd SRC={} DST=2001:0db8:0000:0000:0000:0000:0000:0080 LEN=80 TC=0 HOPLIMIT=63 FLOWLBL=750320 PROTO=TCP SPT={port} DPT=22 WINDOW=64800 RES=0x00 SYN URGP=0 ",
                    v6(number)
                ),
                2 => format!(
                    "Shorewall:net-fw:DROP:IN=eth0 OUT= {ether}:08:00 SRC={} DST=198.51.100.5 LEN=48 TOS=0x00 PREC=0x00 TTL=63 ID=15671 PROTO=UDP SPT={port} DPT=53 LEN=28 MARK=0x2a ",
                    v4(number)
                ),
                _ => format!(
                    "[UFW AUDIT] IN= OUT=eth0 SRC=198.51.100.5 DST={} LEN=76 TOS=0x00 PREC=0xC0 TTL=64 ID=46398 PROTO=ICMP TYPE=3 CODE=3 [SRC={} DST=198.51.100.5 LEN=48 TOS=0x00 PREC=0x00 TTL=64 ID=14213 DF PROTO=UDP SPT={port} DPT=161 LEN=28 ] ",
                    v4(number),
                    v4(number)
                ),
            };
            format!("{}{rest}\n", wrapping(number))
        })
        .collect()
}
