//! A set of packets through a [`Program`], all at once: which of them are let through, which are not, and
//! who says so.
//!
//! The same way as a single packet's walk (`walk`), hook for hook and rule for rule, but with
//! [`Parcel`]s that come apart at each rule into those that match and those that do not. What a packet's
//! walk cannot know becomes a question here, and both answers are followed; so a fate is exact for the
//! packets of its box that answer as it says.
//!
//! Later fragments are left out unless they are asked for ([`Sweep::pieces`]): where conntrack is on, it puts
//! packets together before any rule sees them. So is the TTL, which may end a packet on its way through.
//!
//! Work is bounded. Past the bound the sweep stops; what came to an end until then is still true, and
//! [`Sweep::too_much`] says that it is not all.

mod apply;
mod merge;
mod nat;
mod parcel;
mod split;

use std::rc::Rc;

use super::facts::Facts;
use super::program::{Action, Change, End, NATIVE, Program, Stage, TableKind, index};
use super::space::area::Area;
use super::space::ask::WideAsk;
use super::space::cube::piece;
use super::thread::{By, DEPTH, Turn};
use crate::flow::Hook;
use crate::ruleset::Policy;
use crate::verdict::Path;
pub(super) use merge::{Conditional, merge};
use nat::{begins, go, way};
use parcel::Parcel;
pub(super) use split::Book;
use split::Sides;

/// What taking a parcel apart costs, in looks at one.
const SPLIT: usize = 12;

/// What trying to put a parcel together with others costs, in looks at one.
const MERGE: usize = 30;

/// Parcels that are worth putting together again, beside twice as many as there were after the last time.
const MANY: usize = 16;

/// What became of a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fate {
    Accept,
    Drop,
    Reject,
}

/// Packets that came to an end.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub what: Conditional,
    pub fate: Fate,
    pub by: By,
}

/// See the file's essay.
pub(super) struct Sweep<'a> {
    program: &'a Program,
    facts: &'a Facts,
    book: &'a mut Book,
    asks: Vec<Option<Rc<WideAsk>>>,
    pub ended: Vec<Ended>,
    work: &'a mut usize,
    /// Who let packets pass is asked for.
    pub names: bool,
    /// The parts of a datagram that come, of [`piece`]: all of them where nothing puts them together.
    pub pieces: u8,
    pub too_much: bool,
}

impl<'a> Sweep<'a> {
    /// `work` is the number of times that a rule may be put to a parcel, and is counted down.
    pub(super) fn new(
        program: &'a Program,
        facts: &'a Facts,
        book: &'a mut Book,
        work: &'a mut usize,
    ) -> Self {
        Self {
            program,
            facts,
            book,
            asks: vec![None; program.conds.len()],
            ended: Vec::new(),
            work,
            names: false,
            pieces: piece::WHOLE,
            too_much: false,
        }
    }

    /// Puts packets through that take that way. The areas must not overlap.
    pub(super) fn run(&mut self, path: Path, areas: &[Area]) {
        let parcels: Vec<Parcel> = areas
            .iter()
            .flat_map(|area| Parcel::arriving(path, area, self.pieces))
            .collect();
        if path == Path::Output {
            let left = self.hook(Hook::Output, parcels);
            self.postrouting(left);
            return;
        }
        let parcels = self.hook(Hook::Prerouting, parcels);
        let parcels = self.routed(parcels);
        let (input, mut forward): (Vec<_>, Vec<_>) = parcels
            .into_iter()
            .partition(|parcel| parcel.now.path == Path::Input);
        let (input, pieces) = nat::delivered(input, self.program.is_v6());
        self.accepted(pieces);
        let input = self.hook(Hook::Input, input);
        self.accepted(input);
        for parcel in &mut forward {
            parcel.now.output = parcel.now.leaves;
        }
        let forward = self.hook(Hook::Forward, forward);
        self.postrouting(forward);
    }

    /// Sends each parcel its way, and those that may go either way both.
    fn routed(&mut self, parcels: Vec<Parcel>) -> Vec<Parcel> {
        let mut routed = Vec::new();
        for mut parcel in parcels {
            match way(&parcel, self.facts, self.program.is_v6()) {
                Turn::Said => routed.push(parcel),
                Turn::Goes(path) => {
                    go(&mut parcel, path);
                    routed.push(parcel);
                }
                Turn::Either => {
                    let key = format!("local {:?} {}", parcel.now.to, parcel.now.translations);
                    let words = || "its new destination is an address of this box".to_owned();
                    let mut sides = self.question(parcel, key, words);
                    for parcel in &mut sides.yes {
                        go(parcel, Path::Input);
                    }
                    for parcel in &mut sides.no {
                        go(parcel, Path::Forward);
                    }
                    routed.append(&mut sides.yes);
                    routed.append(&mut sides.no);
                }
            }
        }
        routed
    }

    fn postrouting(&mut self, mut parcels: Vec<Parcel>) {
        for parcel in &mut parcels {
            parcel.now.output = parcel.now.leaves;
        }
        let left = self.hook(Hook::Postrouting, parcels);
        self.accepted(left);
    }

