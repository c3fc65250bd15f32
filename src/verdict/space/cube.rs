//! The packets between two corners: one span, or one set of values, for each thing that a header says.
//!
//! Interface names are numbers as everywhere in this room, so that `eth+` is a span of names and "any
//! other" needs no list of names. Ports share their place with ICMP's type and code: no packet has both,
//! and every condition on either asks for the protocol too. Of a protocol that has neither, the place
//! means nothing, and a set holds all or none of it.
//!
//! Fragments after the first come twice: what nft does with a port question on them differs between
//! kernels. One copy stands for those that compare the bytes that lie there, the other for those that say
//! no; a claim has to hold for both.

use crate::verdict::state::ct;

/// Values from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in super::super) struct Span<T> {
    pub first: T,
    pub last: T,
}

/// A number that a span can be made of.
pub(in super::super) trait Number: Copy + Ord {
    fn before(self) -> Option<Self>;
    fn after(self) -> Option<Self>;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Number for $type {
            fn before(self) -> Option<Self> {
                self.checked_sub(1)
            }
            fn after(self) -> Option<Self> {
                self.checked_add(1)
            }
        }
    )*};
}
number!(u16, u128);

impl<T: Number> Span<T> {
    pub(in super::super) fn new(first: T, last: T) -> Self {
        Self { first, last }
    }

    pub(in super::super) fn point(value: T) -> Self {
        Self::new(value, value)
    }

    pub(in super::super) fn holds(self, value: T) -> bool {
        self.first <= value && value <= self.last
    }

    pub(in super::super) fn is_within(self, other: Self) -> bool {
        other.first <= self.first && self.last <= other.last
    }

    pub(in super::super) fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// What both hold; only asked of spans that meet.
    fn and(self, other: Self) -> Self {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// What is left below and above the other.
    fn around(self, other: Self) -> [Option<Self>; 2] {
        let below = other.first.before().filter(|_| self.first < other.first);
        let above = other.last.after().filter(|_| other.last < self.last);
        [
            below.map(|last| Self::new(self.first, last.min(self.last))),
            above.map(|first| Self::new(first.max(self.first), self.last)),
        ]
    }

    /// The values of `self` that are in none of the others.
    pub(in super::super) fn without(self, others: &[Self]) -> Vec<Self> {
        let mut left = vec![self];
        for other in others {
            left = left
                .into_iter()
                .flat_map(|span| {
                    if span.meets(*other) {
                        span.around(*other)
                    } else {
                        [Some(span), None]
                    }
                })
                .flatten()
                .collect();
        }
        left
    }
}

/// A set of bytes: protocols, or flag bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct Bytes([u64; 4]);

impl Bytes {
    pub(in super::super) const ALL: Self = Self([u64::MAX; 4]);
    pub(in super::super) const NONE: Self = Self([0; 4]);

    pub(in super::super) fn one(value: u8) -> Self {
        let mut bits = Self::NONE;
        bits.add(value);
        bits
    }

    pub(in super::super) fn add(&mut self, value: u8) {
        if let Some(word) = self.0.get_mut(usize::from(value >> 6)) {
            *word |= 1 << (value & 63);
        }
    }

    /// Those for which `test` holds.
    pub(in super::super) fn those(test: impl Fn(u8) -> bool) -> Self {
        let mut bits = Self::NONE;
        (0..=u8::MAX)
            .filter(|value| test(*value))
            .for_each(|value| bits.add(value));
        bits
    }

    pub(in super::super) fn holds(self, value: u8) -> bool {
        let word = self.0.get(usize::from(value >> 6)).copied();
        word.unwrap_or_default() & (1 << (value & 63)) != 0
    }

    pub(in super::super) fn and(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    pub(in super::super) fn or(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    pub(in super::super) fn without(self, other: Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|i| with(self.0[i], other.0[i])))
    }

    pub(in super::super) fn is_empty(self) -> bool {
        self == Self::NONE
    }

    pub(in super::super) fn is_within(self, other: Self) -> bool {
        self.without(other).is_empty()
    }

    pub(in super::super) fn meets(self, other: Self) -> bool {
        !self.and(other).is_empty()
    }

