//! A packet at one place of its way, and what hooks do to it.
//!
//! The walk (`walk`) decides what a thread does next; here is what a thread is, and the steps that need
//! no program: passing a chain, being translated, going from hook to hook.

use super::cond::View;
use super::facts::Facts;
use super::program::{Chain, Change, Program, TableKind};
use super::state::{LO, State, To, bits_of};
use crate::flow::Hook;
use crate::verdict::{Bound, Path, Probe};

/// How deep chains may call each other: nf_tables stops at 16, and nobody nests deeper by hand.
pub(super) const DEPTH: usize = 64;

/// What seals the fate of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fate {
    Accept,
    Drop,
    Reject(u16),
    /// A target of which it cannot be told: index of its reason.
    Beyond(u32),
}

/// Who sealed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum By {
    /// Nobody: there is no chain on its way.
    Nobody,
    /// The rule at that place of the program; at the end of a chain, its policy.
    Place(u32),
    /// The kernel itself, for want of hops.
    Hops,
}

impl By {
    /// How much it says that this let a packet pass, as [`Program::weight`] has it.
    pub(super) fn weight(self, program: &Program) -> u8 {
        match self {
            Self::Place(at) => program.weight(at),
            Self::Nobody | Self::Hops => 0,
        }
    }
}

/// How a thread ended.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub fate: Fate,
    pub by: By,
    pub state: State,
    /// Places of the NAT rules that it met: of the destination's and of the source's.
    pub nat: [Option<u32>; 2],
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(super) struct Thread {
    pub state: State,
    pub hook: Hook,
    /// Which stage of the hook, counted from 0.
    pub stage: u8,
    /// The rule that comes next; `None` between chains.
    pub at: Option<u32>,
    /// Where the calls that are open go on.
    pub stack: [u32; DEPTH],
    pub depth: u8,
    /// The rule or policy of the filter table that let it pass, else of the last table.
    pub passed: By,
    /// How much that says, as [`Program::weight`] has it.
    pub passed_weight: u8,
    pub nat: [Option<u32>; 2],
    /// The mark that the packet entered the last chain with.
    pub entered_mark: Option<u32>,
}

/// What a step leads to.
pub(super) enum Step {
    On,
    Ends(Fate, By),
}

impl Thread {
    /// Where the packet enters.
    pub(super) fn new(probe: &Probe) -> Self {
        let hook = match probe.path {
            Path::Output => Hook::Output,
            _ => Hook::Prerouting,
        };
        Self {
            state: State::new(probe),
            hook,
            stage: 0,
            at: None,
            stack: [0; DEPTH],
            depth: 0,
            passed: By::Nobody,
            passed_weight: 0,
            nat: [None; 2],
            entered_mark: probe.mark,
        }
    }

    /// Where in the order of hooks and stages a thread is.
    pub(super) fn order(&self) -> (u8, u8) {
        let hook = match self.hook {
            Hook::Prerouting => 0,
            Hook::Input => 1,
            Hook::Forward => 2,
            Hook::Output => 3,
            Hook::Postrouting => 4,
        };
        (hook, self.stage)
    }

    /// This chain lets it pass.
    pub(super) fn pass(&mut self, program: &Program, at: u32) {
        let weight = program.weight(at);
        // Who lets it pass is a rule that people see; a native chain only does not stop it.
        if program.native_at(at).is_none() && weight >= self.passed_weight {
            self.passed = By::Place(at);
            self.passed_weight = weight;
        }
        // What this box sends is routed anew where mangle changed its mark (ipt_mangle_out, nf_route_table_hook4).
        let is_mangle = |(_, chain): (u32, &Chain)| chain.table == TableKind::Mangle;
        if self.hook == Hook::Output
            && self.state.mark != self.entered_mark
            && program.chain_at(at).is_some_and(is_mangle)
        {
            self.state.routed_mark = self.state.mark;
        }
        self.stack = [0; DEPTH];
        self.depth = 0;
        self.at = None;
        self.stage += 1;
    }

