//! What the rules of native tables test and do: nf_tables' expressions read as [`NativeRules`].
//!
//! A rule is a small program over registers. What it loads, compares and sets is followed here as far as
//! iptables has words for it (`words`); what is beyond that makes the rule open, or a thing that may happen,
//! and never a thing that does not. Elements of sets are not read: a lookup leaves the rule open, and a
//! verdict map may do whatever the rules of its table do.
//!
//! Source of the numbers: linux/netfilter/nf_tables.h.

use std::collections::HashMap;

use super::lossy::{data_value, find, number};
use super::words::{Item, Means, Operation, host_order};
use crate::netfilter::netlink::{attributes, text};
use crate::netfilter::nftables::named;
use crate::ruleset::{Effects, Family, NativeDoes, NativeRule, NativeRules};

/// A rule as it is listed: its chain, and its expressions.
pub(super) type Listed = (Vec<u8>, Vec<u8>);

/// How deep calls are followed from a base chain: the kernel's own bound.
const DEPTH: usize = 16;

/// What a register holds.
#[derive(Clone, Debug)]
enum Held {
    Item(Item),
    /// Bits of it that were kept, and those that were turned round then.
    Masked(Item, Vec<u8>, Vec<u8>),
    Value(Vec<u8>),
}

/// A statement with what must hold before it.
#[derive(Debug)]
struct Part {
    tests: Vec<String>,
    open: bool,
    does: Does,
}

#[derive(Debug)]
enum Does {
    Target(String),
    Call {
        chain: Vec<u8>,
        goto: bool,
    },
    May(Effects),
    /// Whatever rules of the table do.
    Map,
}

struct Reader {
    family: Option<Family>,
    /// Only packets of that family, where the table is for both.
    only: Option<Family>,
    proto: Option<u8>,
    is_nat: bool,
    registers: HashMap<u32, Held>,
    tests: Vec<String>,
    open: bool,
    /// No packet meets it.
    never: bool,
    parts: Vec<Part>,
}

/// Reads the rules of a base chain and of those that it calls. `family` is that of the table, where it is for
/// one; `listed` are all rules of the table, in order.
pub(super) fn read(
    family: Option<Family>,
    is_nat: bool,
    base: &[u8],
    listed: &[Listed],
) -> NativeRules {
    let mut chains: HashMap<&[u8], Vec<Reader>> = HashMap::new();
    let mut all = Effects::default();
    for (chain, expressions) in listed {
        let reader = Reader::read(family, is_nat, expressions);
        for part in &reader.parts {
            all = all.or(effects(&part.does));
        }
        chains.entry(chain).or_default().push(reader);
    }
    let mut building = Building {
        chains,
        numbers: HashMap::new(),
        all: Effects { ends: true, ..all },
        built: NativeRules::default(),
    };
    building.chain(base, 0);
    building.built
}

fn effects(does: &Does) -> Effects {
    match does {
        Does::May(effects) => *effects,
        Does::Target(target) => {
            let is = |name: &str| target.starts_with(name);
            Effects {
                mark: is("-j MARK") || is("-j CONNMARK --restore"),
                connmark: is("-j CONNMARK"),
                dnat: is("-j DNAT") || is("-j REDIRECT"),
                snat: is("-j SNAT") || is("-j MASQUERADE"),
                state: is("-j NOTRACK"),
                ..Effects::default()
            }
        }
        Does::Call { .. } | Does::Map => Effects::default(),
    }
}

struct Building<'a> {
    chains: HashMap<&'a [u8], Vec<Reader>>,
    numbers: HashMap<Vec<u8>, usize>,
    all: Effects,
    built: NativeRules,
}

