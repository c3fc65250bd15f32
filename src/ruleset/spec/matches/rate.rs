//! Matches on rates and numbers: limit, hashlimit, connlimit. Whether they match depends on what came
//! before, so a verdict can only say that it does not know.

use std::borrow::Cow;
use std::fmt;

use super::super::options::{Given, MatchExtension, Misread, opt};
use super::super::value::{HashModes, Net, Rate, Unit, WordSet, bytes_per_second, small};
use super::super::words::Phrase;
use super::Match;
use super::set::Side;

pub(super) const EXTENSIONS: &[MatchExtension] = &[
    MatchExtension {
        names: &["limit"],
        options: &[opt(&["limit"], 1), opt(&["limit-burst"], 1)],
        read: limit,
    },
    MatchExtension {
        names: &["hashlimit"],
        options: &[
            opt(&["hashlimit-upto", "hashlimit"], 1),
            opt(&["hashlimit-above"], 1),
            opt(&["hashlimit-burst"], 1),
            opt(&["hashlimit-mode"], 1),
            opt(&["hashlimit-name"], 1),
            opt(&["hashlimit-srcmask"], 1),
            opt(&["hashlimit-dstmask"], 1),
            opt(&["hashlimit-htable-size"], 1),
            opt(&["hashlimit-htable-max"], 1),
            opt(&["hashlimit-htable-expire"], 1),
            opt(&["hashlimit-htable-gcinterval"], 1),
            opt(&["hashlimit-rate-match"], 0),
            opt(&["hashlimit-rate-interval"], 1),
        ],
        read: hashlimit,
    },
    MatchExtension {
        names: &["connlimit"],
        options: &[
            opt(&["connlimit-upto"], 1),
            opt(&["connlimit-above"], 1),
            opt(&["connlimit-mask"], 1),
            opt(&["connlimit-saddr"], 0),
            opt(&["connlimit-daddr"], 0),
        ],
        read: connlimit,
    },
];

const RATE: &str = "a rate as packets/second, /minute, /hour or /day";
const NUMBER: &str = "a number";

/// `-m limit`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many packets pass over time.
    pub rate: Rate,
    /// How many pass at once.
    pub burst: u32,
}

impl Limit {
    /// Defaults of the match (`XT_LIMIT_AVG`, `XT_LIMIT_BURST` in libxt_limit).
    const DEFAULT: Self = Self {
        rate: Rate {
            count: 3,
            per: Unit::Hour,
        },
        burst: 5,
    };

    pub(super) fn describe(self, phrase: &mut Phrase) {
        phrase.keyed(false, "limit", self.rate);
        if self.burst != Self::DEFAULT.burst {
            phrase.keyed(false, "burst", self.burst);
        }
    }
}

fn limit<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut limit = Limit::DEFAULT;
    for option in &given.options {
        // Old kernels had an inverted limit; the option is refused with `!` since long.
        if option.invert {
            return Err(option.misread("no '!'"));
        }
        match option.name {
            "limit" => limit.rate = option.read(Rate::read, RATE)?,
            "limit-burst" => limit.burst = option.read(small, NUMBER)?,
            _ => return Err(option.not_read()),
        }
    }
    Ok(Match::Limit(limit))
}

/// `-m hashlimit`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashlimit<'a> {
    /// Matches above the rate, not up to it. An inverted option has been turned round.
    pub above: bool,
    /// The rate of one bucket.
    pub rate: HashRate,
    /// How much passes at once: packets, or bytes where the rate is in bytes.
    pub burst: Option<u64>,
    /// What makes a bucket.
    pub mode: HashModes,
    /// Name of the table of buckets; rules with the same name share it.
    pub name: Cow<'a, [u8]>,
    /// Prefix that source addresses are cut to.
    pub source_mask: Option<u8>,
    /// Prefix that destination addresses are cut to.
    pub destination_mask: Option<u8>,
    /// Number of buckets.
    pub table_size: Option<u32>,
    /// Most entries.
    pub table_max: Option<u32>,
    /// Entries idle for so many milliseconds go.
    pub table_expire: Option<u32>,
    /// Milliseconds between clean-ups.
    pub table_interval: Option<u32>,
    /// `--hashlimit-rate-match`: classify by rate instead of limiting.
    pub rate_match: bool,
    /// Seconds over which that rate is taken.
    pub rate_interval: Option<u32>,
}

/// A rate in packets or in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashRate {
    /// Packets over time.
    Packets(Rate),
    /// Bytes a second.
    Bytes(u64),
}

impl HashRate {
    fn read(text: &[u8]) -> Option<Self> {
        bytes_per_second(text)
            .map(Self::Bytes)
            .or_else(|| Rate::read(text).map(Self::Packets))
    }
}

