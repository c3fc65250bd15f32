//! A running program, its keyboard and its screen: what a test works with.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use portable_pty::{Child, CommandBuilder, ExitStatus, PtySize};

use super::line::{self, Ends, Shared};
use super::model::Model;
use super::processes::{named, tagged};
use super::screen::Screen;
use super::{PATIENCE, keys};

/// Silence after which a frame counts as complete.
const SETTLED: Duration = Duration::from_millis(100);

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

impl Terminal {
    /// Starts the program in a terminal of that size; its processes are known by `tag`.
    pub fn start(command: CommandBuilder, size: PtySize, tag: String) -> Self {
        let (ends, child, shared) = Ends::open(command, size);
        Self {
            child,
            ends: Some(ends),
            shared,
            tag,
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
            ends.master.resize(line::pty_size(columns, rows)).unwrap();
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
                model = self.shared.wait(model, left);
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
            ends.close();
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

    /// Processes that were started in this terminal and still run.
    pub fn tagged(&self) -> Vec<Pid> {
        tagged(&self.tag)
    }

    /// The same, each as `id name`.
    pub fn processes(&self) -> Vec<String> {
        self.tagged().into_iter().map(named).collect()
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
            model = self.shared.wait(model, left);
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
