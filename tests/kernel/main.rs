//! Behaviour against the real kernel, both back ends and both families, each test in a private network
//! namespace. Run as root, or in a user namespace; see `support`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on says so by panicking
#![allow(clippy::format_collect, clippy::format_push_string)] // dumps are built once, plainly

mod connection;
mod conntrack;
mod counters;
mod drops;
mod elsewhere;
mod events;
mod host;
mod lossy;
mod native;
mod poller;
mod preflight;
mod routed;
mod save;
mod support;
mod verdict;
