//! What one structure hands on to the one that replaces it.
//!
//! Everything that hangs on a rule goes by identity: by nft handle and text where there are handles,
//! else by text, and never by row number. A reorder must not light the wrong row.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::app::firewall::{Firewall, Handle};
use crate::ruleset::{ChainCounters, ChainIdx, Reading, RuleIdx, Ruleset, TextId};

/// Which rule of the old structure each rule of the new one is; worked out once for all who ask.
#[derive(Debug)]
pub struct Heirs(Vec<Option<usize>>);

impl Heirs {
    /// The rule of the new structure that `rule` of the old one became; `None`: it went.
    pub fn of(&self, rule: RuleIdx) -> Option<RuleIdx> {
        let wanted = Some(rule.0 as usize);
        let at = self.0.iter().position(|from| *from == wanted)?;
        u32::try_from(at).ok().map(RuleIdx)
    }
}

impl Firewall {
    /// The counters as they stand, as a reading of every chain.
    fn readings(&self) -> Vec<Reading> {
        let chains = self.ruleset.chains().iter().zip(0..);
        let read = chains.map(|(chain, i)| Reading {
            chain: ChainIdx(i),
            counters: Some(ChainCounters {
                policy: chain
                    .is_builtin()
                    .then(|| self.counters.policy(ChainIdx(i))),
                rules: chain
                    .rules()
                    .iter()
                    .map(|rule| self.counters.rule(*rule))
                    .collect(),
            }),
        });
        read.collect()
    }

    /// Takes over heat, rates and the view's zero from the structure that this one replaces at `now`.
    pub fn inherit(&mut self, old: &Self, now: Duration) -> Heirs {
        let read = self.readings();
        let by_chain = chain_map(&old.ruleset, &self.ruleset);
        let rule_map = self.rule_map(old);
        let mut baseline = old.baseline.as_ref().map(|_| {
            // Unknown rules start from what they show now: their delta is nothing yet.
            self.counters.clone()
        });
        for (new, old_index) in rule_map.iter().enumerate() {
            let Some(from) = *old_index else { continue };
            self.rules[new] = old.rules[from];
            self.counters.rules[new] = old.counters.rules[from];
            self.roles[new] = old.roles[from];
            if let (Some(to), Some(was)) = (&mut baseline, &old.baseline) {
                to.rules[new] = was.rules[from];
            }
        }
        for (new, from) in by_chain.iter().enumerate() {
            let Some(from) = *from else { continue };
            self.policies[new] = old.policies[from];
            self.counters.policies[new] = old.counters.policies[from];
            self.chains[new] = old.chains[from];
            if let (Some(to), Some(was)) = (&mut baseline, &old.baseline) {
                to.policies[new] = was.policies[from];
            }
        }
        self.baseline = baseline;
        // The new text carries counters of its own: a reading like any other.
        self.read(now, &read);
        Heirs(rule_map)
    }

    /// The same chains, policies and rules in the same order: only counters, or nothing, differ.
    pub fn has_structure_of(&self, old: &Self) -> bool {
        let chains = |set: &Ruleset| -> Vec<_> {
            set.chains()
                .iter()
                .map(|c| (c.name().to_owned(), c.table(), c.policy(), c.rules().len()))
                .collect()
        };
        self.ruleset.identities() == old.ruleset.identities()
            && chains(&self.ruleset) == chains(&old.ruleset)
    }

    /// For each rule here, the rule of `old` that is the same one: by handle, else by text.
    fn rule_map(&self, old: &Self) -> Vec<Option<usize>> {
        fn join<K: Hash + Eq>(new: &[K], old: Vec<K>) -> Vec<Option<usize>> {
            let index: HashMap<K, usize> =
                old.into_iter().enumerate().map(|(i, k)| (k, i)).collect();
            new.iter().map(|key| index.get(key).copied()).collect()
        }
        let (new, old_texts) = (self.ruleset.identities(), old.ruleset.identities());
        if self.handles.is_empty() || old.handles.is_empty() {
            return join(new, old_texts.to_vec());
        }
        // A rule that is replaced in place keeps its handle, so the text has its say too.
        let keys = |handles: &[Handle], texts: &[TextId]| -> Vec<(Handle, u64)> {
            handles
                .iter()
                .zip(texts)
                .map(|(handle, text)| (*handle, text.hash))
                .collect()
        };
        let mut map = join(&keys(&self.handles, new), keys(&old.handles, old_texts));
        if map.iter().any(Option::is_none) {
            // A rule that was taken out and put back elsewhere has a new handle and the same text. One
            // whose handle is still there is not it.
            let mut taken = vec![false; old_texts.len()];
            map.iter().flatten().for_each(|from| taken[*from] = true);
            for (slot, text) in map.iter_mut().zip(join(new, old_texts.to_vec())) {
                *slot = slot.or(text.filter(|from| !taken[*from]));
            }
        }
        map
    }
}

/// For each chain of `new`, the index of the chain of `old` with the same table and name.
pub fn chain_map(old: &Ruleset, new: &Ruleset) -> Vec<Option<usize>> {
    let key = |set: &'_ Ruleset, i: usize| {
        let chain = &set.chains()[i];
        (
            set.table(chain.table()).name().to_owned(),
            chain.name().to_owned(),
        )
    };
    let index: HashMap<_, _> = (0..old.chains().len()).map(|i| (key(old, i), i)).collect();
    (0..new.chains().len())
        .map(|i| index.get(&key(new, i)).copied())
        .collect()
}
