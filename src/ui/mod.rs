//! Draws the state. `view` gets a `&State` and a frame and nothing else: no I/O, no clock, no memory
//! between frames. Keys are not handled here; they are named only by asking the keymap.

mod dialogs;
mod layout;
mod panes;
mod pen;
mod theme;
pub mod words;

pub use theme::{SHIPPED as THEMES, Theme, ThemeError};

use ratatui::Frame;

use crate::app::message::Viewport;
use crate::app::state::{Dialog, State};

/// Draws one frame and says how many rows each pane has.
pub fn view(state: &State, theme: &Theme, frame: &mut Frame<'_>) -> Viewport {
    let screen = frame.area();
    let buffer = frame.buffer_mut();
    let Some(areas) = layout::areas(screen, state) else {
        let mut pen = pen::Pen::new(buffer, screen, 0);
        // The clock of a pending change is seen on any screen.
        if let Some(pending) = &state.change.pending {
            let left = panes::pending::clock(pending.left(state.now));
            pen.put(&format!("PENDING {left} "), theme.caution.style());
        }
        pen.put("too small", theme.caution.style());
        return Viewport {
            single: true,
            hidden: true,
            ..Viewport::default()
        };
    };
    panes::header::draw(state, theme, &areas, buffer);
    panes::pending::draw(state, theme, &areas, buffer);
    if let Some(Dialog::Why(why)) = &state.dialog {
        let rows = panes::why::draw(state, why, theme, &areas, buffer);
        panes::footer::draw(state, theme, &areas, buffer);
        return Viewport {
            dialog: rows,
            ..areas.viewport(screen)
        };
    }
    panes::chains::draw(state, theme, &areas, buffer);
    panes::rules::draw(state, theme, &areas, buffer);
    panes::drops::draw(state, theme, &areas, buffer);
    panes::footer::draw(state, theme, &areas, buffer);
    dialogs::draw(state, theme, screen, buffer);
    areas.viewport(screen)
}
