//! Starting a process of our own that is to outlive us: a guard, a probe's helper.
//!
//! A session that ends (`KillUserProcesses=yes`, logind.conf(5)) and a service that is stopped take their whole
//! control group with them, setsid or not, and with one kill the guard and its standby. So where systemd is there
//! the process gets a transient scope of its own. systemd-run makes it and then *becomes* the process: pipes,
//! folder, environment and namespaces stay ours, so it matters not which network namespace that is.
//!
//! systemd may be out of order, or not let us: that must keep nobody from changing the firewall, nor hang. So the
//! process says [`HERE`] before anything else, and hears its order only after that. What has said nothing in time
//! has done nothing either: it is killed, and the process started without systemd, with a remark of why.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::record::fresh_name;

/// The first word of a process of ours.
const HERE: &[u8] = b"here\n";
/// systemd makes a scope in some hundredths of a second. One that takes longer hangs.
const SCOPE_PATIENCE: Duration = Duration::from_secs(5);
/// For the process alone; the machine may be in trouble.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where systemd-run may be.
const SYSTEMD_RUN: [&str; 3] = [
    "/usr/bin/systemd-run",
    "/bin/systemd-run",
    "/run/current-system/sw/bin/systemd-run", // NixOS
];
/// Bytes of a reason that are read.
const REASON: usize = 4096;

/// A process that has said that it is there, and waits for its order.
pub(super) struct Launched {
    pub child: Child,
    /// It shares our control group though systemd is there: in words, for the record.
    pub remark: Option<String>,
}

/// Starts this binary, or `program`, as what its first argument says, with a pipe at either end.
pub(super) fn launch(program: Option<&Path>, role: &str) -> io::Result<Launched> {
    let mut remark = None;
    if let Some(systemd_run) = systemd_run() {
        match in_scope(&systemd_run, program, role) {
            Ok(child) => {
                return Ok(Launched {
                    child,
                    remark: None,
                });
            }
            Err(error) => {
                remark = Some(format!(
                    "the {} has no scope of its own (systemd-run: {error}): where a session's processes end with it \
                     (KillUserProcesses=yes), the end of this session undoes the change",
                    name_of(role)
                ));
            }
        }
    }
    let child = directly(program, role)?;
    Ok(Launched { child, remark })
}

/// Starts it as a child in our own control group.
pub(super) fn directly(program: Option<&Path>, role: &str) -> io::Result<Child> {
    let program = program.unwrap_or(Path::new("/proc/self/exe"));
    let mut command = Command::new(program);
    // Shows as `ruletop` and not as `exe` in a list of processes.
    command.arg0("ruletop").arg(role).stderr(Stdio::null());
    heard(command, PATIENCE)
}

/// What such a process does first.
pub(super) fn say_here() {
    let mut out = io::stdout().lock();
    // Nobody may be left to hear it: then no order comes, which ends us.
    let _ = out.write_all(HERE).and_then(|()| out.flush());
}

fn in_scope(systemd_run: &Path, program: Option<&Path>, role: &str) -> io::Result<Child> {
    let program = program.map_or_else(own_path, |program| Ok(program.to_owned()))?;
    let name = name_of(role);
    let mut command = Command::new(systemd_run);
    command
        .args(["--scope", "--quiet", "--collect", "--no-ask-password"])
        .arg(format!("--unit=ruletop-{name}-{}", fresh_name()))
        .arg(format!("--description=ruletop's {name}"))
        .arg("--")
        .arg(program)
        .arg(role)
        .stderr(Stdio::piped());
    heard(command, SCOPE_PATIENCE).map(|mut child| {
        // What it says from now on is for nobody.
        child.stderr = None;
        child
    })
}

/// `guard` of `__guard`.
fn name_of(role: &str) -> &str {
    role.trim_start_matches('_')
}

/// Starts it and waits for its first word. On an error nothing is left of it.
fn heard(mut command: Command, patience: Duration) -> io::Result<Child> {
    let mut child = command
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    match hear(&mut child, patience) {
        Ok(()) => Ok(child),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            if error.kind() == io::ErrorKind::TimedOut {
                return Err(error);
            }
            Err(reason(&mut child).map_or(error, io::Error::other))
        }
    }
}

