//! Which iptables programs this machine has, and which back end each of them speaks.
//!
//! Debian installs all four saves under their own names and lets plain `iptables-save` be one of them;
//! RHEL has the nft ones only; old systems have only a plain `iptables-save` that is legacy and says
//! nothing of it. So names that carry the back end are taken at their word, and a plain name is asked
//! with `-V`. Folders are PATH first, then the sbin folders that a user's PATH often lacks.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{Limits, XtablesError, child};
use crate::ruleset::{Backend, Family, Origin};

/// Searched after PATH.
const USUAL_FOLDERS: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/sbin",
    "/sbin",
    "/usr/local/bin",
    "/usr/bin",
    "/bin",
];
/// `-V` prints a line and ends.
const VERSION_LIMITS: Limits = Limits {
    time: Duration::from_secs(5),
    bytes: 4096,
};

/// The version that a tool says it is: `v1.8.9` is (1, 8, 9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16, pub u16);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// One program that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    path: PathBuf,
}

impl Tool {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A command that runs it, in the C locale.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env("LC_ALL", "C");
        command
    }

    /// The same tool set's program with another ending: `iptables-nft-save` has the sibling
    /// `iptables-nft-restore` for `-restore` and `iptables-nft` for the empty ending.
    pub fn sibling(&self, ending: &str) -> Option<Self> {
        let name = self.path.file_name()?.to_str()?;
        let name = format!("{}{ending}", name.strip_suffix("-save")?);
        let path = self.path.with_file_name(name);
        is_executable(&path).then_some(Self { path })
    }

    /// Asks for the version and the back end that it prints with it.
    fn version(&self) -> Option<(Version, Option<Backend>)> {
        let mut command = self.command();
        command.arg("-V");
        let ended = child::run(command, VERSION_LIMITS, &AtomicBool::new(false), "-V").ok()?;
        parse_version(&String::from_utf8_lossy(&ended.stdout))
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        f.write_str(&name.to_string_lossy())
    }
}

/// The save tools of this machine, one a family and back end.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    saves: [Option<Tool>; 4],
}

impl Tools {
    /// Looks through PATH and the usual folders; runs `-V` of plain names only.
    pub fn find() -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        Self::find_in(&folders(&path))
    }

    /// Looks through `folders` only.
    pub fn find_in(folders: &[PathBuf]) -> Self {
        let mut tools = Self::default();
        for origin in Origin::ALL {
            tools.saves[origin.index()] = named(folders, origin);
        }
        for family in [Family::V4, Family::V6] {
            let wanted = |backend| Origin::new(family, backend).index();
            if tools.saves[wanted(Backend::Nft)].is_some()
                && tools.saves[wanted(Backend::Legacy)].is_some()
            {
                continue;
            }
            if let Some((tool, backend)) = plain(folders, family) {
                tools.saves[wanted(backend)].get_or_insert(tool);
            }
        }
        tools
    }

    /// The save tool of `origin`.
    pub fn save(&self, origin: Origin) -> Result<&Tool, XtablesError> {
        self.saves[origin.index()]
            .as_ref()
            .ok_or_else(|| XtablesError::NotInstalled {
                origin,
                looked_for: format!("{}, {}", own_name(origin), plain_name(origin.family)),
            })
    }

    /// The version of the save tool of `origin`; runs it with `-V`.
    pub fn version(&self, origin: Origin) -> Option<Version> {
        let tool = self.save(origin).ok()?;
        Some(ask(tool)?.0)
    }
}

fn folders(path: &OsString) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = env::split_paths(path)
        .filter(|folder| folder.is_absolute()) // a relative folder in root's PATH is somebody's trap
        .collect();
    for usual in USUAL_FOLDERS {
        let usual = PathBuf::from(usual);
        if !folders.contains(&usual) {
            folders.push(usual);
        }
    }
    folders
}

fn own_name(origin: Origin) -> String {
    format!("{origin}-save")
}

fn plain_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables-save",
        Family::V6 => "ip6tables-save",
    }
}

fn named(folders: &[PathBuf], origin: Origin) -> Option<Tool> {
    find_file(folders, &own_name(origin))
}

