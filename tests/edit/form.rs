//! The rule editor's form on rules that none of us wrote: nothing is lost, everything has a sentence,
//! nothing that the tools printed is called wrong; and what is called wrong, the kernel refuses.

use std::collections::HashSet;

use ruletop::edit::form::check::check;
use ruletop::edit::form::complete::Names;
use ruletop::edit::form::{self, Field, Form, Site, sentence, text};
use ruletop::ruleset::spec::{Cells, Spec};
use ruletop::ruleset::{Backend, Document, Family, Hints, Severity, builtin_chains};

use crate::corpus;
use crate::support::{LEGACY4, LEGACY6, NFT4, NFT6, in_namespace};

/// A rule, where it stands, and whether a save tool printed it.
struct Rule {
    name: String,
    site: Site,
    spec: Vec<u8>,
    is_saved: bool,
}

fn bare_site(family: Family, backend: Option<Backend>, table: &str, chain: &str) -> Site {
    let names = builtin_chains(table.as_bytes()).iter();
    let mut builtin: Vec<Vec<u8>> = names.map(|name| name.as_bytes().to_vec()).collect();
    builtin.sort();
    Site {
        family,
        backend,
        table: table.to_owned(),
        chain: chain.as_bytes().to_vec(),
        hooks: vec![chain.to_owned()],
        chains: Vec::new(),
        builtin,
    }
}

/// What a rule is made of: its options as they are, of every other word the signs in it. Of a hundred
/// thousand rules a few thousand differ in that.
fn shape(family: Family, table: &str, spec: &[u8]) -> Vec<u8> {
    let mut shape: Vec<u8> = family.name().bytes().chain(table.bytes()).collect();
    for word in spec.split(u8::is_ascii_whitespace) {
        shape.push(b' ');
        if word.starts_with(b"-") {
            shape.extend_from_slice(word);
            continue;
        }
        let mut signs: Vec<u8> = word.to_vec();
        signs.retain(|byte| !byte.is_ascii_alphanumeric());
        signs.dedup();
        shape.extend(signs);
    }
    shape
}

/// Rules of the dumps, one of each shape.
fn rules_of_dumps() -> Vec<Rule> {
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    for dump in corpus::all() {
        let (name, is_saved) = (dump.name.clone(), dump.is_saved());
        let Ok(document) = Document::parse(dump.bytes, Hints::default()) else {
            continue;
        };
        for set in document.rulesets() {
            for (chain, own) in (0..).map(ruletop::ruleset::ChainIdx).zip(set.chains()) {
                let mut site = None;
                let table = set.table(own.table()).name();
                for rule in own.rules() {
                    let spec = set.spec(*rule);
                    if !seen.insert(shape(set.family(), table, spec)) {
                        continue;
                    }
                    let site = site.get_or_insert_with(|| Site::of(set, chain));
                    found.push(Rule {
                        name: name.clone(),
                        site: site.clone(),
                        spec: spec.to_vec(),
                        is_saved,
                    });
                }
            }
        }
    }
    assert!(found.len() > 100);
    found
}

/// Rules of netfilter's own extension tests.
fn rules_of_extensions() -> Vec<Rule> {
    let mut found = Vec::new();
    for (name, family) in [
        ("ext-lines-v4.tsv", Family::V4),
        ("ext-lines-v6.tsv", Family::V6),
    ] {
        let Some(text) = corpus::shared_file(name) else {
            continue;
        };
        let text = String::from_utf8(text).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<&str> = line.split('\t').collect();
            let [table, chain, _, _, rule] = columns[..] else {
                panic!("{line}");
            };
            let spec = rule.strip_prefix(&format!("-A {chain}")).unwrap().trim();
            found.push(Rule {
                name: name.to_owned(),
                site: bare_site(family, None, table, chain),
                spec: spec.as_bytes().to_vec(),
                is_saved: true,
            });
        }
    }
    found
}

fn parsed<'a>(spec: &'a [u8], site: &Site) -> Spec<'a> {
    Spec::parse(spec, site.family, &|name| site.is_chain(name))
}

/// What the rule says, wherever its words stand. A match that says nothing (`-m tcp` alone) goes with the
/// last of its options.
fn essence(spec: &[u8], site: &Site) -> (Cells, bool) {
    let spec = parsed(spec, site);
    (Cells::of(&spec), spec.is_understood())
}

/// Another value for a field, of its own kind.
fn another(field: Field) -> &'static str {
    match field {
        Field::Source | Field::Destination => "192.0.2.77",
        Field::SourcePorts | Field::DestinationPorts => "54321",
        Field::InInterface | Field::OutInterface => "other0",
        Field::State => "NEW",
        Field::Limit => "7/hour burst 3",
        _ => "another",
    }
}

