//! The rule editor: the form, the raw line, what the rule does in words, and what is wrong with it.
//!
//! ```text
//! ╭ insert before rule 4 ── v4 filter INPUT ──────────────────────╮
//! │ target   ACCEPT                 options                       │  two fields a row
//! │ protocol tcp                    state   NEW                   │
//! │ source   any                    ports   any                   │
//! │ …                                                             │
//! ├ raw line ─────────────────────────────────────────────────────┤
//! │ -p tcp -m tcp --dport 44▒                                     │  what is wrong is marked in it
//! ├ does ─────────────────────────────────────────────────────────┤
//! │ Accept new TCP connections to port 44                         │
//! │ what is wrong, what the back end says, or what the field takes│
//! ╰───────────────────────────────────────────────────────────────╯
//! ```
//!
//! It fits 60x20; on a smaller screen the rows around the one in focus remain.

mod list;
#[cfg(test)]
mod tests;
pub(super) mod typed;

pub(super) use list::draw as draw_candidates;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::app::editor::{Editor, HostState, ROWS, Verdict, View};
use crate::edit::form::Field;
use crate::ruleset::Severity;
use crate::ui::dialogs::{open, place};
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;
use crate::ui::words;

/// Lines that the whole is given where there is room.
const WANTED: usize = 19;
/// Cells of a label, the mark behind it included.
const LABEL: u16 = 10;

/// Draws the editor.
pub fn draw(editor: &Editor, theme: &Theme, screen: Rect, buffer: &mut Buffer) {
    let area = area(screen);
    let title = words::clean_str(&format!("{} ── {}", editor.doing, editor.place)).into_owned();
    let inside = open(&title, theme, area, buffer);
    let parts = Parts::of(editor, inside);
    let mut anchor = form(editor, theme, parts.form, buffer);
    heading(
        &raw_title(editor),
        editor.view == View::Raw,
        theme,
        area,
        parts.raw,
        buffer,
    );
    let marks = problem_marks(editor, theme);
    let cursor = (editor.view == View::Raw).then(|| editor.raw.cursor());
    let raw = typed::wrapped(editor.raw.text(), cursor, &marks, theme, parts.raw, buffer);
    anchor = raw.or(anchor);
    heading("does", false, theme, area, parts.does, buffer);
    let says = words::wrap(
        &words::clean_str(&editor.sentence),
        usize::from(parts.does.width),
    );
    paragraph(&says, theme.text.style(), parts.does, buffer);
    let (said, style) = remark(editor, theme);
    let said = words::wrap(&words::clean_str(&said), usize::from(parts.remark.width));
    paragraph(&said, style, parts.remark, buffer);
    if let (Some(open), Some(anchor)) = (&editor.list, anchor) {
        list::draw(open, theme, anchor, screen, buffer);
    }
}

/// The box: as other dialogs have it, and two lines taller where the screen is low.
fn area(screen: Rect) -> Rect {
    let usual = place(screen, WANTED);
    let room = screen.height.saturating_sub(2).max(usual.height);
    let wanted = u16::try_from(WANTED + 2).unwrap_or(u16::MAX);
    let height = room.min(wanted);
    Rect {
        y: screen.y + (screen.height - height) / 2,
        height,
        ..usual
    }
}

/// The areas of the editor; each of the lower two has its heading on the line above it.
struct Parts {
    form: Rect,
    raw: Rect,
    does: Rect,
    remark: Rect,
}

