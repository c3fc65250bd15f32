//! What is wrong with a rule while it is typed: where, and what was expected.
//!
//! The back end has the last word before anything is staged (it loads the rule in a scratch namespace);
//! this is the quick one, at every key. An [`Severity::Error`] is refused by the kernel or its tool for
//! certain; a warning may be refused or is likely not what is meant; a note says what the kernel will make
//! of it. What is not known here, a match of tomorrow, is a warning and never an error.
//!
//! - this file: words that belong nowhere, and what the reader of rules did not understand.
//! - `values`: ports, addresses, interfaces, texts. - `place`: what may stand in this table and chain.

mod place;
mod values;

use std::ops::Range;

use super::catalog::Catalog;
use super::complete::Names;
use super::fields::{Field, Shown};
use super::{Site, text};
use crate::ruleset::Severity;
use crate::ruleset::spec::{Layout, Match, Misread, Piece, Spec, Target};

/// One thing that is wrong, or remarkable, in a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the text of the rule, in bytes; empty where something is missing.
    pub at: Range<usize>,
    /// The field that shows that place.
    pub field: Option<Field>,
    /// How much it weighs.
    pub severity: Severity,
    /// What is wrong or was expected, as a phrase. May hold text of the rule: strip before drawing.
    pub words: String,
}

/// Everything that is wrong with a rule, in the order of its text; the heaviest of a place first.
pub fn check(raw: &[u8], site: &Site, names: &Names) -> Vec<Problem> {
    let is_chain = |name: &[u8]| site.is_chain(name);
    let (spec, layout) = Layout::read(raw, site.family, &is_chain);
    let mut rule = Rule {
        raw,
        site,
        names,
        spec: &spec,
        layout: &layout,
        found: Vec::new(),
    };
    rule.unread();
    rule.unknown();
    values::check(&mut rule);
    place::check(&mut rule);
    let mut found = rule.found;
    found.sort_by(|a, b| {
        let weight = b.severity.cmp(&a.severity);
        a.at.start.cmp(&b.at.start).then(weight)
    });
    found.dedup_by(|b, a| a.at == b.at && a.words == b.words);
    let shown = Field::ALL.map(|field| (field, Shown::of(field, &spec, &layout).pieces()));
    for problem in &mut found {
        let pieces = layout.pieces.iter().enumerate();
        let mut inside = pieces.filter(|(_, piece)| {
            let range = piece.range();
            range.start <= problem.at.start && problem.at.end <= range.end
        });
        if let Some((at, _)) = inside.next() {
            let field = shown.iter().find(|(_, pieces)| pieces.contains(&at));
            problem.field = problem.field.or(field.map(|found| found.0));
        }
    }
    found
}

/// A rule that is being looked at.
struct Rule<'r, 'a> {
    raw: &'a [u8],
    site: &'r Site,
    names: &'r Names,
    spec: &'r Spec<'a>,
    layout: &'r Layout<'a>,
    found: Vec<Problem>,
}

