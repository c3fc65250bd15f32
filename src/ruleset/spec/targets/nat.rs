//! Targets that change addresses: DNAT, SNAT, MASQUERADE, REDIRECT, NETMAP.

use std::fmt;

use super::super::super::Family;
use super::super::options::{Given, Misread, TargetExtension, opt};
use super::super::value::{AddressRange, Net, Ports, small};
use super::super::words::Phrase;
use super::Target;

pub(super) const EXTENSIONS: &[TargetExtension] = &[
    TargetExtension {
        name: "DNAT",
        options: &[
            opt(&["to-destination"], 1),
            opt(&["random"], 0),
            opt(&["persistent"], 0),
        ],
        read: dnat,
    },
    TargetExtension {
        name: "SNAT",
        options: &[
            opt(&["to-source"], 1),
            opt(&["random"], 0),
            opt(&["random-fully"], 0),
            opt(&["persistent"], 0),
        ],
        read: snat,
    },
    TargetExtension {
        name: "MASQUERADE",
        options: &[
            opt(&["to-ports"], 1),
            opt(&["random"], 0),
            opt(&["random-fully"], 0),
        ],
        read: masquerade,
    },
    TargetExtension {
        name: "REDIRECT",
        options: &[opt(&["to-ports"], 1), opt(&["random"], 0)],
        read: redirect,
    },
    TargetExtension {
        name: "NETMAP",
        options: &[opt(&["to"], 1)],
        read: netmap,
    },
];

/// What a NAT target changes a packet to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nat {
    /// One of these addresses; `None` keeps it (MASQUERADE and REDIRECT: the interface's own).
    pub addresses: Option<AddressRange>,
    /// One of these ports; `None` keeps it where it can.
    pub ports: Option<NatPorts>,
    /// `--random`
    pub random: bool,
    /// `--random-fully`
    pub random_fully: bool,
    /// `--persistent`
    pub persistent: bool,
}

/// Ports of a NAT target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatPorts {
    /// The range.
    pub range: Ports,
    /// `8000-8010/5000`: the packet's port less this one is the offset in the range.
    pub base: Option<u16>,
}

impl NatPorts {
    fn read(text: &[u8]) -> Option<Self> {
        let mut parts = text.splitn(2, |b| *b == b'/');
        let range = Ports::read_with(parts.next()?, b'-')?;
        let base = match parts.next() {
            Some(base) => Some(small(base)?),
            None => None,
        };
        Some(Self { range, base })
    }
}

impl fmt::Display for NatPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.range.min)?;
        if self.range.max != self.range.min {
            write!(f, "-{}", self.range.max)?;
        }
        self.base.map_or(Ok(()), |base| write!(f, "/{base}"))
    }
}

impl fmt::Display for Nat {
    /// `10.0.0.5:80`, `[fd00::1]:80`, `:80`, `10.0.0.1-10.0.0.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.addresses {
            Some(range) if range.first.is_ipv6() && self.ports.is_some() => write!(f, "[{range}]")?,
            Some(range) => range.fmt(f)?,
            None => {}
        }
        self.ports.map_or(Ok(()), |ports| write!(f, ":{ports}"))
    }
}

impl Nat {
    /// `address[-address][:port[-port]]`; IPv6 addresses before a port stand in brackets.
    fn read(text: &[u8], family: Family) -> Option<Self> {
        let (addresses, ports) = match (family, text) {
            (Family::V6, [b'[', rest @ ..]) => {
                let close = memchr::memchr(b']', rest)?;
                let after = rest.get(close + 1..)?;
                let ports = match after {
                    [] => None,
                    [b':', ports @ ..] => Some(ports),
                    _ => return None,
                };
                (rest.get(..close)?, ports)
            }
            (Family::V6, [b':', ports @ ..]) if Ports::read_with(ports, b'-').is_some() => {
                (&b""[..], Some(ports))
            }
            (Family::V6, _) => (text, None),
            (Family::V4, _) => match memchr::memchr(b':', text) {
                Some(at) => (text.get(..at)?, text.get(at + 1..)),
                None => (text, None),
            },
        };
        let addresses = match addresses {
            b"" => None,
            some => Some(AddressRange::read(some, family)?),
        };
        let ports = match ports {
            Some(ports) => Some(NatPorts::read(ports)?),
            None => None,
        };
        (addresses.is_some() || ports.is_some()).then_some(Self {
            addresses,
            ports,
            ..Self::default()
        })
    }

    fn of(given: &Given<'_>) -> Result<Self, Misread> {
        let mut nat = Self::default();
        for option in &given.options {
            match option.name {
                "to-destination" | "to-source" => {
                    let read = |text: &[u8]| Self::read(text, given.family);
                    let to = option.read(read, "an address, a range, a port or both")?;
                    (nat.addresses, nat.ports) = (to.addresses, to.ports);
                }
                "to-ports" => {
                    nat.ports = Some(option.read(NatPorts::read, "a port or a range a-b")?);
                }
                "random" => nat.random = true,
                "random-fully" => nat.random_fully = true,
                "persistent" => nat.persistent = true,
                _ => return Err(option.not_read()),
            }
        }
        Ok(nat)
    }

    /// The same for a target that must say where to.
    fn to(given: &Given<'_>) -> Result<Self, Misread> {
        let nat = Self::of(given)?;
        let says = nat.addresses.is_some() || nat.ports.is_some();
        says.then_some(nat)
            .ok_or(Given::lacks("an address to change to"))
    }

    pub(super) fn describe(&self, phrase: &mut Phrase) {
        if self.addresses.is_some() || self.ports.is_some() {
            phrase.keyed(false, "to", self);
        }
        phrase.flag_if(self.random, "random");
        phrase.flag_if(self.random_fully, "random-fully");
        phrase.flag_if(self.persistent, "persistent");
    }
}

fn dnat<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    Nat::to(given).map(Target::Dnat)
}

fn snat<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    Nat::to(given).map(Target::Snat)
}

fn masquerade<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    Nat::of(given).map(Target::Masquerade)
}

fn redirect<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    Nat::of(given).map(Target::Redirect)
}

fn netmap<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    let option = given
        .options
        .first()
        .ok_or(Given::lacks("--to with a network"))?;
    let read = |text: &[u8]| Net::read(text, given.family);
    let net = option.read(read, "a network")?;
    Ok(Target::Netmap(net))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nat_goes() {
        let v4 = |text: &str| Nat::read(text.as_bytes(), Family::V4).map(|nat| nat.to_string());
        for text in [
            "10.0.0.5",
            "10.0.0.5:80",
            ":80",
            "10.0.0.1-10.0.0.5:8000-8010",
            "10.0.0.1:1000-2000/5000",
        ] {
            assert_eq!(v4(text).as_deref(), Some(text));
        }
        for bad in ["", ":", "10.0.0.5:", "x", "10.0.0.5:a-b"] {
            assert_eq!(v4(bad), None, "{bad}");
        }
        let v6 = |text: &str| Nat::read(text.as_bytes(), Family::V6).map(|nat| nat.to_string());
        for text in [
            "fd00::1",
            "::1",
            "[fd00::1]:80",
            "fd00::1-fd00::5",
            ":80",
            ":80-90",
        ] {
            assert_eq!(v6(text).as_deref(), Some(text));
        }
        assert_eq!(v6("[fd00::1]").as_deref(), Some("fd00::1"));
        assert_eq!(v6("[fd00::1"), None);
    }
}
