//! The poller against real firewalls: what it tells, when it is quiet, and that it follows every change.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use ruletop::ruleset::{BaseChain, ChainIdx, Counters, Origin, Reading, RuleIdx, Ruleset};
use ruletop::runtime::poller::{Budget, Command, Loaded, Options, PollEvent, Poller, Source};

use crate::support::{LEGACY4, LEGACY6, NFT4, NFT6, Net, in_namespace, send_udp};

/// The longest that an event is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(50);

/// A poller and what it told.
struct Watched {
    poller: Poller,
    events: Receiver<PollEvent>,
}

fn start() -> Watched {
    start_with(Budget::default())
}

fn start_with(budget: Budget) -> Watched {
    let (sender, events) = channel();
    let options = Options {
        interval: TICK,
        budget,
    };
    let sink = Box::new(move |event| sender.send(event).is_ok());
    let poller = Poller::spawn(options, sink).expect("a thread");
    Watched { poller, events }
}

impl Watched {
    /// The first event that `wanted` makes something of.
    fn until<T>(&self, what: &str, mut wanted: impl FnMut(PollEvent) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => {
                    if let Some(found) = wanted(event) {
                        return found;
                    }
                }
                Err(error) => panic!("{what}: {error}"),
            }
        }
    }

    fn loaded(&self, origin: Origin) -> Box<Loaded> {
        self.until(&format!("{origin} to be loaded"), |event| match event {
            PollEvent::Loaded(loaded) if loaded.origin == origin => Some(loaded),
            _ => None,
        })
    }

    /// The next load of `origin` whose text holds `words`.
    fn loaded_with(&self, origin: Origin, words: &str) -> Box<Loaded> {
        self.until(&format!("{origin} with {words}"), |event| match event {
            PollEvent::Loaded(loaded) if loaded.origin == origin => {
                let text = String::from_utf8_lossy(loaded.ruleset.bytes()).into_owned();
                text.contains(words).then_some(loaded)
            }
            _ => None,
        })
    }

    fn reading(
        &self,
        origin: Origin,
        chain: ChainIdx,
        wanted: impl Fn(&Reading) -> bool,
    ) -> Reading {
        self.until("a reading", |event| match event {
            PollEvent::Counters {
                origin: of,
                readings,
                ..
            } if of == origin => readings
                .into_iter()
                .find(|reading| reading.chain == chain && wanted(reading)),
            _ => None,
        })
    }

    fn native(&self, wanted: impl Fn(&[BaseChain]) -> bool) -> Vec<BaseChain> {
        self.until("native chains", |event| match event {
            PollEvent::Native(chains) if wanted(&chains) => Some(chains),
            _ => None,
        })
    }
}

fn input(ruleset: &Arc<Ruleset>) -> ChainIdx {
    ruleset.find_chain("filter", "INPUT").expect("INPUT")
}

fn counted(net: &Net, origin: Origin) {
    net.tables(origin, "-A INPUT -p udp -m udp --dport 9");
}

#[test]
fn every_origin_is_answered_once_at_the_start() {
    in_namespace(|net| {
        counted(net, NFT6);
        counted(net, LEGACY4);
        let watched = start();
        let mut answers = Vec::new();
        watched.until("four answers", |event| {
            match event {
                PollEvent::Loaded(loaded) => answers.push((loaded.origin, true)),
                PollEvent::Gone { origin } => answers.push((origin, false)),
                PollEvent::Failed { origin, error, .. } => panic!("{origin}: {error}"),
                _ => {}
            }
            (answers.len() == 4).then_some(())
        });
        answers.sort();
        let mut expected = [
            (NFT4, false),
            (NFT6, true),
            (LEGACY4, true),
            (LEGACY6, false),
        ];
        expected.sort();
        assert_eq!(answers, expected);
    });
}

#[test]
fn numbers_follow_the_traffic_on_every_origin() {
    for origin in Origin::ALL {
        in_namespace(move |net| {
            counted(net, origin);
            let watched = start();
            let loaded = watched.loaded(origin);
            assert_eq!(loaded.source, Source::Kernel);
            let chain = input(&loaded.ruleset);
            watched.poller.send(Command::Watch { origin, chain });
            send_udp(origin.family, 9, 5, 12);
            let reading = watched.reading(origin, chain, |reading| reading.counters.is_some());
            let rule = reading.counters.expect("checked").rules[0];
            assert_eq!(rule.packets, 5, "{origin}");
            // A chain in view is told of at every tick, also when nothing changed.
            let quiet = watched.reading(origin, chain, |_| true);
            assert_eq!(quiet.counters, None, "{origin}");
        });
    }
}

