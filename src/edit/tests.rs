//! A stage as its users see it: what is shown, what is written.

mod elsewhere;
mod hostile;
mod refusals;

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