    pub(in super::super) fn count(self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Its values in order.
    pub(in super::super) fn iter(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |value| self.holds(*value))
    }

    /// The only value, if it has one only.
    pub(in super::super) fn only(self) -> Option<u8> {
        let mut bit = None;
        for (at, word) in (0_u8..).zip(self.0) {
            if word == 0 {
                continue;
            }
            if bit.is_some() || !word.is_power_of_two() {
                return None;
            }
            bit = u8::try_from(word.trailing_zeros())
                .ok()
                .map(|low| at * 64 + low);
        }
        bit
    }

    /// The value after so many others, counted round.
    fn nth(self, number: u64) -> u8 {
        let mut left = u32::try_from(number % u64::from(self.count().max(1))).unwrap_or(0);
        for (at, word) in (0_u8..).zip(self.0) {
            let ones = word.count_ones();
            if left >= ones {
                left -= ones;
                continue;
            }
            let mut word = word;
            for _ in 0..left {
                word &= word - 1;
            }
            return at * 64 + u8::try_from(word.trailing_zeros()).unwrap_or(0);
        }
        0
    }
}

/// The parts of a datagram that rules tell apart.
pub(in super::super) mod piece {
    /// All of it, or its first fragment.
    pub const WHOLE: u8 = 1;
    /// A later fragment where its bytes are compared as if they were ports.
    pub const COMPARED: u8 = 2;
    /// A later fragment that no question about ports is true of.
    pub const REFUSED: u8 = 4;
    pub const ANY: u8 = 7;
}

/// One box of packets. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct Cube {
    pub src: Span<u128>,
    pub dst: Span<u128>,
    pub input: Span<u128>,
    pub output: Span<u128>,
    /// Source port, or ICMP type.
    pub sport: Span<u16>,
    /// Destination port, or ICMP code.
    pub dport: Span<u16>,
    pub protos: Bytes,
    /// TCP's flag byte.
    pub flags: Bytes,
    /// States of [`ct`].
    pub ct: u8,
    /// Of [`piece`].
    pub pieces: u8,
}

/// One packet as a point of that space. `ct` and `piece` are one bit.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Point {
    pub src: u128,
    pub dst: u128,
    pub input: u128,
    pub output: u128,
    pub sport: u16,
    pub dport: u16,
    pub proto: u8,
    pub flags: u8,
    pub ct: u8,
    pub piece: u8,
}

impl Cube {
    /// Every packet of the family.
    pub(in super::super) fn all(v6: bool) -> Self {
        let addresses = Span::new(0, if v6 { u128::MAX } else { u32::MAX.into() });
        let names = Span::new(0, u128::MAX);
        let ports = Span::new(0, u16::MAX);
        Self {
            src: addresses,
            dst: addresses,
            input: names,
            output: names,
            sport: ports,
            dport: ports,
            protos: Bytes::ALL,
            flags: Bytes::ALL,
            ct: ct::ANY,
            pieces: piece::ANY,
        }
    }

    pub(in super::super) fn holds(&self, point: &Point) -> bool {
        self.protos.holds(point.proto)
            && self.src.holds(point.src)
            && self.dst.holds(point.dst)
            && self.dport.holds(point.dport)
            && self.sport.holds(point.sport)
            && self.ct & point.ct != 0
            && self.pieces & point.piece != 0
            && self.input.holds(point.input)
            && self.output.holds(point.output)
            && self.flags.holds(point.flags)
    }

    pub(in super::super) fn meets(&self, other: &Self) -> bool {
        self.src.meets(other.src)
            && self.dst.meets(other.dst)
            && self.dport.meets(other.dport)
            && self.sport.meets(other.sport)
            && self.ct & other.ct != 0
            && self.pieces & other.pieces != 0
            && self.protos.meets(other.protos)
            && self.input.meets(other.input)
            && self.output.meets(other.output)
            && self.flags.meets(other.flags)
    }

