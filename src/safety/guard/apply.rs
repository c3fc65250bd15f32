//! Making a change, step by step; each step's failure leaves the firewall as it was.
//!
//! ```text
//! check -> backup -> arm -> apply -> verify -> pending
//! ```
//!
//! Up to *apply*, a caller that goes away ends it all: nobody waits for the change any more. From there on it
//! is either whole or undone.

use std::process::ExitCode;
use std::time::Duration;

use super::Guard;
use super::standby::{self, Standby};
use super::wire::{Header, Line, Word};
use crate::netfilter::xtables::lock::Holder;
use crate::netfilter::xtables::restore::{Held, RestoreError, Wait};
use crate::netfilter::xtables::{Tools, beside};
use crate::ruleset::{Backend, Origin};
use crate::safety::backup;
use crate::safety::carry::{CarryError, Strictness, carry, read, same};
use crate::safety::clock;
use crate::safety::diff;
use crate::safety::lossy;
use crate::safety::places::PlaceError;
use crate::safety::record::{Leg, Phase, Record, State, fresh_name, millis};
use crate::safety::rehearse::rehearse;
use crate::safety::request::{ApplyError, Pending, Step, Transition};
use crate::safety::sets;
use crate::safety::trail::{self, Event};

/// A caller who waits for the lock longer has given up in every way but one.
const LOCK_PATIENCE: Duration = Duration::from_secs(600);
/// Lines of the difference that are kept in the record.
const DIFF_LINES: usize = 500;

