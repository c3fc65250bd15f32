//! The history: what was changed, by whom, and how it ended; from it a past state is staged again.
//!
//! The list is the audit trail, read by the runtime when the dialog opens. A past state is the backup from
//! before a change; staging it is like any staging: nothing reaches the kernel until it is applied.

use std::sync::Arc;

use crate::app::action::Action;
use crate::app::message::Effect;
use crate::app::state::{Dialog, State};
use crate::edit::{Diff, Stage};
use crate::ruleset::{Origin, Ruleset};

/// A change of the past. All of it is other people's text: strip before drawing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Its name.
    pub id: String,
    /// When it was applied, RFC 3339, UTC.
    pub when: String,
    /// Who made it.
    pub who: String,
    /// With what.
    pub why: String,
    /// `confirmed by ann`, `reverted by the deadline`, `pending`.
    pub outcome: String,
    /// It is in force no more.
    pub is_undone: bool,
    /// The backup from before it.
    pub backup: String,
    /// The change in lines, and anything else worth knowing.
    pub lines: Vec<String>,
}

/// The dialog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The changes, newest first; `None`: being read.
    pub changes: Option<Vec<Past>>,
    /// Why they cannot be read.
    pub trouble: Option<String>,
    /// The chosen one.
    pub at: usize,
    /// The chosen one is shown in full, scrolled by so many lines.
    pub page: Option<usize>,
}

impl History {
    /// The chosen change.
    pub fn chosen(&self) -> Option<&Past> {
        self.changes.as_ref()?.get(self.at)
    }
}

/// The rulesets of a backup.
#[derive(Clone, Debug, Default)]
pub struct PastState {
    /// Name of the backup.
    pub backup: String,
    /// What it knows of.
    pub rulesets: Vec<(Origin, Arc<Ruleset>)>,
    /// Chains whose text in it is not the whole truth: ruleset, table, chain, reason.
    pub locked: Vec<Locked>,
}

/// A chain of a backup that was saved in words that are not the whole truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// As the tool is called.
    pub origin: String,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
    /// Why.
    pub why: String,
}

/// Opens the dialog.
pub(super) fn open(state: &mut State) -> Vec<Effect> {
    if !state.is_live() {
        super::update::say(state, "a saved dump has no history");
        return Vec::new();
    }
    state.dialog = Some(Dialog::History(Box::default()));
    vec![Effect::ReadHistory]
}

/// An action while the dialog is open.
pub(super) fn run(state: &mut State, action: Action) -> Vec<Effect> {
    let rows = isize::try_from(state.viewport.dialog.saturating_sub(1).max(1)).unwrap_or(1);
    let Some(Dialog::History(history)) = &mut state.dialog else {
        return Vec::new();
    };
    let last = history
        .changes
        .as_ref()
        .map_or(0, Vec::len)
        .saturating_sub(1);
    let mut by = |by: isize| match &mut history.page {
        Some(top) => *top = top.saturating_add_signed(by).min(100_000),
        None => history.at = history.at.saturating_add_signed(by).min(last),
    };
    match action {
        Action::Up => by(-1),
        Action::Down => by(1),
        Action::PageUp => by(-rows),
        Action::PageDown => by(rows),
        Action::Open if history.page.is_none() && history.chosen().is_some() => {
            history.page = Some(0);
        }
        Action::Open => history.page = None,
        Action::Cancel if history.page.is_some() => history.page = None,
        Action::Cancel => state.dialog = None,
        Action::StagePast => return ask(state),
        _ => {}
    }
    Vec::new()
}

fn ask(state: &mut State) -> Vec<Effect> {
    let refused = match (&state.change.locked, state.staged()) {
        (Some(why), _) => Some(why.clone()),
        (None, 0) => None,
        (None, _) => {
            Some("something is staged already: apply it, or take it back first".to_owned())
        }
    };
    if let Some(why) = refused {
        super::update::say(state, why);
        return Vec::new();
    }
    let Some(Dialog::History(history)) = &state.dialog else {
        return Vec::new();
    };
    let Some(past) = history.chosen() else {
        return Vec::new();
    };
    vec![Effect::ReadBackup(past.backup.clone())]
}

/// The trail was read.
pub(super) fn read(state: &mut State, found: Result<Vec<Past>, String>) {
    if let Some(Dialog::History(history)) = &mut state.dialog {
        match found {
            Ok(changes) => history.changes = Some(changes),
            Err(why) => history.trouble = Some(why),
        }
        state.dirty = true;
    }
}

/// A backup was read: all of it is staged, or nothing.
pub(super) fn stage(state: &mut State, found: Result<PastState, String>) {
    if !matches!(state.dialog, Some(Dialog::History(_))) {
        return; // nobody waits for it any more
    }
    let words = match found.and_then(|past| staged(state, &past)) {
        Ok(0) => "it is what the kernel holds now: nothing to stage".to_owned(),
        Ok(n) => {
            state.dialog = None;
            format!(
                "staged as it was before that change: {n} changes; look at them before you apply"
            )
        }
        Err(why) => why,
    };
    super::update::say(state, words);
}

fn staged(state: &mut State, past: &PastState) -> Result<usize, String> {
    if state.staged() > 0 {
        return Err("something is staged already: apply it, or take it back first".to_owned());
    }
    let mut stages: Vec<(usize, Stage)> = Vec::new();
    for (origin, goal) in &past.rulesets {
        let found = state
            .firewalls
            .iter()
            .position(|f| f.id.origin() == Some(*origin));
        let Some(at) = found else {
            if goal.rule_count() > 0 {
                return Err(format!(
                    "{origin} is not on the board any more: ruletop restore {} puts it back",
                    past.backup
                ));
            }
            continue;
        };
        let Some(firewall) = state.firewalls.get(at) else {
            continue;
        };
        let diff = Diff::between(firewall.kernel(), goal);
        let is_locked = |locked: &&Locked| {
            locked.origin == origin.to_string()
                && diff.chains.iter().any(|chain| {
                    *chain.table == *locked.table.as_bytes()
                        && *chain.chain == *locked.chain.as_bytes()
                })
        };
        if let Some(chain) = past.locked.iter().find(is_locked) {
            return Err(format!(
                "{origin} {} {} was saved in words that are not the whole truth ({})",
                chain.table, chain.chain, chain.why
            ));
        }
        if diff.is_empty() {
            continue;
        }
        let stage = Stage::new(Arc::clone(firewall.kernel())).locked(firewall.all_lossy());
        let stage = stage
            .toward(goal)
            .map_err(|error| error.to_string().replace('\n', ": "))?;
        stages.push((at, stage));
    }
    for (at, stage) in stages {
        if let Some(firewall) = state.firewalls.get_mut(at) {
            firewall.restage(Some(stage));
        }
    }
    super::update::relist(state);
    Ok(state.staged())
}
