//! Change without fear: backup, guard, apply, confirm, revert.
//!
//! ```text
//! begin ─▶ guard process:  check ─▶ backup ─▶ arm ─▶ apply ─▶ verify ─▶ pending ─┬─ confirm ─▶ it stays
//!                                                                                ├─ revert  ─▶ undone
//!                                                                                └─ deadline ─▶ undone
//! ```
//!
//! One promise: an unconfirmed change never outlives its deadline, whatever dies. So the change is made by a
//! process of its own (`guard`) that owes nothing to the terminal it was asked for on; the confirmation can
//! come from any login, since all that is known stands in a file; and everything is undone by the inverse of
//! the change, so that what other programs did meanwhile stays.
//!
//! ```text
//! request    what is asked for, and the words for how it went
//! places     the folders, and writing without a half-written file
//! record     the pending change on disk, and the locks
//! preflight  would the administrator's own connections survive it
//! lockout    the same of this very box, whose sessions it finds and whose rules it reads
//! launch     starting a process that is to outlive us
//! guard      the process that makes it, waits, and undoes it; its standby
//! apart      out of reach of the terminal: the first step of such a process
//! dry_run    what the back end says of a change, with nothing armed
//! rehearse   the change and the way back, tried in a scratch namespace; tame: rules that would not load there
//! carry      the change done to the kernel, verified; both ways
//! by_text    scripts that say what they take out
//! back       a change taken back, beside what others did
//! sight      rules that say the same told apart
//! aside      rules that only nft can say, out of the way while a change is undone
//! whole      the last resort: a ruleset put back from its backup
//! backup     the store
//! trail      the audit log
//! keep       the rules of now, saved for the next boot
//! probe      rules that only log, for a while, and the process that takes them away
//! shelf      the disabled rules
//! zero       counters that start from zero
//! decide     confirm, revert, extend; look at what is pending; be woken when it changes
//! ```
//!
//! What it does not do: know how a change was made up (`edit`), or talk to anybody (`cli`, `runtime`).

mod apart;
mod aside;
mod back;
pub mod backup;
mod begin;
mod by_text;
mod carry;
mod clock;
mod decide;
pub mod diff;
mod dry_run;
mod guard;
pub mod keep;
mod launch;
pub mod lockout;
mod lossy;
mod places;
pub mod preflight;
pub mod probe;
mod record;
mod rehearse;
mod request;
mod sets;
mod shelf;
mod sight;
mod tame;
mod trail;
mod who;
mod whole;
mod zero;

pub use begin::{begin, current, rescue, transitions_to};
pub use decide::{
    DecideError, Ended, PendingView, Watch, confirm, damage, extend, pending, revert, wait_for_end,
};
pub use dry_run::dry_run;
pub use guard::guard_main;
pub use places::{PlaceError, Places};
pub use record::Phase;
pub use request::{ApplyError, KEEP, Pending, Request, Step, To, Transition, WINDOW};
pub use shelf::{reshelve, shelf};
pub use trail::{Entry, Event, history};
pub use who::Who;
pub use zero::zero;

/// First argument that makes the binary a guard: call [`guard_main`].
pub const GUARD: &str = "__guard";
