//! What the text means: each listed match and target is typed, dumps are told apart, and what was taken
//! as more than it says is remarked on.

use std::collections::BTreeSet;

use ruletop::ruleset::spec::{Match, Target};
use ruletop::ruleset::{
    Backend, Document, Evidence, Family, Hints, Origin, RuleIdx, Ruleset, Warning,
};

use crate::corpus::{self, fixture};

/// Matches that are typed; anything else may be unknown.
const MATCHES: &[&str] = &[
    "tcp",
    "udp",
    "udplite",
    "sctp",
    "dccp",
    "icmp",
    "icmp6",
    "multiport",
    "conntrack",
    "state",
    "comment",
    "limit",
    "hashlimit",
    "set",
    "addrtype",
    "mark",
    "connmark",
    "iprange",
    "length",
    "ttl",
    "hl",
    "mac",
    "physdev",
    "owner",
    "tos",
    "dscp",
    "ecn",
    "pkttype",
    "recent",
    "connlimit",
    "statistic",
    "string",
    "u32",
    "time",
    "rpfilter",
];

/// Targets that are typed.
const TARGETS: &[&str] = &[
    "ACCEPT",
    "DROP",
    "RETURN",
    "QUEUE",
    "REJECT",
    "LOG",
    "NFLOG",
    "MARK",
    "CONNMARK",
    "DNAT",
    "SNAT",
    "MASQUERADE",
    "REDIRECT",
    "NETMAP",
    "TCPMSS",
    "CT",
    "NOTRACK",
    "TRACE",
    "NFQUEUE",
    "SET",
    "TOS",
    "DSCP",
    "TTL",
    "HL",
];

/// The text with nothing known about it.
pub fn read(bytes: &[u8]) -> Document {
    Document::parse(bytes, Hints::default()).unwrap()
}

/// The listed matches and targets of a rule that are not understood.
fn missed(ruleset: &Ruleset, rule: RuleIdx) -> Vec<String> {
    let spec = ruleset.parse_rule(rule);
    let mut missed: Vec<String> = spec
        .matches
        .iter()
        .filter_map(|one| match one {
            Match::Unknown(unknown) if MATCHES.iter().any(|m| m.as_bytes() == &*unknown.name) => {
                Some(format!("{unknown:?}"))
            }
            _ => None,
        })
        .collect();
    if let Some(Target::Unknown(unknown)) = &spec.target
        && TARGETS.iter().any(|t| t.as_bytes() == &*unknown.name)
    {
        missed.push(format!("{unknown:?}"));
    }
    missed.extend(spec.stray.iter().map(|word| format!("stray {word:?}")));
    missed
}

#[test]
fn the_fixtures_hold_every_listed_match_and_target_and_all_are_typed() {
    let mut seen = BTreeSet::new();
    for dump in corpus::fixtures() {
        for ruleset in read(&dump.bytes).rulesets() {
            for rule in ruleset.rules() {
                let spec = ruleset.parse_rule(rule);
                let line = String::from_utf8_lossy(ruleset.line(rule)).into_owned();
                assert!(spec.is_understood(), "{}: {line}\n{spec:#?}", dump.name);
                seen.extend(spec.matches.iter().map(|one| one.name().into_owned()));
                seen.extend(spec.target.iter().map(|target| target.name().into_owned()));
            }
        }
    }
    // udplite has no userspace match of its own; QUEUE loads only where ip_queue still is.
    let absent = |name: &&&str| !seen.contains(**name) && !["udplite", "QUEUE"].contains(*name);
    let absent: Vec<_> = MATCHES.iter().chain(TARGETS).filter(absent).collect();
    assert!(absent.is_empty(), "no fixture holds {absent:?}");
}

#[test]
fn every_line_of_the_extension_tests_is_typed() {
    for (file, family) in [
        ("ext-lines-v4.tsv", Family::V4),
        ("ext-lines-v6.tsv", Family::V6),
    ] {
        let Some(lines) = corpus::shared_file(file) else {
            return;
        };
        let mut tested = 0;
        for line in lines
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty() && l[0] != b'#')
        {
            let columns: Vec<&[u8]> = line.split(|b| *b == b'\t').collect();
            let [table, chain, _, _, rule] = columns.as_slice() else {
                panic!("{}", line.escape_ascii());
            };
            let text = [
                &b"*"[..],
                table,
                b"\n:",
                chain,
                b" ACCEPT [0:0]\n",
                rule,
                b"\nCOMMIT\n",
            ]
            .concat();
            let origin = Origin {
                family,
                backend: Backend::Nft,
            };
            let ruleset = Ruleset::parse(text, origin).unwrap();
            assert!(
                ruleset.diagnostics().is_empty(),
                "{:?}",
                ruleset.diagnostics()
            );
            assert_eq!(ruleset.rule_count(), 1);
            assert_eq!(ruleset.line(RuleIdx(0)), *rule);
            let missed = missed(&ruleset, RuleIdx(0));
            assert!(missed.is_empty(), "{}: {missed:?}", rule.escape_ascii());
            tested += 1;
        }
        assert!(tested > 500);
    }
}

