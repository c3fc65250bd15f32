//! Sets of packets that are told to a person: in few lines, in the words of a rule.
//!
//! A line is a product: these sources, to these destinations, of these protocols, on these interfaces. Areas
//! are put together as long as the product holds the same packets, so that a line is exact. A line may ask for more than headers say ("when in set bl"): then it is not certain of
//! a packet whose answer is not known, and it says so.

mod words;

use super::space::area::Area;
use super::space::cube::{Cube, Span, piece};
use super::state::{ct, name_bits};
use super::sweep::{Book, Conditional, merge};
use crate::flow::Protocol;
use crate::ruleset::Family;
use crate::verdict::{CtState, Path, Probe};

/// Whether a packet belongs to a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// It depends on what is not said of it.
    Perhaps,
}

/// Packets of one family and one way.
#[derive(Clone, Debug)]
pub struct Traffic {
    family: Family,
    path: Path,
    lines: Vec<Line>,
    parts: Vec<Conditional>,
}

/// Some of them, as one product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `tcp 10.0.0.0/8 -> :443 on eth0, new`. Names of interfaces are other people's: strip before drawing.
    pub text: String,
    /// What must hold beside, each in a few words; empty for a line that headers alone decide. Holds names
    /// out of the dump: strip before drawing.
    pub when: Vec<String>,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)?;
        if !self.when.is_empty() {
            write!(f, ", when {}", self.when.join(" and "))?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Traffic {
    /// One line below the other.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut gap = "";
        for line in &self.lines {
            write!(f, "{gap}{line}")?;
            gap = "\n";
        }
        Ok(())
    }
}

impl Line {
    fn of(part: &Conditional, family: Family, path: Path, book: &Book) -> Self {
        let when = part.known.iter().map(|(question, answer)| {
            let words = book.words(*question);
            if *answer {
                words.to_owned()
            } else {
                format!("not ({words})")
            }
        });
        Self {
            text: words::text(&part.area, family == Family::V6, path),
            when: when.collect(),
        }
    }
}

impl Traffic {
    pub(super) fn of(family: Family, path: Path, parts: Vec<Conditional>, book: &Book) -> Self {
        let mut parts = merge(parts);
        parts.sort_by_key(|part| part.known.len());
        let lines = parts
            .iter()
            .map(|part| Line::of(part, family, path, book))
            .collect();
        Self {
            family,
            path,
            lines,
            parts,
        }
    }

    /// Which way they take.
    pub fn path(&self) -> Path {
        self.path
    }

    /// Whose packets they are.
    pub fn family(&self) -> Family {
        self.family
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// In words, the widest first.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Whether a packet is one of them. What is not said of it is not known.
    pub fn holds(&self, probe: &Probe) -> Belongs {
        if probe.family != self.family || probe.path != self.path {
            return Belongs::No;
        }
        let Some(asked) = cube_of(probe) else {
            return Belongs::No;
        };
        let mut belongs = Belongs::No;
        let asked = Area::of(&asked);
        let mut left = vec![asked.clone()];
        for part in &self.parts {
            if !part.area.meets(&asked) {
                continue;
            }
            belongs = Belongs::Perhaps;
            if part.known.is_empty() {
                let mut rest = Vec::new();
                for area in &left {
                    area.minus(&part.area, |area| rest.push(area));
                }
                left = rest;
            }
        }
        if left.is_empty() {
            Belongs::Yes
        } else {
            belongs
        }
    }

    /// How much it is: kinds of packets, told by addresses, ports and protocol, as a share of all there are.
    /// For comparing one set with another.
    pub fn share(&self) -> f64 {
        let all = Cube::all(self.family == Family::V6);
        let wide = |spans: &[Span<u128>]| {
            let size = |span: &Span<u128>| (span.last - span.first) as f64 + 1.0;
            spans.iter().map(size).sum::<f64>() / (all.src.last as f64 + 1.0)
        };
        let ports = |spans: &[Span<u16>]| {
            let size = |span: &Span<u16>| f64::from(span.last - span.first) + 1.0;
            spans.iter().map(size).sum::<f64>() / 65_536.0
        };
        let of = |part: &Conditional| {
            let area = &part.area;
            wide(area.src.spans())
                * wide(area.dst.spans())
                * ports(area.sport.spans())
                * ports(area.dport.spans())
                * (f64::from(area.protos.count()) / 256.0)
                * (f64::from(area.ct.count_ones()) / 5.0)
        };
        self.parts.iter().map(of).sum()
    }
}

/// The packets that are like the one asked about, in what is said of it; `None` if there can be none.
pub(super) fn cube_of(probe: &Probe) -> Option<Cube> {
    let mut cube = Cube::all(probe.family == Family::V6);
    cube.pieces = if probe.fragment {
        piece::COMPARED | piece::REFUSED
    } else {
        piece::WHOLE
    };
    let name = |name: Option<crate::flow::IfName>| {
        name.and_then(|name| name_bits(name.as_bytes()))
            .map(Span::point)
    };
    let address = |address: Option<std::net::IpAddr>| {
        address.map(|address| Span::point(super::state::bits_of(address)))
    };
    cube.src = address(probe.src).unwrap_or(cube.src);
    cube.dst = address(probe.dst).unwrap_or(cube.dst);
    let nothing = Some(Span::point(0));
    let (input, output) = match probe.path {
        Path::Input => (name(probe.input), nothing),
        Path::Forward => (name(probe.input), name(probe.output)),
        Path::Output => (nothing, name(probe.output)),
    };
    cube.input = input.unwrap_or(cube.input);
    cube.output = output.unwrap_or(cube.output);
    if let Some(Protocol(proto)) = probe.proto {
        cube.protos = super::space::cube::Bytes::one(proto);
        let is_icmp = Protocol(proto).is_icmp();
        let (sport, dport) = if is_icmp {
            (
                probe.icmp_type.map(u16::from),
                probe.icmp_code.map(u16::from),
            )
        } else {
            (probe.sport, probe.dport)
        };
        cube.sport = sport.map_or(cube.sport, Span::point);
        cube.dport = dport.map_or(cube.dport, Span::point);
    }
    if let Some(flags) = probe.tcp_flags {
        cube.flags = super::space::cube::Bytes::one(flags.0);
    }
    if let Some(state) = probe.ctstate {
        cube.ct = match state {
            CtState::Invalid => ct::INVALID,
            CtState::New => ct::NEW,
            CtState::Related => ct::RELATED,
            CtState::Established => ct::ESTABLISHED,
            CtState::Untracked => ct::UNTRACKED,
        };
    }
    Some(cube)
}
