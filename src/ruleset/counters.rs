//! Counters, apart from the structure that they count.
//!
//! A tick replaces numbers and never rebuilds rules, so the numbers live in flat vectors parallel to
//! [`Ruleset::rules`](super::Ruleset::rules) and [`Ruleset::chains`](super::Ruleset::chains).

use super::{ChainIdx, RuleIdx};

/// What the kernel counts for one rule or one chain policy, since the rule was loaded or zeroed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Counters {
    /// Packets that matched.
    pub packets: u64,
    /// Bytes of those packets, layer 3 and up.
    pub bytes: u64,
}

impl Counters {
    /// Growth since `earlier`; `None` when a number went backwards, which means that somebody zeroed
    /// it (or the rule is another one): never a negative or a huge delta.
    pub fn since(self, earlier: Self) -> Option<Self> {
        Some(Self {
            packets: self.packets.checked_sub(earlier.packets)?,
            bytes: self.bytes.checked_sub(earlier.bytes)?,
        })
    }

    /// Read `[packets:bytes]` at the start of `text`, and how long it was. A number past 64 bits stays
    /// at the largest, as the kernel's own would.
    pub fn from_brackets(text: &[u8]) -> Option<(Self, usize)> {
        let inner = text.strip_prefix(b"[")?;
        let length = memchr::memchr(b']', inner.get(..MAX_BRACKETS.min(inner.len()))?)?;
        let counters = Self::from_pair(inner.get(..length)?, b':')?;
        Some((counters, length + 2))
    }

    /// Read `packets`, a separator, `bytes`.
    pub(super) fn from_pair(text: &[u8], separator: u8) -> Option<Self> {
        let at = memchr::memchr(separator, text)?;
        Some(Self {
            packets: decimal(text.get(..at)?)?,
            bytes: decimal(text.get(at + 1..)?)?,
        })
    }

    /// `[packets:bytes]`, as a dump writes it.
    pub fn write_brackets(self, out: &mut Vec<u8>) {
        out.push(b'[');
        write_decimal(self.packets, out);
        out.push(b':');
        write_decimal(self.bytes, out);
        out.push(b']');
    }
}

/// Digits of a number. A save writes two for each of 100,000 rules, and most are short.
fn write_decimal(mut number: u64, out: &mut Vec<u8>) {
    let from = out.len();
    loop {
        // Below ten, so it fits.
        out.push(b'0' + (number % 10).to_le_bytes()[0]);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(from..) {
        digits.reverse();
    }
}

/// Longest text between brackets that is looked at: two numbers of 64 bits are 41 bytes.
const MAX_BRACKETS: usize = 64;

/// Decimal digits and nothing else; saturates.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |number: u64, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    }))
}

/// Every counter of one ruleset: a flat vector for the rules and one for the chain policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CounterSet {
    /// Indexed by [`RuleIdx`].
    pub rules: Vec<Counters>,
    /// Indexed by [`ChainIdx`]; user chains have no policy and stay zero.
    pub policies: Vec<Counters>,
}

impl CounterSet {
    /// All zero, for that many rules and chains.
    pub fn zero(rules: usize, chains: usize) -> Self {
        Self {
            rules: vec![Counters::default(); rules],
            policies: vec![Counters::default(); chains],
        }
    }

    /// The counters of a rule; zero for an index that is not there.
    pub fn rule(&self, rule: RuleIdx) -> Counters {
        self.rules.get(rule.0 as usize).copied().unwrap_or_default()
    }

    /// The policy counters of a chain; zero for an index that is not there.
    pub fn policy(&self, chain: ChainIdx) -> Counters {
        self.policies
            .get(chain.0 as usize)
            .copied()
            .unwrap_or_default()
    }
}

/// What one look at one chain brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The chain that was looked at.
    pub chain: ChainIdx,
    /// `None`: looked, and nothing had changed since the last reading.
    pub counters: Option<ChainCounters>,
}

/// The counters of one chain, in the order of its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainCounters {
    /// The policy's counters; `None` for a user chain.
    pub policy: Option<Counters>,
    /// One per rule, first rule first.
    pub rules: Vec<Counters>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_are_read() {
        let read = |text: &str| Counters::from_brackets(text.as_bytes());
        let counters = |packets, bytes| Counters { packets, bytes };
        assert_eq!(read("[3:4] -A"), Some((counters(3, 4), 5)));
        assert_eq!(
            read("[99999999999999999999:18446744073709551615]").map(|r| r.0),
            Some(counters(u64::MAX, u64::MAX))
        );
        for bad in [
            "", "[", "[]", "[1]", "[1:]", "[:1]", "[a:1]", "[-1:1]", "[1:2", "3:4]",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn brackets_are_written() {
        for (packets, bytes) in [(0, 0), (7, 10), (1234, 100), (u64::MAX, u64::MAX - 9)] {
            let mut out = Vec::new();
            Counters { packets, bytes }.write_brackets(&mut out);
            assert_eq!(out, format!("[{packets}:{bytes}]").into_bytes());
        }
    }

    #[test]
    fn a_counter_that_went_backwards_has_no_growth() {
        let (old, new) = (
            Counters {
                packets: 5,
                bytes: 5,
            },
            Counters {
                packets: 6,
                bytes: 4,
            },
        );
        assert_eq!(new.since(old), None);
        assert_eq!(old.since(old), Some(Counters::default()));
    }
}
