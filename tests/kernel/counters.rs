//! Counters read directly are those that the save tool prints, on both back ends and both families, and
//! are refused whenever the kernel's rules are not the ones that were read.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ruletop::netfilter::counters::legacy::LegacyDoor;
use ruletop::netfilter::counters::nft::NftDoor;
use ruletop::netfilter::counters::save::SaveDoor;
use ruletop::netfilter::counters::{Attached, CounterDoor, Look, Looked};
use ruletop::netfilter::xtables::{Limits, Tools, save};
use ruletop::ruleset::{Backend, ChainIdx, CounterSet, Origin, Ruleset};

use crate::support::{LEGACY4, NFT4, NFT6, Net, in_namespace, send_udp, wait_for};

/// Rules of several tables and chains, with an empty chain, equal rules and a chain that is jumped to.
const DUMP: &str = "*raw
:PREROUTING ACCEPT [1:2]
:OUTPUT ACCEPT [3:4]
-A PREROUTING -p udp -m udp --dport 9
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [5:6]
:OUTPUT ACCEPT [0:0]
:empty - [0:0]
:web - [0:0]
[7:8] -A INPUT -p udp -m udp --dport 9 -j web
-A INPUT -p udp -m udp --dport 10
-A INPUT -p udp -m udp --dport 10
-A web -p udp -m udp --dport 9
-A web -j RETURN
COMMIT
";

fn door(origin: Origin) -> Box<dyn CounterDoor> {
    match origin.backend {
        Backend::Nft => Box::new(NftDoor::open(origin.family).unwrap()),
        Backend::Legacy => Box::new(LegacyDoor::open(origin.family).unwrap()),
    }
}

fn by_tool(origin: Origin) -> SaveDoor {
    let stop = Arc::new(AtomicBool::new(false));
    SaveDoor::new(Arc::new(Tools::find()), origin, Limits::default(), stop)
}

fn read_ruleset(origin: Origin) -> Arc<Ruleset> {
    let saved = save(&Tools::find(), origin, Limits::default()).unwrap();
    Arc::new(Ruleset::parse(saved.bytes, origin).unwrap())
}

/// A structure and a door to it.
struct Bound {
    ruleset: Arc<Ruleset>,
    door: Box<dyn CounterDoor>,
    counters: CounterSet,
    attached: Attached,
}

fn bind(origin: Origin) -> Bound {
    let mut door = door(origin);
    let before = door.mark().unwrap();
    let ruleset = read_ruleset(origin);
    let attached = door.attach(&ruleset).unwrap();
    assert_eq!(attached.mark, before, "nothing changed meanwhile");
    assert_eq!(attached.misfits, []);
    Bound {
        counters: ruleset.saved_counters(),
        ruleset,
        door,
        attached,
    }
}

impl Bound {
    fn chain(&self, table: &str, chain: &str) -> ChainIdx {
        self.ruleset.find_chain(table, chain).unwrap()
    }

    fn read(&mut self, chain: ChainIdx) -> Vec<Looked> {
        let mut looked = Vec::new();
        self.door
            .read(chain, &mut self.counters, &mut looked)
            .unwrap();
        looked
    }

    fn look(&mut self, table: &str, chain: &str) -> Look {
        let chain = self.chain(table, chain);
        let looked = self.read(chain);
        looked
            .iter()
            .find(|looked| looked.chain == chain)
            .unwrap()
            .look
    }

    /// Trusts the generation of now, as a reader does that was told what changed.
    fn trust_now(&mut self) {
        let now = self.door.mark().unwrap();
        self.door.trust(now.generation());
    }

    fn read_all(&mut self) -> Vec<Looked> {
        let chains = u32::try_from(self.ruleset.chains().len()).unwrap();
        (0..chains)
            .flat_map(|chain| self.read(ChainIdx(chain)))
            .collect()
    }
}

/// Each origin in a namespace of its own.
fn everywhere(test: fn(&Net, Origin)) {
    for origin in Origin::ALL {
        in_namespace(move |net| test(net, origin));
    }
}

#[test]
fn direct_counters_are_those_of_the_save_tool() {
    everywhere(|net, origin| {
        net.restore(origin, "", DUMP);
        let mut bound = bind(origin);
        let mut fallback = by_tool(origin);
        fallback.attach(&bound.ruleset).unwrap();
        let mut by_tool = bound.ruleset.saved_counters();
        for (port, count) in [(9, 3), (10, 2), (9, 0), (11, 1)] {
            send_udp(origin.family, port, count, 20);
            let looked = bound.read_all();
            assert!(
                looked
                    .iter()
                    .all(|l| matches!(l.look, Look::Same | Look::Changed)),
                "{origin}: {looked:?}"
            );
            let saved = read_ruleset(origin).saved_counters();
            assert_eq!(
                bound.counters, saved,
                "{origin} after {count} datagrams to {port}"
            );
            let any = bound.chain("filter", "INPUT");
            fallback.read(any, &mut by_tool, &mut Vec::new()).unwrap();
            assert_eq!(by_tool, saved, "{origin} by the tool");
        }
        let first = bound.ruleset.chain(bound.chain("filter", "INPUT")).rules()[0];
        // ip6tables-nft-restore 1.8.9 forgets the counters of rules.
        let restored = bound.ruleset.saved_counters().rule(first).packets;
        assert_eq!(bound.counters.rule(first).packets, restored + 3, "{origin}");
    });
}

