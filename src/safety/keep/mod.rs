//! Keep: the rules of now saved for the next boot, where this distribution looks for them.
//!
//! ```text
//! look:  where ─▶ live ─▶ less probes, less what programs put there ─▶ loads in a scratch namespace ─▶ diff
//! keep:  look again, still the same? ─▶ FILE.ruletop-new, synced ─▶ old one kept ─▶ renamed
//! ```
//!
//! Only what somebody has looked at is written: [`keep`] takes the [`Plan`] that [`look`] made, and refuses it
//! where the firewall or the file changed since. The file is there whole at every moment, the old one or the
//! new one, and the old one stays beside it as `FILE.ruletop-old`. A text that the back end's own restore tool
//! does not take, and give back the same, replaces nothing: at boot nobody is there to mend it.
//!
//! What it does not do: load anything, switch a service on, or save ipsets.

mod put;
mod table;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::carry::{first_difference, same};
use super::decide::pending;
use super::places::{self, PlaceError, Places, at};
use super::request::ApplyError;
use super::{current, diff, lossy};
use crate::netfilter::xtables::restore::{Mode, RestoreError};
use crate::netfilter::xtables::scratch::in_scratch;
use crate::netfilter::xtables::{Tools, beside};
use crate::ruleset::{Backend, Family, Origin, Policy, Ruleset, Warning};

/// What is to be kept, and where.
#[derive(Clone, Debug)]
pub struct Wish {
    /// `/`, but for tests.
    pub root: PathBuf,
    /// Of one family alone.
    pub family: Option<Family>,
    /// Of that back end.
    pub backend: Option<Backend>,
    /// Of that back end, where both hold rules.
    pub prefer: Option<Backend>,
    /// Leave out what programs put there by themselves.
    pub without_runtime: bool,
}

impl Wish {
    /// All of this machine.
    pub fn new() -> Self {
        Self {
            root: PathBuf::from("/"),
            family: None,
            backend: None,
            prefer: None,
            without_runtime: false,
        }
    }
}

impl Default for Wish {
    fn default() -> Self {
        Self::new()
    }
}

/// What would be written.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who loads the files at boot, in words; or that nobody is seen to.
    pub place: String,
    /// A file a family.
    pub files: Vec<KeptFile>,
    wish: Wish,
}

/// One file of a plan.
#[derive(Clone, Debug)]
pub struct KeptFile {
    /// Of which ruleset.
    pub origin: Origin,
    /// Where it stands.
    pub path: PathBuf,
    /// What turns what is saved there into what is live, a line each; empty where nothing differs. Other
    /// people's text: strip before drawing.
    pub diff: Vec<String>,
    /// What is live and not kept, a line each.
    pub left_out: Vec<String>,
    /// What is odd and not wrong, a line each.
    pub remarks: Vec<String>,
    /// It would be written.
    pub differs: bool,
    kept: Arc<Ruleset>,
    /// Of the file as it was looked at; `None`: there was none.
    old: Option<Vec<u8>>,
}

impl Plan {
    /// Something would be written.
    pub fn differs(&self) -> bool {
        self.files.iter().any(|file| file.differs)
    }
}

