//! The way of a packet through a [`Program`], as the kernel goes it.
//!
//! A [`Thread`] is a packet at one place of its way. It runs until its fate is sealed, or until a rule
//! cannot be answered for certain: then it goes on as two, one for which the rule matched and one for
//! which it did not, unless both would be the same. Threads that meet again in the same place and shape
//! are one. Work is bounded: too many threads or too many rules, and the answer is that it was too much,
//! never a guess.
//!
//! Sources: net/ipv4/netfilter/ip_tables.c (`ipt_do_table`), net/netfilter/nf_tables_core.c
//! (`nft_do_chain`), nf_nat_core.c (`nf_nat_inet_fn`), net/ipv4/ip_forward.c (which counts the TTL down
//! before FORWARD).

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::cond::View;
use super::facts::Facts;
use super::program::{Action, End, Program, Rule, Stage, TableKind, index};
use super::state::{State, ct};
use super::thread::{By, Fate, Outcome, Step, Thread, Turn};
use super::tri::Tri;
use crate::flow::Hook;
use crate::ruleset::Policy;
use crate::verdict::{Path, Probe};

/// Threads that one question may make.
const THREADS: usize = 512;

/// Rules that one question may try, beside one time through the whole program.
const TRIES: usize = 1_000_000;

/// Who wants to know what is tried on the way.
pub(super) trait Watch {
    /// A rule was tried: the condition that failed or could not be told, if there is one.
    fn tried(&mut self, order: (u8, u8), place: u32, answer: Tri, cond: Option<u32>);
    /// A built-in chain ended with its policy.
    fn ended(&mut self, order: (u8, u8), place: u32);
    /// Something was not known for a reason that is no rule's.
    fn doubt(&mut self, why: &'static str);
    /// Another way is followed from here on.
    fn next_thread(&mut self);
}

/// Nobody.
pub(super) struct Unwatched;

impl Watch for Unwatched {
    fn tried(&mut self, _: (u8, u8), _: u32, _: Tri, _: Option<u32>) {}
    fn ended(&mut self, _: (u8, u8), _: u32) {}
    fn doubt(&mut self, _: &'static str) {}
    fn next_thread(&mut self) {}
}

/// A walk: the question, and the bounds of the work.
pub(super) struct Walk<'a, W: Watch> {
    pub program: &'a Program,
    pub view: View<'a>,
    pub watch: W,
    /// Drops and rejects do not count: what would let the packet pass if they were not?
    pub lenient: bool,
    waiting: Vec<Thread>,
    /// What became of threads that ended where they began.
    ended: Vec<Outcome>,
    met: HashSet<u64>,
    hasher: RandomState,
    forked: usize,
    tries: usize,
    /// The work was cut short.
    pub too_much: bool,
}

impl<'a, W: Watch> Walk<'a, W> {
    pub(super) fn new(program: &'a Program, probe: &'a Probe, facts: &'a Facts, watch: W) -> Self {
        Self {
            program,
            view: View { probe, facts },
            watch,
            lenient: false,
            waiting: Vec::new(),
            ended: Vec::new(),
            met: HashSet::default(),
            hasher: RandomState::new(),
            forked: 0,
            tries: TRIES.saturating_add(program.rules.len()),
            too_much: false,
        }
    }

    /// Follows the packet; `each` gets the outcome of each thread.
    pub(super) fn run(&mut self, mut each: impl FnMut(Outcome)) {
        let mut next = Some(Thread::new(self.view.probe));
        while let Some(mut thread) = next {
            if let Some((fate, by)) = self.follow(&mut thread) {
                each(Outcome {
                    fate,
                    by,
                    state: thread.state,
                    nat: thread.nat,
                });
            }
            self.ended.drain(..).for_each(&mut each);
            next = self.waiting.pop();
            self.watch.next_thread();
        }
    }

    /// Until its end; `None` when it met another thread, or when the work is too much.
    fn follow(&mut self, thread: &mut Thread) -> Option<(Fate, By)> {
        loop {
            let step = match thread.at {
                Some(at) => self.rule(thread, at)?,
                None => self.enter(thread)?,
            };
            if let Step::Ends(fate, by) = step {
                return Some((fate, by));
            }
        }
    }

    /// A thread as it is now, known already. Only asked once there is more than one.
    fn is_met(&mut self, thread: &Thread) -> bool {
        self.forked > 0 && !self.met.insert(self.hasher.hash_one(thread))
    }

    /// Sets a thread aside for later.
    fn fork(&mut self, thread: Thread) {
        self.forked += 1;
        if self.forked > THREADS {
            self.too_much = true;
            return;
        }
        self.waiting.push(thread);
    }

