//! The rules of the selected chain.
//!
//! ```text
//! ╭▸ filter INPUT ─ policy DROP 41/s ─ 14 rules ───────────────────────────── by rate ╮
//! │   #  packets    bytes    /s   target  prot  in    source        destination  match│
//! │   4     9.8k     588k    41█  DROP    tcp   eth0                             …    │
//! ╰───────────────────────────────────────────────────────────────────────────────────╯
//! ```
//!
//! Columns are as wide as the chain needs, worked out when the chain is opened, and a column that the
//! whole chain leaves empty is not there: nothing jumps while one looks.

mod columns;
mod line;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::app::board::{Pane, Row, Show, Sort};
use crate::app::firewall::Firewall;
use crate::app::motion::Rate;
use crate::app::notice::Level;
use crate::app::state::State;
use crate::ruleset::{ChainIdx, Policy};
use crate::ui::layout::Areas;
use crate::ui::panes::rules::columns::{Columns, heads};
use crate::ui::panes::rules::line::Line;
use crate::ui::panes::{Title, band, frame, wash};
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;
use crate::ui::words;

/// Draws the pane.
pub fn draw(state: &State, theme: &Theme, areas: &Areas, buffer: &mut Buffer) {
    let area = areas.rules;
    if area.is_empty() {
        return;
    }
    let focused = state.board.pane == Pane::Rules;
    let (title, aside) = (title(state, theme), aside(state, theme));
    let inside = frame(areas.shape, area, focused, &title, &aside, theme, buffer);
    let (Some(firewall), Some(place)) = (state.firewall(), state.board.place) else {
        empty(state, theme, inside, buffer);
        return;
    };
    let columns = Columns::share(
        usize::from(inside.width),
        state.board.widths,
        state.is_live(),
    );
    heads(state, &columns, theme, inside, buffer);
    let body = Rect {
        y: inside.y + 1,
        height: inside.height.saturating_sub(1),
        ..inside
    };
    let most = fastest(state, firewall, place.chain, usize::from(body.height));
    let count = state.board.row_count();
    if count == 0 {
        let mut pen = Pen::new(buffer, body, 0);
        pen.skip(2).put(nothing(state), theme.quiet.style());
    }
    let last = count.min(state.board.rules.top + usize::from(body.height));
    for i in state.board.rules.top..last {
        let Some(row) = state.board.row(i, firewall) else {
            break;
        };
        let line = Line::of(state, firewall, place.chain, row);
        let at = u16::try_from(i - state.board.rules.top).unwrap_or(u16::MAX);
        let selected = focused && i == state.board.rules.at;
        line.draw(&columns, (most, selected), state, theme, body, at, buffer);
        if i == state.board.rules.at {
            match (focused, line.alarms()) {
                (true, false) => band(buffer, body, usize::from(at), theme.cursor.style()),
                (true, true) => band(buffer, body, usize::from(at), theme.cursor_alarm.style()),
                (false, _) => wash(buffer, body, usize::from(at), theme.cursor_away.style()),
            }
        }
    }
}

/// Why there is no row.
fn nothing(state: &State) -> &'static str {
    match (state.board.filter.is_empty(), state.board.show) {
        (false, _) => "no rule of this chain has these words",
        (true, Show::Matched) => "no rule of this chain has matched yet",
        (true, Show::Never) => "every rule of this chain has matched",
        (true, Show::All) => "no rules: the packet returns to where the jump was made",
    }
}

/// The rate in the chosen unit.
pub fn shown_rate(rate: Rate, bits: bool) -> f64 {
    if bits { rate.bytes * 8.0 } else { rate.packets }
}

/// The fastest rate on the screen, against which the bars are drawn.
fn fastest(state: &State, firewall: &Firewall, chain: ChainIdx, height: usize) -> f64 {
    let top = state.board.rules.top;
    (top..top + height)
        .map_while(|i| state.board.row(i, firewall))
        .map(|row| match row {
            Row::Rule(rule, _) => shown_rate(firewall.rate(rule), state.bits),
            Row::Policy => shown_rate(firewall.policy_rate(chain), state.bits),
        })
        .fold(0.0, f64::max)
}

