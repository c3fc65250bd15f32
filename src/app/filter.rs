//! The filter that one types: words joined by "and", found anywhere in a line, capitals or not.
//!
//! It runs over the raw bytes of the rules, since a chain may have 100,000 of them and every key
//! should show its result in the next frame.

use regex::bytes::{Regex, RegexBuilder};

/// What was typed, and what it finds.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    text: String,
    words: Vec<Regex>,
}

impl Filter {
    /// A filter from what was typed. Every character stands for itself.
    pub fn new(text: &str) -> Self {
        let words = text
            .split_whitespace()
            .filter_map(|word| {
                RegexBuilder::new(&regex::escape(word))
                    .case_insensitive(true)
                    .build()
                    .ok()
            })
            .collect();
        Self {
            text: text.to_owned(),
            words,
        }
    }

    /// What was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Nothing is filtered out.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Every word is somewhere in `line`.
    pub fn accepts(&self, line: &[u8]) -> bool {
        self.words.iter().all(|word| word.is_match(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_joined_by_and_and_stand_for_themselves() {
        let filter = Filter::new("DROP 4.3 ");
        assert!(filter.accepts(b"-s 10.4.3.0/24 -j drop"));
        assert!(!filter.accepts(b"-s 10.4x3.0/24 -j DROP"), "a dot is a dot");
        assert!(!filter.accepts(b"-s 10.4.3.0/24 -j ACCEPT"));
        assert!(Filter::new("  ").is_empty());
        assert!(Filter::new("[(*").accepts(b"a [(* b"));
        assert!(Filter::new("x").accepts(b"\xffX\x1b"), "bytes of any kind");
    }
}
