//! Where safety keeps its things, and the care that is taken with them.
//!
//! Four folders, handed in and never known deep down, so that a test or the demo has its own: *state* (the
//! pending change; gone at a reboot, as the change is), *backups*, *log*, and *data* (the disabled rules). Each
//! network namespace has a firewall of its own, so a namespace that is not the first gets a state folder of its
//! own, and its data goes there too: both end with it.
//!
//! Whoever can write into these folders can have root load rules, so a folder that others may write to is
//! refused. Files are written under another name, synced and renamed: a reader sees the old or the new.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::host;

/// The folders. All absolute: the guard works in `/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// The pending change and its locks. Should be a tmpfs: what is in it means nothing after a reboot.
    pub state: PathBuf,
    /// One folder a backup.
    pub backups: PathBuf,
    /// The audit trail.
    pub log: PathBuf,
    /// What is to outlive a reboot beside: the disabled rules.
    pub data: PathBuf,
}

impl Places {
    /// The machine's own folders, for the network namespace of the calling thread.
    pub fn of_this_namespace() -> Self {
        let own = host::network_namespace().filter(|_| !host::is_first_namespace());
        let run = PathBuf::from("/run/ruletop");
        let own = own.map(|inode| run.join(format!("net-{inode}")));
        Self {
            data: own
                .clone()
                .unwrap_or_else(|| PathBuf::from("/var/lib/ruletop")),
            state: own.unwrap_or(run),
            backups: PathBuf::from("/var/backups/ruletop"),
            log: PathBuf::from("/var/log/ruletop"),
        }
    }

    /// All of them under one folder.
    pub fn under(folder: &Path) -> Self {
        Self {
            state: folder.join("state"),
            backups: folder.join("backups"),
            log: folder.join("log"),
            data: folder.join("data"),
        }
    }
}

/// Why a folder or a file in it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The system refuses.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// `make`, `write`, `read` …
        what: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Somebody else could change what is in it.
    #[error("{} may be written by others than its owner, or is not ours", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
    },
}

impl PlaceError {
    /// One sentence of what to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => "run as root (sudo)",
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "make room there, or name another folder"
                }
                io::ErrorKind::ReadOnlyFilesystem => "name a folder that can be written",
                _ => "check that folder, or name another one",
            },
            Self::Open { .. } => "make it root's own with mode 0700, or name another folder",
        }
    }
}

/// Maps an [`io::Error`] to what was tried.
pub(super) fn at<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> PlaceError + 'a {
    move |source| PlaceError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

/// Makes a folder for us alone, parents included; one that is there must be ours alone to write.
pub(super) fn folder(path: &Path) -> Result<(), PlaceError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(at("make the folder", path))?;
    let meta = fs::metadata(path).map_err(at("look at", path))?;
    if meta.uid() != nix::unistd::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
        return Err(PlaceError::Open {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// Reads a file, and never waits for one: what is no plain file is an error.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let options = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path);
    let mut file = options?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no plain file",
        ));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What reading that file gave; `None` where there is no such file.
pub(super) fn if_there(
    read: io::Result<Vec<u8>>,
    path: &Path,
) -> Result<Option<Vec<u8>>, PlaceError> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(at("read", path)),
    }
}

/// Writes a new file for us alone and syncs it.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), PlaceError> {
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(at("write", path))
}

/// Ends the name of a file that is being written; the writer's process id follows.
const HALF_WRITTEN: &str = "new-";

/// Whether a file of that name was left half written by a process that is no more.
pub(super) fn is_abandoned(name: &std::ffi::OsStr) -> bool {
    let writer = Path::new(name)
        .extension()
        .and_then(|ending| ending.to_str()?.strip_prefix(HALF_WRITTEN)?.parse().ok());
    writer.is_some_and(|pid: u32| {
        pid != std::process::id() && !Path::new("/proc").join(pid.to_string()).exists()
    })
}

/// Replaces a file as a whole: a reader sees the old one or the new one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), PlaceError> {
    // Unique among those who may write here at the same time.
    let new = path.with_extension(format!("{HALF_WRITTEN}{}", std::process::id()));
    let _ = fs::remove_file(&new); // of a dead process that had our number
    let done = write_new(&new, bytes)
        .and_then(|()| fs::rename(&new, path).map_err(at("put in place", path)));
    if done.is_err() {
        let _ = fs::remove_file(&new);
    }
    done
}

/// Replaces a file by that value as JSON, for people to read too.
pub(super) fn replace_json(path: &Path, value: &impl Serialize) -> Result<(), PlaceError> {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    replace(path, &text)
}

/// One writer at a time in a folder; waits for its turn.
pub(super) fn lock_folder(path: &Path) -> Result<Flock<File>, PlaceError> {
    let folder = File::open(path).map_err(at("open", path))?;
    lock(folder, path)
}

/// The lock of an open file, for us alone; waits for its turn.
pub(super) fn lock(mut file: File, path: &Path) -> Result<Flock<File>, PlaceError> {
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusive) {
            Ok(lock) => return Ok(lock),
            Err((file, Errno::EINTR)) => file,
            Err((_, errno)) => return Err(at("lock", path)(errno.into())),
        }
    }
}

/// Syncs the names in a folder.
pub(super) fn sync_folder(path: &Path) -> Result<(), PlaceError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(at("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_is_ours_alone_or_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b");
        folder(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(folder(&path), Err(PlaceError::Open { .. })));
    }

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("x.json");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        assert!(replace(&home.path().join("no/x.json"), b"").is_err());
    }
}