impl Parts {
    fn of(editor: &Editor, inside: Rect) -> Self {
        let rows = u16::try_from(ROWS.len()).unwrap_or(u16::MAX);
        // Room for two headings and a line each of the three others.
        let form = inside.height.saturating_sub(5).clamp(1, rows);
        let rest = inside.height.saturating_sub(form + 2);
        let width = usize::from(inside.width);
        let lines = |text: &str| u16::try_from(words::wrap(text, width).len()).unwrap_or(u16::MAX);
        let raw_wanted = typed::rows(editor.raw.text(), width);
        let remark = if rest >= 6 { 2 } else { 1 };
        let does = lines(&editor.sentence)
            .max(if rest >= 8 { 2 } else { 1 })
            .min(rest.saturating_sub(remark + raw_wanted.min(2)).clamp(1, 3));
        let raw = rest.saturating_sub(remark + does).max(1);
        // The sentence takes what the raw line does not need.
        let spare = raw.saturating_sub(raw_wanted.max(2));
        let (raw, does) = (raw - spare, does + spare.min(1));
        let mut y = inside.y;
        let mut part = |skip: u16, height: u16| {
            let area = Rect {
                y: y + skip,
                height: height.min(inside.bottom().saturating_sub(y + skip)),
                ..inside
            };
            y = area.bottom();
            area
        };
        Self {
            form: part(0, form),
            raw: part(1, raw),
            does: part(1, does),
            remark: part(0, rest),
        }
    }
}

/// Where the list of candidates hangs: the cell at the start of what it replaces.
type Anchor = (u16, u16);

/// The fields, two a row.
fn form(editor: &Editor, theme: &Theme, area: Rect, buffer: &mut Buffer) -> Option<Anchor> {
    let focused = ROWS.iter().position(|row| row.contains(&editor.field));
    let height = usize::from(area.height);
    let top = focused.map_or(0, |row| (row + 1).saturating_sub(height));
    let mut anchor = None;
    for (line, row) in (0..area.height).zip(ROWS.iter().skip(top)) {
        let left = area.width * 11 / 20;
        let mut x = area.x;
        for (column, field) in row.iter().enumerate() {
            let width = match (row.len(), column) {
                (1, _) => area.width,
                (_, 0) => left.saturating_sub(1),
                _ => area.width - left,
            };
            let cell = Rect {
                x,
                y: area.y + line,
                width,
                height: 1,
            };
            anchor = one(editor, *field, theme, cell, buffer).or(anchor);
            x += left;
        }
    }
    anchor
}

/// One field: its label, a mark where something is wrong, its text.
fn one(
    editor: &Editor,
    field: Field,
    theme: &Theme,
    cell: Rect,
    buffer: &mut Buffer,
) -> Option<Anchor> {
    let has_focus = editor.view == View::Form && editor.field == field;
    let (mark, mark_style) = match editor.severity_of(field) {
        Some(Severity::Error) => ("✗", theme.alarm.style()),
        Some(Severity::Warning) => ("!", theme.caution.style()),
        Some(Severity::Note) | None => ("", theme.text.style()),
    };
    let label = if has_focus {
        theme.accent.style().patch(theme.heading.style())
    } else {
        theme.quiet.style()
    };
    let mut pen = Pen::new(buffer, cell, 0);
    pen.column(field.label(), usize::from(LABEL) - 2, label);
    pen.back(1).put(mark, mark_style);
    let text = Rect {
        x: cell.x + LABEL.min(cell.width),
        width: cell.width.saturating_sub(LABEL),
        ..cell
    };
    if has_focus {
        return typed::line(&editor.input, theme, text, buffer);
    }
    let shown = editor.form.get(field);
    let (shown, style) = if shown.is_empty() {
        (empty_word(field), theme.quiet.style())
    } else {
        (shown, theme.text.style())
    };
    Pen::new(buffer, text, 0).put(&typed::clean(shown), style);
    None
}

/// What an empty field stands for.
fn empty_word(field: Field) -> &'static str {
    match field {
        Field::Target => "none: only counts",
        Field::Limit => "none",
        Field::TargetOptions | Field::LogPrefix | Field::Comment => "·",
        _ => "any",
    }
}

fn raw_title(editor: &Editor) -> String {
    match editor.form.others.len() {
        0 => "raw line".to_owned(),
        1 => "raw line, with 1 part that has no field".to_owned(),
        many => format!("raw line, with {many} parts that have no field"),
    }
}

