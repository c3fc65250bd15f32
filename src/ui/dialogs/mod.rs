//! What lies open over the board: a box in the middle, with a list that narrows as one types or a text
//! that scrolls.

mod conntrack;
mod detail;
mod editor;
mod history;
mod keep;
mod list;
mod notices;
mod pending;
mod review;
mod templates;

use ratatui::buffer::Buffer;
use ratatui::layout::{Margin, Rect};
use ratatui::style::Style;
use ratatui::widgets::{Block, BorderType, Clear, Widget};

use crate::app::state::{Dialog, State};
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;

/// Draws the open dialog, if there is one.
pub fn draw(state: &State, theme: &Theme, screen: Rect, buffer: &mut Buffer) {
    match &state.dialog {
        // The explain screen is a pane of its own.
        None | Some(Dialog::Why(_)) => {}
        Some(Dialog::Help(picker)) => list::help(state, picker, theme, screen, buffer),
        Some(Dialog::Connections(open)) => list::connections(open, theme, screen, buffer),
        Some(Dialog::Chains(picker)) => list::chains(state, picker, theme, screen, buffer),
        Some(Dialog::Editor(editor)) => editor::draw(editor, theme, screen, buffer),
        Some(Dialog::Templates(picker)) => templates::draw(picker, theme, screen, buffer),
        Some(Dialog::Notices(top)) => {
            text(
                "what is missing, and why",
                &notices::lines(state, theme, inner(screen)),
                *top,
                theme,
                screen,
                buffer,
            );
        }
        Some(Dialog::Conntrack(top)) => {
            let lines = conntrack::lines(state, theme, inner(screen));
            text("conntrack", &lines, *top, theme, screen, buffer);
        }
        Some(Dialog::Review(it)) => {
            let lines = review::lines(state, it, theme, (inner(screen), rows(screen)));
            let title = review::title(state, it);
            text(&title, &lines, it.top, theme, screen, buffer);
        }
        Some(Dialog::Pending(top)) => {
            let lines = pending::lines(state, theme, inner(screen));
            text("keep it?", &lines, *top, theme, screen, buffer);
        }
        Some(Dialog::Keep(it)) => {
            let lines = keep::lines(it, theme, inner(screen));
            text(
                "keep for the next boot",
                &lines,
                it.top,
                theme,
                screen,
                buffer,
            );
        }
        Some(Dialog::History(it)) => {
            let lines = history::lines(it, theme, inner(screen));
            let rows = usize::from(place(screen, lines.len().max(3)).height.saturating_sub(2));
            let top = history::top(it, rows);
            text(&history::title(it), &lines, top, theme, screen, buffer);
        }
        Some(Dialog::Detail(top)) => {
            text(
                "rule",
                &detail::lines(state, theme, inner(screen)),
                *top,
                theme,
                screen,
                buffer,
            );
        }
    }
}

/// How a line of a change is drawn (`filter INPUT + 1: -i lo`): what comes, what goes, what moves.
fn diff_style(line: &str, theme: &Theme) -> Style {
    match line.split_whitespace().nth(2) {
        Some("+") => theme.staged.style(),
        Some("-" | "policy") => theme.caution.style(),
        _ => theme.quiet.style(),
    }
}

/// A line of a text dialog.
pub type Line = Vec<(String, Style)>;

/// Cells of text in a dialog's line.
fn inner(screen: Rect) -> usize {
    usize::from(place(screen, 1).width.saturating_sub(4))
}

/// Lines of text in the largest dialog.
fn rows(screen: Rect) -> usize {
    usize::from(place(screen, usize::MAX).height.saturating_sub(2))
}

/// The box for so many lines: most of a small screen, the middle of a large one.
fn place(screen: Rect, lines: usize) -> Rect {
    let width = screen.width.saturating_sub(4).clamp(1, 110);
    let wanted = u16::try_from(lines.saturating_add(2)).unwrap_or(u16::MAX);
    let room = screen
        .height
        .saturating_sub(4)
        .clamp(3.min(screen.height), 36);
    let height = room.min(wanted);
    Rect {
        x: screen.x + (screen.width - width) / 2,
        y: screen.y + (screen.height - height) / 2,
        width,
        height,
    }
}

/// Draws the box with its title, and gives the area inside.
fn open(title: &str, theme: &Theme, area: Rect, buffer: &mut Buffer) -> Rect {
    Clear.render(area, buffer);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.accent.style());
    block.render(area, buffer);
    let edge = area.inner(Margin::new(2, 0));
    Pen::new(buffer, edge, 0).put(&format!(" {title} "), theme.heading.style());
    area.inner(Margin::new(2, 1))
}

/// A text that scrolls.
fn text(title: &str, lines: &[Line], top: usize, theme: &Theme, screen: Rect, buffer: &mut Buffer) {
    let area = place(screen, lines.len().max(3));
    let inside = open(title, theme, area, buffer);
    let height = usize::from(inside.height);
    let top = top.min(lines.len().saturating_sub(height));
    for (row, line) in (0..inside.height).zip(lines.iter().skip(top)) {
        let mut pen = Pen::new(buffer, inside, row);
        for (part, style) in line {
            pen.put(part, *style);
        }
    }
    let below = lines.len().saturating_sub(top + height);
    if below > 0 || top > 0 {
        let edge = area.inner(Margin::new(2, 0));
        let words = format!(" {top} above, {below} below ");
        Pen::new(buffer, edge, area.height - 1).right(&[(words.as_str(), theme.quiet.style())]);
    }
}
