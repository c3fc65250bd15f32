//! What the client sees, on what the verdict depends, and what the rest of the box has to say: as a few lines
//! below the path, or as a column beside it.

use std::fmt::Write;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::app::action::Action;
use crate::app::state::State;
use crate::app::why::Why;
use crate::ui::dialogs::Line;
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;
use crate::ui::words;
use crate::verdict::{Cause, Grade, Translated, Verdict, connection_seen};

/// Cells of the words at the left.
const LABEL: usize = 13;

/// The lines below the path.
pub fn lines(state: &State, why: &Why, theme: &Theme, cells: usize) -> Vec<Line> {
    let mut lines = verdict_lines(why, theme, cells, false);
    lines.extend(box_lines(state, why, theme, cells, false));
    lines.extend(fix_lines(state, why, theme, cells));
    lines
}

/// Draws them; what does not fit is told of.
pub fn draw_lines(lines: &[Line], theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let height = usize::from(area.height);
    for (row, line) in (0..area.height).zip(lines) {
        let mut pen = Pen::new(buffer, area, row);
        pen.skip(1);
        for (text, style) in line {
            pen.put(text, *style);
        }
    }
    if lines.len() > height && area.height > 0 {
        let words = format!(" {} more ", lines.len() - height);
        Pen::new(buffer, area, area.height - 1).right(&[(words.as_str(), theme.quiet.style())]);
    }
}

/// The column beside the path.
pub fn draw_tall(state: &State, why: &Why, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let cells = usize::from(area.width.saturating_sub(2));
    let mut lines = verdict_lines(why, theme, cells, true);
    if !lines.is_empty() {
        lines.push(Line::new());
    }
    lines.extend(box_lines(state, why, theme, cells, true));
    let fix = fix_lines(state, why, theme, cells);
    if !fix.is_empty() {
        lines.push(Line::new());
    }
    lines.extend(fix);
    draw_lines(&lines, theme, area, buffer);
}

/// The chosen change that would let the packet through, what it opens, and how many others there are.
fn fix_lines(state: &State, why: &Why, theme: &Theme, cells: usize) -> Vec<Line> {
    let (text, quiet, caution) = (
        theme.text.style(),
        theme.quiet.style(),
        theme.caution.style(),
    );
    let blocked = why.answer.as_ref().is_some_and(|answer| {
        matches!(answer.explanation.verdict, Verdict::Drop | Verdict::Reject)
            || why.blocked_part().is_some()
    });
    // What the rules let through may have a way out all the same: past a full connection table.
    let offers = why.offers.as_ref();
    let Some(offers) = offers.filter(|offers| blocked || !offers.is_empty()) else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    let add = |lines: &mut Vec<Line>, label: &str, value: &str, style| {
        labelled(lines, label, value, style, quiet, cells);
    };
    let Some(offer) = offers.get(why.offer) else {
        add(
            &mut lines,
            "fix",
            "nothing that was tried lets it through",
            quiet,
        );
        return lines;
    };
    let key = |action| {
        let key = state.keymap.key_of(action);
        key.map(|key| key.to_string()).unwrap_or_default()
    };
    let label = match offers.len() {
        1 => "fix".to_owned(),
        n => format!("fix {}/{n}", why.offer + 1),
    };
    let mut keys = format!("[{}] stage", key(Action::StageFix));
    if offers.len() > 1 {
        let _ = write!(keys, "  [{}] next", key(Action::NextFix));
    }
    add(&mut lines, &label, &offer.words, theme.staged.style());
    let used = |line: &Line| {
        line.iter()
            .map(|(text, _)| words::width(text))
            .sum::<usize>()
    };
    match lines.last_mut() {
        Some(last) if used(last) + 2 + words::width(&keys) <= cells => {
            last.push((format!("  {keys}"), quiet));
        }
        _ => add(&mut lines, "", &keys, quiet),
    }
    for (i, line) in offer.opens.iter().enumerate() {
        add(&mut lines, if i == 0 { "lets in" } else { "" }, line, text);
    }
    for (i, line) in offer.stops.iter().enumerate() {
        add(&mut lines, if i == 0 { "stops" } else { "" }, line, caution);
    }
    if offer.undecided {
        add(
            &mut lines,
            "",
            "not decided in full: it may open more than this",
            caution,
        );
    }
    for limit in &offer.limits {
        add(
            &mut lines,
            "",
            &format!("then it is left to {limit}"),
            caution,
        );
    }
    lines
}

/// Other people's text behind a label, on as many lines as it takes.
fn labelled(
    lines: &mut Vec<Line>,
    label: &str,
    value: &str,
    style: Style,
    quiet: Style,
    cells: usize,
) {
    let value = words::clean_str(value);
    let parts = words::wrap(&value, cells.saturating_sub(LABEL));
    for (i, part) in parts.into_iter().enumerate() {
        let label = if i == 0 { label } else { "" };
        lines.push(vec![(format!("{label:<LABEL$}"), quiet), (part, style)]);
    }
}

