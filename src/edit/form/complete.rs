//! What could stand at the cursor: options, matches, targets, chains, and the names that this machine
//! has (interfaces, services, ipsets), which are handed in.
//!
//! A candidate replaces the word under the cursor, or of a list the item. Nothing is offered inside
//! quotes, and nothing that could not stand there: options are those of what the rule loads, targets those
//! that the table takes.

use std::ops::Range;

use super::catalog::{Catalog, Extension, Kind};
use super::fields::Field;
use super::{Site, text};
use crate::ruleset::spec::lexer::Lexer;
use crate::ruleset::spec::{Layout, Piece, Protocol, Spec};

/// One service of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name, or another name of it.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// `tcp`, `udp` …
    pub protocol: String,
}

/// Names that this machine has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Network interfaces.
    pub interfaces: Vec<String>,
    /// Services, as /etc/services lists them.
    pub services: Vec<Service>,
    /// ipsets.
    pub sets: Vec<String>,
}

impl Names {
    /// There is a service of that name.
    pub fn has_service(&self, name: &str) -> bool {
        self.services.iter().any(|service| service.name == name)
    }

    /// The services of that name, one for each protocol.
    pub fn services_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Service> {
        self.services
            .iter()
            .filter(move |service| service.name == name)
    }
}

/// One thing that could stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What would be written.
    pub text: String,
    /// What it is, in a few words; may be empty.
    pub note: String,
}

/// What could stand at the cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// What of the text a candidate replaces, in bytes of it.
    pub range: Range<usize>,
    /// The candidates, best first, at most [`Completion::MOST`].
    pub candidates: Vec<Candidate>,
}

impl Completion {
    /// Nobody reads more.
    pub const MOST: usize = 300;
}

/// General options, as they are typed.
const GENERAL: [(&str, &str); 9] = [
    ("-s", "source address"),
    ("-d", "destination address"),
    ("-i", "interface that it arrives on"),
    ("-o", "interface that it leaves by"),
    ("-p", "protocol"),
    ("-m", "load a match"),
    ("-j", "target, or chain to go through"),
    ("-g", "chain to go to for good"),
    ("-f", "later fragments (IPv4)"),
];

/// At the cursor of the raw line. `cursor` is a place in the bytes of `line`.
pub fn line(line: &str, cursor: usize, site: &Site, names: &Names) -> Completion {
    let before = line.get(..cursor).unwrap_or(line);
    let bytes = text::to_bytes(before);
    let last = Lexer::new(&bytes)
        .last()
        .filter(|word| word.end() == bytes.len());
    let (word, start) = match &last {
        Some(word) if word.raw.contains(&b'"') => return Completion::default(),
        Some(word) => (text::from_bytes(word.raw), word.start),
        None => (String::new(), bytes.len()),
    };
    let is_chain = |name: &[u8]| site.is_chain(name);
    let head = bytes.get(..start).unwrap_or_default();
    let (spec, layout) = Layout::read(head, site.family, &is_chain);
    let finder = Finder {
        site,
        names,
        protocol: protocol_of(&spec),
    };
    let found = match awaited(&layout, site) {
        Some(Awaited::Kind(kind)) => finder.kind(&kind),
        Some(Awaited::Match) => finder.extensions(Catalog::shipped().matches(site.family)),
        Some(Awaited::Target) => finder.targets(true),
        Some(Awaited::Chain) => finder.chains(),
        None if word.is_empty() || word.starts_with('-') => options(&layout, site),
        None => Vec::new(),
    };
    narrow(found, &word, text::text_offset(before, start), cursor)
}

