//! How wide the board's columns have to be for a chain.

use unicode_width::UnicodeWidthStr;

use crate::ruleset::{ChainIdx, Ruleset};

/// The widest text of each column of a chain, in cells.
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
            let cells = ruleset.cells(*rule);
            let grow = |width: &mut usize, text: &str| *width = (*width).max(text.width());
            // A jump is shown with an arrow before the chain's name.
            let arrow = usize::from(ruleset.jump(*rule).is_some_and(|jump| jump.chain.is_some()));
            grow(&mut widths.target, &cells.target);
            widths.target = widths.target.max(cells.target.width() + arrow);
            grow(&mut widths.protocol, &cells.protocol);
            grow(&mut widths.input, &cells.in_interface);
            grow(&mut widths.output, &cells.out_interface);
            grow(&mut widths.source, &cells.source);
            grow(&mut widths.destination, &cells.destination);
            grow(&mut widths.text, &cells.matches);
            grow(
                &mut widths.comment,
                cells.comment.as_deref().unwrap_or_default(),
            );
        }
        widths
    }
}
