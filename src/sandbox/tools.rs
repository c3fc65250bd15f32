//! The programs that the sandbox is built with: `ip`, `iptables-restore`, `ipset`.
//!
//! The rules go in by the very tools that a user would load them with, of the back end that was asked
//! for. They are looked for before any namespace is made, so that a missing package is the first thing
//! that is said, and in the sbin directories too, because an unprivileged user's PATH lacks them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::error::SandboxError;
use crate::netfilter::xtables;
use crate::ruleset::{Backend, Family, Origin};

/// Where the programs are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tools {
    pub ip: PathBuf,
    pub restore_v4: PathBuf,
    pub restore_v6: PathBuf,
    /// `None`: the scenario has no sets.
    pub ipset: Option<PathBuf>,
}

impl Tools {
    /// Find what a scenario needs, with or without `sets`.
    pub fn find(backend: Backend, sets: bool) -> Result<Self, SandboxError> {
        let need = |program: &str, package| {
            find(program).ok_or(SandboxError::MissingProgram {
                program: program.to_owned(),
                package,
            })
        };
        let xtables = xtables::Tools::find();
        Ok(Self {
            ip: need("ip", "iproute2")?,
            restore_v4: restore(&xtables, Origin::new(Family::V4, backend))?,
            restore_v6: restore(&xtables, Origin::new(Family::V6, backend))?,
            ipset: if sets {
                Some(need("ipset", "ipset")?)
            } else {
                None
            },
        })
    }
}

/// What plain `iptables` is on this machine; where there is none, the variant that exists.
pub fn default_backend() -> Backend {
    match find("iptables").and_then(|path| backend_of(&path)) {
        Some(backend) => backend,
        None if find("iptables-nft").is_none() && find("iptables-legacy").is_some() => {
            Backend::Legacy
        }
        None => Backend::Nft,
    }
}

/// The restore program beside the save program of that origin.
fn restore(xtables: &xtables::Tools, origin: Origin) -> Result<PathBuf, SandboxError> {
    let found = xtables
        .save(origin)
        .ok()
        .and_then(|save| save.sibling("-restore"));
    let missing = || SandboxError::MissingProgram {
        program: format!("{origin}-restore"),
        package: "iptables",
    };
    found.map(|tool| tool.path().to_owned()).ok_or_else(missing)
}

/// By `-V`: `iptables v1.8.9 (nf_tables)`; versions before 1.8 say nothing and are legacy.
fn backend_of(program: &Path) -> Option<Backend> {
    let output = Command::new(program)
        .arg("-V")
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    if String::from_utf8_lossy(&output.stdout).contains("nf_tables") {
        Some(Backend::Nft)
    } else {
        Some(Backend::Legacy)
    }
}

/// The first file of that name in PATH and the sbin directories.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Run a program with `input`, in the network namespace of the calling *thread*. The error is what it said.
pub fn run(program: &Path, args: &[&str], input: &str) -> Result<(), String> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let failed = |error: std::io::Error| format!("{name}: {error}");
    let mut child = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // These programs read all of their input before they say much: no deadlock on a full pipe. A
    // program that ends early closes it; its own message then tells more than "broken pipe".
    if let Some(mut pipe) = child.stdin.take() {
        let _ = pipe.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    Err(match said.as_slice() {
        [] => format!("{name}: {}", output.status),
        lines => format!(
            "{name}: {}",
            lines.join("; ").chars().take(400).collect::<String>()
        ),
    })
}
