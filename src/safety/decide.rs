//! What anybody with the right to may do about a pending change: look, confirm, revert, extend.
//!
//! A decision is a line in the record, written under the one lock; the guard carries it out. So it does not
//! matter who decides, or where: the board, another login, a script. A confirmation that comes after the
//! deadline is too late, even if the guard has not got round to it.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::GUARD;
use super::begin::rescue;
use super::clock;
use super::places::{self, PlaceError, Places, at};
use super::record::{Phase, Record, State, millis};
use super::trail::{self, Entry, Event};
use super::who::Who;

/// A pending change, to those who look.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PendingView {
    /// Its name.
    pub id: String,
    /// How far it is.
    pub phase: Phase,
    /// Until it is undone; zero when that is under way. In milliseconds in JSON, as the window.
    #[serde(rename = "left_ms", serialize_with = "in_millis")]
    pub left: Duration,
    /// How long it was given in all.
    #[serde(rename = "window_ms", serialize_with = "in_millis")]
    pub window: Duration,
    /// Who made it.
    pub who: Who,
    /// With what.
    pub why: String,
    /// When, RFC 3339, UTC.
    pub began: String,
    /// The rulesets, as their tools are called.
    pub origins: Vec<String>,
    /// The change in lines ([`diff`](super::diff)). Other people's text: strip before drawing.
    pub diff: Vec<String>,
    /// The backup from before it.
    pub backup: String,
    /// Whether a guard lives. If not, call [`rescue`](super::rescue).
    pub guarded: bool,
    /// Who or what ended it, once that is decided.
    pub by: Option<String>,
    /// Why it could not be undone so far.
    pub trouble: Option<String>,
    /// What is odd and not wrong.
    pub remarks: Vec<String>,
}

fn in_millis<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(millis(*time))
}

/// Why a decision was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// Nothing waits, or not that change any more.
    #[error("no change is pending")]
    NothingPending,
    /// Another change waits than the one that was meant.
    #[error("the change {asked} is not pending; {id} is")]
    Another {
        /// The one that was meant.
        asked: String,
        /// The one that waits.
        id: String,
    },
    /// A change is pending, or was, and its record cannot be understood.
    #[error("the record of the pending change is damaged: {}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It is being applied: there is nothing to decide yet.
    #[error("the change {id} is still being applied")]
    TooEarly {
        /// Its name.
        id: String,
    },
    /// It was decided already.
    #[error("too late: the change {id} {what}")]
    TooLate {
        /// Its name.
        id: String,
        /// `is being undone by …`, `was confirmed by …`.
        what: String,
    },
    /// Its time is over: it is being undone.
    #[error("too late: the change {id} is past its deadline and is being undone")]
    Overdue {
        /// Its name.
        id: String,
    },
    /// The state folder.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

impl DecideError {
    /// One sentence of what to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NothingPending => "see ruletop status; ended changes are in the audit trail",
            Self::Another { .. } => {
                "see ruletop status for what it is; without a name the one that waits is meant"
            }
            Self::Damaged { .. } => {
                "its guard, if it lives, writes it anew and undoes the change at its deadline; else ruletop restore puts a backup back"
            }
            Self::TooEarly { .. } => "try again in a moment",
            Self::TooLate { .. } | Self::Overdue { .. } => {
                "see ruletop status; make the change again if it is wanted"
            }
            Self::Place(error) => error.remedy(),
        }
    }
}

/// How a change ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its last audit line.
    Known(Box<Entry>),
    /// It is over; the trail could not be read.
    Unknown,
    /// Not within the time that was waited.
    NotYet,
}

/// What is pending, if anything. Changes nothing.
pub fn pending(places: &Places) -> Option<PendingView> {
    let state = State::look(places)?;
    let record = state.read().ok()??;
    let guarded = state.is_guarded();
    Some(PendingView {
        left: if record.phase == Phase::Pending {
            record.left()
        } else {
            Duration::ZERO
        },
        window: Duration::from_millis(record.window),
        id: record.id,
        phase: record.phase,
        who: record.who,
        why: record.why,
        began: record.began,
        origins: record.origins,
        diff: record.diff,
        backup: record.backup,
        guarded,
        by: record.by,
        trouble: record.trouble,
        remarks: record.remarks,
    })
}

/// Where the record of a pending change is, if it is damaged and no copy of it is left.
pub fn damage(places: &Places) -> Option<PathBuf> {
    let state = State::look(places)?;
    let is_lost = matches!(state.read(), Ok(None));
    state.damaged().filter(|_| is_lost)
}

/// The pending change stays. `id`: only if it is this one. Returns its name once that is certain.
pub fn confirm(places: &Places, id: Option<&str>, by: &Who) -> Result<String, DecideError> {
    decide(places, id, |record| {
        record.phase = Phase::Confirmed;
        record.by = Some(by.to_string());
    })
}

/// The pending change is undone. Returns its name once that is certain to happen; [`wait_for_end`] tells when
/// it has.
///
/// Past the deadline that is what its guard does anyway, and where none is left, the one that is started here. A
/// state folder that is full keeps nothing in force: the guard is told by a signal then.
pub fn revert(places: &Places, id: Option<&str>, by: &Who) -> Result<String, DecideError> {
    let done = decide(places, id, |record| {
        record.phase = Phase::Reverting;
        record.by = Some(by.to_string());
    });
    match done {
        Err(DecideError::Overdue { id }) => Ok(id),
        Err(DecideError::Place(error)) => {
            let state = State::look(places).filter(State::is_guarded);
            let record = state.and_then(|state| state.read().ok().flatten());
            let record = record
                .filter(|record| id.is_none_or(|id| id == record.id) && is_guard(record.guard));
            let told = record.and_then(|record| {
                let guard = Pid::from_raw(i32::try_from(record.guard).ok()?);
                kill(guard, Signal::SIGTERM).ok().map(|()| record.id)
            });
            told.ok_or(DecideError::Place(error))
        }
        done => done,
    }
}