#[test]
fn the_form_loses_nothing_of_any_rule() {
    for rule in rules_of_dumps().iter().chain(&rules_of_extensions()) {
        let Rule {
            name, site, spec, ..
        } = rule;
        let shown = String::from_utf8_lossy(spec).into_owned();
        assert_eq!(
            text::to_bytes(&text::from_bytes(spec)),
            *spec,
            "{name} {shown}"
        );
        let form = Form::read(spec, site);
        for field in Field::ALL {
            let had = form.get(field);
            assert_eq!(
                form::set(spec, field, had, site),
                *spec,
                "{name} {shown} {field:?}"
            );
            // Another value and back. A target takes its options along, a protocol its match: those
            // are tested by table.
            let by_table = matches!(
                field,
                Field::Target | Field::TargetOptions | Field::Protocol
            );
            // An empty text is shown as none is, so writing it takes it away.
            let is_empty_text = had.is_empty() && shown.contains("\"\"");
            if by_table || is_empty_text {
                continue;
            }
            let changed = form::set(spec, field, another(field), site);
            let after = Form::read(&changed, site);
            for other in Field::ALL.into_iter().filter(|other| *other != field) {
                assert_eq!(
                    after.get(other),
                    form.get(other),
                    "{name} {shown} {field:?}: {}",
                    String::from_utf8_lossy(&changed)
                );
            }
            let back = form::set(&changed, field, had, site);
            assert_eq!(
                essence(&back, site),
                essence(spec, site),
                "{name} {shown} {field:?}: {}",
                String::from_utf8_lossy(&back)
            );
        }
    }
}

#[test]
fn every_rule_has_a_sentence_that_leaves_nothing_out() {
    for rule in rules_of_dumps().iter().chain(&rules_of_extensions()) {
        let spec = parsed(&rule.spec, &rule.site);
        let words = sentence::of(&spec, true);
        let shown = String::from_utf8_lossy(&rule.spec);
        assert!(words.starts_with(char::is_uppercase), "{shown}: {words}");
        assert!(!words.contains(" ,"), "{shown}: {words}");
        assert!(
            !words.contains("  ") || shown.contains("  "),
            "{shown}: {words}"
        );
        let says_unknown = [
            "and only if: ",
            "not understood",
            "not known",
            "belongs to nothing",
        ];
        let admits = says_unknown.iter().any(|phrase| words.contains(phrase));
        assert_eq!(admits, !spec.is_understood(), "{shown}: {words}");
    }
}

#[test]
fn nothing_that_the_tools_printed_is_called_wrong() {
    let names = Names::default();
    let mut wrong = Vec::new();
    for rule in rules_of_dumps().iter().chain(&rules_of_extensions()) {
        if !rule.is_saved {
            continue;
        }
        for problem in check(&rule.spec, &rule.site, &names) {
            if problem.severity == Severity::Error {
                wrong.push(format!(
                    "{} {} {}: {}\n    {}",
                    rule.name,
                    rule.site.table,
                    String::from_utf8_lossy(&rule.site.chain),
                    String::from_utf8_lossy(&rule.spec),
                    problem.words
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Rules that some table or chain refuses.
const PLACED: [&str; 14] = [
    "-j DROP",
    "-j REJECT",
    "-j DNAT --to-destination ADDRESS",
    "-j SNAT --to-source ADDRESS",
    "-j MASQUERADE",
    "-j REDIRECT",
    "-j NETMAP --to ADDRESS",
    "-j CT --notrack",
    "-j TOS --set-tos 0x10",
    "-j TRACE",
    "-j MARK --set-xmark 0x1/0xffffffff",
    "-m owner --uid-owner 0 -j ACCEPT",
    "-m rpfilter",
    "-p tcp -m tcp --dport 22 -m mac --mac-source 02:00:00:00:00:01 -j ACCEPT",
];

#[test]
fn what_may_stand_where_is_what_the_kernel_says() {
    for origin in [NFT4, NFT6, LEGACY4, LEGACY6] {
        in_namespace(move |net| {
            let address = if origin.family == Family::V4 {
                "192.0.2.1"
            } else {
                "2001:db8::1"
            };
            let mut wrong = Vec::new();
            for table in ["filter", "nat", "mangle", "raw"] {
                for chain in builtin_chains(table.as_bytes()) {
                    for rule in PLACED {
                        let rule = rule.replace("ADDRESS", address);
                        // Alone in its chain: behind a drop of everything legacy looks at no rule.
                        let script = format!("*{table}\n-F {chain}\n-A {chain} {rule}\nCOMMIT\n");
                        let taken = net.try_restore(origin, "-n", &script);
                        let site = bare_site(origin.family, Some(origin.backend), table, chain);
                        let found = check(rule.as_bytes(), &site, &Names::default());
                        let error = found.iter().find(|p| p.severity == Severity::Error);
                        if taken.is_ok() != error.is_none() {
                            wrong.push(format!(
                                "{origin} {table} {chain} {rule}: {taken:?} {error:?}"
                            ));
                        }
                    }
                }
            }
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        });
    }
}
