//! The loop of the board: what happens comes in as messages, the state changes, effects go out, and a
//! frame is drawn when something visible changed and the terminal has taken the last one.
//!
//! One thread runs the loop; readings, log lines and frames have threads of their own. Nothing in here
//! waits for the kernel, a file or the terminal.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crossterm::event::{Event as TerminalEvent, EventStream, KeyEventKind};
use futures_util::StreamExt;
use ratatui::Terminal;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::app::message::{Effect, Message};
use crate::app::state::{Mode, State};
use crate::app::update::update;
use crate::runtime::changes::{self, Changes, Material};
use crate::runtime::live::Doors;
use crate::runtime::probes::Probes;
use crate::runtime::screen::Screen;
use crate::runtime::terminal::{self, FrameSink, TerminalError, Writer};
use crate::runtime::words::Prepared;
use crate::safety::Places;
use crate::ui::{self, Theme};

/// Something that another thread has for the loop.
#[derive(Debug)]
pub enum Event {
    /// A message, ready to be taken in.
    Message(Message),
    /// A structure was read, and what takes long was worked out on the thread that read it.
    Loaded(Box<Prepared>),
    /// The ruleset poller has something else.
    Poll(crate::runtime::poller::PollEvent),
    /// This drop source has lines.
    Lines(usize),
    /// The terminal took the last frame (or is gone).
    Written(bool),
    /// The terminal went away.
    Hangup,
}

/// The board cannot run.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// No screen.
    #[error(transparent)]
    Terminal(#[from] TerminalError),
    /// The system refused a thread, a signal handler or the runtime.
    #[error("cannot start the board: {0}")]
    Start(#[from] std::io::Error),
}

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The user left.
    Quit,
    /// A signal of that number, or the terminal went away (SIGHUP).
    Signal(i32),
}

/// Runs the board until the user leaves or a signal comes. `kernel` is where the changes of the kernel that
/// is watched are kept; a saved dump has none, and is all in the state already.
pub fn run(state: State, theme: Theme, kernel: Option<Places>) -> Result<End, BoardError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    terminal::hook_panics();
    let entered = terminal::enter()?;
    let end = runtime.block_on(Loop::new(state, theme)?.run(kernel));
    drop(entered);
    runtime.shutdown_background();
    end
}

struct Loop {
    state: State,
    theme: Theme,
    start: Instant,
    terminal: Terminal<Screen<FrameSink>>,
    writer: Writer,
    /// The terminal still takes the last frame.
    busy: bool,
    events: UnboundedReceiver<Event>,
    sender: UnboundedSender<Event>,
    doors: Doors,
    /// How changes reach the kernel; `None` where there is none.
    changes: Option<Changes>,
    probes: Probes,
    end: Option<End>,
}

impl Loop {
    fn new(state: State, theme: Theme) -> Result<Self, BoardError> {
        let (sender, events) = unbounded_channel();
        let ready = sender.clone();
        let writer = Writer::start(Box::new(move |written| {
            let _ = ready.send(Event::Written(written));
        }))?;
        let terminal = Terminal::new(Screen::new(writer.sink()))?;
        let start = Instant::now();
        Ok(Self {
            state,
            theme,
            start,
            terminal,
            writer,
            busy: false,
            events,
            doors: Doors::new(sender.clone(), start),
            probes: Probes::new(sender.clone()),
            sender,
            changes: None,
            end: None,
        })
    }

