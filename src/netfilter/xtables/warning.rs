//! What the save tools admit beside the rules, as types.
//!
//! Three of their sentences mean that the dump is not the whole firewall; the model knows them
//! ([`ruleset::Warning`](crate::ruleset::Warning)), since they stand in saved files too. Any other line on
//! standard error is kept as it is.

use std::fmt;

use crate::ruleset;

/// One thing that a save tool said. Names and texts come from outside: strip them before drawing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warning {
    /// A sentence that means that the dump is not the whole firewall, from standard error (legacy tables
    /// beside nft ones) or standard output (tables and chains that iptables cannot show).
    Known(ruleset::Warning),
    /// Any other line on standard error, without its end.
    Other(String),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(warning) => warning.fmt(f),
            Self::Other(text) => f.write_str(text),
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
            ruleset::Warning::recognise(line.as_bytes())
                .map_or_else(|| Warning::Other(line.to_owned()), Warning::Known)
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
            found.extend(ruleset::Warning::recognise(line).map(Warning::Known));
        } else {
            quoted = ends_quoted(line, quoted);
        }
    }
    found
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
    use crate::ruleset::Warning::{IncompatibleBaseChains, LegacyTablesPresent, TableIncompatible};

    #[test]
    fn stderr_lines_are_recognised_or_kept() {
        let found = from_stderr(
            "# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n\nodd \n",
        );
        let expected = [
            Warning::Known(LegacyTablesPresent),
            Warning::Other("odd".into()),
        ];
        assert_eq!(found, expected);
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
                Warning::Known(IncompatibleBaseChains("filter".into())),
                Warning::Known(TableIncompatible("nat".into())),
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