#[test]
fn a_second_look_finds_nothing_new() {
    everywhere(|net, origin| {
        net.restore(origin, "", DUMP);
        let mut bound = bind(origin);
        send_udp(origin.family, 9, 2, 5);
        assert_eq!(bound.look("filter", "INPUT"), Look::Changed, "{origin}");
        assert_eq!(bound.look("filter", "INPUT"), Look::Same, "{origin}");
        assert_eq!(bound.look("filter", "empty"), Look::Same, "{origin}");
        let web = bound.look("filter", "web");
        // A legacy look brings the whole table, so this one was read already.
        let expected = match origin.backend {
            Backend::Nft => Look::Changed,
            Backend::Legacy => Look::Same,
        };
        assert_eq!(web, expected, "{origin}");
    });
}

#[test]
fn zeroing_is_an_edit_for_nft_only() {
    everywhere(|net, origin| {
        net.restore(origin, "", DUMP);
        send_udp(origin.family, 9, 2, 5);
        let mut bound = bind(origin);
        net.tables(origin, "-Z");
        if origin.backend == Backend::Nft {
            assert_eq!(bound.look("filter", "INPUT"), Look::OtherGeneration);
            bound = bind(origin); // iptables-nft writes the rules again
        } else {
            assert_eq!(bound.look("filter", "INPUT"), Look::Changed);
        }
        let first = bound.ruleset.chain(bound.chain("filter", "INPUT")).rules()[0];
        assert_eq!(bound.counters.rule(first).packets, 0, "{origin}");
    });
}

/// Edits of the chain that is watched, and of others.
const EDITS: &[&str] = &[
    "-A INPUT -j ACCEPT",
    "-I INPUT 1 -p icmp -j ACCEPT",
    "-D INPUT 2",
    "-R INPUT 2 -p udp -m udp --dport 11",
    "-F INPUT",
];

#[test]
fn an_edited_chain_is_never_read_as_another() {
    everywhere(|net, origin| {
        for edit in EDITS {
            net.restore(origin, "", DUMP);
            let mut bound = bind(origin);
            let mark = bound.attached.mark;
            net.tables(origin, edit);
            assert_ne!(bound.door.mark().unwrap(), mark, "{origin} {edit}");
            let before = bound.counters.clone();
            send_udp(origin.family, 9, 3, 20);
            send_udp(origin.family, 10, 3, 20);
            let look = bound.look("filter", "INPUT");
            assert!(
                matches!(look, Look::OutOfStep | Look::OtherGeneration),
                "{origin} {edit}: {look:?}"
            );
            // A reader that wrongly trusts it still looks at the handles, which tell all but this one.
            if !edit.starts_with("-R") {
                bound.trust_now();
                let look = bound.look("filter", "INPUT");
                assert_eq!(look, Look::OutOfStep, "{origin} {edit}");
            }
            assert_eq!(bound.counters, before, "{origin} {edit}: nothing was taken");
        }
    });
}

#[test]
fn an_edit_elsewhere_leaves_an_nft_chain_readable() {
    for origin in [NFT4, NFT6] {
        in_namespace(move |net| {
            net.restore(origin, "", DUMP);
            let mut bound = bind(origin);
            net.tables(origin, "-A web -j ACCEPT");
            send_udp(origin.family, 9, 1, 1);
            assert_eq!(bound.look("filter", "INPUT"), Look::OtherGeneration);
            bound.trust_now();
            assert_eq!(bound.look("filter", "INPUT"), Look::Changed);
            assert_eq!(bound.look("filter", "web"), Look::OutOfStep);
        });
    }
}

#[test]
fn a_rule_of_the_same_size_is_noticed_in_legacy() {
    in_namespace(|net| {
        net.restore(LEGACY4, "", DUMP);
        let mut bound = bind(LEGACY4);
        net.tables(LEGACY4, "-R INPUT 2 -p udp -m udp --dport 12");
        assert_eq!(bound.look("filter", "INPUT"), Look::OutOfStep);
        assert_eq!(bound.look("raw", "PREROUTING"), Look::Same, "another table");
        net.tables(LEGACY4, "-R INPUT 2 -p udp -m udp --dport 10");
        assert_eq!(
            bound.look("filter", "INPUT"),
            Look::Same,
            "the same rules again"
        );
    });
}

