//! Runs one tool to its end: its input fed, both pipes read, time and size bounded, killed and reaped when
//! it passes a bound. Nothing about iptables is known here.
//!
//! Not `Command::output`: that waits for ever on a hung tool. Not a thread per pipe: three pipes and a
//! deadline are what poll(2) is for.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{Limits, XtablesError};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Code(i32),
    Signal(i32),
}

/// A process that has ended, with what it printed.
#[derive(Debug)]
pub(super) struct Ended {
    pub status: Status,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// A pipe of this size (the unprivileged bound of /proc/sys/fs/pipe-max-size) saves a switch per 64 KiB
/// of a 15 MB dump.
const PIPE_SIZE: i32 = 1 << 20;
/// More than this on standard error is noise.
const STDERR_LIMIT: usize = 64 * 1024;
/// Between looks at a process that closed its pipes but has not ended.
const REAP_PAUSE: Duration = Duration::from_millis(2);

/// Between looks at the stop sign while the tool prints nothing.
const STOP_WITHIN: Duration = Duration::from_millis(100);

/// Runs `command` with no input, until it ends, passes a bound or `stop` is set. `name` stands in errors.
pub(super) fn run(
    command: Command,
    limits: Limits,
    stop: &AtomicBool,
    name: &str,
) -> Result<Ended, XtablesError> {
    run_with(command, b"", limits, stop, name)
}

/// As [`run`], with `input` on its standard input. A tool that ends before it has read all of it is judged
/// by how it ended, not by the broken pipe.
pub(super) fn run_with(
    mut command: Command,
    input: &[u8],
    limits: Limits,
    stop: &AtomicBool,
    name: &str,
) -> Result<Ended, XtablesError> {
    let run_error = |source| XtablesError::Run {
        tool: name.to_owned(),
        source,
    };
    command
        .stdin(if input.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0); // so that a wrapper script is killed with what it runs
    let mut child = Reaped(command.spawn().map_err(run_error)?);
    let (Some(stdout), Some(stderr)) = (child.0.stdout.take(), child.0.stderr.take()) else {
        return Err(run_error(io::Error::other("no pipe to the process")));
    };
    let deadline = Instant::now() + limits.time;
    let stdin = child.0.stdin.take();
    let mut pipes = Pipes::new(stdin, input, stdout, stderr).map_err(run_error)?;
    let time_left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        let tool = || name.to_owned();
        if stop.load(Ordering::Relaxed) {
            Err(XtablesError::Stopped { tool: tool() })
        } else if left.is_zero() {
            let limit = limits.time;
            Err(XtablesError::TimedOut {
                tool: tool(),
                limit,
            })
        } else {
            Ok(left)
        }
    };
    while pipes.is_open() {
        let patience = time_left()?.min(STOP_WITHIN);
        pipes.read_some(patience).map_err(run_error)?;
        if pipes.stdout.len() > limits.bytes {
            return Err(XtablesError::TooLong {
                tool: name.to_owned(),
                limit: limits.bytes,
            });
        }
    }
    loop {
        if let Some(status) = child.0.try_wait().map_err(run_error)? {
            let status = match (status.code(), status.signal()) {
                (Some(code), _) => Status::Code(code),
                (None, signal) => Status::Signal(signal.unwrap_or_default()),
            };
            return Ok(Ended {
                status,
                stdout: pipes.stdout,
                stderr: pipes.stderr,
            });
        }
        time_left()?;
        std::thread::sleep(REAP_PAUSE);
    }
}

/// Kills and reaps on every way out.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            // Not reaped yet, so the group's number is still this one's.
            let _ = killpg(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGKILL);
            let _ = self.0.wait();
        }
    }
}

struct Pipes<'a> {
    input: Option<ChildStdin>,
    /// What of the input is not yet written.
    unwritten: &'a [u8],
    out: Option<ChildStdout>,
    err: Option<ChildStderr>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl<'a> Pipes<'a> {
    fn new(
        input: Option<ChildStdin>,
        unwritten: &'a [u8],
        out: ChildStdout,
        err: ChildStderr,
    ) -> io::Result<Self> {
        // A smaller pipe is only slower, so a refusal (a user at the pipe limit) is no error.
        let _ = fcntl(&out, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        let pipes = [Some(out.as_fd()), Some(err.as_fd())];
        for pipe in pipes
            .into_iter()
            .chain([input.as_ref().map(AsFd::as_fd)])
            .flatten()
        {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Self {
            input,
            unwritten,
            out: Some(out),
            err: Some(err),
            stdout: Vec::new(),
            stderr: Vec::new(),
        })
    }

    fn is_open(&self) -> bool {
        self.out.is_some() || self.err.is_some()
    }

    /// Waits up to `patience` for either pipe and takes what is there.
    fn read_some(&mut self, patience: Duration) -> io::Result<()> {
        let fds = [
            (self.out.as_ref().map(AsFd::as_fd), PollFlags::POLLIN),
            (self.err.as_ref().map(AsFd::as_fd), PollFlags::POLLIN),
            (self.input.as_ref().map(AsFd::as_fd), PollFlags::POLLOUT),
        ];
        let mut ready: Vec<PollFd<'_>> = fds
            .into_iter()
            .filter_map(|(fd, events)| Some(PollFd::new(fd?, events)))
            .collect();
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        match poll(&mut ready, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.feed()?;
        drain(&mut self.out, &mut self.stdout)?;
        drain(&mut self.err, &mut self.stderr)?;
        self.stderr.truncate(STDERR_LIMIT);
        Ok(())
    }

    /// Writes what the tool takes now, and closes its input at the end.
    fn feed(&mut self) -> io::Result<()> {
        let Some(pipe) = self.input.as_mut() else {
            return Ok(());
        };
        match pipe.write(self.unwritten) {
            Ok(written) => self.unwritten = self.unwritten.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // It wants no more; how it ends tells why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.unwritten = &[],
            Err(error) => return Err(error),
        }
        if self.unwritten.is_empty() {
            self.input = None;
        }
        Ok(())
    }
}

/// Takes what a non-blocking pipe holds now, at most one pipe's worth; closes it at its end.
fn drain<P: Read + AsRawFd>(pipe: &mut Option<P>, into: &mut Vec<u8>) -> io::Result<()> {
    let Some(open) = pipe.as_mut() else {
        return Ok(());
    };
    let mut limited = open.take(u64::from(PIPE_SIZE.unsigned_abs()));
    match limited.read_to_end(into) {
        Ok(_) if limited.limit() > 0 => {
            *pipe = None;
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
