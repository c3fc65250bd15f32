//! One ruleset with its numbers in motion: counters, rates, heat, the view's own zero.
//!
//! Structure is shared and never rebuilt by a tick. Everything that hangs on a rule is carried over by
//! identity when the structure is read anew, so that a reorder never lights the wrong row. No clock of
//! its own: times are durations since the program started.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::app::attribution::LogRules;
use crate::app::motion::{Heat, Rate, Track, heat, next_step, since, step};
use crate::app::staging::Staging;
use crate::edit::probe::{self, Tag};
use crate::flow::{IpVersion, LogChannel};
use crate::ruleset::{
    Backend, ChainCounters, ChainIdx, CounterSet, Counters, Family, Lossy, Origin, Policy, Reading,
    Role, RuleIdx, Ruleset,
};
use crate::verdict::Shadow;

/// Which of the kernel's rulesets this is; `backend` is unknown for some saved dumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FirewallId {
    /// IPv4 or IPv6.
    pub family: Family,
    /// nf_tables or x_tables.
    pub backend: Option<Backend>,
    /// Which of several dumps of the same one in a file; 0 for the kernel's own.
    pub nth: u8,
}

impl From<Origin> for FirewallId {
    fn from(origin: Origin) -> Self {
        Self {
            family: origin.family,
            backend: Some(origin.backend),
            nth: 0,
        }
    }
}

impl FirewallId {
    /// The kernel's ruleset that this is; `None` for a dump that does not say its back end.
    pub fn origin(self) -> Option<Origin> {
        self.backend
            .map(|backend| Origin::new(self.family, backend))
    }
}

/// The packets that a ruleset of this family sees.
pub fn ip_version(family: Family) -> IpVersion {
    match family {
        Family::V4 => IpVersion::V4,
        Family::V6 => IpVersion::V6,
    }
}

/// An nft rule's handle with its table's: a table made anew counts its rules from 1 again. Zero in the
/// second place: unknown.
pub type Handle = (u64, u64);

/// Sums over one chain.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChainActivity {
    /// Packets that were decided here: by a rule that accepts, drops or translates, or by the policy. Each
    /// counts once, however many rules logged or marked it before.
    pub decided: Rate,
    /// Some counter rose in the last reading.
    pub moves: bool,
    /// Of these, the ones that drop or reject.
    pub drops: Rate,
    /// When the chain was last read.
    pub read: Option<Duration>,
    /// When one of its counters last rose.
    pub risen: Option<Duration>,
}

impl ChainActivity {
    /// Adds a counter that moves; what it does is asked only then.
    fn tally(&mut self, rate: Rate, at: Duration, role: impl FnOnce() -> Role) {
        if rate.moves() {
            self.moves = true;
            self.risen = Some(at);
            match role() {
                Role::Continues => {} // counted where it is decided
                Role::Decides => self.decided.add(rate),
                Role::Drops => {
                    self.decided.add(rate);
                    self.drops.add(rate);
                }
            }
        }
    }
}

/// One ruleset and its numbers.
#[derive(Debug)]
pub struct Firewall {
    /// Which one.
    pub id: FirewallId,
    /// The structure that the screen shows: the kernel's, with what is staged on it.
    pub ruleset: Arc<Ruleset>,
    /// What is staged, and where the kernel's rules stand in it; `None` while nothing is.
    pub(super) staging: Option<Box<Staging>>,
    /// nft handles, parallel to the rules of the kernel; empty where there are none.
    pub(super) handles: Vec<Handle>,
    /// Rules whose text says less than what the kernel holds.
    lossy: Vec<Lossy>,
    /// Rules that no packet can match, with the reason.
    shadows: BTreeMap<RuleIdx, Shadow>,
    /// Probes among the shown rules, in order.
    pub(super) probes: Vec<(RuleIdx, Tag)>,
    /// Rules that log.
    pub log_rules: LogRules,
    /// Rules and policies that the kernel does not count, each list in order.
    uncounted: (Vec<RuleIdx>, Vec<ChainIdx>),
    pub(super) counters: CounterSet,
    pub(super) baseline: Option<CounterSet>,
    pub(super) rules: Vec<Track>,
    pub(super) policies: Vec<Track>,
    pub(super) chains: Vec<ChainActivity>,
    /// What each rule does with a packet; asked once per rule, when it first rises.
    pub(super) roles: Vec<Option<Role>>,
}

impl Firewall {
    /// A ruleset seen for the first time, with the counters that its text carries.
    pub fn new(id: FirewallId, ruleset: Arc<Ruleset>, handles: Vec<Handle>) -> Self {
        let (rules, chains) = (ruleset.rule_count(), ruleset.chains().len());
        Self {
            id,
            counters: ruleset.saved_counters(),
            handles: if handles.len() == rules {
                handles
            } else {
                Vec::new()
            },
            lossy: Vec::new(),
            shadows: BTreeMap::new(),
            log_rules: LogRules::default(),
            uncounted: Default::default(),
            staging: None,
            probes: probe::probes(&ruleset),
            baseline: None,
            rules: vec![Track::default(); rules],
            policies: vec![Track::default(); chains],
            chains: vec![ChainActivity::default(); chains],
            roles: vec![None; rules],
            ruleset,
        }
    }

