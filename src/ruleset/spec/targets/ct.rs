//! Targets about connection tracking and ipsets: CT, NOTRACK, SET.

use std::borrow::Cow;
use std::fmt;

use super::super::matches::{Side, show_sides};
use super::super::options::{Given, Misread, TargetExtension, opt};
use super::super::value::small;
use super::super::words::Phrase;
use super::Target;

pub(super) const EXTENSIONS: &[TargetExtension] = &[
    TargetExtension {
        name: "CT",
        options: &[
            opt(&["notrack"], 0),
            opt(&["helper"], 1),
            opt(&["timeout"], 1),
            opt(&["ctevents"], 1),
            opt(&["expevents"], 1),
            opt(&["zone"], 1),
            opt(&["zone-orig"], 1),
            opt(&["zone-reply"], 1),
        ],
        read: ct,
    },
    TargetExtension {
        name: "NOTRACK",
        options: &[],
        read: notrack,
    },
    TargetExtension {
        name: "SET",
        options: &[
            opt(&["add-set"], 2),
            opt(&["del-set"], 2),
            opt(&["map-set"], 2),
            opt(&["timeout"], 1),
            opt(&["exist"], 0),
            opt(&["map-mark"], 0),
            opt(&["map-prio"], 0),
            opt(&["map-queue"], 0),
        ],
        read: set,
    },
];

/// `-j CT`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ct<'a> {
    /// The packet is not tracked.
    pub notrack: bool,
    /// Helper of the connection: `ftp`, `sip`, …
    pub helper: Option<Cow<'a, [u8]>>,
    /// Named timeout policy.
    pub timeout: Option<Cow<'a, [u8]>>,
    /// Events of connections, as written.
    pub events: Option<Cow<'a, [u8]>>,
    /// Events of expectations, as written.
    pub expectation_events: Option<Cow<'a, [u8]>>,
    /// Zone in which the connection is looked up.
    pub zone: Option<(ZoneFor, Zone)>,
}

/// For which packets a zone counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneFor {
    /// `--zone`
    Both,
    /// `--zone-orig`
    Original,
    /// `--zone-reply`
    Reply,
}

/// A conntrack zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// By number.
    Number(u16),
    /// The packet's mark is the number.
    Mark,
}

impl Zone {
    fn read(text: &[u8]) -> Option<Self> {
        if text == b"mark" {
            return Some(Self::Mark);
        }
        small(text).map(Self::Number)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Mark => f.write_str("mark"),
        }
    }
}

fn ct<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    let mut ct = Ct::default();
    for option in &given.options {
        let text = || Some(option.text());
        let zone = |for_whom| {
            let zone = option.read(Zone::read, "a zone from 0 to 65535 or mark")?;
            Ok(Some((for_whom, zone)))
        };
        match option.name {
            "notrack" => ct.notrack = true,
            "helper" => ct.helper = text(),
            "timeout" => ct.timeout = text(),
            "ctevents" => ct.events = text(),
            "expevents" => ct.expectation_events = text(),
            "zone" => ct.zone = zone(ZoneFor::Both)?,
            "zone-orig" => ct.zone = zone(ZoneFor::Original)?,
            "zone-reply" => ct.zone = zone(ZoneFor::Reply)?,
            _ => return Err(option.not_read()),
        }
    }
    Ok(Target::Ct(Box::new(ct)))
}

impl Ct<'_> {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        phrase.flag_if(self.notrack, "notrack");
        for (key, text) in [
            ("helper", &self.helper),
            ("timeout", &self.timeout),
            ("events", &self.events),
            ("expevents", &self.expectation_events),
        ] {
            if let Some(text) = text {
                phrase.keyed(false, key, String::from_utf8_lossy(text));
            }
        }
        if let Some((for_whom, zone)) = self.zone {
            let key = match for_whom {
                ZoneFor::Both => "zone",
                ZoneFor::Original => "zone-orig",
                ZoneFor::Reply => "zone-reply",
            };
            phrase.keyed(false, key, zone);
        }
    }
}

// A reader of no options cannot fail; the row wants one that can.
#[allow(clippy::unnecessary_wraps)]
fn notrack<'a>(_: &Given<'a>) -> Result<Target<'a>, Misread> {
    Ok(Target::Notrack)
}

/// `-j SET`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetTarget<'a> {
    /// What the packet is added to.
    pub add: Option<SetChange<'a>>,
    /// What it is taken out of.
    pub remove: Option<SetChange<'a>>,
    /// Where mark, priority or queue of the packet are looked up.
    pub map: Option<SetChange<'a>>,
    /// Seconds until an added entry goes.
    pub timeout: Option<u32>,
    /// An entry that is there already starts anew.
    pub exist: bool,
    /// The entry's mark goes to the packet.
    pub map_mark: bool,
    /// The entry's priority goes to the packet.
    pub map_priority: bool,
    /// The entry's queue goes to the packet.
    pub map_queue: bool,
}

/// A set and what of the packet goes into it, one side for each dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetChange<'a> {
    /// Its name.
    pub name: Cow<'a, [u8]>,
    /// Sides.
    pub sides: Vec<Side>,
}

fn set<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    let mut set = SetTarget::default();
    for option in &given.options {
        let change = || {
            Side::read_list(option.second())
                .map(|sides| SetChange {
                    name: option.text(),
                    sides,
                })
                .ok_or(option.misread("a set and a list of src and dst"))
        };
        match option.name {
            "add-set" => set.add = Some(change()?),
            "del-set" => set.remove = Some(change()?),
            "map-set" => set.map = Some(change()?),
            "timeout" => set.timeout = Some(option.read(small, "a number of seconds")?),
            "exist" => set.exist = true,
            "map-mark" => set.map_mark = true,
            "map-prio" => set.map_priority = true,
            "map-queue" => set.map_queue = true,
            _ => return Err(option.not_read()),
        }
    }
    if set.add.is_none() && set.remove.is_none() && set.map.is_none() {
        return Err(Given::lacks("--add-set, --del-set or --map-set"));
    }
    Ok(Target::Set(Box::new(set)))
}

impl SetTarget<'_> {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        for (key, change) in [
            ("add", &self.add),
            ("del", &self.remove),
            ("map", &self.map),
        ] {
            if let Some(change) = change {
                phrase.keyed(false, key, String::from_utf8_lossy(&change.name));
                phrase.flag(false, &show_sides(&change.sides));
            }
        }
        if let Some(timeout) = self.timeout {
            phrase.keyed(false, "timeout", format_args!("{timeout}s"));
        }
        phrase.flag_if(self.exist, "exist");
    }
}
