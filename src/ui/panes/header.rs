//! The header: which box, which rulesets, the policies with their rates, the conntrack gauge.
//!
//! ```text
//!  ruletop  web-3 · 6.1.0 · nft · v4 v6                              2 notices  ● 1s
//!  INPUT DROP 41/s  FORWARD ACCEPT ·  OUTPUT ACCEPT 310/s   ct ███████▌··· 68% 178k/262k +812/s full 1m43s ▁▂▃▅▇
//! ```
//!
//! Nothing here moves by itself: an age is shown only once a reading is late.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::style::Style;

use crate::app::action::Action;
use crate::app::gauge::{GaugeState, Level, Reason};
use crate::app::state::{Mode, State};
use crate::ruleset::Policy;
use crate::ui::layout::Areas;
use crate::ui::panes::rules::{policy_name, shown_rate};
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;
use crate::ui::words;

/// Draws the header.
pub fn draw(state: &State, theme: &Theme, areas: &Areas, buffer: &mut Buffer) {
    let area = areas.header;
    let mut pen = Pen::new(buffer, area, 0);
    let (quiet, text) = (theme.quiet.style(), theme.text.style());
    pen.skip(1).put(
        "ruletop",
        theme
            .accent
            .style()
            .add_modifier(ratatui::style::Modifier::BOLD),
    );
    let mut aside = staged(state, theme);
    aside.extend(condition(state, theme));
    let taken: usize = aside.iter().map(|(t, _)| words::width(t)).sum();
    let room = pen.room().saturating_sub(taken + 5);
    let title = words::fit(&title(state), room).into_owned();
    match title.split_once("  ") {
        Some((what, rest)) => pen.skip(2).put(what, text).skip(2).put(rest, quiet),
        None => pen.skip(2).put(&title, text),
    };
    let parts: Vec<(&str, Style)> = aside.iter().map(|(t, s)| (t.as_str(), *s)).collect();
    pen.right(&parts);
    if area.height > 1 {
        let mut pen = Pen::new(buffer, area, 1);
        let gauge = gauge(state, theme, usize::from(area.width));
        let width: usize = gauge.iter().map(|(t, _)| words::width(t)).sum();
        policies(state, theme, &mut pen, width);
        let parts: Vec<(&str, Style)> = gauge.iter().map(|(t, s)| (t.as_str(), *s)).collect();
        pen.right(&parts);
    }
}

/// The box and its rulesets, then what is looked at.
fn title(state: &State) -> String {
    let facts = &state.facts;
    let mut parts: Vec<String> = Vec::new();
    match &facts.mode {
        Mode::File(name) => {
            let last = name.rsplit('/').next().unwrap_or(name);
            parts.push(format!("file {last}"));
        }
        Mode::Demo { name, .. } => parts.push(format!("demo {name}")),
        Mode::Live => parts.extend([facts.host.clone(), facts.kernel.clone()]),
    }
    let mut backends: Vec<&str> = state
        .firewalls
        .iter()
        .filter_map(|f| Some(f.id.backend?.name()))
        .collect();
    backends.dedup();
    parts.push(backends.join(" + "));
    let mut families: Vec<&str> = state.firewalls.iter().map(|f| f.id.family.name()).collect();
    families.sort_unstable();
    families.dedup();
    parts.push(families.join(" "));
    parts.retain(|part| !part.is_empty());
    let what = words::clean_str(&parts.join(" · ")).into_owned();
    match &facts.mode {
        Mode::Demo { symptom, .. } => format!("{what}  {}", words::clean_str(symptom)),
        _ => what,
    }
}

/// How much is staged, and the key that goes on from there.
fn staged(state: &State, theme: &Theme) -> Vec<(String, Style)> {
    let (count, key) = (state.staged(), state.keymap.key_of(Action::Apply));
    match (count, key) {
        (0, _) | (_, None) => Vec::new(),
        (n, Some(key)) => vec![
            (format!("{n} staged "), theme.staged.style()),
            (key.to_string(), theme.accent.style()),
            (" apply  ".to_owned(), theme.quiet.style()),
        ],
    }
}

/// Notices, frozen or live, and the age of a late reading.
fn condition(state: &State, theme: &Theme) -> Vec<(String, Style)> {
    let mut parts = Vec::new();
    match state.notices.grave() {
        0 => {}
        1 => parts.push(("1 notice  ".to_owned(), theme.caution.style())),
        n => parts.push((format!("{n} notices  "), theme.caution.style())),
    }
    if !state.is_live() {
        parts.push(("saved dump ".to_owned(), theme.quiet.style()));
        return parts;
    }
    if state.frozen {
        parts.push((
            " ❚❚ frozen ".to_owned(),
            theme
                .caution
                .style()
                .add_modifier(ratatui::style::Modifier::REVERSED),
        ));
        return parts;
    }
    if let Some((origin, stage)) = state.loading.first() {
        parts.push((
            format!("{} {stage} … ", state.label(*origin)),
            theme.accent.style(),
        ));
        return parts;
    }
    let age = age(state);
    match age {
        Some(age) if age > state.interval * 3 => {
            parts.push((
                format!("◌ {} old ", words::span(age)),
                theme.caution.style(),
            ));
        }
        _ => {
            parts.push(("● ".to_owned(), theme.hot.style()));
            parts.push((format!("{:?} ", state.interval), theme.quiet.style()));
        }
    }
    parts
}

