//! One field of the form back into the text: the words that say it change, everything else stays.
//!
//! New words go where iptables-save would print them: general options in its order, matches before the
//! target, a port behind its protocol. A match that was loaded for one option only goes when that option
//! goes. A target that changes takes the options along that the new one has too.

use std::borrow::Cow;

use super::fields::{Field, Shown, target_at};
use super::ports::{self, Side};
use super::splice::Splice;
use super::{Form, Site, text};
use crate::ruleset::spec::{Layout, Piece, Protocol, Spec, write_quoted};

/// The text of the rule with one field changed. A field that is given the text that it shows, and a
/// field that the rule cannot have (a prefix without LOG), change nothing.
pub fn set(raw: &[u8], field: Field, to: &str, site: &Site) -> Vec<u8> {
    let is_chain = |name: &[u8]| site.is_chain(name);
    let (spec, layout) = Layout::read(raw, site.family, &is_chain);
    if Form::of(&spec, &layout).get(field) == to {
        return raw.to_vec();
    }
    let shown = Shown::of(field, &spec, &layout);
    let mut writer = Writer {
        raw,
        layout: &layout,
        spec: &spec,
        splice: Splice::new(raw),
    };
    let value = Value::of(field, to);
    match field {
        Field::Target => return writer.target(to, site),
        Field::TargetOptions => writer.target_options(&shown, to),
        Field::Protocol => writer.protocol(&shown, &value),
        Field::SourcePorts => ports::write(Side::Source, &shown, &value, &mut writer),
        Field::DestinationPorts => ports::write(Side::Destination, &shown, &value, &mut writer),
        Field::Source => writer.general(&shown, "-s", 0, &value),
        Field::Destination => writer.general(&shown, "-d", 1, &value),
        Field::InInterface => writer.general(&shown, "-i", 2, &value),
        Field::OutInterface => writer.general(&shown, "-o", 3, &value),
        Field::State => writer.of_match(&shown, "conntrack", "ctstate", &value),
        Field::Comment => writer.of_match(&shown, "comment", "comment", &value),
        Field::Limit => writer.limit(&shown, to),
        Field::LogPrefix => writer.log_prefix(&shown, &value),
    }
    writer.splice.finish()
}

/// What is typed in a field, as words of a rule.
#[derive(Debug)]
pub(super) struct Value {
    /// The value as one word, quoted where it has to be; empty where there is none.
    pub words: Vec<u8>,
    pub invert: bool,
}

impl Value {
    fn of(field: Field, typed: &str) -> Self {
        let (invert, rest) = match typed.trim_start().strip_prefix('!') {
            Some(rest) if field.can_invert() => (true, rest.trim_start()),
            _ => (false, typed),
        };
        let free = matches!(field, Field::Comment | Field::LogPrefix);
        let rest = if free { rest } else { rest.trim() };
        let bytes = text::to_bytes(rest);
        let mut words = Vec::new();
        if free && !bytes.is_empty() {
            write_quoted(&mut words, &bytes);
        } else if matches!(field, Field::InInterface | Field::OutInterface) {
            words = bytes; // never quoted by the save tool
        } else if !bytes.is_empty() {
            word(&mut words, &bytes);
        }
        Self { words, invert }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// `--option value`, or `! --option value`.
    pub(super) fn option(&self, name: &str) -> Vec<u8> {
        self.after(&format!("--{name}"))
    }

    fn after(&self, option: &str) -> Vec<u8> {
        let sign = if self.invert { "! " } else { "" };
        let mut out = format!("{sign}{option} ").into_bytes();
        out.extend_from_slice(&self.words);
        out
    }
}

/// One word: as it is, in quotes only where it would fall apart or read as something else.
fn word(out: &mut Vec<u8>, bytes: &[u8]) {
    let odd = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\\' | b'\'');
    if bytes.iter().any(odd) || bytes == b"!" || bytes.starts_with(b"-") {
        write_quoted(out, bytes);
    } else {
        out.extend_from_slice(bytes);
    }
}

/// Changes to one rule.
pub(super) struct Writer<'l, 'a> {
    pub(super) raw: &'a [u8],
    pub layout: &'l Layout<'a>,
    pub(super) spec: &'l Spec<'a>,
    pub(super) splice: Splice<'a>,
}

