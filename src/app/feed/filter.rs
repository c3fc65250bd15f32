//! What the user types to see fewer lines.
//!
//! It is read at every key press, so it never fails: a word that is not finished yet (`port:`) or
//! makes no sense (`port:x`) is left out of account, and the second says what was expected. A word
//! without a known key is text to look for, which is what most people type.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::flow::IpVersion;
use crate::flow::{Body, Condition, IfName, KernelLine, LogLine, Protocol};

/// A filter, parsed from what was typed; see [`Filter::parse`]. The empty filter accepts everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    text: String,
    words: Vec<Word>,
    problem: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Word {
    negated: bool,
    test: Test,
}

/// Which end of the packet a word speaks of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Source,
    Destination,
    Either,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Port(End, u16, u16),
    Network(End, IpNet),
    /// The address, as text, begins so.
    Address(End, String),
    Interface(End, Vec<u8>),
    Proto(Protocol),
    Prefix(Vec<u8>),
    Mac(String),
    Mark(u32),
    Is(Kind),
    Text(Vec<u8>),
}

/// What `is:` can ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Packet,
    Event,
    Trace,
    Syn,
    Cut,
    Damaged,
    Fragment,
    V4,
    V6,
}

const KINDS: [(&str, Kind); 9] = [
    ("packet", Kind::Packet),
    ("event", Kind::Event),
    ("trace", Kind::Trace),
    ("syn", Kind::Syn),
    ("cut", Kind::Cut),
    ("damaged", Kind::Damaged),
    ("fragment", Kind::Fragment),
    ("v4", Kind::V4),
    ("v6", Kind::V6),
];

impl Filter {
    /// Never fails: what cannot be understood is said by [`Self::problem`] and left out of account.
    ///
    /// Blank-separated words, all of which must hold:
    ///
    /// | word | holds for |
    /// |---|---|
    /// | `port:443` `dport:1000-2000` `sport:` | either port, the destination's, the source's; ranges |
    /// | `src:203.0.113` `dst:10.0.0.0/8` | an address, its beginning, or a network |
    /// | `203.0.113.9` `fe80::/10` | such an address at either end |
    /// | `in:eth` `out:` | names that begin so, of interfaces or of bridge ports |
    /// | `proto:tcp` `proto:47` | the protocol |
    /// | `prefix:text` `mac:02:00` `mark:0x2a` | part of the log prefix, part of the link addresses, the mark |
    /// | `is:event` | `packet` `event` `trace` `syn` `cut` `damaged` `fragment` `v4` `v6` |
    /// | anything else | messages that contain it, whatever its case |
    ///
    /// `-word` holds where the word does not. Double quotes keep blanks: `prefix:"UFW BLOCK"`.
    pub fn parse(text: &str) -> Self {
        let mut filter = Self {
            text: text.to_owned(),
            ..Self::default()
        };
        for word in split(text) {
            match Word::parse(&word) {
                Ok(Some(word)) => filter.words.push(word),
                Ok(None) => {}
                Err(expected) => {
                    filter
                        .problem
                        .get_or_insert_with(|| format!("{}: {expected} expected", word.plain()));
                }
            }
        }
        filter
    }

    /// What was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Nothing is filtered.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The first word that cannot be understood, and what was expected instead.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The line passes.
    pub fn accepts(&self, line: &KernelLine) -> bool {
        self.words
            .iter()
            .all(|word| word.test.holds(line) != word.negated)
    }
}

/// A word as typed: quoted parts cannot be keys or minus signs.
struct Typed {
    text: String,
    /// Bytes at the start that stood outside quotes.
    open: usize,
}

impl Typed {
    fn plain(&self) -> &str {
        &self.text
    }
}

/// Splits at blanks outside double quotes; a quote left open reaches to the end.
fn split(text: &str) -> Vec<Typed> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut begun, mut open) = (false, false, None);
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                begun = true;
                open = open.or(Some(word.len()));
            }
            c if c.is_whitespace() && !quoted => {
                if begun {
                    let text = std::mem::take(&mut word);
                    let open = open.take().unwrap_or(text.len());
                    words.push(Typed { text, open });
                }
                begun = false;
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        let open = open.unwrap_or(word.len());
        words.push(Typed { text: word, open });
    }
    words
}

