//! The ipsets that rules need: a rule that names a set cannot be loaded before the set is there.
//!
//! Only what is missing is made, with the members that the backup has; a set that is there stays as it is,
//! since whoever fills it knows better than a backup. A change that is undone takes the sets with it that it made,
//! unless somebody has come to use them: then they stay, which is said, and decide nothing by themselves.
//!
//! Text is that of `ipset save` (ipset(8)): `create NAME TYPE …`, then `add NAME MEMBER …`. Nothing in a set tells
//! who made it, so it is ours as long as it is of our type and holds nobody's members but ours.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::request::ApplyError;
use crate::netfilter::xtables::{XtablesError, beside};
use crate::ruleset::Ruleset;

/// The kernel lets go of a set some time after the rule is gone (nf_tables frees rules from a work queue).
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Between tries.
const PAUSE: Duration = Duration::from_millis(20);

/// Makes the sets of `saved` (`ipset save`) that rules of `ruleset` name and that are not there.
pub(super) fn make_missing(ruleset: &Arc<Ruleset>, saved: &[u8]) -> Result<(), XtablesError> {
    let there = beside::sets()?.into_text();
    let script = missing(&needed(std::slice::from_ref(ruleset), saved), &there);
    beside::restore_sets(&script, &AtomicBool::new(false))
}

/// The part of `saved` that is of sets that rules of these name.
pub(super) fn needed(rulesets: &[Arc<Ruleset>], saved: &[u8]) -> Vec<u8> {
    let mut wanted: Vec<Vec<u8>> = rulesets.iter().flat_map(|set| named(set)).collect();
    add_members(&mut wanted, saved);
    lines_of(saved, |set| wanted.iter().any(|name| name == set))
}

/// The part of `saved` that is of sets that are not in `there`.
pub(super) fn missing(saved: &[u8], there: &[u8]) -> Vec<u8> {
    let there: HashSet<&[u8]> = creates(there).collect();
    lines_of(saved, |set| !there.contains(set))
}

fn lines_of(saved: &[u8], goes: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let lines = saved.split_inclusive(|byte| *byte == b'\n');
    let lines = lines.filter(|line| set_of(line).is_some_and(&goes));
    lines.flatten().copied().collect()
}

/// Makes all these sets, or none.
pub(super) fn make(sets: &[u8]) -> Result<(), ApplyError> {
    let mut made: Vec<u8> = Vec::new();
    for name in creates(sets) {
        let lines = lines_of(sets, |set| set == name);
        let end = lines.iter().position(|byte| *byte == b'\n');
        let (create, members) = lines.split_at(end.map_or(lines.len(), |end| end + 1));
        let done = beside::amend_sets(create).and_then(|()| {
            made.extend_from_slice(&lines);
            beside::restore_sets(members, &AtomicBool::new(false))
        });
        if let Err(error) = done {
            let _ = take_away(&made);
            let there = beside::sets().map(beside::Found::into_text);
            // Ours are gone: it is another's.
            if creates(&there.unwrap_or_default()).any(|set| set == name) {
                return Err(ApplyError::Changed {
                    origin: "ipset".to_owned(),
                    what: format!("{} is there by now", String::from_utf8_lossy(name)),
                });
            }
            return Err(ApplyError::Tool {
                what: error.to_string(),
                remedy: error.remedy().to_owned(),
                privilege: matches!(error, XtablesError::Permission { .. }),
            });
        }
    }
    Ok(())
}

/// Removes those of these sets that are there and that nobody else uses; what stays, in words.
pub(super) fn take_away(sets: &[u8]) -> Vec<String> {
    let begun = Instant::now();
    let mut names: Vec<&[u8]> = creates(sets).collect();
    names.reverse(); // a set of sets before its members
    let mut remarks = Vec::new();
    for name in names {
        let words = String::from_utf8_lossy(name);
        loop {
            let there = match beside::sets() {
                Ok(there) => there.into_text(),
                Err(error) => {
                    remarks.push(format!("the ipset {words} may still be there: {error}"));
                    break;
                }
            };
            if !creates(&there).any(|set| set == name) {
                break;
            }
            if !is_as_made(name, sets, &there) {
                remarks.push(format!(
                    "the ipset {words} stays: others have changed it meanwhile"
                ));
                break;
            }
            let destroy = [b"destroy ", name, b"\n"].concat();
            match beside::amend_sets(&destroy) {
                Ok(()) => break,
                Err(error) if begun.elapsed() > PATIENCE => {
                    remarks.push(format!("the ipset {words} stays: {error}"));
                    break;
                }
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }
    remarks
}

/// The set is of the type that it was made with, and holds what it was made with; less only where members may
/// have run out.
fn is_as_made(name: &[u8], made: &[u8], there: &[u8]) -> bool {
    let (made, there) = (Set::find(name, made), Set::find(name, there));
    let runs_out = made.options.contains(&&b"timeout"[..]);
    made.options.first() == there.options.first()
        && there.members.is_subset(&made.members)
        && (runs_out || there.members.len() == made.members.len())
}

/// One set of a text.
#[derive(Default)]
struct Set<'a> {
    /// Its type, and the words after it.
    options: Vec<&'a [u8]>,
    /// Without their options: timeouts and counters move.
    members: HashSet<&'a [u8]>,
}

impl<'a> Set<'a> {
    fn find(name: &[u8], saved: &'a [u8]) -> Self {
        let mut found = Self::default();
        let lines = saved.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| set_of(line) == Some(name)) {
            let mut words = line.trim_ascii_end().split(|byte| *byte == b' ');
            if words.next() == Some(b"create") {
                found.options = words.skip(1).collect();
            } else {
                found.members.extend(words.nth(1));
            }
        }
        found
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const MADE: &[u8] = b"create a hash:ip family inet\nadd a 192.0.2.1\nadd a 192.0.2.2\n\
        create ab hash:ip family inet timeout 60\nadd ab 192.0.2.9 timeout 55\n";

    #[test]
    fn a_set_is_ours_until_somebody_else_is_in_it() {
        let same = |name: &str, there: &str| is_as_made(name.as_bytes(), MADE, there.as_bytes());
        assert!(same(
            "a",
            "create a hash:ip initval 0x1\nadd a 192.0.2.2\nadd a 192.0.2.1\nadd ab 10.0.0.1\n"
        ));
        assert!(
            !same("a", "create a hash:ip\nadd a 192.0.2.1\n"),
            "one taken out"
        );
        assert!(!same(
            "a",
            "create a hash:ip\nadd a 192.0.2.1\nadd a 192.0.2.2\nadd a 192.0.2.3\n"
        ));
        assert!(!same(
            "a",
            "create a hash:net\nadd a 192.0.2.1\nadd a 192.0.2.2\n"
        ));
        assert!(!same("a", ""));
        assert!(same("ab", "create ab hash:ip timeout 60\n"), "run out");
        assert!(same(
            "ab",
            "create ab hash:ip timeout 60\nadd ab 192.0.2.9 timeout 3\n"
        ));
        assert!(!same(
            "ab",
            "create ab hash:ip timeout 60\nadd ab 192.0.2.8 timeout 60\n"
        ));
    }

    #[test]
    fn what_is_missing_is_whole_sets() {
        assert_eq!(missing(MADE, b"create ab hash:ip\n"), &MADE[..61]);
        assert_eq!(missing(MADE, b""), MADE);
        assert_eq!(missing(b"garbage\nadd\ncreate\n\n", b""), b"");
        assert_eq!(creates(b"create\ncreate \n").count(), 0);
    }
}
