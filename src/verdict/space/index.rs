//! Many boxes, and which of them hold a packet.
//!
//! Boxes are sorted by their shape: how many leading bits of each address, port and name they fix, and
//! whether they name one protocol. All boxes of a shape that fix the same bits lie in one list, and one
//! look into a hash table finds it. A question costs one look for each shape, of which real rulesets have
//! a dozen or two, however many rules they have. (Srinivasan, Suri, Varghese, "Packet Classification using
//! Tuple Space Search", 1999.) Where there are more shapes than that, new boxes are put down by fewer bits.
//!
//! Boxes come in the order of their rules; a question may be limited to those before one of them.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::FixedState;

use super::cube::{Cube, Point, Span};

/// Fewer boxes than this are looked through one by one.
const FEW: usize = 24;

/// Shapes up to which every bit counts, and up to which any does.
const SHAPES: [usize; 2] = [48, 160];

/// Boxes of one list that a question looks at; duplicates are never put in, so that lists are short.
const LIST: usize = 256;

const NOBODY: u32 = u32::MAX;

/// Leading bits that a box fixes: source, destination, input, output; then ports; then the protocol, and
/// the question that it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Shape {
    wide: [u8; 4],
    ports: [u8; 2],
    proto: bool,
    asks: bool,
}

/// One box.
#[derive(Clone, Debug)]
pub(in super::super) struct Entry {
    pub cube: Cube,
    /// The rule that sends its packets away.
    pub at: u32,
    /// The rule to name for that: the same, or one of the chain that it calls.
    pub by: u32,
    /// Questions that the rule asks, as numbers; packets that are not known to answer them so are not its.
    pub atoms: Box<[u32]>,
    /// The one before it in its list.
    next: u32,
}

/// See the file's essay.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Index {
    entries: Vec<Entry>,
    shapes: Vec<Shape>,
    known: HashMap<Shape, usize, FixedState>,
    lists: HashMap<u64, u32, FixedState>,
    /// How many entries are in the lists.
    sorted: usize,
}

impl Index {
    /// The boxes that the rule at `at` sends away.
    pub(in super::super) fn of_rule(&self, at: u32) -> impl Iterator<Item = &Entry> {
        let first = self.entries.partition_point(|entry| entry.at < at);
        let rest = self.entries.get(first..).unwrap_or_default();
        rest.iter().take_while(move |entry| entry.at == at)
    }

    /// Adds a box of a rule that comes after all before.
    pub(in super::super) fn add(&mut self, cube: Cube, (at, by): (u32, u32), atoms: &[u32]) {
        self.entries.push(Entry {
            cube,
            at,
            by,
            atoms: atoms.into(),
            next: NOBODY,
        });
        if self.entries.len() > FEW {
            self.sort();
        }
    }

    fn sort(&mut self) {
        for number in self.sorted..self.entries.len() {
            let Some(entry) = self.entries.get(number) else {
                break;
            };
            let shape = self.shape(entry);
            let count = self.shapes.len();
            let at = *self.known.entry(shape).or_insert(count);
            if at == count {
                self.shapes.push(shape);
            }
            let asked = entry.atoms.first().copied();
            let key = shape.key(at, &Corner::of(&entry.cube), asked);
            let number = u32::try_from(number).unwrap_or(NOBODY);
            let next = self.lists.insert(key, number).unwrap_or(NOBODY);
            if let Some(entry) = self.entries.get_mut(number as usize) {
                entry.next = next;
            }
        }
        self.sorted = self.entries.len();
    }

    fn shape(&self, entry: &Entry) -> Shape {
        let cube = &entry.cube;
        let [every, any] = SHAPES;
        let step = match self.shapes.len() {
            few if few < every => 1,
            some if some < any => 8,
            _ => 128,
        };
        let whole = |bits: u32, step: u32| u8::try_from(bits - bits % step).unwrap_or(0);
        let wide = |span: Span<u128>, step: u32| whole(shared(span), step);
        let port = |span: Span<u16>| {
            let bits = (span.first ^ span.last).leading_zeros();
            whole(bits, if step == 1 { 4 } else { 16 })
        };
        Shape {
            wide: [
                wide(cube.src, step),
                wide(cube.dst, step),
                // Names are fixed by whole bytes.
                wide(cube.input, step.max(8)),
                wide(cube.output, step.max(8)),
            ],
            ports: [port(cube.sport), port(cube.dport)],
            proto: cube.protos.only().is_some(),
            asks: !entry.atoms.is_empty(),
        }
    }

