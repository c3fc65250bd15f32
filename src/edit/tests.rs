//! A stage as its users see it.

use std::sync::Arc;

use crate::ruleset::{Backend, Family, Origin, Policy, Ruleset};

use super::*;

pub(super) fn ruleset(text: &str) -> Arc<Ruleset> {
    let origin = Origin::new(Family::V4, Backend::Nft);
    Arc::new(Ruleset::parse(text.as_bytes().to_vec(), origin).unwrap())
}

const SMALL: &str = "*filter\n:INPUT ACCEPT [9:90]\n:OUTPUT ACCEPT [0:0]\n:u - [0:0]\n[1:10] -A INPUT -p tcp -j ACCEPT\n[2:20] -A INPUT -p udp -j u\n[3:30] -A INPUT -j DROP\n[4:40] -A u -j RETURN\nCOMMIT\n";

/// The rules of a chain, as its lines stand on the screen.
fn screen(stage: &Stage, chain: &str) -> Vec<String> {
    let shown = stage.shown();
    let chain = shown.ruleset.find_chain("filter", chain).unwrap();
    let rules = shown.ruleset.chain(chain).rules().iter();
    rules
        .map(|rule| {
            let row = shown.row(*rule).unwrap();
            let number = row.number.map_or("-".to_owned(), |n| n.to_string());
            let spec = String::from_utf8_lossy(shown.ruleset.spec(*rule)).into_owned();
            format!("{number} {:?} {spec}", row.mark)
        })
        .collect()
}

fn script_of(stage: &Stage) -> String {
    let base = stage.base();
    let made = script(base, &stage.staged(), &base.saved_counters()).unwrap();
    String::from_utf8(made.bytes()).unwrap()
}

#[test]
fn a_move_is_shown_and_written() {
    let base = ruleset(SMALL);
    let mut stage = Stage::new(Arc::clone(&base));
    assert!(stage.is_empty() && Arc::ptr_eq(&stage.staged(), &base));
    let to = Spot::new("filter", "INPUT", RowId(0));
    stage
        .carry_out(Operation::Move { row: RowId(2), to })
        .unwrap();
    assert_eq!(
        screen(&stage, "INPUT"),
        [
            "1 Moved -j DROP",
            "2 Same -p tcp -j ACCEPT",
            "3 Same -p udp -j u"
        ]
    );
    assert_eq!(
        script_of(&stage),
        "*filter\n-D INPUT 3\n[3:30] -I INPUT 1 -j DROP\nCOMMIT\n"
    );
    assert_eq!(stage.count(), 1);
    assert!(stage.undo() && stage.is_empty());
    assert!(Arc::ptr_eq(&stage.staged(), &base));
    assert!(stage.redo() && stage.count() == 1);
}

#[test]
fn what_goes_stays_in_its_place_on_the_screen() {
    let mut stage = Stage::new(ruleset(SMALL));
    stage
        .carry_out(Operation::Delete { row: RowId(0) })
        .unwrap();
    stage
        .carry_out(Operation::Disable { row: RowId(1) })
        .unwrap();
    let at = Spot::new("filter", "INPUT", None);
    let spec = b"-p  icmp -j LOG".to_vec();
    stage.carry_out(Operation::Insert { at, spec }).unwrap();
    assert_eq!(
        screen(&stage, "INPUT"),
        [
            "- Deleted -p tcp -j ACCEPT",
            "- Disabled -p udp -j u",
            "1 Same -j DROP",
            "2 New -p icmp -j LOG"
        ]
    );
    assert_eq!(
        script_of(&stage),
        "*filter\n-D INPUT 2\n-D INPUT 1\n[0:0] -I INPUT 2 -p icmp -j LOG\nCOMMIT\n"
    );
    let shelf = stage.shelf();
    assert_eq!(shelf.rules.len(), 1);
    let later = Stage::new_with(stage.staged(), &shelf);
    assert!(later.is_empty());
    assert_eq!(
        screen(&later, "INPUT"),
        [
            "- Disabled -p udp -j u",
            "1 Same -j DROP",
            "2 Same -p icmp -j LOG"
        ]
    );
}

