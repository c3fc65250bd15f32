//! The door to conntrack's own account of itself: how many entries, how many at most, and the event
//! counters.
//!
//! Three small files under /proc/sys/net/netfilter and one under /proc/net/stat, read once a tick. They
//! belong to a network namespace, the one of the thread that opens them, so they are opened once and
//! read again from the start (`pread`): a reading costs four system calls, and a thread that changes
//! its namespace later does not change what is read. A file that goes away (the module is unloaded) is
//! looked for again at the next reading.
//!
//! Where /proc lacks a file (no `CONFIG_NF_CONNTRACK_PROCFS`, or old kernels that hide sysctls from user
//! namespaces) ctnetlink is asked, but only once something proves that conntrack is loaded: the question
//! itself would make the kernel load it, and looking must not touch.
//!
//! Not here: the entries themselves.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use netlink_packet_core::NLM_F_DUMP;

use super::netlink::{Netlink, Request, attributes, be32};
use crate::flow::{ConntrackReading, ConntrackState, ConntrackStats};

const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
const MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const BUCKETS: &str = "/proc/sys/net/netfilter/nf_conntrack_buckets";
const STATS: &str = "/proc/thread-self/net/stat/nf_conntrack";
/// The module is loaded, or built in with parameters.
const MODULE: &str = "/sys/module/nf_conntrack";
/// `NFNL_SUBSYS_CTNETLINK << 8` and its messages (linux/netfilter/nfnetlink_conntrack.h).
const GET_STATS_CPU: u16 = 1 << 8 | 4;
const GET_STATS: u16 = 1 << 8 | 5;

/// Reads the connection table's state in one network namespace, again and again.
#[derive(Debug)]
pub struct ConntrackMeter {
    count: Proc,
    max: Proc,
    buckets: Proc,
    stats: Proc,
    /// Opened when first needed; it stays in its namespace too.
    netlink: Option<Netlink>,
}

/// Why conntrack could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConntrackError {
    /// A file that is there could not be read.
    #[error("cannot read {path}: {source}; run as root, or in the namespace's own user namespace")]
    Read {
        /// The file.
        path: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file said something that it should not.
    #[error(
        "{path} does not hold what it should: {text:?}; report this, with the kernel's version"
    )]
    Format {
        /// The file.
        path: &'static str,
        /// What it held, shortened.
        text: String,
    },
}

impl Default for ConntrackMeter {
    fn default() -> Self {
        Self::new()
    }
}

impl ConntrackMeter {
    /// A meter for the network namespace that the calling thread is in at its first reading.
    pub fn new() -> Self {
        Self {
            count: Proc::new(COUNT),
            max: Proc::new(MAX),
            buckets: Proc::new(BUCKETS),
            stats: Proc::new(STATS),
            netlink: None,
        }
    }

    /// One look: four `pread` where /proc has everything.
    pub fn read(&mut self) -> Result<ConntrackState, ConntrackError> {
        let count = self.count.number()?;
        let max = self.max.number()?;
        let buckets = self.buckets.number()?;
        let stats = self.stats()?;
        let (count, max) = match (count, max) {
            (Some(count), Some(max)) => (count, max),
            _ if !self.is_loaded(stats.is_some()) => return Ok(ConntrackState::Absent),
            (count, max) => {
                let asked = self.asked_globals();
                let Some(count) = count.or(asked.0) else {
                    return Ok(ConntrackState::Absent);
                };
                (count, max.or(asked.1).unwrap_or(0))
            }
        };
        let stats = match stats {
            Some(stats) => Some(stats),
            None => self.asked_stats(),
        };
        Ok(ConntrackState::Present(ConntrackReading {
            count,
            max,
            buckets,
            stats,
        }))
    }

    fn stats(&mut self) -> Result<Option<ConntrackStats>, ConntrackError> {
        let Some(text) = self.stats.text()? else {
            return Ok(None);
        };
        match parse_stats(text) {
            Some(stats) => Ok(Some(stats)),
            None => Err(format(STATS, text)),
        }
    }

    fn is_loaded(&self, has_stats: bool) -> bool {
        has_stats || self.count.is_there() || std::path::Path::new(MODULE).exists()
    }

    /// Entries and upper bound by ctnetlink.
    fn asked_globals(&mut self) -> (Option<u64>, Option<u64>) {
        let (mut count, mut max) = (None, None);
        let mut request = Request::default();
        request.start(GET_STATS, 0, 0);
        self.ask("conntrack's size", &mut request, |kind, value| match kind {
            1 => count = be32(value).map(u64::from),
            2 => max = be32(value).map(u64::from),
            _ => {}
        });
        (count, max)
    }

    /// The event counters by ctnetlink, one message a CPU.
    fn asked_stats(&mut self) -> Option<ConntrackStats> {
        let mut stats = ConntrackStats::default();
        let mut any = false;
        let mut request = Request::default();
        request.start(GET_STATS_CPU, NLM_F_DUMP, 0);
        self.ask("conntrack's counters", &mut request, |kind, value| {
            // `enum ctattr_stats_cpu`
            let field = match kind {
                2 => &mut stats.found,
                4 => &mut stats.invalid,
                8 => &mut stats.insert,
                9 => &mut stats.insert_failed,
                10 => &mut stats.drop,
                11 => &mut stats.early_drop,
                12 => &mut stats.error,
                13 => &mut stats.search_restart,
                14 => &mut stats.clash_resolve,
                15 => &mut stats.chaintoolong,
                _ => return,
            };
            if let Some(number) = be32(value) {
                *field = Some(field.unwrap_or(0) + u64::from(number));
                any = true;
            }
        });
        any.then_some(stats)
    }

