//! The options that every rule may have, whatever matches it loads (iptables(8), "PARAMETERS").

use std::borrow::Cow;
use std::ops::Range;

use super::super::identity::counters_within;
use super::lexer::{Lexer, Word, write_quoted};
use super::options::{Opt, opt};

/// What a general option is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum General {
    Source,
    Destination,
    In,
    Out,
    Protocol,
    Fragment,
    Match,
    Jump,
    Goto,
    Counters,
    Ipv4,
    Ipv6,
    /// Of how a command is run or shown; says nothing of packets.
    Idle,
}

/// Rows of all of them.
pub(super) const GENERAL: &[(Opt, General)] = &[
    (opt(&["source", "src"], 1).short(b's'), General::Source),
    (
        opt(&["destination", "dst"], 1).short(b'd'),
        General::Destination,
    ),
    (
        opt(&["in-interface"], 1).short(b'i').unquoted(),
        General::In,
    ),
    (
        opt(&["out-interface"], 1).short(b'o').unquoted(),
        General::Out,
    ),
    (
        opt(&["protocol", "proto"], 1).short(b'p'),
        General::Protocol,
    ),
    (opt(&["fragments"], 0).short(b'f'), General::Fragment),
    (opt(&["match"], 1).short(b'm'), General::Match),
    (opt(&["jump"], 1).short(b'j').unquoted(), General::Jump),
    (opt(&["goto"], 1).short(b'g').unquoted(), General::Goto),
    (opt(&["set-counters"], 2).short(b'c'), General::Counters),
    (opt(&["ipv4"], 0).short(b'4'), General::Ipv4),
    (opt(&["ipv6"], 0).short(b'6'), General::Ipv6),
    (opt(&["verbose"], 0).short(b'v'), General::Idle),
    (opt(&["numeric"], 0).short(b'n'), General::Idle),
    (opt(&["exact"], 0).short(b'x'), General::Idle),
    (opt(&["line-numbers"], 0), General::Idle),
    (opt(&["modprobe"], 1), General::Idle),
];

/// How many rules a line makes: one, or one for each pair of a source and a destination address where
/// `-s a,b` or `-d a,b` lists several.
pub(in super::super) fn address_choices(spec: &[u8]) -> u32 {
    if memchr::memchr(b',', spec).is_none() {
        return 1;
    }
    let (mut sources, mut destinations) = (None, None);
    for (about, value) in listed_addresses(spec) {
        let side = match about {
            General::Source => &mut sources,
            _ => &mut destinations,
        };
        // Given twice the tool refuses it, and what it would mean is not clear.
        if side.replace(items(&value.text)).is_some() {
            return 1;
        }
    }
    let count = sources
        .unwrap_or(1)
        .saturating_mul(destinations.unwrap_or(1));
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The values of `-s` and `-d`, but for inverted ones.
fn listed_addresses(spec: &[u8]) -> impl Iterator<Item = (General, Word<'_>)> {
    let mut words = Lexer::new(spec).peekable();
    let mut inverted = false;
    std::iter::from_fn(move || {
        loop {
            let word = words.next()?;
            let about = about_address(word.raw).filter(|_| !word.quoted && !inverted);
            inverted = word.is(b"!");
            let Some(about) = about else { continue };
            if let Some(value) = words.next_if(|next| !next.is(b"!")) {
                return Some((about, value));
            }
        }
    })
}

/// Write an address so that it reads back: in quotes only where somebody put such things into one.
fn write_plain(out: &mut Vec<u8>, text: &[u8]) {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'/' | b'-');
    if text.iter().all(plain) && !text.is_empty() {
        out.extend_from_slice(text);
    } else {
        write_quoted(out, text);
    }
}

fn items(list: &[u8]) -> usize {
    memchr::memchr_iter(b',', list).count() + 1
}

/// The specification of one of the rules that a line with address lists makes: each list cut down to
/// the address of that choice, sources outside and destinations inside.
pub(in super::super) fn with_choice(spec: &[u8], choice: u32) -> Cow<'_, [u8]> {
    let count = address_choices(spec);
    if count < 2 {
        return Cow::Borrowed(spec);
    }
    let destinations = listed_addresses(spec)
        .find(|(about, _)| *about == General::Destination)
        .map_or(1, |(_, value)| items(&value.text));
    let choice = choice as usize;
    let mut out = Vec::with_capacity(spec.len());
    let mut done = 0;
    for (about, value) in listed_addresses(spec) {
        let index = match about {
            General::Source => choice / destinations,
            _ => choice % destinations,
        };
        out.extend_from_slice(spec.get(done..value.start).unwrap_or_default());
        let address = value.text.split(|b| *b == b',').nth(index);
        write_plain(&mut out, address.unwrap_or_default());
        done = value.end();
    }
    out.extend_from_slice(spec.get(done..).unwrap_or_default());
    Cow::Owned(out)
}

fn about_address(option: &[u8]) -> Option<General> {
    match option {
        b"-s" | b"--source" | b"--src" => Some(General::Source),
        b"-d" | b"--destination" | b"--dst" => Some(General::Destination),
        _ => None,
    }
}

/// Where a specification jumps, without reading the rest of it: where the name after `-j` or `-g` stands,
/// and whether it is `-g`.
pub(in super::super) fn jump(spec: &[u8]) -> Option<(Range<usize>, bool)> {
    let mut words = Lexer::new(spec);
    while let Some(word) = words.next() {
        if word.quoted || word.raw.first() != Some(&b'-') {
            continue;
        }
        let goto = match word.raw {
            b"-j" | b"--jump" => false,
            b"-g" | b"--goto" => true,
            _ => continue,
        };
        let name = words.name()?;
        // A name in quotes holds no escapes.
        let quote = usize::from(name.quoted);
        return Some((name.start + quote..name.end() - quote, goto));
    }
    None
}

/// The counters in a specification, for the typed form.
pub(super) fn counters(spec: &[u8]) -> Option<super::super::Counters> {
    counters_within(spec).map(|found| found.counters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_addresses_make_more_rules() {
        let cases = [
            ("-s 1.1.1.1 -m multiport --dports 1,2", 1),
            ("-s 1.1.1.1,2.2.2.2 -j X", 2),
            ("--src 1.1.1.1,2.2.2.2 -d 3.3.3.3,4.4.4.4,5.5.5.5", 6),
            ("! -s 1.1.1.1,2.2.2.2", 1),
            ("-s ! 1.1.1.1,2.2.2.2", 1),
            ("-s 1.1.1.1,2.2.2.2 -s 3.3.3.3", 1),
            ("-m comment --comment \"-s 1,2\"", 1),
        ];
        for (spec, expected) in cases {
            assert_eq!(address_choices(spec.as_bytes()), expected, "{spec}");
        }
    }

    #[test]
    fn the_jump_is_found() {
        let cases: [(&str, Option<(&str, bool)>); 6] = [
            ("-p tcp -j ACCEPT", Some(("ACCEPT", false))),
            ("-g RETURN", Some(("RETURN", true))),
            (
                "-m comment --comment \"-j DROP\" --jump a\"b -c",
                Some(("a\"b", false)),
            ),
            ("-j \"quoted\"", Some(("quoted", false))),
            ("-j", None),
            ("", None),
        ];
        for (spec, expected) in cases {
            let found = jump(spec.as_bytes()).map(|(name, goto)| (&spec[name], goto));
            assert_eq!(found, expected, "{spec}");
        }
    }
}