#[test]
fn chains_come_and_go() {
    let mut stage = Stage::new(ruleset(SMALL));
    let u = ChainName::new("filter", "u");
    let refused = stage
        .carry_out(Operation::DeleteChain { chain: u.clone() })
        .unwrap_err();
    assert!(
        matches!(&refused, Refused::Referenced { by, .. } if by[..] == ["INPUT 2"]),
        "{refused}"
    );
    let name = b"web"[..].into();
    stage
        .carry_out(Operation::RenameChain {
            chain: u.clone(),
            name,
        })
        .unwrap();
    let policy = Policy::Drop;
    let chain = ChainName::new("filter", "INPUT");
    stage
        .carry_out(Operation::SetPolicy { chain, policy })
        .unwrap();
    assert_eq!(
        script_of(&stage),
        "*filter\n:INPUT DROP [9:90]\n-N web\n-D INPUT 2\n-D u 1\n[2:20] -I INPUT 2 -p udp -j web\n[4:40] -I web 1 -j RETURN\n-X u\nCOMMIT\n"
    );
}

fn act(stage: &mut Stage, operation: Operation) {
    let said = format!("{operation:?}");
    if let Err(refused) = stage.carry_out(operation) {
        panic!("{said}: {refused}");
    }
}

fn refusal(stage: &mut Stage, operation: Operation) -> String {
    let before = stage.shown().ruleset.bytes().to_vec();
    let said = format!("{operation:?}");
    let refused = stage.carry_out(operation).expect_err(&said);
    assert_eq!(stage.shown().ruleset.bytes(), before);
    refused.to_string()
}

fn insert(chain: &str, spec: &str) -> Operation {
    let at = Spot::new("filter", chain, None);
    let spec = spec.as_bytes().to_vec();
    Operation::Insert { at, spec }
}

#[test]
fn what_cannot_be_a_rule_is_refused_with_place_and_words() {
    let base = "*filter\n:INPUT ACCEPT [0:0]\n:u - [0:0]\n:v - [0:0]\n-A u -j v\nCOMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\n:only - [0:0]\nCOMMIT\n";
    let mut stage = Stage::new(ruleset(base));
    // Chain, specification, column, a part of the words.
    let cases = [
        ("INPUT", "-p tcp --dport", 8, "takes a value"),
        (
            "INPUT",
            "-p tcp nonsense -j DROP",
            8,
            "belongs to no option",
        ),
        ("INPUT", "-j", 1, "belongs to no option"),
        ("INPUT", "-s", 1, "lacks its value"),
        (
            "INPUT",
            "-s 10.0.0.1 -s 10.0.0.2 -j DROP",
            13,
            "stands twice",
        ),
        ("INPUT", "-j DROP -j ACCEPT", 9, "stands twice"),
        (
            "INPUT",
            "-p tcp -m tcp --dprot 22",
            15,
            "only options that it is known to have",
        ),
        (
            "INPUT",
            "-m comment --comment \"open -j DROP",
            22,
            "not closed",
        ),
        ("INPUT", "-A INPUT -j DROP", 1, "without command"),
        (
            "INPUT",
            "iptables -A INPUT -j DROP",
            1,
            "without the program",
        ),
        ("INPUT", "-j DROP -t nat", 9, "table"),
        ("INPUT", "-j DROP\n-A INPUT -j ACCEPT", 8, "one line"),
        ("INPUT", "-m comment --comment \"a\nb\"", 24, "one line"),
        ("INPUT", "-j nowhere", 4, "neither a target nor a chain"),
        ("INPUT", "-g DROP", 4, "neither a target nor a chain"),
        ("INPUT", "-j only", 4, "is in table nat"),
        ("INPUT", "-j INPUT", 4, "called by the kernel"),
        ("u", "-p tcp -j u", 11, "u -> u"),
        ("v", "-g u", 4, "v -> u -> v"),
        ("INPUT", "-6 -j DROP", 1, "a rule for v6"),
        ("INPUT", "-j a\"b", 4, "quotes"),
    ];
    for (chain, spec, column, words) in cases {
        let said = refusal(&mut stage, insert(chain, spec));
        let place = format!("column {column}: ");
        assert!(
            said.starts_with(&place) && said.contains(words),
            "{spec}: {said}"
        );
    }
    let long = format!("-m comment --comment \"{}\"", "x".repeat(11_000));
    assert!(refusal(&mut stage, insert("INPUT", &long)).contains("longer"));
    for good in [
        "",
        "-j DROP",
        "-p tcp --dport ssh -j u",
        "-m newmatch --of 1",
        "-j u",
        "--jump=DROP",
        "-p TCP ! --syn",
    ] {
        act(&mut stage, insert("INPUT", good));
    }
    assert!(refusal(&mut stage, insert("nowhere", "-j DROP")).contains("no chain nowhere"));
    let row = RowId(4711);
    assert!(refusal(&mut stage, Operation::Delete { row }).contains("no longer there"));
}

