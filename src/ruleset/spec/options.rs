//! Options of matches and targets as rows of data, and what a rule gave them.
//!
//! An extension is a name, rows of options and a function that makes its typed form of what was given.
//! Reading words into [`Given`] knows nothing of any extension; an extension knows nothing of words. A
//! new match is a new row and a new type.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::Family;
use super::lexer::Word;
use super::matches::Match;
use super::targets::Target;
use super::value::Inv;

/// One option of an extension.
#[derive(Debug)]
pub(super) struct Opt {
    /// Long names without dashes; the first is the one that the save tool prints.
    pub names: &'static [&'static str],
    /// How many values it takes.
    pub values: u8,
    /// A short form, `-p`; 0 for none. Only general options have one.
    pub short: u8,
    /// Whether a value is a name that the save tool never quotes.
    pub unquoted: bool,
}

/// An option with that many values.
pub(super) const fn opt(names: &'static [&'static str], values: u8) -> Opt {
    Opt {
        names,
        values,
        short: 0,
        unquoted: false,
    }
}

impl Opt {
    pub(super) const fn short(mut self, letter: u8) -> Self {
        self.short = letter;
        self
    }

    pub(super) const fn unquoted(mut self) -> Self {
        self.unquoted = true;
        self
    }

    pub(super) fn is(&self, name: &[u8]) -> bool {
        self.names.iter().any(|own| own.as_bytes() == name)
    }

    pub(super) fn starts_with(&self, name: &[u8]) -> bool {
        self.names
            .iter()
            .any(|own| own.as_bytes().starts_with(name))
    }

    /// The name that the save tool prints.
    pub(super) fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }
}

/// A match extension that is understood.
pub(super) struct MatchExtension {
    pub names: &'static [&'static str],
    pub options: &'static [Opt],
    pub read: for<'a> fn(&Given<'a>) -> Result<Match<'a>, Misread>,
}

/// A target extension that is understood.
pub(super) struct TargetExtension {
    pub name: &'static str,
    pub options: &'static [Opt],
    pub read: for<'a> fn(&Given<'a>) -> Result<Target<'a>, Misread>,
}

/// Why a match or target could not be given its type: what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misread {
    /// The option without dashes; empty when the whole is meant.
    pub option: &'static str,
    /// What was expected of it.
    pub expected: &'static str,
}

impl Misread {
    pub(super) const ONCE: &'static str = "only once";
    pub(super) const VALUE: &'static str = "a value after it";

    /// The words are at fault, not what a value means: an option is unknown, lacks its value, stands twice,
    /// or the one that makes the extension what it is is missing. A value that is not understood may be
    /// a name that only the tool can look up.
    pub fn is_of_form(&self) -> bool {
        self.option.is_empty() || self.expected == Self::ONCE || self.expected == Self::VALUE
    }
}

/// One option as a rule gave it.
#[derive(Clone, Debug)]
pub(super) struct GivenOption<'a> {
    pub name: &'static str,
    pub invert: bool,
    pub values: [Cow<'a, [u8]>; 2],
}

impl<'a> GivenOption<'a> {
    /// The first value; empty if the option takes none.
    pub(super) fn value(&self) -> &Cow<'a, [u8]> {
        &self.values[0]
    }

    /// The first value, for keeps.
    pub(super) fn text(&self) -> Cow<'a, [u8]> {
        self.value().clone()
    }

    /// The second value.
    pub(super) fn second(&self) -> &Cow<'a, [u8]> {
        &self.values[1]
    }

    pub(super) fn inv<T>(&self, value: T) -> Inv<T> {
        Inv {
            invert: self.invert,
            value,
        }
    }

    /// The value as `read` reads it, or what was expected.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&[u8]) -> Option<T>,
        expected: &'static str,
    ) -> Result<T, Misread> {
        read(self.value()).ok_or(self.misread(expected))
    }

    /// The value with the option's `!`.
    pub(super) fn read_inv<T>(
        &self,
        read: impl FnOnce(&[u8]) -> Option<T>,
        expected: &'static str,
    ) -> Result<Inv<T>, Misread> {
        self.read(read, expected).map(|value| self.inv(value))
    }

    pub(super) fn misread(&self, expected: &'static str) -> Misread {
        Misread {
            option: self.name,
            expected,
        }
    }

    /// An option in the table of its extension that the reader of it forgot.
    pub(super) fn not_read(&self) -> Misread {
        self.misread("nothing: it is not understood")
    }
}

/// What a rule gave to one match or target.
#[derive(Clone, Debug)]
pub(super) struct Given<'a> {
    pub family: Family,
    /// The name after `-m` or `-j`.
    pub name: Cow<'a, [u8]>,
    pub options: Vec<GivenOption<'a>>,
    /// Every word after the name that belongs here, in order, understood or not.
    pub words: Vec<Word<'a>>,
    /// The first thing that was not understood.
    pub misread: Option<Misread>,
}

impl<'a> Given<'a> {
    pub(super) fn new(name: Cow<'a, [u8]>, family: Family) -> Self {
        Self {
            family,
            name,
            options: Vec::new(),
            words: Vec::new(),
            misread: None,
        }
    }

    /// Add an option; the same one twice is refused by the tool, and what it would mean is not clear.
    pub(super) fn add(&mut self, option: GivenOption<'a>) {
        if self.options.iter().any(|other| other.name == option.name) {
            self.misread.get_or_insert(option.misread(Misread::ONCE));
        }
        self.options.push(option);
    }

    /// Length of a prefix that is a whole address.
    pub(super) fn full_prefix(&self) -> u8 {
        match self.family {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    /// The mask that is a whole address.
    pub(super) fn full_mask(&self) -> IpAddr {
        match self.family {
            Family::V4 => IpAddr::V4(Ipv4Addr::BROADCAST),
            Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
        }
    }

    /// A misread of the whole.
    pub(super) fn lacks(expected: &'static str) -> Misread {
        Misread {
            option: "",
            expected,
        }
    }
}

/// A match or target that is not understood: kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown<'a> {
    /// Name of the match or target.
    pub name: Cow<'a, [u8]>,
    /// The words after the name, `!` and options included.
    pub args: Vec<Word<'a>>,
    /// What was expected, where the name is known and something in it was not; `None` when the whole
    /// extension is not known here.
    pub why: Option<Misread>,
}

impl<'a> Given<'a> {
    pub(super) fn into_unknown(self, why: Option<Misread>) -> Unknown<'a> {
        Unknown {
            name: self.name,
            args: self.words,
            why,
        }
    }
}
