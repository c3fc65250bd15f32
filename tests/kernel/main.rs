//! Behaviour against the real kernel, both back ends and both families, each test in a private network
//! namespace. Run as root, or in a user namespace; see `support`.

mod conntrack;
mod counters;
mod drops;
mod events;
mod lossy;
mod native;
mod poller;
mod save;
mod support;
