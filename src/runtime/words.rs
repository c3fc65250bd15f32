//! What comes through the doors, put into the words of the state.

use crate::app::attribution::LogRules;
use crate::app::firewall::Handle;
use crate::app::message::Message;
use crate::app::notice::{Level, Notice};
use crate::flow::{Body, KernelLine, LogSource};
use crate::ruleset::{BaseChain, Origin};
use crate::runtime::poller::{self, Stage};
use crate::safety;

/// A structure with what is made of it once: done on the poller's thread, since 100,000 rules take
/// longer than a frame may.
#[derive(Debug)]
pub struct Prepared {
    /// The structure.
    pub loaded: poller::Loaded,
    /// Its rules that log.
    pub log_rules: LogRules,
    /// Its handles, each with its table's.
    pub handles: Vec<Handle>,
    /// How many of its rules are probes that nobody will remove.
    pub leftovers: usize,
}

impl Prepared {
    /// Works out what is made once.
    pub fn of(loaded: poller::Loaded) -> Self {
        Self {
            log_rules: LogRules::of(&loaded.ruleset),
            handles: handles(&loaded),
            leftovers: safety::probe::leftovers(&loaded.ruleset).len(),
            loaded,
        }
    }
}

/// Native chains decide about packets too, and no tool of iptables shows them.
pub fn native_notice(chains: &[BaseChain]) -> Message {
    let deciding = chains
        .iter()
        .filter(|c| !c.dormant && (c.drops_by_default || c.rules > 0));
    let (count, drops) = deciding.fold((0, false), |(n, drops), c| {
        (n + 1, drops | c.drops_by_default)
    });
    if count == 0 {
        return Message::Withdraw("native".to_owned());
    }
    Message::Notice(Notice::new(
        if drops { Level::Warning } else { Level::Info },
        "native",
        match (count, drops) {
            (1, false) => "a native nft base chain decides about packets too".to_owned(),
            (1, true) => {
                "a native nft base chain decides about packets too, and drops by default".to_owned()
            }
            (n, false) => format!("{n} native nft base chains decide about packets too"),
            (n, true) => format!(
                "{n} native nft base chains decide about packets too, and some drop by default"
            ),
        },
        "they stand under native nft in the chain list; nft list ruleset shows their rules",
    ))
}

/// Probes of a program that was killed together with its helper.
pub fn leftover_notice(origin: Origin, leftovers: usize) -> Message {
    let key = format!("probe {origin}");
    let what = match leftovers {
        0 => return Message::Withdraw(key),
        1 => "a probe of a ruletop that was killed is".to_owned(),
        n => format!("{n} probes of a ruletop that was killed are"),
    };
    Message::Notice(Notice::new(
        Level::Warning,
        key,
        format!("{what} left in {origin}, marked ◦; it only logs"),
        "ruletop probe --clean removes it, and so does the key for probes on its row",
    ))
}

/// What save tools cannot say of these rules.
pub fn lossy_notice(origin: Origin, loaded: &poller::Loaded) -> Message {
    let key = format!("lossy {origin}");
    let Some(first) = loaded.lossy.first() else {
        return Message::Withdraw(key);
    };
    let set = &loaded.ruleset;
    let name = set
        .chains()
        .get(first.chain.0 as usize)
        .map_or("?", |c| c.name());
    Message::Notice(Notice::new(
        Level::Alarm,
        key,
        match loaded.lossy.len() {
            1 => format!(
                "{origin}: rule {} of {name} says less than what the kernel holds: {}",
                first.position + 1,
                first.why
            ),
            n => format!(
                "{origin}: {n} rules say less than what the kernel holds, the first is rule {} of {name}: {}",
                first.position + 1,
                first.why
            ),
        },
        "native nft was added to a table of iptables; nft list ruleset shows it. Never restore this from a saved dump",
    ))
}

/// Of the machine's log, a demo shows only what names its own namespace; NFLOG is its own anyway.
pub fn is_of_demo(line: &KernelLine, own: Option<u64>, logs: bool) -> bool {
    match (&line.source, &line.body) {
        (LogSource::Nflog(_), _) => true,
        (_, Body::Packet(_)) => logs,
        (_, Body::TableFull(full)) => own.is_some() && full.netns == own,
        _ => false,
    }
}

/// Each rule's handle with its table's.
fn handles(loaded: &poller::Loaded) -> Vec<Handle> {
    let Some(handles) = &loaded.handles else {
        return Vec::new();
    };
    let set = &loaded.ruleset;
    let mut tables = vec![0; set.rule_count()];
    for chain in set.chains() {
        let table = handles
            .tables
            .get(chain.table().0 as usize)
            .copied()
            .unwrap_or(0);
        for rule in chain.rules() {
            if let Some(slot) = tables.get_mut(rule.0 as usize) {
                *slot = table;
            }
        }
    }
    tables
        .into_iter()
        .zip(handles.rules.iter().copied())
        .collect()
}

pub fn stage_words(stage: Stage) -> &'static str {
    match stage {
        Stage::Looking => "looking",
        Stage::Saving => "reading the rules",
        Stage::Parsing { .. } => "making sense of them",
        Stage::Matching => "matching them with the kernel's handles",
    }
}
