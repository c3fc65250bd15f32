//! Whether a specification that somebody typed can be a rule of a chain.
//!
//! What is refused here is what no back end would take, or would take for something else: words that
//! belong to nothing, a jump to a chain that is not there, a loop, bytes that forge a line of restore
//! input. The fine print of values and extensions is the back end's to judge (`iptables-restore --test`),
//! whose verdict is asked for before a rule is staged: it knows service names and extensions that this
//! program does not.

use crate::ruleset::spec::lexer::Lexer;
use crate::ruleset::spec::{Match, Misread, Spec, Target, Unknown};
use crate::ruleset::{Family, jump_in};

use super::draft::{ChainId, Draft};
use super::graph::path;
use super::refused::{Refused, shown};

/// Longest rule that is handed to the tools, in bytes: iptables-restore reads lines of 10,240 bytes and
/// takes the rest of a longer one for the next.
pub(super) const LONGEST: usize = 9_900;

/// Why the text of a rule would become something else on its way through iptables-restore; `None` where
/// it would not.
pub(super) fn unwritable(
    spec: &[u8],
    family: Family,
    is_chain: &dyn Fn(&[u8]) -> bool,
) -> Option<&'static str> {
    if memchr::memchr3(b'\n', b'\r', 0, spec).is_some() {
        return Some("a line end in it: iptables-restore would read two rules");
    }
    if spec.len() > LONGEST {
        return Some("it is longer than a line that iptables-restore reads");
    }
    if let Some((name, _)) = jump_in(spec)
        && memchr::memchr(b'"', spec.get(name).unwrap_or_default()).is_some()
    {
        return Some("a quote in the name of a chain, which iptables-restore cannot read");
    }
    let odd = !Spec::parse(spec, family, is_chain).stray.is_empty();
    odd.then_some(
        "words in it that belong to no option: what iptables-save printed is not the whole rule",
    )
}

/// Refuses a specification that cannot be a rule of that chain.
pub(super) fn check(draft: &Draft, chain: ChainId, spec: &[u8]) -> Result<(), Refused> {
    let bad = |at: usize, words: &str| Refused::Spec {
        column: at + 1,
        words: words.to_owned(),
    };
    if let Some(at) = memchr::memchr3(b'\n', b'\r', 0, spec) {
        return Err(bad(
            at,
            "a rule is one line, without line ends or zero bytes",
        ));
    }
    if spec.len() > LONGEST {
        return Err(bad(
            LONGEST,
            "longer than a line that iptables-restore reads",
        ));
    }
    words(spec)?;
    let family = draft.base.family();
    let table = draft.chain(chain).map_or(usize::MAX, |chain| chain.table);
    let is_chain = |name: &[u8]| draft.standing_chain(table, name).is_some();
    let read = Spec::parse(spec, family, &is_chain);
    if let Some(word) = read.stray.first() {
        let words = format!(
            "{} belongs to no option, or its option stands twice or lacks its value",
            shown(word.raw)
        );
        return Err(bad(word.start, &words));
    }
    if let Some(only) = read.only_family.filter(|only| *only != family) {
        let at =
            Lexer::new(spec).find(|word| matches!(word.raw, b"-4" | b"-6" | b"--ipv4" | b"--ipv6"));
        let words = format!(
            "a rule for {} in the ruleset of {}",
            only.name(),
            family.name()
        );
        return Err(bad(at.map_or(0, |word| word.start), &words));
    }
    for unknown in read.matches.iter().filter_map(|one| match one {
        Match::Unknown(unknown) => Some(unknown),
        _ => None,
    }) {
        whole(unknown)?;
    }
    if let Some(Target::Unknown(unknown)) = &read.target {
        whole(unknown)?;
    }
    target(draft, chain, spec)
}

/// Words that show at once that this is no specification.
fn words(spec: &[u8]) -> Result<(), Refused> {
    for word in Lexer::new(spec) {
        let refuse = |words: &str| {
            Err(Refused::Spec {
                column: word.start + 1,
                words: words.to_owned(),
            })
        };
        if !word.quoted && word.raw.first() == Some(&b'"') {
            return refuse("this quote is not closed");
        }
        match word.raw {
            b"-t" | b"--table" => {
                return refuse("a rule belongs to the table of its chain: leave the table out");
            }
            b"-A" | b"-I" | b"-D" | b"-R" | b"-C" | b"--append" | b"--insert" | b"--delete"
            | b"--replace" | b"--check"
                if word.start == 0 =>
            {
                return refuse("give the rule alone, without command and chain");
            }
            b"iptables" | b"ip6tables" if word.start == 0 => {
                return refuse("give the rule alone, without the program, command and chain");
            }
            b"-w" | b"--wait" | b"--modprobe" => {
                return refuse("an option of the program, not of a rule");
            }
            _ => {}
        }
    }
    Ok(())
}

/// A match or target that is known and was given what it cannot have.
fn whole(unknown: &Unknown<'_>) -> Result<(), Refused> {
    let Some(why) = unknown.why.filter(Misread::is_of_form) else {
        return Ok(());
    };
    let option = if why.option.is_empty() {
        String::new()
    } else {
        format!("--{} ", why.option)
    };
    Err(Refused::Spec {
        column: unknown.args.first().map_or(1, |word| word.start + 1),
        words: format!("{}: {option}takes {}", shown(&unknown.name), why.expected),
    })
}

