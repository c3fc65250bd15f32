//! How a process of ours steps out of the reach of the terminal that it was started from: what the guard,
//! its standby and the helper of a probe do before anything else.
//!
//! TERM is shut out with the others, and not for good: each of them reads it from a signalfd while it waits,
//! and ends in order. To be called while the process has one thread, since a mask is a thread's own.

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::setsid;

/// What a terminal, a shell, a pipe that breaks or a kill that was meant for another sends.
const SHUT_OUT: [Signal; 9] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGPIPE,
    Signal::SIGALRM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
];

/// From now on no signal of [`SHUT_OUT`] ends this process, and it has a session of its own.
pub(super) fn step_apart() {
    // Blocked and not ignored: an ignored signal would be inherited by the tools.
    let _ = SHUT_OUT.into_iter().collect::<SigSet>().thread_block();
    let _ = setsid(); // fails only for who leads one already
}
