//! The pending change on disk: one JSON file, the texts that the way back needs, and the locks.
//!
//! ```text
//! STATE/pending.json   the record: what, whose, until when, and what was decided. Always replaced whole
//! STATE/ID/            before and after of each ruleset, as iptables-save text; ipsets that are made, as ipset save;
//!                      the record once more, for when somebody damages it
//! STATE/ended.json     how the last change ended, where the audit trail could not be written
//! STATE/lock           held for the moment of a decision, so that confirm and deadline cannot both win
//! STATE/guard.lock     held by the guard as long as it lives; the standby waits for it
//! STATE/hands.lock     held by the guard *and its children* while they write to the kernel
//! ```
//!
//! All locks are flock(2): the kernel lets go of them when a process is gone, however it went.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use serde::{Deserialize, Serialize};

use super::clock;
use super::places::{self, PlaceError, Places, at};
use super::trail::Entry;
use super::who::Who;
use crate::ruleset::{Origin, Ruleset};

const SCHEMA: &str = "ruletop.pending/1";
/// The record once more, in the folder of its change.
const COPY: &str = "record.json";
/// Name of the file of the ipsets.
const SETS: &str = "ipset";

/// How far a pending change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The scripts are running, or were when the guard died: then it is undone.
    Applying,
    /// Applied; waits to be confirmed.
    Pending,
    /// Confirmed; the guard clears up.
    Confirmed,
    /// Being undone. Cannot be confirmed any more.
    Reverting,
    /// Undone; the guard clears up.
    Reverted,
}

/// What `pending.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub schema: String,
    pub id: String,
    pub phase: Phase,
    /// As the tools are called: `iptables-nft`.
    pub origins: Vec<String>,
    /// CLOCK_BOOTTIME, in milliseconds.
    pub deadline: u64,
    pub window: u64,
    /// The boot that the deadline belongs to.
    pub boot: String,
    /// When it began, for people.
    pub began: String,
    pub who: Who,
    pub why: String,
    pub backup: String,
    pub guard: u32,
    pub standby: u32,
    /// Who ended it: a person, or `the deadline`.
    pub by: Option<String>,
    /// Why it could not be undone so far.
    pub trouble: Option<String>,
    pub remarks: Vec<String>,
    /// The change in lines, shortened.
    pub diff: Vec<String>,
}

impl Record {
    pub fn new(id: String, who: Who, why: String, window: Duration) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            id,
            phase: Phase::Applying,
            origins: Vec::new(),
            deadline: 0,
            window: millis(window),
            boot: clock::boot_id(),
            began: clock::now(),
            who,
            why,
            backup: String::new(),
            guard: std::process::id(),
            standby: 0,
            by: None,
            trouble: None,
            remarks: Vec::new(),
            diff: Vec::new(),
        }
    }

    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline)
    }

    /// Time left on CLOCK_BOOTTIME.
    pub fn left(&self) -> Duration {
        self.deadline().saturating_sub(clock::boot_time())
    }

    /// One line for an error: whose it is and what it waits for.
    pub fn summary(&self) -> String {
        let what = match self.phase {
            Phase::Applying => "is being applied".to_owned(),
            Phase::Pending => format!("waits {} s more to be confirmed", self.left().as_secs()),
            Phase::Confirmed => "was just confirmed".to_owned(),
            Phase::Reverting | Phase::Reverted => "is being undone".to_owned(),
        };
        format!("{} by {} ({}) {what}", self.id, self.who, self.began)
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// One ruleset of the change: both ends of the way.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    pub origin: Origin,
    /// As it was read just before the change, counters included.
    pub before: Arc<Ruleset>,
    /// As it is to be.
    pub after: Arc<Ruleset>,
}

/// The state folder of one network namespace.
#[derive(Clone, Debug)]
pub(super) struct State {
    folder: PathBuf,
}

impl State {
    /// Makes the folder where it is missing.
    pub fn open(places: &Places) -> Result<Self, PlaceError> {
        places::folder(&places.state)?;
        Ok(Self {
            folder: places.state.clone(),
        })
    }

