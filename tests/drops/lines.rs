//! Every line of the fixtures, and of the collection beside the checkout where it is there, is read
//! for what it is.

use std::fmt::Write as _;
use std::path::Path;

use ruletop::flow::{Body, Condition, KernelLine, LogLine, LogSource, Packet, parse_line};

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kernlog");
    std::fs::read_to_string(path.join(name)).unwrap()
}

/// What was understood of each line, one paragraph a line.
fn understood(name: &str) -> String {
    let mut text = String::new();
    for line in fixture(name).lines() {
        if line.starts_with('@') {
            writeln!(text, "{line}").unwrap();
            continue;
        }
        match parse_line(line.as_bytes(), LogSource::Text) {
            Some(line) => describe(&mut text, &line),
            None => writeln!(text, "-").unwrap(),
        }
    }
    text
}

fn describe(text: &mut String, line: &KernelLine) {
    let stamp = line.stamp;
    write!(text, "{:?} {:?}: ", stamp.boot, stamp.wall).unwrap();
    match &line.body {
        Body::Packet(log) => {
            let prefix = line.prefix().escape_ascii();
            write!(text, "\"{prefix}\" ").unwrap();
            describe_log(text, log);
        }
        Body::Trace(trace) => {
            let (table, chain) = (trace.table.escape_ascii(), trace.chain.escape_ascii());
            write!(
                text,
                "trace {table} {chain} {:?} {} ",
                trace.step, trace.number
            )
            .unwrap();
            describe_log(text, &trace.log);
        }
        Body::Suppressed(held) => {
            write!(
                text,
                "{} held back by {}",
                held.count,
                held.by.escape_ascii()
            )
            .unwrap();
        }
        other => write!(text, "{other:?}").unwrap(),
    }
    text.push('\n');
}

fn describe_log(text: &mut String, log: &LogLine) {
    write!(text, "{:?} {}>{}", log.condition, log.input, log.output).unwrap();
    if !log.link.is_none() {
        write!(text, " link {}", log.link).unwrap();
    }
    describe_packet(text, &log.packet);
    if let Some(inner) = &log.inner {
        text.push_str(" quotes");
        describe_packet(text, inner);
    }
    for (name, value) in [("uid", log.uid), ("gid", log.gid)] {
        if let Some(value) = value {
            write!(text, " {name} {value}").unwrap();
        }
    }
    if log.times != 1 {
        write!(text, " {} times", log.times).unwrap();
    }
}

/// The fields that are set, in words of their own: a `Debug` of thirty fields would hide them.
fn describe_packet(text: &mut String, packet: &Packet) {
    let all = format!("{packet:?}");
    let fields = all.trim_start_matches("Packet { ").trim_end_matches(" }");
    let mut depth = 0;
    let set = fields.split(|c: char| {
        depth += i32::from("([{".contains(c)) - i32::from(")]}".contains(c));
        c == ',' && depth == 0
    });
    let set = set.filter(|field| !field.ends_with(": None") && !field.ends_with(": false"));
    text.extend(set.map(|field| format!(" {}", field.trim().replace("Some", ""))));
}

#[test]
fn raw_records_of_the_ring() {
    insta::assert_snapshot!("kmsg", understood("kmsg.txt"));
}

#[test]
fn every_form_of_dmesg() {
    insta::assert_snapshot!("dmesg", understood("dmesg.txt"));
}

#[test]
fn syslog_and_whose_words_it_holds() {
    insta::assert_snapshot!("syslog", understood("syslog.txt"));
}

#[test]
fn the_kernels_other_lines() {
    insta::assert_snapshot!("events", understood("events.txt"));
}

#[test]
fn lines_cut_and_run_together() {
    insta::assert_snapshot!("damaged", understood("damaged.txt"));
}

/// The same message is the same whatever it was wrapped in.
#[test]
fn wrappings_change_nothing() {
    let dmesg = fixture("dmesg.txt");
    let mut groups: Vec<Vec<KernelLine>> = Vec::new();
    for line in dmesg.lines() {
        if line.starts_with('@') {
            groups.push(Vec::new());
        } else {
            let parsed = parse_line(line.as_bytes(), LogSource::Text).unwrap();
            groups.last_mut().unwrap().push(parsed);
        }
    }
    let (first, others) = groups.split_first().unwrap();
    assert_eq!(others.len(), 6);
    for other in others {
        for (a, b) in first.iter().zip(other) {
            assert_eq!((&a.body, &a.text), (&b.body, &b.text));
        }
        assert_eq!(first.len(), other.len());
    }
}

/// Real lines of many machines, beside the checkout where they are there. What is not a packet is
/// said to be what it is, and nothing is taken for another thing.
#[test]
fn the_collection_beside_the_checkout() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = [
        "../shared/data/kernlog.txt",
        "../../shared/data/kernlog.txt",
    ];
    let Some(text) = places
        .iter()
        .find_map(|place| std::fs::read(root.join(place)).ok())
    else {
        eprintln!("no collection beside this checkout");
        return;
    };
    let (mut packets, mut traces, mut events) = (0, 0, 0);
    for line in text.split(|b| *b == b'\n') {
        if line.is_empty() || line.starts_with(b"#") || line.starts_with(b"@") {
            continue;
        }
        let shown = String::from_utf8_lossy(line);
        let Some(parsed) = parse_line(line, LogSource::Text) else {
            assert!(shown.contains("ll header"), "{shown}");
            continue;
        };
        match &parsed.body {
            Body::Packet(log) => {
                packets += 1;
                check(&shown, log);
            }
            Body::Trace(trace) => {
                traces += 1;
                check(&shown, &trace.log);
                assert!(shown.contains("TRACE: "), "{shown}");
            }
            _ => {
                events += 1;
                assert!(!shown.contains(" OUT="), "{shown}");
            }
        }
    }
    assert!(
        packets > 100 && traces >= 10 && events >= 6,
        "{packets} {traces} {events}"
    );
}

fn check(line: &str, log: &LogLine) {
    // Two lines were made anonymous with an address and an identifier that cannot be.
    if line.contains("444.333") || line.contains("ID=98765") {
        assert_eq!(log.condition, Condition::Damaged, "{line}");
        return;
    }
    assert_eq!(log.condition, Condition::Whole, "{line}");
    let packet = &log.packet;
    let wanted = |key: &str| {
        let outer = line.split(" [SRC=").next().unwrap();
        let at = outer.rfind(key)?;
        outer[at + key.len()..].split(' ').next()
    };
    if let Some(port) = wanted(" DPT=") {
        assert_eq!(
            packet.dport.map(|port| port.to_string()).as_deref(),
            Some(port),
            "{line}"
        );
    }
    let src = wanted(" SRC=").unwrap();
    assert_eq!(packet.src, src.parse().ok(), "{line}");
    assert_eq!(log.inner.is_some(), line.contains(" [SRC="), "{line}");
    let mark = wanted(" MARK=").map(|mark| mark.trim_start_matches("0x"));
    let mark = mark.map(|mark| u32::from_str_radix(mark, 16).unwrap());
    assert_eq!(packet.mark, mark, "{line}");
}