impl Building<'_> {
    /// The number of a chain; it is built when it is first called.
    fn chain(&mut self, name: &[u8], depth: usize) -> Option<usize> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        if depth > DEPTH {
            return None;
        }
        let number = self.built.chains.len();
        self.numbers.insert(name.to_vec(), number);
        self.built.chains.push(Vec::new());
        let rules = self.chains.remove(name).unwrap_or_default();
        let mut list = Vec::new();
        for reader in rules.into_iter().filter(|reader| !reader.never) {
            let only = reader.only;
            self.rule(reader.parts, only, depth, &mut list);
        }
        if let Some(slot) = self.built.chains.get_mut(number) {
            *slot = list;
        }
        Some(number)
    }

    fn rule(
        &mut self,
        parts: Vec<Part>,
        only: Option<Family>,
        depth: usize,
        list: &mut Vec<NativeRule>,
    ) {
        let several = parts.len() > 1;
        let mut leaves = None;
        let mut inner: Vec<Vec<NativeRule>> = vec![Vec::new()];
        let mut gates: Vec<(String, bool)> = Vec::new();
        for (at, part) in parts.into_iter().enumerate() {
            let tests = part.tests.join(" ");
            let does = self.does(part.does, depth);
            // From within a chain of its own a rule cannot return, or go to another.
            let is_leaving = match &does {
                NativeDoes::Target(target) => target == "-j RETURN",
                NativeDoes::Call { goto, .. } => *goto,
                NativeDoes::May(_) => false,
            };
            let rule = |tests: String, open: bool, does: NativeDoes| NativeRule {
                family: only,
                tests,
                open,
                does,
            };
            if !several {
                list.push(rule(tests, part.open, does));
                return;
            }
            if is_leaving {
                leaves = Some(rule(String::new(), true, does));
                continue;
            }
            if at == 0 || !tests.is_empty() || part.open {
                gates.push((tests, part.open));
                inner.push(Vec::new());
            }
            if let Some(last) = inner.last_mut() {
                last.push(rule(String::new(), false, does));
            }
        }
        // The innermost first: each is called at the end of the one around it.
        let mut innermost: Option<NativeRule> = None;
        while let (Some(mut rules), Some((tests, open))) = (inner.pop(), gates.pop()) {
            rules.extend(innermost.take());
            let chain = self.built.chains.len();
            self.built.chains.push(rules);
            innermost = Some(NativeRule {
                family: only,
                tests,
                open,
                does: NativeDoes::Call { chain, goto: false },
            });
        }
        list.extend(innermost);
        list.extend(leaves);
    }

    fn does(&mut self, does: Does, depth: usize) -> NativeDoes {
        match does {
            Does::Target(target) => NativeDoes::Target(target),
            Does::May(effects) => NativeDoes::May(effects),
            Does::Map => NativeDoes::May(self.all),
            Does::Call { chain, goto } => match self.chain(&chain, depth + 1) {
                Some(chain) => NativeDoes::Call { chain, goto },
                None => NativeDoes::May(self.all),
            },
        }
    }
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
    fn read(family: Option<Family>, is_nat: bool, expressions: &[u8]) -> Self {
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
                    let first = words.next().unwrap_or_default().to_owned();
                    first
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

    fn part(&mut self, does: Does) {
        self.parts.push(Part {
            tests: std::mem::take(&mut self.tests),
            open: std::mem::take(&mut self.open),
            does,
        });
    }

    fn target(&mut self, target: String) {
        self.part(Does::Target(target));
    }

    fn may(&mut self, effects: Effects) {
        self.part(Does::May(effects));
    }

    /// A translation to something that is not known.
    fn may_nat(&mut self, dnat: bool) {
        self.may(Effects {
            dnat,
            snat: !dnat,
            ..Effects::default()
        });
    }

    fn hold(&mut self, register: Option<u32>, held: Option<Held>) {
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

    fn held(&self, register: Option<u32>) -> Option<&Held> {
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

    /// The target that sets a mark to what a register holds.
    fn new_mark(&self, register: Option<u32>, own: Item) -> Option<String> {
        let name = match own {
            Item::Mark => "MARK",
            _ => "CONNMARK",
        };
        Some(match (self.held(register)?, own) {
            (Held::Value(value), _) => {
                format!("-j {name} --set-xmark {:#x}/0xffffffff", host_order(value)?)
            }
            (Held::Masked(item, mask, xor), _) if *item == own => {
                let (mask, xor) = (host_order(mask)?, host_order(xor)?);
                format!("-j {name} --set-xmark {xor:#x}/{:#x}", !mask)
            }
            (Held::Item(Item::CtMark), Item::Mark) => {
                "-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff".to_owned()
            }
            (Held::Item(Item::Mark), Item::CtMark) => {
                "-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff".to_owned()
            }
            _ => return None,
        })
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

    fn immediate(&mut self, data: &[u8]) {
        let register = number(data, 1);
        if register != Some(0) {
            let value = find(data, 2).and_then(data_value);
            self.hold(register, value.map(|value| Held::Value(value.to_vec())));
            return;
        }
        let verdict = find(data, 2)
            .and_then(|data| find(data, 2))
            .unwrap_or_default();
        let chain = find(verdict, 2).map(|name| text(name).to_vec());
        match (number(verdict, 1).map(u32::cast_signed), chain) {
            (Some(0), _) => self.target("-j DROP".to_owned()),
            (Some(1), _) => self.target("-j ACCEPT".to_owned()),
            (Some(-5), _) => self.target("-j RETURN".to_owned()),
            (Some(-1), _) => {}
            (Some(code @ (-3 | -4)), Some(chain)) => self.part(Does::Call {
                chain,
                goto: code == -4,
            }),
            _ => self.may(Effects {
                ends: true,
                ..Effects::default()
            }),
        }
    }

    fn lookup(&mut self, data: &[u8]) {
        self.open = true;
        match number(data, 3) {
            Some(0) => self.part(Does::Map),
            Some(register) => self.hold(Some(register), None),
            None => {}
        }
    }

    fn reject(&mut self, data: &[u8]) {
        let code = find(data, 2).and_then(|code| code.first().copied());
        let v6 = self.family.or(self.only) == Some(Family::V6);
        let with = match (number(data, 1), code) {
            (Some(1), _) => "tcp-reset",
            (Some(0), Some(code)) if v6 => match code {
                0 => "icmp6-no-route",
                1 => "icmp6-adm-prohibited",
                3 => "icmp6-addr-unreachable",
                5 => "icmp6-policy-fail",
                6 => "icmp6-reject-route",
                _ => "icmp6-port-unreachable",
            },
            (Some(0), Some(code)) => match code {
                0 => "icmp-net-unreachable",
                1 => "icmp-host-unreachable",
                2 => "icmp-proto-unreachable",
                9 => "icmp-net-prohibited",
                10 => "icmp-host-prohibited",
                13 => "icmp-admin-prohibited",
                _ => "icmp-port-unreachable",
            },
            // For both families: the most usual of each.
            _ => {
                self.target("-j REJECT".to_owned());
                return;
            }
        };
        self.target(format!("-j REJECT --reject-with {with}"));
    }

    fn nat(&mut self, data: &[u8]) {
        let dnat = number(data, 1) == Some(1);
        match self.translation(data, dnat) {
            Some(target) => self.target(target),
            None => self.may_nat(dnat),
        }
    }

    /// `-j DNAT --to-destination …`, where what to is in the rule.
    fn translation(&self, data: &[u8], dnat: bool) -> Option<String> {
        let family = match number(data, 2)? {
            2 => Family::V4,
            10 => Family::V6,
            _ => return None,
        };
        let value = |kind| match number(data, kind).map(|register| self.held(Some(register))) {
            None => Some(None),
            Some(Some(Held::Value(bytes))) => Some(Some(bytes.as_slice())),
            Some(_) => None,
        };
        let address = |bytes: &[u8]| super::words::address(family, bytes);
        let port = |bytes: &[u8]| Some(u16::from_be_bytes(bytes.try_into().ok()?));
        // Only plain translations: a flag may make it a mapping of networks or a random choice.
        let is_plain = number(data, 7).is_none_or(|flags| flags & !3 == 0);
        let addresses = (value(3)?, value(4)?);
        let ports = (value(5)?, value(6)?);
        let mut to = match addresses {
            (Some(first), Some(last)) if first != last => {
                let v6 = family == Family::V6;
                let (first, last) = (address(first)?, address(last)?);
                if v6 && ports.0.is_some() {
                    return None;
                }
                format!("{first}-{last}")
            }
            (Some(one), _) if family == Family::V6 && ports.0.is_some() => {
                format!("[{}]", address(one)?)
            }
            (Some(one), _) => address(one)?,
            (None, _) => String::new(),
        };
        match ports {
            (Some(first), Some(last)) if first != last => {
                to.push_str(&format!(":{}-{}", port(first)?, port(last)?));
            }
            (Some(one), _) => to.push_str(&format!(":{}", port(one)?)),
            (None, _) => {}
        }
        let option = if dnat {
            "-j DNAT --to-destination"
        } else {
            "-j SNAT --to-source"
        };
        (is_plain && !to.is_empty()).then(|| format!("{option} {to}"))
    }

    fn redirect(&mut self, data: &[u8]) {
        let port = |kind| match self.held(number(data, kind)) {
            Some(Held::Value(bytes)) => Some(u16::from_be_bytes(bytes.as_slice().try_into().ok()?)),
            _ => None,
        };
        let target = match (number(data, 1), number(data, 2)) {
            (None, _) => Some("-j REDIRECT".to_owned()),
            (Some(_), last) => port(1).and_then(|first| match last {
                None => Some(format!("-j REDIRECT --to-ports {first}")),
                Some(_) => Some(format!("-j REDIRECT --to-ports {first}-{}", port(2)?)),
            }),
        };
        match target {
            Some(target) => self.target(target),
            None => self.may_nat(true),
        }
    }
}

/// What writing to those bytes of a header changes.
fn written(family: Option<Family>, base: u32, offset: u32, length: u32) -> Effects {
    let end = offset.saturating_add(length);
    let within = |first: u32, last: u32| base == 1 && offset >= first && end <= last;
    let none = Effects::default();
    let everything = Effects {
        ends: false,
        mark: false,
        connmark: false,
        state: false,
        ..Effects::all(false)
    };
    match family {
        Some(Family::V4) if within(1, 2) => Effects { tos: true, ..none },
        // The checksum is written with it.
        Some(Family::V4) if within(8, 9) => Effects { hops: true, ..none },
        Some(Family::V6) if within(0, 4) => Effects { tos: true, ..none },
        Some(Family::V6) if within(7, 8) => Effects { hops: true, ..none },
        _ => everything,
    }
}
