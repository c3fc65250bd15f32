//! Rulesets and rules that none of us wrote: what the tools print is taken, and nothing of it breaks.

use std::sync::Arc;

use ruletop::edit::{Diff, Operation, Refused, Spot, Stage, script};
use ruletop::ruleset::{Backend, Document, Family, Hints, Origin, Ruleset};

use crate::chance::{Dice, act};
use crate::corpus;
use crate::pure::parse;

fn rulesets() -> Vec<(String, Arc<Ruleset>)> {
    let mut found = Vec::new();
    for dump in corpus::all() {
        let Ok(document) = Document::parse(dump.bytes, Hints::default()) else {
            continue;
        };
        for ruleset in document.into_rulesets() {
            found.push((dump.name.clone(), Arc::new(ruleset)));
        }
    }
    assert!(found.len() > 10);
    found
}

/// Every rule of netfilter's own extension tests, as the save tools print it.
#[test]
fn what_the_tools_print_can_be_typed() {
    for (name, family) in [
        ("ext-lines-v4.tsv", Family::V4),
        ("ext-lines-v6.tsv", Family::V6),
    ] {
        let Some(text) = corpus::shared_file(name) else {
            continue;
        };
        let text = String::from_utf8(text).unwrap();
        let base = parse("", Origin::new(family, Backend::Nft));
        let mut stage = Stage::new(base);
        let mut refused = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<&str> = line.split('\t').collect();
            let [table, chain, _, _, rule] = columns[..] else {
                panic!("{line}");
            };
            let spec = rule.strip_prefix(&format!("-A {chain}")).unwrap().trim();
            let at = Spot::new(table, chain, None);
            let spec = spec.as_bytes().to_vec();
            if let Err(why) = stage.carry_out(Operation::Insert { at, spec }) {
                refused.push(format!("{table} {rule}\n    {why}"));
            }
        }
        assert_eq!(refused, [""; 0], "{}", refused.join("\n"));
        let staged = stage.staged();
        assert_eq!(
            staged.rule_count(),
            text.lines().filter(|l| !l.starts_with('#')).count()
        );
        let counters = stage.base().saved_counters();
        script(stage.base(), &staged, &counters).unwrap();
    }
}

#[test]
fn any_ruleset_can_be_staged_on() {
    for (number, (name, base)) in (0..).zip(rulesets()) {
        let mut stage = Stage::new(Arc::clone(&base));
        assert_eq!(
            stage.shown().ruleset.rule_count(),
            base.rule_count(),
            "{name}"
        );
        assert!(
            Diff::between(&base, &stage.shown().ruleset).is_empty(),
            "{name}"
        );
        if base.chains().is_empty() {
            continue;
        }
        act(&mut Dice(number), &mut stage, 20);
        let staged = stage.staged();
        let origin = Origin::new(base.family(), base.backend().unwrap_or(Backend::Nft));
        let read = Ruleset::parse(staged.bytes().to_vec(), origin).unwrap();
        for rule in staged.rules() {
            let (is, wanted) = (read.line(rule), staged.line(rule));
            assert_eq!(
                is.escape_ascii().to_string(),
                wanted.escape_ascii().to_string(),
                "{name}"
            );
            assert_eq!(read.spec(rule), staged.spec(rule), "{name}");
        }
        assert_eq!(read.identities(), staged.identities(), "{name}");
        if let Err(refused) = script(&base, &staged, &base.saved_counters()) {
            panic!("{name}: what was staged cannot be written: {refused}");
        }
        let (rebased, remarks) = stage.rebase(Arc::clone(&base));
        assert_eq!(remarks, [], "{name}");
        assert_eq!(rebased.diff(), stage.diff(), "{name}");
    }
}

/// Rules of a kernel can be moved; those that cannot are those whose text is a lie.
#[test]
fn saved_rules_can_be_written_back() {
    let mut refused = Vec::new();
    for (name, base) in rulesets() {
        if base.backend().is_none() {
            continue;
        }
        let mut stage = Stage::new(Arc::clone(&base));
        for rule in base.rules() {
            let row = stage.shown().row(rule).unwrap().id;
            match stage.carry_out(Operation::ZeroRule { row }) {
                Ok(()) => assert!(stage.undo()),
                Err(why @ (Refused::Unwritable { .. } | Refused::Locked { .. })) => {
                    let line = String::from_utf8_lossy(base.line(rule)).into_owned();
                    refused.push(format!("{name}: {line}: {why}"));
                }
                Err(why) => panic!("{name}: {why}"),
            }
            if rule.0 > 200 {
                break;
            }
        }
    }
    println!("{}", refused.join("\n"));
    assert!(refused.len() < 30, "{}", refused.join("\n"));
}
