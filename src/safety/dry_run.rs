//! What the back end says of a change before anybody is asked to apply it: the rehearsal alone, with nothing
//! armed, backed up or touched.

use std::sync::Arc;

use super::rehearse::rehearse;
use super::request::{ApplyError, Transition};
use crate::netfilter::xtables::{Tools, beside};
use crate::ruleset::Ruleset;

/// What the ruleset would become, in the back end's own words; or why it will not, in its own words too.
/// Takes some tenths of a second.
pub fn dry_run(transition: &Transition) -> Result<Arc<Ruleset>, ApplyError> {
    let tools = Tools::find();
    // Without the sets, only rules that name one fail, and say so.
    let sets = beside::sets()
        .map(beside::Found::into_text)
        .unwrap_or_default();
    let before = &transition.before;
    rehearse(
        &tools,
        transition.origin,
        (before, before),
        &transition.to,
        &sets,
    )
}
