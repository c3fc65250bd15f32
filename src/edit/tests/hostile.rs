//! Any text at all, typed as a rule, as a name and on the shelf.

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
