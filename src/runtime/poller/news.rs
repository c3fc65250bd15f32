//! How the poller's thread learns that there is something new: change events of nf_tables, the list of
//! legacy tables, foreign base chains.

use std::time::{Duration, Instant};

use super::PollEvent;
use super::budget::thread_cpu;
use super::slot::Phase;
use super::thread::PollerThread;
use crate::netfilter::events::{Changes, Listener};
use crate::netfilter::native;
use crate::netfilter::netlink::{Netlink, Request};
use crate::netfilter::nftables;
use crate::netfilter::xtables::presence::{legacy_tables, nf_tables_is_loaded};
use crate::ruleset::{Backend, BaseChain, Family, Origin};

/// After events were taken, the next ones wait this long: a writer in a loop wakes us fifty times a
/// second and not ten thousand times.
const EVENT_PAUSE: Duration = Duration::from_millis(20);
/// How often it is looked whether nf_tables has been loaded into the kernel.
const LOOK_FOR_NFT: Duration = Duration::from_secs(5);

impl PollerThread {
    /// Takes what changed, if it is time to.
    pub(super) fn take_events(&mut self) {
        let now = Instant::now();
        self.open_listener(now);
        if now < self.listen_from {
            return;
        }
        let before = thread_cpu();
        if let Some(changes) = self.drain() {
            self.changed(&changes, now);
            self.listen_from = now + EVENT_PAUSE;
        }
        self.purse.charge(thread_cpu().saturating_sub(before));
    }

    /// Everything that has arrived; `None` when nothing has.
    pub(super) fn drain(&mut self) -> Option<Changes> {
        match self.listener.as_mut()?.drain() {
            Ok(changes) => Some(changes).filter(|changes| !changes.is_empty()),
            Err(_) => {
                // A socket that cannot be read is closed and opened again; what it would have said is lost.
                self.listener = None;
                self.look_for_nft_at = Instant::now();
                None
            }
        }
    }

    /// Listens as soon as there is something to listen to; asking earlier would load nf_tables.
    pub(super) fn open_listener(&mut self, now: Instant) {
        if self.listener.is_some() || now < self.look_for_nft_at {
            return;
        }
        self.look_for_nft_at = now + LOOK_FOR_NFT;
        if !nf_tables_is_loaded() {
            return;
        }
        if let Ok(listener) = Listener::open() {
            self.listener = Some(listener);
            self.generation = current_generation().unwrap_or_default();
            self.native_at.get_or_insert(now);
            for slot in &mut self.slots {
                if slot.origin.backend == Backend::Nft && !slot.loading {
                    slot.schedule(now);
                }
            }
        }
    }

    pub(super) fn changed(&mut self, changes: &Changes, now: Instant) {
        self.strange_ticks = 0;
        let told = changes.author.as_ref().map(|author| author.generation);
        if let Some(generation) = told.filter(|_| !changes.missed).or_else(current_generation) {
            self.generation = generation;
        }
        for slot in &mut self.slots {
            if slot.origin.backend == Backend::Nft {
                let touch = changes.touch(slot.origin.family);
                let author = changes.author.as_ref();
                slot.changed(touch, self.generation, author, changes.missed, now);
            }
        }
        if changes.native {
            self.native_at.get_or_insert(now + EVENT_PAUSE);
        }
    }

    /// An answer carried a generation that no event has told of. Mostly the event is on its way; when it
    /// does not come, what changed is not known.
    pub(super) fn strange_generation(&mut self, now: Instant) {
        if let Some(changes) = self.drain() {
            self.changed(&changes, now);
            return;
        }
        if self.strange_at.replace(self.tick_at) == Some(self.tick_at) {
            return; // several chains of one tick are one sign
        }
        self.strange_ticks += 1;
        if self.strange_ticks > 1 {
            self.changed(&Changes::unknown(), now);
        }
    }

    /// Legacy tables come without an event.
    pub(super) fn look_for_legacy(&mut self, now: Instant) {
        for family in [Family::V4, Family::V6] {
            let slot = &mut self.slots[Origin::new(family, Backend::Legacy).index()];
            let Ok(names) = legacy_tables(family) else {
                continue;
            };
            let news = match &slot.phase {
                Phase::Gone => !names.is_empty(),
                Phase::Live(live) => {
                    let tables = live.ruleset.tables();
                    names.len() != tables.len()
                        || !tables
                            .iter()
                            .all(|table| names.iter().any(|n| n == table.name()))
                }
                Phase::Unknown | Phase::Failed(_) => false,
            };
            if news {
                slot.schedule(now);
            }
        }
    }

    /// Lists foreign base chains, and tells of them when they are others than before.
    pub(super) fn look_at_native(&mut self) {
        let now = Instant::now();
        if self.native_at.is_none_or(|at| now < at) {
            return;
        }
        self.native_at = None;
        if self.listener.is_none() {
            return; // nf_tables is not there
        }
        let before = thread_cpu();
        let listed = Netlink::open().and_then(|mut netlink| native::base_chains(&mut netlink));
        self.purse.charge(thread_cpu().saturating_sub(before));
        let Ok(mut chains) = listed else { return };
        chains.retain(|chain| !self.is_shown(chain));
        if self.native_told.as_ref() != Some(&chains) {
            self.native_told = Some(chains.clone());
            self.tell(PollEvent::Native(chains));
        }
    }

    /// Whether a chain is in a ruleset that was loaded.
    pub(super) fn is_shown(&mut self, chain: &BaseChain) -> bool {
        if !native::is_shown_by_iptables(chain) {
            return false;
        }
        let Some(family) = native::iptables_family(chain.family) else {
            return false;
        };
        let slot = &mut self.slots[Origin::new(family, Backend::Nft).index()];
        match &slot.phase {
            Phase::Live(live) => live
                .ruleset
                .find_chain(&chain.table, &chain.chain)
                .is_some(),
            Phase::Unknown => true, // it soon will be
            Phase::Gone | Phase::Failed(_) => false,
        }
    }
}

fn current_generation() -> Option<u32> {
    let mut netlink = Netlink::open().ok()?;
    nftables::generation(&mut netlink, &mut Request::default()).ok()
}
