//! Two texts of one firewall read as the same: commands and files as people write them, and what the real
//! tools save of them.

use std::collections::BTreeSet;

use ruletop::ruleset::spec::Target;
use ruletop::ruleset::{ChainIdx, Document, Family, Hints, Ruleset};

use crate::corpus::{self, fixture};
use crate::meaning::read;

/// Every chain with policy, counters and the rules in it, typed and shown: what two texts of the same
/// firewall have in common.
fn shown(ruleset: &Ruleset) -> BTreeSet<String> {
    let counters = ruleset.saved_counters();
    let mut all = BTreeSet::new();
    for (index, chain) in (0_u32..).map(ChainIdx).zip(ruleset.chains()) {
        let name = format!("{} {}", ruleset.table(chain.table()).name(), chain.name());
        // Restore input need not mention a chain that it leaves as it is.
        if chain.rules().is_empty() && chain.policy().is_none() {
            continue;
        }
        for (number, rule) in (1..).zip(chain.rules()) {
            let mut spec = ruleset.parse_rule(*rule);
            spec.counters = None;
            // `-p tcp --dport 1` loads the match tcp at its end, save prints it where it was loaded.
            let mut matches: Vec<_> = spec.matches.iter().map(|m| format!("{m:?}")).collect();
            matches.sort();
            all.insert(format!(
                "{name} {number} {:?} -s {:?} -d {:?} -i {:?} -o {:?} -p {} -j {} {} {}",
                counters.rule(*rule),
                spec.source,
                spec.destination,
                spec.in_interface,
                spec.out_interface,
                spec.protocol_text(),
                spec.goto,
                spec.target
                    .as_ref()
                    .map_or_else(String::new, |target| match target {
                        Target::Chain(_) =>
                            ruleset.jump(*rule).and_then(|jump| jump.chain).map_or_else(
                                String::new,
                                |chain| ruleset.chain(chain).name().to_owned()
                            ),
                        target => format!("{target:?}"),
                    }),
                matches.join(" "),
            ));
        }
        if let Some(policy) = chain.policy() {
            all.insert(format!(
                "{name} policy {policy:?} {:?}",
                counters.policy(index)
            ));
        }
    }
    all
}

/// What is in one and not in the other, but for built-in chains that only the saved text mentions.
fn compare(input: &str, saved: &str) {
    let hints = Hints {
        family: Some(if input.contains("v6") {
            Family::V6
        } else {
            Family::V4
        }),
        backend: None,
    };
    let (one, other) = (fixture(input), fixture(saved));
    let one = Document::parse(one, hints).unwrap();
    let other = Document::parse(other, hints).unwrap();
    let (one, other) = (shown(&one.rulesets()[0]), shown(&other.rulesets()[0]));
    let lost: Vec<_> = one.difference(&other).collect();
    let made: Vec<_> = other
        .difference(&one)
        .filter(|line| !line.contains("policy Accept Counters { packets: 0, bytes: 0 }"))
        .collect();
    assert!(
        lost.is_empty() && made.is_empty(),
        "{input} reads as\n{lost:#?}\n{saved} as\n{made:#?}"
    );
}

#[test]
fn commands_make_what_the_real_tools_make_of_them() {
    compare("commands.rules", "commands.nft.save");
    compare("commands.rules", "commands.legacy.save");
    compare("commands-legacy.rules", "commands-legacy.legacy.save");
}

#[test]
fn what_people_write_reads_as_what_the_tools_save() {
    for backend in ["nft", "legacy"] {
        for family in ["v4", "v6"] {
            compare(
                &format!("targets-{family}.rules"),
                &format!("targets-{family}.{backend}.save"),
            );
            compare(
                &format!("matches-{family}.rules"),
                &format!("matches-{family}.{backend}.save"),
            );
        }
    }
}

/// Chains and rules without policies and counters, which a load without `-c` does not take.
fn rules_of(ruleset: &Ruleset) -> BTreeSet<String> {
    shown(ruleset)
        .iter()
        .filter_map(|line| {
            let (chain, rest) = line.split_once(" Counters {")?;
            let (_, rule) = rest.split_once("} -s ")?;
            Some(format!("{chain} -s {rule}"))
        })
        .collect()
}

#[test]
fn every_dump_that_loads_reads_as_what_the_tools_save_afterwards() {
    let all = corpus::collection();
    let mut compared = 0;
    for saved in &all {
        let Some((base, "save")) = saved.name.rsplit_once('.') else {
            continue;
        };
        let base = base.trim_end_matches(".legacy").trim_end_matches(".nft");
        // Its `-h` ends the tool before anything is loaded.
        if base.ends_with("unsupported-command") {
            continue;
        }
        let found = all.iter().find(|dump| dump.name == format!("{base}.rules"));
        let saved_document = read(&saved.bytes);
        let [after] = saved_document.rulesets() else {
            panic!("{}: one firewall was read as several", saved.name);
        };
        let hints = Hints {
            family: Some(after.family()),
            backend: None,
        };
        let before = Document::parse(found.unwrap().bytes.clone(), hints).unwrap();
        let [before] = before.rulesets() else {
            panic!("{base}: one firewall was read as several");
        };
        let (before, after) = (rules_of(before), rules_of(after));
        let lost: Vec<_> = before.difference(&after).collect();
        let made: Vec<_> = after.difference(&before).collect();
        assert!(
            lost.is_empty() && made.is_empty(),
            "{}\n{lost:#?}\n{made:#?}",
            saved.name
        );
        compared += 1;
    }
    assert!(all.is_empty() || compared > 150);
}
