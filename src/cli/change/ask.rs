//! The question on the terminal: keep it? With the time that is left, until a typed word or the deadline.
//!
//! Only the word `yes` confirms; a bare Enter, an accident of every terminal, asks again. A terminal that goes
//! away, ^C and TERM are a no, said to the guard at once. KILL cannot be answered, which is what the guard is
//! for.

use std::io::{self, BufRead, IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::cli::Failure;
use crate::safety::{
    self, Ended, Event, Pending, PendingView, Phase, Places, Watch, Who, confirm, pending, revert,
    wait_for_end,
};

/// Between two looks at the clock, in milliseconds.
const TICK: u16 = 100;
/// A guard that takes longer to undo a change meets a lock that is held.
const UNDO_WITHIN: Duration = Duration::from_secs(120);

/// What came of the question.
enum Answer {
    Yes,
    No(&'static str),
    Decided,
}

/// Signals that mean no, caught from before the change is begun.
pub struct Signals(SignalFd);

impl Signals {
    /// Catches them from now on.
    pub fn catch() -> Result<Self, Failure> {
        let set: SigSet = [
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGTERM,
        ]
        .into_iter()
        .collect();
        set.thread_block()
            .and_then(|()| {
                SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            })
            .map(Self)
            .map_err(|errno| Failure::change(format!("cannot catch signals: {errno}"), ""))
    }

    /// Whether one has come; takes it.
    fn came(&self) -> bool {
        matches!(self.0.read_signal(), Ok(Some(_)))
    }

    /// Does `work`, and sets `stop` when a signal comes meanwhile; it is left to be taken.
    pub fn stopping<T>(&self, stop: &AtomicBool, work: impl FnOnce() -> T) -> T {
        let over = AtomicBool::new(false);
        let listen = || {
            while !over.load(Ordering::Relaxed) {
                let mut ready = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
                if matches!(poll(&mut ready, TICK), Ok(1..)) {
                    return stop.store(true, Ordering::Relaxed);
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(listen);
            let done = work();
            over.store(true, Ordering::Relaxed);
            done
        })
    }
}

/// Whether there is somebody to ask.
pub fn possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a word, once; another one, or none, is a no.
pub fn word(question: &str, word: &str) -> bool {
    let mut err = io::stderr().lock();
    let _ = write!(err, "{question}");
    let _ = err.flush();
    let mut line = String::new();
    let _ = io::stdin().lock().read_line(&mut line);
    line.trim().eq_ignore_ascii_case(word)
}

/// Asks until the change is decided one way or the other; carries a no out.
pub fn ask(places: &Places, change: &Pending, signals: &Signals) -> Result<ExitCode, Failure> {
    let answer = question(places, change, signals);
    // The counting line ends here, whatever comes next.
    let _ = writeln!(io::stderr());
    match answer {
        Answer::Yes => match confirm(places, Some(&change.id), &Who::here()) {
            Ok(id) => {
                wait_for_end(places, &id, Duration::from_secs(10));
                say(&format!("confirmed; the backup is {}", change.backup));
                Ok(ExitCode::SUCCESS)
            }
            Err(_) => ended(places, &change.id),
        },
        Answer::No(why) => {
            say(&format!("{why}: undoing the change"));
            // Decided by somebody else meanwhile: then that is what is told.
            let _ = revert(places, Some(&change.id), &Who::here());
            ended(places, &change.id)
        }
        Answer::Decided => ended(places, &change.id),
    }
}

/// Tells how the change ended, as an exit code.
pub fn ended(places: &Places, id: &str) -> Result<ExitCode, Failure> {
    let trail = "the audit trail has the details: ruletop status --history";
    match wait_for_end(places, id, UNDO_WITHIN) {
        Ended::Known(entry) => {
            let by = entry.by.as_deref().unwrap_or("somebody");
            match entry.event {
                Event::Confirmed => {
                    say(&format!(
                        "confirmed by {by}; the backup is {}",
                        entry.backup
                    ));
                    Ok(ExitCode::SUCCESS)
                }
                Event::Reverted => Err(Failure::change(
                    format!("the change is undone, by {by}"),
                    entry.detail.as_deref().unwrap_or(
                        "the firewall is as it was; make the change again if it is wanted",
                    ),
                )),
                _ => Err(Failure::change(
                    format!(
                        "the change could not be undone: {}",
                        entry.detail.as_deref().unwrap_or("no reason is known")
                    ),
                    format!("ruletop restore {} puts all back", entry.backup),
                )),
            }
        }
        Ended::Unknown => Err(Failure::change(
            "the change is over, and its audit line cannot be read",
            "look at the firewall before you go on",
        )),
        Ended::NotYet => Err(Failure::change("the change is still being undone", trail)),
    }
}

fn question(places: &Places, change: &Pending, signals: &Signals) -> Answer {
    let watch = Watch::new(places).ok();
    let mut typed = Typed::default();
    let mut shown = u64::MAX;
    loop {
        let view = pending(places).filter(|view| view.id == change.id);
        let Some(view) = view.filter(|view| view.phase == Phase::Pending) else {
            return Answer::Decided;
        };
        if !view.guarded {
            let _ = safety::rescue(places);
        }
        show(&view, &mut shown);
        let stdin = io::stdin();
        let mut ready = vec![PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        ready.push(PollFd::new(signals.0.as_fd(), PollFlags::POLLIN));
        if let Some(watch) = &watch {
            ready.push(PollFd::new(watch.as_fd(), PollFlags::POLLIN));
        }
        let _ = poll(&mut ready, TICK);
        let keys = ready.first().and_then(PollFd::revents);
        if signals.came() {
            return Answer::No("told to end");
        }
        if let Some(watch) = &watch {
            watch.drain();
        }
        if keys.is_some_and(|events| !events.is_empty()) {
            match typed.read() {
                Line::End => return Answer::No("the terminal is gone"),
                Line::None => {}
                Line::Said(word) => match word.as_str() {
                    "yes" => return Answer::Yes,
                    "no" | "n" | "q" => return Answer::No("you said no"),
                    _ => {
                        say("type the whole word: yes keeps the change, no undoes it now");
                        shown = u64::MAX;
                    }
                },
            }
        }
    }
}

/// The question with the seconds that are left; written when the number changes.
fn show(view: &PendingView, shown: &mut u64) {
    let left = view.left.as_secs_f64().ceil();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // seconds of a window
    let left = left as u64;
    if left == *shown {
        return;
    }
    *shown = left;
    let mut err = io::stderr().lock();
    let _ = write!(
        err,
        "\r{left:>4} s left. Does everything still work? Type yes to keep the change, no to undo it: "
    );
    let _ = err.flush();
}

fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// What is read of standard input, without waiting for more.
#[derive(Default)]
struct Typed(Vec<u8>);

enum Line {
    /// Nothing whole yet.
    None,
    /// A line, trimmed.
    Said(String),
    /// There is nobody there any more.
    End,
}

impl Typed {
    fn read(&mut self) -> Line {
        let mut buffer = [0; 256];
        match nix::unistd::read(io::stdin(), &mut buffer) {
            Ok(0) => return Line::End,
            Ok(length) => self
                .0
                .extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) => {}
            Err(_) => return Line::End,
        }
        let Some(end) = memchr::memrchr(b'\n', &self.0) else {
            self.0.truncate(4096);
            return Line::None;
        };
        let rest = self.0.split_off(end + 1);
        let lines = std::mem::replace(&mut self.0, rest);
        let last = lines
            .trim_ascii_end()
            .rsplit(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        Line::Said(String::from_utf8_lossy(last).trim().to_lowercase())
    }
}