/// Where it jumps must be there, in its own table, and not lead back.
fn target(draft: &Draft, chain: ChainId, spec: &[u8]) -> Result<(), Refused> {
    let Some((at, goto)) = jump_in(spec) else {
        return Ok(());
    };
    let name = spec.get(at.clone()).unwrap_or_default();
    let column = at.start + 1;
    let table = draft.chain(chain).map_or(usize::MAX, |chain| chain.table);
    let refuse = |words: String| Err(Refused::Spec { column, words });
    if name.is_empty() || memchr::memchr(b'"', name).is_some() {
        return refuse("a target or chain, without quotes in its name".to_owned());
    }
    if !goto && is_target(name) {
        return Ok(());
    }
    let Some(to) = draft.standing_chain(table, name) else {
        let elsewhere =
            (0..draft.tables.len()).find(|other| draft.standing_chain(*other, name).is_some());
        let elsewhere = elsewhere.and_then(|other| draft.tables.get(other));
        let own = draft
            .tables
            .get(table)
            .map_or(String::new(), |table| shown(&table.name));
        return refuse(match elsewhere {
            Some(other) => format!(
                "chain {} is in table {}, and rules jump within their own table, {own}",
                shown(name),
                shown(&other.name)
            ),
            None => format!(
                "{} is neither a target nor a chain of table {own}",
                shown(name)
            ),
        });
    };
    if draft.chain(to).is_some_and(|chain| chain.builtin) {
        return refuse(format!(
            "{} is called by the kernel: no rule can jump to it",
            shown(name)
        ));
    }
    match path(draft, to, chain) {
        Some(found) => {
            let mut path = vec![chain];
            path.extend(found);
            let name = |id: ChainId| {
                draft
                    .chain(id)
                    .map_or(String::new(), |chain| shown(&chain.head.name))
            };
            Err(Refused::Loop {
                column,
                path: path.into_iter().map(name).collect(),
            })
        }
        None => Ok(()),
    }
}

/// Targets of iptables-extensions(8) of 1.8.11 and of xtables-addons(8), old ones included.
const TARGETS: &[&str] = &[
    "ACCEPT",
    "ACCOUNT",
    "AUDIT",
    "BALANCE",
    "CHAOS",
    "CHECKSUM",
    "CLASSIFY",
    "CLUSTERIP",
    "CONNMARK",
    "CONNSECMARK",
    "CT",
    "DELUDE",
    "DHCPMAC",
    "DNAT",
    "DNETMAP",
    "DNPT",
    "DROP",
    "DSCP",
    "DUP",
    "ECHO",
    "ECN",
    "FLOWOFFLOAD",
    "HL",
    "HMARK",
    "IDLETIMER",
    "IPMARK",
    "LED",
    "LOG",
    "LOGMARK",
    "MARK",
    "MASQUERADE",
    "MIRROR",
    "NETFLOW",
    "NETMAP",
    "NFLOG",
    "NFQUEUE",
    "NOTRACK",
    "PROTO",
    "QUEUE",
    "RATEEST",
    "RAWDNAT",
    "RAWSNAT",
    "REDIRECT",
    "REJECT",
    "RETURN",
    "RTPENGINE",
    "SAME",
    "SECMARK",
    "SET",
    "SNAT",
    "SNPT",
    "STEAL",
    "SYNPROXY",
    "SYSRQ",
    "TARPIT",
    "TCPMSS",
    "TCPOPTSTRIP",
    "TEE",
    "TOS",
    "TPROXY",
    "TRACE",
    "TTL",
    "ULOG",
];

/// A name that the tools take for a target.
pub(super) fn is_target(name: &[u8]) -> bool {
    TARGETS
        .binary_search_by(|target| target.as_bytes().cmp(name))
        .is_ok()
}

/// Longest chain name, in bytes (`XT_EXTENSION_MAXNAMELEN` less the terminating zero).
const NAME_LIMIT: usize = 28;

/// Refuses a name that the tools do not take for a new chain (xtables_chain_name_valid and
/// parse_chain of iptables 1.8.9).
pub(super) fn check_name(name: &[u8]) -> Result<(), Refused> {
    let words = if name.is_empty() {
        "it is empty"
    } else if name.len() > NAME_LIMIT {
        "it is longer than 28 bytes"
    } else if matches!(name.first(), Some(b'-' | b'!')) {
        "it starts with '-' or '!', which the tools take for an option"
    } else if name
        .iter()
        .any(|b| b.is_ascii_whitespace() || b.is_ascii_control())
    {
        "it holds a blank or a control character"
    } else if name.contains(&b'"') {
        "it holds a quote, which iptables-restore cannot read"
    } else if is_target(name) {
        "a target has that name"
    } else {
        return Ok(());
    };
    Err(Refused::Name {
        name: shown(name),
        words,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_targets_is_sorted() {
        assert!(TARGETS.is_sorted());
        assert!(is_target(b"DROP") && !is_target(b"drop"));
    }

    #[test]
    fn names() {
        for good in [
            "a",
            "f2b-sshd",
            "DOCKER-USER",
            "a:b",
            "it's",
            "accept",
            "x".repeat(28).as_str(),
        ] {
            assert_eq!(check_name(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [
            "",
            "-a",
            "!a",
            "a b",
            "a\tb",
            "a\"b",
            "ACCEPT",
            "LOG",
            "a\x1bb",
            "x".repeat(29).as_str(),
        ] {
            assert!(check_name(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
