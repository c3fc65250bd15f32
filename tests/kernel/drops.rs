//! Lines from the real kernel: NFLOG in a namespace, the ring, and LOG where the host lets it speak.

// clippy.toml lets `#[test]` functions unwrap; their helpers are tests too.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{Flock, FlockArg};
use nix::sched::{CloneFlags, unshare};
use ruletop::app::firewall::ip_version;
use ruletop::flow::{
    Batch, Condition, Hook, KernelLine, LogChannel, LogLine, LogSource, Protocol, Stamp, Wall,
    parse_message,
};
use ruletop::netfilter::drops::{
    self, DropError, DropSource, Following, Kmsg, Options, open_nflog, silence,
};
use ruletop::ruleset::{Family, Origin};

use crate::support::{Net, in_namespace, send_udp, wait_for};

/// A followed source and what it has brought so far.
struct Listening {
    following: Following,
    wakes: Arc<AtomicU64>,
    seen: Mutex<Batch>,
}

impl Listening {
    fn to(source: Box<dyn DropSource>) -> Self {
        let wakes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&wakes);
        let wake = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        Self {
            following: Following::start(source, wake).unwrap(),
            wakes,
            seen: Mutex::default(),
        }
    }

    fn nflog(group: u16) -> Self {
        Self::to(open_nflog(&[group]).unwrap())
    }

    /// All lines so far.
    fn take(&self) -> Vec<KernelLine> {
        let taken = self.following.take();
        assert!(taken.ended.is_none(), "{:?}", taken.ended);
        let mut seen = self.seen.lock().unwrap();
        seen.lines.extend(taken.batch.lines);
        seen.lost += taken.batch.lost;
        seen.lines.clone()
    }

    fn lost(&self) -> u64 {
        self.seen.lock().unwrap().lost
    }

    /// Waits for that many lines with that prefix.
    fn wait(&self, count: usize, prefix: &str) -> Vec<KernelLine> {
        wait_for("log lines", || {
            let mut lines = self.take();
            lines.retain(|line| line.prefix() == prefix.as_bytes());
            (lines.len() >= count).then_some(lines)
        })
    }
}

fn log(line: &KernelLine) -> &LogLine {
    line.log().unwrap()
}

fn loopback(origin: Origin) -> std::net::IpAddr {
    match origin.family {
        Family::V4 => [127, 0, 0, 1].into(),
        Family::V6 => std::net::Ipv6Addr::LOCALHOST.into(),
    }
}

#[test]
fn nflog_tells_what_came_in_on_both_back_ends_and_families() {
    in_namespace(|net| {
        let listening = Listening::nflog(7);
        for origin in Origin::ALL {
            let prefix = format!("in {origin}: ");
            net.tables(
                origin,
                &format!(
                    "-A INPUT -p udp --dport 4000 -j NFLOG --nflog-group 7 --nflog-prefix '{prefix}'"
                ),
            );
        }
        send_udp(Family::V4, 4000, 3, 100);
        send_udp(Family::V6, 4000, 3, 100);
        for origin in Origin::ALL {
            let lines = listening.wait(3, &format!("in {origin}: "));
            assert_eq!(lines.len(), 3);
            for line in &lines {
                assert_eq!(line.source, LogSource::Nflog(7));
                let log = log(line);
                let ip = if origin.family == Family::V4 { 20 } else { 40 };
                assert_eq!(
                    (log.hook, log.condition),
                    (Some(Hook::Input), Condition::Whole)
                );
                assert_eq!(log.input.to_string(), "lo");
                assert!(log.output.is_none());
                assert_eq!(log.packet.family, Some(ip_version(origin.family)));
                assert_eq!(log.packet.src, Some(loopback(origin)));
                assert_eq!(log.packet.dst, Some(loopback(origin)));
                assert_eq!(
                    (log.packet.proto, log.packet.dport),
                    (Some(Protocol::UDP), Some(4000))
                );
                assert_eq!(
                    (log.packet.length, log.packet.udp_length),
                    (Some(ip + 108), Some(108))
                );
                assert!(!log.packet.incomplete);
                assert!(matches!(line.stamp.wall, Some(Wall::At(_))));
                let again = parse_message(&line.text, Stamp::default(), line.source).unwrap();
                assert_eq!(again.log().unwrap().packet, log.packet);
            }
        }
        assert_eq!(listening.lost(), 0);
    });
}

