//! What each action does to the open editor.

use super::line::TextLine;
use super::submit::Step;
use super::{Editor, Finished, List, View};
use crate::app::action::Action;
use crate::app::message::Effect;
use crate::edit::form::Field;
use crate::edit::form::complete;

/// What becomes of the editor after a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It stays open; these things are to be done.
    Stay(Vec<Effect>),
    /// It is left, nothing is staged.
    Leave,
    /// The rule is ready.
    Done(Finished),
}

/// The rows of the form: fields that stand side by side.
pub const ROWS: [&[Field]; 7] = [
    &[Field::Target, Field::TargetOptions],
    &[Field::Protocol, Field::State],
    &[Field::Source, Field::SourcePorts],
    &[Field::Destination, Field::DestinationPorts],
    &[Field::InInterface, Field::OutInterface],
    &[Field::Limit, Field::LogPrefix],
    &[Field::Comment],
];

impl Editor {
    /// An action of the editor's keys.
    pub fn act(&mut self, action: Action) -> Outcome {
        match action {
            Action::Cancel if self.list.is_some() => self.list = None,
            Action::Cancel => return Outcome::Leave,
            Action::Accept if self.list.is_some() => self.choose(),
            Action::Accept => {
                return match self.submit() {
                    Step::Ask(effects) => Outcome::Stay(effects),
                    Step::Done(finished) => Outcome::Done(finished),
                };
            }
            Action::Complete => return Outcome::Stay(self.complete()),
            Action::CompleteBack => return Outcome::Stay(self.back()),
            Action::SwitchView => self.switch(),
            Action::Up => return Outcome::Stay(self.vertical(false)),
            Action::Down => return Outcome::Stay(self.vertical(true)),
            Action::Left => self.travel(TextLine::left),
            Action::Right => self.travel(TextLine::right),
            Action::First => self.travel(TextLine::home),
            Action::Last => self.travel(TextLine::end),
            Action::Erase => self.type_with(TextLine::erase),
            Action::EraseNext => self.type_with(TextLine::delete),
            Action::EraseWord => self.type_with(TextLine::erase_word),
            Action::EraseLine => self.type_with(TextLine::erase_line),
            _ => {}
        }
        Outcome::Stay(Vec::new())
    }

    /// Text was typed or pasted.
    pub fn type_text(&mut self, typed: &str) {
        self.type_with(|line| line.insert(typed));
    }

    fn line_mut(&mut self) -> &mut TextLine {
        match self.view {
            View::Form => &mut self.input,
            View::Raw => &mut self.raw,
        }
    }

    /// Changes the line; an open list follows what is typed.
    fn type_with(&mut self, change: impl FnOnce(&mut TextLine)) {
        let before = self.line().text().to_owned();
        change(self.line_mut());
        if self.line().text() != before {
            self.changed();
        }
        if self.list.is_some() {
            self.list = self.offer();
        }
    }

    fn travel(&mut self, go: impl FnOnce(&mut TextLine)) {
        go(self.line_mut());
        self.list = None;
    }

    /// What could stand at the cursor, if anything could.
    fn offer(&self) -> Option<List> {
        let line = self.line();
        let completion = match self.view {
            View::Form => complete::field(
                self.field,
                &self.spec(),
                line.text(),
                line.cursor(),
                &self.site,
                &self.names,
            ),
            View::Raw => complete::line(line.text(), line.cursor(), &self.site, &self.names),
        };
        List::open(completion, line)
    }

    /// The list opens, or its next candidate is chosen; a single one is taken; with none, the next field.
    fn complete(&mut self) -> Vec<Effect> {
        if let Some(list) = &mut self.list {
            list.step(true);
            return Vec::new();
        }
        match self.offer() {
            Some(list) => {
                let is_single = list.is_single();
                self.list = Some(list);
                if is_single {
                    self.choose();
                }
                Vec::new()
            }
            None => self.next_field(true),
        }
    }

    fn back(&mut self) -> Vec<Effect> {
        match &mut self.list {
            Some(list) => {
                list.step(false);
                Vec::new()
            }
            None => self.next_field(false),
        }
    }

    /// The chosen candidate takes the place of what was typed of it.
    fn choose(&mut self) {
        let Some(list) = self.list.take() else { return };
        list.put(self.line_mut());
        self.changed();
    }

    /// The other view. The cursor of the raw line stands at what the field shows.
    fn switch(&mut self) {
        self.list = None;
        match self.view {
            View::Form => {
                self.view = View::Raw;
                self.raw.end();
            }
            View::Raw => {
                self.view = View::Form;
                self.focus(self.field);
            }
        }
    }

    fn next_field(&mut self, forward: bool) -> Vec<Effect> {
        if self.view == View::Raw {
            return Vec::new();
        }
        let all = Field::ALL;
        let here = all.iter().position(|f| *f == self.field).unwrap_or(0);
        let step = if forward { 1 } else { all.len() - 1 };
        self.leave_for(all[(here + step) % all.len()])
    }

    /// Up and down: in the list, else from row to row of the form.
    fn vertical(&mut self, down: bool) -> Vec<Effect> {
        if let Some(list) = &mut self.list {
            let last = list.completion.candidates.len().saturating_sub(1);
            list.at = if down {
                (list.at + 1).min(last)
            } else {
                list.at.saturating_sub(1)
            };
            return Vec::new();
        }
        if self.view == View::Raw {
            return Vec::new();
        }
        let row = ROWS.iter().position(|row| row.contains(&self.field));
        let row = row.unwrap_or(0);
        let column = ROWS[row].iter().position(|f| *f == self.field).unwrap_or(0);
        let next = if down { row + 1 } else { row + ROWS.len() - 1 } % ROWS.len();
        let field = ROWS[next].get(column).or(ROWS[next].first());
        field.map_or_else(Vec::new, |field| self.leave_for(*field))
    }

    /// Another field gets the focus; host names in the one that is left are looked up meanwhile.
    fn leave_for(&mut self, field: Field) -> Vec<Effect> {
        self.focus(field);
        self.resolve()
    }
}
