//! One native rule, read from its expressions.
//!
//! A rule is a small program over registers. What it loads and compares is followed here as far as iptables
//! has words for it; what is beyond that makes the rule open. What it does is read in `statements`.
//!
//! Source of the numbers: linux/netfilter/nf_tables.h.

use std::collections::HashMap;

use super::lossy::{data_value, find, number};
use super::rules::{Does, Part};
use super::statements::written;
use super::words::{Item, Means, Operation};
use crate::netfilter::netlink::attributes;
use crate::netfilter::nftables::named;
use crate::ruleset::{Effects, Family};

/// What a register holds.
#[derive(Clone, Debug)]
pub(super) enum Held {
    Item(Item),
    /// Bits of it that were kept, and those that were turned round then.
    Masked(Item, Vec<u8>, Vec<u8>),
    Value(Vec<u8>),
}

/// See the file's essay.
pub(super) struct Reader {
    pub(super) family: Option<Family>,
    /// Only packets of that family, where the table is for both.
    pub(super) only: Option<Family>,
    proto: Option<u8>,
    pub(super) is_nat: bool,
    registers: HashMap<u32, Held>,
    tests: Vec<String>,
    open: bool,
    /// No packet meets it.
    pub(super) never: bool,
    pub(super) parts: Vec<Part>,
}

/// Registers are counted in two ways, by 16 and by 4 bytes; the same place has one number here.
const fn place(register: u32) -> u32 {
    if register <= 4 {
        register * 4
    } else {
        register - 4
    }
}

impl Reader {
    /// Reads the expressions of a rule.
    pub(super) fn read(family: Option<Family>, is_nat: bool, expressions: &[u8]) -> Self {
        let mut reader = Self {
            family,
            only: None,
            proto: None,
            is_nat,
            registers: HashMap::new(),
            tests: Vec::new(),
            open: false,
            never: false,
            parts: Vec::new(),
        };
        for (_, expression) in attributes(expressions) {
            match named(expression) {
                Some((name, data)) => reader.expression(name, data),
                None => {
                    reader.open = true;
                    reader.may(Effects::all(is_nat));
                }
            }
        }
        reader
    }

    fn expression(&mut self, name: &[u8], data: &[u8]) {
        match name {
            b"counter" | b"log" | b"last" | b"dup" | b"flow_offload" => {}
            b"meta" => self.meta(data),
            b"ct" => self.ct(data),
            b"payload" => self.payload(data),
            b"bitwise" => self.bitwise(data),
            b"cmp" => self.compare(data),
            b"range" => self.range(data),
            b"immediate" => self.immediate(data),
            b"lookup" => self.lookup(data),
            b"reject" => self.reject(data),
            b"notrack" => self.target("-j NOTRACK".to_owned()),
            b"nat" => self.nat(data),
            b"masq" if number(data, 2).is_none() => self.target("-j MASQUERADE".to_owned()),
            b"masq" => self.may_nat(false),
            b"redir" => self.redirect(data),
            b"tproxy" => self.may(Effects {
                destination: true,
                ..Effects::default()
            }),
            b"queue" | b"synproxy" | b"fwd" => self.may(Effects {
                ends: true,
                ..Effects::default()
            }),
            b"target" => {
                self.open = true;
                self.may(Effects::all(self.is_nat));
            }
            // A test, or a value for one; TCP options that are written are asked by no one.
            _ => {
                self.open = true;
                self.registers.clear();
            }
        }
    }

    /// A test was read: what it means, or that it is one more that is not known.
    fn test(&mut self, means: Option<Means>) {
        match means {
            Some(Means::Words(words)) => {
                // The general options stand in a rule once.
                let option = |words: &str| {
                    let mut words = words.split(' ').filter(|word| *word != "!");
                    words.next().unwrap_or_default().to_owned()
                };
                let own = option(&words);
                if own != "-m" && self.all_tests().any(|known| option(known) == own) {
                    self.open = true;
                } else {
                    self.tests.push(words);
                }
            }
            Some(Means::Proto(number)) => {
                if self.all_tests().any(|known| known.contains("-p ")) {
                    self.open |= self.proto != Some(number);
                    return;
                }
                self.proto = Some(number);
                self.tests.push(format!("-p {number}"));
            }
            Some(Means::Family(family, is)) => {
                let wanted = match (family, is) {
                    (Family::V4, true) | (Family::V6, false) => Family::V4,
                    _ => Family::V6,
                };
                if self.family.or(self.only).is_some_and(|own| own != wanted) {
                    self.never = true;
                } else if self.parts.is_empty() {
                    self.only = Some(wanted);
                } else {
                    self.open = true;
                }
            }
            None => self.open = true,
        }
    }

    /// Tests of the part that is being read.
    fn all_tests(&self) -> impl Iterator<Item = &String> {
        self.tests.iter()
    }

