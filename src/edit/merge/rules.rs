//! The rules of one chain, merged.
//!
//! What others have is the ground: their rules in their order. Taken out of it is what we took out or
//! moved; put into it is what we added or moved, each right behind the rule that it stands behind in
//! ours. A neighbour that others took out or moved is no place to stand by; then it is the next one up.
//! So a rule that was deleted comes back between its old neighbours, and what others put between the
//! same two rules comes after it, which is said.
//!
//! Where a change is undone ([`Undo`]) more is asked: which rule of theirs is which of the base is known better
//! than by text (`label`), and a chain that others emptied meanwhile is left as they left it. What stood around
//! our rule made it safe; a DROP that comes back alone locks everybody out.

use std::collections::HashMap;

use crate::ruleset::RuleIdx;

use super::super::align::common;

/// A rule of a list, with the number of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub rule: RuleIdx,
    pub word: u32,
    /// What base and theirs know it by: the word where nothing better is known.
    pub label: u32,
    /// What base and ours know it by.
    pub own: u32,
    /// It may let a packet through that would not get through without it.
    pub lets: bool,
    /// It may keep a packet from getting through.
    pub bars: bool,
}

/// Labels from here on are no words: rules that are known by more than their text.
pub(super) const KNOWN: u32 = 1 << 30;
/// Labels from here on are of nothing else: no rule of ours is one of these, whatever it says.
pub(super) const STRANGE: u32 = 1 << 31;

/// A change is undone: base is what it made, ours what was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Undo {
    /// The chain itself is not there any more.
    pub gone: bool,
}

/// A rule of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Merged {
    /// In ours; `None` for a rule that only others have.
    pub ours: Option<RuleIdx>,
    /// In theirs; `None` for a rule that only we have.
    pub theirs: Option<RuleIdx>,
    /// We put it where it is.
    pub placed: bool,
}

impl Merged {
    /// One that both have in the same place.
    pub(super) fn both((ours, theirs): (&RuleIdx, &RuleIdx)) -> Self {
        Self {
            ours: Some(*ours),
            theirs: Some(*theirs),
            placed: false,
        }
    }
}

/// What is to be said of a rule of ours, or of the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Vanished(RuleIdx),
    AlreadyGone(RuleIdx),
    AlreadyThere(RuleIdx),
    MovedByBoth(RuleIdx),
    PlaceChanged(RuleIdx),
    /// Others emptied the chain: it is left as they left it.
    Emptied,
    /// Not put back, since the rules that let through above it are gone.
    Withheld(RuleIdx),
    /// Not taken out of a chain that others emptied: it may be theirs.
    LeftThere(RuleIdx),
}

/// What became of a rule from one list to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept(usize),
    Moved(usize),
    Gone,
}

/// The fate of every item of `one`, and for every item of `other` which it was; by words or by labels.
fn fates(
    one: &[Item],
    other: &[Item],
    name: impl Fn(&Item) -> u32,
) -> (Vec<Fate>, Vec<Option<usize>>) {
    let words = |items: &[Item]| -> Vec<u32> { items.iter().map(&name).collect() };
    let mut fates = vec![Fate::Gone; one.len()];
    let mut was = vec![None; other.len()];
    let mut join = |a: usize, b: usize, fate: Fate| {
        if let (Some(slot), Some(back)) = (fates.get_mut(a), was.get_mut(b)) {
            *slot = fate;
            *back = Some(a);
        }
    };
    for (a, b) in common(&words(one), &words(other)) {
        join(a, b, Fate::Kept(b));
    }
    let left: Vec<usize> = (0..other.len())
        .filter(|at| was.get(*at) == Some(&None))
        .collect();
    let mut places: HashMap<u32, Vec<usize>> = HashMap::new();
    for at in left.into_iter().rev() {
        if let Some(item) = other.get(at) {
            places.entry(name(item)).or_default().push(at);
        }
    }
    for (a, item) in one.iter().enumerate() {
        if fates.get(a) == Some(&Fate::Gone)
            && let Some(b) = places.get_mut(&name(item)).and_then(Vec::pop)
            && let (Some(slot), Some(back)) = (fates.get_mut(a), was.get_mut(b))
        {
            *slot = Fate::Moved(b);
            *back = Some(a);
        }
    }
    (fates, was)
}

