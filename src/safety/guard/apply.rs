//! Making a change, step by step; each step's failure leaves the firewall as it was.
//!
//! ```text
//! check -> backup -> arm -> apply -> verify -> pending
//! ```
//!
//! Up to *apply*, a caller that goes away ends it all: nobody waits for the change any more. From there on it
//! is either whole or undone.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::Guard;
use super::standby::{self, Standby};
use super::wire::{Header, Line, Word};
use crate::netfilter::xtables::lock::Holder;
use crate::netfilter::xtables::restore::{Held, RestoreError, Wait};
use crate::netfilter::xtables::{Tools, beside};
use crate::ruleset::{Backend, Origin};
use crate::safety::back;
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
/// Times that another program may be quicker.
const TRIES: u32 = 5;
/// Lines of the difference that are kept in the record.
const DIFF_LINES: usize = 500;

/// Makes the change and stays until it is confirmed or undone.
pub(super) fn run(header: &Header, line: &mut Line) -> ExitCode {
    match make(header, line) {
        Ok(mut guard) => {
            guard.record.remarks.extend(header.remark.clone());
            guard.present(line)
        }
        Err(error) => {
            let orphaned = matches!(error, ApplyError::Busy { .. });
            line.say(&Word::Failed(error));
            // Found without a guard: that is looked after now.
            if orphaned {
                standby::adopt(&header.places)
            } else {
                ExitCode::SUCCESS
            }
        }
    }
}

