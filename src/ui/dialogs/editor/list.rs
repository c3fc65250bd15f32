//! The candidates: a small box that hangs below the cursor, or above it where there is no room.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Block, BorderType, Clear, Widget};

use super::typed::clean;
use crate::app::editor::List;
use crate::ui::panes::band;
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;
use crate::ui::words;

/// Rows that are shown at once.
const ROWS: usize = 8;

/// Draws the list at the cell where the cursor stands.
pub fn draw(list: &List, theme: &Theme, (x, y): (u16, u16), screen: Rect, buffer: &mut Buffer) {
    let all = &list.completion.candidates;
    let below = screen.bottom().saturating_sub(y + 1);
    let above = y.saturating_sub(screen.y);
    let hangs = usize::from(below) >= all.len().min(ROWS) + 2 || below >= above;
    let room = usize::from(if hangs { below } else { above }).saturating_sub(2);
    let rows = all.len().min(ROWS).min(room);
    if rows == 0 {
        return;
    }
    let top = (list.at + 1).saturating_sub(rows);
    let seen = || all.iter().skip(top).take(rows);
    let texts = seen().map(|one| words::width(&clean(&one.text))).max();
    let text = texts.unwrap_or(0).min(28);
    let notes = seen().map(|one| words::width(&one.note)).max().unwrap_or(0);
    let gap = if notes > 0 { 2 } else { 0 };
    let width = (text + gap + notes.min(44) + 4).min(usize::from(screen.width));
    let (Ok(width), Ok(height)) = (u16::try_from(width), u16::try_from(rows + 2)) else {
        return;
    };
    let area = Rect {
        x: x.saturating_sub(2)
            .clamp(screen.x, screen.right().saturating_sub(width).max(screen.x)),
        y: if hangs { y + 1 } else { y - height },
        width,
        height,
    };
    Clear.render(area, buffer);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.accent.style());
    let inside = block.inner(area);
    block.render(area, buffer);
    for (line, one) in seen().enumerate() {
        let row = u16::try_from(line).unwrap_or(u16::MAX);
        let mut pen = Pen::new(buffer, inside, row);
        pen.skip(1)
            .column(&clean(&one.text), text, theme.text.style())
            .skip(1)
            .put_untrusted(&one.note, theme.quiet.style());
        if top + line == list.at {
            band(buffer, inside, line, theme.cursor.style());
        }
    }
    if all.len() > rows {
        let words = format!(" {} of {} ", list.at + 1, all.len());
        let edge = Rect {
            x: area.x + 1,
            width: area.width.saturating_sub(2),
            ..area
        };
        Pen::new(buffer, edge, area.height - 1).right(&[(words.as_str(), theme.quiet.style())]);
    }
}
