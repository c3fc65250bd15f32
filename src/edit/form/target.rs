//! The target and what it is given: another name, its options, the prefix of what it logs.

use super::Site;
use super::fields::{Field, Shown, held_target, target_at};
use super::splice::Splice;
use super::text;
use super::write::{Value, Writer, set};
use crate::ruleset::spec::lexer::Lexer;
use crate::ruleset::spec::{Layout, Piece};

impl Writer<'_, '_> {
    pub(super) fn log_prefix(&mut self, shown: &Shown, value: &Value) {
        let Some(held) = held_target(self.layout) else {
            return;
        };
        let option = match self.layout.held.get(held).map(|held| &*held.name) {
            Some(b"LOG") => "log-prefix",
            Some(b"NFLOG") => "nflog-prefix",
            _ => return,
        };
        match shown {
            Shown::Value(at) if value.is_empty() => self.remove(&[*at]),
            Shown::Value(at) => self.change(*at, value),
            _ if value.is_empty() => {}
            _ => {
                let end = target_at(self.layout).and_then(|at| self.piece(at));
                let end = end.map_or(self.end(), |piece| piece.range().end);
                self.splice.insert_after(end, &value.option(option));
            }
        }
    }

    pub(super) fn target_options(&mut self, shown: &Shown, typed: &str) {
        let words = text::to_bytes(typed.trim());
        let old = shown.pieces();
        match (old.split_first(), words.is_empty()) {
            (Some(_), true) => {
                for at in old {
                    if let Some(range) = self.piece(at).map(Piece::range) {
                        self.splice.remove(range);
                    }
                }
            }
            (Some((first, rest)), false) => {
                for at in rest {
                    if let Some(range) = self.piece(*at).map(Piece::range) {
                        self.splice.remove(range);
                    }
                }
                if let Some(range) = self.piece(*first).map(Piece::range) {
                    self.splice.replace(range, &words);
                }
            }
            (None, true) => {}
            (None, false) => {
                let target = target_at(self.layout).and_then(|at| self.piece(at));
                let end = target.map_or(self.end(), |piece| piece.range().end);
                self.splice.insert_after(end, &words);
            }
        }
    }

    /// `-j`: another name, and what the new target does not have goes with the old one.
    pub(super) fn target(mut self, typed: &str, site: &Site) -> Vec<u8> {
        let typed = typed.trim();
        let (goto, name) = match typed.split_once(char::is_whitespace) {
            Some(("goto", name)) => (true, name.trim()),
            _ => (false, typed),
        };
        let option = if goto { "-g" } else { "-j" };
        let name = text::to_bytes(name);
        let old: Vec<Vec<u8>> = held_target(self.layout).map_or_else(Vec::new, |held| {
            let own = self.layout.pieces.iter().filter(|p| p.of == Some(held));
            own.map(|piece| self.raw.get(piece.range()).unwrap_or_default().to_vec())
                .collect()
        });
        let prefix = {
            let shown = Shown::of(Field::LogPrefix, self.spec, self.layout);
            shown.text(self.layout)
        };
        let words = [option.as_bytes(), b" ", name.as_slice()].concat();
        match target_at(self.layout).and_then(|at| self.piece(at)) {
            Some(piece) if name.is_empty() => {
                let range = piece.range();
                let held = held_target(self.layout);
                let own = self
                    .layout
                    .pieces
                    .iter()
                    .filter(|p| p.of.is_some() && p.of == held);
                for range in std::iter::once(range).chain(own.map(Piece::range)) {
                    self.splice.remove(range);
                }
                return self.splice.finish();
            }
            Some(piece) if piece.is_general("goto") == goto && piece.value_word().is_some() => {
                let word = piece.value_word().map(|word| word.start..word.end());
                self.splice.replace(word.unwrap_or_default(), &name);
            }
            Some(piece) => self.splice.replace(piece.range(), &words),
            None if name.is_empty() => return self.raw.to_vec(),
            None => self.splice.insert_after(self.end(), &words),
        }
        let renamed = self.splice.finish();
        let kept = without_orphans(&renamed, &old, site);
        // LOG and NFLOG call it differently.
        if prefix.is_empty() {
            kept
        } else {
            set(&kept, Field::LogPrefix, &prefix, site)
        }
    }
}

/// Take away the options of the target before that the one now does not have.
fn without_orphans(raw: &[u8], old: &[Vec<u8>], site: &Site) -> Vec<u8> {
    if old.is_empty() {
        return raw.to_vec();
    }
    let is_chain = |name: &[u8]| site.is_chain(name);
    let (_, layout) = Layout::read(raw, site.family, &is_chain);
    let Some(target) = layout.target() else {
        return raw.to_vec();
    };
    let after = target.range().end;
    let held = held_target(&layout);
    let mut splice = Splice::new(raw);
    for piece in &layout.pieces {
        let behind = piece.range().start >= after;
        let unknown = piece.option.is_empty() || piece.is_stray;
        let own = piece.of.is_none() || piece.of == held || held.is_none();
        if behind && unknown && own && old.iter().any(|old| covers(old, piece)) {
            splice.remove(piece.range());
        }
    }
    splice.finish()
}

/// The words of a piece were among those of an old one.
fn covers(old: &[u8], piece: &Piece<'_>) -> bool {
    let mut words = Lexer::new(old);
    piece
        .words
        .iter()
        .all(|word| words.any(|old| old.raw == word.raw))
}
