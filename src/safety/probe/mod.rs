//! Probes in the kernel: put there by a helper process that takes them away again, however we end.
//!
//! ```text
//! board ─▶ helper process:  insert ─▶ wait ─┬─ its time is over ──┐
//!   │  rope (its standard input) ───────────┼─ the rope ends ─────┼─▶ remove ─▶ gone
//!   │                                       └─ TERM ──────────────┘
//!   └─◀ words (its standard output): in, gone; where they end without "gone", the board removes it
//! ```
//!
//! A probe decides nothing, so it needs neither backup nor answer; it must only never stay. The kernel closes
//! the rope whatever ends the board, and closes the words whatever ends the helper: only when both are killed at
//! once a rule stays, and its tag says whose it was ([`leftovers`]).
//!
//! In and out it goes by `carry`: what others write meanwhile stays, and what is removed is the
//! rule with that tag, wherever it stands by then.

mod helper;

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::carry::{Strictness, carry, read};
use super::launch::{Launched, launch};
use super::request::ApplyError;
use crate::edit::probe::{self, Means, Site, Tag};
use crate::netfilter::drops::silence;
use crate::netfilter::xtables::Tools;
use crate::netfilter::xtables::restore::Held;
use crate::ruleset::{Origin, Ruleset};

pub use helper::probe_main;

/// First argument that makes the binary a probe's helper: call [`probe_main`].
pub const PROBE: &str = "__probe";
/// How long a probe stays.
pub const STAY: Duration = Duration::from_secs(60);
/// The NFLOG group that probes use where LOG does not speak.
pub const GROUP: u16 = 29_816;
/// A probe that is so much older than its time has nobody who would remove it.
const GRACE: u64 = 30;

/// What the helper is told, one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    /// As [`Origin`] prints itself.
    origin: String,
    site: Site,
    /// Milliseconds.
    stay: u64,
}

/// What the helper says, one line of JSON each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// It is in the kernel.
    In(Tag),
    /// It is not, and why.
    Failed(String),
    /// It was, and is removed.
    Gone,
    /// It was, and could not be removed: why.
    Stays(String),
}

/// A probe's helper. The probe goes when this is dropped, or dies with us.
#[derive(Debug)]
pub struct Rope {
    _input: ChildStdin,
}

/// The helper's words.
#[derive(Debug)]
pub struct Words {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Words {
    /// The next word; `None` when the helper is gone. Blocks.
    pub fn next_word(&mut self) -> Option<Word> {
        let mut line = Vec::new();
        let read = self.output.read_until(b'\n', &mut line).ok()?;
        serde_json::from_slice(line.get(..read)?).ok()
    }

    /// Clears the helper away. Blocks until it has ended.
    pub fn end(mut self) {
        let _ = self.child.wait();
    }
}

/// Starts a helper that puts a probe at `site` in the calling thread's network namespace.
pub fn start(origin: Origin, site: &Site, stay: Duration) -> io::Result<(Rope, Words)> {
    let Launched { mut child, .. } = launch(None, PROBE)?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let order = Order {
        origin: origin.to_string(),
        site: site.clone(),
        stay: u64::try_from(stay.as_millis()).unwrap_or(u64::MAX),
    };
    let mut line = serde_json::to_vec(&order)?;
    line.push(b'\n');
    let output = BufReader::new(output);
    input.write_all(&line)?;
    Ok((Rope { _input: input }, Words { child, output }))
}

/// Removes the probes of `origin` that `goes` names; how many. Blocks.
pub fn remove(
    tools: &Tools,
    origin: Origin,
    goes: impl Fn(&Tag) -> bool,
) -> Result<usize, ApplyError> {
    remove_under(tools, origin, None, goes)
}

/// The same under a lock that is held already.
fn remove_under(
    tools: &Tools,
    origin: Origin,
    held: Option<&Held>,
    goes: impl Fn(&Tag) -> bool,
) -> Result<usize, ApplyError> {
    let now = read(tools, origin)?;
    let Some(goal) = probe::without(&now, goes) else {
        return Ok(0);
    };
    carry(
        tools,
        origin,
        (&now, &goal),
        Strictness::Remark,
        held,
        &mut || {},
    )?;
    Ok(now.rule_count() - goal.rule_count())
}

/// The probes of a ruleset whose helper is not there to remove them.
pub fn leftovers(ruleset: &Ruleset) -> Vec<Tag> {
    let found = probe::probes(ruleset).into_iter().map(|(_, tag)| tag);
    found.filter(|tag| !is_kept(tag)).collect()
}

/// Somebody is there to remove it.
fn is_kept(tag: &Tag) -> bool {
    tag.deadline.saturating_add(GRACE) > now() && helper::lives(&tag.id)
}

/// Seconds since 1970.
fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}

/// The way that lines of a probe take in this network namespace. LOG speaks in the first one only, unless
/// `nf_log_all_netns` says otherwise, which can be seen from there alone: NFLOG speaks everywhere.
fn means() -> Means {
    match silence::look().first_namespace {
        Some(false) => Means::Group(GROUP),
        _ => Means::Kernel,
    }
}
