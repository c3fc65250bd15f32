//! Reads the structure of one origin and binds a counter door to it. Runs on a thread of its own.
//!
//! Text and kernel are matched only when nothing changed between looking at the kernel before the save
//! tool ran and looking at it afterwards. For nft the second look runs beside the tool; what changed
//! meanwhile is taken from the kernel's own events, so that a busy set of another table does not spoil a
//! long reading.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::{Loaded, Source, Stage};
use crate::netfilter::counters::legacy::LegacyDoor;
use crate::netfilter::counters::nft::NftDoor;
use crate::netfilter::counters::save::SaveDoor;
use crate::netfilter::counters::{Attached, CounterDoor, CounterError, Mark, Uncounted};
use crate::netfilter::events::{Listener, Touch};
use crate::netfilter::netlink::Netlink;
use crate::netfilter::nftables::inspect::inspect;
use crate::netfilter::xtables::{self, Limits, Presence, Saved, Tools, XtablesError};
use crate::ruleset::{Backend, ChainIdx, Origin, Ruleset};

/// A ruleset that changes while it is read is read again, this often in a row.
const TRIES: u32 = 3;

/// What a load came to.
pub(super) enum Outcome {
    /// A structure, and the door to its numbers.
    Loaded {
        loaded: Box<Loaded>,
        door: Option<Box<dyn CounterDoor>>,
        /// nft: the generation that was matched; 0 when none was.
        generation: u32,
        /// Chains that the door cannot read, for good.
        misfits: Vec<ChainIdx>,
    },
    /// Nothing there.
    Gone,
    /// Error and remedy.
    Failed(String, String),
    /// This program is ending.
    Stopped,
}

/// What a load needs.
pub(super) struct Loader<'a> {
    pub(super) origin: Origin,
    pub(super) started: Instant,
    pub(super) tools: &'a Arc<Tools>,
    pub(super) stop: &'a Arc<AtomicBool>,
    pub(super) progress: &'a dyn Fn(Stage),
    /// Takes a legacy structure as soon as it is read, before the kernel is looked at again.
    pub(super) early: &'a dyn Fn(Box<Loaded>),
}

enum Failure {
    Save(XtablesError),
    Unreadable(String),
}

/// One reading: text, and the door where it could be bound to it.
struct Round {
    ruleset: Arc<Ruleset>,
    saved_warnings: Vec<xtables::Warning>,
    bound: Option<Bound>,
    settled: bool,
}

struct Bound {
    door: Box<dyn CounterDoor>,
    attached: Attached,
    source: Source,
}

