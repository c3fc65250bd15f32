//! The conntrack door against what conntrack(8) and sysctl say.

// clippy.toml lets `#[test]` functions unwrap; their helpers are tests too.
#![allow(clippy::unwrap_used)]

use std::fs;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use ruletop::flow::{ConntrackReading, ConntrackState, Protocol};
use ruletop::netfilter::conntrack::ConntrackMeter;
use ruletop::netfilter::tracked::{Table, table};
use ruletop::ruleset::{Family, Origin};

use crate::support::{Net, in_namespace, send_udp};

fn reading(meter: &mut ConntrackMeter) -> ConntrackReading {
    match meter.read().unwrap() {
        ConntrackState::Present(reading) => reading,
        ConntrackState::Absent => panic!("no conntrack in this kernel"),
    }
}

/// Entries that stay for as long as the test: UDP lives for 30 seconds.
fn track(net: &Net) {
    for origin in [
        Origin::ALL[0],
        Origin::ALL[1],
        Origin::ALL[2],
        Origin::ALL[3],
    ] {
        net.tables(origin, "-A OUTPUT -m conntrack --ctstate NEW -j ACCEPT");
    }
    for port in 5000..5010 {
        send_udp(Family::V4, port, 1, 1);
        send_udp(Family::V6, port, 1, 1);
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap()
}

#[test]
fn the_entries_are_those_of_conntrack() {
    in_namespace(|net| {
        assert_eq!(table(100).unwrap(), Table::default());
        track(net);
        let seen = table(1_000).unwrap();
        assert_eq!(seen.total as u64, number(&net.ok("conntrack -C")));
        assert_eq!(seen.entries.len(), seen.total);
        for (address, port) in [("127.0.0.1", 5003), ("::1", 5007)] {
            let address: std::net::IpAddr = address.parse().unwrap();
            let entry = seen
                .entries
                .iter()
                .find(|entry| (entry.original.dst, entry.original.dport) == (address, Some(port)));
            let entry = entry.unwrap();
            assert_eq!(entry.proto, Protocol::UDP);
            assert!(!entry.is_translated() && !entry.answered, "{entry:?}");
            assert_eq!(entry.reply.sport, Some(port));
        }
        let bounded = table(3).unwrap();
        assert_eq!((bounded.entries.len(), bounded.total), (3, seen.total));
    });
}

#[test]
fn the_count_is_the_namespaces_own() {
    in_namespace(|net| {
        let mut meter = ConntrackMeter::new();
        assert_eq!(reading(&mut meter).count, 0);
        track(net);
        let seen = reading(&mut meter);
        assert!(seen.count >= 20, "{seen:?}");
        assert_eq!(seen.count, number(&net.ok("conntrack -C")));
        assert_eq!(
            seen.max,
            number(&net.ok("cat /proc/sys/net/netfilter/nf_conntrack_max"))
        );
        let buckets = net.ok("cat /proc/sys/net/netfilter/nf_conntrack_buckets");
        assert_eq!(seen.buckets, Some(number(&buckets)));
        net.ok("conntrack -F");
        assert_eq!(reading(&mut meter).count, 0);
    });
}

/// A meter belongs to the namespace that it first looked at.
#[test]
fn a_meter_stays_where_it_was_opened() {
    in_namespace(|net| {
        track(net);
        let mut meter = ConntrackMeter::new();
        let here = reading(&mut meter);
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        assert_eq!(reading(&mut meter).count, here.count);
        assert_eq!(reading(&mut ConntrackMeter::new()).count, 0);
    });
}

#[test]
fn the_counters_are_those_of_conntrack_s() {
    in_namespace(|net| {
        track(net);
        let stats = reading(&mut ConntrackMeter::new()).stats.unwrap();
        let printed = net.ok("conntrack -S");
        let sum = |name: &str| -> u64 {
            let words = printed.split_ascii_whitespace();
            let values = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            values.map(number).sum()
        };
        assert_eq!(stats.found, Some(sum("found")));
        assert_eq!(stats.invalid, Some(sum("invalid")));
        assert_eq!(stats.insert_failed, Some(sum("insert_failed")));
        assert_eq!(stats.drop, Some(sum("drop")));
        assert_eq!(stats.early_drop, Some(sum("early_drop")));
        assert_eq!(stats.search_restart, Some(sum("search_restart")));
        assert!(printed.contains("search_restart="), "{printed}");
    });
}

/// Where /proc says nothing, netlink says the same; where nothing says that conntrack is loaded,
/// nothing is asked.
#[test]
fn netlink_stands_in_for_files_that_are_missing() {
    in_namespace(|net| {
        track(net);
        let by_files = reading(&mut ConntrackMeter::new());
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let hide = |path: &str| {
            mount(Some("none"), path, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        };
        hide("/proc/thread-self/net");
        assert_eq!(reading(&mut ConntrackMeter::new()), by_files);
        hide("/proc/sys/net/netfilter");
        assert!(fs::metadata("/sys/module/nf_conntrack").is_ok());
        let by_netlink = reading(&mut ConntrackMeter::new());
        assert_eq!(
            (by_netlink.count, by_netlink.max),
            (by_files.count, by_files.max)
        );
        assert_eq!(by_netlink.stats, by_files.stats);
        // Nothing is left that says so, and so nobody is asked: the question would load the module.
        hide("/sys/module");
        let absent = ConntrackMeter::new().read().unwrap();
        assert_eq!(absent, ConntrackState::Absent);
    });
}