    fn accepted(&mut self, parcels: Vec<Parcel>) {
        for parcel in parcels {
            let by = parcel.passed;
            self.end(parcel, Fate::Accept, by);
        }
    }

    fn end(&mut self, parcel: Parcel, fate: Fate, by: By) {
        self.ended.push(Ended {
            what: Conditional {
                area: parcel.area,
                known: parcel.known,
            },
            fate,
            by,
        });
    }

    /// All stages of a hook: those that pass it.
    fn hook(&mut self, hook: Hook, mut parcels: Vec<Parcel>) -> Vec<Parcel> {
        let program = self.program;
        let stages = program
            .hooks
            .get(index(hook))
            .map_or(&[][..], Vec::as_slice);
        for stage in stages {
            if self.too_much {
                return Vec::new();
            }
            match stage {
                Stage::Conntrack => {
                    for parcel in &mut parcels {
                        if !parcel.now.ct_settled {
                            parcel.now.ct = None;
                            parcel.now.ct_settled = true;
                        }
                    }
                }
                // Of one connection nothing is known here.
                Stage::Translation => continue,
                Stage::Chain(chain) => parcels = self.base(*chain, hook, parcels),
            }
            parcels = self.merged(parcels);
        }
        parcels
    }

    /// Puts together what came apart, which costs too.
    fn merged(&mut self, parcels: Vec<Parcel>) -> Vec<Parcel> {
        let size: usize = parcels.iter().map(|parcel| parcel.area.size()).sum();
        *self.work = self.work.saturating_sub(parcels.len() * MERGE + size);
        merge::parcels(parcels)
    }

    fn question(&mut self, parcel: Parcel, key: String, words: impl FnOnce() -> String) -> Sides {
        split::question(self.book, parcel, key, words)
    }

    /// A built-in chain and its policy.
    fn base(&mut self, number: u32, hook: Hook, parcels: Vec<Parcel>) -> Vec<Parcel> {
        let Some(chain) = self.program.chains.get(number as usize).copied() else {
            return parcels;
        };
        let mut passing = Vec::new();
        let mut entering = parcels;
        if chain.table == TableKind::Nat {
            (entering, passing) = begins(entering, hook);
        }
        let is_dst = matches!(hook, Hook::Prerouting | Hook::Output);
        let program = self.program;
        let names = self.names && chain.ruleset != NATIVE;
        let mut pass = |mut parcel: Parcel, by: By| {
            if !names {
                // Those that were let pass by different rules may be put together again.
                passing.push(parcel);
                return;
            }
            let weight = by.weight(program);
            if weight >= parcel.passed_weight {
                (parcel.passed, parcel.passed_weight) = (by, weight);
            }
            passing.push(parcel);
        };
        let ends = self.chain(chain.entry, entering, is_dst, 0, &mut pass);
        let by = By::Place(chain.end);
        for parcel in ends {
            match chain.policy {
                Some(End::Policy(Policy::Drop)) => self.end(parcel, Fate::Drop, by),
                Some(End::Policy(Policy::Accept)) | None => pass(parcel, by),
                Some(End::Policy(Policy::Queue)) => {
                    let key = "policy queue".to_owned();
                    let words = || "a program that the policy asks lets it pass".to_owned();
                    let sides = self.question(parcel, key, words);
                    sides.yes.into_iter().for_each(|parcel| pass(parcel, by));
                    for parcel in sides.no {
                        self.end(parcel, Fate::Drop, by);
                    }
                }
                Some(End::NotStated) => {
                    let key = format!("policy of {:?} {hook:?}", chain.table);
                    let words = || "a policy that the dump does not state is ACCEPT".to_owned();
                    let sides = self.question(parcel, key, words);
                    sides.yes.into_iter().for_each(|parcel| pass(parcel, by));
                    for parcel in sides.no {
                        self.end(parcel, Fate::Drop, by);
                    }
                }
            }
        }
        passing
    }

