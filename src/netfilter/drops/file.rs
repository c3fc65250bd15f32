//! A log file that a syslog daemon writes: the last choice, since it comes late, loses lines to the
//! daemon's own limits, and other programs write to it too (only lines tagged as the kernel's are read).
//!
//! Following means three things that `read` alone does not see: more bytes (inotify on the file), a
//! new file under the same name (logrotate; inotify on the folder), and the same file cut to nothing
//! (`copytruncate`). The old file is read to its end before the new one is begun, so rotation loses
//! nothing. A last line without its end waits for it.
//!
//! Without inotify (its limits are per user) the file is looked at once a second.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::errno::Errno;
use nix::libc;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::journal::age;
use super::lines::Lines;
use super::{DropError, DropSource, Options, Stop, Woken, hand_over};
use crate::flow::{Batch, KernelLine, LogSource, parse_line};

/// Where distributions put the kernel's lines, best first: Debian, Red Hat, both, ufw's own.
const FILES: [&str; 5] = [
    "/var/log/kern.log",
    "/var/log/messages",
    "/var/log/syslog",
    "/var/log/ufw.log",
    "/var/log/firewall",
];
/// How far back history is looked for.
const LOOK_BACK: u64 = 1 << 20;
const CHUNK: usize = 64 * 1024;
/// Between looks where there is no inotify.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two reads of a trickle.
const GATHER: Duration = Duration::from_millis(20);

/// A log file.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    history: usize,
    /// `None`: it was rotated away and its successor is not there yet.
    open: Option<Open>,
    lines: Lines,
    zone: TimeZone,
}

#[derive(Debug)]
struct Open {
    file: File,
    identity: (u64, u64),
    /// Read so far.
    offset: u64,
}

impl LogFile {
    /// The first of the usual files that can be read.
    pub fn open_any(options: &Options) -> Result<Self, DropError> {
        let mut worst = None;
        for path in FILES {
            match Self::open(Path::new(path), options) {
                Ok(file) => return Ok(file),
                Err(error @ DropError::Absent { .. }) => {
                    worst.get_or_insert(error);
                }
                Err(error) => worst = Some(error),
            }
        }
        Err(worst.unwrap_or(DropError::Absent {
            what: "log files".to_owned(),
            remedy: "install a syslog daemon",
        }))
    }

    /// That file.
    pub fn open(path: &Path, options: &Options) -> Result<Self, DropError> {
        let name = path.display().to_string();
        let open = Open::at(path).map_err(|source| {
            DropError::open(
                &name,
                source,
                "no syslog daemon writes one here",
                "run as root, or join the group that may read it (adm)",
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
            history: options.history,
            open: Some(open),
            lines: Lines::default(),
            zone: TimeZone::system(),
        })
    }

    fn follow_to_the_end(&mut self, stop: &Stop, sink: &mut dyn FnMut(Batch)) -> io::Result<()> {
        let mut watch = Watch::new(&self.path);
        hand_over(self.read_history()?, sink);
        loop {
            let mut batch = Batch::default();
            let more = self.read_some(&mut batch)? || self.turn(&mut watch, &mut batch)?;
            hand_over(batch, sink);
            let stopped = if more {
                stop.pause(Duration::ZERO)?
            } else {
                watch.wait(stop)? == Woken::Stopped
            };
            if stopped {
                return Ok(());
            }
        }
    }

    /// Goes to the end, by way of the lines before it.
    fn read_history(&mut self) -> io::Result<Batch> {
        let Some(open) = &mut self.open else {
            return Ok(Batch::default());
        };
        let end = open.file.seek(SeekFrom::End(0))?;
        let start = if self.history == 0 {
            end
        } else {
            end.saturating_sub(LOOK_BACK)
        };
        open.offset = open.file.seek(SeekFrom::Start(start))?;
        let mut batch = self.read_all()?;
        let excess = batch.lines.len().saturating_sub(self.history);
        batch.lines.drain(..excess);
        Ok(batch)
    }

    /// Everything from where we are to the end.
    fn read_all(&mut self) -> io::Result<Batch> {
        let mut batch = Batch::default();
        while self.read_some(&mut batch)? {}
        Ok(batch)
    }

    /// One chunk; `false` at the end.
    fn read_some(&mut self, batch: &mut Batch) -> io::Result<bool> {
        let Some(open) = &mut self.open else {
            return Ok(false);
        };
        let mut chunk = vec![0; CHUNK];
        let length = match open.file.read(&mut chunk) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        };
        open.offset += length as u64;
        let (now, zone) = (Timestamp::now(), &self.zone);
        self.lines
            .feed(chunk.get(..length).unwrap_or_default(), |line| {
                batch.lines.extend(read_line(line, now, zone));
            });
        Ok(length > 0)
    }

