//! What the feed shows for what was pushed.

use super::*;
use crate::flow::{LogSource, Protocol, parse_line};

const SECOND: Duration = Duration::from_secs(1);

fn packet(src: &str, dport: u16) -> KernelLine {
    let text = format!(
        "[UFW BLOCK] IN=eth0 OUT= SRC={src} DST=10.0.0.1 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=1 DF \
         PROTO=TCP SPT=50000 DPT={dport} WINDOW=8192 RES=0x00 SYN URGP=0 "
    );
    line(&text)
}

fn line(text: &str) -> KernelLine {
    parse_line(text.as_bytes(), LogSource::Text).unwrap()
}

fn push(feed: &mut Feed, now: Duration, lines: Vec<KernelLine>) {
    feed.push(now, Batch { lines, lost: 0 });
}

fn shown(feed: &Feed, now: Duration) -> Vec<(String, u64)> {
    let name = |row: &GroupRow| match &row.key {
        GroupKey::Flow(flow) => format!("{} {:?}", flow.src.unwrap(), flow.port),
        GroupKey::Event(event) => format!("{event:?}"),
    };
    feed.groups(now)
        .iter()
        .map(|row| (name(row), row.count))
        .collect()
}

fn pair(name: &str, count: u64) -> (String, u64) {
    (name.to_owned(), count)
}

#[test]
fn lines_are_grouped_and_the_busiest_group_comes_first() {
    let mut feed = Feed::default();
    for i in 0..10 {
        let at = SECOND * i;
        let mut lines = vec![packet("203.0.113.9", 443); 4];
        lines.push(packet("198.51.100.7", 22));
        push(&mut feed, at, lines);
    }
    let now = SECOND * 9;
    assert_eq!(
        shown(&feed, now),
        [
            pair("203.0.113.9 Port(443)", 40),
            pair("198.51.100.7 Port(22)", 10)
        ]
    );
    let rows = feed.groups(now);
    assert!((3.5..5.0).contains(&rows[0].rate), "{}", rows[0].rate);
    assert_eq!((rows[0].first, rows[0].last), (Moment(0), Moment(9_000)));
    assert_eq!(rows[0].dst, Some("10.0.0.1".parse().unwrap()));
    let totals = feed.totals(now);
    assert_eq!(
        (totals.lines, totals.last_minute, totals.groups_last_minute),
        (50, 50, 2)
    );
    assert_eq!(feed.totals(SECOND * 68).last_minute, 5);
    assert!(feed.is_moving(SECOND * 68) && !feed.is_moving(SECOND * 71));
    let later = feed.groups(SECOND * 100);
    assert!(later.iter().all(|row| row.rate.abs() < f64::EPSILON));
}

#[test]
fn what_a_group_does_not_share_is_said_by_the_latest_line() {
    let mut feed = Feed::default();
    let other = line(
        "[UFW BLOCK] IN=eth0 OUT= SRC=203.0.113.9 DST=10.0.0.2 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=1 \
         PROTO=TCP SPT=9 DPT=443 WINDOW=1 RES=0x00 SYN URGP=0 ",
    );
    push(&mut feed, SECOND, vec![packet("203.0.113.9", 443), other]);
    let rows = feed.groups(SECOND);
    assert_eq!((rows.len(), rows[0].dst), (1, None));
    assert_eq!(rows[0].sample.log().unwrap().packet.sport, Some(9));
}

#[test]
fn history_counts_but_has_no_rate() {
    let mut feed = Feed::default();
    let mut old = packet("203.0.113.9", 443);
    old.age = Duration::from_secs(3600);
    let mut recent = packet("203.0.113.9", 443);
    recent.age = Duration::from_secs(30);
    push(&mut feed, SECOND, vec![old, recent]);
    let rows = feed.groups(SECOND);
    assert_eq!((rows[0].count, rows[0].first), (2, Moment(-3_599_000)));
    assert!(rows[0].rate.abs() < f64::EPSILON);
    assert_eq!(feed.totals(SECOND).last_minute, 1);
}

#[test]
fn a_scan_of_many_sources_stays_within_bounds_and_is_said() {
    let limits = Limits {
        lines: 100,
        groups: 64,
    };
    let mut feed = Feed::new(limits);
    for i in 0..1_000u32 {
        let now = Duration::from_millis(u64::from(i) * 10);
        let src = format!("10.1.{}.{}", i / 250, i % 250);
        push(
            &mut feed,
            now,
            vec![packet(&src, 22), packet("203.0.113.9", 443)],
        );
    }
    let now = SECOND * 10;
    let rows = shown(&feed, now);
    assert!(rows.len() <= 64, "{}", rows.len());
    assert_eq!(rows[0], pair("203.0.113.9 Port(443)", 1_000));
    assert_eq!(feed.lines().count(), 100);
    let totals = feed.totals(now);
    let kept: u64 = rows.iter().map(|(_, count)| count).sum();
    assert_eq!(kept + totals.evicted_lines, totals.lines);
    assert!(totals.evicted_groups > 900);
    assert_eq!(feed.groups.distinct_texts(), 1);
}

