//! The change as the tools carry it out: one `iptables-restore -n -c` text.
//!
//! Rules that stand still are not named at all, so they keep their counters and, in nf_tables, their
//! handles. The rest is `-D CHAIN NUMBER` from the bottom up, so that a deletion moves no rule that is
//! still to be deleted, and then `-I CHAIN NUMBER` from the top down, so that every rule lands on its
//! final number; a moved rule brings its counters. First of all come policies and new chains, since
//! rules may jump to those; deletions come before insertions in the whole table, so that a jump that
//! changes direction makes no loop on the way; chains that go, go last. Each table is one transaction.
//!
//! What the tools were seen to do (iptables 1.8.9, both back ends): restore with `-n` sets the policy
//! counters of every built-in chain of a legacy table to zero unless the text names them, so it does;
//! nf_tables leaves them alone. `-N` fails where somebody else made the chain meanwhile, `:CHAIN` would
//! empty it. `-Z CHAIN` of nft sets the policy back to what it was, so it comes before all else;
//! `-Z CHAIN NUMBER` is refused, so one rule is zeroed by taking it out and putting it back with `[0:0]`. `-R` and `-E` are not used: the one
//! crashes and the other fails in iptables-nft-restore. ip6tables-nft-restore 1.8.9 loads every counter
//! as zero, and nothing here can help that.

use std::collections::HashSet;

use crate::ruleset::{Backend, ChainIdx, CounterSet, Counters, Family, Policy, RuleIdx, Ruleset};

use super::check::unwritable;
use super::compare::{ChainPair, Comparison, compare_pinned, compare_traced};
use super::refused::shown;
use super::trace::Trace;

/// Why no script can be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// A rule would become another one on its way through the tool.
    #[error(
        "the rule -t {table} -A {chain} {spec} cannot be written back: {why}\nleave that rule and its order as they are, or change it with nft"
    )]
    Rule {
        /// Its table.
        table: String,
        /// Its chain.
        chain: String,
        /// What it says.
        spec: String,
        /// Why.
        why: &'static str,
    },
    /// A chain that iptables-restore cannot name.
    #[error(
        "chain {chain} of table {table} cannot be changed: its name holds a quote or a blank, which iptables-restore cannot read\nchange it with nft"
    )]
    Chain {
        /// Its table.
        table: String,
        /// Its name.
        chain: String,
    },
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Policy {
        chain: Vec<u8>,
        policy: Policy,
        counters: Counters,
        /// Stated only because the tool would lose its counters.
        kept: bool,
    },
    Zero {
        chain: Vec<u8>,
    },
    New {
        chain: Vec<u8>,
    },
    Delete {
        chain: Vec<u8>,
        number: u32,
    },
    Insert {
        chain: Vec<u8>,
        number: u32,
        spec: Vec<u8>,
        counters: Counters,
    },
    DeleteChain {
        chain: Vec<u8>,
    },
}

/// A change, ready for the tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    family: Family,
    backend: Option<Backend>,
    pub(super) tables: Vec<(Vec<u8>, Vec<Command>)>,
}

impl Script {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// How many commands there are; policies that are stated only to keep their counters left out.
    pub fn count(&self) -> usize {
        let counts = |command: &&Command| !matches!(command, Command::Policy { kept: true, .. });
        let commands = self.tables.iter().flat_map(|(_, commands)| commands);
        commands.filter(counts).count()
    }

    /// The text for `iptables-restore -n -c`: one COMMIT a table. Empty when there is nothing to do.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (table, commands) in &self.tables {
            out.push(b'*');
            out.extend_from_slice(table);
            out.push(b'\n');
            for command in commands {
                command.write(&mut out);
                out.push(b'\n');
            }
            out.extend_from_slice(b"COMMIT\n");
        }
        out
    }

    /// The command line that carries it out, for a shell, to be read and copied: the text as the tool's input, so
    /// that it stays one transaction a table also by hand. Line by line, `-P INPUT DROP` or a `-D` of the rule
    /// that lets the administrator in would take effect while the lines behind it are yet to come. Empty when there is
    /// nothing to do.
    pub fn shell(&self) -> Vec<u8> {
        if self.is_empty() {
            return Vec::new();
        }
        let family = match self.family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        let backend = self.backend.map_or("", |backend| match backend {
            Backend::Nft => "-nft",
            Backend::Legacy => "-legacy",
        });
        let mut text = format!("{family}{backend}-restore -n -c -w 5 <<'EOF'\n").into_bytes();
        text.extend(self.bytes());
        text.extend_from_slice(b"EOF\n");
        text
    }
}

