//! A ruleset put back as a whole: the fall-back for when the inverse change does not work.
//!
//! Every table becomes what it was; tables that were not there are emptied; what others added meanwhile is
//! lost, which is why this is not the way back but the last resort. Counters are the higher of now and then.
//! Tables with a locked chain stay as they are: their text would widen rules.

use std::collections::HashMap;
use std::sync::Arc;

use super::backup;
use super::carry::{read, write};
use super::places::Places;
use super::record::Leg;
use super::{lossy, sets};
use crate::netfilter::xtables::Tools;
use crate::netfilter::xtables::restore::{Held, Mode};
use crate::ruleset::{CounterSet, Counters, Ruleset, TextId};

/// Puts the ruleset of `leg` back to what it was before.
pub(super) fn restore(
    tools: &Tools,
    places: &Places,
    backup: &str,
    leg: &Leg,
    held: Option<&Held>,
) -> Result<(), String> {
    // What cannot be read can still be replaced; it counts at least what the change began with.
    let now = read(tools, leg.origin).unwrap_or_else(|_| Arc::clone(&leg.after));
    if let Ok(backup) = backup::load(places, backup) {
        let _ = sets::make_missing(&leg.before, backup.text("ipset"));
    }
    let locked: Vec<String> = lossy::chains(leg.origin, &now)
        .into_iter()
        .map(|chain| chain.table)
        .collect();
    let text = leg.before.to_save(&highest(&leg.before, &now));
    let mut script = without_tables(&text, &locked);
    for table in now.tables() {
        let name = table.name();
        if leg.before.find_table(name).is_none() && !locked.iter().any(|locked| locked == name) {
            script.extend_from_slice(&emptied(&now, name));
        }
    }
    load(tools, leg, &script, held)
}

/// Counters for `ruleset`: its own, or those of `other` where the same rule or policy counts more there.
fn highest(ruleset: &Ruleset, other: &Ruleset) -> CounterSet {
    let mut counters = ruleset.saved_counters();
    let theirs = other.saved_counters();
    let there: HashMap<TextId, Counters> = other
        .rules()
        .map(|rule| (other.text_id(rule), theirs.rule(rule)))
        .collect();
    let raise = |mine: &mut Counters, other: Counters| {
        if other.packets > mine.packets {
            *mine = other;
        }
    };
    for (rule, counter) in ruleset.rules().zip(&mut counters.rules) {
        if let Some(other) = there.get(&ruleset.text_id(rule)) {
            raise(counter, *other);
        }
    }
    for (chain, counter) in ruleset.chains().iter().zip(&mut counters.policies) {
        let table = ruleset.table(chain.table()).name();
        let twin = other
            .find_table(table)
            .and_then(|table| other.chain_named(table, chain.name_bytes()));
        if let Some(twin) = twin.filter(|_| chain.is_builtin()) {
            raise(counter, theirs.policy(twin));
        }
    }
    counters
}

/// Gives rules back what they had counted before a legacy tool was killed: it loads a table with zeros first
/// and adds the counters in a second call.
pub(super) fn heal_counters(tools: &Tools, leg: &Leg, held: Option<&Held>) -> Result<(), String> {
    let now = read(tools, leg.origin).map_err(|error| error.to_string())?;
    let counters = highest(&now, &leg.before);
    if counters == now.saved_counters() {
        return Ok(());
    }
    let text = now.to_save(&counters);
    load(tools, leg, &text, held)
}

fn load(tools: &Tools, leg: &Leg, text: &[u8], held: Option<&Held>) -> Result<(), String> {
    write(tools, leg.origin, text, Mode::Replace, held).map_err(|error| error.to_string())
}

/// The dump without these tables.
fn without_tables(dump: &[u8], tables: &[String]) -> Vec<u8> {
    let mut out = Vec::with_capacity(dump.len());
    let mut skipping = false;
    for line in dump.split_inclusive(|byte| *byte == b'\n') {
        if let Some(name) = line.strip_prefix(b"*") {
            let name = name.trim_ascii_end();
            skipping = tables.iter().any(|table| table.as_bytes() == name);
        }
        if !skipping {
            out.extend_from_slice(line);
        }
    }
    out
}

/// A table with its built-in chains and nothing else.
fn emptied(ruleset: &Ruleset, table: &str) -> Vec<u8> {
    let mut out = format!("*{table}\n").into_bytes();
    let chains = ruleset
        .find_table(table)
        .map(|index| ruleset.table(index).chains())
        .unwrap_or_default();
    for chain in chains.iter().map(|chain| ruleset.chain(*chain)) {
        if chain.is_builtin() {
            out.push(b':');
            out.extend_from_slice(chain.name_bytes());
            out.extend_from_slice(b" ACCEPT [0:0]\n");
        }
    }
    out.extend_from_slice(b"COMMIT\n");
    out
}
