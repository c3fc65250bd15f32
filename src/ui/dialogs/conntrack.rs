//! The conntrack table in full: how full, how fast, and the counters that should stand still.

use ratatui::style::Style;

use crate::app::gauge::{Gauge, GaugeState, Level};
use crate::app::state::State;
use crate::flow::ConntrackReading;
use crate::ui::dialogs::Line;
use crate::ui::theme::Theme;
use crate::ui::words;

/// The text, for lines of so many cells.
pub fn lines(state: &State, theme: &Theme, cells: usize) -> Vec<Line> {
    let quiet = theme.quiet.style();
    match state.gauge.state() {
        GaugeState::Unknown => vec![vec![("not looked at yet".to_owned(), quiet)]],
        GaugeState::Absent => vec![
            vec![(
                "conntrack is not in use in this network namespace".to_owned(),
                theme.text.style(),
            )],
            vec![(
                "no rule asks for a state, and nothing is translated (NAT)".to_owned(),
                quiet,
            )],
        ],
        GaugeState::Failed(text) => {
            let lines = words::wrap(&words::clean_str(text), cells);
            lines
                .into_iter()
                .map(|line| vec![(line, theme.caution.style())])
                .collect()
        }
        GaugeState::Live(reading) => live(&state.gauge, reading, theme, cells),
    }
}

fn live(gauge: &Gauge, reading: &ConntrackReading, theme: &Theme, cells: usize) -> Vec<Line> {
    let (text, quiet) = (theme.text.style(), theme.quiet.style());
    let level = match gauge.level() {
        Level::Calm => text,
        Level::Amber => theme.caution.style(),
        Level::Red => theme.alarm.style(),
    };
    let mut lines: Vec<Line> = Vec::new();
    let mut pair = |name: &str, value: String, style: Style| {
        lines.push(vec![(format!("{name:<16}"), quiet), (value, style)]);
    };
    let max = if reading.max == 0 {
        "no bound".to_owned()
    } else {
        words::exact(reading.max)
    };
    let share = gauge
        .fill()
        .map(|fill| format!("  {:.1} %", fill * 100.0))
        .unwrap_or_default();
    pair(
        "entries",
        format!("{} of {max}{share}", words::exact(reading.count)),
        level,
    );
    if let Some(growth) = gauge.growth() {
        pair("growth", format!("{growth:+.1} a second"), text);
    }
    if let Some(full) = gauge.full_in() {
        pair("full in", words::span(full), level);
    }
    if let Some(buckets) = reading.buckets {
        let load = gauge
            .load()
            .map(|load| format!(", {load:.2} entries in each"))
            .unwrap_or_default();
        pair("buckets", format!("{}{load}", words::exact(buckets)), text);
    }
    let rates = gauge.rates();
    for (name, rate, alarms) in [
        ("drop", rates.drop, true),
        ("early_drop", rates.early_drop, true),
        ("insert_failed", rates.insert_failed, true),
        ("search_restart", rates.search_restart, false),
        ("invalid", rates.invalid, false),
    ] {
        let (value, style) = match rate {
            None => ("this kernel does not say, or not yet".to_owned(), quiet),
            Some(rate) if rate > 0.0 => {
                let style = if alarms { theme.caution.style() } else { text };
                (format!("{} a second", words::rate(rate)), style)
            }
            Some(_) => ("0 a second".to_owned(), quiet),
        };
        pair(name, value, style);
    }
    for reason in gauge.reasons() {
        pair("look at", reason.to_string(), level);
    }
    let history: Vec<u64> = gauge.history().collect();
    let (least, most) = (history.iter().min().copied(), history.iter().max().copied());
    if let (Some(least), Some(most)) = (least, most) {
        let seconds = Gauge::STEP * u32::try_from(history.len().min(cells)).unwrap_or(0);
        let title = format!(
            "the last {}: {} to {}",
            words::span(seconds),
            words::exact(least),
            words::exact(most)
        );
        lines.push(Line::new());
        lines.push(vec![(title, quiet)]);
        lines.push(vec![(words::spark(&history, cells), level)]);
    }
    lines
}
