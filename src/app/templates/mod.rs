//! The template picker: a list that narrows as one types, then the fields of the chosen template with a
//! live preview of what it would stage, where, and why there.
//!
//! Nothing is staged from here. Each new rule is put to the back end first, which also gives its text as
//! it would be saved; only when all of them are taken does the whole come out as one list of operations.

mod keys;

use std::sync::Arc;

use crate::app::editor::List;
use crate::app::editor::line::TextLine;
use crate::app::filter::Filter;
use crate::app::firewall::FirewallId;
use crate::app::state::Picker;
use crate::edit::form::complete::Names;
use crate::edit::template::{Given, Plan, Template, plan, shipped};
use crate::edit::{Operation, Stage};

pub use keys::Outcome;

/// A preview of a larger ruleset follows when a field is left, not at each key.
const LIVE: usize = 5_000;

/// How far the back end's verdict on the rules is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was not asked.
    Unasked,
    /// It is being asked about the rule of that step; what it made of those before.
    Asked {
        /// Index of the step.
        step: usize,
        /// The operations so far, the rules as they would be saved.
        taken: Vec<Operation>,
    },
    /// It refused a rule, in these words.
    Refused(String),
}

/// A template with its fields.
#[derive(Clone, Debug)]
pub struct Filling {
    /// Which one.
    pub template: &'static Template,
    /// What is typed in each of its fields.
    pub inputs: Vec<TextLine>,
    /// The field in focus.
    pub at: usize,
    /// What it would do.
    pub plan: Plan,
    /// The first line of the preview that is shown.
    pub top: usize,
    /// The open list of candidates.
    pub list: Option<List>,
    /// How far the back end is.
    pub verdict: Verdict,
}

/// The open picker.
#[derive(Clone, Debug)]
pub struct Templates {
    /// For which ruleset.
    pub id: FirewallId,
    /// `v4`, for the title.
    pub place: String,
    /// The list.
    pub picker: Picker,
    /// The chosen template.
    pub filling: Option<Filling>,
    /// What was staged when it was opened.
    stage: Stage,
    names: Arc<Names>,
    can_ask: bool,
}

impl Templates {
    /// The list, nothing chosen.
    pub fn open(
        id: FirewallId,
        place: String,
        stage: Stage,
        names: Arc<Names>,
        can_ask: bool,
    ) -> Self {
        Self {
            id,
            place,
            picker: Picker::default(),
            filling: None,
            stage,
            names,
            can_ask,
        }
    }

    /// What was staged when it was opened.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The templates that the typed words leave.
    pub fn choices(&self) -> Vec<&'static Template> {
        let filter = Filter::new(&self.picker.query);
        let words = |template: &&Template| {
            filter.accepts(
                format!("{} {} {}", template.name, template.title, template.desc).as_bytes(),
            )
        };
        shipped().iter().filter(words).collect()
    }

    /// The names of the machine came.
    pub fn know(&mut self, names: Arc<Names>) {
        self.names = names;
        self.preview();
    }

    /// Opens a template.
    fn choose(&mut self, template: &'static Template) {
        let inputs = template.fields.iter();
        self.filling = Some(Filling {
            template,
            inputs: inputs.map(|field| TextLine::new(&*field.default)).collect(),
            at: 0,
            plan: Plan::default(),
            top: 0,
            list: None,
            verdict: Verdict::Unasked,
        });
        self.preview();
    }

    /// Works out what the template would do.
    fn preview(&mut self) {
        let Some(filling) = &mut self.filling else {
            return;
        };
        let fields = filling.template.fields.iter().zip(&filling.inputs);
        let given: Given = fields
            .map(|(field, input)| (field.name.clone(), input.text().to_owned()))
            .collect();
        filling.plan = plan(filling.template, &given, &self.stage, &self.names);
        filling.verdict = Verdict::Unasked;
    }

    /// The ruleset is small enough for a preview at each key.
    fn is_live(&self) -> bool {
        self.stage.base().rule_count() <= LIVE
    }
}
