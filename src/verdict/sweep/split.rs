//! A condition put to a parcel: those that meet it, and those that do not.

use std::collections::HashMap;

use crate::verdict::Path;
use crate::verdict::cond::{Cond, Odd, StateTest};
use crate::verdict::space::area::Area;
use crate::verdict::space::ask::{Atom, WideAsk};
use crate::verdict::space::cube::Cube;
use crate::verdict::space::lasts::{Lasts, looks};
use crate::verdict::state::ct;

use super::parcel::{Field, Nat, Parcel};

/// Questions that headers do not answer, by number, with their words. One book serves several sweeps, so
/// that the same question has the same number before a change and after it.
#[derive(Debug, Default)]
pub(in super::super) struct Book {
    known: HashMap<(String, u64), u32>,
    words: Vec<String>,
}

impl Book {
    fn number(&mut self, key: String, stretch: u64, words: impl FnOnce() -> String) -> u32 {
        let next = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        let number = *self.known.entry((key, stretch)).or_insert(next);
        if number == next {
            self.words.push(words());
        }
        number
    }

    /// The question in words, as a thing that holds.
    pub(in super::super) fn words(&self, question: u32) -> &str {
        self.words.get(question as usize).map_or("", String::as_str)
    }
}

/// The two sides of a condition.
#[derive(Default)]
pub(super) struct Sides {
    pub yes: Vec<Parcel>,
    pub no: Vec<Parcel>,
}

impl Sides {
    fn push(&mut self, holds: bool, parcel: Parcel) {
        if holds {
            self.yes.push(parcel);
        } else {
            self.no.push(parcel);
        }
    }

    /// A question is put to a parcel.
    fn put(&mut self, parcel: Parcel, question: u32, wanted: bool) {
        match parcel.answer(question) {
            Some(answer) => self.push(answer == wanted, parcel),
            None => {
                self.yes.push(parcel.clone().answering(question, wanted));
                self.no.push(parcel.answering(question, !wanted));
            }
        }
    }
}

/// A question that is no condition's.
pub(super) fn question(
    book: &mut Book,
    parcel: Parcel,
    key: String,
    words: impl FnOnce() -> String,
) -> Sides {
    let mut sides = Sides::default();
    let question = book.number(key, 0, words);
    sides.put(parcel, question, true);
    sides
}

/// No packet of the parcel meets the condition, which is seen without taking it apart.
pub(super) fn none_meets(parcel: &Parcel, view: &Area, ask: &WideAsk) -> bool {
    let Some(areas) = &ask.areas else {
        return false;
    };
    !areas.iter().any(|area| {
        if view.meets(area) {
            return true;
        }
        let mut wide = area.clone();
        parcel.forget(&mut wide) && view.meets(&wide)
    })
}

/// Puts a condition to a parcel. `ask` is what the condition asks.
pub(super) fn split(
    book: &mut Book,
    parcel: Parcel,
    cond: &Cond,
    ask: &WideAsk,
    v6: bool,
) -> Sides {
    let mut sides = Sides::default();
    match cond {
        Cond::Mark {
            value,
            mask,
            invert,
        } => {
            mark(book, parcel, cond, (*value, *mask, *invert), v6, &mut sides);
        }
        Cond::Connmark {
            value,
            mask,
            invert,
        } => {
            connmark(book, parcel, cond, (*value, *mask, *invert), v6, &mut sides);
        }
        Cond::State(test) if test.snat || test.dnat => {
            state(book, parcel, cond, *test, v6, &mut sides);
        }
        // A packet that no program of this box sends has no owner.
        Cond::Odd(odd) => match &**odd {
            Odd::Owner(owner) if parcel.now.path != Path::Output => {
                sides.push(owner.all_inverted, parcel);
            }
            _ => plain(book, parcel, cond, ask, v6, &mut sides),
        },
        _ => plain(book, parcel, cond, ask, v6, &mut sides),
    }
    sides
}

fn plain(book: &mut Book, parcel: Parcel, cond: &Cond, ask: &WideAsk, v6: bool, sides: &mut Sides) {
    let Some(areas) = &ask.areas else {
        atom(book, parcel, cond, ask.atom.as_ref(), v6, sides);
        return;
    };
    let mut left = vec![parcel.view()];
    for area in areas {
        let mut wanted = area.clone();
        let lost = parcel.forget(&mut wanted);
        let mut rest = Vec::new();
        for own in &left {
            if let Some(both) = own.and(&wanted) {
                let part = parcel.part(both);
                if lost {
                    let mut found = Sides::default();
                    let words = || cond.words(v6) + " (as it was translated)";
                    let stretch = part.now.translations;
                    let question = book.number(format!("{cond:?}"), stretch, words);
                    found.put(part, question, true);
                    sides.no.append(&mut found.no);
                    for part in found.yes {
                        atom(book, part, cond, ask.atom.as_ref(), v6, sides);
                    }
                } else {
                    atom(book, part, cond, ask.atom.as_ref(), v6, sides);
                }
            }
            own.minus(&wanted, |area| rest.push(area));
        }
        left = rest;
    }
    sides
        .no
        .extend(left.into_iter().map(|area| parcel.part(area)));
}

