//! Who jumps where: worked out when somebody asks, since most readers of a ruleset never do.
//!
//! One chain asks [`Ruleset::jump`] of the rule under the cursor; a whole map of callers is
//! [`Ruleset::references`], which reads every rule once.

use std::ops::Range;

use super::model::{ChainIdx, RuleIdx, Ruleset};
use super::spec::general;

/// What a rule's `-j` or `-g` says, before anybody asks what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump<'a> {
    /// The name: a target or a chain. Hostile text: strip before drawing.
    pub name: &'a [u8],
    /// The chain of that name in the rule's table, if there is one.
    pub chain: Option<ChainIdx>,
    /// `-g`: a RETURN there returns to the caller of this chain.
    pub goto: bool,
}

/// What a rule's target does with the way of a packet through its table (iptables-extensions(8)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The next rule, another chain, or the caller has its say: LOG, MARK, a jump, RETURN, no target.
    Continues,
    /// The table is done with the packet, and it goes on.
    Decides,
    /// The packet goes no further.
    Drops,
}

/// The callers of every chain of a ruleset.
#[derive(Clone, Debug, Default)]
pub struct References {
    /// Where the callers of each chain begin in `callers`; one more than there are chains.
    starts: Vec<u32>,
    callers: Vec<RuleIdx>,
}

impl References {
    /// The rules that jump or go to a chain, in the order of the text.
    pub fn to(&self, chain: ChainIdx) -> &[RuleIdx] {
        let at = chain.0 as usize;
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(from), Some(to)) => self
                .callers
                .get(*from as usize..*to as usize)
                .unwrap_or_default(),
            _ => &[],
        }
    }
}

/// Where a specification jumps, without reading the rest of it: where the name after `-j` or `-g` stands
/// in it, and whether it is `-g`. `None` where it only counts.
pub fn jump_in(spec: &[u8]) -> Option<(Range<usize>, bool)> {
    general::jump(spec)
}

impl Ruleset {
    /// Where a rule jumps, without reading the rest of it; `None` where it only counts.
    pub fn jump(&self, rule: RuleIdx) -> Option<Jump<'_>> {
        let spec = self.spec(rule);
        let (name, goto) = general::jump(spec)?;
        let name = spec.get(name)?;
        Some(Jump {
            name,
            chain: self.chain_meant(rule, name),
            goto,
        })
    }

    /// What the target of a rule does with the packet's way.
    pub fn role(&self, rule: RuleIdx) -> Role {
        match self.jump(rule) {
            Some(jump) if jump.chain.is_some() => Role::Continues,
            Some(jump) => match jump.name {
                b"DROP" | b"REJECT" => Role::Drops,
                b"ACCEPT" | b"QUEUE" | b"NFQUEUE" | b"DNAT" | b"SNAT" | b"MASQUERADE"
                | b"REDIRECT" | b"NETMAP" | b"TPROXY" | b"SYNPROXY" => Role::Decides,
                _ => Role::Continues,
            },
            None => Role::Continues,
        }
    }

    /// A rule whose target ends the packet's way for good: DROP or REJECT.
    pub fn drops_or_rejects(&self, rule: RuleIdx) -> bool {
        self.role(rule) == Role::Drops
    }

    /// The callers of every chain: some 50 ms for 100,000 rules.
    pub fn references(&self) -> References {
        let called = |rule| Some((self.jump(rule)?.chain?, rule));
        let mut pairs: Vec<(ChainIdx, RuleIdx)> = self.rules().filter_map(called).collect();
        pairs.sort_unstable();
        let mut starts = Vec::with_capacity(self.chains().len() + 1);
        let mut at = 0;
        for chain in 0..=self.chains().len() {
            while pairs
                .get(at)
                .is_some_and(|pair| (pair.0.0 as usize) < chain)
            {
                at += 1;
            }
            starts.push(u32::try_from(at).unwrap_or(u32::MAX));
        }
        References {
            starts,
            callers: pairs.into_iter().map(|pair| pair.1).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ruleset::{Document, Hints};

    #[test]
    fn callers_are_found_in_their_table_only() {
        let text = b"*filter\n:INPUT ACCEPT [0:0]\n:a - [0:0]\n:b - [0:0]\n-A INPUT -j a\n-A INPUT -p tcp -g b\n-A a -j b\n-A b -j DROP\nCOMMIT\n*nat\n:a - [0:0]\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j a\nCOMMIT\n";
        let document = Document::parse(&text[..], Hints::default()).unwrap();
        let ruleset = &document.rulesets()[0];
        let references = ruleset.references();
        let to = |table: &str, chain: &str| {
            let chain = ruleset.find_chain(table, chain).unwrap();
            references
                .to(chain)
                .iter()
                .map(|rule| rule.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(to("filter", "a"), [0]);
        assert_eq!(to("filter", "b"), [1, 2]);
        assert!(to("filter", "INPUT").is_empty());
        assert_eq!(to("nat", "a"), [4]);
        let goto = ruleset.jump(crate::ruleset::RuleIdx(1)).unwrap();
        assert!(goto.goto && goto.name == b"b");
        assert_eq!(
            ruleset.jump(crate::ruleset::RuleIdx(3)).unwrap().chain,
            None
        );
    }
}
