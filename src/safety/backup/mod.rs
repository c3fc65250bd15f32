//! The backup store: everything that decides about packets, as it was before a change.
//!
//! ```text
//! BACKUPS/20260131-235959-1a2b/
//!   manifest.json                 what, when, who, why, checksums
//!   iptables-nft.rules …          iptables-save -c of each family and back end that holds tables
//!   nft.ruleset                   nft list ruleset: what iptables cannot show is in here
//!   ipset.save                    ipset save
//!   sysctl.json                   the switches that firewalls are helped or hindered by
//! ```
//!
//! A backup is written under a name that nobody reads, synced, renamed, and read again: it is there whole or
//! not at all, and it is known to be readable before the change that it is for. One that is damaged later (a
//! checksum, a missing file) is refused with the reason.
//!
//! What it does not do: put anything back. That is a change like any other and goes the same way.

mod manifest;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use manifest::{LossyChain, Manifest, Part};

use super::clock;
use super::lossy::{self, LockedChain};
use super::places::{self, PlaceError, Places, at};
use super::record::{fresh_name, is_name};
use super::who::Who;
use crate::host;
use crate::netfilter::xtables::beside::{self, Found};
use crate::netfilter::xtables::{self, Limits, Presence, Tools, XtablesError};
use crate::ruleset::{Origin, Ruleset};

/// Written along, never written back: what somebody may have turned while looking for the fault.
const SYSCTLS: [&str; 7] = [
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/all/forwarding",
    "net/ipv6/conf/all/forwarding",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_log_all_netns",
    "net/bridge/bridge-nf-call-iptables",
];
/// Begins the name of a backup that is not finished; the process that writes it and its future name follow.
const UNFINISHED: &str = ".new-";

/// Why a backup cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder or a file in it.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A ruleset that is to be changed cannot be saved.
    #[error(transparent)]
    Save(#[from] XtablesError),
    /// There is none of that name.
    #[error("there is no backup {id}")]
    Missing {
        /// The name that was asked for.
        id: String,
    },
    /// It is not what was written.
    #[error("the backup {id} is damaged: {what}")]
    Damaged {
        /// Its name.
        id: String,
        /// What is wrong with it.
        what: String,
    },
}

impl BackupError {
    /// One sentence of what to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Place(error) => error.remedy(),
            Self::Save(error) => error.remedy(),
            Self::Missing { .. } => "see ruletop backup list",
            Self::Damaged { .. } => "it is not used; choose another one from ruletop backup list",
        }
    }
}

/// A backup that was read and found whole.
#[derive(Clone, Debug)]
pub struct Backup {
    /// What it says of itself.
    pub manifest: Manifest,
    texts: BTreeMap<String, Vec<u8>>,
}

impl Backup {
    /// The ruleset of `origin`; an empty one where the box held none.
    pub fn ruleset(&self, origin: Origin) -> Result<Arc<Ruleset>, BackupError> {
        let text = self.text(&origin.to_string()).to_vec();
        Ruleset::parse(text, origin)
            .map(Arc::new)
            .map_err(|error| BackupError::Damaged {
                id: self.manifest.id.clone(),
                what: format!("{origin} cannot be read: {error}"),
            })
    }

    /// `iptables-nft`, …, `nft`, `ipset`, `sysctl`: the part's bytes, empty where it has none.
    pub fn text(&self, what: &str) -> &[u8] {
        self.texts.get(what).map_or(&[], Vec::as_slice)
    }

    /// Whether the part was saved or known to be empty; `false` where saving it failed.
    pub fn knows(&self, origin: Origin) -> bool {
        let name = origin.to_string();
        self.manifest
            .parts
            .iter()
            .any(|part| part.what == name && part.lack.as_deref().is_none_or(|why| why == NOTHING))
    }
}

const NOTHING: &str = "no tables";

/// Makes a backup of the calling thread's network namespace. The rulesets of `needed` must be saved; any other
/// part that cannot be is noted in the manifest.
pub fn take(
    places: &Places,
    tools: &Tools,
    needed: &[Origin],
    who: &Who,
    why: &str,
) -> Result<Backup, BackupError> {
    places::folder(&places.backups)?;
    let id = fresh_name();
    let unfinished = places
        .backups
        .join(format!("{UNFINISHED}{}-{id}", std::process::id()));
    let done = (|| {
        places::folder(&unfinished)?;
        write_parts(&unfinished, tools, needed, &id, who, why)?;
        places::sync_folder(&unfinished)?;
        let finished = places.backups.join(&id);
        fs::rename(&unfinished, &finished).map_err(at("put in place", &finished))?;
        places::sync_folder(&places.backups)?;
        load(places, &id)
    })();
    if done.is_err() {
        let _ = fs::remove_dir_all(&unfinished);
    }
    done
}