#[test]
fn address_lists_make_a_rule_of_each() {
    let mut stage = Stage::new(ruleset(SMALL));
    act(&mut stage, insert("u", "-s 10.0.0.1,10.0.0.2 -j DROP"));
    assert_eq!(
        screen(&stage, "u")[1..],
        ["2 New -s 10.0.0.1 -j DROP", "3 New -s 10.0.0.2 -j DROP"]
    );
    assert!(stage.undo() && stage.is_empty());
    let spec = b"-s 10.0.0.1,10.0.0.2".to_vec();
    let row = RowId(0);
    assert!(refusal(&mut stage, Operation::Replace { row, spec }).contains("several"));
}

#[test]
fn chains_are_the_kernels() {
    let mut stage = Stage::new(ruleset(SMALL));
    let chain = |name: &str| ChainName::new("filter", name);
    let input = chain("INPUT");
    let policy = Policy::Drop;
    let name = |name: &str| name.as_bytes().into();
    let cases = [
        (
            Operation::DeleteChain {
                chain: input.clone(),
            },
            "kernel's own",
        ),
        (
            Operation::RenameChain {
                chain: input.clone(),
                name: name("x"),
            },
            "kernel's own",
        ),
        (
            Operation::SetPolicy {
                chain: chain("u"),
                policy,
            },
            "no policy",
        ),
        (
            Operation::SetPolicy {
                chain: input.clone(),
                policy: Policy::Accept,
            },
            "already",
        ),
        (
            Operation::SetPolicy {
                chain: input.clone(),
                policy: Policy::Queue,
            },
            "QUEUE",
        ),
        (Operation::AddChain { chain: chain("u") }, "already"),
        (
            Operation::AddChain {
                chain: chain("FORWARD"),
            },
            "kernel's own",
        ),
        (
            Operation::AddChain {
                chain: chain("DROP"),
            },
            "a target has that name",
        ),
        (Operation::AddChain { chain: chain("-x") }, "option"),
        (
            Operation::AddChain {
                chain: ChainName::new("attic", "x"),
            },
            "no chain",
        ),
        (
            Operation::RenameChain {
                chain: chain("u"),
                name: name("a b"),
            },
            "blank",
        ),
        (
            Operation::RenameChain {
                chain: chain("u"),
                name: name("OUTPUT"),
            },
            "had it",
        ),
        (
            Operation::RenameChain {
                chain: chain("u"),
                name: name("u"),
            },
            "already",
        ),
        (
            Operation::DeleteChain {
                chain: chain("nowhere"),
            },
            "no chain",
        ),
    ];
    for (operation, words) in cases {
        let said = refusal(&mut stage, operation.clone());
        assert!(said.contains(words), "{operation:?}: {said}");
    }
    // Jumped to by nobody it goes, its rules with it, and stands on the screen as going.
    act(&mut stage, Operation::Delete { row: RowId(1) });
    act(&mut stage, Operation::DeleteChain { chain: chain("u") });
    assert_eq!(screen(&stage, "u"), ["- Deleted -j RETURN"]);
    assert!(refusal(&mut stage, insert("INPUT", "-j u")).contains("neither"));
    assert!(refusal(&mut stage, insert("u", "-j DROP")).contains("no chain"));
    assert!(refusal(&mut stage, Operation::Enable { row: RowId(3) }).contains("undo that first"));
    assert!(refusal(&mut stage, Operation::Enable { row: RowId(1) }).contains("neither"));
    let shown = stage.shown();
    let u = shown.ruleset.find_chain("filter", "u").unwrap();
    assert_eq!(shown.chains[u.0 as usize].mark, ChainMark::Deleted);
    assert_eq!(
        script_of(&stage),
        "*filter\n-D INPUT 2\n-D u 1\n-X u\nCOMMIT\n"
    );
}

