//! Waiting for a descriptor, and being told to stop meanwhile.
//!
//! A pipe and not an event descriptor or a flag: when the side that stops goes away, however it goes,
//! the pipe hangs up and the waiting side wakes.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Tells a source that is blocked in [`super::DropSource::follow`] to return.
#[derive(Debug)]
pub struct Stop {
    pipe: PipeReader,
}

/// Dropping it stops the other side.
#[derive(Debug)]
pub struct StopHandle {
    _pipe: PipeWriter,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Time to return.
    Stopped,
    /// The descriptor can be read, or has hung up.
    Ready,
    /// The time given has passed.
    TimedOut,
}

impl Stop {
    /// Both sides.
    pub fn pair() -> io::Result<(StopHandle, Self)> {
        let (pipe, write) = io::pipe()?;
        Ok((StopHandle { _pipe: write }, Self { pipe }))
    }

    /// Waits for `fd` (for ever, if no time is given) or for the word to stop.
    pub fn wait(&self, fd: BorrowedFd<'_>, time: Option<Duration>) -> io::Result<Woken> {
        let mut fds = [
            PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN),
            PollFd::new(fd, PollFlags::POLLIN),
        ];
        wait(&mut fds, time)
    }

    /// Waits only for the word to stop; `true` if it came.
    pub fn pause(&self, time: Duration) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        Ok(wait(&mut fds, Some(time))? == Woken::Stopped)
    }
}

/// The first descriptor is the one that stops.
fn wait(fds: &mut [PollFd<'_>], time: Option<Duration>) -> io::Result<Woken> {
    let timeout = match time {
        Some(time) => PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX),
        None => PollTimeout::NONE,
    };
    loop {
        match poll(fds, timeout) {
            Ok(0) => return Ok(Woken::TimedOut),
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let stopped = fds
        .first()
        .and_then(PollFd::revents)
        .is_some_and(|events| !events.is_empty());
    Ok(if stopped {
        Woken::Stopped
    } else {
        Woken::Ready
    })
}