fn write_parts(
    folder: &Path,
    tools: &Tools,
    needed: &[Origin],
    id: &str,
    who: &Who,
    why: &str,
) -> Result<(), BackupError> {
    let mut parts = Vec::new();
    let mut locked = Vec::new();
    let mut put = |what: &str, file: &str, bytes: &[u8]| -> Result<(), BackupError> {
        places::write_new(&folder.join(file), bytes)?;
        parts.push(Part::of(what, file.to_owned(), bytes));
        Ok(())
    };
    let mut lacks = Vec::new();
    for origin in Origin::ALL {
        let what = origin.to_string();
        if matches!(Presence::of(origin), Presence::Nothing) {
            lacks.push(Part::lacking(&what, NOTHING));
            continue;
        }
        match xtables::save(tools, origin, Limits::default()) {
            Ok(saved) => {
                if let Ok(ruleset) = Ruleset::parse(saved.bytes.clone(), origin) {
                    locked.extend(lossy::chains(origin, &ruleset).into_iter().map(named));
                }
                put(&what, &format!("{what}.rules"), &saved.bytes)?;
            }
            Err(error) if needed.contains(&origin) => return Err(error.into()),
            Err(error) => lacks.push(Part::lacking(&what, error.to_string())),
        }
    }
    for (what, file, found) in [
        ("nft", "nft.ruleset", beside::nft_ruleset()),
        ("ipset", "ipset.save", beside::sets()),
    ] {
        match found {
            Ok(Found::Text(text)) => put(what, file, &text)?,
            Ok(Found::NotLoaded) => lacks.push(Part::lacking(what, "not in the kernel")),
            Ok(Found::NotInstalled) => lacks.push(Part::lacking(what, "not installed")),
            Err(error) => lacks.push(Part::lacking(what, error.to_string())),
        }
    }
    put("sysctl", "sysctl.json", &sysctls())?;
    parts.extend(lacks);
    let identity = host::identity();
    let manifest = Manifest {
        schema: manifest::SCHEMA.to_owned(),
        id: id.to_owned(),
        time: clock::now(),
        who: who.clone(),
        why: why.to_owned(),
        host: identity.host,
        kernel: identity.kernel,
        parts,
        lossy: locked,
    };
    let mut text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    text.push(b'\n');
    places::write_new(&folder.join("manifest.json"), &text)?;
    Ok(())
}

fn named(chain: LockedChain) -> LossyChain {
    LossyChain {
        origin: chain.origin.to_string(),
        table: chain.table,
        chain: chain.chain,
        why: chain.why,
    }
}

fn sysctls() -> Vec<u8> {
    let values: BTreeMap<&str, String> = SYSCTLS
        .into_iter()
        .filter_map(|name| {
            let value = fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
            Some((name, value.trim().to_owned()))
        })
        .collect();
    serde_json::to_vec_pretty(&values).unwrap_or_default()
}

/// Names of the finished backups, oldest first.
pub fn list(places: &Places) -> Result<Vec<String>, BackupError> {
    let entries = match fs::read_dir(&places.backups) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(at("read", &places.backups))?,
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_name(name))
        .collect();
    names.sort();
    Ok(names)
}

/// The one backup that `wanted` means: its name, the beginning of it, or `latest`.
pub fn find(places: &Places, wanted: &str) -> Result<String, BackupError> {
    let names = list(places)?;
    let missing = || BackupError::Missing {
        id: wanted.to_owned(),
    };
    if wanted == "latest" {
        return names.last().cloned().ok_or_else(missing);
    }
    let mut fitting = names
        .iter()
        .filter(|name| is_name(wanted) && name.starts_with(wanted));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only.clone()),
        (Some(_), Some(_)) if names.iter().any(|name| name == wanted) => Ok(wanted.to_owned()),
        _ => Err(missing()),
    }
}

/// Reads a backup and holds every part against its checksum.
pub fn load(places: &Places, id: &str) -> Result<Backup, BackupError> {
    let damaged = |what: String| BackupError::Damaged {
        id: id.to_owned(),
        what,
    };
    let folder: PathBuf = places.backups.join(id);
    if !is_name(id) || !folder.is_dir() {
        return Err(BackupError::Missing { id: id.to_owned() });
    }
    let read = |file: &str| {
        places::read(&folder.join(file)).map_err(|error| damaged(format!("{file}: {error}")))
    };
    let manifest: Manifest = serde_json::from_slice(&read("manifest.json")?)
        .map_err(|error| damaged(format!("manifest.json: {error}")))?;
    if manifest.schema != manifest::SCHEMA || manifest.id != id {
        return Err(damaged("manifest.json is another backup's".to_owned()));
    }
    let mut texts = BTreeMap::new();
    for part in &manifest.parts {
        let Some(file) = &part.file else { continue };
        if file.contains('/') || file.starts_with('.') {
            return Err(damaged(format!("{file} is no file of a backup")));
        }
        let bytes = read(file)?;
        if manifest::checksum(&bytes) != part.sha256 {
            return Err(damaged(format!("{file} does not have its checksum")));
        }
        texts.insert(part.what.clone(), bytes);
    }
    Ok(Backup { manifest, texts })
}

/// Removes the oldest until `keep` are left, never those of `spared`, and what unfinished ones a dead process
/// left behind.
pub fn prune(places: &Places, keep: usize, spared: &[&str]) -> Result<(), BackupError> {
    remove_abandoned(places);
    let names = list(places)?;
    let surplus = names.len().saturating_sub(keep.max(1));
    for name in names.iter().take(surplus) {
        if !spared.contains(&name.as_str()) {
            let path = places.backups.join(name);
            fs::remove_dir_all(&path).map_err(at("remove", &path))?;
        }
    }
    Ok(())
}

/// Nobody reads them, so what cannot be removed does no harm.
fn remove_abandoned(places: &Places) {
    for entry in fs::read_dir(&places.backups)
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let writer = name
            .to_str()
            .and_then(|name| name.strip_prefix(UNFINISHED))
            .and_then(|name| name.split_once('-'));
        let dead = writer.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists());
        if dead {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