impl fmt::Display for HashRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packets(rate) => rate.fmt(f),
            Self::Bytes(bytes) if bytes % (1024 * 1024) == 0 => {
                write!(f, "{}mb/s", bytes / (1024 * 1024))
            }
            Self::Bytes(bytes) if bytes % 1024 == 0 => write!(f, "{}kb/s", bytes / 1024),
            Self::Bytes(bytes) => write!(f, "{bytes}b/s"),
        }
    }
}

fn hashlimit<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut rate = None;
    let mut limit = Hashlimit {
        above: false,
        rate: HashRate::Bytes(0),
        burst: None,
        mode: HashModes::default(),
        name: Cow::Borrowed(b""),
        source_mask: None,
        destination_mask: None,
        table_size: None,
        table_max: None,
        table_expire: None,
        table_interval: None,
        rate_match: false,
        rate_interval: None,
    };
    for option in &given.options {
        let number = || option.read(small, NUMBER).map(Some);
        match option.name {
            name @ ("hashlimit-upto" | "hashlimit-above") => {
                if rate.is_some() {
                    return Err(option.misread("either --hashlimit-upto or --hashlimit-above"));
                }
                rate = Some(option.read(HashRate::read, RATE)?);
                limit.above = (name == "hashlimit-above") != option.invert;
            }
            "hashlimit-burst" => {
                let read = |text: &[u8]| bytes_per_second(text).or_else(|| small(text));
                limit.burst = Some(option.read(read, "a number of packets or bytes")?);
            }
            "hashlimit-mode" => {
                limit.mode = option.read(
                    HashModes::read,
                    "a list of srcip, srcport, dstip and dstport",
                )?;
            }
            "hashlimit-name" => limit.name = option.text(),
            "hashlimit-srcmask" => limit.source_mask = Some(option.read(small, "a prefix length")?),
            "hashlimit-dstmask" => {
                limit.destination_mask = Some(option.read(small, "a prefix length")?);
            }
            "hashlimit-htable-size" => limit.table_size = number()?,
            "hashlimit-htable-max" => limit.table_max = number()?,
            "hashlimit-htable-expire" => limit.table_expire = number()?,
            "hashlimit-htable-gcinterval" => limit.table_interval = number()?,
            "hashlimit-rate-match" => limit.rate_match = true,
            "hashlimit-rate-interval" => limit.rate_interval = number()?,
            _ => return Err(option.not_read()),
        }
    }
    limit.rate = rate.ok_or(Given::lacks("--hashlimit-upto or --hashlimit-above"))?;
    Ok(Match::Hashlimit(Box::new(limit)))
}

impl Hashlimit<'_> {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        let key = if self.above {
            "hashlimit above"
        } else {
            "hashlimit"
        };
        phrase.keyed(false, key, self.rate);
        if !self.mode.is_empty() {
            phrase.keyed(false, "by", self.mode);
        }
        if !self.name.is_empty() {
            phrase.flag(false, &String::from_utf8_lossy(&self.name));
        }
    }
}

/// `-m connlimit`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connlimit {
    /// Matches above the count, not up to it. An inverted option has been turned round.
    pub above: bool,
    /// Connections.
    pub count: u32,
    /// Prefix length that addresses are cut to before they are counted.
    pub prefix: u8,
    /// Connections from or to the same address.
    pub side: Side,
}

fn connlimit<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut count = None;
    let mut limit = Connlimit {
        above: false,
        count: 0,
        prefix: given.full_prefix(),
        side: Side::Source,
    };
    for option in &given.options {
        match option.name {
            name @ ("connlimit-upto" | "connlimit-above") => {
                count = Some(option.read(small, NUMBER)?);
                limit.above = (name == "connlimit-above") != option.invert;
            }
            "connlimit-mask" => {
                let prefix = |text: &[u8]| {
                    small(text).or_else(|| Net::read(&joined(text), given.family)?.prefix())
                };
                limit.prefix = option.read(prefix, "a prefix length")?;
            }
            "connlimit-saddr" => limit.side = Side::Source,
            "connlimit-daddr" => limit.side = Side::Destination,
            _ => return Err(option.not_read()),
        }
    }
    limit.count = count.ok_or(Given::lacks("--connlimit-upto or --connlimit-above"))?;
    Ok(Match::Connlimit(limit))
}

/// A mask alone as a network of that mask.
fn joined(mask: &[u8]) -> Vec<u8> {
    let full: &[u8] = if mask.contains(&b':') {
        b"ffff::/"
    } else {
        b"255.255.255.255/"
    };
    [full, mask].concat()
}

impl Connlimit {
    pub(super) fn describe(self, phrase: &mut Phrase) {
        let sign = if self.above { ">" } else { "<=" };
        phrase.keyed(
            false,
            "connlimit",
            format_args!("{sign}{} per {}/{}", self.count, self.side, self.prefix),
        );
    }
}
