//! Counters by running the save tool: slow, and always possible where the structure could be read at all.
//!
//! One run brings every counter. What it prints is compared with the attached text rule by rule, so a
//! changed chain is out of step and never shifted.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Attached, CounterDoor, CounterError, Look, Looked, Mark, Uncounted, replace};
use crate::netfilter::xtables::{self, Limits, Tools};
use crate::ruleset::{ChainIdx, CounterSet, Origin, Ruleset};

/// The save tool of one origin as a counter door.
#[derive(Debug)]
pub struct SaveDoor {
    tools: Arc<Tools>,
    origin: Origin,
    limits: Limits,
    stop: Arc<AtomicBool>,
    attached: Option<Arc<Ruleset>>,
}

impl SaveDoor {
    /// A door that runs nothing until it is read. Setting `stop` kills a running tool.
    pub const fn new(
        tools: Arc<Tools>,
        origin: Origin,
        limits: Limits,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self {
            tools,
            origin,
            limits,
            stop,
            attached: None,
        }
    }

    fn read_text(&self) -> Result<Ruleset, CounterError> {
        let saved = xtables::save_unless(&self.stop, &self.tools, self.origin, self.limits)?;
        Ruleset::parse(saved.bytes, self.origin).map_err(|error| CounterError::Unreadable {
            tool: format!("{}-save", self.origin),
            detail: error.to_string(),
        })
    }
}

impl CounterDoor for SaveDoor {
    /// Always the same: only a look can tell.
    fn mark(&mut self) -> Result<Mark, CounterError> {
        Ok(Mark(0))
    }

    fn attach(&mut self, ruleset: &Arc<Ruleset>) -> Result<Attached, CounterError> {
        self.attached = Some(Arc::clone(ruleset));
        Ok(Attached {
            mark: Mark(0),
            handles: None,
            uncounted: Uncounted::default(),
            lossy: Vec::new(),
            misfits: Vec::new(),
        })
    }

    fn read(
        &mut self,
        chain: ChainIdx,
        counters: &mut CounterSet,
        looked: &mut Vec<Looked>,
    ) -> Result<(), CounterError> {
        let Some(attached) = self.attached.clone() else {
            looked.push(Looked {
                chain,
                look: Look::OutOfStep,
            });
            return Ok(());
        };
        let now = self.read_text()?;
        let read = now.saved_counters();
        for index in 0..attached.chains().len() {
            let chain = ChainIdx(u32::try_from(index).unwrap_or(u32::MAX));
            let look = take(&attached, &now, chain, &read, counters);
            looked.push(Looked { chain, look });
        }
        Ok(())
    }
}

/// Takes the numbers of one chain from another text, if it is the same chain there.
fn take(
    attached: &Ruleset,
    now: &Ruleset,
    index: ChainIdx,
    read: &CounterSet,
    counters: &mut CounterSet,
) -> Look {
    let chain = attached.chain(index);
    let found = now
        .find_table(attached.table(chain.table()).name())
        .and_then(|table| now.chain_named(table, chain.name_bytes()));
    let Some(found) = found else {
        return Look::OutOfStep;
    };
    let (mine, theirs) = (chain.rules(), now.chain(found).rules());
    let same = mine.len() == theirs.len()
        && mine
            .iter()
            .zip(theirs)
            .all(|(mine, theirs)| attached.spec(*mine) == now.spec(*theirs));
    if !same || chain.policy() != now.chain(found).policy() {
        return Look::OutOfStep;
    }
    let mut changed = false;
    for (mine, theirs) in mine.iter().zip(theirs) {
        changed |= replace(counters.rules.get_mut(mine.0 as usize), read.rule(*theirs));
    }
    let policy = read.policy(found);
    changed |= replace(counters.policies.get_mut(index.0 as usize), policy);
    if changed { Look::Changed } else { Look::Same }
}
