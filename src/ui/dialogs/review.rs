//! What is staged, before it is applied: what changes, what the checks say, and what `y` will do.
//!
//! ```text
//!  filter INPUT
//!  - 4  DROP …
//!  + 4  ACCEPT …
//!
//!  dry run          ✔ both back ends take it
//!  your session     ✔ 198.51.100.20 → :22 accepted, established and new
//!  then             a backup first; it reverts by itself in 1:00 unless it is kept
//!
//!  newly accepted   tcp any → :443 on eth0
//! ```
//!
//! What `y` needs stands above what can be long: on a small screen the traffic scrolls, and neither a refusal
//! nor a lock-out is ever below the edge.

use ratatui::style::Style;

use crate::app::action::{Action, Place};
use crate::app::change::{Checked, Checks, Page, Review};
use crate::app::firewall::Firewall;
use crate::app::state::State;
use crate::edit::{ChainDiff, ChainMark, DiffLine, Stage};
use crate::ruleset::Policy;
use crate::ui::dialogs::Line;
use crate::ui::panes::pending::clock;
use crate::ui::theme::Theme;
use crate::ui::words;

/// The title of the page.
pub fn title(state: &State, review: &Review) -> String {
    let n = state.staged();
    let changes = if n == 1 {
        "1 change".to_owned()
    } else {
        format!("{n} changes")
    };
    match review.page {
        Page::Summary => format!("apply {changes}"),
        Page::Diff => format!("the full diff of {changes}"),
        Page::Commands => format!("what runs for {changes}"),
    }
}

/// The text, for so many cells and rows.
pub fn lines(
    state: &State,
    review: &Review,
    theme: &Theme,
    (cells, rows): (usize, usize),
) -> Vec<Line> {
    match review.page {
        Page::Summary => summary(state, review, theme, (cells, rows)),
        Page::Diff => diff(state, theme, cells, usize::MAX),
        Page::Commands => {
            let text = state.commands();
            let broken = text
                .lines()
                .flat_map(|line| words::wrap(&words::clean_str(line), cells));
            broken
                .map(|line| vec![(line, theme.text.style())])
                .collect()
        }
    }
}

/// Lines of the diff that the summary shows at most, and at least.
const SHORT: (usize, usize) = (9, 2);

/// The checks and what comes then are always to be seen; the diff gets the lines that are left, the traffic
/// what is below.
fn summary(
    state: &State,
    review: &Review,
    theme: &Theme,
    (cells, rows): (usize, usize),
) -> Vec<Line> {
    let mut page = Pairs {
        lines: Vec::new(),
        cells,
        name: theme.quiet.style(),
    };
    match &review.checks {
        Checks::Waiting => page.pair(
            "checks",
            "dry run, your session, what it does to traffic …",
            theme.accent.style(),
        ),
        Checks::Done(checked) => safety(&mut page, checked, theme),
    }
    then(&mut page, state, review, theme);
    let needed = page.lines.len();
    if let Checks::Done(checked) = &review.checks {
        page.lines.push(Line::new());
        traffic(&mut page, checked, theme);
    }
    // The rest of the room is shared: the traffic may scroll, the diff has a page of its own.
    let room = rows.saturating_sub(page.lines.len() + 1);
    let most = rows.saturating_sub(needed + 1);
    let mut lines = diff(
        state,
        theme,
        cells,
        room.clamp(SHORT.1, SHORT.0).min(most.max(1)),
    );
    if most > lines.len() {
        lines.push(Line::new());
    }
    lines.append(&mut page.lines);
    lines
}

