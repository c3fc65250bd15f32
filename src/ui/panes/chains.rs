//! The chain list: tables as headings, chains with their policy and what they match per second.
//!
//! ```text
//! │ v4 filter                  │
//! │ ▸INPUT          DROP  350/s│
//! │  f2b-sshd               2/s│
//! │ native nft                 │
//! │  inet fw input  prio -10   │
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::app::board::{Entry, Pane};
use crate::app::motion::Heat;
use crate::app::state::State;
use crate::edit::ChainMark;
use crate::ruleset::{ChainIdx, Policy};
use crate::ui::layout::Areas;
use crate::ui::panes::rules::{policy_name, shown_rate};
use crate::ui::panes::{Title, band, frame, wash};
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;
use crate::ui::words;

/// Draws the pane.
pub fn draw(state: &State, theme: &Theme, areas: &Areas, buffer: &mut Buffer) {
    if areas.chains.is_empty() {
        return;
    }
    let focused = state.board.pane == Pane::Chains;
    let title: Title = vec![(" chains ".to_owned(), theme.heading.style())];
    let filter = &state.board.chain_filter;
    let aside: Title = if filter.is_empty() {
        Vec::new()
    } else {
        vec![(
            format!(" /{} ", words::clean_str(filter.text())),
            theme.accent.style(),
        )]
    };
    let inside = frame(
        areas.shape,
        areas.chains,
        focused,
        &title,
        &aside,
        theme,
        buffer,
    );
    let top = state.board.chains.top;
    for (row, entry) in state
        .board
        .entries
        .iter()
        .enumerate()
        .skip(top)
        .take(usize::from(inside.height))
    {
        let line = row - top;
        let at = u16::try_from(line).unwrap_or(u16::MAX);
        match entry {
            Entry::Table(firewall, table) => {
                let Some(f) = state.firewalls.get(*firewall) else {
                    continue;
                };
                let name = f.ruleset.table(*table).name();
                let label = state.label(f.id);
                let mut pen = Pen::new(buffer, inside, at);
                pen.put(
                    &format!("{label} {}", words::clean_str(name)),
                    theme.heading.style(),
                );
            }
            Entry::Chain(firewall, chain) => {
                chain_line(state, theme, (*firewall, *chain), inside, at, buffer);
            }
            Entry::NativeHeading => {
                let mut pen = Pen::new(buffer, inside, at);
                pen.put("native nft", theme.heading.style());
            }
            Entry::Native(i) => native_line(state, theme, *i, inside, at, buffer),
        }
        if row == state.board.chains.at && focused {
            band(buffer, inside, line, theme.cursor.style());
        } else if row == state.board.chains.at {
            wash(buffer, inside, line, theme.cursor_away.style());
        }
    }
    if state.board.entries.is_empty() {
        let mut pen = Pen::new(buffer, inside, 0);
        pen.skip(1).put("none", theme.quiet.style());
    }
}

fn chain_line(
    state: &State,
    theme: &Theme,
    (firewall, chain): (usize, ChainIdx),
    inside: Rect,
    at: u16,
    buffer: &mut Buffer,
) {
    let Some(f) = state.firewalls.get(firewall) else {
        return;
    };
    let it = f.ruleset.chain(chain);
    let activity = f.activity(chain);
    let heat = f.chain_heat(chain, state.now, state.interval);
    let dropping = activity.drops.moves();
    let lit = match (heat, dropping) {
        (Heat::Cold, _) => theme.text.style(),
        (Heat::Hot, true) => theme.alarm.style(),
        (Heat::Hot, false) => theme.hot.style(),
        (Heat::Warm, _) => theme.warm.style(),
        (Heat::Fading, _) => theme.fading.style(),
    };
    let idle = it.rules().is_empty() && heat == Heat::Cold;
    let name_style = if idle {
        theme.quiet.style()
    } else {
        theme.text.style()
    };
    let lossy = f.lossy(chain).is_some();
    let mark = match (dropping, heat) {
        _ if lossy => "≠", // the text is not what the kernel holds
        (true, _) => "■",
        (false, Heat::Hot) => "▸",
        _ => " ",
    };
    let lit = if lossy { theme.caution.style() } else { lit };
    // What is staged about the chain itself comes before how busy it is.
    let (mark, lit) = match f.chain_mark(chain) {
        ChainMark::Same => (mark, lit),
        ChainMark::New => ("+", theme.staged.style()),
        ChainMark::Renamed { .. } | ChainMark::PolicyChanged { .. } => ("~", theme.staged.style()),
        ChainMark::Deleted => ("−", theme.leaving.style()),
    };
    // A saved dump has no rates; how many rules there are is what one looks for.
    let rate = if state.is_live() {
        words::rate(shown_rate(activity.decided, state.bits))
    } else {
        words::short(it.rules().len() as u64)
    };
    let rate_style = if activity.decided.moves() {
        lit
    } else {
        theme.quiet.style()
    };
    let policy = f.kernel_policy(chain);
    let policy_style = match policy {
        Some(Policy::Drop) => theme
            .text
            .style()
            .add_modifier(ratatui::style::Modifier::BOLD),
        _ => theme.quiet.style(),
    };
    let policy = policy_name(policy);
    let room = usize::from(inside.width).saturating_sub(1 + 1 + 5);
    let mut pen = Pen::new(buffer, inside, at);
    pen.put(mark, lit);
    let name = words::clean_str(it.name());
    if policy.is_empty() {
        pen.column(&name, room, name_style); // a user chain needs no room for a policy
    } else {
        pen.column(&name, room.saturating_sub(8), name_style);
        pen.column(policy, 7, policy_style);
    }
    pen.number(&rate, 5, rate_style);
}

fn native_line(state: &State, theme: &Theme, i: usize, inside: Rect, at: u16, buffer: &mut Buffer) {
    let Some(chain) = state.native.get(i) else {
        return;
    };
    let quiet = theme.quiet.style();
    let style = if chain.drops_by_default {
        theme.caution.style()
    } else {
        theme.text.style()
    };
    let name = format!("{}/{}", chain.table, chain.chain);
    let policy = if chain.drops_by_default { "DROP" } else { "" };
    let hook = format!("{} {}", short_hook(chain.hook), chain.priority);
    let mut pen = Pen::new(buffer, inside, at);
    let name_width = usize::from(inside.width).saturating_sub(1 + words::width(&hook) + 1 + 5);
    pen.skip(1)
        .column(&words::clean_str(&name), name_width, style);
    pen.column(policy, 4, style);
    pen.put(&hook, quiet);
}

/// A hook in four cells at most.
fn short_hook(hook: &str) -> &str {
    match hook {
        "prerouting" => "pre",
        "input" => "in",
        "forward" => "fwd",
        "output" => "out",
        "postrouting" => "post",
        other => other,
    }
}
