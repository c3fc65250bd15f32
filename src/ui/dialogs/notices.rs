//! What is missing, and why: what happened, and what to do about it.

use crate::app::gauge::GaugeState;
use crate::app::notice::Level;
use crate::app::state::State;
use crate::ui::dialogs::Line;
use crate::ui::theme::Theme;
use crate::ui::words;

/// The text, for lines of so many cells.
pub fn lines(state: &State, theme: &Theme, cells: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for notice in state.notices.list() {
        let (mark, style) = match notice.level {
            Level::Info => ("· ", theme.text.style()),
            Level::Warning => ("! ", theme.caution.style()),
            Level::Alarm => ("■ ", theme.alarm.style()),
        };
        put(&mut lines, mark, &notice.text, style, cells);
        put(&mut lines, "  ", &notice.remedy, theme.quiet.style(), cells);
        lines.push(Line::new());
    }
    if let GaugeState::Failed(text) = state.gauge.state() {
        put(&mut lines, "! ", text, theme.caution.style(), cells);
    }
    if lines.is_empty() {
        lines.push(vec![("nothing is missing".to_owned(), theme.quiet.style())]);
    }
    lines
}

fn put(lines: &mut Vec<Line>, mark: &str, text: &str, style: ratatui::style::Style, cells: usize) {
    if text.is_empty() {
        return;
    }
    let text = words::clean_str(text);
    for (i, part) in words::wrap(&text, cells.saturating_sub(2))
        .into_iter()
        .enumerate()
    {
        let mark = if i == 0 { mark } else { "  " };
        lines.push(vec![(format!("{mark}{part}"), style)]);
    }
}
