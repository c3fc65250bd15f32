//! Every dump is printed back byte for byte, in one piece and ruleset by ruleset; with its own counters
//! a live dump is printed back the same way.

use ruletop::ruleset::spec::Target;
use ruletop::ruleset::{Document, Hints, Ruleset, Severity};

use crate::corpus;

#[test]
fn every_dump_is_exported_byte_for_byte() {
    for dump in corpus::all() {
        let document = Document::parse(dump.bytes.clone(), Hints::default())
            .unwrap_or_else(|error| panic!("{}: {error}", dump.name));
        assert!(document.bytes() == dump.bytes, "{}", dump.name);
    }
}

#[test]
fn every_byte_belongs_to_one_ruleset() {
    for dump in corpus::all() {
        let document = Document::parse(dump.bytes.clone(), Hints::default()).unwrap();
        let parts: Vec<u8> = document
            .rulesets()
            .iter()
            .flat_map(|ruleset| ruleset.bytes().to_vec())
            .collect();
        assert!(parts == dump.bytes, "{}", dump.name);
    }
}

#[test]
fn what_a_tool_saved_with_counters_prints_the_same_with_its_own() {
    let mut tested = 0;
    for dump in corpus::all().iter().filter(|dump| dump.is_saved()) {
        let document = Document::parse(dump.bytes.clone(), Hints::default()).unwrap();
        for ruleset in document.rulesets() {
            let printed = ruleset.to_save(&ruleset.saved_counters());
            if ruleset.rules_are_counted() {
                assert!(printed == ruleset.bytes(), "{}", dump.name);
                tested += 1;
            }
        }
    }
    assert!(tested > 10);
}

#[test]
fn printed_with_counters_it_reads_as_the_same_ruleset() {
    for dump in corpus::all() {
        let document = Document::parse(dump.bytes.clone(), Hints::default()).unwrap();
        for before in document.rulesets() {
            let printed = before.to_save(&before.saved_counters());
            let hints = Hints {
                family: Some(before.family()),
                backend: before.backend(),
            };
            let document = Document::parse(printed, hints).unwrap();
            let [after] = document.rulesets() else {
                panic!("{}: one ruleset became several", dump.name);
            };
            assert_eq!(before.rule_count(), after.rule_count(), "{}", dump.name);
            assert!(before.saved_counters().rules.len() == after.rule_count());
            for (index, chain) in before.chains().iter().enumerate() {
                let other = &after.chains()[index];
                assert_eq!(chain.name_bytes(), other.name_bytes(), "{}", dump.name);
                assert_eq!(chain.policy(), other.policy(), "{}", dump.name);
                for (one, two) in chain.rules().iter().zip(other.rules()) {
                    let meant = |ruleset: &Ruleset, rule| ruleset.jump(rule).map(|jump| jump.chain);
                    assert_eq!(meant(before, *one), meant(after, *two), "{}", dump.name);
                    let (one, two) = (before.parse_rule(*one), after.parse_rule(*two));
                    assert_eq!(one.match_text(), two.match_text(), "{}", dump.name);
                    // A jump over a rename says the old name in one and the new in the other.
                    if !matches!(one.target, Some(Target::Chain(_))) {
                        assert_eq!(one.target, two.target, "{}", dump.name);
                    }
                    assert_eq!(one.source, two.source, "{}", dump.name);
                }
            }
        }
    }
}

#[test]
fn what_a_tool_saved_is_read_without_a_complaint() {
    for dump in corpus::all() {
        // The collection's other files were written by people; a newline in a comment is remarked on.
        if !dump.is_saved() || dump.name.starts_with("quoting") {
            continue;
        }
        let document = Document::parse(dump.bytes, Hints::default()).unwrap();
        let complaint = document.diagnostics().find(|d| d.severity > Severity::Note);
        if dump.name == "two-families-no-headers.save" {
            continue;
        }
        assert_eq!(complaint, None, "{}", dump.name);
    }
}

#[test]
fn json_is_one_document_for_every_dump() {
    for dump in corpus::all() {
        let rules = Document::parse(dump.bytes.clone(), Hints::default())
            .unwrap()
            .rulesets()
            .iter()
            .map(Ruleset::rule_count)
            .sum::<usize>();
        let document = Document::parse(dump.bytes, Hints::default()).unwrap();
        let printed = document.to_json().unwrap();
        let document: serde_json::Value = serde_json::from_slice(&printed).unwrap();
        let rulesets = document["rulesets"].as_array().unwrap();
        let each = |value: &serde_json::Value, key: &str| value[key].as_array().unwrap().clone();
        let printed_rules = rulesets
            .iter()
            .flat_map(|ruleset| each(ruleset, "tables"))
            .flat_map(|table| each(&table, "chains"))
            .map(|chain| each(&chain, "rules").len())
            .sum::<usize>();
        assert_eq!(printed_rules, rules, "{}", dump.name);
    }
}
