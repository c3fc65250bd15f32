//! Splits a text into rulesets and hands their lines on.
//!
//! A header that names another family or back end begins the next ruleset; so does a table that stands
//! again under a header of its own (two dumps of one firewall, one after the other), and, where there are
//! no headers, a table whose rules hold what only the other family has.

use std::sync::Arc;

use super::Family;
use super::build::{About, Builder};
use super::command;
use super::detect::{Evidence, Header, Tables, family_of_rules};
use super::diagnostic::{Diagnostic, ParseError, Severity, Warning};
use super::document::Hints;
use super::line::{Kind, Line, Lines, classify, open_quote};
use super::model::{Ruleset, is_hooked};

/// The UTF-8 byte order mark that some editors put first.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How other things that firewalls are written in begin, and what to do about it.
const LOOKALIKES: &[(&[u8], &str)] = &[
    (
        b"Chain ",
        "this looks like a listing of `iptables -L`: save the rules with `iptables-save -c` instead",
    ),
    (
        b"table ",
        "this looks like `nft list ruleset`: save the rules with `iptables-save -c` instead",
    ),
    (
        b"{",
        "this looks like JSON: save the rules with `iptables-save -c` instead",
    ),
    (
        b"iptables ",
        "this looks like a script: run it, then save the rules with `iptables-save -c`",
    ),
    (
        b"ip6tables ",
        "this looks like a script: run it, then save the rules with `ip6tables-save -c`",
    ),
];
const ADVICE: &str = "give a file written by iptables-save or ip6tables-save";

