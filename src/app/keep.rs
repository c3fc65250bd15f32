//! Saving the rules of now for the next boot: what the dialog shows, and how far it is.
//!
//! The runtime looks and writes; here is what is asked of it. What is written is what was shown: an answer that
//! is not to the last question is dropped, and the write names the look that it belongs to.

use crate::app::action::Action;
use crate::app::message::Effect;
use crate::app::state::{Dialog, State};
use crate::ruleset::Backend;

/// The dialog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Lines scrolled away.
    pub top: usize,
    /// What programs put there by themselves is left out.
    pub without_runtime: bool,
    /// Number of the question that waits for its answer, or was answered.
    pub asked: u64,
    /// How far it is.
    pub step: Step,
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Step {
    /// The difference is being worked out.
    #[default]
    Looking,
    /// It is shown.
    Shown(Difference),
    /// It is being written.
    Writing,
    /// It was refused: why, and what to do.
    Refused(String, String),
}

/// Live against saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Who loads the files at boot, in words.
    pub place: String,
    /// A file a family.
    pub files: Vec<KeptFile>,
}

impl Difference {
    /// There is something to write.
    pub fn differs(&self) -> bool {
        self.files.iter().any(|file| file.differs)
    }
}

/// One file. All of it is other people's text: strip before drawing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptFile {
    /// Its path, and which ruleset goes there.
    pub name: String,
    /// It would be written.
    pub differs: bool,
    /// What would change in it, a line each.
    pub diff: Vec<String>,
    /// What is live and left out, a line each.
    pub left_out: Vec<String>,
    /// What is odd and not wrong, a line each.
    pub remarks: Vec<String>,
}

/// A question to the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its number.
    pub number: u64,
    /// What programs put there by themselves is left out.
    pub without_runtime: bool,
    /// The back end to keep where both hold rules: the one in view.
    pub prefer: Option<Backend>,
}

/// An answer of the runtime: the error is why, and what to do.
pub type Found = Result<Difference, (String, String)>;

/// Opens the dialog.
pub(super) fn open(state: &mut State) -> Vec<Effect> {
    if let Some(why) = state.change.refused.clone().or(state.change.locked.clone()) {
        say(state, why);
        return Vec::new();
    }
    ask(state, false)
}

fn ask(state: &mut State, without_runtime: bool) -> Vec<Effect> {
    state.questions += 1;
    let number = state.questions;
    state.dialog = Some(Dialog::Keep(Box::new(Keep {
        without_runtime,
        asked: number,
        ..Keep::default()
    })));
    let prefer = state.firewall().and_then(|firewall| firewall.id.backend);
    vec![Effect::LookAtSaved(Look {
        number,
        without_runtime,
        prefer,
    })]
}

/// An action while the dialog is open.
pub(super) fn run(state: &mut State, action: Action) -> Vec<Effect> {
    let Some(Dialog::Keep(keep)) = &mut state.dialog else {
        return Vec::new();
    };
    let is_writing = keep.step == Step::Writing;
    match action {
        Action::Up => keep.top = keep.top.saturating_sub(1),
        Action::Down => keep.top = keep.top.saturating_add(1).min(100_000),
        Action::PageUp => keep.top = keep.top.saturating_sub(10),
        Action::PageDown => keep.top = keep.top.saturating_add(10).min(100_000),
        Action::Cancel => state.dialog = None,
        Action::KeepRuntime if !is_writing => {
            let without = !keep.without_runtime;
            return ask(state, without);
        }
        Action::Yes => match &keep.step {
            Step::Shown(difference) if difference.differs() => {
                keep.step = Step::Writing;
                return vec![Effect::WriteSaved(keep.asked)];
            }
            Step::Shown(_) => say(state, "nothing differs: there is nothing to write"),
            Step::Looking => say(state, "still being looked at"),
            Step::Writing | Step::Refused(..) => {}
        },
        _ => {}
    }
    Vec::new()
}

/// The difference was worked out.
pub(super) fn found(state: &mut State, number: u64, found: Found) {
    if let Some(Dialog::Keep(keep)) = &mut state.dialog
        && keep.asked == number
        && keep.step == Step::Looking
    {
        keep.step = match found {
            Ok(difference) => Step::Shown(difference),
            Err((what, remedy)) => Step::Refused(what, remedy),
        };
        state.dirty = true;
    }
}

/// It was written, or not. The words are said even where the dialog is gone.
pub(super) fn written(state: &mut State, done: Result<String, (String, String)>) {
    state.dirty = true;
    match (done, &mut state.dialog) {
        (Ok(words), dialog) => {
            if matches!(dialog, Some(Dialog::Keep(keep)) if keep.step == Step::Writing) {
                state.dialog = None;
            }
            say(state, words);
        }
        (Err((what, remedy)), Some(Dialog::Keep(keep))) => keep.step = Step::Refused(what, remedy),
        (Err((what, _)), _) => say(state, what),
    }
}

fn say(state: &mut State, words: impl Into<String>) {
    super::update::say(state, words);
}