/// Makes the change, and gives the guard that looks after it.
fn make(header: &Header, line: &mut Line) -> Result<Guard, ApplyError> {
    let (transitions, sets) = line.texts(header).map_err(|error| ApplyError::Guard {
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
    state.sweep();
    state.forget_end();
    let tools = Tools::find();
    // Said before anything is saved: most changes that fail, fail here.
    Guard::say(line, Step::Checking);
    let goal = (&*transitions, &*sets);
    let (tried, _) = check(&tools, goal, &[])?;
    wanted_still(line)?;
    let backup = save(header, &tools, &transitions, line)?;
    wanted_still(line)?;

    // Legacy is held from the reading to the last write, so that nothing comes between.
    let legacy = |transition: &Transition| transition.origin.backend == Backend::Legacy;
    let held = if transitions.iter().any(legacy) {
        Some(take_lock(line)?)
    } else {
        None
    };
    let mut record = Record::new(
        fresh_name(),
        header.who.clone(),
        header.why.clone(),
        header.window(),
    );
    record.backup = backup;
    let mut guard = Guard {
        places: header.places.clone(),
        state,
        tools,
        record,
        legs: Vec::new(),
        sets: Vec::new(),
        blind: false,
        shaken: false,
        held,
        keep: header.keep,
        standby: None,
        _lock: lock,
    };
    guard.arm_and_apply(goal, &tried, line)?;
    guard.held = None;
    Ok(guard)
}

/// Makes the backup that this change may need; its name.
fn save(
    header: &Header,
    tools: &Tools,
    transitions: &[Transition],
    line: &mut Line,
) -> Result<String, ApplyError> {
    Guard::say(line, Step::BackingUp);
    let failed = |what: String, remedy: &str| ApplyError::Backup {
        what,
        remedy: remedy.to_owned(),
    };
    trail::prepare(&header.places)
        .map_err(|error| failed(format!("the audit trail: {error}"), error.remedy()))?;
    let origins: Vec<Origin> = transitions.iter().map(|leg| leg.origin).collect();
    let backup = backup::take(&header.places, tools, &origins, &header.who, &header.why)
        .map_err(|error| failed(error.to_string(), error.remedy()))?
        .manifest
        .id;
    let _ = backup::prune(&header.places, header.keep, &[&backup]);
    Guard::say(
        line,
        Step::BackedUp {
            backup: backup.clone(),
        },
    );
    Ok(backup)
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

// By value, as `map_err` hands it over.
#[allow(clippy::needless_pass_by_value)]
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

/// What is to be: of the rulesets, and ipsets that there have to be.
type Goal<'a> = (&'a [Transition], &'a [u8]);

/// Reads what there is now, and tries the change and the way back on it. `tried` is what came of that before:
/// on the same ruleset it is not tried again. With the legs, the ipsets that are to be made.
fn check(
    tools: &Tools,
    (transitions, sets): Goal<'_>,
    tried: &[Leg],
) -> Result<(Vec<Leg>, Vec<u8>), ApplyError> {
    let saved = beside::sets().map(beside::Found::into_text);
    let mut saved = saved.unwrap_or_default();
    let made = sets::missing(sets, &saved);
    saved.extend_from_slice(&made);
    let mut legs = Vec::new();
    for transition in transitions {
        let origin = transition.origin;
        let now = read(tools, origin)?;
        let known = tried
            .iter()
            .find(|leg| leg.origin == origin && same(&leg.before, &now));
        let after = match known {
            Some(leg) => Arc::clone(&leg.after),
            None => {
                let way = (&*transition.before, &now);
                rehearse(tools, origin, way, &transition.to, &saved)?
            }
        };
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
    Ok((legs, made))
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
    /// Reads, arms and applies; again where another program was quicker and nothing is applied yet.
    fn arm_and_apply(
        &mut self,
        goal: Goal<'_>,
        tried: &[Leg],
        line: &mut Line,
    ) -> Result<(), ApplyError> {
        let mut tries = 0;
        loop {
            let done = check(&self.tools, goal, tried)
                .and_then(|(legs, sets)| self.arm(legs, sets, line))
                .map_err(|error| (error, false))
                .and_then(|()| self.apply(line));
            let (error, touched) = match done {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            let quicker = matches!(error, ApplyError::Changed { .. });
            let error = self.take_back(error, touched);
            tries += 1;
            let last = tries == TRIES || matches!(error, ApplyError::Stuck { .. });
            if !quicker || last {
                return Err(error);
            }
            Self::say(line, Step::Again);
        }
    }

    /// Writes down all that the way back needs, and has a second process ready that can walk it.
    fn arm(&mut self, legs: Vec<Leg>, sets: Vec<u8>, line: &mut Line) -> Result<(), ApplyError> {
        self.record.phase = Phase::Applying;
        self.record.by = None;
        self.record.origins = legs.iter().map(|leg| leg.origin.to_string()).collect();
        self.record.diff = difference(&legs);
        self.record.deadline = millis(clock::boot_time()) + self.record.window;
        self.legs = legs;
        self.sets = sets;
        self.state
            .write_legs(&self.record.id, &self.legs, &self.sets)
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

    /// Runs the scripts and verifies. An error has `true` where something may have been applied.
    fn apply(&mut self, line: &mut Line) -> Result<(), (ApplyError, bool)> {
        let hands = self
            .state
            .hands(Duration::from_secs(30))
            .map_err(|error| (guardless(error), false))?;
        wanted_still(line).map_err(|error| (error, false))?;
        Self::say(line, Step::Applying);
        sets::make(&self.sets).map_err(|error| (error, false))?;
        let mut remarks = Vec::new();
        for (at, leg) in self.legs.iter().enumerate() {
            let mut turns = 0;
            let mut again = || {
                turns += 1;
                let step = if turns == 1 {
                    Step::Verifying
                } else {
                    Step::Again
                };
                Self::say(line, step);
            };
            let way = (&*leg.before, &*leg.after);
            let strict = Strictness::Refuse;
            let held = self.held.as_ref();
            match carry(&self.tools, leg.origin, way, strict, held, &mut again) {
                Ok(said) => remarks.extend(said),
                Err(error) => {
                    let untouched = at == 0
                        && turns == 0
                        && matches!(error, CarryError::Conflict { .. } | CarryError::Script(_));
                    if untouched {
                        let _ = sets::take_away(&self.sets);
                    }
                    self.shaken |= !matches!(error, CarryError::Conflict { .. });
                    return Err((error.into(), !untouched));
                }
            }
        }
        drop(hands);
        for leg in &self.legs {
            back::remember(&self.tools, &self.state, &self.record.id, leg);
        }
        self.record.remarks = remarks;
        Ok(())
    }

    /// Ends an attempt that did not come about; undone first where something of it may be in the kernel.
    fn take_back(&mut self, error: ApplyError, touched: bool) -> ApplyError {
        let what = error.to_string();
        if touched {
            self.record.by = Some(format!("its failure: {what}"));
            if let Err(trouble) = self.undo() {
                let detail = format!("{what}; not undone: {trouble}");
                self.tell(Event::Failed, Some(detail));
                return ApplyError::Stuck {
                    what,
                    trouble,
                    backup: self.record.backup.clone(),
                };
            }
            self.tell(Event::Failed, Some(what));
        }
        self.vanish();
        error
    }

    /// Says that the change waits, and waits.
    fn present(mut self, line: &mut Line) -> ExitCode {
        self.record.phase = Phase::Pending;
        self.record.deadline = millis(clock::boot_time()) + self.record.window;
        if let Err(error) = self.save() {
            // Nobody could confirm what nobody can find.
            let error = self.take_back(guardless(error), true);
            line.say(&Word::Failed(error));
            return ExitCode::SUCCESS;
        }
        let warning = self.tell(Event::Applied, None);
        self.record.remarks.extend(warning);
        line.say(&Word::Pending(Pending {
            id: self.record.id.clone(),
            backup: self.record.backup.clone(),
            deadline: self.record.deadline(),
            remarks: self.record.remarks.clone(),
        }));
        self.watch()
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
