//! A scratch network namespace: rules are tried where they decide about nothing.
//!
//! `--test` is no test: nft's variant asks the kernel nothing, and legacy asks only when it commits. A load
//! into a namespace of its own is the whole truth: the back end's parser, the kernel's checks, and the text
//! as the save tool will print it. The namespace belongs to one thread and goes with it.
//!
//! What it lacks is what a namespace has for itself: ipsets (their headers can be brought along,
//! [`Scratch::make_sets`]), nfacct objects, conntrack time-out policies. A ruleset that does not load for
//! such a reason is for the caller to tell apart.

use std::io;
use std::sync::atomic::AtomicBool;
use std::thread;

use nix::sched::{CloneFlags, unshare};

use super::restore::{Mode, PrivateLock, RestoreError, run};
use super::{Limits, XtablesError, beside, save, tools::Tools};
use crate::ruleset::{Origin, Ruleset};

/// A new rule: where it is to stand and what it says, without `-A CHAIN`.
#[derive(Clone, Copy, Debug)]
pub struct NewRule<'a> {
    /// The chain, as the kernel has its name.
    pub chain: &'a [u8],
    /// The specification.
    pub spec: &'a [u8],
}

/// The namespace, to those who work in it.
#[derive(Debug)]
pub struct Scratch<'a> {
    tools: &'a Tools,
    lock: PrivateLock,
}

/// Does `work` in a fresh network namespace, on a thread of its own.
pub fn in_scratch<T: Send>(
    tools: &Tools,
    work: impl FnOnce(&Scratch<'_>) -> T + Send,
) -> Result<T, RestoreError> {
    let inside = || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
        let lock = PrivateLock::new()?;
        Ok(work(&Scratch { tools, lock }))
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("scratch".to_owned())
            .spawn_scoped(scope, inside)?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread in it ended early")))
    })
    .map_err(RestoreError::Scratch)
}

impl Scratch<'_> {
    /// Runs a script.
    pub fn restore(&self, origin: Origin, script: &[u8], mode: Mode) -> Result<(), RestoreError> {
        run(self.tools, origin, script, mode, Some(&self.lock))
    }

    /// What the namespace holds.
    pub fn save(&self, origin: Origin) -> Result<Vec<u8>, XtablesError> {
        Ok(save(self.tools, origin, Limits::default())?.bytes)
    }

    /// Makes the ipsets of `saved` (`ipset save`), without their members.
    pub fn make_sets(&self, saved: &[u8]) -> Result<(), XtablesError> {
        let headers: Vec<u8> = saved
            .split_inclusive(|byte| *byte == b'\n')
            .filter(|line| line.starts_with(b"create "))
            .flatten()
            .copied()
            .collect();
        beside::restore_sets(&headers, &AtomicBool::new(false))
    }
}

/// One rule in the back end's own words, which may be several rules; or its refusal.
pub type Canonical = Result<Vec<Vec<u8>>, RestoreError>;

/// The rules as the save tool will print them: `--dport 22` becomes `-m tcp --dport 22`, a list of addresses
/// several rules. One answer a rule, in order; an `Err` is the back end's refusal of that rule alone.
///
/// `chains` are the user chains that rules may jump to. `sets` is `ipset save` of the real namespace, for
/// rules that match on one.
pub fn canonical(
    tools: &Tools,
    origin: Origin,
    table: &str,
    chains: &[&[u8]],
    sets: &[u8],
    rules: &[NewRule<'_>],
) -> Result<Vec<Canonical>, RestoreError> {
    in_scratch(tools, |scratch| {
        // Without the sets only the rules that name one fail, and say so.
        let _ = scratch.make_sets(sets);
        rules
            .iter()
            .map(|rule| one(scratch, origin, table, chains, rule))
            .collect()
    })
}

fn one(
    scratch: &Scratch<'_>,
    origin: Origin,
    table: &str,
    chains: &[&[u8]],
    rule: &NewRule<'_>,
) -> Canonical {
    let refused = |words: &str| RestoreError::Refused {
        tool: format!("{origin}-restore"),
        line: None,
        words: words.to_owned(),
    };
    // A script is lines, so a line end within a rule would be the end of it.
    if rule.spec.iter().any(|byte| matches!(byte, b'\n' | 0)) {
        return Err(refused("a rule is one line of text"));
    }
    let mut script = format!("*{table}\n").into_bytes();
    for chain in chains {
        line(&mut script, &[b":", chain, b" - [0:0]"]);
    }
    line(&mut script, &[b"-A ", rule.chain, b" ", rule.spec]);
    script.extend_from_slice(b"COMMIT\n");
    scratch.restore(origin, &script, Mode::Replace)?;
    let saved = Ruleset::parse(scratch.save(origin)?, origin)
        .map_err(|_| refused("what the save tool then printed is no dump"))?;
    let table = saved.find_table(table);
    let chain = table.and_then(|table| saved.chain_named(table, rule.chain));
    let rules = chain.map_or(&[][..], |chain| saved.chain(chain).rules());
    Ok(rules
        .iter()
        .map(|rule| saved.normal_spec(*rule).into_owned())
        .collect())
}

fn line(script: &mut Vec<u8>, parts: &[&[u8]]) {
    script.extend(parts.iter().copied().flatten());
    script.push(b'\n');
}
