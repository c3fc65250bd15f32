//! Waiting: for a decision, the deadline, the end of the standby, or TERM.
//!
//! Nothing here polls. The record is read anew whenever the state folder changes, and every decision is
//! taken under the one lock, after a fresh look: whoever comes second sees what the first decided.

use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::Guard;
use super::standby::Standby;
use crate::safety::clock;
use crate::safety::places::PlaceError;
use crate::safety::record::Phase;
use crate::safety::who::Who;

/// Where inotify or the timer cannot be had, the record is looked at this often instead.
const LOOK: Duration = Duration::from_millis(500);

impl Guard {
    /// Stays until the change is confirmed or undone.
    pub(super) fn watch(mut self) -> ExitCode {
        let senses = Senses::open(&self);
        loop {
            match self.look() {
                Phase::Confirmed => return self.confirmed(),
                // "Reverted" was not written by us: undoing once more does nothing where it is true.
                Phase::Reverting | Phase::Applying | Phase::Reverted => return self.revert(),
                Phase::Pending => {}
            }
            let woken = senses.wait(&self);
            if woken.standby_died {
                if let Some(dead) = self.standby.take() {
                    dead.bury();
                }
                self.start_standby();
                let _ = self.save();
            }
            if let Some(by) = woken.told_to_end {
                self.decide_to_revert(&by);
            } else if self.record.left().is_zero() {
                self.decide_at_deadline();
            }
            // Not by way of the file: a folder that is full keeps nothing in force.
            if self.record.phase == Phase::Reverting {
                return self.revert();
            }
        }
    }

    /// Takes up what was decided. A record that is gone, cut or another's is written anew: whoever broke it
    /// decided nothing.
    fn look(&mut self) -> Phase {
        let Ok(_lock) = self.state.decide() else {
            return self.record.phase;
        };
        match self.state.read() {
            Ok(Some(record)) if record.id == self.record.id => {
                let (guard, standby) = (self.record.guard, self.record.standby);
                self.record = record;
                (self.record.guard, self.record.standby) = (guard, standby);
                if self.state.damaged().is_some() {
                    let _ = self.state.write(&self.record);
                }
            }
            _ => {
                let _ = self.state.write(&self.record);
            }
        }
        self.record.phase
    }

    fn decide_at_deadline(&mut self) {
        let Ok(_lock) = self.state.decide() else {
            // Without the lock nobody can confirm either.
            self.record.phase = Phase::Reverting;
            return;
        };
        if let Ok(Some(record)) = self.state.read()
            && record.id == self.record.id
        {
            self.record.phase = record.phase;
            self.record.deadline = record.deadline;
            self.record.by = record.by;
        }
        if self.record.phase == Phase::Pending && self.record.left().is_zero() {
            self.record.phase = Phase::Reverting;
            self.record.by = Some("the deadline".to_owned());
            let _ = self.state.write(&self.record);
        }
    }

    fn decide_to_revert(&mut self, by: &str) {
        let _lock = self.state.decide();
        if let Ok(Some(record)) = self.state.read()
            && record.id == self.record.id
        {
            self.record.phase = record.phase;
        }
        if self.record.phase == Phase::Pending {
            self.record.phase = Phase::Reverting;
            self.record.by = Some(by.to_owned());
            let _ = self.state.write(&self.record);
        }
    }

    /// Writes the record under the lock, keeping what was decided meanwhile.
    pub(super) fn save(&mut self) -> Result<(), PlaceError> {
        let _lock = self.state.decide()?;
        if let Ok(Some(newest)) = self.state.read() {
            let decided = matches!(
                newest.phase,
                Phase::Confirmed | Phase::Reverting | Phase::Reverted
            );
            if newest.id == self.record.id && decided && self.record.phase == Phase::Pending {
                self.record.phase = newest.phase;
                self.record.by = newest.by;
            }
            if newest.id == self.record.id {
                self.record.deadline = self.record.deadline.max(newest.deadline);
            }
        }
        self.state.write(&self.record)
    }

    pub(super) fn start_standby(&mut self) {
        self.standby = Standby::start(&self.places, &self.record.id).ok();
        self.record.standby = self.standby.as_ref().map_or(0, Standby::id);
    }
}

/// What woke the guard.
#[derive(Default)]
struct Woken {
    standby_died: bool,
    /// By whom.
    told_to_end: Option<String>,
}

/// The guard's ears. Each may be missing (a limit on inotify instances): then it looks every so often.
struct Senses {
    timer: Option<TimerFd>,
    folder: Option<Inotify>,
    end: Option<SignalFd>,
}

impl Senses {
    fn open(guard: &Guard) -> Self {
        let folder = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .ok()
            .filter(|inotify| {
                inotify
                    .add_watch(
                        &guard.places.state,
                        AddWatchFlags::IN_MOVED_TO
                            | AddWatchFlags::IN_DELETE
                            | AddWatchFlags::IN_MODIFY,
                    )
                    .is_ok()
            });
        let end = SignalFd::with_flags(
            &[Signal::SIGTERM].into_iter().collect::<SigSet>(),
            SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
        );
        Self {
            timer: TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC).ok(),
            folder,
            end: end.ok(),
        }
    }

    fn wait(&self, guard: &Guard) -> Woken {
        let set = self.timer.as_ref().is_some_and(|timer| {
            // An absolute time: one that is past already rings at once. Zero would disarm it.
            let at = guard.record.deadline().max(Duration::from_nanos(1));
            let at = Expiration::OneShot(TimeSpec::from_duration(at));
            timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME).is_ok()
        });
        let standby = guard.standby.as_ref().map(|standby| standby.rope.as_fd());
        let fds = [
            standby,
            self.end.as_ref().map(AsFd::as_fd),
            self.folder.as_ref().map(AsFd::as_fd),
            self.timer.as_ref().map(AsFd::as_fd),
        ];
        let mut ready: Vec<PollFd<'_>> = fds
            .iter()
            .flatten()
            .map(|fd: &BorrowedFd<'_>| PollFd::new(*fd, PollFlags::POLLIN))
            .collect();
        let all = set && self.folder.is_some() && standby.is_some();
        let patience = if all {
            PollTimeout::NONE
        } else {
            let left = guard.record.deadline().saturating_sub(clock::boot_time());
            PollTimeout::try_from(left.min(LOOK)).unwrap_or(PollTimeout::ZERO)
        };
        let _ = poll(&mut ready, patience);
        let mut rang = ready
            .iter()
            .map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
        let mut woken = Woken::default();
        if standby.is_some() {
            woken.standby_died = rang.next() == Some(true);
        } else {
            // None could be started; try again at each turn.
            woken.standby_died = true;
        }
        if let Some(end) = &self.end {
            let _ = rang.next();
            let signal = end.read_signal().ok().flatten();
            woken.told_to_end = signal.map(|signal| sender(signal.ssi_pid));
        }
        if let Some(folder) = &self.folder {
            let _ = folder.read_events();
        }
        woken
    }
}

/// Who sent TERM: whoever runs `ruletop revert` where the decision could not be written down, and waits for it.
fn sender(pid: u32) -> String {
    Who::of_ours(pid).map_or_else(
        || "the end of its guard (TERM)".to_owned(),
        |who| who.to_string(),
    )
}