/// Where rules of ours go among theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Anchor {
    Front,
    Before(usize),
    Behind(usize),
}

/// Merges lists of one chain: of the base, ours, theirs. `goes_on`: all of them are what follows upon
/// rules that all have.
pub(super) fn merge_rules(
    [base, ours, theirs]: &[Vec<Item>; 3],
    goes_on: bool,
    say: &mut dyn FnMut(Word),
) -> Vec<Merged> {
    if let Some(same) = same(ours, theirs) {
        return same;
    }
    let lists = Lists {
        base,
        ours,
        theirs,
        ours_of: fates(base, ours, |item| item.own),
        theirs_of: fates(base, theirs, |item| item.label),
        goes_on,
        emptied: false,
        undo: false,
    };
    lists.merge(say)
}

/// What both have, if they have the same. Theirs that are known by more than their text are not taken for ours.
fn same(ours: &[Item], theirs: &[Item]) -> Option<Vec<Merged>> {
    let is_same = |(a, b): (&Item, &Item)| a.word == b.label;
    if ours.len() != theirs.len() || !ours.iter().zip(theirs).all(is_same) {
        return None;
    }
    let pairs = ours.iter().zip(theirs);
    let both = pairs.map(|(a, b)| Merged::both((&a.rule, &b.rule)));
    Some(both.collect())
}

/// The same where a change is undone, and whether others took away what made the policy of before safe.
pub(super) fn undo_rules(
    [base, ours, theirs]: &[Vec<Item>; 3],
    undo: Undo,
    say: &mut dyn FnMut(Word),
) -> (Vec<Merged>, bool) {
    if let Some(same) = same(ours, theirs) {
        return (same, undo.gone);
    }
    let mut lists = Lists {
        base,
        ours,
        theirs,
        ours_of: fates(base, ours, |item| item.own),
        theirs_of: fates(base, theirs, |item| item.label),
        goes_on: false,
        emptied: false,
        undo: true,
    };
    lists.emptied = undo.gone || lists.is_emptied();
    let stripped = lists.emptied || lists.is_bare_above(ours.len());
    (lists.merge(say), stripped)
}

struct Lists<'a> {
    base: &'a [Item],
    ours: &'a [Item],
    theirs: &'a [Item],
    ours_of: (Vec<Fate>, Vec<Option<usize>>),
    theirs_of: (Vec<Fate>, Vec<Option<usize>>),
    goes_on: bool,
    undo: bool,
    /// Others took out everything that the change had left in its place.
    emptied: bool,
}

/// A rule of the result: where it stands in ours and in theirs, and whether we put it there.
type Place = (Option<usize>, Option<usize>, bool);

/// What is to be done with a rule of ours.
enum Part {
    /// It stands where they have it, and others can be put behind it.
    Stands(usize),
    /// It is put somewhere; theirs if they have it.
    Placed(Option<usize>),
    /// Nothing is done, and it is no neighbour to stand by.
    Nothing,
}

