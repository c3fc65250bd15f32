//! Addresses, networks, ranges of addresses and interfaces.
//!
//! Masks need not be a prefix: `/255.255.0.255` is legal and the kernel keeps it. A host name is legal
//! restore input, resolved when it is loaded; here it stays a name and nothing is claimed of it.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::super::Family;
use super::{list, small, split_once};

/// An address and the bits of it that count. The address has no bits outside of the mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Net {
    /// IPv4.
    V4 {
        /// Wanted bits.
        address: Ipv4Addr,
        /// Bits that are looked at.
        mask: Ipv4Addr,
    },
    /// IPv6.
    V6 {
        /// Wanted bits.
        address: Ipv6Addr,
        /// Bits that are looked at.
        mask: Ipv6Addr,
    },
}

impl Net {
    /// A network with a mask in bits of its own family.
    fn new(address: IpAddr, mask: IpAddr) -> Option<Self> {
        match (address, mask) {
            (IpAddr::V4(address), IpAddr::V4(mask)) => Some(Self::V4 {
                address: address & mask,
                mask,
            }),
            (IpAddr::V6(address), IpAddr::V6(mask)) => Some(Self::V6 {
                address: address & mask,
                mask,
            }),
            _ => None,
        }
    }

    /// Whether the address has the wanted bits. An address of the other family has not.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self, ip) {
            (Self::V4 { address, mask }, IpAddr::V4(ip)) => ip & *mask == *address,
            (Self::V6 { address, mask }, IpAddr::V6(ip)) => ip & *mask == *address,
            _ => false,
        }
    }

    /// Length of the prefix, if the mask is one.
    pub fn prefix(&self) -> Option<u8> {
        let (ones, all) = match self {
            Self::V4 { mask, .. } => {
                let bits = mask.to_bits();
                (bits.leading_ones(), bits.count_ones())
            }
            Self::V6 { mask, .. } => {
                let bits = mask.to_bits();
                (bits.leading_ones(), bits.count_ones())
            }
        };
        (ones == all).then(|| u8::try_from(ones).ok()).flatten()
    }

    /// Matches every address of its family.
    pub fn is_any(&self) -> bool {
        self.prefix() == Some(0)
    }

    /// The family.
    pub fn family(&self) -> Family {
        match self {
            Self::V4 { .. } => Family::V4,
            Self::V6 { .. } => Family::V6,
        }
    }

    /// `10.0.0.1`, `10/8`, `10.0.0.0/255.0.0.0`, `fe80::/10`. With the mask 0 whatever stands before it
    /// is not looked at, as the tool has it.
    pub(crate) fn read(text: &[u8], family: Family) -> Option<Self> {
        let (address, mask) = match split_once(text, b'/') {
            Some((address, mask)) => (address, read_mask(mask, family)?),
            None => (text, full_mask(family)),
        };
        if mask.is_unspecified() {
            return Self::new(mask, mask);
        }
        Self::new(read_address(address, family)?, mask)
    }
}

impl fmt::Display for Net {
    /// `10.0.0.1`, `10.0.0.0/8`, `10.0.0.1/255.255.0.255`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, mask, bits) = match self {
            Self::V4 { address, mask } => (IpAddr::V4(*address), IpAddr::V4(*mask), 32),
            Self::V6 { address, mask } => (IpAddr::V6(*address), IpAddr::V6(*mask), 128),
        };
        match self.prefix() {
            Some(prefix) if prefix == bits => write!(f, "{address}"),
            Some(prefix) => write!(f, "{address}/{prefix}"),
            None => write!(f, "{address}/{mask}"),
        }
    }
}

fn full_mask(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::BROADCAST),
        Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
    }
}

fn read_mask(text: &[u8], family: Family) -> Option<IpAddr> {
    let Some(prefix) = small::<u32>(text) else {
        return read_exact(text, family);
    };
    match family {
        Family::V4 if prefix <= 32 => Some(IpAddr::V4(Ipv4Addr::from_bits(
            u32::MAX.checked_shl(32 - prefix).unwrap_or(0),
        ))),
        Family::V6 if prefix <= 128 => Some(IpAddr::V6(Ipv6Addr::from_bits(
            u128::MAX.checked_shl(128 - prefix).unwrap_or(0),
        ))),
        _ => None,
    }
}

fn read_exact(text: &[u8], family: Family) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    match family {
        Family::V4 => text.parse().ok().map(IpAddr::V4),
        Family::V6 => text.parse().ok().map(IpAddr::V6),
    }
}

/// An address; IPv4 may leave out trailing parts, which are zero (`10` is `10.0.0.0`).
pub(crate) fn read_address(text: &[u8], family: Family) -> Option<IpAddr> {
    if let Some(address) = read_exact(text, family) {
        return Some(address);
    }
    let mut octets = [0; 4];
    let mut parts = text.split(|b| *b == b'.');
    for octet in &mut octets {
        let Some(part) = parts.next() else { break };
        *octet = small(part)?;
    }
    (family == Family::V4 && parts.next().is_none()).then(|| IpAddr::V4(octets.into()))
}

/// What `-s` and `-d` take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address<'a> {
    /// An address or a network.
    Net(Net),
    /// A name that the tool resolves when it loads the rule. What it stands for is not known here.
    Name(Cow<'a, [u8]>),
}

