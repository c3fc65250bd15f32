//! Input that somebody chose to do harm, or that was cut short: nothing may panic, nothing may be lost.

use std::collections::BTreeSet;

use proptest::prelude::*;
use ruletop::ruleset::spec::write_quoted;
use ruletop::ruleset::{
    Backend, ChainIdx, Document, Evidence, Family, Hints, Origin, ParseError, RuleIdx, Ruleset,
    Severity,
};

use crate::corpus;

/// Everything that can be asked of a document.
fn exercise(document: &Document) {
    for ruleset in document.rulesets() {
        for rule in ruleset.rules() {
            let cells = ruleset.cells(rule);
            assert_eq!(cells.goto, ruleset.parse_rule(rule).goto);
            let _ = (
                ruleset.line(rule),
                ruleset.jump(rule),
                ruleset.text_id(rule),
            );
        }
        let references = ruleset.references();
        for (index, chain) in (0_u32..).zip(ruleset.chains()) {
            let _ = references.to(ruletop::ruleset::ChainIdx(index));
            for (number, rule) in (1..).zip(chain.rules()) {
                assert_eq!(ruleset.number(*rule), number);
                assert_eq!(ruleset.chain_of(*rule).map(|c| c.0), Some(index));
            }
        }
        reads_back(ruleset);
    }
    document.to_json().unwrap();
}

/// What is printed with counters reads as the same chains and rules, if all of it was understood.
fn reads_back(ruleset: &Ruleset) {
    if ruleset
        .diagnostics()
        .iter()
        .any(|d| d.severity == Severity::Error)
    {
        return;
    }
    let printed = ruleset.to_save(&ruleset.saved_counters());
    let origin = Origin {
        family: ruleset.family(),
        backend: Backend::Nft,
    };
    let shown = String::from_utf8_lossy(&printed).into_owned();
    let again = Ruleset::parse(printed, origin).unwrap();
    assert_eq!(chains(ruleset), chains(&again), "{shown}");
}

/// Tables, chains, policies, rules and counters in words.
fn chains(ruleset: &Ruleset) -> BTreeSet<String> {
    let counters = ruleset.saved_counters();
    (0_u32..)
        .map(ChainIdx)
        .zip(ruleset.chains())
        .map(|(index, chain)| {
            let rules = chain.rules().iter().map(|rule| {
                let cells = ruleset.cells(*rule);
                // A chain may have been renamed.
                let target = ruleset.jump(*rule).and_then(|jump| jump.chain);
                let target = target.map_or(cells.target, |t| ruleset.chain(t).name().to_owned());
                format!(
                    "{:?} {} {} {target}",
                    counters.rule(*rule),
                    cells.matches,
                    cells.source
                )
            });
            format!(
                "{} {} {:?} {:?} {:?}",
                ruleset.table(chain.table()).name(),
                chain.name(),
                chain.policy(),
                counters.policy(index),
                rules.collect::<Vec<_>>()
            )
        })
        .collect()
}

