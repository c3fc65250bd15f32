//! Matches that remember earlier packets or throw dice: recent, statistic. A verdict on one packet can
//! only say that it does not know.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use super::super::options::{Given, MatchExtension, Misread, opt};
use super::super::value::{Inv, small};
use super::super::words::Phrase;
use super::Match;
use super::set::Side;

pub(super) const EXTENSIONS: &[MatchExtension] = &[
    MatchExtension {
        names: &["recent"],
        options: &[
            opt(&["set"], 0),
            opt(&["rcheck"], 0),
            opt(&["update"], 0),
            opt(&["remove"], 0),
            opt(&["seconds"], 1),
            opt(&["reap"], 0),
            opt(&["hitcount"], 1),
            opt(&["rttl"], 0),
            opt(&["name"], 1),
            opt(&["mask"], 1),
            opt(&["rsource"], 0),
            opt(&["rdest"], 0),
        ],
        read: recent,
    },
    MatchExtension {
        names: &["statistic"],
        options: &[
            opt(&["mode"], 1),
            opt(&["probability"], 1),
            opt(&["every"], 1),
            opt(&["packet"], 1),
        ],
        read: statistic,
    },
];

const NUMBER: &str = "a number";

/// `-m recent`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent<'a> {
    /// What is done with the list.
    pub action: Inv<RecentAction>,
    /// Seen within so many seconds.
    pub seconds: Option<u32>,
    /// Seen at least so often.
    pub hits: Option<u32>,
    /// Older entries are purged.
    pub reap: bool,
    /// Only packets with the same TTL count.
    pub same_ttl: bool,
    /// Name of the list.
    pub name: Cow<'a, [u8]>,
    /// Mask that addresses are cut to.
    pub mask: IpAddr,
    /// Which address is looked up.
    pub side: Side,
}

/// What recent does with its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecentAction {
    /// Adds the address; always matches.
    Set,
    /// Looks it up.
    Check,
    /// Looks it up and notes the time.
    Update,
    /// Takes it off; matches if it was there.
    Remove,
}

impl fmt::Display for RecentAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Set => "set",
            Self::Check => "rcheck",
            Self::Update => "update",
            Self::Remove => "remove",
        })
    }
}

fn recent<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut action = None;
    let mut recent = Recent {
        action: Inv::plain(RecentAction::Set),
        seconds: None,
        hits: None,
        reap: false,
        same_ttl: false,
        name: Cow::Borrowed(b"DEFAULT"),
        mask: given.full_mask(),
        side: Side::Source,
    };
    for option in &given.options {
        let does = match option.name {
            "set" => Some(RecentAction::Set),
            "rcheck" => Some(RecentAction::Check),
            "update" => Some(RecentAction::Update),
            "remove" => Some(RecentAction::Remove),
            _ => None,
        };
        match option.name {
            _ if does.is_some() && action.is_some() => {
                return Err(option.misread("only one of --set, --rcheck, --update and --remove"));
            }
            _ if does.is_some() => action = does.map(|does| option.inv(does)),
            "seconds" => recent.seconds = Some(option.read(small, "a number of seconds")?),
            "hitcount" => recent.hits = Some(option.read(small, NUMBER)?),
            "reap" => recent.reap = true,
            "rttl" => recent.same_ttl = true,
            "name" => recent.name = option.text(),
            "mask" => {
                let read = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
                recent.mask = option.read(read, "a mask in the form of an address")?;
            }
            "rsource" => recent.side = Side::Source,
            "rdest" => recent.side = Side::Destination,
            _ => return Err(option.not_read()),
        }
    }
    recent.action = action.ok_or(Given::lacks("--set, --rcheck, --update or --remove"))?;
    Ok(Match::Recent(Box::new(recent)))
}

impl Recent<'_> {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        phrase.pair("recent", &self.action);
        phrase.flag(false, &String::from_utf8_lossy(&self.name));
        if let Some(seconds) = self.seconds {
            phrase.flag(false, &format!("{seconds}s"));
        }
        if let Some(hits) = self.hits {
            phrase.keyed(false, "hits", hits);
        }
    }
}

/// `-m statistic`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistic {
    /// Matches all others.
    pub invert: bool,
    /// How packets are picked.
    pub mode: StatisticMode,
}

/// How statistic picks packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatisticMode {
    /// By chance; the probability in 1/2^31, as the kernel keeps it.
    Random(u32),
    /// One in `every`, beginning with number `packet` (from 0).
    Nth {
        /// One in so many.
        every: u32,
        /// The first, from 0.
        packet: u32,
    },
}

fn statistic<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let (mut mode, mut invert) = (None, false);
    let (mut probability, mut every, mut packet) = (None, None, 0);
    for option in &given.options {
        invert |= option.invert;
        match option.name {
            "mode" => mode = Some(&**option.value()),
            "probability" => {
                probability = Some(option.read(probability_of, "a probability from 0 to 1")?);
            }
            "every" => every = Some(option.read(small, NUMBER)?),
            "packet" => packet = option.read(small, NUMBER)?,
            _ => return Err(option.not_read()),
        }
    }
    let mode = match (mode, probability, every) {
        (Some(b"random"), Some(probability), None) => StatisticMode::Random(probability),
        (Some(b"nth"), None, Some(every)) => StatisticMode::Nth { every, packet },
        _ => {
            return Err(Given::lacks(
                "--mode random with --probability, or --mode nth with --every",
            ));
        }
    };
    Ok(Match::Statistic(Statistic { invert, mode }))
}

/// What a probability of 1 is in the kernel's fixed point.
const CERTAIN: f64 = 2_147_483_648.0;

fn probability_of(text: &[u8]) -> Option<u32> {
    let probability: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    if !(0.0..=1.0).contains(&probability) {
        return None;
    }
    // In range: the product is at most 2^31.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Some((probability * CERTAIN).round() as u32)
}

impl Statistic {
    pub(super) fn describe(self, phrase: &mut Phrase) {
        match self.mode {
            StatisticMode::Random(fixed) => {
                let text = format!("{:.4}", f64::from(fixed) / CERTAIN);
                let short = text.trim_end_matches('0').trim_end_matches('.');
                phrase.keyed(self.invert, "probability", short);
            }
            StatisticMode::Nth { every, packet } => {
                phrase.keyed(self.invert, "every", every);
                if packet > 0 {
                    phrase.keyed(false, "packet", packet);
                }
            }
        }
    }
}
