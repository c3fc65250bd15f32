//! The lines of a dump, and what each one is.
//!
//! A line ends at a newline, with one exception that matters for safety: iptables-save prints a newline
//! inside a comment or a log prefix raw, between the quotes. Taken line by line, the second half of such
//! a comment would read as a rule that nobody wrote. So a command line whose quoted value is still open
//! at its end runs on until the quote closes. To tell that from a quote that somebody forgot, the value
//! must follow an option (`--comment "…`), close within [`QUOTED_LIMIT`] bytes, and be followed by a
//! blank or a line end. What the save tool writes always passes: it escapes every quote within.
//!
//! Nothing here judges; a line that reads as nothing is [`Kind::Unknown`].

use super::Counters;
use super::detect::Header;
use super::diagnostic::Warning;
use super::model::Policy;
use super::spec::lexer::{Lexer, is_blank, unescaped_quote};

/// Longest quoted value that may run over a line end, in bytes as written. The kernel's longest text is
/// a comment of 255 bytes (`XT_MAX_COMMENT_LEN`), twice that when every byte is escaped.
const QUOTED_LIMIT: usize = 2048;

/// One line: where it is, and its text without the blanks around it.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    /// Number of its first line in the document, from 1.
    pub number: u32,
    /// Offset of the whole line, blanks included.
    pub from: usize,
    /// Offset of `body`.
    pub start: usize,
    /// The text without blanks and line end around it; holds newlines only inside quotes.
    pub body: &'a [u8],
    /// Ended by carriage return and newline.
    pub crlf: bool,
    /// Runs over more than one line of the file.
    pub runs_on: bool,
}

/// Walks over the lines of a text.
#[derive(Clone, Debug)]
pub(super) struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    number: u32,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            at: 0,
            number: 0,
        }
    }

    /// Lines from an offset on that is the start of a line; numbers count from there.
    pub(super) fn from(text: &'a [u8], at: usize) -> Self {
        Self {
            text,
            at,
            number: 0,
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let lead = rest
            .iter()
            .take_while(|b| is_blank(**b) && **b != b'\n')
            .count();
        let first_end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let start = lead.min(first_end);
        let end = match rest.get(start) {
            None | Some(b'#' | b':' | b'*') => first_end,
            Some(_) => logical_end(rest, start, first_end),
        };
        let whole = rest.get(start..end).unwrap_or_default();
        let body = whole.trim_ascii_end();
        let newlines_within = if end == first_end {
            0
        } else {
            memchr::memchr_iter(b'\n', whole).count()
        };
        let line = Line {
            number: self.number.saturating_add(1),
            from: self.at,
            start: self.at + start,
            body,
            crlf: rest.get(..end).is_some_and(|l| l.last() == Some(&b'\r')),
            runs_on: newlines_within > 0,
        };
        self.number = self
            .number
            .saturating_add(1)
            .saturating_add(u32::try_from(newlines_within).unwrap_or(u32::MAX));
        self.at += end + 1;
        Some(line)
    }
}

/// End of the command line that starts at `start`: the newline at `first_end`, or a later one when a
/// quoted value is open there.
fn logical_end(text: &[u8], start: usize, first_end: usize) -> usize {
    let mut from = start;
    let mut end = first_end;
    while let Some(open) = open_quote(text.get(from..end).unwrap_or_default()) {
        let Some(close) = closes(text, from + open) else {
            break;
        };
        from = close + 1;
        end = from
            + memchr::memchr(b'\n', text.get(from..).unwrap_or_default())
                .unwrap_or(text.len() - from);
    }
    end
}

/// Offset of a quote that opens the value of an option and is not closed in `line`.
pub(super) fn open_quote(line: &[u8]) -> Option<usize> {
    if neatly_quoted(line) {
        return None;
    }
    let mut after_option = false;
    for word in Lexer::new(line) {
        if !word.quoted && word.raw.first() == Some(&b'"') && after_option {
            return Some(word.start);
        }
        after_option = !word.quoted && word.raw.starts_with(b"--");
    }
    None
}

/// The common case, decided without reading words: every quote opens after a blank and closes before
/// one or at the end.
fn neatly_quoted(line: &[u8]) -> bool {
    let mut at = 0;
    while let Some(found) = line.get(at..).and_then(|rest| memchr::memchr(b'"', rest)) {
        let open = at + found;
        let opens_a_word = open == 0 || line.get(open - 1).is_some_and(|b| is_blank(*b));
        let Some(length) = unescaped_quote(line.get(open + 1..).unwrap_or_default()) else {
            return false;
        };
        let close = open + 1 + length;
        if !opens_a_word || line.get(close + 1).is_some_and(|b| !is_blank(*b)) {
            return false;
        }
        at = close + 1;
    }
    true
}

fn closes(text: &[u8], open: usize) -> Option<usize> {
    let limit = text.len().min(open + 1 + QUOTED_LIMIT);
    let close = open + 1 + unescaped_quote(text.get(open + 1..limit)?)?;
    text.get(close + 1)
        .is_none_or(|b| is_blank(*b))
        .then_some(close)
}

/// What a line is, by its first byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Blank,
    /// Any other comment.
    Comment,
    /// `# Generated by …`
    Header(Header),
    /// A comment in which the save tool warns.
    Warning(Warning),
    /// `*table`, and whether more stood on the line.
    Table {
        name: &'a [u8],
        extra: bool,
    },
    Commit,
    /// `:CHAIN POLICY [packets:bytes]`
    Chain(ChainLine<'a>),
    /// Begins like a command or a counter; [`super::command`] reads it.
    Command,
    /// Nothing that a dump holds.
    Unknown,
}