/// Why nothing is kept. Unless it says otherwise, nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// What is live may be undone in a moment.
    #[error("a change is pending: {id}")]
    Pending {
        /// Its name.
        id: String,
    },
    /// Another program owns the next boot.
    #[error("{name} is in charge of this machine's firewall at boot")]
    InCharge {
        /// The program.
        name: String,
        /// What to do instead.
        words: String,
    },
    /// Nobody loads saved rules here.
    #[error("nothing on this machine loads saved rules at boot")]
    NoPlace {
        /// What to do about it.
        advice: String,
    },
    /// One file, and two rulesets to go into it.
    #[error("both back ends hold rules of {}", family.name())]
    Both {
        /// Which family.
        family: Family,
    },
    /// The text would say less than what the kernel holds.
    #[error("{what}")]
    Locked {
        /// What, and why.
        what: String,
    },
    /// The text would not load.
    #[error("what would be saved in {} does not load: {what}", path.display())]
    Unsound {
        /// For which file.
        path: PathBuf,
        /// In the tool's words.
        what: String,
    },
    /// A link leads out of the root folder.
    #[error("{} leads out of {}", path.display(), root.display())]
    Outside {
        /// The file.
        path: PathBuf,
        /// The folder.
        root: PathBuf,
    },
    /// Somebody wrote since it was looked at.
    #[error("{what} changed since the difference was shown")]
    Changed {
        /// The firewall, or a file.
        what: String,
    },
    /// The firewall cannot be read.
    #[error(transparent)]
    Live(#[from] ApplyError),
    /// A scratch namespace cannot be had.
    #[error(transparent)]
    Scratch(#[from] RestoreError),
    /// A file or its folder.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The first file was written, the second was not.
    #[error("{} was written, and then: {source}", written.display())]
    Half {
        /// The file that was.
        written: PathBuf,
        /// Why the next was not.
        source: Box<KeepError>,
    },
}

impl KeepError {
    /// One sentence of what to do about it.
    pub fn remedy(&self) -> String {
        let fixed = match self {
            Self::InCharge { words, .. } => return words.clone(),
            Self::NoPlace { advice } => return advice.clone(),
            Self::Live(error) => return error.remedy(),
            Self::Half { source, .. } => return source.remedy(),
            Self::Pending { .. } => "ruletop confirm or ruletop revert first",
            Self::Both { .. } => "say which one with --backend nft or --backend legacy",
            Self::Locked { .. } => "keep that part with nft (nft list ruleset), or take it out",
            Self::Unsound { .. } => {
                "nothing is written; see whether the tool's version is to blame"
            }
            Self::Outside { .. } => "make it a file, or a link within that folder",
            Self::Changed { .. } => "look at the difference again",
            Self::Scratch(error) => error.remedy(),
            Self::Place(error) => error.remedy(),
        };
        fixed.to_owned()
    }
}

/// What would be written now. Changes nothing; takes some tenths of a second.
pub fn look(wish: &Wish, places: &Places, tools: &Tools) -> Result<Plan, KeepError> {
    if let Some(view) = pending(places) {
        return Err(KeepError::Pending { id: view.id });
    }
    let place = table::find(&wish.root)?;
    let mut files = Vec::new();
    for family in [Family::V4, Family::V6] {
        if wish.family.is_none_or(|wanted| wanted == family) {
            let path = put::real(place.file(family), &wish.root)?;
            files.extend(look_at(wish, tools, family, path)?);
        }
    }
    Ok(Plan {
        place: place.words(),
        files,
        wish: wish.clone(),
    })
}

/// Writes what was looked at; the files that were written. The firewall and the files must still be as they
/// were then.
pub fn keep(plan: &Plan, places: &Places, tools: &Tools) -> Result<Vec<PathBuf>, KeepError> {
    let now = look(&plan.wish, places, tools)?;
    let changed = |what: String| Err(KeepError::Changed { what });
    if now.files.len() != plan.files.len() {
        return changed("the firewall".to_owned());
    }
    for (file, now) in plan.files.iter().zip(&now.files) {
        if file.origin != now.origin || !same(&file.kept, &now.kept) {
            return changed(format!("the firewall ({})", now.origin));
        }
        if file.path != now.path || file.old != now.old {
            return changed(now.path.display().to_string());
        }
    }
    let mut written: Vec<PathBuf> = Vec::new();
    for file in now.files.iter().filter(|file| file.differs) {
        let done = put::replace(&file.path, file.kept.bytes());
        match (done, written.last()) {
            (Ok(()), _) => written.push(file.path.clone()),
            (Err(error), None) => return Err(error.into()),
            (Err(error), Some(first)) => {
                return Err(KeepError::Half {
                    written: first.clone(),
                    source: Box::new(error.into()),
                });
            }
        }
    }
    Ok(written)
}

/// One family; `None` where it holds nothing and nothing is saved.
fn look_at(
    wish: &Wish,
    tools: &Tools,
    family: Family,
    path: PathBuf,
) -> Result<Option<KeptFile>, KeepError> {
    let old = match places::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        read => Some(read.map_err(at("read", &path))?),
    };
    let (origin, live) = live(wish, tools, family)?;
    if old.is_none() && !holds(&live) {
        return Ok(None);
    }
    let counters = old.as_deref().is_some_and(text::has_counters);
    let kept = text::write(&live, counters, wish.without_runtime);
    whole(origin, &live, &kept)?;
    let unsound = |what: String| KeepError::Unsound {
        path: path.clone(),
        what,
    };
    let text = Ruleset::parse(kept.text, origin).map_err(|error| unsound(error.to_string()))?;
    loads(tools, origin, &text, &path)?;
    let mut remarks = Vec::new();
    let saved = Ruleset::parse(old.clone().unwrap_or_default(), origin);
    if let Err(error) = &saved {
        remarks.push(format!("what is saved there now cannot be read ({error})"));
    }
    let is_same = saved.as_ref().is_ok_and(|saved| same(saved, &text));
    let nothing = || Ruleset::parse(Vec::new(), origin).map_err(|error| unsound(error.to_string()));
    let saved = saved.or_else(|_| nothing())?;
    let own_words = old.as_deref().is_some_and(has_own_comments);
    if own_words {
        remarks.push("comments in the old file are not carried over".to_owned());
    }
    let sets = text
        .rules()
        .filter(|rule| memchr::memmem::find(text.spec(*rule), b"--match-set ").is_some());
    if let n @ 1.. = sets.count() {
        remarks.push(format!(
            "{n} rules name ipsets, which something has to make before these rules load at boot"
        ));
    }
    let differs = old.is_none() || !is_same;
    Ok(Some(KeptFile {
        origin,
        diff: diff::lines(&saved, &text),
        left_out: kept.left_out,
        remarks,
        differs,
        kept: Arc::new(text),
        old,
        path,
    }))
}

