//! ICMP types and codes of both families, by number and by the names that iptables knows.

use super::super::options::{Given, MatchExtension, Misread, opt};
use super::super::value::{small, split_once};
use super::super::words::Phrase;
use super::Match;

pub(super) const EXTENSIONS: &[MatchExtension] = &[
    MatchExtension {
        names: &["icmp"],
        options: &[opt(&["icmp-type"], 1)],
        read: icmp,
    },
    MatchExtension {
        names: &["icmp6", "icmpv6"],
        options: &[opt(&["icmpv6-type"], 1)],
        read: icmp6,
    },
];

/// `-m icmp` and `-m icmp6`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Icmp {
    /// ICMPv6, not ICMP.
    pub v6: bool,
    /// The option was inverted.
    pub invert: bool,
    /// Type; `None` for any.
    pub kind: Option<u8>,
    /// Code; `None` for any.
    pub code: Option<u8>,
}

impl Icmp {
    /// Whether a packet of that type and code passes.
    pub fn holds(&self, kind: u8, code: u8) -> bool {
        let kind_fits = self.kind.is_none_or(|wanted| wanted == kind);
        let code_fits = self.code.is_none_or(|wanted| wanted == code);
        (kind_fits && code_fits) != self.invert
    }

    /// The name of its type and code, as iptables knows it.
    pub fn type_name(&self) -> Option<&'static str> {
        let names = if self.v6 { NAMES_V6 } else { NAMES_V4 };
        let row = names
            .iter()
            .find(|row| Some(row.1) == self.kind && row.2 == self.code)?;
        Some(row.0)
    }

    pub(super) fn name(self) -> &'static str {
        if self.v6 { "icmp6" } else { "icmp" }
    }

    pub(super) fn describe(self, phrase: &mut Phrase) {
        let key = if self.v6 { "icmpv6-type" } else { "icmp-type" };
        match (self.kind, self.code) {
            (None, _) if !self.invert => {}
            (None, _) => phrase.keyed(true, key, "any"),
            (Some(kind), None) => phrase.keyed(self.invert, key, kind),
            (Some(kind), Some(code)) => {
                phrase.keyed(self.invert, key, format_args!("{kind}/{code}"));
            }
        }
    }
}

fn icmp<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    read(given, false)
}

fn icmp6<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    read(given, true)
}

fn read<'a>(given: &Given<'a>, v6: bool) -> Result<Match<'a>, Misread> {
    let mut icmp = Icmp {
        v6,
        ..Icmp::default()
    };
    if let Some(option) = given.options.first() {
        let names = if v6 { NAMES_V6 } else { NAMES_V4 };
        let read = |text: &[u8]| type_and_code(text, names);
        let (kind, code) = option.read(read, "an ICMP type, type/code or name")?;
        icmp.invert = option.invert;
        // The kernel takes type 255 of ICMP for any type and code (icmp_type_code_match).
        if v6 || kind != Some(255) {
            (icmp.kind, icmp.code) = (kind, code);
        }
    }
    Ok(Match::Icmp(icmp))
}

type TypeAndCode = (Option<u8>, Option<u8>);

fn type_and_code(text: &[u8], names: &[Name]) -> Option<TypeAndCode> {
    if text.eq_ignore_ascii_case(b"any") {
        return Some((None, None));
    }
    if let Some(row) = names
        .iter()
        .find(|row| row.0.as_bytes().eq_ignore_ascii_case(text))
    {
        return Some((Some(row.1), row.2));
    }
    match split_once(text, b'/') {
        Some((kind, code)) => Some((Some(small(kind)?), Some(small(code)?))),
        None => Some((Some(small(text)?), None)),
    }
}

