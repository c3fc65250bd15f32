//! Scripts against the real tools and the real kernel: what comes out is what was staged, and counters
//! are not lost.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use ruletop::edit::{ChainName, Diff, Operation, RowId, Spot, Stage, merge, script};
use ruletop::ruleset::{CounterSet, Family, Origin, Policy, RuleIdx, Ruleset};

use crate::chance::{Dice, act, dump};
use crate::pure::parse;
use crate::support::{LEGACY4, LEGACY6, NFT4, NFT6, Net, in_namespace, send_udp};

/// Random cases for each origin; RULETOP_CASES for a longer look.
fn cases() -> u64 {
    crate::chance::cases(40)
}

fn saved(net: &Net, origin: Origin) -> Arc<Ruleset> {
    parse(&net.ok(&format!("{origin}-save -c")), origin)
}

/// Empties what a case before left.
fn clear(net: &Net, origin: Origin) {
    let mut text = String::new();
    for table in ["filter", "mangle", "nat", "raw"] {
        let _ = writeln!(text, "*{table}");
        for chain in ruletop::ruleset::builtin_chains(table.as_bytes()) {
            let _ = writeln!(text, ":{chain} ACCEPT [0:0]");
        }
        text += "COMMIT\n";
    }
    net.restore(origin, "", &text);
}

/// Runs a script and gives what the kernel then holds.
fn apply(net: &Net, origin: Origin, from: &Ruleset, to: &Ruleset) -> Arc<Ruleset> {
    let made = script(from, to, &from.saved_counters()).unwrap();
    let text = String::from_utf8(made.bytes()).unwrap();
    if let Err(stderr) = net.try_restore(origin, "-n -w", &text) {
        panic!(
            "{origin}-restore: {stderr}\n{text}\nof:\n{}",
            String::from_utf8_lossy(from.bytes())
        );
    }
    let after = saved(net, origin);
    let diff = Diff::between(to, &after);
    assert!(diff.is_empty(), "{diff:#?}\n{text}");
    after
}

/// Whether this family's restore keeps the counters of rules: ip6tables-nft-restore 1.8.9 does not.
fn keeps_counters(net: &Net, origin: Origin) -> bool {
    if origin != NFT6 {
        return true;
    }
    net.restore(
        origin,
        "",
        "*raw\n:OUTPUT ACCEPT [0:0]\n[3:4] -A OUTPUT -j RETURN\nCOMMIT\n",
    );
    let keeps = net.ok(&format!("{origin}-save -c")).contains("[3:4]");
    let version = net.ok("ip6tables-nft --version");
    assert_eq!(keeps, !version.contains("v1.8.9"), "{version}: {keeps}");
    keeps
}

/// Texts that a ruleset has once in a table.
fn lonely(ruleset: &Ruleset) -> HashMap<(String, Vec<u8>), RuleIdx> {
    let mut found: HashMap<_, Vec<RuleIdx>> = HashMap::new();
    for rule in ruleset.rules() {
        let chain = ruleset.chain(ruleset.chain_of(rule).unwrap());
        let table = ruleset.table(chain.table()).name().to_owned();
        found
            .entry((table, ruleset.spec(rule).to_vec()))
            .or_default()
            .push(rule);
    }
    let one = |(key, rules): (_, Vec<RuleIdx>)| (rules.len() == 1).then(|| (key, rules[0]));
    found.into_iter().filter_map(one).collect()
}

