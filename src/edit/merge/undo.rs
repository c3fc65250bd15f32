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
        let numbered = (0..).map(RuleIdx).zip(was);
        let lossy = numbered.filter(|(_, was)| was.is_some_and(|was| self.lossy.contains(&was)));
        Self {
            handles: handles.collect(),
            lossy: lossy.map(|(rule, _)| rule).collect(),
        }
    }

    /// The handles of the rules of `other`, as far as they stand in `ruleset`, which this is known of. A rule
    /// whose text is not the whole truth is none of them.
    #[must_use]
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
            if labels.is_done(&lists) {
                let [_, ours, theirs] = &lists;
                let pairs = ours.iter().zip(theirs);
                let both = pairs.map(|(ours, theirs)| Merged::both((&ours.rule, &theirs.rule)));
                return (both.collect(), undo.gone);
            }
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
        let mut stays = vec![false; base.len()];
        for item in ours.iter_mut() {
            let handle = of_ours.handle(item.rule);
            let Some(at) = handle.and_then(|handle| known.get(&handle).copied()) else {
                continue;
            };
            if let (Some(twin), Some(stays)) = (base.get_mut(at), stays.get_mut(at)) {
                twin.own = fresh(&mut next);
                (item.own, *stays) = (twin.own, true);
            }
        }
        // One that moves is taken out and put back: it can have another handle by now. One that goes cannot.
        for ((item, found), stays) in base.iter_mut().zip(found).zip(stays) {
            let has_handle = self.base.handle(item.rule).is_some();
            if !stays && has_handle {
                item.own = fresh(&mut strange);
                if !found {
                    item.label = fresh(&mut strange);
                }
            }
        }
    }

    /// A second look finds nothing to do: what is there says what is to be, and nothing that was to go is left.
    fn is_done(&self, [base, ours, theirs]: &[Vec<Item>; 3]) -> bool {
        let Some(of_ours) = self.ours.filter(|_| ours.len() == theirs.len()) else {
            return false;
        };
        let left: HashSet<(u64, u64)> = ours
            .iter()
            .filter_map(|item| of_ours.handle(item.rule))
            .collect();
        let handles = base.iter().filter_map(|item| self.base.handle(item.rule));
        let doomed: HashSet<(u64, u64)> = handles.filter(|handle| !left.contains(handle)).collect();
        ours.iter().zip(theirs).all(|(ours, theirs)| {
            let is_left = self.theirs.handle(theirs.rule);
            ours.word == theirs.word
                && of_ours.lossy.contains(&ours.rule) == self.theirs.lossy.contains(&theirs.rule)
                && is_left.is_none_or(|handle| !doomed.contains(&handle))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::script::Command;
    use crate::edit::{Remark, Trace, script_traced};
    use crate::ruleset::{Origin, Policy};
    use proptest::prelude::*;

    const SPECS: [&str; 7] = [
        "-p tcp -m tcp --dport 22 -j ACCEPT",
        "-p tcp -m tcp --dport 80 -j ACCEPT",
        "-j DROP",
        "-s 192.0.2.1/32 -j REJECT",
        "-j ACCEPT",
        "-m comment --comment 5 -j LOG",
        "-j own",
    ];

    /// A rule as a kernel has it.
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Rule {
        spec: usize,
        handle: u64,
        lossy: bool,
    }

    fn ruleset(rules: &[Rule], policy: Policy) -> Ruleset {
        let mut text = format!("*filter\n:INPUT {} [0:0]\n:own - [0:0]\n", policy.name());
        for rule in rules {
            text += "-A INPUT ";
            text += SPECS[rule.spec];
            text.push('\n');
        }
        text += "COMMIT\n";
        Ruleset::parse(text.into_bytes(), Origin::ALL[0]).unwrap()
    }

    /// As a back end with handles, or one without, knows them. INPUT is the first chain.
    fn known(rules: &[Rule], has_handles: bool) -> Known {
        let numbered = (0..).map(RuleIdx).zip(rules);
        let handle = |rule: &Rule| has_handles.then_some((1, rule.handle));
        Known {
            handles: rules.iter().map(handle).collect(),
            lossy: numbered
                .filter(|(_, rule)| rule.lossy)
                .map(|(at, _)| at)
                .collect(),
        }
    }

    /// What somebody does to a chain.
    #[derive(Clone, Debug)]
    enum Act {
        Add(usize, usize),
        Native(usize, usize),
        Delete(usize),
        Move(usize, usize),
        Flush,
    }

    fn act(rules: &mut Vec<Rule>, next: &mut u64, act: &Act) {
        *next += 1;
        let fresh = |spec: usize, lossy: bool| Rule {
            spec,
            handle: *next,
            lossy,
        };
        let length = rules.len();
        match act {
            Act::Add(at, spec) => rules.insert(at % (length + 1), fresh(*spec, false)),
            Act::Native(at, spec) => rules.insert(at % (length + 1), fresh(*spec, true)),
            Act::Delete(at) if length > 0 => drop(rules.remove(at % length)),
            Act::Move(from, to) if length > 0 => {
                let rule = rules.remove(from % length);
                rules.insert(to % length, fresh(rule.spec, rule.lossy));
            }
            Act::Flush => rules.clear(),
            Act::Delete(_) | Act::Move(..) => {}
        }
    }

    fn acts(natives: bool) -> impl Strategy<Value = Vec<Act>> {
        let place = 0..8usize;
        let one = prop_oneof![
            6 => (place.clone(), 0..SPECS.len()).prop_map(|(at, spec)| Act::Add(at, spec)),
            4 => (place.clone(), 0..SPECS.len()).prop_map(move |(at, spec)| if natives {
                Act::Native(at, spec)
            } else {
                Act::Add(at, spec)
            }),
            4 => place.clone().prop_map(Act::Delete),
            2 => (place.clone(), place).prop_map(|(from, to)| Act::Move(from, to)),
            1 => Just(Act::Flush),
        ];
        proptest::collection::vec(one, 0..5)
    }

    fn count(rules: &[Rule], spec: usize) -> usize {
        let of = |rule: &&Rule| rule.spec == spec && !rule.lossy;
        rules.iter().filter(of).count()
    }

    /// What the kernel holds of INPUT once the script is through.
    fn run(now: &[Rule], next: &mut u64, of: &Known, merged: &Merge, set: &Ruleset) -> Vec<Rule> {
        let trace = Trace::of(merged, of.lossy.clone());
        let script =
            script_traced(set, &merged.ruleset, &set.saved_counters(), [], &trace).unwrap();
        let mut rules = now.to_vec();
        for command in script.tables.into_iter().flat_map(|(_, commands)| commands) {
            match command {
                Command::Delete { number, .. } => {
                    let gone = rules.remove(number as usize - 1);
                    assert!(!gone.lossy, "a native rule is taken out");
                }
                Command::Insert { number, spec, .. } => {
                    *next += 1;
                    let spec = SPECS
                        .iter()
                        .position(|text| text.as_bytes() == spec)
                        .unwrap();
                    let rule = Rule {
                        spec,
                        handle: *next,
                        lossy: false,
                    };
                    rules.insert(number as usize - 1, rule);
                }
                _ => {}
            }
        }
        rules
    }

    fn bars(rules: &[Rule]) -> usize {
        [2, 3, 6].iter().map(|spec| count(rules, *spec)).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

        /// What others have that we did not add stays, what we added goes, nothing is made stricter in a chain
        /// that they emptied, and a second look finds nothing to do, whatever they add meanwhile.
        #[test]
        fn others_keep_theirs_and_ours_goes(
            start in proptest::collection::vec(0..SPECS.len(), 0..6),
            ours in acts(false),
            theirs in acts(true),
            meanwhile in (0..8usize, 0..SPECS.len()),
            has_handles: bool,
        ) {
            let theirs: Vec<Act> = theirs.into_iter().filter(|act| {
                has_handles || !matches!(act, Act::Native(..))
            }).collect();
            let mut next = 100;
            let before: Vec<Rule> = (0..).zip(&start).map(|(handle, spec)| Rule {
                spec: *spec, handle, lossy: false,
            }).collect();
            let mut after = before.clone();
            for one in &ours {
                act(&mut after, &mut next, one);
            }
            let mut now = after.clone();
            for one in &theirs {
                act(&mut now, &mut next, one);
            }

            let sets = [&before, &after, &now].map(|rules| ruleset(rules, Policy::Accept));
            let [before_set, after_set, now_set] = &sets;
            let (of_after, of_now) = (known(&after, has_handles), known(&now, has_handles));
            let merged = undo((after_set, &of_after), (before_set, None), (now_set, &of_now));
            let result = run(&now, &mut next, &of_now, &merged, now_set);

            // The script does what the merge says.
            let texts = |set: &Ruleset| -> Vec<String> {
                set.rules().map(|rule| String::from_utf8_lossy(&set.rule_text(rule)).into_owned()).collect()
            };
            let result_set = ruleset(&result, Policy::Accept);
            prop_assert_eq!(texts(&result_set), texts(&merged.ruleset));

            let natives = |rules: &[Rule]| -> Vec<Rule> {
                rules.iter().filter(|rule| rule.lossy).copied().collect()
            };
            prop_assert_eq!(natives(&result), natives(&now));

            let is_there = |rule: &Rule| now.iter().any(|other| other.handle == rule.handle);
            let said = |wanted: fn(&Remark) -> bool| merged.remarks.iter().any(wanted);
            let spared = said(|r| matches!(r, Remark::Emptied { .. } | Remark::LeftThere(_) | Remark::Withheld(_)));
            for (spec, text) in SPECS.iter().enumerate() {
                let [was, made, is, left] = [&before, &after, &now, &result].map(|r| count(r, spec));
                // One for one: no more than what we added goes.
                prop_assert!(left + made.saturating_sub(was) >= is);
                if after.iter().filter(|rule| rule.spec == spec).all(is_there) && !spared {
                    let others = is - made;
                    let wanted = if was >= made { was.max(made + others) } else { was + others };
                    prop_assert_eq!(left, wanted, "{}", text);
                }
                if has_handles && after.iter().filter(|rule| rule.spec == spec).all(is_there) {
                    let theirs = |rule: &&Rule| rule.spec == spec && !after.contains(rule);
                    prop_assert!(now.iter().filter(theirs).all(|rule| result.contains(rule)));
                }
            }
            let none_left = after.iter().all(|rule| count(&now, rule.spec) == 0);
            if none_left && !after.is_empty() {
                prop_assert_eq!(&result, &now);
            }
            if !after.is_empty() && natives(&now).len() == now.len() {
                prop_assert!(bars(&result) == 0);
            }

            // The second look, beside one more of theirs.
            let left = of_now.left(&merged.was);
            let way = |then: &[Rule]| {
                let (set, of) = (ruleset(then, Policy::Accept), known(then, has_handles));
                let to = (&*merged.ruleset, has_handles.then_some(&left));
                undo((now_set, &of_now), to, (&set, &of))
            };
            let again = way(&result);
            prop_assert_eq!(texts(&again.ruleset), texts(&merged.ruleset));
            let stood = result.iter().any(|rule| now.contains(rule));
            if has_handles && stood {
                let mut then = result.clone();
                act(&mut then, &mut next, &Act::Add(meanwhile.0, meanwhile.1));
                let again = way(&then);
                let wanted = ruleset(&then, Policy::Accept);
                let mut wanted = texts(&wanted);
                let mut found = texts(&again.ruleset);
                wanted.sort();
                found.sort();
                prop_assert_eq!(found, wanted);
            }
        }

        /// A policy of DROP does not come back over a chain that they emptied.
        #[test]
        fn a_policy_is_not_made_stricter(start in proptest::collection::vec(0..SPECS.len(), 1..6), own: bool) {
            let rules: Vec<Rule> = (0..).zip(&start).map(|(handle, spec)| Rule {
                spec: *spec, handle, lossy: false,
            }).collect();
            let before = ruleset(&rules, Policy::Drop);
            let after = ruleset(&rules, Policy::Accept);
            let now = ruleset(&[], Policy::Accept);
            let of_after = known(&rules, own);
            let merged = undo((&after, &of_after), (&before, None), (&now, &Known::default()));
            let chain = merged.ruleset.find_chain("filter", "INPUT").unwrap();
            prop_assert_eq!(merged.ruleset.chain(chain).policy(), Some(Policy::Accept));
            let untouched = undo((&after, &of_after), (&before, None), (&after, &of_after));
            let chain = untouched.ruleset.find_chain("filter", "INPUT").unwrap();
            prop_assert_eq!(untouched.ruleset.chain(chain).policy(), Some(Policy::Drop));
        }
    }
}
