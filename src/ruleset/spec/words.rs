//! A rule in a few words, for the columns of the board and the lines of an explanation.
//!
//! The words are the option names that administrators know, without dashes and defaults, with `!` glued
//! to the front: `dport 443`, `!src-type LOCAL`, `limit 3/min`, `prefix "HTTP: "`. Text from the dump is
//! given as it is, invalid UTF-8 as U+FFFD: the drawing side strips what a terminal must not see.

use std::borrow::Cow;
use std::fmt::{Display, Write};

use super::super::{RuleIdx, Ruleset};
use super::options::Unknown;
use super::value::{Inv, Protocol};
use super::{Match, Spec, Target};

/// Words joined by blanks.
#[derive(Debug, Default)]
pub(super) struct Phrase {
    text: String,
}

impl Phrase {
    fn blank(&mut self) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
    }

    /// `key value`, or `!key value`.
    pub(super) fn pair<T: Display>(&mut self, key: &str, value: &Inv<T>) {
        self.keyed(value.invert, key, &value.value);
    }

    /// The same if it is given at all.
    pub(super) fn option<T: Display>(&mut self, key: &str, value: Option<&Inv<T>>) {
        if let Some(value) = value {
            self.pair(key, value);
        }
    }

    /// `key value`, or `!key value`.
    pub(super) fn keyed(&mut self, invert: bool, key: &str, value: impl Display) {
        self.flag(invert, key);
        // Writing to a String does not fail.
        let _ = write!(self.text, " {value}");
    }

    /// `word`, or `!word`.
    pub(super) fn flag(&mut self, invert: bool, word: &str) {
        self.blank();
        if invert {
            self.text.push('!');
        }
        self.text.push_str(word);
    }

    /// `word` if `given`.
    pub(super) fn flag_if(&mut self, given: bool, word: &str) {
        if given {
            self.flag(false, word);
        }
    }

    /// `key "text"`.
    pub(super) fn quoted(&mut self, invert: bool, key: &str, text: &[u8]) {
        self.flag(invert, key);
        let _ = write!(self.text, " \"{}\"", String::from_utf8_lossy(text));
    }

    /// What is not understood, as it was written.
    pub(super) fn unknown(&mut self, unknown: &Unknown<'_>) {
        self.flag(false, &String::from_utf8_lossy(&unknown.name));
        for word in &unknown.args {
            self.flag(false, &String::from_utf8_lossy(word.raw));
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// Two hexadecimal digits a byte.
pub(in super::super) fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// The cells of one row of the board.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Cells {
    /// Target; empty where the rule only counts.
    pub target: String,
    /// `-g` instead of `-j`.
    pub goto: bool,
    /// `tcp`, `!udp`; empty for any.
    pub protocol: String,
    /// `-i`; empty for any.
    pub in_interface: String,
    /// `-o`; empty for any.
    pub out_interface: String,
    /// `-s`; empty for any.
    pub source: String,
    /// `-d`; empty for any.
    pub destination: String,
    /// Matches and options of the target.
    pub matches: String,
    /// Comments, joined by ` | ` where there are several.
    pub comment: Option<String>,
}

impl Ruleset {
    /// The cells of a rule for the board.
    pub fn cells(&self, rule: RuleIdx) -> Cells {
        Cells::of(&self.parse_rule(rule))
    }
}

impl Cells {
    /// The cells of a rule that is typed already.
    pub fn of(spec: &Spec<'_>) -> Self {
        Self {
            target: spec.target_name().into_owned(),
            goto: spec.goto,
            protocol: spec.protocol_text(),
            in_interface: shown(spec.in_interface.as_ref()),
            out_interface: shown(spec.out_interface.as_ref()),
            source: shown(spec.source.as_ref()),
            destination: shown(spec.destination.as_ref()),
            matches: spec.match_text(),
            comment: spec.comment_text(),
        }
    }
}

fn shown<T: Display>(value: Option<&Inv<T>>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

impl Spec<'_> {
    /// Name of the target: `DROP`, `f2b-sshd`; empty where the rule only counts.
    pub fn target_name(&self) -> Cow<'_, str> {
        self.target.as_ref().map_or(Cow::Borrowed(""), Target::name)
    }

    /// `tcp`, `!udp`, or empty for any.
    pub fn protocol_text(&self) -> String {
        let any = |p: &Inv<Protocol<'_>>| p.value.number == Some(0) && !p.invert;
        shown(self.protocol.as_ref().filter(|p| !any(p)))
    }

    /// Matches, then options of the target, in short words.
    pub fn match_text(&self) -> String {
        let mut phrase = Phrase::default();
        if let Some(fragment) = &self.fragment {
            phrase.flag(fragment.invert, "fragment");
        }
        for one in &self.matches {
            one.describe(&mut phrase);
        }
        if let Some(target) = &self.target {
            target.describe(&mut phrase);
        }
        for word in &self.stray {
            phrase.flag(false, &String::from_utf8_lossy(word.raw));
        }
        phrase.into_text()
    }

    /// The first comment, as bytes.
    pub fn comment(&self) -> Option<&[u8]> {
        self.comments().next()
    }

    /// All comments: a rule may have several.
    pub fn comments(&self) -> impl Iterator<Item = &[u8]> {
        self.matches.iter().filter_map(|one| match one {
            Match::Comment(text) => Some(&**text),
            _ => None,
        })
    }

    fn comment_text(&self) -> Option<String> {
        let all: Vec<_> = self.comments().map(String::from_utf8_lossy).collect();
        (!all.is_empty()).then(|| all.join(" | "))
    }

    /// Prefix and group of a rule that logs.
    pub fn log(&self) -> Option<Logged<'_>> {
        match self.target.as_ref()? {
            Target::Log(log) => Some(Logged {
                prefix: &log.prefix,
                group: None,
            }),
            Target::Nflog(log) => Some(Logged {
                prefix: &log.prefix,
                group: Some(log.group),
            }),
            _ => None,
        }
    }
}

/// How a rule logs: what a log line of it begins with, and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged<'a> {
    /// Prefix of its lines; may be empty. Blanks at its end count.
    pub prefix: &'a [u8],
    /// The netlink group of NFLOG; `None` for LOG, which goes to the kernel log.
    pub group: Option<u16>,
}