    async fn run(mut self, kernel: Option<Places>) -> Result<End, BoardError> {
        watch_for_hangup(self.sender.clone())?;
        let mut signals = Signals::new()?;
        let mut input = EventStream::new();
        self.draw()?;
        if let Some(places) = kernel {
            let demo = matches!(self.state.facts.mode, Mode::Demo { .. });
            let changes = Changes::open(self.sender.clone(), places, self.start, demo);
            self.take(changes.shelf());
            self.changes = Some(changes);
            self.doors.open(&self.state);
        }
        while self.end.is_none() {
            let wake = self.state.next_wake().map(|at| self.start + at);
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => {
                    self.event(event);
                    // Drain what is there, so that one frame answers all of it.
                    for _ in 0..1_000 {
                        let Ok(event) = self.events.try_recv() else { break };
                        self.event(event);
                    }
                }
                signal = signals.next() => self.signal(signal),
                key = input.next() => match key {
                    Some(Ok(event)) => self.input(event),
                    Some(Err(_)) | None => self.end = Some(End::Signal(SignalKind::hangup().as_raw_value())),
                },
                () = until(wake) => self.take(Message::Wake),
            }
            if self.doors.suspend {
                self.doors.suspend = false;
                drop(input);
                self.suspend(&mut signals).await?;
                input = EventStream::new();
            }
            if self.state.dirty && !self.busy && self.end.is_none() {
                self.draw()?;
            }
        }
        self.doors.close();
        let Self {
            writer,
            terminal,
            end,
            ..
        } = self;
        drop(terminal);
        writer.finish();
        Ok(end.unwrap_or(End::Quit))
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Message(message) => self.take(message),
            Event::Poll(event) => {
                for message in self.doors.polled(event) {
                    self.take(message);
                }
            }
            Event::Loaded(prepared) => {
                for message in self.doors.loaded(*prepared) {
                    self.take(message);
                }
            }
            Event::Lines(source) => {
                for message in self.doors.lines(source) {
                    self.take(message);
                }
            }
            Event::Written(true) => self.busy = false,
            Event::Written(false) | Event::Hangup => {
                self.end = Some(End::Signal(SignalKind::hangup().as_raw_value()));
            }
        }
    }

    fn input(&mut self, event: TerminalEvent) {
        match event {
            TerminalEvent::Key(key) if key.kind != KeyEventKind::Release => {
                self.take(Message::Key(key.into()));
            }
            TerminalEvent::Paste(text) => self.take(Message::Paste(text)),
            TerminalEvent::Resize(..) => self.state.dirty = true,
            _ => {}
        }
    }

    fn signal(&mut self, number: i32) {
        match number {
            n if n == SignalKind::from_raw(nix::libc::SIGTSTP).as_raw_value() => {
                self.doors.suspend = true;
            }
            n if n == nix::libc::SIGCONT => {} // taken care of where we stopped
            n => self.end = Some(End::Signal(n)),
        }
    }

    /// One message in, its effects out.
    fn take(&mut self, message: Message) {
        let now = self.now();
        for effect in update(&mut self.state, message, now) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        tracing::debug!(?effect, "asked");
        match effect {
            Effect::Quit => self.end = Some(End::Quit),
            Effect::Suspend => self.doors.suspend = true,
            Effect::Redraw => {
                // A frame that cannot be drawn now is drawn with the next one.
                let _ = self.terminal.clear();
                self.state.dirty = true;
            }
            Effect::Copy(text) => {
                // Goes out with the next frame, so that the writer is never waited for.
                self.terminal.backend_mut().append(&clipboard(&text));
            }
            Effect::Check => {
                let live = self.state.is_live();
                changes::check(self.sender.clone(), Material::of(&self.state), live);
            }
            Effect::Probe(id, site) => self.probes.toggle(id, &site),
            Effect::Unprobe(id, probe) => self.probes.remove(id, &probe),
            other => {
                let changes = self.changes.as_ref();
                if !changes.is_some_and(|changes| changes.carry_out(&other, &self.state)) {
                    self.doors.carry_out(&other);
                }
            }
        }
    }

    /// Draws a frame. When the drawing finds other room than the cursors were set for, they are moved
    /// and it is drawn once more.
    fn draw(&mut self) -> Result<(), BoardError> {
        for _ in 0..2 {
            self.state.dirty = false;
            let now = self.now();
            self.state.now = self.state.now.max(now);
            let mut viewport = self.state.viewport;
            self.terminal
                .draw(|frame| viewport = ui::view(&self.state, &self.theme, frame))?;
            self.busy |= self.terminal.backend_mut().take_sent();
            self.take(Message::Viewport(viewport));
            if !self.state.dirty {
                break;
            }
        }
        Ok(())
    }

    /// Gives the terminal back, stops the job as the shell expects, and comes back with a whole frame.
    async fn suspend(&mut self, signals: &mut Signals) -> Result<(), BoardError> {
        if !can_stop() {
            self.take(Message::Say(
                "no shell to come back from: not suspended".to_owned(),
            ));
            return Ok(());
        }
        while self.busy {
            match tokio::time::timeout(Duration::from_millis(500), self.events.recv()).await {
                Ok(Some(Event::Written(_))) | Err(_) => self.busy = false,
                Ok(Some(event)) => self.event(event),
                Ok(None) => break,
            }
        }
        terminal::leave();
        signals.stop_job()?;
        std::mem::forget(terminal::enter()?); // the first guard gives it back in the end
        self.terminal.clear()?;
        self.state.dirty = true;
        Ok(())
    }
}

