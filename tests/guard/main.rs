//! The one promise of `safety`, held against everything that can die: an unconfirmed change never outlives its
//! deadline, a confirmed one stays, and nothing is left over. On both back ends and both families, in private
//! network namespaces and private folders.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on says so by panicking
#![allow(clippy::print_stdout)] // figures, for who asks with --nocapture

mod bench;
mod beside;
mod commands;
#[path = "../terminal/harness/mod.rs"]
mod harness;
mod keep;
mod killing;
mod lockout;
mod matrix;
mod probe;
mod sets;
#[path = "../kernel/support.rs"]
#[allow(dead_code)] // the kernel tests use the rest
mod support;
mod systemd;
mod trouble;
mod writer;
