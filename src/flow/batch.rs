//! What a source of kernel lines hands over in one go.

use super::IpVersion;
use super::KernelLine;

/// Lines in the order in which they were written, and how many are known to be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The lines, oldest first.
    pub lines: Vec<KernelLine>,
    /// Records that are known to have been lost before or between these lines: overwritten in the
    /// kernel's ring, dropped by a full socket, or dropped here because nobody took them in time.
    /// They need not all have been netfilter's.
    pub lost: u64,
}

/// The way that a rule's log lines take to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogChannel {
    /// LOG rules of a family: through the kernel's log.
    Kernel(IpVersion),
    /// NFLOG rules of a group: through netlink, both families.
    Group(u16),
}

impl std::fmt::Display for LogChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kernel(IpVersion::V4) => f.pad("IPv4 LOG rules"),
            Self::Kernel(IpVersion::V6) => f.pad("IPv6 LOG rules"),
            Self::Group(group) => write!(f, "NFLOG rules of group {group}"),
        }
    }
}

/// Which door a line came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// The kernel's own ring, /dev/kmsg.
    Kmsg,
    /// The systemd journal.
    Journal,
    /// A file that a syslog daemon writes.
    File,
    /// A netlink NFLOG group.
    Nflog(u16),
    /// A line that somebody pasted or piped in.
    Text,
}

impl std::fmt::Display for LogSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kmsg => f.pad("kmsg"),
            Self::Journal => f.pad("journal"),
            Self::File => f.pad("file"),
            Self::Nflog(group) => write!(f, "nflog {group}"),
            Self::Text => f.pad("text"),
        }
    }
}