/// How old the reading of the chain in view is.
fn age(state: &State) -> Option<Duration> {
    let place = state.board.place?;
    let read = state
        .firewalls
        .get(place.firewall)?
        .activity(place.chain)
        .read?;
    Some(state.now.saturating_sub(read))
}

/// Policies of the filter table, of every ruleset that the line has room for; the one in view first.
fn policies(state: &State, theme: &Theme, pen: &mut Pen<'_>, taken: usize) {
    let viewed = state.board.place.map_or(0, |p| p.firewall);
    let mut order: Vec<usize> = (0..state.firewalls.len()).collect();
    order.sort_by_key(|i| *i != viewed);
    for i in order {
        let firewall = &state.firewalls[i];
        let mut parts = vec![(
            format!(" {} ", state.label(firewall.id)),
            theme.quiet.style(),
        )];
        for name in ["INPUT", "FORWARD", "OUTPUT"] {
            let Some(chain) = firewall.ruleset.find_chain("filter", name) else {
                continue;
            };
            let policy = firewall.kernel_policy(chain);
            let rate = firewall.policy_rate(chain);
            let style = match (policy, rate.moves()) {
                (Some(Policy::Drop), true) => theme.alarm.style(),
                (_, true) => theme.text.style(),
                (_, false) => theme.quiet.style(),
            };
            let moving = if rate.moves() { "/s" } else { "" };
            let mark = if policy == Some(Policy::Drop) && rate.moves() {
                "■"
            } else {
                ""
            };
            let rate = words::rate(shown_rate(rate, state.bits));
            parts.push((
                format!(" {mark}{name} {} {rate}{moving} ", policy_name(policy)),
                style,
            ));
        }
        let width =
            |parts: &[(String, Style)]| parts.iter().map(|(t, _)| words::width(t)).sum::<usize>();
        // The ruleset in view gives what fits of it; the others come whole or not at all.
        while i == viewed && parts.len() > 1 && width(&parts) + taken + 1 > pen.room() {
            parts.pop();
        }
        if parts.len() < 2 || width(&parts) + taken + 1 > pen.room() {
            break;
        }
        for (text, style) in &parts {
            pen.put(text, *style);
        }
    }
}

/// A calm table that is full later than this is no news.
const NEAR: Duration = Duration::from_secs(3_600);

/// The conntrack gauge, as much of it as a screen so wide has room for.
fn gauge(state: &State, theme: &Theme, screen: usize) -> Vec<(String, Style)> {
    let quiet = theme.quiet.style();
    let reading = match state.gauge.state() {
        GaugeState::Unknown => return Vec::new(),
        GaugeState::Absent => return vec![("conntrack not in use ".to_owned(), quiet)],
        GaugeState::Failed(_) => {
            return vec![("conntrack not readable ".to_owned(), theme.caution.style())];
        }
        GaugeState::Live(reading) => reading,
    };
    let level = match state.gauge.level() {
        Level::Calm => theme.text.style(),
        Level::Amber => theme.caution.style(),
        Level::Red => theme.alarm.style(),
    };
    let mut parts = vec![("ct ".to_owned(), quiet)];
    let count = words::short(reading.count).replace('·', "0");
    match state.gauge.fill() {
        None => parts.push((format!("{count} "), level)),
        Some(fill) => {
            if screen >= 100 {
                parts.push((meter(fill, 10), level));
            }
            parts.push((format!(" {:.0}% ", fill * 100.0), level));
            parts.push((
                format!("{count}/{} ", words::short(reading.max)),
                theme.text.style(),
            ));
        }
    }
    if let Some(growth) = state.gauge.growth().filter(|g| g.abs() >= 0.5) {
        let arrow = if growth > 0.0 { "▲" } else { "▼" };
        parts.push((format!("{arrow}{}/s ", words::rate(growth.abs())), quiet));
    }
    let soon = |full: &Duration| *full < NEAR || state.gauge.level() > Level::Calm;
    if let Some(full) = state.gauge.full_in().filter(soon) {
        parts.push((format!("full {} ", words::span(full)), level));
    }
    for reason in state
        .gauge
        .reasons()
        .into_iter()
        .filter(|reason| !matches!(reason, Reason::Filling(_) | Reason::FullSoon(_))) // said already
        .take(if screen >= 140 { 3 } else { 1 })
    {
        parts.push((format!("{reason} "), level));
    }
    if screen >= 140 {
        if let Some(load) = state.gauge.load() {
            parts.push((format!("{load:.2}/bucket "), quiet));
        }
        let history: Vec<u64> = state.gauge.history().collect();
        parts.push((words::spark(&history, 24), level));
        parts.push((" ".to_owned(), quiet));
    }
    parts
}

/// A bar of so many cells, in eighths.
pub fn meter(fill: f64, cells: usize) -> String {
    const EIGHTHS: [&str; 8] = ["·", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let eighths = (fill.clamp(0.0, 1.0) * cells as f64 * 8.0).round() as usize;
    (0..cells)
        .map(|cell| match eighths.saturating_sub(cell * 8) {
            8.. => "█",
            part => EIGHTHS[part],
        })
        .collect()
}
