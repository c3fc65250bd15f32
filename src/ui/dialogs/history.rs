//! The history: the changes, newest first, and the chosen one in full.

use crate::app::history::{History, Past};
use crate::ui::dialogs::Line;
use crate::ui::theme::Theme;
use crate::ui::words;

/// The title of the page.
pub fn title(history: &History) -> String {
    match (history.page, history.chosen()) {
        (Some(_), Some(past)) => format!("change {}", words::clean_str(&past.id)),
        _ => "history".to_owned(),
    }
}

/// Lines scrolled away, where so many are in sight.
pub fn top(history: &History, rows: usize) -> usize {
    match history.page {
        Some(top) => top,
        None => (history.at + 1).saturating_sub(rows),
    }
}

/// The text, for lines of so many cells.
pub fn lines(history: &History, theme: &Theme, cells: usize) -> Vec<Line> {
    let quiet = theme.quiet.style();
    if let Some(why) = &history.trouble {
        let wrapped = words::wrap(&words::clean_str(why), cells).into_iter();
        return wrapped
            .map(|line| vec![(line, theme.caution.style())])
            .collect();
    }
    let Some(changes) = &history.changes else {
        return vec![vec![("reading …".to_owned(), quiet)]];
    };
    if let (Some(_), Some(past)) = (history.page, history.chosen()) {
        return page(past, theme, cells);
    }
    if changes.is_empty() {
        return vec![vec![(
            "nothing was changed with ruletop yet".to_owned(),
            quiet,
        )]];
    }
    let rows = changes.iter().enumerate();
    rows.map(|(i, past)| row(past, i == history.at, theme, cells))
        .collect()
}

fn row(past: &Past, is_chosen: bool, theme: &Theme, cells: usize) -> Line {
    let lines = match past.lines.len() {
        1 => "1 line".to_owned(),
        n => format!("{n} lines"),
    };
    let text = format!(
        "{} {}  {}  {}, {lines}, by {}",
        if is_chosen { "▸" } else { " " },
        moment(&past.when),
        past.outcome,
        past.why,
        past.who,
    );
    let text = words::clean_str(&text);
    let line = words::wrap(&text, cells)
        .into_iter()
        .next()
        .unwrap_or_default();
    let style = match (is_chosen, past.is_undone) {
        (true, _) => theme.accent.style(),
        (false, true) => theme.quiet.style(),
        (false, false) => theme.text.style(),
    };
    vec![(line, style)]
}

/// `2026-01-31 23:59` of an RFC 3339 time.
fn moment(when: &str) -> String {
    let minutes: String = when.chars().take(16).collect();
    minutes.replace('T', " ")
}

fn page(past: &Past, theme: &Theme, cells: usize) -> Vec<Line> {
    let (text, quiet) = (theme.text.style(), theme.quiet.style());
    let mut lines: Vec<Line> = Vec::new();
    for (name, value) in [
        ("when", &past.when),
        ("by", &past.who),
        ("with", &past.why),
        ("end", &past.outcome),
        ("backup", &past.backup),
    ] {
        let value = words::clean_str(value);
        for part in words::wrap(&value, cells.saturating_sub(8)) {
            lines.push(vec![(format!("{name:<8}"), quiet), (part, text)]);
        }
    }
    lines.push(Line::new());
    for line in &past.lines {
        let style = super::diff_style(line, theme);
        for part in words::wrap(&words::clean_str(line), cells) {
            lines.push(vec![(part, style)]);
        }
    }
    lines
}
