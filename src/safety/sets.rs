//! The ipsets that rules need: a rule that names a set cannot be loaded before the set is there.
//!
//! Only what is missing is made, with the members that the backup has; a set that is there stays as it is,
//! since whoever fills it knows better than a backup.

use std::sync::atomic::AtomicBool;

use crate::netfilter::xtables::{XtablesError, beside};
use crate::ruleset::Ruleset;

/// Makes the sets of `saved` (`ipset save`) that rules of `ruleset` name and that are not there.
pub(super) fn make_missing(ruleset: &Ruleset, saved: &[u8]) -> Result<(), XtablesError> {
    let there = beside::sets()?.into_text();
    let mut wanted = named(ruleset);
    add_members(&mut wanted, saved);
    wanted.retain(|name| !creates(&there).any(|set| set == name.as_slice()));
    let script: Vec<u8> = saved
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| set_of(line).is_some_and(|set| wanted.iter().any(|name| name == set)))
        .flatten()
        .copied()
        .collect();
    beside::restore_sets(&script, &AtomicBool::new(false))
}

/// Sets that rules of `ruleset` name and that are not there, nor in `saved`.
pub(super) fn unknown(ruleset: &Ruleset, saved: &[u8]) -> Result<Vec<String>, XtablesError> {
    let there = beside::sets()?.into_text();
    let mut wanted = named(ruleset);
    wanted.retain(|name| {
        !creates(&there)
            .chain(creates(saved))
            .any(|set| set == name.as_slice())
    });
    Ok(wanted
        .iter()
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect())
}

/// The names after `--match-set`, `--add-set`, `--del-set` and `--map-set`.
fn named(ruleset: &Ruleset) -> Vec<Vec<u8>> {
    const OPTIONS: [&[u8]; 4] = [b"--match-set", b"--add-set", b"--del-set", b"--map-set"];
    let mut names: Vec<Vec<u8>> = Vec::new();
    for rule in ruleset.rules() {
        let mut words = ruleset.spec(rule).split(|byte| *byte == b' ');
        while let Some(word) = words.next() {
            if OPTIONS.contains(&word) {
                names.extend(words.next().map(unquoted));
            }
        }
    }
    names.sort();
    names.dedup();
    names
}

fn unquoted(word: &[u8]) -> Vec<u8> {
    let inner = word
        .strip_prefix(b"\"")
        .and_then(|word| word.strip_suffix(b"\""));
    inner.unwrap_or(word).to_vec()
}

/// A set of sets needs its members first: `ipset save` puts them first, so they only have to be wanted too.
fn add_members(wanted: &mut Vec<Vec<u8>>, saved: &[u8]) {
    let lists: Vec<&[u8]> = saved
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let mut words = line.split(|byte| *byte == b' ');
            let name = (words.next() == Some(b"create")).then(|| words.next())??;
            (words.next() == Some(b"list:set")).then_some(name)
        })
        .collect();
    let mut members = Vec::new();
    for line in saved.split(|byte| *byte == b'\n') {
        let mut words = line.split(|byte| *byte == b' ');
        if words.next() != Some(b"add") {
            continue;
        }
        if let (Some(set), Some(member)) = (words.next(), words.next())
            && lists.contains(&set)
            && wanted.iter().any(|name| name == set)
        {
            members.push(member.to_vec());
        }
    }
    wanted.extend(members);
}

/// The set that a line of `ipset save` is about.
fn set_of(line: &[u8]) -> Option<&[u8]> {
    let mut words = line.trim_ascii_end().split(|byte| *byte == b' ');
    matches!(words.next(), Some(b"create" | b"add")).then(|| words.next())?
}

fn creates(saved: &[u8]) -> impl Iterator<Item = &[u8]> {
    saved
        .split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b"create "))
        .filter_map(set_of)
}
