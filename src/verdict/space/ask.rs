//! What a condition asks, as a set: boxes of headers, and at most one question beside.
//!
//! Boxes and question together are exact: a packet meets the condition when it is in one of the boxes and
//! the answer is yes. Whoever puts sets through rules has to know how long an answer lasts ([`Lasts`]):
//! until a target changes what is looked at, or not even to the next rule.

use crate::ruleset::spec::Ports;
use crate::ruleset::spec::matches::{Multiport, PortSide};
use crate::verdict::cond::{Bytes as BytesOf, Cond, End, Odd, StateTest};
use crate::verdict::program::Program;
use crate::verdict::state::ct;

use super::area::Area;
use super::cube::{Bytes, Cube, Span, piece};
use super::lasts::{Lasts, looks};

/// A question that no box can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Atom {
    /// Tells it from all other questions.
    pub key: String,
    /// The answer that is wanted.
    pub wanted: bool,
    pub lasts: Lasts,
}

/// See the file's essay.
#[derive(Clone, Debug)]
pub(in super::super) struct Ask {
    /// Boxes that do not overlap; `None` is every packet.
    pub cubes: Option<Vec<Cube>>,
    pub atom: Option<Atom>,
}

impl Ask {
    const ALWAYS: Self = Self {
        cubes: None,
        atom: None,
    };

    fn cubes(cubes: Vec<Cube>) -> Self {
        Self {
            cubes: Some(cubes),
            atom: None,
        }
    }

    pub(super) fn atom(key: &Cond, wanted: bool, lasts: Lasts) -> Self {
        Self {
            cubes: None,
            atom: Some(Atom {
                key: format!("{key:?}"),
                wanted,
                lasts,
            }),
        }
    }
}

/// The same with areas in the place of boxes, for a condition that is put to many sets.
#[derive(Clone, Debug)]
pub(in super::super) struct WideAsk {
    pub areas: Option<Vec<Area>>,
    pub atom: Option<Atom>,
}

impl WideAsk {
    pub(in super::super) fn of(cond: &Cond, v6: bool) -> Self {
        let asked = ask(cond, v6);
        Self {
            areas: asked.cubes.map(|cubes| Area::of_all(&cubes)),
            atom: asked.atom,
        }
    }
}

/// Protocols whose header begins with ports.
fn with_ports() -> Bytes {
    let mut protos = Bytes::NONE;
    for proto in [6, 17, 33, 132, 136] {
        protos.add(proto);
    }
    protos
}

/// The question of a condition of a program of that family.
pub(in super::super) fn ask(cond: &Cond, v6: bool) -> Ask {
    let all = Cube::all(v6);
    match cond {
        Cond::Proto { number, invert } => {
            let one = Bytes::one(*number);
            let protos = if *invert {
                Bytes::ALL.without(one)
            } else {
                one
            };
            Ask::cubes(vec![Cube { protos, ..all }])
        }
        Cond::Header(number) => Ask::cubes(vec![Cube {
            protos: Bytes::one(*number),
            pieces: piece::WHOLE,
            ..all
        }]),
        Cond::Net {
            end,
            bits,
            mask,
            invert,
        } => match masked(*bits, *mask, all.src) {
            Some(span) => addresses(&all, *end, &[span], *invert),
            None => Ask::atom(
                &Cond::Net {
                    end: *end,
                    bits: *bits,
                    mask: *mask,
                    invert: false,
                },
                !invert,
                Lasts::Change(looks::ADDRESSES),
            ),
        },
        Cond::Range {
            end,
            first,
            last,
            invert,
        } if first <= last => addresses(&all, *end, &[Span::new(*first, *last)], *invert),
        Cond::Range { invert: true, .. } => Ask::ALWAYS,
        Cond::Never(_) | Cond::Range { .. } => Ask::cubes(Vec::new()),
        Cond::Iface {
            out,
            bits,
            mask,
            invert,
        } => interface(&all, *out, (*bits, *mask), *invert),
        Cond::Fragment { invert } => {
            let later = piece::COMPARED | piece::REFUSED;
            let pieces = if *invert { piece::WHOLE } else { later };
            Ask::cubes(vec![Cube { pieces, ..all }])
        }
        Cond::Port { end, ports, invert } => {
            let readable = Cube {
                pieces: piece::WHOLE | piece::COMPARED,
                ..all
            };
            ports_of(&readable, *end, &[*ports], *invert)
        }
        Cond::Ports(test) => multiport(&all, test),
        Cond::Flags { mask, set, invert } => Ask::cubes(vec![Cube {
            flags: Bytes::those(|flags| (flags & mask == *set) != *invert),
            pieces: piece::WHOLE | piece::COMPARED,
            ..all
        }]),
        Cond::Icmp { kind, code, invert } => icmp(&all, *kind, *code, *invert),
        Cond::State(test) => state(&all, *test),
        _ => beside(cond, &all),
    }
    .no_empty()
}