impl Command {
    fn write(&self, out: &mut Vec<u8>) {
        let mut line = |parts: &[&[u8]]| {
            for (at, part) in parts.iter().filter(|part| !part.is_empty()).enumerate() {
                if at > 0 {
                    out.push(b' ');
                }
                out.extend_from_slice(part);
            }
        };
        let brackets =
            |counters: &Counters| format!("[{}:{}]", counters.packets, counters.bytes).into_bytes();
        match self {
            Self::Policy {
                chain,
                policy,
                counters,
                ..
            } => {
                let name = [b":", chain.as_slice()].concat();
                line(&[&name, policy.name().as_bytes(), &brackets(counters)]);
            }
            Self::Zero { chain } => line(&[b"-Z", chain]),
            Self::New { chain } => line(&[b"-N", chain]),
            Self::Delete { chain, number } => {
                line(&[b"-D", chain, number.to_string().as_bytes()]);
            }
            Self::Insert {
                chain,
                number,
                spec,
                counters,
            } => line(&[
                &brackets(counters),
                b"-I",
                chain,
                number.to_string().as_bytes(),
                spec,
            ]),
            Self::DeleteChain { chain } => line(&[b"-X", chain]),
        }
    }
}

/// What turns `from`, whose counters these are, into `to`. Both are of one family and back end. A rule that
/// only moves brings the counters of `from`, one that `from` does not have those in the text of `to`.
pub fn script(from: &Ruleset, to: &Ruleset, counters: &CounterSet) -> Result<Script, ScriptError> {
    script_around(from, to, counters, [])
}

/// The same, where of two rules that change places those of these texts stand still: another program may be about to
/// delete one by its handle, which a rule that is taken out and put back does not keep.
pub fn script_around(
    from: &Ruleset,
    to: &Ruleset,
    counters: &CounterSet,
    pinned: impl IntoIterator<Item = Vec<u8>>,
) -> Result<Script, ScriptError> {
    script_of(from, to, counters, pinned, None)
}

/// The same, where it is known which rule of `to` is which of `from`, and which of those nobody may touch.
pub fn script_traced(
    from: &Ruleset,
    to: &Ruleset,
    counters: &CounterSet,
    pinned: impl IntoIterator<Item = Vec<u8>>,
    trace: &Trace,
) -> Result<Script, ScriptError> {
    script_of(from, to, counters, pinned, Some(trace))
}

fn script_of(
    from: &Ruleset,
    to: &Ruleset,
    counters: &CounterSet,
    pinned: impl IntoIterator<Item = Vec<u8>>,
    trace: Option<&Trace>,
) -> Result<Script, ScriptError> {
    let mut pinned: HashSet<Vec<u8>> = pinned.into_iter().collect();
    let most = pinned.len() + PINNED;
    loop {
        // Of two rules that change places either can be the one that is taken out and put back; where the
        // text of one cannot be, it is the other.
        match script_with(from, to, counters, &pinned, trace) {
            Err(Unwritable::Rule { text, error }) => {
                if pinned.len() >= most || !pinned.insert(text) {
                    return Err(error);
                }
            }
            Err(Unwritable::Chain(error)) => return Err(error),
            Ok(script) => return Ok(script),
        }
    }
}

/// How many such rules are looked for: nobody has more of them by accident.
const PINNED: usize = 100;

enum Unwritable {
    Rule { text: Vec<u8>, error: ScriptError },
    Chain(ScriptError),
}

fn script_with(
    from: &Ruleset,
    to: &Ruleset,
    counters: &CounterSet,
    pinned: &HashSet<Vec<u8>>,
    trace: Option<&Trace>,
) -> Result<Script, Unwritable> {
    let comparison = match trace {
        Some(trace) => compare_traced(from, to, pinned, trace),
        None => compare_pinned(from, to, pinned),
    };
    if let Some(error) = trace.and_then(|trace| trace.broken(&comparison)) {
        // Nothing would come of holding it: it is held already.
        return Err(Unwritable::Chain(error));
    }
    let writer = Writer {
        comparison: &comparison,
        counters,
        brought: to.saved_counters(),
    };
    let mut tables = Vec::new();
    for table in &comparison.tables {
        let commands = writer.table(table.name, &table.chains)?;
        if !commands.is_empty() {
            tables.push((table.name.to_vec(), commands));
        }
    }
    Ok(Script {
        family: from.family(),
        backend: from.backend(),
        tables,
    })
}

struct Writer<'a> {
    comparison: &'a Comparison<'a>,
    counters: &'a CounterSet,
    /// What the text of the new ruleset carries.
    brought: CounterSet,
}

