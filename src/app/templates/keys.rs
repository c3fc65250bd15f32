//! What each action does to the open picker.

use super::{Filling, Templates, Verdict};
use crate::app::action::Action;
use crate::app::editor::List;
use crate::app::editor::line::TextLine;
use crate::app::message::Effect;
use crate::edit::form::complete::{self, Completion};
use crate::edit::form::{Field, Site};
use crate::edit::template::{Kind, Step};
use crate::edit::{Operation, Spot};

/// What becomes of the picker after a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It stays open; these things are to be done.
    Stay(Vec<Effect>),
    /// It is left, nothing is staged.
    Leave,
    /// These are to be staged, in order.
    Done(Vec<Operation>),
    /// It stays open; this is to be said.
    Say(String),
}

impl Templates {
    /// An action of the editor's keys.
    pub fn act(&mut self, action: Action) -> Outcome {
        if self.filling.is_some() {
            return self.act_on_fields(action);
        }
        let count = self.choices().len();
        match action {
            Action::Cancel => return Outcome::Leave,
            Action::Accept => {
                if let Some(template) = self.choices().get(self.picker.at) {
                    self.choose(template);
                }
            }
            Action::Up | Action::CompleteBack => self.picker.at = self.picker.at.saturating_sub(1),
            Action::Down | Action::Complete => {
                self.picker.at = (self.picker.at + 1).min(count.saturating_sub(1));
            }
            Action::Erase => {
                self.picker.query.pop();
                self.picker.at = 0;
            }
            Action::EraseWord | Action::EraseLine => {
                self.picker.query.clear();
                self.picker.at = 0;
            }
            _ => {}
        }
        Outcome::Stay(Vec::new())
    }

    /// Text was typed or pasted.
    pub fn type_text(&mut self, typed: &str) {
        if self.filling.is_some() {
            self.type_with(|line| line.insert(typed));
        } else {
            self.picker.query.push_str(typed);
            self.picker.at = 0;
        }
    }

    fn act_on_fields(&mut self, action: Action) -> Outcome {
        let Some(filling) = &mut self.filling else {
            return Outcome::Stay(Vec::new());
        };
        match action {
            Action::Cancel if filling.list.is_some() => filling.list = None,
            Action::Cancel => self.filling = None,
            Action::Accept if filling.list.is_some() => self.take_candidate(),
            Action::Accept => return self.submit(),
            Action::Complete => self.complete(),
            Action::CompleteBack | Action::Up if filling.list.is_some() => {
                filling.step_list(false);
            }
            Action::Down if filling.list.is_some() => filling.step_list(true),
            Action::CompleteBack | Action::Up => self.go(false),
            Action::Down => self.go(true),
            Action::PageUp => filling.top = filling.top.saturating_sub(8),
            // The drawing holds it inside the text, whose length it alone knows.
            Action::PageDown => filling.top = (filling.top + 8).min(10_000),
            Action::Left => filling.travel(TextLine::left),
            Action::Right => filling.travel(TextLine::right),
            Action::First => filling.travel(TextLine::home),
            Action::Last => filling.travel(TextLine::end),
            Action::Erase => self.type_with(TextLine::erase),
            Action::EraseNext => self.type_with(TextLine::delete),
            Action::EraseWord => self.type_with(TextLine::erase_word),
            Action::EraseLine => self.type_with(TextLine::erase_line),
            _ => {}
        }
        Outcome::Stay(Vec::new())
    }

    fn type_with(&mut self, change: impl FnOnce(&mut TextLine)) {
        let Some(filling) = &mut self.filling else {
            return;
        };
        let Some(line) = filling.inputs.get_mut(filling.at) else {
            return;
        };
        change(line);
        filling.verdict = Verdict::Unasked;
        if self.is_live() {
            self.preview();
        }
        let reopened = self.filling.as_ref().is_some_and(|f| f.list.is_some());
        if reopened {
            let list = self.offer();
            if let Some(filling) = &mut self.filling {
                filling.list = list;
            }
        }
    }

    /// Another field.
    fn go(&mut self, forward: bool) {
        if !self.is_live() {
            self.preview();
        }
        if let Some(filling) = &mut self.filling {
            let count = filling.inputs.len().max(1);
            let step = if forward { 1 } else { count - 1 };
            filling.at = (filling.at + step) % count;
            filling.list = None;
        }
    }

    /// What could stand in the field in focus.
    fn offer(&self) -> Option<List> {
        let filling = self.filling.as_ref()?;
        let (field, line) = (
            filling.template.fields.get(filling.at)?,
            filling.inputs.get(filling.at)?,
        );
        let family = self.stage.base().family();
        let site = Site {
            family,
            backend: None,
            table: "filter".to_owned(),
            chain: Vec::new(),
            hooks: Vec::new(),
            chains: Vec::new(),
            builtin: Vec::new(),
        };
        let form_field = match field.kind {
            Kind::Service => Field::DestinationPorts,
            Kind::Protocol => Field::Protocol,
            Kind::Interface => Field::InInterface,
            Kind::Rate => Field::Limit,
            Kind::Chain => return List::open(self.chains(line)?, line),
            Kind::Address | Kind::Text => return None,
        };
        let (typed, cursor) = (line.text(), line.cursor());
        let found = complete::field(form_field, b"", typed, cursor, &site, &self.names);
        List::open(found, line)
    }