/// A `:CHAIN` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChainLine<'a> {
    pub name: &'a [u8],
    /// `None`: `-`, no policy stated.
    pub policy: Option<Policy>,
    pub counters: Option<Counters>,
    /// What is wrong with the line, which is read nevertheless: offset in the line, what was expected.
    pub complaint: Option<(usize, &'static str)>,
}

/// What the line is.
pub(super) fn classify<'a>(line: &Line<'a>) -> Kind<'a> {
    let body = line.body;
    match body.first() {
        None => Kind::Blank,
        Some(b'#') => comment(body),
        Some(b'*') => table(body),
        Some(b':') => chain(body).map_or(Kind::Unknown, Kind::Chain),
        Some(b'-' | b'[') => Kind::Command,
        Some(_) if body == b"COMMIT" => Kind::Commit,
        Some(_) => Kind::Unknown,
    }
}

fn comment<'a>(body: &[u8]) -> Kind<'a> {
    if let Some(header) = Header::recognise(body) {
        return Kind::Header(header);
    }
    Warning::recognise(body).map_or(Kind::Comment, Kind::Warning)
}

fn table(body: &[u8]) -> Kind<'_> {
    let mut words = Lexer::new(body.get(1..).unwrap_or_default());
    match words.bare() {
        Some(name) => Kind::Table {
            name: name.raw,
            extra: words.bare().is_some(),
        },
        None => Kind::Unknown,
    }
}

fn chain(body: &[u8]) -> Option<ChainLine<'_>> {
    let mut words = Lexer::new(body.get(1..)?);
    let name = words.bare()?.raw;
    let mut line = ChainLine {
        name,
        policy: None,
        counters: None,
        complaint: None,
    };
    let Some(policy) = words.bare() else {
        line.complaint = Some((
            body.len(),
            "a policy (ACCEPT, DROP or -) after the chain name",
        ));
        return Some(line);
    };
    line.policy = Policy::from_word(policy.raw);
    if line.policy.is_none() && policy.raw != b"-" {
        line.complaint = Some((1 + policy.start, "a policy: ACCEPT, DROP, QUEUE or -"));
    }
    let Some(counters) = words.bare() else {
        return Some(line);
    };
    line.counters = Counters::from_brackets(counters.raw).map(|(counters, _)| counters);
    if line.counters.is_none() {
        line.complaint = Some((1 + counters.start, "counters as [packets:bytes]"));
    } else if let Some(extra) = words.bare() {
        line.complaint = Some((1 + extra.start, "nothing after the counters"));
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(text: &[u8]) -> Vec<(u32, String)> {
        Lines::new(text)
            .map(|l| (l.number, String::from_utf8_lossy(l.body).into_owned()))
            .collect()
    }

    #[test]
    fn lines_are_trimmed_and_numbered() {
        let text = b"*filter\r\n\t-A INPUT  \n\nCOMMIT";
        let expected = [(1, "*filter"), (2, "-A INPUT"), (3, ""), (4, "COMMIT")];
        assert_eq!(bodies(text), expected.map(|(n, s)| (n, s.to_owned())));
        assert!(Lines::new(text).next().unwrap().crlf);
    }

    #[test]
    fn a_newline_in_a_quoted_value_forges_no_line() {
        let text =
            b"-A INPUT -m comment --comment \"new\nline -A INPUT -j ACCEPT\" -j DROP\nCOMMIT\n";
        let lines: Vec<_> = Lines::new(text).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].runs_on);
        assert_eq!((lines[1].number, lines[1].body), (3, &b"COMMIT"[..]));
    }

    #[test]
    fn two_values_may_run_on() {
        let text = b"-A X --comment \"a\nb\" --comment \"c\n\nd\"\n-A Y\n";
        assert_eq!(bodies(text).last().unwrap(), &(5, "-A Y".to_owned()));
    }

    #[test]
    fn a_forgotten_quote_swallows_nothing() {
        let text =
            b"-A X -m comment --comment \"oops -j DROP\n-A X -m comment --comment \"b\" -j DROP\n";
        assert_eq!(bodies(text).len(), 2);
        let text = b"-A X -j a\"b\n-A X -j c\"d\n";
        assert_eq!(bodies(text).len(), 2);
        let mut far = b"-A X --comment \"".to_vec();
        far.extend(vec![b'x'; QUOTED_LIMIT]);
        far.extend_from_slice(b"\n\"\n");
        assert_eq!(bodies(&far).len(), 2);
    }

    #[test]
    fn chain_lines() {
        let read = |text: &'static str| chain(text.as_bytes()).unwrap();
        let full = read(":INPUT DROP [18446744073709551615:2]");
        assert_eq!(full.policy, Some(Policy::Drop));
        assert_eq!(full.counters.unwrap().packets, u64::MAX);
        assert_eq!(full.complaint, None);
        assert_eq!(read(":a:b - [0:0]").name, b"a:b");
        assert_eq!(read(":INPUT DROP").complaint, None);
        assert_eq!(read(":INPUT").complaint.unwrap().0, 6);
        assert_eq!(read(":INPUT BLOCK [0:0]").complaint.unwrap().0, 7);
        assert_eq!(read(":INPUT DROP [0:0] extra").complaint.unwrap().0, 18);
        assert_eq!(read(":INPUT DROP [0;0]").complaint.unwrap().0, 12);
        assert_eq!(read(":\"a b\" - [0:0]").name, b"\"a");
        assert_eq!(chain(b": "), None);
    }
}
