//! Counters of nf_tables, by one `NFT_MSG_GETRULE` dump for each chain.
//!
//! Per chain, because a dump of a whole table is quadratic in the kernel: each resumed message walks the
//! rules from the start (net/netfilter/nf_tables_api.c, `__nf_tables_dump_rules`). It also makes the
//! chain the unit of reading, so the one in view costs the same whatever the rest holds.
//!
//! Of an answer only three things are read, in place: the generation that every message carries in its
//! header (16 bits of it), each rule's handle, and its counter. Numbers are taken when the generation is
//! the trusted one *and* every handle stands where it stood when the door was attached. Neither would do
//! alone: a set that gains an element raises the generation, and a replaced rule keeps its handle.

use std::sync::Arc;

use netlink_packet_core::NLM_F_REQUEST;

use super::{Attached, CounterDoor, CounterError, Handles, Look, Looked, Mark, Uncounted, replace};
use crate::netfilter::netlink::{Dump, Message, Netlink, Request, attributes, be64};
use crate::netfilter::nftables::inspect::{ChainSeen, Inspection, RuleSeen, inspect};
use crate::netfilter::nftables::{
    self, chain, counter_of, counters_in, generation_mark, msg, rule,
};
use crate::ruleset::{ChainIdx, CounterSet, Counters, Family, Ruleset};

/// The nf_tables counters of one family.
#[derive(Debug)]
pub struct NftDoor {
    family: Family,
    netlink: Netlink,
    request: Request,
    scratch: Vec<Counters>,
    /// Chains that were jumped to since somebody asked.
    entered: Vec<ChainIdx>,
    attached: Option<Structure>,
}

#[derive(Debug)]
struct Structure {
    ruleset: Arc<Ruleset>,
    handles: Arc<Handles>,
    generation: u32,
    /// Parallel to the ruleset's chains: text and kernel have the same number of rules.
    fits: Vec<bool>,
    /// Parallel to the ruleset's chains: the chain has a policy counter.
    policy_counted: Vec<bool>,
    /// Parallel to the ruleset's rules.
    jumps: Vec<Jump>,
    /// Every way into a chain is one of `jumps`.
    jumps_are_known: bool,
}

/// Where a rule leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Jump {
    None,
    /// Its counter tells when somebody went there.
    Counted(ChainIdx),
    /// Nothing tells.
    Unseen(ChainIdx),
}

impl NftDoor {
    /// Opens the door in the calling thread's network namespace. That nf_tables answers (privilege, kernel
    /// support) shows at the first question.
    pub fn open(family: Family) -> Result<Self, CounterError> {
        Ok(Self {
            family,
            netlink: Netlink::open()?,
            request: Request::default(),
            scratch: Vec::new(),
            entered: Vec::new(),
            attached: None,
        })
    }

    /// Binds the door to a structure that was matched with `inspection`.
    pub fn attach_inspected(
        &mut self,
        ruleset: &Arc<Ruleset>,
        inspection: &Inspection,
    ) -> Attached {
        let (structure, attached) = Structure::new(ruleset, inspection);
        self.attached = Some(structure);
        attached
    }

    /// Reads the rules of a chain into `scratch`.
    fn read_rules(&mut self, index: ChainIdx) -> Result<Look, CounterError> {
        let Some(known) = &self.attached else {
            return Ok(Look::OutOfStep);
        };
        let (table, chain) = known.names(index);
        let rules = known.ruleset.chain(index).rules();
        let handles = &known.handles.rules;
        let trusted = generation_mark(known.generation);
        self.scratch.clear();
        let mut look = Look::Same;
        let family = nftables::nfproto(self.family);
        let request = nftables::rules_of(&mut self.request, family, table, chain);
        let scratch = &mut self.scratch;
        let dump = self
            .netlink
            .ask("for a chain's rules", request, |message| {
                if message.kind != msg::NEWRULE {
                    return;
                }
                if message.res_id != trusted {
                    look = Look::OtherGeneration;
                }
                let (handle, read) = handle_and_counter(&message);
                let expected = rules.get(scratch.len());
                let expected = expected.and_then(|rule| handles.get(rule.0 as usize));
                if expected != Some(&handle) && look == Look::Same {
                    look = Look::OutOfStep;
                }
                scratch.push(read);
            })?;
        if dump == Dump::Interrupted {
            // The generation rose on the way, so another try would find the same; a long one for long.
            return Ok(Look::OtherGeneration);
        }
        if self.scratch.len() != rules.len() && look == Look::Same {
            look = Look::OutOfStep;
        }
        Ok(look)
    }

