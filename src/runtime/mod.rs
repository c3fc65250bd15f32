//! Runs what the pure rooms ask for.

pub mod poller;
