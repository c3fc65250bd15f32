//! A stage that meets what others made: another base, another's change, the shelf of another time.

use super::*;

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

/// A copy of the rule that stays in the kernel is no sign that the disabled one was enabled.
#[test]
fn of_two_alike_the_disabled_one_stays_on_the_shelf() {
    let text = |rules: &str| ruleset(&format!("*filter\n:INPUT ACCEPT [0:0]\n{rules}COMMIT\n"));
    let both = "-A INPUT -p tcp -j DROP\n-A INPUT -p udp -j DROP\n-A INPUT -p tcp -j DROP\n";
    let mut stage = Stage::new(text(both));
    act(&mut stage, Operation::Disable { row: RowId(0) });
    let shelf = stage.shelf();
    assert_eq!(shelf.rules[0].others, 1);
    let one = text("-A INPUT -p udp -j DROP\n-A INPUT -p tcp -j DROP\n");
    let later = Stage::new_with(one, &shelf);
    assert_eq!(
        screen(&later, "INPUT"),
        [
            "- Disabled -p tcp -j DROP",
            "1 Same -p udp -j DROP",
            "2 Same -p tcp -j DROP"
        ]
    );
    assert_eq!(later.shelf(), shelf);
    // Somebody enabled it elsewhere.
    let enabled = Stage::new_with(text(both), &shelf);
    assert_eq!(enabled.shelf().rules.len(), 0);
}