#[test]
fn a_rule_that_is_moved_and_moved_back_is_not_marked() {
    let mut stage = Stage::new(ruleset(SMALL));
    let to = |before| Spot::new("filter", "INPUT", before);
    act(
        &mut stage,
        Operation::Move {
            row: RowId(0),
            to: to(None),
        },
    );
    let moved = [
        "1 Same -p udp -j u",
        "2 Same -j DROP",
        "3 Moved -p tcp -j ACCEPT",
    ];
    assert_eq!(screen(&stage, "INPUT"), moved);
    act(
        &mut stage,
        Operation::Move {
            row: RowId(0),
            to: to(Some(RowId(1))),
        },
    );
    assert!(stage.is_empty() && stage.diff().is_empty());
    let there = Operation::Move {
        row: RowId(0),
        to: to(Some(RowId(1))),
    };
    assert!(refusal(&mut stage, there).contains("there already"));
    // The one that was moved is marked, whichever way round.
    act(
        &mut stage,
        Operation::Move {
            row: RowId(1),
            to: to(Some(RowId(0))),
        },
    );
    assert_eq!(
        screen(&stage, "INPUT")[..2],
        ["1 Moved -p udp -j u", "2 Same -p tcp -j ACCEPT"]
    );
}

#[test]
fn a_rule_replaced_by_its_old_text_is_the_old_rule() {
    let mut stage = Stage::new(ruleset(SMALL));
    let row = RowId(2);
    act(
        &mut stage,
        Operation::Replace {
            row,
            spec: b"-j REJECT".to_vec(),
        },
    );
    assert_eq!(screen(&stage, "INPUT")[2], "3 Changed -j REJECT");
    act(
        &mut stage,
        Operation::Replace {
            row,
            spec: b" -j DROP".to_vec(),
        },
    );
    assert!(stage.is_empty());
}

#[test]
fn locked_chains_are_left_alone() {
    let base = ruleset(SMALL);
    let lossy = crate::ruleset::Lossy {
        chain: base.find_chain("filter", "u").unwrap(),
        position: 0,
        why: "lookup in a set (lookup)".to_owned(),
        does_more: false,
    };
    let mut stage = Stage::new(Arc::clone(&base)).locked(&[lossy]);
    let chain = ChainName::new("filter", "u");
    let row = RowId(3);
    let name = b"x"[..].into();
    for operation in [
        Operation::Delete { row },
        Operation::Disable { row },
        Operation::ZeroRule { row },
        Operation::Move {
            row,
            to: Spot::new("filter", "INPUT", None),
        },
        Operation::Move {
            row: RowId(0),
            to: Spot::new("filter", "u", None),
        },
        insert("u", "-j DROP"),
        Operation::RenameChain {
            chain: chain.clone(),
            name,
        },
        Operation::ZeroChain {
            chain: chain.clone(),
        },
        Operation::DeleteChain { chain },
    ] {
        let said = refusal(&mut stage, operation.clone());
        assert!(
            said.contains("locked: rule 1 holds") && said.contains("nft"),
            "{operation:?}: {said}"
        );
    }
    let (mut rebased, _) = stage.rebase(ruleset(&SMALL.replace("-j DROP", "-j REJECT")));
    assert!(refusal(&mut rebased, Operation::Delete { row }).contains("locked"));
    // A jump into it may go, and others may come.
    act(&mut stage, insert("INPUT", "-j u"));
    act(&mut stage, Operation::Delete { row: RowId(1) });
}

