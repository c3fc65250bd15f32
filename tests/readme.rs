//! The README is in step with the program: its key list is the keymap's, its pictures are there.
//!
//! `UPDATE_README=1 cargo test --test readme` writes the list anew.

// clippy.toml lets `#[test]` functions unwrap; their helpers are tests too.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

const BEGIN: &str = "<!-- keys -->\n";
const END: &str = "<!-- /keys -->\n";

fn readme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

/// The keys as the program itself lists them.
fn keys() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ruletop"))
        .arg("keys")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_key_list_is_the_keymap() {
    let text = std::fs::read_to_string(readme()).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the marker before the keys");
    let (list, after) = rest.split_once(END).expect("the marker after the keys");
    if std::env::var_os("UPDATE_README").is_some() {
        let text = format!("{before}{BEGIN}{}{END}{after}", keys());
        std::fs::write(readme(), text).unwrap();
        return;
    }
    assert_eq!(
        list,
        keys(),
        "run: UPDATE_README=1 cargo test --test readme"
    );
}

#[test]
fn every_file_that_it_names_is_there() {
    let text = std::fs::read_to_string(readme()).unwrap();
    let links = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let mut seen = 0;
    for link in links.filter(|link| !link.starts_with("http")) {
        let path = readme().with_file_name(link);
        assert!(path.exists(), "README.md names {link}, which is not there");
        seen += 1;
    }
    assert!(seen >= 3, "no links were found");
}
