//! Text that is changed in pieces: every place is given in the text as it was, and the changes are made
//! together.

use std::ops::Range;

/// Changes to one text.
#[derive(Debug)]
pub(super) struct Splice<'a> {
    text: &'a [u8],
    /// Sorted at the end; they do not overlap.
    changes: Vec<(Range<usize>, Vec<u8>)>,
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

impl<'a> Splice<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            changes: Vec::new(),
        }
    }

    /// Put other words in the place of these.
    pub(super) fn replace(&mut self, range: Range<usize>, with: &[u8]) {
        self.changes.push((range, with.to_vec()));
    }

    /// Take words away, with the blanks before them; at the start of the text, those after them.
    pub(super) fn remove(&mut self, range: Range<usize>) {
        let blanks_before = self
            .text
            .get(..range.start)
            .unwrap_or_default()
            .iter()
            .rev()
            .take_while(|b| is_blank(**b))
            .count();
        let mut range = range.start - blanks_before..range.end;
        if range.start == 0 {
            let after = self.text.get(range.end..).unwrap_or_default();
            range.end += after.iter().take_while(|b| is_blank(**b)).count();
        }
        // Of two neighbours that both go, the blanks between them go with one.
        if let Some(before) = self
            .changes
            .iter()
            .filter(|change| change.1.is_empty())
            .map(|change| change.0.end)
            .find(|end| range.contains(end))
        {
            range.start = before;
        }
        self.changes.push((range, Vec::new()));
    }

    /// Add words behind what ends at `at`.
    pub(super) fn insert_after(&mut self, at: usize, words: &[u8]) {
        let mut with = Vec::with_capacity(words.len() + 1);
        if at > 0 {
            with.push(b' ');
        }
        with.extend_from_slice(words);
        if at == 0 && !self.text.is_empty() {
            with.push(b' ');
        }
        self.changes.push((at..at, with));
    }

    /// Add words before what starts at `at`.
    pub(super) fn insert_before(&mut self, at: usize, words: &[u8]) {
        let mut with = words.to_vec();
        with.push(b' ');
        self.changes.push((at..at, with));
    }

    /// The changed text.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.changes
            .sort_by_key(|(range, _)| (range.start, range.end));
        let mut out = Vec::with_capacity(self.text.len() + 40);
        let mut done = 0;
        for (range, with) in &self.changes {
            let from = range.start.max(done);
            out.extend_from_slice(self.text.get(done..from).unwrap_or_default());
            // Where everything before was taken away there is nothing to be parted from.
            let with = if out.is_empty() {
                skip_blanks(with)
            } else {
                with
            };
            out.extend_from_slice(with);
            done = range.end.max(done);
        }
        let rest = self.text.get(done..).unwrap_or_default();
        out.extend_from_slice(if out.is_empty() && !self.changes.is_empty() {
            skip_blanks(rest)
        } else {
            rest
        });
        out
    }
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|b| is_blank(**b)).count();
    text.get(blanks..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str, change: impl FnOnce(&mut Splice<'_>)) -> String {
        let mut splice = Splice::new(text.as_bytes());
        change(&mut splice);
        String::from_utf8(splice.finish()).unwrap()
    }

    #[test]
    fn blanks_go_with_the_words_that_they_part() {
        assert_eq!(changed("a b c", |s| s.remove(2..3)), "a c");
        assert_eq!(changed("a  b", |s| s.remove(0..1)), "b");
        assert_eq!(changed("a b", |s| s.remove(2..3)), "a");
        assert_eq!(
            changed("a b c", |s| {
                s.remove(0..1);
                s.remove(2..3);
            }),
            "c"
        );
        assert_eq!(changed("a b", |s| s.insert_after(1, b"x")), "a x b");
        assert_eq!(changed("a b", |s| s.insert_after(0, b"x")), "x a b");
        assert_eq!(changed("", |s| s.insert_after(0, b"x")), "x");
        assert_eq!(changed("a b", |s| s.insert_before(2, b"x")), "a x b");
        assert_eq!(
            changed("a b", |s| {
                s.remove(0..1);
                s.insert_after(3, b"x");
            }),
            "b x"
        );
        assert_eq!(
            changed("a", |s| {
                s.remove(0..1);
                s.insert_after(1, b"x");
            }),
            "x"
        );
    }
}