    pub(super) fn part(&mut self, does: Does) {
        self.parts.push(Part {
            tests: std::mem::take(&mut self.tests),
            open: std::mem::take(&mut self.open),
            does,
        });
    }

    pub(super) fn target(&mut self, target: String) {
        self.part(Does::Target(target));
    }

    pub(super) fn may(&mut self, effects: Effects) {
        self.part(Does::May(effects));
    }

    /// A translation to something that is not known.
    pub(super) fn may_nat(&mut self, dnat: bool) {
        self.may(Effects {
            dnat,
            snat: !dnat,
            ..Effects::default()
        });
    }

    pub(super) fn hold(&mut self, register: Option<u32>, held: Option<Held>) {
        let Some(register) = register.map(place) else {
            self.registers.clear();
            return;
        };
        // Four places hold the longest value; what lay in one of them is gone.
        let near = register.saturating_sub(3)..=register + 3;
        let length = match &held {
            Some(Held::Value(bytes)) => bytes.len().div_ceil(4).max(1),
            _ => 4,
        };
        let end = register + u32::try_from(length).unwrap_or(4);
        self.registers.retain(|other, held| {
            let small = matches!(held, Held::Value(bytes) if bytes.len() <= 4);
            let before_it = small && *other < register;
            !near.contains(other) || before_it || *other >= end
        });
        if let Some(held) = held {
            self.registers.insert(register, held);
        }
    }

    pub(super) fn held(&self, register: Option<u32>) -> Option<&Held> {
        self.registers.get(&place(register?))
    }

    fn meta(&mut self, data: &[u8]) {
        let key = number(data, 2).unwrap_or(u32::MAX);
        let Some(source) = number(data, 3) else {
            self.hold(number(data, 1), Item::of_meta(key).map(Held::Item));
            return;
        };
        // What else can be set (priority, tracing, labels) is asked by no one.
        if key == 3 {
            let target = self.new_mark(Some(source), Item::Mark);
            match target {
                Some(target) => self.target(target),
                None => self.may(Effects {
                    mark: true,
                    ..Effects::default()
                }),
            }
        }
    }

    fn ct(&mut self, data: &[u8]) {
        let key = number(data, 2).unwrap_or(u32::MAX);
        let Some(source) = number(data, 4) else {
            let whole = number(data, 3).is_none() && find(data, 3).is_none();
            let item = Item::of_ct(key).filter(|_| whole);
            self.hold(number(data, 1), item.map(Held::Item));
            return;
        };
        if key == 3 {
            match self.new_mark(Some(source), Item::CtMark) {
                Some(target) => self.target(target),
                None => self.may(Effects {
                    connmark: true,
                    ..Effects::default()
                }),
            }
        }
    }

    fn payload(&mut self, data: &[u8]) {
        let part = |kind| number(data, kind).unwrap_or(u32::MAX);
        let (base, offset, length) = (part(2), part(3), part(4));
        let family = self.family.or(self.only);
        if number(data, 5).is_some() {
            let effects = written(family, base, offset, length);
            self.may(effects);
            return;
        }
        let item = Item::of_payload(family, self.proto, base, offset, length);
        self.hold(number(data, 1), item.map(Held::Item));
    }

    fn bitwise(&mut self, data: &[u8]) {
        let value = |kind| find(data, kind).and_then(data_value).map(<[u8]>::to_vec);
        let plain = number(data, 6).unwrap_or_default() == 0;
        let held = match (self.held(number(data, 1)), value(4), value(5)) {
            (Some(Held::Item(item)), Some(mask), Some(xor)) if plain => {
                Some(Held::Masked(*item, mask, xor))
            }
            _ => None,
        };
        self.hold(number(data, 2), held);
    }

    fn compare(&mut self, data: &[u8]) {
        let operation = number(data, 2).and_then(Operation::from_number);
        let value = find(data, 3).and_then(data_value);
        let means = match (self.held(number(data, 1)), operation, value) {
            (Some(Held::Item(item)), Some(operation), Some(value)) => {
                item.compared(operation, value, None, self.proto)
            }
            (Some(Held::Masked(item, mask, xor)), Some(operation), Some(value))
                if xor.iter().all(|byte| *byte == 0) =>
            {
                item.compared(operation, value, Some(mask), self.proto)
            }
            _ => None,
        };
        self.test(means);
    }

    fn range(&mut self, data: &[u8]) {
        let operation = number(data, 2).and_then(Operation::from_number);
        let value = |kind| find(data, kind).and_then(data_value);
        let means = match (self.held(number(data, 1)), operation, value(3), value(4)) {
            (Some(Held::Item(item)), Some(operation), Some(first), Some(last)) => {
                item.within(operation, (first, last), self.proto)
            }
            _ => None,
        };
        self.test(means);
    }

    fn lookup(&mut self, data: &[u8]) {
        self.open = true;
        match number(data, 3) {
            Some(0) => self.part(Does::Map),
            Some(register) => self.hold(Some(register), None),
            None => {}
        }
    }
}