impl Word {
    /// `Ok(None)` for a word that says nothing yet.
    fn parse(typed: &Typed) -> Result<Option<Self>, &'static str> {
        let negated = typed.open > 0 && typed.text.starts_with(['-', '!']);
        let skip = usize::from(negated);
        let text = typed.text.get(skip..).unwrap_or_default();
        let open = typed.open - skip;
        let key = text.split_once(':').filter(|(key, _)| key.len() < open);
        let test = match key {
            Some((key, value)) => match Test::keyed(key, value) {
                Some(test) => test?,
                None => Test::bare(text),
            },
            None => Test::bare(text),
        };
        Ok(test.map(|test| Self { negated, test }))
    }
}

impl Test {
    /// `None` if there is no such key; then `Ok(None)` for a value not yet typed.
    fn keyed(key: &str, value: &str) -> Option<Result<Option<Self>, &'static str>> {
        let parse: fn(&str) -> Result<Self, &'static str> = match key {
            "port" => |value| Self::ports(End::Either, value),
            "dport" => |value| Self::ports(End::Destination, value),
            "sport" => |value| Self::ports(End::Source, value),
            "src" => |value| Ok(Self::address(End::Source, value)),
            "dst" => |value| Ok(Self::address(End::Destination, value)),
            "in" => |value| Ok(Self::Interface(End::Source, value.into())),
            "out" => |value| Ok(Self::Interface(End::Destination, value.into())),
            "proto" => |value| {
                let proto = Protocol::parse(value.as_bytes());
                proto.map(Self::Proto).ok_or("a protocol's name or number")
            },
            "prefix" => |value| Ok(Self::Prefix(lower(value))),
            "mac" => |value| Ok(Self::Mac(value.to_ascii_lowercase())),
            "mark" => |value| {
                let mark = match value.strip_prefix("0x") {
                    Some(digits) => u32::from_str_radix(digits, 16),
                    None => value.parse(),
                };
                mark.map(Self::Mark).map_err(|_| "a number")
            },
            "is" => |value| {
                let kind = KINDS.iter().find(|(name, _)| *name == value);
                kind.map(|(_, kind)| Self::Is(*kind))
                    .ok_or("packet, event, trace, syn, cut, damaged, fragment, v4 or v6")
            },
            _ => return None,
        };
        Some(if value.is_empty() {
            Ok(None)
        } else {
            parse(value).map(Some)
        })
    }

    fn bare(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let is_address = text.parse::<IpAddr>().is_ok() || text.parse::<IpNet>().is_ok();
        Some(if is_address {
            Self::address(End::Either, text)
        } else {
            Self::Text(lower(text))
        })
    }

    fn ports(end: End, value: &str) -> Result<Self, &'static str> {
        let expected = "a port or a range of ports";
        let port = |text: &str| text.parse::<u16>().map_err(|_| expected);
        let (low, high) = match value.split_once('-') {
            Some((low, "")) => (low, low),
            Some(range) => range,
            None => (value, value),
        };
        Ok(Self::Port(end, port(low)?, port(high)?))
    }

    /// A whole IPv4 address is that address; a whole IPv6 address may still be the beginning of one.
    fn address(end: End, value: &str) -> Self {
        let network = match value.parse::<IpAddr>() {
            Ok(addr @ IpAddr::V4(_)) => Some(IpNet::from(addr)),
            Ok(addr @ IpAddr::V6(_)) if !value.ends_with(':') => Some(IpNet::from(addr)),
            _ => value.parse::<IpNet>().ok(),
        };
        match network {
            Some(network) => Self::Network(end, network),
            None => Self::Address(end, value.to_ascii_lowercase()),
        }
    }

    fn holds(&self, line: &KernelLine) -> bool {
        match self {
            Self::Port(end, low, high) => {
                let within = |port: Option<u16>| port.is_some_and(|p| (*low..=*high).contains(&p));
                let (source, destination) = ports(line);
                end.either(within(source), within(destination))
            }
            Self::Network(end, network) => {
                let within = |addr: Option<IpAddr>| addr.is_some_and(|a| network.contains(&a));
                let (source, destination) = addresses(line);
                end.either(within(source), within(destination))
            }
            Self::Address(end, beginning) => {
                let begins = |addr: Option<IpAddr>| addr.is_some_and(|a| begins(a, beginning));
                let (source, destination) = addresses(line);
                end.either(begins(source), begins(destination))
            }
            Self::Interface(end, name) => {
                let begins = |names: [IfName; 2]| {
                    let mut names = names.iter().filter(|name| !name.is_none());
                    names.any(|have| have.as_bytes().starts_with(name))
                };
                let (input, output) = interfaces(line);
                end.either(begins(input), begins(output))
            }
            Self::Proto(proto) => line.log().is_some_and(|l| l.packet.proto == Some(*proto)),
            Self::Prefix(part) => contains(line.prefix(), part),
            Self::Mac(part) => line
                .log()
                .is_some_and(|log| log.link.to_string().contains(part)),
            Self::Mark(mark) => line
                .log()
                .is_some_and(|log| log.packet.mark.unwrap_or(0) == *mark),
            Self::Is(kind) => kind.holds(line),
            Self::Text(part) => contains(&line.text, part),
        }
    }
}

