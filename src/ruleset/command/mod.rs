//! The head of a command line: counters, table, command, chain and number. What follows is the rule's
//! specification and is left alone.
//!
//! iptables-save only ever writes `-A`; iptables-restore takes every command of iptables(8), in short,
//! joined (`-AINPUT`) and long form, long ones cut short as far as they stay unambiguous, as
//! getopt_long(3) has it. They are rows of a table here.

mod words;

use std::ops::Range;

use super::Counters;
use super::model::Policy;
use super::spec::lexer::{Word, is_blank};
use words::Words;

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Append {
        chain: &'a [u8],
    },
    /// `at` counts from 1.
    Insert {
        chain: &'a [u8],
        at: u32,
    },
    DeleteNumber {
        chain: &'a [u8],
        number: u32,
    },
    DeleteRule {
        chain: &'a [u8],
    },
    Replace {
        chain: &'a [u8],
        number: u32,
    },
    Policy {
        chain: &'a [u8],
        policy: Policy,
    },
    New {
        chain: &'a [u8],
    },
    DeleteChain {
        chain: Option<&'a [u8]>,
    },
    Flush {
        chain: Option<&'a [u8]>,
    },
    /// Zeroes counters of what is loaded already.
    Zero,
    Rename {
        old: &'a [u8],
        new: &'a [u8],
    },
    /// Lists, checks or explains; changes nothing.
    Query,
}

/// A command line, read up to its specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandLine<'a> {
    pub counters: Option<Counters>,
    /// `-t table`, which iptables-restore refuses and people write.
    pub table: Option<&'a [u8]>,
    pub command: Command<'a>,
    /// Of the line.
    pub spec: Range<usize>,
}

/// A line that is no command: where, and what was expected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub at: usize,
    pub expected: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Append,
    Insert,
    Delete,
    Replace,
    Policy,
    New,
    DeleteChain,
    Flush,
    Zero,
    Rename,
    Query,
}

/// Every command of iptables(8).
const VERBS: &[(u8, &str, Verb)] = &[
    (b'A', "append", Verb::Append),
    (b'I', "insert", Verb::Insert),
    (b'D', "delete", Verb::Delete),
    (b'R', "replace", Verb::Replace),
    (b'P', "policy", Verb::Policy),
    (b'N', "new-chain", Verb::New),
    (b'X', "delete-chain", Verb::DeleteChain),
    (b'F', "flush", Verb::Flush),
    (b'Z', "zero", Verb::Zero),
    (b'E', "rename-chain", Verb::Rename),
    (b'C', "check", Verb::Query),
    (b'L', "list", Verb::Query),
    (b'S', "list-rules", Verb::Query),
    (b'h', "help", Verb::Query),
    (b'V', "version", Verb::Query),
];

/// Read the head of a command line.
pub(super) fn read(body: &[u8]) -> Result<CommandLine<'_>, Refusal> {
    // What the save tool writes, without looking for anything else.
    if let Some(rest) = body.strip_prefix(b"-A ")
        && let Some(line) = read_append(body, rest, None)
    {
        return Ok(line);
    }
    let mut at = 0;
    let mut counters = None;
    if body.first() == Some(&b'[') {
        let (read, length) = Counters::from_brackets(body).ok_or(Refusal {
            at: 0,
            expected: "counters as [packets:bytes]",
        })?;
        counters = Some(read);
        at = length;
        let rest = body.get(at..).unwrap_or_default();
        if let Some(rest) = rest.strip_prefix(b" -A ")
            && let Some(line) = read_append(body, rest, counters)
        {
            return Ok(line);
        }
    }
    read_any(body, at, counters)
}

fn read_append<'a>(
    body: &'a [u8],
    rest: &'a [u8],
    counters: Option<Counters>,
) -> Option<CommandLine<'a>> {
    let length = memchr::memchr2(b' ', b'\t', rest).unwrap_or(rest.len());
    let chain = rest.get(..length)?;
    if chain.first() == Some(&b'"') || !is_chain_name(chain) {
        return None;
    }
    let spec = rest.get(length..)?.trim_ascii_start();
    Some(CommandLine {
        counters,
        table: None,
        command: Command::Append { chain },
        spec: body.len() - spec.len()..body.len(),
    })
}

