//! What a stage does not take, and in which words it says so.

use super::*;

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
