//! Who lives in the sandbox: services, clients, and whoever tries a probe.
//!
//! Each [`Place`](super::Place) is one thread of the helper with a network namespace of its own
//! (unshare(2) works by thread) and one single-threaded runtime in it. Threads, not processes: they are
//! started faster, they cannot outlive each other, and one process is all that a `ps` of the machine shows.

mod call;
mod client;
mod fill;
mod listener;
mod place;

pub use client::Tally;
pub use fill::{ENTRY_BYTES, allowed as fill_allowed, run as keep_full};
pub use place::{Pending, PlaceThread};
