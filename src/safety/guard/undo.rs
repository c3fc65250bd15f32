//! The way back: the inverse change, and where that fails, everything as it was saved.
//!
//! The inverse is the change with its ends swapped, done to what the kernel holds now, so what others added
//! meanwhile stays. It is tried again until it succeeds: a lock that is held, a tool that is killed, a full
//! process table pass; a change that nobody confirmed must not stay because of them.

use std::process::ExitCode;
use std::time::Duration;

use super::Guard;
use crate::netfilter::netlink::{Netlink, Request};
use crate::netfilter::nftables;
use crate::netfilter::xtables::restore::{Held, Wait};
use crate::ruleset::{Backend, Policy, Ruleset, Table};
use crate::safety::aside::{Aside, unreadable};
use crate::safety::back;
use crate::safety::carry::{read, same};
use crate::safety::lossy;
use crate::safety::record::{Leg, Phase};
use crate::safety::sets;
use crate::safety::trail::Event;
use crate::safety::whole;

/// A holder of the xtables lock that takes longer hangs, and we go on without it.
const LOCK_PATIENCE: Duration = Duration::from_secs(20);
/// A tool of a dead guard that takes longer hangs.
const HANDS_PATIENCE: Duration = Duration::from_secs(30);
/// Between tries.
const PAUSE: Duration = Duration::from_secs(3);
/// Tries before it is left to a person; some ten minutes.
const TRIES: u32 = 200;

impl Guard {
    /// Undoes the change, clears up, and goes.
    pub(super) fn revert(mut self) -> ExitCode {
        match self.undo() {
            Ok(mut remarks) => {
                if remarks.is_empty() && !self.is_as_it_was() {
                    remarks.push("what others changed meanwhile stays".to_owned());
                }
                let detail = (!remarks.is_empty()).then(|| remarks.join("; "));
                self.reverted(detail)
            }
            Err(trouble) => {
                self.tell(Event::Failed, Some(trouble));
                if let Some(standby) = self.standby.take() {
                    standby.end();
                }
                ExitCode::FAILURE
            }
        }
    }

    /// Undoes every leg, the last one first; remarks, or why it cannot be done.
    pub(super) fn undo(&mut self) -> Result<Vec<String>, String> {
        self.record.phase = Phase::Reverting;
        let _ = self.save();
        let mut trouble = String::new();
        for turn in 0..TRIES {
            if turn > 0 {
                std::thread::sleep(PAUSE);
            }
            // Whatever makes a second try necessary may have killed a tool.
            self.shaken |= turn > 0;
            match self.try_undo(turn > 0) {
                Ok(mut remarks) => {
                    // No rule of ours names them any more.
                    remarks.extend(sets::take_away(&self.sets));
                    return Ok(remarks);
                }
                Err(why) if why != trouble => {
                    self.record.trouble = Some(why.clone());
                    let _ = self.save();
                    trouble = why;
                }
                Err(_) => {}
            }
        }
        Err(trouble)
    }

    fn try_undo(&self, inverse_failed: bool) -> Result<Vec<String>, String> {
        let hands = self.state.hands(HANDS_PATIENCE);
        let mut remarks = Vec::new();
        let taken = if self.held.is_none() && self.legs.iter().any(is_legacy) {
            let mut wait = Wait {
                limit: LOCK_PATIENCE,
                stop: &mut || false,
                told: &mut |_| {},
            };
            let taken = Held::take(&mut wait).or_else(|error| {
                remarks.push(format!("undone without the xtables lock: {error}"));
                Held::without()
            });
            Some(taken.map_err(|error| error.to_string())?)
        } else {
            None
        };
        let held = self.held.as_ref().or(taken.as_ref());
        let mut trouble = Vec::new();
        for leg in self.legs.iter().rev() {
            let inverse = if self.blind {
                Err("its texts were lost".to_owned())
            } else {
                self.undo_leg(leg, held, &mut remarks)
            };
            let done = inverse.or_else(|why| {
                if !inverse_failed && !self.blind {
                    return Err(why);
                }
                remarks.push(format!(
                    "no way back by the inverse ({why}): {} is restored as a whole",
                    leg.origin
                ));
                self.restore_leg(leg, held)
            });
            // A tool may have been killed at any of the steps, here or under a guard before us.
            if is_legacy(leg) && self.shaken && done.is_ok() {
                let healed = whole::heal_counters(&self.tools, leg, held);
                remarks.extend(healed.err().map(|why| format!("counters are lost: {why}")));
            }
            trouble.extend(done.err());
        }
        drop(hands);
        if trouble.is_empty() {
            Ok(remarks)
        } else {
            Err(trouble.join("; "))
        }
    }

