//! Sets of packets, exact and bounded.
//!
//! A set is a list of [`Cube`](cube::Cube)s: one span or one set of values for each thing that a header
//! says (addresses, ports, protocol, interfaces, flags, the connection's state); or of [`Area`](area::Area)s, with
//! lists of spans, where a set is carried through many rules. What a condition asks of
//! those it becomes exactly ([`ask`]). What it asks of anything else (a mark, an ipset, a limit) becomes an
//! [`Atom`](ask::Ask::Atom): a question of its own that is answered yes or no for each packet, whatever its
//! header says. A set with atoms is as exact as one without; only what it is called differs: "when the mark
//! is 1". Nothing is rounded up or down anywhere, so no claim has to be taken back.
//!
//! It does not know rules or chains; `shadow` and `sweep` put sets through them. Work is theirs to bound.

pub(super) mod area;
pub(super) mod ask;
pub(super) mod cube;
pub(super) mod index;
pub(super) mod lasts;
pub(super) mod region;
