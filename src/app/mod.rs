//! What the program knows and how it changes.
//!
//! Elm's shape: a [`state::State`], [`message::Message`]s for everything that happens, and one pure
//! function, [`update::update`], from the one to the other, which answers with the
//! [`message::Effect`]s that the runtime is to carry out. No I/O, no clock, no widget: a test is a row
//! of (state, message) and what comes out.
//!
//! - `action`, `keymap`: keys and what they ask for, as data.
//! - `firewall`, `motion`, `succession`: one ruleset with its numbers in motion, and what the next
//!   reading of its structure inherits.
//! - `board`, `cells`, `drops`: what the panes show of it, and where the cursors are.
//! - `feed`, `gauge`: the drop feed and the conntrack table over time.
//! - `attribution`, `silence`: which rule wrote a line, and rules whose lines never come.
//! - `staging`, `change`: what is staged on a ruleset, and the change on its way to the kernel.
//! - `editor`, `templates`: the rule editor, and the template picker.
//! - `fix`: staged changes that let a blocked packet through, and what else they would open.
//! - `keep`, `history`: saving for the next boot; what was changed so far.
//! - `shadowed`: rules that no packet can match.
//! - `shelf`: rules that are disabled, and kept.
//! - `notice`: what is missing, and why.
//! - `connections`: the conntrack table as a list.
//! - `why`: the explain screen: a packet, its verdict, what else of the box matters.

pub mod action;
pub mod attribution;
pub mod board;
pub mod cells;
pub mod change;
pub mod connections;
pub mod drops;
pub mod editor;
pub mod feed;
pub mod filter;
pub mod firewall;
pub mod fix;
pub mod gauge;
pub mod history;
pub mod keep;
mod keymap;
pub mod message;
pub mod motion;
pub mod notice;
pub mod shadowed;
pub mod shelf;
pub mod silence;
mod staging;
pub mod state;
pub mod succession;
pub mod templates;
pub mod update;
pub mod why;
