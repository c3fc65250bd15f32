//! Where each part of a rule stands in its text.
//!
//! A [`Spec`](super::Spec) says what a rule means; whoever changes one part of a rule and must leave the
//! rest as it was typed (the rule editor), or points at the place of a mistake, needs the words that said
//! so. The reader records them on request, so that there is one reading of a rule and not two.

use std::borrow::Cow;
use std::ops::Range;

use super::super::Family;
use super::lexer::Word;
use super::{Spec, read};

/// The parts of one rule, in the order of the text. Blanks between words belong to no part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout<'a> {
    /// Options with their values, and words that belong to none.
    pub pieces: Vec<Piece<'a>>,
    /// Matches and targets that the rule loads, in order; the nth match here is the nth of
    /// [`Spec::matches`]. A verdict or a chain loads nothing.
    pub held: Vec<Held<'a>>,
}

/// A match or target that has options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held<'a> {
    /// The name after `-m` or `-j`.
    pub name: Cow<'a, [u8]>,
    /// A target, not a match.
    pub is_target: bool,
    /// The reader knows its options.
    pub is_known: bool,
    /// The piece that loads it; `None` where `-p` implies the match.
    pub piece: Option<usize>,
}

/// One option with its values, or one word that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Index into [`Layout::held`]; `None` for general options and stray words.
    pub of: Option<usize>,
    /// The long name of the option without dashes, as the save tool has it; empty for a word that belongs
    /// to no known option.
    pub option: &'static str,
    /// A `!` stands before the option or before its value.
    pub invert: bool,
    /// All of its words, `!` included; never none.
    pub words: Vec<Word<'a>>,
    /// What the option was given.
    pub values: Vec<Cow<'a, [u8]>>,
    /// The rule is read without it: nothing takes the word, a value is missing, it is there twice, or it
    /// cannot be inverted.
    pub is_stray: bool,
}

impl Piece<'_> {
    /// Where it stands in the text.
    pub fn range(&self) -> Range<usize> {
        let start = self.words.first().map_or(0, |word| word.start);
        let end = self.words.last().map_or(start, Word::end);
        start..end
    }

    /// The first value; empty if there is none.
    pub fn value(&self) -> &[u8] {
        self.values.first().map_or(&[], |value| value)
    }

    /// The word that is nothing but the first value; `None` where there is no value or where it is part
    /// of the option's word (`--dport=22`).
    pub fn value_word(&self) -> Option<&Word<'_>> {
        let option = usize::from(self.words.first().is_some_and(|word| word.is(b"!")));
        let word = self
            .words
            .iter()
            .skip(option + 1)
            .find(|word| !word.is(b"!"))?;
        (*word.text == *self.value()).then_some(word)
    }

    /// A general option of that name that counts.
    pub fn is_general(&self, option: &str) -> bool {
        self.of.is_none() && !self.is_stray && self.option == option
    }
}

impl<'a> Layout<'a> {
    /// Read a specification, and where its parts stand.
    pub fn read(
        spec: &'a [u8],
        family: Family,
        is_chain: &dyn Fn(&[u8]) -> bool,
    ) -> (Spec<'a>, Self) {
        read::read_with_layout(spec, family, is_chain)
    }

    /// The general option of that name.
    pub fn general(&self, option: &str) -> Option<&Piece<'a>> {
        self.pieces.iter().find(|piece| piece.is_general(option))
    }

    /// The piece that names the target: `-j` or `-g`.
    pub fn target(&self) -> Option<&Piece<'a>> {
        self.general("jump").or_else(|| self.general("goto"))
    }

    /// An option of a match or target of one of these names, with the place of the piece.
    pub fn of_held(&self, names: &[&str], option: &str) -> Option<(usize, &Piece<'a>)> {
        self.pieces.iter().enumerate().find(|(_, piece)| {
            piece.option == option
                && piece
                    .of
                    .and_then(|of| self.held.get(of))
                    .is_some_and(|held| names.iter().any(|name| name.as_bytes() == &*held.name))
        })
    }
}

/// What the reader notes while it reads; nothing unless it was started.
#[derive(Clone, Debug, Default)]
pub(super) struct Recording<'a>(Option<Layout<'a>>);

impl<'a> Recording<'a> {
    pub(super) fn start() -> Self {
        Self(Some(Layout::default()))
    }

    pub(super) fn into_layout(self) -> Layout<'a> {
        self.0.unwrap_or_default()
    }

    /// A match or target was loaded.
    pub(super) fn load(
        &mut self,
        name: impl FnOnce() -> Cow<'a, [u8]>,
        is_target: bool,
        is_known: bool,
    ) {
        if let Some(layout) = &mut self.0 {
            layout.held.push(Held {
                name: name(),
                is_target,
                is_known,
                piece: None,
            });
        }
    }

    /// An option, or a word that is none.
    pub(super) fn record(
        &mut self,
        of: Option<usize>,
        option: &'static str,
        invert: bool,
        words: &[Word<'a>],
        values: &[Cow<'a, [u8]>],
    ) {
        if let Some(layout) = &mut self.0 {
            layout.pieces.push(Piece {
                of,
                option,
                invert,
                words: words.to_vec(),
                values: values.to_vec(),
                is_stray: false,
            });
        }
    }

    /// What became of the part that was recorded last: `held` extensions were loaded before it.
    pub(super) fn settle(&mut self, taken: bool, held: usize) {
        let Some(layout) = &mut self.0 else {
            return;
        };
        let last = layout.pieces.len().checked_sub(1);
        if let Some(piece) = layout.pieces.last_mut() {
            piece.is_stray = !taken;
        }
        if let Some(new) = layout.held.get_mut(held) {
            new.piece = last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let (_, layout) = Layout::read(text.as_bytes(), Family::V4, &|name| name == b"web");
        let of = |piece: &Piece<'_>| {
            piece.of.map_or_else(String::new, |of| {
                String::from_utf8_lossy(&layout.held[of].name).into_owned() + " "
            })
        };
        layout
            .pieces
            .iter()
            .map(|piece| {
                format!(
                    "{}{}{}{}={}",
                    if piece.is_stray { "stray " } else { "" },
                    of(piece),
                    if piece.invert { "!" } else { "" },
                    piece.option,
                    &text[piece.range()]
                )
            })
            .collect()
    }

    #[test]
    fn every_word_is_in_one_piece() {
        let cases: [(&str, &[&str]); 6] = [
            (
                "-p tcp ! --dport 22 -j ACCEPT",
                &[
                    "protocol=-p tcp",
                    "tcp !dport=! --dport 22",
                    "jump=-j ACCEPT",
                ],
            ),
            (
                "-m comment --comment \"a -j b\" -s ! 10.0.0.1 -g web",
                &[
                    "match=-m comment",
                    "comment comment=--comment \"a -j b\"",
                    "!source=-s ! 10.0.0.1",
                    "goto=-g web",
                ],
            ),
            (
                "-ptcp --dport=22 --syn",
                &["protocol=-ptcp", "tcp dport=--dport=22", "tcp syn=--syn"],
            ),
            (
                "-m foo --bar 1 -j LOG --log-prefix x",
                &[
                    "match=-m foo",
                    "foo =--bar",
                    "foo =1",
                    "jump=-j LOG",
                    "LOG log-prefix=--log-prefix x",
                ],
            ),
            ("hello -s", &["stray =hello", "stray source=-s"]),
            (
                "-p tcp -p udp !",
                &["protocol=-p tcp", "stray protocol=-p udp", "stray =!"],
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