    /// The chains of the table filter that hold rules or have a policy.
    fn chains(&self, line: &TextLine) -> Option<Completion> {
        let set = &self.stage.shown().ruleset;
        let table = set.find_table("filter")?;
        let (typed, _) = line.halves();
        let chains = set
            .table(table)
            .chains()
            .iter()
            .map(|chain| set.chain(*chain));
        let candidates: Vec<complete::Candidate> = chains
            .filter(|chain| {
                chain
                    .name()
                    .to_lowercase()
                    .starts_with(&typed.to_lowercase())
            })
            .filter(|chain| chain.name() != line.text())
            .take(Completion::MOST)
            .map(|chain| complete::Candidate {
                text: chain.name().to_owned(),
                note: chain
                    .policy()
                    .map_or(String::new(), |p| format!("policy {}", p.name())),
            })
            .collect();
        Some(Completion {
            range: 0..line.text().len(),
            candidates,
        })
    }

    fn complete(&mut self) {
        let is_open = self.filling.as_ref().is_some_and(|f| f.list.is_some());
        if is_open {
            if let Some(filling) = &mut self.filling {
                filling.step_list(true);
            }
            return;
        }
        match self.offer() {
            Some(list) => {
                let is_single = list.is_single();
                if let Some(filling) = &mut self.filling {
                    filling.list = Some(list);
                }
                if is_single {
                    self.take_candidate();
                }
            }
            None => self.go(true),
        }
    }

    fn take_candidate(&mut self) {
        let Some(filling) = &mut self.filling else {
            return;
        };
        if let Some(list) = filling.list.take() {
            self.type_with(|line| list.put(line));
        }
    }

    /// All is to be staged: the back end is asked about one new rule after the other.
    fn submit(&mut self) -> Outcome {
        if !self.is_live() {
            self.preview();
        }
        let Some(filling) = &mut self.filling else {
            return Outcome::Stay(Vec::new());
        };
        if matches!(filling.verdict, Verdict::Asked { .. }) || !filling.plan.lacks.is_empty() {
            return Outcome::Stay(Vec::new());
        }
        if filling.plan.steps.is_empty() {
            return Outcome::Say("nothing is to be staged: see what is said below".to_owned());
        }
        self.ask(0, Vec::new())
    }

    /// Goes on from a step: moves need no verdict, new rules do.
    fn ask(&mut self, from: usize, mut taken: Vec<Operation>) -> Outcome {
        let (id, can_ask) = (self.id, self.can_ask);
        let set = std::sync::Arc::clone(&self.stage.shown().ruleset);
        let Some(filling) = &mut self.filling else {
            return Outcome::Stay(Vec::new());
        };
        for (step, one) in filling.plan.steps.iter().enumerate().skip(from) {
            match &one.operation {
                Operation::Insert { at, spec } if can_ask => {
                    let effect = Effect::CheckRule {
                        id,
                        table: lossy(&at.table),
                        chain: at.chain.to_vec(),
                        chains: user_chains(at, &set),
                        spec: spec.clone(),
                    };
                    filling.verdict = Verdict::Asked { step, taken };
                    return Outcome::Stay(vec![effect]);
                }
                other => taken.push(other.clone()),
            }
        }
        Outcome::Done(taken)
    }

    /// The back end's verdict on a rule came; one about another rule than the one that was asked about is
    /// not heard.
    pub fn checked(&mut self, spec: &[u8], result: Result<Vec<Vec<u8>>, String>) -> Outcome {
        let stay = Outcome::Stay(Vec::new());
        let Some(filling) = &mut self.filling else {
            return stay;
        };
        let Verdict::Asked { step, taken } = &filling.verdict else {
            return stay;
        };
        let (step, mut taken) = (*step, taken.clone());
        let Some(Step {
            operation: Operation::Insert { at, spec: asked },
            ..
        }) = filling.plan.steps.get(step)
        else {
            return stay;
        };
        if asked != spec {
            return stay;
        }
        match result {
            Ok(rules) => {
                taken.extend(rules.into_iter().map(|spec| Operation::Insert {
                    at: at.clone(),
                    spec,
                }));
                self.ask(step + 1, taken)
            }
            Err(words) => {
                let rule = lossy(spec);
                filling.verdict = Verdict::Refused(format!("{rule}: {}", words.trim()));
                stay
            }
        }
    }

    /// The stage does not take it, in these words.
    pub fn refuse(&mut self, words: String) {
        if let Some(filling) = &mut self.filling {
            filling.verdict = Verdict::Refused(words);
        }
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The chain of a rule, if the kernel does not have it by itself.
fn user_chains(at: &Spot, set: &crate::ruleset::Ruleset) -> Vec<Vec<u8>> {
    let table = set.find_table(&lossy(&at.table));
    let chain = table.and_then(|table| set.chain_named(table, &at.chain));
    let is_user = chain.is_some_and(|chain| !set.chain(chain).is_builtin());
    is_user.then(|| at.chain.to_vec()).into_iter().collect()
}

impl Filling {
    fn travel(&mut self, go: impl FnOnce(&mut TextLine)) {
        if let Some(line) = self.inputs.get_mut(self.at) {
            go(line);
        }
        self.list = None;
    }

    fn step_list(&mut self, forward: bool) {
        if let Some(list) = &mut self.list {
            list.step(forward);
        }
    }
}
