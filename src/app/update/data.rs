//! What the box sends: counters, log lines, the conntrack table. Structures have a file of their own.

use std::sync::Arc;
use std::time::Duration;

use super::{act, review, structure, travel};
use crate::app::attribution::{Attribution, Then, Unruled, Writer};
use crate::app::board::{Place, Row};
use crate::app::firewall::{Firewall, FirewallId};
use crate::app::message::{Effect, Message};
use crate::app::notice::{Level, Notice};
use crate::app::state::{Dialog, State};
use crate::flow::{Batch, KernelLine, LogChannel, LogSource};
use crate::ruleset::Reading;

/// Takes in one message from the box.
pub(super) fn take(state: &mut State, message: Message) -> Vec<Effect> {
    match message {
        Message::Loaded(loaded) => return structure::load(state, *loaded),
        Message::Counters { id, at, readings } => return count(state, id, at, &readings),
        Message::Gone(id) => return structure::gone(state, id),
        Message::Loading(id, stage) => {
            state.loading.retain(|(o, _)| *o != id);
            state.loading.push((id, stage));
            state.dirty = true;
        }
        Message::Native(chains) => {
            if state.native != chains {
                state.native = chains;
                state.board.list_chains(&state.firewalls, &state.native);
                state.dirty = true;
            }
        }
        Message::Conntrack(seen) => {
            if !state.frozen {
                state.gauge.push(state.now, seen);
                state.dirty = true;
            }
        }
        Message::Lines(batch) => lines(state, batch),
        Message::Source(text) => {
            state.dirty |= state.source != text;
            state.source = text;
        }
        Message::Notice(notice) => put(state, notice),
        Message::Withdraw(key) => state.dirty |= state.notices.withdraw(&key),
        Message::Silent {
            channel,
            cause,
            remedy,
        } => silent(state, channel, &cause, remedy),
        Message::Shadowed(shadowed) => {
            let of = |f: &&mut Firewall| f.id == shadowed.id;
            if let Some(firewall) = state.firewalls.iter_mut().find(of)
                && Arc::ptr_eq(firewall.kernel(), &shadowed.ruleset)
            {
                firewall.set_shadows(shadowed.found);
                state.dirty = true;
            }
        }
        Message::Shelf(shelf) => state.shelf = shelf,
        Message::Connections(all) => {
            if let Some(Dialog::Connections(open)) = &mut state.dialog {
                open.all = Some(all);
                state.dirty = true;
            }
        }
        Message::Say(text) => act::say(state, text),
        Message::Checked(checked) => return review::checked(state, checked),
        Message::Applying(words) => review::step(state, words),
        Message::Refused(what, remedy) => return review::refused(state, what, remedy),
        Message::Settled(words, deleted) => return review::settled(state, words, deleted),
        Message::Ended(kept, words) => {
            state.change.kept = kept;
            act::say(state, words);
        }
        Message::Pending(pending) => return review::now_pending(state, pending),
        Message::Evidence(evidence) => {
            state.dirty |= state.change.evidence.as_ref() != Some(&evidence);
            state.change.evidence = Some(evidence);
        }
        Message::Key(_)
        | Message::Paste(_)
        | Message::Viewport(_)
        | Message::Wake
        | Message::Names(_)
        | Message::Resolved { .. }
        | Message::RuleChecked { .. }
        | Message::SavedSeen(..)
        | Message::SavedWritten(_)
        | Message::History(_)
        | Message::PastState(_)
        | Message::Answered(_)
        | Message::Beside(_)
        | Message::Offered(_) => {}
    }
    Vec::new()
}

/// Adds a notice; what is more than good to know is said once on the message line.
fn put(state: &mut State, notice: Notice) {
    let words = (notice.level > Level::Info).then(|| notice.text.clone());
    if state.notices.put(notice) {
        state.dirty = true;
        if let Some(words) = words {
            act::say(state, words);
        }
    }
}

/// Counters were read.
fn count(state: &mut State, id: FirewallId, at: Duration, readings: &[Reading]) -> Vec<Effect> {
    if state.frozen {
        return Vec::new();
    }
    let now = state.now;
    let Some(firewall) = state.firewalls.iter_mut().find(|f| f.id == id) else {
        return Vec::new();
    };
    let before = firewall.logged();
    if !firewall.read(at, readings) {
        return Vec::new();
    }
    for (channel, packets) in firewall.logged() {
        let was = before.get(&channel).copied().unwrap_or(packets);
        state
            .silence
            .counted(now, channel, packets.saturating_sub(was));
    }
    state.dirty = true;
    if state.board.rows_follow_counters() {
        travel::relist(state);
    }
    // Once, while the cursor is nobody's: onto what drops the most.
    if !state.aimed
        && !state.board.touched
        && let Some((place, rule)) = travel::hottest(state)
    {
        state.aimed = true;
        let row = match rule {
            Some(rule) => number_in(state, place, rule),
            None => Some(Row::Policy),
        };
        return travel::go(state, place, row);
    }
    Vec::new()
}

