//! Tries the change, and the way back, where they decide about nothing.
//!
//! The ruleset as it is goes into a scratch namespace, the change is made there and saved, the inverse is made
//! and saved. That gives three things at once: the back end's own verdict on every rule, the text as the
//! kernel will print it (so that "exactly what was staged" can be compared word for word), and the proof that
//! the way back leads back, before the first step is taken.

use std::sync::Arc;

use super::carry::{first_difference, first_line, same};
use super::request::{ApplyError, To};
use super::tame::Tamed;
use crate::edit;
use crate::netfilter::xtables::Tools;
use crate::netfilter::xtables::restore::{Mode, RestoreError};
use crate::netfilter::xtables::scratch::{Scratch, in_scratch};
use crate::ruleset::{Origin, Ruleset};

/// Rules without a faithful text that are put up with; each costs a try.
const ODD_RULES: usize = 100;

/// What `now` becomes when the change is made, in the back end's own words.
///
/// `before` is what the change was thought of against; `sets` is `ipset save` of the real namespace. What
/// others changed since is kept, and where that is not plain the change is refused: it is to be looked at
/// again. A script is for whatever there is.
pub(super) fn rehearse(
    tools: &Tools,
    origin: Origin,
    (before, now): (&Ruleset, &Arc<Ruleset>),
    to: &To,
    sets: &[u8],
) -> Result<Arc<Ruleset>, ApplyError> {
    let (script, mode) = match to {
        To::Script(script) => (script.clone(), Mode::Plain),
        To::Ruleset(goal) => {
            let merged = edit::merge(before, goal, now);
            if let Some(what) = merged.remarks.iter().find(|r| !r.is_harmless()) {
                return Err(ApplyError::Changed {
                    origin: origin.to_string(),
                    what: what.to_string(),
                });
            }
            if same(&merged.ruleset, now) {
                return Ok(Arc::clone(now));
            }
            let script = edit::script(now, &merged.ruleset, &now.saved_counters());
            let script = script.map_err(|error| ApplyError::Locked {
                what: first_line(&error),
            })?;
            (script.bytes(), Mode::Amend)
        }
    };
    in_scratch(tools, |scratch| {
        there_and_back(scratch, origin, now, (&script, mode), sets)
    })
    .map_err(|error| ApplyError::from(&error))?
}

fn there_and_back(
    scratch: &Scratch<'_>,
    origin: Origin,
    now: &Ruleset,
    (script, mode): (&[u8], Mode),
    sets: &[u8],
) -> Result<Arc<Ruleset>, ApplyError> {
    // Without the sets, only the rules that name one fail, and say so.
    let _ = scratch.make_sets(sets);
    let (tamed, base) = load(scratch, origin, now)?;
    scratch
        .restore(origin, script, mode)
        .map_err(|error| match error {
            RestoreError::Refused { .. } => ApplyError::Refused {
                what: error.to_string(),
            },
            other => ApplyError::from(&other),
        })?;
    let after = read(scratch, origin)?;
    let back = edit::script(&after, &base, &after.saved_counters())
        .map_err(|error| unlike(first_line(&error)))?;
    scratch
        .restore(origin, &back.bytes(), Mode::Amend)
        .map_err(|error| unlike(error.to_string()))?;
    if let Some(what) = first_difference(&base, &read(scratch, origin)?) {
        return Err(unlike(what));
    }
    let text = tamed.put_back(after.bytes()).ok_or_else(|| {
        unlike("it takes out or moves a rule that does not load again from its own text".to_owned())
    })?;
    parse(text, origin).map(Arc::new)
}

/// Loads the ruleset, with stand-ins for rules that do not load from their own text.
fn load<'a>(
    scratch: &Scratch<'_>,
    origin: Origin,
    now: &'a Ruleset,
) -> Result<(Tamed<'a>, Ruleset), ApplyError> {
    let mut tamed = Tamed::new(now, origin);
    for _ in 0..ODD_RULES {
        match scratch.restore(origin, &tamed.print(), Mode::Replace) {
            Ok(()) => {}
            Err(RestoreError::Refused {
                line: Some(line), ..
            }) if tamed.replace_line(line) => continue,
            Err(error) => {
                return Err(unlike(format!(
                    "the saved text of the rules does not load again: {error}"
                )));
            }
        }
        let base = read(scratch, origin)?;
        if !tamed.replace_changed(&base) {
            return match tamed.first_difference(&base) {
                None => Ok((tamed, base)),
                Some(what) => Err(unlike(format!("{what} loads otherwise than it was saved"))),
            };
        }
    }
    Err(unlike(
        "too many rules do not load again from their own text".to_owned(),
    ))
}

fn unlike(what: String) -> ApplyError {
    ApplyError::OneWay { what }
}

fn read(scratch: &Scratch<'_>, origin: Origin) -> Result<Ruleset, ApplyError> {
    let text = scratch
        .save(origin)
        .map_err(|error| ApplyError::from(&error))?;
    parse(text, origin)
}

fn parse(text: Vec<u8>, origin: Origin) -> Result<Ruleset, ApplyError> {
    Ruleset::parse(text, origin).map_err(|error| ApplyError::OneWay {
        what: format!("what {origin}-save printed cannot be read: {error}"),
    })
}
