//! What the rules of native tables test and do: nf_tables' expressions read as [`NativeRules`].
//!
//! Each rule is read alone (`reader`); here chains are put together from what they do, with those that they
//! call. What iptables has words for is said in them (`words`); what is beyond that makes the rule open, or a thing that may happen,
//! and never a thing that does not. Elements of sets are not read: a lookup leaves the rule open, and a
//! verdict map may do whatever the rules of its table do.
//!
//! Source of the numbers: linux/netfilter/nf_tables.h.

use std::collections::HashMap;

use super::reader::Reader;
use crate::ruleset::{Effects, Family, NativeDoes, NativeRule, NativeRules};

/// A rule as it is listed: its chain, and its expressions.
pub(super) type Listed = (Vec<u8>, Vec<u8>);

/// How deep calls are followed from a base chain: the kernel's own bound.
const DEPTH: usize = 16;

/// A statement with what must hold before it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) tests: Vec<String>,
    pub(super) open: bool,
    pub(super) does: Does,
}

#[derive(Debug)]
pub(super) enum Does {
    Target(String),
    Call {
        chain: Vec<u8>,
        goto: bool,
    },
    May(Effects),
    /// Whatever rules of the table do.
    Map,
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
        for (reader, at) in rules.into_iter().zip(1_usize..) {
            if reader.never {
                continue;
            }
            let place = match depth {
                0 => format!("rule {at}"),
                _ => format!("rule {at} of {}", String::from_utf8_lossy(name)),
            };
            self.rule(reader, &place, depth, &mut list);
        }
        if let Some(slot) = self.built.chains.get_mut(number) {
            *slot = list;
        }
        Some(number)
    }

    fn rule(&mut self, reader: Reader, place: &str, depth: usize, list: &mut Vec<NativeRule>) {
        let (parts, only) = (reader.parts, reader.only);
        let several = parts.len() > 1;
        let mut leaves = None;
        let mut inner: Vec<Vec<NativeRule>> = vec![Vec::new()];
        let mut gates: Vec<(String, String, bool)> = Vec::new();
        for (at, part) in parts.into_iter().enumerate() {
            let tests = part.tests.join(" ");
            let does = self.does(part.does, depth);
            // From within a chain of its own a rule cannot return, or go to another.
            let is_leaving = match &does {
                NativeDoes::Target(target) => target == "-j RETURN",
                NativeDoes::Call { goto, .. } => *goto,
                NativeDoes::May(_) => false,
            };
            let place = match at {
                0 => place.to_owned(),
                _ => format!("{place}, part {}", at + 1),
            };
            let rule = |tests: String, open: bool, does: NativeDoes| NativeRule {
                place: place.clone(),
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
                gates.push((place.clone(), tests, part.open));
                inner.push(Vec::new());
            }
            if let Some(last) = inner.last_mut() {
                last.push(rule(String::new(), false, does));
            }
        }
        // The innermost first: each is called at the end of the one around it.
        let mut innermost: Option<NativeRule> = None;
        while let (Some(mut rules), Some((place, tests, open))) = (inner.pop(), gates.pop()) {
            rules.extend(innermost.take());
            let chain = self.built.chains.len();
            self.built.chains.push(rules);
            innermost = Some(NativeRule {
                place,
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
