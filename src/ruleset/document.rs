//! One text and the rulesets in it.
//!
//! Every byte belongs to exactly one ruleset, so the rulesets printed one after the other are the
//! document. How a text is split into them is `reader`'s business.

use std::sync::Arc;

use super::diagnostic::{Diagnostic, ParseError};
use super::model::Ruleset;
use super::reader::Reader;
use super::{Backend, Family, Origin};

/// What the caller knows of a text better than the text itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Takes precedence over headers and content.
    pub family: Option<Family>,
    /// Takes precedence over headers.
    pub backend: Option<Backend>,
}

/// A whole text: a file, or several dumps in one.
#[derive(Debug)]
pub struct Document {
    text: Arc<[u8]>,
    rulesets: Vec<Ruleset>,
}

impl Document {
    /// Read a text. An empty one is one empty ruleset. Only a text in which nothing reads as a dump is
    /// refused; what is odd in a dump is in [`Ruleset::diagnostics`].
    pub fn parse(text: impl Into<Arc<[u8]>>, hints: Hints) -> Result<Self, ParseError> {
        let text = text.into();
        let rulesets = Reader::new(&text, hints, true).read(&text)?;
        Ok(Self { text, rulesets })
    }

    /// The text, byte for byte.
    pub fn bytes(&self) -> &[u8] {
        &self.text
    }

    /// The rulesets in it, at least one, in the order of the text.
    pub fn rulesets(&self) -> &[Ruleset] {
        &self.rulesets
    }

    /// The rulesets themselves; they go on sharing the text.
    pub fn into_rulesets(self) -> Vec<Ruleset> {
        self.rulesets
    }

    /// Remarks on the whole text, in the order of its lines.
    pub fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.rulesets.iter().flat_map(Ruleset::diagnostics)
    }
}

impl Ruleset {
    /// Read what one save tool printed. An empty text is an empty ruleset: iptables-nft-save prints
    /// nothing when there is nothing.
    pub fn parse(text: impl Into<Arc<[u8]>>, origin: Origin) -> Result<Self, ParseError> {
        let text = text.into();
        let hints = Hints {
            family: Some(origin.family),
            backend: Some(origin.backend),
        };
        let mut rulesets = Reader::new(&text, hints, false).read(&text)?;
        match rulesets.pop() {
            Some(ruleset) => Ok(ruleset),
            // `read` gives at least one.
            None => Err(ParseError::TooLarge { length: text.len() }),
        }
    }
}
