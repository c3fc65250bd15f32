//! Matches on what was written on a packet or a connection before: mark, connmark; and comment, which is
//! written on the rule and matches every packet.

use super::super::options::{Given, MatchExtension, Misread, opt};
use super::super::value::{Inv, MarkMask};
use super::Match;

pub(super) const EXTENSIONS: &[MatchExtension] = &[
    MatchExtension {
        names: &["mark"],
        options: &[opt(&["mark"], 1)],
        read: mark,
    },
    MatchExtension {
        names: &["connmark"],
        options: &[opt(&["mark"], 1)],
        read: connmark,
    },
    MatchExtension {
        names: &["comment"],
        options: &[opt(&["comment"], 1)],
        read: comment,
    },
];

fn connmark<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    mark_of(given).map(Match::Connmark)
}

/// The `--mark` of both.
fn mark_of(given: &Given<'_>) -> Result<Inv<MarkMask>, Misread> {
    let option = given
        .options
        .first()
        .ok_or(Given::lacks("--mark with a value or value/mask"))?;
    option.read_inv(
        |text| MarkMask::read(text, u32::MAX),
        "a mark as value or value/mask",
    )
}

fn mark<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    mark_of(given).map(Match::Mark)
}

fn comment<'a>(given: &Given<'a>) -> Result<Match<'a>, Misread> {
    let option = given
        .options
        .first()
        .ok_or(Given::lacks("--comment with a text"))?;
    Ok(Match::Comment(option.text()))
}
