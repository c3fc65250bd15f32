//! A source that is faster than its reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ruletop::flow::{Batch, KernelLine, LogSource, Stamp, parse_message};
use ruletop::netfilter::drops::{DropError, DropSource, Following, Stop};

use super::{message, wait_for};

const FLOOD: u64 = 300_000;

/// Hands over as much as it can, then waits to be stopped.
struct Torrent {
    line: KernelLine,
    written: Arc<AtomicU64>,
}

impl Torrent {
    fn new() -> Self {
        let line = parse_message(message(7).as_bytes(), Stamp::default(), LogSource::Text);
        Self {
            line: line.unwrap(),
            written: Arc::default(),
        }
    }
}

impl DropSource for Torrent {
    fn kind(&self) -> LogSource {
        LogSource::Text
    }

    fn describe(&self) -> String {
        "torrent".to_owned()
    }

    fn follow(&mut self, stop: &Stop, sink: &mut dyn FnMut(Batch)) -> Result<(), DropError> {
        while self.written.load(Ordering::Relaxed) < FLOOD {
            let lines = vec![self.line.clone(); 1_000];
            self.written.fetch_add(1_000, Ordering::Relaxed);
            sink(Batch { lines, lost: 0 });
        }
        while !stop.pause(std::time::Duration::from_secs(3_600)).unwrap() {}
        Ok(())
    }
}

#[test]
fn a_flood_that_nobody_reads_is_bounded_counted_and_wakes_once() {
    let torrent = Torrent::new();
    let written = Arc::clone(&torrent.written);
    let wakes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&wakes);
    let wake = move || {
        counted.fetch_add(1, Ordering::Relaxed);
    };
    let following = Following::start(Box::new(torrent), wake).unwrap();
    wait_for("the flood", || {
        (written.load(Ordering::Relaxed) == FLOOD).then_some(())
    });
    let (mut lines, mut lost) = (0, 0);
    wait_for("every line, kept or counted", || {
        let taken = following.take();
        assert!(taken.batch.lines.len() <= 10_000);
        lines += taken.batch.lines.len() as u64;
        lost += taken.batch.lost;
        (lines + lost == FLOOD).then_some(())
    });
    assert!(lost >= FLOOD - 20_000, "{lost}");
    assert!(wakes.load(Ordering::Relaxed) <= 2);
}

#[test]
fn a_source_that_ends_says_so_once() {
    struct Short;
    impl DropSource for Short {
        fn kind(&self) -> LogSource {
            LogSource::Text
        }
        fn describe(&self) -> String {
            "short".to_owned()
        }
        fn follow(&mut self, _: &Stop, _: &mut dyn FnMut(Batch)) -> Result<(), DropError> {
            Err(DropError::Ended {
                what: "short".to_owned(),
                detail: "done".to_owned(),
            })
        }
    }
    let following = Following::start(Box::new(Short), || {}).unwrap();
    let ended = wait_for("the end", || following.take().ended);
    assert_eq!(ended.unwrap_err().to_string(), "short ended: done");
    assert!(following.take().ended.is_none());
}
