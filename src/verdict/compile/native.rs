//! Native nft chains as chains of the program.
//!
//! A rule that iptables has words for is compiled like any other. One that may do several things becomes as many
//! rules, each with a question of its own, so that every combination is followed. A chain whose rules were
//! not read is one rule that may do everything.
//!
//! A table of iptables' own of which its save tool says no more than that it is incompatible is such chains too: it
//! is absent from the dump, and its rules decide all the same.

use super::{Compiler, matches, target};
use crate::flow::Hook;
use crate::ruleset::{
    Backend, BaseChain, ChainIdx, Effects, Family, NativeDoes, NativeRule, NativeRules, NftFamily,
    Policy, Ruleset, Spec, Warning,
};
use crate::verdict::program::{
    Action, Chain, Change, End, NATIVE, Rule, Stage, TableKind, priority,
};

/// Priorities at which the kernel runs all chains of type nat, whatever their own is: that orders them among
/// themselves only (net/netfilter/nf_nat_proto.c, `nf_nat_ipv4_ops`).
const NAT: [i32; 2] = [-100, 100];

/// What a rule does here, before it has a place.
enum Act {
    Plain(Action),
    Change(Change),
    Target(String),
    Call { chain: usize, goto: bool },
}

/// One rule of the program: its words, whether more is asked than they say, and what it does.
struct Line<'a> {
    tests: &'a str,
    open: bool,
    act: Act,
}

/// The chains at a hook of tables that iptables-nft could not print.
pub(super) fn not_printed(ruleset: &Ruleset, hook: Hook) -> impl Iterator<Item = BaseChain> {
    let absent = ruleset
        .warnings()
        .iter()
        .filter_map(|warning| match warning {
            Warning::TableIncompatible(table) if ruleset.find_table(table).is_none() => Some(table),
            _ => None,
        });
    absent.filter_map(move |table| {
        let kind = TableKind::named(table);
        Some(BaseChain {
            family: match ruleset.family() {
                Family::V4 => NftFamily::Ip,
                Family::V6 => NftFamily::Ip6,
            },
            table: table.to_string(),
            chain: hook.chain().to_owned(),
            kind: if kind == TableKind::Nat {
                "nat".to_owned()
            } else {
                "filter".to_owned()
            },
            hook: hook.chain(),
            priority: priority(kind, hook, Some(Backend::Nft))?,
            // Its rules may do anything, so that the policy says nothing more.
            drops_by_default: false,
            devices: Vec::new(),
            rules: 1,
            read: None,
            owner: None,
            dormant: false,
        })
    })
}

impl Compiler {
    /// A native chain at its hook, if it can do anything to a packet there: the priority of the kernel, its own,
    /// and the stage. What a device hands in first (`ingress`) comes before everything else.
    pub(super) fn native(&mut self, chain: &BaseChain, hook: Hook) -> Option<((i32, i32), Stage)> {
        let here = match chain.hook {
            "ingress" => hook == Hook::Prerouting,
            name => hook.chain().eq_ignore_ascii_case(name),
        };
        let idle = chain.dormant || chain.rules == 0 && !chain.drops_by_default;
        let sees = chain.family.sees(self.program.family) && chain.family != NftFamily::Bridge;
        if !here || idle || !sees {
            return None;
        }
        let is_nat = chain.kind == "nat";
        let kind = if is_nat {
            TableKind::Nat
        } else {
            TableKind::Other
        };
        let number = u32::try_from(self.program.natives.len()).ok()?;
        let name = format!("{} {} {}", chain.family, chain.table, chain.chain);
        self.program.natives.push(name.into());
        let unread = NativeRules {
            chains: vec![vec![NativeRule {
                family: None,
                tests: String::new(),
                open: true,
                does: NativeDoes::May(Effects::all(is_nat)),
            }]],
        };
        let rules = match &chain.read {
            _ if chain.rules == 0 => &NativeRules::default(),
            Some(read) => read,
            None => &unread,
        };
        let policy = if chain.drops_by_default {
            Policy::Drop
        } else {
            Policy::Accept
        };
        let first = u32::try_from(self.program.chains.len()).ok()?;
        self.native_rules(rules, number, kind, policy);
        let at = match (chain.hook, is_nat) {
            ("ingress", _) => i32::MIN,
            (_, true) if matches!(hook, Hook::Prerouting | Hook::Output) => NAT[0],
            (_, true) => NAT[1],
            _ => chain.priority,
        };
        Some(((at, chain.priority), Stage::Chain(first)))
    }

