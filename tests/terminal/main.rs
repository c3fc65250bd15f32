//! The program in a real terminal: a pty with a screen model.
//!
//! Every test waits for what the screen shows and never for time to pass. Layouts are kept as
//! snapshots of text and style (`snapshots/`, one file a size).

// clippy.toml lets `#[test]` functions unwrap; their helpers are tests too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod harness;
mod harness_holds;