#[test]
fn a_change_is_read_and_signed() {
    in_namespace(|net| {
        counted(net, NFT4);
        let watched = start();
        let first = watched.loaded(NFT4);
        assert_eq!(first.author, None, "it was there before");
        let handles = first.handles.clone().expect("nft has handles");
        net.tables(NFT4, "-I INPUT 1 -p tcp -j ACCEPT");
        let second = watched.loaded_with(NFT4, "-p tcp -j ACCEPT");
        let author = second.author.clone().expect("signed");
        assert_eq!(author.name, "iptables-nft");
        assert!(!second.missed_changes);
        let moved = second.handles.clone().expect("nft has handles");
        assert_eq!(
            moved.rules[1], handles.rules[0],
            "the old rule is the second now"
        );
        send_udp(NFT4.family, 9, 3, 1);
        let chain = input(&second.ruleset);
        let reading = watched.reading(NFT4, chain, |reading| reading.counters.is_some());
        let rules = reading.counters.expect("checked").rules;
        let packets: Vec<u64> = rules.iter().map(|rule| rule.packets).collect();
        assert_eq!(packets, [0, 3]);
    });
}

#[test]
fn a_legacy_change_is_noticed_without_an_event() {
    for origin in [LEGACY4, LEGACY6] {
        in_namespace(move |net| {
            counted(net, origin);
            let watched = start();
            watched.loaded(origin);
            // The same size as before, so only the content tells.
            net.tables(origin, "-R INPUT 1 -p udp -m udp --dport 10");
            let second = watched.loaded_with(origin, "--dport 10");
            assert_eq!(second.author, None, "nobody says who");
            net.tables(origin, "-t mangle -A INPUT -j ACCEPT");
            watched.loaded_with(origin, "*mangle");
        });
    }
}

#[test]
fn rulesets_come_and_go() {
    in_namespace(|net| {
        let watched = start();
        let gone = |origin| {
            watched.until("gone", |event| {
                matches!(event, PollEvent::Gone { origin: of } if of == origin).then_some(())
            });
        };
        gone(NFT4);
        counted(net, NFT4);
        let author = watched.loaded(NFT4).author.expect("signed");
        assert_eq!(author.name, "iptables-nft");
        counted(net, LEGACY6);
        watched.loaded(LEGACY6);
        net.ok("nft delete table ip filter");
        gone(NFT4);
        counted(net, NFT4);
        watched.loaded(NFT4);
    });
}

#[test]
fn a_table_made_anew_is_never_read_as_the_old_one() {
    in_namespace(|net| {
        let dump = |port: u16, count: u64| {
            format!("*filter\n[{count}:{count}] -A INPUT -p udp -m udp --dport {port}\nCOMMIT\n")
        };
        net.restore(NFT4, "", &dump(9, 1));
        let watched = start();
        watched.loaded(NFT4);
        for round in 0..5u16 {
            let (port, count) = (20 + round, 1000 * u64::from(round + 1));
            net.restore(NFT4, "", &dump(port, count)); // handles start over
            let mut ruleset: Option<Arc<Ruleset>> = None;
            watched.until("the new rule", |event| match event {
                PollEvent::Loaded(loaded) if loaded.origin == NFT4 => {
                    let saved = loaded.ruleset.saved_counters().rule(RuleIdx(0)).packets;
                    let here = loaded.ruleset.spec(RuleIdx(0)).to_vec();
                    ruleset = Some(Arc::clone(&loaded.ruleset));
                    let new = String::from_utf8_lossy(&here).contains(&format!("--dport {port}"));
                    assert!(!new || saved == count);
                    new.then_some(())
                }
                PollEvent::Counters {
                    origin, readings, ..
                } if origin == NFT4 => {
                    for counters in readings.into_iter().filter_map(|reading| reading.counters) {
                        assert!(
                            counters.rules.iter().all(|rule| rule.packets != count)
                                || ruleset.is_some(),
                            "a number of the new rule under the old one"
                        );
                    }
                    None
                }
                _ => None,
            });
        }
    });
}

