//! Rules that no packet can match: what was found of a ruleset, and its words on the board.
//!
//! It is found in what the kernel holds, and told in the numbers of the board, on which probes have none and a stage may
//! have moved everything. Of a rule that something is staged about nothing is said, nor where something is staged
//! about one of those that are the reason: its place has changed, or it goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::app::firewall::{Firewall, FirewallId};
use crate::edit::Mark;
use crate::ruleset::{Lossy, Marked, RuleIdx, Ruleset};
use crate::verdict::{Dead, Place, Program, Shadow};

/// Rules of one ruleset that no packet can match.
#[derive(Debug)]
pub struct Shadowed {
    /// Which ruleset.
    pub id: FirewallId,
    /// The structure that was looked at.
    pub ruleset: Arc<Ruleset>,
    /// The rules with the reason.
    pub found: BTreeMap<RuleIdx, Shadow>,
}

impl Shadowed {
    /// Looks for them: some tenths of a second for 100,000 rules.
    /// `lossy` are the rules of which it is known that the kernel holds more than their text: they cover none.
    pub fn of(id: FirewallId, ruleset: &Arc<Ruleset>, lossy: &[Lossy]) -> Self {
        let sets = [ruleset.as_ref()];
        let marked = Marked { ruleset, lossy };
        let program = Program::compile_marked(ruleset.family(), &[marked], &[]);
        let found = program.shadows(&sets).found.into_iter();
        Self {
            found: found
                .filter_map(|shadow| Some((shadow.rule.rule?, shadow)))
                .collect(),
            id,
            ruleset: Arc::clone(ruleset),
        }
    }
}

/// Rules that are named as the reason.
const MOST: usize = 4;

impl Firewall {
    /// Why no packet can match a shown rule, in words: `covered by 4`.
    pub fn shadow(&self, rule: RuleIdx) -> Option<String> {
        let is_same = |rule: RuleIdx| self.mark(rule) == Mark::Same;
        let shadow = self.shadow_of(self.kernel_rule(rule).filter(|_| is_same(rule))?)?;
        let by = shadow.by();
        let mut rules = by.iter().filter_map(|place| place.rule);
        if !rules.all(|rule| is_same(self.shown_rule(rule))) {
            return None;
        }
        let own = self.ruleset.chain_of(rule);
        let name = |place: &Place| {
            let chain = self.shown_chain(place.chain);
            let name = self.ruleset.chain(chain).name();
            match place.rule.map(|rule| self.board_number(rule)) {
                None => format!("{name}'s policy"),
                Some(number) if Some(chain) == own => number.to_string(),
                Some(number) => format!("{name} {number}"),
            }
        };
        let mut names: Vec<String> = by.iter().take(MOST).map(name).collect();
        if by.len() > MOST {
            names.push(format!("{} more", by.len() - MOST));
        }
        let names = names.join(", ");
        Some(match &shadow.why {
            Dead::Never => "can never match".to_owned(),
            Dead::NotSent(by) if by.is_empty() => "nothing of it is sent here".to_owned(),
            Dead::NotSent(_) => format!("nothing of it is sent here by {names}"),
            Dead::Covered(_) => format!("covered by {names}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::{Backend, Family, Origin};

    #[test]
    fn a_rule_that_says_less_than_the_kernel_holds_covers_no_other() {
        let text =
            "*filter\n:INPUT DROP [0:0]\n-A INPUT -j ACCEPT\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n";
        let origin = Origin::new(Family::V4, Backend::Nft);
        let ruleset = Arc::new(Ruleset::parse(text.as_bytes(), origin).unwrap());
        let mark = Lossy {
            chain: ruleset.find_chain("filter", "INPUT").unwrap(),
            position: 0,
            why: "a set decides".to_owned(),
            does_more: false,
        };
        assert_eq!(Shadowed::of(origin.into(), &ruleset, &[]).found.len(), 1);
        assert!(
            Shadowed::of(origin.into(), &ruleset, &[mark])
                .found
                .is_empty()
        );
    }

    /// Numbers are those of the board, and what is staged about the reason takes it back.
    #[test]
    fn the_reason_is_told_in_the_numbers_of_the_board() {
        use crate::edit::{Operation, RowId, Stage};
        let text = "*filter\n:INPUT DROP [0:0]\n-A INPUT -i lo -j ACCEPT\n-A INPUT -p tcp -j ACCEPT\n-A INPUT -p tcp --dport 22 -j ACCEPT\nCOMMIT\n";
        let origin = Origin::new(Family::V4, Backend::Nft);
        let ruleset = Arc::new(Ruleset::parse(text.as_bytes(), origin).unwrap());
        let mut firewall =
            crate::app::firewall::Firewall::new(origin.into(), Arc::clone(&ruleset), Vec::new());
        firewall.set_shadows(Shadowed::of(origin.into(), &ruleset, &[]).found);
        let said = |firewall: &Firewall| {
            let rules: Vec<RuleIdx> = firewall.ruleset.rules().collect();
            rules
                .iter()
                .map(|rule| firewall.shadow(*rule))
                .collect::<Vec<_>>()
        };
        let covered = |n: u32| Some(format!("covered by {n}"));
        assert_eq!(said(&firewall), [None, None, covered(2)]);
        let mut stage = Stage::new(Arc::clone(&ruleset));
        stage
            .carry_out(Operation::Delete { row: RowId(0) })
            .unwrap();
        firewall.restage(Some(stage.clone()));
        assert_eq!(said(&firewall), [None, None, covered(1)]);
        stage
            .carry_out(Operation::Disable { row: RowId(1) })
            .unwrap();
        firewall.restage(Some(stage));
        assert_eq!(said(&firewall), [None, None, None]);
    }
}