#[test]
fn nflog_tells_the_owner_and_the_mark_of_what_goes_out() {
    in_namespace(|net| {
        let listening = Listening::nflog(65_535);
        for origin in Origin::ALL {
            net.tables(origin, "-t mangle -A OUTPUT -j MARK --set-mark 0x2a");
            net.tables(
                origin,
                &format!(
                    "-A OUTPUT -p udp -j NFLOG --nflog-group 65535 --nflog-prefix 'out {origin}'"
                ),
            );
            send_udp(origin.family, 4001, 1, 1);
            let lines = listening.wait(1, &format!("out {origin}"));
            let log = log(&lines[0]);
            assert_eq!(log.hook, Some(Hook::Output));
            assert_eq!(
                (log.output.to_string().as_str(), log.input.is_none()),
                ("lo", true)
            );
            assert_eq!(log.packet.mark, Some(0x2a));
            let me = nix::unistd::getuid().as_raw();
            assert_eq!(
                (log.uid, log.gid),
                (Some(me), Some(nix::unistd::getgid().as_raw()))
            );
        }
    });
}

#[test]
fn an_icmp_error_shows_the_packet_that_was_refused() {
    in_namespace(|net| {
        let listening = Listening::nflog(8);
        for (origin, icmp) in [(Origin::ALL[0], "icmp"), (Origin::ALL[1], "ipv6-icmp")] {
            let family = origin.family;
            let icmp = if family == Family::V4 { "icmp" } else { icmp };
            net.tables(origin, "-A INPUT -p udp --dport 4002 -j REJECT");
            net.tables(
                origin,
                &format!("-A INPUT -p {icmp} -j NFLOG --nflog-group 8 --nflog-prefix '{origin} '"),
            );
            send_udp(family, 4002, 1, 10);
            let lines = listening.wait(1, &format!("{origin} "));
            let inner = log(&lines[0]).inner.as_deref().unwrap();
            assert_eq!(
                (inner.proto, inner.dport),
                (Some(Protocol::UDP), Some(4002))
            );
            assert_eq!(inner.family, Some(ip_version(family)));
        }
    });
}

#[test]
fn a_group_that_another_program_has_is_said_to_be_busy() {
    in_namespace(|_| {
        let _first = open_nflog(&[9]).unwrap();
        let second = open_nflog(&[10, 9]).map(|source| source.describe());
        let error = second.unwrap_err();
        assert!(
            matches!(error, DropError::Busy { group: 9, .. }),
            "{error:?}"
        );
        // The port of a program's first socket is its process id, here our own or, where other
        // tests have sockets too, nobody's.
        assert!(error.to_string().contains("is taken by "), "{error}");
        // What the failed attempt had bound is free again.
        let third = open_nflog(&[10]).unwrap();
        assert_eq!(third.describe(), "nflog group 10");
    });
}

/// Listening must not make us the namespace's logger, which TRACE and others write to.
#[test]
fn listening_leaves_the_loggers_alone() {
    in_namespace(|net| {
        let before = net.ok("cat /proc/thread-self/net/netfilter/nf_log");
        let _listening = Listening::nflog(11);
        assert_eq!(net.ok("cat /proc/thread-self/net/netfilter/nf_log"), before);
    });
}

/// Packets that nobody read in time are counted to the last one, and what is kept is the newest.
#[test]
fn a_flood_is_bounded_and_counted() {
    const FLOOD: usize = 60_000;
    in_namespace(|net| {
        let mut source = open_nflog(&[12]).unwrap();
        net.tables(
            Origin::ALL[0],
            "-A OUTPUT -p udp --dport 4003 -j NFLOG --nflog-group 12 --nflog-prefix 'f '",
        );
        send_udp(Family::V4, 4003, FLOOD, 200);
        // Now somebody reads, and a packet after the loss tells how much was lost.
        let (stop, stopped) = ruletop::netfilter::drops::Stop::pair().unwrap();
        let (mut lines, mut lost) = (0, 0);
        let mut stop = Some(stop);
        let mut after = 0;
        source
            .follow(&stopped, &mut |batch| {
                lines += batch.lines.len() as u64;
                lost += batch.lost;
                if lines + lost >= FLOOD as u64 + after {
                    drop(stop.take());
                } else if after < 100 {
                    after += 1;
                    send_udp(Family::V4, 4003, 1, 200);
                }
            })
            .unwrap();
        assert!(lost > 0, "the flood was too small to overflow the socket");
        assert_eq!(lines + lost, FLOOD as u64 + after);
    });
}