#[test]
fn a_table_that_iptables_cannot_show_is_left_alone() {
    let base =
        "# Table `nat' is incompatible, use 'nft' tool.\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n";
    let mut stage = Stage::new(ruleset(base));
    for chain in ["PREROUTING", "mine"] {
        let at = Spot::new("nat", chain, None);
        let spec = b"-j ACCEPT".to_vec();
        let said = refusal(&mut stage, Operation::Insert { at, spec });
        assert!(
            said.contains("locked") || said.contains("no chain"),
            "{said}"
        );
        let chain = ChainName::new("nat", chain);
        let said = refusal(&mut stage, Operation::AddChain { chain });
        assert!(said.contains("locked") || said.contains("own"), "{said}");
    }
    let chain = ChainName::new("nat", "OUTPUT");
    let policy = Policy::Drop;
    let said = refusal(&mut stage, Operation::SetPolicy { chain, policy });
    assert!(said.contains("locked"), "{said}");
}

#[test]
fn rules_whose_text_would_become_another_can_only_go() {
    let base = "*filter\n:INPUT ACCEPT [0:0]\n:a\"b - [0:0]\n-A INPUT -m comment --comment \"x\n-A INPUT -j ACCEPT\" -j DROP\n-A INPUT -j DROP\n-A a\"b -j DROP\nCOMMIT\n";
    let mut stage = Stage::new(ruleset(base));
    assert_eq!(stage.base().rule_count(), 3);
    let row = RowId(0);
    let to = Spot::new("filter", "INPUT", None);
    for operation in [
        Operation::Move { row, to },
        Operation::Duplicate { row },
        Operation::Disable { row },
        Operation::ZeroRule { row },
    ] {
        assert!(refusal(&mut stage, operation).contains("cannot be written back"));
    }
    assert!(refusal(&mut stage, Operation::Delete { row: RowId(2) }).contains("quote"));
    // Others move around it.
    let to = Spot::new("filter", "INPUT", row);
    act(&mut stage, Operation::Move { row: RowId(1), to });
    assert_eq!(
        script_of(&stage),
        "*filter\n-D INPUT 2\n[0:0] -I INPUT 1 -j DROP\nCOMMIT\n"
    );
    act(&mut stage, Operation::Delete { row });
    let staged = stage.staged();
    assert_eq!(script_of(&stage), "*filter\n-D INPUT 1\nCOMMIT\n");
    // It cannot come back by itself: that is said, not done by halves.
    let back = script(&staged, stage.base(), &staged.saved_counters()).unwrap_err();
    assert!(back.to_string().contains("line end"), "{back}");
}

