//! Entering and leaving the terminal, and writing to it without waiting for it.
//!
//! The terminal is left in order on every way out: the guard's drop, a panic, a signal, a suspend.
//! Frames are written by a thread of their own, one at a time: while a slow link still takes the last
//! one, no new frame is made, so the loop goes on answering and the newest state wins.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, tcflush};

use crate::runtime::screen::Sink;

/// Alternate screen on, cursor off, bracketed paste on.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?2004h";
/// The same undone; first the end of a synchronized update that may have been cut off.
const LEAVE: &[u8] = b"\x1b[?2026l\x1b[m\x1b[?2004l\x1b[?25h\x1b[?1049l";

/// Milliseconds that a slow terminal may take before it counts as dead.
const PATIENCE: u16 = 300;

/// The terminal is ours, and has to be given back.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// Takes the terminal; gives it back when dropped.
#[derive(Debug)]
pub struct Entered(());

/// The screen cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// Output goes to a file or a pipe.
    #[error("standard output is not a terminal")]
    NoTerminal,
    /// It cannot move its cursor.
    #[error("the terminal cannot show a full screen (TERM={0})")]
    Dumb(String),
    /// The terminal refused.
    #[error("cannot set the terminal up: {0}")]
    Setup(#[from] io::Error),
}

/// Takes the terminal over.
pub fn enter() -> Result<Entered, TerminalError> {
    if !io::stdout().is_terminal() {
        return Err(TerminalError::NoTerminal);
    }
    let kind = std::env::var("TERM").unwrap_or_default();
    if matches!(kind.as_str(), "" | "dumb") {
        return Err(TerminalError::Dumb(kind));
    }
    ENTERED.store(true, Ordering::SeqCst);
    crossterm::terminal::enable_raw_mode()
        .inspect_err(|_| ENTERED.store(false, Ordering::SeqCst))?;
    write_now(ENTER)?;
    Ok(Entered(()))
}

/// Gives the terminal back, once.
pub fn leave() {
    if ENTERED.swap(false, Ordering::SeqCst) {
        // Nothing can be done about a terminal that is gone.
        if takes_more() {
            let _ = write_now(LEAVE);
        }
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        leave();
    }
}

/// A panic gives the terminal back before it says its words.
pub fn hook_panics() {
    let said_by_rust = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        leave();
        said_by_rust(info);
    }));
}

/// Whether the terminal takes bytes. A dead link takes none: what it has not taken yet is thrown away,
/// or the frame that waits in front of us would hold us for ever.
fn takes_more() -> bool {
    let terminal = io::stdout();
    let writable = || {
        let mut fds = [PollFd::new(terminal.as_fd(), PollFlags::POLLOUT)];
        poll(&mut fds, PollTimeout::from(PATIENCE)).is_ok_and(|ready| ready > 0)
    };
    writable() || (tcflush(&terminal, FlushArg::TCOFLUSH).is_ok() && writable())
}

/// Writes past Rust's own lock and buffer of standard output: a frame that a dead link does not take
/// would keep the lock.
fn write_now(mut bytes: &[u8]) -> io::Result<()> {
    let terminal = io::stdout();
    while !bytes.is_empty() {
        match nix::unistd::write(&terminal, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The thread that writes frames.
#[derive(Debug)]
pub struct Writer {
    frames: Option<SyncSender<Vec<u8>>>,
    ended: Receiver<()>,
}

/// A new frame may be made: the last one is written. `false`: the terminal is gone.
pub type Ready = Box<dyn Fn(bool) + Send>;

impl Writer {
    /// Starts the thread. `ready` is called on it after each frame.
    pub fn start(ready: Ready) -> io::Result<Self> {
        let (frames, taken) = sync_channel::<Vec<u8>>(1);
        let (end, ended) = channel();
        std::thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || {
                while let Ok(frame) = taken.recv() {
                    let written = write_now(&frame).is_ok();
                    ready(written);
                    if !written {
                        break;
                    }
                }
                let _ = end.send(());
            })?;
        Ok(Self {
            frames: Some(frames),
            ended,
        })
    }

    /// Where a [`Screen`](super::screen::Screen) sends its frames.
    pub fn sink(&self) -> FrameSink {
        FrameSink(self.frames.clone())
    }

    /// Waits for the last frame, but not for a terminal that takes nothing any more.
    pub fn finish(mut self) {
        self.frames = None;
        match self.ended.recv_timeout(Duration::from_millis(500)) {
            Ok(()) | Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Hands frames to the [`Writer`].
#[derive(Debug)]
pub struct FrameSink(Option<SyncSender<Vec<u8>>>);

impl Sink for FrameSink {
    fn send(&mut self, frame: Vec<u8>) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.0
            .as_ref()
            .ok_or_else(gone)?
            .send(frame)
            .map_err(|_| gone())
    }

    fn size(&self) -> io::Result<(u16, u16)> {
        crossterm::terminal::size()
    }
}
