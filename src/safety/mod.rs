//! What keeps the administrator from being locked out. Here so far: the pre-flight.

pub mod preflight;
