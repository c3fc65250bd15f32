//! Where a rule is to stand: what may be said of it depends on that.

use crate::ruleset::{Backend, ChainIdx, Family, Ruleset};

/// The place of a rule, and the chains that it may jump to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Family of the ruleset.
    pub family: Family,
    /// Its back end, where that is known.
    pub backend: Option<Backend>,
    /// Name of the table.
    pub table: String,
    /// Name of the chain.
    pub chain: Vec<u8>,
    /// The built-in chains from which a packet can get here; the chain itself where it is one. Empty when
    /// nothing leads here.
    pub hooks: Vec<String>,
    /// User chains of the table, sorted.
    pub chains: Vec<Vec<u8>>,
    /// Built-in chains of the table, sorted.
    pub builtin: Vec<Vec<u8>>,
}

impl Site {
    /// A chain of a ruleset. Looks through every rule where the chain is a user chain.
    pub fn of(ruleset: &Ruleset, chain: ChainIdx) -> Self {
        let own = ruleset.chain(chain);
        let table = ruleset.table(own.table());
        let named = |builtin: bool| {
            let chains = table.chains().iter().map(|idx| ruleset.chain(*idx));
            let mut names: Vec<Vec<u8>> = chains
                .filter(|chain| chain.is_builtin() == builtin)
                .map(|chain| chain.name_bytes().to_vec())
                .collect();
            names.sort_unstable();
            names
        };
        Self {
            family: ruleset.family(),
            backend: ruleset.backend(),
            table: table.name().to_owned(),
            chain: own.name_bytes().to_vec(),
            hooks: hooks(ruleset, chain),
            chains: named(false),
            builtin: named(true),
        }
    }

    /// Whether a name after `-j` is a user chain of the table.
    pub fn is_chain(&self, name: &[u8]) -> bool {
        let find = |names: &[Vec<u8>]| names.binary_search_by(|own| own.as_slice().cmp(name));
        find(&self.chains).is_ok() || find(&self.builtin).is_ok()
    }
}

/// The built-in chains that lead to a chain, sorted by name.
fn hooks(ruleset: &Ruleset, chain: ChainIdx) -> Vec<String> {
    let own = ruleset.chain(chain);
    if own.is_builtin() {
        return vec![own.name().to_owned()];
    }
    let references = ruleset.references();
    let mut seen = vec![false; ruleset.chains().len()];
    let mut open = vec![chain];
    let mut found = Vec::new();
    while let Some(next) = open.pop() {
        let Some(mark) = seen.get_mut(next.0 as usize).filter(|mark| !**mark) else {
            continue;
        };
        *mark = true;
        let chain = ruleset.chain(next);
        if chain.is_builtin() {
            found.push(chain.name().to_owned());
        }
        let callers = references.to(next).iter();
        open.extend(callers.filter_map(|rule| ruleset.chain_of(*rule)));
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::Origin;

    #[test]
    fn a_user_chain_knows_the_hooks_that_lead_to_it() {
        let text = b"*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
            :a - [0:0]\n:b - [0:0]\n:lone - [0:0]\n-A INPUT -j a\n-A a -j b\n-A FORWARD -g b\n-A b -j a\nCOMMIT\n";
        let set = Ruleset::parse(&text[..], Origin::new(Family::V4, Backend::Nft)).unwrap();
        let site = |chain| Site::of(&set, set.find_chain("filter", chain).unwrap());
        assert_eq!(site("b").hooks, ["FORWARD", "INPUT"]);
        assert_eq!(site("INPUT").hooks, ["INPUT"]);
        assert!(site("lone").hooks.is_empty());
        assert!(site("a").is_chain(b"b") && !site("a").is_chain(b"c"));
    }
}
