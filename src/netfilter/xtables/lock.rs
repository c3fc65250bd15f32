//! Who holds the xtables lock.
//!
//! Legacy writers flock(2) one file for the whole machine and wait for it without a word, for ever if
//! told to. The kernel says who: /proc/locks gives the pid of each lock's owner with the inode of its
//! file. `XTABLES_LOCKFILE` moves the file (iptables 1.8.3 and later).

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file that iptables-legacy locks.
const DEFAULT_PATH: &str = "/run/xtables.lock";

/// The process that holds the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its pid, in our pid namespace.
    pub pid: u32,
    /// Its task name, when /proc still has it. Other people's bytes: strip before drawing.
    pub name: Option<String>,
}

/// Where the lock of processes with our environment is.
pub fn path() -> PathBuf {
    env::var_os("XTABLES_LOCKFILE")
        .filter(|value| !value.is_empty())
        .map_or_else(|| PathBuf::from(DEFAULT_PATH), PathBuf::from)
}

/// Opens the lock file as the tools do: made where it is missing, for root alone.
pub(super) fn open(path: &Path) -> std::io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Who holds the lock at `path` now; `None` when nobody does, or nobody that our pid namespace shows.
pub fn holder(path: &Path) -> Option<Holder> {
    let meta = fs::metadata(path).ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let pid = holder_in(&locks, meta.dev(), meta.ino())?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm"))
        .ok()
        .map(|name| name.trim_end().to_owned());
    Some(Holder { pid, name })
}

/// Finds the flock of (device, inode) in the text of /proc/locks (proc_locks(5)):
/// `1: FLOCK  ADVISORY  WRITE 708 00:1a:1139 0 EOF`; waiters have `->` after the number.
fn holder_in(locks: &str, device: u64, inode: u64) -> Option<u32> {
    let file = format!(
        "{:02x}:{:02x}:{inode}",
        nix::sys::stat::major(device),
        nix::sys::stat::minor(device)
    );
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        if words.next()? != "FLOCK" {
            return None;
        }
        let pid = words.nth(2)?.parse().ok()?;
        (words.next()? == file && pid != 0).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "1: POSIX  ADVISORY  WRITE 12 00:1a:1139 0 EOF\n\
        2: FLOCK  ADVISORY  WRITE 708 00:1a:1139 0 EOF\n\
        2: -> FLOCK  ADVISORY  WRITE 709 00:1a:1139 0 EOF\n\
        3: FLOCK  ADVISORY  WRITE 0 00:1a:1140 0 EOF\n\
        4: FLOCK\n";

    #[test]
    fn finds_the_owner_and_not_the_waiters() {
        let device = nix::sys::stat::makedev(0, 0x1a);
        assert_eq!(holder_in(LOCKS, device, 1139), Some(708));
        assert_eq!(holder_in(LOCKS, device, 1140), None, "a pid we cannot see");
        assert_eq!(holder_in(LOCKS, device, 1), None);
        assert_eq!(holder_in("", device, 1139), None);
    }

    #[test]
    fn names_a_real_holder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(holder(file.path()), None);
        let held = nix::fcntl::Flock::lock(
            file.reopen().unwrap(),
            nix::fcntl::FlockArg::LockExclusiveNonblock,
        )
        .unwrap();
        let found = holder(file.path()).unwrap();
        assert_eq!(found.pid, std::process::id());
        assert!(found.name.is_some());
        drop(held);
        assert_eq!(holder(file.path()), None);
    }
}
