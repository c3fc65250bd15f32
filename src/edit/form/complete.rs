//! What could stand at the cursor: options, matches, targets, chains, and the names that this machine
//! has (interfaces, services, ipsets), which are handed in.
//!
//! A candidate replaces the word under the cursor, or of a list the item. Nothing is offered inside
//! quotes, and nothing that could not stand there: options are those of what the rule loads, targets those
//! that the table takes.
//!
//! - this file: what the cursor waits for. - `find`: the candidates for it.

mod find;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::catalog::{Catalog, Extension, Kind};
use super::fields::Field;
use super::{Site, text};
use crate::ruleset::spec::lexer::Lexer;
use crate::ruleset::spec::{Held, Layout, Spec};
use find::{Finder, narrow};

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
        Some(Awaited::Target) => finder.targets(),
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
            None => (finder.targets(), 0),
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
    let row = row_of(layout.held.get(last.of?)?, site)?;
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

/// The row of a match or target that the rule loads.
fn row_of(held: &Held<'_>, site: &Site) -> Option<&'static Extension> {
    if held.is_target {
        Catalog::shipped().find_target(&held.name, site.family)
    } else {
        Catalog::shipped().find_match(&held.name, site.family)
    }
}

/// Options of what the rule loads, the newest first, then the general ones.
fn options(layout: &Layout<'_>, site: &Site) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    for held in layout.held.iter().rev() {
        let Some(row) = row_of(held, site) else {
            continue;
        };
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
