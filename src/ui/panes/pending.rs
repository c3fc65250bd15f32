//! The bar of a pending change, on every pane, as long as it waits for its answer.
//!
//! ```text
//!  PENDING  reverts in 0:43  ███████▌··  new since: 1 ssh connection from 198.51.100.20 ✔         A keep or revert
//! ```

use std::time::Duration;

use ratatui::buffer::Buffer;

use crate::app::action::Action;
use crate::app::change::Phase;
use crate::app::state::State;
use crate::ui::layout::Areas;
use crate::ui::panes::header::meter;
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;
use crate::ui::words;

/// Draws the bar where there is one.
pub fn draw(state: &State, theme: &Theme, areas: &Areas, buffer: &mut Buffer) {
    let Some(pending) = &state.change.pending else {
        return;
    };
    let area = areas.pending;
    let (band, text) = (theme.pending.style(), theme.text.style());
    let mut pen = Pen::new(buffer, area, 0);
    pen.put(" PENDING ", band).skip(1);
    match pending.phase {
        Phase::Applying => pen.put("the change is being made", text),
        Phase::Reverting => pen.put("the change is being taken back", text),
        Phase::Waiting => {
            let left = pending.left(state.now);
            pen.put("reverts in ", text)
                .put(&clock(left), theme.caution.style());
            if area.width >= 100 {
                let share = left.as_secs_f64() / pending.window.as_secs_f64().max(1.0);
                pen.skip(2).put(&meter(share, 10), theme.caution.style());
            }
            pen.skip(2)
        }
    };
    let key = state
        .keymap
        .key_of(Action::Apply)
        .map(|key| key.to_string())
        .unwrap_or_default();
    let hint = " keep or revert ";
    let room = pen
        .room()
        .saturating_sub(words::width(&key) + words::width(hint) + 2);
    let (said, style) = match &state.change.evidence {
        Some(evidence) if evidence.accepted > 0 => (
            format!("new since: {} ✔", evidence.words),
            theme.hot.style(),
        ),
        Some(evidence) => (evidence.words.clone(), theme.quiet.style()),
        None => (pending.who.clone(), theme.quiet.style()),
    };
    pen.put(&words::fit(&words::clean_str(&said), room), style);
    pen.right(&[
        (key.as_str(), theme.accent.style()),
        (hint, theme.quiet.style()),
    ]);
}

/// `0:43`.
pub fn clock(left: Duration) -> String {
    // The second that has begun counts: 0:00 is when it reverts.
    let seconds = left.as_millis().div_ceil(1_000);
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