#[test]
fn one_table_leaves_no_trace_in_the_reading_of_another() {
    in_namespace(|net| {
        // Matches with long and short names at different places of two tables.
        let long = "-A OUTPUT -p tcp -m conntrack --ctstate NEW -m multiport --dports 1,2 -j LOG\n";
        let short = "-A OUTPUT -p tcp -m tcp --dport 1 -m ttl --ttl-eq 3 -j ACCEPT\n".repeat(5);
        net.restore(LEGACY4, "", &format!("*filter\n{long}{short}COMMIT\n"));
        net.restore(LEGACY4, "-n", &format!("*mangle\n{short}{long}COMMIT\n"));
        let mut bound = bind(LEGACY4);
        let mark = bound.attached.mark;
        for _ in 0..3 {
            for table in ["filter", "mangle"] {
                assert_eq!(bound.look(table, "OUTPUT"), Look::Same, "{table}");
            }
            assert_eq!(bound.door.mark().unwrap(), mark);
        }
        assert_eq!(door(LEGACY4).mark().unwrap(), mark, "seen by another door");
    });
}

#[test]
fn rules_and_policies_without_a_counter_are_told() {
    in_namespace(|net| {
        net.tables(NFT4, "-A INPUT -p udp -m udp --dport 9");
        net.ok("nft add rule ip filter INPUT udp dport 9 accept");
        net.tables(NFT4, "-A INPUT -j ACCEPT");
        let mut bound = bind(NFT4);
        let input = bound.chain("filter", "INPUT");
        let rules = bound.ruleset.chain(input).rules().to_vec();
        assert_eq!(bound.attached.uncounted.rules, [rules[1]]);
        assert!(bound.attached.uncounted.policies.contains(&input));
        send_udp(NFT4.family, 9, 4, 0);
        assert_eq!(bound.look("filter", "INPUT"), Look::Changed);
        let packets = |at: usize| bound.counters.rule(rules[at]).packets;
        assert_eq!(packets(0), 4);
        assert_eq!(packets(1), 0, "it passed four and counted none");
        assert_eq!(packets(2), 4, "the answers that the port is closed");
        assert_eq!(bound.counters.policy(input).packets, 0);

        net.tables(NFT4, "-P INPUT DROP");
        let bound = bind(NFT4);
        assert!(
            !bound
                .attached
                .uncounted
                .policies
                .contains(&bound.chain("filter", "INPUT"))
        );
    });
}

#[test]
fn handles_stand_beside_their_rules() {
    in_namespace(|net| {
        net.restore(NFT4, "", DUMP);
        let first = bind(NFT4);
        let handles = first.attached.handles.clone().unwrap();
        assert_eq!(handles.rules.len(), first.ruleset.rule_count());
        assert!(handles.rules.iter().all(|handle| *handle != 0));
        net.tables(NFT4, "-I INPUT 1 -j ACCEPT");
        let second = bind(NFT4);
        let moved = second.attached.handles.clone().unwrap();
        assert_eq!(moved.tables, handles.tables);
        let handle = |bound: &Bound, at: usize| {
            let rule = bound.ruleset.chain(bound.chain("filter", "INPUT")).rules()[at];
            bound.attached.handles.as_ref().unwrap().rules[rule.0 as usize]
        };
        assert_eq!(
            handle(&first, 0),
            handle(&second, 1),
            "the rule moved down by one"
        );
        // A whole restore makes the tables anew and counts their rules from the start.
        net.restore(NFT4, "", DUMP);
        let third = bind(NFT4);
        let anew = third.attached.handles.clone().unwrap();
        assert!(
            anew.tables
                .iter()
                .all(|table| !handles.tables.contains(table))
        );
    });
}

#[test]
fn lossy_rules_carry_chain_and_position() {
    in_namespace(|net| {
        net.restore(NFT4, "", DUMP);
        net.ok("nft add rule ip filter web 'ip saddr { 1.2.3.4, 1.2.3.5 } drop'");
        let bound = bind(NFT4);
        let found = &bound.attached.lossy;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].chain, bound.chain("filter", "web"));
        assert_eq!(found[0].position, 2);
    });
}

