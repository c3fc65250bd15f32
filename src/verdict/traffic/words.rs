//! A product in words: `tcp 10.0.0.0/8 -> 192.0.2.1:80,443 on eth0, new`.

use std::fmt::Write;

use crate::flow::{Protocol, TcpFlags};
use crate::verdict::Path;
use crate::verdict::space::area::Area;
use crate::verdict::space::cube::{Bytes, Cube, Number, Span, piece};
use crate::verdict::state::{address_of, ct};

/// Things of one list that are told; how many more there are is said.
const TOLD: usize = 6;

pub(super) fn text(area: &Area, v6: bool, path: Path) -> String {
    let all = Cube::all(v6);
    let mut text = pieces(area.pieces).to_owned();
    text.push_str(&protocols(area.protos));
    let only = area.protos.only().map(Protocol);
    let is_icmp = only.is_some_and(Protocol::is_icmp);
    let ports = |spans: &[Span<u16>]| {
        let told = list(spans, all.sport, |span| {
            if span.first == span.last {
                span.first.to_string()
            } else {
                format!("{}-{}", span.first, span.last)
            }
        });
        let told = told.filter(|_| !is_icmp)?;
        let but = told.strip_prefix("not ");
        Some(but.map_or_else(|| format!(":{told}"), |but| format!(" not port {but}")))
    };
    let address = |spans: &[Span<u128>]| {
        list(&prefixes(spans, all.src), all.src, |span| {
            network(*span, v6)
        })
    };
    // A colon after an address of IPv6 needs brackets.
    let end = |addresses: Option<String>, ports: Option<String>| match (addresses, ports) {
        (None, None) => "any".to_owned(),
        (None, Some(ports)) if ports.starts_with(' ') => format!("any{ports}"),
        (None, Some(ports)) => ports,
        (Some(addresses), None) => addresses,
        (Some(addresses), Some(ports)) if v6 => format!("[{addresses}]{ports}"),
        (Some(addresses), Some(ports)) => format!("{addresses}{ports}"),
    };
    let source = end(address(area.src.spans()), ports(area.sport.spans()));
    let target = end(address(area.dst.spans()), ports(area.dport.spans()));
    let any = if source.starts_with(':') { "any" } else { "" };
    let _ = write!(text, " {any}{source} -> {target}");
    if is_icmp {
        icmp(&mut text, area, &all);
    }
    interfaces(&mut text, area, path);
    states(&mut text, area.ct);
    flags(&mut text, area.flags);
    text
}

/// A list in words; `None` when it is everything. Told by what is not in it where that is shorter.
fn list<T: Number>(
    spans: &[Span<T>],
    all: Span<T>,
    word: impl Fn(&Span<T>) -> String,
) -> Option<String> {
    if spans == [all] {
        return None;
    }
    let outside = all.without(spans);
    if outside.is_empty() {
        return None;
    }
    let (turned, told) = if outside.len() < spans.len() {
        (true, outside.as_slice())
    } else {
        (false, spans)
    };
    let mut words: Vec<String> = told.iter().take(TOLD).map(word).collect();
    if told.len() > TOLD {
        words.push(format!("and {} more", told.len() - TOLD));
    }
    Some(format!(
        "{}{}",
        if turned { "not " } else { "" },
        words.join(",")
    ))
}

/// The same addresses as networks, where few are enough.
fn prefixes(spans: &[Span<u128>], all: Span<u128>) -> Vec<Span<u128>> {
    const FEW: usize = 3;
    if spans == [all] {
        return spans.to_vec();
    }
    let mut told = Vec::new();
    for span in spans {
        let networks = networks(*span, FEW);
        told.extend(networks.unwrap_or_else(|| vec![*span]));
    }
    told
}

/// A span as networks, if no more than that many make it.
fn networks(span: Span<u128>, most: usize) -> Option<Vec<Span<u128>>> {
    let mut found = Vec::new();
    let mut first = span.first;
    loop {
        // As many free bits as the start allows and the end has room for.
        let mut free = if first == 0 {
            127
        } else {
            first.trailing_zeros()
        };
        let last =
            |free: u32| first | (1_u128.checked_shl(free).map_or(u128::MAX, |size| size - 1));
        while last(free) > span.last {
            free -= 1;
        }
        found.push(Span::new(first, last(free)));
        if found.len() > most {
            return None;
        }
        match last(free).after() {
            Some(next) if next <= span.last => first = next,
            _ => return Some(found),
        }
    }
}

