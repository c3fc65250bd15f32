//! The helper process: one probe, in and out.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::{Order, Word, means, now, remove_under};
use crate::edit::probe::{self, Tag};
use crate::netfilter::xtables::Tools;
use crate::netfilter::xtables::restore::Held;
use crate::ruleset::Origin;
use crate::safety::apart::step_apart;
use crate::safety::carry::{Strictness, carry, read};
use crate::safety::clock;
use crate::safety::launch;

/// An order is shorter: a rule is at most some KiB.
const LONGEST: usize = 1 << 20;
/// Nobody watches a probe for longer.
const MOST: Duration = Duration::from_secs(3_600);
/// Between tries to remove it …
const PAUSE: Duration = Duration::from_secs(2);
/// … how many of them ask for the xtables lock, each for 20 s …
const WITH_LOCK: u32 = 2;
/// … and how long they go on: a lock that is held for longer is a program that hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the binary does when its first argument is [`PROBE`](super::PROBE).
///
/// To be called before anything else in `main`, as for a guard.
pub fn probe_main() -> ExitCode {
    step_apart();
    launch::say_here();
    let Some((origin, order)) = hear() else {
        return ExitCode::FAILURE;
    };
    let stay = Duration::from_millis(order.stay).min(MOST);
    // Its time runs from now, whatever the tools take.
    let end = clock::boot_time() + stay;
    let tag = Tag {
        id: own_id(),
        deadline: now().saturating_add(stay.as_secs()),
    };
    let tools = Tools::find();
    let put = put(&tools, origin, &order, &tag);
    match &put {
        Ok(()) => {
            say(&Word::In(tag.clone()));
            wait(end);
        }
        // It may be in all the same: what failed can be the look afterwards.
        Err(why) => say(&Word::Failed(why.clone())),
    }
    match take_out(&tools, origin, &tag) {
        Ok(()) => {
            if put.is_ok() {
                say(&Word::Gone);
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            say(&Word::Stays(why));
            ExitCode::FAILURE
        }
    }
}

fn put(tools: &Tools, origin: Origin, order: &Order, tag: &Tag) -> Result<(), String> {
    let before = read(tools, origin).map_err(|error| error.to_string())?;
    let goal =
        probe::with(&before, &order.site, means(), tag).map_err(|error| error.to_string())?;
    let way = (&*before, &*goal);
    let done = carry(tools, origin, way, Strictness::Refuse, None, &mut || {});
    done.map(drop).map_err(|error| error.to_string())
}

/// Until it is gone, or everything was tried.
fn take_out(tools: &Tools, origin: Origin, tag: &Tag) -> Result<(), String> {
    let begun = Instant::now();
    for turn in 0.. {
        // A lock that cannot be had, or whose folder is gone, must not keep it in.
        let held = if turn < WITH_LOCK {
            None
        } else {
            Held::without().ok()
        };
        match remove_under(tools, origin, held.as_ref(), |found| found.id == tag.id) {
            Ok(_) => return Ok(()),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error.to_string()),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
    Ok(())
}

/// Until its time is over, the rope ends, or TERM.
fn wait(end: Duration) {
    let rope = io::stdin();
    let told = SignalFd::with_flags(
        &[Signal::SIGTERM].into_iter().collect::<SigSet>(),
        SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
    )
    .ok();
    loop {
        let left = end.saturating_sub(clock::boot_time());
        if left.is_zero() {
            return;
        }
        let mut fds = vec![PollFd::new(rope.as_fd(), PollFlags::POLLIN)];
        fds.extend(
            told.iter()
                .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)),
        );
        // A machine that slept wakes us late by no more than this.
        let patience = left.min(Duration::from_secs(1)) + Duration::from_millis(1);
        match poll(
            &mut fds,
            PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO),
        ) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            // The rope carries nothing: whatever is on it means that it is let go.
            Ok(_) | Err(_) => return,
        }
    }
}

/// The order: one line, byte by byte, so that nothing of the rope is read ahead.
fn hear() -> Option<(Origin, Order)> {
    let mut line = Vec::new();
    for byte in io::stdin().lock().bytes() {
        match byte.ok()? {
            b'\n' => break,
            byte => line.push(byte),
        }
        if line.len() > LONGEST {
            return None;
        }
    }
    let order: Order = serde_json::from_slice(&line).ok()?;
    let mut origins = Origin::ALL.into_iter();
    let origin = origins.find(|origin| origin.to_string() == order.origin)?;
    Some((origin, order))
}

fn say(word: &Word) {
    let Ok(mut line) = serde_json::to_vec(word) else {
        return;
    };
    line.push(b'\n');
    // Nobody may be left to hear it.
    let mut out = io::stdout().lock();
    let _ = out.write_all(&line).and_then(|()| out.flush());
}

/// Our process, unmistakably: its number and when it was started, in ticks since the boot (proc_pid_stat(5)).
fn own_id() -> String {
    let pid = std::process::id();
    format!("{pid}-{}", started(pid).unwrap_or(0))
}

/// The helper of that probe is there.
pub(super) fn lives(id: &str) -> bool {
    let Some((pid, start)) = id.split_once('-') else {
        return false;
    };
    match (pid.parse::<u32>(), start.parse::<u64>()) {
        (Ok(pid), Ok(start)) => started(pid) == Some(start),
        _ => false,
    }
}

fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in brackets and may hold any; the rest are plain words, the start the 22nd of all.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    if words.next()? == "Z" {
        return None; // killed, and not yet cleared away
    }
    words.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_another_of_its_number() {
        let id = own_id();
        assert!(lives(&id));
        assert!(!lives(&format!("{id}1")));
        for no in ["", "1", "1-", "-1", "x-y", "99999999999-1"] {
            assert!(!lives(no), "{no}");
        }
    }
}
