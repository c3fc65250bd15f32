//! The rule editor and the template picker: what opens them, what goes in, and where the rules go.

use std::net::IpAddr;
use std::sync::Arc;

use super::act::say;
use super::stage::{show, stage_of};
use super::travel;
use crate::app::action::{Action, Key};
use crate::app::board::{Pane, Place, Row};
use crate::app::editor::{Editor, Finished, Opening, Outcome, Purpose};
use crate::app::firewall::FirewallId;
use crate::app::message::Effect;
use crate::app::state::{Dialog, Selected, State};
use crate::app::templates::{self, Templates};
use crate::edit::form::Site;
use crate::edit::form::complete::Names;
use crate::edit::{Operation, RowId, Spot, Stage};

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
    let stage = stage_of(firewall);
    let before = next
        .and_then(|rule| stage.shown().row(rule))
        .map(|row| row.id);
    let chain = firewall.ruleset.chain(selected.chain);
    let table = firewall.ruleset.table(chain.table()).name();
    let spot = Spot::new(table, chain.name_bytes(), before);
    open(
        state,
        selected,
        stage,
        Purpose::Insert(spot),
        doing,
        Vec::new(),
    )
}

/// Opens the editor on the selected rule.
pub(super) fn edit(state: &mut State) -> Vec<Effect> {
    let Some(selected) = state.selected() else {
        return nothing(state);
    };
    let Some(Row::Rule(rule, number)) = selected.row else {
        return nothing(state);
    };
    let Some(firewall) = state.firewalls.get(selected.firewall) else {
        return nothing(state);
    };
    if firewall.probe(rule).is_some() {
        super::probe::refuse(state);
        return Vec::new();
    }
    let stage = stage_of(firewall);
    let Some(row) = stage.shown().row(rule).map(|row| row.id) else {
        return nothing(state);
    };
    let spec = firewall.ruleset.spec(rule).to_vec();
    let doing = format!("edit rule {number}");
    open(state, selected, stage, Purpose::Replace(row), doing, spec)
}

fn nothing(state: &mut State) -> Vec<Effect> {
    say(state, "no rule is selected");
    Vec::new()
}

fn open(
    state: &mut State,
    selected: Selected,
    stage: Stage,
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
        stage,
    };
    state.board.pane = Pane::Rules;
    state.dialog = Some(Dialog::Editor(Box::new(Editor::open(opening))));
    vec![Effect::ReadNames]
}

/// Opens the list of templates, for the ruleset in view.
pub(super) fn templates(state: &mut State) -> Vec<Effect> {
    if let Some(why) = &state.change.locked {
        let why = why.clone();
        say(state, why);
        return Vec::new();
    }
    let Some(firewall) = state.firewall() else {
        say(state, "there is no ruleset to add to");
        return Vec::new();
    };
    let picker = Templates::open(
        firewall.id,
        state.label(firewall.id),
        stage_of(firewall),
        Arc::clone(&state.names),
        state.is_live(),
    );
    state.dialog = Some(Dialog::Templates(Box::new(picker)));
    vec![Effect::ReadNames]
}

/// A key while the editor or the template picker is open.
pub(super) fn key(state: &mut State, key: Key) -> Vec<Effect> {
    let action = state.keymap.action(state.key_place(), key);
    match (action, key.typed()) {
        (Some(action @ Action::Quit), _) => super::act::run(state, action),
        (Some(action), _) => act(state, action),
        (None, Some(c)) => type_text(state, c.encode_utf8(&mut [0; 4])),
        (None, None) => Vec::new(),
    }
}

fn act(state: &mut State, action: Action) -> Vec<Effect> {
    match &mut state.dialog {
        Some(Dialog::Editor(editor)) => match editor.act(action) {
            Outcome::Stay(effects) => effects,
            Outcome::Leave => {
                state.dialog = None;
                Vec::new()
            }
            Outcome::Done(finished) => done(state, finished),
        },
        Some(Dialog::Templates(picker)) => {
            let outcome = picker.act(action);
            picked(state, outcome)
        }
        _ => Vec::new(),
    }
}

/// What came of a key, or of a verdict, in the template picker.
fn picked(state: &mut State, outcome: templates::Outcome) -> Vec<Effect> {
    match outcome {
        templates::Outcome::Stay(effects) => return effects,
        templates::Outcome::Leave => state.dialog = None,
        templates::Outcome::Say(words) => say(state, words),
        templates::Outcome::Done(operations) => {
            let Some(Dialog::Templates(picker)) = &state.dialog else {
                return Vec::new();
            };
            let (id, pinned) = (picker.id, picker.stage().clone());
            let count = operations.len();
            match stage_all(state, id, pinned, operations, None) {
                Ok(()) => {
                    state.dialog = None;
                    say(state, format!("{count} staged"));
                    return follow(state);
                }
                Err(words) => {
                    if let Some(Dialog::Templates(picker)) = &mut state.dialog {
                        picker.refuse(words);
                    }
                }
            }
        }
    }
    Vec::new()
}

