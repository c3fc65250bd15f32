//! Words of a rule line.
//!
//! The quoting is iptables-restore's, not a shell's: only double quotes count, a backslash escapes
//! only between them, a closing quote ends the word, a single quote is a letter. Two things differ on
//! purpose, because a dump must be read even where its own tool would refuse it:
//!
//! - A quote inside a word opens a quoted part only if the same line closes it before a blank or the
//!   end (`--comment="a b"`). iptables-save never quotes chain and interface names, so `-j a"b` is the
//!   chain `a"b`, and [`Lexer::name`] takes such a name up to the next blank whatever is in it.
//! - An opening quote that nothing closes is a letter too: the word ends at the next blank.
//!
//! Words borrow the text; only a word with an escape in it is copied.

use std::borrow::Cow;

/// One word of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    /// What is meant: quotes and escapes resolved.
    pub text: Cow<'a, [u8]>,
    /// As it stands in the text, quotes and all.
    pub raw: &'a [u8],
    /// Written in quotes: never an option, even when it starts with `-`.
    pub quoted: bool,
    /// Offset of `raw` in what the lexer was given.
    pub start: usize,
}

impl Word<'_> {
    /// Offset just after the word.
    pub fn end(&self) -> usize {
        self.start + self.raw.len()
    }

    /// Unquoted and equal to `text`.
    pub(crate) fn is(&self, text: &[u8]) -> bool {
        !self.quoted && *self.text == *text
    }
}

/// Reads the words of a line from left to right.
#[derive(Clone, Debug)]
pub struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    /// Words of `text`, which is one rule line (quoted words may hold newlines).
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Offset where the next word is looked for.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Text that is not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next word as a chain or interface name: up to the next blank, quotes inside it are letters.
    /// A word that starts with a quote is read as any other.
    pub fn name(&mut self) -> Option<Word<'a>> {
        self.skip_blanks();
        if self.rest().first() == Some(&b'"') {
            return self.next();
        }
        self.bare()
    }

    /// The next word as the tool reads table and chain lines: up to the next blank, whatever is in it.
    pub(crate) fn bare(&mut self) -> Option<Word<'a>> {
        self.skip_blanks();
        let rest = self.rest();
        let raw = rest
            .get(..blank_position(rest))
            .filter(|raw| !raw.is_empty())?;
        let word = Word {
            text: Cow::Borrowed(raw),
            raw,
            quoted: false,
            start: self.at,
        };
        self.at += raw.len();
        Some(word)
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().iter().take_while(|b| is_blank(**b)).count();
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        self.skip_blanks();
        let rest = self.rest();
        if rest.is_empty() {
            return None;
        }
        let plain = blank_position(rest);
        let quote = memchr::memchr(b'"', rest.get(..plain).unwrap_or_default());
        let closed = quote.and_then(|open| Some((open, closing_quote(rest, open)?)));
        let (text, length, quoted) = match closed {
            Some((open, close)) => (
                unescape(
                    rest.get(..open).unwrap_or_default(),
                    rest.get(open + 1..close).unwrap_or_default(),
                ),
                close + 1,
                open == 0,
            ),
            None => (
                Cow::Borrowed(rest.get(..plain).unwrap_or_default()),
                plain,
                false,
            ),
        };
        let word = Word {
            text,
            raw: rest.get(..length).unwrap_or_default(),
            quoted,
            start: self.at,
        };
        self.at += length;
        Some(word)
    }
}

/// Between words.
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn blank_position(text: &[u8]) -> usize {
    text.iter().position(|b| is_blank(*b)).unwrap_or(text.len())
}

/// Where the quote opened at `open` closes. A quote that opens inside a word counts only if it closes
/// on its line and a blank or the end follows.
fn closing_quote(text: &[u8], open: usize) -> Option<usize> {
    let close = open + 1 + unescaped_quote(text.get(open + 1..)?)?;
    if open == 0 {
        return Some(close);
    }
    let one_line = memchr::memchr(b'\n', text.get(open..close)?).is_none();
    let ends_word = text.get(close + 1).is_none_or(|b| is_blank(*b));
    (one_line && ends_word).then_some(close)
}

/// Position of the first double quote that no backslash escapes.
pub(crate) fn unescaped_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let found = at + memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(found) == Some(&b'"') {
            return Some(found);
        }
        at = found + 2;
    }
}

fn unescape<'a>(before: &'a [u8], quoted: &'a [u8]) -> Cow<'a, [u8]> {
    if before.is_empty() && memchr::memchr(b'\\', quoted).is_none() {
        return Cow::Borrowed(quoted);
    }
    let mut text = before.to_vec();
    let mut escaped = false;
    for &byte in quoted {
        if byte == b'\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            text.push(byte);
        }
    }
    Cow::Owned(text)
}

/// Write one word so that it reads back as `text`, quoted as iptables-save quotes: when a byte is
/// outside `[A-Za-z0-9_-]` or there is none, with `"`, `\` and `'` escaped.
pub fn write_quoted(out: &mut Vec<u8>, text: &[u8]) {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if !text.is_empty() && text.iter().all(plain) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for &byte in text {
        if matches!(byte, b'"' | b'\\' | b'\'') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        Lexer::new(text.as_bytes())
            .map(|w| String::from_utf8_lossy(&w.text).into_owned())
            .collect()
    }

    #[test]
    fn words_are_split_as_the_restore_tool_splits_them() {
        let cases: [(&str, &[&str]); 12] = [
            ("", &[]),
            ("  \t ", &[]),
            ("-A  INPUT\t-j ACCEPT ", &["-A", "INPUT", "-j", "ACCEPT"]),
            (
                r#"--comment "two words" -j X"#,
                &["--comment", "two words", "-j", "X"],
            ),
            (
                r#""q\"uote" "back\\slash" "it\'s""#,
                &["q\"uote", "back\\slash", "it's"],
            ),
            (r#""" x"#, &["", "x"]),
            (r#"--comment="a b" -j X"#, &["--comment=a b", "-j", "X"]),
            (r"a\\b it's", &[r"a\\b", "it's"]),
            (r#""closed"then"#, &["closed", "then"]),
            (r#"-j a"b -c"#, &["-j", "a\"b", "-c"]),
            (r#""never closed"#, &["\"never", "closed"]),
            ("\"new\nline\" x", &["new\nline", "x"]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text), expected, "{text:?}");
        }
    }

    #[test]
    fn names_keep_their_quotes() {
        let mut lexer = Lexer::new(br#"a"b"c d"#);
        assert_eq!(lexer.name().unwrap().raw, br#"a"b"c"#);
        assert_eq!(lexer.name().unwrap().raw, b"d");
        assert_eq!(lexer.name(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_split_without_loss(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut at = 0;
            for word in Lexer::new(&text) {
                prop_assert!(!word.raw.is_empty());
                prop_assert!(text[at..word.start].iter().all(|b| is_blank(*b)));
                prop_assert_eq!(&text[word.start..word.end()], word.raw);
                at = word.end();
            }
            prop_assert!(text[at..].iter().all(|b| is_blank(*b)));
        }

        #[test]
        fn a_quoted_word_reads_back(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut line = Vec::new();
            write_quoted(&mut line, &text);
            let read: Vec<_> = Lexer::new(&line).collect();
            prop_assert_eq!(read.len(), 1);
            prop_assert_eq!(&*read[0].text, &*text);
        }
    }
}