    /// Rules whose saved text says less than what the kernel holds.
    pub fn set_lossy(&mut self, lossy: Vec<Lossy>) {
        self.lossy = lossy;
    }

    /// Rules of the kernel that no packet can match, with the reason.
    pub fn set_shadows(&mut self, shadows: BTreeMap<RuleIdx, Shadow>) {
        self.shadows = shadows;
    }

    /// What was found of a rule of the kernel that no packet can match.
    pub(super) fn shadow_of(&self, rule: RuleIdx) -> Option<&Shadow> {
        self.shadows.get(&rule)
    }

    /// Rules and policies that the kernel does not count, each list in order.
    pub fn set_uncounted(&mut self, rules: Vec<RuleIdx>, policies: Vec<ChainIdx>) {
        self.uncounted = (rules, policies);
    }

    /// The kernel counts what this rule matches; otherwise its zero means nothing.
    pub fn counts(&self, rule: RuleIdx) -> bool {
        let Some(rule) = self.kernel_rule(rule) else {
            return true; // it will count once the kernel has it
        };
        self.kernel().rules_are_counted() && self.uncounted.0.binary_search(&rule).is_err()
    }

    /// The kernel counts what this chain's policy decides.
    pub fn counts_policy(&self, chain: ChainIdx) -> bool {
        self.kernel_chain(chain)
            .is_none_or(|chain| self.uncounted.1.binary_search(&chain).is_err())
    }

    /// Why the text of this chain is not to be trusted.
    pub fn lossy(&self, chain: ChainIdx) -> Option<&Lossy> {
        let chain = self.kernel_chain(chain)?;
        self.lossy.iter().find(|l| l.chain == chain)
    }

    /// Every rule whose text is not to be trusted, in the kernel's own numbering.
    pub fn all_lossy(&self) -> &[Lossy] {
        &self.lossy
    }

    /// What the text of rule `number` (from 1) of this chain leaves out.
    pub fn lossy_rule(&self, chain: ChainIdx, number: usize) -> Option<&str> {
        let chain = self.kernel_chain(chain)?;
        let found = self
            .lossy
            .iter()
            .find(|l| l.chain == chain && l.position + 1 == number)?;
        Some(&found.why)
    }

    /// Room for the numbers of the structure that is shown now; they are all nothing.
    pub(super) fn make_room(&mut self) {
        let (rules, chains) = (self.ruleset.rule_count(), self.ruleset.chains().len());
        self.counters = CounterSet::zero(rules, chains);
        self.rules = vec![Track::default(); rules];
        self.policies = vec![Track::default(); chains];
        self.chains = vec![ChainActivity::default(); chains];
        self.roles = vec![None; rules];
    }

    /// Takes in readings made at `at`. True when a number changed.
    pub fn read(&mut self, at: Duration, readings: &[Reading]) -> bool {
        let mut changed = false;
        for reading in readings {
            changed |= match &reading.counters {
                Some(counters) => self.read_chain(reading.chain, at, counters),
                None => self.rest_chain(reading.chain, at),
            };
        }
        changed
    }

    /// `kernel_chain` and its numbers are the kernel's; what they are written to is what the screen shows.
    fn read_chain(&mut self, kernel_chain: ChainIdx, at: Duration, new: &ChainCounters) -> bool {
        let ruleset = Arc::clone(self.kernel());
        let Some(rules) = ruleset
            .chains()
            .get(kernel_chain.0 as usize)
            .map(crate::ruleset::Chain::rules)
        else {
            return false;
        };
        if rules.len() != new.rules.len() {
            return false; // of another structure; the one that it belongs to is on its way
        }
        let chain = self.shown_chain(kernel_chain);
        let activity = &mut self.chains[chain.0 as usize];
        let elapsed = activity.read.map(|last| at.saturating_sub(last));
        let mut sums = ChainActivity {
            read: Some(at),
            risen: activity.risen,
            ..Default::default()
        };
        let mut changed = false;
        for (rule, counters) in rules.iter().zip(&new.rules) {
            let i = self.shown_rule(*rule).0 as usize;
            let (track, counter) = (&mut self.rules[i], &mut self.counters.rules[i]);
            let rise = step(track, counter, *counters, at, elapsed);
            changed |= rise.changed;
            sums.tally(rise.rate, at, || {
                *self.roles[i].get_or_insert_with(|| ruleset.role(*rule))
            });
        }
        if let Some(policy) = new.policy {
            let i = chain.0 as usize;
            let (track, counter) = (&mut self.policies[i], &mut self.counters.policies[i]);
            let rise = step(track, counter, policy, at, elapsed);
            changed |= rise.changed;
            let drops = ruleset.chain(kernel_chain).policy() == Some(Policy::Drop);
            sums.tally(rise.rate, at, || {
                if drops { Role::Drops } else { Role::Decides }
            });
        }
        let activity = &mut self.chains[chain.0 as usize];
        changed |= (activity.decided, activity.moves) != (sums.decided, sums.moves);
        *activity = sums;
        changed
    }

