//! Packets told by lists: like a [`Cube`], with several spans where that has one.
//!
//! Taking a network away from all sources leaves one area where it leaves two boxes, and taking away a
//! thousand still leaves one. That keeps what a long chain lets through in few pieces, and is how people
//! say it. It costs more for each piece, so those who look at one piece only use boxes.
//!
//! Lists are shared between areas: most pieces of a set differ in one of them.

use std::sync::Arc;

use super::cube::{Bytes, Cube, Number, Span};

/// Spans in order, at least one, with something between each two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct List<T>(Arc<[Span<T>]>);

impl<T: Number> List<T> {
    pub(in super::super) fn one(span: Span<T>) -> Self {
        Self(Arc::from([span]))
    }

    pub(in super::super) fn spans(&self) -> &[Span<T>] {
        &self.0
    }

    /// The only value, where there is only one.
    pub(in super::super) fn point(&self) -> Option<T> {
        match self.spans() {
            [one] if one.first == one.last => Some(one.first),
            _ => None,
        }
    }

    pub(in super::super) fn holds(&self, value: T) -> bool {
        let after = self.0.partition_point(|span| span.last < value);
        self.0.get(after).is_some_and(|span| span.first <= value)
    }

    fn from(spans: Vec<Span<T>>) -> Option<Self> {
        (!spans.is_empty()).then(|| Self(spans.into()))
    }

    pub(in super::super) fn meets(&self, other: &Self) -> bool {
        // The shorter list is looked up in the longer one.
        let (few, many) = if self.0.len() < other.0.len() {
            (&self.0, &other.0)
        } else {
            (&other.0, &self.0)
        };
        few.iter().any(|span| {
            let after = many.partition_point(|own| own.last < span.first);
            many.get(after).is_some_and(|own| own.first <= span.last)
        })
    }

    pub(in super::super) fn is_within(&self, other: &Self) -> bool {
        self.0.iter().all(|span| {
            let after = other.0.partition_point(|own| own.last < span.first);
            other.0.get(after).is_some_and(|own| span.is_within(*own))
        })
    }

    /// What both hold.
    fn and(&self, other: &Self) -> Option<Self> {
        if self.is_within(other) {
            return Some(self.clone());
        }
        let mut both = Vec::new();
        let (mut own, mut others) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(one), Some(two)) = (own.peek(), others.peek()) {
            if one.meets(**two) {
                both.push(Span::new(one.first.max(two.first), one.last.min(two.last)));
            }
            if one.last < two.last {
                own.next();
            } else {
                others.next();
            }
        }
        Self::from(both)
    }

    /// What the other leaves.
    fn without(&self, other: &Self) -> Option<Self> {
        if !self.meets(other) {
            return Some(self.clone());
        }
        let mut left = Vec::new();
        let mut others = other.0.iter().peekable();
        for span in self.0.iter() {
            let mut first = Some(span.first);
            while let (Some(from), Some(gap)) = (first, others.peek()) {
                if gap.last < from {
                    others.next();
                    continue;
                }
                if gap.first > span.last {
                    break;
                }
                if let Some(before) = gap.first.before().filter(|_| from < gap.first) {
                    left.push(Span::new(from, before));
                }
                first = gap.last.after().filter(|next| *next <= span.last);
            }
            left.extend(first.map(|from| Span::new(from, span.last)));
        }
        Self::from(left)
    }

    /// What either holds.
    pub(in super::super) fn or(&self, other: &Self) -> Self {
        let mut spans = [&*self.0, &*other.0].concat();
        spans.sort_unstable();
        let mut merged: Vec<Span<T>> = Vec::with_capacity(spans.len());
        for span in spans {
            match merged.last_mut() {
                Some(last) if last.last.after().is_none_or(|next| span.first <= next) => {
                    last.last = last.last.max(span.last);
                }
                _ => merged.push(span),
            }
        }
        Self(merged.into())
    }

    /// The smallest span that holds all.
    fn around(&self) -> Option<Span<T>> {
        Some(Span::new(self.0.first()?.first, self.0.last()?.last))
    }
}

/// See the file's essay. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct Area {
    pub src: List<u128>,
    pub dst: List<u128>,
    pub input: List<u128>,
    pub output: List<u128>,
    /// Source port, or ICMP type.
    pub sport: List<u16>,
    /// Destination port, or ICMP code.
    pub dport: List<u16>,
    pub protos: Bytes,
    pub flags: Bytes,
    pub ct: u8,
    pub pieces: u8,
}

impl Area {
    pub(in super::super) fn of(cube: &Cube) -> Self {
        Self {
            src: List::one(cube.src),
            dst: List::one(cube.dst),
            input: List::one(cube.input),
            output: List::one(cube.output),
            sport: List::one(cube.sport),
            dport: List::one(cube.dport),
            protos: cube.protos,
            flags: cube.flags,
            ct: cube.ct,
            pieces: cube.pieces,
        }
    }

    pub(in super::super) fn all(v6: bool) -> Self {
        Self::of(&Cube::all(v6))
    }

    /// Boxes that do not overlap, in fewer areas: those that differ in one thing become one.
    pub(in super::super) fn of_all(cubes: &[Cube]) -> Vec<Self> {
        let mut areas: Vec<Self> = Vec::new();
        for cube in cubes {
            let area = Self::of(cube);
            let joined = areas.iter_mut().any(|own| own.join(&area));
            if !joined {
                areas.push(area);
            }
        }
        areas
    }

