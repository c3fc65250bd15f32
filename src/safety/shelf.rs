//! The disabled rules of this machine, in a file: the kernel knows no disabled rule, so nobody else holds them.
//!
//! Two programs can be at it; each says what comes and what goes, never how all of it is to be.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::places::{self, PlaceError, Places, at};
use crate::edit::{Shelf, Shelved};

fn file(places: &Places) -> PathBuf {
    places.data.join("disabled.json")
}

/// What is on it; nothing where there is no file. A file that cannot be understood is an error: it may be all that
/// is left of somebody's rules.
pub fn shelf(places: &Places) -> Result<Shelf, PlaceError> {
    let path = file(places);
    let Some(bytes) = places::if_there(places::read(&path), &path)? else {
        return Ok(Shelf::default());
    };
    let strange = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    serde_json::from_slice(&bytes)
        .map_err(strange)
        .map_err(at("understand", &path))
}

/// Takes rules off and puts others on. Nothing is lost halfway: the file is the old or the new; and nothing of
/// another program that does so at the same moment.
pub fn reshelve(places: &Places, gone: &[Shelved], come: &[Shelved]) -> Result<(), PlaceError> {
    if come.is_empty() && !file(places).exists() {
        return Ok(());
    }
    places::folder(&places.data)?;
    let _turn = places::lock_folder(&places.data)?;
    let before = shelf(places)?;
    let mut after = before.clone();
    after.rules.retain(|rule| !gone.contains(rule));
    for rule in come {
        if !after.rules.contains(rule) {
            after.rules.push(rule.clone());
        }
    }
    if after == before {
        return Ok(());
    }
    let path = file(places);
    if after.rules.is_empty() {
        return fs::remove_file(&path).map_err(at("remove", &path));
    }
    places::replace_json(&path, &after)
}