impl Writer<'_> {
    fn table(&self, table: &[u8], chains: &[ChainPair<'_>]) -> Result<Vec<Command>, Unwritable> {
        let mut rules = Vec::new();
        let (mut zeroes, mut comes, mut goes) = (Vec::new(), Vec::new(), Vec::new());
        for chain in chains {
            let name = || chain.name.to_vec();
            let before = rules.len() + zeroes.len() + comes.len() + goes.len();
            if self.is_chain_zeroed(chain) {
                zeroes.push(Command::Zero { chain: name() });
            }
            if !chain.builtin && chain.from.is_none() {
                comes.push(Command::New { chain: name() });
            }
            self.delete(chain, &mut rules);
            if !chain.builtin && chain.to.is_none() {
                goes.push(Command::DeleteChain { chain: name() });
            }
            let touched = rules.len() + zeroes.len() + comes.len() + goes.len() > before
                || !chain.added.is_empty();
            if touched && !is_nameable(chain.name) {
                return Err(Unwritable::Chain(ScriptError::Chain {
                    table: shown(table),
                    chain: shown(chain.name),
                }));
            }
        }
        for chain in chains {
            self.insert(table, chain, &mut rules)?;
        }
        let idle = rules.is_empty() && zeroes.is_empty() && comes.is_empty() && goes.is_empty();
        let policies = self.policies(chains, idle);
        let mut commands = zeroes;
        commands.extend(policies);
        commands.extend(comes);
        commands.extend(rules);
        commands.extend(goes);
        Ok(commands)
    }

    /// Policies that change, and for legacy, where anything is done to the table, the others as well.
    fn policies(&self, chains: &[ChainPair<'_>], idle: bool) -> Vec<Command> {
        let (from, to) = (self.comparison.from, self.comparison.to);
        let changes = |chain: &ChainPair<'_>| {
            chain
                .policies(from, to)
                .is_some_and(|(old, new)| old != new)
        };
        let touched = !idle || chains.iter().any(changes);
        let states_all = from.backend() == Some(Backend::Legacy) && touched;
        let stated = chains.iter().filter_map(|chain| {
            let changes = changes(chain);
            let (_, policy) = chain.policies(from, to)?;
            let counters = match chain.from {
                Some(chain_from) if !self.is_chain_zeroed(chain) => {
                    self.counters.policy(chain_from)
                }
                _ => Counters::default(),
            };
            (changes || states_all).then(|| Command::Policy {
                chain: chain.name.to_vec(),
                policy,
                counters,
                kept: !changes,
            })
        });
        stated.collect()
    }

    fn is_chain_zeroed(&self, chain: &ChainPair<'_>) -> bool {
        let zeroed = |to: ChainIdx| self.comparison.to.is_chain_zeroed(to);
        chain.from.is_some() && chain.to.is_some_and(zeroed)
    }

    /// A rule that stands still but is to be counted from zero is taken out and put back.
    fn is_put_back(&self, chain: &ChainPair<'_>, rule: RuleIdx) -> bool {
        self.comparison.to.is_zeroed(rule) && !self.is_chain_zeroed(chain)
    }

    fn delete(&self, chain: &ChainPair<'_>, commands: &mut Vec<Command>) {
        let from = self.comparison.from;
        let put_back = chain
            .kept
            .iter()
            .filter(|(_, new)| self.is_put_back(chain, *new));
        let mut numbers: Vec<u32> = chain
            .removed
            .iter()
            .map(|removed| removed.rule)
            .chain(put_back.map(|(old, _)| *old))
            .map(|rule| from.number(rule))
            .collect();
        numbers.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
        commands.extend(numbers.into_iter().map(|number| Command::Delete {
            chain: chain.name.to_vec(),
            number,
        }));
    }

    fn insert(
        &self,
        table: &[u8],
        chain: &ChainPair<'_>,
        commands: &mut Vec<Command>,
    ) -> Result<(), Unwritable> {
        let to = self.comparison.to;
        let put_back = chain
            .kept
            .iter()
            .filter(|(_, new)| self.is_put_back(chain, *new));
        let mut comes: Vec<(RuleIdx, Counters)> = chain
            .added
            .iter()
            .map(|added| {
                let starts_anew = to.is_zeroed(added.rule) || self.is_chain_zeroed(chain);
                let counters = match added.counts_on {
                    _ if starts_anew => Counters::default(),
                    Some(was) => self.counters.rule(was),
                    // A rule that comes back brings what it had; a new one has nothing.
                    None => self.brought.rule(added.rule),
                };
                (added.rule, counters)
            })
            .chain(put_back.map(|(_, new)| (*new, Counters::default())))
            .collect();
        comes.sort_unstable_by_key(|(rule, _)| to.number(*rule));
        for (rule, counters) in comes {
            let spec = to.rule_text(rule);
            let is_chain = |name: &[u8]| to.chain_meant(rule, name).is_some();
            if let Some(why) = unwritable(&spec, to.family(), &is_chain) {
                return Err(Unwritable::Rule {
                    text: spec.to_vec(),
                    error: ScriptError::Rule {
                        table: shown(table),
                        chain: shown(chain.name),
                        spec: shown(&spec),
                        why,
                    },
                });
            }
            commands.push(Command::Insert {
                chain: chain.name.to_vec(),
                number: to.number(rule),
                spec: spec.into_owned(),
                counters,
            });
        }
        Ok(())
    }
}

/// A name that the words of a restore line can hold.
fn is_nameable(name: &[u8]) -> bool {
    !name
        .iter()
        .any(|b| matches!(b, b'"' | b' ' | b'\t' | b'\n' | b'\r' | 0))
}