    /// The folder if it is there: for those who only look.
    pub fn look(places: &Places) -> Option<Self> {
        places.state.is_dir().then(|| Self {
            folder: places.state.clone(),
        })
    }

    /// A file of that change beside its texts.
    pub fn file_of(&self, id: &str, name: &str) -> PathBuf {
        self.folder.join(id).join(name)
    }

    fn file(&self) -> PathBuf {
        self.folder.join("pending.json")
    }

    /// The record; `None` where nothing is pending. Of one that cannot be understood the copy counts; where there
    /// is none either, nothing is known, and the guard, if it lives, writes it anew.
    pub fn read(&self) -> Result<Option<Record>, PlaceError> {
        let path = self.file();
        let Some(bytes) = places::if_there(fs::read(&path), &path)? else {
            return Ok(None);
        };
        Ok(understood(&bytes).or_else(|| self.copy()))
    }

    /// Where the record is, if there is one and it cannot be understood.
    pub fn damaged(&self) -> Option<PathBuf> {
        let path = self.file();
        let bytes = fs::read(&path).ok()?;
        understood(&bytes).is_none().then_some(path)
    }

    pub fn write(&self, record: &Record) -> Result<(), PlaceError> {
        places::replace_json(&self.file(), record)?;
        let folder = self.folder.join(&record.id);
        if is_name(&record.id) && folder.is_dir() {
            // What is decided stands in the record; the copy is for when somebody breaks that.
            let _ = places::replace_json(&folder.join(COPY), record);
        }
        Ok(())
    }

