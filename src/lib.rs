//! ruletop: "top for firewall rules".
//!
//! A full-screen terminal program that shows which iptables rule is eating the traffic, live. The
//! rooms, from the top down; arrows point down only and `tests/architecture.rs` holds them to it:
//!
//! ```text
//! main ─▶ cli ─▶ runtime ─▶ ui ─▶ app            what the user sees and presses
//!                   │
//!                   ├─▶ safety                   backup, guard, apply, confirm, revert
//!                   ├─▶ sandbox                  a private namespace with a real firewall (demo, tests)
//!                   ├─▶ netfilter                the doors to the kernel's firewall
//!                   └─▶ host                     the doors to the rest of the box
//!
//! verdict                                        which rule decides a packet; pure
//! edit                                           staged changes and the script that does them; pure
//! ruleset, flow                                  the words that all of them speak; pure
//! ```
//!
//! The pure rooms (`ruleset`, `flow`, `edit`, `verdict`, `app`) name no file, process, socket or clock: time and facts
//! are handed in. That is why every key and every tick can be tested as a table.

pub mod app;
pub mod cli;
pub mod edit;
pub mod flow;
pub mod host;
pub mod netfilter;
pub mod ruleset;
pub mod runtime;
pub mod safety;
pub mod sandbox;
pub mod ui;
pub mod verdict;
