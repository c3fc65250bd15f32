//! Carries a change out, forwards or backwards: read, merge, script, restore, until there is nothing left
//! to do.
//!
//! Both ways are the same work: what turned `base` into `goal` is done to whatever the kernel holds now. So
//! what others added meanwhile stays, a change that was cut in half is completed or undone, and the proof
//! that it is done is that the merge with a fresh reading changes nothing more: verification is the last
//! turn of the loop, not another piece of code.
//!
//! Legacy is read and written under its lock. nf_tables has none: another program can write between our
//! reading and the tool's own. The tool's transaction is safe from then on (the kernel refuses a stale
//! generation and the tool starts over), but rule *numbers* may have moved before. So what is deleted is
//! named by its text, not its number, and what was inserted a place off is taken out and put right by the
//! next turn.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::by_text::by_text;
use super::lossy;
use super::request::ApplyError;
use crate::edit::{self, DiffLine, Remark, ScriptError};
use crate::netfilter::netlink::{Netlink, NetlinkError, Request};
use crate::netfilter::nftables;
use crate::netfilter::xtables::restore::{Held, Mode, RestoreError, Wait, restore};
use crate::netfilter::xtables::{self, Limits, Presence, Tools, XtablesError};
use crate::ruleset::{Backend, Chain, Origin, ParseError, Policy, Ruleset, TextId};

/// A writer that is faster than this many turns is not a box in trouble but a loop gone wild.
pub(super) const TURNS: u32 = 25;
/// Readings that are tried to have one of a single generation.
const READINGS: u32 = 10;

/// Why a change could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum CarryError {
    #[error("{origin} changed: {what}")]
    Conflict { origin: Origin, what: String },
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Read(#[from] XtablesError),
    #[error("what {origin}-save printed cannot be read: {source}")]
    Parse { origin: Origin, source: ParseError },
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error("{origin} does not settle: another program keeps writing the same rules")]
    Unsettled { origin: Origin },
}

impl From<CarryError> for ApplyError {
    fn from(error: CarryError) -> Self {
        let (remedy, privilege) = match &error {
            CarryError::Conflict { origin, what } => {
                return Self::Changed {
                    origin: origin.to_string(),
                    what: what.clone(),
                };
            }
            CarryError::Unsettled { origin } => {
                return Self::Changed {
                    origin: origin.to_string(),
                    what: error.to_string(),
                };
            }
            CarryError::Restore(RestoreError::Refused { .. }) => {
                return Self::Refused {
                    what: error.to_string(),
                };
            }
            CarryError::Script(error) => {
                return Self::Locked {
                    what: first_line(error),
                };
            }
            CarryError::Restore(error) => return error.into(),
            CarryError::Read(error) => return error.into(),
            CarryError::Netlink(error) => ("run as root (sudo)", error.is_permission()),
            CarryError::Parse { .. } => ("run the save tool by hand to see more", false),
        };
        Self::Tool {
            what: error.to_string(),
            remedy: remedy.to_owned(),
            privilege,
        }
    }
}

impl From<&XtablesError> for ApplyError {
    fn from(error: &XtablesError) -> Self {
        Self::Tool {
            what: error.to_string(),
            remedy: error.remedy().to_owned(),
            privilege: matches!(error, XtablesError::Permission { .. }),
        }
    }
}

impl From<&RestoreError> for ApplyError {
    /// A failure that says nothing about the script.
    fn from(error: &RestoreError) -> Self {
        let privilege = matches!(
            error,
            RestoreError::Tool(XtablesError::Permission { .. }) | RestoreError::Scratch(_)
        );
        Self::Tool {
            what: error.to_string(),
            remedy: error.remedy().to_owned(),
            privilege,
        }
    }
}

/// The first line of an error that says in a second one what to do.
pub(super) fn first_line(error: &ScriptError) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

/// What to do where others changed the same place in the meantime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    /// Nothing more is done (a change is made), unless it is only their neighbours that changed: that is
    /// said, and the change can be undone.
    Refuse,
    /// What can be done is done, the rest is a remark (a change is undone).
    Remark,
}

impl Strictness {
    fn forbids(self, remark: &Remark) -> bool {
        let only_place = matches!(remark, Remark::PlaceChanged(_));
        self == Self::Refuse && !remark.is_harmless() && !only_place
    }
}

