//! A ruleset put back as a whole: the fall-back for when the inverse change does not work.
//!
//! Every table becomes what it was; tables that were not there are emptied; what others added meanwhile is
//! lost, which is why this is not the way back but the last resort. Counters are the higher of now and then.
//! Tables with a locked chain stay as they are: their text would widen rules.

use super::backup;
use super::carry::read;
use super::places::Places;
use super::record::Leg;
use super::{lossy, sets};
use crate::netfilter::xtables::Tools;
use crate::netfilter::xtables::restore::{Held, Mode, Wait, restore as run};
use crate::ruleset::{CounterSet, Ruleset};

/// Puts the ruleset of `leg` back to what it was before.
pub(super) fn restore(
    tools: &Tools,
    places: &Places,
    backup: &str,
    leg: &Leg,
    held: Option<&Held>,
) -> Result<(), String> {
    let words = |error: &dyn std::error::Error| error.to_string();
    let now = read(tools, leg.origin).map_err(|error| words(&error))?;
    if let Ok(backup) = backup::load(places, backup) {
        let _ = sets::make_missing(&leg.before, backup.text("ipset"));
    }
    let locked: Vec<String> = lossy::chains(leg.origin, &now)
        .into_iter()
        .map(|chain| chain.table)
        .collect();
    let text = leg.before.to_save(&counters(&leg.before, &now));
    let mut script = without_tables(&text, &locked);
    for table in now.tables() {
        let name = table.name();
        if leg.before.find_table(name).is_none() && !locked.iter().any(|locked| locked == name) {
            script.extend_from_slice(&emptied(&now, name));
        }
    }
    let mut wait = Wait {
        limit: std::time::Duration::from_secs(20),
        stop: &mut || false,
        told: &mut |_| {},
    };
    run(tools, leg.origin, &script, Mode::Replace, held, &mut wait).map_err(|error| words(&error))
}

/// Counters for `before`: what its rules and policies count now, where they are still there and count more.
fn counters(before: &Ruleset, now: &Ruleset) -> CounterSet {
    let mut counters = before.saved_counters();
    let current = now.saved_counters();
    let there: std::collections::HashMap<_, _> = now
        .rules()
        .map(|rule| (now.text_id(rule), current.rule(rule)))
        .collect();
    for (rule, counter) in before.rules().zip(&mut counters.rules) {
        if let Some(now) = there.get(&before.text_id(rule)) {
            if now.packets >= counter.packets {
                *counter = *now;
            }
        }
    }
    counters
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
