//! Which matches and targets there are, what options they have, and where each may stand: the rows of
//! `assets/extensions.toml`.
//!
//! The reader of rules (`ruleset::spec`) knows what a match means; this table knows what one can type and
//! where the kernel takes it. It holds more names than the reader understands.

use std::sync::LazyLock;

use serde::Deserialize;

use super::Site;
use crate::ruleset::{Backend, Family};

/// What may stand after an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A port or the name of a service.
    Service,
    /// An interface.
    Interface,
    /// An ipset.
    Set,
    /// A chain.
    Chain,
    /// A protocol.
    Protocol,
    /// Some of these words.
    Words(Vec<String>),
    /// An address, a number, a text: nothing that could be listed.
    Free(String),
}

/// One option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionRow {
    /// Without dashes.
    pub name: String,
    /// Its values, in order.
    pub values: Vec<Kind>,
}

/// One match or target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// After `-m` or `-j`.
    pub name: String,
    /// What it is for, in a few words.
    pub desc: String,
    /// Its options.
    pub options: Vec<OptionRow>,
    /// The family that has it; `None` for both.
    pub family: Option<Family>,
    /// The tables that take it; empty for all.
    pub tables: Vec<String>,
    /// The same for x_tables alone.
    pub legacy_tables: Vec<String>,
    /// The built-in chains that may lead to it; empty for all.
    pub hooks: Vec<String>,
    /// The protocols one of which `-p` must name; empty for none.
    pub needs: Vec<String>,
}

impl Extension {
    /// May stand at that site, as far as table and hooks go.
    pub fn fits(&self, site: &Site) -> bool {
        self.fits_table(site) && self.refused_hook(site).is_none()
    }

    /// The table takes it.
    pub fn fits_table(&self, site: &Site) -> bool {
        let tables = self.tables_of(site);
        tables.is_empty() || tables.contains(&site.table)
    }

    /// The tables that take it in the back end of the site; none for all.
    pub fn tables_of(&self, site: &Site) -> &[String] {
        if site.backend == Some(Backend::Legacy) && !self.legacy_tables.is_empty() {
            &self.legacy_tables
        } else {
            &self.tables
        }
    }

    /// A built-in chain that leads to the site and from which it is refused.
    pub fn refused_hook<'a>(&self, site: &'a Site) -> Option<&'a str> {
        let refused = |hook: &&String| !self.hooks.is_empty() && !self.hooks.contains(hook);
        site.hooks.iter().find(refused).map(String::as_str)
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    matches: Vec<Extension>,
    targets: Vec<Extension>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    values: std::collections::BTreeMap<String, String>,
    #[serde(rename = "match")]
    matches: Vec<Row>,
    #[serde(rename = "target")]
    targets: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    desc: String,
    #[serde(default)]
    options: String,
    family: Option<String>,
    #[serde(default)]
    tables: Vec<String>,
    #[serde(default, rename = "legacy-tables")]
    legacy_tables: Vec<String>,
    #[serde(default)]
    hooks: Vec<String>,
    #[serde(default)]
    needs: Vec<String>,
}

/// A table that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Not the shape of one.
    #[error("cannot read the table of matches and targets: {0}")]
    Toml(#[from] toml::de::Error),
    /// A family that there is not.
    #[error("{0}: the family is \"v4\" or \"v6\"")]
    Family(String),
}

static SHIPPED: LazyLock<Catalog> = LazyLock::new(|| {
    // A test reads it; a program without it would still edit rules, and offer nothing.
    Catalog::parse(include_str!("../../../assets/extensions.toml")).unwrap_or_default()
});

