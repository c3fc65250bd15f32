//! The words after a command: names and numbers, with their offsets in the line for complaints.

use super::super::counters::decimal;
use super::super::spec::lexer::{Lexer, Word};
use super::Refusal;

/// The words of a line, with offsets in the line.
pub(super) struct Words<'a> {
    lexer: Lexer<'a>,
    base: usize,
}

impl<'a> Words<'a> {
    /// Words of a line from an offset on.
    pub(super) fn new(body: &'a [u8], from: usize) -> Self {
        Self {
            lexer: Lexer::new(body.get(from..).unwrap_or_default()),
            base: from,
        }
    }

    pub(super) fn next(&mut self) -> Option<Word<'a>> {
        self.lexer.next()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.lexer.rest()
    }

    /// Offset of the next word in the line.
    pub(super) fn at(&self) -> usize {
        let rest = self.rest();
        self.base + self.lexer.offset() + (rest.len() - rest.trim_ascii_start().len())
    }

    pub(super) fn name(&mut self, expected: &'static str) -> Result<&'a [u8], Refusal> {
        let refusal = Refusal {
            at: self.at(),
            expected,
        };
        let word = self.lexer.name().ok_or(refusal)?;
        Ok(unquoted(&word))
    }

    pub(super) fn optional_name(&mut self) -> Option<&'a [u8]> {
        let mut ahead = self.lexer.clone();
        let word = ahead.name()?;
        if word.raw.first() == Some(&b'-') {
            return None;
        }
        self.lexer = ahead;
        Some(unquoted(&word))
    }

    pub(super) fn optional_number(&mut self) -> Result<Option<u32>, Refusal> {
        let at = self.at();
        let mut ahead = self.lexer.clone();
        let Some(number) = ahead.next().and_then(|word| decimal(word.raw)) else {
            return Ok(None);
        };
        self.lexer = ahead;
        match u32::try_from(number) {
            Ok(number) if number > 0 => Ok(Some(number)),
            _ => Err(Refusal {
                at,
                expected: "a rule number from 1 to 4294967295",
            }),
        }
    }

    pub(super) fn skip_number(&mut self) {
        let mut ahead = self.lexer.clone();
        if ahead.next().is_some_and(|word| decimal(word.raw).is_some()) {
            self.lexer = ahead;
        }
    }
}

/// A name that somebody put in quotes. Escapes cannot occur in one.
fn unquoted<'a>(word: &Word<'a>) -> &'a [u8] {
    if word.quoted {
        word.raw
            .strip_prefix(b"\"")
            .and_then(|raw| raw.strip_suffix(b"\""))
            .unwrap_or(word.raw)
    } else {
        word.raw
    }
}
