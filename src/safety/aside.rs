//! Rules that only `nft` can say, taken out of iptables' tables for the moment in which a change is undone.
//!
//! One such rule, added by somebody while a change is pending, makes the save tool fail or leave its whole table
//! out, and the restore tool refuse it: nothing could be undone by iptables' own means any more but by replacing the
//! table, which would lose the rule. So where a table cannot be read, these rules are taken out with `nft`, the
//! change is undone as ever, and they are put back where they stood. They are missing for some hundredths of a
//! second; the change that nobody confirmed would stay for good.
//!
//! What was taken out stands in a file until it is back, so that a guard that is killed in between leaves it to the
//! next one.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::carry;
use super::places;
use super::record::{Leg, State};
use crate::netfilter::netlink::Netlink;
use crate::netfilter::nftables::inspect::{self, Inspection};
use crate::netfilter::xtables::{Tools, beside};
use crate::ruleset::{Backend, Family, Warning};

/// The rules that are out, in the order in which they stood.
#[derive(Debug, Default)]
pub(super) struct Aside {
    file: PathBuf,
    /// As `nft -j` prints a rule, with the place that it had in its chain as `index`, from 0.
    rules: Vec<Value>,
}

/// Why the rulesets of that leg cannot be read whole; `None` where they can.
pub(super) fn unreadable(tools: &Tools, leg: &Leg) -> Option<String> {
    if leg.origin.backend == Backend::Legacy {
        return None;
    }
    let now = match carry::read(tools, leg.origin) {
        Ok(now) => now,
        Err(error) => return Some(error.to_string()),
    };
    let ours = |name: &str| {
        [&leg.before, &leg.after]
            .iter()
            .any(|set| set.find_table(name).is_some())
    };
    now.warnings().iter().find_map(|warning| match warning {
        Warning::TableIncompatible(table) if ours(table) => Some(format!(
            "{} table {table} holds rules that only nft can say",
            leg.origin
        )),
        _ => None,
    })
}

impl Aside {
    /// What a guard before us had taken out and not put back.
    pub(super) fn left(state: &State, id: &str, leg: &Leg) -> Self {
        let file = state.file_of(id, &format!("{}.aside", leg.origin));
        let rules = fs::read(&file)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        Self {
            file,
            rules: rules.unwrap_or_default(),
        }
    }

    /// Takes the rules out that iptables cannot say, of every table of the leg.
    pub(super) fn take(&mut self, leg: &Leg) -> Result<(), String> {
        let out = listed(leg)?;
        if out.is_empty() {
            return Err("no rule in it is strange to iptables".to_owned());
        }
        // One that a guard before us wrote down and did not get round to is still there, and counts once.
        let is_same = |old: &Value, new: &Value| {
            ["table", "chain", "handle"]
                .iter()
                .all(|key| old[key] == new[key])
        };
        self.rules
            .retain(|old| !out.iter().any(|new| is_same(old, new)));
        self.rules.extend(out.iter().cloned());
        // A folder that is full must not keep the change in force.
        self.write_down();
        let commands: Vec<Value> = out
            .iter()
            .map(|rule| json!({"delete": {"rule": named(rule, &["handle"])}}))
            .collect();
        match load(&commands) {
            Ok(()) => Ok(()),
            Err(why) => {
                self.rules.truncate(self.rules.len() - out.len());
                self.write_down();
                Err(why)
            }
        }
    }

    /// Puts them back; a remark on each that could not be, with its words.
    pub(super) fn put_back(mut self) -> Vec<String> {
        let mut remarks = Vec::new();
        while !self.rules.is_empty() {
            let rule = self.rules.remove(0);
            let index = rule["index"].as_u64().unwrap_or(0);
            let mut new = named(&rule, &["expr", "comment"]);
            // Behind the rule that stood before it; the end of the chain where there are fewer now.
            let command = match index.checked_sub(1) {
                None => json!({"insert": {"rule": new}}),
                Some(before) => {
                    new["index"] = json!(before);
                    json!({"add": {"rule": new}})
                }
            };
            let done = load(&[command]).or_else(|_| {
                let new = named(&rule, &["expr", "comment"]);
                load(&[json!({"add": {"rule": new}})])
            });
            if let Err(why) = done {
                remarks.push(format!(
                    "a rule of another program could not be put back ({why}): {rule}"
                ));
            }
            self.write_down();
        }
        remarks
    }

    /// What is out now, for the guard after us; no file where nothing is.
    fn write_down(&self) {
        if self.rules.is_empty() {
            let _ = fs::remove_file(&self.file);
        } else {
            let text = serde_json::to_vec(&self.rules).unwrap_or_default();
            let _ = places::replace(&self.file, &text);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

/// The rules of the leg's tables that iptables has no words for, as [`Aside`] keeps them.
fn listed(leg: &Leg) -> Result<Vec<Value>, String> {
    let mut netlink = Netlink::open().map_err(|error| error.to_string())?;
    let seen =
        inspect::inspect(&mut netlink, leg.origin.family).map_err(|error| error.to_string())?;
    let family = match leg.origin.family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    };
    let strange = strange(&seen);
    let mut out = Vec::new();
    for table in tables(leg) {
        let listed = beside::nft(&["-j", "-a", "list", "table", family, &table], b"");
        let listed = listed.map_err(|error| error.to_string())?;
        let listed: Value = serde_json::from_slice(&listed).map_err(|error| error.to_string())?;
        let rules = listed["nftables"].as_array().into_iter().flatten();
        for rule in rules.filter_map(|entry| entry.get("rule")) {
            let (Some(chain), Some(handle)) = (rule["chain"].as_str(), rule["handle"].as_u64())
            else {
                continue;
            };
            if let Some(index) = strange.get(&(table.clone(), chain.to_owned(), handle)) {
                let mut rule = rule.clone();
                rule["index"] = json!(index);
                out.push(rule);
            }
        }
    }
    Ok(out)
}

/// Tables of both ends.
fn tables(leg: &Leg) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for set in [&leg.before, &leg.after] {
        names.extend(set.tables().iter().map(|table| table.name().to_owned()));
    }
    names.sort();
    names.dedup();
    names
}

/// Table, chain and handle of every rule that iptables has no words for, and where it stands in its chain.
fn strange(seen: &Inspection) -> HashMap<(String, String, u64), usize> {
    let mut found = HashMap::new();
    for (table, chain) in seen.chain_names() {
        let Some(number) = seen.find(table, chain) else {
            continue;
        };
        let of = seen.chain(number);
        let rules = seen.rules(&of);
        for (position, _) in seen.lossy(&of) {
            if let Some(rule) = rules.get(position) {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                found.insert((text(table), text(chain), rule.handle), position);
            }
        }
    }
    found
}

/// A rule's name, and these of its parts.
fn named(rule: &Value, parts: &[&str]) -> Value {
    let mut out = json!({});
    for part in ["family", "table", "chain"].iter().chain(parts) {
        if let Some(value) = rule.get(*part) {
            out[*part] = value.clone();
        }
    }
    out
}

fn load(commands: &[Value]) -> Result<(), String> {
    let text = json!({"nftables": commands}).to_string();
    let done = beside::nft(&["-j", "-f", "-"], text.as_bytes());
    done.map(drop).map_err(|error| error.to_string())
}
