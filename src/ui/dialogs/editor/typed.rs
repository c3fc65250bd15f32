//! Text that is being typed: a field that scrolls with its cursor, a line that is broken wherever the box
//! ends.

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthChar;

use crate::app::editor::line::TextLine;
use crate::edit::form::text::byte_of;
use crate::ui::theme::Theme;
use crate::ui::words;

/// A character as the screen shows it: one that a terminal could obey has a picture, and a byte that is no
/// text shows as what stands for such.
fn shown(c: char) -> char {
    if byte_of(c).is_some() {
        return '\u{fffd}';
    }
    words::clean_str(c.encode_utf8(&mut [0; 4]))
        .chars()
        .next()
        .unwrap_or(' ')
}

/// The text as the screen shows it.
pub fn clean(text: &str) -> String {
    text.chars().map(shown).collect()
}

/// Cells of a character, accents none.
fn cells(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// Where each character of a text stands when it is broken at so many cells: line, column, byte, what is
/// drawn. One more for the place behind the last.
fn broken(text: &str, width: usize) -> Vec<(usize, usize, usize, Option<char>)> {
    let width = width.max(2);
    let (mut row, mut column) = (0, 0);
    let mut out = Vec::with_capacity(text.len() + 1);
    for (byte, c) in text.char_indices() {
        let c = shown(c);
        if column + cells(c) > width {
            (row, column) = (row + 1, 0);
        }
        out.push((row, column, byte, Some(c)));
        column += cells(c);
    }
    if column >= width {
        (row, column) = (row + 1, 0);
    }
    out.push((row, column, text.len(), None));
    out
}

/// Lines that the text takes, the place for the cursor behind it included.
pub fn rows(text: &str, width: usize) -> u16 {
    let last = broken(text, width).last().map_or(0, |place| place.0);
    u16::try_from(last + 1).unwrap_or(u16::MAX)
}

/// Draws a text over several lines, the one with the cursor in sight; where the cursor stands.
pub fn wrapped(
    text: &str,
    cursor: Option<usize>,
    marks: &[(Range<usize>, Style)],
    theme: &Theme,
    area: Rect,
    buffer: &mut Buffer,
) -> Option<(u16, u16)> {
    let places = broken(text, usize::from(area.width));
    let last = places.last().map_or(0, |place| place.0);
    let at = cursor.and_then(|at| places.iter().find(|place| place.2 >= at));
    let height = usize::from(area.height);
    let top = at.map_or(0, |at| (at.0 + 1).saturating_sub(height));
    let top = top.min((last + 1).saturating_sub(height));
    for (row, column, byte, c) in places.iter().filter(|place| place.0 >= top) {
        let mark = marks.iter().find(|(range, _)| range.contains(byte));
        let mut style = mark.map_or(theme.text.style(), |mark| mark.1);
        let is_cursor = at.is_some_and(|at| at.2 == *byte);
        if is_cursor {
            style = style.patch(theme.cursor.style());
        }
        if c.is_some() || is_cursor {
            put(c.unwrap_or(' '), (row - top, *column), style, area, buffer);
        }
    }
    let at = at.filter(|at| at.0 >= top)?;
    let x = area.x.checked_add(u16::try_from(at.1).ok()?)?;
    let y = area.y.checked_add(u16::try_from(at.0 - top).ok()?)?;
    Some((x, y))
}

/// Draws a field with its cursor in sight, and gives the cell of the cursor.
pub fn line(line: &TextLine, theme: &Theme, area: Rect, buffer: &mut Buffer) -> Option<(u16, u16)> {
    let width = usize::from(area.width);
    let (before, after) = line.halves();
    let before: Vec<char> = before.chars().map(shown).collect();
    // As much of what stands before the cursor as leaves it a cell.
    let mut room = width.saturating_sub(1);
    let mut first = before.len();
    for (at, c) in before.iter().enumerate().rev() {
        if cells(*c) > room {
            break;
        }
        room -= cells(*c);
        first = at;
    }
    let text = theme.text.style().patch(theme.cursor_away.style());
    for x in 0..width {
        put(' ', (0, x), text, area, buffer);
    }
    let mut column = 0;
    let shown_before = before.get(first..).unwrap_or_default();
    for (nth, c) in shown_before.iter().enumerate() {
        let c = if nth == 0 && first > 0 { '…' } else { *c };
        put(c, (0, column), text, area, buffer);
        column += cells(c);
    }
    let cursor = column;
    for (nth, c) in after.chars().map(shown).chain([' ']).enumerate() {
        if column + cells(c) > width {
            break;
        }
        let style = if nth == 0 {
            text.patch(theme.cursor.style())
        } else {
            text
        };
        put(c, (0, column), style, area, buffer);
        column += cells(c);
    }
    Some((area.x + u16::try_from(cursor).ok()?, area.y))
}

/// One character in its cell; an accent goes on the letter before it.
fn put(c: char, (row, column): (usize, usize), style: Style, area: Rect, buffer: &mut Buffer) {
    let (Ok(row), Ok(column)) = (u16::try_from(row), u16::try_from(column)) else {
        return;
    };
    if row >= area.height || column >= area.width {
        return;
    }
    let (x, y) = (area.x + column, area.y + row);
    if cells(c) == 0 {
        if let Some(cell) = x.checked_sub(1).and_then(|x| buffer.cell_mut((x, y))) {
            let symbol = format!("{}{c}", cell.symbol());
            cell.set_symbol(&symbol);
        }
        return;
    }
    let room = usize::from(area.width - column);
    buffer.set_stringn(x, y, c.encode_utf8(&mut [0; 4]), room, style);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_where_the_box_ends() {
        let places: Vec<(usize, usize)> = broken("abcde", 3).iter().map(|p| (p.0, p.1)).collect();
        assert_eq!(places, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]);
        assert_eq!(rows("abc", 3), 2, "the cursor behind it has a cell");
        assert_eq!(rows("火火", 3), 2);
        assert_eq!(rows("", 3), 1);
        assert_eq!(clean("a\x1bb\n\u{10fe80}"), "a␛b␊\u{fffd}");
    }
}