    /// Counters are worth having and not worth an error: what ctnetlink does not say stays unsaid.
    fn ask(
        &mut self,
        what: &'static str,
        request: &mut Request,
        mut visit: impl FnMut(u16, &[u8]),
    ) {
        if self.netlink.is_none() {
            self.netlink = Netlink::open().ok();
        }
        let Some(netlink) = &mut self.netlink else {
            return;
        };
        let answer = netlink.ask(what, request, |message| {
            for (kind, value) in attributes(message.attributes) {
                visit(kind, value);
            }
        });
        if let Err(error) = answer {
            tracing::debug!(%error, "no answer from ctnetlink");
        }
    }
}

/// One file of /proc, kept open.
#[derive(Debug)]
struct Proc {
    path: &'static str,
    file: Option<File>,
    buffer: Vec<u8>,
}

impl Proc {
    fn new(path: &'static str) -> Self {
        Self {
            path,
            file: None,
            buffer: Vec::new(),
        }
    }

    /// It was there at the last reading.
    fn is_there(&self) -> bool {
        self.file.is_some()
    }

    /// What it holds now; `None` if there is no such file.
    fn text(&mut self) -> Result<Option<&[u8]>, ConntrackError> {
        let error = |source| ConntrackError::Read {
            path: self.path,
            source,
        };
        if self.file.is_none() {
            match File::open(self.path) {
                Ok(file) => self.file = Some(file),
                Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(source) => return Err(error(source)),
            }
        }
        let Some(file) = &self.file else {
            return Ok(None);
        };
        match read_from_start(file, &mut self.buffer) {
            Ok(()) => Ok(Some(&self.buffer)),
            Err(source) => {
                // The module, and the file with it, went away: look again next time.
                self.file = None;
                match source.raw_os_error() {
                    Some(nix::libc::ENOENT | nix::libc::ENODEV | nix::libc::ENXIO) => Ok(None),
                    _ => Err(error(source)),
                }
            }
        }
    }

    /// The number that it holds.
    fn number(&mut self) -> Result<Option<u64>, ConntrackError> {
        let path = self.path;
        let Some(text) = self.text()? else {
            return Ok(None);
        };
        let number = std::str::from_utf8(text).ok().map(str::trim);
        match number.and_then(|digits| digits.parse().ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(format(path, text)),
        }
    }
}

fn format(path: &'static str, text: &[u8]) -> ConntrackError {
    let shown = text.get(..text.len().min(80)).unwrap_or_default();
    ConntrackError::Format {
        path,
        text: String::from_utf8_lossy(shown).into_owned(),
    }
}

fn read_from_start(file: &File, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut filled = 0;
    loop {
        buffer.resize((filled + 1024).max(buffer.capacity()), 0);
        let room = buffer.get_mut(filled..).unwrap_or_default();
        match file.read_at(room, u64::try_from(filled).unwrap_or(u64::MAX)) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(())
}

/// /proc/net/stat/nf_conntrack: a line of names, then a line of hexadecimal numbers for each CPU.
/// Columns go by name, since kernels differ in them. `None` if it is not of that form.
fn parse_stats(text: &[u8]) -> Option<ConntrackStats> {
    let text = std::str::from_utf8(text).ok()?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next()?.split_ascii_whitespace().collect();
    let mut sums = vec![None::<u64>; names.len()];
    for line in lines {
        for (sum, number) in sums.iter_mut().zip(line.split_ascii_whitespace()) {
            let number = u64::from(u32::from_str_radix(number, 16).ok()?);
            *sum = Some(sum.unwrap_or(0) + number);
        }
    }
    let column = |name: &str| {
        let at = names.iter().position(|known| *known == name)?;
        sums.get(at).copied().flatten()
    };
    Some(ConntrackStats {
        found: column("found"),
        invalid: column("invalid"),
        insert: column("insert"),
        insert_failed: column("insert_failed"),
        drop: column("drop"),
        early_drop: column("early_drop"),
        error: column("icmp_error"),
        search_restart: column("search_restart"),
        clash_resolve: column("clashres"),
        chaintoolong: column("chainlength"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_go_by_name_and_cpus_are_added_up() {
        let text = b"entries  clashres found invalid insert insert_failed drop early_drop icmp_error search_restart\n\
            00000002  00000001 00000010 000000ff 00000000 00000003 ffffffff 00000000 00000000 00000001\n\
            00000002  00000001 00000000 00000001 00000000 00000003 00000001 00000000 00000000 00000001\n";
        let stats = parse_stats(text).unwrap();
        assert_eq!(stats.invalid, Some(0x100));
        assert_eq!(stats.drop, Some(0x1_0000_0000));
        assert_eq!(
            (stats.insert_failed, stats.clash_resolve),
            (Some(6), Some(2))
        );
        assert_eq!(stats.chaintoolong, None);
    }

    #[test]
    fn kernels_before_5_have_other_columns() {
        let text = b"entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n\
            00000013  00000000 00000000 00000000 00000004 0000001f 00000000 00000000 00000000 00000000 00000000 00000000 00000000  00000000 00000000 00000000 00000007\n";
        let stats = parse_stats(text).unwrap();
        assert_eq!((stats.invalid, stats.search_restart), (Some(4), Some(7)));
        assert_eq!(stats.clash_resolve, None);
    }

    #[test]
    fn what_is_no_table_is_none() {
        assert!(parse_stats(b"").is_none());
        assert!(parse_stats(b"a b\nxx yy\n").is_none());
        assert!(parse_stats(b"\xff\n").is_none());
        assert_eq!(
            parse_stats(b"entries drop\n"),
            Some(ConntrackStats::default())
        );
    }
}
