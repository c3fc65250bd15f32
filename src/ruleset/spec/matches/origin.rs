//! Matches on where a packet comes from or goes to: addrtype, iprange, physdev, owner, rpfilter.

use std::borrow::Cow;
use std::fmt;

use super::super::options::{Given, MatchExtension, Misread, opt};
use super::super::value::{
    AddrTypes, AddressRange, Bounds, Interface, Inv, WordSet, small, split_once,
};
use super::super::words::Phrase;
use super::Match;

pub(super) const EXTENSIONS: &[MatchExtension] = &[
    MatchExtension {
        names: &["addrtype"],
        options: &[
            opt(&["src-type"], 1),
            opt(&["dst-type"], 1),
            opt(&["limit-iface-in"], 0),
            opt(&["limit-iface-out"], 0),
        ],
        read: addrtype,
    },
    MatchExtension {
        names: &["iprange"],
        options: &[opt(&["src-range"], 1), opt(&["dst-range"], 1)],
        read: iprange,
    },
    MatchExtension {
        names: &["physdev"],
        options: &[
            opt(&["physdev-in"], 1).unquoted(),
            opt(&["physdev-out"], 1).unquoted(),
            opt(&["physdev-is-in"], 0),
            opt(&["physdev-is-out"], 0),
            opt(&["physdev-is-bridged"], 0),
        ],
        read: physdev,
    },
    MatchExtension {
        names: &["owner"],
        options: &[
            opt(&["uid-owner"], 1),
            opt(&["gid-owner"], 1),
            opt(&["socket-exists"], 0),
            opt(&["suppl-groups"], 0),
        ],
        read: owner,
    },
    MatchExtension {
        names: &["rpfilter"],
        options: &[
            opt(&["loose"], 0),
            opt(&["validmark"], 0),
            opt(&["accept-local"], 0),
            opt(&["invert"], 0),
        ],
        read: rpfilter,
    },
];

/// `-m addrtype`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addrtype {
    /// `--src-type`
    pub source: Option<Inv<AddrTypes>>,
    /// `--dst-type`
    pub destination: Option<Inv<AddrTypes>>,
    /// Looked up only on the interface that the packet came in by.
    pub limit_in: bool,
    /// Looked up only on the interface that the packet goes out by.
    pub limit_out: bool,
}

fn addrtype<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut types = Addrtype::default();
    let expected = "a list of address types such as LOCAL and BROADCAST";
    for option in &given.options {
        match option.name {
            "src-type" => types.source = Some(option.read_inv(AddrTypes::read, expected)?),
            "dst-type" => types.destination = Some(option.read_inv(AddrTypes::read, expected)?),
            "limit-iface-in" => types.limit_in = true,
            "limit-iface-out" => types.limit_out = true,
            _ => return Err(option.not_read()),
        }
    }
    Ok(Match::Addrtype(types))
}

impl Addrtype {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        phrase.option("src-type", self.source.as_ref());
        phrase.option("dst-type", self.destination.as_ref());
        phrase.flag_if(self.limit_in, "limit-iface-in");
        phrase.flag_if(self.limit_out, "limit-iface-out");
    }
}

/// `-m iprange`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Iprange {
    /// `--src-range`
    pub source: Option<Inv<AddressRange>>,
    /// `--dst-range`
    pub destination: Option<Inv<AddressRange>>,
}

fn iprange<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut range = Iprange::default();
    let read = |text: &[u8]| AddressRange::read(text, given.family);
    for option in &given.options {
        let value = Some(option.read_inv(read, "an address or a range a-b")?);
        match option.name {
            "src-range" => range.source = value,
            "dst-range" => range.destination = value,
            _ => return Err(option.not_read()),
        }
    }
    Ok(Match::Iprange(Box::new(range)))
}

impl Iprange {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        phrase.option("src-range", self.source.as_ref());
        phrase.option("dst-range", self.destination.as_ref());
    }
}

/// `-m physdev`: ports of a bridge
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Physdev<'a> {
    /// `--physdev-in`
    pub input: Option<Inv<Interface<'a>>>,
    /// `--physdev-out`
    pub output: Option<Inv<Interface<'a>>>,
    /// `--physdev-is-in`
    pub is_in: Option<Inv<()>>,
    /// `--physdev-is-out`
    pub is_out: Option<Inv<()>>,
    /// `--physdev-is-bridged`
    pub is_bridged: Option<Inv<()>>,
}