    /// After the end of the file was reached: whether there is more behind it, in this file begun
    /// anew or in its successor.
    fn turn(&mut self, watch: &mut Watch, batch: &mut Batch) -> io::Result<bool> {
        if let Some(open) = &mut self.open {
            let size = open.file.metadata()?.len();
            if size < open.offset {
                open.offset = open.file.seek(SeekFrom::Start(0))?;
                self.lines.clear();
                return Ok(true);
            }
        }
        let is_ours = |metadata: &Metadata| {
            let ours = self.open.as_ref().map(|open| open.identity);
            ours == Some(identity(metadata))
        };
        match std::fs::metadata(&self.path) {
            Ok(metadata) if is_ours(&metadata) => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
        // The daemon writes to the old file until it is told; the first byte of the new one is the
        // sign that it was. Watch first, then look, or that byte may slip by.
        watch.renew(&self.path);
        let successor = match Open::at(&self.path) {
            Ok(open) => open,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if successor.file.metadata()?.len() == 0 {
            return Ok(false);
        }
        while self.read_some(batch)? {}
        self.lines.clear();
        self.open = Some(successor);
        Ok(true)
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        // Opening a FIFO would wait for its writer.
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            // What we read from a FIFO or a device is taken from its reader.
            return Err(io::Error::other("not a regular file"));
        }
        Ok(Self {
            file,
            identity: identity(&metadata),
            offset: 0,
        })
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// One line of the file; its time becomes a point in time where it can.
fn read_line(line: &[u8], now: Timestamp, zone: &TimeZone) -> Option<KernelLine> {
    let mut line = parse_line(line, LogSource::File)?;
    let wall = line.stamp.wall.and_then(|wall| wall.resolve(now, zone));
    line.age = age(wall, now);
    Some(line)
}

impl DropSource for LogFile {
    fn kind(&self) -> LogSource {
        LogSource::File
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn follow(&mut self, stop: &Stop, sink: &mut dyn FnMut(Batch)) -> Result<(), DropError> {
        match self.follow_to_the_end(stop, sink) {
            Ok(()) => Ok(()),
            Err(source) => Err(DropError::reading(&self.describe(), source)),
        }
    }
}

/// Tells when to look again.
struct Watch {
    inotify: Option<Inotify>,
}

impl Watch {
    /// Watches the file and its folder.
    fn new(path: &Path) -> Self {
        let watch = || {
            let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
            let folder = path.parent().unwrap_or(Path::new("/"));
            let arrivals = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
            inotify.add_watch(folder, arrivals)?;
            inotify.add_watch(path, Self::growth())?;
            Ok::<_, Errno>(inotify)
        };
        Self {
            inotify: watch().ok(),
        }
    }

    fn growth() -> AddWatchFlags {
        AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ATTRIB
    }

    /// The name stands for another file now.
    fn renew(&mut self, path: &Path) {
        let watched = self
            .inotify
            .as_ref()
            .is_some_and(|inotify| inotify.add_watch(path, Self::growth()).is_ok());
        if !watched && path.exists() {
            self.inotify = None;
        }
    }

    fn wait(&mut self, stop: &Stop) -> io::Result<Woken> {
        let Some(inotify) = &self.inotify else {
            let stopped = stop.pause(INTERVAL)?;
            return Ok(if stopped {
                Woken::Stopped
            } else {
                Woken::Ready
            });
        };
        let woken = stop.wait(inotify.as_fd(), None)?;
        if woken == Woken::Stopped || stop.pause(GATHER)? {
            return Ok(Woken::Stopped);
        }
        // Which event it was does not matter: we look at everything. Empty the queue.
        while inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        Ok(woken)
    }
}
