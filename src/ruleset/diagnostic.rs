//! What is said about a text that was read: warnings that the save tool itself printed, remarks on
//! lines that were read with good will, and the one error for a text that is no dump.
//!
//! Diagnostics are bounded: a hostile file of ten million broken lines yields [`Diagnostics::LIMIT`]
//! of them and a count of the rest, never a memory bill larger than the file.

use std::borrow::Cow;
use std::fmt;

/// How much a [`Diagnostic`] weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Read as meant; iptables-restore may be stricter. Nothing is lost.
    Note,
    /// Read with a guess, or something the reader of the rules should know.
    Warning,
    /// Not understood: the line is kept in the text, but the model is without it.
    Error,
}

/// One remark on one place of a text.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Diagnostic {
    /// Line in the document, from 1.
    pub line: u32,
    /// Column in bytes, from 1.
    pub column: u32,
    /// How much it weighs.
    pub severity: Severity,
    /// What was expected or what is remarkable, as a phrase: `a table name after '*'`.
    pub expected: Cow<'static, str>,
    /// The text in question, at most [`Diagnostic::TEXT_LIMIT`] bytes of it. Hostile bytes: strip
    /// before drawing.
    #[serde(serialize_with = "super::json::lossy")]
    pub text: Box<[u8]>,
}

impl Diagnostic {
    /// Longest [`Diagnostic::text`], in bytes.
    pub const TEXT_LIMIT: usize = 120;
}

impl fmt::Display for Diagnostic {
    /// `line 3, column 8: expected …, found "…"`, with control characters escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: expected {}",
            self.line, self.column, self.expected
        )?;
        if self.text.is_empty() {
            return Ok(());
        }
        write!(f, ", found \"{}\"", self.text.escape_ascii())
    }
}

/// The diagnostics of one ruleset while it is read, and afterwards.
#[derive(Clone, Debug, Default)]
pub(super) struct Diagnostics {
    list: Vec<Diagnostic>,
    left_out: usize,
}

impl Diagnostics {
    /// How many are kept.
    pub(super) const LIMIT: usize = 1000;

    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        if self.list.len() < Self::LIMIT {
            self.list.push(diagnostic);
        } else {
            self.left_out += 1;
        }
    }

    pub(super) fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    pub(super) fn left_out(&self) -> usize {
        self.left_out
    }
}

/// What the save tool warned of, on standard output (a `#` line in the dump) or on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "warning", content = "table")]
pub enum Warning {
    /// `# Warning: iptables-legacy tables present, use iptables-legacy-save to see them`: both back
    /// ends may hold live rules, and both apply. Printed as soon as a legacy table exists, even empty.
    LegacyTablesPresent,
    /// ``# Table `filter' is incompatible, use 'nft' tool.``: the whole table is absent from the dump.
    TableIncompatible(Box<str>),
    /// ``# Table `filter' contains incompatible base-chains, use 'nft' tool to list them.``: chains of
    /// the table that see packets are absent from the dump.
    IncompatibleBaseChains(Box<str>),
}

impl Warning {
    /// Recognise a warning in one line of a dump or of standard error; with or without `#`, program
    /// name and version before it.
    pub fn recognise(line: &[u8]) -> Option<Self> {
        let line = String::from_utf8_lossy(line);
        if line.contains("iptables-legacy tables present")
            || line.contains("ip6tables-legacy tables present")
        {
            return Some(Self::LegacyTablesPresent);
        }
        let after = line
            .split_once("able `")
            .or_else(|| line.split_once("able '"))?
            .1;
        let (table, rest) = after.split_once('\'')?;
        if rest.starts_with(" is incompatible") {
            Some(Self::TableIncompatible(table.into()))
        } else if rest.starts_with(" contains incompatible base-chains") {
            Some(Self::IncompatibleBaseChains(table.into()))
        } else {
            None
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LegacyTablesPresent => {
                write!(
                    f,
                    "legacy tables are present beside nf_tables: both may hold live rules"
                )
            }
            Self::TableIncompatible(table) => write!(
                f,
                "table {table} holds rules that iptables cannot show: it is missing here, see `nft list ruleset`"
            ),
            Self::IncompatibleBaseChains(table) => write!(
                f,
                "table {table} holds base chains that iptables cannot show: see `nft list ruleset`"
            ),
        }
    }
}

/// A text that cannot be taken for a dump.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not one line reads as iptables-save or iptables-restore text.
    #[error(
        "line {line}, column {column}: expected iptables-save text (a '*table' line, ':chain', '-A rule' or '#' comment), found \"{}\"\n{advice}",
        text.escape_ascii()
    )]
    NotADump {
        /// First line that is not blank or a comment, from 1.
        line: u32,
        /// Where its text starts, in bytes from 1.
        column: u32,
        /// The start of that line.
        text: Box<[u8]>,
        /// What to do.
        advice: &'static str,
    },
    /// A dump of another firewall tool of the family, by its own header.
    #[error(
        "line {line}: this dump was written by {program}, which is not iptables or ip6tables\ngive a dump of iptables-save or ip6tables-save"
    )]
    OtherProgram {
        /// Line of the header, from 1.
        line: u32,
        /// Program named in the header.
        program: Box<str>,
    },
    /// Positions are 32 bits wide: half the memory a rule, and no ruleset comes near.
    #[error("the text is {length} bytes long, more than 4 GiB\nsplit it by table")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_of_both_streams_are_recognised() {
        let cases: [(&str, Option<Warning>); 6] = [
            (
                "# Warning: iptables-legacy tables present, use iptables-legacy-save to see them",
                Some(Warning::LegacyTablesPresent),
            ),
            (
                "# Table `filter' is incompatible, use 'nft' tool.",
                Some(Warning::TableIncompatible("filter".into())),
            ),
            (
                "iptables v1.8.9 (nf_tables): table `nat' is incompatible, use 'nft' tool.",
                Some(Warning::TableIncompatible("nat".into())),
            ),
            (
                "# Table `raw' contains incompatible base-chains, use 'nft' tool to list them.",
                Some(Warning::IncompatibleBaseChains("raw".into())),
            ),
            ("# Table manners", None),
            ("# Completed on Fri Nov 20 22:25:35 2026", None),
        ];
        for (line, expected) in cases {
            assert_eq!(Warning::recognise(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn diagnostics_are_bounded() {
        let one = Diagnostic {
            line: 1,
            column: 1,
            severity: Severity::Error,
            expected: "x".into(),
            text: Box::default(),
        };
        let mut all = Diagnostics::default();
        for _ in 0..Diagnostics::LIMIT + 5 {
            all.push(one.clone());
        }
        assert_eq!(all.list().len(), Diagnostics::LIMIT);
        assert_eq!(all.left_out(), 5);
    }
}
