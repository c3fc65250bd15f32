//! Native nft chains as chains of the program.
//!
//! A rule that iptables has words for is compiled like any other. One that may do several things becomes as many
//! rules, each with a question of its own, so that every combination is followed. A chain whose rules were
//! not read is one rule that may do everything.
//!
//! A chain of a device (`ingress`, `egress`) is met by packets that come or leave by it; whether by one that stands
//! upon it (a VLAN, a bond, a bridge, a tunnel) is not known here, so that of packets by another device than the
//! loopback it is open.
//!
//! A table of iptables' own of which its save tool says no more than that it is incompatible is such chains too: it
//! is absent from the dump, and its rules decide all the same.

use super::{Compiler, matches, target};
use crate::flow::Hook;
use crate::ruleset::{
    Backend, BaseChain, ChainIdx, Effects, Family, NativeDoes, NativeRule, NativeRules, NftFamily,
    Policy, Ruleset, Spec, Warning,
};
use crate::verdict::cond::{Cond, NativeTest, Odd};
use crate::verdict::program::{
    Action, Chain, Change, End, NATIVE, Rule, Stage, TableKind, priority,
};
use crate::verdict::state::{LO, name_bits};

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

/// One rule of the program: its words, what more than they say must hold, and what it does.
struct Line<'a> {
    tests: &'a str,
    open: Option<Open<'a>>,
    act: Act,
}

/// What is not known of a rule: that `place` of its chain `does` it.
struct Open<'a> {
    place: &'a str,
    does: &'static str,
}

/// What a base chain is called: its place in [`Program::natives`](crate::verdict::program::Program::natives), its
/// name in words, and why its rules are open where they are.
struct Names<'a> {
    number: u32,
    whose: &'a str,
    why: &'static str,
}

/// What rules may do of which nothing was read.
const UNREAD: &str = "its rules are not read";

