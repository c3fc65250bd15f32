//! Lists that narrow as one types: keys and actions, chains.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::app::connections::Connections;
use crate::app::state::{Picker, State};
use crate::ui::dialogs::{open, place};
use crate::ui::panes::band;
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;
use crate::ui::words;

/// Every key and action.
pub fn help(state: &State, picker: &Picker, theme: &Theme, screen: Rect, buffer: &mut Buffer) {
    let bindings = state.keymap.bindings();
    let rows: Vec<(String, String)> = state
        .help_choices(picker)
        .into_iter()
        .filter_map(|i| bindings.get(i))
        .map(|b| {
            let keys: Vec<String> = b.keys.iter().map(ToString::to_string).collect();
            (keys.join(" "), b.desc.clone())
        })
        .collect();
    draw("keys", &rows, 10, picker, theme, screen, buffer);
}

/// Chains by name.
pub fn chains(state: &State, picker: &Picker, theme: &Theme, screen: Rect, buffer: &mut Buffer) {
    let rows: Vec<(String, String)> = state
        .chain_choices(picker)
        .into_iter()
        .map(|(place, name)| {
            let rate = state
                .firewalls
                .get(place.firewall)
                .map(|f| f.activity(place.chain).decided.packets);
            (
                words::rate(rate.unwrap_or_default()),
                words::clean_str(&name).into_owned(),
            )
        })
        .collect();
    draw("chains", &rows, 6, picker, theme, screen, buffer);
}

/// Connections that are tracked.
pub fn connections(open: &Connections, theme: &Theme, screen: Rect, buffer: &mut Buffer) {
    let words = match &open.all {
        None => Some("reading …".to_owned()),
        Some(Err(why)) => Some(words::clean_str(why).into_owned()),
        Some(Ok(_)) => None,
    };
    let rows: Vec<(String, String)> = match words {
        Some(words) => vec![(String::new(), words)],
        None => {
            let choices = open.choices().into_iter();
            choices
                .map(|one| (one.note.to_owned(), one.text.clone()))
                .collect()
        }
    };
    draw(
        "connections",
        &rows,
        10,
        &open.picker,
        theme,
        screen,
        buffer,
    );
}

/// Draws the typed line and the rows around the chosen one.
fn draw(
    title: &str,
    rows: &[(String, String)],
    left: usize,
    picker: &Picker,
    theme: &Theme,
    screen: Rect,
    buffer: &mut Buffer,
) {
    let area = place(screen, usize::MAX);
    let inside = open(title, theme, area, buffer);
    let accent = theme.accent.style();
    let mut pen = Pen::new(buffer, inside, 0);
    pen.put("/", accent)
        .put_untrusted(&picker.query, theme.text.style())
        .put("▏", accent);
    let body = Rect {
        y: inside.y + 1,
        height: inside.height.saturating_sub(1),
        ..inside
    };
    let height = usize::from(body.height);
    let top = (picker.at + 1).saturating_sub(height);
    for (line, (i, (key, text))) in rows.iter().enumerate().skip(top).take(height).enumerate() {
        let row = u16::try_from(line).unwrap_or(u16::MAX);
        let mut pen = Pen::new(buffer, body, row);
        pen.column(key, left, accent)
            .skip(1)
            .put(text, theme.text.style());
        if i == picker.at {
            band(buffer, body, line, theme.cursor.style());
        }
    }
    if rows.is_empty() {
        Pen::new(buffer, body, 0).put("nothing has these words", theme.quiet.style());
    }
}
