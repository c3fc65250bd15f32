//! Saving for the next boot: the files, how what is live differs from what is saved in them, what is left out.

use crate::app::keep::{Difference, Keep, KeptFile, Step};
use crate::ui::dialogs::Line;
use crate::ui::theme::Theme;
use crate::ui::words;

/// The text, for lines of so many cells.
pub fn lines(keep: &Keep, theme: &Theme, cells: usize) -> Vec<Line> {
    match &keep.step {
        Step::Looking => said(
            "comparing what is saved with what is live …",
            theme.accent.style(),
            cells,
        ),
        Step::Writing => said("writing …", theme.accent.style(), cells),
        Step::Refused(what, remedy) => {
            let mut lines = said(what, theme.alarm.style(), cells);
            lines.extend(said(remedy, theme.text.style(), cells));
            lines
        }
        Step::Shown(difference) => shown(keep, difference, theme, cells),
    }
}

fn said(text: &str, style: ratatui::style::Style, cells: usize) -> Vec<Line> {
    let wrapped = words::wrap(&words::clean_str(text), cells);
    wrapped
        .into_iter()
        .map(|line| vec![(line, style)])
        .collect()
}

fn shown(keep: &Keep, difference: &Difference, theme: &Theme, cells: usize) -> Vec<Line> {
    let (text, quiet) = (theme.text.style(), theme.quiet.style());
    let head = if difference.differs() {
        format!(
            "{}; the old file is kept beside the new one",
            difference.place
        )
    } else {
        "what is saved for the next boot is what is live".to_owned()
    };
    let mut lines = said(&head, text, cells);
    let runtime = if keep.without_runtime {
        "without what docker, fail2ban and the like put there by themselves"
    } else {
        "with what docker, fail2ban and the like put there, if anything"
    };
    lines.extend(said(runtime, quiet, cells));
    for file in &difference.files {
        lines.push(Line::new());
        of_file(file, theme, cells, &mut lines);
    }
    lines
}

fn of_file(file: &KeptFile, theme: &Theme, cells: usize, lines: &mut Vec<Line>) {
    let quiet = theme.quiet.style();
    lines.extend(said(&file.name, theme.heading.style(), cells));
    if !file.differs {
        lines.extend(said("no difference", quiet, cells));
    }
    for line in &file.diff {
        let style = super::diff_style(line, theme);
        lines.extend(said(line, style, cells));
    }
    for line in &file.left_out {
        lines.extend(said(&format!("left out: {line}"), quiet, cells));
    }
    for line in &file.remarks {
        lines.extend(said(&format!("note: {line}"), theme.caution.style(), cells));
    }
}
