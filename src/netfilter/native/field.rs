//! The packet fields that iptables-nft writes native tests for, and which tests of them its save tool
//! prints as they are.
//!
//! Offsets are those of RFC 791, 8200, 768 and 9293; keys are `enum nft_meta_keys` and bases
//! `enum nft_payload_bases` (linux/netfilter/nf_tables.h).

use std::fmt;

use crate::ruleset::Family;

/// A field that iptables has words for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// `-i`
    InInterface,
    /// `-o`
    OutInterface,
    /// `-p`
    Protocol,
    /// `-s`
    Source,
    /// `-d`
    Destination,
    /// `-f`
    Fragment,
    /// `-m mark`
    Mark,
    /// `--sport`
    SourcePort,
    /// `--dport`
    DestinationPort,
    /// `--sport` and `--dport` in one test of four bytes.
    BothPorts,
    /// `--tcp-flags`
    TcpFlags,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InInterface => "incoming interface",
            Self::OutInterface => "outgoing interface",
            Self::Protocol => "protocol",
            Self::Source => "source address",
            Self::Destination => "destination address",
            Self::Fragment => "fragment offset",
            Self::Mark => "mark",
            Self::SourcePort => "source port",
            Self::DestinationPort => "destination port",
            Self::BothPorts => "ports",
            Self::TcpFlags => "TCP flags",
        })
    }
}

const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const TCP: u8 = 6;
const UDP: u8 = 17;

impl Field {
    /// What `length` bytes at `offset` of a header are. Transport fields have a meaning only once the
    /// rule has tested the protocol.
    pub(super) fn of_payload(
        family: Family,
        protocol: Option<u8>,
        base: u32,
        offset: u32,
        length: u32,
    ) -> Option<Self> {
        let ported = matches!(protocol, Some(TCP | UDP));
        match (base, family, offset, length) {
            (NETWORK_HEADER, Family::V4, 9, 1) => Some(Self::Protocol),
            (NETWORK_HEADER, Family::V4, 6, 2) => Some(Self::Fragment),
            // A prefix of whole bytes is loaded as so many bytes.
            (NETWORK_HEADER, Family::V4, 12, 1..=4) | (NETWORK_HEADER, Family::V6, 8, 1..=16) => {
                Some(Self::Source)
            }
            (NETWORK_HEADER, Family::V4, 16, 1..=4) | (NETWORK_HEADER, Family::V6, 24, 1..=16) => {
                Some(Self::Destination)
            }
            (TRANSPORT_HEADER, _, 0, 2) if ported => Some(Self::SourcePort),
            (TRANSPORT_HEADER, _, 2, 2) if ported => Some(Self::DestinationPort),
            (TRANSPORT_HEADER, _, 0, 4) if ported => Some(Self::BothPorts),
            (TRANSPORT_HEADER, _, 13, 1) if protocol == Some(TCP) => Some(Self::TcpFlags),
            _ => None,
        }
    }

    /// What a meta key is. Not the interface *numbers* (4, 5): a number outlives the name printed for it.
    pub(super) const fn of_meta(key: u32) -> Option<Self> {
        match key {
            3 => Some(Self::Mark),
            6 => Some(Self::InInterface),
            7 => Some(Self::OutInterface),
            16 => Some(Self::Protocol),
            _ => None,
        }
    }

    /// Bytes of the whole field, for fields that may be masked.
    const fn whole(self, family_bytes: u32) -> u32 {
        match self {
            Self::Source | Self::Destination => family_bytes,
            Self::Mark => 4,
            Self::Fragment => 2,
            Self::TcpFlags => 1,
            _ => 0,
        }
    }
}

/// `enum nft_cmp_ops`.
mod op {
    pub const EQ: u32 = 0;
    pub const NEQ: u32 = 1;
    pub const LT: u32 = 2;
    pub const LTE: u32 = 3;
    pub const GT: u32 = 4;
    pub const GTE: u32 = 5;
}

#[derive(Debug, PartialEq, Eq)]
enum Tests {
    None,
    /// Tested in a way that is printed as it is.
    Truthful,
    /// `>=` a port, which is complete and may yet become a range by `<=`.
    AtLeast(u16),
    Lying,
}

/// A field in a register, on its way to being tested.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) field: Field,
    pub(super) register: u32,
    length: u32,
    mask: Option<Vec<u8>>,
    tests: Tests,
    equal: Option<u8>,
}

impl Loaded {
    /// `length` is that of a payload load; meta loads have none.
    pub(super) fn new(field: Field, register: u32, length: u32) -> Self {
        Self {
            field,
            register,
            length,
            mask: None,
            tests: Tests::None,
            equal: None,
        }
    }

    pub(super) fn is_tested(&self) -> bool {
        self.tests != Tests::None
    }

    pub(super) fn is_truthful(&self) -> bool {
        matches!(self.tests, Tests::Truthful | Tests::AtLeast(_))
    }

