//! Which rows of a chain changed their place.
//!
//! Order is relative: where two rules changed places, either can be called the one that moved. A person
//! knows which one: the one that was moved. So rows that nobody moved count as standing still, whatever
//! stands between them, and of the others those that are back in their place count as such too. That is
//! worked out from the rows as they are, not from what was done to them, so moving a rule up and down
//! again leaves no mark.

use super::align::longest_rising;
use super::draft::{ChainId, Draft, Standing};

/// For each row of a chain, whether it stands and has changed its place; empty where none has.
pub(super) fn moved_rows(draft: &Draft, id: ChainId) -> Vec<bool> {
    let Some(rows) = draft.chain(id).and_then(|chain| chain.rows.as_ref()) else {
        return Vec::new();
    };
    if !rows.iter().any(|entry| entry.moved) {
        return Vec::new();
    }
    let of_here = draft.chain(id).and_then(|chain| chain.base);
    // The place that a row had in this chain; none for a row from elsewhere.
    let old = |at: &usize| {
        let base = draft.base_of(rows.get(*at)?.id)?;
        (draft.base.chain_of(base) == of_here).then(|| draft.base.number(base))
    };
    let mut moved = vec![false; rows.len()];
    let mut run: Vec<usize> = Vec::new();
    let mut low = 0;
    let mut settle = |run: &mut Vec<usize>, low: u32, high: u32| {
        let fits: Vec<(usize, u32)> = run
            .iter()
            .filter_map(|at| Some((*at, old(at)?)))
            .filter(|(_, number)| (low..high).contains(number))
            .collect();
        let numbers: Vec<u32> = fits.iter().map(|(_, number)| *number).collect();
        for at in run.drain(..) {
            if let Some(moved) = moved.get_mut(at) {
                *moved = true;
            }
        }
        for kept in longest_rising(&numbers) {
            if let Some(moved) = fits.get(kept).and_then(|(at, _)| moved.get_mut(*at)) {
                *moved = false;
            }
        }
    };
    for (at, entry) in rows.iter().enumerate() {
        if draft.base_of(entry.id).is_none() {
            continue;
        }
        if entry.moved {
            if entry.standing == Standing::Stands {
                run.push(at);
            }
        } else if let Some(number) = old(&at) {
            settle(&mut run, low, number);
            low = number;
        }
    }
    settle(&mut run, low, u32::MAX);
    moved
}
