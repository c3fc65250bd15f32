//! The explain screen: a packet's way through the rules, who decides, and what else of the box matters.
//!
//! ```text
//! ▸ why ─ tcp 203.0.113.9:40112 → 10.0.0.5:443 in eth0 new ───────────── DROP certain ─
//!   raw      PREROUTING  policy ACCEPT
//!   filter   INPUT
//!           1–3  no        in lo · ctstate INVALID · icmp
//!   ■         4  DROP      tcp eth0 dport 443                     ← decides    41/s
//!             5  ACCEPT    tcp dport 443                          ← would have accepted
//! ─────────────────────────────────────────────────────────────────────────────────────
//!  client sees  a timeout (nothing answers)
//!  box          ✔ eth0 up  ✔ nginx listens on 0.0.0.0:443  ✔ conntrack 68 %
//! ```
//!
//! On a wide screen what the box says stands in a column of its own, each line with its evidence.

mod path;
mod side;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::widgets::{Clear, Widget};

use crate::app::state::State;
use crate::app::why::Why;
use crate::ui::layout::{Areas, Shape};
use crate::ui::panes::{Title, frame};
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;
use crate::ui::words;
use crate::verdict::{Verdict, Words};

/// From so many columns on, the box has a column of its own.
const TWO_COLUMNS: u16 = 150;
/// Rows that the path keeps, however much the box has to say.
const LEAST_PATH: u16 = 6;

/// Draws it, and says how many rows the path has.
pub fn draw(state: &State, why: &Why, theme: &Theme, areas: &Areas, buffer: &mut Buffer) -> usize {
    let body = areas.body();
    Clear.render(body, buffer);
    let boxed = areas.shape == Shape::Wide || body.width >= 100;
    let shape = if boxed { Shape::Wide } else { Shape::Narrow };
    let inside = if body.width >= TWO_COLUMNS {
        let [left, right] =
            Layout::horizontal([Constraint::Min(1), Constraint::Length(body.width * 2 / 5)])
                .areas(body);
        let title = vec![(" the rest of the box ".to_owned(), theme.heading.style())];
        let beside = frame(shape, right, false, &title, &Title::new(), theme, buffer);
        side::draw_tall(state, why, theme, beside, buffer);
        frame_path(why, theme, shape, left, buffer)
    } else {
        let lines = side::lines(state, why, theme, usize::from(body.width.saturating_sub(4)));
        let frames = if boxed { 2 } else { 1 };
        let most = body.height.saturating_sub(LEAST_PATH + frames + 1);
        let wanted = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        let height = wanted.min(most);
        let inside = frame_path(why, theme, shape, body, buffer);
        let [path, rule, below] = Layout::vertical([
            Constraint::Min(1),
            Constraint::Length(u16::from(height > 0)),
            Constraint::Length(height),
        ])
        .areas(inside);
        if height > 0 {
            let line = "─".repeat(usize::from(rule.width));
            Pen::new(buffer, rule, 0).put(&line, theme.frame.style());
        }
        side::draw_lines(&lines, theme, below, buffer);
        path
    };
    path::draw(state, why, theme, inside, buffer);
    usize::from(inside.height)
}

/// The frame of the path with the packet in its title, or the line that it is typed into.
fn frame_path(why: &Why, theme: &Theme, shape: Shape, area: Rect, buffer: &mut Buffer) -> Rect {
    let (text, quiet) = (theme.text.style(), theme.quiet.style());
    let mut title = vec![(" why ".to_owned(), theme.heading.style())];
    let mut aside = Title::new();
    if let Some(line) = &why.line {
        let typed = words::clean_str(&line.text).into_owned();
        title.push((typed, text));
        title.push(("▏".to_owned(), theme.accent.style()));
        return with_hint(line.problem.as_deref(), &title, theme, shape, area, buffer);
    }
    let packet = match &why.answer {
        Some(answer) => Some(&answer.probe),
        None => why.packets.first(),
    };
    if let Some(packet) = packet {
        let shown = Words(packet).to_string().replace("->", "→");
        title.push((format!("{} ", words::clean_str(&shown)), text));
    }
    match &why.answer {
        Some(answer) => {
            let (word, style) = verdict(answer.explanation.verdict, theme);
            aside.push((format!(" {word}"), style));
            match (why.blocked_part(), answer.explanation.verdict) {
                // That it gets through is not what one wants to know then.
                (Some(other), _) => {
                    let (word, style) = verdict(other.explanation.verdict, theme);
                    aside.push((format!(" · {} ", other.part.name()), quiet));
                    aside.push((format!("{word} "), style));
                }
                (None, Verdict::Unknown) => aside.push((" depends ".to_owned(), quiet)),
                (None, _) => aside.push((" certain ".to_owned(), quiet)),
            }
        }
        None => aside.push((" … ".to_owned(), quiet)),
    }
    frame(shape, area, true, &title, &aside, theme, buffer)
}

/// The first line under a typed packet says what is wrong with it, or how one is written.
fn with_hint(
    problem: Option<&str>,
    title: &Title,
    theme: &Theme,
    shape: Shape,
    area: Rect,
    buffer: &mut Buffer,
) -> Rect {
    let inside = frame(shape, area, true, title, &Title::new(), theme, buffer);
    let mut pen = Pen::new(buffer, inside, 0);
    match problem.filter(|problem| !problem.is_empty()) {
        Some(problem) => pen.skip(1).put_untrusted(problem, theme.caution.style()),
        None => pen.skip(1).put(
            "a packet: tcp 203.0.113.9 -> :443 in eth0 · ping -> 10.0.0.1 · udp 10.0.0.1:53 -> 10.0.0.2 in eth0 out eth1 established",
            theme.quiet.style(),
        ),
    };
    Rect {
        y: inside.y.saturating_add(1),
        height: inside.height.saturating_sub(1),
        ..inside
    }
}

/// The verdict in a word, with its colour.
fn verdict(verdict: Verdict, theme: &Theme) -> (String, Style) {
    let style = match verdict {
        Verdict::Accept => theme.hot.style(),
        Verdict::Drop | Verdict::Reject => theme.alarm.style(),
        Verdict::Unknown => theme.caution.style(),
    };
    (verdict.name().to_ascii_uppercase(), style)
}