    /// Every ruleset of the change holds what it held before it.
    fn is_as_it_was(&self) -> bool {
        let is_native = |leg: &Leg, now: &Ruleset| {
            // Its text may be that of a rule that was there before.
            let mut locked = lossy::chains(leg.origin, now).into_iter();
            locked.any(|chain| lossy::is_touched(&chain, &leg.before, &leg.after))
        };
        let mut legs = self.legs.iter();
        legs.all(|leg| {
            let now = read(&self.tools, leg.origin);
            now.is_ok_and(|now| same(&now, &leg.before) && !is_native(leg, &now))
        })
    }

    fn undo_leg(
        &self,
        leg: &Leg,
        held: Option<&Held>,
        remarks: &mut Vec<String>,
    ) -> Result<(), String> {
        let mut aside = Aside::left(&self.state, &self.record.id, leg);
        if let Some(why) = unreadable(&self.tools, leg)
            && let Err(also) = aside.take(leg)
        {
            return Err(format!("{why}; {also}"));
        }
        if !aside.is_empty() {
            remarks.push(
                "rules that only nft can say stood in the way; they were taken out and put back"
                    .to_owned(),
            );
        }
        let carried = self.carry_back(leg, held, remarks);
        remarks.extend(aside.put_back());
        carried
    }

    fn carry_back(
        &self,
        leg: &Leg,
        held: Option<&Held>,
        remarks: &mut Vec<String>,
    ) -> Result<(), String> {
        let state = (&self.state, self.record.id.as_str());
        let said =
            back::carry_back(&self.tools, state, leg, held).map_err(|error| error.to_string())?;
        remarks.extend(said);
        let made = leg.after.tables().iter().map(Table::name);
        self.remove_made_tables(leg, made);
        Ok(())
    }

    fn restore_leg(&self, leg: &Leg, held: Option<&Held>) -> Result<(), String> {
        whole::restore(&self.tools, &self.places, &self.record.backup, leg, held)?;
        if let Ok(now) = read(&self.tools, leg.origin) {
            self.remove_made_tables(leg, now.tables().iter().map(Table::name));
        }
        Ok(())
    }

    /// Those of the tables that were not there before and hold nothing go as well. One that stays is empty and
    /// harmless, so nothing here is an error. Legacy tables cannot be removed.
    fn remove_made_tables<'a>(&self, leg: &Leg, tables: impl Iterator<Item = &'a str>) {
        if is_legacy(leg) {
            return;
        }
        for name in tables.filter(|name| leg.before.find_table(name).is_none()) {
            let Ok(mut netlink) = Netlink::open() else {
                return;
            };
            let generation = nftables::generation(&mut netlink, &mut Request::default());
            let (Ok(generation), Ok(now)) = (generation, read(&self.tools, leg.origin)) else {
                return;
            };
            if is_bare(&now, name) {
                let family = nftables::nfproto(leg.origin.family);
                let _ = nftables::remove_table(&mut netlink, family, name.as_bytes(), generation);
            }
        }
    }
}

fn is_legacy(leg: &Leg) -> bool {
    leg.origin.backend == Backend::Legacy
}

/// Whether the table is there and holds nothing: no rule, no user chain, no policy but ACCEPT.
fn is_bare(ruleset: &Ruleset, table: &str) -> bool {
    let Some(index) = ruleset.find_table(table) else {
        return false;
    };
    ruleset.table(index).chains().iter().all(|chain| {
        let chain = ruleset.chain(*chain);
        chain.is_builtin()
            && chain.rules().is_empty()
            && chain.policy().unwrap_or(Policy::Accept) == Policy::Accept
    })
}
