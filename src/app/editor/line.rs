//! A line of text with a cursor in it.
//!
//! The cursor stands between characters, accents with the letter that they sit on. What is typed is kept as
//! it is: control characters never come this far, since keys that type none and pasted text are cleaned
//! where they come in.

/// A line being typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextLine {
    text: String,
    /// In bytes of the text, at the edge of a character.
    at: usize,
}

/// Nothing that a person types is longer; a paste of a whole file is cut.
pub const LONGEST: usize = 8_192;

impl TextLine {
    /// A text with the cursor at its end.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            at: text.len(),
            text,
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The cursor, in bytes of the text.
    pub fn cursor(&self) -> usize {
        self.at
    }

    /// What stands before the cursor, and what behind.
    pub fn halves(&self) -> (&str, &str) {
        self.text
            .split_at_checked(self.at)
            .unwrap_or((&self.text, ""))
    }

    /// Another text; the cursor stays where it was as far as it can.
    pub fn set(&mut self, text: impl Into<String>) {
        self.text = text.into();
        self.go(self.at);
    }

    /// Moves the cursor to the edge of a character at or before that byte.
    pub fn go(&mut self, to: usize) {
        let mut at = to.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        self.at = at;
    }

    /// Puts text in at the cursor, which moves behind it.
    pub fn insert(&mut self, typed: &str) {
        let room = LONGEST.saturating_sub(self.text.len());
        let mut length = typed.len().min(room);
        while !typed.is_char_boundary(length) {
            length -= 1;
        }
        let typed = typed.get(..length).unwrap_or_default();
        self.text.insert_str(self.at, typed);
        self.at += typed.len();
    }

    /// Puts text in the place of a part of it, the cursor behind it.
    pub fn replace(&mut self, range: std::ops::Range<usize>, with: &str) {
        if self.text.get(range.clone()).is_some() {
            self.text.replace_range(range.clone(), with);
            self.at = range.start + with.len();
        }
    }

    /// One character to the left.
    pub fn left(&mut self) {
        self.at = self.before(1);
    }

    /// One character to the right.
    pub fn right(&mut self) {
        self.at = self.after();
    }

    /// To the start.
    pub fn home(&mut self) {
        self.at = 0;
    }

    /// To the end.
    pub fn end(&mut self) {
        self.at = self.text.len();
    }

    /// The character before the cursor away.
    pub fn erase(&mut self) {
        let from = self.before(1);
        self.cut(from, self.at);
    }

    /// The character under the cursor away.
    pub fn delete(&mut self) {
        let to = self.after();
        self.cut(self.at, to);
    }

    /// The word before the cursor away, and the blanks behind it.
    pub fn erase_word(&mut self) {
        let (before, _) = self.halves();
        let word = before.trim_end();
        let from = word
            .char_indices()
            .rev()
            .find(|(_, c)| c.is_whitespace())
            .map_or(0, |(at, c)| at + c.len_utf8());
        self.cut(from, self.at);
    }

    /// Everything before the cursor away; at the start, everything.
    pub fn erase_line(&mut self) {
        let to = if self.at == 0 {
            self.text.len()
        } else {
            self.at
        };
        self.cut(0, to);
    }

    fn cut(&mut self, from: usize, to: usize) {
        if from < to && self.text.get(from..to).is_some() {
            self.text.replace_range(from..to, "");
            self.at = from;
        }
    }

    fn before(&self, count: usize) -> usize {
        let (before, _) = self.halves();
        let mut letters = before
            .char_indices()
            .rev()
            .filter(|(_, c)| !sits_on_a_letter(*c));
        letters.nth(count - 1).map_or(0, |(at, _)| at)
    }

    fn after(&self) -> usize {
        let (_, after) = self.halves();
        let mut letters = after.char_indices().skip(1);
        let next = letters.find(|(_, c)| !sits_on_a_letter(*c));
        next.map_or(self.text.len(), |(at, _)| self.at + at)
    }
}

/// Combining diacritical marks (Unicode, chapter 7.9).
fn sits_on_a_letter(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str, change: impl FnOnce(&mut TextLine)) -> String {
        let at = text.find('|').unwrap();
        let mut line = TextLine::new(text.replace('|', ""));
        line.go(at);
        change(&mut line);
        let (before, after) = line.halves();
        format!("{before}|{after}")
    }

    #[test]
    fn the_cursor_moves_by_letters() {
        assert_eq!(after("ab|c", TextLine::left), "a|bc");
        assert_eq!(after("|abc", TextLine::left), "|abc");
        assert_eq!(after("ab|é", TextLine::right), "abé|");
        assert_eq!(after("|e\u{301}x", TextLine::right), "e\u{301}|x");
        assert_eq!(after("e\u{301}|x", TextLine::erase), "|x");
        assert_eq!(after("a|e\u{301}x", TextLine::delete), "a|x");
        assert_eq!(after("a|bc", TextLine::end), "abc|");
        assert_eq!(after("a|bc", TextLine::home), "|abc");
    }

    #[test]
    fn words_and_lines_go_at_once() {
        assert_eq!(after("-p tcp  |x", TextLine::erase_word), "-p |x");
        assert_eq!(after("tcp|", TextLine::erase_word), "|");
        assert_eq!(after("ab|c", TextLine::erase_line), "|c");
        assert_eq!(after("|abc", TextLine::erase_line), "|");
        assert_eq!(after("a|c", |line| line.insert("bé")), "abé|c");
        assert_eq!(after("abc|", |line| line.replace(0..2, "x")), "x|c");
        let mut long = TextLine::default();
        long.insert(&"é".repeat(LONGEST));
        assert_eq!(long.text().len(), LONGEST);
    }
}
