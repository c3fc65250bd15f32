//! The rules that a template makes of what was given for its fields.

use super::{Given, Rule, Template};
use crate::edit::form::complete::Names;
use crate::edit::form::{self, Field, Site};
use crate::ruleset::Family;

/// A rule that a template wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Composed {
    pub table: String,
    pub chain: String,
    pub spec: Vec<u8>,
}

/// The fields of the rule editor that a template may fill in, by their names in its files.
const FIELDS: [(&str, Field); 7] = [
    ("destination-ports", Field::DestinationPorts),
    ("source", Field::Source),
    ("destination", Field::Destination),
    ("in-interface", Field::InInterface),
    ("out-interface", Field::OutInterface),
    ("limit", Field::Limit),
    ("log-prefix", Field::LogPrefix),
];

/// The fields that still lack something, by their labels.
pub(super) fn lacking(template: &Template, given: &Given) -> Vec<String> {
    let is_empty = |name: &str| given.get(name).is_none_or(|text| text.trim().is_empty());
    let fields = template.fields.iter();
    fields
        .filter(|field| field.required && is_empty(&field.name))
        .map(|field| field.label.clone())
        .collect()
}

/// The rules that a row makes: none in the other family, several for several protocols.
pub(super) fn rules(rule: &Rule, given: &Given, names: &Names, family: Family) -> Vec<Composed> {
    let other_family = rule.family.as_ref().is_some_and(|own| own != family.name());
    let not_asked = (rule.when.as_ref()).is_some_and(|name| value(name, given).is_empty());
    if other_family || not_asked {
        return Vec::new();
    }
    let mut given = given.clone();
    let protocols = if rule.spec.contains("{protocol}") {
        protocols(&given, names)
    } else {
        vec![String::new()]
    };
    protocols
        .into_iter()
        .map(|protocol| {
            given.insert("protocol".to_owned(), protocol);
            one(rule, &given, family)
        })
        .collect()
}

fn one(rule: &Rule, given: &Given, family: Family) -> Composed {
    let (table, chain) = (rule.table.clone(), filled(&rule.chain, given, family));
    let mut spec = filled(&rule.spec, given, family).into_bytes();
    // Nothing that a template sets depends on the chains that there are.
    let site = Site {
        family,
        backend: None,
        table: table.clone(),
        chain: chain.clone().into_bytes(),
        hooks: Vec::new(),
        chains: Vec::new(),
        builtin: Vec::new(),
    };
    for (name, field) in FIELDS {
        let text = rule.set.get(name).map(|text| filled(text, given, family));
        if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
            spec = form::set(&spec, field, &text, &site);
        }
    }
    Composed { table, chain, spec }
}

/// The protocols: those given, else those under which the machine knows the service, else TCP.
fn protocols(given: &Given, names: &Names) -> Vec<String> {
    let typed = value("protocol", given);
    let listed: Vec<String> = typed
        .split([',', '+', ' '])
        .filter(|one| !one.is_empty())
        .map(str::to_lowercase)
        .collect();
    if !listed.is_empty() {
        return listed;
    }
    let service = ["service", "to-port", "port"]
        .iter()
        .map(|name| value(name, given))
        .find(|text| !text.is_empty());
    let mut found: Vec<String> = Vec::new();
    for one in service.unwrap_or_default().split(',') {
        for service in names.services_of(one.trim()) {
            let usual = matches!(service.protocol.as_str(), "tcp" | "udp");
            if usual && !found.contains(&service.protocol) {
                found.push(service.protocol.clone());
            }
        }
    }
    if found.is_empty() {
        found.push("tcp".to_owned());
    }
    found
}

fn value<'g>(name: &str, given: &'g Given) -> &'g str {
    given.get(name).map_or("", |text| text.trim_start())
}

/// The text with what stands in braces filled in.
fn filled(text: &str, given: &Given, family: Family) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            out.push('{');
            rest = after;
            continue;
        };
        out.push_str(&hole(name, given, family));
        rest = behind;
    }
    out.push_str(rest);
    out
}

fn hole(name: &str, given: &Given, family: Family) -> String {
    if let Some(parts) = name.strip_prefix("socket:") {
        let (address, port) = parts.split_once(',').unwrap_or((parts, ""));
        // DNAT takes numbers, and a range with a hyphen.
        let (address, port) = (value(address, given).trim(), value(port, given).trim());
        let port = port.replace(':', "-");
        return match (port.is_empty(), family) {
            (true, _) => address.to_owned(),
            (false, Family::V4) => format!("{address}:{port}"),
            (false, Family::V6) => format!("[{address}]:{port}"),
        };
    }
    let first = name.split('|').map(|name| value(name, given));
    let found = first.into_iter().find(|text| !text.trim().is_empty());
    found.unwrap_or_default().to_owned()
}
