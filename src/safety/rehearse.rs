//! Tries the change, and the way back, where they decide about nothing.
//!
//! The ruleset as it is goes into a scratch namespace, the change is made there and saved, the inverse is made
//! and saved. That gives three things at once: the back end's own verdict on every rule, the text as the
//! kernel will print it (so that "exactly what was staged" can be compared word for word), and the proof that
//! the way back leads back, before the first step is taken.

use std::sync::Arc;

use super::carry::{first_difference, first_line, same};
use super::request::{ApplyError, To};
use crate::edit;
use crate::netfilter::xtables::restore::{Mode, RestoreError};
use crate::netfilter::xtables::scratch::{Scratch, in_scratch};
use crate::netfilter::xtables::{Tools, XtablesError};
use crate::ruleset::{Origin, Ruleset};

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
    let unlike = |what: String| ApplyError::OneWay { what };
    // Without the sets, only the rules that name one fail, and say so.
    let _ = scratch.make_sets(sets);
    scratch
        .restore(origin, now.bytes(), Mode::Replace)
        .map_err(|error| unlike(format!("its own saved text does not load again: {error}")))?;
    if let Some(what) = first_difference(now, &read(scratch, origin)?) {
        return Err(unlike(format!("{what} loads otherwise than it was saved")));
    }
    scratch
        .restore(origin, script, mode)
        .map_err(|error| match error {
            RestoreError::Refused { .. } => ApplyError::Refused {
                what: error.to_string(),
            },
            other => ApplyError::from(&other),
        })?;
    let after = read(scratch, origin)?;
    let back = edit::script(&after, now, &after.saved_counters())
        .map_err(|error| unlike(first_line(&error)))?;
    scratch
        .restore(origin, &back.bytes(), Mode::Amend)
        .map_err(|error| unlike(error.to_string()))?;
    match first_difference(now, &read(scratch, origin)?) {
        Some(what) => Err(unlike(what)),
        None => Ok(Arc::new(after)),
    }
}

fn read(scratch: &Scratch<'_>, origin: Origin) -> Result<Ruleset, ApplyError> {
    let text = scratch.save(origin).map_err(|error| save(&error))?;
    Ruleset::parse(text, origin).map_err(|error| ApplyError::OneWay {
        what: format!("what {origin}-save printed cannot be read: {error}"),
    })
}

fn save(error: &XtablesError) -> ApplyError {
    ApplyError::Tool {
        what: error.to_string(),
        remedy: error.remedy().to_owned(),
        privilege: matches!(error, XtablesError::Permission { .. }),
    }
}
