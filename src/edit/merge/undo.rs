//! A change taken back beside what others did meanwhile.
//!
//! The merge of a change's two ends, done backwards, goes by what rules say. That is not enough where somebody
//! added a rule that says the same as one of ours, and wrong where the text of a rule is not the whole truth: a
//! native nft rule that is saved as a wider one is not ours, whatever its text. So here rules are known by what
//! the kernel calls them, where it does (the handles of nf_tables), a rule that only nft can say is nobody's but
//! its author's, and only the rest goes by text, one for one.
//!
//! A chain that others emptied is left as they left it. See `rules` for both.

use std::collections::{HashMap, HashSet};

use crate::ruleset::{ChainIdx, RuleIdx, Ruleset};

use super::rules::{Item, KNOWN, Merged, STRANGE, Undo, Word, undo_rules};
use super::{Merge, Merger, compare_rules, merge_with};

/// What is known of the rules of a ruleset beside what they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// By rule, the handle of its table and its own; `None` where it has none. May be shorter than the ruleset.
    pub handles: Vec<Option<(u64, u64)>>,
    /// Rules whose text is not the whole truth.
    pub lossy: HashSet<RuleIdx>,
}

impl Known {
    fn handle(&self, rule: RuleIdx) -> Option<(u64, u64)> {
        self.handles.get(rule.0 as usize).copied().flatten()
    }

    /// By rule of `new`, the rule of `old` that says the same.
    pub fn was(old: &Ruleset, new: &Ruleset) -> Vec<Option<RuleIdx>> {
        let mut was = vec![None; new.rule_count()];
        for (there, here) in compare_rules(old, new) {
            if let Some(slot) = was.get_mut(here.0 as usize) {
                *slot = Some(there);
            }
        }
        was
    }

    /// What this says of the rules that are left of what it says it of.
    #[must_use]
    pub fn left(&self, was: &[Option<RuleIdx>]) -> Self {
        let handles = was.iter().map(|was| was.and_then(|was| self.handle(was)));
        Self {
            handles: handles.collect(),
            lossy: HashSet::new(),
        }
    }

    /// The handles of the rules of `other`, as far as they stand in `ruleset`, which this is known of. A rule
    /// whose text is not the whole truth is none of them.
    pub fn of(&self, ruleset: &Ruleset, other: &Ruleset) -> Self {
        let mut handles = vec![None; other.rule_count()];
        for (theirs, here) in compare_rules(other, ruleset) {
            if let Some(slot) = handles.get_mut(theirs.0 as usize)
                && !self.lossy.contains(&here)
            {
                *slot = self.handle(here);
            }
        }
        Self {
            handles,
            lossy: HashSet::new(),
        }
    }
}

/// What both sides are known by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labels<'a> {
    base: &'a Known,
    ours: Option<&'a Known>,
    theirs: &'a Known,
}

/// Takes back what led from `before` to `after`, in `now`. Where the rules of `before` are known as well, `after`
/// is an earlier reading and `before` what it was to become: a handle that is missing now was taken out by us then,
/// and a rule that says the same is another's, unless the whole chain was made anew.
pub fn undo(
    (after, of_after): (&Ruleset, &Known),
    (before, of_before): (&Ruleset, Option<&Known>),
    (now, of_now): (&Ruleset, &Known),
) -> Merge {
    let labels = Labels {
        base: of_after,
        ours: of_before,
        theirs: of_now,
    };
    merge_with(after, before, now, Some(labels))
}

impl<'a> Merger<'a> {
    /// A rule with what it says, and what it may do to a packet.
    pub(super) fn words_of(&mut self, set: &'a Ruleset, rule: RuleIdx) -> Item {
        let word = self.words.number(set.rule_text(rule));
        let mut item = Item {
            rule,
            word,
            label: word,
            own: word,
            lets: false,
            bars: false,
        };
        if self.undo.is_some()
            && let Some(jump) = set.jump(rule)
        {
            let goes_on = jump.chain.is_some();
            item.lets = goes_on || matches!(jump.name, b"ACCEPT" | b"RETURN");
            item.bars = goes_on
                || matches!(
                    jump.name,
                    b"DROP"
                        | b"REJECT"
                        | b"TARPIT"
                        | b"STEAL"
                        | b"CHAOS"
                        | b"DELUDE"
                        | b"QUEUE"
                        | b"NFQUEUE"
                );
        }
        item
    }

    /// The rules of a chain in which a change is undone, and whether others stripped it.
    pub(super) fn undone(
        &mut self,
        base: Option<ChainIdx>,
        ours: Option<ChainIdx>,
        theirs: Option<ChainIdx>,
        say: &mut dyn FnMut(Word),
    ) -> (Vec<Merged>, bool) {
        let undo = Undo {
            gone: base.is_some() && theirs.is_none(),
        };
        let sides = [
            (self.base.ruleset, self.base.rules(base)),
            (self.ours.ruleset, self.ours.rules(ours)),
            (self.theirs.ruleset, self.theirs.rules(theirs)),
        ];
        let mut lists = sides.map(|(set, rules)| -> Vec<Item> {
            let items = rules.iter().map(|rule| self.words_of(set, *rule));
            items.collect()
        });
        if let Some(labels) = self.undo {
            let [base, ours, theirs] = &mut lists;
            labels.write(base, ours, theirs);
        }
        undo_rules(&lists, undo, say)
    }
}

impl Labels<'_> {
    /// Gives the rules of a chain that are known to be the same labels of their own.
    fn write(&self, base: &mut [Item], ours: &mut [Item], theirs: &mut [Item]) {
        let mut next = KNOWN;
        let mut strange = STRANGE;
        let fresh = |number: &mut u32| {
            *number = number.saturating_add(1);
            *number
        };
        let mut known: HashMap<(u64, u64), usize> = HashMap::new();
        for (at, item) in base.iter_mut().enumerate() {
            if self.base.lossy.contains(&item.rule) {
                item.label = fresh(&mut strange);
            }
            known.extend(self.base.handle(item.rule).map(|handle| (handle, at)));
        }
        let mut found = vec![false; base.len()];
        for item in theirs.iter_mut() {
            let is_strange = self.theirs.lossy.contains(&item.rule);
            if is_strange {
                item.label = fresh(&mut strange);
            }
            let handle = self.theirs.handle(item.rule);
            let Some(at) = handle.and_then(|handle| known.get(&handle).copied()) else {
                continue;
            };
            // A rule that was replaced keeps its handle and says something else.
            let twin = base
                .get_mut(at)
                .filter(|twin| twin.word == item.word && (twin.label >= STRANGE) == is_strange);
            if let (Some(twin), Some(found)) = (twin, found.get_mut(at)) {
                let label = if is_strange {
                    item.label
                } else {
                    fresh(&mut next)
                };
                (twin.label, item.label, *found) = (label, label, true);
            }
        }
        let Some(of_ours) = self.ours.filter(|_| found.contains(&true)) else {
            return;
        };
        for (item, found) in base.iter_mut().zip(found) {
            let has_handle = self.base.handle(item.rule).is_some();
            if !found && has_handle && item.label < KNOWN {
                item.label = fresh(&mut strange);
            }
            if has_handle {
                item.own = fresh(&mut next);
            }
        }
        for item in ours {
            let twin = of_ours.handle(item.rule);
            let twin = twin.and_then(|handle| base.get(*known.get(&handle)?));
            item.own = twin.map_or(item.own, |twin| twin.own);
        }
    }
}
