//! The sandbox from outside: the real binary, the real kernel, both back ends, both families.
//!
//! Each test starts `ruletop __sandbox-actor trial SCENARIO`, which enters a sandbox exactly as the demo
//! does and takes orders by lines (`src/sandbox/trial.rs`). As root the tests run as root and, where it
//! matters, as nobody in a user namespace too; as anybody else all of it runs in a user namespace. Where
//! neither can be had they fail, with what the program said.

// clippy.toml lets `#[test]` functions unwrap; their helpers are tests too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ends;
mod errors;
mod scenarios;
mod trial;
mod untouched;
