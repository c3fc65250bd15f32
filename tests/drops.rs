//! Log lines as they are found in the wild, and the doors that need no firewall: files that are
//! rotated, a journal that is a program, a flood that nobody reads.

// clippy.toml lets `#[test]` functions unwrap; their helpers are tests too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "drops/journal.rs"]
mod journal;
#[path = "drops/lines.rs"]
mod lines;
#[path = "drops/logfile.rs"]
mod logfile;
#[path = "drops/mailbox.rs"]
mod mailbox;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use ruletop::flow::KernelLine;
use ruletop::netfilter::drops::{DropError, DropSource, Following};

/// The longest that any condition is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` gives something.
fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A followed source and what it has brought so far.
struct Listening {
    following: Following,
    seen: Mutex<Vec<KernelLine>>,
    ended: Mutex<Option<Result<(), DropError>>>,
}

impl Listening {
    fn to(source: impl DropSource + 'static) -> Self {
        Self {
            following: Following::start(Box::new(source), || {}).unwrap(),
            seen: Mutex::default(),
            ended: Mutex::default(),
        }
    }

    fn take(&self) -> Vec<KernelLine> {
        let taken = self.following.take();
        let mut seen = self.seen.lock().unwrap();
        seen.extend(taken.batch.lines);
        if taken.ended.is_some() {
            *self.ended.lock().unwrap() = taken.ended;
        }
        seen.clone()
    }

    /// Waits for that many lines; their destination ports, which number them.
    fn ports(&self, count: usize) -> Vec<u16> {
        let lines = wait_for("lines", || {
            let lines = self.take();
            (lines.len() >= count).then_some(lines)
        });
        let port = |line: &KernelLine| line.log()?.packet.dport;
        lines.iter().filter_map(port).collect()
    }

    fn end(&self) -> Result<(), DropError> {
        wait_for("the end", || {
            self.take();
            self.ended.lock().unwrap().take()
        })
    }
}

/// A message whose destination port is its number.
fn message(number: u16) -> String {
    format!(
        "x: IN=eth0 OUT= SRC=203.0.113.9 DST=10.0.0.5 LEN=28 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=UDP SPT=1 DPT={number} LEN=8 "
    )
}