    /// The policy counters of a chain; `None` when it has none, or is not there.
    fn read_policy(&mut self, index: ChainIdx) -> Result<Option<Counters>, CounterError> {
        let Some(known) = &self.attached else {
            return Ok(None);
        };
        let (table, name) = known.names(index);
        self.request
            .start(msg::GETCHAIN, NLM_F_REQUEST, nftables::nfproto(self.family))
            .string(chain::TABLE, table)
            .string(chain::NAME, name);
        let mut found = None;
        let asked = self
            .netlink
            .ask("for a chain", &mut self.request, |message| {
                found = attributes(message.attributes)
                    .find(|(kind, _)| *kind == chain::COUNTERS)
                    .map(|(_, value)| counters_in(value));
            });
        match asked {
            Ok(_) => Ok(found),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn look(&mut self, chain: ChainIdx, counters: &mut CounterSet) -> Result<Look, CounterError> {
        let place = chain.0 as usize;
        let Some(known) = &self.attached else {
            return Ok(Look::OutOfStep);
        };
        if known.fits.get(place) != Some(&true) {
            return Ok(Look::OutOfStep);
        }
        let policy_counted = known.policy_counted.get(place) == Some(&true);
        let empty = known.ruleset.chain(chain).rules().is_empty();
        if !empty {
            let look = self.read_rules(chain)?;
            if look != Look::Same {
                return Ok(look);
            }
        }
        let mut changed = self.take(chain, counters);
        if policy_counted && let Some(read) = self.read_policy(chain)? {
            changed |= replace(counters.policies.get_mut(place), read);
        }
        Ok(if changed { Look::Changed } else { Look::Same })
    }

    /// Takes the numbers in `scratch` as those of `chain`; true when one is news.
    fn take(&mut self, chain: ChainIdx, counters: &mut CounterSet) -> bool {
        let Some(known) = &self.attached else {
            return false;
        };
        let mut changed = false;
        for (rule, read) in known.ruleset.chain(chain).rules().iter().zip(&self.scratch) {
            let place = rule.0 as usize;
            let news = replace(counters.rules.get_mut(place), *read);
            changed |= news;
            match known.jumps.get(place).filter(|_| known.jumps_are_known) {
                Some(Jump::Counted(target)) if news => self.entered.push(*target),
                Some(Jump::Unseen(target)) => self.entered.push(*target),
                _ => {}
            }
        }
        changed
    }
}

impl CounterDoor for NftDoor {
    fn mark(&mut self) -> Result<Mark, CounterError> {
        let generation = nftables::generation(&mut self.netlink, &mut self.request)?;
        Ok(Mark(u64::from(generation)))
    }

    fn attach(&mut self, ruleset: &Arc<Ruleset>) -> Result<Attached, CounterError> {
        let inspection = inspect(&mut self.netlink, self.family)?;
        Ok(self.attach_inspected(ruleset, &inspection))
    }

    fn read(
        &mut self,
        chain: ChainIdx,
        counters: &mut CounterSet,
        looked: &mut Vec<Looked>,
    ) -> Result<(), CounterError> {
        let look = self.look(chain, counters)?;
        looked.push(Looked { chain, look });
        Ok(())
    }

    fn can_follow(&self) -> bool {
        self.attached
            .as_ref()
            .is_some_and(|known| known.jumps_are_known)
    }

    fn follow(&mut self, entered: &mut Vec<ChainIdx>) {
        entered.append(&mut self.entered);
    }

    fn trust(&mut self, generation: u32) {
        if let Some(attached) = &mut self.attached {
            attached.generation = generation;
        }
    }
}

impl Structure {
    fn new(ruleset: &Arc<Ruleset>, inspection: &Inspection) -> (Self, Attached) {
        let mut handles = Handles {
            tables: Vec::with_capacity(ruleset.tables().len()),
            rules: vec![0; ruleset.rule_count()],
        };
        for table in ruleset.tables() {
            let name = table.name().as_bytes();
            handles.tables.push(inspection.table_handle(name));
        }
        let mut match_up = MatchUp {
            inspection,
            chains: vec![None; inspection.chain_count()],
            seen: Vec::with_capacity(ruleset.chains().len()),
        };
        match_up.find_chains(ruleset);

        let mut uncounted = Uncounted::default();
        let mut lossy = Vec::new();
        let mut misfits = Vec::new();
        let mut jumps = vec![Jump::None; ruleset.rule_count()];
        let mut fits = vec![false; ruleset.chains().len()];
        let mut policy_counted = vec![false; ruleset.chains().len()];
        for (place, chain) in ruleset.chains().iter().enumerate() {
            let index = chain_idx(place);
            let found = match_up.seen.get(place).copied().unwrap_or_default();
            let rules = inspection.rules(&found);
            if rules.len() != chain.rules().len() {
                misfits.push(index);
                continue;
            }
            fits[place] = true;
            policy_counted[place] = found.policy_counted;
            if chain.is_builtin() && !found.policy_counted {
                uncounted.policies.push(index);
            }
            for (rule, seen) in chain.rules().iter().zip(rules) {
                let at = rule.0 as usize;
                if let (Some(handle), Some(jump)) = (handles.rules.get_mut(at), jumps.get_mut(at)) {
                    *handle = seen.handle;
                    *jump = match_up.jump(*seen);
                }
                if !seen.counted {
                    uncounted.rules.push(*rule);
                }
            }
            lossy.extend(inspection.marks(&found, index));
        }
        uncounted.rules.sort_unstable();
        let handles = Arc::new(handles);
        let structure = Self {
            ruleset: Arc::clone(ruleset),
            handles: Arc::clone(&handles),
            generation: inspection.generation,
            fits,
            policy_counted,
            jumps,
            jumps_are_known: misfits.is_empty() && !inspection.has_maps,
        };
        let attached = Attached {
            mark: Mark(u64::from(inspection.generation)),
            handles: Some(handles),
            uncounted,
            lossy,
            misfits,
        };
        (structure, attached)
    }

    fn names(&self, index: ChainIdx) -> (&[u8], &[u8]) {
        let chain = self.ruleset.chain(index);
        let table = self.ruleset.table(chain.table());
        (table.name().as_bytes(), chain.name_bytes())
    }
}

/// Chains of the text and of the kernel, by each other.
struct MatchUp<'a> {
    inspection: &'a Inspection,
    /// By the inspection's numbers.
    chains: Vec<Option<ChainIdx>>,
    /// By the ruleset's; an empty chain where the kernel has none.
    seen: Vec<ChainSeen>,
}

impl MatchUp<'_> {
    fn find_chains(&mut self, ruleset: &Ruleset) {
        for (place, chain) in ruleset.chains().iter().enumerate() {
            let table = ruleset.table(chain.table()).name().as_bytes();
            let number = self.inspection.find(table, chain.name_bytes());
            let seen = number.map(|number| self.inspection.chain(number));
            self.seen.push(seen.unwrap_or_default());
            if let Some(known) = number.and_then(|number| self.chains.get_mut(number.index())) {
                *known = Some(chain_idx(place));
            }
        }
    }

    fn jump(&self, rule: RuleSeen) -> Jump {
        let target = rule
            .target
            .and_then(|number| self.chains.get(number.index()).copied().flatten());
        match target {
            Some(target) if rule.counted => Jump::Counted(target),
            Some(target) => Jump::Unseen(target),
            None => Jump::None,
        }
    }
}

fn chain_idx(place: usize) -> ChainIdx {
    ChainIdx(u32::try_from(place).unwrap_or(u32::MAX))
}

/// The handle of a rule and its counter; zero where it has none.
fn handle_and_counter(message: &Message<'_>) -> (u64, Counters) {
    let mut handle = 0;
    let mut found = Counters::default();
    for (kind, value) in attributes(message.attributes) {
        match kind {
            rule::HANDLE => handle = be64(value).unwrap_or_default(),
            rule::EXPRESSIONS => {
                found = counter_of(value).unwrap_or_default();
                break; // what follows (user data) is not asked for
            }
            _ => {}
        }
    }
    (handle, found)
}
