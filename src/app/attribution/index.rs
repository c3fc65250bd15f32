//! The rules of a ruleset that log, by what their lines begin with, and the hooks that reach them.

use std::borrow::Cow;
use std::collections::HashMap;

use super::fit;
use crate::app::firewall::ip_version;
use crate::flow::IpVersion;
use crate::flow::{Condition, KernelLine, LogLine, LogSource};
use crate::ruleset::{ChainIdx, References, RuleIdx, Ruleset};

/// The hooks that a packet may be at, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hooks(u8);

impl Hooks {
    const PREROUTING: Self = Self(1);
    const INPUT: Self = Self(2);
    const FORWARD: Self = Self(4);
    const OUTPUT: Self = Self(8);
    const POSTROUTING: Self = Self(16);
    const ALL: Self = Self(31);

    /// Where a built-in chain stands.
    fn of_chain(name: &[u8]) -> Self {
        match name {
            b"PREROUTING" => Self::PREROUTING,
            b"INPUT" => Self::INPUT,
            b"FORWARD" => Self::FORWARD,
            b"OUTPUT" => Self::OUTPUT,
            b"POSTROUTING" => Self::POSTROUTING,
            _ => Self::ALL,
        }
    }

    /// Where the packet of a line was. NFLOG says it; else the interfaces do: a packet on its way in
    /// has no way out yet, one of our own never came in, one being forwarded has both.
    pub(super) fn of_line(log: &LogLine) -> Self {
        if let Some(hook) = log.hook {
            return Self::of_chain(hook.chain().as_bytes());
        }
        let cut_before_the_packet =
            log.condition == Condition::Truncated && log.packet.src.is_none();
        match (log.input.is_none(), log.output.is_none()) {
            _ if cut_before_the_packet => Self::ALL,
            (false, true) => Self(Self::PREROUTING.0 | Self::INPUT.0),
            (true, false) => Self(Self::OUTPUT.0 | Self::POSTROUTING.0),
            (false, false) => Self(Self::FORWARD.0 | Self::POSTROUTING.0),
            (true, true) => Self::ALL,
        }
    }

    pub(super) fn meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The rules of one ruleset that log.
#[derive(Clone, Debug, Default)]
pub struct LogRules {
    family: Option<IpVersion>,
    by_prefix: HashMap<Box<[u8]>, Vec<LogRule>>,
    /// For each chain, the hooks that lead to it. Empty where nothing logs.
    hooks: Vec<Hooks>,
    references: References,
}

#[derive(Clone, Copy, Debug)]
struct LogRule {
    rule: RuleIdx,
    chain: ChainIdx,
    /// NFLOG's group; `None` for LOG.
    group: Option<u16>,
}

impl LogRules {
    /// Reads the targets of all rules once, and the whole of those that log.
    pub fn of(ruleset: &Ruleset) -> Self {
        let mut by_prefix: HashMap<Box<[u8]>, Vec<LogRule>> = HashMap::new();
        for rule in ruleset.rules() {
            let logs = ruleset
                .jump(rule)
                .is_some_and(|jump| jump.chain.is_none() && matches!(jump.name, b"LOG" | b"NFLOG"));
            let Some(chain) = ruleset.chain_of(rule).filter(|_| logs) else {
                continue;
            };
            if let Some(logged) = ruleset.parse_rule(rule).log() {
                let rules = by_prefix.entry(logged.prefix.into()).or_default();
                rules.push(LogRule {
                    rule,
                    chain,
                    group: logged.group,
                });
            }
        }
        if by_prefix.is_empty() {
            return Self::default();
        }
        let references = ruleset.references();
        Self {
            family: Some(ip_version(ruleset.family())),
            by_prefix,
            hooks: reached(ruleset, &references),
            references,
        }
    }

    /// Nothing in the ruleset logs.
    pub fn is_empty(&self) -> bool {
        self.by_prefix.is_empty()
    }

    /// The rules that log, with the group of those that log by NFLOG, in no particular order.
    pub fn rules(&self) -> impl Iterator<Item = (RuleIdx, Option<u16>)> + '_ {
        let all = self.by_prefix.values().flatten();
        all.map(|logging| (logging.rule, logging.group))
    }