/// One reading of `origin`; for nf_tables, of a single generation where one can be had.
pub(super) fn read(tools: &Tools, origin: Origin) -> Result<Arc<Ruleset>, CarryError> {
    let text = match origin.backend {
        Backend::Legacy => text(tools, origin)?,
        Backend::Nft => {
            let mut netlink = Netlink::open()?;
            let mut request = Request::default();
            let mut generation = || nftables::generation(&mut netlink, &mut request).ok();
            let mut before = generation();
            let mut found = text(tools, origin)?;
            for _ in 1..READINGS {
                let after = generation();
                if after == before {
                    break;
                }
                before = after;
                found = text(tools, origin)?;
            }
            found
        }
    };
    parse(origin, text)
}

/// One reading of `origin`, of whatever moment.
pub(super) fn read_once(tools: &Tools, origin: Origin) -> Result<Arc<Ruleset>, CarryError> {
    parse(origin, text(tools, origin)?)
}

fn parse(origin: Origin, text: Vec<u8>) -> Result<Arc<Ruleset>, CarryError> {
    Ruleset::parse(text, origin)
        .map(Arc::new)
        .map_err(|source| CarryError::Parse { origin, source })
}

fn text(tools: &Tools, origin: Origin) -> Result<Vec<u8>, XtablesError> {
    if matches!(Presence::of(origin), Presence::Nothing) {
        return Ok(Vec::new());
    }
    Ok(xtables::save(tools, origin, Limits::default())?.bytes)
}

/// Does to `origin` what turns `base` into `goal`; what was odd on the way.
///
/// `again` is called before each turn but the first.
pub(super) fn carry(
    tools: &Tools,
    origin: Origin,
    (base, goal): (&Ruleset, &Ruleset),
    strictness: Strictness,
    held: Option<&Held>,
    again: &mut dyn FnMut(),
) -> Result<Vec<String>, CarryError> {
    let mut now = read(tools, origin)?;
    let mut by_number = false;
    // What the merge of the first turn says: later ones meet our own work.
    let mut remarks: Option<Vec<String>> = None;
    for turn in 0..TURNS {
        if turn > 0 {
            again();
        }
        if strictness == Strictness::Refuse {
            is_said_whole(origin, base, goal, &now)?;
        }
        let mut merged = edit::merge(base, goal, &now);
        let mut still = HashSet::new();
        if let Some(remark) = merged.remarks.iter().find(|r| strictness.forbids(r)) {
            let what = remark.to_string();
            return Err(CarryError::Conflict { origin, what });
        }
        if same(&merged.ruleset, &now) {
            if turn == 0 || in_order(base, goal, &now) {
                return Ok(remarks.unwrap_or_else(|| worth_saying(&merged.remarks)));
            }
            // Everything is there, but not where it was to be: numbers had moved under the tool.
            let without = edit::merge(goal, base, &now).ruleset;
            merged = edit::merge(base, goal, &without);
            if same(&merged.ruleset, &now) {
                return Ok(remarks.unwrap_or_default());
            }
            still = of_others(base, goal, &now);
        }
        remarks.get_or_insert_with(|| worth_saying(&merged.remarks));
        let script =
            edit::script_around(&now, &merged.ruleset, &now.saved_counters(), still)?.bytes();
        let script = if origin.backend == Backend::Nft && !by_number {
            by_text(&now, &script).unwrap_or(script)
        } else {
            script
        };
        let done = write(tools, origin, &script, Mode::Amend, held);
        let fresh = read(tools, origin)?;
        let unchanged = same(&fresh, &now);
        match done {
            Ok(()) => {}
            // Refused, and nobody else is to blame: by its numbers then, since nft does not find every
            // rule by its text; after that it is our own fault.
            Err(RestoreError::Refused { .. })
                if unchanged && origin.backend == Backend::Nft && !by_number =>
            {
                by_number = true;
            }
            Err(RestoreError::Refused { .. }) if !unchanged => {}
            Err(error) => return Err(error.into()),
        }
        now = fresh;
    }
    Err(CarryError::Unsettled { origin })
}

/// An error where somebody put a rule into a chain of the change that iptables cannot say: its text could be taken
/// for that of another.
fn is_said_whole(
    origin: Origin,
    base: &Ruleset,
    goal: &Ruleset,
    now: &Ruleset,
) -> Result<(), CarryError> {
    let mut locked = lossy::chains(origin, now).into_iter();
    match locked.find(|chain| lossy::is_touched(chain, base, goal)) {
        Some(chain) => Err(CarryError::Conflict {
            origin,
            what: chain.to_string(),
        }),
        None => Ok(()),
    }
}