pub(super) fn number_in(state: &State, place: Place, rule: crate::ruleset::RuleIdx) -> Option<Row> {
    let chain = state
        .firewalls
        .get(place.firewall)?
        .ruleset
        .chain(place.chain);
    let at = chain.rules().iter().position(|r| *r == rule)?;
    Some(Row::Rule(rule, at + 1))
}

/// The kernel's log brought lines.
fn lines(state: &mut State, batch: Batch) {
    // Whose lines they are is asked only while somebody waits for one.
    if state.silence.is_waiting() || state.silence.silent().next().is_some() {
        for line in &batch.lines {
            hear(state, line);
        }
    }
    state.feed.push(state.now, batch);
    state.dirty |= state
        .drops
        .look(&state.feed, state.now, state.viewport.drops);
}

/// A line that one of the rules could have written ends the silence of its way.
fn hear(state: &mut State, line: &KernelLine) {
    let ours = matches!(
        state.writer_of(line),
        Attribution::Certain(_) | Attribution::Several(_)
    );
    let family = line.log().and_then(|log| log.packet.family);
    let channel = match (line.source, family) {
        (LogSource::Nflog(group), _) => LogChannel::Group(group),
        (_, Some(family)) => LogChannel::Kernel(family),
        _ => return,
    };
    if ours {
        state.silence.heard(channel);
        state.dirty |= state.notices.withdraw(&silent_key(channel));
    }
}

/// Key of the notice that a way is silent.
fn silent_key(channel: LogChannel) -> String {
    format!("silent {channel}")
}

/// Looks at the clock: a way that has been silent for long enough is asked about.
pub(super) fn listen(state: &mut State) -> Vec<Effect> {
    if state.frozen || !state.silence.tick(state.now) {
        return Vec::new();
    }
    state
        .silence
        .silent()
        .map(|way| Effect::ExplainSilence(way.channel))
        .collect()
}

/// Why rules that log are not heard.
fn silent(state: &mut State, channel: LogChannel, cause: &str, remedy: String) {
    let found = state.silence.silent().find(|way| way.channel == channel);
    let Some(way) = found else { return };
    let text = format!(
        "{channel} count packets ({}), and no line arrives: {cause}",
        way.packets
    );
    put(
        state,
        Notice::new(Level::Warning, silent_key(channel), text, remedy),
    );
}

/// From a line of the feed to the rule that wrote it.
pub(super) fn open_line(state: &mut State) -> Vec<Effect> {
    let Some(row) = state.drops.selected() else {
        return Vec::new();
    };
    let (writer, words) = match state.writer_of(row.line()) {
        Attribution::Certain(writer) => (Some(writer), after(state, &writer)),
        Attribution::Several(writers) => {
            let words = format!("one of {} rules that may have written this", writers.len());
            (writers.first().copied(), words)
        }
        Attribution::NoRule(Unruled::Trace) => (None, "a trace names its rule itself".to_owned()),
        Attribution::NoRule(Unruled::Conntrack) => (
            None,
            "conntrack wrote this (nf_conntrack_log_invalid), no rule did".to_owned(),
        ),
        Attribution::NoRule(Unruled::Damaged) => (
            None,
            "the line arrived garbled: no rule is named for it".to_owned(),
        ),
        Attribution::NoRule(Unruled::Event) => {
            (None, "the kernel wrote this, no rule did".to_owned())
        }
        Attribution::Nobody => (
            None,
            "no rule that is loaded now writes such a line".to_owned(),
        ),
    };
    act::say(state, words);
    let Some(writer) = writer else {
        return Vec::new();
    };
    let Some(firewall) = state.firewalls.get(writer.set) else {
        return Vec::new();
    };
    let rule = firewall.shown_rule(writer.rule);
    let Some(chain) = firewall.ruleset.chain_of(rule) else {
        return Vec::new();
    };
    let place = Place {
        firewall: writer.set,
        chain,
    };
    travel::go_to_rule(state, place, Some(rule))
}

/// What became of the packet after it was logged.
fn after(state: &State, writer: &Writer<usize>) -> String {
    let Some(firewall) = state.firewalls.get(writer.set) else {
        return String::new();
    };
    let set = firewall.kernel();
    match writer.then {
        None => "this rule wrote the line".to_owned(),
        Some(Then::Policy(chain)) => {
            format!(
                "this rule wrote the line; then the policy of {} decided",
                set.chain(chain).name()
            )
        }
        Some(Then::Rule(rule)) => {
            let chain = set
                .chain_of(rule)
                .map_or("?", |chain| set.chain(chain).name());
            format!(
                "this rule wrote the line; then rule {} of {chain} decided",
                firewall.board_number(rule)
            )
        }
    }
}
