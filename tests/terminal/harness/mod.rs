//! A terminal for programs under test: a pty with a screen model behind it.
//!
//! A [`Terminal`] runs one program in a session of its own, feeds everything that it writes to a
//! vt100 model, and lets a test wait for what the screen *shows*. Nothing here sleeps and hopes: a
//! test waits for a condition, and a condition that does not come prints the screen as it stood.
//!
//! Where the pty ends: bytes are what the program wrote, so counting them is counting what a slow SSH
//! line would carry. When a `Terminal` is dropped, every process that was started in it is killed by
//! its id, known by a variable in its environment, whatever session it moved to.
//!
//! What it does not do: answer terminal queries. The program must not ask any (see STYLE), and
//! [`Terminal::unanswered`] shows those that it did ask.

// Included by several programs, each of which uses its own part.
#![allow(dead_code)]

pub mod keys;
mod model;
pub mod screen;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use filedescriptor::FileDescriptor;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

use model::Model;
use screen::Screen;

/// How long a condition may take. Generous: it is only ever used up by a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Silence after which a frame counts as complete.
const SETTLED: Duration = Duration::from_millis(100);

/// The variable by which the processes of one terminal are known, wherever they go.
const TAG: &str = "RULETOP_TEST_TERMINAL";

/// A program to be started in a terminal, and that terminal's size.
#[derive(Debug)]
pub struct Launch {
    command: CommandBuilder,
    size: PtySize,
    tag: String,
}

impl Launch {
    /// A program by name or path, in a clean environment: `PATH`, `HOME`, a UTF-8 locale and a
    /// terminal of 256 colours. 80x24.
    pub fn new(program: &str) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let tag = format!("{}-{count}", std::process::id());
        let mut command = CommandBuilder::new(program);
        command.env_clear();
        for kept in ["PATH", "HOME", "XTABLES_LOCKFILE", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command.env("LANG", "C.UTF-8");
        command.env("TERM", "xterm-256color");
        command.env("TZ", "UTC");
        command.env(TAG, &tag);
        command.cwd(env!("CARGO_MANIFEST_DIR"));
        Self {
            command,
            size: pty_size(80, 24),
            tag,
        }
    }

    /// The built program.
    pub fn ruletop() -> Self {
        Self::new(env!("CARGO_BIN_EXE_ruletop"))
    }

    /// A shell script of one line.
    pub fn shell(script: &str) -> Self {
        Self::new("sh").args(["-c", script])
    }

    /// Adds an argument.
    pub fn arg(self, argument: &str) -> Self {
        self.args([argument])
    }

    /// Adds arguments.
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(mut self, args: I) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the size, columns first as in 80x24.
    pub fn size(mut self, columns: u16, rows: u16) -> Self {
        self.size = pty_size(columns, rows);
        self
    }

    /// Starts the program.
    pub fn start(self) -> Terminal {
        Terminal::start(self)
    }
}