    pub(in super::super) fn is_within(&self, other: &Self) -> bool {
        self.src.is_within(other.src)
            && self.dst.is_within(other.dst)
            && self.dport.is_within(other.dport)
            && self.sport.is_within(other.sport)
            && self.ct & !other.ct == 0
            && self.pieces & !other.pieces == 0
            && self.protos.is_within(other.protos)
            && self.input.is_within(other.input)
            && self.output.is_within(other.output)
            && self.flags.is_within(other.flags)
    }

    /// Becomes the smallest box that holds both.
    pub(in super::super) fn widen(&mut self, other: &Self) {
        macro_rules! spans {
            ($($field:ident),*) => {$(
                self.$field.first = self.$field.first.min(other.$field.first);
                self.$field.last = self.$field.last.max(other.$field.last);
            )*};
        }
        spans!(src, dst, input, output, sport, dport);
        self.protos = self.protos.or(other.protos);
        self.flags = self.flags.or(other.flags);
        self.ct |= other.ct;
        self.pieces |= other.pieces;
    }

    /// What both hold.
    pub(in super::super) fn and(&self, other: &Self) -> Option<Self> {
        self.meets(other).then(|| Self {
            src: self.src.and(other.src),
            dst: self.dst.and(other.dst),
            input: self.input.and(other.input),
            output: self.output.and(other.output),
            sport: self.sport.and(other.sport),
            dport: self.dport.and(other.dport),
            protos: self.protos.and(other.protos),
            flags: self.flags.and(other.flags),
            ct: self.ct & other.ct,
            pieces: self.pieces & other.pieces,
        })
    }

    /// Hands over, in boxes that do not overlap, what the other leaves of this one.
    pub(in super::super) fn minus(&self, other: &Self, mut each: impl FnMut(Self)) {
        if !self.meets(other) {
            each(*self);
            return;
        }
        let mut rest = *self;
        macro_rules! values {
            ($($field:ident),*) => {$(
                let left = rest.$field.without(other.$field);
                if !left.is_empty() {
                    each(Self { $field: left, ..rest });
                }
                rest.$field = rest.$field.and(other.$field);
            )*};
        }
        macro_rules! bits {
            ($($field:ident),*) => {$(
                let left = rest.$field & !other.$field;
                if left != 0 {
                    each(Self { $field: left, ..rest });
                }
                rest.$field &= other.$field;
            )*};
        }
        macro_rules! spans {
            ($($field:ident),*) => {$(
                for left in rest.$field.around(other.$field).into_iter().flatten() {
                    each(Self { $field: left, ..rest });
                }
                rest.$field = rest.$field.and(other.$field);
            )*};
        }
        // Those that few rules ask for come first: what is left then stays in few, big boxes.
        values!(protos);
        bits!(pieces, ct);
        spans!(input, output, src, dst, dport, sport);
        let left = rest.flags.without(other.flags);
        if !left.is_empty() {
            each(Self {
                flags: left,
                ..rest
            });
        }
    }

    /// One packet of it; another for each `seed`, from anywhere in it.
    pub(in super::super) fn some(&self, seed: u64) -> Point {
        let mut dice = seed;
        let mut roll = || {
            // SplitMix64: spreads a counter over all bits.
            dice = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = dice;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let mut wide = |span: Span<u128>| {
            let random = u128::from(roll()) << 64 | u128::from(roll());
            let size = (span.last - span.first).checked_add(1);
            size.map_or(random, |size| span.first + random % size)
        };
        let (src, dst) = (wide(self.src), wide(self.dst));
        let (input, output) = (wide(self.input), wide(self.output));
        let mut port = |span: Span<u16>| {
            let size = u64::from(span.last - span.first) + 1;
            span.first + u16::try_from(roll() % size).unwrap_or(0)
        };
        let (sport, dport) = (port(self.sport), port(self.dport));
        Point {
            src,
            dst,
            input,
            output,
            sport,
            dport,
            proto: self.protos.nth(roll()),
            flags: self.flags.nth(roll()),
            ct: pick(self.ct, roll()),
            piece: pick(self.pieces, roll()),
        }
    }
}

/// One bit of several.
fn pick(bits: u8, number: u64) -> u8 {
    1 << Bytes([bits.into(), 0, 0, 0]).nth(number)
}

#[cfg(test)]
mod tests;
