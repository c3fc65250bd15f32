//! The guard: the process that makes a change, and undoes it unless somebody confirms it.
//!
//! ```text
//!   ruletop (the board, or apply)          may die at any moment
//!    └─ ruletop __guard                    makes the change; waits; undoes
//!        ├─ iptables-restore …             one at a time
//!        └─ ruletop __guard (standby)      waits for the guard to die, then is the guard
//! ```
//!
//! The change is made by the guard and not by who wants it, so a terminal that vanishes in the middle of an
//! apply cuts nothing in half. The standby exists before the first rule is touched, holds all that the way
//! back needs in its memory, and learns of the guard's death from the kernel (a flock that becomes free), so
//! there is no moment at which one kill leaves an unconfirmed change unguarded. A guard whose standby is
//! killed starts another. If both are killed at the same instant, the record on disk is left, and the next
//! ruletop of any kind puts a guard over it ([`rescue`](super::rescue)).
//!
//! A tool that runs when its guard is killed runs on; it holds the *hands* lock, and the standby waits for
//! that before it looks at what there is.
//!
//! Both processes are in sessions of their own without a terminal; HUP, INT, QUIT and PIPE do not reach
//! them. TERM is how an administrator, or a machine that goes down, ends a guard: it undoes the change at
//! once and goes.

mod apply;
mod finish;
mod standby;
mod undo;
mod watch;
pub(super) mod wire;

use std::fs::File;
use std::process::ExitCode;

use nix::fcntl::Flock;

use super::apart::step_apart;
use super::launch;
use super::places::Places;
use super::record::{Leg, Record, State};
use crate::netfilter::xtables::Tools;
use crate::netfilter::xtables::restore::Held;
use standby::Standby;
use wire::{Line, Order, Word};

/// A guard at work.
struct Guard {
    places: Places,
    state: State,
    tools: Tools,
    record: Record,
    legs: Vec<Leg>,
    /// Ipsets that the change makes, as `ipset save` prints them.
    sets: Vec<u8>,
    /// The texts of the way are lost: what was before is known from the backup, what was made of it is not.
    blind: bool,
    /// A guard or a tool was killed in the middle: counters may have gone with it.
    shaken: bool,
    /// The xtables lock, from the reading that a change is made from to its last write, undoing included.
    held: Option<Held>,
    keep: usize,
    standby: Option<Standby>,
    /// Says that we live. Dropped last.
    _lock: Flock<File>,
}

/// What the binary does when its first argument is [`GUARD`](super::GUARD).
///
/// To be called before anything else in `main`: a guard has no command line, no threads and no terminal.
pub fn guard_main() -> ExitCode {
    step_apart();
    launch::say_here();
    let mut line = Line::new();
    match line.order() {
        Ok(Order::Run(header)) => apply::run(&header, &mut line),
        Ok(Order::Adopt { places }) => standby::adopt(&places),
        Ok(Order::Standby { places, id }) => standby::stand_by(&places, &id),
        Err(_) => ExitCode::FAILURE,
    }
}

impl Guard {
    fn say(line: &mut Line, step: super::request::Step) {
        line.say(&Word::Step(step));
    }
}