/// What is open of a rule that was read in part.
const IN_PART: &str = "what more a native rule asks is not read";

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
    /// A chain of a table that iptables cannot print.
    pub(super) fn unprinted(
        &mut self,
        chain: &BaseChain,
        hook: Hook,
    ) -> Option<((i32, i32), Stage)> {
        let (family, table, name) = (chain.family, &chain.table, &chain.chain);
        let whose =
            format!("the native chain {family} {table} {name}, whose table iptables cannot print");
        self.base_chain(chain, hook, &whose)
    }

    /// A native chain at its hook, if it can do anything to a packet there: the priority of the kernel, its own,
    /// and the stage. What a device hands in first (`ingress`) comes before everything else.
    pub(super) fn native(&mut self, chain: &BaseChain, hook: Hook) -> Option<((i32, i32), Stage)> {
        let whose = format!(
            "the native chain {} {} {}",
            chain.family, chain.table, chain.chain
        );
        self.base_chain(chain, hook, &whose)
    }

    fn base_chain(
        &mut self,
        chain: &BaseChain,
        hook: Hook,
        whose: &str,
    ) -> Option<((i32, i32), Stage)> {
        let here = match chain.hook {
            "ingress" => hook == Hook::Prerouting,
            "egress" => hook == Hook::Postrouting,
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
                place: "a rule".to_owned(),
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
        let why = if chain.read.is_some() {
            IN_PART
        } else {
            UNREAD
        };
        let names = Names { number, whose, why };
        if matches!(chain.hook, "ingress" | "egress") && !chain.devices.is_empty() {
            self.gate(chain, &names, kind, policy);
            self.native_rules(rules, &names, kind, None);
        } else {
            self.native_rules(rules, &names, kind, Some(policy));
        }
        let at = match (chain.hook, is_nat) {
            ("ingress", _) => i32::MIN,
            ("egress", _) => i32::MAX,
            (_, true) if matches!(hook, Hook::Prerouting | Hook::Output) => NAT[0],
            (_, true) => NAT[1],
            _ => chain.priority,
        };
        Some(((at, chain.priority), Stage::Chain(first)))
    }

    /// The way into the chain of a device, which is laid out next: a base chain that sends there what comes or
    /// leaves by it, and one that calls it and ends as it does.
    fn gate(&mut self, chain: &BaseChain, names: &Names<'_>, kind: TableKind, policy: Policy) {
        let out = chain.hook == "egress";
        let mut asked: Vec<Vec<Cond>> = Vec::new();
        for name in &chain.devices {
            asked.extend(device(name, out).map(|cond| vec![cond]));
        }
        let devices = chain.devices.join(", ");
        let upon = Cond::Odd(Box::new(Odd::Native(NativeTest {
            whose: names.whose.into(),
            what: format!("a device upon {devices} leads to it").into(),
            unread: false,
            why: "which devices stand upon which is not known",
        })));
        let not_loopback = Cond::Iface {
            out,
            bits: LO,
            mask: u128::MAX,
            invert: true,
        };
        asked.push(vec![not_loopback, upon]);
        let place = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let within = place(self.program.rules.len() + asked.len() + 1);
        let own = self.chain(names, asked.len(), kind, Some(Policy::Accept));
        for conds in asked {
            self.lead(conds, own, Action::Goto(within));
        }
        self.end_of_chain(own);
        let drops = policy == Policy::Drop;
        let own = self.chain(names, 1 + usize::from(drops), kind, None);
        let entry = within.saturating_add(2 + u32::from(drops));
        self.lead(Vec::new(), own, Action::Jump(entry));
        if drops {
            self.lead(Vec::new(), own, Action::Drop);
        }
        self.end_of_chain(own);
    }

    /// A rule of conditions that are there already.
    fn lead(&mut self, conds: Vec<Cond>, own: u32, action: Action) {
        let first = u32::try_from(self.program.conds.len()).unwrap_or(u32::MAX);
        let count = u16::try_from(conds.len()).unwrap_or(u16::MAX);
        self.program.conds.extend(conds);
        self.program.rules.push(Rule {
            first,
            count,
            chain: own,
            action,
        });
    }

    /// A chain of so many rules, which are to follow.
    fn chain(
        &mut self,
        names: &Names<'_>,
        length: usize,
        table: TableKind,
        policy: Option<Policy>,
    ) -> u32 {
        let own = u32::try_from(self.program.chains.len()).unwrap_or(u32::MAX);
        let entry = u32::try_from(self.program.rules.len()).unwrap_or(u32::MAX);
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.program.chains.push(Chain {
            ruleset: NATIVE,
            index: ChainIdx(names.number),
            entry,
            end: entry.saturating_add(length),
            policy: policy.map(End::Policy),
            table,
        });
        own
    }

    /// `policy` is `None` where the chain is called by another ([`gate`](Self::gate)).
    fn native_rules(
        &mut self,
        rules: &NativeRules,
        names: &Names<'_>,
        kind: TableKind,
        policy: Option<Policy>,
    ) {
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
            let own = self.chain(names, list.len(), kind, policy.filter(|_| at == 0));
            for line in list {
                self.line(line, names, own, &entries);
            }
            self.end_of_chain(own);
        }
    }

    fn line(&mut self, line: Line<'_>, names: &Names<'_>, own: u32, entries: &[u32]) {
        let first = self.program.conds.len();
        let family = self.program.family;
        let text = match &line.act {
            Act::Target(target) => format!("{} {target}", line.tests),
            _ => line.tests.to_owned(),
        };
        let spec = Spec::parse(text.as_bytes(), family, &|_| false);
        matches::conditions(&spec, true, &mut self.program.conds);
        if let Some(open) = line.open {
            let test = NativeTest {
                whose: names.whose.into(),
                what: format!("{} {}", open.place, open.does).into(),
                why: names.why,
                unread: names.why == UNREAD,
            };
            let cond = Cond::Odd(Box::new(Odd::Native(test)));
            self.program.conds.push(cond);
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

/// The condition that a packet comes or leaves by a device; `eth*` is all whose name begins so.
fn device(name: &str, out: bool) -> Option<Cond> {
    let (start, is_start) = match name.strip_suffix('*') {
        Some(start) => (start, true),
        None => (name, false),
    };
    let free = 128_u32.checked_sub(u32::try_from(start.len()).ok()?.checked_mul(8)?)?;
    let mask = u128::MAX.checked_shl(free).unwrap_or(0);
    Some(Cond::Iface {
        out,
        bits: name_bits(start.as_bytes())?,
        mask: if is_start { mask } else { u128::MAX },
        invert: false,
    })
}

/// A rule as rules that do one thing each.
fn lines(rule: &NativeRule) -> Vec<Line<'_>> {
    // Another question for each, since each may be answered otherwise.
    let line = |open: Option<&'static str>, act: Act| Line {
        tests: &rule.tests,
        open: open.map(|does| Open {
            place: &rule.place,
            does,
        }),
        act,
    };
    let matches = rule.open.then_some("matches");
    let effects = match &rule.does {
        NativeDoes::Target(target) => return vec![line(matches, Act::Target(target.clone()))],
        NativeDoes::Call { chain, goto } => {
            let (chain, goto) = (*chain, *goto);
            return vec![line(matches, Act::Call { chain, goto })];
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
        lines.push(line(None, Act::Change(Change::May(plain))));
    }
    if effects.state {
        let does = Some("has it left alone by conntrack");
        lines.push(line(does, Act::Change(Change::Notrack)));
    }
    let ends = [
        (effects.dnat, true, "changes its destination"),
        (effects.snat, false, "changes its source"),
    ];
    for (is, dnat, does) in ends {
        if is {
            let one = Effects {
                dnat,
                snat: !dnat,
                ..Effects::default()
            };
            // Of several things it may be another.
            let open = (rule.open || effects.ends).then_some(does);
            lines.push(line(open, Act::Change(Change::May(one))));
        }
    }
    if effects.ends {
        lines.push(line(Some("drops it"), Act::Plain(Action::Drop)));
        lines.push(line(Some("accepts it"), Act::Plain(Action::Accept)));
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
