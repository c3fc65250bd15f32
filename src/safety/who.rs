//! Who is changing the firewall: the person behind sudo, as well as it can be known.
//!
//! Root is nobody in particular. The kernel's login uid (`/proc/self/loginuid`, set at login and kept
//! through su and sudo) is what cannot be forged from below; `SUDO_USER` is the environment's word and only
//! used where there is no login uid. For the record, not for a decision.

use std::env;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User, getuid};
use serde::{Deserialize, Serialize};

/// A person at a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Name of the login behind it, through sudo and su; else of the process's own user.
    pub user: String,
    /// The process's own user, where that is another one (mostly `root`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acting_as: Option<String>,
    /// The terminal, such as `/dev/pts/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<String>,
    /// Process id of the program that asked.
    pub pid: u32,
}

impl Who {
    /// Of the calling process.
    pub fn here() -> Self {
        let sudo = env::var("SUDO_USER").ok();
        Self::made(getuid(), sudo, terminal(), std::process::id())
    }

    /// Of another process that runs this program and lives; `None` of any other.
    pub(super) fn of_ours(pid: u32) -> Option<Self> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let file = |path: &Path| {
            let meta = fs::metadata(path).ok()?;
            Some((meta.dev(), meta.ino()))
        };
        if file(&process.join("exe"))? != file(Path::new("/proc/self/exe"))? {
            return None;
        }
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        let sudo = variables.find_map(|text| text.strip_prefix(b"SUDO_USER="));
        let sudo = sudo.map(|name| String::from_utf8_lossy(name).into_owned());
        let terminal = (0..3).find_map(|stream| {
            let path = fs::read_link(process.join(format!("fd/{stream}"))).ok()?;
            let path = path.to_str()?.to_owned();
            (path.starts_with("/dev/pts/") || path.starts_with("/dev/tty")).then_some(path)
        });
        let uid = Uid::from_raw(fs::metadata(&process).ok()?.uid());
        Some(Self::made(uid, sudo, terminal, pid))
    }

    fn made(acting: Uid, sudo: Option<String>, tty: Option<String>, pid: u32) -> Self {
        let acting = name_of(acting);
        let user = login(pid)
            .map(name_of)
            .or_else(|| sudo.filter(|name| !name.is_empty()))
            .unwrap_or_else(|| acting.clone());
        Self {
            acting_as: (acting != user).then_some(acting),
            user,
            tty,
            pid,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user)?;
        if let Some(tty) = &self.tty {
            write!(f, " on {}", tty.strip_prefix("/dev/").unwrap_or(tty))?;
        }
        Ok(())
    }
}

/// The login uid; `None` where nobody logged in (a service) or the kernel does not audit.
fn login(pid: u32) -> Option<Uid> {
    let text = fs::read_to_string(format!("/proc/{pid}/loginuid")).ok()?;
    let uid: u32 = text.trim().parse().ok()?;
    (uid != u32::MAX).then(|| Uid::from_raw(uid))
}

fn name_of(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => format!("uid {uid}"),
    }
}

/// The terminal of whichever standard stream has one.
fn terminal() -> Option<String> {
    let streams = [
        nix::unistd::ttyname(std::io::stdin()),
        nix::unistd::ttyname(std::io::stderr()),
        nix::unistd::ttyname(std::io::stdout()),
    ];
    let path = streams.into_iter().find_map(Result::ok)?;
    Some(path.display().to_string())
}