/// The cursor goes to the rule that was staged last, whichever chain it is in.
fn follow(state: &mut State) -> Vec<Effect> {
    let Some(place) = state.board.place else {
        return Vec::new();
    };
    let found = state.firewalls.get(place.firewall).and_then(|firewall| {
        let stage = firewall.stage()?;
        let rule = stage.shown().rule_of(stage.touched()?)?;
        Some((firewall.ruleset.chain_of(rule)?, rule))
    });
    match found {
        Some((chain, rule)) => travel::go_to_rule(state, Place { chain, ..place }, Some(rule)),
        None => Vec::new(),
    }
}

/// Text for the line being typed.
pub(super) fn type_text(state: &mut State, text: &str) -> Vec<Effect> {
    match &mut state.dialog {
        Some(Dialog::Editor(editor)) => editor.type_text(text),
        Some(Dialog::Templates(picker)) => picker.type_text(text),
        _ => {}
    }
    Vec::new()
}

/// Names of this machine were read.
pub(super) fn know(state: &mut State, names: Names) -> Vec<Effect> {
    state.names = Arc::new(names);
    let names = Arc::clone(&state.names);
    match &mut state.dialog {
        Some(Dialog::Editor(editor)) => editor.know(names),
        Some(Dialog::Templates(picker)) => picker.know(names),
        _ => return Vec::new(),
    }
    state.dirty = true;
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
    result: Result<Vec<Vec<u8>>, String>,
) -> Vec<Effect> {
    state.dirty = true;
    match &mut state.dialog {
        Some(Dialog::Editor(editor)) => match editor.checked(spec, result) {
            Some(finished) => done(state, finished),
            None => Vec::new(),
        },
        Some(Dialog::Templates(picker)) => {
            let outcome = picker.checked(spec, result);
            picked(state, outcome)
        }
        _ => Vec::new(),
    }
}

/// A rule is ready to be staged: the editor closes if the stage takes it.
fn done(state: &mut State, finished: Finished) -> Vec<Effect> {
    let Some(Dialog::Editor(editor)) = &state.dialog else {
        return Vec::new();
    };
    let pinned = editor.stage().clone();
    let (operations, follow) = match finished.purpose {
        Purpose::Insert(at) => {
            let insert = |spec| Operation::Insert {
                at: at.clone(),
                spec,
            };
            (finished.specs.into_iter().map(insert).collect(), None)
        }
        Purpose::Replace(row) => {
            let replace = |spec| Operation::Replace { row, spec };
            (finished.specs.into_iter().map(replace).collect(), Some(row))
        }
    };
    match stage_all(state, finished.id, pinned, operations, follow) {
        Ok(()) => state.dialog = None,
        Err(words) => {
            if let Some(Dialog::Editor(editor)) = &mut state.dialog {
                editor.refuse(words.clone());
            }
            say(state, words);
        }
    }
    Vec::new()
}

/// Stages operations on a ruleset, all of them or none. Their rows are those of `pinned`; where the
/// ruleset was read anew meanwhile and nothing else was staged, they are carried over by what the rules
/// say, as everything staged is.
fn stage_all(
    state: &mut State,
    id: FirewallId,
    pinned: Stage,
    operations: Vec<Operation>,
    follow: Option<RowId>,
) -> Result<(), String> {
    let place = state.board.place.map(|place| place.firewall);
    let firewall = place.and_then(|at| state.firewalls.get(at));
    let Some(firewall) = firewall.filter(|firewall| firewall.id == id) else {
        return Err("the ruleset is no longer there".to_owned());
    };
    let kernel = Arc::clone(firewall.kernel());
    let mut stage = firewall.stage().cloned().unwrap_or(pinned);
    for operation in operations {
        stage
            .carry_out(operation)
            .map_err(|refused| refused.to_string().replace('\n', ": "))?;
    }
    if !Arc::ptr_eq(stage.base(), &kernel) {
        let (rebased, remarks) = stage.rebase_locked(kernel, firewall.all_lossy());
        if let Some(remark) = remarks.first() {
            let words = format!("the rules changed meanwhile: {remark}").replace('\n', ": ");
            if rebased.is_empty() {
                return Err(words);
            }
            say(state, words);
        }
        stage = rebased;
    }
    show(state, stage, follow);
    Ok(())
}