impl Ask {
    /// A box without flags would be one without packets.
    fn no_empty(mut self) -> Self {
        if let Some(cubes) = &mut self.cubes {
            cubes.retain(|cube| !cube.flags.is_empty() && cube.ct != 0 && !cube.protos.is_empty());
        }
        self
    }
}

/// Conditions on more than the header's common fields.
fn beside(cond: &Cond, all: &Cube) -> Ask {
    /// The same condition, not inverted, as the key of both.
    macro_rules! turned {
        ($kind:ident { $($field:ident),* }, $invert:expr, $lasts:expr) => {
            Ask::atom(&Cond::$kind { $($field: $field.clone(),)* invert: false }, !*$invert, $lasts)
        };
    }
    match cond {
        Cond::Mark {
            value,
            mask,
            invert,
        } => turned!(Mark { value, mask }, invert, Lasts::Change(looks::MARK)),
        Cond::Length { bounds, invert } => turned!(Length { bounds }, invert, Lasts::Change(0)),
        Cond::Hops { test, invert } => turned!(Hops { test }, invert, Lasts::Change(looks::HOPS)),
        Cond::Tos {
            value,
            mask,
            invert,
        } => turned!(Tos { value, mask }, invert, Lasts::Change(looks::TOS)),
        Cond::Mac { mac, invert } => turned!(Mac { mac }, invert, Lasts::Table),
        Cond::Link { kind, invert } => turned!(Link { kind }, invert, Lasts::Table),
        // Without a connection there is no mark, whether the question is inverted or not.
        Cond::Connmark { .. } => Ask {
            cubes: Some(vec![Cube {
                ct: ct::TRACKED,
                ..*all
            }]),
            ..Ask::atom(cond, true, Lasts::Change(looks::CONNMARK))
        },
        Cond::Odd(odd) => rare(cond, odd, all),
        _ => Ask::atom(cond, true, Lasts::Once),
    }
}

fn rare(cond: &Cond, odd: &Odd, all: &Cube) -> Ask {
    match odd {
        Odd::Ct(test) => {
            let states = test.states.map(|states| state(all, states));
            Ask {
                cubes: states.and_then(|ask| ask.cubes),
                ..Ask::atom(
                    cond,
                    true,
                    if test.beyond {
                        Lasts::Once
                    } else {
                        Lasts::Change(looks::ADDRESSES | looks::STATE)
                    },
                )
            }
        }
        Odd::AnyNet {
            dst,
            nets,
            unknown: false,
            invert,
            ..
        } => {
            let spans: Option<Vec<Span<u128>>> = nets
                .iter()
                .map(|(bits, mask)| masked(*bits, *mask, all.src))
                .collect();
            let end = if *dst { End::Dst } else { End::Src };
            match spans {
                Some(spans) => addresses(all, end, &spans, *invert),
                None => Ask::atom(cond, true, Lasts::Change(looks::ADDRESSES)),
            }
        }
        Odd::Set(test) if !test.beyond => {
            let mut plain = test.clone();
            plain.invert = false;
            // The words are made of the inverted form too.
            plain.text = "".into();
            let wanted = !test.invert;
            // A set of marks is one of addresses and marks.
            let marks = if test.sides.len() > 1 { looks::MARK } else { 0 };
            let what = looks::ADDRESSES | marks | looks::MEMBERS;
            Ask::atom(
                &Cond::Odd(Box::new(Odd::Set(plain))),
                wanted,
                Lasts::Change(what),
            )
        }
        Odd::Bytes(test) if matches!(test.test, BytesOf::U32(_)) => {
            let what = looks::ADDRESSES | looks::TOS | looks::HOPS;
            Ask::atom(cond, true, Lasts::Change(what))
        }
        Odd::NotBoth { .. }
        | Odd::Addrtype(_)
        | Odd::Physdev(_)
        | Odd::Rpfilter(_)
        | Odd::Time(_)
        | Odd::Bytes(_)
        | Odd::Owner(_) => Ask::atom(cond, true, Lasts::Table),
        Odd::AnyNet { .. } | Odd::Set(_) | Odd::Native(_) | Odd::Unknown { .. } => {
            Ask::atom(cond, true, Lasts::Once)
        }
    }
}

/// The span of values with those bits, where they are one span.
fn masked(bits: u128, mask: u128, all: Span<u128>) -> Option<Span<u128>> {
    let free = all.last & !mask;
    // The free bits are the lowest ones.
    let whole = free & free.wrapping_add(1) == 0;
    (whole && bits & free == 0 && bits <= all.last).then(|| Span::new(bits, bits | free))
}