#[test]
fn one_that_fails_leaves_the_others_running() {
    in_namespace(|net| {
        counted(net, NFT4);
        counted(net, NFT6);
        net.ok("nft add rule ip filter INPUT meta length 100 accept");
        let watched = start();
        let (mut failed, mut loaded, mut native) = (None, false, Vec::new());
        watched.until("both answers, and what cannot be shown", |event| {
            match event {
                PollEvent::Failed {
                    origin,
                    error,
                    remedy,
                } => {
                    assert_eq!(origin, NFT4);
                    failed = Some((error, remedy));
                }
                PollEvent::Loaded(other) if other.origin == NFT6 => loaded = true,
                PollEvent::Native(chains) => native = chains,
                _ => {}
            }
            (failed.is_some() && loaded && !native.is_empty()).then_some(())
        });
        let (error, remedy) = failed.expect("checked");
        assert!(error.contains("native"), "{error}");
        assert!(remedy.contains("nft list ruleset"), "{remedy}");
        assert_eq!(native[0].chain, "INPUT");
        // And it comes back by itself when the rule goes.
        net.ok("nft flush chain ip filter INPUT");
        watched.loaded(NFT4);
        watched.native(<[BaseChain]>::is_empty);
    });
}

#[test]
fn foreign_chains_are_told_when_they_change() {
    in_namespace(|net| {
        counted(net, NFT4);
        let watched = start();
        watched.native(<[BaseChain]>::is_empty);
        net.ok("nft add table inet fw");
        net.ok("nft add chain inet fw in '{ type filter hook input priority 5; policy drop; }'");
        let native = watched.native(|chains| chains.len() == 1);
        assert_eq!((native[0].chain.as_str(), native[0].rules), ("in", 0));
        net.ok("nft add rule inet fw in accept");
        watched.native(|chains| chains.first().is_some_and(|chain| chain.rules == 1));
        net.ok("nft delete table inet fw");
        watched.native(<[BaseChain]>::is_empty);
    });
}

#[test]
fn a_writer_that_never_rests_is_followed_to_the_end() {
    in_namespace(|net| {
        counted(net, NFT4);
        let watched = start();
        watched.loaded(NFT4);
        for n in 0..60 {
            net.tables(
                NFT4,
                &format!("-A INPUT -p tcp -m tcp --dport {}", 1000 + n),
            );
        }
        net.tables(NFT4, "-A INPUT -p tcp -m tcp --dport 4242");
        let last = watched.loaded_with(NFT4, "--dport 4242");
        assert_eq!(last.ruleset.rule_count(), 62);
        assert_eq!(last.source, Source::Kernel);
        send_udp(NFT4.family, 9, 2, 1);
        let chain = input(&last.ruleset);
        let reading = watched.reading(NFT4, chain, |reading| reading.counters.is_some());
        assert_eq!(
            reading.counters.expect("checked").rules[0],
            Counters {
                packets: 2,
                bytes: 58
            }
        );
    });
}

#[test]
fn a_busy_set_elsewhere_does_not_spoil_the_numbers() {
    in_namespace(|net| {
        counted(net, NFT4);
        net.ok("nft add table ip mine; nft add set ip mine s '{ type ipv4_addr; }'");
        let watched = start();
        let loaded = watched.loaded(NFT4);
        let chain = input(&loaded.ruleset);
        for n in 1..30 {
            net.ok(&format!("nft add element ip mine s '{{ 10.0.0.{n} }}'"));
        }
        send_udp(NFT4.family, 9, 3, 1);
        watched.until("the numbers, without a new load", |event| match event {
            PollEvent::Loaded(loaded) => panic!("{} was read again", loaded.origin),
            PollEvent::Counters { readings, .. } => readings
                .iter()
                .any(|reading| reading.chain == chain && reading.counters.is_some())
                .then_some(()),
            _ => None,
        });
    });
}

#[test]
fn what_moves_is_found_among_very_much_that_does_not() {
    in_namespace(|net| {
        let mut lines: Vec<String> = (0..4000).map(|n| format!(":filler-{n} - [0:0]")).collect();
        lines.extend((0..4000).map(|n| format!("-A filler-{n} -p tcp -m tcp --dport {}", n + 1)));
        lines.extend(
            [
                ":outer - [0:0]",
                ":zzz-inner - [0:0]",
                "-A INPUT -p udp -j outer",
                "-A outer -j zzz-inner",
                "-A zzz-inner -p udp -m udp --dport 9",
            ]
            .map(String::from),
        );
        net.restore_in_pieces(NFT4, "filter", &lines);
        // Reading the chains in turn would take minutes at this rate.
        let watched = start_with(Budget {
            sweep: 0.0,
            ..Budget::default()
        });
        let loaded = watched.loaded(NFT4);
        let inner = loaded
            .ruleset
            .find_chain("filter", "zzz-inner")
            .expect("it");
        for sent in 1..=3 {
            send_udp(NFT4.family, 9, 1, 1);
            let wanted = |reading: &Reading| {
                let counters = reading.counters.as_ref();
                counters.is_some_and(|counters| counters.rules[0].packets == sent)
            };
            watched.reading(NFT4, inner, wanted);
        }
    });
}

