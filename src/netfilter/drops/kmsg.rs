//! /dev/kmsg: the kernel's own ring buffer, one record a read.
//!
//! First choice, because it has every line as the kernel wrote it, with its stamp and its number: a
//! gap in the numbers is exactly how many records were overwritten before we read them. It also tells
//! who wrote a record: what programs write to the device never carries the kernel's facility, so a
//! forged drop is not shown.
//!
//! The ring is the whole machine's, whatever namespace we are in; what LOG writes to it in other
//! namespaces than the first is decided by `nf_log_all_netns` (see [`super::silence`]).
//!
//! Format: Documentation/ABI/testing/dev-kmsg. Reading needs CAP_SYSLOG where `kernel.dmesg_restrict`
//! is set, and containers often have no such device at all.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use jiff::Timestamp;
use nix::libc;
use nix::time::{ClockId, clock_gettime};

use super::{DropError, DropSource, Options, Stop, Woken, hand_over};
use crate::flow::{
    Batch, KernelLine, LogSource, Stamp, Wall, parse_message, parse_record, unescape,
};

/// The device.
pub(super) const PATH: &str = "/dev/kmsg";
/// A record is at most this long, header, escapes and dictionary included (CONSOLE_EXT_LOG_MAX and
/// PRINTK_MESSAGE_MAX); a shorter buffer gets EINVAL.
const RECORD: usize = 8 * 1024;
/// Lines in one batch.
const BATCH: usize = 1_024;
/// Between two reads of a trickle: a burst comes as one batch and wakes nobody for each line.
const GATHER: Duration = Duration::from_millis(20);

/// The kernel's ring.
#[derive(Debug)]
pub struct Kmsg {
    file: File,
    history: usize,
    /// The number that the next record should have.
    next: Option<u64>,
    /// Show what programs wrote, too.
    all_writers: bool,
}

impl Kmsg {
    /// Opens the device. With a history the ring is read from its beginning, else from now on.
    pub fn open(options: &Options) -> Result<Self, DropError> {
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(PATH)
            .map_err(|source| {
                DropError::open(
                    PATH,
                    source,
                    "this looks like a container: read the host's log, or use NFLOG rules",
                    "run as root, or allow it with sysctl kernel.dmesg_restrict=0",
                )
            })?;
        let mut ring = Self {
            file,
            history: options.history,
            next: None,
            all_writers: false,
        };
        if options.history == 0 {
            ring.skip()?;
        }
        Ok(ring)
    }

    /// Also takes records that programs wrote to the device. For tests: nobody can make the kernel
    /// say something at will.
    #[doc(hidden)]
    #[must_use]
    pub fn with_all_writers(mut self) -> Self {
        self.all_writers = true;
        self
    }

    /// Goes to the end by way of all records. Seeking there would be quicker and would leave us without
    /// the number of the next record, and so without a count of what is overwritten before we come.
    fn skip(&mut self) -> Result<(), DropError> {
        let clocks = Clocks::read();
        while self.read(&clocks, BATCH, &mut Batch::default())? {}
        Ok(())
    }

    /// Reads records until there are none or `room` lines were found. `false`: there are none left.
    fn read(&mut self, clocks: &Clocks, room: usize, take: &mut Batch) -> Result<bool, DropError> {
        let mut buffer = [0u8; RECORD];
        while take.lines.len() < room {
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(length) => {
                    let record = buffer.get(..length).unwrap_or_default();
                    self.record(record, clocks, take);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                // Overwritten before we came: the next number tells how many.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) => return Err(DropError::reading(PATH, error)),
            }
        }
        Ok(true)
    }

    fn record(&mut self, record: &[u8], clocks: &Clocks, take: &mut Batch) {
        let Some(record) = parse_record(record) else {
            return;
        };
        if let Some(next) = self.next {
            take.lost += record.sequence.saturating_sub(next);
        }
        self.next = Some(record.sequence + 1);
        if record.facility != 0 && !self.all_writers {
            return;
        }
        let stamp = Stamp {
            boot: Some(record.boot),
            wall: clocks.wall(record.boot),
        };
        let message = unescape(record.message);
        if let Some(mut line) = parse_message(&message, stamp, LogSource::Kmsg) {
            line.age = clocks.age(record.boot);
            take.lines.push(line);
        }
    }

    /// The last lines of the ring as it is now.
    fn read_history(&mut self) -> Result<Batch, DropError> {
        let clocks = Clocks::read();
        let mut kept: VecDeque<KernelLine> = VecDeque::new();
        let mut lost = 0;
        let mut more = true;
        while more {
            let mut part = Batch::default();
            more = self.read(&clocks, BATCH, &mut part)?;
            kept.extend(part.lines);
            lost += part.lost;
            let excess = kept.len().saturating_sub(self.history);
            kept.drain(..excess);
        }
        Ok(Batch {
            lines: kept.into(),
            lost,
        })
    }
}

impl DropSource for Kmsg {
    fn kind(&self) -> LogSource {
        LogSource::Kmsg
    }

    fn describe(&self) -> String {
        PATH.to_owned()
    }

    fn follow(&mut self, stop: &Stop, sink: &mut dyn FnMut(Batch)) -> Result<(), DropError> {
        let waiting = |source| DropError::Io {
            doing: "waiting for",
            what: PATH.to_owned(),
            source,
        };
        if self.history > 0 {
            hand_over(self.read_history()?, sink);
        }
        loop {
            if stop.wait(self.file.as_fd(), None).map_err(waiting)? == Woken::Stopped {
                return Ok(());
            }
            let mut batch = Batch::default();
            let mut clocks = Clocks::read();
            // These were written while we waited: they are news, whatever the clocks say.
            clocks.live = true;
            let flood = self.read(&clocks, BATCH, &mut batch)?;
            hand_over(batch, sink);
            if !flood && stop.pause(GATHER).map_err(waiting)? {
                return Ok(());
            }
        }
    }
}

/// What the two clocks said at one moment, to turn one into the other.
struct Clocks {
    monotonic: Option<Duration>,
    wall: Timestamp,
    live: bool,
}

impl Clocks {
    fn read() -> Self {
        Self {
            monotonic: clock_gettime(ClockId::CLOCK_MONOTONIC)
                .ok()
                .map(Duration::from),
            wall: Timestamp::now(),
            live: false,
        }
    }

    /// How long ago the kernel stamped it; zero where its clock runs ahead of ours.
    fn since(&self, boot: Duration) -> Option<Duration> {
        Some(self.monotonic?.saturating_sub(boot))
    }

    fn age(&self, boot: Duration) -> Duration {
        if self.live {
            return Duration::ZERO;
        }
        self.since(boot).unwrap_or_default()
    }

    fn wall(&self, boot: Duration) -> Option<Wall> {
        let ago = jiff::SignedDuration::try_from(self.since(boot)?).ok()?;
        self.wall.checked_sub(ago).ok().map(Wall::At)
    }
}
