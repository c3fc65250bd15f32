//! A small model of iptables-restore: lists of rules, and the few commands that a script has.
//!
//! It knows nothing of how scripts are made, and refuses what the tools refuse: a number that is not
//! there, a jump to a chain that is not there, a chain deleted while it holds rules or is jumped to.

use std::collections::BTreeMap;

use ruletop::ruleset::{Backend, Counters, Ruleset, jump_in};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    pub policy: Option<String>,
    pub counters: (u64, u64),
    pub rules: Vec<(String, (u64, u64))>,
}

pub type Table = BTreeMap<String, Chain>;

/// Chains by table and name: the policy, and what the rules say.
pub type Rules = BTreeMap<String, BTreeMap<String, (Option<String>, Vec<String>)>>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    pub tables: BTreeMap<String, Table>,
    pub is_legacy: bool,
}

fn pair(counters: Counters) -> (u64, u64) {
    (counters.packets, counters.bytes)
}

impl Firewall {
    pub fn of(ruleset: &Ruleset) -> Self {
        let counters = ruleset.saved_counters();
        let mut tables = BTreeMap::new();
        for table in ruleset.tables() {
            let mut chains = Table::new();
            for index in table.chains() {
                let chain = ruleset.chain(*index);
                let rule = |rule: &ruletop::ruleset::RuleIdx| {
                    let spec = String::from_utf8(ruleset.rule_text(*rule).into_owned()).unwrap();
                    (spec, pair(counters.rule(*rule)))
                };
                let made = Chain {
                    policy: chain.policy().map(|policy| policy.name().to_owned()),
                    counters: pair(counters.policy(*index)),
                    rules: chain.rules().iter().map(rule).collect(),
                };
                let twice = chains.insert(chain.name().to_owned(), made);
                assert!(twice.is_none(), "chain {} twice", chain.name());
            }
            tables.insert(table.name().to_owned(), chains);
        }
        Self {
            tables,
            is_legacy: ruleset.backend() == Some(Backend::Legacy),
        }
    }

    /// Without counters, and without what is as good as not there.
    pub fn rules_only(&self) -> Rules {
        let mut tables = BTreeMap::new();
        for (name, table) in &self.tables {
            let mut chains = BTreeMap::new();
            for (name, chain) in table {
                let idle = chain.rules.is_empty() && chain.policy.as_deref() == Some("ACCEPT");
                if !idle {
                    let rules = chain.rules.iter().map(|rule| rule.0.clone()).collect();
                    chains.insert(name.clone(), (chain.policy.clone(), rules));
                }
            }
            if !chains.is_empty() {
                tables.insert(name.clone(), chains);
            }
        }
        tables
    }

    /// Carries out a script; what the tool would refuse.
    pub fn restore(&mut self, script: &str) -> Result<(), String> {
        let mut open: Option<(String, Table)> = None;
        for line in script.lines() {
            let refused = |why: &str| Err(format!("{line}: {why}"));
            if let Some(name) = line.strip_prefix('*') {
                let table = self.tables.get(name).cloned().unwrap_or_default();
                open = Some((name.to_owned(), self.opened(name, table)));
                continue;
            }
            let Some((name, table)) = &mut open else {
                return refused("outside a table");
            };
            if line == "COMMIT" {
                check_jumps(table)?;
                self.tables.insert(name.clone(), table.clone());
                open = None;
                continue;
            }
            command(table, line)?;
        }
        Ok(())
    }

    /// A table as the tool sees it: built-in chains are there, and legacy's lose their counters.
    fn opened(&self, name: &str, mut table: Table) -> Table {
        for chain in ruletop::ruleset::builtin_chains(name.as_bytes()) {
            let chain = table.entry((*chain).to_owned()).or_default();
            chain.policy.get_or_insert_with(|| "ACCEPT".to_owned());
            if self.is_legacy {
                chain.counters = (0, 0);
            }
        }
        table
    }
}

fn target(spec: &str) -> Option<&str> {
    let (at, _) = jump_in(spec.as_bytes())?;
    spec.get(at)
}

fn check_jumps(table: &Table) -> Result<(), String> {
    for (name, chain) in table {
        for (spec, _) in &chain.rules {
            let target = target(spec).unwrap_or_default();
            let known = ["", "ACCEPT", "DROP", "RETURN", "LOG"].contains(&target);
            if !known && !table.contains_key(target) {
                return Err(format!("-A {name} {spec}: no such chain"));
            }
        }
    }
    Ok(())
}

fn counters(text: &str) -> (u64, u64) {
    let text = text.strip_prefix('[').unwrap().strip_suffix(']').unwrap();
    let (packets, bytes) = text.split_once(':').unwrap();
    (packets.parse().unwrap(), bytes.parse().unwrap())
}

fn command(table: &mut Table, line: &str) -> Result<(), String> {
    let refused = |why: &str| Err(format!("{line}: {why}"));
    if let Some(rest) = line.strip_prefix(':') {
        let words: Vec<&str> = rest.split(' ').collect();
        let Some(chain) = table
            .get_mut(words[0])
            .filter(|chain| chain.policy.is_some())
        else {
            return refused("no built-in chain");
        };
        chain.policy = Some(words[1].to_owned());
        chain.counters = counters(words[2]);
        return Ok(());
    }
    let (brackets, rest) = match line.strip_prefix('[') {
        Some(_) => line.split_once(' ').unwrap(),
        None => ("[0:0]", line),
    };
    let mut words = rest.splitn(4, ' ');
    let (verb, name) = (words.next().unwrap(), words.next().unwrap());
    let number: usize = words.next().map_or(0, |number| number.parse().unwrap());
    let spec = words.next().unwrap_or_default();
    if verb == "-N" {
        let is_new = table.insert(name.to_owned(), Chain::default()).is_none();
        return if is_new {
            Ok(())
        } else {
            refused("there already")
        };
    }
    let uses = table.values().flat_map(|chain| &chain.rules);
    let in_use = uses.filter(|(spec, _)| target(spec) == Some(name)).count() > 0;
    let Some(chain) = table.get_mut(name) else {
        return refused("no such chain");
    };
    match verb {
        "-D" if (1..=chain.rules.len()).contains(&number) => {
            chain.rules.remove(number - 1);
        }
        "-I" if (1..=chain.rules.len() + 1).contains(&number) => {
            chain
                .rules
                .insert(number - 1, (spec.to_owned(), counters(brackets)));
        }
        "-Z" => {
            chain.counters = (0, 0);
            chain.rules.iter_mut().for_each(|rule| rule.1 = (0, 0));
        }
        "-X" if chain.rules.is_empty() && chain.policy.is_none() && !in_use => {
            table.remove(name);
        }
        _ => return refused("cannot be done"),
    }
    Ok(())
}