fn plain(folders: &[PathBuf], family: Family) -> Option<(Tool, Backend)> {
    let tool = find_file(folders, plain_name(family))?;
    // Before 1.8 there was one back end and no word for it.
    let backend = ask(&tool)
        .and_then(|(_, backend)| backend)
        .unwrap_or(Backend::Legacy);
    Some((tool, backend))
}

/// `iptables-save` learned `-V` in 1.8.0 only; its sibling `iptables` always had it.
fn ask(tool: &Tool) -> Option<(Version, Option<Backend>)> {
    tool.version()
        .or_else(|| tool.sibling("").and_then(|plain| plain.version()))
}

/// Any tool by its name, looked for where the save tools are.
pub(super) fn named_tool(name: &str) -> Option<Tool> {
    find_file(&folders(&env::var_os("PATH").unwrap_or_default()), name)
}

fn find_file(folders: &[PathBuf], name: &str) -> Option<Tool> {
    folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| is_executable(path))
        .map(|path| Tool { path })
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// `iptables-save v1.8.9 (nf_tables)`.
fn parse_version(line: &str) -> Option<(Version, Option<Backend>)> {
    let mut words = line.split_whitespace().skip(1);
    let mut numbers = words
        .next()?
        .strip_prefix('v')?
        .split('.')
        .map(|number| number.parse().unwrap_or(0));
    let version = Version(
        numbers.next()?,
        numbers.next().unwrap_or(0),
        numbers.next().unwrap_or(0),
    );
    let backend = match words.next() {
        Some("(nf_tables)") => Some(Backend::Nft),
        Some("(legacy)") => Some(Backend::Legacy),
        _ => None,
    };
    Some((version, backend))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn script(folder: &Path, name: &str, says: &str) {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{says}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn versions_with_and_without_a_back_end() {
        assert_eq!(
            parse_version("iptables-save v1.8.9 (nf_tables)\n"),
            Some((Version(1, 8, 9), Some(Backend::Nft)))
        );
        assert_eq!(
            parse_version("iptables v1.8.11 (legacy)"),
            Some((Version(1, 8, 11), Some(Backend::Legacy)))
        );
        assert_eq!(
            parse_version("iptables v1.6.1"),
            Some((Version(1, 6, 1), None))
        );
        assert_eq!(parse_version("usage: something else"), None);
        assert_eq!(parse_version(""), None);
    }

    #[test]
    fn a_name_that_carries_the_back_end_is_taken_at_its_word() {
        let folder = tempfile::tempdir().unwrap();
        script(folder.path(), "iptables-nft-save", "exit 1");
        script(folder.path(), "iptables-legacy-save", "exit 1");
        let tools = Tools::find_in(&[folder.path().to_owned()]);
        for backend in [Backend::Nft, Backend::Legacy] {
            assert!(tools.save(Origin::new(Family::V4, backend)).is_ok());
            let missing = tools.save(Origin::new(Family::V6, backend)).unwrap_err();
            assert!(missing.to_string().contains("ip6tables"), "{missing}");
        }
    }

    #[test]
    fn a_plain_name_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        script(
            folder.path(),
            "iptables-save",
            "echo 'iptables-save v1.8.4 (nf_tables)'",
        );
        // As before 1.8: save knows no -V, its sibling does and names no back end.
        script(folder.path(), "ip6tables-save", "echo invalid >&2; exit 1");
        script(folder.path(), "ip6tables", "echo 'ip6tables v1.4.21'");
        let tools = Tools::find_in(&[folder.path().to_owned()]);
        let nft4 = Origin::new(Family::V4, Backend::Nft);
        let legacy6 = Origin::new(Family::V6, Backend::Legacy);
        assert_eq!(tools.version(nft4), Some(Version(1, 8, 4)));
        assert_eq!(tools.version(legacy6), Some(Version(1, 4, 21)));
        assert!(
            tools
                .save(Origin::new(Family::V4, Backend::Legacy))
                .is_err()
        );
        assert!(tools.save(Origin::new(Family::V6, Backend::Nft)).is_err());
    }

    #[test]
    fn relative_folders_of_path_are_not_searched() {
        let found = folders(&OsString::from(".:bin:/opt/x"));
        assert!(found.iter().all(|folder| folder.is_absolute()));
        assert_eq!(found[0], Path::new("/opt/x"));
        assert!(found.contains(&PathBuf::from("/usr/sbin")));
    }
}