/// Whether that process is a guard, and not one that came to its number later.
fn is_guard(process: u32) -> bool {
    let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).nth(1) == Some(GUARD.as_bytes())
}

/// The pending change waits longer, by `more`. Returns the time that is left.
pub fn extend(places: &Places, id: Option<&str>, more: Duration) -> Result<Duration, DecideError> {
    let mut left = Duration::ZERO;
    decide(places, id, |record| {
        record.deadline = record.deadline.saturating_add(millis(more));
        left = record.left();
        // The guard does not look at who extends, so this is the place to say so.
        let _ = trail::add(places, &Entry::of(record, Event::Extended, None));
    })?;
    Ok(left)
}

fn decide(
    places: &Places,
    id: Option<&str>,
    change: impl FnOnce(&mut Record),
) -> Result<String, DecideError> {
    // Where no guard is left to do what was decided, or is due, a new one is.
    let decided = decide_only(places, id, change);
    let _ = rescue(places);
    decided
}

fn decide_only(
    places: &Places,
    id: Option<&str>,
    change: impl FnOnce(&mut Record),
) -> Result<String, DecideError> {
    let state = State::look(places).ok_or(DecideError::NothingPending)?;
    let _lock = state.decide()?;
    let Some(mut record) = state.read()? else {
        return Err(match state.damaged() {
            Some(path) => DecideError::Damaged { path },
            None => DecideError::NothingPending,
        });
    };
    if let Some(asked) = id.filter(|id| *id != record.id) {
        return Err(DecideError::Another {
            asked: asked.to_owned(),
            id: record.id,
        });
    }
    let by = |record: &Record| record.by.clone().unwrap_or_else(|| "somebody".to_owned());
    let late = |what: String| {
        Err(DecideError::TooLate {
            id: record.id.clone(),
            what,
        })
    };
    match record.phase {
        Phase::Pending if record.boot != clock::boot_id() => {
            return late("was made before the last boot".to_owned());
        }
        Phase::Pending if record.left().is_zero() => {
            return Err(DecideError::Overdue { id: record.id });
        }
        Phase::Pending => {}
        Phase::Applying => return Err(DecideError::TooEarly { id: record.id }),
        Phase::Confirmed => return late(format!("was confirmed by {}", by(&record))),
        Phase::Reverting => return late(format!("is being undone by {}", by(&record))),
        Phase::Reverted => return late(format!("was undone by {}", by(&record))),
    }
    change(&mut record);
    state.write(&record)?;
    Ok(record.id)
}

/// Waits until the change is over and cleared up, and tells how it ended.
pub fn wait_for_end(places: &Places, id: &str, patience: Duration) -> Ended {
    let begun = Instant::now();
    let over = || {
        let state = State::look(places)?;
        let gone = match state.read() {
            Ok(Some(record)) => record.id != id,
            Ok(None) => true,
            Err(_) => false,
        };
        (gone && !state.is_guarded()).then_some(())
    };
    let watch = Watch::new(places).ok();
    // A guard that was killed a moment ago still held its lock when the decision was made.
    let mut rescued = false;
    while over().is_none() {
        if !rescued && State::look(places).is_some_and(|state| !state.is_guarded()) {
            rescued = rescue(places).is_ok();
        }
        let left = patience.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ended::NotYet;
        }
        // The guard's last act, letting its lock go, is no event: so a short look besides.
        let pause = left.min(Duration::from_millis(20));
        match &watch {
            Some(watch) => drop(watch.wait(pause)),
            None => std::thread::sleep(pause),
        }
    }
    let lines = trail::history(places).unwrap_or_default();
    let last = lines.into_iter().rev().find(|entry| {
        entry.id == id
            && matches!(
                entry.event,
                Event::Confirmed | Event::Reverted | Event::Failed
            )
    });
    // A trail that is full or read-only has not got the line; the guard left it here then.
    let last = last.or_else(|| State::look(places)?.read_end(id));
    last.map_or(Ended::Unknown, |entry| Ended::Known(Box::new(entry)))
}

/// Wakes whoever waits when the pending change, or that there is one, changes.
#[derive(Debug)]
pub struct Watch(Inotify);

impl Watch {
    /// Watches the state folder, and makes it where it is missing.
    pub fn new(places: &Places) -> Result<Self, PlaceError> {
        places::folder(&places.state)?;
        let failed = |errno: nix::errno::Errno| at("watch", &places.state)(errno.into());
        let inotify =
            Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(failed)?;
        let events = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE;
        inotify.add_watch(&places.state, events).map_err(failed)?;
        Ok(Self(inotify))
    }

    /// Takes what has happened so far; whether anything had.
    pub fn drain(&self) -> bool {
        let mut any = false;
        while self.0.read_events().is_ok_and(|events| !events.is_empty()) {
            any = true;
        }
        any
    }

    /// Waits for something to happen, `patience` at most; whether it did.
    pub fn wait(&self, patience: Duration) -> bool {
        let mut ready = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut ready, patience);
        self.drain()
    }
}

impl AsFd for Watch {
    /// Readable when something happened; for `tokio::io::unix::AsyncFd`.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