    /// The newest copy of a record.
    fn copy(&self) -> Option<Record> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let of = |entry: fs::DirEntry| {
            let record = understood(&fs::read(entry.path().join(COPY)).ok()?)?;
            (entry.file_name().to_str() == Some(&record.id)).then_some(record)
        };
        let records = entries.filter_map(of);
        records.max_by(|one, other| one.id.cmp(&other.id))
    }

    /// Keeps how a change ended, where the trail cannot.
    pub fn write_end(&self, entry: &Entry) -> Result<(), PlaceError> {
        let text = serde_json::to_vec(entry).unwrap_or_default();
        places::replace(&self.end_file(), &text)
    }

    /// How that change ended, where the trail could not be written.
    pub fn read_end(&self, id: &str) -> Option<Entry> {
        let entry: Entry = serde_json::from_slice(&fs::read(self.end_file()).ok()?).ok()?;
        (entry.id == id).then_some(entry)
    }

    /// Another change begins.
    pub fn forget_end(&self) {
        let _ = fs::remove_file(self.end_file());
    }

    fn end_file(&self) -> PathBuf {
        self.folder.join("ended.json")
    }

    /// Writes the texts of the way; `sets` are the ipsets that are going to be made.
    pub fn write_legs(&self, id: &str, legs: &[Leg], sets: &[u8]) -> Result<(), PlaceError> {
        let folder = self.folder.join(id);
        places::folder(&folder)?;
        for leg in legs {
            for (end, ruleset) in [("before", &leg.before), ("after", &leg.after)] {
                let path = folder.join(format!("{}.{end}", leg.origin));
                places::write_new(&path, ruleset.bytes())?;
            }
        }
        places::write_new(&folder.join(SETS), sets)
    }

    /// Reads them back.
    pub fn read_legs(&self, id: &str) -> Result<Vec<Leg>, PlaceError> {
        let folder = self.folder.join(id);
        let mut legs = Vec::new();
        for origin in Origin::ALL {
            let read = |end: &str| {
                let path = folder.join(format!("{origin}.{end}"));
                let Some(text) = places::if_there(fs::read(&path), &path)? else {
                    return Ok(None);
                };
                Ruleset::parse(text, origin)
                    .map(|ruleset| Some(Arc::new(ruleset)))
                    .map_err(|error| at("parse", &path)(io::Error::other(error.to_string())))
            };
            if let (Some(before), Some(after)) = (read("before")?, read("after")?) {
                legs.push(Leg {
                    origin,
                    before,
                    after,
                });
            }
        }
        Ok(legs)
    }

    /// The ipsets that the change makes; none where that is not known any more.
    pub fn read_sets(&self, id: &str) -> Vec<u8> {
        places::read(&self.file_of(id, SETS)).unwrap_or_default()
    }

    /// Takes away everything of a change that has ended.
    pub fn clear(&self, id: &str) -> Result<(), PlaceError> {
        let folder = self.folder.join(id);
        for removed in [fs::remove_file(self.file()), fs::remove_dir_all(&folder)] {
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(at("remove", &folder)(error));
                }
                _ => {}
            }
        }
        self.sweep();
        Ok(())
    }

    /// Takes away what processes left behind that were killed while they wrote. Only for who holds the guard's
    /// lock, when there is no record.
    pub fn sweep(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let is_ours = entry.file_name().to_str().is_some_and(is_name);
            if is_folder && is_ours {
                let _ = fs::remove_dir_all(path);
            } else if places::is_abandoned(&entry.file_name()) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Whether there is something to sweep.
    pub fn is_littered(&self) -> bool {
        fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| {
                places::is_abandoned(&entry.file_name())
                    || entry.file_type().is_ok_and(|kind| kind.is_dir())
            })
    }

    /// Held while a decision is read and written.
    pub fn decide(&self) -> Result<Flock<File>, PlaceError> {
        let path = self.folder.join("lock");
        places::lock(open(&path)?, &path)
    }

    /// The guard's own lock; `None` while another guard lives and `wait` is over.
    pub fn guard_lock(&self, wait: Option<Duration>) -> Result<Option<Flock<File>>, PlaceError> {
        let path = self.folder.join("guard.lock");
        lock(&path, wait)
    }

    /// Taken around what writes to the kernel, and inherited by the tools that do: when it can be had, no
    /// tool of a dead guard is at work any more.
    pub fn hands(&self, wait: Duration) -> Result<Option<Flock<File>>, PlaceError> {
        let path = self.folder.join("hands.lock");
        let held = lock(&path, Some(wait))?;
        if let Some(held) = &held {
            fcntl(&**held, FcntlArg::F_SETFD(FdFlag::empty()))
                .map_err(|errno| at("share", &path)(errno.into()))?;
        }
        Ok(held)
    }

    /// Whether a guard lives.
    pub fn is_guarded(&self) -> bool {
        let path = self.folder.join("guard.lock");
        File::open(&path).is_ok_and(|file| {
            matches!(
                Flock::lock(file, FlockArg::LockSharedNonblock),
                Err((_, Errno::EWOULDBLOCK))
            )
        })
    }
}

fn understood(text: &[u8]) -> Option<Record> {
    let record: Option<Record> = serde_json::from_slice(text).ok();
    record.filter(|record| record.schema == SCHEMA && is_name(&record.id))
}

fn open(path: &std::path::Path) -> Result<File, PlaceError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(at("open", path))
}

