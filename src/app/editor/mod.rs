//! The rule editor's state: a form and a line, what is wrong, what it does in words, and how far the rule
//! is on its way to being staged.
//!
//! The text of the rule is the state; the form is read from it after each key. While a field has the
//! focus its changes are made to the text as it was when the focus came (`base`), so that what a field
//! loses on the way from `LOG` to `NFLOG` comes back with the letters.
//!
//! A rule is staged in steps, each of which can say no: nothing in it that the kernel refuses for certain;
//! host names resolved to addresses, which are shown, since those are what the kernel keeps; the back end's
//! own verdict on the whole rule, which also gives the text as it would be saved. An answer that comes for
//! a text which has changed since is not heard.
//!
//! - `line`: a line with a cursor. `list`: the candidates below it. `keys`: what each action does.

mod keys;
pub mod line;
mod list;
mod submit;

use std::sync::Arc;

use crate::app::firewall::FirewallId;
use crate::edit::form::check::{Problem, check};
use crate::edit::form::complete::Names;
use crate::edit::form::{self, Field, Form, Site, sentence, text};
use crate::edit::{RowId, Spot, Stage};
use crate::ruleset::Severity;

pub use keys::{Outcome, ROWS};
use line::TextLine;
pub use list::List;
pub use submit::{Host, HostState, Verdict};

/// What becomes of the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A new rule.
    Insert(Spot),
    /// Another text for this one.
    Replace(RowId),
}

/// Which of the two views has the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The fields.
    Form,
    /// The raw line.
    Raw,
}

/// A rule that is ready to be staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Of which ruleset.
    pub id: FirewallId,
    /// What becomes of it.
    pub purpose: Purpose,
    /// Its text, as the back end prints it where it was asked; several where it lists addresses. Never
    /// none.
    pub specs: Vec<Vec<u8>>,
}

/// The open editor.
#[derive(Clone, Debug)]
pub struct Editor {
    /// Of which ruleset.
    pub id: FirewallId,
    /// What becomes of the rule.
    pub purpose: Purpose,
    /// `insert before rule 4`, for the title.
    pub doing: String,
    /// `v4 filter INPUT`, for the title.
    pub place: String,
    /// Where the rule is to stand.
    pub site: Arc<Site>,
    /// Which view has the keys.
    pub view: View,
    /// The raw line.
    pub raw: TextLine,
    /// The field that has the focus in the form.
    pub field: Field,
    /// What is typed in it.
    pub input: TextLine,
    /// The form of the raw line.
    pub form: Form,
    /// What is wrong with the rule.
    pub problems: Vec<Problem>,
    /// What the rule does.
    pub sentence: String,
    /// The open list of candidates.
    pub list: Option<List>,
    /// Host names of the rule, and what they stand for.
    pub hosts: Vec<Host>,
    /// How far the back end's verdict is.
    pub verdict: Verdict,
    /// Names of this machine.
    names: Arc<Names>,
    /// The rule as it was when the field got the focus.
    base: Vec<u8>,
    /// The text that the editor was opened with.
    opened_with: String,
    /// The back end can be asked.
    can_ask: bool,
    stage: Stage,
}

/// What an editor is opened for.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Of which ruleset.
    pub id: FirewallId,
    /// What becomes of the rule.
    pub purpose: Purpose,
    /// For the title.
    pub doing: String,
    /// For the title.
    pub place: String,
    /// Where the rule is to stand.
    pub site: Site,
    /// The rule to begin with; empty for a new one.
    pub spec: Vec<u8>,
    /// Names of this machine.
    pub names: Arc<Names>,
    /// The back end can be asked about the rule; it cannot for a saved dump.
    pub can_ask: bool,
    /// What is staged. The rows of the purpose are its rows, whatever becomes of the ruleset meanwhile.
    pub stage: Stage,
}

impl Editor {
    /// An editor on a rule, the first field in focus.
    pub fn open(opening: Opening) -> Self {
        let Opening {
            id,
            purpose,
            doing,
            place,
            site,
            spec,
            names,
            can_ask,
            stage,
        } = opening;
        let raw = TextLine::new(text::from_bytes(&spec));
        let mut editor = Self {
            id,
            purpose,
            doing,
            place,
            site: Arc::new(site),
            view: View::Form,
            opened_with: raw.text().to_owned(),
            raw,
            field: Field::Target,
            input: TextLine::default(),
            form: Form::default(),
            problems: Vec::new(),
            sentence: String::new(),
            list: None,
            hosts: Vec::new(),
            verdict: Verdict::Unasked,
            names,
            base: spec,
            can_ask,
            stage,
        };
        editor.read();
        editor.focus(Field::Target);
        editor
    }

    /// What was staged when it was opened.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The rule's text as bytes.
    pub fn spec(&self) -> Vec<u8> {
        text::to_bytes(self.raw.text())
    }

    /// Something was changed since it was opened.
    pub fn is_changed(&self) -> bool {
        self.raw.text() != self.opened_with
    }

    /// The line being typed: the field's or the raw one.
    pub fn line(&self) -> &TextLine {
        match self.view {
            View::Form => &self.input,
            View::Raw => &self.raw,
        }
    }

    /// What to say below the rule: of the field in focus first, then the heaviest.
    pub fn problem(&self) -> Option<&Problem> {
        let own = |problem: &&Problem| self.view == View::Form && problem.field == Some(self.field);
        let heaviest = self.problems.iter().rev().max_by_key(|p| p.severity);
        let focused = self.problems.iter().filter(own).max_by_key(|p| p.severity);
        match (focused, heaviest) {
            (Some(own), Some(other)) if own.severity < other.severity => Some(other),
            (own, other) => own.or(other),
        }
    }

    /// Column of a problem in the raw line, in characters from 1.
    pub fn column(&self, problem: &Problem) -> usize {
        let at = text::text_offset(self.raw.text(), problem.at.start);
        let before = self.raw.text().get(..at).unwrap_or_default();
        before.chars().count() + 1
    }

    /// How badly a field is off.
    pub fn severity_of(&self, field: Field) -> Option<Severity> {
        let own = self.problems.iter().filter(|p| p.field == Some(field));
        own.map(|problem| problem.severity).max()
    }

    /// The names of the machine came; what is wrong may look different.
    pub fn know(&mut self, names: Arc<Names>) {
        self.names = names;
        self.problems = check(&self.spec(), &self.site, &self.names);
    }

    /// Reads the form, the problems and the sentence from the text.
    fn read(&mut self) {
        let spec = self.spec();
        self.form = Form::read(&spec, &self.site);
        self.problems = check(&spec, &self.site, &self.names);
        self.sentence = sentence::of_text(&spec, &self.site);
        self.verdict = Verdict::Unasked;
        self.forget_hosts(&spec);
    }

    /// Gives a field the focus.
    fn focus(&mut self, field: Field) {
        self.field = field;
        self.base = self.spec();
        self.input = TextLine::new(self.form.get(field));
        self.list = None;
    }

    /// The line being typed changed: the other view follows.
    fn changed(&mut self) {
        if self.view == View::Form {
            let line = form::set(&self.base, self.field, self.input.text(), &self.site);
            self.raw = TextLine::new(text::from_bytes(&line));
        }
        self.read();
    }
}