#[test]
fn zeroing_is_staged_like_anything_else() {
    let mut stage = Stage::new(ruleset(SMALL));
    act(&mut stage, Operation::ZeroRule { row: RowId(1) });
    assert_eq!(stage.count(), 1);
    assert_eq!(
        script_of(&stage),
        "*filter\n-D INPUT 2\n[0:0] -I INPUT 2 -p udp -j u\nCOMMIT\n"
    );
    assert_eq!(stage.diff().chains[0].lines.len(), 1);
    let chain = ChainName::new("filter", "INPUT");
    act(&mut stage, Operation::ZeroChain { chain });
    assert_eq!(script_of(&stage), "*filter\n-Z INPUT\nCOMMIT\n");
    // As text it says nothing of that; beside the text it can be handed on.
    let staged = stage.staged();
    let reread = || Ruleset::parse(staged.bytes().to_vec(), Origin::ALL[0]).unwrap();
    assert!(Diff::between(stage.base(), &reread()).is_empty());
    let rules = staged.zeroed_rules().to_vec();
    let anew = reread().counting_anew(rules, staged.zeroed_chains().to_vec());
    for anew in [anew, zero_as(&staged, reread())] {
        let made = script(stage.base(), &anew, &stage.base().saved_counters()).unwrap();
        assert_eq!(made.bytes(), b"*filter\n-Z INPUT\nCOMMIT\n");
        assert!(anew.is_zeroed(crate::ruleset::RuleIdx(1)));
    }
    // A ruleset that was staged is a base like any other.
    let next = Stage::new(stage.staged());
    assert!(next.is_empty() && next.diff().is_empty());
    assert!(refusal(&mut stage, Operation::ZeroRule { row: RowId(7) }).contains("no longer"));
}

#[test]
fn legacy_states_its_policies_whenever_a_table_is_touched() {
    let origin = Origin::new(Family::V4, Backend::Legacy);
    let base = Arc::new(Ruleset::parse(SMALL.as_bytes().to_vec(), origin).unwrap());
    let mut stage = Stage::new(base);
    act(&mut stage, Operation::Delete { row: RowId(3) });
    let written = "*filter\n:INPUT ACCEPT [9:90]\n:OUTPUT ACCEPT [0:0]\n-D u 1\nCOMMIT\n";
    assert_eq!(script_of(&stage), written);
    let made = script(
        stage.base(),
        &stage.staged(),
        &stage.base().saved_counters(),
    )
    .unwrap();
    let shell = format!("iptables-legacy-restore -n -c -w 5 <<'EOF'\n{written}EOF\n");
    assert_eq!(made.shell(), shell.into_bytes());
    assert_eq!(made.count(), 1);
}

#[test]
fn a_stage_is_carried_over_and_says_what_fell_away() {
    let mut stage = Stage::new(ruleset(SMALL));
    act(&mut stage, Operation::Delete { row: RowId(0) });
    let to = Spot::new("filter", "INPUT", RowId(1));
    act(&mut stage, Operation::Move { row: RowId(2), to });
    act(&mut stage, insert("INPUT", "-p icmp -j ACCEPT"));
    act(&mut stage, Operation::Disable { row: RowId(3) });
    // Meanwhile the rule to be moved went, the one before which it was to go as well, and the rule to be
    // inserted came.
    let now = "*filter\n:INPUT ACCEPT [9:90]\n:OUTPUT ACCEPT [0:0]\n:u - [0:0]\n-A INPUT -p icmp -j ACCEPT\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n";
    let (mut rebased, remarks) = stage.rebase(ruleset(now));
    let said: Vec<String> = remarks.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "gone meanwhile, what was to be done to it fell away: -t filter -A INPUT -j DROP",
            "there already, not added twice: -t filter -A INPUT -p icmp -j ACCEPT",
            "fell away: the rule is disabled already"
        ]
    );
    assert_eq!(
        screen(&rebased, "INPUT"),
        ["1 Same -p icmp -j ACCEPT", "- Deleted -p tcp -j ACCEPT"]
    );
    assert_eq!(screen(&rebased, "u"), ["- Disabled -j RETURN"]);
    assert_eq!(rebased.shelf().rules.len(), 1);
    assert!(rebased.undo());
    assert_eq!(screen(&rebased, "INPUT")[1], "2 Same -p tcp -j ACCEPT");
}