impl End {
    fn either(self, source: bool, destination: bool) -> bool {
        match self {
            Self::Source => source,
            Self::Destination => destination,
            Self::Either => source || destination,
        }
    }
}

impl Kind {
    fn holds(self, line: &KernelLine) -> bool {
        let log = |test: fn(&LogLine) -> bool| line.log().is_some_and(test);
        match self {
            Self::Packet => matches!(line.body, Body::Packet(_)),
            Self::Event => line.log().is_none(),
            Self::Trace => matches!(line.body, Body::Trace(_)),
            Self::Syn => log(|l| l.packet.is_syn()),
            Self::Cut => log(|l| l.condition == Condition::Truncated),
            Self::Damaged => log(|l| l.condition == Condition::Damaged),
            Self::Fragment => log(|l| l.packet.fragment.is_some()),
            Self::V4 => log(|l| l.packet.family == Some(IpVersion::V4)),
            Self::V6 => log(|l| l.packet.family == Some(IpVersion::V6)),
        }
    }
}

fn ports(line: &KernelLine) -> (Option<u16>, Option<u16>) {
    match &line.body {
        Body::SynFlood(flood) => (None, Some(flood.port)),
        _ => line
            .log()
            .map_or((None, None), |log| (log.packet.sport, log.packet.dport)),
    }
}

fn addresses(line: &KernelLine) -> (Option<IpAddr>, Option<IpAddr>) {
    match &line.body {
        Body::Martian(martian) => (martian.src, martian.dst),
        Body::SynFlood(flood) => (None, flood.addr),
        _ => line
            .log()
            .map_or((None, None), |log| (log.packet.src, log.packet.dst)),
    }
}

fn interfaces(line: &KernelLine) -> ([IfName; 2], [IfName; 2]) {
    match &line.body {
        Body::Martian(martian) => ([martian.dev, IfName::NONE], [IfName::NONE; 2]),
        _ => line.log().map_or_else(Default::default, |log| {
            ([log.input, log.physin], [log.output, log.physout])
        }),
    }
}

/// The address as it is shown begins so.
fn begins(addr: IpAddr, beginning: &str) -> bool {
    let mut text = String::with_capacity(40);
    // Writing to a string cannot fail.
    let _ = write!(text, "{addr}");
    text.starts_with(beginning)
}

fn lower(text: &str) -> Vec<u8> {
    text.bytes().map(|b| b.to_ascii_lowercase()).collect()
}

/// `part`, which is lower case, occurs, whatever its case.
fn contains(text: &[u8], part: &[u8]) -> bool {
    let Some(first) = part.first() else {
        return true;
    };
    let upper = first.to_ascii_uppercase();
    memchr::memchr2_iter(*first, upper, text).any(|at| {
        text.get(at..at + part.len())
            .is_some_and(|here| here.eq_ignore_ascii_case(part))
    })
}

#[cfg(test)]
mod tests;
