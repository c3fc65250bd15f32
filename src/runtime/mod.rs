//! Runs what the state asks for: the loop, the terminal, the threads that read the kernel.
//!
//! - `board`: the loop.
//! - `live`: the open doors; `words`: what comes through them as messages; `pulse`: conntrack's thread;
//!   `why`: the thread that explains packets; `editing`: what the rule editor asks of the box.
//! - `poller`: the thread that reads rulesets and counters within its budget.
//! - `changes`: a staged change on its way to the kernel, and the one that is pending.
//! - `shadows`: the thread that looks for rules that no packet can match.
//! - `probes`: rules that only log, for a while, and the helpers that keep them.
//! - `screen`, `terminal`: the bytes that go out, and who writes them.

pub mod board;
mod changes;
mod editing;
mod live;
pub mod poller;
mod probes;
mod pulse;
mod screen;
mod shadows;
mod terminal;
mod why;
mod words;
