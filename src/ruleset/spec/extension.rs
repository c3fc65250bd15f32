//! A match or target that a rule loads: known or not, and how it ends up in the [`Spec`].

use super::Spec;
use super::matches::Match;
use super::options::{Given, MatchExtension, Misread, Opt, TargetExtension};
use super::targets::Target;

/// What follows `-m` or `-j` and may have options.
pub(super) enum Extension {
    Match(&'static MatchExtension),
    UnknownMatch,
    Target(&'static TargetExtension),
    UnknownTarget,
}

impl Extension {
    /// Its options; of an unknown one, none.
    pub(super) fn options(&self) -> &'static [Opt] {
        match self {
            Self::Match(extension) => extension.options,
            Self::Target(extension) => extension.options,
            Self::UnknownMatch | Self::UnknownTarget => &[],
        }
    }

    /// Not known here: any word after it may be its option.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::UnknownMatch | Self::UnknownTarget)
    }

    /// A target, known or not.
    pub(super) fn is_target(&self) -> bool {
        matches!(self, Self::Target(_) | Self::UnknownTarget)
    }

    /// Add what was given, typed if it can be, to the rule.
    pub(super) fn finish<'a>(self, given: Given<'a>, spec: &mut Spec<'a>) {
        match self {
            Self::Match(extension) => {
                let read = given.misread.map_or_else(|| (extension.read)(&given), Err);
                spec.matches
                    .push(read.unwrap_or_else(|why| unknown_match(given, Some(why))));
            }
            Self::UnknownMatch => spec.matches.push(unknown_match(given, None)),
            Self::Target(extension) => {
                let read = given.misread.map_or_else(|| (extension.read)(&given), Err);
                spec.target = Some(read.unwrap_or_else(|why| unknown_target(given, Some(why))));
            }
            Self::UnknownTarget => spec.target = Some(unknown_target(given, None)),
        }
    }
}

fn unknown_match(given: Given<'_>, why: Option<Misread>) -> Match<'_> {
    Match::Unknown(Box::new(given.into_unknown(why)))
}

fn unknown_target(given: Given<'_>, why: Option<Misread>) -> Target<'_> {
    Target::Unknown(Box::new(given.into_unknown(why)))
}
