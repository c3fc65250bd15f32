//! What the program knows and how it changes: pure, no I/O, no clock, no widget.
//!
//! This file only lists the rooms.

pub mod feed;
pub mod gauge;