fn network(span: Span<u128>, v6: bool) -> String {
    let (first, last) = (address_of(span.first, v6), address_of(span.last, v6));
    let free = span.first ^ span.last;
    let is_network = free & free.wrapping_add(1) == 0 && span.first & free == 0;
    match (span.first == span.last, is_network) {
        (true, _) => first.to_string(),
        (_, true) => {
            let width = if v6 { 128 } else { 32 };
            format!("{first}/{}", width - free.count_ones())
        }
        _ => format!("{first}-{last}"),
    }
}

fn protocols(protos: Bytes) -> String {
    let names = |protos: Bytes| {
        let names: Vec<String> = protos
            .iter()
            .map(|proto| Protocol(proto).to_string())
            .collect();
        names.join(",")
    };
    let others = Bytes::ALL.without(protos);
    if others.is_empty() {
        "any protocol".to_owned()
    } else if others.count() < protos.count() {
        format!("any protocol but {}", names(others))
    } else {
        names(protos)
    }
}

/// Of packets in one piece and of first fragments nothing is said.
fn pieces(pieces: u8) -> &'static str {
    match pieces {
        _ if pieces & piece::WHOLE != 0 => "",
        piece::COMPARED => "later fragments (whose bytes are taken for ports) of ",
        _ => "later fragments of ",
    }
}

fn icmp(text: &mut String, area: &Area, all: &Cube) {
    let number = |span: &Span<u16>| {
        let last = span.last.min(255);
        if span.first == last {
            span.first.to_string()
        } else {
            format!("{}-{last}", span.first)
        }
    };
    if let Some(kinds) = list(area.sport.spans(), all.sport, number) {
        let _ = write!(text, " type {kinds}");
    }
    if let Some(codes) = list(area.dport.spans(), all.dport, number) {
        let _ = write!(text, " code {codes}");
    }
}

fn interfaces(text: &mut String, area: &Area, path: Path) {
    let some = Span::new(1, u128::MAX);
    let one = |spans: &[Span<u128>]| list(spans, some, |span| interface(*span));
    let (input, output) = (one(area.input.spans()), one(area.output.spans()));
    let word = if path == Path::Forward { "in" } else { "on" };
    if let Some(input) = input.filter(|_| path != Path::Output) {
        let _ = write!(text, " {word} {input}");
    }
    if let Some(output) = output.filter(|_| path != Path::Input) {
        let _ = write!(text, " out {output}");
    }
}

/// Names between two: one, or all that begin alike.
fn interface(span: Span<u128>) -> String {
    let name = |bits: u128| {
        let bytes: Vec<u8> = bits
            .to_be_bytes()
            .into_iter()
            .take_while(|byte| *byte != 0)
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let free = span.first ^ span.last;
    if span.first == span.last {
        name(span.first)
    } else if free & free.wrapping_add(1) == 0 && span.first & free == 0 {
        format!("{}+", name(span.first))
    } else {
        match (span.first, span.last) {
            (_, u128::MAX) => format!("names after {}", name(span.first)),
            (1, _) => format!("names before {}", name(span.last)),
            _ => format!("names from {} to {}", name(span.first), name(span.last)),
        }
    }
}

fn states(text: &mut String, states: u8) {
    const NAMES: [(u8, &str); 5] = [
        (ct::NEW, "new"),
        (ct::RELATED, "related"),
        (ct::ESTABLISHED, "established"),
        (ct::INVALID, "invalid"),
        (ct::UNTRACKED, "untracked"),
    ];
    let names = |states: u8| {
        let names: Vec<&str> = NAMES
            .iter()
            .filter(|(bit, _)| states & bit != 0)
            .map(|(_, name)| *name)
            .collect();
        names.join("/")
    };
    if states == ct::ANY {
        return;
    }
    let _ = if states.count_ones() > 3 {
        write!(text, ", not {}", names(ct::ANY & !states))
    } else {
        write!(text, ", {}", names(states))
    };
}

fn flags(text: &mut String, flags: Bytes) {
    if flags == Bytes::ALL {
        return;
    }
    let asked = TcpFlags::SYN.0 | TcpFlags::RST.0 | TcpFlags::ACK.0 | TcpFlags::FIN.0;
    let syn = Bytes::those(|byte| byte & asked == TcpFlags::SYN.0);
    let _ = if flags == Bytes::one(0) {
        write!(text, ", no flags")
    } else if let Some(only) = flags.only() {
        write!(text, ", flags {}", TcpFlags(only))
    } else if flags == syn {
        write!(text, ", first packet (SYN)")
    } else if flags == Bytes::ALL.without(syn) {
        write!(text, ", not a first packet (SYN)")
    } else {
        write!(text, ", {} of the 256 sets of tcp flags", flags.count())
    };
}