impl<'a> Rule<'_, 'a> {
    fn say(&mut self, severity: Severity, at: Range<usize>, words: impl Into<String>) {
        self.found.push(Problem {
            at,
            field: None,
            severity,
            words: words.into(),
        });
    }

    fn error(&mut self, at: Range<usize>, words: impl Into<String>) {
        self.say(Severity::Error, at, words);
    }

    /// Where the text ends: for what is missing.
    fn end(&self) -> Range<usize> {
        self.raw.len()..self.raw.len()
    }

    /// Where the value of a piece stands; the whole piece where it is part of the option's word.
    fn value_at(piece: &Piece<'_>) -> Range<usize> {
        piece
            .value_word()
            .map_or_else(|| piece.range(), |word| word.start..word.end())
    }

    /// Words and options that the rule is read without.
    fn unread(&mut self) {
        let layout = self.layout;
        let mut is_value_of_stray = false;
        for piece in layout.pieces.iter().filter(|piece| piece.is_stray) {
            let at = piece.range();
            let is_word = piece.option.is_empty();
            let raw = piece.words.first().map_or(&b""[..], |word| word.raw);
            let is_option = is_word && raw.starts_with(b"-") && raw.len() > 1;
            let same_option = |other: &&Piece<'_>| other.is_general(piece.option);
            if is_option && is_port_option(raw) {
                self.error(at, NO_PORTS);
            } else if is_option {
                let name = text::from_bytes(raw);
                self.error(
                    at,
                    format!("{name}: no match or target before it has this option"),
                );
            } else if is_word && raw == b"!" {
                self.error(at, "'!' stands before the option that it inverts");
            } else if is_word && is_value_of_stray {
                // Said of its option already.
            } else if is_word {
                let word = text::from_bytes(raw);
                self.error(
                    at,
                    format!("{word}: expected an option, such as -p, -s, -m or -j"),
                );
            } else if piece.values.is_empty()
                && !matches!(piece.option, "fragments" | "ipv4" | "ipv6")
            {
                self.error(at, format!("--{}: expected a value after it", piece.option));
            } else if layout.pieces.iter().any(|p| same_option(&p)) {
                self.error(at, format!("--{}: it is there already", piece.option));
            } else if matches!(piece.option, "jump" | "goto") && layout.target().is_some() {
                self.error(at, "a rule has one target");
            } else {
                self.error(
                    at,
                    format!("--{}: cannot be inverted, or not read", piece.option),
                );
            }
            is_value_of_stray = is_option;
        }
    }

    /// Matches and targets that the reader did not understand.
    fn unknown(&mut self) {
        let (spec, layout) = (self.spec, self.layout);
        let mut matches = spec.matches.iter();
        for (index, held) in layout.held.iter().enumerate() {
            let why = if held.is_target {
                match &spec.target {
                    Some(Target::Unknown(odd)) => Some(odd),
                    _ => None,
                }
            } else {
                match matches.next() {
                    Some(Match::Unknown(odd)) => Some(odd),
                    _ => None,
                }
            };
            match why.map(|odd| odd.why) {
                Some(Some(misread)) => self.misread(index, misread),
                Some(None) => self.not_known_here(index),
                None => {}
            }
        }
    }

    fn misread(&mut self, held: usize, misread: Misread) {
        let own = |piece: &&Piece<'a>| piece.of == Some(held);
        let layout = self.layout;
        let name = layout
            .held
            .get(held)
            .map(|held| text::from_bytes(&held.name));
        let name = name.unwrap_or_default();
        let odd = |piece: &&Piece<'a>| match misread.option {
            "" => piece.option.is_empty(),
            option => piece.option == option,
        };
        let pieces = || layout.pieces.iter().filter(own);
        // Of an option that is there twice the last is one too many.
        let found = if misread.expected == "only once" {
            pieces().rfind(odd)
        } else {
            pieces().find(odd)
        };
        match found {
            Some(piece) if misread.option.is_empty() => {
                let word = piece.words.first().map_or(&b""[..], |word| word.raw);
                let words = if is_port_option(word) {
                    NO_PORTS.to_owned()
                } else {
                    format!("{}: {name} has no such option", text::from_bytes(word))
                };
                self.error(piece.range(), words);
            }
            Some(piece) if self.is_named_service(piece) => {}
            Some(piece) => {
                let words = format!("--{}: expected {}", misread.option, misread.expected);
                self.error(Self::value_at(piece), words);
            }
            None => {
                let load = layout.held.get(held).and_then(|held| held.piece);
                let at = load.and_then(|at| layout.pieces.get(at));
                let at = at.map_or(self.end(), Piece::range);
                self.error(at, format!("{name}: expected {}", misread.expected));
            }
        }
    }

    /// A port by a name that this machine's services know, though the reader of rules does not.
    fn is_named_service(&self, piece: &Piece<'_>) -> bool {
        let is_port = piece.option.ends_with("port") || piece.option.ends_with("ports");
        let mut items = piece.value().split(|b| matches!(b, b',' | b':'));
        is_port
            && items.all(|item| {
                item.is_empty()
                    || std::str::from_utf8(item).is_ok_and(|item| {
                        item.parse::<u16>().is_ok() || self.names.has_service(item)
                    })
            })
    }

    fn not_known_here(&mut self, held: usize) {
        let Some(held) = self.layout.held.get(held) else {
            return;
        };
        let name = text::from_bytes(&held.name);
        let piece = held.piece.and_then(|at| self.layout.pieces.get(at));
        let at = piece.map_or(self.end(), Self::value_at);
        let catalog = Catalog::shipped();
        let family = self.site.family;
        let listed = if held.is_target {
            catalog.find_target(&held.name, family).is_some()
        } else {
            catalog.find_match(&held.name, family).is_some()
        };
        if listed {
            return; // the back end knows it
        }
        if catalog.is_of_other_family(&held.name, held.is_target) {
            // Said by `place`, also of what the reader understands.
        } else if held.is_target {
            let table = &self.site.table;
            self.say(
                Severity::Warning,
                at,
                format!("{name}: neither a chain of {table} nor a target that is known here"),
            );
        } else {
            self.say(
                Severity::Warning,
                at,
                format!("{name}: no match that is known here"),
            );
        }
    }
}

