//! The open list of candidates, of the rule editor and of a template's fields alike: it opens when there is
//! something to choose, goes round, and puts what is chosen in the place of what was typed of it.

use super::line::TextLine;
use crate::edit::form::complete::Completion;

/// The candidates that are shown; never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// What they are and what they replace.
    pub completion: Completion,
    /// The chosen one.
    pub at: usize,
}

impl List {
    /// What is offered in that line, if anything is. What stands there already, and nothing else, is no offer.
    pub fn open(completion: Completion, line: &TextLine) -> Option<Self> {
        let there = line.text().get(completion.range.clone());
        let mut candidates = completion.candidates.iter();
        let has_news = candidates.any(|one| Some(one.text.as_str()) != there);
        has_news.then_some(Self { completion, at: 0 })
    }

    /// There is nothing to choose between.
    pub fn is_single(&self) -> bool {
        self.completion.candidates.len() == 1
    }

    /// The next one or the one before; behind the last comes the first.
    pub fn step(&mut self, forward: bool) {
        let count = self.completion.candidates.len().max(1);
        let step = if forward { 1 } else { count - 1 };
        self.at = (self.at + step) % count;
    }

    /// The chosen candidate takes the place of what was typed of it.
    pub fn put(self, line: &mut TextLine) {
        if let Some(chosen) = self.completion.candidates.get(self.at) {
            line.replace(self.completion.range, &chosen.text);
        }
    }
}
