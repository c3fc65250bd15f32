//! How far a change of the ruleset reaches, gathered from the messages that tell of it.

use std::collections::BTreeSet;

use crate::netfilter::netlink::{attributes, text};
use crate::netfilter::nftables::{IPTABLES_TABLES, chain, msg, rule};
use crate::ruleset::{Author, Family};

/// `NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE`.
const TABLE: u16 = 1;

/// A chain of one family, by the names that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainName {
    /// Its table.
    pub table: Vec<u8>,
    /// Itself.
    pub chain: Vec<u8>,
}

/// How far a change reaches into what iptables shows of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Touch {
    /// Not at all.
    #[default]
    Nothing,
    /// The structure changed. Rules outside these chains are what they were; inside, not even a handle
    /// proves anything: a replaced rule keeps the handle of the old one.
    Chains(BTreeSet<ChainName>),
    /// A whole table went, or events were lost: nothing is proved.
    Everything,
}

impl Touch {
    /// More chains than this are as good as all of them.
    const MOST: usize = 4096;

    /// Both changes together.
    pub fn add(&mut self, other: Self) {
        match (&mut *self, other) {
            (_, Self::Nothing) | (Self::Everything, _) => {}
            (Self::Chains(chains), Self::Chains(more)) => chains.extend(more),
            (_, other) => *self = other,
        }
        if matches!(self, Self::Chains(chains) if chains.len() > Self::MOST) {
            *self = Self::Everything;
        }
    }
}

/// What changed since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The last change's generation and author; `None` when nothing arrived, or its word was lost.
    pub author: Option<Author>,
    /// IPv4 iptables tables.
    pub v4: Touch,
    /// IPv6 iptables tables.
    pub v6: Touch,
    /// Tables or chains that iptables does not own.
    pub native: bool,
    /// Events were lost (the receive buffer overflowed): everything may have changed, by several authors.
    pub missed: bool,
}

impl Changes {
    /// Everything may have changed, nobody knows how.
    pub const fn unknown() -> Self {
        Self {
            author: None,
            v4: Touch::Everything,
            v6: Touch::Everything,
            native: true,
            missed: true,
        }
    }

    /// Nothing arrived.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How far it reaches into one family.
    pub const fn touch(&self, family: Family) -> &Touch {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.v4.add(other.v4);
        self.v6.add(other.v6);
        self.native |= other.native;
        self.missed |= other.missed;
    }

    pub(super) fn note(&mut self, kind: u16, family: u8, encoded: &[u8]) {
        let name_kind = match kind {
            msg::NEWTABLE | msg::DELTABLE => None,
            msg::NEWCHAIN | msg::DELCHAIN => Some(chain::NAME),
            msg::NEWRULE | msg::DELRULE => Some(rule::CHAIN),
            _ => return, // sets, objects, flow tables: no text and no base chain is other for them
        };
        // A foreign base chain may stand in an iptables table.
        self.native |= name_kind != Some(rule::CHAIN);
        let find = |wanted| attributes(encoded).find(|(kind, _)| *kind == wanted);
        let name = |wanted| find(wanted).map_or(&[][..], |(_, value)| text(value));
        let table = name(TABLE);
        let place = match family {
            _ if !IPTABLES_TABLES.contains(&table) => None,
            2 => Some(&mut self.v4),
            10 => Some(&mut self.v6),
            _ => None,
        };
        let Some(place) = place else {
            self.native = true;
            return;
        };
        place.add(match name_kind {
            None if kind == msg::DELTABLE => Touch::Everything,
            None => Touch::Chains(BTreeSet::new()),
            Some(wanted) => Touch::Chains(BTreeSet::from([ChainName {
                table: table.to_vec(),
                chain: name(wanted).to_vec(),
            }])),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn of_chain(table: &[u8], kind: u16, chain: &[u8]) -> Vec<u8> {
        [attribute(TABLE, table), attribute(kind, chain)].concat()
    }

    fn chains(names: &[&str]) -> Touch {
        Touch::Chains(
            names
                .iter()
                .map(|name| ChainName {
                    table: b"filter".to_vec(),
                    chain: name.as_bytes().to_vec(),
                })
                .collect(),
        )
    }

    #[test]
    fn a_change_is_sorted_by_family_table_and_chain() {
        let input = of_chain(b"filter\0", rule::CHAIN, b"INPUT\0");
        let web = of_chain(b"filter\0", chain::NAME, b"web\0");
        let mut changes = Changes::default();
        changes.note(msg::NEWRULE, 2, &input);
        assert_eq!(changes.v4, chains(&["INPUT"]));
        assert_eq!((&changes.v6, changes.native), (&Touch::Nothing, false));
        changes.note(msg::DELCHAIN, 2, &web);
        assert_eq!(changes.v4, chains(&["INPUT", "web"]));
        changes.note(msg::NEWTABLE, 10, &input);
        assert_eq!(
            changes.v6,
            chains(&[]),
            "no chain of before is another for it"
        );
        changes.note(msg::DELTABLE, 10, &input);
        changes.note(msg::NEWRULE, 10, &input);
        assert_eq!(changes.v6, Touch::Everything, "the stronger one stays");
    }

    #[test]
    fn what_iptables_does_not_own_is_native() {
        let own = of_chain(b"filter\0", rule::CHAIN, b"INPUT\0");
        let foreign = of_chain(b"f2b-table\0", rule::CHAIN, b"INPUT\0");
        for (family, message) in [(1, &own), (2, &foreign), (10, &foreign)] {
            let mut changes = Changes::default();
            changes.note(msg::NEWRULE, family, message);
            assert!(changes.native, "family {family}");
            assert_eq!((changes.v4, changes.v6), (Touch::Nothing, Touch::Nothing));
        }
    }

    #[test]
    fn very_many_chains_are_everything() {
        let mut touch = Touch::Nothing;
        for number in 0..=Touch::MOST {
            touch.add(chains(&[&number.to_string()]));
        }
        assert_eq!(touch, Touch::Everything);
    }

    #[test]
    fn elements_of_sets_touch_nothing() {
        const NEWSETELEM: u16 = crate::netfilter::nftables::SUBSYSTEM | 0xc;
        let mut changes = Changes::default();
        changes.note(NEWSETELEM, 2, &attribute(TABLE, b"filter\0"));
        assert!(changes.is_empty());
    }
}
