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
mod line;
mod model;
mod processes;
pub mod screen;
mod terminal;

use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, PtySize};

pub use terminal::Terminal;

/// How long a condition may take. Generous: it is only ever used up by a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

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
        command.env(processes::TAG, &tag);
        command.cwd(env!("CARGO_MANIFEST_DIR"));
        Self {
            command,
            size: line::pty_size(80, 24),
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
        self.size = line::pty_size(columns, rows);
        self
    }

    /// Starts the program.
    pub fn start(self) -> Terminal {
        Terminal::start(self.command, self.size, self.tag)
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