fn read_any(
    body: &[u8],
    from: usize,
    counters: Option<Counters>,
) -> Result<CommandLine<'_>, Refusal> {
    let mut words = Words::new(body, from);
    let mut table = None;
    loop {
        let Some(word) = words.next() else {
            return Err(Refusal {
                at: body.len(),
                expected: "a command such as -A CHAIN",
            });
        };
        match word.raw {
            b"-t" | b"--table" => table = Some(words.name("a table name after -t")?),
            b"-w" | b"--wait" => words.skip_number(),
            b"-4" | b"-6" | b"--ipv4" | b"--ipv6" => {}
            _ => {
                let (verb, attached) = verb(&word).ok_or(Refusal {
                    at: from + word.start,
                    expected: "a command such as -A CHAIN",
                })?;
                let command = arguments(verb, attached, &mut words)?;
                let spec = words.rest().trim_ascii_start();
                return Ok(CommandLine {
                    counters,
                    table,
                    command,
                    spec: body.len() - spec.len()..body.len(),
                });
            }
        }
    }
}

/// The command that a word is, and what is joined to it: `-AINPUT`, `--append=INPUT`.
fn verb<'a>(word: &Word<'a>) -> Option<(Verb, Option<&'a [u8]>)> {
    if word.quoted {
        return None;
    }
    if let Some(long) = word.raw.strip_prefix(b"--") {
        let mut parts = long.splitn(2, |b| *b == b'=');
        let name = parts.next()?;
        let exact = VERBS.iter().find(|row| row.1.as_bytes() == name);
        let mut short = VERBS
            .iter()
            .filter(|row| name.len() > 1 && row.1.as_bytes().starts_with(name));
        let row = exact.or_else(|| match (short.next(), short.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        })?;
        return Some((row.2, parts.next()));
    }
    let (letter, joined) = word.raw.strip_prefix(b"-")?.split_first()?;
    let row = VERBS.iter().find(|row| row.0 == *letter)?;
    Some((row.2, Some(joined).filter(|joined| !joined.is_empty())))
}

/// What the tool takes for a chain name: blanks end it, `-` and `!` would be taken for options.
fn is_chain_name(name: &[u8]) -> bool {
    !name.is_empty()
        && !matches!(name.first(), Some(b'-' | b'!'))
        && !name.iter().any(|b| is_blank(*b))
}