fn hear(child: &mut Child, patience: Duration) -> io::Result<()> {
    let output = child.stdout.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
    let begun = Instant::now();
    let mut said = Vec::new();
    while said.len() < HERE.len() {
        let left = patience.saturating_sub(begun.elapsed());
        // Rounded up, so that it is over when it says so.
        let left = left + Duration::from_millis(1);
        let mut ready = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        match poll(
            &mut ready,
            PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO),
        ) {
            Ok(0) if begun.elapsed() >= patience => {
                let what = format!("no answer within {} s", patience.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut byte = [0];
        match output.read(&mut byte)? {
            0 => return Err(io::Error::other("it ended without a word")),
            _ => said.extend(byte),
        }
        if !HERE.starts_with(&said) {
            return Err(io::Error::other("it is not the program that was expected"));
        }
    }
    Ok(())
}

/// What a child that is dead said on standard error, the first line; nothing is waited for.
fn reason(child: &mut Child) -> Option<String> {
    let errors = child.stderr.as_mut()?;
    let mut ready = [PollFd::new(errors.as_fd(), PollFlags::POLLIN)];
    let any = poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0);
    let mut said = vec![0; REASON];
    let length = if any { errors.read(&mut said).ok()? } else { 0 };
    let said = String::from_utf8_lossy(said.get(..length)?).into_owned();
    let line = said.lines().map(str::trim).find(|line| !line.is_empty());
    line.map(str::to_owned)
}

/// Our own binary for somebody else to start: by its name where that still is it (an upgrade may have replaced
/// it while we ran), else by our process.
fn own_path() -> io::Result<PathBuf> {
    let own = Path::new("/proc/self/exe");
    let of = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
    let name = fs::read_link(own)?;
    Ok(match (of(own), of(&name)) {
        (Ok(we), Ok(it)) if we == it => name,
        _ => PathBuf::from(format!("/proc/{}/exe", std::process::id())),
    })
}

/// systemd-run, where it talks to a systemd that knows our processes by the numbers that we know them by.
fn systemd_run() -> Option<PathBuf> {
    // sd_booted(3).
    let is_booted = Path::new("/run/systemd/system").is_dir();
    // The machine's folder in a container, or a container's folder in ours: the scope would be made of whatever
    // process has our number there. systemd calls itself so also where it was started as `init`.
    let is_first = fs::read("/proc/1/comm").is_ok_and(|name| name == b"systemd\n");
    let is_ours = fs::read_link("/proc/self")
        .is_ok_and(|pid| pid == Path::new(&std::process::id().to_string()));
    if !(is_booted && is_first && is_ours) {
        return None;
    }
    let mut paths = SYSTEMD_RUN.iter().map(PathBuf::from);
    paths.find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, patience: Duration) -> Result<Child, String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stderr(Stdio::piped());
        heard(command, patience).map_err(|error| error.to_string())
    }

    #[test]
    fn who_says_nothing_is_killed_and_the_reason_is_kept() {
        let short = Duration::from_millis(50);
        let why = shell("exec sleep 1000", short).unwrap_err();
        assert!(why.contains("no answer"), "{why}");
        let why = shell("echo 'no bus' >&2; exit 1", PATIENCE).unwrap_err();
        assert_eq!(why, "no bus");
        let why = shell("exit 1", PATIENCE).unwrap_err();
        assert!(why.contains("without a word"), "{why}");
        let why = shell("echo usage: ...", PATIENCE).unwrap_err();
        assert!(why.contains("not the program"), "{why}");
        // A child of it that holds the pipes open is not waited for.
        let why = shell("sleep 5 & exit 1", short).unwrap_err();
        assert!(why.contains("no answer"), "{why}");
    }

    #[test]
    fn what_comes_after_the_first_word_is_left_for_others() {
        let mut child = shell("printf 'he'; printf 're\\nrest'", PATIENCE).unwrap();
        let mut rest = String::new();
        let mut output = child.stdout.take().unwrap();
        output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "rest");
        child.wait().unwrap();
    }
}
