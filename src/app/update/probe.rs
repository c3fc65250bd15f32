//! Probes: from the key on a row to a rule that logs what the row decides, and away again.
//!
//! Nothing is staged: a probe decides about nothing and goes by itself. What is in the kernel is seen in the
//! rules as they are read; the state keeps no list of its own.

use super::act;
use crate::app::action::Action;
use crate::app::board::Row;
use crate::app::firewall::Firewall;
use crate::app::message::Effect;
use crate::app::state::State;
use crate::edit::probe::{Before, Site};
use crate::ruleset::{ChainIdx, RuleIdx};

/// Puts a probe before the selected row, or takes the one that is there away.
pub(super) fn toggle(state: &mut State) -> Vec<Effect> {
    let refused = state.change.locked.clone();
    if let Some(why) = refused.or_else(|| state.change.refused.clone()) {
        act::say(state, why);
        return Vec::new();
    }
    let wanted = state
        .firewall()
        .zip(state.board.place)
        .zip(state.selected().and_then(|s| s.row))
        .map(|((firewall, place), row)| (firewall.id, wanted(firewall, place.chain, row)));
    match wanted {
        None => act::say(state, "no rule is selected"),
        Some((_, Err(why))) => act::say(state, why),
        Some((id, Ok(Wanted::Put(site)))) => return vec![Effect::Probe(id, Box::new(site))],
        Some((id, Ok(Wanted::Take(probe)))) => return vec![Effect::Unprobe(id, probe)],
    }
    Vec::new()
}

enum Wanted {
    Put(Site),
    Take(String),
}

fn wanted(firewall: &Firewall, chain: ChainIdx, row: Row) -> Result<Wanted, &'static str> {
    let shown = &firewall.ruleset;
    let rules = shown.chain(chain).rules();
    let (end, rule) = match row {
        Row::Rule(rule, number) => (number - 1, Some((rule, number))),
        Row::Policy => (rules.len(), None),
    };
    let tag = |rule: &RuleIdx| firewall.probe(*rule).map(|tag| tag.id.clone());
    let own = rule.and_then(|(rule, _)| tag(&rule));
    let above = end.checked_sub(1).and_then(|at| tag(rules.get(at)?));
    if let Some(probe) = own.or(above) {
        return Ok(Wanted::Take(probe));
    }
    let kernel = firewall.kernel();
    let there = firewall
        .kernel_chain(chain)
        .ok_or("the kernel does not have this chain yet: apply first")?;
    let kernel_chain = kernel.chain(there);
    let before = match rule {
        None => None,
        Some((rule, position)) => {
            let of_kernel = firewall
                .kernel_rule(rule)
                .filter(|of_kernel| kernel.chain_of(*of_kernel) == Some(there))
                .ok_or("the kernel does not have this rule here yet: apply first")?;
            let number = kernel.number(of_kernel);
            if firewall.lossy_rule(chain, number as usize).is_some() {
                return Err("the text of this rule is not all that the kernel holds");
            }
            Some(Before {
                number,
                shown: firewall.number(rule, position - 1).unwrap_or(number),
                spec: kernel.spec(of_kernel).to_vec(),
            })
        }
    };
    Ok(Wanted::Put(Site {
        table: kernel.table(kernel_chain.table()).name_bytes().to_vec(),
        chain: kernel_chain.name_bytes().to_vec(),
        before,
    }))
}

/// The cursor is on a probe.
pub(super) fn is_selected(state: &State) -> bool {
    let row = state.selected().and_then(|s| s.row);
    match (state.firewall(), row) {
        (Some(firewall), Some(Row::Rule(rule, _))) => firewall.probe(rule).is_some(),
        _ => false,
    }
}

/// A probe is no rule to be worked on.
pub(super) fn refuse(state: &mut State) {
    let key = state.keymap.key_of(Action::Probe);
    let key = key.map_or_else(String::new, |key| format!("; {key} takes it away"));
    act::say(
        state,
        format!("this is a probe: it only logs, and goes by itself{key}"),
    );
}