fn arguments<'a>(
    verb: Verb,
    joined: Option<&'a [u8]>,
    words: &mut Words<'a>,
) -> Result<Command<'a>, Refusal> {
    let needs_chain = !matches!(
        verb,
        Verb::Query | Verb::Flush | Verb::Zero | Verb::DeleteChain
    );
    let at = words.at();
    let chain = match joined {
        Some(joined) => Some(joined),
        None if needs_chain => Some(words.name("a chain name")?),
        None => words.optional_name(),
    };
    let name = chain.unwrap_or_default();
    let refused = Refusal {
        at,
        expected: "a chain name: no blanks in it, neither '-' nor '!' before it",
    };
    if chain.is_some_and(|name| !is_chain_name(name)) && verb != Verb::Query {
        return Err(refused);
    }
    Ok(match verb {
        Verb::Append => Command::Append { chain: name },
        Verb::Insert => Command::Insert {
            chain: name,
            at: words.optional_number()?.unwrap_or(1),
        },
        Verb::Delete => match words.optional_number()? {
            Some(number) => Command::DeleteNumber {
                chain: name,
                number,
            },
            None => Command::DeleteRule { chain: name },
        },
        Verb::Replace => Command::Replace {
            chain: name,
            number: words.optional_number()?.ok_or(Refusal {
                at: words.at(),
                expected: "a rule number after -R CHAIN",
            })?,
        },
        Verb::Policy => {
            let at = words.at();
            let policy = Policy::from_word(words.name("a policy after -P CHAIN")?);
            Command::Policy {
                chain: name,
                policy: policy.ok_or(Refusal {
                    at,
                    expected: "a policy: ACCEPT, DROP or QUEUE",
                })?,
            }
        }
        Verb::New => Command::New { chain: name },
        Verb::DeleteChain => Command::DeleteChain { chain },
        Verb::Flush => Command::Flush { chain },
        Verb::Zero => Command::Zero,
        Verb::Rename => {
            let at = words.at();
            let new = words.name("the new chain name")?;
            if !is_chain_name(new) {
                return Err(Refusal { at, ..refused });
            }
            Command::Rename { old: name, new }
        }
        Verb::Query => Command::Query,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec_of(line: &str) -> &str {
        &line[read(line.as_bytes()).unwrap().spec]
    }

    fn command(line: &str) -> Command<'_> {
        read(line.as_bytes()).unwrap().command
    }

    #[test]
    fn append_in_all_its_forms() {
        for line in [
            "-A INPUT -j DROP",
            "-A\tINPUT   -j DROP",
            "-AINPUT -j DROP",
            "--append INPUT -j DROP",
            "--app INPUT -j DROP",
            "--append=INPUT -j DROP",
            "-A \"INPUT\" -j DROP",
            "[1:2] -A INPUT -j DROP",
            "[1:2]-A INPUT -j DROP",
            "[1:2]\t--append INPUT -j DROP",
            "-t filter -A INPUT -j DROP",
            "-w 5 -A INPUT -j DROP",
        ] {
            assert_eq!(command(line), Command::Append { chain: b"INPUT" }, "{line}");
            assert_eq!(spec_of(line), "-j DROP", "{line}");
        }
        assert_eq!(spec_of("-A INPUT"), "");
        assert_eq!(read(b"-t nat -A X").unwrap().table, Some(&b"nat"[..]));
        assert_eq!(
            read(b"[3:4] -A X").unwrap().counters,
            Some(Counters {
                packets: 3,
                bytes: 4
            })
        );
        assert_eq!(command("-A a\"b -j X"), Command::Append { chain: b"a\"b" });
    }

    #[test]
    fn the_other_commands() {
        let c: &[u8] = b"c";
        let cases = [
            ("-I c -j X", Command::Insert { chain: c, at: 1 }),
            ("-I c 3 -j X", Command::Insert { chain: c, at: 3 }),
            (
                "-D c 2",
                Command::DeleteNumber {
                    chain: c,
                    number: 2,
                },
            ),
            ("-D c -j X", Command::DeleteRule { chain: c }),
            (
                "-R c 2 -j X",
                Command::Replace {
                    chain: c,
                    number: 2,
                },
            ),
            (
                "-P c DROP",
                Command::Policy {
                    chain: c,
                    policy: Policy::Drop,
                },
            ),
            ("-N c", Command::New { chain: c }),
            ("-X", Command::DeleteChain { chain: None }),
            ("-X c", Command::DeleteChain { chain: Some(c) }),
            ("--delete-chain", Command::DeleteChain { chain: None }),
            ("-F", Command::Flush { chain: None }),
            ("--flush c", Command::Flush { chain: Some(c) }),
            ("-Z c 2", Command::Zero),
            ("-E c d", Command::Rename { old: c, new: b"d" }),
            ("-L -n", Command::Query),
            ("-h", Command::Query),
            ("--list-rules", Command::Query),
        ];
        for (line, expected) in cases {
            assert_eq!(command(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_no_command_says_where_and_what() {
        let cases = [
            ("-A", 2, "a chain name"),
            ("-R c -j X", 5, "a rule number after -R CHAIN"),
            ("-P c MAYBE", 5, "a policy: ACCEPT, DROP or QUEUE"),
            ("-I c 0 -j X", 5, "a rule number from 1 to 4294967295"),
            (
                "-I c 99999999999 -j X",
                5,
                "a rule number from 1 to 4294967295",
            ),
            ("[1:x] -A c", 0, "counters as [packets:bytes]"),
            ("[1:2]", 5, "a command such as -A CHAIN"),
            ("-j ACCEPT -A c", 0, "a command such as -A CHAIN"),
            ("--de c", 0, "a command such as -A CHAIN"),
            ("-t", 2, "a table name after -t"),
            (
                "-A -j ACCEPT",
                3,
                "a chain name: no blanks in it, neither '-' nor '!' before it",
            ),
            (
                "-A \"a b\" -j X",
                3,
                "a chain name: no blanks in it, neither '-' nor '!' before it",
            ),
            (
                "-E a !b",
                5,
                "a chain name: no blanks in it, neither '-' nor '!' before it",
            ),
        ];
        for (line, at, expected) in cases {
            assert_eq!(
                read(line.as_bytes()),
                Err(Refusal { at, expected }),
                "{line}"
            );
        }
    }
}
