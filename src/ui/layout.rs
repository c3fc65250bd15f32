//! Where each pane stands, for any size of terminal.
//!
//! ```text
//! wide (100 columns up)               narrow (80 columns up)      single (anything smaller)
//! ┌ header, two lines ─────────┐      ┌ header, two lines ──┐     ┌ header, one line ┐
//! ├ chains ┬ rules ────────────┤      ├ rules ──────────────┤     ├ the pane with    │
//! │        │                   │      │                     │     │ the focus        │
//! ├ drops ─┴───────────────────┤      ├ drops, four lines ──┤     │                  │
//! └ footer ────────────────────┘      └ footer ─────────────┘     └ footer ──────────┘
//! ```

use ratatui::layout::{Constraint, Layout, Rect};

use crate::app::board::Pane;
use crate::app::message::Viewport;
use crate::app::state::{Mode, State};

/// Smaller than this there is only a word to say.
pub const SMALLEST: (u16, u16) = (24, 6);

/// How much fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Chains beside rules, in boxes.
    Wide,
    /// Rules above drops, under title lines.
    Narrow,
    /// One pane at a time.
    Single,
}

/// The areas of one frame; a pane that is not shown has none.
#[derive(Clone, Copy, Debug)]
pub struct Areas {
    /// How much fits.
    pub shape: Shape,
    /// Header.
    pub header: Rect,
    /// The bar of a pending change; empty while there is none.
    pub pending: Rect,
    /// Chain list with its frame.
    pub chains: Rect,
    /// Rules with their frame.
    pub rules: Rect,
    /// Drop feed with its frame.
    pub drops: Rect,
    /// Message line or footer.
    pub footer: Rect,
}

/// The areas for a screen so large; `None` when it is too small for anything.
pub fn areas(screen: Rect, state: &State) -> Option<Areas> {
    if screen.width < SMALLEST.0 || screen.height < SMALLEST.1 {
        return None;
    }
    let pane = state.board.pane;
    let shape = match (screen.width, screen.height) {
        (100.., 18..) => Shape::Wide,
        (80.., 18..) => Shape::Narrow,
        _ => Shape::Single,
    };
    let shape = if state.board.zoom {
        Shape::Single
    } else {
        shape
    };
    let head = if screen.width < 80 || screen.height < 18 {
        1
    } else {
        2
    };
    let bar = u16::from(state.change.pending.is_some());
    let [header, pending, body, footer] = Layout::vertical([
        Constraint::Length(head),
        Constraint::Length(bar),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(screen);
    let mut areas = Areas {
        shape,
        header,
        pending,
        chains: Rect::ZERO,
        rules: Rect::ZERO,
        drops: Rect::ZERO,
        footer,
    };
    let feed = feed_height(shape, body.height, state);
    match shape {
        Shape::Wide => {
            let [upper, drops] =
                Layout::vertical([Constraint::Min(1), Constraint::Length(feed)]).areas(body);
            let [chains, rules] = Layout::horizontal([
                Constraint::Length(list_width(screen.width)),
                Constraint::Min(1),
            ])
            .areas(upper);
            (areas.chains, areas.rules, areas.drops) = (chains, rules, drops);
        }
        Shape::Narrow => {
            let [upper, drops] =
                Layout::vertical([Constraint::Min(1), Constraint::Length(feed)]).areas(body);
            areas.drops = drops;
            if pane == Pane::Chains {
                areas.chains = upper;
            } else {
                areas.rules = upper;
            }
        }
        Shape::Single => match pane {
            Pane::Chains => areas.chains = body,
            Pane::Rules => areas.rules = body,
            Pane::Drops => areas.drops = body,
        },
    }
    Some(areas)
}

/// A third of a tall screen, four lines of a small one; a saved dump has no feed.
fn feed_height(shape: Shape, body: u16, state: &State) -> u16 {
    if matches!(state.facts.mode, Mode::File(_)) && state.board.pane != Pane::Drops {
        return 0;
    }
    match shape {
        Shape::Wide => (body / 4).clamp(5, 14),
        Shape::Narrow => 5,
        Shape::Single => 0,
    }
}

fn list_width(screen: u16) -> u16 {
    (screen / 5).clamp(30, 40)
}

impl Areas {
    /// All that lies between header and footer, below the bar of a pending change.
    pub fn body(&self) -> Rect {
        let top = self.header.bottom() + self.pending.height;
        Rect {
            y: top,
            height: self.footer.y.saturating_sub(top),
            ..self.footer
        }
    }

    /// Rows of content that each pane has, for paging and scrolling.
    pub fn viewport(&self, screen: Rect) -> Viewport {
        let rows = |area: Rect, taken: u16| usize::from(area.height.saturating_sub(taken));
        let frame = match self.shape {
            Shape::Wide => 2,
            Shape::Narrow | Shape::Single => 1,
        };
        Viewport {
            hidden: false,
            chains: rows(self.chains, frame),
            rules: rows(self.rules, frame + 1), // the column heads
            drops: rows(self.drops, frame),
            dialog: rows(screen, 8),
            single: self.shape == Shape::Single,
        }
    }
}