#[test]
fn listed_matches_are_typed_in_the_collection() {
    for dump in corpus::collection() {
        // It holds an option that no match has.
        if dump.name.starts_with("is-Parser-Test-data") {
            continue;
        }
        for ruleset in read(&dump.bytes).rulesets() {
            for rule in ruleset.rules() {
                let missed = missed(ruleset, rule);
                let line = String::from_utf8_lossy(ruleset.line(rule)).into_owned();
                assert!(missed.is_empty(), "{}: {line}: {missed:?}", dump.name);
            }
        }
    }
}

#[test]
fn several_dumps_in_one_file_are_told_apart() {
    let families = read(&fixture("two-families.save"));
    let found: Vec<_> = families
        .rulesets()
        .iter()
        .map(|r| (r.family(), r.family_evidence(), r.backend()))
        .collect();
    assert_eq!(
        found,
        [
            (Family::V4, Evidence::Header, Some(Backend::Nft)),
            (Family::V6, Evidence::Header, Some(Backend::Nft)),
        ]
    );
    let bare = read(&fixture("two-families-no-headers.save"));
    let found: Vec<_> = bare
        .rulesets()
        .iter()
        .map(|r| (r.family(), r.family_evidence(), r.backend()))
        .collect();
    assert_eq!(
        found,
        [
            (Family::V4, Evidence::Content, None),
            (Family::V6, Evidence::Content, None)
        ]
    );
    let backends = read(&fixture("two-backends.save"));
    let found: Vec<_> = backends.rulesets().iter().map(Ruleset::backend).collect();
    assert_eq!(found, [Some(Backend::Nft), Some(Backend::Legacy)]);
    let again = [fixture("commands.nft.save"), fixture("commands.nft.save")].concat();
    assert_eq!(read(&again).rulesets().len(), 2);
}

#[test]
fn hints_take_precedence() {
    let text = fixture("targets-v4.nft.save");
    let hints = Hints {
        family: Some(Family::V6),
        backend: Some(Backend::Legacy),
    };
    let document = Document::parse(text, hints).unwrap();
    let [ruleset] = document.rulesets() else {
        panic!("split in spite of the hints");
    };
    assert_eq!(ruleset.family(), Family::V6);
    assert_eq!(ruleset.family_evidence(), Evidence::Hint);
    assert_eq!(ruleset.backend(), Some(Backend::Legacy));
}

#[test]
fn warnings_of_the_save_tool_are_typed() {
    let text = b"# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n\
        # Generated by iptables-save v1.8.9 (nf_tables) on Fri\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n\
        # Completed on Fri\n# Table `nat' is incompatible, use 'nft' tool.\n\
        # Table `raw' contains incompatible base-chains, use 'nft' tool to list them.\n";
    let document = read(text);
    assert_eq!(
        document.rulesets()[0].warnings(),
        [
            Warning::LegacyTablesPresent,
            Warning::TableIncompatible("nat".into()),
            Warning::IncompatibleBaseChains("raw".into()),
        ]
    );
    let only = read(b"# Table `filter' is incompatible, use 'nft' tool.\n");
    assert_eq!(only.rulesets()[0].warnings().len(), 1);
    assert!(only.rulesets()[0].tables().is_empty());
}

#[test]
fn every_liberty_taken_is_remarked_on() {
    let cases: &[(&str, u32, u32, &str)] = &[
        (
            "*filter\n:INPUT DROP [0:0] extra\nCOMMIT\n",
            2,
            19,
            "nothing after the counters",
        ),
        ("*filter\n:INPUT BLOCK [0:0]\nCOMMIT\n", 2, 8, "a policy"),
        (
            "*filter\nwhat is this\nCOMMIT\n",
            2,
            1,
            "a rule or a '#' comment",
        ),
        (
            "*filter\n  -j ACCEPT -A INPUT\nCOMMIT\n",
            2,
            3,
            "a command such as -A CHAIN",
        ),
        (
            "*filter\n-A nowhere -j DROP\nCOMMIT\n",
            2,
            1,
            "a ':CHAIN' line above",
        ),
        (
            "*filter\n-D INPUT 3\nCOMMIT\n",
            2,
            1,
            "the number of a rule that is there",
        ),
        (
            "*filter\n-D INPUT -j DROP\nCOMMIT\n",
            2,
            10,
            "a rule written as one that stands",
        ),
        (
            "*filter\n-X INPUT\nCOMMIT\n",
            2,
            1,
            "a user chain without rules",
        ),
        (
            "*filter\n-P nobody DROP\nCOMMIT\n",
            2,
            1,
            "a built-in chain",
        ),
        ("*filter\n-t nat -A OUTPUT\nCOMMIT\n", 2, 1, "no -t"),
        ("*filter\n-A INPUT -j DROP\n", 2, 17, "COMMIT at the end"),
        (
            "*filter\n*nat\nCOMMIT\n",
            2,
            1,
            "COMMIT before the next table",
        ),
        (
            "*filter\nCOMMIT\n*filter\nCOMMIT\n",
            3,
            1,
            "this table a second time",
        ),
        ("-A INPUT -j DROP\n", 1, 1, "a '*table' line above"),
        ("*filter\r\nCOMMIT\r\n", 1, 8, "lines that end in LF"),
        ("*filter\nCOMMIT", 2, 7, "a newline at the end"),
        (
            "*filter\n:u ACCEPT [0:0]\nCOMMIT\n",
            2,
            2,
            "'-' as the policy",
        ),
        (
            "*filter\n:u - [0:0]\n:u - [0:0]\nCOMMIT\n",
            3,
            2,
            "declared only once",
        ),
        (
            "*filter\n-A INPUT -m comment --comment \"open -j DROP\nCOMMIT\n",
            2,
            31,
            "a quote that closes this one",
        ),
        (
            "*filter\n-L\nCOMMIT\n",
            2,
            1,
            "a command that changes the ruleset",
        ),
        (
            "*filter\n:a234567890123456789012345678b - [0:0]\nCOMMIT\n",
            2,
            1,
            "at most 28 bytes",
        ),
        (
            "*filter\n-A INPUT -m comment --comment \"a\nb\"\nCOMMIT\n",
            2,
            1,
            "no newline inside quotes",
        ),
    ];
    for (text, line, column, expected) in cases {
        let document = read(text.as_bytes());
        let found = document
            .diagnostics()
            .any(|d| d.line == *line && d.column == *column && d.expected.contains(expected));
        let all: Vec<_> = document.diagnostics().map(ToString::to_string).collect();
        assert!(
            found,
            "{text:?}: {expected} at {line}:{column} not in {all:#?}"
        );
    }
}

