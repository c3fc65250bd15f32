//! Disabled rules: taken out of the kernel and kept.
//!
//! The kernel knows no disabled rule, so it holds none of them and the shelf holds them all: what each
//! says, and beside which rules it stood. A stage that is given the shelf shows each in its place again,
//! from where it can be enabled. A rule whose chain is not there stays on the shelf unseen, as do those
//! of other rulesets: nothing leaves it but by [`Operation`](super::Operation)`::Enable` and `Delete`.
//!
//! The shelf is a plain value that can be written and read (serde); where it is kept is not this room's
//! business. Bytes that are not UTF-8 are written as hexadecimal digits.

use serde::{Deserialize, Serialize};

use crate::ruleset::{Backend, Family, Ruleset};

/// How many rules on either side are remembered.
pub(super) const NEIGHBOURS: usize = 4;

/// Bytes of a name or a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Bytes(pub Box<[u8]>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Hex { hex: String },
}

impl From<Written> for Bytes {
    fn from(written: Written) -> Self {
        match written {
            Written::Text(text) => Self(text.into_bytes().into()),
            Written::Hex { hex } => Self(from_hex(hex.as_bytes()).into()),
        }
    }
}

impl From<Bytes> for Written {
    fn from(bytes: Bytes) -> Self {
        match String::from_utf8(bytes.0.into_vec()) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Hex {
                hex: error.as_bytes().iter().fold(String::new(), |mut hex, b| {
                    use std::fmt::Write;
                    // Writing to a String does not fail.
                    let _ = write!(hex, "{b:02x}");
                    hex
                }),
            },
        }
    }
}

/// Pairs of digits; what is no digit ends it.
fn from_hex(hex: &[u8]) -> Vec<u8> {
    let digit = |b: &u8| char::from(*b).to_digit(16);
    hex.chunks_exact(2)
        .map_while(|pair| match pair {
            [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

/// One disabled rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelved {
    /// Family of its ruleset.
    pub family: Family,
    /// Back end of its ruleset; `None` where it is not known.
    pub backend: Option<Backend>,
    /// Its table.
    pub table: Bytes,
    /// Its chain.
    pub chain: Bytes,
    /// What it says, without `-A CHAIN`.
    pub spec: Bytes,
    /// What stood before it, the nearest first.
    pub after: Vec<Bytes>,
    /// What stood behind it, the nearest first.
    pub before: Vec<Bytes>,
    /// Rules of the same text that stay in its chain beside it.
    #[serde(default)]
    pub others: u32,
}

/// All disabled rules, of whatever ruleset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelf {
    /// In no particular order but that of equals, which stay as they stood.
    pub rules: Vec<Shelved>,
}

impl Shelved {
    /// Whether it belongs to that ruleset.
    pub fn is_of(&self, ruleset: &Ruleset) -> bool {
        self.family == ruleset.family() && self.backend == ruleset.backend()
    }

    /// Whether both are the same rule of the same chain, wherever in it they stood.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let key = |rule: &Self| {
            let names = [rule.table.clone(), rule.chain.clone(), rule.spec.clone()];
            (rule.family, rule.backend, names)
        };
        key(self) == key(other)
    }

    /// Whether its chain holds one more rule that says the same than stayed there: somebody enabled it.
    pub fn stands_in(&self, ruleset: &Ruleset) -> bool {
        let table = ruleset.table_named(&self.table.0);
        let chain = table.and_then(|table| ruleset.chain_named(table, &self.chain.0));
        let rules = chain
            .map_or(&[][..], |chain| ruleset.chain(chain).rules())
            .iter();
        let alike = rules.filter(|rule| *ruleset.rule_text(**rule) == *self.spec.0);
        self.is_of(ruleset) && alike.count() > self.others as usize
    }

    /// Where it goes among the rules of its chain: behind the nearest of those that stood before it, else
    /// ahead of the nearest of those that stood behind it, else at the end.
    pub(super) fn place<'a>(
        &self,
        rules: &(impl DoubleEndedIterator<Item = &'a [u8]> + Clone + ExactSizeIterator),
    ) -> usize {
        let count = rules.len();
        for neighbour in &self.after {
            if let Some(at) = rules.clone().rposition(|rule| *rule == *neighbour.0) {
                return at + 1;
            }
        }
        for neighbour in &self.before {
            if let Some(at) = rules.clone().position(|rule| *rule == *neighbour.0) {
                return at;
            }
        }
        if self.after.is_empty() { 0 } else { count }
    }
}
