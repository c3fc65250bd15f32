//! Saved rules that do not say the whole truth.
//!
//! `iptables-save` prints a native nft rule that it half understands as another one, mostly a wider one, without
//! a warning. Which rules these are is found by the door that reads the kernel's expressions; it is a fact about
//! a ruleset and not about a door, hence here. Whoever compiles a ruleset to decide packets hands its marks over
//! with it ([`Marked`]), so that such a rule is matched as unknown.
//!
//! A mark is a chain and a position of the ruleset that it was made for. What is staged on that ruleset has
//! other indexes, so marks are carried over by names of table and chain ([`Marked::carried`]).

use super::{ChainIdx, Ruleset};

/// A saved rule that must not be believed: the kernel's rule says more than its text.
///
/// A chain with such a rule is locked against edits and never restored from saved text.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Lossy {
    /// The chain that holds the rule.
    #[serde(skip)]
    pub chain: ChainIdx,
    /// Position in the chain, the first rule being 0.
    pub position: usize,
    /// What the text leaves out: `lookup in a set (lookup)`.
    pub why: String,
    /// Not only when it matches is left out, but also something that it does: a verdict that a map gives, a
    /// field that it writes.
    pub does_more: bool,
}

/// A ruleset with those of its rules that must not be believed.
#[derive(Clone, Copy, Debug)]
pub struct Marked<'a> {
    /// The ruleset.
    pub ruleset: &'a Ruleset,
    /// Its marks; none for a saved dump, of which nothing more is known than its text.
    pub lossy: &'a [Lossy],
}

impl<'a> From<&'a Ruleset> for Marked<'a> {
    /// A ruleset that says all that there is to say.
    fn from(ruleset: &'a Ruleset) -> Self {
        let lossy = &[];
        Self { ruleset, lossy }
    }
}

impl Marked<'_> {
    /// The marks of a ruleset that was made of this one by an edit.
    ///
    /// Chains with marks are locked, so their rules stand where they stood, though chains and tables may have
    /// come before them. Should a rule not stand there after all, all of the chain that read like it are
    /// marked: too many marks make a verdict unknown, one too few makes it wrong.
    pub fn carried(&self, to: &Ruleset) -> Vec<Lossy> {
        let carry = |one: &Lossy| -> Vec<Lossy> {
            let Some(own) = self.ruleset.chains().get(one.chain.0 as usize) else {
                return Vec::new();
            };
            let table = self.ruleset.table(own.table()).name();
            let Some(chain) = to.find_chain(table, own.name()) else {
                return Vec::new();
            };
            let Some(rule) = own.rules().get(one.position) else {
                return Vec::new();
            };
            let text = self.ruleset.normal_spec(*rule);
            let rules = to.chain(chain).rules();
            let is_like = |position: &usize| {
                let rule = rules.get(*position);
                rule.is_some_and(|rule| to.normal_spec(*rule) == text)
            };
            let positions = if is_like(&one.position) {
                vec![one.position]
            } else {
                (0..rules.len()).filter(is_like).collect()
            };
            let at = |position| Lossy {
                chain,
                position,
                ..one.clone()
            };
            positions.into_iter().map(at).collect()
        };
        self.lossy.iter().flat_map(carry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::{Document, Hints};

    fn read(text: &str) -> Document {
        Document::parse(text.as_bytes().to_vec(), Hints::default()).unwrap()
    }

    fn marks(document: &Document, chain: &str, position: usize) -> Vec<Lossy> {
        vec![Lossy {
            chain: document.rulesets()[0].find_chain("filter", chain).unwrap(),
            position,
            why: "lookup".to_owned(),
            does_more: false,
        }]
    }

    fn carried(from: &Document, lossy: &[Lossy], to: &Document) -> Vec<(String, usize)> {
        let (ruleset, to) = (&from.rulesets()[0], &to.rulesets()[0]);
        let marks = Marked { ruleset, lossy }.carried(to);
        let name = |one: &Lossy| (to.chain(one.chain).name().to_owned(), one.position);
        marks.iter().map(name).collect()
    }

    #[test]
    fn marks_go_with_their_chain() {
        let before = read(
            "*filter\n:INPUT ACCEPT [0:0]\n:web - [0:0]\n-A INPUT -j web\n-A web -j LOG\n-A web -j ACCEPT\nCOMMIT\n",
        );
        let lossy = marks(&before, "web", 1);
        for after in [
            // Tables and chains have come before it.
            "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j ACCEPT\nCOMMIT\n*filter\n:INPUT ACCEPT [0:0]\n:aaa - [0:0]\n:web - [0:0]\n-A aaa -j DROP\n-A INPUT -j aaa\n-A web -j LOG\n-A web -j ACCEPT\nCOMMIT\n",
            // It stands elsewhere: what reads like it is marked.
            "*filter\n:INPUT ACCEPT [0:0]\n:web - [0:0]\n-A web -j LOG\n-A web -s 10.0.0.1/32 -j DROP\n-A web -j ACCEPT\nCOMMIT\n",
        ] {
            let after = read(after);
            let found = carried(&before, &lossy, &after);
            let ruleset = &after.rulesets()[0];
            let rules = ruleset
                .chain(ruleset.find_chain("filter", "web").unwrap())
                .rules();
            let last = rules.len() - 1;
            assert_eq!(found, [("web".to_owned(), last)]);
        }
        let gone = read("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n");
        assert_eq!(carried(&before, &lossy, &gone), []);
        // A mark of no rule.
        assert_eq!(carried(&before, &marks(&before, "web", 7), &before), []);
    }
}
