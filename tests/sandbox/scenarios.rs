//! Every built-in scenario, on both back ends: broken as it says, seen in the counters as it says, mended
//! by what it says.

use std::collections::BTreeMap;

use ruletop::sandbox::{Culprit, Scenario, scenarios};
use serde_json::{Value, json};

use super::trial::{Trial, User, wait_until};

macro_rules! on_both_back_ends {
    ($($module:ident: $scenario:literal),+ $(,)?) => {
        /// What the macro was given.
        const TESTED: &[&str] = &[$($scenario),+];
        $(mod $module {
            #[test]
            fn nft() {
                super::play($scenario, "nft", super::User::Me);
            }
            #[test]
            fn legacy() {
                super::play($scenario, "legacy", super::User::Me);
            }
        })+
    };
}

on_both_back_ends! {
    drop_before_accept: "drop-before-accept",
    missing_established: "missing-established",
    default_drop_no_service: "default-drop-no-service",
    conntrack_full: "conntrack-full",
    forward_blocked: "forward-blocked",
    wrong_interface: "wrong-interface",
    docker_beside_ufw: "docker-beside-ufw",
    busy_box: "busy-box",
}

#[test]
fn every_scenario_is_tested() {
    let names: Vec<String> = scenarios()
        .unwrap()
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, TESTED);
}

/// Rules, forwarding, a bridge, ipset-free NAT and a full conntrack table, without being root.
#[test]
fn in_a_user_namespace_too() {
    play("docker-beside-ufw", "nft", User::Nobody);
    play("docker-beside-ufw", "legacy", User::Nobody);
    play("conntrack-full", "nft", User::Nobody);
}

