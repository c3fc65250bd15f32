//! An explanation for a person: the path by hook and chain, the deciding rule, what the client sees.

use std::fmt::Write as _;

use crate::flow::Hook;
use crate::ruleset::{Policy, Ruleset};
use crate::ui::words::clean_str;
use crate::verdict::Probe;
use crate::verdict::{
    Answer, Cause, Decider, Explanation, Grade, Other, Place, Step, Verdict, Words, connection_seen,
};

/// Writes it.
pub fn show(out: &mut Vec<u8>, page: &Page<'_>) {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = page.write(&mut text);
    out.extend_from_slice(text.as_bytes());
}

/// What is said of one packet.
pub struct Page<'a> {
    /// The packet.
    pub probe: &'a Probe,
    /// What the rules say of it.
    pub explanation: &'a Explanation,
    /// Those that were compiled.
    pub rulesets: &'a [&'a Ruleset],
    /// The other packets of its connection.
    pub others: &'a [Other],
    /// What stops these, or that nothing does.
    pub connection: &'a [Cause],
    /// What of the box may be the cause.
    pub causes: &'a [Cause],
}

impl Page<'_> {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let certain = if self.explanation.verdict == Verdict::Unknown {
            "depends"
        } else {
            "certain"
        };
        let verdict = self.explanation.verdict.name().to_ascii_uppercase();
        writeln!(out, "why  {}   verdict {verdict}  {certain}", self.packet())?;
        self.path(out)?;
        if let Some(by) = self.explanation.by {
            writeln!(out, "  decided by   {}", self.decider(by))?;
        }
        for way in self
            .explanation
            .possible
            .iter()
            .filter(|_| self.explanation.possible.len() > 1)
        {
            let by = way
                .by
                .map_or_else(|| "no chain in the way".to_owned(), |by| self.decider(by));
            writeln!(out, "  possible     {} by {by}", way.verdict.name())?;
        }
        for why in &self.explanation.unknown {
            writeln!(out, "  depends on   {}", clean_str(why))?;
        }
        if let Some(place) = self.explanation.would_accept {
            writeln!(
                out,
                "  would accept {}",
                self.decider(Decider::Place(place))
            )?;
        }
        for (word, end) in [
            ("dst", &self.explanation.dst),
            ("src", &self.explanation.src),
        ] {
            if let Some(end) = end {
                let address = end
                    .address
                    .map_or_else(|| "?".to_owned(), |address| address.to_string());
                let port = end
                    .port
                    .map_or_else(String::new, |port| format!(" port {port}"));
                writeln!(out, "  nat          {word} becomes {address}{port}")?;
            }
        }
        causes(out, "connection", self.connection)?;
        let seen = self.explanation.client_sees(self.probe);
        let passes = self.explanation.verdict == Verdict::Accept;
        let later = || connection_seen(self.others).filter(|_| passes);
        if let Some(sees) = seen.or_else(later) {
            writeln!(out, "  client sees  {sees}")?;
        }
        causes(out, "box", self.causes)
    }

    /// The packet in the words that it may be asked with.
    fn packet(&self) -> String {
        clean_str(&Words(self.probe).to_string()).into_owned()
    }

    /// One block a chain that was entered, in the order of the path.
    fn path(&self, out: &mut String) -> std::fmt::Result {
        let mut last: Option<(Hook, Place)> = None;
        for step in &self.explanation.path {
            let same = last.is_some_and(|(hook, place)| {
                hook == step.hook
                    && (place.ruleset, place.chain) == (step.place.ruleset, step.place.chain)
            });
            if !same {
                let Some(ruleset) = self.rulesets.get(step.place.ruleset) else {
                    continue;
                };
                let chain = ruleset.chain(step.place.chain);
                let backend = match ruleset.backend() {
                    Some(backend) if self.rulesets.len() > 1 => format!("  ({})", backend.name()),
                    _ => String::new(),
                };
                let table = ruleset.table(chain.table()).name();
                writeln!(
                    out,
                    "  {:<9} {}{backend}",
                    clean_str(table),
                    clean_str(chain.name())
                )?;
            }
            self.step(out, step)?;
            last = Some((step.hook, step.place));
        }
        Ok(())
    }

    fn step(&self, out: &mut String, step: &Step) -> std::fmt::Result {
        let Some(ruleset) = self.rulesets.get(step.place.ruleset) else {
            return Ok(());
        };
        let decides = self.explanation.by == Some(Decider::Place(step.place));
        let mark = if decides { "   <- decides" } else { "" };
        let Some(rule) = step.place.rule else {
            let policy = ruleset
                .chain(step.place.chain)
                .policy()
                .map_or("not stated", Policy::name);
            return writeln!(out, "        policy {policy}{mark}");
        };
        let cells = ruleset.cells(rule);
        let why = clean_str(&step.why);
        let number = ruleset.number(rule);
        let target = if cells.target.is_empty() {
            "-".into()
        } else {
            clean_str(&cells.target)
        };
        match step.answer {
            Answer::No => writeln!(out, "    {number:>4}  no ({why})"),
            Answer::Unknown => writeln!(out, "    {number:>4}  ?  {target}  depends on {why}"),
            Answer::Match => {
                let spec = String::from_utf8_lossy(ruleset.spec(rule));
                writeln!(out, "    {number:>4}  {target}  {}{mark}", clean_str(&spec))
            }
        }
    }

    fn decider(&self, by: Decider) -> String {
        clean_str(&self.explanation.decider(by, self.rulesets)).into_owned()
    }
}

/// Causes, the heaviest first; what is fine on one line at the end.
fn causes(out: &mut String, label: &str, causes: &[Cause]) -> std::fmt::Result {
    let mut fine = Vec::new();
    for cause in causes {
        let (says, evidence) = (clean_str(&cause.says), clean_str(&cause.evidence));
        let mark = match cause.grade {
            Grade::Fine => {
                fine.push(says);
                continue;
            }
            Grade::Note => "note",
            Grade::Doubt => "may block",
            Grade::Blocks => "BLOCKS",
        };
        writeln!(out, "  {label:<12} {mark}: {says} ({evidence})")?;
    }
    if !fine.is_empty() {
        writeln!(out, "  {label:<12} fine: {}", fine.join(", "))?;
    }
    Ok(())
}