    /// Hands over the boxes before rule `before` that hold the packet and ask nothing but `atoms`, until
    /// `each` says that it has enough. False when a list was too long to be looked through.
    pub(in super::super) fn find(
        &self,
        point: &Point,
        atoms: &[u32],
        before: u32,
        mut each: impl FnMut(&Entry) -> bool,
    ) -> bool {
        let fits = |entry: &Entry| {
            entry.at < before
                && entry.cube.holds(point)
                && entry.atoms.iter().all(|atom| atoms.contains(atom))
        };
        if self.sorted == 0 {
            for entry in self.entries.iter().filter(|entry| fits(entry)) {
                if each(entry) {
                    return true;
                }
            }
            return true;
        }
        let corner = Corner::at(point);
        let mut all = true;
        for (at, shape) in self.shapes.iter().enumerate() {
            let asked: &[u32] = if shape.asks { atoms } else { &[] };
            let asked = asked.iter().copied().map(Some);
            let nothing = (!shape.asks).then_some(None);
            for first in asked.chain(nothing) {
                let mut next = self.lists.get(&shape.key(at, &corner, first)).copied();
                let mut looked = 0;
                while let Some(entry) = next.and_then(|at| self.entries.get(at as usize)) {
                    if fits(entry) && each(entry) {
                        return true;
                    }
                    looked += 1;
                    if looked > LIST {
                        all = false;
                        break;
                    }
                    next = Some(entry.next);
                }
            }
        }
        all
    }
}

/// Leading bits that all values of a span share.
fn shared(span: Span<u128>) -> u32 {
    (span.first ^ span.last).leading_zeros()
}

/// The values that shapes take bits of.
struct Corner {
    wide: [u128; 4],
    ports: [u16; 2],
    proto: u8,
}

impl Corner {
    fn of(cube: &Cube) -> Self {
        Self {
            wide: [
                cube.src.first,
                cube.dst.first,
                cube.input.first,
                cube.output.first,
            ],
            ports: [cube.sport.first, cube.dport.first],
            proto: cube.protos.only().unwrap_or(0),
        }
    }

    fn at(point: &Point) -> Self {
        Self {
            wide: [point.src, point.dst, point.input, point.output],
            ports: [point.sport, point.dport],
            proto: point.proto,
        }
    }
}

impl Shape {
    fn key(self, number: usize, corner: &Corner, asked: Option<u32>) -> u64 {
        let mut hasher = FixedState::default().build_hasher();
        number.hash(&mut hasher);
        for (bits, value) in self.wide.iter().zip(corner.wide) {
            if *bits > 0 {
                (value >> (128 - u32::from(*bits))).hash(&mut hasher);
            }
        }
        for (bits, value) in self.ports.iter().zip(corner.ports) {
            if *bits > 0 {
                (value >> (16 - u32::from(*bits))).hash(&mut hasher);
            }
        }
        if self.proto {
            corner.proto.hash(&mut hasher);
        }
        asked.hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::verdict::space::cube::Bytes;

    fn cube() -> impl Strategy<Value = Cube> {
        let net = (any::<u32>(), 0..33_u32).prop_map(|(address, width)| {
            let host = u32::MAX.checked_shr(width).unwrap_or(0);
            Span::new(
                (address & !host & 0x0300_0003).into(),
                (address & 0x0300_0003 | host).into(),
            )
        });
        let port = (0..40_u16, 0..4_u16).prop_map(|(port, more)| Span::new(port, port + more));
        (net.clone(), net, port, 0..4_u8).prop_map(|(src, dst, dport, proto)| Cube {
            src,
            dst,
            dport,
            protos: if proto == 0 {
                Bytes::ALL
            } else {
                Bytes::one(proto)
            },
            ..Cube::all(false)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// The index finds what looking through all boxes finds, whatever their shapes.
        #[test]
        fn what_holds_a_packet_is_found(
            cubes in proptest::collection::vec((cube(), 0..3_u32), 1..400),
            seeds in any::<[u64; 20]>(),
        ) {
            let mut index = Index::default();
            for (at, (cube, atom)) in (0..).zip(&cubes) {
                let atoms: &[u32] = if *atom == 0 { &[] } else { &[*atom] };
                index.add(*cube, (at, at), atoms);
            }
            let before = u32::try_from(cubes.len() * 3 / 4).unwrap();
            for seed in seeds {
                let (cube, _) = cubes[usize::try_from(seed % 1000).unwrap() % cubes.len()];
                let point = cube.some(seed);
                let mut found = Vec::new();
                let all = index.find(&point, &[2], before, |entry| {
                    found.push(entry.at);
                    false
                });
                prop_assert!(all);
                found.sort_unstable();
                let wanted: Vec<u32> = (0..before)
                    .zip(&cubes)
                    .filter(|(_, (cube, atom))| cube.holds(&point) && matches!(atom, 0 | 2))
                    .map(|(at, _)| at)
                    .collect();
                prop_assert_eq!(found, wanted);
            }
        }
    }
}