/// What comes of it: why not, how far it is, or what `y` will do.
fn then(page: &mut Pairs, state: &State, review: &Review, theme: &Theme) {
    let (text, caution) = (theme.text.style(), theme.caution.style());
    let key = |action| {
        let bindings = state.keymap.bindings().iter();
        let mut found = bindings.filter(|b| b.place == Place::Review && b.action == action);
        found
            .next()
            .and_then(|b| b.keys.first())
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    let then = format!(
        "a backup first; it reverts by itself after {} unless you keep it ({} {} to change)",
        clock(state.change.window()),
        key(Action::MoreTime),
        key(Action::LessTime),
    );
    match (&state.change.refused, &review.refusal, &review.step) {
        (Some(why), ..) => page.pair("not from here", why, caution),
        (None, Some((what, remedy)), _) => {
            page.pair("refused", what, theme.alarm.style());
            page.pair("", remedy, text);
        }
        (None, None, Some(step)) => page.pair("now", &format!("{step} …"), theme.accent.style()),
        (None, None, None) => page.pair("then", &then, text),
    }
    let stages = state.firewalls.iter().filter_map(Firewall::stage);
    let mut staged = stages.map(Stage::staged);
    if staged.any(|set| !set.zeroed_rules().is_empty() || !set.zeroed_chains().is_empty()) {
        page.pair(
            "counters",
            "a revert does not bring back what was counted; the backup has it",
            text,
        );
    }
}

/// Whether it can be applied, and whether its author is still let in after it.
fn safety(page: &mut Pairs, checked: &Checked, theme: &Theme) {
    let (fine, alarm) = (theme.hot.style(), theme.alarm.style());
    for (i, session) in checked.sessions.iter().enumerate() {
        let name = if i == 0 { "your session" } else { "" };
        if session.safe {
            page.pair(name, &format!("✔ {}", session.words), fine);
        } else {
            page.pair(name, &format!("✘ {}", session.words), alarm);
        }
    }
    if !checked.has_kernel {
        page.pair(
            "dry run",
            "none: there is no kernel to ask",
            theme.quiet.style(),
        );
        return;
    }
    if checked.sessions.is_empty() {
        page.pair(
            "your session",
            "none over the network: nobody to lock out",
            theme.quiet.style(),
        );
    }
    if checked.refused.is_empty() {
        page.pair(
            "dry run",
            "✔ the back end takes it, and the way back leads back",
            fine,
        );
    }
    for (i, line) in checked.refused.iter().enumerate() {
        page.pair(
            if i == 0 { "dry run" } else { "" },
            &format!("✘ {line}"),
            alarm,
        );
    }
}

/// What the change does to packets.
fn traffic(page: &mut Pairs, checked: &Checked, theme: &Theme) {
    let text = theme.text.style();
    for (name, found) in [
        ("newly accepted", &checked.accepted),
        ("newly dropped", &checked.dropped),
    ] {
        for (i, line) in found.iter().enumerate() {
            page.pair(if i == 0 { name } else { "" }, line, text);
        }
    }
    match (
        checked.accepted.is_empty() && checked.dropped.is_empty(),
        checked.undecided,
    ) {
        (true, false) => page.pair("traffic", "✔ no packet fares otherwise", text),
        (_, true) => page.pair(
            "traffic",
            "not decided in full: there may be more than this",
            theme.caution.style(),
        ),
        (false, false) => {}
    }
    for (i, line) in checked.what_if.iter().enumerate() {
        page.pair(if i == 0 { "what if" } else { "" }, line, text);
    }
}

/// Lines with a name at the left.
struct Pairs {
    lines: Vec<Line>,
    cells: usize,
    name: Style,
}

impl Pairs {
    fn pair(&mut self, name: &str, value: &str, style: Style) {
        let value = words::clean_str(value);
        for (i, part) in words::wrap(&value, self.cells.saturating_sub(16))
            .into_iter()
            .enumerate()
        {
            let name = if i == 0 { name } else { "" };
            self.lines
                .push(vec![(format!("{name:<16}"), self.name), (part, style)]);
        }
    }
}

/// What changes, chain by chain; at most so many lines, and how many more there are.
fn diff(state: &State, theme: &Theme, cells: usize, most: usize) -> Vec<Line> {
    let (staged, leaving, quiet) = (
        theme.staged.style(),
        theme.caution.style(),
        theme.quiet.style(),
    );
    let mut lines: Vec<Line> = Vec::new();
    for firewall in &state.firewalls {
        let Some(stage) = firewall.stage() else {
            continue;
        };
        for chain in stage.diff().chains {
            let names = [&chain.table, &chain.chain].map(|name| words::clean(name).into_owned());
            let mut title = format!("{} {}", state.label(firewall.id), names.join(" "));
            title.push_str(&of_chain(&chain));
            lines.push(vec![(title, theme.heading.style())]);
            for line in &chain.lines {
                let (sign, number, text, style) = match line {
                    DiffLine::Removed {
                        number,
                        spec,
                        disabled: false,
                    } => ("−", number.to_string(), words::clean(spec), leaving),
                    DiffLine::Removed {
                        number,
                        spec,
                        disabled: true,
                    } => ("#", number.to_string(), words::clean(spec), leaving),
                    DiffLine::Added { number, spec } => {
                        ("+", number.to_string(), words::clean(spec), staged)
                    }
                    DiffLine::Zeroed { number, spec } => {
                        ("0", number.to_string(), words::clean(spec), staged)
                    }
                    DiffLine::Moved {
                        from,
                        from_chain: None,
                        to,
                        spec,
                    } => ("↕", format!("{from} → {to}"), words::clean(spec), staged),
                    DiffLine::Moved {
                        from,
                        from_chain: Some(chain),
                        to,
                        spec,
                    } => (
                        "↕",
                        format!("{} {from} → {to}", words::clean(chain)),
                        words::clean(spec),
                        staged,
                    ),
                };
                let head = format!("  {sign} {number:<4} ");
                let room = cells.saturating_sub(words::width(&head)).max(8);
                for (i, part) in words::wrap(&text, room).into_iter().enumerate() {
                    let head = if i == 0 {
                        head.clone()
                    } else {
                        " ".repeat(words::width(&head))
                    };
                    lines.push(vec![(head, style), (part, style)]);
                }
            }
        }
    }
    if lines.is_empty() {
        lines.push(vec![("no rule of the kernel changes".to_owned(), quiet)]);
    }
    let more = lines.len().saturating_sub(most);
    if more > 1 {
        lines.truncate(most);
        lines.push(vec![(format!("  … and {more} lines more"), quiet)]);
    }
    lines
}

/// What is done to the chain itself.
fn of_chain(chain: &ChainDiff) -> String {
    let zeroed = if chain.zeroed {
        ", counters to zero"
    } else {
        ""
    };
    let policy = |policy: Option<Policy>| policy.map_or("?", Policy::name);
    match &chain.mark {
        ChainMark::Same => zeroed.to_owned(),
        ChainMark::New => format!(": new chain{zeroed}"),
        ChainMark::Deleted => ": the chain goes".to_owned(),
        ChainMark::Renamed { from } => format!(": renamed from {}{zeroed}", words::clean(from)),
        ChainMark::PolicyChanged { from } => {
            format!(
                ": policy {} → {}{zeroed}",
                policy(*from),
                policy(chain.policy)
            )
        }
    }
}
