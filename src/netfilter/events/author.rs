//! The process behind a change: what the kernel's message says, and what /proc still knows.

use std::fs;

use crate::netfilter::netlink::{attributes, be32, text};
use crate::netfilter::nftables::genid;
use crate::ruleset::Author;

/// Keeps the author of the later generation; generations wrap around.
pub(super) fn newest(kept: &mut Option<Author>, found: Option<Author>) {
    let later = match (&kept, &found) {
        (Some(kept), Some(found)) => {
            found.generation.wrapping_sub(kept.generation).cast_signed() > 0
        }
        (_, found) => found.is_some(),
    };
    if later {
        *kept = found;
    }
}

pub(super) fn author_in(encoded: &[u8]) -> Option<Author> {
    let mut author = Author {
        generation: 0,
        pid: 0,
        name: String::new(),
        cmdline: None,
        parent: None,
    };
    for (kind, value) in attributes(encoded) {
        match kind {
            genid::ID => author.generation = be32(value)?,
            genid::PID => author.pid = be32(value)?,
            genid::NAME => author.name = String::from_utf8_lossy(text(value)).into_owned(),
            _ => {}
        }
    }
    (author.generation != 0).then_some(author)
}

/// Adds what /proc still knows. The name is the proof that it is the same process: a pid may have been
/// given to another one since, or be one of another pid namespace.
pub(super) fn resolve(mut author: Author) -> Author {
    let comm = |pid: u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(name.trim_end_matches('\n').to_owned())
    };
    if author.pid == 0 || comm(author.pid).as_deref() != Some(author.name.as_str()) {
        return author;
    }
    author.cmdline = fs::read(format!("/proc/{}/cmdline", author.pid))
        .ok()
        .map(|raw| command_line(&raw))
        .filter(|line| !line.is_empty());
    author.parent = fs::read_to_string(format!("/proc/{}/status", author.pid))
        .ok()
        .and_then(|status| parent_in(&status))
        .and_then(|pid| Some((pid, comm(pid)?)));
    author
}

fn command_line(raw: &[u8]) -> String {
    let raw = raw.strip_suffix(b"\0").unwrap_or(raw);
    String::from_utf8_lossy(raw).replace('\0', " ")
}

/// `PPid:` of proc_pid_status(5); 0 is no process that we can see.
fn parent_in(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok().filter(|pid| *pid != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn an_author_needs_a_generation() {
        let mut message = attribute(genid::ID, &7u32.to_be_bytes());
        message.extend(attribute(genid::PID, &1660u32.to_be_bytes()));
        message.extend(attribute(genid::NAME, b"iptables\0"));
        let author = author_in(&message).unwrap();
        assert_eq!(
            (author.generation, author.pid, author.name.as_str()),
            (7, 1660, "iptables")
        );
        assert_eq!(author_in(&attribute(genid::PID, &1u32.to_be_bytes())), None);
        assert_eq!(author_in(&message[..6]), None);
    }

    #[test]
    fn proc_texts() {
        assert_eq!(command_line(b"iptables\0-A\0INPUT\0"), "iptables -A INPUT");
        assert_eq!(command_line(b""), "");
        assert_eq!(parent_in("Name:\tsh\nPPid:\t42\n"), Some(42));
        assert_eq!(parent_in("PPid:\t0\n"), None);
        assert_eq!(parent_in("PPid: x"), None);
    }
}