#[test]
fn cells_for_the_board() {
    let text = "*filter\n:INPUT DROP [0:0]\n:f2b-sshd - [0:0]\n\
        -A INPUT ! -s 10.0.0.0/8 -d 192.0.2.1/32 -i eth0 -p tcp -m tcp --dport 443 -m comment --comment \"web shop\" -j DROP\n\
        -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
        -A INPUT -m addrtype ! --src-type LOCAL -m limit --limit 3/min -j LOG --log-prefix \"HTTP: \"\n\
        -A INPUT -p icmp -m icmp --icmp-type 8 -g f2b-sshd\n\
        -A INPUT -p tcp -j REJECT --reject-with tcp-reset\n\
        -A INPUT -m policy --dir in --pol ipsec -j NFLOG --nflog-group 5 --nflog-prefix x\n\
        -A INPUT -p ! udp -j DNAT --to-destination 10.0.0.5:80\nCOMMIT\n";
    let document = read(text.as_bytes());
    let ruleset = &document.rulesets()[0];
    let cells: Vec<_> = ruleset.rules().map(|rule| ruleset.cells(rule)).collect();
    assert_eq!(
        (
            &*cells[0].source,
            &*cells[0].destination,
            &*cells[0].in_interface,
            &*cells[0].protocol
        ),
        ("!10.0.0.0/8", "192.0.2.1", "eth0", "tcp")
    );
    assert_eq!(cells[0].comment.as_deref(), Some("web shop"));
    let matches: Vec<_> = cells.iter().map(|c| (&*c.target, &*c.matches)).collect();
    assert_eq!(
        matches,
        [
            ("DROP", "dport 443"),
            ("ACCEPT", "ctstate RELATED,ESTABLISHED"),
            ("LOG", "!src-type LOCAL limit 3/min prefix \"HTTP: \""),
            ("f2b-sshd", "icmp-type 8"),
            ("REJECT", "reject-with tcp-reset"),
            ("NFLOG", "policy --dir in --pol ipsec group 5 prefix \"x\""),
            ("DNAT", "to 10.0.0.5:80"),
        ]
    );
    assert!(cells[3].goto);
    assert_eq!(cells[6].protocol, "!udp");
    let drops: Vec<_> = ruleset
        .rules()
        .map(|rule| {
            ruleset
                .parse_rule(rule)
                .target
                .is_some_and(|t| t.is_drop_or_reject())
        })
        .collect();
    assert_eq!(drops, [true, false, false, false, true, false, false]);
    let spec = ruleset.parse_rule(RuleIdx(2));
    assert_eq!(
        spec.log().map(|log| (log.prefix, log.group)),
        Some((&b"HTTP: "[..], None))
    );
    assert!(!ruleset.parse_rule(RuleIdx(5)).is_understood());
}

#[test]
fn a_partial_file_states_no_policy() {
    let document = read(b"*nat\n:mine - [0:0]\n-A PREROUTING -j mine\nCOMMIT\n");
    let ruleset = &document.rulesets()[0];
    let chain = ruleset.chain(ruleset.find_chain("nat", "PREROUTING").unwrap());
    assert!(chain.is_builtin() && !chain.is_declared());
    assert_eq!(chain.policy(), None);
    assert!(ruleset.diagnostics().is_empty());
    assert_eq!(ruleset.family_evidence(), Evidence::Assumed);
}
