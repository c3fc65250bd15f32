//! The template picker: the list, then the fields of one template and what it would do.
//!
//! ```text
//! ╭ Allow a service ── v4 ───────────────────────────────────────────╮
//! │ let others reach a service of this machine                       │
//! │ service      443▒                                                │
//! │ protocol     ·                                                   │
//! ├ what is staged ──────────────────────────────────────────────────┤
//! │ + filter INPUT 4   -p tcp -m tcp --dport 443 … -j ACCEPT         │
//! │   Accept new TCP connections to port 443                         │
//! │   before rule 4 (-j DROP), which decides about all of it         │
//! │ what the field takes, or why nothing can be staged yet           │
//! ╰──────────────────────────────────────────────────────────────────╯
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::app::templates::{Filling, Templates, Verdict};
use crate::ui::dialogs::editor::{draw_candidates, heading, typed};
use crate::ui::dialogs::{Line, open, place};
use crate::ui::panes::band;
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;
use crate::ui::words;

/// Cells of a label.
const LABEL: u16 = 13;
/// Lines that the box is given where there is room.
const WANTED: usize = 24;

/// Draws the picker.
pub fn draw(picker: &Templates, theme: &Theme, screen: Rect, buffer: &mut Buffer) {
    let usual = place(screen, WANTED);
    let height = screen
        .height
        .saturating_sub(2)
        .clamp(usual.height, 26.max(usual.height));
    let area = Rect {
        y: screen.y + (screen.height - height.min(screen.height)) / 2,
        height: height.min(screen.height),
        ..usual
    };
    match &picker.filling {
        None => list(picker, theme, area, buffer),
        Some(filling) => fill(picker, filling, theme, area, screen, buffer),
    }
}

fn list(picker: &Templates, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let title = words::clean_str(&format!("templates ── {}", picker.place)).into_owned();
    let inside = open(&title, theme, area, buffer);
    let accent = theme.accent.style();
    Pen::new(buffer, inside, 0)
        .put("/", accent)
        .put_untrusted(&picker.picker.query, theme.text.style())
        .put("▏", accent);
    let body = Rect {
        y: inside.y + 1.min(inside.height),
        height: inside.height.saturating_sub(1),
        ..inside
    };
    let choices = picker.choices();
    let wide = choices.iter().map(|one| words::width(&one.title)).max();
    let column = wide.unwrap_or(0).min(38);
    let height = usize::from(body.height);
    let top = (picker.picker.at + 1).saturating_sub(height);
    for (line, (at, one)) in choices
        .iter()
        .enumerate()
        .skip(top)
        .take(height)
        .enumerate()
    {
        let row = u16::try_from(line).unwrap_or(u16::MAX);
        Pen::new(buffer, body, row)
            .column(&one.title, column, theme.text.style())
            .skip(1)
            .put(&one.desc, theme.quiet.style());
        if at == picker.picker.at {
            band(buffer, body, line, theme.cursor.style());
        }
    }
    if choices.is_empty() {
        Pen::new(buffer, body, 0).put("nothing has these words", theme.quiet.style());
    }
}

fn fill(
    picker: &Templates,
    filling: &Filling,
    theme: &Theme,
    area: Rect,
    screen: Rect,
    buffer: &mut Buffer,
) {
    let title = format!("{} ── {}", filling.template.title, picker.place);
    let inside = open(&words::clean_str(&title), theme, area, buffer);
    Pen::new(buffer, inside, 0).put(&filling.template.desc, theme.quiet.style());
    let fields = u16::try_from(filling.inputs.len()).unwrap_or(u16::MAX);
    let fields = fields.min(inside.height.saturating_sub(5));
    let anchor = draw_fields(filling, theme, part(inside, 1, fields), buffer);
    let remark_rows = if inside.height > fields + 8 { 2 } else { 1 };
    let preview_rows = inside.height.saturating_sub(fields + 2 + remark_rows);
    let below = part(inside, fields + 2, preview_rows);
    heading("what is staged", false, theme, area, below, buffer);
    let lines = preview(filling, theme, usize::from(below.width));
    let height = usize::from(below.height);
    let top = filling.top.min(lines.len().saturating_sub(height));
    for (row, line) in (0..below.height).zip(lines.iter().skip(top)) {
        let mut pen = Pen::new(buffer, below, row);
        for (text, style) in line {
            pen.put(text, *style);
        }
    }
    let rest = lines.len().saturating_sub(top + height);
    if rest > 0 {
        let words = format!(" {rest} more below ");
        let edge = Rect {
            x: area.x + 2.min(area.width),
            width: area.width.saturating_sub(4),
            ..area
        };
        Pen::new(buffer, edge, area.height - 1).right(&[(words.as_str(), theme.quiet.style())]);
    }
    let (said, style) = remark(filling, theme);
    let said = words::wrap(&words::clean_str(&said), usize::from(inside.width));
    let said_at = part(
        inside,
        inside.height.saturating_sub(remark_rows),
        remark_rows,
    );
    for (row, line) in (0..said_at.height).zip(&said) {
        Pen::new(buffer, said_at, row).put(line, style);
    }
    if let (Some(open), Some(anchor)) = (&filling.list, anchor) {
        draw_candidates(open, theme, anchor, screen, buffer);
    }
}