/// A line across the box with a title, above `below`.
pub(super) fn heading(
    title: &str,
    has_focus: bool,
    theme: &Theme,
    area: Rect,
    below: Rect,
    buffer: &mut Buffer,
) {
    let y = below.y.saturating_sub(1);
    if y <= area.y || y + 1 >= area.bottom() {
        return;
    }
    let line = Rect {
        y,
        height: 1,
        ..area
    };
    let rule = "─".repeat(usize::from(area.width.saturating_sub(2)));
    let accent = theme.accent.style();
    Pen::new(buffer, line, 0)
        .put("├", accent)
        .put(&rule, accent)
        .put("┤", accent);
    let style = if has_focus {
        accent.patch(theme.heading.style())
    } else {
        theme.quiet.style()
    };
    let inner = Rect {
        x: line.x + 2.min(line.width),
        width: line.width.saturating_sub(4),
        ..line
    };
    Pen::new(buffer, inner, 0).put(&format!(" {title} "), style);
}

fn paragraph(lines: &[String], style: Style, area: Rect, buffer: &mut Buffer) {
    let height = usize::from(area.height);
    for (row, line) in (0..area.height).zip(lines) {
        let mut pen = Pen::new(buffer, area, row);
        if usize::from(row) + 1 == height && lines.len() > height {
            // The rest is behind the dots that the pen puts where a text is cut.
            let rest = lines.get(usize::from(row)..).unwrap_or_default().join(" ");
            pen.put(&rest, style);
        } else {
            pen.put(line, style);
        }
    }
}

/// The places in the raw text that are wrong, with the style of their mark.
fn problem_marks(editor: &Editor, theme: &Theme) -> Vec<(std::ops::Range<usize>, Style)> {
    let text = editor.raw.text();
    let at = |byte: usize| crate::edit::form::text::text_offset(text, byte);
    editor
        .problems
        .iter()
        .filter_map(|problem| {
            let role = match problem.severity {
                Severity::Error => theme.alarm,
                Severity::Warning => theme.caution,
                Severity::Note => return None,
            };
            let style = role.style().patch(theme.cursor_away.style());
            Some((at(problem.at.start)..at(problem.at.end), style))
        })
        .collect()
}

/// The most important thing to say below the rule.
fn remark(editor: &Editor, theme: &Theme) -> (String, Style) {
    match &editor.verdict {
        Verdict::Refused(words) => {
            return (format!("refused: {}", words.trim()), theme.alarm.style());
        }
        Verdict::Asked(_) => {
            return ("asking the back end …".to_owned(), theme.accent.style());
        }
        Verdict::Unasked => {}
    }
    if let Some(problem) = editor.problem().filter(|p| p.severity > Severity::Note) {
        let style = if problem.severity == Severity::Error {
            theme.alarm.style()
        } else {
            theme.caution.style()
        };
        let words = format!("column {}: {}", editor.column(problem), problem.words);
        return (words, style);
    }
    if !editor.hosts.is_empty() {
        return hosts(editor, theme);
    }
    if let Some(note) = editor.problem() {
        return (note.words.clone(), theme.caution.style());
    }
    let hint = match editor.view {
        View::Form => editor.field.hint(),
        View::Raw => "the rule as iptables takes it, without -A and the chain",
    };
    (hint.to_owned(), theme.quiet.style())
}

/// What host names stand for, since the kernel keeps addresses.
fn hosts(editor: &Editor, theme: &Theme) -> (String, Style) {
    let mut style = theme.accent.style();
    let mut all = Vec::new();
    for host in &editor.hosts {
        all.push(match &host.state {
            HostState::Asked => format!("{}: looking it up …", host.name),
            HostState::Found(found) => {
                let found: Vec<String> = found.iter().map(ToString::to_string).collect();
                format!(
                    "{} is {} now, which the kernel will keep",
                    host.name,
                    found.join(", ")
                )
            }
            HostState::Failed(why) => {
                style = theme.alarm.style();
                format!("{}: {why}", host.name)
            }
        });
    }
    (all.join("; "), style)
}