impl Catalog {
    /// The table that the program ships.
    pub fn shipped() -> &'static Self {
        &SHIPPED
    }

    /// Reads a table.
    pub fn parse(text: &str) -> Result<Self, CatalogError> {
        let file: File = toml::from_str(text)?;
        let kind = |name: &str| match name {
            "service" => Kind::Service,
            "interface" => Kind::Interface,
            "set" => Kind::Set,
            "chain" => Kind::Chain,
            "protocol" => Kind::Protocol,
            name => file.values.get(name).map_or_else(
                || Kind::Free(name.to_owned()),
                |words| Kind::Words(words.split_whitespace().map(str::to_owned).collect()),
            ),
        };
        let option = |text: &str| {
            let (name, values) = text.split_once('=').unwrap_or((text, ""));
            let values = values.split(',').filter(|kind| !kind.is_empty());
            OptionRow {
                name: name.to_owned(),
                values: values.map(kind).collect(),
            }
        };
        let extension = |row: Row| {
            let family = match row.family.as_deref() {
                None => None,
                Some("v4") => Some(Family::V4),
                Some("v6") => Some(Family::V6),
                Some(_) => return Err(CatalogError::Family(row.name)),
            };
            Ok(Extension {
                options: row.options.split_whitespace().map(option).collect(),
                name: row.name,
                desc: row.desc,
                family,
                tables: row.tables,
                legacy_tables: row.legacy_tables,
                hooks: row.hooks,
                needs: row.needs,
            })
        };
        Ok(Self {
            matches: file
                .matches
                .into_iter()
                .map(extension)
                .collect::<Result<_, _>>()?,
            targets: file
                .targets
                .into_iter()
                .map(extension)
                .collect::<Result<_, _>>()?,
        })
    }

    /// The matches that a family has.
    pub fn matches(&self, family: Family) -> impl Iterator<Item = &Extension> {
        of(&self.matches, family)
    }

    /// The targets that a family has.
    pub fn targets(&self, family: Family) -> impl Iterator<Item = &Extension> {
        of(&self.targets, family)
    }

    /// A match by its name.
    pub fn find_match(&self, name: &[u8], family: Family) -> Option<&Extension> {
        // The same match under another name.
        let name = if name == b"icmpv6" { b"icmp6" } else { name };
        self.matches(family).find(|row| row.name.as_bytes() == name)
    }

    /// A target by its name.
    pub fn find_target(&self, name: &[u8], family: Family) -> Option<&Extension> {
        self.targets(family).find(|row| row.name.as_bytes() == name)
    }

    /// A match of that name that the other family has.
    pub fn is_of_other_family(&self, name: &[u8], is_target: bool) -> bool {
        let rows = if is_target {
            &self.targets
        } else {
            &self.matches
        };
        rows.iter()
            .any(|row| row.family.is_some() && row.name.as_bytes() == name)
    }
}

fn of(rows: &[Extension], family: Family) -> impl Iterator<Item = &Extension> {
    rows.iter()
        .filter(move |row| row.family.is_none_or(|own| own == family))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::spec::Layout;

    #[test]
    fn the_shipped_table_agrees_with_the_reader_of_rules() {
        let catalog = Catalog::parse(include_str!("../../../assets/extensions.toml")).unwrap();
        for family in [Family::V4, Family::V6] {
            let matches = catalog.matches(family).map(|row| (row, "-m"));
            let targets = catalog.targets(family).map(|row| (row, "-j"));
            for (row, how) in matches.chain(targets) {
                assert!(!row.desc.is_empty(), "{}", row.name);
                for option in &row.options {
                    let values = " 1".repeat(option.values.len());
                    let rule = format!("{how} {} --{}{values}", row.name, option.name);
                    let (_, layout) = Layout::read(rule.as_bytes(), family, &|_| false);
                    let last = layout.pieces.last().unwrap();
                    // The reader need not know it; if it does, it takes as many values.
                    let known = layout
                        .pieces
                        .iter()
                        .any(|piece| piece.of.is_some() && !piece.option.is_empty());
                    if known {
                        assert_eq!(last.option, option.name, "{rule}");
                        assert_eq!(last.values.len(), option.values.len(), "{rule}");
                    }
                }
            }
        }
        assert!(catalog.find_match(b"icmp", Family::V6).is_none());
        assert!(catalog.is_of_other_family(b"icmp", false));
    }
}
