//! Why no line comes although rules that log are counting.
//!
//! The kernel writes LOG lines only from the first network namespace unless `nf_log_all_netns` says
//! otherwise, only while the syslog logger of the family is loaded, and into a ring that we may not be
//! able to read; a log file holds only what a daemon put there. Each of these can be looked up, and each
//! has a remedy. [`look`] gathers the facts, [`causes`] draws the conclusion, so that the conclusion can
//! be tested without the circumstances.
//!
//! How to tell the first namespace: its sysctl directory alone holds `nf_log_all_netns`
//! (net/netfilter/nf_log.c registers it for `init_net` only); others have `nf_log/` without it. The
//! value is therefore not to be seen from where it matters.
//!
//! What is *not* a cause: a limit. The counter of a LOG rule with `-m limit` counts what passed the
//! limit, so counting means writing. Nor `NONE` in the list of loggers: that is the logger of TRACE and
//! of conntrack's `log_invalid`; LOG asks for the syslog logger by its own name.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::flow::IpVersion;
use crate::flow::{LogChannel, LogSource};

const NF_LOG: &str = "/proc/sys/net/netfilter/nf_log";
const ALL_NETNS: &str = "/proc/sys/net/netfilter/nf_log_all_netns";
const LOGGERS: &str = "/proc/thread-self/net/netfilter/nf_log";
/// Programs that write the kernel's lines to files.
const DAEMONS: [&str; 6] = [
    "rsyslogd",
    "syslogd",
    "syslog-ng",
    "metalog",
    "sysklogd",
    "klogd",
];

/// A reason for silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// LOG does not speak in this network namespace.
    OtherNamespace,
    /// The kernel has no syslog logger for the family.
    NoLogger(IpVersion),
    /// Nothing that the kernel writes to can be read; each reason in words.
    Unreadable(Vec<String>),
    /// We read a file, and no daemon is there to write it.
    NoDaemon {
        /// The file.
        path: PathBuf,
        /// When it was last written to, before now.
        age: Option<Duration>,
    },
    /// Nobody listens to the NFLOG group on our behalf; why, in words.
    Unheard(String),
    /// None of the above.
    Unknown,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherNamespace => f.write_str(
                "this is not the first network namespace, and LOG speaks only there unless \
                     nf_log_all_netns is 1",
            ),
            Self::NoLogger(IpVersion::V4) => f.write_str("the kernel has no IPv4 logger loaded"),
            Self::NoLogger(IpVersion::V6) => f.write_str("the kernel has no IPv6 logger loaded"),
            Self::Unreadable(reasons) if reasons.is_empty() => {
                f.write_str("the kernel's log cannot be read")
            }
            Self::Unreadable(reasons) => {
                write!(f, "the kernel's log cannot be read: {}", reasons.join("; "))
            }
            Self::NoDaemon { path, age } => {
                write!(f, "no syslog daemon runs to write {}", path.display())?;
                match age {
                    Some(age) => write!(f, ", last written {} s ago", age.as_secs()),
                    None => Ok(()),
                }
            }
            Self::Unheard(why) => write!(f, "nobody hears that group here: {why}"),
            Self::Unknown => f.write_str("no reason was found"),
        }
    }
}

impl Cause {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::OtherNamespace => {
                "use NFLOG rules, which speak everywhere, or set net.netfilter.nf_log_all_netns=1 \
                 in the first namespace"
            }
            Self::NoLogger(_) => "modprobe nf_log_syslog (older: nf_log_ipv4, nf_log_ipv6)",
            Self::Unreadable(_) => "run as root, or use NFLOG rules",
            Self::NoDaemon { .. } => {
                "start rsyslog, or run as root to read the kernel's log itself"
            }
            Self::Unheard(_) => "stop the other listener, or use another --nflog-group",
            Self::Unknown => "look at dmesg; NFLOG rules take another way",
        }
    }
}

/// What was found out about the ways that log lines take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// This is the first network namespace; `None` where that cannot be told.
    pub first_namespace: Option<bool>,
    /// `nf_log_all_netns`, where it can be seen.
    pub all_namespaces: Option<bool>,
    /// The kernel has a syslog logger for IPv4, for IPv6; `None` where that cannot be told.
    pub loggers: [Option<bool>; 2],
    /// A syslog daemon runs.
    pub daemon: bool,
}

/// What the caller knows: which sources it reads.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The kernel's log is read from there.
    pub kernel: Option<LogSource>,
    /// The path, if it is a file.
    pub file: Option<PathBuf>,
    /// Why better sources (or all of them) could not be had, in words.
    pub passed_over: Vec<String>,
    /// NFLOG groups that are listened to.
    pub groups: Vec<u16>,
    /// Why a group could not be bound, in words.
    pub refused: Vec<(u16, String)>,
}

/// Looks at the network namespace of the calling thread.
pub fn look() -> Facts {
    let loggers = fs::read(LOGGERS).unwrap_or_default();
    Facts {
        first_namespace: Path::new(NF_LOG)
            .exists()
            .then(|| Path::new(ALL_NETNS).exists()),
        all_namespaces: fs::read(ALL_NETNS)
            .ok()
            .map(|value| value.trim_ascii() != b"0"),
        loggers: [IpVersion::V4, IpVersion::V6].map(|family| has_logger(&loggers, family)),
        daemon: daemon_runs(),
    }
}