/// At the cursor of a field. `raw` is the rule as it is.
pub fn field(
    field: Field,
    raw: &[u8],
    typed: &str,
    cursor: usize,
    site: &Site,
    names: &Names,
) -> Completion {
    let is_chain = |name: &[u8]| site.is_chain(name);
    let (spec, layout) = Layout::read(raw, site.family, &is_chain);
    let finder = Finder {
        site,
        names,
        protocol: protocol_of(&spec),
    };
    let before = typed.get(..cursor).unwrap_or(typed);
    let sign = if field.can_invert() {
        before.len() - before.trim_start_matches(['!', ' ']).len()
    } else {
        0
    };
    let (found, start) = match field {
        Field::Target => match before.strip_prefix("goto ") {
            Some(_) => (finder.chains(), 5),
            None => (finder.targets(true), 0),
        },
        Field::TargetOptions => {
            let target = layout.target().map(|piece| text::from_bytes(piece.value()));
            let head = format!("-j {} ", target.unwrap_or_default());
            let whole = format!("{head}{typed}");
            let mut found = line(&whole, head.len() + cursor, site, names);
            let back = |at: usize| at.saturating_sub(head.len());
            found.range = back(found.range.start)..back(found.range.end);
            // Options of the target alone; the rest of the rule has its own fields.
            found.candidates.retain(|one| !is_general(&one.text));
            return found;
        }
        Field::Protocol => (finder.kind(&Kind::Protocol), sign),
        Field::State => (finder.words("conntrack", "ctstate"), sign),
        Field::SourcePorts | Field::DestinationPorts => (finder.kind(&Kind::Service), sign),
        Field::InInterface | Field::OutInterface => (finder.kind(&Kind::Interface), sign),
        Field::Limit => (finder.words("limit", "limit"), 0),
        Field::Source | Field::Destination | Field::LogPrefix | Field::Comment => (Vec::new(), 0),
    };
    let word = before.get(start..).unwrap_or_default();
    narrow(found, word, start, cursor)
}

fn is_general(option: &str) -> bool {
    GENERAL.iter().any(|row| row.0 == option)
}

fn protocol_of(spec: &Spec<'_>) -> Option<String> {
    let protocol = spec.protocol.as_ref().filter(|p| !p.invert)?;
    Some(protocol.value.to_string())
}

/// What an option that has no value yet waits for.
enum Awaited {
    Kind(Kind),
    Match,
    Target,
    Chain,
}

fn awaited(layout: &Layout<'_>, site: &Site) -> Option<Awaited> {
    let last = layout.pieces.last()?;
    if !last.values.is_empty() {
        return None;
    }
    if last.of.is_none() {
        return match last.option {
            "jump" => Some(Awaited::Target),
            "goto" => Some(Awaited::Chain),
            "match" => Some(Awaited::Match),
            "protocol" => Some(Awaited::Kind(Kind::Protocol)),
            "in-interface" | "out-interface" => Some(Awaited::Kind(Kind::Interface)),
            "source" | "destination" => Some(Awaited::Kind(Kind::Free("address".to_owned()))),
            _ => None,
        };
    }
    let row = row_of(layout, last, site)?;
    let raw = last.words.last().map_or(&b""[..], |word| word.raw);
    let (name, nth) = if last.option.is_empty() {
        // Not known to the reader: the word itself is the option.
        (
            String::from_utf8_lossy(raw.strip_prefix(b"--")?).into_owned(),
            0,
        )
    } else {
        let words = last.words.iter().filter(|word| !word.is(b"!"));
        (last.option.to_owned(), words.count().saturating_sub(1))
    };
    let option = row.options.iter().find(|option| option.name == name)?;
    option.values.get(nth).cloned().map(Awaited::Kind)
}

/// The row of the match or target that a piece belongs to.
fn row_of(layout: &Layout<'_>, piece: &Piece<'_>, site: &Site) -> Option<&'static Extension> {
    let held = layout.held.get(piece.of?)?;
    if held.is_target {
        Catalog::shipped().find_target(&held.name, site.family)
    } else {
        Catalog::shipped().find_match(&held.name, site.family)
    }
}

/// Options of what the rule loads, the newest first, then the general ones.
fn options(layout: &Layout<'_>, site: &Site) -> Vec<Candidate> {
    let catalog = Catalog::shipped();
    let mut found: Vec<Candidate> = Vec::new();
    for held in layout.held.iter().rev() {
        let row = if held.is_target {
            catalog.find_target(&held.name, site.family)
        } else {
            catalog.find_match(&held.name, site.family)
        };
        let Some(row) = row else { continue };
        let given = |name: &str| {
            layout
                .pieces
                .iter()
                .any(|p| p.of.is_some() && p.option == name)
        };
        found.extend(
            row.options
                .iter()
                .filter(|option| !given(&option.name))
                .map(|option| Candidate {
                    text: format!("--{}", option.name),
                    note: row.name.clone(),
                }),
        );
    }
    let given = |short: &str| {
        let twice = short == "-m";
        let pieces = layout.pieces.iter();
        !twice
            && pieces
                .filter(|p| p.of.is_none())
                .any(|p| p.words.iter().any(|w| w.is(short.as_bytes())))
    };
    found.extend(
        GENERAL
            .iter()
            .filter(|(short, _)| !given(short))
            .map(|(short, note)| Candidate {
                text: (*short).to_owned(),
                note: (*note).to_owned(),
            }),
    );
    found
}

