//! The explain screen's keys: from a rule, a log line or typed words to a question, and from the answer back
//! to the board.

use std::time::Duration;

use super::{act, travel};
use crate::app::attribution::{Attribution, Then, Writer};
use crate::app::board::{Pane, Place, Row};
use crate::app::firewall::FirewallId;
use crate::app::message::Effect;
use crate::app::state::{Dialog, State};
use crate::app::why::offer::Offers;
use crate::app::why::question::{Answered, Beside, Held, Question, Spot, packets_of};
use crate::app::why::{Why, read_line};
use crate::edit::Operation;
use crate::flow::KernelLine;
use crate::verdict::{Probe, Words, typical};

/// How often an open question is asked again. Reading the box is a walk through all processes.
const EVERY: Duration = Duration::from_secs(5);

/// How many of the newest lines of the feed are looked through for packets of a rule, and how many of its are taken.
const LINES: usize = 300;
const SEEN: usize = 3;

/// Asks about the log line under the cursor, or the rule.
pub(super) fn open(state: &mut State) -> Vec<Effect> {
    match state.board.pane {
        Pane::Drops => open_line(state),
        Pane::Rules => open_rule(state),
        Pane::Chains => {
            ask(state);
            Vec::new()
        }
    }
}

fn open_line(state: &mut State) -> Vec<Effect> {
    let Some(row) = state.drops.selected() else {
        ask(state);
        return Vec::new();
    };
    let line = row.line();
    let packets = packets_of(line);
    if packets.is_empty() {
        act::say(state, "this line tells of no packet");
        return Vec::new();
    }
    // A line that one rule wrote, of a packet that then met another: that is the one to meet.
    let about = writer_of(state, line).and_then(|writer| {
        let firewall = state.firewalls.get(writer.set)?;
        let rule = match writer.then {
            Some(Then::Rule(rule)) => rule,
            Some(Then::Policy(_)) | None => writer.rule,
        };
        Some(Spot {
            id: firewall.id,
            chain: firewall.kernel().chain_of(rule)?,
            rule: Some(rule),
        })
    });
    put(state, packets, about)
}

/// The rule that wrote a line, or the first of those that may have.
fn writer_of(state: &State, line: &KernelLine) -> Option<Writer<usize>> {
    match state.writer_of(line) {
        Attribution::Certain(writer) => Some(writer),
        Attribution::Several(writers) => writers.first().copied(),
        Attribution::NoRule(_) | Attribution::Nobody => None,
    }
}

/// Packets that the rule, or the policy, was seen to meet: of the newest lines of the feed that it wrote, or that
/// were written on the way to it. What really came says more than what was thought up.
fn logged(state: &State, about: Spot) -> Vec<Probe> {
    let meets = |writer: Writer<usize>| {
        let firewall = state.firewalls.get(writer.set);
        let met = match (about.rule, writer.then) {
            (Some(rule), then) => writer.rule == rule || then == Some(Then::Rule(rule)),
            (None, then) => then == Some(Then::Policy(about.chain)),
        };
        met && firewall.is_some_and(|firewall| firewall.id == about.id)
    };
    let lines = state.feed.lines().rev().take(LINES);
    let of_it = lines.filter(|one| writer_of(state, &one.line).is_some_and(meets));
    of_it
        .take(SEEN)
        .flat_map(|one| packets_of(&one.line))
        .collect()
}

fn open_rule(state: &mut State) -> Vec<Effect> {
    let Some(selected) = state.selected() else {
        ask(state);
        return Vec::new();
    };
    let Some(firewall) = state.firewalls.get(selected.firewall) else {
        return Vec::new();
    };
    let shown = match selected.row {
        Some(Row::Rule(rule, _)) => Some(rule),
        Some(Row::Policy) | None => None,
    };
    // Packets meet what the kernel holds, not what is staged.
    let rule = shown.map(|rule| firewall.kernel_rule(rule));
    let (Some(chain), false) = (firewall.kernel_chain(selected.chain), rule == Some(None)) else {
        act::say(
            state,
            "this is staged only: the kernel does not hold it yet",
        );
        return Vec::new();
    };
    let rule = rule.flatten();
    let about = Spot {
        id: firewall.id,
        chain,
        rule,
    };
    let mut packets = logged(state, about);
    packets.extend(typical(firewall.kernel(), chain, rule));
    if packets.is_empty() {
        act::say(
            state,
            "nothing leads to this chain, or no packet can be what the rule asks for",
        );
        return Vec::new();
    }
    put(state, packets, Some(about))
}