    /// The next stage of the hook, or the next hook.
    fn enter(&mut self, thread: &mut Thread) -> Option<Step> {
        if self.is_met(thread) {
            return None;
        }
        let stages = self.program.hooks.get(index(thread.hook));
        let stage = stages.and_then(|stages| stages.get(usize::from(thread.stage)));
        match stage {
            None => {
                self.part_ways(thread);
                return Some(thread.leave_hook(self.view.facts));
            }
            Some(Stage::Conntrack) => {
                if !thread.state.ct_settled {
                    thread.state.ct = thread.state.ct_to_be;
                    thread.state.ct_settled = true;
                }
                thread.stage += 1;
            }
            Some(Stage::Translation) => {
                if let Some(becomes) = &self.view.probe.connection.becomes {
                    thread.translated(becomes);
                }
                thread.stage += 1;
            }
            Some(Stage::Chain(chain)) => {
                let Some(chain) = self.program.chains.get(*chain as usize) else {
                    thread.stage += 1;
                    return Some(Step::On);
                };
                if chain.table == TableKind::Nat && !self.consults_nat(thread) {
                    thread.stage += 1;
                } else {
                    thread.at = Some(chain.entry);
                    thread.depth = 0;
                    thread.entered_mark = thread.state.mark;
                }
            }
        }
        Some(Step::On)
    }

    /// A packet of which NAT leaves open whether it is for this box goes both ways.
    fn part_ways(&mut self, thread: &mut Thread) {
        let facts = self.view.facts;
        if thread.hook != Hook::Prerouting || thread.state.turn(facts) != Turn::Either {
            return;
        }
        self.watch
            .doubt("whether its new destination is an address of this box is not known");
        let mut other = thread.clone();
        other.state.go(match thread.state.path {
            Path::Input => Path::Forward,
            _ => Path::Input,
        });
        thread.state.go(thread.state.path);
        self.fork(other);
    }

    /// The nat table sees the first packet of a connection, and each end of it is decided once.
    fn consults_nat(&mut self, thread: &mut Thread) -> bool {
        let state = &thread.state;
        let is_dst = matches!(thread.hook, Hook::Prerouting | Hook::Output);
        if if is_dst {
            state.dst_bound
        } else {
            state.src_bound
        } {
            return false;
        }
        // An ICMP error belongs to the connection that it is about; whatever else is RELATED begins one.
        let begins = match state.proto {
            Some(1 | 58) => ct::NEW,
            _ => ct::NEW | ct::RELATED,
        };
        let (may, may_not) = (state.ct & begins, state.ct & !begins);
        if may != 0 && may_not != 0 {
            self.watch.doubt(
                "nat is asked about the first packet of a connection only: ctstate was not given",
            );
            let mut other = thread.clone();
            other.state.ct = may_not;
            other.state.ct_to_be = may_not;
            other.stage += 1;
            self.fork(other);
            thread.state.ct = may;
            thread.state.ct_to_be = may;
        }
        may != 0
    }

    /// Tries rules from a place on, up to the first that does anything.
    #[inline]
    fn rule(&mut self, thread: &mut Thread, mut at: u32) -> Option<Step> {
        let order = thread.order();
        let program = self.program;
        loop {
            let Some(rule) = program.rules.get(at as usize) else {
                thread.at = None;
                thread.stage += 1;
                return Some(Step::On);
            };
            let Some(left) = self.tries.checked_sub(1) else {
                self.too_much = true;
                return None;
            };
            self.tries = left;
            if rule.action == Action::End {
                return self.go_back(thread);
            }
            let (answer, cond) = self.test(rule, &thread.state);
            self.watch.tried(order, at, answer, cond);
            match answer {
                Tri::No => at += 1,
                Tri::Yes => return self.act(thread, rule.action, at),
                Tri::Unknown => return self.act_perhaps(thread, *rule, at),
            }
        }
    }

    /// All conditions of a rule, and the first that failed, else the first that could not be told.
    #[inline]
    fn test(&self, rule: &Rule, state: &State) -> (Tri, Option<u32>) {
        let from = rule.first as usize;
        let conds = self
            .program
            .conds
            .get(from..from + usize::from(rule.count))
            .unwrap_or_default();
        let mut unknown = None;
        for (cond, number) in conds.iter().zip(rule.first..) {
            match cond.test(state, self.view) {
                Tri::Yes => {}
                Tri::No => return (Tri::No, Some(number)),
                Tri::Unknown => unknown = unknown.or(Some(number)),
            }
        }
        (
            if unknown.is_some() {
                Tri::Unknown
            } else {
                Tri::Yes
            },
            unknown,
        )
    }

