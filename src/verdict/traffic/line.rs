//! Products of lists: boxes whose spans are lists of spans.

use std::collections::HashMap;

use crate::ruleset::Family;
use crate::verdict::Path;
use crate::verdict::space::cube::{Bytes, Cube, Number, Span};
use crate::verdict::sweep::{Book, Conditional};

use super::Line;
use super::words;

/// Rounds over all fields.
const ROUNDS: usize = 3;

/// More parts than this are told one by one.
const MOST: usize = 5_000;

/// One product.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Strip {
    pub src: Vec<Span<u128>>,
    pub dst: Vec<Span<u128>>,
    pub input: Vec<Span<u128>>,
    pub output: Vec<Span<u128>>,
    pub sport: Vec<Span<u16>>,
    pub dport: Vec<Span<u16>>,
    pub protos: Bytes,
    pub flags: Bytes,
    pub ct: u8,
    pub known: Vec<(u32, bool)>,
}

impl Strip {
    fn one(part: &Conditional) -> Self {
        let Cube {
            src,
            dst,
            input,
            output,
            sport,
            dport,
            protos,
            flags,
            ct,
            ..
        } = part.cube;
        Self {
            src: vec![src],
            dst: vec![dst],
            input: vec![input],
            output: vec![output],
            sport: vec![sport],
            dport: vec![dport],
            protos,
            flags,
            ct,
            known: part.known.clone(),
        }
    }

    /// The same packets in few products, those with the fewest conditions first.
    pub(super) fn of(parts: &[Conditional]) -> Vec<Self> {
        let mut strips: Vec<Self> = parts.iter().map(Self::one).collect();
        for _ in 0..ROUNDS {
            let before = strips.len();
            if before > MOST {
                break;
            }
            macro_rules! lists {
                ($($field:ident),*) => {$(
                    strips = join(
                        strips,
                        |strip| strip.$field.clear(),
                        |strip, other| add(&mut strip.$field, &other.$field),
                    );
                )*};
            }
            lists!(src, dst, dport, sport, input, output);
            strips = join(
                strips,
                |strip| strip.protos = Bytes::NONE,
                |strip, other| strip.protos = strip.protos.or(other.protos),
            );
            strips = join(
                strips,
                |strip| strip.ct = 0,
                |strip, other| strip.ct |= other.ct,
            );
            strips = join(
                strips,
                |strip| strip.flags = Bytes::NONE,
                |strip, other| strip.flags = strip.flags.or(other.flags),
            );
            if strips.len() == before {
                break;
            }
        }
        strips.sort_by_key(|strip| strip.known.len());
        strips
    }

    pub(super) fn line(&self, family: Family, path: Path, book: &Book) -> Line {
        let when = self.known.iter().map(|(question, answer)| {
            let words = book.words(*question);
            if *answer {
                words.to_owned()
            } else {
                format!("not ({words})")
            }
        });
        Line {
            text: words::text(self, family == Family::V6, path),
            when: when.collect(),
        }
    }
}

/// Puts those together that are the same but for one field.
fn join(
    strips: Vec<Strip>,
    blank: impl Fn(&mut Strip),
    add: impl Fn(&mut Strip, &Strip),
) -> Vec<Strip> {
    let mut known: HashMap<Strip, usize> = HashMap::new();
    let mut joined: Vec<Strip> = Vec::new();
    for strip in strips {
        let mut key = strip.clone();
        blank(&mut key);
        let next = joined.len();
        let at = *known.entry(key).or_insert(next);
        match joined.get_mut(at) {
            Some(own) => add(own, &strip),
            None => joined.push(strip),
        }
    }
    joined
}

/// Both lists as one, in order, neighbours as one span.
fn add<T: Number>(own: &mut Vec<Span<T>>, other: &[Span<T>]) {
    own.extend_from_slice(other);
    own.sort();
    let mut merged: Vec<Span<T>> = Vec::new();
    for span in own.drain(..) {
        match merged.last_mut() {
            Some(last) if last.last.after().is_none_or(|next| span.first <= next) => {
                last.last = last.last.max(span.last);
            }
            _ => merged.push(span),
        }
    }
    *own = merged;
}