/// A source that has nothing to say wakes nobody.
#[test]
fn silence_costs_nothing() {
    in_namespace(|net| {
        let listening = Listening::nflog(13);
        net.tables(
            Origin::ALL[0],
            "-A OUTPUT -p udp --dport 4004 -j NFLOG --nflog-group 13",
        );
        send_udp(Family::V4, 4005, 50, 1);
        send_udp(Family::V4, 4004, 1, 1);
        listening.wait(1, "");
        assert_eq!(listening.wakes.load(Ordering::Relaxed), 1);
    });
}

fn kmsg_write(text: &str) -> std::io::Result<()> {
    let mut kmsg = File::options().write(true).open("/dev/kmsg")?;
    // Without its line end a record may still grow, and nobody is shown it.
    kmsg.write_all(format!("{text}\n").as_bytes())
}

/// Each test marks its lines, since the ring is everybody's.
fn marked(mark: &str) -> String {
    format!(
        "{mark} IN=lo OUT= SRC=127.0.0.1 DST=127.0.0.1 LEN=28 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=UDP SPT=1 DPT=7 LEN=8 "
    )
}

#[test]
fn the_ring_is_read_from_the_past_into_the_present() {
    let mark = format!("ruletop-test-{}-\u{1b}é ", std::process::id());
    if kmsg_write(&format!("<4>{}", marked(&mark))).is_err() {
        return the_ring_is_refused_or_read();
    }
    // Others may be writing to the ring, too.
    let source = Kmsg::open(&Options { history: 50_000 })
        .unwrap()
        .with_all_writers();
    let listening = Listening::to(Box::new(source));
    // The escape and the letter come back as the bytes that they were; the blank is our own.
    let prefix = format!("{mark} ");
    let past = listening.wait(1, &prefix);
    assert!(past[0].stamp.boot.is_some() && past[0].stamp.wall.is_some());
    kmsg_write(&format!("<4>{}", marked(&mark))).unwrap();
    let lines = listening.wait(2, &prefix);
    assert_eq!(lines.len(), 2);
    assert!(lines[1].age.is_zero());
    assert!(lines[0].stamp.boot < lines[1].stamp.boot);

    // Without a history the past is not told, and what a program wrote is not the kernel's word.
    let options = Options { history: 0 };
    let present = Kmsg::open(&options).unwrap().with_all_writers();
    let present = Listening::to(Box::new(present));
    let kernel = Listening::to(Box::new(Kmsg::open(&Options::default()).unwrap()));
    kmsg_write(&format!("<4>{}", marked(&mark))).unwrap();
    listening.wait(3, &prefix);
    assert_eq!(present.wait(1, &prefix).len(), 1);
    let forged = |line: &KernelLine| line.prefix() == prefix.as_bytes();
    assert!(!kernel.take().iter().any(forged));
}

/// In a user namespace the ring cannot be written to; whether it may be read is the host's to say.
fn the_ring_is_refused_or_read() {
    match Kmsg::open(&Options::default()) {
        Ok(source) => drop(Listening::to(Box::new(source)).take()),
        Err(error) => {
            let refused = matches!(error, DropError::Denied { .. } | DropError::Absent { .. });
            assert!(refused, "{error}");
        }
    }
}

/// Sets `nf_log_all_netns` and puts it back when this process goes, however it goes: a shell, in a
/// process group of its own and deaf to signals, waits for its standard input to close. The file is
/// locked, through the shell, until then: two that set it would each put back what the other had set.
struct AllNetns {
    watch: Child,
    _lock: Flock<File>,
}

impl AllNetns {
    const PATH: &str = "/proc/sys/net/netfilter/nf_log_all_netns";