/// Waits for something that no screen shows.
///
/// # Panics
/// When it does not come, with what was waited for.
#[track_caller]
pub fn patiently(what: &str, mut come: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !come() {
        assert!(Instant::now() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A place in the stream of bytes that the program wrote.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

/// A running program, its keyboard and its screen.
pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    /// `None` once the terminal was closed under the program.
    ends: Option<Ends>,
    shared: Arc<Shared>,
    tag: String,
}

/// What keeps the pty open on this side; dropping it all hangs up.
struct Ends {
    master: Box<dyn MasterPty + Send>,
    /// Not portable-pty's writer: that one types a newline and an end of file when it is dropped.
    keyboard: File,
    reader: JoinHandle<()>,
    /// Closing it ends the reader.
    wake: std::io::PipeWriter,
}

struct Shared {
    model: Mutex<Model>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Model> {
        // A test that panicked while it looked has not broken the model.
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A descriptor that portable-pty owns, to be duplicated.
struct Borrowed(RawFd);

impl AsRawFd for Borrowed {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Terminal {
    fn start(launch: Launch) -> Self {
        let pair = native_pty_system().openpty(launch.size).unwrap();
        let master = pair.master;
        let raw = Borrowed(master.as_raw_fd().unwrap());
        let screen_end = FileDescriptor::dup(&raw).unwrap();
        let keyboard = FileDescriptor::dup(&raw).unwrap().as_file().unwrap();
        let shared = Arc::new(Shared {
            model: Mutex::new(Model::new(launch.size.cols, launch.size.rows)),
            changed: Condvar::new(),
        });
        let (woken, wake) = std::io::pipe().unwrap();
        let reader = std::thread::spawn({
            let shared = Arc::clone(&shared);
            let screen_end = screen_end.as_file().unwrap();
            move || read_all(screen_end, &woken, &shared)
        });
        let child = pair.slave.spawn_command(launch.command).unwrap();
        Self {
            child,
            ends: Some(Ends {
                master,
                keyboard,
                reader,
                wake,
            }),
            shared,
            tag: launch.tag,
        }
    }

    /// The screen at this moment; perhaps in the middle of a frame.
    pub fn screen(&self) -> Screen {
        self.shared.lock().screen()
    }

    /// Waits until the screen shows what `shown` asks for, and gives that screen.
    ///
    /// # Panics
    /// When it does not come, with what was waited for, the screen, and how the program stands.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, shown: impl Fn(&Screen) -> bool) -> Screen {
        let found = self.wait_until(PATIENCE, |model| {
            let screen = model.screen();
            shown(&screen).then_some(screen)
        });
        found.unwrap_or_else(|| self.give_up(what))
    }

    /// Waits until a row of the screen holds `text`.
    #[track_caller]
    pub fn wait_for_text(&mut self, text: &str) -> Screen {
        self.wait_for(&format!("the text {text:?}"), |screen| {
            screen.contains(text)
        })
    }

    /// Waits until the screen shows what `shown` asks for *and* the program fell silent, so that the
    /// frame is complete: for pictures of the whole screen.
    #[track_caller]
    pub fn wait_for_frame(&mut self, what: &str, shown: impl Fn(&Screen) -> bool) -> Screen {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.wait_for(what, &shown);
            let screen = self.settled();
            if shown(&screen) {
                return screen;
            }
            if Instant::now() > deadline {
                self.give_up(what);
            }
        }
    }

    /// The screen once nothing was written for a moment, or after a while in any case.
    pub fn settled(&mut self) -> Screen {
        self.wait_for_silence(SETTLED);
        self.screen()
    }

    /// Types bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let ends = self.ends.as_mut().expect("the terminal was closed");
        // A program that just ended no longer listens; the test will see that by its status.
        let _ = ends.keyboard.write_all(bytes.as_ref());
    }

    /// Presses keys by their names, separated by spaces: `"j j <Enter> <C-c>"`. See [`keys`].
    ///
    /// # Panics
    /// When something follows `<Esc>`: in one piece with it, it would be another key (Alt and that
    /// one). Wait for what `<Esc>` does first, as a person would.
    #[track_caller]
    pub fn press(&mut self, names: &str) {
        let escape = names.find("<Esc>");
        assert!(
            escape.is_none_or(|at| names[at..] == *"<Esc>"),
            "keys after <Esc> in {names:?}"
        );
        for name in names.split(' ') {
            let bytes = keys::bytes(name).unwrap_or_else(|| panic!("no key is called {name:?}"));
            self.send(bytes);
        }
    }

    /// Changes the size; the program gets its SIGWINCH from the kernel.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        let mut model = self.shared.lock();
        model.resize(columns, rows);
        if let Some(ends) = &self.ends {
            ends.master.resize(pty_size(columns, rows)).unwrap();
        }
    }

    /// Here in the stream of bytes.
    pub fn mark(&self) -> Mark {
        Mark(self.shared.lock().received())
    }

    /// What the program wrote since.
    pub fn output_since(&self, mark: Mark) -> Vec<u8> {
        self.shared.lock().output()[mark.0..].to_vec()
    }

    /// Everything that the program wrote.
    pub fn output_since_start(&self) -> Vec<u8> {
        self.output_since(Mark(0))
    }

    /// How much the program wrote since.
    pub fn bytes_since(&self, mark: Mark) -> usize {
        self.shared.lock().received() - mark.0
    }

    /// Lets `span` pass and gives what was written in it: for what must *not* happen.
    pub fn output_during(&mut self, span: Duration) -> Vec<u8> {
        let mark = self.mark();
        std::thread::sleep(span);
        self.output_since(mark)
    }

    /// Waits until something was written after the mark.
    #[track_caller]
    pub fn wait_for_bytes(&mut self, mark: Mark) {
        let written = self.wait_until(PATIENCE, |model| (model.received() > mark.0).then_some(()));
        if written.is_none() {
            self.give_up("an answer");
        }
    }

    /// Waits until nothing was written for so long, or for a while in any case.
    pub fn wait_for_silence(&self, span: Duration) {
        let deadline = Instant::now() + PATIENCE;
        let mut model = self.shared.lock();
        loop {
            let before = model.received();
            let quiet_until = Instant::now() + span;
            while model.received() == before && !model.is_closed() {
                let left = quiet_until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                let waited = self.shared.changed.wait_timeout(model, left);
                model = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if model.received() == before || model.is_closed() || Instant::now() > deadline {
                return;
            }
        }
    }

    /// Stops reading, as a dead link does: the pty fills and the program's writes block.
    pub fn stall(&self) {
        self.shared.lock().stalled = true;
    }

    /// Reads again.
    pub fn unstall(&self) {
        self.shared.lock().stalled = false;
        self.shared.changed.notify_all();
    }

    /// Questions that the program put to the terminal (and that nobody answers), and sequences that
    /// the model does not know, in readable form.
    pub fn unanswered(&self) -> Vec<String> {
        self.shared.lock().unanswered()
    }

    /// The program's process id.
    pub fn pid(&self) -> Pid {
        let pid = self
            .child
            .process_id()
            .expect("a started program has an id");
        Pid::from_raw(i32::try_from(pid).unwrap())
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Hangs up: closes this side of the pty, as an SSH connection that goes away does.
    pub fn close(&mut self) {
        if let Some(ends) = self.ends.take() {
            drop(ends.wake);
            drop(ends.keyboard);
            ends.reader.join().unwrap();
            drop(ends.master);
        }
    }

    /// Waits for the program's end, and for the last that it wrote.
    ///
    /// # Panics
    /// When it does not end, with the screen.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        // There is no waiting for a child with a deadline, so look often.
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                self.give_up("the program's end");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        // A process that stays behind may keep the terminal open: do not wait for it for long.
        self.wait_until(SETTLED, |model| model.is_closed().then_some(()));
        status
    }

    /// Processes that were started in this terminal and still run, each as `id name`.
    pub fn processes(&self) -> Vec<String> {
        let named = |pid: &Pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("{pid} {}", name.trim())
        };
        tagged(&self.tag).iter().map(named).collect()
    }

    /// Waits until no process that was started in this terminal runs any more.
    ///
    /// # Panics
    /// When one stays behind, with its name.
    #[track_caller]
    pub fn wait_for_no_process(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Reap the program itself, or its id would stay.
            let ended = self.child.try_wait().unwrap().is_some();
            let left = self.processes();
            if ended && left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "processes left behind: {left:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Everything in which the terminal is not as a shell wants it: modes that are still set, in
    /// words. Empty when it was left in order.
    pub fn disorder(&self) -> Vec<String> {
        let mut found = self.shared.lock().disorder();
        if let Some(ends) = &self.ends {
            let line = tcgetattr(&ends.keyboard).unwrap();
            for (flag, name) in [
                (LocalFlags::ECHO, "echo"),
                (LocalFlags::ICANON, "line editing"),
                (LocalFlags::ISIG, "signals from keys"),
            ] {
                if !line.local_flags.contains(flag) {
                    found.push(format!("{name} is off"));
                }
            }
        }
        found
    }

    /// Waits on the model, woken by each change.
    fn wait_until<T>(
        &self,
        patience: Duration,
        mut ask: impl FnMut(&Model) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut model = self.shared.lock();
        loop {
            if let Some(answer) = ask(&model) {
                return Some(answer);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || model.is_closed() {
                return None;
            }
            let waited = self.shared.changed.wait_timeout(model, left);
            model = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    #[track_caller]
    fn give_up(&mut self, what: &str) -> ! {
        let status = match self.child.try_wait() {
            Ok(None) => "the program runs".to_owned(),
            Ok(Some(status)) => format!("the program has ended: {status}"),
            Err(error) => format!("the program cannot be asked: {error}"),
        };
        panic!(
            "waited for {what}; {status}; the screen:\n{}",
            self.screen()
        );
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        for _ in 0..100 {
            let left = tagged(&self.tag);
            if left.is_empty() {
                break;
            }
            for pid in left {
                let _ = kill(pid, Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.wait();
        self.unstall();
        self.close();
    }
}

/// Reads the program's output into the model until the program is gone or `woken` is closed.
fn read_all(mut screen_end: File, woken: &std::io::PipeReader, shared: &Shared) {
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
            PollFd::new(std::os::fd::AsFd::as_fd(&screen_end), PollFlags::POLLIN),
            PollFd::new(std::os::fd::AsFd::as_fd(woken), PollFlags::POLLIN),
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

/// Living processes whose environment carries this tag.
fn tagged(tag: &str) -> Vec<Pid> {
    let wanted = format!("{TAG}={tag}\0");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // The environment of a process that has ended, or is somebody else's, cannot be read.
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let mine = environment
            .windows(wanted.len())
            .any(|window| window == wanted.as_bytes());
        if mine {
            found.push(Pid::from_raw(pid));
        }
    }
    found
}

fn pty_size(cols: u16, rows: u16) -> PtySize {
    PtySize {
        rows,
        cols,
        pixel_width: 0,
        pixel_height: 0,
    }
}