impl Address<'_> {
    /// Whether the address is meant; `None` when that is not known.
    pub fn contains(&self, ip: IpAddr) -> Option<bool> {
        match self {
            Self::Net(net) => Some(net.contains(ip)),
            Self::Name(_) => None,
        }
    }
}

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) => net.fmt(f),
            Self::Name(name) => f.write_str(&String::from_utf8_lossy(name)),
        }
    }
}

/// One address or a list of them: `-s a,b` means either. There is always one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses<'a> {
    /// The first.
    pub first: Address<'a>,
    /// The others of a list.
    pub more: Vec<Address<'a>>,
}

impl<'a> Addresses<'a> {
    pub(crate) fn read(text: &Cow<'a, [u8]>, family: Family) -> Self {
        let one = |item: &[u8]| match Net::read(item, family) {
            Some(net) => Address::Net(net),
            None => Address::Name(Cow::Owned(item.to_vec())),
        };
        let mut items = list(text).map(one);
        Self {
            first: items.next().unwrap_or(Address::Name(Cow::Borrowed(b""))),
            more: items.collect(),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Address<'a>> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// Only the one at that place of the list.
    pub(crate) fn pick(&mut self, index: usize) {
        if index > 0 && index <= self.more.len() {
            self.first = self.more.swap_remove(index - 1);
        }
        self.more.clear();
    }

    /// Whether the address is meant; `None` when that is not known.
    pub fn contains(&self, ip: IpAddr) -> Option<bool> {
        let mut unknown = false;
        for address in self.iter() {
            match address.contains(ip) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => unknown = true,
            }
        }
        (!unknown).then_some(false)
    }
}

impl fmt::Display for Addresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        self.more.iter().try_for_each(|more| write!(f, ",{more}"))
    }
}

/// From one address to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// Lowest address.
    pub first: IpAddr,
    /// Highest address.
    pub last: IpAddr,
}

impl AddressRange {
    /// `10.0.0.1-10.0.0.9` or one address.
    pub(crate) fn read(text: &[u8], family: Family) -> Option<Self> {
        let (first, last) = split_once(text, b'-').unwrap_or((text, text));
        Some(Self {
            first: read_address(first, family)?,
            last: read_address(last, family)?,
        })
    }

    /// Whether the address is between the ends. An address of the other family is not.
    pub fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.first.is_ipv4() && self.first <= ip && ip <= self.last
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// An interface name; a `+` at the end stands for any rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface<'a> {
    /// As written, with the `+`.
    pub text: Cow<'a, [u8]>,
}

impl Interface<'_> {
    /// Whether the interface of that name is meant. A packet without one has the empty name, as in the
    /// kernel: `+` matches it.
    pub fn matches(&self, name: &[u8]) -> bool {
        match self.text.strip_suffix(b"+") {
            Some(start) => name.starts_with(start),
            None => *self.text == *name,
        }
    }

    /// Matches every interface: `+`.
    pub fn is_any(&self) -> bool {
        *self.text == *b"+"
    }
}

impl fmt::Display for Interface<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str, family: Family) -> Option<String> {
        Net::read(text.as_bytes(), family).map(|net| net.to_string())
    }

    #[test]
    fn networks_in_all_their_forms() {
        let cases = [
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1/32", "10.0.0.1"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10/8", "10.0.0.0/8"),
            ("192.168/255.255.0.0", "192.168.0.0/16"),
            ("10.0.0.1/255.255.0.255", "10.0.0.1/255.255.0.255"),
            ("0/0", "0.0.0.0/0"),
            ("anything/0", "0.0.0.0/0"),
        ];
        for (text, expected) in cases {
            assert_eq!(show(text, Family::V4).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(show("fe80::1/10", Family::V6).as_deref(), Some("fe80::/10"));
        assert_eq!(
            show("feed::/ffff:0:ffff::", Family::V6).as_deref(),
            Some("feed::/ffff:0:ffff::")
        );
        for bad in [
            "",
            "10.0.0.1/33",
            "1.2.3.4.5",
            "256.1.1.1",
            "host",
            "::1",
            "10.0.0.1/x",
        ] {
            assert_eq!(show(bad, Family::V4), None, "{bad}");
        }
    }

    #[test]
    fn contains_looks_at_the_mask_only() {
        let odd = Net::read(b"10.0.0.1/255.255.0.255", Family::V4).unwrap();
        assert!(odd.contains("10.0.77.1".parse().unwrap()));
        assert!(!odd.contains("10.0.77.2".parse().unwrap()));
        assert!(!odd.contains("::1".parse().unwrap()));
        let either = Addresses::read(&Cow::Borrowed(b"1.1.1.1,10.0.0.0/8"), Family::V4);
        assert_eq!(either.contains("10.9.9.9".parse().unwrap()), Some(true));
        assert_eq!(either.contains("9.9.9.9".parse().unwrap()), Some(false));
        let unknown = Addresses::read(&Cow::Borrowed(b"host.example,1.1.1.1"), Family::V4);
        assert_eq!(unknown.contains("9.9.9.9".parse().unwrap()), None);
        assert_eq!(unknown.contains("1.1.1.1".parse().unwrap()), Some(true));
        let mut second = either.clone();
        second.pick(1);
        assert_eq!(second.to_string(), "10.0.0.0/8");
    }

    #[test]
    fn interfaces_may_end_in_plus() {
        let eth = Interface {
            text: Cow::Borrowed(b"eth+"),
        };
        assert!(eth.matches(b"eth0") && eth.matches(b"eth") && !eth.matches(b"lo"));
        assert!(
            Interface {
                text: Cow::Borrowed(b"+")
            }
            .matches(b"")
        );
    }
}