/// Name, type, code. `iptables -p icmp -h` prints them.
type Name = (&'static str, u8, Option<u8>);

const NAMES_V4: &[Name] = &[
    ("echo-reply", 0, None),
    ("pong", 0, None),
    ("destination-unreachable", 3, None),
    ("network-unreachable", 3, Some(0)),
    ("host-unreachable", 3, Some(1)),
    ("protocol-unreachable", 3, Some(2)),
    ("port-unreachable", 3, Some(3)),
    ("fragmentation-needed", 3, Some(4)),
    ("source-route-failed", 3, Some(5)),
    ("network-unknown", 3, Some(6)),
    ("host-unknown", 3, Some(7)),
    ("network-prohibited", 3, Some(9)),
    ("host-prohibited", 3, Some(10)),
    ("TOS-network-unreachable", 3, Some(11)),
    ("TOS-host-unreachable", 3, Some(12)),
    ("communication-prohibited", 3, Some(13)),
    ("host-precedence-violation", 3, Some(14)),
    ("precedence-cutoff", 3, Some(15)),
    ("source-quench", 4, None),
    ("redirect", 5, None),
    ("network-redirect", 5, Some(0)),
    ("host-redirect", 5, Some(1)),
    ("TOS-network-redirect", 5, Some(2)),
    ("TOS-host-redirect", 5, Some(3)),
    ("echo-request", 8, None),
    ("ping", 8, None),
    ("router-advertisement", 9, None),
    ("router-solicitation", 10, None),
    ("time-exceeded", 11, None),
    ("ttl-exceeded", 11, None),
    ("ttl-zero-during-transit", 11, Some(0)),
    ("ttl-zero-during-reassembly", 11, Some(1)),
    ("parameter-problem", 12, None),
    ("ip-header-bad", 12, Some(0)),
    ("required-option-missing", 12, Some(1)),
    ("timestamp-request", 13, None),
    ("timestamp-reply", 14, None),
    ("address-mask-request", 17, None),
    ("address-mask-reply", 18, None),
];

const NAMES_V6: &[Name] = &[
    ("destination-unreachable", 1, None),
    ("no-route", 1, Some(0)),
    ("communication-prohibited", 1, Some(1)),
    ("beyond-scope", 1, Some(2)),
    ("address-unreachable", 1, Some(3)),
    ("port-unreachable", 1, Some(4)),
    ("failed-policy", 1, Some(5)),
    ("reject-route", 1, Some(6)),
    ("packet-too-big", 2, None),
    ("time-exceeded", 3, None),
    ("ttl-exceeded", 3, None),
    ("ttl-zero-during-transit", 3, Some(0)),
    ("ttl-zero-during-reassembly", 3, Some(1)),
    ("parameter-problem", 4, None),
    ("bad-header", 4, Some(0)),
    ("unknown-header-type", 4, Some(1)),
    ("unknown-option", 4, Some(2)),
    ("echo-request", 128, None),
    ("ping", 128, None),
    ("echo-reply", 129, None),
    ("pong", 129, None),
    ("mld-listener-query", 130, None),
    ("mld-listener-report", 131, None),
    ("mld-listener-done", 132, None),
    ("mld-listener-reduction", 132, None),
    ("router-solicitation", 133, None),
    ("router-advertisement", 134, None),
    ("neighbour-solicitation", 135, None),
    ("neighbor-solicitation", 135, None),
    ("neighbour-advertisement", 136, None),
    ("neighbor-advertisement", 136, None),
    ("redirect", 137, None),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_by_number_and_name() {
        assert_eq!(type_and_code(b"8", NAMES_V4), Some((Some(8), None)));
        assert_eq!(type_and_code(b"3/4", NAMES_V4), Some((Some(3), Some(4))));
        assert_eq!(type_and_code(b"any", NAMES_V4), Some((None, None)));
        assert_eq!(
            type_and_code(b"echo-request", NAMES_V6),
            Some((Some(128), None))
        );
        assert_eq!(
            type_and_code(b"host-prohibited", NAMES_V4),
            Some((Some(3), Some(10)))
        );
        for bad in ["", "256", "3/", "/4", "nosuch"] {
            assert_eq!(type_and_code(bad.as_bytes(), NAMES_V4), None, "{bad}");
        }
    }
}