/// The order of iptables-save: `-s -d -i -o -p`, what matches load, the target.
fn rank(piece: &Piece<'_>) -> u8 {
    match piece.option {
        _ if piece.of.is_some() || piece.is_stray => 5,
        "source" => 0,
        "destination" => 1,
        "in-interface" => 2,
        "out-interface" => 3,
        "protocol" => 4,
        "jump" | "goto" => 6,
        _ => 5,
    }
}

impl<'a> Writer<'_, 'a> {
    pub(super) fn piece(&self, at: usize) -> Option<&Piece<'a>> {
        self.layout.pieces.get(at)
    }

    /// A general option: changed, removed or put in its place.
    fn general(&mut self, shown: &Shown, option: &str, own: u8, value: &Value) {
        match shown {
            Shown::Value(at) if value.is_empty() => self.remove(&[*at]),
            Shown::Value(at) => self.change(*at, value),
            _ if value.is_empty() => {}
            _ => {
                let next = self.layout.pieces.iter().find(|piece| rank(piece) > own);
                self.add_before(next.map(Piece::range), &value.after(option));
            }
        }
    }

    fn add_before(&mut self, next: Option<std::ops::Range<usize>>, words: &[u8]) {
        match next {
            Some(next) => self.splice.insert_before(next.start, words),
            None => self.splice.insert_after(self.end(), words),
        }
    }

    /// Where the last word ends; a `!` that waits for its option must not get another one.
    pub(super) fn end(&self) -> usize {
        let is_sign = |piece: &&Piece<'_>| piece.words.iter().all(|word| word.is(b"!"));
        let mut pieces = self.layout.pieces.iter().rev().skip_while(is_sign);
        pieces.next().map_or(0, |piece| piece.range().end)
    }

    /// A match with its option, in front of the target.
    pub(super) fn add_match(&mut self, words: &[u8]) {
        let target = target_at(self.layout).and_then(|at| self.piece(at));
        self.add_before(target.map(Piece::range), words);
    }

    /// Words behind `-p`; without one, in front of the matches.
    pub(super) fn add_after_protocol(&mut self, words: &[u8]) {
        match self.layout.general("protocol") {
            Some(protocol) => self.splice.insert_after(protocol.range().end, words),
            None => {
                let next = self.layout.pieces.iter().find(|piece| rank(piece) > 4);
                self.add_before(next.map(Piece::range), words);
            }
        }
    }

    /// Words before all else.
    pub(super) fn add_first(&mut self, words: &[u8]) {
        self.splice.insert_after(0, words);
    }

    /// An option behind the last one that the match has.
    pub(super) fn add_option(&mut self, held: usize, words: &[u8]) {
        let own = self.layout.pieces.iter().enumerate().filter(|(at, piece)| {
            piece.of == Some(held) || self.layout.held.get(held).and_then(|h| h.piece) == Some(*at)
        });
        match own.map(|(_, piece)| piece.range().end).max() {
            Some(end) => self.splice.insert_after(end, words),
            None => self.add_after_protocol(words),
        }
    }

    /// Another value, and the `!` that it has, in the place of these.
    pub(super) fn change(&mut self, at: usize, value: &Value) {
        let Some(piece) = self.piece(at) else { return };
        let range = piece.range();
        match piece.value_word() {
            Some(word) if piece.invert == value.invert => {
                let range = word.start..word.end();
                self.splice.replace(range, &value.words);
            }
            Some(_) => {
                let option = piece.words.iter().find(|word| !word.is(b"!"));
                let name = option.map(|word| word.raw).unwrap_or_default();
                let name = String::from_utf8_lossy(name);
                self.splice.replace(range, &value.after(&name));
            }
            None => {
                let name = format!("--{}", piece.option);
                self.splice.replace(range, &value.after(&name));
            }
        }
    }

    /// Take parts away, and the `-m` of a match that has nothing left to say.
    pub(super) fn remove(&mut self, pieces: &[usize]) {
        for at in self.with_emptied(pieces) {
            if let Some(range) = self.piece(at).map(Piece::range) {
                self.splice.remove(range);
            }
        }
    }

    /// Other words in the place of these parts.
    pub(super) fn substitute(&mut self, pieces: &[usize], words: &[u8]) {
        let Some(first) = pieces.first() else {
            return;
        };
        for at in self.with_emptied(pieces).iter().filter(|at| *at != first) {
            if let Some(range) = self.piece(*at).map(Piece::range) {
                self.splice.remove(range);
            }
        }
        if let Some(range) = self.piece(*first).map(Piece::range) {
            self.splice.replace(range, words);
        }
    }

    /// The parts, and each `-m` whose only options they are, in the order of the text.
    fn with_emptied(&self, pieces: &[usize]) -> Vec<usize> {
        let mut all = pieces.to_vec();
        for (held, loaded) in self.layout.held.iter().enumerate() {
            let mut own = (0..self.layout.pieces.len())
                .filter(|at| self.piece(*at).is_some_and(|piece| piece.of == Some(held)))
                .peekable();
            let emptied = own.peek().is_some() && own.all(|at| pieces.contains(&at));
            if let Some(load) = loaded.piece.filter(|_| emptied && !loaded.is_target) {
                all.push(load);
            }
        }
        all.sort_unstable();
        all
    }

    /// The option of a match; the match comes and goes with it.
    fn of_match(&mut self, shown: &Shown, name: &str, option: &str, value: &Value) {
        match shown {
            Shown::Value(at) if value.is_empty() => self.remove(&[*at]),
            Shown::Value(at) => self.change(*at, value),
            _ if value.is_empty() => {}
            _ => {
                let held = self
                    .layout
                    .held
                    .iter()
                    .position(|held| *held.name == *name.as_bytes() && name != "comment");
                if let Some(held) = held {
                    self.add_option(held, &value.option(option));
                } else {
                    let mut words = format!("-m {name} ").into_bytes();
                    words.extend(value.option(option));
                    self.add_match(&words);
                }
            }
        }
    }

    fn limit(&mut self, shown: &Shown, typed: &str) {
        let (rate, burst) = match typed.split_once("burst") {
            Some((rate, burst)) => (rate.trim(), Some(burst.trim())),
            None => (typed.trim(), None),
        };
        let value = |text: &str| Value::of(Field::Limit, text);
        let (had_rate, had_burst) = match shown {
            Shown::Limit(rate, burst) => (*rate, *burst),
            _ => (None, None),
        };
        let burst = burst.filter(|burst| !burst.is_empty());
        if rate.is_empty() && burst.is_none() {
            let gone: Vec<usize> = had_rate.into_iter().chain(had_burst).collect();
            self.remove(&gone);
            return;
        }
        let mut new = Vec::new();
        match had_rate {
            Some(at) if rate.is_empty() => self.remove(&[at]),
            Some(at) => self.change(at, &value(rate)),
            None if rate.is_empty() => {}
            None => new.push(value(rate).option("limit")),
        }
        match (had_burst, burst) {
            (Some(at), Some(burst)) => self.change(at, &value(burst)),
            (Some(at), None) => self.remove(&[at]),
            (None, Some(burst)) => new.push(value(burst).option("limit-burst")),
            (None, None) => {}
        }
        if new.is_empty() {
            return;
        }
        let words = new.join(&b' ');
        let held = self.layout.held.iter().position(|h| *h.name == *b"limit");
        if let Some(held) = held {
            self.add_option(held, &words);
        } else {
            self.add_match(&[b"-m limit ", words.as_slice()].concat());
        }
    }

    /// The match that the protocol implies.
    pub(super) fn implied_match(&self) -> Option<&'static str> {
        let protocol = self.spec.protocol.as_ref().filter(|p| !p.invert)?;
        protocol.value.implied_match()
    }

    /// `-p`, and the name of the match that goes with it.
    fn protocol(&mut self, shown: &Shown, value: &Value) {
        self.general(shown, "-p", 4, value);
        let old = self.implied_match();
        let new = Protocol::read(Cow::Borrowed(&value.words)).implied_match();
        let (Some(old), Some(new)) = (old, new.filter(|_| !value.invert)) else {
            return;
        };
        if old == new {
            return;
        }
        let loads = self.layout.held.iter().filter(|held| {
            !held.is_target
                && (*held.name == *old.as_bytes() || (old == "icmp6" && *held.name == *b"icmpv6"))
        });
        for load in loads.filter_map(|held| held.piece) {
            let name = Value::of(Field::Protocol, new);
            self.change(load, &name);
        }
    }
}
