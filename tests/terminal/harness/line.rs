//! The line between a [`Terminal`](super::Terminal) and its program: the pty, and the thread that reads
//! from it.
//!
//! portable-pty opens the pty and starts the program in a session of its own. Reading and typing go
//! through duplicates of its descriptor: its own reader cannot be stopped, and its own writer types a
//! newline and an end of file when it is dropped, which a hang-up must not do.

use std::fs::File;
use std::io::{ErrorKind, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use filedescriptor::FileDescriptor;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use super::model::Model;

/// What keeps the pty open on this side; dropping it all hangs up.
pub struct Ends {
    pub master: Box<dyn MasterPty + Send>,
    pub keyboard: File,
    reader: JoinHandle<()>,
    /// Closing it ends the reader.
    wake: PipeWriter,
}

impl Ends {
    /// Opens a pty of that size and starts the program in it.
    pub fn open(
        command: CommandBuilder,
        size: PtySize,
    ) -> (Self, Box<dyn Child + Send + Sync>, Arc<Shared>) {
        let pair = native_pty_system().openpty(size).unwrap();
        let raw = Borrowed(pair.master.as_raw_fd().unwrap());
        let file = || FileDescriptor::dup(&raw).unwrap().as_file().unwrap();
        let shared = Arc::new(Shared {
            model: Mutex::new(Model::new(size.cols, size.rows)),
            changed: Condvar::new(),
        });
        let (woken, wake) = std::io::pipe().unwrap();
        let reader = std::thread::spawn({
            let (shared, screen_end) = (Arc::clone(&shared), file());
            move || read_all(screen_end, &woken, &shared)
        });
        let ends = Self {
            keyboard: file(),
            master: pair.master,
            reader,
            wake,
        };
        let child = pair.slave.spawn_command(command).unwrap();
        (ends, child, shared)
    }

    /// Hangs up.
    pub fn close(self) {
        drop(self.wake);
        drop(self.keyboard);
        self.reader.join().unwrap();
        drop(self.master);
    }
}

/// The screen model, fed by the reader and looked at by the test.
pub struct Shared {
    model: Mutex<Model>,
    pub changed: Condvar,
}

impl Shared {
    /// The model, to look at or to change.
    pub fn lock(&self) -> MutexGuard<'_, Model> {
        // A test that panicked while it looked has not broken the model.
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next change of the model, but not longer than `span`.
    pub fn wait<'a>(&self, model: MutexGuard<'a, Model>, span: Duration) -> MutexGuard<'a, Model> {
        let waited = self.changed.wait_timeout(model, span);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A descriptor that portable-pty owns, to be duplicated.
struct Borrowed(RawFd);

impl AsRawFd for Borrowed {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// Reads the program's output into the model until the program is gone or `woken` is closed.
fn read_all(mut screen_end: File, woken: &PipeReader, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let mut model = shared.lock();
        while model.stalled {
            model = shared
                .changed
                .wait(model)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(model);
        let mut watched = [
            PollFd::new(screen_end.as_fd(), PollFlags::POLLIN),
            PollFd::new(woken.as_fd(), PollFlags::POLLIN),
        ];
        if poll(&mut watched, PollTimeout::NONE).is_err() {
            continue;
        }
        if watched[1].any() == Some(true) {
            break;
        }
        match screen_end.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // EIO: nobody holds the other side any more.
            Ok(0) | Err(_) => break,
            Ok(count) => {
                shared.lock().feed(&buffer[..count]);
                shared.changed.notify_all();
            }
        }
    }
    shared.lock().close();
    shared.changed.notify_all();
}

/// The size as portable-pty wants it.
pub fn pty_size(cols: u16, rows: u16) -> PtySize {
    PtySize {
        rows,
        cols,
        pixel_width: 0,
        pixel_height: 0,
    }
}
