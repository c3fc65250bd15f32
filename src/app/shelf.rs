//! Rules that are disabled: out of the kernel, and kept where the program finds them at its next start.
//!
//! A rule comes to the shelf of the machine when a change that disables it is *applied*, before the kernel hears of
//! it, so that no death of a process loses one; and it leaves when that change is *kept*, since a revert may yet
//! take an enabled rule out again. In between it is on both sides, and one that the kernel holds is not shown as
//! disabled.

use crate::app::firewall::Firewall;
use crate::app::message::Effect;
use crate::app::state::State;
use crate::edit::{Shelf, Shelved, Stage};
use crate::ruleset::Ruleset;

/// What is to be put on the shelf of the machine, and what is to be taken off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reshelve {
    /// Disabled.
    pub come: Vec<Shelved>,
    /// Enabled, or deleted for good.
    pub gone: Vec<Shelved>,
}

impl Shelf {
    fn of<'a>(&'a self, ruleset: &'a Ruleset) -> impl Iterator<Item = &'a Shelved> {
        self.rules.iter().filter(|rule| rule.is_of(ruleset))
    }

    /// Adds those that are not on it.
    pub(super) fn take_up(&mut self, come: &[Shelved]) {
        for rule in come {
            if !self.rules.contains(rule) {
                self.rules.push(rule.clone());
            }
        }
    }
}

/// A ruleset that was read for the first time shows what is disabled of it.
pub(super) fn show(shelf: &Shelf, firewall: &mut Firewall) {
    let rules: Vec<Shelved> = shelf.of(&firewall.ruleset).cloned().collect();
    if !rules.is_empty() {
        let stage = Stage::new_with(firewall.ruleset.clone(), &Shelf { rules });
        firewall.restage(Some(stage.locked(firewall.all_lossy())));
    }
}

/// Rules of the shelf that the kernel held and holds no more are disabled again: the change that had enabled them
/// was taken back.
pub(super) fn take_back(shelf: &Shelf, old: &Ruleset, new: &mut Firewall) {
    if shelf.of(new.kernel()).next().is_none() {
        return;
    }
    let stage = new.stage_or_fresh();
    let is_shown = |rule: &Shelved| stage.shelved().any(|shown| shown.says_the_same(rule));
    let rules = shelf.of(new.kernel());
    let back = rules
        .filter(|rule| rule.stands_in(old) && !rule.stands_in(new.kernel()) && !is_shown(rule));
    let back: Vec<Shelved> = back.cloned().collect();
    if !back.is_empty() {
        new.restage(Some(stage.with_shelved(back)));
    }
}

impl State {
    /// What is staged is about to be applied: rules that it disables are put on the shelf first; those that it
    /// enables, or deletes for good, leave it once it is kept.
    pub fn about_to_shelve(&self) -> Reshelve {
        let mut reshelve = Reshelve::default();
        for firewall in self.firewalls.iter().filter(|f| f.staged() > 0) {
            let Some(stage) = firewall.stage() else {
                continue;
            };
            let after = stage.shelf();
            let (old, new) = (self.shelf.of(stage.base()), after.of(stage.base()));
            // What a revert left there too, if nobody saw its end: it comes anew, and stays if this one is kept.
            let comes =
                |rule: &&Shelved| !self.shelf.rules.contains(rule) || rule.stands_in(stage.base());
            reshelve.come.extend(new.filter(comes).cloned());
            reshelve
                .gone
                .extend(old.filter(|rule| !after.rules.contains(rule)).cloned());
        }
        reshelve
    }

    /// The change was not made, or taken back: the kernel holds again what it had disabled.
    pub(super) fn unshelve(&mut self) -> Vec<Effect> {
        let gone = std::mem::take(&mut self.change.shelving);
        self.shelf.rules.retain(|rule| !gone.contains(rule));
        reshelve(Vec::new(), gone)
    }

    /// Disabled rules that were staged to go for good do so.
    pub(super) fn delete_shelved(&mut self, gone: Vec<Shelved>) -> Vec<Effect> {
        self.shelf.rules.retain(|rule| !gone.contains(rule));
        reshelve(Vec::new(), gone)
    }

    /// The change stands: the shelf is what is shown as disabled, and whatever may yet turn out to be.
    pub(super) fn settle_shelf(&mut self) -> Vec<Effect> {
        let shelving = std::mem::take(&mut self.change.shelving);
        self.change.unsettled = self.staged() > 0;
        let unread = if self.change.unsettled {
            shelving
        } else {
            Vec::new()
        };
        let strange = |rule: &&Shelved| !self.firewalls.iter().any(|f| rule.is_of(f.kernel()));
        let mut rules: Vec<Shelved> = self.shelf.rules.iter().filter(strange).cloned().collect();
        for firewall in &self.firewalls {
            let shelved = firewall.stage().into_iter().flat_map(Stage::shelved);
            rules.extend(
                shelved
                    .filter(|rule| rule.is_of(firewall.kernel()))
                    .cloned(),
            );
        }
        rules.extend(unread);
        let (old, new) = (&self.shelf.rules, &rules);
        let come = new
            .iter()
            .filter(|rule| !old.contains(rule))
            .cloned()
            .collect();
        let gone = old
            .iter()
            .filter(|rule| !new.contains(rule))
            .cloned()
            .collect();
        self.shelf = Shelf { rules };
        reshelve(come, gone)
    }
}

fn reshelve(come: Vec<Shelved>, gone: Vec<Shelved>) -> Vec<Effect> {
    let reshelve = Reshelve { come, gone };
    if reshelve == Reshelve::default() {
        return Vec::new();
    }
    vec![Effect::Reshelve(reshelve)]
}
