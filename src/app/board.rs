//! Where the user is on the board: the chain list, the selected chain and row, sort, filter and the
//! way back. Rows are worked out here so that drawing only reads them.

use std::time::Duration;

use crate::app::cells::Widths;
use crate::app::filter::Filter;
use crate::app::firewall::Firewall;
use crate::app::motion::Heat;
use crate::ruleset::{BaseChain, ChainIdx, RuleIdx, TableIdx};

/// The panes of the board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// The chain list.
    Chains,
    /// The rules of the selected chain.
    #[default]
    Rules,
    /// The drop feed.
    Drops,
}

/// Order of the rules; the numbers stay true in all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// As the kernel tries them.
    #[default]
    Kernel,
    /// The fastest first.
    Rate,
    /// The most packets first.
    Packets,
}

/// Which rules are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// All of them.
    #[default]
    All,
    /// Those with packets.
    Matched,
    /// Those that never matched.
    Never,
}

/// A line of the chain list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A table of a ruleset.
    Table(usize, TableIdx),
    /// A chain.
    Chain(usize, ChainIdx),
    /// "native nft".
    NativeHeading,
    /// A base chain that iptables cannot show.
    Native(usize),
}

/// A row of the rules pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// A rule with its number, from 1.
    Rule(RuleIdx, usize),
    /// What happens to a packet that no rule decided.
    Policy,
}

/// A row number and the first one on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The selected row.
    pub at: usize,
    /// The row at the top of the pane.
    pub top: usize,
}

impl Cursor {
    /// Moves to `at`, held inside `len` rows, and scrolls so that it stands among `height` rows.
    pub fn go(&mut self, at: usize, len: usize, height: usize) {
        self.at = at.min(len.saturating_sub(1));
        let height = height.max(1);
        if self.at < self.top {
            self.top = self.at;
        } else if self.at >= self.top + height {
            self.top = self.at + 1 - height;
        }
        self.top = self.top.min(len.saturating_sub(height));
    }

    /// Moves to `at` with some rows around it, for jumps.
    pub fn jump(&mut self, at: usize, len: usize, height: usize) {
        if at < self.top || at >= self.top + height.max(1) {
            self.top = at.saturating_sub(height / 3);
        }
        self.go(at, len, height);
    }
}

/// Which chain of which firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index into the firewalls.
    pub firewall: usize,
    /// The chain.
    pub chain: ChainIdx,
}

/// Where the user is.
#[derive(Debug, Default)]
pub struct Board {
    /// The pane with the focus.
    pub pane: Pane,
    /// The focused pane fills the screen.
    pub zoom: bool,
    /// The lines of the chain list.
    pub entries: Vec<Entry>,
    /// Place in the chain list.
    pub chains: Cursor,
    /// The chain whose rules are shown.
    pub place: Option<Place>,
    /// Place in the rules.
    pub rules: Cursor,
    /// Text columns scrolled right by so many cells.
    pub shift: usize,
    /// Where jumps were made from.
    pub trail: Vec<(Place, usize)>,
    /// Order of the rules.
    pub sort: Sort,
    /// Which rules.
    pub show: Show,
    /// Filter of the rules.
    pub filter: Filter,
    /// Filter of the chain list.
    pub chain_filter: Filter,
    /// The user has moved: the cursor is theirs.
    pub touched: bool,
    /// Widths of the selected chain's columns.
    pub widths: Widths,
    rows: Rows,
}

/// The rows of the selected chain: all of them in order needs no list.
#[derive(Debug, Default)]
enum Rows {
    #[default]
    None,
    All {
        rules: usize,
        policy: bool,
    },
    /// Positions in the chain; the number of rules stands for the policy.
    Some {
        list: Vec<u32>,
        policy: bool,
    },
}

impl Board {
    /// Rebuilds the chain list: filter first, since that is where packets die.
    pub fn list_chains(&mut self, firewalls: &[Firewall], native: &[BaseChain]) {
        self.entries.clear();
        for (f, firewall) in firewalls.iter().enumerate() {
            let set = &firewall.ruleset;
            let mut tables: Vec<u32> = (0..set.tables().len())
                .filter_map(|t| u32::try_from(t).ok())
                .collect();
            tables.sort_by_key(|t| table_order(set.table(TableIdx(*t)).name()));
            for table in tables.into_iter().map(TableIdx) {
                let heading = self.entries.len();
                self.entries.push(Entry::Table(f, table));
                let mut members: Vec<(usize, ChainIdx)> = set
                    .chains()
                    .iter()
                    .zip(0..)
                    .filter(|(chain, _)| chain.table() == table)
                    .filter(|(chain, _)| self.chain_filter.accepts(chain.name().as_bytes()))
                    .map(|(chain, i)| (chain_order(chain.is_builtin(), chain.name()), ChainIdx(i)))
                    .collect();
                members.sort_by_key(|(order, _)| *order);
                if members.is_empty() {
                    self.entries.truncate(heading);
                }
                self.entries
                    .extend(members.into_iter().map(|(_, chain)| Entry::Chain(f, chain)));
            }
        }
        let shown =
            (0..native.len()).filter(|i| self.chain_filter.accepts(native[*i].chain.as_bytes()));
        let shown: Vec<Entry> = shown.map(Entry::Native).collect();
        if !shown.is_empty() {
            self.entries.push(Entry::NativeHeading);
            self.entries.extend(shown);
        }
        self.aim_chains();
    }

