//! What may stand in this table and chain: interfaces by hook, targets and matches by the rows of the
//! catalog, and the protocol that a match needs.

use super::Rule;
use crate::edit::form::catalog::{Catalog, Extension};
use crate::edit::form::text;
use crate::ruleset::Family;
use crate::ruleset::spec::Protocol;

/// Hooks at which a packet has no interface of arrival yet, or any more (`nf_hook_state`), and none of
/// departure: what the tool refuses to compare there.
const NO_IN: [&str; 2] = ["OUTPUT", "POSTROUTING"];
const NO_OUT: [&str; 2] = ["INPUT", "PREROUTING"];

pub(super) fn check(rule: &mut Rule<'_, '_>) {
    family(rule);
    interfaces(rule);
    target(rule);
    matches(rule);
}

/// What only the other family has.
fn family(rule: &mut Rule<'_, '_>) {
    let (layout, catalog) = (rule.layout, Catalog::shipped());
    let (own, other) = match rule.site.family {
        Family::V4 => (Family::V4, "IPv6"),
        Family::V6 => (Family::V6, "IPv4"),
    };
    for held in &layout.held {
        let has = if held.is_target {
            catalog.find_target(&held.name, own)
        } else {
            catalog.find_match(&held.name, own)
        };
        let piece = if held.is_target {
            layout.target()
        } else {
            held.piece.and_then(|at| layout.pieces.get(at))
        };
        let (None, Some(piece)) = (has, piece) else {
            continue;
        };
        if catalog.is_of_other_family(&held.name, held.is_target) {
            let name = text::from_bytes(&held.name);
            rule.error(
                Rule::value_at(piece),
                format!("{name}: only {other} has it"),
            );
        }
    }
}

/// The tool refuses them in a built-in chain; in a user chain they never match from such a hook.
fn interfaces(rule: &mut Rule<'_, '_>) {
    let (layout, site) = (rule.layout, rule.site);
    let ways = [
        ("in-interface", NO_IN, "arrives"),
        ("out-interface", NO_OUT, "leaves"),
    ];
    for (option, without, word) in ways {
        let Some(piece) = layout.general(option) else {
            continue;
        };
        let own = site.hooks.iter().find(|hook| hook.as_bytes() == site.chain);
        if let Some(hook) = own.filter(|hook| without.contains(&hook.as_str())) {
            let not = if word == "arrives" {
                "has arrived on none"
            } else {
                "leaves by none yet"
            };
            rule.error(piece.range(), format!("a packet in {hook} {not}"));
        }
    }
}

fn target(rule: &mut Rule<'_, '_>) {
    let (layout, site) = (rule.layout, rule.site);
    let Some(piece) = layout.target() else { return };
    let at = Rule::value_at(piece);
    let name = piece.value();
    let shown = text::from_bytes(name);
    if name.is_empty() {
        rule.error(at, "expected a target or a chain");
    } else if site
        .builtin
        .binary_search_by(|own| own.as_slice().cmp(name))
        .is_ok()
    {
        rule.error(
            at,
            format!("{shown} is a built-in chain: nothing jumps there"),
        );
    } else if site.is_chain(name) {
        if name == site.chain {
            rule.error(at, "a chain that jumps to itself");
        }
    } else if piece.option == "goto" {
        let table = &site.table;
        rule.error(
            at,
            format!("-g goes to a chain, and {table} has none called {shown}"),
        );
    } else if let Some(row) = Catalog::shipped().find_target(name, site.family) {
        fits(rule, row, at.clone());
        needs(rule, row, at);
    }
}

fn matches(rule: &mut Rule<'_, '_>) {
    let (layout, site) = (rule.layout, rule.site);
    for held in layout.held.iter().filter(|held| !held.is_target) {
        let Some(row) = Catalog::shipped().find_match(&held.name, site.family) else {
            continue;
        };
        // What `-p` implies has what it needs.
        let Some(piece) = held.piece.and_then(|at| layout.pieces.get(at)) else {
            continue;
        };
        let at = Rule::value_at(piece);
        fits(rule, row, at.clone());
        needs(rule, row, at);
    }
}

fn fits(rule: &mut Rule<'_, '_>, row: &Extension, at: std::ops::Range<usize>) {
    let site = rule.site;
    if !row.fits_table(site) {
        let tables = either(row.tables_of(site));
        let noun = if row.tables_of(site).len() == 1 {
            "table"
        } else {
            "tables"
        };
        rule.error(
            at,
            format!("{} stands only in the {noun} {tables}", row.name),
        );
    } else if let Some(hook) = row.refused_hook(site) {
        let hooks = either(&row.hooks);
        let from = if hook.as_bytes() == site.chain {
            String::new()
        } else {
            format!(", and this chain is reached from {hook}")
        };
        rule.error(at, format!("{} works only in {hooks}{from}", row.name));
    }
}

fn needs(rule: &mut Rule<'_, '_>, row: &Extension, at: std::ops::Range<usize>) {
    if row.needs.is_empty() {
        return;
    }
    let given = rule.spec.protocol.as_ref().filter(|p| !p.invert);
    let number = given.and_then(|p| p.value.number);
    let is_given = row.needs.iter().any(|name| {
        let needed = Protocol::read(std::borrow::Cow::Borrowed(name.as_bytes()));
        needed.number.is_some() && needed.number == number
    });
    if !is_given {
        rule.error(at, format!("{} needs -p {}", row.name, either(&row.needs)));
    }
}

fn either(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}
