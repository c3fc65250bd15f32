//! What each action does. One arm an action; the work is done by the functions that they name.

use std::time::Duration;

use super::{editing, probe, review, stage, travel, typing, why};
use crate::app::action::{Action, Place as KeyPlace};
use crate::app::board::{Entry, Pane, Place, Row, Show, Sort};
use crate::app::message::Effect;
use crate::app::state::{Dialog, Picker, SAID_FOR, State};
use crate::app::{history, keep};
use crate::ruleset::BaseChain;

/// The refresh intervals that one steps through.
const INTERVALS: [Duration; 7] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// Says a short word on the message line.
pub(in crate::app) fn say(state: &mut State, text: impl Into<String>) {
    state.said = Some((text.into(), state.now + SAID_FOR));
    state.dirty = true;
}

/// Runs an action of the board or of an open dialog.
pub(super) fn run(state: &mut State, action: Action) -> Vec<Effect> {
    if moves(action) {
        state.board.touched = true;
    }
    let everywhere = matches!(action, Action::Quit | Action::Suspend | Action::Redraw);
    match state.key_place() {
        KeyPlace::Review if !everywhere => return review::review(state, action),
        KeyPlace::Pending if !everywhere => return review::pending(state, action),
        KeyPlace::Keep if !everywhere => return keep::run(state, action),
        KeyPlace::History if !everywhere => return history::run(state, action),
        _ => {}
    }
    match action {
        Action::Quit => return vec![Effect::Quit],
        Action::Suspend => return vec![Effect::Suspend],
        Action::Redraw => return vec![Effect::Redraw],
        Action::Cancel => cancel(state),
        Action::Why => return why::open(state),
        Action::Ask => why::ask(state),
        Action::Unfold => why::unfold(state),
        Action::NextFix => why::next_offer(state),
        Action::StageFix => return why::stage_offer(state),
        Action::Help => state.dialog = Some(Dialog::Help(Picker::default())),
        Action::Chains => state.dialog = Some(Dialog::Chains(Picker::default())),
        Action::Notices => state.dialog = Some(Dialog::Notices(0)),
        Action::Connections if !state.is_live() => {
            say(state, "a saved dump tells of no connections");
        }
        Action::Connections => {
            state.dialog = Some(Dialog::Connections(Box::default()));
            return vec![Effect::ReadConnections];
        }
        Action::Conntrack => state.dialog = Some(Dialog::Conntrack(0)),
        Action::Detail => open_detail(state),
        Action::NextPane => turn(state, true),
        Action::PreviousPane => turn(state, false),
        Action::PaneChains => state.board.pane = Pane::Chains,
        Action::PaneRules => state.board.pane = Pane::Rules,
        Action::PaneDrops => state.board.pane = Pane::Drops,
        Action::Zoom => state.board.zoom = !state.board.zoom,
        Action::Up => return travel_by(state, -1),
        Action::Down => return travel_by(state, 1),
        Action::PageUp => return travel_by(state, -page(state)),
        Action::PageDown => return travel_by(state, page(state)),
        Action::First => return travel_by(state, isize::MIN),
        Action::Last => return travel_by(state, isize::MAX),
        Action::Left => state.board.shift = state.board.shift.saturating_sub(8),
        Action::Right => state.board.shift = (state.board.shift + 8).min(400),
        Action::Open => return open(state),
        Action::Back => return travel::back(state),
        Action::NextChain => return travel::neighbour(state, true),
        Action::PreviousChain => return travel::neighbour(state, false),
        Action::NextLit => return travel::next_lit(state, true),
        Action::PreviousLit => return travel::next_lit(state, false),
        Action::Hottest => return hottest(state),
        Action::Sort => {
            state.board.sort = match state.board.sort {
                Sort::Kernel => Sort::Rate,
                Sort::Rate => Sort::Packets,
                Sort::Packets => Sort::Kernel,
            };
            travel::relist(state);
        }
        Action::Hide => {
            state.board.show = match state.board.show {
                Show::All => Show::Matched,
                Show::Matched => Show::Never,
                Show::Never => Show::All,
            };
            travel::relist(state);
        }
        Action::Zero => zero(state),
        Action::Units => state.bits = !state.bits,
        Action::Freeze => {
            state.frozen = !state.frozen;
            pause(state, state.frozen);
            return vec![Effect::Freeze(state.frozen)];
        }
        Action::Filter => typing::open(state),
        Action::Group => {
            state.drops.toggle();
            state
                .drops
                .take(&state.feed, state.now, state.viewport.drops);
        }
        Action::Pause => pause(state, state.feed.paused_at().is_none()),
        Action::Copy => return copy(state),
        Action::Faster => return pace(state, false),
        Action::Slower => return pace(state, true),
        Action::ReadNow => {
            let mut effects = vec![Effect::ReadNow];
            effects.extend(why::again(state));
            return effects;
        }
        Action::Apply => return review::open(state),
        Action::Keep => return keep::open(state),
        Action::History => return history::open(state),
        Action::Probe => return probe::toggle(state),
        Action::MoveUp
        | Action::MoveDown
        | Action::MoveTo
        | Action::Delete
        | Action::Disable
        | Action::Duplicate
        | Action::Policy
        | Action::ZeroKernel
        | Action::AddChain
        | Action::RenameChain
        | Action::Undo
        | Action::Redo => return stage::run(state, action),
        Action::InsertBefore => return editing::insert(state, false),
        Action::InsertAfter => return editing::insert(state, true),
        Action::EditRule => return editing::edit(state),
        Action::Templates => return editing::templates(state),
        // Of typed lines alone.
        Action::Accept
        | Action::Erase
        | Action::EraseWord
        | Action::EraseLine
        | Action::Yes
        | Action::Revert
        | Action::MoreTime
        | Action::LessTime
        | Action::ReviewDiff
        | Action::ReviewCommands
        | Action::KeepRuntime
        | Action::StagePast
        | Action::EraseNext
        | Action::Complete
        | Action::CompleteBack
        | Action::SwitchView => {}
    }
    Vec::new()
}

