//! Writes one line of a buffer from left to right, cell by cell, never past its end.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::ui::words;

/// A place on one line, moving right.
pub struct Pen<'a> {
    buffer: &'a mut Buffer,
    x: u16,
    y: u16,
    end: u16,
}

impl<'a> Pen<'a> {
    /// At the left of line `row` of `area`.
    pub fn new(buffer: &'a mut Buffer, area: Rect, row: u16) -> Self {
        let (end, y) = (area.right(), area.y.saturating_add(row));
        let inside = row < area.height && buffer.area.contains((area.x, y).into());
        Self {
            buffer,
            x: area.x,
            y,
            end: if inside { end } else { area.x },
        }
    }

    /// Cells that are left.
    pub fn room(&self) -> usize {
        usize::from(self.end.saturating_sub(self.x))
    }

    /// Writes text; it must be clean already. What does not fit is cut with `…`.
    pub fn put(&mut self, text: &str, style: Style) -> &mut Self {
        let room = self.room();
        if room > 0 && !text.is_empty() {
            let text = words::fit(text, room);
            let (x, _) = self.buffer.set_stringn(self.x, self.y, text, room, style);
            self.x = x;
        }
        self
    }

    /// Writes text that somebody else chose.
    pub fn put_untrusted(&mut self, text: &str, style: Style) -> &mut Self {
        let text = words::clean_str(text);
        self.put(&text, style)
    }

    /// Writes text at the left of a column so wide, and moves past it and a gap of one.
    pub fn column(&mut self, text: &str, width: usize, style: Style) -> &mut Self {
        if width == 0 {
            return self;
        }
        let start = self.x;
        self.put(&words::fit(text, width), style);
        self.to(start, width + 1)
    }

    /// The same at the right of the column.
    pub fn number(&mut self, text: &str, width: usize, style: Style) -> &mut Self {
        if width == 0 {
            return self;
        }
        let start = self.x;
        self.skip(width.saturating_sub(words::width(text)));
        self.put(&words::fit(text, width), style);
        self.to(start, width + 1)
    }

    /// Leaves cells as they are.
    pub fn skip(&mut self, cells: usize) -> &mut Self {
        self.to(self.x, cells)
    }

    /// Goes back over cells that were left as a gap.
    pub fn back(&mut self, cells: u16) -> &mut Self {
        self.x = self.x.saturating_sub(cells);
        self
    }

    /// Writes at the right end of the line, if it leaves a gap to what stands there.
    pub fn right(&mut self, parts: &[(&str, Style)]) -> &mut Self {
        let width: usize = parts.iter().map(|(text, _)| words::width(text)).sum();
        if width < self.room() {
            self.x = self.end - u16::try_from(width).unwrap_or(0);
            for (text, style) in parts {
                self.put(text, *style);
            }
        }
        self
    }

    fn to(&mut self, from: u16, cells: usize) -> &mut Self {
        let cells = u16::try_from(cells).unwrap_or(u16::MAX);
        self.x = from.saturating_add(cells).min(self.end);
        self
    }
}