#[test]
fn merged_jumps_can_be_loaded() {
    let text = |chains: &str, rules: &str| {
        ruleset(&format!(
            "*filter\n:INPUT ACCEPT [0:0]\n{chains}{rules}COMMIT\n"
        ))
    };
    let both = ":u - [0:0]\n:v - [0:0]\n";
    // Base, ours, theirs; what comes out, what is said.
    let cases = [
        // We take a chain out that they jump to.
        (
            text(both, ""),
            text(":u - [0:0]\n", ""),
            text(both, "-A u -j v\n"),
            vec![("u", "-j v")],
            "is kept",
        ),
        // We take a chain out into which they put a rule.
        (
            text(both, ""),
            text(":u - [0:0]\n", ""),
            text(both, "-A v -j DROP\n"),
            vec![("v", "-j DROP")],
            "is kept",
        ),
        // We jump to a chain that they took out.
        (
            text(both, ""),
            text(both, "-A u -j v\n"),
            text(":u - [0:0]\n", ""),
            vec![],
            "jumps to a chain that is gone",
        ),
        // We put a rule into a chain that they took out.
        (
            text(both, ""),
            text(both, "-A v -j DROP\n"),
            text(":u - [0:0]\n", ""),
            vec![],
            "its chain is gone",
        ),
        // Two jumps close a loop.
        (
            text(both, ""),
            text(both, "-A u -j v\n"),
            text(both, "-A v -j u\n"),
            vec![("v", "-j u")],
            "loop",
        ),
        // Both take the same chain out, both add the same.
        (
            text(both, ""),
            text(":u - [0:0]\n:w - [0:0]\n", "-A w -j u\n"),
            text(":w - [0:0]\n:u - [0:0]\n", "-A w -j u\n"),
            vec![("w", "-j u")],
            "",
        ),
    ];
    for (number, (base, ours, theirs, wanted, words)) in cases.into_iter().enumerate() {
        let merged = merge(&base, &ours, &theirs);
        let set = &merged.ruleset;
        let rules: Vec<(String, String)> = set
            .rules()
            .map(|rule| {
                let chain = set.chain(set.chain_of(rule).unwrap());
                let spec = String::from_utf8_lossy(set.spec(rule)).into_owned();
                (chain.name().to_owned(), spec)
            })
            .collect();
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(c, s)| ((*c).to_owned(), (*s).to_owned()))
            .collect();
        assert_eq!(rules, wanted, "{number}");
        let said: Vec<String> = merged.remarks.iter().map(ToString::to_string).collect();
        assert_eq!(said.is_empty(), words.is_empty(), "{number}: {said:?}");
        assert!(
            said.iter().all(|said| said.contains(words)),
            "{number}: {said:?}"
        );
    }
}

#[test]
fn the_shelf_keeps_what_is_not_of_here() {
    let mut stage = Stage::new(ruleset(SMALL));
    act(&mut stage, Operation::Disable { row: RowId(1) });
    let mut shelf = stage.shelf();
    let mut other = shelf.rules[0].clone();
    other.family = Family::V6;
    let mut elsewhere = shelf.rules[0].clone();
    elsewhere.chain = b"\xff"[..].into();
    elsewhere.spec = b"-m comment --comment \xfe"[..].into();
    shelf.rules.extend([other, elsewhere]);
    let read: Shelf = serde_json::from_str(&serde_json::to_string(&shelf).unwrap()).unwrap();
    assert_eq!(read, shelf);
    let mut later = Stage::new_with(stage.staged(), &shelf);
    assert!(later.is_empty());
    assert_eq!(later.shelf().rules.len(), 3);
    let row = later.shown().rows[1].id;
    assert_eq!(screen(&later, "INPUT")[1], "- Disabled -p udp -j u");
    act(&mut later, Operation::Enable { row });
    assert_eq!(screen(&later, "INPUT")[1], "2 New -p udp -j u");
    assert_eq!((later.count(), later.shelf().rules.len()), (1, 2));
    assert!(later.undo());
    act(&mut later, Operation::Delete { row });
    assert_eq!(screen(&later, "INPUT")[1], "- Deleted -p udp -j u");
    assert_eq!((later.count(), later.shelf().rules.len()), (1, 2));
    assert!(
        script(
            later.base(),
            &later.staged(),
            &later.base().saved_counters()
        )
        .unwrap()
        .is_empty()
    );
}

