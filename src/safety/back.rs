//! Takes a change back out of what the kernel holds now, until nothing of it is left to take back.
//!
//! The way back is decided once, on the first reading: which rules of it are ours, known by their handles and
//! else by their text, one for one; what others did; what is not put back since others emptied the chain. From
//! then on the way leads from that reading to what it is to become, and is written down before the first rule is
//! touched. So a second look, or the guard after one that was killed half way, does not take the rule of another
//! that says the same for ours, which is gone by then.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::by_text::by_text;
use super::carry::{self, CarryError, TURNS};
use super::places;
use super::record::{Leg, State};
use super::sight::{Sight, see};
use crate::edit::{self, Known, Merge, Trace};
use crate::netfilter::xtables::Tools;
use crate::netfilter::xtables::restore::{Held, Mode, RestoreError};
use crate::ruleset::{Backend, RuleIdx, Ruleset};

/// From where to where.
struct Way {
    from: Sight,
    to: Arc<Ruleset>,
    /// `None` until it is decided.
    decided: Option<Decided>,
}

/// What is known of a way that is decided.
struct Decided {
    /// Of the rules that are to be.
    known: Known,
    /// What there is to say of it.
    remarks: Vec<String>,
}

/// The files that keep the way.
struct Shelf {
    from: PathBuf,
    to: PathBuf,
    rest: PathBuf,
    handles: PathBuf,
}

/// What is not in the texts of a way that is decided.
#[derive(Serialize, Deserialize)]
struct Rest {
    from: Kept,
    to: Kept,
    remarks: Vec<String>,
}

/// [`Known`] in a file.
#[derive(Serialize, Deserialize)]
struct Kept {
    handles: Vec<Option<(u64, u64)>>,
    lossy: Vec<u32>,
}

impl From<&Known> for Kept {
    fn from(known: &Known) -> Self {
        Self {
            handles: known.handles.clone(),
            lossy: known.lossy.iter().map(|rule| rule.0).collect(),
        }
    }
}

impl From<Kept> for Known {
    fn from(kept: Kept) -> Self {
        Self {
            handles: kept.handles,
            lossy: kept.lossy.into_iter().map(RuleIdx).collect(),
        }
    }
}

/// Writes down what the kernel calls the rules that the change made and left. A folder that is full must not
/// end the change: then they are known by their text.
pub(super) fn remember(tools: &Tools, state: &State, id: &str, leg: &Leg) {
    if leg.origin.backend == Backend::Legacy {
        return;
    }
    let Ok(now) = see(tools, leg.origin) else {
        return;
    };
    let known = now.known.of(&now.ruleset, &leg.after);
    let text = serde_json::to_vec(&known.handles).unwrap_or_default();
    let _ = places::replace(&Shelf::of(state, id, leg).handles, &text);
}

/// Takes the change back; what was odd on the way.
pub(super) fn carry_back(
    tools: &Tools,
    (state, id): (&State, &str),
    leg: &Leg,
    held: Option<&Held>,
) -> Result<Vec<String>, CarryError> {
    let origin = leg.origin;
    let shelf = Shelf::of(state, id, leg);
    let mut way = shelf.way(leg);
    let mut now = see(tools, origin)?;
    let mut by_number = false;
    let mut has_tried = way.decided.is_some();
    for _ in 0..TURNS {
        let mut merged = way.done_to(&now);
        let remarks = match &way.decided {
            Some(decided) => decided.remarks.clone(),
            None => {
                let remarks = carry::worth_saying(&merged.remarks);
                way = Way {
                    from: now.clone(),
                    to: Arc::clone(&merged.ruleset),
                    decided: Some(Decided {
                        known: now.known.left(&merged.was),
                        remarks: remarks.clone(),
                    }),
                };
                remarks
            }
        };
        let mut still = HashSet::new();
        if is_as_merged(&merged, &now) {
            if !has_tried || carry::in_order(&way.from.ruleset, &way.to, &now.ruleset) {
                return Ok(remarks);
            }
            let Some(moved) = way.in_order(&now) else {
                return Ok(remarks);
            };
            merged = moved;
            still = carry::of_others(&way.from.ruleset, &way.to, &now.ruleset);
        }
        if !has_tried {
            shelf.keep(&way);
        }
        has_tried = true;
        let script = script(&now, &merged, &still)?;
        let script = if origin.backend == Backend::Nft && !by_number {
            by_text(&now.ruleset, &script).unwrap_or(script)
        } else {
            script
        };
        let done = carry::write(tools, origin, &script, Mode::Amend, held);
        let fresh = see(tools, origin)?;
        let unchanged = carry::same(&fresh.ruleset, &now.ruleset);
        match done {
            Ok(()) => {}
            // Refused, and nobody else is to blame: by its numbers then, since nft does not find every
            // rule by its text; after that it is our own fault.
            Err(RestoreError::Refused { .. })
                if unchanged && origin.backend == Backend::Nft && !by_number =>
            {
                by_number = true;
            }
            Err(RestoreError::Refused { .. }) if !unchanged => {}
            Err(error) => return Err(error.into()),
        }
        now = fresh;
    }
    Err(CarryError::Unsettled { origin })
}

