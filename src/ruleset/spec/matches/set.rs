//! The set match, and the sides of a packet that sets and other matches look at.

use std::borrow::Cow;
use std::fmt;

use super::super::options::{Given, GivenOption, MatchExtension, Misread, opt};
use super::super::value::{Inv, list, number};
use super::super::words::Phrase;
use super::Match;

pub(super) const EXTENSIONS: &[MatchExtension] = &[MatchExtension {
    names: &["set"],
    options: &[
        opt(&["match-set", "set"], 2),
        opt(&["return-nomatch"], 0),
        opt(&["update-counters"], 0),
        opt(&["update-subcounters"], 0),
        opt(&["packets-eq"], 1),
        opt(&["packets-lt"], 1),
        opt(&["packets-gt"], 1),
        opt(&["bytes-eq"], 1),
        opt(&["bytes-lt"], 1),
        opt(&["bytes-gt"], 1),
    ],
    read: set,
}];

/// Which address of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The source.
    Source,
    /// The destination.
    Destination,
}

impl Side {
    /// `src` or `dst`.
    pub(in super::super) fn read(text: &[u8]) -> Option<Self> {
        match text {
            b"src" => Some(Self::Source),
            b"dst" => Some(Self::Destination),
            _ => None,
        }
    }

    /// A list such as `src,dst`, one for each dimension of a set; six at most (`IPSET_DIM_MAX`).
    pub(in super::super) fn read_list(text: &[u8]) -> Option<Vec<Self>> {
        let sides: Vec<Self> = list(text).map(Self::read).collect::<Option<_>>()?;
        (sides.len() <= 6).then_some(sides)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "src",
            Self::Destination => "dst",
        })
    }
}

/// The sides as a list: `src,dst`.
pub(in super::super) fn show_sides(sides: &[Side]) -> String {
    let words: Vec<_> = sides.iter().map(ToString::to_string).collect();
    words.join(",")
}

/// `-m set`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchSet<'a> {
    /// The packet is in the set of that name; not in it if inverted.
    pub name: Inv<Cow<'a, [u8]>>,
    /// What of the packet is looked up, one for each dimension.
    pub sides: Vec<Side>,
    /// `nomatch` entries match.
    pub return_nomatch: bool,
    /// `! --update-counters`: the entry's counters stay.
    pub keep_counters: bool,
    /// `! --update-subcounters`
    pub keep_subcounters: bool,
    /// The entry's packet counter.
    pub packets: Option<Inv<Comparison>>,
    /// The entry's byte counter.
    pub bytes: Option<Inv<Comparison>>,
}

/// A comparison of a counter with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Equal(u64),
    /// Less.
    Less(u64),
    /// Greater.
    Greater(u64),
}

impl Comparison {
    fn of(option: &GivenOption<'_>) -> Result<Inv<Self>, Misread> {
        let make = match option.name.rsplit('-').next() {
            Some("eq") => Self::Equal,
            Some("lt") => Self::Less,
            _ => Self::Greater,
        };
        option.read_inv(|text| number(text).map(make), "a number")
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal(value) => write!(f, "{value}"),
            Self::Less(value) => write!(f, "<{value}"),
            Self::Greater(value) => write!(f, ">{value}"),
        }
    }
}

fn set<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut name = None;
    let mut set = MatchSet {
        name: Inv::plain(Cow::Borrowed(b"")),
        sides: Vec::new(),
        return_nomatch: false,
        keep_counters: false,
        keep_subcounters: false,
        packets: None,
        bytes: None,
    };
    for option in &given.options {
        match option.name {
            "match-set" => {
                name = Some(option.inv(option.text()));
                set.sides = Side::read_list(option.second())
                    .ok_or(option.misread("a set and a list of src and dst"))?;
            }
            "return-nomatch" => set.return_nomatch = true,
            "update-counters" => set.keep_counters = option.invert,
            "update-subcounters" => set.keep_subcounters = option.invert,
            "packets-eq" | "packets-lt" | "packets-gt" => {
                set.packets = Some(Comparison::of(option)?);
            }
            "bytes-eq" | "bytes-lt" | "bytes-gt" => set.bytes = Some(Comparison::of(option)?),
            _ => return Err(option.not_read()),
        }
    }
    set.name = name.ok_or(Given::lacks("--match-set with a set and its sides"))?;
    Ok(Match::Set(Box::new(set)))
}

impl MatchSet<'_> {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        phrase.keyed(
            self.name.invert,
            "set",
            String::from_utf8_lossy(&self.name.value),
        );
        phrase.flag(false, &show_sides(&self.sides));
        phrase.flag_if(self.return_nomatch, "return-nomatch");
        phrase.option("packets", self.packets.as_ref());
        phrase.option("bytes", self.bytes.as_ref());
    }
}