/// Actions after which the cursor is the user's own.
fn moves(action: Action) -> bool {
    !matches!(
        action,
        Action::Help
            | Action::Notices
            | Action::Conntrack
            | Action::Connections
            | Action::Redraw
            | Action::Faster
            | Action::Slower
            | Action::Units
    )
}

/// Holds the drop feed, or lets it go on.
fn pause(state: &mut State, on: bool) {
    if on {
        state.feed.pause(state.now);
    } else {
        state.feed.resume();
    }
    state
        .drops
        .take(&state.feed, state.now, state.viewport.drops);
}

/// Text for the clipboard: what a packet's prefix or a comment may hold must not run when pasted.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .filter(|c| !c.is_control())
        .collect()
}

fn cancel(state: &mut State) {
    if state.dialog.take().is_some() || state.input.take().is_some() {
        return;
    }
    if state.board.zoom {
        state.board.zoom = false;
        return;
    }
    typing::apply(state, "");
}

fn turn(state: &mut State, forward: bool) {
    let panes = [Pane::Chains, Pane::Rules, Pane::Drops];
    let here = panes
        .iter()
        .position(|p| *p == state.board.pane)
        .unwrap_or(0);
    let step = if forward { 1 } else { panes.len() - 1 };
    state.board.pane = panes[(here + step) % panes.len()];
}

fn page(state: &State) -> isize {
    let rows = match (&state.dialog, state.board.pane) {
        (Some(_), _) => state.viewport.dialog,
        (None, Pane::Chains) => state.viewport.chains,
        (None, Pane::Rules) => state.viewport.rules,
        (None, Pane::Drops) => state.viewport.drops,
    };
    isize::try_from(rows.saturating_sub(1).max(1)).unwrap_or(1)
}

fn travel_by(state: &mut State, by: isize) -> Vec<Effect> {
    if let Some(Dialog::Notices(top) | Dialog::Detail(top) | Dialog::Conntrack(top)) =
        &mut state.dialog
    {
        // The drawing holds it inside the text, whose length it alone knows.
        *top = top.saturating_add_signed(by).min(10_000);
        return Vec::new();
    }
    if let Some(Dialog::Why(why)) = &mut state.dialog {
        why.go(by, state.viewport.dialog);
        return Vec::new();
    }
    let board = &mut state.board;
    match board.pane {
        Pane::Rules => {
            let rows = board.row_count();
            board.rules.go(
                board.rules.at.saturating_add_signed(by),
                rows,
                state.viewport.rules,
            );
        }
        Pane::Drops => {
            let at = state.drops.cursor.at.saturating_add_signed(by);
            state.drops.go(at, state.viewport.drops);
        }
        Pane::Chains => return chain_by(state, by),
    }
    Vec::new()
}