    /// iptables-nft writes `-i +` as a load that nothing looks at.
    pub(super) fn may_stay_untested(&self) -> bool {
        matches!(self.field, Field::InInterface | Field::OutInterface) && self.mask.is_none()
    }

    /// The fields that this test is one of.
    pub(super) fn fields(&self) -> &[Field] {
        match self.field {
            Field::BothPorts => &[Field::SourcePort, Field::DestinationPort],
            Field::InInterface => &[Field::InInterface],
            Field::OutInterface => &[Field::OutInterface],
            Field::Protocol => &[Field::Protocol],
            Field::Source => &[Field::Source],
            Field::Destination => &[Field::Destination],
            Field::Fragment => &[Field::Fragment],
            Field::Mark => &[Field::Mark],
            Field::SourcePort => &[Field::SourcePort],
            Field::DestinationPort => &[Field::DestinationPort],
            Field::TcpFlags => &[Field::TcpFlags],
        }
    }

    /// The protocol that the rule has been narrowed to.
    pub(super) fn equal_protocol(&self) -> Option<u8> {
        self.equal.filter(|_| self.field == Field::Protocol)
    }

    /// Takes a mask; false when this field is never masked so by iptables.
    pub(super) fn mask(&mut self, mask: &[u8]) -> bool {
        let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
        // An address is masked as a whole or loaded in part, never both.
        let whole = [4, 16].map(|bytes| self.field.whole(bytes));
        let fits = whole.contains(&length) && (self.length == length || self.field == Field::Mark);
        let first = self.mask.is_none() && !self.is_tested();
        self.mask = Some(mask.to_vec());
        let bits_known = match self.field {
            Field::Fragment => mask == [0x1f, 0xff],
            Field::TcpFlags => mask.iter().all(|byte| byte & 0xc0 == 0), // ECE, CWR have no name there
            _ => true,
        };
        fits && first && bits_known
    }

    pub(super) fn compare(&mut self, operation: u32, value: &[u8]) {
        let equality = matches!(operation, op::EQ | op::NEQ);
        let truthful = match self.field {
            Field::InInterface | Field::OutInterface => equality && is_interface(value),
            Field::Protocol => equality && value.len() == 1 && value != [0],
            Field::Source | Field::Destination => {
                equality && value.len() == self.length as usize && self.is_within_mask(value)
            }
            Field::Fragment => equality && self.mask.is_some() && value == [0, 0],
            Field::Mark => equality && value.len() == 4,
            Field::BothPorts => operation == op::EQ && value.len() == 4,
            Field::TcpFlags => {
                equality && self.mask.is_some() && value.len() == 1 && value[0] & 0xc0 == 0
            }
            Field::SourcePort | Field::DestinationPort => {
                return self.compare_port(operation, value);
            }
        };
        if self.field == Field::Protocol && operation == op::EQ {
            self.equal = value.first().copied();
        }
        self.test(truthful);
    }

    fn compare_port(&mut self, operation: u32, value: &[u8]) {
        let Ok(value) = <[u8; 2]>::try_from(value).map(u16::from_be_bytes) else {
            return self.test(false);
        };
        match (operation, &self.tests) {
            (op::LTE, Tests::AtLeast(from)) if *from <= value => self.tests = Tests::Truthful,
            (op::GTE, Tests::None) if self.mask.is_none() => self.tests = Tests::AtLeast(value),
            (op::EQ | op::NEQ | op::LTE, _) => self.test(true),
            // Printed as the range below or above, which must not wrap around.
            (op::LT, _) => self.test(value > 0),
            (op::GT, _) => self.test(value < u16::MAX),
            _ => self.test(false),
        }
    }

    /// A range is written and printed for ports only.
    pub(super) fn range(&mut self, from: &[u8], to: &[u8]) {
        let port = matches!(self.field, Field::SourcePort | Field::DestinationPort);
        self.test(port && from.len() == 2 && to.len() == 2 && from <= to);
    }

    fn test(&mut self, truthful: bool) {
        let ported = matches!(self.field, Field::SourcePort | Field::DestinationPort);
        let first = self.tests == Tests::None && !(ported && self.mask.is_some());
        self.tests = if truthful && first {
            Tests::Truthful
        } else {
            Tests::Lying
        };
    }

    /// iptables-restore would cut an address down to its mask; one with bits outside never matches.
    fn is_within_mask(&self, value: &[u8]) -> bool {
        self.mask.as_ref().is_none_or(|mask| {
            mask.len() == value.len()
                && value
                    .iter()
                    .zip(mask)
                    .all(|(value, mask)| value & !mask == 0)
        })
    }
}

/// An interface name as iptables writes it: closed by NUL (and padded with it) for exactly this one, open
/// for all that begin so. An exact name that ends in `+` would be printed as such a beginning.
fn is_interface(value: &[u8]) -> bool {
    match memchr::memchr(0, value) {
        Some(0) => false,
        Some(end) => value[end - 1] != b'+' && value[end..].iter().all(|byte| *byte == 0),
        None => !value.is_empty() && value.len() < 16,
    }
}
