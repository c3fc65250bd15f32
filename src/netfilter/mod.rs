//! STUB

pub mod conntrack;
pub mod drops;