/// Why nothing comes by that way, likeliest first; never empty.
pub fn causes(channel: LogChannel, facts: &Facts, sources: &Sources) -> Vec<Cause> {
    let mut causes = Vec::new();
    match channel {
        LogChannel::Group(group) => {
            if !sources.groups.contains(&group) {
                let why = sources.refused.iter().find(|(number, _)| *number == group);
                let why = why.map_or("it was not opened", |(_, why)| why.as_str());
                causes.push(Cause::Unheard(why.to_owned()));
            }
        }
        LogChannel::Kernel(family) => {
            if facts.first_namespace == Some(false) {
                causes.push(Cause::OtherNamespace);
            }
            let [v4, v6] = facts.loggers;
            let logger = match family {
                IpVersion::V4 => v4,
                IpVersion::V6 => v6,
            };
            if logger == Some(false) {
                causes.push(Cause::NoLogger(family));
            }
            match sources.kernel {
                None => causes.push(Cause::Unreadable(sources.passed_over.clone())),
                Some(LogSource::File) if !facts.daemon => {
                    let path = sources.file.clone().unwrap_or_default();
                    let age = age(&path);
                    causes.push(Cause::NoDaemon { path, age });
                }
                Some(_) => {}
            }
        }
    }
    if causes.is_empty() {
        causes.push(Cause::Unknown);
    }
    causes
}

/// A line of the list: ` 2 nf_log_ipv4 (nf_log_ipv4,nfnetlink_log)`; the parenthesis holds all that
/// are loaded. Since 5.13 they are one module, nf_log_syslog, which still registers them by these names.
fn has_logger(list: &[u8], family: IpVersion) -> Option<bool> {
    let (number, name) = match family {
        IpVersion::V4 => ("2", "nf_log_ipv4"),
        IpVersion::V6 => ("10", "nf_log_ipv6"),
    };
    let text = std::str::from_utf8(list).ok()?;
    let line = text
        .lines()
        .find(|line| line.split_ascii_whitespace().next() == Some(number))?;
    let (_, loaded) = line.split_once('(')?;
    let mut loaded = loaded.trim_end_matches(')').split(',');
    Some(loaded.any(|logger| logger == name || logger == "nf_log_syslog"))
}

fn daemon_runs() -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut names = processes
        .filter(|entry| {
            let name = entry.file_name();
            name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
        })
        .filter_map(|process| fs::read_to_string(process.path().join("comm")).ok());
    names.any(|name| DAEMONS.contains(&name.trim_end()))
}

fn age(path: &Path) -> Option<Duration> {
    let written = fs::metadata(path).ok()?.modified().ok()?;
    SystemTime::now().duration_since(written).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: LogChannel = LogChannel::Kernel(IpVersion::V4);
    const LIST: &[u8] = b" 0 NONE (nfnetlink_log)\n 2 NONE (nf_log_ipv4,nfnetlink_log)\n\
        10 nfnetlink_log (nfnetlink_log)\n";

    fn healthy() -> (Facts, Sources) {
        let facts = Facts {
            first_namespace: Some(true),
            all_namespaces: Some(false),
            loggers: [Some(true); 2],
            daemon: true,
        };
        let sources = Sources {
            kernel: Some(LogSource::Kmsg),
            groups: vec![5],
            ..Sources::default()
        };
        (facts, sources)
    }

    #[test]
    fn loggers_are_those_that_are_loaded() {
        assert_eq!(has_logger(LIST, IpVersion::V4), Some(true));
        assert_eq!(has_logger(LIST, IpVersion::V6), Some(false));
        assert_eq!(has_logger(b"", IpVersion::V4), None);
        assert_eq!(has_logger(b"\xff", IpVersion::V4), None);
        assert_eq!(has_logger(b" 2 nonsense", IpVersion::V4), None);
    }

    #[test]
    fn each_circumstance_is_a_cause() {
        let (facts, sources) = healthy();
        let why = |facts: &Facts, sources: &Sources| causes(V4, facts, sources);
        assert_eq!(why(&facts, &sources), [Cause::Unknown]);

        let elsewhere = Facts {
            first_namespace: Some(false),
            loggers: [Some(false), Some(true)],
            ..facts.clone()
        };
        let both = [Cause::OtherNamespace, Cause::NoLogger(IpVersion::V4)];
        assert_eq!(why(&elsewhere, &sources), both);

        let deaf = Sources {
            kernel: None,
            passed_over: vec!["/dev/kmsg: no".to_owned()],
            ..Sources::default()
        };
        let unreadable = Cause::Unreadable(vec!["/dev/kmsg: no".to_owned()]);
        assert_eq!(why(&facts, &deaf), [unreadable]);

        let file = Sources {
            kernel: Some(LogSource::File),
            file: Some("/nonexistent/kern.log".into()),
            ..Sources::default()
        };
        assert_eq!(why(&facts, &file), [Cause::Unknown]);
        let dead = Facts {
            daemon: false,
            ..facts
        };
        assert!(matches!(
            why(&dead, &file)[..],
            [Cause::NoDaemon { age: None, .. }]
        ));
    }

    #[test]
    fn groups_have_causes_of_their_own() {
        let (facts, mut sources) = healthy();
        assert_eq!(
            causes(LogChannel::Group(5), &facts, &sources),
            [Cause::Unknown]
        );
        sources.refused.push((6, "ulogd has it".to_owned()));
        let refused = Cause::Unheard("ulogd has it".to_owned());
        assert_eq!(causes(LogChannel::Group(6), &facts, &sources), [refused]);
    }
}