/// The texts of all rules that the change from `base` to `goal` is not about.
pub(super) fn of_others(base: &Ruleset, goal: &Ruleset, now: &Ruleset) -> HashSet<Vec<u8>> {
    let chains = edit::Diff::between(base, goal).chains;
    let ours: HashSet<Vec<u8>> = chains
        .into_iter()
        .flat_map(|chain| chain.lines)
        .map(DiffLine::into_spec)
        .collect();
    let texts = now.rules().map(|rule| now.rule_text(rule).into_owned());
    texts.filter(|text| !ours.contains(text)).collect()
}

/// Runs a script, and waits for the xtables lock as long as a tool at work may need it.
pub(super) fn write(
    tools: &Tools,
    origin: Origin,
    script: &[u8],
    mode: Mode,
    held: Option<&Held>,
) -> Result<(), RestoreError> {
    let mut wait = Wait {
        limit: Duration::from_secs(20),
        stop: &mut || false,
        told: &mut |_| {},
    };
    restore(tools, origin, script, mode, held, &mut wait)
}

pub(super) fn worth_saying(remarks: &[Remark]) -> Vec<String> {
    let mut said: Vec<String> = remarks
        .iter()
        .filter(|remark| !remark.is_harmless())
        .map(ToString::to_string)
        .collect();
    said.dedup();
    said
}

/// Whether the rules that the change put somewhere stand, among the rules of `goal` that are there, as they do
/// in `goal`. Rules that others added do not count, nor do those that they took out.
pub(super) fn in_order(base: &Ruleset, goal: &Ruleset, now: &Ruleset) -> bool {
    chains(goal).all(|(table, chain)| {
        let twin = |ruleset: &Ruleset| {
            let table = ruleset.find_table(table)?;
            ruleset.chain_named(table, chain.name_bytes())
        };
        let ids = |ruleset: &Ruleset, chain: &Chain| -> Vec<TextId> {
            let rules = chain.rules().iter();
            rules.map(|rule| ruleset.text_id(*rule)).collect()
        };
        let wanted = ids(goal, chain);
        let was = twin(base).map_or_else(Vec::new, |twin| ids(base, base.chain(twin)));
        if wanted == was {
            return true; // the change is elsewhere
        }
        let is = twin(now).map_or_else(Vec::new, |twin| ids(now, now.chain(twin)));
        let (known, there): (HashSet<_>, HashSet<_>) =
            (wanted.iter().collect(), is.iter().collect());
        let wanted = wanted.iter().filter(|id| there.contains(id));
        wanted.eq(is.iter().filter(|id| known.contains(id)))
    })
}

/// Every chain, with the name of its table.
pub(super) fn chains(ruleset: &Ruleset) -> impl Iterator<Item = (&str, &Chain)> {
    ruleset.tables().iter().flat_map(|table| {
        let chains = table.chains().iter();
        chains.map(|chain| (table.name(), ruleset.chain(*chain)))
    })
}

/// Whether two rulesets decide the same in the same words: chains, policies and rules, not counters. A table
/// that is not there is as good as an empty one, a built-in chain likewise.
pub(super) fn same(one: &Ruleset, other: &Ruleset) -> bool {
    first_difference(one, other).is_none()
}

/// Where they differ first, in words.
pub(super) fn first_difference(one: &Ruleset, other: &Ruleset) -> Option<String> {
    missing(one, other).or_else(|| missing(other, one))
}

/// What stands in `one` and not so in `other`.
fn missing(one: &Ruleset, other: &Ruleset) -> Option<String> {
    let policy = |chain: Option<&Chain>| chain.and_then(Chain::policy).unwrap_or(Policy::Accept);
    chains(one).find_map(|(table, chain)| {
        let there = other.find_table(table);
        let twin = there
            .and_then(|table| other.chain_named(table, chain.name_bytes()))
            .map(|twin| other.chain(twin));
        let place = || format!("{table} {}", chain.name());
        if twin.is_none() && !chain.is_builtin() {
            return Some(format!("the chain {}", place()));
        }
        if chain.is_builtin() && policy(Some(chain)) != policy(twin) {
            return Some(format!("the policy of {}", place()));
        }
        let (ours, theirs) = (chain.rules(), twin.map_or(&[][..], Chain::rules));
        let equal = |at: &usize| match (ours.get(*at), theirs.get(*at)) {
            (Some(a), Some(b)) => one.normal_spec(*a) == other.normal_spec(*b),
            _ => false,
        };
        let differ = (0..ours.len().max(theirs.len())).find(|at| !equal(at));
        differ.map(|at| format!("rule {} of {}", at + 1, place()))
    })
}