impl Lists<'_> {
    fn merge(&self, say: &mut dyn FnMut(Word)) -> Vec<Merged> {
        self.say_what_was_gone(say);
        let mut parts = self.parts(say);
        if self.undo {
            self.withhold(&mut parts, say);
        }
        let mut anchor = self.first_anchor(&parts);
        let mut placed: HashMap<Anchor, Vec<(usize, Option<usize>)>> = HashMap::new();
        for (at, part) in parts.iter().enumerate() {
            match part {
                Part::Stands(theirs) => anchor = Anchor::Behind(*theirs),
                Part::Placed(theirs) => {
                    placed.entry(anchor).or_default().push((at, *theirs));
                }
                Part::Nothing => {}
            }
        }
        let result = self.lay_down(&placed);
        self.say_of_places(&result, say);
        result
            .into_iter()
            .map(|(ours, theirs, placed)| Merged {
                ours: ours.and_then(|at| Some(self.ours.get(at)?.rule)),
                theirs: theirs.and_then(|at| Some(self.theirs.get(at)?.rule)),
                placed,
            })
            .collect()
    }

    /// Rules of the base that both took out, or that we moved and they took out.
    fn say_what_was_gone(&self, say: &mut dyn FnMut(Word)) {
        for ((item, ours), theirs) in self.base.iter().zip(&self.ours_of.0).zip(&self.theirs_of.0) {
            match (ours, theirs) {
                (Fate::Gone, Fate::Gone) => say(Word::AlreadyGone(item.rule)),
                (Fate::Moved(_), Fate::Gone) => say(Word::Vanished(item.rule)),
                _ => {}
            }
        }
    }

    fn parts(&self, say: &mut dyn FnMut(Word)) -> Vec<Part> {
        // What they added, by text, the first last.
        let mut added: HashMap<u32, usize> = HashMap::new();
        for (item, was) in self.theirs.iter().zip(&self.theirs_of.1) {
            if was.is_none() && item.label < STRANGE {
                *added.entry(item.word).or_default() += 1;
            }
        }
        let mut parts = Vec::with_capacity(self.ours.len());
        for (item, was) in self.ours.iter().zip(&self.ours_of.1) {
            let Some(was) = was else {
                let there = added.get_mut(&item.word).filter(|count| **count > 0);
                parts.push(match there {
                    Some(count) => {
                        *count -= 1;
                        say(Word::AlreadyThere(item.rule));
                        Part::Nothing
                    }
                    None => Part::Placed(None),
                });
                continue;
            };
            let kept = matches!(self.ours_of.0.get(*was), Some(Fate::Kept(_)));
            let theirs = self.theirs_of.0.get(*was).copied().unwrap_or(Fate::Gone);
            parts.push(match (kept, theirs) {
                (true, Fate::Kept(at)) => Part::Stands(at),
                (false, Fate::Kept(at)) => Part::Placed(Some(at)),
                (false, Fate::Moved(at)) => {
                    say(Word::MovedByBoth(item.rule));
                    Part::Placed(Some(at))
                }
                (true, Fate::Moved(_)) | (_, Fate::Gone) => Part::Nothing,
            });
        }
        parts
    }

    /// None of the rules that the change left alone is there any more; nor is any rule, where it left none.
    fn is_emptied(&self) -> bool {
        let there = |fate: &Fate| *fate != Fate::Gone;
        let fates = self.ours_of.0.iter().zip(&self.theirs_of.0);
        let mut standing = fates.clone().filter(|(ours, _)| there(ours)).peekable();
        if standing.peek().is_some() {
            standing.all(|(_, theirs)| !there(theirs))
        } else {
            !self.base.is_empty() && fates.into_iter().all(|(_, theirs)| !there(theirs))
        }
    }

    /// Of the rules above that place of ours that let through, and that the change left alone, more are gone
    /// than there.
    fn is_bare_above(&self, place: usize) -> bool {
        let above = self.ours.iter().zip(&self.ours_of.1).take(place);
        let (mut there, mut gone) = (0, 0);
        for (_, was) in above.filter(|(item, _)| item.lets) {
            let fate = was.and_then(|was| self.theirs_of.0.get(was));
            if fate == Some(&Fate::Gone) {
                gone += 1;
            } else {
                there += 1;
            }
        }
        gone > there
    }

    /// Takes back what must not be put into a chain that others emptied, or nearly.
    fn withhold(&self, parts: &mut [Part], say: &mut dyn FnMut(Word)) {
        let mut is_said = false;
        for (at, part) in parts.iter_mut().enumerate() {
            let Part::Placed(theirs) = *part else {
                continue;
            };
            let Some(item) = self.ours.get(at) else {
                continue;
            };
            if self.emptied {
                *part = Part::Nothing;
                if !std::mem::replace(&mut is_said, true) {
                    say(Word::Emptied);
                }
            } else if theirs.is_none() && item.bars && self.is_bare_above(at) {
                *part = Part::Nothing;
                say(Word::Withheld(item.rule));
            }
        }
        for (at, item) in self.theirs.iter().enumerate() {
            let gone = |was: usize| self.ours_of.0.get(was) == Some(&Fate::Gone);
            let was = self.theirs_of.1.get(at).copied().flatten();
            if was.is_some_and(gone) && self.is_left_there(at) {
                let rule = was.and_then(|was| self.base.get(was)).map(|base| base.rule);
                say(Word::LeftThere(rule.unwrap_or(item.rule)));
            }
        }
    }

    /// In a chain that others emptied, what is known by its text alone was more likely put there by them; it
    /// stays unless it can only keep packets out. A rule that we moved stays where it is.
    fn is_left_there(&self, at: usize) -> bool {
        let ours = self.theirs_of.1.get(at).copied().flatten();
        let ours = ours.and_then(|was| self.ours_of.0.get(was));
        self.emptied
            && self.theirs.get(at).is_some_and(|item| match ours {
                Some(Fate::Gone) => item.lets && item.label < KNOWN,
                _ => true,
            })
    }

    /// Where rules go that stand above every rule that both kept in its place.
    fn first_anchor(&self, parts: &[Part]) -> Anchor {
        let is_first = matches!(parts.first(), Some(Part::Placed(_) | Part::Stands(_)));
        let standing = parts.iter().find_map(|part| match part {
            Part::Stands(at) => Some(*at),
            _ => None,
        });
        match standing {
            Some(at) if !is_first && !self.goes_on => Anchor::Before(at),
            _ => Anchor::Front,
        }
    }

    /// The result.
    fn lay_down(&self, placed: &HashMap<Anchor, Vec<(usize, Option<usize>)>>) -> Vec<Place> {
        let mut result = Vec::with_capacity(self.theirs.len() + placed.len());
        let put = |anchor: Anchor, result: &mut Vec<_>| {
            let rules = placed.get(&anchor).into_iter().flatten();
            result.extend(rules.map(|(ours, theirs)| (Some(*ours), *theirs, true)));
        };
        put(Anchor::Front, &mut result);
        for (at, was) in self.theirs_of.1.iter().enumerate() {
            put(Anchor::Before(at), &mut result);
            let ours = was.and_then(|was| self.ours_of.0.get(was)).copied();
            match ours {
                // Only they have it, or we left it where it was.
                None => result.push((None, Some(at), false)),
                Some(Fate::Kept(ours)) => result.push((Some(ours), Some(at), false)),
                Some(Fate::Moved(_) | Fate::Gone) if self.is_left_there(at) => {
                    result.push((None, Some(at), false));
                }
                Some(Fate::Moved(_) | Fate::Gone) => {}
            }
            put(Anchor::Behind(at), &mut result);
        }
        result
    }

    /// A rule that we placed and that has other neighbours than in ours is said so of.
    fn say_of_places(&self, result: &[Place], say: &mut dyn FnMut(Word)) {
        let ours = |at: Option<usize>| result.get(at?).map(|row| row.0);
        for (at, row) in result.iter().enumerate() {
            let (Some(own), _, true) = *row else { continue };
            let above = ours(at.checked_sub(1));
            let below = ours(Some(at + 1));
            let wanted_above = own.checked_sub(1).map(Some);
            let wanted_below = (own + 1 < self.ours.len()).then_some(Some(own + 1));
            if (above != wanted_above || below != wanted_below)
                && let Some(item) = self.ours.get(own)
            {
                say(Word::PlaceChanged(item.rule));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn items(words: &[u32]) -> Vec<Item> {
        let item = |(at, word): (usize, &u32)| Item {
            rule: RuleIdx(u32::try_from(at).unwrap()),
            word: *word,
            label: *word,
            own: *word,
            lets: false,
            bars: false,
        };
        words.iter().enumerate().map(item).collect()
    }

    /// The words of the result, and how often each thing was said.
    fn merged(base: &[u32], ours: &[u32], theirs: &[u32]) -> (Vec<u32>, Vec<Word>) {
        let mut said = Vec::new();
        let lists = [items(base), items(ours), items(theirs)];
        let merged = merge_rules(&lists, false, &mut |word| said.push(word));
        let word = |merged: &Merged| match (merged.theirs, merged.ours) {
            (Some(at), _) => theirs[at.0 as usize],
            (None, Some(at)) => ours[at.0 as usize],
            (None, None) => panic!("a rule of nobody"),
        };
        (merged.iter().map(word).collect(), said)
    }

    #[test]
    fn what_is_apart_is_merged_without_a_word() {
        let cases: [[&[u32]; 4]; 5] = [
            // We insert at the front, they at the end.
            [&[1, 2, 3], &[9, 1, 2, 3], &[1, 2, 3, 8], &[9, 1, 2, 3, 8]],
            // We delete one, they another.
            [&[1, 2, 3, 4], &[1, 3, 4], &[1, 2, 3], &[1, 3]],
            // We move the last to the front, they add in the middle.
            [&[1, 2, 3], &[3, 1, 2], &[1, 8, 2, 3], &[3, 1, 8, 2]],
            // A deleted rule returns between its neighbours.
            [
                &[1, 3, 4],
                &[1, 2, 3, 4],
                &[0, 1, 3, 4, 5],
                &[0, 1, 2, 3, 4, 5],
            ],
            // Equal rules.
            [&[1, 1, 2], &[1, 2], &[1, 1, 2, 1], &[1, 2, 1]],
        ];
        for [base, ours, theirs, wanted] in cases {
            let (found, said) = merged(base, ours, theirs);
            assert_eq!(found, wanted, "{base:?} {ours:?} {theirs:?}");
            assert_eq!(said, [], "{base:?} {ours:?} {theirs:?}");
        }
    }

    #[test]
    fn what_is_in_doubt_is_said() {
        let rule = RuleIdx;
        let cases: [([&[u32]; 4], &[Word]); 6] = [
            ([&[1, 2], &[1], &[1], &[1]], &[]),
            (
                [&[1, 2, 3], &[1, 3], &[1], &[1]],
                &[Word::AlreadyGone(rule(1))],
            ),
            (
                [&[1, 2, 3], &[3, 1, 2], &[1, 2], &[1, 2]],
                &[Word::Vanished(rule(2))],
            ),
            (
                [&[1, 2], &[1, 2, 7], &[1, 7, 2], &[1, 7, 2]],
                &[Word::AlreadyThere(rule(2))],
            ),
            (
                [&[1, 2], &[1, 7, 2], &[1, 8, 2], &[1, 7, 8, 2]],
                &[Word::PlaceChanged(rule(1))],
            ),
            (
                [&[1, 2, 3, 4], &[4, 1, 2, 3], &[1, 4, 2, 3], &[4, 1, 2, 3]],
                &[Word::MovedByBoth(rule(0))],
            ),
        ];
        for ([base, ours, theirs, wanted], words) in cases {
            let (found, said) = merged(base, ours, theirs);
            assert_eq!(found, wanted, "{base:?} {ours:?} {theirs:?}");
            assert_eq!(said, words, "{base:?} {ours:?} {theirs:?}");
        }
    }

    fn list() -> impl Strategy<Value = Vec<u32>> {
        proptest::collection::vec(0u32..8, 0..10)
    }

    proptest! {
        #[test]
        fn one_side_alone_has_its_way(base in list(), other in list()) {
            let (found, said) = merged(&base, &other, &base);
            prop_assert_eq!(found, other.clone());
            prop_assert_eq!(said, []);
            let (found, said) = merged(&base, &base, &other);
            prop_assert_eq!(found, other);
            prop_assert_eq!(said, []);
        }

        /// Nothing that others added is lost, nothing that they have is there twice, and what both
        /// left alone stays in its order.
        #[test]
        fn theirs_is_never_lost(base in list(), ours in list(), theirs in list()) {
            let (fates_of_ours, _) = fates(&items(&base), &items(&ours), |item| item.word);
            let (_, was) = fates(&items(&base), &items(&theirs), |item| item.word);
            let mut used = vec![0; theirs.len()];
            let lists = [items(&base), items(&ours), items(&theirs)];
            let merged = merge_rules(&lists, false, &mut |_| {});
            for rule in merged.iter().filter_map(|merged| merged.theirs) {
                used[rule.0 as usize] += 1;
            }
            let same = ours == theirs;
            for (at, count) in used.iter().enumerate() {
                let kept = was[at].is_none_or(|was| fates_of_ours[was] != Fate::Gone);
                prop_assert_eq!(*count, usize::from(kept || same));
            }
        }
    }
}
