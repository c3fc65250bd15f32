//! What is wrong with a rule while it is typed: where, and what was expected.
//!
//! The back end has the last word before anything is staged (it loads the rule in a scratch namespace);
//! this is the quick one, at every key. An [`Severity::Error`] is refused by the kernel or its tool for
//! certain; a warning may be refused or is likely not what is meant; a note says what the kernel will make
//! of it. What is not known here, a match of tomorrow, is a warning and never an error.
//!
//! - this file: words that belong nowhere, and what the reader of rules did not understand.
//! - `values`: ports, addresses, interfaces, texts. - `place`: what may stand in this table and chain.

mod place;
#[cfg(test)]
mod tests;
mod values;

use std::ops::Range;

use super::catalog::Catalog;
use super::complete::Names;
use super::fields::{Field, Shown};
use super::{Site, text};
use crate::ruleset::Severity;
use crate::ruleset::spec::{Layout, Match, Misread, Piece, Spec, Target};

/// One thing that is wrong, or remarkable, in a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the text of the rule, in bytes; empty where something is missing.
    pub at: Range<usize>,
    /// The field that shows that place.
    pub field: Option<Field>,
    /// How much it weighs.
    pub severity: Severity,
    /// What is wrong or was expected, as a phrase. May hold text of the rule: strip before drawing.
    pub words: String,
}

/// Everything that is wrong with a rule, in the order of its text; the heaviest of a place first.
pub fn check(raw: &[u8], site: &Site, names: &Names) -> Vec<Problem> {
    let is_chain = |name: &[u8]| site.is_chain(name);
    let (spec, layout) = Layout::read(raw, site.family, &is_chain);
    let mut rule = Rule {
        raw,
        site,
        names,
        spec: &spec,
        layout: &layout,
        found: Vec::new(),
    };
    rule.unread();
    rule.unknown();
    values::check(&mut rule);
    place::check(&mut rule);
    let mut found = rule.found;
    found.sort_by(|a, b| {
        let weight = b.severity.cmp(&a.severity);
        a.at.start.cmp(&b.at.start).then(weight)
    });
    found.dedup_by(|b, a| a.at == b.at && a.words == b.words);
    let shown = Field::ALL.map(|field| (field, Shown::of(field, &spec, &layout).pieces()));
    for problem in &mut found {
        let pieces = layout.pieces.iter().enumerate();
        let mut inside = pieces.filter(|(_, piece)| {
            let range = piece.range();
            range.start <= problem.at.start && problem.at.end <= range.end
        });
        if let Some((at, _)) = inside.next() {
            let field = shown.iter().find(|(_, pieces)| pieces.contains(&at));
            problem.field = problem.field.or(field.map(|found| found.0));
        }
    }
    found
}

/// A rule that is being looked at.
struct Rule<'r, 'a> {
    raw: &'a [u8],
    site: &'r Site,
    names: &'r Names,
    spec: &'r Spec<'a>,
    layout: &'r Layout<'a>,
    found: Vec<Problem>,
}

