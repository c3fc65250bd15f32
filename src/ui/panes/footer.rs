//! The last line: what is being typed, else a short word, else the keys of the pane with the focus.

use ratatui::buffer::Buffer;

use crate::app::action::{Action, Place};
use crate::app::state::{Dialog, Purpose, State};
use crate::ui::layout::Areas;
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;
use crate::ui::words;

/// Draws the line.
pub fn draw(state: &State, theme: &Theme, areas: &Areas, buffer: &mut Buffer) {
    let mut pen = Pen::new(buffer, areas.footer, 0);
    pen.skip(1);
    if let Some(input) = &state.input {
        let accent = theme.accent.style();
        let prompt = match input.purpose {
            Purpose::Filter => "/",
            Purpose::MoveTo => "move to (number, or chain and number): ",
            Purpose::AddChain => "new chain: ",
            Purpose::RenameChain => "new name: ",
            Purpose::GoOn => "your session is not proved to survive; type the word risk to go on: ",
        };
        pen.put(prompt, accent)
            .put_untrusted(&input.text, theme.text.style())
            .put("▏", accent);
        return;
    }
    // Words never hide the keys of a question that waits for its answer.
    let asks = matches!(
        state.key_place(),
        Place::Review | Place::Pending | Place::Keep
    );
    if let Some((said, _)) = state.said.as_ref().filter(|_| !asks) {
        pen.put_untrusted(said, theme.accent.style());
        return;
    }
    // The templates take the editor's keys, and have one view.
    let one_view = matches!(state.dialog, Some(Dialog::Templates(_)));
    for (binding, hint) in state.keymap.hints(state.key_place()) {
        if one_view && binding.action == Action::SwitchView {
            continue;
        }
        let Some(key) = binding.keys.first().map(ToString::to_string) else {
            continue;
        };
        if words::width(&key) + words::width(hint) + 3 > pen.room() {
            break;
        }
        pen.put(&key, theme.accent.style())
            .skip(1)
            .put(hint, theme.quiet.style())
            .skip(2);
    }
    if let Some((said, _)) = &state.said {
        pen.put_untrusted(said, theme.accent.style());
    }
}
