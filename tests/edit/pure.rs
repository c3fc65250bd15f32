//! What must hold of any ruleset and any operations, without a kernel.

use std::sync::Arc;

use ruletop::edit::{Diff, Operation, Shelf, Stage, merge, script};
use ruletop::ruleset::{Backend, Origin, Ruleset};

use crate::chance::{Dice, act, cases, dump, operation};
use crate::model::Firewall;

pub fn parse(text: &str, origin: Origin) -> Arc<Ruleset> {
    Arc::new(Ruleset::parse(text.as_bytes().to_vec(), origin).unwrap())
}

fn case(number: u64) -> (Dice, Origin, Arc<Ruleset>) {
    let mut dice = Dice(number);
    let origin = *dice.pick(&Origin::ALL);
    let text = dump(&mut dice, origin, 16);
    let base = parse(&text, origin);
    (dice, origin, base)
}

/// Runs each case and names the one that fails.
fn each(check: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for number in 0..cases(150) {
        if let Err(panic) = std::panic::catch_unwind(|| check(number)) {
            eprintln!("case {number}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Everything that a screen can see of a stage.
fn picture(stage: &Stage) -> String {
    let shown = stage.shown();
    format!(
        "{:?}\n{:?}\n{}\n{}\n{:?}",
        shown.rows,
        shown.chains,
        String::from_utf8_lossy(shown.ruleset.bytes()),
        String::from_utf8_lossy(stage.staged().bytes()),
        stage.shelf()
    )
}

#[test]
fn undo_leads_back_step_by_step_and_redo_forth() {
    each(|number| {
        let (mut dice, _, base) = case(number);
        let mut stage = Stage::new(Arc::clone(&base));
        let mut pictures = vec![picture(&stage)];
        for _ in 0..12 {
            let operation = operation(&mut dice, &stage);
            match stage.carry_out(operation) {
                Ok(()) => pictures.push(picture(&stage)),
                Err(refused) => {
                    assert!(!refused.to_string().is_empty());
                    assert_eq!(&picture(&stage), pictures.last().unwrap(), "{refused}");
                }
            }
        }
        let last = pictures.len() - 1;
        for at in (0..last).rev() {
            assert!(stage.undo());
            assert_eq!(picture(&stage), pictures[at]);
        }
        assert!(!stage.undo() && stage.is_empty());
        assert!(Arc::ptr_eq(&stage.staged(), &base));
        assert!(stage.diff().is_empty());
        for picture_then in &pictures[1..] {
            assert!(stage.redo());
            assert_eq!(&picture(&stage), picture_then);
        }
        assert!(!stage.redo());
    });
}

#[test]
fn what_is_assembled_reads_back_as_itself() {
    each(|number| {
        let (mut dice, origin, base) = case(number);
        let mut stage = Stage::new(base);
        act(&mut dice, &mut stage, 12);
        for made in [stage.staged(), Arc::clone(&stage.shown().ruleset)] {
            let read = parse(std::str::from_utf8(made.bytes()).unwrap(), origin);
            assert_eq!(read.diagnostics(), []);
            assert_eq!(Firewall::of(&read), Firewall::of(&made));
            assert_eq!(read.identities(), made.identities());
            for rule in read.rules() {
                assert_eq!(read.spec(rule), made.spec(rule));
                assert_eq!(read.line(rule), made.line(rule));
                assert_eq!(read.line_number(rule), made.line_number(rule));
            }
            assert_eq!(made.to_save(&made.saved_counters()), made.bytes());
        }
    });
}

/// Rows and chains stand parallel to the ruleset, and are numbered as the kernel will number them.
#[test]
fn the_union_shows_what_is_staged() {
    each(|number| {
        let (mut dice, _, base) = case(number);
        let mut stage = Stage::new(base);
        act(&mut dice, &mut stage, 12);
        let (shown, staged) = (stage.shown(), stage.staged());
        assert_eq!(shown.rows.len(), shown.ruleset.rule_count());
        assert_eq!(shown.chains.len(), shown.ruleset.chains().len());
        let mut seen = std::collections::HashSet::new();
        for rule in shown.ruleset.rules() {
            let row = shown.row(rule).unwrap();
            assert!(seen.insert(row.id), "{row:?} twice");
            assert_eq!(shown.rule_of(row.id), Some(rule));
            let Some(number) = row.number else { continue };
            let chain = shown.ruleset.chain(shown.ruleset.chain_of(rule).unwrap());
            let table = shown.ruleset.table(chain.table()).name();
            let there = staged.find_chain(table, chain.name()).unwrap();
            let standing = staged.chain(there).rules()[number as usize - 1];
            assert_eq!(staged.spec(standing), shown.ruleset.spec(rule));
        }
        let numbered = shown.rows.iter().filter(|row| row.number.is_some());
        assert_eq!(numbered.count(), staged.rule_count());
        assert_eq!(stage.count() == 0, stage.is_empty());
        let marks = shown
            .rows
            .iter()
            .filter(|row| row.mark != ruletop::edit::Mark::Same || row.zeroed);
        if marks.count() == 0
            && shown
                .chains
                .iter()
                .all(|c| c.mark == ruletop::edit::ChainMark::Same && !c.zeroed)
        {
            assert_eq!(Diff::between(stage.base(), &staged), Diff::default());
        }
    });
}

#[test]
fn a_script_carried_out_gives_what_was_staged() {
    each(|number| {
        let (mut dice, origin, base) = case(number);
        let mut stage = Stage::new(Arc::clone(&base));
        act(&mut dice, &mut stage, 14);
        let staged = stage.staged();
        let made = script(&base, &staged, &base.saved_counters()).unwrap();
        let text = String::from_utf8(made.bytes()).unwrap();
        let mut firewall = Firewall::of(&base);
        if let Err(refused) = firewall.restore(&text) {
            panic!("{refused}\n{text}");
        }
        assert_eq!(
            firewall.rules_only(),
            Firewall::of(&staged).rules_only(),
            "{text}"
        );
        assert_eq!(made.is_empty(), text.is_empty());
        assert_eq!(
            made.is_empty(),
            Diff::between(&base, &staged).is_empty(),
            "{text}"
        );
        let legacy = origin.backend == Backend::Legacy;
        assert_counters(
            &firewall,
            [&Firewall::of(&base), &Firewall::of(&staged)],
            &text,
            legacy,
        );
    });
}

/// Counters are those that were staged, where a rule can be told from all others of its table.
fn assert_counters(is: &Firewall, [base, wanted]: [&Firewall; 2], text: &str, legacy: bool) {
    for (name, table) in &wanted.tables {
        let specs = |firewall: &Firewall| -> Vec<String> {
            let chains = firewall
                .tables
                .get(name)
                .into_iter()
                .flat_map(|table| table.values());
            chains
                .flat_map(|c| &c.rules)
                .map(|rule| rule.0.clone())
                .collect()
        };
        let (old, new) = (specs(base), specs(wanted));
        let is_plain = |spec: &String| {
            [&old, &new]
                .iter()
                .all(|all| all.iter().filter(|s| *s == spec).count() < 2)
        };
        for (chain_name, chain) in table {
            let Some(there) = is.tables.get(name).and_then(|t| t.get(chain_name)) else {
                continue;
            };
            if legacy || chain.policy.is_some() {
                assert_eq!(there.counters, chain.counters, "{chain_name}\n{text}");
            }
            for (rule, other) in chain.rules.iter().zip(&there.rules) {
                if is_plain(&rule.0) {
                    assert!(
                        other.1 >= rule.1,
                        "{chain_name} {rule:?} {other:?}\n{text}\n{base:#?}"
                    );
                }
            }
        }
    }
}

#[test]
fn no_rule_is_named_that_stands_still() {
    let origin = Origin::ALL[0];
    each(|number| {
        let mut dice = Dice(number);
        let rules = 40;
        let lines: Vec<String> = (0..rules)
            .map(|n| format!("-A INPUT -s 10.0.0.{n}/32\n"))
            .collect();
        let base = parse(
            &format!("*filter\n:INPUT ACCEPT [0:0]\n{}COMMIT\n", lines.concat()),
            origin,
        );
        let mut stage = Stage::new(Arc::clone(&base));
        let moves = dice.roll(4) + 1;
        for _ in 0..moves {
            let rows = &stage.shown().rows;
            let row = dice.pick(rows).id;
            let before = dice.pick(rows).id;
            let to = ruletop::edit::Spot::new("filter", "INPUT", before);
            let _ = stage.carry_out(Operation::Move { row, to });
        }
        let made = script(&base, &stage.staged(), &base.saved_counters()).unwrap();
        assert!(
            made.count() <= 2 * moves,
            "{}",
            String::from_utf8_lossy(&made.bytes())
        );
    });
}

/// Rulesets that differ by some operations from a common one.
fn three(number: u64) -> (Arc<Ruleset>, Arc<Ruleset>, Arc<Ruleset>) {
    let (mut dice, _, base) = case(number);
    let mut ours = Stage::new(Arc::clone(&base));
    act(&mut dice, &mut ours, 8);
    let mut theirs = Stage::new(Arc::clone(&base));
    act(&mut dice, &mut theirs, 8);
    (base, ours.staged(), theirs.staged())
}

#[test]
fn one_side_alone_has_its_way() {
    each(|number| {
        let (base, ours, theirs) = three(number);
        for (ours, theirs, wanted) in [
            (&ours, &base, &ours),
            (&base, &theirs, &theirs),
            (&ours, &ours, &ours),
        ] {
            let merged = merge(&base, ours, theirs);
            let is = Firewall::of(&merged.ruleset).rules_only();
            assert_eq!(is, Firewall::of(wanted).rules_only());
            assert_eq!(merged.remarks, []);
        }
    });
}

/// The inverse change takes back what was done, and what others did since stays.
#[test]
fn what_was_done_is_taken_back() {
    each(|number| {
        let (before, after, _) = three(number);
        let merged = merge(&after, &before, &after);
        let is = Firewall::of(&merged.ruleset).rules_only();
        assert_eq!(is, Firewall::of(&before).rules_only());
        assert_eq!(merged.remarks, []);
    });
}

/// Whatever both sides did, the result can be loaded, and nothing of theirs is lost that we did not take out.
#[test]
fn any_merge_can_be_loaded() {
    each(|number| {
        let (base, ours, theirs) = three(number);
        let merged = merge(&base, &ours, &theirs);
        let made = script(&theirs, &merged.ruleset, &theirs.saved_counters()).unwrap();
        let text = String::from_utf8(made.bytes()).unwrap();
        let mut firewall = Firewall::of(&theirs);
        if let Err(refused) = firewall.restore(&text) {
            panic!("{refused}\n{text}");
        }
        assert_eq!(
            firewall.rules_only(),
            Firewall::of(&merged.ruleset).rules_only()
        );
        for remark in &merged.remarks {
            assert!(!remark.to_string().is_empty());
        }
    });
}

#[test]
fn a_stage_carried_over_to_the_same_ruleset_is_the_same() {
    each(|number| {
        let (mut dice, _, base) = case(number);
        let mut stage = Stage::new(Arc::clone(&base));
        act(&mut dice, &mut stage, 10);
        let again = Arc::new(Ruleset::parse(base.bytes().to_vec(), Origin::ALL[0]).unwrap());
        let again = if base.family() == again.family() && base.backend() == again.backend() {
            again
        } else {
            Arc::clone(&base)
        };
        let (mut rebased, remarks) = stage.rebase(again);
        assert_eq!(remarks, []);
        assert_eq!(picture(&rebased), picture(&stage));
        while rebased.undo() {}
        assert!(rebased.is_empty());
    });
}

/// Others applied the very same: nothing is left to do, but what starts counters anew.
#[test]
fn a_stage_carried_over_to_itself_has_nothing_left_to_do() {
    each(|number| {
        let (mut dice, _, base) = case(number);
        let mut stage = Stage::new(base);
        for _ in 0..8 {
            let operation = operation(&mut dice, &stage);
            if !matches!(
                operation,
                Operation::ZeroRule { .. } | Operation::ZeroChain { .. }
            ) {
                let _ = stage.carry_out(operation);
            }
        }
        let staged = stage.staged();
        let (rebased, _) = stage.rebase(Arc::clone(&staged));
        let is = Firewall::of(&rebased.staged()).rules_only();
        assert_eq!(
            is,
            Firewall::of(&staged).rules_only(),
            "{:#?}",
            stage.history().collect::<Vec<_>>()
        );
    });
}

#[test]
fn a_stage_carried_over_to_anything_can_be_written() {
    each(|number| {
        let (mut dice, _, base) = case(number);
        let mut ours = Stage::new(Arc::clone(&base));
        act(&mut dice, &mut ours, 8);
        let mut theirs = Stage::new(base);
        act(&mut dice, &mut theirs, 8);
        let (mut rebased, remarks) = ours.rebase(theirs.staged());
        for remark in &remarks {
            assert!(!remark.to_string().is_empty());
        }
        let staged = rebased.staged();
        let from = theirs.staged().loaded();
        let made = script(&from, &staged, &from.saved_counters()).unwrap();
        let mut firewall = Firewall::of(&from);
        firewall
            .restore(&String::from_utf8(made.bytes()).unwrap())
            .unwrap();
        assert_eq!(firewall.rules_only(), Firewall::of(&staged).rules_only());
        while rebased.undo() {}
        // What was disabled and is gone meanwhile is still to be put on the shelf.
        assert!(Diff::between(&from, &rebased.staged()).is_empty());
    });
}

#[test]
fn the_shelf_survives_being_written_and_read() {
    each(|number| {
        let (mut dice, _, base) = case(number);
        let mut stage = Stage::new(base);
        act(&mut dice, &mut stage, 14);
        let shelf = stage.shelf();
        let written = serde_json::to_string(&shelf).unwrap();
        let read: Shelf = serde_json::from_str(&written).unwrap();
        assert_eq!(read, shelf);
        let staged = stage.staged();
        let later = Stage::new_with(staged.clone(), &read);
        // A rule that stands in its chain all the same is not called disabled.
        let (stands, shelf): (Vec<_>, Vec<_>) = shelf
            .rules
            .into_iter()
            .partition(|rule| rule.stands_in(&staged));
        let shelf = Shelf { rules: shelf };
        assert!(later.is_empty());
        let specs = |shelf: &Shelf| {
            let mut specs: Vec<_> = shelf
                .rules
                .iter()
                .map(|r| (r.table.clone(), r.chain.clone(), r.spec.clone()))
                .collect();
            specs.sort_by(|a, b| format!("{a:?}").cmp(&format!("{b:?}")));
            specs
        };
        assert_eq!(specs(&later.shelf()), specs(&shelf));
        // Disabled rows stand where they stood.
        let order = |stage: &Stage| {
            let shown = stage.shown();
            let gone = |rule| matches!(shown.row(rule).unwrap().mark, ruletop::edit::Mark::Deleted);
            let rules = shown.ruleset.rules().filter(|rule| !gone(*rule));
            rules
                .map(|rule| shown.ruleset.spec(rule).to_vec())
                .collect::<Vec<_>>()
        };
        assert_eq!(order(&later).len() + stands.len(), order(&stage).len());
    });
}