fn atom(
    book: &mut Book,
    parcel: Parcel,
    cond: &Cond,
    asked: Option<&Atom>,
    v6: bool,
    sides: &mut Sides,
) {
    let Some(asked) = asked else {
        sides.yes.push(parcel);
        return;
    };
    let members = match (asked.lasts, cond) {
        (Lasts::Change(what), Cond::Odd(odd)) if what & looks::MEMBERS != 0 => match &**odd {
            Odd::Set(test) => parcel.now.stretch_of_set(&test.name),
            _ => 0,
        },
        _ => 0,
    };
    let words = || {
        let words = plain_words(cond, asked.wanted, v6);
        if members == 0 {
            words
        } else {
            words + " (as rules have changed it)"
        }
    };
    let mut stretch = match asked.lasts {
        Lasts::Table => parcel.now.translations,
        Lasts::Change(what) => parcel.now.stretch(what) ^ members,
        Lasts::Once => 0,
    };
    let mut question = book.number(asked.key.clone(), stretch, words);
    // Each time that it is asked is another question.
    while asked.lasts == Lasts::Once && parcel.answer(question).is_some() {
        stretch += 1;
        question = book.number(asked.key.clone(), stretch, words);
    }
    sides.put(parcel, question, asked.wanted);
}

/// The words of a condition whose answer `wanted` is what it asks for.
fn plain_words(cond: &Cond, wanted: bool, v6: bool) -> String {
    let words = cond.words(v6);
    if wanted {
        return words;
    }
    let plain = words.strip_prefix("not ").or(words.strip_prefix("! "));
    plain.map_or_else(|| format!("not ({words})"), str::to_owned)
}

fn mark(
    book: &mut Book,
    parcel: Parcel,
    cond: &Cond,
    (value, mask, invert): (u32, u32, bool),
    v6: bool,
    sides: &mut Sides,
) {
    let (known, is) = parcel.now.mark;
    if is & mask & known != value & known & mask || value & !mask != 0 {
        sides.push(invert, parcel);
    } else if mask & !known == 0 {
        sides.push(!invert, parcel);
    } else {
        let key = format!("mark {value:#x}/{mask:#x}");
        let words = || plain_words(cond, !invert, v6);
        let stretch = parcel.now.stretch(looks::MARK);
        let question = book.number(key, stretch, words);
        sides.put(parcel, question, !invert);
    }
}

/// Boxes of packets in these states.
fn in_states(states: u8) -> Area {
    Area::of(&Cube {
        ct: states,
        ..Cube::all(true)
    })
}

fn connmark(
    book: &mut Book,
    parcel: Parcel,
    cond: &Cond,
    (value, mask, invert): (u32, u32, bool),
    v6: bool,
    sides: &mut Sides,
) {
    let (tracked, none) = parcel.divide(&in_states(ct::TRACKED));
    sides.no.extend(none);
    for parcel in tracked {
        let (first, later) = parcel.divide(&in_states(ct::NEW));
        for (parcel, at_first) in first
            .into_iter()
            .map(|parcel| (parcel, Some(0)))
            .chain(later.into_iter().map(|parcel| (parcel, None)))
        {
            let is = match parcel.now.connmark {
                Field::Own => at_first,
                Field::Is(is) => Some(is),
                Field::Lost => None,
            };
            if let Some(is) = is {
                sides.push((is & mask == value) != invert, parcel);
                continue;
            }
            let key = format!("connmark {value:#x}/{mask:#x}");
            let words = || plain_words(cond, !invert, v6);
            let stretch = parcel.now.stretch(looks::CONNMARK);
            let question = book.number(key, stretch, words);
            sides.put(parcel, question, !invert);
        }
    }
}

/// `--ctstate` with SNAT or DNAT among the states.
fn state(
    book: &mut Book,
    parcel: Parcel,
    cond: &Cond,
    test: StateTest,
    v6: bool,
    sides: &mut Sides,
) {
    let invert = test.invert;
    let (by_state, others) = parcel.divide(&in_states(test.states));
    for parcel in by_state {
        sides.push(!invert, parcel);
    }
    for parcel in others {
        let (tracked, none) = parcel.divide(&in_states(ct::TRACKED));
        for parcel in none {
            sides.push(invert, parcel);
        }
        for parcel in tracked {
            let (first, later) = parcel.divide(&in_states(ct::NEW));
            let first = first.into_iter().map(|parcel| (parcel, Some(false)));
            let later = later.into_iter().map(|parcel| (parcel, None));
            for (parcel, before) in first.chain(later) {
                let is = |nat: Nat| match nat {
                    Nat::Before => before,
                    Nat::Is(is) => Some(is),
                    Nat::Lost => None,
                };
                let asked = [(test.dnat, parcel.now.dnat), (test.snat, parcel.now.snat)];
                let answers: Vec<Option<bool>> = asked
                    .into_iter()
                    .filter(|(wanted, _)| *wanted)
                    .map(|(_, nat)| is(nat))
                    .collect();
                if answers.contains(&Some(true)) {
                    sides.push(!invert, parcel);
                } else if !answers.contains(&None) {
                    sides.push(invert, parcel);
                } else {
                    let words = || plain_words(cond, !invert, v6);
                    let key = format!("nat {} {}", test.dnat, test.snat);
                    let question = book.number(key, parcel.now.translations, words);
                    sides.put(parcel, question, !invert);
                }
            }
        }
    }
}
