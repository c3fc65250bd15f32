//! A saved file replaced: whole at every moment, the old one kept beside it, mode and owner as they were.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::KeepError;
use crate::safety::places::{PlaceError, at, lock_folder, sync_folder};

/// Rules tell what is not defended.
const MODE: u32 = 0o600;

/// The file itself where `path` is a link; renaming over a link would leave the file behind it stale. One that
/// leads out of `root` is refused.
pub(super) fn real(path: &Path, root: &Path) -> Result<PathBuf, KeepError> {
    let real = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs::symlink_metadata(path).is_ok() {
                // A link to nowhere.
                return Err(at("follow", path)(error).into());
            }
            return Ok(path.to_owned());
        }
        found => found.map_err(at("look at", path))?,
    };
    let inside = fs::canonicalize(root).map_err(at("look at", root))?;
    if !real.starts_with(&inside) {
        return Err(KeepError::Outside {
            path: path.to_owned(),
            root: root.to_owned(),
        });
    }
    Ok(real)
}

/// `rules.v4` with `.ruletop-old` at its end.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Replaces the file, and keeps the old one as `FILE.ruletop-old`.
pub(super) fn replace(path: &Path, text: &[u8]) -> Result<(), PlaceError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(at("make the folder", folder))?;
    // One writer at a time, since the other names are fixed: what a killed one leaves is the next one's to clear.
    let _lock = lock_folder(folder)?;
    let new = beside(path, ".ruletop-new");
    let _ = fs::remove_file(&new);
    let done = write(&new, path, text)
        .map_err(at("write", &new))
        .and_then(|()| keep_old(path))
        .and_then(|()| fs::rename(&new, path).map_err(at("put in place", path)));
    if done.is_err() {
        let _ = fs::remove_file(&new);
    }
    done?;
    sync_folder(folder)
}

fn write(new: &Path, old: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(new)?;
    file.write_all(text)?;
    if let Ok(meta) = fs::metadata(old) {
        fchown(&file, Some(meta.uid()), Some(meta.gid()))?;
        file.set_permissions(Permissions::from_mode(meta.mode() & 0o7777))?;
    }
    file.sync_all()
}

/// A second name for the old file, put in place of an older one at once. The file itself is not touched, so
/// it keeps mode, owner and label.
fn keep_old(path: &Path) -> Result<(), PlaceError> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    let (old, link) = (beside(path, ".ruletop-old"), beside(path, ".ruletop-link"));
    let _ = fs::remove_file(&link);
    if fs::hard_link(path, &link).is_err() {
        // A file system without links.
        fs::copy(path, &link).map_err(at("copy", path))?;
        File::open(&link)
            .and_then(|file| file.sync_all())
            .map_err(at("sync", &link))?;
    }
    fs::rename(&link, &old).map_err(at("put in place", &old))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_file_is_kept_and_the_new_one_has_its_mode() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("etc/iptables/rules.v4");
        replace(&path, b"one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, MODE);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        replace(&path, b"two").unwrap();
        replace(&path, b"three").unwrap();
        let old = beside(&path, ".ruletop-old");
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read(&old).unwrap(), b"two");
        for file in [&path, &old] {
            assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o640);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
    }

    #[test]
    fn a_link_is_followed_within_the_root_only() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("file"), "x").unwrap();
        fs::write(home.path().join("outside"), "x").unwrap();
        std::os::unix::fs::symlink("file", root.join("in")).unwrap();
        std::os::unix::fs::symlink("../outside", root.join("out")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("dead")).unwrap();
        let inside = fs::canonicalize(root.join("file")).unwrap();
        assert_eq!(real(&root.join("in"), &root).unwrap(), inside);
        assert!(matches!(
            real(&root.join("out"), &root),
            Err(KeepError::Outside { .. })
        ));
        assert!(matches!(
            real(&root.join("dead"), &root),
            Err(KeepError::Place(_))
        ));
        assert_eq!(real(&root.join("new"), &root).unwrap(), root.join("new"));
    }
}