    /// A rule that may match: once as if it did, once as if it did not.
    fn act_perhaps(&mut self, thread: &mut Thread, rule: Rule, at: u32) -> Option<Step> {
        if matches!(rule.action, Action::Next) {
            thread.at = Some(at + 1);
            return Some(Step::On);
        }
        let from = rule.first as usize;
        let conds = self
            .program
            .conds
            .get(from..from + usize::from(rule.count))
            .unwrap_or_default();
        let mut yes = thread.clone();
        let mut open = conds
            .iter()
            .filter(|cond| cond.test(&thread.state, self.view) == Tri::Unknown);
        let only = open.next().filter(|_| open.next().is_none());
        for cond in conds {
            cond.learn(&mut yes.state, true);
        }
        if let Some(only) = only {
            only.learn(&mut thread.state, false);
        }
        thread.at = Some(at + 1);
        match self.act(&mut yes, rule.action, at) {
            Some(Step::On) => self.fork(yes),
            Some(Step::Ends(fate, by)) => {
                self.ended.push(Outcome {
                    fate,
                    by,
                    state: yes.state,
                    nat: yes.nat,
                });
            }
            None => {}
        }
        if self.is_met(thread) {
            return None;
        }
        Some(Step::On)
    }

    /// Carries out what a rule that matched says.
    fn act(&mut self, thread: &mut Thread, action: Action, at: u32) -> Option<Step> {
        match action {
            Action::Next => thread.at = Some(at + 1),
            Action::Accept => thread.pass(self.program, at),
            Action::Drop | Action::Reject(_) if self.lenient => thread.at = Some(at + 1),
            Action::Drop => return Some(Step::Ends(Fate::Drop, By::Place(at))),
            Action::Reject(with) => return Some(Step::Ends(Fate::Reject(with), By::Place(at))),
            Action::Beyond(why) => return Some(Step::Ends(Fate::Beyond(why), By::Place(at))),
            Action::Return => return self.go_back(thread),
            Action::Jump(to) => {
                let Some(slot) = thread.stack.get_mut(usize::from(thread.depth)) else {
                    self.too_much = true;
                    return None;
                };
                *slot = at + 1;
                thread.depth += 1;
                thread.at = Some(to);
            }
            Action::Goto(to) => thread.at = Some(to),
            Action::Change(change) => {
                if let Some(change) = self.program.changes.get(change as usize) {
                    change.apply(&mut thread.state, true, self.view);
                }
                thread.at = Some(at + 1);
            }
            Action::Nat(change) => {
                if let Some(change) = self.program.changes.get(change as usize) {
                    thread.translate(change, at, self.view);
                }
                thread.pass(self.program, at);
            }
            Action::End => return Some(Step::On),
        }
        Some(Step::On)
    }

    /// RETURN: to the caller, or to the policy.
    fn go_back(&mut self, thread: &mut Thread) -> Option<Step> {
        let depth = usize::from(thread.depth);
        if let Some(back) = depth.checked_sub(1).and_then(|top| thread.stack.get(top)) {
            thread.at = Some(*back);
            thread.depth -= 1;
            // What was on the stack is no part of what a thread is.
            if let Some(slot) = thread.stack.get_mut(depth - 1) {
                *slot = 0;
            }
            return if self.is_met(thread) {
                None
            } else {
                Some(Step::On)
            };
        }
        self.policy(thread)
    }

    /// The policy of the built-in chain that this stage is.
    fn policy(&mut self, thread: &mut Thread) -> Option<Step> {
        let stages = self.program.hooks.get(index(thread.hook));
        let stage = stages.and_then(|stages| stages.get(usize::from(thread.stage)));
        let chain = match stage {
            Some(Stage::Chain(chain)) => self.program.chains.get(*chain as usize),
            _ => None,
        };
        let Some(chain) = chain else {
            thread.at = None;
            thread.stage += 1;
            return Some(Step::On);
        };
        let place = chain.end;
        self.watch.ended(thread.order(), place);
        match chain.policy {
            Some(End::Policy(Policy::Drop)) if self.lenient => None,
            Some(End::Policy(Policy::Drop)) => Some(Step::Ends(Fate::Drop, By::Place(place))),
            Some(End::Policy(Policy::Queue)) => {
                Some(Step::Ends(Fate::Beyond(u32::MAX), By::Place(place)))
            }
            Some(End::NotStated) => {
                let mut other = thread.clone();
                other.pass(self.program, place);
                self.fork(other);
                self.watch
                    .doubt("the dump does not state the policy of a built-in chain");
                Some(Step::Ends(Fate::Drop, By::Place(place)))
            }
            Some(End::Policy(Policy::Accept)) | None => {
                thread.pass(self.program, place);
                Some(Step::On)
            }
        }
    }
}
