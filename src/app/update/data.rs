//! What the box sends: structures, counters, log lines, the conntrack table.

use std::time::Duration;

use super::{act, travel};
use crate::app::attribution::{Attribution, Then, Unruled, Writer};
use crate::app::board::{Place, Row};
use crate::app::firewall::{Firewall, FirewallId};
use crate::app::message::{Effect, Loaded, Message};
use crate::app::notice::{Level, Notice};
use crate::app::state::State;
use crate::flow::{Batch, KernelLine, LogChannel, LogSource};
use crate::ruleset::{Author, Reading};

/// Takes in one message from the box.
pub(super) fn take(state: &mut State, message: Message) -> Vec<Effect> {
    match message {
        Message::Loaded(loaded) => return load(state, *loaded),
        Message::Counters { id, at, readings } => return count(state, id, at, &readings),
        Message::Gone(id) => return gone(state, id),
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
        Message::Say(text) => act::say(state, text),
        Message::Key(_)
        | Message::Paste(_)
        | Message::Viewport(_)
        | Message::Wake
        | Message::Answered(_)
        | Message::Beside(_) => {}
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

/// A structure was read, for the first time or anew.
fn load(state: &mut State, loaded: Loaded) -> Vec<Effect> {
    state.dirty = true;
    state.answered = true;
    state.loading.retain(|(id, _)| *id != loaded.id);
    let mut firewall = Firewall::new(loaded.id, loaded.ruleset, loaded.handles);
    firewall.set_lossy(loaded.lossy);
    firewall.log_rules = loaded.log_rules;
    firewall.set_uncounted(loaded.uncounted_rules, loaded.uncounted_policies);
    let known = state.firewalls.iter().position(|f| f.id == loaded.id);
    match known {
        Some(at) => replace(state, at, firewall, loaded.author),
        None => {
            let at = state
                .firewalls
                .partition_point(|f| order(f.id) < order(firewall.id));
            insert(state, at, firewall);
        }
    }
    relist(state)
}

/// v4 before v6 within a back end, nft before legacy.
fn order(id: FirewallId) -> impl Ord {
    (id.backend, id.family, id.nth)
}

fn insert(state: &mut State, at: usize, mut firewall: Firewall) {
    firewall.set_zero(state.zeroed.is_some());
    state.firewalls.insert(at, firewall);
    let moved = |place: &mut Place| place.firewall += usize::from(place.firewall >= at);
    state.board.place.iter_mut().for_each(moved);
    state
        .board
        .trail
        .iter_mut()
        .for_each(|(place, _)| moved(place));
}

/// A structure took the place of another: the cursor follows the rule that it was on, or says that it
/// went.
fn replace(state: &mut State, at: usize, mut new: Firewall, author: Option<Author>) {
    let old = &state.firewalls[at];
    let heirs = new.inherit(old, state.now);
    let same = new.has_structure_of(old);
    let map = crate::app::succession::chain_map(&new.ruleset, &old.ruleset);
    let successor = |chain: crate::ruleset::ChainIdx| {
        let to = map.get(chain.0 as usize).copied().flatten()?;
        u32::try_from(to).ok().map(crate::ruleset::ChainIdx)
    };
    let by = author
        .map(|who| format!(" by {} ({})", who.name, who.pid))
        .unwrap_or_default();
    let mut words = format!("{} changed{by}", state.label(new.id));
    let selected = state.selected().filter(|s| s.firewall == at);
    let mut wanted = None;
    if let Some(selected) = selected {
        match (successor(selected.chain), selected.row) {
            (None, _) => {
                let chain = old.ruleset.chain(selected.chain).name();
                words = format!("chain {chain} went{by}");
            }
            (Some(_), Some(Row::Rule(rule, number))) => match heirs.of(rule) {
                Some(rule) => wanted = Some(rule),
                None => words = format!("rule {number} went{by}"),
            },
            (Some(_), _) => {}
        }
    }
    state.board.trail.retain_mut(|(place, _)| {
        place.firewall != at || successor(place.chain).map(|to| place.chain = to).is_some()
    });
    if let Some(place) = &mut state.board.place
        && place.firewall == at
    {
        match successor(place.chain) {
            Some(chain) => place.chain = chain,
            None => state.board.place = None,
        }
    }
    let policy = matches!(selected.and_then(|s| s.row), Some(Row::Policy));
    state.firewalls[at] = new;
    state.board.measure(&state.firewalls);
    state.board.list_rules(&state.firewalls);
    let row = wanted
        .and_then(|rule| number_of(state, rule))
        .or(policy.then_some(Row::Policy));
    travel::aim(state, row);
    if !same {
        act::say(state, words);
    }
}

fn number_of(state: &State, rule: crate::ruleset::RuleIdx) -> Option<Row> {
    let chain = state.firewall()?.ruleset.chain(state.board.place?.chain);
    let at = chain.rules().iter().position(|r| *r == rule)?;
    Some(Row::Rule(rule, at + 1))
}

/// The lists follow what is there; a board without a place gets one.
fn relist(state: &mut State) -> Vec<Effect> {
    state.board.list_chains(&state.firewalls, &state.native);
    // As long as the cursor is nobody's, it stands where the whole picture begins.
    let free = state.board.place.is_none() || (!state.aimed && !state.board.touched);
    if free && let Some(place) = travel::beginning(state) {
        return travel::go(state, place, None);
    }
    state.board.list_rules(&state.firewalls);
    travel::settle(state);
    let watch = state
        .board
        .place
        .and_then(|p| Some(Effect::Watch(state.firewalls.get(p.firewall)?.id, p.chain)));
    watch.into_iter().collect()
}

/// A ruleset is no longer there.
fn gone(state: &mut State, id: FirewallId) -> Vec<Effect> {
    state.dirty |= !state.answered;
    state.answered = true;
    state.loading.retain(|(o, _)| *o != id);
    let Some(at) = state.firewalls.iter().position(|f| f.id == id) else {
        return Vec::new();
    };
    let label = state.label(id);
    state.firewalls.remove(at);
    let follow = |place: &mut Place| {
        let stays = place.firewall != at;
        place.firewall -= usize::from(place.firewall > at);
        stays
    };
    state.board.trail.retain_mut(|(place, _)| follow(place));
    if state
        .board
        .place
        .as_mut()
        .is_some_and(|place| !follow(place))
    {
        state.board.place = None;
    }
    act::say(state, format!("{label} went: its ruleset is empty"));
    relist(state)
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

fn number_in(state: &State, place: Place, rule: crate::ruleset::RuleIdx) -> Option<Row> {
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
    let Some(set) = state.firewalls.get(writer.set).map(|f| &f.ruleset) else {
        return Vec::new();
    };
    let Some(chain) = set.chain_of(writer.rule) else {
        return Vec::new();
    };
    let place = Place {
        firewall: writer.set,
        chain,
    };
    travel::go_to_rule(state, place, Some(writer.rule))
}

/// What became of the packet after it was logged.
fn after(state: &State, writer: &Writer<usize>) -> String {
    let Some(set) = state.firewalls.get(writer.set).map(|f| &f.ruleset) else {
        return String::new();
    };
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
                set.number(rule)
            )
        }
    }
}