impl<'a> Rule<'_, 'a> {
    fn say(&mut self, severity: Severity, at: Range<usize>, words: impl Into<String>) {
        self.found.push(Problem {
            at,
            field: None,
            severity,
            words: words.into(),
        });
    }

    fn error(&mut self, at: Range<usize>, words: impl Into<String>) {
        self.say(Severity::Error, at, words);
    }

    /// Where the text ends: for what is missing.
    fn end(&self) -> Range<usize> {
        self.raw.len()..self.raw.len()
    }

    /// Where the value of a piece stands; the whole piece where it is part of the option's word.
    fn value_at(piece: &Piece<'_>) -> Range<usize> {
        piece
            .value_word()
            .map_or_else(|| piece.range(), |word| word.start..word.end())
    }

    /// Words and options that the rule is read without.
    fn unread(&mut self) {
        let layout = self.layout;
        let mut is_value_of_stray = false;
        for piece in layout.pieces.iter().filter(|piece| piece.is_stray) {
            let at = piece.range();
            let is_word = piece.option.is_empty();
            let raw = piece.words.first().map_or(&b""[..], |word| word.raw);
            let is_option = is_word && raw.starts_with(b"-") && raw.len() > 1;
            let same_option = |other: &&Piece<'_>| other.is_general(piece.option);
            if is_option && is_port_option(raw) {
                self.error(at, NO_PORTS);
            } else if is_option {
                let name = text::from_bytes(raw);
                self.error(
                    at,
                    format!("{name}: no match or target before it has this option"),
                );
            } else if is_word && raw == b"!" {
                self.error(at, "'!' stands before the option that it inverts");
            } else if is_word && is_value_of_stray {
                // Said of its option already.
            } else if is_word {
                let word = text::from_bytes(raw);
                self.error(
                    at,
                    format!("{word}: expected an option, such as -p, -s, -m or -j"),
                );
            } else if piece.values.is_empty()
                && !matches!(piece.option, "fragments" | "ipv4" | "ipv6")
            {
                self.error(at, format!("--{}: expected a value after it", piece.option));
            } else if layout.pieces.iter().any(|p| same_option(&p)) {
                self.error(at, format!("--{}: it is there already", piece.option));
            } else if matches!(piece.option, "jump" | "goto") && layout.target().is_some() {
                self.error(at, "a rule has one target");
            } else {
                self.error(
                    at,
                    format!("--{}: cannot be inverted, or not read", piece.option),
                );
            }
            is_value_of_stray = is_option;
        }
    }

    /// Matches and targets that the reader did not understand.
    fn unknown(&mut self) {
        let (spec, layout) = (self.spec, self.layout);
        let mut matches = spec.matches.iter();
        for (index, held) in layout.held.iter().enumerate() {
            let why = if held.is_target {
                match &spec.target {
                    Some(Target::Unknown(odd)) => Some(odd),
                    _ => None,
                }
            } else {
                match matches.next() {
                    Some(Match::Unknown(odd)) => Some(odd),
                    _ => None,
                }
            };
            match why.map(|odd| odd.why) {
                Some(Some(misread)) => self.misread(index, misread),
                Some(None) => self.not_known_here(index),
                None => {}
            }
        }
    }

    fn misread(&mut self, held: usize, misread: Misread) {
        let own = |piece: &&Piece<'a>| piece.of == Some(held);
        let layout = self.layout;
        let name = layout
            .held
            .get(held)
            .map(|held| text::from_bytes(&held.name));
        let name = name.unwrap_or_default();
        let odd = |piece: &&Piece<'a>| match misread.option {
            "" => piece.option.is_empty(),
            option => piece.option == option,
        };
        let pieces = || layout.pieces.iter().filter(own);
        // Of an option that is there twice the last is one too many.
        let found = if misread.expected == "only once" {
            pieces().rfind(odd)
        } else {
            pieces().find(odd)
        };
        match found {
            Some(piece) if misread.option.is_empty() => {
                let word = piece.words.first().map_or(&b""[..], |word| word.raw);
                let words = if is_port_option(word) {
                    NO_PORTS.to_owned()
                } else {
                    format!("{}: {name} has no such option", text::from_bytes(word))
                };
                self.error(piece.range(), words);
            }
            Some(piece) if self.is_named_service(piece) => {}
            Some(piece) => {
                let words = format!("--{}: expected {}", misread.option, misread.expected);
                self.error(Self::value_at(piece), words);
            }
            None => {
                let load = layout.held.get(held).and_then(|held| held.piece);
                let at = load.and_then(|at| layout.pieces.get(at));
                let at = at.map_or(self.end(), Piece::range);
                self.error(at, format!("{name}: expected {}", misread.expected));
            }
        }
    }

    /// A port by a name that this machine's services know, though the reader of rules does not.
    fn is_named_service(&self, piece: &Piece<'_>) -> bool {
        let is_port = piece.option.ends_with("port") || piece.option.ends_with("ports");
        let mut items = piece.value().split(|b| matches!(b, b',' | b':'));
        is_port
            && items.all(|item| {
                item.is_empty()
                    || std::str::from_utf8(item).is_ok_and(|item| {
                        item.parse::<u16>().is_ok() || self.names.has_service(item)
                    })
            })
    }

    fn not_known_here(&mut self, held: usize) {
        let Some(held) = self.layout.held.get(held) else {
            return;
        };
        let name = text::from_bytes(&held.name);
        let piece = held.piece.and_then(|at| self.layout.pieces.get(at));
        let at = piece.map_or(self.end(), Self::value_at);
        let catalog = Catalog::shipped();
        let family = self.site.family;
        let listed = if held.is_target {
            catalog.find_target(&held.name, family).is_some()
        } else {
            catalog.find_match(&held.name, family).is_some()
        };
        if listed {
            return; // the back end knows it
        }
        if catalog.is_of_other_family(&held.name, held.is_target) {
            // Said by `place`, also of what the reader understands.
        } else if held.is_target {
            let table = &self.site.table;
            self.say(
                Severity::Warning,
                at,
                format!("{name}: neither a chain of {table} nor a target that is known here"),
            );
        } else {
            self.say(
                Severity::Warning,
                at,
                format!("{name}: no match that is known here"),
            );
        }
    }
}

/// What is said of them.
const NO_PORTS: &str = "ports need -p tcp, udp, sctp, dccp or udplite before them";

/// Whether an option that nothing took is about ports.
fn is_port_option(raw: &[u8]) -> bool {
    const PORTS: [&[u8]; 4] = [
        b"--sport",
        b"--dport",
        b"--source-port",
        b"--destination-port",
    ];
    let name = raw.split(|b| *b == b'=').next().unwrap_or_default();
    PORTS.contains(&name)
}
