//! One file a region of the screen, and what they share: the frame around a pane.

pub mod chains;
pub mod drops;
pub mod footer;
pub mod header;
pub mod pending;
pub mod rules;
pub mod why;

use ratatui::buffer::Buffer;
use ratatui::layout::{Margin, Rect};
use ratatui::style::Style;
use ratatui::widgets::{Block, BorderType, Widget};

use crate::ui::layout::Shape;
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;
use crate::ui::words;

/// Parts of a title line, each with its style.
pub type Title = Vec<(String, Style)>;

/// Draws the frame of a pane with its title, and gives the area inside: a box on a wide screen, a
/// line above on smaller ones.
pub fn frame(
    shape: Shape,
    area: Rect,
    focused: bool,
    title: &Title,
    aside: &Title,
    theme: &Theme,
    buffer: &mut Buffer,
) -> Rect {
    let style = if focused {
        theme.accent.style()
    } else {
        theme.frame.style()
    };
    let (inside, inset) = if shape == Shape::Wide {
        let block = Block::bordered()
            .border_type(BorderType::Rounded)
            .border_style(style);
        block.render(area, buffer);
        (area.inner(Margin::new(1, 1)), 2)
    } else {
        let line = "─".repeat(usize::from(area.width));
        buffer.set_stringn(area.x, area.y, line, usize::from(area.width), style);
        let below = Rect {
            y: area.y + 1,
            height: area.height.saturating_sub(1),
            ..area
        };
        (below, 1)
    };
    let edge = Rect {
        x: area.x + inset,
        width: area.width.saturating_sub(2 * inset),
        height: 1,
        ..area
    };
    let mut pen = Pen::new(buffer, edge, 0);
    if focused {
        pen.put("▸", style);
    }
    for (text, part) in title {
        pen.put(text, *part);
    }
    let needed: usize = aside.iter().map(|(text, _)| words::width(text)).sum();
    if !aside.is_empty() && needed + 1 < pen.room() {
        let parts: Vec<(&str, Style)> = aside.iter().map(|(t, s)| (t.as_str(), *s)).collect();
        pen.right(&parts);
    }
    inside
}

/// Makes a whole line a band of one style: what stood there keeps its glyphs and loses its ink, so that
/// a reversed band is not a row of patches.
pub fn band(buffer: &mut Buffer, area: Rect, row: usize, style: Style) {
    wash(buffer, area, row, Style::reset().patch(style));
}

/// Lays a style over a whole line, which keeps its ink.
pub fn wash(buffer: &mut Buffer, area: Rect, row: usize, style: Style) {
    if let Ok(row) = u16::try_from(row)
        && row < area.height
    {
        buffer.set_style(
            Rect {
                y: area.y + row,
                height: 1,
                ..area
            },
            style,
        );
    }
}
