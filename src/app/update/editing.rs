//! The rule editor: what opens it, what goes in, and where a finished rule goes.

use std::net::IpAddr;
use std::sync::Arc;

use super::act::say;

use crate::app::action::{Action, Key};
use crate::app::board::{Pane, Row};
use crate::app::editor::{Editor, Finished, Opening, Outcome, Purpose};
use crate::app::message::Effect;
use crate::app::state::{Dialog, Selected, State};
use crate::edit::form::Site;
use crate::edit::form::complete::Names;
use crate::edit::{Operation, RowId, Spot};
use crate::ruleset::RuleIdx;

/// Opens the editor on a new rule before or after the selected one.
pub(super) fn insert(state: &mut State, after: bool) -> Vec<Effect> {
    let Some(selected) = state.selected() else {
        return nothing(state);
    };
    let Some(firewall) = state.firewalls.get(selected.firewall) else {
        return nothing(state);
    };
    let chain = firewall.ruleset.chain(selected.chain);
    let (next, doing) = match selected.row {
        Some(Row::Rule(rule, number)) if after => {
            let at = chain.rules().iter().position(|own| *own == rule);
            let next = at.and_then(|at| chain.rules().get(at + 1)).copied();
            (next, format!("insert after rule {number}"))
        }
        Some(Row::Rule(rule, number)) => (Some(rule), format!("insert before rule {number}")),
        Some(Row::Policy) if !after || chain.rules().is_empty() => {
            (None, "insert before the policy".to_owned())
        }
        Some(Row::Policy) => {
            say(state, "nothing comes after the policy");
            return Vec::new();
        }
        None => (None, "insert".to_owned()),
    };
    let before = next.and_then(|rule| row_id(state, selected.firewall, rule));
    let chain = firewall.ruleset.chain(selected.chain);
    let table = firewall.ruleset.table(chain.table()).name();
    let spot = Spot::new(table, chain.name_bytes(), before);
    open(state, selected, Purpose::Insert(spot), doing, Vec::new())
}

/// Opens the editor on the selected rule.
pub(super) fn edit(state: &mut State) -> Vec<Effect> {
    let Some(selected) = state.selected() else {
        return nothing(state);
    };
    let Some(Row::Rule(rule, number)) = selected.row else {
        return nothing(state);
    };
    let spec = state
        .firewalls
        .get(selected.firewall)
        .map(|firewall| firewall.ruleset.spec(rule).to_vec());
    let (Some(row), Some(spec)) = (row_id(state, selected.firewall, rule), spec) else {
        return nothing(state);
    };
    let doing = format!("edit rule {number}");
    open(state, selected, Purpose::Replace(row), doing, spec)
}

fn nothing(state: &mut State) -> Vec<Effect> {
    say(state, "no rule is selected");
    Vec::new()
}

/// The row of a rule that the board shows.
fn row_id(state: &State, firewall: usize, rule: RuleIdx) -> Option<RowId> {
    let firewall = state.firewalls.get(firewall)?;
    let stage = super::stage::stage_of(firewall);
    stage.shown().row(rule).map(|row| row.id)
}

fn open(
    state: &mut State,
    selected: Selected,
    purpose: Purpose,
    doing: String,
    spec: Vec<u8>,
) -> Vec<Effect> {
    if let Some(why) = &state.change.locked {
        let why = why.clone();
        say(state, why);
        return Vec::new();
    }
    let Some(firewall) = state.firewalls.get(selected.firewall) else {
        return Vec::new();
    };
    if let Some(lossy) = firewall.lossy(selected.chain) {
        let words = format!(
            "locked: this chain holds what iptables cannot say: {}",
            lossy.why
        );
        say(state, words);
        return Vec::new();
    }
    let opening = Opening {
        id: firewall.id,
        purpose,
        doing,
        place: state.chain_title(selected.firewall, selected.chain),
        site: Site::of(&firewall.ruleset, selected.chain),
        spec,
        names: Arc::clone(&state.names),
        can_ask: state.is_live(),
    };
    state.board.pane = Pane::Rules;
    state.dialog = Some(Dialog::Editor(Box::new(Editor::open(opening))));
    vec![Effect::ReadNames]
}

/// Opens the list of templates.
pub(super) fn templates(state: &mut State) -> Vec<Effect> {
    say(state, "no templates yet");
    Vec::new()
}

/// A key while the editor is open.
pub(super) fn key(state: &mut State, key: Key) -> Vec<Effect> {
    let action = state.keymap.action(state.key_place(), key);
    match (action, key.typed()) {
        (Some(action @ Action::Quit), _) => super::act::run(state, action),
        (Some(action), _) => {
            let Some(Dialog::Editor(editor)) = &mut state.dialog else {
                return Vec::new();
            };
            match editor.act(action) {
                Outcome::Stay(effects) => effects,
                Outcome::Leave => {
                    state.dialog = None;
                    Vec::new()
                }
                Outcome::Done(finished) => done(state, finished),
            }
        }
        (None, Some(c)) => type_text(state, c.encode_utf8(&mut [0; 4])),
        (None, None) => Vec::new(),
    }
}

/// Text for the line being typed.
pub(super) fn type_text(state: &mut State, text: &str) -> Vec<Effect> {
    if let Some(Dialog::Editor(editor)) = &mut state.dialog {
        editor.type_text(text);
    }
    Vec::new()
}

/// Names of this machine were read.
pub(super) fn know(state: &mut State, names: Names) -> Vec<Effect> {
    state.names = Arc::new(names);
    if let Some(Dialog::Editor(editor)) = &mut state.dialog {
        editor.know(Arc::clone(&state.names));
        state.dirty = true;
    }
    Vec::new()
}

/// A host name was looked up.
pub(super) fn resolved(
    state: &mut State,
    name: &str,
    result: Result<Vec<IpAddr>, String>,
) -> Vec<Effect> {
    if let Some(Dialog::Editor(editor)) = &mut state.dialog {
        editor.resolved(name, result);
        state.dirty = true;
    }
    Vec::new()
}

/// The back end's verdict on a rule.
pub(super) fn checked(
    state: &mut State,
    spec: &[u8],
    result: Result<Vec<u8>, String>,
) -> Vec<Effect> {
    let Some(Dialog::Editor(editor)) = &mut state.dialog else {
        return Vec::new();
    };
    state.dirty = true;
    match editor.checked(spec, result) {
        Some(finished) => done(state, finished),
        None => Vec::new(),
    }
}

/// A rule is ready to be staged: the editor closes.
fn done(state: &mut State, finished: Finished) -> Vec<Effect> {
    state.dialog = None;
    let spec = finished.spec;
    let (operation, follow) = match finished.purpose {
        Purpose::Insert(at) => (Operation::Insert { at, spec }, None),
        Purpose::Replace(row) => (Operation::Replace { row, spec }, Some(row)),
    };
    super::stage::carry_out(state, operation, follow);
    Vec::new()
}