/// Makes the change and stays until it is confirmed or undone.
pub(super) fn run(header: &Header, line: &mut Line) -> ExitCode {
    let guard = match prepare(header, line) {
        Ok(guard) => guard,
        Err(error) => {
            let orphaned = matches!(error, ApplyError::Busy { .. });
            line.say(&Word::Failed(error));
            // Found without a guard: that is looked after first.
            return if orphaned {
                standby::adopt(&header.places)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    perform(guard, line)
}

/// Everything up to the moment before the first rule is touched.
fn prepare(header: &Header, line: &mut Line) -> Result<Guard, ApplyError> {
    let transitions = line
        .transitions(header)
        .map_err(|error| ApplyError::Guard {
            what: error.to_string(),
            remedy: "start again".to_owned(),
        })?;
    let state = State::open(&header.places).map_err(guardless)?;
    let lock = state
        .guard_lock(Some(Duration::ZERO))
        .map_err(guardless)?
        .ok_or_else(|| busy(&state))?;
    if let Ok(Some(record)) = state.read() {
        drop(lock);
        return Err(ApplyError::Busy {
            what: record.summary(),
        });
    }
    let tools = Tools::find();
    Guard::say(line, Step::Checking);
    let legs = check(&tools, &transitions)?;
    wanted_still(line)?;

    Guard::say(line, Step::BackingUp);
    trail::prepare(&header.places).map_err(|error| ApplyError::Backup {
        what: format!("the audit trail: {error}"),
        remedy: error.remedy().to_owned(),
    })?;
    let origins: Vec<Origin> = legs.iter().map(|leg| leg.origin).collect();
    let backup = backup::take(&header.places, &tools, &origins, &header.who, &header.why).map_err(
        |error| ApplyError::Backup {
            what: error.to_string(),
            remedy: error.remedy().to_owned(),
        },
    )?;
    let backup = backup.manifest.id;
    let _ = backup::prune(&header.places, header.keep, &[&backup]);
    Guard::say(
        line,
        Step::BackedUp {
            backup: backup.clone(),
        },
    );
    wanted_still(line)?;

    let mut record = Record::new(
        fresh_name(),
        header.who.clone(),
        header.why.clone(),
        header.window(),
    );
    record.origins = origins.iter().map(Origin::to_string).collect();
    record.backup = backup;
    record.diff = difference(&legs);
    record.deadline = millis(clock::boot_time() + header.window());
    let mut guard = Guard {
        places: header.places.clone(),
        state,
        tools,
        record,
        legs,
        keep: header.keep,
        standby: None,
        _lock: lock,
    };
    if let Err(error) = guard.arm(line) {
        guard.vanish();
        return Err(error);
    }
    Ok(guard)
}

fn busy(state: &State) -> ApplyError {
    let record = state.read().ok().flatten();
    ApplyError::Busy {
        what: record.map_or_else(
            || "another ruletop is preparing one".to_owned(),
            |record| record.summary(),
        ),
    }
}

fn guardless(error: PlaceError) -> ApplyError {
    ApplyError::Guard {
        remedy: error.remedy().to_owned(),
        what: error.to_string(),
    }
}

fn wanted_still(line: &Line) -> Result<(), ApplyError> {
    if line.is_abandoned() {
        Err(ApplyError::Stopped)
    } else {
        Ok(())
    }
}

/// Reads what there is now, and tries the change and the way back on it.
fn check(tools: &Tools, transitions: &[Transition]) -> Result<Vec<Leg>, ApplyError> {
    let saved = beside::sets().map(beside::Found::into_text);
    let saved = saved.unwrap_or_default();
    let mut legs = Vec::new();
    for transition in transitions {
        let origin = transition.origin;
        let now = read(tools, origin)?;
        let after = rehearse(
            tools,
            origin,
            (&transition.before, &now),
            &transition.to,
            &saved,
        )?;
        if same(&now, &after) {
            continue;
        }
        let locked = lossy::chains(origin, &now);
        if let Some(chain) = locked
            .iter()
            .find(|chain| lossy::is_touched(chain, &now, &after))
        {
            return Err(ApplyError::Locked {
                what: chain.to_string(),
            });
        }
        if let Some(set) = sets::unknown(&after, &saved)
            .ok()
            .and_then(|mut sets| sets.pop())
        {
            return Err(ApplyError::Refused {
                what: format!("a rule names the ipset {set}, which is not there"),
            });
        }
        legs.push(Leg {
            origin,
            before: now,
            after,
        });
    }
    if legs.is_empty() {
        return Err(ApplyError::Nothing);
    }
    Ok(legs)
}

fn difference(legs: &[Leg]) -> Vec<String> {
    let mut lines = Vec::new();
    for leg in legs {
        let those = diff::lines(&leg.before, &leg.after);
        lines.extend(those.iter().map(|line| {
            if legs.len() > 1 {
                format!("{} {line}", leg.origin)
            } else {
                line.clone()
            }
        }));
    }
    if lines.len() > DIFF_LINES {
        let more = lines.len() - DIFF_LINES;
        lines.truncate(DIFF_LINES);
        lines.push(format!("and {more} more"));
    }
    lines
}

impl Guard {
    /// Writes down all that the way back needs, and has a second process ready that can walk it.
    fn arm(&mut self, line: &mut Line) -> Result<(), ApplyError> {
        self.state
            .write_legs(&self.record.id, &self.legs)
            .and_then(|()| self.state.write(&self.record))
            .map_err(guardless)?;
        let standby =
            Standby::start(&self.places, &self.record.id).map_err(|error| ApplyError::Guard {
                what: format!("its standby does not answer: {error}"),
                remedy: "is there room for two more processes?".to_owned(),
            })?;
        self.record.standby = standby.id();
        self.standby = Some(standby);
        self.save().map_err(guardless)?;
        let armed = Step::Armed {
            guard: self.record.guard,
            standby: self.record.standby,
        };
        Self::say(line, armed);
        wanted_still(line)
    }

    /// Runs the scripts. An error has `true` where something may have been applied.
    fn apply(&mut self, line: &mut Line) -> Result<Vec<String>, (ApplyError, bool)> {
        let untouched = |error| (error, false);
        let hands = self
            .state
            .hands(Duration::from_secs(30))
            .map_err(|error| untouched(guardless(error)))?;
        let legacy = |leg: &Leg| leg.origin.backend == Backend::Legacy;
        let held = if self.legs.iter().any(legacy) {
            Some(take_lock(line).map_err(untouched)?)
        } else {
            None
        };
        wanted_still(line).map_err(untouched)?;
        Self::say(line, Step::Applying);
        let mut remarks = Vec::new();
        for (at, leg) in self.legs.iter().enumerate() {
            let way = (&*leg.before, &*leg.after);
            let mut turns = 0;
            let mut again = || {
                turns += 1;
                Self::say(
                    line,
                    if turns == 1 {
                        Step::Verifying
                    } else {
                        Step::Again
                    },
                );
            };
            let done = carry(
                &self.tools,
                leg.origin,
                way,
                Strictness::Refuse,
                held.as_ref(),
                &mut again,
            );
            match done {
                Ok(done) => remarks.extend(done.remarks),
                Err(error) => {
                    let conflict = matches!(error, CarryError::Conflict { .. });
                    let touched = at > 0 || turns > 0 || !conflict;
                    return Err((error.into(), touched));
                }
            }
        }
        drop(hands);
        Ok(remarks)
    }
}

/// Waits for the xtables lock, for as long as the caller does.
fn take_lock(line: &mut Line) -> Result<Held, ApplyError> {
    let line = std::cell::RefCell::new(line);
    let mut wait = Wait {
        limit: LOCK_PATIENCE,
        stop: &mut || line.borrow().is_abandoned(),
        told: &mut |holder: Option<&Holder>| {
            let holder = holder.map_or_else(
                || "another program".to_owned(),
                |holder| {
                    let name = holder.name.as_deref().unwrap_or("a program");
                    format!("{name} (pid {})", holder.pid)
                },
            );
            Guard::say(&mut line.borrow_mut(), Step::Waiting { holder });
        },
    };
    Held::take(&mut wait).map_err(|error| match error {
        RestoreError::Stopped => ApplyError::Stopped,
        other => ApplyError::from(&other),
    })
}

/// Applies, verifies, and waits.
fn perform(mut guard: Guard, line: &mut Line) -> ExitCode {
    match guard.apply(line) {
        Ok(remarks) => guard.record.remarks = remarks,
        Err((error, touched)) => {
            let error = guard.fail(error, touched);
            line.say(&Word::Failed(error));
            return ExitCode::SUCCESS;
        }
    }
    guard.record.phase = Phase::Pending;
    let window = Duration::from_millis(guard.record.window);
    guard.record.deadline = millis(clock::boot_time() + window);
    if let Err(error) = guard.save() {
        // Nobody could confirm what nobody can find.
        let error = guard.fail(guardless(error), true);
        line.say(&Word::Failed(error));
        return ExitCode::SUCCESS;
    }
    guard.tell(Event::Applied, None);
    line.say(&Word::Pending(Pending {
        id: guard.record.id.clone(),
        backup: guard.record.backup.clone(),
        deadline: guard.record.deadline(),
        remarks: guard.record.remarks.clone(),
    }));
    guard.watch()
}

impl Guard {
    /// Ends a change that did not come about; undone first where something of it may be in the kernel.
    fn fail(&mut self, error: ApplyError, touched: bool) -> ApplyError {
        let what = error.to_string();
        if touched {
            self.record.by = Some(format!("its failure: {what}"));
            if let Err(trouble) = self.undo() {
                self.tell(
                    Event::Failed,
                    Some(format!("{what}; not undone: {trouble}")),
                );
                return ApplyError::Stuck {
                    what,
                    trouble,
                    backup: self.record.backup.clone(),
                };
            }
        }
        self.tell(Event::Failed, Some(what));
        self.vanish();
        error
    }
}