/// `ACCEPT`, `DROP`.
pub fn policy_name(policy: Option<Policy>) -> &'static str {
    match policy {
        Some(Policy::Accept) => "ACCEPT",
        Some(Policy::Drop) => "DROP",
        Some(Policy::Queue) => "QUEUE",
        None => "",
    }
}

fn title(state: &State, theme: &Theme) -> Title {
    let (Some(firewall), Some(place)) = (state.firewall(), state.board.place) else {
        return vec![(" rules ".to_owned(), theme.heading.style())];
    };
    let chain = firewall.ruleset.chain(place.chain);
    let dash = || ("─ ".to_owned(), theme.frame.style());
    let name = format!(
        " {} ",
        words::clean_str(&state.chain_title(place.firewall, place.chain))
    );
    let mut title = vec![(name, theme.heading.style())];
    if let Some(policy) = firewall.kernel_policy(place.chain) {
        let rate = firewall.policy_rate(place.chain);
        let drops = policy == Policy::Drop && rate.moves();
        let style = if drops {
            theme.alarm.style()
        } else {
            theme.text.style()
        };
        let rate = if rate.moves() {
            format!(" {}/s", words::rate(rate.packets))
        } else {
            String::new()
        };
        title.push(dash());
        title.push((
            format!("policy {}{rate} ", policy_name(Some(policy))),
            style,
        ));
        if firewall.policy_is_staged(place.chain) {
            let to = format!("→ {} ", policy_name(chain.policy()));
            title.push((to, theme.staged.style()));
        }
    }
    title.push(dash());
    let rules = chain.rules().len();
    let shown = state.board.rules_shown();
    let all = state.board.filter.is_empty() && state.board.show == Show::All;
    let count = match (all, rules) {
        (true, 1) => "1 rule ".to_owned(),
        (true, n) => format!("{n} rules "),
        (false, n) => format!("{shown} of {n} rules "),
    };
    title.push((count, theme.text.style()));
    if firewall.lossy(place.chain).is_some() {
        title.push(dash());
        title.push(("≠ native nft in it ".to_owned(), theme.caution.style()));
    }
    title
}

/// What is not as usual, at the right of the title.
fn aside(state: &State, theme: &Theme) -> Title {
    let mut words = Vec::new();
    match state.board.sort {
        Sort::Kernel => {}
        Sort::Rate => words.push("by rate".to_owned()),
        Sort::Packets => words.push("by packets".to_owned()),
    }
    match state.board.show {
        Show::All => {}
        Show::Matched => words.push("matched only".to_owned()),
        Show::Never => words.push("never matched only".to_owned()),
    }
    if !state.board.filter.is_empty() {
        words.push(format!("/{}", words::clean_str(state.board.filter.text())));
    }
    if state.zeroed.is_some() {
        words.push("Δ since zeroed".to_owned());
    }
    if state.board.shift > 0 {
        words.push(format!("▸{}", state.board.shift));
    }
    if words.is_empty() {
        return Vec::new();
    }
    vec![(format!(" {} ", words.join(" · ")), theme.accent.style())]
}

/// Why there is no rule. That every packet passes is only said when nothing could stop one unseen.
fn empty(state: &State, theme: &Theme, inside: Rect, buffer: &mut Buffer) {
    let mut pen = Pen::new(buffer, inside, 1);
    pen.skip(2);
    let unseen = state.notices.list().first();
    if let Some((origin, stage)) = state.loading.first() {
        let what = format!("reading {}: {stage} …", state.label(*origin));
        pen.put(&what, theme.accent.style());
    } else if let Some(notice) = unseen.filter(|notice| notice.level > Level::Info) {
        pen.put_untrusted(&notice.text, theme.caution.style());
    } else if !state.native.is_empty() {
        pen.put(
            "no iptables rules; native nft chains decide",
            theme.quiet.style(),
        );
    } else if !state.answered {
        pen.put("not read yet", theme.quiet.style());
    } else if state.is_live() {
        pen.put("no rules: every packet passes", theme.quiet.style());
    } else {
        pen.put("the dump holds no table", theme.quiet.style());
    }
}