/// Nothing counts in these namespaces, so counters are exactly those that were staged.
fn assert_counters(base: &Ruleset, staged: &Ruleset, after: &Ruleset, keeps: bool) {
    let (wanted, is): (CounterSet, CounterSet) = (staged.saved_counters(), after.saved_counters());
    let (old, old_counters) = (lonely(base), base.saved_counters());
    let new = lonely(staged);
    for (key, rule) in lonely(after) {
        let (Some(staged_rule), true) = (new.get(&key), old.contains_key(&key)) else {
            continue;
        };
        let shown = String::from_utf8_lossy(&key.1).into_owned();
        let chain = |set: &Ruleset, rule| set.chain(set.chain_of(rule).unwrap()).name().to_owned();
        let is_same_chain = chain(base, old[&key]) == chain(after, rule);
        let counted = is.rule(rule);
        // A copy that is left when the rule goes is the rule, to the kernel.
        let was = old_counters.rule(old[&key]);
        if keeps {
            assert!(
                counted == wanted.rule(*staged_rule) || counted == was,
                "{shown}: {counted:?}"
            );
            assert!(
                counted.packets >= wanted.rule(*staged_rule).packets,
                "{shown}"
            );
        } else if is_same_chain && counted.packets > 0 {
            assert_eq!(counted, was, "{shown}");
        }
    }
    for chain in after.chains().iter().filter(|chain| chain.is_builtin()) {
        let table = after.table(chain.table()).name();
        let index = |set: &Ruleset| set.find_chain(table, chain.name());
        let (Some(to), Some(at)) = (index(staged), index(after)) else {
            continue;
        };
        assert_eq!(
            is.policy(at),
            wanted.policy(to),
            "policy of {table} {}",
            chain.name()
        );
    }
}

fn random_cases(origin: Origin, first: u64) {
    in_namespace(move |net| {
        let keeps = keeps_counters(net, origin);
        for number in first..first + cases() {
            let mut dice = Dice(number);
            clear(net, origin);
            let text = dump(&mut dice, origin, 14);
            net.restore(origin, "", &text);
            let base = saved(net, origin);
            let mut stage = Stage::new(Arc::clone(&base));
            let done = act(&mut dice, &mut stage, 14);
            let staged = stage.staged();
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let after = apply(net, origin, &base, &staged);
                assert_counters(&base, &staged, &after, keeps);
                // And back, by the inverse change.
                let back = merge(&after, &base, &after);
                apply(net, origin, &after, &back.ruleset);
                assert!(Diff::between(&base, &back.ruleset).is_empty());
            }));
            if let Err(panic) = result {
                eprintln!("{origin}, case {number}: {done:?}\n{text}");
                std::panic::resume_unwind(panic);
            }
        }
    });
}

#[test]
fn nft_v4_becomes_what_was_staged() {
    random_cases(NFT4, 1000);
}

#[test]
fn nft_v6_becomes_what_was_staged() {
    random_cases(NFT6, 2000);
}

#[test]
fn legacy_v4_becomes_what_was_staged() {
    random_cases(LEGACY4, 3000);
}

#[test]
fn legacy_v6_becomes_what_was_staged() {
    random_cases(LEGACY6, 4000);
}

/// What can be copied into a shell comes to the same.
#[test]
fn the_command_line_does_what_was_staged() {
    in_namespace(|net| {
        for origin in Origin::ALL {
            for number in 0..6 {
                let mut dice = Dice(9000 + number);
                clear(net, origin);
                net.restore(origin, "", &dump(&mut dice, origin, 10));
                let base = saved(net, origin);
                let mut stage = Stage::new(Arc::clone(&base));
                act(&mut dice, &mut stage, 8);
                let made = script(&base, &stage.staged(), &base.saved_counters()).unwrap();
                let line = String::from_utf8(made.shell()).unwrap();
                net.ok(&format!("set -e\n{line}"));
                let diff = Diff::between(&stage.staged(), &saved(net, origin));
                assert!(diff.is_empty(), "{diff:#?}\n{line}");
            }
        }
    });
}

/// Counters that real packets made: a rule that stands still keeps them, and so does one that moves,
/// where the tool can.
#[test]
fn counted_packets_stay_counted() {
    in_namespace(|net| {
        for origin in Origin::ALL {
            let keeps = keeps_counters(net, origin);
            clear(net, origin);
            let rules: Vec<String> = (1..=4)
                .map(|n| format!("-A OUTPUT -p udp -m udp --dport {}", 7000 + n))
                .collect();
            net.restore(origin, "", &crate::support::dump_of("filter", &rules));
            for n in 1..=4 {
                send_udp(origin.family, 7000 + n, usize::from(n), 10);
            }
            let base = saved(net, origin);
            let mut stage = Stage::new(Arc::clone(&base));
            let to = Spot::new("filter", "OUTPUT", RowId(0));
            stage
                .carry_out(Operation::Move { row: RowId(3), to })
                .unwrap();
            stage
                .carry_out(Operation::ZeroRule { row: RowId(1) })
                .unwrap();
            let after = apply(net, origin, &base, &stage.staged());
            let counters = after.saved_counters();
            let packets: Vec<u64> = after
                .rules()
                .map(|rule| counters.rule(rule).packets)
                .collect();
            let moved = if keeps { 4 } else { 0 };
            assert_eq!(packets, [moved, 1, 0, 3], "{origin}");
        }
    });
}

