//! Rulesets that do not load again from their own text, made to: the odd rules replaced by stand-ins.
//!
//! iptables-save prints rules that iptables-restore refuses or loads as another rule (a comment with a
//! newline in it, `! -i +` of 1.8.9, an object that only the real namespace has). Such a rule cannot be tried
//! out, nor put back once it is gone; but a change elsewhere can, if the numbers stay the same. So each odd
//! rule is a stand-in that matches nothing in particular and does nothing, for as long as the trial takes.

use std::collections::BTreeSet;

use super::carry::first_difference;
use crate::ruleset::{Origin, Policy, RuleIdx, Ruleset};

/// Begins the comment of a stand-in; the number of the rule follows.
const STAND_IN: &str = "ruletop-stand-in-";

/// A ruleset with some rules replaced.
#[derive(Debug)]
pub(super) struct Tamed<'a> {
    ruleset: &'a Ruleset,
    origin: Origin,
    odd: BTreeSet<u32>,
    /// The rule of each line of the text, as it was printed last.
    lines: Vec<Option<RuleIdx>>,
}

impl<'a> Tamed<'a> {
    /// Replaces what cannot be a line of a script in any case.
    pub fn new(ruleset: &'a Ruleset, origin: Origin) -> Self {
        let breaks = |rule: &RuleIdx| ruleset.spec(*rule).iter().any(|b| matches!(b, b'\n' | 0));
        Self {
            ruleset,
            origin,
            odd: ruleset.rules().filter(breaks).map(|rule| rule.0).collect(),
            lines: Vec::new(),
        }
    }

    /// The text to load.
    pub fn print(&mut self) -> Vec<u8> {
        let counters = self.ruleset.saved_counters();
        let mut out = Vec::with_capacity(self.ruleset.bytes().len());
        self.lines.clear();
        for table in self.ruleset.tables() {
            self.line(&mut out, None, &[b"*", table.name().as_bytes()]);
            for index in table.chains() {
                let chain = self.ruleset.chain(*index);
                let count = counters.policy(*index);
                let policy = chain.policy().map_or("-", Policy::name);
                let rest = format!(" {policy} [{}:{}]", count.packets, count.bytes);
                self.line(&mut out, None, &[b":", chain.name_bytes(), rest.as_bytes()]);
            }
            for index in table.chains() {
                let chain = self.ruleset.chain(*index);
                for rule in chain.rules() {
                    let count = counters.rule(*rule);
                    let head = format!("[{}:{}] -A ", count.packets, count.bytes);
                    let name = chain.name_bytes();
                    let spec = self.spec(*rule);
                    self.line(&mut out, Some(*rule), &[head.as_bytes(), name, b" ", &spec]);
                }
            }
            self.line(&mut out, None, &[b"COMMIT"]);
        }
        out
    }

    fn line(&mut self, out: &mut Vec<u8>, rule: Option<RuleIdx>, parts: &[&[u8]]) {
        out.extend(parts.iter().copied().flatten());
        out.push(b'\n');
        self.lines.push(rule);
    }

    fn spec(&self, rule: RuleIdx) -> Vec<u8> {
        if self.odd.contains(&rule.0) {
            stand_in(rule)
        } else {
            self.ruleset.normal_spec(rule).into_owned()
        }
    }

    /// Replaces the rule that stands in that line of the text, from 1; whether there is one.
    pub fn replace_line(&mut self, line: usize) -> bool {
        let rule = line.checked_sub(1).and_then(|at| self.lines.get(at));
        rule.copied()
            .flatten()
            .is_some_and(|rule| self.odd.insert(rule.0))
    }

    /// Replaces the rules that `loaded` has otherwise; whether there were any.
    pub fn replace_changed(&mut self, loaded: &Ruleset) -> bool {
        let before = self.odd.len();
        for table in self.ruleset.tables() {
            let Some(twin) = loaded.find_table(table.name()) else {
                continue;
            };
            for index in table.chains() {
                let chain = self.ruleset.chain(*index);
                let found = loaded.chain_named(twin, chain.name_bytes());
                let there = found.map_or(&[][..], |found| loaded.chain(found).rules());
                for (rule, other) in chain.rules().iter().zip(there) {
                    if self.spec(*rule) != loaded.normal_spec(*other).as_ref() {
                        self.odd.insert(rule.0);
                    }
                }
            }
        }
        self.odd.len() > before
    }

    /// `after` with the rules put back for their stand-ins; `None` where one of them is gone or was doubled:
    /// the change touches a rule that could not be put back.
    pub fn put_back(&self, after: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(after.len());
        let mut found = BTreeSet::new();
        for line in after.split_inclusive(|byte| *byte == b'\n') {
            match stands_for(line).filter(|rule| self.odd.contains(rule)) {
                Some(rule) => {
                    if !found.insert(rule) {
                        return None;
                    }
                    let index = RuleIdx(rule);
                    let spec = stand_in(index);
                    let at = memchr::memmem::find(line, &spec)?;
                    out.extend_from_slice(line.get(..at)?);
                    out.extend_from_slice(&self.ruleset.normal_spec(index));
                    out.extend_from_slice(line.get(at + spec.len()..)?);
                }
                None => out.extend_from_slice(line),
            }
        }
        (found == self.odd).then_some(out)
    }

    /// Where what was loaded still differs from what was printed, in words.
    pub fn first_difference(&mut self, loaded: &Ruleset) -> Option<String> {
        if self.odd.is_empty() {
            return first_difference(self.ruleset, loaded);
        }
        let printed = Ruleset::parse(self.print(), self.origin);
        printed
            .ok()
            .and_then(|printed| first_difference(&printed, loaded))
    }
}

fn stand_in(rule: RuleIdx) -> Vec<u8> {
    format!("-m comment --comment {STAND_IN}{}", rule.0).into_bytes()
}

/// The number of the rule that a line stands in for.
fn stands_for(line: &[u8]) -> Option<u32> {
    let at = memchr::memmem::find(line, STAND_IN.as_bytes())? + STAND_IN.len();
    let digits: Vec<u8> = line
        .get(at..)?
        .iter()
        .copied()
        .take_while(u8::is_ascii_digit)
        .collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}
