//! A change on its way: looked at, checked, applied, waiting for its answer.
//!
//! What is staged hangs on each [`crate::app::firewall::Firewall`]; here is what happens to all of it
//! together. Nothing here touches the kernel: the runtime carries out the effects, and what it finds comes
//! back as messages.

use std::time::Duration;

use crate::app::firewall::FirewallId;
use crate::edit::Shelved;

/// How long an applied change waits for its answer unless told otherwise.
pub const WINDOW: Duration = Duration::from_secs(60);

/// How long after a turn the kernel's word of it may come.
const AFTERMATH: Duration = Duration::from_secs(3);

/// What loads a ruleset, and how much of a program's name the kernel tells (TASK_COMM_LEN less one).
const RESTORERS: [&str; 3] = [
    "iptables-nft-restore",
    "ip6tables-nft-restore",
    "xtables-nft-multi",
];
const COMM: usize = 15;

/// The shortest and the longest time that one can ask for.
pub const WINDOWS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3_600));

/// What concerns all changes.
#[derive(Debug, Default)]
pub struct Change {
    /// Why nothing can be applied here (a saved dump, `--read-only`); `None`: it can.
    pub refused: Option<String>,
    /// Why nothing can even be staged.
    pub locked: Option<String>,
    /// How long the next change will wait for its answer.
    pub window: Option<Duration>,
    /// Rules that went to the shelf for the change on its way.
    pub shelving: Vec<Shelved>,
    /// The pending change is what was staged here.
    pub ours: bool,
    /// It was said that the pending change is not what is staged here.
    pub warned: bool,
    /// A change was kept before the board had read it: the shelf is yet to follow.
    pub unsettled: bool,
    /// Whether the change that ended last was kept; `None`: not known.
    pub kept: Option<bool>,
    /// The change that waits for its answer, ours or another's.
    pub pending: Option<Pending>,
    /// When the pending change came, went or was in another phase last.
    pub turned: Option<Duration>,
    /// New connections from the administrator's address since the change, in words.
    pub evidence: Option<Evidence>,
}

impl Change {
    /// How long the next change will wait for its answer.
    pub fn window(&self) -> Duration {
        self.window.unwrap_or(WINDOW)
    }

    /// Whether a change waits for its answer, or had it just now: what the kernel holds may be of its making.
    pub fn is_going_on(&self, now: Duration) -> bool {
        self.pending.is_some() || self.just_turned(now)
    }

    fn just_turned(&self, now: Duration) -> bool {
        self.turned.is_some_and(|turned| now <= turned + AFTERMATH)
    }

    /// Whether what a program of that name did just now is the work of a guard: it makes a change, and takes it
    /// back, with `iptables-nft-restore` and its siblings, of whose names the kernel keeps 15 characters.
    pub fn is_by_guard(&self, program: &str, now: Duration) -> bool {
        let at_work = self
            .pending
            .as_ref()
            .is_some_and(|p| p.phase != Phase::Waiting);
        (at_work || self.just_turned(now))
            && RESTORERS
                .iter()
                .any(|name| name.starts_with(program) && program.len() >= COMM.min(name.len()))
    }
}

/// An applied change that nobody has confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its name in the store.
    pub id: String,
    /// Who applied it: `alice (sudo) on pts/3`.
    pub who: String,
    /// When it reverts by itself, on the program's clock.
    pub deadline: Duration,
    /// The whole time that it was given.
    pub window: Duration,
    /// What would be undone, line by line; other people's bytes.
    pub undoes: Vec<String>,
    /// What its guard does now.
    pub phase: Phase,
}

/// What the guard of a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The change is being made.
    Applying,
    /// It is made and waits.
    Waiting,
    /// It is being taken back.
    Reverting,
}

impl Pending {
    /// Time that is left.
    pub fn left(&self, now: Duration) -> Duration {
        self.deadline.saturating_sub(now)
    }

    /// When the number of seconds that are left changes next, after `now`.
    pub fn next_tick(&self, now: Duration) -> Option<Duration> {
        let left = self.left(now);
        if left.is_zero() {
            return None;
        }
        let part = Duration::from_nanos(u64::from(left.subsec_nanos()));
        Some(
            now + if part.is_zero() {
                Duration::from_secs(1)
            } else {
                part
            },
        )
    }
}

/// Whether anybody got in since the change: an established session alone proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// New connections from the administrator's address that were accepted since.
    pub accepted: usize,
    /// In words: `1 new ssh connection from 198.51.100.20`.
    pub words: String,
}

/// What stands in the dialog before a change is applied.
#[derive(Clone, Debug, Default)]
pub struct Review {
    /// Which page of it.
    pub page: Page,
    /// Lines scrolled away.
    pub top: usize,
    /// Whether it may be applied.
    pub checks: Checks,
    /// How far it is, once it was asked for.
    pub step: Option<String>,
    /// Why it was refused, and what to do.
    pub refusal: Option<(String, String)>,
}

/// The pages of the dialog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// In short, with the checks.
    #[default]
    Summary,
    /// Every line that changes.
    Diff,
    /// The commands that will run.
    Commands,
}

/// What was found out about a staged change.
#[derive(Clone, Debug, Default)]
pub enum Checks {
    /// Not yet.
    #[default]
    Waiting,
    /// All of it.
    Done(Checked),
}

/// What the checks said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Of which stage this is true: staged changes of each ruleset.
    pub of: Vec<(FirewallId, usize)>,
    /// There was a kernel to ask; a saved dump has none.
    pub has_kernel: bool,
    /// What the back end's own dry run refused, in its own words.
    pub refused: Vec<String>,
    /// The administrator's sessions, one line each.
    pub sessions: Vec<Session>,
    /// Traffic that would newly be accepted, and dropped, one line each.
    pub accepted: Vec<String>,
    /// Traffic that would newly be dropped.
    pub dropped: Vec<String>,
    /// There may be more traffic that fares otherwise than is said: the bound of the work was met.
    pub undecided: bool,
    /// What the change does to the last drops and to live connections, in words.
    pub what_if: Vec<String>,
}

/// One session of the administrator, put through what is staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// `198.51.100.20 → :22 accepted, established and new`.
    pub words: String,
    /// Both are certain.
    pub safe: bool,
}

impl Checked {
    /// Nothing proves that the administrator stays connected.
    pub fn is_risky(&self) -> bool {
        self.sessions.iter().any(|session| !session.safe)
    }
}

/// The word that is typed to go on though nothing proves that the session survives.
pub const GO_ON: &str = "risk";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_countdown_wakes_at_every_second() {
        let pending = Pending {
            id: String::new(),
            who: String::new(),
            deadline: Duration::from_millis(10_500),
            window: WINDOW,
            undoes: Vec::new(),
            phase: Phase::Waiting,
        };
        let at = |ms| pending.next_tick(Duration::from_millis(ms));
        assert_eq!(at(0), Some(Duration::from_millis(500)));
        assert_eq!(at(500), Some(Duration::from_millis(1_500)));
        assert_eq!(at(10_500), None);
        assert_eq!(pending.left(Duration::from_secs(60)), Duration::ZERO);
    }
}