    /// Becomes both, if they differ in one list only.
    fn join(&mut self, other: &Self) -> bool {
        macro_rules! lists {
            ($($field:ident),*) => {$({
                let with = Self { $field: other.$field.clone(), ..self.clone() };
                if with == *other {
                    self.$field = self.$field.or(&other.$field);
                    return true;
                }
            })*};
        }
        lists!(input, output, src, dst, dport, sport);
        false
    }

    /// How many spans it is made of: what handling it costs.
    pub(in super::super) fn size(&self) -> usize {
        let wide = [&self.src, &self.dst, &self.input, &self.output];
        let spans: usize = wide.iter().map(|list| list.0.len()).sum();
        spans + self.sport.0.len() + self.dport.0.len()
    }

    pub(in super::super) fn meets(&self, other: &Self) -> bool {
        self.ct & other.ct != 0
            && self.pieces & other.pieces != 0
            && self.protos.meets(other.protos)
            && self.dport.meets(&other.dport)
            && self.src.meets(&other.src)
            && self.dst.meets(&other.dst)
            && self.sport.meets(&other.sport)
            && self.input.meets(&other.input)
            && self.output.meets(&other.output)
            && self.flags.meets(other.flags)
    }

    /// What both hold.
    pub(in super::super) fn and(&self, other: &Self) -> Option<Self> {
        if !self.meets(other) {
            return None;
        }
        Some(Self {
            src: self.src.and(&other.src)?,
            dst: self.dst.and(&other.dst)?,
            input: self.input.and(&other.input)?,
            output: self.output.and(&other.output)?,
            sport: self.sport.and(&other.sport)?,
            dport: self.dport.and(&other.dport)?,
            protos: self.protos.and(other.protos),
            flags: self.flags.and(other.flags),
            ct: self.ct & other.ct,
            pieces: self.pieces & other.pieces,
        })
    }

    /// Hands over, in areas that do not overlap, what the other leaves of this one.
    pub(in super::super) fn minus(&self, other: &Self, mut each: impl FnMut(Self)) {
        let Some(both) = self.and(other) else {
            each(self.clone());
            return;
        };
        let mut rest = self.clone();
        let left = rest.protos.without(both.protos);
        if !left.is_empty() {
            each(Self {
                protos: left,
                ..rest.clone()
            });
        }
        rest.protos = both.protos;
        if rest.pieces & !both.pieces != 0 {
            each(Self {
                pieces: rest.pieces & !both.pieces,
                ..rest.clone()
            });
        }
        rest.pieces = both.pieces;
        if rest.ct & !both.ct != 0 {
            each(Self {
                ct: rest.ct & !both.ct,
                ..rest.clone()
            });
        }
        rest.ct = both.ct;
        macro_rules! lists {
            ($($field:ident),*) => {$(
                if let Some(left) = rest.$field.without(&both.$field) {
                    each(Self { $field: left, ..rest.clone() });
                }
                rest.$field = both.$field;
            )*};
        }
        lists!(input, output, src, dst, dport, sport);
        let left = rest.flags.without(both.flags);
        if !left.is_empty() {
            each(Self {
                flags: left,
                ..rest
            });
        }
    }

    /// The smallest box that holds all of it.
    pub(in super::super) fn around(&self) -> Option<Cube> {
        Some(Cube {
            src: self.src.around()?,
            dst: self.dst.around()?,
            input: self.input.around()?,
            output: self.output.around()?,
            sport: self.sport.around()?,
            dport: self.dport.around()?,
            protos: self.protos,
            flags: self.flags,
            ct: self.ct,
            pieces: self.pieces,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A list by the bits of a number: values 0 to 63.
    fn list(bits: u64) -> Option<List<u16>> {
        let one = |at: u16| (bits >> at & 1 == 1).then(|| List::one(Span::point(at)));
        (0..64).filter_map(one).reduce(|all, one| all.or(&one))
    }

    fn bits(list: Option<&List<u16>>) -> u64 {
        let Some(list) = list else { return 0 };
        let all = list.spans();
        assert!(all.windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
        (0..64)
            .filter(|at| list.holds(*at))
            .fold(0, |bits, at| bits | 1 << at)
    }

    proptest! {
        /// Lists are sets of numbers.
        #[test]
        fn lists_are_sets(one in 1..u64::MAX, other in 1..u64::MAX, sparse in any::<bool>()) {
            let other = if sparse { other & other.rotate_left(7) & other.rotate_left(21) | 1 } else { other };
            let (a, b) = (list(one).unwrap(), list(other).unwrap());
            prop_assert_eq!(bits(Some(&a)), one);
            prop_assert_eq!(bits(a.and(&b).as_ref()), one & other);
            prop_assert_eq!(bits(a.without(&b).as_ref()), one & !other);
            prop_assert_eq!(bits(Some(&a.or(&b))), one | other);
            prop_assert_eq!(a.meets(&b), one & other != 0);
            prop_assert_eq!(a.is_within(&b), one & !other == 0);
        }
    }

    #[test]
    fn one_area_is_left_where_boxes_fall_apart() {
        let all = Cube::all(false);
        let mut left = vec![Area::all(false)];
        for net in 0..100_u128 {
            let taken = Area::of(&Cube {
                src: Span::point(net * 7 + 1),
                ..all
            });
            let mut rest = Vec::new();
            for own in &left {
                own.minus(&taken, |area| rest.push(area));
            }
            left = rest;
        }
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].src.spans().len(), 101);
        let around = Cube {
            input: Span::point(7),
            ..all
        };
        let mut outside = Vec::new();
        all.minus(&around, |cube| outside.push(cube));
        assert_eq!(Area::of_all(&outside).len(), 1);
    }
}
