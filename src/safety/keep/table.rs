//! Where this machine looks for the rules of the next boot, by the table `assets/saved.toml`; and which
//! chains come back by themselves, by the `runtime` rows of `assets/owners.toml`.
//!
//! Told by what exists below a root folder that is handed in, so that a test or the demo has its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::Deserialize;

use super::KeepError;
use crate::ruleset::Family;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaceRow {
    name: String,
    v4: String,
    v6: String,
    signs: Vec<String>,
    loaders: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Charge {
    name: String,
    file: String,
    line: Option<String>,
    words: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advice {
    like: Option<String>,
    words: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    place: Vec<PlaceRow>,
    charge: Vec<Charge>,
    advice: Vec<Advice>,
}

/// A pattern of chain names that a program makes at run time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Runtime {
    chain: String,
    /// The program.
    pub by: String,
    /// The rules in it are the user's.
    #[serde(default)]
    pub users: bool,
}

#[derive(Default, Deserialize)]
struct Owners {
    runtime: Vec<Runtime>,
}

static SAVED: LazyLock<Saved> = LazyLock::new(|| {
    toml::from_str(include_str!("../../../assets/saved.toml")).unwrap_or_default()
});
static OWNERS: LazyLock<Owners> = LazyLock::new(|| {
    toml::from_str(include_str!("../../../assets/owners.toml")).unwrap_or_default()
});

/// The files that are loaded at boot, absolute, and by whom.
pub(super) struct Where {
    name: &'static str,
    is_loaded: bool,
    v4: PathBuf,
    v6: PathBuf,
}

impl Where {
    /// Who loads them, in words.
    pub(super) fn words(&self) -> String {
        let name = self.name;
        if self.is_loaded {
            format!("loaded at boot by {name}")
        } else {
            format!(
                "where {name} would look, which is not installed: something else has to load it at boot"
            )
        }
    }

    pub(super) fn file(&self, family: Family) -> &Path {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// The place below `root`; an error where another program owns the next boot, or nobody does.
pub(super) fn find(root: &Path) -> Result<Where, KeepError> {
    let exists = |path: &String| fs::symlink_metadata(root.join(path)).is_ok();
    if let Some(row) = SAVED.charge.iter().find(|row| is_on(root, row)) {
        return Err(KeepError::InCharge {
            name: row.name.clone(),
            words: row.words.clone(),
        });
    }
    let row = SAVED.place.iter().find(|row| row.signs.iter().any(exists));
    let row = row.ok_or_else(|| KeepError::NoPlace {
        advice: advice(root),
    })?;
    Ok(Where {
        name: &row.name,
        is_loaded: row.loaders.iter().any(exists),
        v4: root.join(&row.v4),
        v6: root.join(&row.v6),
    })
}

fn is_on(root: &Path, row: &Charge) -> bool {
    let path = root.join(&row.file);
    match &row.line {
        None => fs::symlink_metadata(path).is_ok(),
        Some(line) => fs::read_to_string(path).is_ok_and(|text| {
            let mut lines = text.lines().map(|found| found.trim().replace('"', ""));
            lines.any(|found| found.eq_ignore_ascii_case(line))
        }),
    }
}

/// What to install, by the words of os-release(5).
fn advice(root: &Path) -> String {
    let text = fs::read_to_string(root.join("etc/os-release")).unwrap_or_default();
    let ids = text
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or(line.strip_prefix("ID_LIKE=")));
    let ids: Vec<&str> = ids
        .flat_map(|value| value.trim_matches(['"', '\'']).split_whitespace())
        .collect();
    let fits = |like: &str| ids.iter().any(|id| *id == like || id.starts_with(like));
    let row = SAVED
        .advice
        .iter()
        .find(|row| row.like.as_deref().is_none_or(fits));
    row.map(|row| row.words.clone()).unwrap_or_default()
}

/// The program that puts a chain of that name there by itself.
pub(super) fn runtime(chain: &[u8]) -> Option<&'static Runtime> {
    OWNERS
        .runtime
        .iter()
        .find(|row| match row.chain.strip_suffix('*') {
            Some(begin) => chain.starts_with(begin.as_bytes()),
            None => chain == row.chain.as_bytes(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_tables_are_sound() {
        assert_eq!(SAVED.place.len(), 5);
        assert_eq!(SAVED.charge.len(), 2);
        assert!(SAVED.advice.last().unwrap().like.is_none());
        assert!(OWNERS.runtime.len() >= 9);
    }

    #[test]
    fn the_place_is_told_by_what_exists() {
        for (sign, v4, v6) in [
            (
                "etc/iptables/rules.v6",
                "etc/iptables/rules.v4",
                "etc/iptables/rules.v6",
            ),
            (
                "etc/sysconfig/ip6tables",
                "etc/sysconfig/iptables",
                "etc/sysconfig/ip6tables",
            ),
            (
                "etc/iptables/empty.rules",
                "etc/iptables/iptables.rules",
                "etc/iptables/ip6tables.rules",
            ),
            (
                "etc/alpine-release",
                "etc/iptables/rules-save",
                "etc/iptables/rules6-save",
            ),
        ] {
            let root = root(&[(sign, "")]);
            let found = find(root.path()).ok().unwrap();
            assert_eq!(found.file(Family::V4), root.path().join(v4));
            assert_eq!(found.file(Family::V6), root.path().join(v6));
            assert!(found.words().contains("not installed"), "{}", found.words());
        }
        let both = root(&[
            ("etc/iptables/rules.v4", ""),
            ("usr/sbin/netfilter-persistent", ""),
        ]);
        let found = find(both.path()).ok().unwrap();
        assert_eq!(found.words(), "loaded at boot by netfilter-persistent");
    }

    #[test]
    fn who_is_in_charge_is_said_instead() {
        let file = ("etc/iptables/rules.v4", "");
        let on = root(&[file, ("etc/ufw/ufw.conf", "# x\nENABLED=yes\n")]);
        assert!(matches!(find(on.path()), Err(KeepError::InCharge { name, .. }) if name == "ufw"));
        let off = root(&[file, ("etc/ufw/ufw.conf", "#ENABLED=yes\nENABLED=no\n")]);
        assert!(find(off.path()).is_ok());
        let suse = root(&[(
            "etc/os-release",
            "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n",
        )]);
        let Err(KeepError::NoPlace { advice }) = find(suse.path()) else {
            panic!("there is no place");
        };
        assert!(advice.contains("SLES"), "{advice}");
        let nothing = root(&[]);
        assert!(matches!(
            find(nothing.path()),
            Err(KeepError::NoPlace { .. })
        ));
    }

    #[test]
    fn chains_of_programs() {
        assert_eq!(runtime(b"DOCKER-ISOLATION-STAGE-1").unwrap().by, "docker");
        assert!(runtime(b"DOCKER-USER").unwrap().users);
        assert_eq!(runtime(b"f2b-sshd").unwrap().by, "fail2ban");
        for own in ["INPUT", "f2b", "docker", "my-f2b-sshd", ""] {
            assert!(runtime(own.as_bytes()).is_none(), "{own}");
        }
    }
}