/// Opens a line to type a packet into; in an open screen with the packet that it is about.
pub(super) fn ask(state: &mut State) {
    let mut why = match state.dialog.take() {
        Some(Dialog::Why(why)) => why,
        _ => Box::default(),
    };
    let text = why
        .answer
        .as_ref()
        .map(|answer| Words(&answer.probe).to_string())
        .unwrap_or_default();
    why.typing(text);
    state.dialog = Some(Dialog::Why(why));
}

/// Changes the line being typed, and says at once what is wrong with it.
pub(super) fn edit(why: &mut Why, change: impl FnOnce(&mut String)) {
    if let Some(line) = &mut why.line {
        change(&mut line.text);
        line.problem = read_line(&line.text).err();
    }
}

/// Asks about what was typed.
pub(super) fn accept(state: &mut State) -> Vec<Effect> {
    let Some(Dialog::Why(why)) = &mut state.dialog else {
        return Vec::new();
    };
    let Some(line) = &mut why.line else {
        return Vec::new();
    };
    match read_line(&line.text) {
        Ok(probe) => put(state, vec![probe], None),
        Err(problem) => {
            line.problem = Some(problem);
            Vec::new()
        }
    }
}

/// Leaves the line as it was; without a packet there is nothing to go back to. True when there was a line.
pub(super) fn stop_typing(state: &mut State) -> bool {
    let Some(Dialog::Why(why)) = &mut state.dialog else {
        return false;
    };
    let was_typing = why.line.take().is_some();
    if why.packets.is_empty() {
        state.dialog = None;
    }
    was_typing
}

/// Puts a question. An open screen stays as it is until the answer comes.
/// Asks about a packet that was chosen elsewhere.
pub(super) fn about(state: &mut State, packet: Probe) -> Vec<Effect> {
    put(state, vec![packet], None)
}

fn put(state: &mut State, packets: Vec<Probe>, about: Option<Spot>) -> Vec<Effect> {
    state.questions += 1;
    let mut why = match state.dialog.take() {
        Some(Dialog::Why(why)) => why,
        _ => Box::default(),
    };
    *why = Why::asked(state.questions, packets.clone(), about, state.now);
    state.dialog = Some(Dialog::Why(why));
    explain(state, packets, about)
}

/// Has the question answered, or waits until the rules that decide are read: [`again`] comes with them.
fn explain(state: &State, packets: Vec<Probe>, about: Option<Spot>) -> Vec<Effect> {
    let known = |probe: &Probe| state.rules_are_known(probe.family);
    if !packets.iter().all(known) {
        return Vec::new();
    }
    let question = question(state, packets, about);
    vec![Effect::Explain(Box::new(question))]
}

fn question(state: &State, packets: Vec<Probe>, meets: Option<Spot>) -> Question {
    let held = state.firewalls.iter().map(|firewall| Held {
        id: firewall.id,
        ruleset: std::sync::Arc::clone(firewall.kernel()),
        staged: firewall.stage().cloned().map(std::sync::Arc::new),
        lossy: firewall.all_lossy().to_vec(),
    });
    Question {
        number: state.questions,
        packets,
        meets,
        sets: held.collect(),
        natives: state.native.clone(),
        live: state.is_live(),
    }
}

/// Asks the open question again: the rules have changed, or the user wants the box read anew. The packet
/// that was taken stays the one.
pub(super) fn again(state: &mut State) -> Vec<Effect> {
    let Some(Dialog::Why(why)) = &mut state.dialog else {
        return Vec::new();
    };
    if why.packets.is_empty() {
        return Vec::new();
    }
    state.questions += 1;
    why.number = state.questions;
    why.asked = state.now;
    if let Some(answer) = &why.answer {
        why.packets = vec![answer.probe.clone()];
        // What the rule was is told by the ruleset that it stood in.
        why.about = None;
    }
    let (packets, about) = (why.packets.clone(), why.about);
    explain(state, packets, about)
}

/// Reads the box anew where the last time is a while ago: a table fills, a service comes up.
pub(super) fn refresh(state: &mut State) -> Vec<Effect> {
    match &state.dialog {
        // Not before all was said to the last question: a slow box would never get to the end.
        Some(Dialog::Why(why))
            if why.done == why.number && state.now >= why.asked + EVERY && !state.frozen =>
        {
            again(state)
        }
        _ => Vec::new(),
    }
}