    /// NFLOG groups that rules write to, each once, in order.
    pub fn groups(&self) -> Vec<u16> {
        let mut groups: Vec<u16> = self.rules().filter_map(|(_, group)| group).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Rules that may have written the line, in the order of the text.
    pub(super) fn candidates(&self, ruleset: &Ruleset, line: &KernelLine) -> Vec<RuleIdx> {
        let Some(log) = line.log() else {
            return Vec::new();
        };
        let other_family = log.packet.family.is_some() && log.packet.family != self.family;
        if self.is_empty() || other_family {
            return Vec::new();
        }
        let hooks = Hooks::of_line(log);
        let mut found: Vec<RuleIdx> = self
            .named(line)
            .filter(|logging| goes_to(logging.group, line.source))
            .filter(|logging| self.hooks_of(logging.chain).meet(hooks))
            .filter(|logging| fit::fits(&ruleset.parse_rule(logging.rule), log) != Some(false))
            .map(|logging| logging.rule)
            .collect();
        found.sort_unstable();
        found
    }

    /// Rules with the line's prefix; where there is none, with what a log daemon makes of it.
    fn named(&self, line: &KernelLine) -> Box<dyn Iterator<Item = &LogRule> + '_> {
        if let Some(exact) = self.by_prefix.get(line.prefix()) {
            return Box::new(exact.iter());
        }
        if line.source != LogSource::File && line.source != LogSource::Text {
            return Box::new(std::iter::empty());
        }
        let written = octal_undone(line.prefix()).trim_ascii().to_vec();
        let same = move |prefix: &[u8]| prefix.trim_ascii() == written;
        let rules = self.by_prefix.iter();
        Box::new(
            rules
                .filter(move |(prefix, _)| same(prefix))
                .flat_map(|(_, rules)| rules),
        )
    }

    pub(super) fn hooks_of(&self, chain: ChainIdx) -> Hooks {
        let hooks = self.hooks.get(chain.0 as usize);
        hooks.copied().unwrap_or_default()
    }

    /// The rules that jump to a chain.
    pub(super) fn callers(&self, chain: ChainIdx) -> &[RuleIdx] {
        self.references.to(chain)
    }
}

/// Whether lines of a rule come by that source. ulogd writes NFLOG packets to files, too.
fn goes_to(group: Option<u16>, source: LogSource) -> bool {
    match source {
        LogSource::Nflog(number) => group == Some(number),
        LogSource::Kmsg | LogSource::Journal => group.is_none(),
        LogSource::File | LogSource::Text => true,
    }
}

/// Follows jumps from the built-in chains. A chain is looked at again only when it gained a hook, so
/// loops (which the kernel refuses, but a saved file may hold) and deep nests end soon.
fn reached(ruleset: &Ruleset, references: &References) -> Vec<Hooks> {
    let chains = 0..u32::try_from(ruleset.chains().len()).unwrap_or(u32::MAX);
    let callers = |to: ChainIdx| {
        let from = references.to(to).iter();
        from.filter_map(move |rule| Some((ruleset.chain_of(*rule)?, to)))
    };
    let mut jumps: Vec<(ChainIdx, ChainIdx)> =
        chains.clone().map(ChainIdx).flat_map(callers).collect();
    jumps.sort_unstable();
    let mut hooks = vec![Hooks::default(); ruleset.chains().len()];
    let mut gained: Vec<(ChainIdx, Hooks)> = chains
        .map(ChainIdx)
        .filter(|chain| ruleset.chain(*chain).is_builtin())
        .map(|chain| (chain, Hooks::of_chain(ruleset.chain(chain).name_bytes())))
        .collect();
    while let Some((chain, more)) = gained.pop() {
        let Some(slot) = hooks.get_mut(chain.0 as usize) else {
            continue;
        };
        let all = Hooks(slot.0 | more.0);
        if *slot == all {
            continue;
        }
        *slot = all;
        let first = jumps.partition_point(|(from, _)| *from < chain);
        let from_here = jumps.iter().skip(first);
        let from_here = from_here.take_while(|(from, _)| *from == chain);
        gained.extend(from_here.map(|(_, to)| (*to, all)));
    }
    hooks
}

/// rsyslog writes control characters as `#033` (`$EscapeControlCharactersOnReceive`).
fn octal_undone(prefix: &[u8]) -> Cow<'_, [u8]> {
    if !prefix.contains(&b'#') {
        return Cow::Borrowed(prefix);
    }
    let mut plain = Vec::with_capacity(prefix.len());
    let mut rest = prefix;
    while let Some((byte, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|_| *byte == b'#');
        let value = digits.and_then(|digits| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        });
        plain.push(value.unwrap_or(*byte));
        rest = match value {
            Some(_) => tail.get(3..).unwrap_or_default(),
            None => tail,
        };
    }
    Cow::Owned(plain)
}