/// `None` for `wait`: for ever.
fn lock(path: &std::path::Path, wait: Option<Duration>) -> Result<Option<Flock<File>>, PlaceError> {
    const PAUSE: Duration = Duration::from_millis(10);
    let begun = Instant::now();
    let mut file = open(path)?;
    let how = match wait {
        Some(_) => FlockArg::LockExclusiveNonblock,
        None => FlockArg::LockExclusive,
    };
    loop {
        file = match Flock::lock(file, how) {
            Ok(lock) => return Ok(Some(lock)),
            Err((file, Errno::EWOULDBLOCK | Errno::EINTR)) => file,
            Err((_, errno)) => return Err(at("lock", path)(errno.into())),
        };
        if wait.is_some_and(|wait| begun.elapsed() >= wait) {
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

/// A name that we made ourselves: digits, letters, dashes. Nothing else becomes a path.
pub(super) fn is_name(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= 64
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A fresh name that sorts by time: `20260131-235959-1a2b3c`.
pub(super) fn fresh_name() -> String {
    let now = jiff::Timestamp::now();
    let day = now.strftime("%Y%m%d-%H%M%S");
    // Names are in the order of their time within a second too; two of one moment differ by their process.
    let micros = now.subsec_nanosecond().unsigned_abs() / 1000;
    let process = std::process::id() & 0xfff;
    format!("{day}-{micros:05x}{process:03x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (tempfile::TempDir, State) {
        let home = tempfile::tempdir().unwrap();
        let state = State::open(&Places::under(home.path())).unwrap();
        (home, state)
    }

    #[test]
    fn a_record_goes_and_comes_back() {
        let (_home, state) = state();
        assert_eq!(state.read().unwrap(), None);
        let mut record = Record::new(
            fresh_name(),
            Who::here(),
            "a test".into(),
            super::super::WINDOW,
        );
        record.deadline = millis(clock::boot_time() + Duration::from_secs(60));
        state.write(&record).unwrap();
        assert_eq!(state.read().unwrap(), Some(record.clone()));
        assert!(record.left() > Duration::from_secs(50));
        state.clear(&record.id).unwrap();
        assert_eq!(state.read().unwrap(), None);
    }

    #[test]
    fn what_is_no_record_is_none_and_no_path() {
        let (_home, state) = state();
        let record = Record::new(
            "../../etc".into(),
            Who::default(),
            String::new(),
            Duration::ZERO,
        );
        state.write(&record).unwrap();
        assert_eq!(state.read().unwrap(), None, "a name that is a path");
        fs::write(state.file(), b"{\"schema\":\"rule").unwrap();
        assert_eq!(state.read().unwrap(), None, "cut short");
        for bad in ["", "a/b", "..", "a b", "\u{e9}"] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(is_name(&fresh_name()));
    }

    #[test]
    fn a_record_that_is_damaged_has_a_copy() {
        let (_home, state) = state();
        let record = Record::new("b-2".into(), Who::here(), String::new(), Duration::ZERO);
        state.write_legs("b-2", &[], b"").unwrap();
        state.write(&record).unwrap();
        assert_eq!(state.damaged(), None);
        for damage in [&b""[..], b"{\"schema\":\"rule", b"\xff"] {
            fs::write(state.file(), damage).unwrap();
            assert_eq!(state.read().unwrap(), Some(record.clone()));
            assert!(state.damaged().is_some());
        }
        state.clear("b-2").unwrap();
        assert_eq!(state.read().unwrap(), None);
        assert_eq!(state.damaged(), None);
    }

    #[test]
    fn a_guard_that_lives_is_seen_and_kept_alone() {
        let (_home, state) = state();
        assert!(!state.is_guarded());
        let held = state.guard_lock(Some(Duration::ZERO)).unwrap();
        assert!(held.is_some() && state.is_guarded());
        assert!(state.guard_lock(Some(Duration::ZERO)).unwrap().is_none());
        drop(held);
        assert!(!state.is_guarded());
    }

    #[test]
    fn legs_come_back_byte_for_byte() {
        let (_home, state) = state();
        let origin = Origin::ALL[0];
        let text = "*filter\n:INPUT DROP [1:2]\n[3:4] -A INPUT -m comment --comment \"\u{e9}\" -j DROP\nCOMMIT\n";
        let ruleset = |text: &str| Arc::new(Ruleset::parse(text.as_bytes(), origin).unwrap());
        let leg = Leg {
            origin,
            before: ruleset(text),
            after: ruleset(""),
        };
        state
            .write_legs("x", &[leg], b"create a hash:ip\n")
            .unwrap();
        let back = state.read_legs("x").unwrap();
        assert_eq!(state.read_sets("x"), b"create a hash:ip\n");
        assert_eq!(state.read_sets("y"), b"");
        assert_eq!(back.len(), 1);
        assert_eq!(back[0].before.bytes(), text.as_bytes());
        assert_eq!(back[0].after.bytes(), b"");
    }
}
