//! The applied change that waits for its answer: what would be undone, the time that is left, and whether
//! anybody new got in since.

use crate::app::change::{Pending, Phase};
use crate::app::state::State;
use crate::ui::dialogs::Line;
use crate::ui::panes::pending::clock;
use crate::ui::theme::Theme;
use crate::ui::words;

/// The text, for lines of so many cells.
pub fn lines(state: &State, theme: &Theme, cells: usize) -> Vec<Line> {
    let (text, quiet) = (theme.text.style(), theme.quiet.style());
    let Some(pending) = &state.change.pending else {
        return vec![vec![("nothing is pending any more".to_owned(), quiet)]];
    };
    let mut lines: Vec<Line> = vec![question(state, pending, theme), Line::new()];
    let mut pair = |name: &str, value: &str, style| {
        let value = words::clean_str(value);
        for (i, part) in words::wrap(&value, cells.saturating_sub(14))
            .into_iter()
            .enumerate()
        {
            let name = if i == 0 { name } else { "" };
            lines.push(vec![(format!("{name:<14}"), quiet), (part, style)]);
        }
    };
    if state.change.ours || state.staged() == 0 {
        pair("applied by", &pending.who, text);
    } else {
        let who = format!("{}; not what is staged here", pending.who);
        pair("applied by", &who, theme.caution.style());
    }
    match &state.change.evidence {
        Some(evidence) if evidence.accepted > 0 => {
            pair(
                "new since",
                &format!("✔ {}", evidence.words),
                theme.hot.style(),
            );
        }
        Some(evidence) => pair("new since", &evidence.words, theme.caution.style()),
        None => pair(
            "new since",
            "open a second connection to this machine before you keep it: the one that you have proves nothing",
            theme.caution.style(),
        ),
    }
    pair(
        "reverting",
        "undoes these lines; what others added meanwhile stays",
        text,
    );
    lines.push(Line::new());
    for line in &pending.undoes {
        let line = words::clean_str(line);
        let style = match line.trim_start().chars().next() {
            Some('+') => theme.staged.style(),
            Some('-') => theme.caution.style(),
            _ => quiet,
        };
        for part in words::wrap(&line, cells) {
            lines.push(vec![(part, style)]);
        }
    }
    lines
}

fn question(state: &State, pending: &Pending, theme: &Theme) -> Line {
    let style = theme.caution.style();
    match pending.phase {
        Phase::Applying => vec![("the change is being made".to_owned(), style)],
        Phase::Reverting => vec![("the change is being taken back".to_owned(), style)],
        Phase::Waiting => vec![
            ("it reverts by itself in ".to_owned(), theme.text.style()),
            (clock(pending.left(state.now)), style),
            (" unless it is kept".to_owned(), theme.text.style()),
        ],
    }
}