#[test]
fn two_feeds_of_the_same_lines_look_the_same() {
    let limits = Limits {
        lines: 50,
        groups: 16,
    };
    let build = || {
        let mut feed = Feed::new(limits);
        for i in 0..200u16 {
            push(&mut feed, SECOND, vec![packet("10.0.0.1", i)]);
        }
        shown(&feed, SECOND)
    };
    assert_eq!(build(), build());
}

#[test]
fn pausing_freezes_the_view_and_not_the_feed() {
    let mut feed = Feed::new(Limits {
        lines: 2,
        groups: 8,
    });
    push(
        &mut feed,
        SECOND,
        vec![packet("10.0.0.1", 1), packet("10.0.0.2", 2)],
    );
    feed.pause(SECOND);
    let before = feed.version();
    push(&mut feed, SECOND * 2, vec![packet("10.0.0.3", 3); 5]);
    assert_ne!(feed.version(), before);
    let ports = |feed: &Feed| -> Vec<Option<u16>> {
        let port = |shown: &FeedLine| shown.line.log().and_then(|log| log.packet.dport);
        feed.lines().map(port).collect()
    };
    assert_eq!(ports(&feed), [Some(1), Some(2)]);
    assert_eq!(shown(&feed, SECOND * 60).len(), 2);
    assert_eq!((feed.behind(), feed.paused_at()), (5, Some(SECOND)));
    assert!(!feed.is_moving(SECOND * 2));
    feed.set_filter(Filter::parse("port:2"));
    assert_eq!(ports(&feed), [Some(2)]);
    assert_eq!(shown(&feed, SECOND), [pair("10.0.0.2 Port(2)", 1)]);
    feed.set_filter(Filter::default());
    feed.pause(SECOND * 3);
    assert_eq!(feed.paused_at(), Some(SECOND));
    feed.resume();
    assert_eq!((ports(&feed), feed.behind()), (vec![Some(3), Some(3)], 0));
    assert_eq!(shown(&feed, SECOND * 2)[0], pair("10.0.0.3 Port(3)", 5));
}

#[test]
fn the_kernels_other_lines_are_groups_of_their_own() {
    let mut feed = Feed::default();
    push(
        &mut feed,
        SECOND,
        vec![
            line("nf_conntrack: table full, dropping packet"),
            line("nf_conntrack: table full, dropping packet"),
            line("net_ratelimit: 90 callbacks suppressed"),
            line("IPv4: martian source 10.0.0.1 from 37.35.96.16, on dev eth0"),
        ],
    );
    feed.push(
        SECOND,
        Batch {
            lines: Vec::new(),
            lost: 7,
        },
    );
    let rows = shown(&feed, SECOND);
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0].1, 90);
    assert_eq!(rows[1], pair("TableFull(None)", 2));
    let totals = feed.totals(SECOND);
    assert_eq!((totals.suppressed, totals.lost, totals.lines), (90, 7, 4));
}

#[test]
fn lines_that_cannot_be_trusted_are_in_no_group() {
    let mut feed = Feed::default();
    let garbled = line(
        "x: IN=eth0 OUT= SRC=444.1.1.1 DST=10.0.0.1 LEN=1 TOS=0x00 PREC=0x00 TTL=1 ID=1 PROTO=2 ",
    );
    let cut = line("x: IN=eth0 OUT= SRC=10.0.0.9 DST=10.0.0.1 LEN=60 TOS=0x0");
    let usable = line(
        "x: IN=eth0 OUT= SRC=10.0.0.9 DST=10.0.0.1 LEN=60 TOS=0x00 PREC=0x00 TTL=1 ID=1 PROTO=TCP SPT=1 DPT=2 ",
    );
    push(&mut feed, SECOND, vec![garbled, cut, usable]);
    assert_eq!(shown(&feed, SECOND), [pair("10.0.0.9 Port(2)", 1)]);
    let totals = feed.totals(SECOND);
    assert_eq!((totals.damaged, totals.truncated, totals.lines), (1, 2, 3));
    assert_eq!(feed.lines().count(), 3);
}

#[test]
fn folded_repeats_count_as_often_as_they_came() {
    let mut feed = Feed::default();
    let text = "Nov 20 22:19:12 web kernel: message repeated 3 times: [ x: IN=eth0 OUT= SRC=10.0.0.9 \
        DST=10.0.0.1 LEN=60 TOS=0x00 PREC=0x00 TTL=1 ID=1 PROTO=2]";
    push(&mut feed, SECOND, vec![line(text)]);
    let rows = feed.groups(SECOND);
    assert_eq!(rows[0].count, 3);
    let GroupKey::Flow(flow) = &rows[0].key else {
        panic!("{:?}", rows[0].key);
    };
    assert_eq!((flow.proto, flow.port), (Some(Protocol::IGMP), Port::None));
}