fn physdev<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut physdev = Physdev::default();
    for option in &given.options {
        let interface = || {
            let text = option.text();
            Some(option.inv(Interface { text }))
        };
        match option.name {
            "physdev-in" => physdev.input = interface(),
            "physdev-out" => physdev.output = interface(),
            "physdev-is-in" => physdev.is_in = Some(option.inv(())),
            "physdev-is-out" => physdev.is_out = Some(option.inv(())),
            "physdev-is-bridged" => physdev.is_bridged = Some(option.inv(())),
            _ => return Err(option.not_read()),
        }
    }
    Ok(Match::Physdev(Box::new(physdev)))
}

impl Physdev<'_> {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        phrase.option("physdev-in", self.input.as_ref());
        phrase.option("physdev-out", self.output.as_ref());
        for (word, given) in [
            ("physdev-is-in", &self.is_in),
            ("physdev-is-out", &self.is_out),
            ("physdev-is-bridged", &self.is_bridged),
        ] {
            if let Some(given) = given {
                phrase.flag(given.invert, word);
            }
        }
    }
}

/// `-m owner`: of the socket that sent the packet
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner<'a> {
    /// `--uid-owner`
    pub user: Option<Inv<OwnerId<'a>>>,
    /// `--gid-owner`
    pub group: Option<Inv<OwnerId<'a>>>,
    /// `--socket-exists`
    pub socket_exists: Option<Inv<()>>,
    /// Supplementary groups count too.
    pub supplementary: bool,
}

/// A user or group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerId<'a> {
    /// A number or a range of numbers.
    Ids(Bounds<u32>),
    /// A name, resolved when the rule is loaded.
    Name(Cow<'a, [u8]>),
}

impl<'a> OwnerId<'a> {
    fn read(text: &Cow<'a, [u8]>) -> Self {
        let ids = |text: &[u8]| {
            if let Some(id) = small(text) {
                return Some(Bounds { min: id, max: id });
            }
            let (min, max) = split_once(text, b'-')?;
            Some(Bounds {
                min: small(min)?,
                max: small(max)?,
            })
        };
        ids(text).map_or_else(|| Self::Name(text.clone()), Self::Ids)
    }
}

impl fmt::Display for OwnerId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ids(ids) if ids.min == ids.max => write!(f, "{}", ids.min),
            Self::Ids(ids) => write!(f, "{}-{}", ids.min, ids.max),
            Self::Name(name) => f.write_str(&String::from_utf8_lossy(name)),
        }
    }
}

fn owner<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut owner = Owner::default();
    for option in &given.options {
        match option.name {
            "uid-owner" => owner.user = Some(option.inv(OwnerId::read(option.value()))),
            "gid-owner" => owner.group = Some(option.inv(OwnerId::read(option.value()))),
            "socket-exists" => owner.socket_exists = Some(option.inv(())),
            "suppl-groups" => owner.supplementary = true,
            _ => return Err(option.not_read()),
        }
    }
    Ok(Match::Owner(Box::new(owner)))
}

impl Owner<'_> {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        phrase.option("uid", self.user.as_ref());
        phrase.option("gid", self.group.as_ref());
        if let Some(exists) = &self.socket_exists {
            phrase.flag(exists.invert, "socket-exists");
        }
        phrase.flag_if(self.supplementary, "suppl-groups");
    }
}

/// `-m rpfilter`: the reply would leave by the interface that the packet came in by
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rpfilter {
    /// By any interface.
    pub loose: bool,
    /// The packet's mark counts in the lookup.
    pub validmark: bool,
    /// Packets from local addresses are let through.
    pub accept_local: bool,
    /// Matches packets that fail the test.
    pub invert: bool,
}

fn rpfilter<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut filter = Rpfilter::default();
    for option in &given.options {
        match option.name {
            "loose" => filter.loose = true,
            "validmark" => filter.validmark = true,
            "accept-local" => filter.accept_local = true,
            "invert" => filter.invert = true,
            _ => return Err(option.not_read()),
        }
    }
    Ok(Match::Rpfilter(filter))
}

impl Rpfilter {
    pub(super) fn describe(self, phrase: &mut Phrase) {
        phrase.flag(self.invert, "rpfilter");
        phrase.flag_if(self.loose, "loose");
        phrase.flag_if(self.validmark, "validmark");
        phrase.flag_if(self.accept_local, "accept-local");
    }
}