/// A file of the user's own, with ipsets: a list of bans that holds all customers.
#[test]
fn a_scenario_from_a_file_with_ipsets() {
    let text = include_str!("../../assets/scenarios/drop-before-accept.toml")
        .replace(
            "links = [",
            r#"sets = [
                { name = "bans", kind = "hash:net", members = ["203.0.113.0/24"] },
                { name = "bans6", kind = "hash:net family inet6", members = ["2001:db8:203::/64"] },
            ]
            links = ["#,
        )
        .replacen(
            "--dport 443 -m comment",
            "--dport 443 -m set --match-set bans src -m comment",
            1,
        )
        .replacen(
            "--dport 443 -m comment",
            "--dport 443 -m set --match-set bans6 src -m comment",
            1,
        );
    assert!(text.contains("--match-set bans6 src"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bans.toml");
    std::fs::write(&file, text).unwrap();
    for backend in ["nft", "legacy"] {
        play(file.to_str().unwrap(), backend, User::Me);
    }
}

fn play(name: &str, backend: &str, user: User) {
    let scenario = Scenario::load(name).unwrap();
    let mut trial = Trial::start(name, backend, user);
    assert_eq!(trial.ready["backend"], backend);

    assert_all(
        &trial.order("probe works"),
        "connected",
        "works while broken",
    );
    if scenario.conntrack.is_some() {
        wait_until("a full conntrack table", || {
            is_full(&mut trial).then_some(())
        });
    }
    assert_all(
        &trial.order("probe blocked"),
        "timed-out",
        "blocked while broken",
    );
    the_culprit_moves_most(&mut trial, &scenario, backend);

    assert_eq!(trial.order("fix")["status"], 0);
    assert_all(
        &trial.order("probe blocked"),
        "connected",
        "blocked, once mended",
    );
    assert_all(
        &trial.order("probe works"),
        "connected",
        "works, once mended",
    );
    clients_get_through(&mut trial, &scenario);
    assert!(trial.finish().success());
}

fn assert_all(results: &Value, expected: &str, what: &str) {
    let results = results.as_array().unwrap();
    assert!(!results.is_empty(), "{what}: no probe");
    assert!(
        results.iter().all(|one| one == expected),
        "{what}: {results:?}"
    );
}

fn is_full(trial: &mut Trial) -> bool {
    let folder = "/proc/sys/net/netfilter";
    let count = trial.run(&format!("cat {folder}/nf_conntrack_count"));
    count == trial.run(&format!("cat {folder}/nf_conntrack_max"))
}

/// In each family something is accepted, and of all that drops or rejects the culprit counts the most.
fn the_culprit_moves_most(trial: &mut Trial, scenario: &Scenario, backend: &str) {
    for (family, program) in [(4, "iptables"), (6, "ip6tables")] {
        let save = format!("{program}-{backend}-save -c");
        let before = packets(&trial.run(&save));
        let culprit = scenario.expected.iter().find(|one| one.family == family);
        let wait = format!("{program}: the rules of {} to count", scenario.name);
        let deltas = wait_until(&wait, || {
            let mut now = packets(&trial.run(&save));
            for (rule, count) in &mut now {
                // No rule vanishes and none is zeroed.
                *count -= before[rule];
            }
            let accepted: u64 = now
                .iter()
                .filter(|(rule, _)| rule.ends_with("-j ACCEPT"))
                .map(|(_, count)| *count)
                .sum();
            let blamed = culprit.is_none_or(|culprit| find(&now, culprit).1 >= 10);
            (accepted >= 10 && blamed).then_some(now)
        });
        if let Some(culprit) = culprit {
            let (rule, most) = find(&deltas, culprit);
            let drops = |rule: &str| rule.contains("-j DROP") || rule.contains("-j REJECT");
            assert!(
                drops(&rule) || culprit.rule.is_none(),
                "{rule} does not block"
            );
            for (other, count) in deltas.iter().filter(|(other, _)| drops(other)) {
                assert!(*count <= most, "{other} counts {count}, {rule} {most}");
            }
        }
    }
}

/// Packets by rule: `filter -A INPUT … -j DROP`, and by policy: `filter INPUT DROP`. A rule that is there
/// twice is counted together; the numbers of the culprit are found by [`find`] in `filter #INPUT 6`.
fn packets(save: &str) -> BTreeMap<String, u64> {
    let mut packets = BTreeMap::new();
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let mut table = String::new();
    for line in save.lines() {
        let count = |text: &str| -> u64 {
            let text = text.trim_start_matches('[');
            text.split(':').next().unwrap().parse().unwrap()
        };
        if let Some(name) = line.strip_prefix('*') {
            name.clone_into(&mut table);
            numbers.clear();
        } else if let Some(chain) = line.strip_prefix(':') {
            let (chain, counters) = chain.rsplit_once(' ').unwrap();
            packets.insert(format!("{table} {chain}"), count(counters));
        } else if let Some((counters, rule)) = line.split_once(" -A ") {
            let chain = rule.split(' ').next().unwrap();
            let number = numbers.entry(chain.to_owned()).or_default();
            *number += 1;
            packets.insert(
                format!("{table} #{chain} {number} -A {rule}"),
                count(counters),
            );
        }
    }
    packets
}

fn find(packets: &BTreeMap<String, u64>, culprit: &Culprit) -> (String, u64) {
    let Culprit { table, chain, .. } = culprit;
    let start = match culprit.rule {
        Some(number) => format!("{table} #{chain} {number} "),
        None => format!("{table} {chain} "),
    };
    let mut found = packets.iter().filter(|(rule, _)| rule.starts_with(&start));
    let (rule, count) = found
        .next()
        .unwrap_or_else(|| panic!("there is no {start}"));
    assert!(found.next().is_none());
    (rule.clone(), *count)
}

/// Not only the probe: the clients that the screen shows. Every group's next calls are answered, save
/// those of whom the scenario itself says that they are scanners, bots or banned.
fn clients_get_through(trial: &mut Trial, scenario: &Scenario) {
    let unwanted = |name: &str| ["scanner", "bots"].iter().any(|word| name.contains(word));
    let connected = |traffic: &Value| -> Vec<u64> {
        let groups = traffic.as_array().unwrap();
        groups
            .iter()
            .map(|one| one["connected"].as_u64().unwrap())
            .collect()
    };
    let before = trial.order("traffic");
    assert_eq!(
        before
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["name"])
            .collect::<Vec<_>>(),
        scenario
            .clients
            .iter()
            .map(|one| json!(one.name))
            .collect::<Vec<_>>()
            .iter()
            .collect::<Vec<_>>(),
    );
    let before = connected(&before);
    wait_until("every group of clients to get through", || {
        let now = connected(&trial.order("traffic"));
        let moved = scenario.clients.iter().zip(before.iter().zip(now));
        moved
            .filter(|(client, _)| !unwanted(&client.name) && client.rate >= 1.0)
            .all(|(_, (before, now))| now > *before)
            .then_some(())
    });
}