    /// Puts the chain list's cursor on the selected chain.
    pub fn aim_chains(&mut self) {
        let wanted = self.place.map(|p| Entry::Chain(p.firewall, p.chain));
        if let Some(at) = self.entries.iter().position(|e| Some(*e) == wanted) {
            self.chains.at = at;
        }
        self.chains.at = self.chains.at.min(self.entries.len().saturating_sub(1));
    }

    /// Measures the columns of the selected chain.
    pub fn measure(&mut self, firewalls: &[Firewall]) {
        let found = self
            .place
            .and_then(|p| Some((firewalls.get(p.firewall)?, p.chain)));
        self.widths =
            found.map_or_else(Widths::default, |(f, chain)| Widths::of(&f.ruleset, chain));
    }

    /// Works out the rows of the selected chain anew.
    pub fn list_rules(&mut self, firewalls: &[Firewall]) {
        self.rows = Rows::None;
        let Some((firewall, place)) = self
            .place
            .and_then(|p| Some((firewalls.get(p.firewall)?, p)))
        else {
            return;
        };
        let chain = firewall.ruleset.chain(place.chain);
        let policy = chain.is_builtin();
        let rules = chain.rules();
        if self.sort == Sort::Kernel && self.show == Show::All && self.filter.is_empty() {
            self.rows = Rows::All {
                rules: rules.len(),
                policy,
            };
            return;
        }
        let keep = |packets: u64| match self.show {
            Show::All => true,
            Show::Matched => packets > 0,
            Show::Never => packets == 0,
        };
        let text = &self.filter;
        let end = u32::try_from(rules.len()).unwrap_or(u32::MAX);
        let mut rows: Vec<u32> = (0..end)
            .filter(|i| {
                let rule = rules[*i as usize];
                keep(firewall.shown(rule).packets) && text.accepts(firewall.ruleset.spec(rule))
            })
            .collect();
        match self.sort {
            Sort::Kernel => {}
            Sort::Rate => {
                let rate = |i: &u32| firewall.rate(rules[*i as usize]).packets;
                rows.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
            }
            Sort::Packets => {
                rows.sort_by_key(|i| std::cmp::Reverse(firewall.shown(rules[*i as usize]).packets));
            }
        }
        let policy =
            policy && self.filter.is_empty() && keep(firewall.shown_policy(place.chain).packets);
        rows.extend(policy.then_some(end));
        self.rows = Rows::Some { list: rows, policy };
    }

    /// The order of rows depends on numbers that move.
    pub fn rows_follow_counters(&self) -> bool {
        self.sort != Sort::Kernel || self.show != Show::All
    }

    /// How many rows the rules pane has.
    pub fn row_count(&self) -> usize {
        match &self.rows {
            Rows::None => 0,
            Rows::All { rules, policy } => rules + usize::from(*policy),
            Rows::Some { list, .. } => list.len(),
        }
    }

    /// How many of them are rules: the policy's row is not.
    pub fn rules_shown(&self) -> usize {
        match &self.rows {
            Rows::None => 0,
            Rows::All { rules, .. } => *rules,
            Rows::Some { list, policy } => list.len() - usize::from(*policy),
        }
    }

    /// Row `i` of the rules pane.
    pub fn row(&self, i: usize, firewall: &Firewall) -> Option<Row> {
        let chain = firewall.ruleset.chain(self.place?.chain);
        let position = match &self.rows {
            Rows::None => return None,
            Rows::All { .. } => i,
            Rows::Some { list, .. } => *list.get(i)? as usize,
        };
        match chain.rules().get(position) {
            Some(rule) => Some(Row::Rule(*rule, position + 1)),
            None => (i < self.row_count() && chain.is_builtin()).then_some(Row::Policy),
        }
    }

    /// The row that shows this rule, or the policy.
    pub fn find_row(&self, wanted: Row, firewall: &Firewall) -> Option<usize> {
        let chain = firewall.ruleset.chain(self.place?.chain);
        let position = match wanted {
            Row::Rule(_, number) => number - 1,
            Row::Policy => chain.rules().len(),
        };
        match &self.rows {
            Rows::None => None,
            Rows::All { .. } => (position < self.row_count()).then_some(position),
            Rows::Some { list, .. } => list.iter().position(|p| *p as usize == position),
        }
    }

    /// The next (or previous) row after the selected one, going round, whose counter rose.
    pub fn next_lit(
        &self,
        firewall: &Firewall,
        forward: bool,
        now: Duration,
        interval: Duration,
    ) -> Option<usize> {
        let (count, place) = (self.row_count(), self.place?);
        let lit = |i: &usize| match self.row(*i, firewall) {
            Some(Row::Rule(rule, _)) => firewall.heat(rule, now, interval) > Heat::Cold,
            Some(Row::Policy) => firewall.policy_heat(place.chain, now, interval) > Heat::Cold,
            None => false,
        };
        if forward {
            (self.rules.at + 1..count).find(lit)
        } else {
            (0..self.rules.at.min(count)).rev().find(lit)
        }
    }
}

/// filter, nat, mangle, raw, security, then any other.
fn table_order(name: &str) -> usize {
    ["filter", "nat", "mangle", "raw", "security"]
        .iter()
        .position(|t| *t == name)
        .unwrap_or(9)
}

/// Hooks in the order in which a packet meets them, then the user chains as the dump has them.
fn chain_order(builtin: bool, name: &str) -> usize {
    const HOOKS: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
    if !builtin {
        return HOOKS.len() + 1;
    }
    HOOKS.iter().position(|h| *h == name).unwrap_or(HOOKS.len())
}