/// Reads one text.
pub(super) struct Reader<'a> {
    text: &'a [u8],
    hints: Hints,
    /// More than one ruleset may stand in the text.
    split: bool,
    current: Builder<'a>,
    /// Family that the rules of `current` tell, where no header does.
    content: Option<Family>,
    done: Vec<(Builder<'a>, Option<Family>)>,
    /// A header not yet followed by a table or anything else, and where the text under it begins.
    fresh: Option<(Header, usize)>,
    /// Offset of a warning that the next dump may have printed before its header.
    warned_at: Option<(usize, Warning)>,
    understood: bool,
    first_odd: Option<Line<'a>>,
    crlf_said: bool,
    /// What the rules tell, worked out at the first table without a header.
    tables: Option<Tables>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8], hints: Hints, split: bool) -> Self {
        Self {
            text,
            hints,
            split,
            current: Builder::new(text, 0),
            content: None,
            done: Vec::new(),
            fresh: None,
            warned_at: None,
            understood: false,
            first_odd: None,
            crlf_said: false,
            tables: None,
        }
    }

    pub(super) fn read(mut self, shared: &Arc<[u8]>) -> Result<Vec<Ruleset>, ParseError> {
        if u32::try_from(self.text.len()).is_err() {
            return Err(ParseError::TooLarge {
                length: self.text.len(),
            });
        }
        let skip = if self.text.starts_with(BYTE_ORDER_MARK) {
            BYTE_ORDER_MARK.len()
        } else {
            0
        };
        let mut last = None;
        for line in Lines::from(self.text, skip) {
            self.line(&line)?;
            last = Some(line);
        }
        if let Some(line) = self.first_odd.take().filter(|_| !self.understood) {
            return Err(not_a_dump(&line));
        }
        if let Some(line) = last {
            self.end(&line);
        }
        Ok(self.finish(shared))
    }

    fn line(&mut self, line: &Line<'a>) -> Result<(), ParseError> {
        let kind = classify(line);
        if line.crlf && !self.crlf_said {
            self.crlf_said = true;
            self.current.remark(
                Severity::Note,
                line,
                line.body.len(),
                "lines that end in LF: iptables-restore refuses CRLF",
            );
        }
        match kind {
            Kind::Blank | Kind::Comment => {}
            Kind::Header(header) => self.header(line, header)?,
            Kind::Warning(warning) => self.warning(line, warning),
            Kind::Table { name, extra } => self.table(line, name, extra),
            Kind::Commit => {
                self.settled();
                self.understood = true;
                self.current.commit(line);
            }
            Kind::Chain(chain) => {
                self.settled();
                self.understood |= self.current.is_inside_table();
                self.first_odd.get_or_insert_with(|| line.clone());
                self.current.chain_line(line, &chain);
            }
            Kind::Command => self.command(line),
            Kind::Unknown => self.odd(
                line,
                0,
                "a '*table', ':CHAIN' or COMMIT line, a rule or a '#' comment",
            ),
        }
        Ok(())
    }

    fn odd(&mut self, line: &Line<'a>, at: usize, expected: &'static str) {
        self.first_odd.get_or_insert_with(|| line.clone());
        self.current.remark(Severity::Error, line, at, expected);
    }

    fn header(&mut self, line: &Line<'a>, header: Header) -> Result<(), ParseError> {
        if header.is_of_another_tool() {
            return Err(ParseError::OtherProgram {
                line: line.number,
                program: header.program,
            });
        }
        self.understood = true;
        let from = self.warned_at.as_ref().map_or(line.from, |(at, _)| *at);
        if self.is_of_another_ruleset(&header) {
            self.begin(from);
        }
        self.settle_warning();
        self.current.header.get_or_insert_with(|| header.clone());
        self.fresh = Some((header, from));
        Ok(())
    }

    fn is_of_another_ruleset(&self, header: &Header) -> bool {
        let current = self.current.header.as_ref();
        let family = current.map_or(self.content, Header::family);
        let backend = current.and_then(Header::backend);
        let differ = |one: Option<Family>, other| one.is_some() && other != one;
        self.split
            && !self.current.is_untouched()
            && ((self.hints.family.is_none()
                && family.is_some()
                && differ(header.family(), family))
                || (self.hints.backend.is_none()
                    && current.is_some()
                    && header.backend() != backend))
    }

    fn warning(&mut self, line: &Line<'a>, warning: Warning) {
        self.understood = true;
        // Printed before the header of its dump, all others after a table of it.
        if warning == Warning::LegacyTablesPresent && !self.current.is_inside_table() {
            self.settle_warning();
            self.warned_at = Some((line.from, warning));
        } else {
            self.current.warn(warning);
        }
    }

    /// What stood above belongs to the ruleset that is read now: the next one begins further down.
    fn settled(&mut self) {
        self.fresh = None;
        self.settle_warning();
    }

    /// A warning that waited for a header belongs to what is read now.
    fn settle_warning(&mut self) {
        if let Some((_, warning)) = self.warned_at.take() {
            self.current.warn(warning);
        }
    }

    fn table(&mut self, line: &Line<'a>, name: &'a [u8], extra: bool) {
        if extra {
            self.odd(line, 0, "only a table name after '*'");
            return;
        }
        // Any other line that starts with '*' may be a list in somebody's notes.
        self.understood |= is_hooked(name, b"").is_some();
        self.first_odd.get_or_insert_with(|| line.clone());
        if self.split {
            self.split_before_table(line, name);
        }
        self.settled();
        self.current.open_table(line, name);
    }

    fn split_before_table(&mut self, line: &Line<'a>, name: &[u8]) {
        let again = self.current.has_table(name);
        if let Some((header, from)) = self.fresh.clone() {
            if again {
                self.begin(from);
                self.current.header = Some(header);
            }
            return;
        }
        if self.hints.family.is_some() {
            return;
        }
        let text = self.text;
        let tables = self.tables.get_or_insert_with(|| Tables::of(text));
        // The first table of a second dump may have nothing that tells; what follows may.
        let family = tables.family(line.from, again);
        let current = self
            .current
            .header
            .as_ref()
            .and_then(Header::family)
            .or(self.content);
        if family.is_some() && current.is_some() && family != current && self.current.has_tables() {
            let from = self.warned_at.as_ref().map_or(line.from, |(at, _)| *at);
            self.begin(from);
        }
        self.content = self.content.or(family);
    }

    /// Begin the next ruleset at that offset.
    fn begin(&mut self, from: usize) {
        let next = Builder::new(self.text, from);
        let before = std::mem::replace(&mut self.current, next);
        self.done.push((before, self.content.take()));
    }

    fn command(&mut self, line: &Line<'a>) {
        match command::read(line.body) {
            Ok(said) => {
                self.settled();
                self.understood |= said.command != command::Command::Query;
                self.first_odd.get_or_insert_with(|| line.clone());
                if line.runs_on {
                    self.current.remark(
                        Severity::Warning,
                        line,
                        0,
                        "no newline inside quotes: iptables-restore would read two lines",
                    );
                }
                if let Some(at) = open_quote(line.body) {
                    self.current
                        .remark(Severity::Error, line, at, "a quote that closes this one");
                }
                self.current.command(line, &said);
            }
            Err(refusal) => self.odd(line, refusal.at, refusal.expected),
        }
    }

    fn end(&mut self, last: &Line<'a>) {
        self.settle_warning();
        if self.current.is_inside_table() {
            self.current.remark(
                Severity::Warning,
                last,
                last.body.len(),
                "COMMIT at the end of the table: iptables-restore loads nothing without it",
            );
        }
        if self.text.last() != Some(&b'\n') {
            self.current.remark(
                Severity::Note,
                last,
                last.body.len(),
                "a newline at the end of the last line: legacy iptables-restore refuses the file",
            );
        }
    }

    fn finish(mut self, shared: &Arc<[u8]>) -> Vec<Ruleset> {
        self.done.push((self.current, self.content));
        let ends: Vec<usize> = self
            .done
            .iter()
            .skip(1)
            .map(|(builder, _)| builder.from)
            .chain([self.text.len()])
            .collect();
        let hints = self.hints;
        self.done
            .into_iter()
            .zip(ends)
            .map(|((builder, content), to)| {
                let about = about(&builder, content, hints, self.text.get(builder.from..to));
                builder.finish(shared, to, about)
            })
            .collect()
    }
}

fn about(
    builder: &Builder<'_>,
    content: Option<Family>,
    hints: Hints,
    text: Option<&[u8]>,
) -> About {
    let header = builder.header.as_ref();
    let stated = header.and_then(Header::family);
    let (family, evidence) = match (hints.family, stated) {
        (Some(family), _) => (family, Evidence::Hint),
        (None, Some(family)) => (family, Evidence::Header),
        (None, None) => content
            .or_else(|| family_of_rules(text.unwrap_or_default()))
            .map_or((Family::V4, Evidence::Assumed), |family| {
                (family, Evidence::Content)
            }),
    };
    About {
        family,
        evidence,
        backend: hints.backend.or_else(|| header.and_then(Header::backend)),
    }
}

fn not_a_dump(line: &Line<'_>) -> ParseError {
    let body = line.body;
    let advice = LOOKALIKES
        .iter()
        .find(|(start, _)| body.starts_with(start))
        .map_or(ADVICE, |(_, advice)| advice);
    ParseError::NotADump {
        line: line.number,
        column: u32::try_from(line.start - line.from + 1).unwrap_or(u32::MAX),
        text: body.get(..Diagnostic::TEXT_LIMIT).unwrap_or(body).into(),
        advice,
    }
}