mod hostile {
    use proptest::prelude::*;

    use super::*;

    /// Bytes with a liking for what means something.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        const WORDS: &[&[u8]] = &[
            b" ",
            b"\"",
            b"\\",
            b"\n",
            b"-j u",
            b"-A INPUT ",
            b"--comment ",
            b"-m comment ",
            b"-c 1 2",
            b"-s 1.1.1.1,2.2.2.2",
            b"!",
            b"#",
            b":x - [0:0]",
            b"COMMIT",
            b"\x1b[2J",
            b"\xff",
            b"'",
            b"x",
            b"-",
        ];
        let word = proptest::sample::select(WORDS);
        proptest::collection::vec(word, 0..12).prop_map(|words| words.concat())
    }

    proptest! {
        /// Whatever is typed, what is taken is the rules that were shown, and no line more.
        #[test]
        fn no_text_becomes_another_rule(spec in bytes()) {
            let mut stage = Stage::new(ruleset(SMALL));
            let at = Spot::new("filter", "INPUT", RowId(1));
            if stage.carry_out(Operation::Insert { at, spec }).is_err() {
                prop_assert!(stage.is_empty());
                return Ok(());
            }
            let staged = stage.staged();
            let read = ruleset(std::str::from_utf8(staged.bytes()).unwrap_or(SMALL));
            if std::str::from_utf8(staged.bytes()).is_ok() {
                prop_assert_eq!(read.identities(), staged.identities());
            }
            let made = script(stage.base(), &staged, &stage.base().saved_counters()).unwrap();
            let lines = made.bytes().split_inclusive(|b| *b == b'\n').count();
            prop_assert_eq!(lines, staged.rule_count() - stage.base().rule_count() + 2);
        }

        #[test]
        fn no_name_becomes_another_chain(name in bytes()) {
            let mut stage = Stage::new(ruleset(SMALL));
            let chain = ChainName::new("filter", &name);
            if stage.carry_out(Operation::AddChain { chain }).is_err() {
                return Ok(());
            }
            let staged = stage.staged();
            let read = Ruleset::parse(staged.bytes().to_vec(), Origin::ALL[0]).unwrap();
            prop_assert_eq!(read.chains().len(), 4);
            prop_assert_eq!(read.diagnostics(), []);
            let table = read.table_named(b"filter").unwrap();
            prop_assert!(read.chain_named(table, &name).is_some());
        }

        #[test]
        fn any_shelf_can_be_read(json in ".{0,200}", spec in bytes(), chain in bytes()) {
            let _ = serde_json::from_str::<Shelf>(&json);
            let mut stage = Stage::new(ruleset(SMALL));
            stage.carry_out(Operation::Disable { row: RowId(0) }).unwrap();
            let mut shelf = stage.shelf();
            shelf.rules[0].spec = spec[..].into();
            let mut other = shelf.rules[0].clone();
            other.chain = chain[..].into();
            shelf.rules.push(other);
            let mut later = Stage::new_with(ruleset(SMALL), &shelf);
            let rows: Vec<RowId> = later.shown().rows.iter().map(|row| row.id).collect();
            for row in rows {
                let _ = later.carry_out(Operation::Enable { row });
            }
            let made = script(later.base(), &later.staged(), &later.base().saved_counters());
            prop_assert!(made.is_ok());
            prop_assert!(made.unwrap().bytes().split_inclusive(|b| *b == b'\n').count() <= 3);
        }
    }
}
