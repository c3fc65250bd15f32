//! Where the dumps are.

use std::fs;
use std::path::{Path, PathBuf};

/// A dump and its name for messages.
pub struct Dump {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl Dump {
    /// Written by a save tool, not by a person.
    pub fn is_saved(&self) -> bool {
        self.name
            .rsplit_once('.')
            .is_some_and(|(_, kind)| kind == "save")
    }
}

/// The project's own fixtures. None would mean that the checkout is broken.
pub fn fixtures() -> Vec<Dump> {
    let dumps = read(&checkout().join("tests/fixtures/rulesets"));
    assert!(dumps.len() >= 4, "the fixtures are gone");
    dumps
}

/// Dumps found in the wild, as found and as saved again after a load.
pub fn collection() -> Vec<Dump> {
    let Some(data) = shared() else {
        return Vec::new();
    };
    let mut dumps = read(&data.join("rulesets"));
    dumps.extend(read(&data.join("rulesets/resaved")));
    assert!(dumps.len() > 100, "the collection is not whole");
    dumps
}

/// Both.
pub fn all() -> Vec<Dump> {
    let mut dumps = fixtures();
    dumps.extend(collection());
    dumps
}

/// A text file of the collection.
pub fn shared_file(name: &str) -> Option<Vec<u8>> {
    Some(fs::read(shared()?.join(name)).unwrap())
}

fn shared() -> Option<PathBuf> {
    let data = checkout().join("../shared/data");
    if data.is_dir() {
        return Some(data);
    }
    println!(
        "{} is not there: only the fixtures are tested",
        data.display()
    );
    None
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(folder: &Path) -> Vec<Dump> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let kind = path.extension().and_then(|kind| kind.to_str());
            matches!(kind, Some("rules" | "save"))
        })
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| Dump {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            bytes: fs::read(&path).unwrap(),
        })
        .collect()
}

/// A fixture by its name.
pub fn fixture(name: &str) -> Vec<u8> {
    fixtures()
        .into_iter()
        .find(|dump| dump.name == name)
        .unwrap_or_else(|| panic!("{name} is gone"))
        .bytes
}