    /// Nothing rose since the last reading: rates fall to zero.
    fn rest_chain(&mut self, kernel_chain: ChainIdx, at: Duration) -> bool {
        let chain = self.shown_chain(kernel_chain);
        let Some(activity) = self.chains.get_mut(chain.0 as usize) else {
            return false;
        };
        activity.read = Some(at);
        if !activity.moves {
            return false;
        }
        activity.moves = false;
        activity.decided = Rate::default();
        activity.drops = Rate::default();
        for rule in Arc::clone(self.kernel()).chain(kernel_chain).rules() {
            let shown = self.shown_rule(*rule);
            self.rules[shown.0 as usize].rate = Rate::default();
        }
        self.policies[chain.0 as usize].rate = Rate::default();
        true
    }

    /// Packets that the rules that log have counted, by the way that their lines take.
    pub fn logged(&self) -> BTreeMap<LogChannel, u64> {
        let mut sums = BTreeMap::new();
        for (rule, group) in self.log_rules.rules() {
            let channel = group.map_or(
                LogChannel::Kernel(ip_version(self.id.family)),
                LogChannel::Group,
            );
            *sums.entry(channel).or_default() += self.counters.rule(self.shown_rule(rule)).packets;
        }
        sums
    }

    /// What the view shows for a rule: since the view's zero where there is one.
    pub fn shown(&self, rule: RuleIdx) -> Counters {
        since(
            self.counters.rule(rule),
            self.baseline.as_ref().map(|b| b.rule(rule)),
        )
    }

    /// What the view shows for a chain's policy.
    pub fn shown_policy(&self, chain: ChainIdx) -> Counters {
        since(
            self.counters.policy(chain),
            self.baseline.as_ref().map(|b| b.policy(chain)),
        )
    }

    /// The kernel's own numbers.
    pub fn counters(&self) -> &CounterSet {
        &self.counters
    }

    /// Count from now in the view, or show the kernel's counters again.
    pub fn set_zero(&mut self, on: bool) {
        self.baseline = on.then(|| self.counters.clone());
    }

    /// Rate of a rule.
    pub fn rate(&self, rule: RuleIdx) -> Rate {
        self.rules
            .get(rule.0 as usize)
            .map(|t| t.rate)
            .unwrap_or_default()
    }

    /// Rate of a chain's policy.
    pub fn policy_rate(&self, chain: ChainIdx) -> Rate {
        self.policies
            .get(chain.0 as usize)
            .map(|t| t.rate)
            .unwrap_or_default()
    }

    /// Somebody zeroed this rule's counters while we watched.
    pub fn was_reset(&self, rule: RuleIdx) -> bool {
        self.rules.get(rule.0 as usize).is_some_and(|t| t.reset)
    }

    /// Sums over a chain.
    pub fn activity(&self, chain: ChainIdx) -> ChainActivity {
        self.chains
            .get(chain.0 as usize)
            .copied()
            .unwrap_or_default()
    }

    /// Heat of a rule.
    pub fn heat(&self, rule: RuleIdx, now: Duration, interval: Duration) -> Heat {
        heat(
            self.rules.get(rule.0 as usize).and_then(|t| t.risen),
            now,
            interval,
        )
    }

    /// Heat of a chain's policy.
    pub fn policy_heat(&self, chain: ChainIdx, now: Duration, interval: Duration) -> Heat {
        heat(
            self.policies.get(chain.0 as usize).and_then(|t| t.risen),
            now,
            interval,
        )
    }

    /// Heat of a chain as a whole.
    pub fn chain_heat(&self, chain: ChainIdx, now: Duration, interval: Duration) -> Heat {
        heat(self.activity(chain).risen, now, interval)
    }

    /// When the last rise of anything will have faded one step more, after `now`.
    pub fn next_fade(&self, now: Duration, interval: Duration) -> Option<Duration> {
        self.chains
            .iter()
            .filter_map(|c| next_step(c.risen?, now, interval))
            .min()
    }

    /// The rule, or the policy (`None`), that drops the most now, over all chains.
    pub fn hottest_drop(&self) -> Option<(ChainIdx, Option<RuleIdx>, Rate)> {
        let mut best: Option<(ChainIdx, Option<RuleIdx>, Rate)> = None;
        let mut offer = |chain, rule, rate: Rate| {
            if rate.moves() && best.is_none_or(|(.., b)| rate.packets > b.packets) {
                best = Some((chain, rule, rate));
            }
        };
        for (i, _) in self
            .chains
            .iter()
            .enumerate()
            .filter(|(_, c)| c.drops.moves())
        {
            let Ok(i) = u32::try_from(i) else { continue };
            let chain = ChainIdx(i);
            for rule in self.ruleset.chain(chain).rules() {
                if self.roles[rule.0 as usize] == Some(Role::Drops) {
                    offer(chain, Some(*rule), self.rate(*rule));
                }
            }
            if self.ruleset.chain(chain).policy() == Some(Policy::Drop) {
                offer(chain, None, self.policy_rate(chain));
            }
        }
        best
    }
}
