//! Matches on what conntrack knows of a packet: conntrack, state.

use std::fmt;

use super::super::options::{Given, GivenOption, MatchExtension, Misread, opt};
use super::super::value::{
    Addresses, Bounds, Inv, Ports, Protocol, StateSet, StatusSet, WordSet, bounds,
};
use super::super::words::Phrase;
use super::Match;

pub(super) const EXTENSIONS: &[MatchExtension] = &[
    MatchExtension {
        names: &["conntrack"],
        options: &[
            opt(&["ctstate"], 1),
            opt(&["ctproto"], 1),
            opt(&["ctorigsrc"], 1),
            opt(&["ctorigdst"], 1),
            opt(&["ctreplsrc"], 1),
            opt(&["ctrepldst"], 1),
            opt(&["ctorigsrcport"], 1),
            opt(&["ctorigdstport"], 1),
            opt(&["ctreplsrcport"], 1),
            opt(&["ctrepldstport"], 1),
            opt(&["ctstatus"], 1),
            opt(&["ctexpire"], 1),
            opt(&["ctdir"], 1),
        ],
        read: conntrack,
    },
    MatchExtension {
        names: &["state"],
        options: &[opt(&["state"], 1)],
        read: state,
    },
];

/// `-m conntrack`: all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conntrack<'a> {
    /// `--ctstate`
    pub states: Option<Inv<StateSet>>,
    /// `--ctproto`
    pub protocol: Option<Inv<Protocol<'a>>>,
    /// `--ctorigsrc`
    pub original_source: Option<Inv<Addresses<'a>>>,
    /// `--ctorigdst`: before DNAT
    pub original_destination: Option<Inv<Addresses<'a>>>,
    /// `--ctreplsrc`
    pub reply_source: Option<Inv<Addresses<'a>>>,
    /// `--ctrepldst`
    pub reply_destination: Option<Inv<Addresses<'a>>>,
    /// `--ctorigsrcport`
    pub original_source_ports: Option<Inv<Ports>>,
    /// `--ctorigdstport`: before DNAT
    pub original_destination_ports: Option<Inv<Ports>>,
    /// `--ctreplsrcport`
    pub reply_source_ports: Option<Inv<Ports>>,
    /// `--ctrepldstport`
    pub reply_destination_ports: Option<Inv<Ports>>,
    /// `--ctstatus`; the empty set is NONE
    pub status: Option<Inv<StatusSet>>,
    /// `--ctexpire`: seconds until the entry times out
    pub expires: Option<Inv<Bounds<u32>>>,
    /// `--ctdir`
    pub direction: Option<CtDirection>,
}

/// Which way a packet of a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtDirection {
    /// As the first packet went.
    Original,
    /// The other way.
    Reply,
}

impl CtDirection {
    fn read(text: &[u8]) -> Option<Self> {
        if text.eq_ignore_ascii_case(b"ORIGINAL") {
            Some(Self::Original)
        } else if text.eq_ignore_ascii_case(b"REPLY") {
            Some(Self::Reply)
        } else {
            None
        }
    }
}

impl fmt::Display for CtDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Original => "ORIGINAL",
            Self::Reply => "REPLY",
        })
    }
}

const STATES: &str = "a list of INVALID, NEW, RELATED, ESTABLISHED, UNTRACKED, SNAT and DNAT";

fn conntrack<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let mut ct = Conntrack::default();
    let address =
        |option: &GivenOption<'a>| Some(option.inv(Addresses::read(option.value(), given.family)));
    let ports = |option: &GivenOption<'a>| {
        option
            .read_inv(Ports::read, "a port or a range a:b")
            .map(Some)
    };
    for option in &given.options {
        match option.name {
            "ctstate" => ct.states = Some(option.read_inv(StateSet::read, STATES)?),
            "ctproto" => {
                ct.protocol = Some(option.inv(Protocol::read(option.text())));
            }
            "ctorigsrc" => ct.original_source = address(option),
            "ctorigdst" => ct.original_destination = address(option),
            "ctreplsrc" => ct.reply_source = address(option),
            "ctrepldst" => ct.reply_destination = address(option),
            "ctorigsrcport" => ct.original_source_ports = ports(option)?,
            "ctorigdstport" => ct.original_destination_ports = ports(option)?,
            "ctreplsrcport" => ct.reply_source_ports = ports(option)?,
            "ctrepldstport" => ct.reply_destination_ports = ports(option)?,
            "ctstatus" => {
                let expected = "a list of NONE, EXPECTED, SEEN_REPLY, ASSURED and CONFIRMED";
                ct.status = Some(option.read_inv(StatusSet::read, expected)?);
            }
            "ctexpire" => {
                let read = |text: &[u8]| bounds(text, 0, u32::MAX);
                ct.expires = Some(option.read_inv(read, "seconds or a range a:b")?);
            }
            "ctdir" => {
                ct.direction = Some(option.read(CtDirection::read, "ORIGINAL or REPLY")?);
            }
            _ => return Err(option.not_read()),
        }
    }
    Ok(Match::Conntrack(Box::new(ct)))
}

impl Conntrack<'_> {
    pub(super) fn describe(&self, phrase: &mut Phrase) {
        phrase.option("ctstate", self.states.as_ref());
        phrase.option("ctproto", self.protocol.as_ref());
        phrase.option("ctorigsrc", self.original_source.as_ref());
        phrase.option("ctorigdst", self.original_destination.as_ref());
        phrase.option("ctreplsrc", self.reply_source.as_ref());
        phrase.option("ctrepldst", self.reply_destination.as_ref());
        phrase.option("ctorigsrcport", self.original_source_ports.as_ref());
        phrase.option("ctorigdstport", self.original_destination_ports.as_ref());
        phrase.option("ctreplsrcport", self.reply_source_ports.as_ref());
        phrase.option("ctrepldstport", self.reply_destination_ports.as_ref());
        phrase.option("ctstatus", self.status.as_ref());
        phrase.option("ctexpire", self.expires.as_ref());
        if let Some(direction) = self.direction {
            phrase.keyed(false, "ctdir", direction);
        }
    }
}

fn state<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let option = given
        .options
        .first()
        .ok_or(Given::lacks("--state with a list of states"))?;
    let read = |text: &[u8]| {
        let beyond = StateSet::SNAT | StateSet::DNAT;
        StateSet::read(text).filter(|states| !states.intersects(beyond))
    };
    let states = option.read_inv(
        read,
        "a list of INVALID, NEW, RELATED, ESTABLISHED and UNTRACKED",
    )?;
    Ok(Match::State(states))
}
