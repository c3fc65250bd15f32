//! What a rule says, with types.
//!
//! A [`Spec`] is read from the text of a rule when somebody asks and borrows from it: general options,
//! matches in their order, and the target. What is known is typed well enough to reason about packets:
//! ports are ranges, states are sets, marks are value and mask. What is not known, an option, a value or
//! a whole extension, makes its match or target `Unknown`: kept as words, and [`Spec::is_understood`]
//! turns false. Nothing is guessed, nothing is dropped.
//!
//! Options find their extension as iptables finds it: the match loaded last that has the option, then the
//! general options, then unambiguous abbreviations, then the match that `-p` implies. `!` may stand before
//! the option or, as old dumps have it, after.
//!
//! `lexer` makes words, `general` and `options` hold the rows of options, `read` joins them, `extension`
//! ends what it loaded, `layout` is where the parts stand in the text; `matches` and
//! `targets` hold the typed forms, one file a family; `value` what their options carry; `words` the short
//! text for the board.

pub mod lexer;
pub mod matches;
pub mod targets;
pub mod value;

mod extension;
pub(super) mod general;
pub mod layout;
mod options;
mod read;
mod words;

pub use layout::{Held, Layout, Piece};
pub use lexer::{Word, write_quoted};
pub use matches::Match;
pub use options::{Misread, Unknown};
pub use targets::Target;
pub use value::{
    Address, Addresses, Bounds, Interface, Inv, MarkMask, Masked, Net, Ports, Protocol,
};
pub(super) use words::hex;
pub use words::{Cells, Logged};

use super::{Counters, Family, RuleIdx, Ruleset};

/// One rule, typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec<'a> {
    /// Family of the ruleset.
    pub family: Family,
    /// `-s`
    pub source: Option<Inv<Addresses<'a>>>,
    /// `-d`
    pub destination: Option<Inv<Addresses<'a>>>,
    /// `-i`
    pub in_interface: Option<Inv<Interface<'a>>>,
    /// `-o`
    pub out_interface: Option<Inv<Interface<'a>>>,
    /// `-p`
    pub protocol: Option<Inv<Protocol<'a>>>,
    /// `-f`: second and further fragments only; inverted: first fragments and whole packets only.
    pub fragment: Option<Inv<()>>,
    /// `-4` or `-6`: the rule is loaded only into that family.
    pub only_family: Option<Family>,
    /// `-m`, in order, those that `-p` implies included.
    pub matches: Vec<Match<'a>>,
    /// `-j` or `-g`; `None` only counts.
    pub target: Option<Target<'a>>,
    /// The target was given by `-g`: a `RETURN` in it returns to the caller of this chain.
    pub goto: bool,
    /// `-c`
    pub counters: Option<Counters>,
    /// Words that belong to nothing.
    pub stray: Vec<Word<'a>>,
}

impl<'a> Spec<'a> {
    /// Read a specification: a rule without `-A CHAIN`. `is_chain` answers whether a name after `-j` or
    /// `-g` is a chain of the rule's table.
    pub fn parse(spec: &'a [u8], family: Family, is_chain: &dyn Fn(&[u8]) -> bool) -> Self {
        read::read(spec, family, is_chain)
    }

    /// Everything in the rule is understood: what is typed here is all that it says.
    pub fn is_understood(&self) -> bool {
        self.stray.is_empty()
            && !self.matches.iter().any(|m| matches!(m, Match::Unknown(_)))
            && !matches!(self.target, Some(Target::Unknown(_)))
            && self
                .protocol
                .as_ref()
                .is_none_or(|p| p.value.number.is_some())
    }
}

impl Ruleset {
    /// The typed form of a rule. An index that is not there gives an empty rule.
    pub fn parse_rule(&self, rule: RuleIdx) -> Spec<'_> {
        let is_chain = |name: &[u8]| self.chain_meant(rule, name).is_some();
        let mut spec = Spec::parse(self.spec(rule), self.family(), &is_chain);
        let choice = self.row(rule).map_or(0, |row| row.choice) as usize;
        let is_list = |side: &Option<Inv<Addresses<'_>>>| {
            side.as_ref()
                .is_some_and(|side| !side.invert && !side.value.more.is_empty())
        };
        if is_list(&spec.source) || is_list(&spec.destination) {
            spec.pick(choice);
        }
        spec
    }
}

impl Spec<'_> {
    /// Of the rules that address lists make, sources outside and destinations inside, only one.
    fn pick(&mut self, choice: usize) {
        let count = |side: &Option<Inv<Addresses<'_>>>| {
            side.as_ref()
                .filter(|side| !side.invert)
                .map_or(1, |side| side.value.more.len() + 1)
        };
        let destinations = count(&self.destination);
        pick(&mut self.source, choice / destinations);
        pick(&mut self.destination, choice % destinations);
    }
}

fn pick(side: &mut Option<Inv<Addresses<'_>>>, index: usize) {
    if let Some(list) = side.as_mut().filter(|side| !side.invert) {
        list.value.pick(index);
    }
}
