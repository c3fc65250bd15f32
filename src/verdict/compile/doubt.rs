//! Rules whose text says less than the kernel holds.
//!
//! What such a rule matches is not known, whatever its text asks: mostly less than the text says, but where a
//! range is printed as its last address it is something else. So all its conditions give way to one question
//! without an answer. The question carries the rule's place: two rules that leave out the same kind of thing ask
//! two questions, and the same rule before and after a change asks one. No later rule is covered by it, and it
//! is dead only where everything is taken before it.
//!
//! What it does is what the text says, unless it is known that the text leaves out some of that too: then
//! what becomes of a packet that it matches is beyond what can be told, and so is which chains it calls and
//! what it changes ([`Program::does_more`]).

use super::matches;
use crate::ruleset::{Lossy, Marked};
use crate::verdict::cond::{Cond, Odd};
use crate::verdict::program::{Action, Chain, Program};

/// Why their answer is not known.
const MORE: &str = "the kernel's rule says more than its text";

impl Program {
    /// Takes what is known of the rules of one of the rulesets from them.
    pub(super) fn doubt(&mut self, number: usize, marked: Marked<'_>) {
        for one in marked.lossy {
            let Some(at) = self.marked_at(number, one) else {
                continue;
            };
            let chain = marked.ruleset.chain(one.chain);
            let table = marked.ruleset.table(chain.table()).name();
            let place = format!("{table} {} rule {}", chain.name(), one.position + 1);
            let first = u32::try_from(self.conds.len()).unwrap_or(u32::MAX);
            let reason = u32::try_from(self.reasons.len()).unwrap_or(u32::MAX);
            let Some(rule) = self.rules.get_mut(at as usize) else {
                continue;
            };
            rule.first = first;
            rule.count = 1;
            self.conds
                .push(matches::unknown(format!("{place}: {}", one.why), MORE));
            if one.does_more {
                rule.action = Action::Beyond(reason);
                self.reasons
                    .push(format!("{place}, which does more than its text says").into());
                self.does_more = true;
            }
        }
    }

    /// Where a marked rule is, if it is there.
    fn marked_at(&self, number: usize, one: &Lossy) -> Option<u32> {
        // Chains were laid out ruleset by ruleset, in the order of their indexes.
        let key = |chain: &Chain| (usize::from(chain.ruleset), chain.index.0);
        let found = self
            .chains
            .binary_search_by_key(&(number, one.chain.0), key);
        let chain = self.chains.get(found.ok()?)?;
        let at = chain.entry.checked_add(u32::try_from(one.position).ok()?)?;
        (at < chain.end).then_some(at)
    }

    /// Whether the text of the rule at a place is not to be believed.
    pub(in super::super) fn is_doubted(&self, at: u32) -> bool {
        let Some(rule) = self.rules.get(at as usize) else {
            return false;
        };
        let is_mark = |cond: &Cond| match cond {
            Cond::Odd(odd) => matches!(odd.as_ref(), Odd::Unknown { why, .. } if *why == MORE),
            _ => false,
        };
        self.conds_of(*rule).iter().any(is_mark)
    }
}