/// There is a shell that could continue us: a session leader would sleep for ever.
fn can_stop() -> bool {
    nix::unistd::getsid(None).is_ok_and(|session| session != nix::unistd::getpgrp())
}

/// OSC 52: the terminal's clipboard is to hold this text. Terminals may refuse without a word.
fn clipboard(text: &str) -> Vec<u8> {
    let mut bytes = b"\x1b]52;c;".to_vec();
    bytes.extend(base64(text.as_bytes()));
    bytes.push(0x07);
    bytes
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |group: u32, shift: u32| DIGITS[(group >> shift & 63) as usize];
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        out.extend([digit(group, 18), digit(group, 12)]);
        out.push(if chunk.len() > 1 {
            digit(group, 6)
        } else {
            b'='
        });
        out.push(if chunk.len() > 2 {
            digit(group, 0)
        } else {
            b'='
        });
    }
    out
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// A terminal that is closed while no signal arrives leaves the reader of keys spinning: this thread
/// sleeps until the terminal hangs up.
fn watch_for_hangup(sender: UnboundedSender<Event>) -> std::io::Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    std::thread::Builder::new()
        .name("hangup".to_owned())
        .spawn(move || {
            let terminal = std::io::stdout();
            loop {
                let mut fds = [PollFd::new(terminal.as_fd(), PollFlags::empty())];
                let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
                match poll(&mut fds, PollTimeout::NONE) {
                    Err(nix::errno::Errno::EINTR) => {}
                    Ok(_) if fds[0].revents().is_some_and(|r| !r.intersects(gone)) => {}
                    _ => break,
                }
            }
            let _ = sender.send(Event::Hangup);
        })?;
    Ok(())
}

/// The signals that end or stop the program.
struct Signals {
    list: Vec<(i32, Signal)>,
    /// Stop signals that we sent ourselves and that need no answer.
    own_stops: usize,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let kinds = [
            SignalKind::terminate(),
            SignalKind::hangup(),
            SignalKind::interrupt(),
            SignalKind::quit(),
            SignalKind::from_raw(nix::libc::SIGTSTP),
            SignalKind::from_raw(nix::libc::SIGCONT),
        ];
        let list = kinds
            .into_iter()
            .map(|kind| Ok((kind.as_raw_value(), signal(kind)?)));
        Ok(Self {
            list: list.collect::<std::io::Result<_>>()?,
            own_stops: 0,
        })
    }

    async fn next(&mut self) -> i32 {
        loop {
            let number = self.any().await;
            if number == nix::libc::SIGTSTP && self.own_stops > 0 {
                self.own_stops -= 1;
                continue;
            }
            return number;
        }
    }

    async fn any(&mut self) -> i32 {
        std::future::poll_fn(|context| {
            for (number, signal) in &mut self.list {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// Stops the job; returns when it is continued.
    fn stop_job(&mut self) -> std::io::Result<()> {
        // The whole job, as the terminal's own ^Z would: make, sudo and the shell all take part.
        // SIGTSTP has our handler, so the others of the job are asked by it and we stop by SIGSTOP,
        // which cannot be handled.
        use nix::sys::signal::{Signal as Number, kill};
        if kill(nix::unistd::Pid::from_raw(0), Number::SIGTSTP).is_ok() {
            self.own_stops += 1;
        }
        kill(nix::unistd::Pid::this(), Number::SIGSTOP)?;
        Ok(())
    }
}
