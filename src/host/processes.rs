//! The processes of the box as /proc shows them: names, parents, and which of them holds a socket.
//!
//! One walk serves whoever asks. Processes come and go under the reader, and those of others may be
//! closed to us: what cannot be read is left out. A process is named by its `comm`, which it may choose
//! itself.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::flow::Process;

/// A process with its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Number and name.
    pub process: Process,
    /// Its parent's number; 0 for none in sight.
    pub parent: u32,
    /// Its controlling terminal as the kernel numbers it; 0 for none.
    pub terminal: i64,
    /// Its user (real id).
    pub uid: Option<u32>,
}

/// All processes, by number.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    all: HashMap<u32, Seen>,
    root: PathBuf,
}

impl Processes {
    /// Those in sight.
    pub fn read() -> Self {
        Self::below(Path::new("/proc"))
    }

    /// Those of another /proc.
    pub fn below(root: &Path) -> Self {
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let seen = numbers.filter_map(|pid| Some((pid, seen(root, pid)?)));
        Self {
            all: seen.collect(),
            root: root.to_owned(),
        }
    }

    /// One of them.
    pub fn get(&self, pid: u32) -> Option<&Seen> {
        self.all.get(&pid)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Seen> {
        self.all.values()
    }

    /// A process and those above it, itself first. Ends at the first that is not in sight.
    pub fn up_from(&self, pid: u32) -> Vec<&Seen> {
        let mut line: Vec<&Seen> = Vec::new();
        let mut at = pid;
        while let Some(seen) = self.all.get(&at) {
            // A number that was given anew while we read could close a ring.
            if line.iter().any(|before| before.process.pid == at) {
                break;
            }
            line.push(seen);
            at = seen.parent;
        }
        line
    }

    /// The inodes of the sockets that it holds; empty where we may not look.
    pub fn sockets_of(&self, pid: u32) -> Vec<u64> {
        let folder = self.root.join(pid.to_string()).join("fd");
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| socket_inode(std::fs::read_link(entry.path()).ok()?.as_os_str()))
            .collect()
    }

    /// Who holds these sockets: the process with the lowest number that has one open, which of a server
    /// that forked is the first.
    pub fn holders(&self, inodes: &[u64]) -> HashMap<u64, Process> {
        let mut found: HashMap<u64, Process> = HashMap::new();
        let mut wanted: Vec<u64> = inodes.to_vec();
        wanted.sort_unstable();
        let mut pids: Vec<u32> = self.all.keys().copied().collect();
        pids.sort_unstable();
        for pid in pids {
            if found.len() == wanted.len() {
                break;
            }
            for inode in self.sockets_of(pid) {
                if wanted.binary_search(&inode).is_ok()
                    && let Some(seen) = self.all.get(&pid)
                {
                    found.entry(inode).or_insert_with(|| seen.process.clone());
                }
            }
        }
        found
    }

    /// It is in the network namespace of this thread; `None` where that cannot be told.
    pub fn shares_our_network(&self, pid: u32) -> Option<bool> {
        use std::os::unix::fs::MetadataExt;
        let theirs = self.root.join(pid.to_string()).join("ns/net");
        let theirs = std::fs::metadata(theirs).ok()?.ino();
        Some(theirs == super::network_namespace()?)
    }

    /// A variable of the environment that it was started with; `None` also where we may not look.
    pub fn variable(&self, pid: u32, name: &str) -> Option<String> {
        let path = self.root.join(pid.to_string()).join("environ");
        let environ = std::fs::read(path).ok()?;
        let mut all = environ.split(|byte| *byte == 0);
        let value = all.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

fn seen(root: &Path, pid: u32) -> Option<Seen> {
    let folder = root.join(pid.to_string());
    let stat = std::fs::read(folder.join("stat")).ok()?;
    let (name, parent, terminal) = stat_fields(&stat)?;
    let uid = std::fs::read_to_string(folder.join("status"))
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
            line.split_whitespace().next()?.parse().ok()
        });
    Some(Seen {
        process: Process { pid, name },
        parent,
        terminal,
        uid,
    })
}

/// Name, parent and terminal of a line of /proc/PID/stat (proc(5)). The name stands in parentheses and may
/// hold any byte, so the last one closes it.
fn stat_fields(stat: &[u8]) -> Option<(String, u32, i64)> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let name = String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned();
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    let mut fields = rest.split_whitespace().skip(1); // the state
    let parent = fields.next()?.parse().ok()?;
    let terminal = fields.nth(2)?.parse().ok()?; // after group and session
    Some((name, parent, terminal))
}

/// `socket:[12345]`.
fn socket_inode(link: &OsStr) -> Option<u64> {
    let text = link.as_bytes().strip_prefix(b"socket:[")?;
    std::str::from_utf8(text.strip_suffix(b"]")?)
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let line = b"812 (a) b (c) S 1 812 812 34816 900 4194304";
        assert_eq!(stat_fields(line), Some(("a) b (c".to_owned(), 1, 34816)));
        for bad in [
            &b""[..],
            b"1",
            b"1 (x",
            b"1 (x)",
            b"1 (x) S",
            b")(",
            b"1 (x) S y z",
        ] {
            assert_eq!(stat_fields(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn sockets_are_known_by_their_links() {
        assert_eq!(socket_inode(OsStr::new("socket:[42]")), Some(42));
        for bad in ["socket:[", "socket:[x]", "pipe:[42]", "/dev/null"] {
            assert_eq!(socket_inode(OsStr::new(bad)), None, "{bad}");
        }
    }

    #[test]
    fn we_are_among_them_with_our_parents() {
        let all = Processes::read();
        let line = all.up_from(std::process::id());
        assert_eq!(line[0].process.pid, std::process::id());
        assert!(line.len() > 1, "{line:?}");
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = all.sockets_of(std::process::id());
        assert!(!own.is_empty());
        let holders = all.holders(&own);
        assert!(
            own.iter().any(|inode| holders.contains_key(inode)),
            "{holders:?}"
        );
        drop(socket);
    }
}
