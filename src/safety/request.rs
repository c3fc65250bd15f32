//! What is asked for and what comes of it: the words between those who want a change and the guard.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::places::Places;
use super::who::Who;
use crate::ruleset::{Origin, Ruleset};

/// A change of one ruleset.
#[derive(Clone, Debug)]
pub struct Transition {
    /// Which of the box's rulesets.
    pub origin: Origin,
    /// What it was when the change was thought of. If the kernel's is another by now, the change is carried
    /// over where that is plain, and refused where it is not.
    pub before: Arc<Ruleset>,
    /// What it is to be.
    pub to: To,
}

/// The goal of a change.
#[derive(Clone, Debug)]
pub enum To {
    /// This ruleset. New rules may be in anybody's words; they are put in the back end's own before the apply.
    Ruleset(Arc<Ruleset>),
    /// Whatever this text makes of `before`: iptables-restore(8) input as for `-n`.
    Script(Vec<u8>),
}

/// How long a change waits to be confirmed, unless somebody says otherwise.
pub const WINDOW: Duration = Duration::from_secs(60);
/// How many backups are kept, unless somebody says otherwise.
pub const KEEP: usize = 10;

/// A change to be made, of one ruleset or of several at once.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where safety keeps its things.
    pub places: Places,
    /// At most one for an origin.
    pub transitions: Vec<Transition>,
    /// Ipsets that new rules name, as `ipset save` prints them. Those that are not there are made before the rules
    /// are, and go again when the change is undone.
    pub sets: Vec<u8>,
    /// How long it waits for a confirmation once it is applied.
    pub window: Duration,
    /// How many backups are kept.
    pub keep: usize,
    /// For the record: `the board`, `ruletop apply rules.v4`.
    pub why: String,
    /// For the record.
    pub who: Who,
    /// Setting it gives up, as long as nothing is applied.
    pub stop: Arc<AtomicBool>,
    /// The binary that knows [`GUARD`](super::GUARD); `None`: this very one.
    pub program: Option<PathBuf>,
}

impl Request {
    /// With the usual window and number of backups, by the person at this process.
    pub fn new(places: Places, why: impl Into<String>, transitions: Vec<Transition>) -> Self {
        Self {
            places,
            transitions,
            sets: Vec::new(),
            window: WINDOW,
            keep: KEEP,
            why: why.into(),
            who: Who::here(),
            stop: Arc::default(),
            program: None,
        }
    }
}

/// How far a change has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    /// The kernel's rulesets are read again; the change, and the way back, are tried in a scratch namespace.
    Checking,
    /// Somebody else holds the xtables lock.
    Waiting {
        /// Name and pid, where they can be known.
        holder: String,
    },
    /// Everything is saved.
    BackingUp,
    /// … and was read again and found whole.
    BackedUp {
        /// Name of the backup.
        backup: String,
    },
    /// The guard and its standby are ready: from here on, whoever dies, an unconfirmed change is undone.
    Armed {
        /// Process id of the guard.
        guard: u32,
        /// Process id of the process that takes over when the guard dies.
        standby: u32,
    },
    /// The scripts run.
    Applying,
    /// Another program wrote at the same moment; the rest is carried over to what there is now.
    Again,
    /// What the kernel now holds is compared with what was wanted.
    Verifying,
}

/// A change that is applied and waits for its confirmation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Its name.
    pub id: String,
    /// The backup from before it.
    pub backup: String,
    /// When it is undone, on CLOCK_BOOTTIME.
    pub deadline: Duration,
    /// What is odd and not wrong, a line each.
    pub remarks: Vec<String>,
}

/// Why a change was not made. Unless it says otherwise, nothing is applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "error")]
pub enum ApplyError {
    /// Another change waits for its confirmation, or is being made.
    #[error("another change is pending: {what}")]
    Busy {
        /// Whose, and since when.
        what: String,
    },
    /// It would change nothing.
    #[error("the firewall is already so: there is nothing to apply")]
    Nothing,
    /// Somebody changed the same place since the change was thought of.
    #[error("{origin} changed under the stage: {what}")]
    Changed {
        /// Which ruleset.
        origin: String,
        /// What does not go together.
        what: String,
    },
    /// The back end or the kernel refuses a rule.
    #[error("{what}")]
    Refused {
        /// In its own words.
        what: String,
    },
    /// Saved text does not say all that the kernel holds there, so it could not be put back.
    #[error("{what}")]
    Locked {
        /// The chain and the reason.
        what: String,
    },
    /// The way back did not lead back when it was tried.
    #[error("the change could not be undone exactly: {what}")]
    OneWay {
        /// What would differ.
        what: String,
    },
    /// No backup, no change.
    #[error("no backup could be made: {what}")]
    Backup {
        /// The reason.
        what: String,
        /// What to do about it.
        remedy: String,
    },
    /// No guard, no change.
    #[error("the guard could not start: {what}")]
    Guard {
        /// The reason.
        what: String,
        /// What to do about it.
        remedy: String,
    },
    /// A ruleset cannot be read or a tool cannot be run.
    #[error("{what}")]
    Tool {
        /// The reason.
        what: String,
        /// What to do about it.
        remedy: String,
        /// Whether privilege is what lacks.
        privilege: bool,
    },
    /// The caller gave up.
    #[error("given up before anything was applied")]
    Stopped,
    /// It failed halfway; the part that was applied is undone.
    #[error("the change failed and is undone: {what}")]
    Undone {
        /// Why it failed.
        what: String,
    },
    /// It failed halfway and the way back fails too; the guard goes on trying.
    #[error("the change failed ({what}) and could not be undone: {trouble}")]
    Stuck {
        /// Why it failed.
        what: String,
        /// Why it could not be undone.
        trouble: String,
        /// The backup that holds what was there.
        backup: String,
    },
}

impl ApplyError {
    /// One sentence of what to do about it.
    pub fn remedy(&self) -> String {
        let fixed = match self {
            Self::Backup { remedy, .. }
            | Self::Guard { remedy, .. }
            | Self::Tool { remedy, .. } => return remedy.clone(),
            Self::Stuck { backup, .. } => {
                return format!(
                    "ruletop status tells more; ruletop restore {backup} puts all back"
                );
            }
            Self::Busy { .. } => "see ruletop status; ruletop confirm or ruletop revert ends it",
            Self::Nothing => "ruletop export shows what there is",
            Self::Changed { .. } => "nothing is applied; look at what changed and try again",
            Self::Refused { .. } => "nothing is applied; change what it names and try again",
            Self::Locked { .. } => "nothing is applied; change that chain with nft",
            Self::OneWay { .. } => "nothing is applied; leave that part out",
            Self::Stopped => "start again",
            Self::Undone { .. } => "the firewall is as it was; try again",
        };
        fixed.to_owned()
    }
}
