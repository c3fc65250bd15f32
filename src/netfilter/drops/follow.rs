//! A thread that follows a source, and the mailbox that it fills.
//!
//! The kernel can write faster than a screen can be drawn, so the two never meet: the thread puts lines
//! into a mailbox of [`MAILBOX`] lines, wakes the other side once, and goes on; the other side takes
//! all there is when it gets to it. When it is slower than the flood the oldest lines go and are
//! counted as lost. A quiet source costs nothing: its thread sleeps in poll(2).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::{DropError, DropSource, Stop, StopHandle};
use crate::flow::{Batch, KernelLine, LogSource};

/// Lines that wait to be taken, at most: as many as a feed keeps by default.
pub const MAILBOX: usize = 10_000;

/// A source being followed by its own thread. Dropping it stops the thread and waits for it.
pub struct Following {
    kind: LogSource,
    name: String,
    mailbox: Arc<Mailbox>,
    stop: Option<StopHandle>,
    thread: Option<JoinHandle<()>>,
}

/// What [`Following::take`] found.
#[derive(Debug, Default)]
pub struct Taken {
    /// Lines since the last call; when the flood was faster than the caller, the newest of them, and
    /// the others counted in [`Batch::lost`].
    pub batch: Batch,
    /// The source has ended: there will be no more. `Err` says why. Said once.
    pub ended: Option<Result<(), DropError>>,
}

impl Following {
    /// Starts a thread that follows `source`, in the caller's namespaces. `wake` is called, from that
    /// thread, when there is something to take: once for each [`Self::take`], however many lines come.
    pub fn start(
        mut source: Box<dyn DropSource>,
        wake: impl Fn() + Send + 'static,
    ) -> Result<Self, DropError> {
        let (kind, name) = (source.kind(), source.describe());
        let mailbox = Arc::new(Mailbox::default());
        let io_error = |source| DropError::Io {
            doing: "starting to follow",
            what: name.clone(),
            source,
        };
        let (handle, stop) = Stop::pair().map_err(io_error)?;
        let filled = Arc::clone(&mailbox);
        let thread = std::thread::Builder::new()
            .name("drops".to_owned())
            .spawn(move || {
                let ended = source.follow(&stop, &mut |batch| {
                    if filled.put(batch) {
                        wake();
                    }
                });
                if filled.end(ended) {
                    wake();
                }
            })
            .map_err(io_error)?;
        Ok(Self {
            kind,
            name,
            mailbox,
            stop: Some(handle),
            thread: Some(thread),
        })
    }

    /// Which kind of door this is.
    pub fn kind(&self) -> LogSource {
        self.kind
    }

    /// What to call it on the screen.
    pub fn describe(&self) -> &str {
        &self.name
    }

    /// What came since the last call. Does not wait for more.
    pub fn take(&self) -> Taken {
        self.mailbox.take()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A source that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

/// What the thread leaves for the other side.
#[derive(Debug, Default)]
struct Mailbox {
    mail: Mutex<Mail>,
}

#[derive(Debug, Default)]
struct Mail {
    lines: VecDeque<KernelLine>,
    lost: u64,
    ended: Option<Result<(), DropError>>,
    /// The other side was woken and has not come yet.
    woken: bool,
}

impl Mailbox {
    /// Adds lines; `true` if the other side must be woken.
    fn put(&self, batch: Batch) -> bool {
        if batch.lines.is_empty() && batch.lost == 0 {
            return false;
        }
        let mut mail = self.lock();
        mail.lost = mail.lost.saturating_add(batch.lost);
        mail.lines.extend(batch.lines);
        let excess = mail.lines.len().saturating_sub(MAILBOX);
        mail.lines.drain(..excess);
        mail.lost = mail.lost.saturating_add(excess as u64);
        !std::mem::replace(&mut mail.woken, true)
    }

    fn end(&self, ended: Result<(), DropError>) -> bool {
        let mut mail = self.lock();
        mail.ended = Some(ended);
        !std::mem::replace(&mut mail.woken, true)
    }

    fn take(&self) -> Taken {
        let mut mail = self.lock();
        mail.woken = false;
        Taken {
            batch: Batch {
                lines: std::mem::take(&mut mail.lines).into(),
                lost: std::mem::take(&mut mail.lost),
            },
            ended: mail.ended.take(),
        }
    }

    /// The mail is whole at every step, so a panic elsewhere leaves nothing half done in it.
    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::parse_message;

    fn line(number: usize) -> KernelLine {
        let text = format!(
            "{number} IN=a OUT= SRC=1.2.3.4 DST=1.2.3.5 LEN=20 TOS=0x00 PREC=0x00 TTL=1 ID=0 PROTO=2 "
        );
        let stamp = crate::flow::Stamp::default();
        parse_message(text.as_bytes(), stamp, LogSource::Kmsg).unwrap()
    }

    #[test]
    fn what_nobody_takes_is_dropped_oldest_first_and_counted() {
        let mailbox = Mailbox::default();
        let batch = |numbers: std::ops::Range<usize>| Batch {
            lines: numbers.map(line).collect(),
            lost: 1,
        };
        assert!(mailbox.put(batch(0..MAILBOX)));
        assert!(!mailbox.put(batch(MAILBOX..MAILBOX + 5)));
        let taken = mailbox.take().batch;
        assert_eq!((taken.lines.len(), taken.lost), (MAILBOX, 7));
        assert_eq!(taken.lines.first(), Some(&line(5)));
        assert!(!mailbox.put(Batch::default()));
        assert!(mailbox.put(batch(0..1)));
        assert!(!mailbox.end(Ok(())));
        let taken = mailbox.take();
        assert!(taken.ended.is_some() && taken.batch.lines.len() == 1);
        assert!(mailbox.take().ended.is_none());
    }
}