#[test]
fn a_big_chain_holds_up_neither_the_small_one_nor_a_change() {
    in_namespace(|net| {
        let mut lines = vec![":big - [0:0]".to_owned(), "-A INPUT -j big".to_owned()];
        lines.extend((0..30_000).map(|_| "-A big -s 192.0.2.1".to_owned()));
        lines.push("-A INPUT -p udp -m udp --dport 9".to_owned());
        net.restore_in_pieces(NFT4, "filter", &lines);
        // Little enough that one reading of the big chain is owed for some fifty ticks, enough for the small
        // one at each.
        let watched = start_with(Budget {
            cap: 0.01,
            sweep: 0.0,
        });
        watched.poller.send(Command::Interval(2 * TICK));
        let loaded = watched.loaded(NFT4);
        let big = loaded.ruleset.find_chain("filter", "big").expect("big");
        let small = input(&loaded.ruleset);
        for chain in [big, small] {
            let origin = NFT4;
            watched.poller.send(Command::Watch { origin, chain });
        }
        watched.reading(NFT4, big, |_| true);
        let mut readings = 0;
        watched.until("readings of the small chain", |event| {
            if let PollEvent::Counters { readings: told, .. } = event {
                assert!(
                    told.iter().all(|reading| reading.chain != big),
                    "nothing was paid off"
                );
                readings += told.iter().filter(|told| told.chain == small).count();
            }
            (readings == 8).then_some(())
        });
        send_udp(NFT4.family, 9, 1, 1);
        watched.poller.send(Command::ReadNow);
        watched.reading(NFT4, small, |reading| reading.counters.is_some());
        watched.reading(NFT4, big, |_| true);
        net.tables(NFT4, "-I INPUT 1 -p udp -m udp --dport 4242");
        let changed = watched.loaded_with(NFT4, "--dport 4242");
        watched.reading(NFT4, input(&changed.ruleset), |_| true);
    });
}

#[test]
fn frozen_is_quiet_until_asked() {
    in_namespace(|net| {
        counted(net, NFT4);
        let watched = start();
        let mut answers = 0;
        let mut loaded = None;
        watched.until("every first answer", |event| {
            match event {
                PollEvent::Loaded(found) => (answers, loaded) = (answers + 1, Some(found)),
                PollEvent::Gone { .. } => answers += 1,
                _ => {}
            }
            (answers == 4).then_some(())
        });
        let chain = input(&loaded.expect("one of them").ruleset);
        watched.poller.send(Command::Freeze(true));
        // Whatever was on its way has come when a reading that was asked for has: they keep their order.
        send_udp(NFT4.family, 9, 1, 1);
        watched.poller.send(Command::ReadNow);
        watched.reading(NFT4, chain, |reading| reading.counters.is_some());
        while watched.events.try_recv().is_ok() {}
        send_udp(NFT4.family, 9, 1, 1);
        net.tables(NFT4, "-A INPUT -p tcp -m tcp --dport 4242");
        let quiet = watched.events.recv_timeout(TICK * 10);
        assert_eq!(
            quiet.err(),
            Some(RecvTimeoutError::Timeout),
            "it spoke while frozen"
        );
        watched.poller.send(Command::Freeze(false));
        watched.loaded_with(NFT4, "--dport 4242");
    });
}

#[test]
fn what_is_in_view_stays_in_view_over_a_load() {
    in_namespace(|net| {
        net.tables(NFT4, "-N zebra");
        net.tables(NFT4, "-A zebra -p udp -m udp --dport 9");
        net.tables(NFT4, "-A INPUT -j zebra");
        let watched = start();
        let first = watched.loaded(NFT4);
        let chain = first.ruleset.find_chain("filter", "zebra").expect("zebra");
        watched.poller.send(Command::Watch {
            origin: NFT4,
            chain,
        });
        watched.reading(NFT4, chain, |_| true);
        net.tables(NFT4, "-N aardvark"); // its place is before the other's
        let second = watched.loaded_with(NFT4, "aardvark");
        let moved = second.ruleset.find_chain("filter", "zebra").expect("zebra");
        assert_ne!(moved, chain);
        watched.reading(NFT4, moved, |_| true);
    });
}

#[test]
fn dropping_it_ends_the_thread_and_nobody_listening_does_too() {
    in_namespace(|net| {
        counted(net, NFT4);
        let Watched { poller, events } = start();
        drop(poller); // waits for the thread
        while events.try_recv().is_ok() {}
        assert!(matches!(
            events.try_recv(),
            Err(std::sync::mpsc::TryRecvError::Disconnected)
        ));
        let Watched { poller, events } = start();
        drop(events);
        drop(poller);
    });
}
