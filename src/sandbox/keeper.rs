//! The helper processes: a *keeper* and, in a PID namespace of its own, an *init* with all the rest.
//!
//! ```text
//!   ruletop demo …                    the UI: in the box, but in the machine's PID namespace
//!    └─ ruletop __sandbox-actor keeper PID      makes the PID namespace, waits
//!        └─ ruletop __sandbox-actor init        pid 1 in there; threads outside, box, behind
//!            └─ ip, iptables-restore, ipset     only during the set-up
//! ```
//!
//! Two ropes end it all when the UI ends, however it ends. `PR_SET_PDEATHSIG`: the kernel kills the
//! keeper when the UI's main thread is gone, and init when the keeper is; the death of a namespace's
//! init kills everything in it. And the sockets: init leaves at end of file. A parent that died before
//! the request for the signal was made would never send it, so the keeper compares its parent with the
//! one that it was told of; init, whose parent is outside its namespace and shows as 0, has the second rope.
//!
//! The helpers are in a session of their own, with no terminal, so ^C and ^Z never reach them. They are
//! started by `exec`, not by a bare `fork`, so there is no unsafe code and no half-copied process.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{set_name, set_pdeathsig};
use nix::sys::signal::Signal;
use nix::unistd::{getppid, setsid};

use super::stage;
use super::wire::Line;
use super::{ACTOR, trial};

/// What the binary does when its first argument is [`ACTOR`]; `args` are those after it.
///
/// To be called before anything else in `main`, since helpers are not to parse a command line that is
/// not theirs, start threads or touch the terminal.
pub fn actor_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Who listens in the demo is shown by name, and /proc/self/exe would make that "exe".
    let _ = set_name(c"demo");
    let args: Vec<String> = args
        .into_iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["keeper", parent] => keeper(parent),
        ["init"] => init(),
        ["trial", rest @ ..] => return trial::main(rest),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    };
    if done.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Make the PID namespace, start init in it, and live as long.
fn keeper(parent: &str) -> io::Result<()> {
    die_with_parent()?;
    if getppid().to_string() != parent {
        return Ok(());
    }
    setsid()?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    let mut init = Command::new("/proc/self/exe")
        .arg0("ruletop")
        .args([ACTOR, "init"])
        .stderr(Stdio::null())
        .spawn()?;
    init.wait()?;
    Ok(())
}

/// Pid 1 of the helpers' namespace: build the sandbox, then answer questions until the UI is gone.
fn init() -> io::Result<()> {
    die_with_parent()?;
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let traffic = UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
    stage::serve(Line::new(control), Line::new(traffic))
}

fn die_with_parent() -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)
}
