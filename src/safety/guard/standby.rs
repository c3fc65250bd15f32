//! The second guard: it waits for the first to die, and then is the guard.
//!
//! What it needs is read when it starts and kept in memory, so nobody who empties the state folder can take
//! the way back from it.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdout, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use super::Guard;
use super::wire::{self, Order};
use crate::netfilter::xtables::Tools;
use crate::ruleset::Origin;
use crate::safety::GUARD;
use crate::safety::backup;
use crate::safety::clock;
use crate::safety::launch;
use crate::safety::places::Places;
use crate::safety::record::{Leg, Phase, Record, State};
use crate::safety::request::KEEP;
use crate::safety::trail::{self, Entry, Event};

/// What a standby says when it has all it needs.
const READY: &[u8] = b"ready\n";

/// The guard's end of its standby.
pub(super) struct Standby {
    child: Child,
    /// Closes when it dies.
    pub rope: ChildStdout,
}

impl Standby {
    /// Starts one and waits until it is ready. It stays in our control group, which is not the session's where
    /// that can be had.
    pub fn start(places: &Places, id: &str) -> io::Result<Self> {
        let mut child = launch::directly(None, GUARD)?;
        let ready = (|| {
            let mut input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
            let order = Order::Standby {
                places: places.clone(),
                id: id.to_owned(),
            };
            wire::order(&order, &mut input)?;
            let mut rope = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
            let mut said = [0; READY.len()];
            rope.read_exact(&mut said)?;
            if said != READY {
                return Err(io::ErrorKind::InvalidData.into());
            }
            Ok(rope)
        })();
        match ready {
            Ok(rope) => Ok(Self { child, rope }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it: the change is over.
    pub fn end(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Clears away one that died by itself.
    pub fn bury(mut self) {
        let _ = self.child.wait();
    }
}

/// What a standby does.
pub(super) fn stand_by(places: &Places, id: &str) -> ExitCode {
    let Some(mut guard) = Waiting::load(places, Some(id)) else {
        return ExitCode::FAILURE;
    };
    let mut out = io::stdout();
    if out.write_all(READY).and_then(|()| out.flush()).is_err() {
        return ExitCode::FAILURE;
    }
    // A guard that ends in order ends us first: whoever gets past this line has lost its guard.
    let Ok(Some(lock)) = guard.state.guard_lock(None) else {
        return ExitCode::FAILURE;
    };
    // Decisions may have been made since; a record that is gone or not understood is not one of them.
    if let Ok(Some(newest)) = guard.state.read()
        && newest.id == id
    {
        guard.record = newest;
    }
    guard.take_over(lock)
}

/// Guards a change whose guards are all dead.
pub(super) fn adopt(places: &Places) -> ExitCode {
    let Some(found) = Waiting::load(places, None) else {
        return ExitCode::FAILURE;
    };
    match found.state.guard_lock(Some(Duration::ZERO)) {
        Ok(Some(lock)) => match Waiting::load(places, None) {
            // Read again, now that nobody else can be at it.
            Some(found) if found.record.boot != clock::boot_id() => found.forget(),
            Some(found) => found.take_over(lock),
            None => ExitCode::SUCCESS,
        },
        _ => ExitCode::SUCCESS, // somebody was quicker
    }
}

/// Everything that a guard needs but the right to be it.
struct Waiting {
    places: Places,
    state: State,
    record: Record,
    legs: Vec<Leg>,
    sets: Vec<u8>,
    blind: bool,
}

/// Somebody emptied the folder: the backup still says how it was before.
fn from_backup(places: &Places, record: &Record) -> Option<Vec<Leg>> {
    let backup = backup::load(places, &record.backup).ok()?;
    let changed = Origin::ALL
        .into_iter()
        .filter(|origin| record.origins.contains(&origin.to_string()));
    changed
        .map(|origin| {
            let before = backup.ruleset(origin).ok()?;
            Some(Leg {
                origin,
                after: Arc::clone(&before),
                before,
            })
        })
        .collect()
}

impl Waiting {
    fn load(places: &Places, id: Option<&str>) -> Option<Self> {
        let state = State::open(places).ok()?;
        let record = state.read().ok()??;
        if id.is_some_and(|id| id != record.id) {
            return None;
        }
        let known = state.read_legs(&record.id);
        let known = known.ok().filter(|legs| legs.len() == record.origins.len());
        let blind = known.is_none();
        let legs = match known {
            Some(legs) => legs,
            None => from_backup(places, &record)?,
        };
        let sets = state.read_sets(&record.id);
        Some(Self {
            sets,
            places: places.clone(),
            state,
            record,
            legs,
            blind,
        })
    }

    /// The kernel that it was made in is gone, and the change with it.
    fn forget(mut self) -> ExitCode {
        self.record.by = Some("the end of that boot".to_owned());
        let _ = trail::add(
            &self.places,
            &Entry::of(&self.record, Event::Reverted, None),
        );
        let _ = self.state.clear(&self.record.id);
        ExitCode::SUCCESS
    }

    fn take_over(self, lock: nix::fcntl::Flock<std::fs::File>) -> ExitCode {
        let mut guard = Guard {
            places: self.places,
            state: self.state,
            tools: Tools::find(),
            shaken: self.record.phase != Phase::Pending,
            record: self.record,
            legs: self.legs,
            sets: self.sets,
            blind: self.blind,
            held: None,
            keep: KEEP,
            standby: None,
            _lock: lock,
        };
        guard.record.guard = std::process::id();
        if guard.record.phase == Phase::Applying {
            // Cut in half, or just not said to be whole: nobody can have confirmed it.
            guard.record.phase = Phase::Reverting;
            guard.record.by = Some("the death of its guard while it was applied".to_owned());
        }
        guard.start_standby();
        let _ = guard.save();
        guard.watch()
    }
}