/// What is said of them.
const NO_PORTS: &str = "ports need -p tcp, udp, sctp, dccp or udplite before them";

/// Whether an option that nothing took is about ports.
fn is_port_option(raw: &[u8]) -> bool {
    const PORTS: [&[u8]; 4] = [
        b"--sport",
        b"--dport",
        b"--source-port",
        b"--destination-port",
    ];
    let name = raw.split(|b| *b == b'=').next().unwrap_or_default();
    PORTS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::form::tests::site;
    use crate::ruleset::Family;

    fn site_of(family: Family, table: &str, hooks: &[&str]) -> Site {
        Site {
            family,
            table: table.to_owned(),
            hooks: hooks.iter().map(|hook| (*hook).to_owned()).collect(),
            chain: hooks.first().unwrap_or(&"web").as_bytes().to_vec(),
            ..site("INPUT")
        }
    }

    /// Place in the text, weight and words of the first problem.
    fn first(rule: &str, site: &Site) -> Option<(String, Severity, String)> {
        let found = check(rule.as_bytes(), site, &Names::default());
        found.into_iter().next().map(|problem| {
            let at = rule[problem.at.clone()].to_owned();
            (at, problem.severity, problem.words)
        })
    }

    #[test]
    fn mistakes_are_found_where_they_are() {
        let input = site("INPUT");
        let v6 = site_of(Family::V6, "filter", &["INPUT"]);
        let output = site_of(Family::V4, "filter", &["OUTPUT"]);
        let prerouting = site_of(Family::V4, "nat", &["PREROUTING"]);
        let postrouting = site_of(Family::V4, "nat", &["POSTROUTING"]);
        let long = format!("-m comment --comment \"{}\"", "é".repeat(128));
        let prefix = format!("-j LOG --log-prefix {}", "x".repeat(30));
        let cases: [(&str, &Site, &str, &str); 44] = [
            (
                "--dport 22 -j ACCEPT",
                &input,
                "--dport",
                "ports need -p tcp",
            ),
            (
                "-p icmp -m multiport --dports 22",
                &input,
                "multiport",
                "needs -p tcp, udp, udplite, sctp or dccp",
            ),
            ("-m tcp --dport 22", &input, "tcp", "needs -p tcp"),
            ("! -p tcp -m tcp --dport 22", &input, "tcp", "needs -p tcp"),
            (
                "-p tcp -m tcp --dport 99999",
                &input,
                "99999",
                "expected a port",
            ),
            (
                "-p tcp -m tcp --dport nosuch",
                &input,
                "nosuch",
                "expected a port",
            ),
            (
                "-p tcp --dport 90:80",
                &input,
                "90:80",
                "from the lower to the higher",
            ),
            (
                "-p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16",
                &input,
                "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16",
                "at most 15",
            ),
            ("-p nosuch", &input, "nosuch", "expected a protocol"),
            ("! -p all", &input, "all", "nothing is left"),
            (
                "-s 10.0.0.300",
                &input,
                "10.0.0.300",
                "expected an IPv4 address",
            ),
            ("-s 10.0.0.0/33", &input, "10.0.0.0/33", "prefix"),
            (
                "-s fe80::1",
                &input,
                "fe80::1",
                "an IPv6 address in an IPv4 rule",
            ),
            (
                "-s 10.0.0.1",
                &v6,
                "10.0.0.1",
                "an IPv4 address in an IPv6 rule",
            ),
            ("-s fe80::1/129", &v6, "fe80::1/129", "prefix"),
            (
                "-s 10.0.0.5/24",
                &input,
                "10.0.0.5/24",
                "the kernel keeps 10.0.0.0/24",
            ),
            ("-s www.example.org", &input, "www.example.org", "host name"),
            (
                "-s in_valid!",
                &input,
                "in_valid!",
                "expected an IPv4 address",
            ),
            (
                "! -s 10.0.0.1,10.0.0.2",
                &input,
                "10.0.0.1,10.0.0.2",
                "one address",
            ),
            (
                "-s 10.0.0.1,10.0.0.2 -j DROP",
                &input,
                "10.0.0.1,10.0.0.2",
                "2 rules",
            ),
            (
                "-i averylongnameofit",
                &input,
                "averylongnameofit",
                "at most 15",
            ),
            ("-i eth0/1", &input, "eth0/1", "no '/'"),
            ("-i eth0", &output, "-i eth0", "OUTPUT"),
            ("-o eth0", &input, "-o eth0", "INPUT"),
            ("-o eth0", &prerouting, "-o eth0", "PREROUTING"),
            ("-i eth0", &postrouting, "-i eth0", "POSTROUTING"),
            (&long, &input, &long[21..], "at most 255"),
            (&prefix, &input, &prefix[20..], "at most 29"),
            (
                "-j DNAT --to-destination 10.0.0.1",
                &input,
                "DNAT",
                "only in the table nat",
            ),
            (
                "-j DNAT --to-destination 10.0.0.1",
                &postrouting,
                "DNAT",
                "PREROUTING or OUTPUT",
            ),
            ("-j MASQUERADE", &prerouting, "MASQUERADE", "POSTROUTING"),
            (
                "-j REJECT",
                &prerouting,
                "REJECT",
                "only in the table filter",
            ),
            ("-j DROP", &prerouting, "DROP", "only in the table"),
            ("-j NOSUCH", &input, "NOSUCH", "neither a chain"),
            ("-j INPUT", &input, "INPUT", "built-in chain"),
            (
                "-j REJECT --reject-with nosuch",
                &input,
                "nosuch",
                "expected an ICMP error",
            ),
            (
                "-p udp -j REJECT --reject-with tcp-reset",
                &input,
                "tcp-reset",
                "needs -p tcp",
            ),
            (
                "-m owner --uid-owner 0",
                &input,
                "owner",
                "OUTPUT or POSTROUTING",
            ),
            ("-m icmp --icmp-type 8", &v6, "icmp", "only IPv4 has it"),
            ("-p tcp -p udp", &input, "-p udp", "there already"),
            ("-s", &input, "-s", "expected a value"),
            (
                "-j ACCEPT --log-prefix x",
                &input,
                "--log-prefix",
                "no match or target",
            ),
            (
                "-m conntrack --ctstate NWE",
                &input,
                "NWE",
                "expected a list of",
            ),
            ("hello", &input, "hello", "expected an option"),
        ];
        for (rule, site, at, words) in cases {
            let (found, _, said) =
                first(rule, site).unwrap_or_else(|| panic!("{rule}: nothing wrong"));
            assert_eq!(found, at, "{rule}: {said}");
            assert!(said.contains(words), "{rule}: {said}");
        }
    }

    #[test]
    fn what_is_in_order_is_let_alone() {
        let fine = [
            "",
            "-p tcp -m tcp --dport 22 -j ACCEPT",
            "-s 10.0.0.0/8 ! -d 192.168.0.1 -i eth0 -p tcp --dport 1000:2000 -j DROP",
            "-p tcp -m multiport --dports 80,443,1000:2000 -j web",
            "-m conntrack --ctstate NEW -m limit --limit 5/min -j LOG --log-prefix \"a: \"",
            "-p tcp -j REJECT --reject-with tcp-reset",
            "-g web",
            "-m comment --comment \"it is\"",
            "-i eth+",
        ];
        for rule in fine {
            let found = check(rule.as_bytes(), &site("INPUT"), &Names::default());
            assert!(found.is_empty(), "{rule}: {found:?}");
        }
    }

    #[test]
    fn a_problem_knows_its_field() {
        let field = |rule: &str| check(rule.as_bytes(), &site("INPUT"), &Names::default())[0].field;
        assert_eq!(field("-s 10.0.0.300"), Some(Field::Source));
        assert_eq!(field("--dport 22"), Some(Field::DestinationPorts));
        assert_eq!(field("-p tcp --dport x"), Some(Field::DestinationPorts));
        assert_eq!(field("-j MASQUERADE"), Some(Field::Target));
        assert_eq!(
            field("-j REJECT --reject-with x"),
            Some(Field::TargetOptions)
        );
        assert_eq!(field("hello"), None);
    }
}