/// A table that was not there comes with its chains, and the policy of a chain with its counters.
#[test]
fn a_table_comes_into_being() {
    in_namespace(|net| {
        for origin in Origin::ALL {
            let base = saved(net, origin);
            assert_eq!(base.tables().len(), 0, "{origin}");
            let mut stage = Stage::new(Arc::clone(&base));
            let chain = ChainName::new("mangle", "INPUT");
            stage
                .carry_out(Operation::SetPolicy {
                    chain,
                    policy: Policy::Drop,
                })
                .unwrap();
            let chain = ChainName::new("filter", "mine");
            stage.carry_out(Operation::AddChain { chain }).unwrap();
            let at = Spot::new("filter", "INPUT", None);
            let spec = b"-p tcp -m tcp --dport 22 -j mine".to_vec();
            stage.carry_out(Operation::Insert { at, spec }).unwrap();
            let after = apply(net, origin, &base, &stage.staged());
            // And all of it goes again.
            let back = merge(&after, &base, &after);
            let gone = apply(net, origin, &after, &back.ruleset);
            assert_eq!(gone.rule_count(), 0);
            assert!(
                gone.chains()
                    .iter()
                    .all(ruletop::ruleset::Chain::is_builtin)
            );
        }
    });
}

/// What others added meanwhile stays when a change is taken back.
#[test]
fn a_change_is_taken_back_around_the_rules_of_others() {
    in_namespace(|net| {
        for origin in Origin::ALL {
            let source = match origin.family {
                Family::V4 => "10.1.1.1/32",
                Family::V6 => "fd00::1/128",
            };
            let lines = [
                ":u - [0:0]".to_owned(),
                "[1:2] -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT".to_owned(),
                "[3:4] -A INPUT -p tcp -m tcp --dport 80 -j u".to_owned(),
                "[5:6] -A INPUT -j DROP".to_owned(),
            ];
            net.restore(origin, "", &crate::support::dump_of("filter", &lines));
            let before = saved(net, origin);
            let mut stage = Stage::new(Arc::clone(&before));
            stage
                .carry_out(Operation::Delete { row: RowId(1) })
                .unwrap();
            let to = Spot::new("filter", "INPUT", RowId(0));
            stage
                .carry_out(Operation::Move { row: RowId(2), to })
                .unwrap();
            let chain = ChainName::new("filter", "u");
            stage.carry_out(Operation::DeleteChain { chain }).unwrap();
            let after = apply(net, origin, &before, &stage.staged());
            net.tables(origin, &format!("-I INPUT 1 -s {source} -j ACCEPT"));
            net.tables(origin, &format!("-A INPUT -s {source} -j RETURN"));
            let current = saved(net, origin);
            let back = merge(&after, &before, &current);
            let reverted = apply(net, origin, &current, &back.ruleset);
            let chain = reverted.find_chain("filter", "INPUT").unwrap();
            let rules = reverted.chain(chain).rules().iter();
            let rules: Vec<_> = rules
                .map(|r| String::from_utf8_lossy(reverted.spec(*r)))
                .collect();
            assert_eq!(
                rules,
                [
                    &format!("-s {source} -j ACCEPT"),
                    "-p tcp -m tcp --dport 22 -j ACCEPT",
                    "-p tcp -m tcp --dport 80 -j u",
                    "-j DROP",
                    &format!("-s {source} -j RETURN"),
                ],
                "{origin}: {:?}",
                back.remarks
            );
            net.tables(origin, "-F");
            net.tables(origin, "-X");
        }
    });
}