    /// `None` where the host does not let us: outside of the first network namespace, or without root.
    fn set() -> Option<Self> {
        let sysctl = File::options().write(true).open(Self::PATH).ok()?;
        let sysctl = Flock::lock(sysctl, FlockArg::LockExclusive).unwrap();
        let old = std::fs::read_to_string(Self::PATH).unwrap();
        let script = format!("trap '' HUP INT TERM; cat > /dev/null; echo {}", old.trim());
        let watch = Command::new("sh")
            .args(["-c", &script])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(sysctl.try_clone().unwrap())
            .spawn()
            .unwrap();
        let guard = Self {
            watch,
            _lock: sysctl,
        };
        std::fs::write(Self::PATH, "1").unwrap();
        Some(guard)
    }
}

impl Drop for AllNetns {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

/// The best that can be had is taken, and of what could not be had each is said why.
#[test]
fn the_next_best_source_is_taken_and_the_better_ones_are_explained() {
    in_namespace(|net| {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        net.ok("mount --make-rprivate /");
        let options = Options::default();
        let chosen = || {
            let opened = drops::open_best(&options);
            let why: Vec<String> = opened
                .passed_over
                .iter()
                .map(|passed| passed.error.to_string())
                .collect();
            (opened.source.map(|source| source.describe()), why)
        };
        let (source, why) = chosen();
        match File::open("/dev/kmsg") {
            Ok(_) => assert_eq!((source.as_deref(), why.len()), (Some("/dev/kmsg"), 0)),
            Err(error) => assert!(why[0].contains(&error.to_string()), "{why:?}"),
        }

        for place in ["/run", "/var/log"] {
            net.ok(&format!("mount -t tmpfs none {place}"));
        }
        net.ok("touch /run/null && mount --bind /dev/null /run/null");
        net.ok("mount -t tmpfs none /dev && touch /dev/null && mount --bind /run/null /dev/null");
        let (source, why) = chosen();
        assert_eq!(source, None);
        assert!(why[0].starts_with("/dev/kmsg: not there; this looks like a container"));
        assert!(why[1].starts_with("journal: not there; "), "{why:?}");
        assert!(
            why[2].starts_with("/var/log/kern.log: not there; "),
            "{why:?}"
        );

        net.ok("echo > /var/log/messages; chmod 600 /var/log/messages");
        net.ok("mkdir -p /run/log/journal/0; touch /run/log/journal/0/system.journal");
        net.ok("chmod 600 /run/log/journal/0/system.journal; touch /dev/kmsg; chmod 600 /dev/kmsg");
        // The file system's idea of who we are is each thread's own. Where there is nobody else to
        // be (a user namespace of one), the refusal above was the kernel's own.
        let nobody = nix::unistd::Uid::from_raw(65_534);
        nix::unistd::setfsuid(nobody);
        if nix::unistd::setfsuid(nobody) == nobody {
            let (source, why) = chosen();
            assert_eq!(source, None);
            let names = ["/dev/kmsg", "journal", "/var/log/messages"];
            for (name, why) in names.iter().zip(why) {
                assert!(
                    why.starts_with(&format!("{name}: Permission denied")),
                    "{why}"
                );
                assert!(why.contains("run as root"), "{why}");
            }
            nix::unistd::setfsuid(nix::unistd::Uid::from_raw(0));
        }
        net.ok("rm /dev/kmsg; rm -r /run/log");
        let (source, why) = chosen();
        assert_eq!(
            (source.as_deref(), why.len()),
            (Some("/var/log/messages"), 2)
        );
    });
}

/// A namespace of our own is not the first one, and that is found to be why LOG is silent in it.
#[test]
fn the_silence_of_a_namespace_has_its_cause() {
    let outside = std::fs::metadata(AllNetns::PATH).is_ok();
    assert_eq!(silence::look().first_namespace, Some(outside));
    in_namespace(|_| {
        let facts = silence::look();
        assert_eq!(facts.first_namespace, Some(false));
        assert_eq!(facts.loggers, [Some(true), Some(true)]);
        let sources = silence::Sources {
            kernel: Some(LogSource::Kmsg),
            ..silence::Sources::default()
        };
        for family in [Family::V4, Family::V6] {
            let causes = silence::causes(LogChannel::Kernel(ip_version(family)), &facts, &sources);
            assert_eq!(causes, [silence::Cause::OtherNamespace]);
        }
    });
}

#[test]
fn log_rules_speak_through_the_ring_on_both_back_ends_and_families() {
    let options = Options { history: 0 };
    let (Some(_guard), Ok(_)) = (AllNetns::set(), Kmsg::open(&options)) else {
        return in_namespace(log_rules_count_and_are_not_heard);
    };
    in_namespace(move |net: &Net| {
        // The logger that is bound to a family is TRACE's, not LOG's.
        net.ok("echo NONE > /proc/sys/net/netfilter/nf_log/2");
        net.ok("echo NONE > /proc/sys/net/netfilter/nf_log/10");
        let listening = Listening::to(Box::new(Kmsg::open(&options).unwrap()));
        for origin in Origin::ALL {
            let prefix = format!("rt{} {origin} ", std::process::id());
            net.tables(
                origin,
                &format!("-A INPUT -p udp --dport 4006 -j LOG --log-prefix '{prefix}' --log-uid"),
            );
            net.tables(origin, "-A INPUT -p udp --dport 4006 -j DROP");
            send_udp(origin.family, 4006, 2, 10);
            for line in listening.wait(2, &prefix) {
                let log = log(&line);
                assert_eq!(line.source, LogSource::Kmsg);
                assert_eq!(
                    (log.condition, log.packet.dport),
                    (Condition::Whole, Some(4006))
                );
                assert_eq!(log.packet.src, Some(loopback(origin)));
                assert_eq!(log.input.to_string(), "lo");
                assert!(log.link.ethertype().is_some());
            }
            net.tables(origin, "-F INPUT");
        }
    });
    assert_eq!(std::fs::read_to_string(AllNetns::PATH).unwrap().trim(), "1");
}

/// The ring is small and a flood overwrites it: what we did not see in time is counted.
#[test]
fn a_ring_that_runs_over_is_counted() {
    const FLOOD: u64 = 6_000;
    let options = Options { history: 0 };
    let (Some(_guard), Ok(mut ring)) = (AllNetns::set(), Kmsg::open(&options)) else {
        return in_namespace(log_rules_count_and_are_not_heard);
    };
    in_namespace(move |net: &Net| {
        let prefix = format!("flood{} ", std::process::id());
        let rule = format!("-A OUTPUT -p udp --dport 4007 -j LOG --log-prefix '{prefix}'");
        net.tables(Origin::ALL[0], &rule);
        // Nobody reads yet, and a megabyte and a half goes through the ring.
        send_udp(Family::V4, 4007, usize::try_from(FLOOD).unwrap(), 1);
        let (stop, stopped) = drops::Stop::pair().unwrap();
        let mut stop = Some(stop);
        let (mut lines, mut lost) = (0, 0);
        ring.follow(&stopped, &mut |batch| {
            let ours = |line: &&KernelLine| line.prefix() == prefix.as_bytes();
            lines += batch.lines.iter().filter(ours).count() as u64;
            // Others may write to the ring, and what is lost may have been theirs.
            lost += batch.lost;
            if lines + lost >= FLOOD {
                drop(stop.take());
            } else {
                send_udp(Family::V4, 4008, 1, 1);
            }
        })
        .unwrap();
        assert!(lost > 0 && lines > 0, "{lines} lines, {lost} lost");
    });
}

/// Where LOG cannot be made to speak, it is silent for the reason that we give.
fn log_rules_count_and_are_not_heard(net: &Net) {
    for origin in Origin::ALL {
        net.tables(origin, "-A INPUT -p udp --dport 4006 -j LOG");
        send_udp(origin.family, 4006, 2, 10);
        let counted = net.tables(origin, "-nvxL INPUT");
        let packets = counted
            .lines()
            .nth(2)
            .unwrap()
            .split_ascii_whitespace()
            .next();
        assert!(packets.unwrap().parse::<u64>().unwrap() >= 2, "{counted}");
        let sources = silence::Sources {
            kernel: Some(LogSource::Kmsg),
            ..silence::Sources::default()
        };
        let channel = LogChannel::Kernel(ip_version(origin.family));
        let causes = silence::causes(channel, &silence::look(), &sources);
        assert_eq!(causes, [silence::Cause::OtherNamespace]);
    }
}
