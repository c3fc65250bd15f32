//! A stage that leads to a ruleset that is given as a whole: a past state, staged again.
//!
//! Made of the operations that keys make, so each can be looked at and undone, and a locked chain refuses as it
//! always does. Jumps need their chain and chains must not be jumped to when they go, hence the order: new
//! chains, policies, rules that go, rules that come or move, chains that go.

use std::sync::Arc;

use crate::ruleset::{RuleIdx, Ruleset};

use super::compare::{ChainPair, Comparison, compare};
use super::{ChainName, Diff, Operation, Refused, RowId, Spot, Stage};

/// Why a ruleset cannot be staged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TowardError {
    /// A step on the way is refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The steps lead elsewhere.
    #[error(
        "{table} {chain} cannot be staged as it was\nput the backup back as a whole: ruletop restore"
    )]
    Elsewhere {
        /// A table.
        table: String,
        /// The chain in it that differs first.
        chain: String,
    },
}

impl Stage {
    /// Stages what turns the base of this stage, on which nothing is staged yet, into `goal`, a ruleset of the
    /// same family and back end. Counters of rules that stay or move go on.
    pub fn toward(mut self, goal: &Ruleset) -> Result<Self, TowardError> {
        let base = Arc::clone(self.base());
        let comparison = compare(&base, goal);
        let rows: Vec<Option<RowId>> = {
            let mut rows = vec![None; base.rule_count()];
            for row in &self.shown().rows {
                let slot = row.base.and_then(|rule| rows.get_mut(rule.0 as usize));
                if let Some(slot) = slot {
                    *slot = Some(row.id);
                }
            }
            rows
        };
        let row = |rule: RuleIdx| rows.get(rule.0 as usize).copied().flatten();
        for (table, chain) in chains(&comparison) {
            let name = ChainName::new(table, chain.name);
            if !chain.builtin && chain.from.is_none() {
                self.carry_out(Operation::AddChain {
                    chain: name.clone(),
                })?;
            }
            let policies = chain.policies(&base, goal);
            if let Some((_, policy)) = policies.filter(|(old, new)| old != new) {
                self.carry_out(Operation::SetPolicy {
                    chain: name,
                    policy,
                })?;
            }
        }
        for (_, chain) in chains(&comparison) {
            let gone = chain.removed.iter().filter(|removed| removed.now.is_none());
            for row in gone.filter_map(|removed| row(removed.rule)) {
                self.carry_out(Operation::Delete { row })?;
            }
        }
        for (table, chain) in chains(&comparison) {
            self.fill(goal, table, chain, &row)?;
        }
        for (table, chain) in chains(&comparison) {
            if !chain.builtin && chain.to.is_none() {
                let chain = ChainName::new(table, chain.name);
                self.carry_out(Operation::DeleteChain { chain })?;
            }
        }
        match Diff::between(&self.staged(), goal).chains.first() {
            None => Ok(self),
            Some(chain) => Err(TowardError::Elsewhere {
                table: String::from_utf8_lossy(&chain.table).into_owned(),
                chain: String::from_utf8_lossy(&chain.chain).into_owned(),
            }),
        }
    }

    /// Puts the rules of a chain in their order, from the last to the first: each goes before the one that was
    /// put last.
    fn fill(
        &mut self,
        goal: &Ruleset,
        table: &[u8],
        chain: &ChainPair<'_>,
        row: &impl Fn(RuleIdx) -> Option<RowId>,
    ) -> Result<(), Refused> {
        let Some(to) = chain.to else { return Ok(()) };
        let mut before = None;
        // Both lists are in the order of the goal, or nearly: looked up, not walked.
        let kept: std::collections::HashMap<RuleIdx, RuleIdx> =
            chain.kept.iter().map(|(old, new)| (*new, *old)).collect();
        let was: std::collections::HashMap<RuleIdx, Option<RuleIdx>> = chain
            .added
            .iter()
            .map(|added| (added.rule, added.was))
            .collect();
        for rule in goal.chain(to).rules().iter().rev() {
            if let Some(old) = kept.get(rule) {
                before = row(*old).or(before);
                continue;
            }
            let spot = Spot::new(table, chain.name, before);
            let moved = was.get(rule).copied().flatten().and_then(row);
            self.carry_out(match moved {
                Some(row) => Operation::Move { row, to: spot },
                None => Operation::Insert {
                    at: spot,
                    spec: goal.rule_text(*rule).into_owned(),
                },
            })?;
            before = moved.or_else(|| self.touched()).or(before);
        }
        Ok(())
    }
}

fn chains<'c>(
    comparison: &'c Comparison<'_>,
) -> impl Iterator<Item = (&'c [u8], &'c ChainPair<'c>)> {
    comparison
        .tables
        .iter()
        .flat_map(|table| table.chains.iter().map(|chain| (table.name, chain)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::Origin;

    const NOW: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:own - [0:0]\n[1:1] -A INPUT -i lo -j ACCEPT\n[2:2] -A INPUT -s 192.0.2.1/32 -j DROP\n[3:3] -A INPUT -j own\n[4:4] -A own -p tcp -j ACCEPT\nCOMMIT\n";

    fn ruleset(text: &str) -> Ruleset {
        Ruleset::parse(text.as_bytes(), Origin::ALL[0]).unwrap()
    }

    #[test]
    fn there_and_back() {
        let other = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:b - [0:0]\n:a - [0:0]\n-A INPUT -j a\n-A INPUT -s 192.0.2.1/32 -j DROP\n-A INPUT -p udp -j b\n-A INPUT -i lo -j ACCEPT\n-A a -j b\n-A b -p tcp -j ACCEPT\nCOMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n";
        let texts = [NOW, other, "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n", ""];
        for from in texts {
            for to in texts {
                let (from, to) = (Arc::new(ruleset(from)), ruleset(to));
                let stage = Stage::new(Arc::clone(&from)).toward(&to).unwrap();
                assert!(Diff::between(&stage.staged(), &to).is_empty());
                let mut back = stage;
                while back.undo() {}
                assert!(Diff::between(&back.staged(), &from).is_empty());
            }
        }
    }

    #[test]
    fn the_same_is_nothing_staged() {
        let now = Arc::new(ruleset(NOW));
        assert!(
            Stage::new(Arc::clone(&now))
                .toward(&now)
                .unwrap()
                .is_empty()
        );
    }
}