/// Makes candidates.
struct Finder<'f> {
    site: &'f Site,
    names: &'f Names,
    /// What `-p` says.
    protocol: Option<String>,
}

impl Finder<'_> {
    fn extensions<'a>(&self, rows: impl Iterator<Item = &'a Extension>) -> Vec<Candidate> {
        let mut found: Vec<Candidate> = rows
            .filter(|row| row.fits(self.site))
            .map(|row| Candidate {
                text: row.name.clone(),
                note: row.desc.clone(),
            })
            .collect();
        found.dedup();
        found
    }

    fn targets(&self, with_chains: bool) -> Vec<Candidate> {
        let mut found = self.extensions(Catalog::shipped().targets(self.site.family));
        if with_chains {
            found.extend(self.chains());
        }
        found
    }

    fn chains(&self) -> Vec<Candidate> {
        let others = self
            .site
            .chains
            .iter()
            .filter(|name| **name != self.site.chain);
        others
            .take(Completion::MOST * 10)
            .map(|name| Candidate {
                text: text::from_bytes(name),
                note: "chain".to_owned(),
            })
            .collect()
    }

    /// The words that an option of a match takes.
    fn words(&self, name: &str, option: &str) -> Vec<Candidate> {
        let row = Catalog::shipped().find_match(name.as_bytes(), self.site.family);
        let option = row.and_then(|row| row.options.iter().find(|o| o.name == option));
        let kind = option.and_then(|option| option.values.first());
        kind.map_or_else(Vec::new, |kind| self.kind(kind))
    }

    fn kind(&self, kind: &Kind) -> Vec<Candidate> {
        let plain = |text: &String| Candidate {
            text: text.clone(),
            note: String::new(),
        };
        match kind {
            Kind::Words(words) => words.iter().map(plain).collect(),
            Kind::Interface => self.names.interfaces.iter().map(plain).collect(),
            Kind::Set => self.names.sets.iter().map(plain).collect(),
            Kind::Chain => self.chains(),
            Kind::Protocol => {
                let mut names: Vec<&str> = vec!["tcp", "udp", "icmp", "ipv6-icmp"];
                if self.site.family == crate::ruleset::Family::V6 {
                    names.swap(2, 3);
                }
                names.extend(
                    Protocol::names()
                        .filter(|name| !matches!(*name, "tcp" | "udp" | "icmp" | "ipv6-icmp")),
                );
                let note = |name: &str| match name {
                    "icmp" => "of IPv4",
                    "ipv6-icmp" | "icmpv6" => "of IPv6",
                    "all" => "any",
                    _ => "",
                };
                names
                    .into_iter()
                    .map(|name| Candidate {
                        text: name.to_owned(),
                        note: note(name).to_owned(),
                    })
                    .collect()
            }
            Kind::Service => {
                let fits = |service: &&Service| {
                    self.protocol
                        .as_ref()
                        .is_none_or(|p| *p == service.protocol)
                };
                let mut found: Vec<Candidate> = Vec::new();
                for service in self.names.services.iter().filter(fits) {
                    // The same name for several protocols stands next to itself.
                    if found.last().is_some_and(|last| last.text == service.name) {
                        continue;
                    }
                    found.push(Candidate {
                        text: service.name.clone(),
                        note: format!("{}/{}", service.port, service.protocol),
                    });
                }
                found
            }
            Kind::Free(_) => Vec::new(),
        }
    }
}

/// The candidates that begin with the word, or hold it; of a list, with its last item.
fn narrow(found: Vec<Candidate>, word: &str, start: usize, cursor: usize) -> Completion {
    let holds_lists = found.iter().any(|one| one.text.contains(','));
    let is_sign = |c: char| c == ',' || c == ':';
    let item = match word.rfind(is_sign) {
        Some(at) if !holds_lists => at + 1,
        _ => 0,
    };
    let wanted = word.get(item..).unwrap_or_default().to_lowercase();
    let rank = |one: &Candidate| {
        let text = one.text.to_lowercase();
        if text.starts_with(&wanted) {
            Some(0)
        } else if wanted.len() > 1 && (text.contains(&wanted) || one.note.starts_with(&wanted)) {
            Some(1)
        } else {
            None
        }
    };
    let mut ranked: Vec<(u8, Candidate)> = found
        .into_iter()
        .filter_map(|one| Some((rank(&one)?, one)))
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    Completion {
        range: start + item..cursor,
        candidates: ranked
            .into_iter()
            .map(|(_, one)| one)
            .take(Completion::MOST)
            .collect(),
    }
}

#[cfg(test)]
mod tests;