    fn native_rules(&mut self, rules: &NativeRules, number: u32, kind: TableKind, policy: Policy) {
        let family = self.program.family;
        let is_seen = |rule: &&NativeRule| rule.family.is_none_or(|only| only == family);
        let mut lists: Vec<Vec<Line<'_>>> = rules
            .chains
            .iter()
            .map(|chain| chain.iter().filter(is_seen).flat_map(lines).collect())
            .collect();
        if lists.is_empty() {
            lists.push(Vec::new());
        }
        let mut entries = Vec::new();
        let mut next = u32::try_from(self.program.rules.len()).unwrap_or(u32::MAX);
        for list in &lists {
            entries.push(next);
            let length = u32::try_from(list.len()).unwrap_or(u32::MAX - 1);
            next = next.saturating_add(length).saturating_add(1);
        }
        for (at, list) in lists.into_iter().enumerate() {
            let own = u32::try_from(self.program.chains.len()).unwrap_or(u32::MAX);
            let entry = u32::try_from(self.program.rules.len()).unwrap_or(u32::MAX);
            let length = u32::try_from(list.len()).unwrap_or(u32::MAX);
            self.program.chains.push(Chain {
                ruleset: NATIVE,
                index: ChainIdx(number),
                entry,
                end: entry.saturating_add(length),
                policy: (at == 0).then_some(End::Policy(policy)),
                table: kind,
            });
            for line in list {
                self.line(line, own, &entries);
            }
            self.end_of_chain(own);
        }
    }

    fn line(&mut self, line: Line<'_>, own: u32, entries: &[u32]) {
        let first = self.program.conds.len();
        let family = self.program.family;
        let text = match &line.act {
            Act::Target(target) => format!("{} {target}", line.tests),
            _ => line.tests.to_owned(),
        };
        let spec = Spec::parse(text.as_bytes(), family, &|_| false);
        matches::conditions(&spec, true, &mut self.program.conds);
        if line.open {
            // Another question for each, though the words are the same.
            let why = "what more a native rule asks is not read";
            let unknown = matches::unknown(format!("rule {}", self.program.rules.len()), why);
            self.program.conds.push(unknown);
        }
        let count = u16::try_from(self.program.conds.len() - first).unwrap_or(u16::MAX);
        let action = match line.act {
            Act::Plain(action) => action,
            Act::Change(change) => self.change(change),
            Act::Target(_) => {
                let meaning = target::meaning(&spec, &|_| None);
                self.action(meaning)
            }
            Act::Call { chain, goto } => match entries.get(chain) {
                Some(entry) if goto => Action::Goto(*entry),
                Some(entry) => Action::Jump(*entry),
                None => Action::Next,
            },
        };
        self.program.rules.push(Rule {
            first: u32::try_from(first).unwrap_or(u32::MAX),
            count,
            chain: own,
            action,
        });
    }
}

/// A rule as rules that do one thing each.
fn lines(rule: &NativeRule) -> Vec<Line<'_>> {
    let line = |open: bool, act: Act| Line {
        tests: &rule.tests,
        open,
        act,
    };
    let effects = match &rule.does {
        NativeDoes::Target(target) => return vec![line(rule.open, Act::Target(target.clone()))],
        NativeDoes::Call { chain, goto } => {
            let (chain, goto) = (*chain, *goto);
            return vec![line(rule.open, Act::Call { chain, goto })];
        }
        NativeDoes::May(effects) => *effects,
    };
    let mut lines = Vec::new();
    if effects.changes() {
        let plain = Effects {
            dnat: false,
            snat: false,
            ..effects
        };
        // What may have been changed is as unknown as what was.
        lines.push(line(false, Act::Change(Change::May(plain))));
    }
    if effects.state {
        lines.push(line(true, Act::Change(Change::Notrack)));
    }
    for (is, dnat) in [(effects.dnat, true), (effects.snat, false)] {
        if is {
            let one = Effects {
                dnat,
                snat: !dnat,
                ..Effects::default()
            };
            // Of several things it may be another.
            let open = rule.open || effects.ends;
            lines.push(line(open, Act::Change(Change::May(one))));
        }
    }
    if effects.ends {
        lines.push(line(true, Act::Plain(Action::Drop)));
        lines.push(line(true, Act::Plain(Action::Accept)));
    }
    lines
}

/// Whether a change is one of those that end a nat table.
pub(super) fn is_nat(change: &Change) -> bool {
    matches!(
        change,
        Change::Dnat(_)
            | Change::Snat(_)
            | Change::Redirect(_)
            | Change::Masquerade(_)
            | Change::Netmap(_)
    ) || matches!(change, Change::May(effects) if effects.dnat || effects.snat)
}