/// The ruleset that counts for a family.
fn live(wish: &Wish, tools: &Tools, family: Family) -> Result<(Origin, Arc<Ruleset>), KeepError> {
    if let Some(backend) = wish.backend {
        let origin = Origin::new(family, backend);
        return Ok((origin, current(tools, origin)?));
    }
    let (nft, legacy) = (
        Origin::new(family, Backend::Nft),
        Origin::new(family, Backend::Legacy),
    );
    let (in_nft, in_legacy) = (current(tools, nft)?, current(tools, legacy)?);
    match (holds(&in_nft), holds(&in_legacy), wish.prefer) {
        (true, true, None) => Err(KeepError::Both { family }),
        (_, true, Some(Backend::Legacy)) | (false, true, _) => Ok((legacy, in_legacy)),
        (false, false, _) if tools.save(nft).is_err() => Ok((legacy, in_legacy)),
        _ => Ok((nft, in_nft)),
    }
}

/// It says anything at all about packets, or names a chain.
fn holds(ruleset: &Ruleset) -> bool {
    ruleset.rule_count() > 0
        || ruleset.chains().iter().any(|chain| {
            !chain.is_builtin()
                || chain
                    .policy()
                    .is_some_and(|policy| policy != Policy::Accept)
        })
}

/// Refuses what saved text does not say.
fn whole(origin: Origin, live: &Ruleset, kept: &text::Kept) -> Result<(), KeepError> {
    let locked = |what: String| Err(KeepError::Locked { what });
    for chain in lossy::chains(origin, live) {
        let stays =
            |(table, name): &(String, String)| *table == chain.table && *name == chain.chain;
        if kept.chains.iter().any(stays) {
            return locked(chain.to_string());
        }
    }
    for warning in live.warnings() {
        if let Warning::TableIncompatible(table) | Warning::IncompatibleBaseChains(table) = warning
        {
            return locked(format!(
                "{origin} cannot show all of the table {table}: its text is not the whole truth"
            ));
        }
    }
    Ok(())
}

/// Loads the text where it decides about nothing, and compares what is there then.
fn loads(tools: &Tools, origin: Origin, text: &Ruleset, path: &Path) -> Result<(), KeepError> {
    let sets = beside::sets()
        .map(beside::Found::into_text)
        .unwrap_or_default();
    let tried = in_scratch(tools, |scratch| {
        // Without the sets only rules that name one fail, and say so.
        let _ = scratch.make_sets(&sets);
        scratch
            .restore(origin, text.bytes(), Mode::Replace)
            .map_err(|error| error.to_string())?;
        let there = scratch.save(origin).map_err(|error| error.to_string())?;
        let there = Ruleset::parse(there, origin).map_err(|error| error.to_string())?;
        match first_difference(text, &there) {
            Some(what) => Err(format!("{what} would be another one")),
            None => Ok(()),
        }
    })?;
    tried.map_err(|what| KeepError::Unsound {
        path: path.to_owned(),
        what,
    })
}

/// Comments that no tool wrote.
fn has_own_comments(text: &[u8]) -> bool {
    const TOOLS: [&[u8]; 4] = [
        b"# Generated by ",
        b"# Completed on ",
        b"# Kept by ",
        b"# Warning: ",
    ];
    text.split(|byte| *byte == b'\n')
        .any(|line| line.starts_with(b"#") && !TOOLS.iter().any(|begin| line.starts_with(begin)))
}