/// The verdict came.
pub(super) fn answered(state: &mut State, answered: Answered) -> Vec<Effect> {
    if let Some(Dialog::Why(why)) = &mut state.dialog {
        state.dirty |= why.take(answered, state.viewport.dialog);
    }
    Vec::new()
}

/// The rest of the box was read.
pub(super) fn beside(state: &mut State, beside: Beside) -> Vec<Effect> {
    if let Some(Dialog::Why(why)) = &mut state.dialog {
        state.dirty |= why.take_beside(beside);
    }
    Vec::new()
}

/// The ways out were looked for.
pub(super) fn offered(state: &mut State, offers: Offers) -> Vec<Effect> {
    if let Some(Dialog::Why(why)) = &mut state.dialog {
        state.dirty |= why.take_offers(offers);
    }
    Vec::new()
}

/// The next way out is the chosen one.
pub(super) fn next_offer(state: &mut State) {
    if let Some(Dialog::Why(why)) = &mut state.dialog
        && let Some(offers) = &why.offers
    {
        why.offer = (why.offer + 1) % offers.len().max(1);
    }
}

/// Stages the chosen way out and shows it on the board. It is never applied from here.
pub(super) fn stage_offer(state: &mut State) -> Vec<Effect> {
    let Some(Dialog::Why(why)) = &state.dialog else {
        return Vec::new();
    };
    let offer = why
        .offers
        .as_ref()
        .and_then(|offers| offers.get(why.offer))
        .cloned();
    let Some(offer) = offer else {
        let words = if why.done == why.number {
            "there is nothing to stage here"
        } else {
            "ways out are still being looked for"
        };
        act::say(state, words);
        return Vec::new();
    };
    // Steps name rows of the stage that the offer was found for.
    let is_of_now = |(id, _): &(FirewallId, Operation)| {
        let mut answered = why.answer.iter().flat_map(|answer| &answer.sets);
        let asked = answered.find(|held| held.id == *id);
        let now = state.firewalls.iter().find(|firewall| firewall.id == *id);
        asked
            .zip(now)
            .is_some_and(|(asked, now)| std::sync::Arc::ptr_eq(&asked.ruleset, now.kernel()))
    };
    if !offer.steps.iter().all(is_of_now) {
        act::say(state, "the rules have just changed");
        return Vec::new();
    }
    if let Some(why) = &state.change.locked {
        let why = why.clone();
        act::say(state, why);
        return Vec::new();
    }
    state.dialog = None;
    match super::stage::carry_out_all(state, &offer.steps) {
        Ok(effects) => {
            act::say(state, format!("staged: {}", offer.words));
            effects
        }
        Err(words) => {
            act::say(state, words);
            Vec::new()
        }
    }
}

/// To the rule under the cursor; what is folded there opens instead.
pub(super) fn follow(state: &mut State) -> Vec<Effect> {
    let Some(Dialog::Why(why)) = &mut state.dialog else {
        return Vec::new();
    };
    if why.unfold(state.viewport.dialog) {
        return Vec::new();
    }
    let Some(spot) = why.spot_at(why.cursor.at) else {
        return Vec::new();
    };
    // The board may hold a newer ruleset than the one that was asked: its answer is on its way.
    let asked = why.answer.as_ref().and_then(|answer| {
        let mut sets = answer.sets.iter();
        sets.find(|held| held.id == spot.id)
    });
    let at = state.firewalls.iter().position(|firewall| {
        let same = |held: &Held| std::sync::Arc::ptr_eq(&held.ruleset, firewall.kernel());
        firewall.id == spot.id && asked.is_some_and(same)
    });
    let Some((firewall, found)) = at.and_then(|at| Some((at, state.firewalls.get(at)?))) else {
        act::say(state, "the rules have just changed");
        return Vec::new();
    };
    let place = Place {
        firewall,
        chain: found.shown_chain(spot.chain),
    };
    let rule = spot.rule.map(|rule| found.shown_rule(rule));
    state.dialog = None;
    travel::go_to_rule(state, place, rule)
}

/// Every rule that was tried, or those that matter.
pub(super) fn unfold(state: &mut State) {
    if let Some(Dialog::Why(why)) = &mut state.dialog {
        why.unfold_all(state.viewport.dialog);
    }
}
