//! What the save tools admit beside the rules, as types.
//!
//! Three of these sentences mean that the dump is not the whole firewall, so they are recognised; any
//! other line on standard error is kept as it is. The sentences are those of iptables 1.8.0 to 1.8.11
//! (iptables/nft.c `nft_is_table_compatible` callers, xtables-save.c, xshared.c).

use std::fmt;

/// One thing that a save tool said. Names and texts come from outside: strip them before drawing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Warning {
    /// Standard error of an nft tool: legacy tables exist as well (perhaps empty ones), and both apply.
    LegacyTablesPresent,
    /// Standard output: the table has native rules that iptables cannot print, and is absent as a whole.
    TableIncompatible {
        /// Name of the table.
        table: String,
    },
    /// Standard output: the table has base chains that iptables cannot print; the others are there.
    IncompatibleBaseChains {
        /// Name of the table.
        table: String,
    },
    /// Any other line on standard error.
    Other {
        /// The line, without its end.
        text: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LegacyTablesPresent => {
                f.write_str("legacy tables exist beside the nft ones; both decide about packets")
            }
            Self::TableIncompatible { table } => write!(
                f,
                "table {table} holds native nft rules, so iptables shows none of it: use nft list table"
            ),
            Self::IncompatibleBaseChains { table } => write!(
                f,
                "table {table} has base chains that iptables cannot show: use nft list table"
            ),
            Self::Other { text } => f.write_str(text),
        }
    }
}

/// The warnings on standard error, one a line.
pub(super) fn from_stderr(stderr: &str) -> Vec<Warning> {
    stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            if line.contains("-legacy tables present") {
                Warning::LegacyTablesPresent
            } else {
                Warning::Other {
                    text: line.to_owned(),
                }
            }
        })
        .collect()
}

/// The warnings that stand as comment lines on standard output, outside every table: a rule's comment
/// may hold a newline and forge such a line, but then it stands inside a quoted value.
pub(super) fn from_stdout(stdout: &[u8]) -> Vec<Warning> {
    if memchr::memmem::find(stdout, b"# Table `").is_none() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut quoted = false;
    for line in stdout.split(|byte| *byte == b'\n') {
        if !quoted && line.starts_with(b"#") {
            found.extend(from_comment(line));
        } else {
            quoted = ends_quoted(line, quoted);
        }
    }
    found
}

fn from_comment(line: &[u8]) -> Option<Warning> {
    let line = String::from_utf8_lossy(line);
    let (table, says) = line.strip_prefix("# Table `")?.split_once("' ")?;
    let table = table.to_owned();
    if says.starts_with("is incompatible") {
        Some(Warning::TableIncompatible { table })
    } else if says.starts_with("contains incompatible base-chains") {
        Some(Warning::IncompatibleBaseChains { table })
    } else {
        None
    }
}

/// Whether the quoted value that was open (or not) at the start of `line` is open at its end.
fn ends_quoted(line: &[u8], mut quoted: bool) -> bool {
    // Outside quotes only an argument's first byte opens one: chain names may hold a bare quote.
    let mut previous = if quoted { b'"' } else { b' ' };
    let mut bytes = line.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' if quoted => {
                bytes.next();
            }
            b'"' if quoted => quoted = false,
            b'"' if previous == b' ' => quoted = true,
            _ => {}
        }
        previous = byte;
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stderr_lines_are_recognised_or_kept() {
        let found = from_stderr(
            "# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n\nodd \n",
        );
        assert_eq!(
            found,
            [
                Warning::LegacyTablesPresent,
                Warning::Other { text: "odd".into() }
            ]
        );
        assert_eq!(
            from_stderr(
                "# Warning: ip6tables-legacy tables present, use ip6tables-legacy to see them"
            ),
            [Warning::LegacyTablesPresent]
        );
    }

    #[test]
    fn comment_lines_of_a_real_dump() {
        let dump =
            b"# Table `filter' contains incompatible base-chains, use 'nft' tool to list them.\n\
            *filter\n:INPUT ACCEPT [0:0]\n[0:0] -A INPUT -j DROP\nCOMMIT\n\
            # Table `nat' is incompatible, use 'nft' tool.\n";
        assert_eq!(
            from_stdout(dump),
            [
                Warning::IncompatibleBaseChains {
                    table: "filter".into()
                },
                Warning::TableIncompatible {
                    table: "nat".into()
                }
            ]
        );
    }

    #[test]
    fn a_comment_with_a_newline_cannot_forge_a_warning() {
        let dump = b"*filter\n:a\"b - [0:0]\n[0:0] -A INPUT -m comment --comment \"x \\\" y\n\
            # Table `nat' is incompatible, use 'nft' tool.\nz\" -j DROP\nCOMMIT\n";
        assert_eq!(from_stdout(dump), []);
    }
}
