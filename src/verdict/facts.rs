//! What a verdict may know of the box beside its rules: handed in, never looked up.
//!
//! Everything may be missing. What is missing makes the conditions that need it unknown; it never makes
//! a verdict wrong.

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::civil::DateTime;

use super::sets::IpSet;

/// Facts of the box at one moment.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Every address of the box; `None` when they were not asked for.
    pub local: Option<Vec<IpAddr>>,
    /// Broadcast addresses of its networks, where [`local`](Self::local) is known.
    pub broadcast: Vec<IpAddr>,
    /// ipsets by name. A set that is not here is unknown, not empty.
    pub sets: HashMap<Vec<u8>, IpSet>,
    /// The moment, in UTC.
    pub now: Option<DateTime>,
}

impl Facts {
    /// Whether the address is one of this box.
    pub(super) fn is_local(&self, address: IpAddr) -> Option<bool> {
        let loopback = match address {
            IpAddr::V4(address) => address.is_loopback(),
            IpAddr::V6(address) => address.is_loopback(),
        };
        if loopback {
            return Some(true);
        }
        self.local.as_ref().map(|local| local.contains(&address))
    }
}