#[test]
fn packets_are_followed_from_chain_to_chain() {
    in_namespace(|net| {
        net.restore(NFT4, "", DUMP);
        let mut bound = bind(NFT4);
        assert!(bound.door.can_follow());
        let mut entered = Vec::new();
        bound.look("filter", "INPUT");
        bound.door.follow(&mut entered);
        assert_eq!(entered, [], "nobody went anywhere");
        send_udp(NFT4.family, 9, 1, 1);
        bound.look("filter", "INPUT");
        bound.door.follow(&mut entered);
        assert_eq!(entered, [bound.chain("filter", "web")]);
        entered.clear();
        bound.door.follow(&mut entered);
        assert_eq!(entered, [], "told once");

        // A jump that nobody counts may have been taken at any time.
        net.ok("nft insert rule ip filter INPUT jump empty");
        let mut bound = bind(NFT4);
        bound.look("filter", "INPUT");
        bound.door.follow(&mut entered);
        assert_eq!(entered, [bound.chain("filter", "empty")]);

        // And a map may send a packet anywhere.
        net.ok("nft add rule ip filter INPUT 'udp dport vmap { 9 : jump web }'");
        assert!(!bind(NFT4).door.can_follow());
    });
}

#[test]
fn both_back_ends_are_read_side_by_side() {
    in_namespace(|net| {
        for origin in Origin::ALL {
            net.restore(origin, "", DUMP);
        }
        for origin in Origin::ALL {
            let mut bound = bind(origin);
            send_udp(origin.family, 9, 2, 8);
            bound.read_all();
            assert_eq!(
                bound.counters,
                read_ruleset(origin).saved_counters(),
                "{origin}"
            );
        }
    });
}

#[test]
fn names_that_are_odd_and_chains_that_are_many() {
    everywhere(|net, origin| {
        let odd = [
            "a\"b", "we#ird", "it's", "[x]", "*star", "COMMIT", "accept", "ünï",
        ];
        let many = (0..500).map(|n| format!("chain-{n}"));
        let mut lines = Vec::new();
        for name in odd.into_iter().map(String::from).chain(many) {
            lines.push(format!(":{name} - [0:0]"));
            if name.starts_with("chain") {
                lines.push(format!("-A {name} -p udp"));
                lines.push(format!("-A INPUT -p udp -m udp --dport 9 -j {name}"));
            }
        }
        net.restore_in_pieces(origin, "filter", &lines);
        let mut bound = bind(origin);
        send_udp(origin.family, 9, 2, 100);
        bound.read_all();
        assert_eq!(
            bound.counters,
            read_ruleset(origin).saved_counters(),
            "{origin}"
        );
    });
}

#[test]
fn an_unattached_door_and_a_chain_that_is_not_there() {
    everywhere(|net, origin| {
        net.restore(origin, "", DUMP);
        let mut door = door(origin);
        let mut counters = CounterSet::default();
        let mut looked = Vec::new();
        door.read(ChainIdx(0), &mut counters, &mut looked).unwrap();
        assert_eq!(looked[0].look, Look::OutOfStep, "{origin}");
        let ruleset = read_ruleset(origin);
        door.attach(&ruleset).unwrap();
        looked.clear();
        door.read(ChainIdx(4_000_000_000), &mut counters, &mut looked)
            .unwrap();
        assert_eq!(looked[0].look, Look::OutOfStep, "{origin}");
        // Counters of another size take what fits and harm nobody.
        door.read(ChainIdx(0), &mut counters, &mut looked).unwrap();
    });
}

#[test]
fn a_writer_under_the_reader_never_shifts_a_number() {
    everywhere(|net, origin| {
        // Rule n matches port 100 + n and is sent n datagrams: the numbers say which rule they are of.
        let rules: String = (1..=8)
            .map(|n| format!("[{n}:{n}] -A INPUT -p udp -m udp --dport {}\n", 100 + n))
            .collect();
        net.restore(origin, "", &format!("*filter\n{rules}COMMIT\n"));
        let mut bound = bind(origin);
        let expected = bound.counters.clone();
        let input = bound.chain("filter", "INPUT");
        let _writer = net.spawn(&format!(
            "while :; do {origin} -I INPUT 1 -p tcp; {origin} -D INPUT 1; done"
        ));
        let (mut read, mut refused) = (0, 0);
        wait_for("thirty looks of each kind", || {
            if let Ok(mark) = bound.door.mark() {
                bound.door.trust(mark.generation());
            }
            let mut looked = Vec::new();
            let found = bound.door.read(input, &mut bound.counters, &mut looked);
            match found.map(|()| looked[0].look) {
                Ok(Look::Same) => read += 1,
                Ok(Look::OutOfStep | Look::OtherGeneration) | Err(_) => refused += 1,
                // A legacy writer loads its table with zeros and adds the numbers after that.
                Ok(Look::Changed) if origin.backend == Backend::Legacy => {}
                Ok(Look::Changed) => panic!("{origin}: {:?}", bound.counters),
            }
            let pairs = bound.counters.rules.iter().zip(&expected.rules);
            for (read, expected) in pairs {
                let legacy_zero = origin.backend == Backend::Legacy && read.packets == 0;
                assert!(
                    read == expected || legacy_zero,
                    "{origin}: {:?}",
                    bound.counters
                );
            }
            (read >= 30 && refused >= 30).then_some(())
        });
    });
}