impl Loader<'_> {
    /// Reads the origin.
    pub(super) fn load(&self) -> Outcome {
        (self.progress)(Stage::Looking);
        match Presence::of(self.origin) {
            Presence::Tables(_) => {}
            Presence::Nothing => return Outcome::Gone,
            Presence::Unknown(error) => {
                return Outcome::Failed(error.to_string(), error.remedy().to_owned());
            }
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match self.round() {
                Ok(round) if round.settled || tries == TRIES => {
                    return self.outcome(round);
                }
                Ok(_) => {}
                Err(Failure::Save(XtablesError::Stopped { .. })) => return Outcome::Stopped,
                Err(Failure::Save(error)) => {
                    return Outcome::Failed(error.to_string(), error.remedy().to_owned());
                }
                Err(Failure::Unreadable(detail)) => {
                    let error =
                        format!("what {}-save printed cannot be read: {detail}", self.origin);
                    let remedy = "please report it with the dump (ruletop export)".to_owned();
                    return Outcome::Failed(error, remedy);
                }
            }
        }
    }

    fn round(&self) -> Result<Round, Failure> {
        match self.origin.backend {
            Backend::Nft => self.nft_round(),
            Backend::Legacy => self.legacy_round(),
        }
    }

    /// The kernel is looked at while the tool runs.
    fn nft_round(&self) -> Result<Round, Failure> {
        let family = self.origin.family;
        let listener = Listener::open();
        let mut door = NftDoor::open(family);
        let before = mark(&mut door);
        let (saved, seen) = std::thread::scope(|scope| {
            let seen = std::thread::Builder::new()
                .name("inspect".into())
                .spawn_scoped(scope, move || {
                    let mut netlink = Netlink::open()?;
                    inspect(&mut netlink, family)
                });
            let saved = self.save();
            let seen = seen.map_or_else(
                |source| {
                    let what = "the rules (no thread)";
                    Err(CounterError::Io { what, source })
                },
                |thread| {
                    thread
                        .join()
                        .unwrap_or(Err(CounterError::Unsettled { tries: 0 }))
                },
            );
            (saved, seen)
        });
        let (ruleset, saved_warnings) = self.parse(saved)?;
        (self.progress)(Stage::Matching);
        let untouched = listener
            .and_then(|mut listener| listener.drain())
            .is_ok_and(|changes| *changes.touch(family) == Touch::Nothing);
        let quiet = untouched || before.is_some_and(|before| mark(&mut door) == Some(before));
        let bound = match (seen, door) {
            (Ok(seen), Ok(mut door)) => {
                let attached = door.attach_inspected(&ruleset, &seen);
                Some(Bound {
                    door: Box::new(door),
                    attached,
                    source: Source::Kernel,
                })
            }
            (Err(CounterError::Unsettled { .. }), _) => None,
            (Err(_), _) | (_, Err(_)) => self.by_tool(&ruleset),
        };
        let settled = bound
            .as_ref()
            .is_some_and(|bound| quiet || bound.source == Source::Tool);
        Ok(Round {
            ruleset,
            saved_warnings,
            bound,
            settled,
        })
    }

    /// The kernel is looked at before and after: both looks wait for the same kernel lock as the tool.
    fn legacy_round(&self) -> Result<Round, Failure> {
        let door = LegacyDoor::open(self.origin.family).and_then(|mut door| {
            let mark = door.mark()?;
            Ok((door, mark))
        });
        let (ruleset, saved_warnings) = self.parse(self.save())?;
        if door.is_ok() {
            // Nothing that is told of it depends on the second look, which takes as long as the first.
            let mut loaded = self.told(&ruleset, &saved_warnings);
            loaded.source = Source::Kernel;
            (self.early)(loaded);
        }
        (self.progress)(Stage::Matching);
        let bound = door.and_then(|(mut door, before)| {
            let attached = door.attach(&ruleset)?;
            Ok((before, door, attached))
        });
        let (bound, settled) = match bound {
            Ok((before, door, attached)) => {
                let settled = attached.mark == before;
                let bound = Bound {
                    door: Box::new(door),
                    attached,
                    source: Source::Kernel,
                };
                (Some(bound), settled)
            }
            Err(CounterError::Unsettled { .. }) => (None, false),
            Err(_) => (self.by_tool(&ruleset), true),
        };
        Ok(Round {
            ruleset,
            saved_warnings,
            bound,
            settled,
        })
    }

    fn save(&self) -> Result<Saved, Failure> {
        (self.progress)(Stage::Saving);
        xtables::save_unless(self.stop, self.tools, self.origin, Limits::default())
            .map_err(Failure::Save)
    }

    fn parse(
        &self,
        saved: Result<Saved, Failure>,
    ) -> Result<(Arc<Ruleset>, Vec<xtables::Warning>), Failure> {
        let saved = saved?;
        let bytes = saved.bytes.len();
        (self.progress)(Stage::Parsing { bytes });
        let ruleset = Ruleset::parse(saved.bytes, self.origin)
            .map_err(|error| Failure::Unreadable(error.to_string()))?;
        Ok((Arc::new(ruleset), saved.warnings))
    }

    /// The fallback, when the kernel will not be asked directly.
    fn by_tool(&self, ruleset: &Arc<Ruleset>) -> Option<Bound> {
        let mut door = SaveDoor::new(
            Arc::clone(self.tools),
            self.origin,
            Limits::default(),
            Arc::clone(self.stop),
        );
        let attached = door.attach(ruleset).ok()?;
        Some(Bound {
            door: Box::new(door),
            attached,
            source: Source::Tool,
        })
    }

    /// What is told of a structure before anything is known of its door.
    fn told(&self, ruleset: &Arc<Ruleset>, warnings: &[xtables::Warning]) -> Box<Loaded> {
        Box::new(Loaded {
            origin: self.origin,
            ruleset: Arc::clone(ruleset),
            source: Source::DumpOnly,
            handles: None,
            lossy: Vec::new(),
            uncounted: Uncounted::default(),
            warnings: warnings.to_vec(),
            author: None,
            missed_changes: false,
            took: self.started.elapsed(),
        })
    }

    fn outcome(&self, round: Round) -> Outcome {
        let mut loaded = self.told(&round.ruleset, &round.saved_warnings);
        let Some(Bound {
            door,
            attached,
            source,
        }) = round.bound.filter(|_| round.settled)
        else {
            return Outcome::Loaded {
                loaded,
                door: None,
                generation: 0,
                misfits: Vec::new(),
            };
        };
        loaded.source = source;
        loaded.handles = attached.handles;
        loaded.lossy = attached.lossy;
        loaded.uncounted = attached.uncounted;
        Outcome::Loaded {
            loaded,
            door: Some(door),
            generation: attached.mark.generation(),
            misfits: attached.misfits,
        }
    }
}

/// The generation now, where it can be had.
fn mark(door: &mut Result<NftDoor, CounterError>) -> Option<Mark> {
    door.as_mut().ok()?.mark().ok()
}
