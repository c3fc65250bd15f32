//! The candidates themselves: all that is known of a kind, and of these what begins with or holds the word
//! that is being typed. What the cursor waits for is found above.

use super::{Candidate, Completion, Names, Service};
use crate::edit::form::catalog::{Catalog, Extension, Kind};
use crate::edit::form::{Site, text};
use crate::ruleset::Family;
use crate::ruleset::spec::Protocol;

/// Makes candidates.
pub struct Finder<'f> {
    /// Where the rule stands.
    pub site: &'f Site,
    /// What this machine has.
    pub names: &'f Names,
    /// What `-p` says.
    pub protocol: Option<String>,
}

impl Finder<'_> {
    /// Those of the rows that can stand at the site, by name.
    pub fn extensions<'a>(&self, rows: impl Iterator<Item = &'a Extension>) -> Vec<Candidate> {
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

    /// Targets of the family, and chains to go through.
    pub fn targets(&self) -> Vec<Candidate> {
        let mut found = self.extensions(Catalog::shipped().targets(self.site.family));
        found.extend(self.chains());
        found
    }

    /// The other chains of the table.
    pub fn chains(&self) -> Vec<Candidate> {
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
    pub fn words(&self, name: &str, option: &str) -> Vec<Candidate> {
        let row = Catalog::shipped().find_match(name.as_bytes(), self.site.family);
        let option = row.and_then(|row| row.options.iter().find(|o| o.name == option));
        let kind = option.and_then(|option| option.values.first());
        kind.map_or_else(Vec::new, |kind| self.kind(kind))
    }

    /// Everything that a value of that kind can be, as far as it is known.
    pub fn kind(&self, kind: &Kind) -> Vec<Candidate> {
        let plain = |text: &String| Candidate {
            text: text.clone(),
            note: String::new(),
        };
        match kind {
            Kind::Words(words) => words.iter().map(plain).collect(),
            Kind::Interface => self.names.interfaces.iter().map(plain).collect(),
            Kind::Set => self.names.sets.iter().map(plain).collect(),
            Kind::Chain => self.chains(),
            Kind::Protocol => self.protocols(),
            Kind::Service => self.services(),
            Kind::Free(_) => Vec::new(),
        }
    }

    /// The usual ones first.
    fn protocols(&self) -> Vec<Candidate> {
        let mut names: Vec<&str> = vec!["tcp", "udp", "icmp", "ipv6-icmp"];
        if self.site.family == Family::V6 {
            names.swap(2, 3);
        }
        names.extend(
            Protocol::names().filter(|name| !matches!(*name, "tcp" | "udp" | "icmp" | "ipv6-icmp")),
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

    /// Those of the rule's protocol, of all where it says none.
    fn services(&self) -> Vec<Candidate> {
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
}

/// The candidates that begin with the word, or hold it; of a list, with its last item.
pub fn narrow(found: Vec<Candidate>, word: &str, start: usize, cursor: usize) -> Completion {
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