impl Way {
    fn done_to(&self, now: &Sight) -> Merge {
        edit::undo(
            (&self.from.ruleset, &self.from.known),
            (
                &self.to,
                self.decided.as_ref().map(|decided| &decided.known),
            ),
            (&now.ruleset, &now.known),
        )
    }

    /// Where everything is there but not in its place: numbers had moved under the tool. `None` where it is in its
    /// place, or where a rule could be mistaken for one that only nft can say: a place off is the lesser evil.
    fn in_order(&self, now: &Sight) -> Option<Merge> {
        if !now.known.lossy.is_empty() {
            return None;
        }
        let without = edit::merge(&self.to, &self.from.ruleset, &now.ruleset).ruleset;
        let mut merged = edit::merge(&self.from.ruleset, &self.to, &without);
        // By their text again: what it was taken from is not what is there.
        merged.was = Known::was(&now.ruleset, &merged.ruleset);
        merged.moved = now.ruleset.rules().collect();
        (!carry::same(&merged.ruleset, &now.ruleset)).then_some(merged)
    }
}

/// Whether nothing is left to do.
fn is_as_merged(merged: &Merge, now: &Sight) -> bool {
    // The same texts can be other rules.
    let mut was = merged.was.iter().map(|was| was.map(|rule| rule.0));
    carry::same(&merged.ruleset, &now.ruleset) && was.all(|was| was.is_some()) && {
        let was: Vec<RuleIdx> = merged.was.iter().copied().flatten().collect();
        let same_chain = |pair: &[RuleIdx]| match pair {
            [a, b] => now.ruleset.chain_of(*a) != now.ruleset.chain_of(*b) || a < b,
            _ => true,
        };
        was.windows(2).all(same_chain)
    }
}

fn script(now: &Sight, merged: &Merge, still: &HashSet<Vec<u8>>) -> Result<Vec<u8>, CarryError> {
    let mut trace = Trace::of(merged, now.known.lossy.clone());
    let counters = now.ruleset.saved_counters();
    let write = |trace: &Trace| {
        edit::script_traced(
            &now.ruleset,
            &merged.ruleset,
            &counters,
            still.clone(),
            trace,
        )
    };
    let script = write(&trace).or_else(|_| {
        // One that is to move cannot be written: those around it are moved.
        trace.still.clear();
        write(&trace)
    });
    Ok(script?.bytes())
}

impl Shelf {
    fn of(state: &State, id: &str, leg: &Leg) -> Self {
        let file = |end: &str| state.file_of(id, &format!("{}.{end}", leg.origin));
        Self {
            from: file("undo-from"),
            to: file("undo-to"),
            rest: file("undo"),
            handles: file("handles"),
        }
    }

    /// The way that was decided, or the one that is to be.
    fn way(&self, leg: &Leg) -> Way {
        self.decided(leg).unwrap_or_else(|| {
            let handles = fs::read(&self.handles).ok();
            let handles = handles.and_then(|text| serde_json::from_slice(&text).ok());
            let known = Known {
                handles: handles.unwrap_or_default(),
                ..Known::default()
            };
            Way {
                from: Sight {
                    ruleset: Arc::clone(&leg.after),
                    known,
                },
                to: Arc::clone(&leg.before),
                decided: None,
            }
        })
    }

    fn decided(&self, leg: &Leg) -> Option<Way> {
        let rest: Rest = serde_json::from_slice(&fs::read(&self.rest).ok()?).ok()?;
        let read = |path: &PathBuf| {
            let text = fs::read(path).ok()?;
            Some(Arc::new(Ruleset::parse(text, leg.origin).ok()?))
        };
        Some(Way {
            from: Sight {
                ruleset: read(&self.from)?,
                known: rest.from.into(),
            },
            to: read(&self.to)?,
            decided: Some(Decided {
                known: rest.to.into(),
                remarks: rest.remarks,
            }),
        })
    }

    /// A folder that is full must not keep the change in force.
    fn keep(&self, way: &Way) {
        let Some(decided) = &way.decided else { return };
        let rest = Rest {
            from: (&way.from.known).into(),
            to: (&decided.known).into(),
            remarks: decided.remarks.clone(),
        };
        let rest = serde_json::to_vec(&rest).unwrap_or_default();
        // The last one makes the others hold.
        let _ = places::replace(&self.from, way.from.ruleset.bytes())
            .and_then(|()| places::replace(&self.to, way.to.bytes()))
            .and_then(|()| places::replace(&self.rest, &rest));
    }
}