    /// Carries out a NAT target, once for each end of the connection.
    pub(super) fn translate(&mut self, change: &Change, at: u32, view: View<'_>) {
        let is_dst = matches!(self.hook, Hook::Prerouting | Hook::Output);
        change.apply(&mut self.state, is_dst, view);
        let [dst, src] = &mut self.nat;
        if is_dst {
            self.state.dst_bound = true;
            *dst = Some(at);
            // To another destination it is routed anew.
            self.state.routed_mark = self.state.mark;
        } else {
            self.state.src_bound = true;
            *src = Some(at);
        }
    }

    /// Gives the packet the end that NAT has settled for its connection at this hook.
    pub(super) fn translated(&mut self, becomes: &Bound) {
        let state = &mut self.state;
        let is_dst = matches!(self.hook, Hook::Prerouting | Hook::Output);
        let (address, port, new) = if is_dst {
            (&mut state.dst, &mut state.dport, becomes.dst)
        } else {
            (&mut state.src, &mut state.sport, becomes.src)
        };
        let Some(end) = new else { return };
        let new = (end.address.map(bits_of), end.port.or(*port));
        if (*address, *port) == new {
            return;
        }
        (*address, *port) = new;
        state.altered = true;
        if !is_dst {
            return;
        }
        if new.0.is_some() {
            state.to = To::Here;
        }
        // What this box sends is then routed to itself.
        let is_loopback = end.address.is_some_and(|address| address.is_loopback());
        if state.path == Path::Output && is_loopback {
            state.leaves_by = Some(LO);
        }
    }

    /// The packet has passed a hook: where does it go?
    pub(super) fn leave_hook(&mut self, facts: &Facts) -> Step {
        let state = &mut self.state;
        self.stage = 0;
        match self.hook {
            Hook::Prerouting => {
                state.routed = true;
                state.routed_mark = state.mark;
                if let Turn::Goes(path) = state.turn(facts) {
                    state.go(path);
                }
                if state.path == Path::Input {
                    // IPv4 puts fragments together before INPUT (ip_local_deliver), IPv6 after it. What was
                    // not said of a later fragment is then not known of the whole.
                    if state.fragment && !state.v6 {
                        state.fragment = false;
                        state.length = None;
                    }
                    self.hook = Hook::Input;
                    return Step::On;
                }
                if state.ttl.is_some_and(|ttl| ttl <= 1) {
                    return Step::Ends(Fate::Drop, By::Hops);
                }
                state.ttl = state.ttl.map(|ttl| ttl - 1);
                state.altered = true;
                state.output = state.leaves_by;
                self.hook = Hook::Forward;
            }
            Hook::Forward => self.hook = Hook::Postrouting,
            Hook::Output => {
                state.output = state.leaves_by;
                self.hook = Hook::Postrouting;
            }
            Hook::Input | Hook::Postrouting => return Step::Ends(Fate::Accept, self.passed),
        }
        Step::On
    }
}

/// Where a packet goes whose destination NAT has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// As was said.
    Said,
    /// To this box, or through it.
    Goes(Path),
    /// It cannot be told which of both.
    Either,
}

/// A destination that NAT changed is routed as what it is now, where the box's addresses are known. `local` is
/// whether it is one of them.
pub(super) fn turn(path: Path, to: To, dnat: Option<bool>, local: Option<bool>) -> Turn {
    if to == To::Said || dnat == Some(false) || path == Path::Output {
        return Turn::Said;
    }
    match (local, path) {
        (Some(true), Path::Forward) => Turn::Goes(Path::Input),
        (Some(false), Path::Input) => Turn::Goes(Path::Forward),
        (Some(_), _) => Turn::Said,
        // Who says by which interface it leaves has said that it goes through.
        (None, Path::Forward) if to == To::Here => Turn::Said,
        (None, _) => Turn::Either,
    }
}

impl State {
    /// Where it goes after PREROUTING.
    pub(super) fn turn(&self, facts: &Facts) -> Turn {
        let local = self.to.is_local(self.dst, facts, self.v6);
        turn(self.path, self.to, self.dnat, local)
    }

    /// It goes that way, and is routed no more.
    pub(super) fn go(&mut self, path: Path) {
        self.to = To::Said;
        if path == self.path {
            return;
        }
        // What came for this box and goes on has another destination, and the other way round.
        self.dnat = Some(true);
        self.leaves_by = (path == Path::Input).then_some(0);
        self.path = path;
    }
}