    /// Rules from a place on: those parcels that go back to the caller.
    fn chain(
        &mut self,
        entry: u32,
        mut parcels: Vec<Parcel>,
        is_dst: bool,
        depth: usize,
        pass: &mut dyn FnMut(Parcel, By),
    ) -> Vec<Parcel> {
        let mut back = Vec::new();
        if depth > DEPTH {
            self.too_much = true;
            return back;
        }
        let mut around = parcel::around(&parcels);
        let mut many = MANY;
        for at in entry.. {
            let Some(rule) = self.program.rules.get(at as usize) else {
                break;
            };
            if parcels.is_empty() || self.too_much {
                return back;
            }
            let by = By::Place(at);
            match rule.action {
                Action::End => break,
                Action::Next => continue,
                _ => {}
            }
            if !self.may_meet(at, around.as_ref()) {
                continue;
            }
            let sides = self.divide(at, parcels);
            parcels = sides.no;
            let matched = sides.yes;
            if parcels.len() > many {
                parcels = self.merged(parcels);
                many = parcels.len() * 2 + MANY;
            }
            if matched.is_empty() {
                continue;
            }
            match rule.action {
                Action::Next | Action::End => {}
                Action::Accept => matched.into_iter().for_each(|parcel| pass(parcel, by)),
                Action::Drop => self.end_all(matched, Fate::Drop, by),
                Action::Reject(_) => self.end_all(matched, Fate::Reject, by),
                Action::Beyond(why) => {
                    let why = self.program.reasons.get(why as usize);
                    let why = why.map_or(String::new(), ToString::to_string);
                    for parcel in matched {
                        let words = || format!("it is let pass by {why}");
                        let sides = self.question(parcel, format!("beyond {why}"), words);
                        sides.yes.into_iter().for_each(|parcel| pass(parcel, by));
                        self.end_all(sides.no, Fate::Drop, by);
                    }
                }
                Action::Return => back.extend(matched),
                Action::Jump(to) => {
                    let returned = self.chain(to, matched, is_dst, depth + 1, pass);
                    parcels.extend(returned);
                    if parcels.len() > many {
                        parcels = self.merged(parcels);
                        many = parcels.len() * 2 + MANY;
                    }
                    around = parcel::around(&parcels);
                }
                Action::Goto(to) => {
                    back.extend(self.chain(to, matched, is_dst, depth + 1, pass));
                }
                Action::Change(change) => {
                    for parcel in matched {
                        parcels.extend(self.change(change, parcel, is_dst));
                    }
                    around = parcel::around(&parcels);
                }
                Action::Nat(change) => {
                    for parcel in matched {
                        for mut parcel in self.change(change, parcel, is_dst) {
                            let bound = if is_dst {
                                &mut parcel.now.dst_bound
                            } else {
                                &mut parcel.now.src_bound
                            };
                            *bound = true;
                            pass(parcel, by);
                        }
                    }
                }
            }
        }
        back.append(&mut parcels);
        back
    }

    fn change(&self, change: u32, parcel: Parcel, is_dst: bool) -> Vec<Parcel> {
        let change: Option<&Change> = self.program.changes.get(change as usize);
        match change {
            Some(change) => apply::apply(change, parcel, is_dst, self.facts, self.program.is_v6()),
            None => vec![parcel],
        }
    }

    fn end_all(&mut self, parcels: Vec<Parcel>, fate: Fate, by: By) {
        for parcel in parcels {
            self.end(parcel, fate, by);
        }
    }

    /// Some of the parcels, all of which are in that box, may match the rule: what one look tells.
    fn may_meet(&mut self, at: u32, around: Option<&Area>) -> bool {
        let program = self.program;
        let (Some(rule), Some(around)) = (program.rules.get(at as usize), around) else {
            return true;
        };
        *self.work = self.work.saturating_sub(1);
        let meets = |ask: Rc<WideAsk>| {
            let areas = ask.areas.as_deref();
            areas.is_none_or(|areas| areas.iter().any(|area| area.meets(around)))
        };
        let conds = rule.first..rule.first + u32::from(rule.count);
        conds
            .into_iter()
            .all(|cond| self.ask(cond).is_none_or(meets))
    }

    /// Puts all conditions of a rule to the parcels.
    fn divide(&mut self, at: u32, parcels: Vec<Parcel>) -> Sides {
        let mut sides = Sides::default();
        let program = self.program;
        let Some(rule) = program.rules.get(at as usize) else {
            return sides;
        };
        let conds = program.conds_of(*rule);
        let v6 = program.is_v6();
        for parcel in parcels {
            let Some(left) = self.work.checked_sub(1) else {
                self.too_much = true;
                return sides;
            };
            *self.work = left;
            let view = parcel.view();
            let mut asks = (rule.first..)
                .map_while(|at| self.ask(at))
                .take(conds.len());
            if asks.any(|ask| split::none_meets(&parcel, &view, &ask)) {
                sides.no.push(parcel);
                continue;
            }
            // Taking it apart copies its lists, some of them several times.
            *self.work = self.work.saturating_sub(SPLIT + parcel.area.size() / 2);
            let mut meeting = vec![parcel];
            for (cond, at) in conds.iter().zip(rule.first..) {
                let Some(ask) = self.ask(at) else { break };
                let mut next = Vec::new();
                for parcel in meeting {
                    let mut put = split::split(self.book, parcel, cond, &ask, v6);
                    next.append(&mut put.yes);
                    sides.no.append(&mut put.no);
                }
                meeting = next;
            }
            sides.yes.append(&mut meeting);
        }
        sides
    }

    fn ask(&mut self, cond: u32) -> Option<Rc<WideAsk>> {
        let v6 = self.program.is_v6();
        let known = self.asks.get_mut(cond as usize)?;
        if known.is_none() {
            let cond = self.program.conds.get(cond as usize)?;
            *known = Some(Rc::new(WideAsk::of(cond, v6)));
        }
        known.clone()
    }
}