fn part(inside: Rect, skip: u16, height: u16) -> Rect {
    let y = inside.y.saturating_add(skip).min(inside.bottom());
    Rect {
        y,
        height: height.min(inside.bottom() - y),
        ..inside
    }
}

fn draw_fields(
    filling: &Filling,
    theme: &Theme,
    area: Rect,
    buffer: &mut Buffer,
) -> Option<(u16, u16)> {
    let mut anchor = None;
    let top = (filling.at + 1).saturating_sub(usize::from(area.height));
    let fields = filling
        .template
        .fields
        .iter()
        .zip(&filling.inputs)
        .enumerate();
    for (row, (at, (field, input))) in (0..area.height).zip(fields.skip(top)) {
        let line = part(area, row, 1);
        let has_focus = at == filling.at;
        let label = if has_focus {
            theme.accent.style().patch(theme.heading.style())
        } else {
            theme.quiet.style()
        };
        Pen::new(buffer, line, 0).put(&field.label, label);
        let text = Rect {
            x: line.x + LABEL.min(line.width),
            width: line.width.saturating_sub(LABEL),
            ..line
        };
        if has_focus {
            anchor = typed::line(input, theme, text, buffer);
            continue;
        }
        let (shown, style) = match (input.text(), field.required) {
            ("", true) => ("needed".to_owned(), theme.caution.style()),
            ("", false) => ("·".to_owned(), theme.quiet.style()),
            (text, _) => (typed::clean(text), theme.text.style()),
        };
        Pen::new(buffer, text, 0).put(&shown, style);
    }
    anchor
}

/// The rules with their places and reasons, then what the user should know.
fn preview(filling: &Filling, theme: &Theme, cells: usize) -> Vec<Line> {
    let (text, quiet, accent) = (
        theme.text.style(),
        theme.quiet.style(),
        theme.accent.style(),
    );
    let mut lines: Vec<Line> = Vec::new();
    for step in &filling.plan.steps {
        let head = match step.was {
            Some(was) => format!("{} {was} → {}  ", step.chain, step.number),
            None => format!("+ {} {}  ", step.chain, step.number),
        };
        let head = words::clean_str(&head).into_owned();
        let spec = String::from_utf8_lossy(&step.spec);
        let room = cells.saturating_sub(words::width(&head)).max(12);
        for (at, part) in words::wrap(&words::clean_str(&spec), room)
            .into_iter()
            .enumerate()
        {
            let head = if at == 0 {
                head.clone()
            } else {
                " ".repeat(words::width(&head))
            };
            lines.push(vec![(head, accent), (part, text)]);
        }
        for (words_of, style) in [(&step.sentence, text), (&step.why, quiet)] {
            for part in words::wrap(&words::clean_str(words_of), cells.saturating_sub(4)) {
                lines.push(vec![("    ".to_owned(), text), (part, style)]);
            }
        }
    }
    for remark in &filling.plan.remarks {
        for (at, part) in words::wrap(&words::clean_str(remark), cells.saturating_sub(2))
            .into_iter()
            .enumerate()
        {
            let head = if at == 0 { "· " } else { "  " };
            lines.push(vec![
                (head.to_owned(), quiet),
                (part, theme.caution.style()),
            ]);
        }
    }
    lines
}

/// What to say below: what is missing, what the back end says, what the field takes.
fn remark(filling: &Filling, theme: &Theme) -> (String, ratatui::style::Style) {
    match &filling.verdict {
        Verdict::Refused(words) => return (format!("refused: {words}"), theme.alarm.style()),
        Verdict::Asked { step, .. } => {
            let words = format!("asking the back end about rule {} …", step + 1);
            return (words, theme.accent.style());
        }
        Verdict::Unasked => {}
    }
    if let Some(lack) = filling.plan.lacks.first() {
        return (lack.clone(), theme.caution.style());
    }
    let hint = filling.template.fields.get(filling.at);
    let hint = hint.map_or("", |field| field.hint.as_str());
    (hint.to_owned(), theme.quiet.style())
}