fn addresses(all: &Cube, end: End, spans: &[Span<u128>], invert: bool) -> Ask {
    let outside = all.src.without(spans);
    let spans = if invert {
        outside
    } else {
        // Twice outside is inside, in spans that do not overlap.
        all.src.without(&outside)
    };
    let cube = |span: Span<u128>| match end {
        End::Src => Cube { src: span, ..*all },
        End::Dst => Cube { dst: span, ..*all },
    };
    Ask::cubes(spans.into_iter().map(cube).collect())
}

fn interface(all: &Cube, out: bool, (bits, mask): (u128, u128), invert: bool) -> Ask {
    let Some(span) = masked(bits, mask, all.input) else {
        // Names are compared from their first byte on: there is no other kind of mask.
        return Ask::atom(
            &Cond::Iface {
                out,
                bits,
                mask,
                invert,
            },
            true,
            Lasts::Once,
        );
    };
    let spans = if invert {
        all.input.without(&[span])
    } else {
        vec![span]
    };
    let cube = |span: Span<u128>| {
        if out {
            Cube {
                output: span,
                ..*all
            }
        } else {
            Cube {
                input: span,
                ..*all
            }
        }
    };
    Ask::cubes(spans.into_iter().map(cube).collect())
}

fn port_spans(all: &Cube, ports: &[Ports], invert: bool) -> Vec<Span<u16>> {
    let spans: Vec<Span<u16>> = ports
        .iter()
        .filter(|ports| ports.min <= ports.max)
        .map(|ports| Span::new(ports.min, ports.max))
        .collect();
    let outside = all.sport.without(&spans);
    if invert {
        outside
    } else {
        all.sport.without(&outside)
    }
}

fn ports_of(readable: &Cube, end: End, ports: &[Ports], invert: bool) -> Ask {
    let whole = Cube::all(false);
    let cube = |span: Span<u16>| match end {
        End::Src => Cube {
            sport: span,
            ..*readable
        },
        End::Dst => Cube {
            dport: span,
            ..*readable
        },
    };
    let spans = port_spans(&whole, ports, invert);
    Ask::cubes(spans.into_iter().map(cube).collect())
}

fn multiport(all: &Cube, test: &Multiport) -> Ask {
    let readable = Cube {
        protos: with_ports(),
        pieces: piece::WHOLE,
        ..*all
    };
    let (ports, invert) = (&test.ports.value, test.ports.invert);
    match test.side {
        PortSide::Source => ports_of(&readable, End::Src, ports, invert),
        PortSide::Destination => ports_of(&readable, End::Dst, ports, invert),
        PortSide::Either => {
            let (inside, outside) = (port_spans(all, ports, false), port_spans(all, ports, true));
            let pair = |sport: &Span<u16>, dport: &Span<u16>| Cube {
                sport: *sport,
                dport: *dport,
                ..readable
            };
            let mut cubes = Vec::new();
            for sport in &outside {
                let wanted = if invert { &outside } else { &inside };
                cubes.extend(wanted.iter().map(|dport| pair(sport, dport)));
            }
            if !invert {
                cubes.extend(inside.iter().map(|sport| pair(sport, &all.dport)));
            }
            Ask::cubes(cubes)
        }
    }
}

fn icmp(all: &Cube, kind: Option<u8>, code: Option<u8>, invert: bool) -> Ask {
    let Some(kind) = kind else {
        return if invert {
            Ask::cubes(Vec::new())
        } else {
            Ask::ALWAYS
        };
    };
    let of_kind = Cube {
        sport: Span::point(kind.into()),
        ..*all
    };
    let wanted = code.map_or(of_kind, |code| Cube {
        dport: Span::point(code.into()),
        ..of_kind
    });
    if !invert {
        return Ask::cubes(vec![wanted]);
    }
    let mut cubes = Vec::new();
    all.minus(&wanted, |cube| cubes.push(cube));
    Ask::cubes(cubes)
}

fn state(all: &Cube, test: StateTest) -> Ask {
    if test.snat || test.dnat {
        let what = looks::ADDRESSES | looks::STATE;
        return Ask::atom(&Cond::State(test), true, Lasts::Change(what));
    }
    let states = if test.invert {
        ct::ANY & !test.states
    } else {
        test.states
    };
    Ask::cubes(vec![Cube { ct: states, ..*all }])
}

impl Program {
    /// Its packets have 128 bits of address.
    pub(in super::super) fn is_v6(&self) -> bool {
        self.family == crate::ruleset::Family::V6
    }
}