/// What the rules mean for who sent the packet.
fn verdict_lines(why: &Why, theme: &Theme, cells: usize, tall: bool) -> Vec<Line> {
    let Some(answer) = &why.answer else {
        return Vec::new();
    };
    let explanation = &answer.explanation;
    let (text, quiet, caution) = (
        theme.text.style(),
        theme.quiet.style(),
        theme.caution.style(),
    );
    let mut lines = Vec::new();
    let mut add = |label: &str, value: &str, style| {
        labelled(&mut lines, label, value, style, quiet, cells);
    };
    if why.about.is_some() && !answer.met {
        add(
            "this rule",
            "no packet that we tried gets as far as it",
            caution,
        );
    }
    if explanation.verdict == Verdict::Unknown {
        for reason in explanation.unknown.iter().take(3) {
            add("depends on", reason, caution);
        }
    }
    for (word, end) in [("to", &explanation.dst), ("from", &explanation.src)] {
        if let Some(end) = end {
            add("nat", &format!("{word} {}", spelled(end)), text);
        }
    }
    let seen = explanation.client_sees(&answer.probe);
    let later = why.blocked_part().and(connection_seen(&answer.others));
    let connection = answer.connection();
    let mut told: Vec<Line> = Vec::new();
    for cause in &connection {
        cause_lines(&mut told, cause, theme, cells, tall);
    }
    if let Some(first) = told.first_mut().and_then(|line| line.first_mut()) {
        *first = (format!("{:<LABEL$}", "connection"), quiet);
    }
    lines.extend(told);
    if let Some(sees) = seen.or(later) {
        labelled(&mut lines, "client sees", sees, text, quiet, cells);
    }
    lines
}

fn spelled(end: &Translated) -> String {
    match (end.address, end.port) {
        (Some(address), Some(port)) => std::net::SocketAddr::new(address, port).to_string(),
        (Some(address), None) => address.to_string(),
        (None, Some(port)) => format!("?:{port}"),
        (None, None) => "?".to_owned(),
    }
}

/// The causes that are not the firewall; in a column each fine one has a line of its own.
fn box_lines(state: &State, why: &Why, theme: &Theme, cells: usize, tall: bool) -> Vec<Line> {
    let quiet = theme.quiet.style();
    let label = |text: &str| (format!("{text:<LABEL$}"), quiet);
    if !state.is_live() {
        return vec![vec![
            label("box"),
            ("a saved dump tells of no box".to_owned(), quiet),
        ]];
    }
    let Some(beside) = &why.beside else {
        let reading = why.answer.is_some();
        let words = if reading { "reading …" } else { "" };
        return vec![vec![label("box"), (words.to_owned(), quiet)]];
    };
    let grave = beside.causes.iter().filter(|one| one.grade > Grade::Fine);
    let fine = beside.causes.iter().filter(|one| one.grade == Grade::Fine);
    let mut lines: Vec<Line> = Vec::new();
    for cause in grave {
        cause_lines(&mut lines, cause, theme, cells, tall);
    }
    if tall {
        for cause in fine {
            cause_lines(&mut lines, cause, theme, cells, true);
        }
    } else {
        ticks(&mut lines, fine, theme, cells);
    }
    if let Some(first) = lines.first_mut().and_then(|line| line.first_mut()) {
        *first = label("box");
    }
    lines
}

/// A cause with its evidence, on as many lines as they take.
fn cause_lines(lines: &mut Vec<Line>, cause: &Cause, theme: &Theme, cells: usize, tall: bool) {
    let (mark, style) = match cause.grade {
        Grade::Fine => ("✔ ", theme.text.style()),
        Grade::Note => ("· ", theme.text.style()),
        Grade::Doubt => ("! ", theme.caution.style()),
        Grade::Blocks => ("✘ ", theme.alarm.style()),
    };
    let quiet = theme.quiet.style();
    let room = cells.saturating_sub(LABEL + 2);
    let blank = " ".repeat(LABEL);
    let (says, evidence) = (
        words::clean_str(&cause.says),
        words::clean_str(&cause.evidence),
    );
    for (i, part) in words::wrap(&says, room).into_iter().enumerate() {
        let mark = if i == 0 { mark } else { "  " };
        lines.push(vec![
            (blank.clone(), quiet),
            (mark.to_owned(), style),
            (part, style),
        ]);
    }
    if evidence.is_empty() {
        return;
    }
    let used = words::width(&says) + words::width(&evidence) + 3;
    if !tall && (cause.grade < Grade::Blocks || used <= room) {
        // Few lines: the evidence on the same one, as much as fits; all of it for what stops the packet.
        if let Some(line) = lines.last_mut() {
            line.push((format!("   {evidence}"), quiet));
        }
        return;
    }
    for part in words::wrap(&evidence, room) {
        lines.push(vec![(format!("{blank}  "), quiet), (part, quiet)]);
    }
}

/// What is fine, several on a line.
fn ticks<'a>(
    lines: &mut Vec<Line>,
    fine: impl Iterator<Item = &'a Cause>,
    theme: &Theme,
    cells: usize,
) {
    let room = cells.saturating_sub(LABEL);
    let start = || vec![(" ".repeat(LABEL), theme.quiet.style())];
    let (mut line, mut used) = (start(), 0);
    for cause in fine {
        let says = words::clean_str(&cause.says).into_owned();
        let width = words::width(&says) + 4;
        if used > 0 && used + width > room {
            lines.push(std::mem::replace(&mut line, start()));
            used = 0;
        }
        used += width;
        line.push(("✔ ".to_owned(), theme.hot.style()));
        line.push((format!("{says}  "), theme.text.style()));
    }
    if used > 0 {
        lines.push(line);
    }
}