fn prints_back(text: &[u8]) {
    match Document::parse(text, Hints::default()) {
        Ok(document) => {
            assert!(document.bytes() == text);
            exercise(&document);
        }
        Err(ParseError::NotADump { .. } | ParseError::OtherProgram { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_fixture_cut_at_any_byte_is_read() {
    for dump in corpus::fixtures() {
        for length in 0..dump.bytes.len() {
            let cut = &dump.bytes[..length];
            if let Ok(document) = Document::parse(cut, Hints::default()) {
                assert!(document.bytes() == cut, "{} at {length}", dump.name);
                // The rule that was cut is the last one of the text.
                for ruleset in document.rulesets() {
                    if let Some(last) = ruleset.rules().last() {
                        let _ = (ruleset.cells(last), ruleset.line(last));
                    }
                }
            }
        }
    }
}

#[test]
fn a_fixture_with_any_byte_changed_is_read() {
    for dump in corpus::fixtures() {
        for (at, byte) in (0..dump.bytes.len())
            .step_by(7)
            .zip(b"\"\\\n-!*:[#\0\xff ".iter().cycle())
        {
            let mut changed = dump.bytes.clone();
            changed[at] = *byte;
            if let Ok(document) = Document::parse(changed.clone(), Hints::default()) {
                assert!(document.bytes() == changed, "{} at {at}", dump.name);
                let ruleset = &document.rulesets()[0];
                for rule in ruleset.rules().step_by(11) {
                    let _ = ruleset.cells(rule);
                }
            }
        }
    }
}

#[test]
fn a_newline_in_a_comment_forges_no_rule() {
    for dump in corpus::fixtures() {
        if !dump.name.starts_with("quoting") {
            continue;
        }
        let document = Document::parse(dump.bytes, Hints::default()).unwrap();
        let ruleset = &document.rulesets()[0];
        let input = ruleset.chain(ruleset.find_chain("filter", "INPUT").unwrap());
        let comments: Vec<_> = input
            .rules()
            .iter()
            .filter_map(|rule| ruleset.parse_rule(*rule).comment().map(<[u8]>::to_vec))
            .collect();
        assert!(comments.contains(&b"new\nline -A INPUT -j ACCEPT".to_vec()));
        assert!(comments.contains(&b"two\nnew\nlines".to_vec()));
        // One rule for each comment or log line that the script makes, one for each chain.
        assert_eq!(input.rules().len(), 16 + 13, "{}", dump.name);
    }
}

#[test]
fn what_is_no_dump_is_refused_with_line_column_and_advice() {
    let cases: [(&[u8], &str); 8] = [
        (
            b"Chain INPUT (policy ACCEPT)\ntarget prot opt source\n",
            "line 1, column 1",
        ),
        (
            b"\n\n  table ip filter {\n\tchain INPUT {\n",
            "line 3, column 3",
        ),
        (
            b"#!/bin/sh\niptables -A INPUT -j DROP\n",
            "line 2, column 1",
        ),
        (b"{\"nftables\": []}", "looks like JSON"),
        (
            b"root:x:0:0:root:/root:/bin/bash\n",
            "give a file written by",
        ),
        (b"* a list\n* of things\n", "expected iptables-save text"),
        (b"\x7fELF\x02\x01\x01\0\0\0", "\\x7fELF"),
        (
            b"# Generated by ebtables-save v1.0 on Fri\n*filter\n",
            "which is not iptables",
        ),
    ];
    for (text, expected) in cases {
        let error = Document::parse(text, Hints::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(error.lines().count(), 2, "{error}");
    }
}

#[test]
fn nothing_is_an_empty_ruleset() {
    let origin = Origin {
        family: Family::V6,
        backend: Backend::Nft,
    };
    for text in ["", "\n", "# only a comment\n", "\u{feff}"] {
        let ruleset = Ruleset::parse(text.as_bytes(), origin).unwrap();
        assert!(ruleset.tables().is_empty() && ruleset.rule_count() == 0);
        assert_eq!(ruleset.family(), Family::V6);
        assert_eq!(ruleset.bytes(), text.as_bytes());
    }
}

/// Each of these would take hours or gigabytes if the reader were quadratic or its results unbounded.
#[test]
fn hostile_sizes_stay_bounded() {
    let rules = "-A INPUT -i x\n".repeat(20_000);
    let many = |line: &str, times: usize| line.repeat(times);
    let lists = format!(
        "-A INPUT -s {}1.1.1.1 -d {}1.1.1.1\n",
        many("1.1.1.1,", 31),
        many("1.1.1.1,", 31)
    );
    let cases = [
        format!("*filter\n{rules}{}", many("-D INPUT -i y\n", 20_000)),
        format!("*filter\n{}", many(&lists, 5_000)),
        format!(
            "*filter\n{}",
            many("-A INPUT -m comment --comment \"open\n", 50_000)
        ),
        format!("*filter\n{}", many("?\n", 1_000_000)),
        format!("*filter\n-A INPUT {}", many("-m x ", 200_000)),
        format!("*filter\n-A INPUT {}", many("! ", 500_000)),
        format!("*filter\n{}", many("*filter\n", 200_000)),
        format!("*filter\n:a - [0:0]\n{}", many("-E a b\n-E b a\n", 50_000)),
        many(
            "*filter\n-A INPUT -s fe80::1\nCOMMIT\n*filter\n-A INPUT -s 1.1.1.1\nCOMMIT\n",
            5_000,
        ),
    ];
    for case in cases {
        let document = Document::parse(case.clone().into_bytes(), Hints::default()).unwrap();
        assert!(document.bytes() == case.as_bytes());
        let rules: usize = document.rulesets().iter().map(Ruleset::rule_count).sum();
        assert!(rules < 400_000);
        let remarks = document
            .rulesets()
            .iter()
            .map(|r| r.diagnostics().len())
            .sum::<usize>();
        assert!(remarks <= 1000 * document.rulesets().len());
        for ruleset in document.rulesets().iter().take(3) {
            for rule in ruleset.rules().take(10) {
                let _ = ruleset.cells(rule);
            }
        }
    }
}

/// Lines of a dump, whole and in pieces.
fn dump_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"*filter\n".to_vec()),
        Just(b"COMMIT\n".to_vec()),
        Just(b":INPUT DROP [1:2]\n".to_vec()),
        Just(b":c - [0:0]\n".to_vec()),
        Just(b"[1:2] -A INPUT ".to_vec()),
        Just(b"-I c 2 ".to_vec()),
        Just(b"-D INPUT ".to_vec()),
        Just(b"-R c 1 ".to_vec()),
        Just(b"-E c d\n".to_vec()),
        Just(b"-F\n".to_vec()),
        Just(b"-X\n".to_vec()),
        Just(b"-N e\n".to_vec()),
        Just(b"-t nat -A e ".to_vec()),
        Just(b"-p tcp -m tcp --dport 22 ".to_vec()),
        Just(b"-s 1.1.1.1,2.2.2.2 -d fe80::1 ".to_vec()),
        Just(b"-m comment --comment \"".to_vec()),
        Just(b"\" ".to_vec()),
        Just(b"! ".to_vec()),
        Just(b"-m set --match-set s src ".to_vec()),
        Just(b"-m hashlimit --hashlimit-upto 3/s ".to_vec()),
        Just(b"-j c\n".to_vec()),
        Just(b"-j LOG --log-prefix x\n".to_vec()),
        Just(b"-j ACCEPT -c 3 4\n".to_vec()),
        Just(b"# Generated by ip6tables-save v1.8.9 (nf_tables) on x\n".to_vec()),
        Just(b"# Table `nat' is incompatible, use 'nft' tool.\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\\".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_printed_back(text in proptest::collection::vec(any::<u8>(), 0..400)) {
        prints_back(&text);
    }

    #[test]
    fn any_lines_are_printed_back(text in dump_like()) {
        prints_back(&text);
    }

    #[test]
    fn any_specification_is_read(words in "[-!a-z0-9./:,\" \\\\=]{0,120}") {
        prints_back(format!("*filter\n-A INPUT {words}\nCOMMIT\n").as_bytes());
    }

    /// Whatever a comment holds: written as the save tool writes it, it is one comment of one rule.
    #[test]
    fn no_comment_forges_anything(comment in proptest::collection::vec(any::<u8>(), 0..255), lines in dump_like()) {
        let comment = [comment, b"\n".to_vec(), lines].concat();
        let comment = &comment[..comment.len().min(255)];
        let mut text = b"*filter\n:INPUT DROP [0:0]\n[1:2] -A INPUT -m comment --comment ".to_vec();
        write_quoted(&mut text, comment);
        text.extend_from_slice(b" -j DROP\n[3:4] -A INPUT -i lo -j ACCEPT\nCOMMIT\n");
        let document = Document::parse(text, Hints::default()).unwrap();
        let [ruleset] = document.rulesets() else {
            panic!("split by a comment");
        };
        prop_assert_eq!(ruleset.chains().len(), 1);
        prop_assert_eq!(ruleset.rule_count(), 2);
        let spec = ruleset.parse_rule(RuleIdx(0));
        prop_assert!(spec.is_understood());
        prop_assert_eq!(spec.comment(), Some(comment));
        prop_assert_eq!(spec.target_name(), "DROP");
        prop_assert_eq!(ruleset.family_evidence(), Evidence::Assumed);
        prop_assert!(ruleset.warnings().is_empty());
    }
}
