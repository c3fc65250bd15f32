//! What a verdict may know of the box beside its rules: handed in, never looked up.
//!
//! Everything may be missing. What is missing makes the conditions that need it unknown; it never makes
//! a verdict wrong.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use jiff::civil::DateTime;

use super::sets::IpSet;
use super::state::{LO, bits_of, name_bits};
use crate::flow::{IfName, Interface, Machine};

/// Facts of the box at one moment.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Every address of the box; `None` when they were not asked for.
    pub local: Option<Vec<IpAddr>>,
    /// The address that an interface answers to first, as far as it is known: what REDIRECT makes the
    /// destination. The kernel's rule is that simple for IPv4 only, so there are no others.
    pub first: HashMap<IfName, Ipv4Addr>,
    /// The interfaces that hold an address, or have it as a broadcast address; empty where that was not asked for.
    pub held: HashMap<IpAddr, Vec<IfName>>,
    /// Broadcast addresses of its networks, where [`local`](Self::local) is known.
    pub broadcast: Vec<IpAddr>,
    /// ipsets by name. A set that is not here is unknown, not empty.
    pub sets: HashMap<Vec<u8>, IpSet>,
    /// The moment, in UTC.
    pub now: Option<DateTime>,
}

impl Facts {
    /// What interfaces and addresses of the box say.
    pub fn of(machine: &Machine) -> Self {
        let interfaces = machine.interfaces.as_deref().unwrap_or_default();
        let mut held: HashMap<IpAddr, Vec<IfName>> = HashMap::new();
        for interface in interfaces {
            let own = interface.addresses.iter().map(ipnet::IpNet::addr);
            for address in own.chain(interface.to_many()) {
                let holders = held.entry(address).or_default();
                if !holders.contains(&interface.name) {
                    holders.push(interface.name);
                }
            }
        }
        Self {
            local: machine.addresses(),
            first: Self::first_addresses(interfaces),
            held,
            broadcast: machine.broadcasts(),
            ..Self::default()
        }
    }

    /// Whether the interface holds the address; `None` also where another one holds it too, of which the kernel takes
    /// the first that it finds.
    pub(super) fn is_held(&self, address: IpAddr, interface: u128) -> Option<bool> {
        if self.held.is_empty() {
            return None;
        }
        let bits = |name: &IfName| name_bits(name.as_bytes());
        let holders = self.held.get(&address).map_or(&[][..], Vec::as_slice);
        match holders {
            [] if address.is_loopback() => Some(interface == LO),
            [] => Some(false),
            [one] => bits(one).map(|own| own == interface),
            several if several.iter().any(|one| bits(one) == Some(interface)) => None,
            _ => Some(false),
        }
    }

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

    /// Whether all addresses from one to another are of this box, or none; `None` where it is some of them,
    /// or not known.
    pub(super) fn are_local(&self, first: u128, last: u128, v6: bool) -> Option<bool> {
        let loopback = if v6 {
            (1, 1)
        } else {
            (0x7f00_0000, 0x7fff_ffff)
        };
        if loopback.0 <= first && last <= loopback.1 {
            return Some(true);
        }
        let local = self.local.as_ref()?;
        let mut own: Vec<u128> = local
            .iter()
            .filter(|address| address.is_ipv6() == v6)
            .map(|address| bits_of(*address))
            .filter(|address| first <= *address && *address <= last)
            .collect();
        own.sort_unstable();
        own.dedup();
        let among = u128::try_from(own.len()).unwrap_or_default();
        let meets_loopback = first <= loopback.1 && loopback.0 <= last;
        match among {
            0 if !meets_loopback => Some(false),
            // One less than there are, since all that there are may be one too many to count.
            1.. if among - 1 == last.saturating_sub(first) => Some(true),
            _ => None,
        }
    }

    /// The first IPv4 address of each interface, for [`first`](Self::first).
    fn first_addresses(interfaces: &[Interface]) -> HashMap<IfName, Ipv4Addr> {
        let first = |interface: &Interface| {
            let mut addresses = interface.addresses.iter();
            let address = addresses.find_map(|own| match own.addr() {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })?;
            Some((interface.name, address))
        };
        interfaces.iter().filter_map(first).collect()
    }
}