/// Moves in the chain list; headings are stepped over, and the rules follow along.
fn chain_by(state: &mut State, by: isize) -> Vec<Effect> {
    let board = &mut state.board;
    let selectable = |e: &Entry| matches!(e, Entry::Chain(..) | Entry::Native(_));
    let last = board.entries.len().saturating_sub(1);
    let wanted = board.chains.at.saturating_add_signed(by).min(last);
    let down = board
        .entries
        .iter()
        .enumerate()
        .skip(wanted)
        .find(|(_, e)| selectable(e));
    let up = board
        .entries
        .iter()
        .enumerate()
        .take(wanted + 1)
        .rev()
        .find(|(_, e)| selectable(e));
    let found = if by > 0 { down.or(up) } else { up.or(down) };
    let Some((at, entry)) = found.map(|(i, e)| (i, *e)) else {
        return Vec::new();
    };
    board
        .chains
        .go(at, board.entries.len(), state.viewport.chains);
    if board.chains.top == at && at > 0 {
        board.chains.top = at - 1; // keep the heading above the first chain in sight
    }
    match entry {
        Entry::Chain(firewall, chain) => travel::go(state, Place { firewall, chain }, None),
        Entry::Native(i) => {
            let words = state.native.get(i).map(native_words).unwrap_or_default();
            say(state, words);
            Vec::new()
        }
        Entry::Table(..) | Entry::NativeHeading => Vec::new(),
    }
}

/// A native chain in a line: iptables cannot show its rules.
fn native_words(chain: &BaseChain) -> String {
    let BaseChain {
        family,
        table,
        chain: name,
        hook,
        priority,
        rules,
        ..
    } = chain;
    let policy = if chain.drops_by_default {
        "drop"
    } else {
        "accept"
    };
    format!(
        "nft list chain {family} {table} {name}: {hook}, priority {priority}, policy {policy}, {rules} rules"
    )
}

fn open_detail(state: &mut State) {
    if state.selected().is_some_and(|s| s.row.is_some()) {
        state.dialog = Some(Dialog::Detail(0));
    }
}

fn open(state: &mut State) -> Vec<Effect> {
    if matches!(state.dialog, Some(Dialog::Why(_))) {
        return why::follow(state);
    }
    match state.board.pane {
        Pane::Chains => state.board.pane = Pane::Rules,
        Pane::Rules => {
            if let Some(effects) = travel::follow(state) {
                return effects;
            }
            open_detail(state);
        }
        Pane::Drops => return super::data::open_line(state),
    }
    Vec::new()
}

fn hottest(state: &mut State) -> Vec<Effect> {
    match travel::hottest(state) {
        Some((place, rule)) => travel::go_to_rule(state, place, rule),
        None => {
            say(state, "nothing is dropped now");
            Vec::new()
        }
    }
}

fn zero(state: &mut State) {
    let on = state.zeroed.is_none();
    state.zeroed = on.then_some(state.now);
    for firewall in &mut state.firewalls {
        firewall.set_zero(on);
    }
    travel::relist(state);
    say(
        state,
        if on {
            "counting from now, in this view only"
        } else {
            "the kernel's own counters"
        },
    );
}

fn pace(state: &mut State, slower: bool) -> Vec<Effect> {
    let here = INTERVALS
        .iter()
        .position(|i| *i >= state.interval)
        .unwrap_or(INTERVALS.len() - 1);
    let next = if slower {
        here + 1
    } else {
        here.saturating_sub(1)
    };
    state.interval = INTERVALS[next.min(INTERVALS.len() - 1)];
    say(state, format!("a reading every {:?}", state.interval));
    vec![Effect::Interval(state.interval)]
}

fn copy(state: &mut State) -> Vec<Effect> {
    let text = match state.board.pane {
        Pane::Drops => state
            .drops
            .selected()
            .map(|row| printable(&row.line().text)),
        _ => state.selected().and_then(|s| match s.row? {
            Row::Rule(rule, _) => {
                let set = &state.firewalls[s.firewall].ruleset;
                let spec = printable(set.spec(rule));
                Some(format!(
                    "-A {} {spec}",
                    printable(set.chain(s.chain).name_bytes())
                ))
            }
            Row::Policy => None,
        }),
    };
    match text {
        Some(text) => {
            say(state, "sent to the terminal's clipboard");
            vec![Effect::Copy(text)]
        }
        None => {
            say(state, "nothing here to send");
            Vec::new()
        }
    }
}
