//! The one writer of the shelf: what comes and goes is written in the order in which the board asked for it, and
//! leaving waits for the last of it.
//!
//! A thread for each would let an older word overtake a newer one, and would be lost with the program.

use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use crate::app::shelf::Reshelve;
use crate::safety::{self, PlaceError, Places};

/// What is told how it went.
type Tell = Box<dyn FnOnce(Result<(), PlaceError>) + Send>;

/// The thread that writes; dropped, it ends once all is written.
#[derive(Debug)]
pub(super) struct Shelf {
    places: Places,
    work: Option<Sender<(Reshelve, Tell)>>,
    thread: Option<JoinHandle<()>>,
}

impl Shelf {
    /// Starts the thread. Where the system refuses one, whoever asks waits for the disk.
    pub(super) fn open(places: Places) -> Self {
        let (work, asked) = channel::<(Reshelve, Tell)>();
        let of_thread = places.clone();
        let thread = std::thread::Builder::new()
            .name("shelf".to_owned())
            .spawn(move || {
                for (reshelve, tell) in asked {
                    tell(write(&of_thread, &reshelve));
                }
            });
        if let Err(error) = &thread {
            tracing::warn!(%error, "no thread to write the disabled rules with");
        }
        Self {
            places,
            work: Some(work).filter(|_| thread.is_ok()),
            thread: thread.ok(),
        }
    }

    /// Has it written, after all that was asked for earlier; `tell` hears how it went, on the thread that wrote.
    pub(super) fn write(
        &self,
        reshelve: Reshelve,
        tell: impl FnOnce(Result<(), PlaceError>) + Send + 'static,
    ) {
        match &self.work {
            Some(work) => drop(work.send((reshelve, Box::new(tell)))),
            None => tell(write(&self.places, &reshelve)),
        }
    }
}

fn write(places: &Places, reshelve: &Reshelve) -> Result<(), PlaceError> {
    safety::reshelve(places, &reshelve.gone, &reshelve.come)
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
