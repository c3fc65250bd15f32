//! Moving this process into the box: user, network, mount and host-name namespaces of its own.
//!
//! As root the user namespace is left out; where root may not make namespaces (a container), or for
//! anybody else, it comes first and makes us root inside. The PID namespace is not here: this process
//! keeps its pid, session, terminal and job control; only its helpers get one (`keeper.rs`).
//!
//! The mounts are few, each for a reason: /run is fresh, because the xtables lock and ruletop's own
//! state live there and those of the machine are not ours; /sys is mounted anew, because a sysfs shows
//! the interfaces of the namespace that it was mounted in; /etc is a private copy-on-write layer (or,
//! where the kernel has no overlay, read-only) and /var/backups is fresh, so that "save for the next
//! boot" pressed in a demo saves into the demo.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid, sethostname};

use super::error::SandboxError;

/// Move the calling process, which must have one thread, and say what could not be had.
pub fn enter(host_name: &str) -> Result<Vec<String>, SandboxError> {
    if fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() > 1) {
        return Err(SandboxError::Threads);
    }
    let spaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS;
    match unshare(spaces) {
        Ok(()) => {}
        Err(Errno::EPERM) => become_root_inside(spaces)?,
        Err(errno) => return Err(refused("network namespace", errno)),
    }
    let mut notes = Vec::new();
    private_mounts(&mut notes)?;
    // A host name that is not the machine's tells at a glance that this is not the machine.
    if sethostname(host_name).is_err() {
        notes.push("the host name shown is this machine's".to_owned());
    }
    Ok(notes)
}

fn refused(what: &'static str, errno: Errno) -> SandboxError {
    SandboxError::Namespace { what, errno }
}

/// A user namespace, our ids mapped to root, then the rest in it.
///
/// In two steps, not one unshare: a network namespace gives the files of its /proc/net to whom its user
/// namespace calls root at that moment, and without a map that is nobody in it. `ip_tables_names`, which
/// iptables-legacy-save reads, and `nf_conntrack` would then be closed to us.
///
/// An unprivileged process may map one id, its own, and must give up `setgroups` first (user_namespaces(7)).
fn become_root_inside(spaces: CloneFlags) -> Result<(), SandboxError> {
    let refused = |errno| refused("user namespace", errno);
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(refused)?;
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {uid} 1")),
        ("/proc/self/gid_map", format!("0 {gid} 1")),
    ];
    for (path, line) in maps {
        fs::write(path, line)
            .map_err(|error| refused(error.raw_os_error().map_or(Errno::EPERM, Errno::from_raw)))?;
    }
    unshare(spaces).map_err(refused)
}

fn private_mounts(notes: &mut Vec<String>) -> Result<(), SandboxError> {
    let none = None::<&str>;
    // Nothing that we mount may propagate to the machine.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|errno| cannot_mount("/", errno))?;
    fresh_run()?;
    if mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none).is_err() {
        notes.push("/sys still shows this machine's interfaces".to_owned());
    }
    if Path::new("/var/backups").is_dir() {
        tmpfs("/var/backups")?;
    }
    private_etc(notes);
    Ok(())
}

fn cannot_mount(path: &str, errno: Errno) -> SandboxError {
    SandboxError::Io {
        step: "mount",
        path: PathBuf::from(path),
        source: errno.into(),
    }
}

fn tmpfs(path: &str) -> Result<(), SandboxError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some("mode=0755"))
        .map_err(|errno| cannot_mount(path, errno))
}

/// An empty /run, save for the symbolic links: on NixOS the programs are found through one of them.
fn fresh_run() -> Result<(), SandboxError> {
    let links: Vec<(PathBuf, PathBuf)> = fs::read_dir("/run")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((fs::read_link(entry.path()).ok()?, entry.path())))
        .collect();
    tmpfs("/run")?;
    for (target, link) in links {
        // One that is missing would be missed by its name; the sandbox does without.
        let _ = symlink(target, link);
    }
    Ok(())
}

/// Writes under /etc go to memory. The layers live in /run, which is ours by now.
fn private_etc(notes: &mut Vec<String>) {
    const UPPER: &str = "/run/ruletop-sandbox/etc/upper";
    const WORK: &str = "/run/ruletop-sandbox/etc/work";
    let layered = || -> io::Result<()> {
        fs::create_dir_all(UPPER)?;
        fs::create_dir_all(WORK)?;
        let layers = format!("lowerdir=/etc,upperdir={UPPER},workdir={WORK}");
        let flags = MsFlags::empty();
        mount(
            Some("overlay"),
            "/etc",
            Some("overlay"),
            flags,
            Some(layers.as_str()),
        )?;
        Ok(())
    };
    if layered().is_ok() {
        return;
    }
    let none = None::<&str>;
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    let done = mount(Some("/etc"), "/etc", none, bind, none)
        .and_then(|()| mount(none, "/etc", none, read_only, none));
    notes.push(match done {
        Ok(()) => "/etc is read-only in this demo".to_owned(),
        Err(errno) => format!("/etc is this machine's own, take care ({errno})"),
    });
}
