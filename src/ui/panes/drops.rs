//! The drop feed: what the kernel's log, or NFLOG, says of packets.
//!
//! ```text
//! ╭ drops ─ 3 groups in the last minute ────────────────────────── kmsg ╮
//! │  39/s   1.2k  203.0.113.9 → :443/tcp  eth0  "HTTP BLOCKED: "  21:03 │
//! ╰─────────────────────────────────────────────────────────────────────╯
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::app::attribution::Attribution;
use crate::app::board::Pane;
use crate::app::drops::DropRow;
use crate::app::feed::{EventKey, FeedLine, FlowKey, GroupKey, GroupRow, Moment, Port};
use crate::app::notice::Level;
use crate::app::state::State;
use crate::flow::{Condition, KernelLine, LogLine};
use crate::ui::layout::Areas;
use crate::ui::panes::{Title, band, frame};
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;
use crate::ui::words;

/// Draws the pane.
pub fn draw(state: &State, theme: &Theme, areas: &Areas, buffer: &mut Buffer) {
    if areas.drops.is_empty() {
        return;
    }
    let focused = state.board.pane == Pane::Drops;
    let (title, aside) = (title(state, theme), aside(state, theme));
    let inside = frame(
        areas.shape,
        areas.drops,
        focused,
        &title,
        &aside,
        theme,
        buffer,
    );
    let cursor = state.drops.cursor;
    let rows = state
        .drops
        .rows
        .iter()
        .enumerate()
        .skip(cursor.top)
        .take(usize::from(inside.height));
    for (i, row) in rows {
        let line = i - cursor.top;
        let at = u16::try_from(line).unwrap_or(u16::MAX);
        match row {
            DropRow::Group(group) => group_line(state, theme, group, inside, at, buffer),
            DropRow::Line(single) => single_line(state, theme, single, inside, at, buffer),
        }
        if i == cursor.at && focused {
            band(buffer, inside, line, theme.cursor.style());
        }
    }
    if state.drops.rows.is_empty() {
        let mut pen = Pen::new(buffer, inside, 0);
        pen.skip(2)
            .put_untrusted(nothing(state), theme.quiet.style());
    }
}

/// Why there is no row: what is known to keep lines away, else that none came.
fn nothing(state: &State) -> &str {
    if !state.feed.filter().is_empty() {
        return "no line has these words";
    }
    let keeps_away = |key: &str| {
        ["silent", "log", "nflog"]
            .iter()
            .any(|start| key.starts_with(start))
    };
    let mut grave = state
        .notices
        .list()
        .iter()
        .filter(|n| n.level > Level::Info);
    grave
        .find(|notice| keeps_away(&notice.key))
        .map_or("no line yet", |notice| &notice.text)
}

fn title(state: &State, theme: &Theme) -> Title {
    let totals = state.feed.totals(state.now);
    let mut title = vec![(" drops ".to_owned(), theme.heading.style())];
    let mut add = |text: String, style: Style| {
        title.push(("─ ".to_owned(), theme.frame.style()));
        title.push((text, style));
    };
    match totals.groups_last_minute {
        0 => {}
        1 => add("1 group in the last minute ".to_owned(), theme.text.style()),
        n => add(
            format!("{n} groups in the last minute "),
            theme.text.style(),
        ),
    }
    if totals.lost > 0 {
        add(
            format!("{} lost ", words::short(totals.lost)),
            theme.caution.style(),
        );
    }
    if totals.suppressed > 0 {
        add(
            format!("{} suppressed ", words::short(totals.suppressed)),
            theme.caution.style(),
        );
    }
    if totals.evicted_groups > 0 {
        add(
            format!("{} groups left out ", words::short(totals.evicted_groups)),
            theme.quiet.style(),
        );
    }
    title
}

fn aside(state: &State, theme: &Theme) -> Title {
    let mut words = Vec::new();
    if state.feed.paused_at().is_some() {
        words.push(format!(
            "❚❚ paused, {} behind",
            words::short(state.feed.behind()).replace('·', "0")
        ));
    }
    let filter = state.feed.filter();
    if !filter.is_empty() {
        words.push(format!("/{}", words::clean_str(filter.text())));
    }
    if let Some(problem) = filter.problem() {
        words.push(words::clean_str(problem).into_owned());
    }
    if state.drops.raw {
        words.push("raw".to_owned());
    }
    let mut aside = Vec::new();
    if !words.is_empty() {
        aside.push((format!(" {} ", words.join(" · ")), theme.accent.style()));
    }
    if !state.source.is_empty() {
        aside.push((
            format!(" {} ", words::clean_str(&state.source)),
            theme.quiet.style(),
        ));
    }
    aside
}

fn group_line(
    state: &State,
    theme: &Theme,
    group: &GroupRow,
    inside: Rect,
    at: u16,
    buffer: &mut Buffer,
) {
    let moving = group.rate > 0.0;
    let (quiet, text) = (theme.quiet.style(), theme.text.style());
    let lit = if moving { theme.alarm.style() } else { text };
    let mut pen = Pen::new(buffer, inside, at);
    let rate = if moving {
        format!("{}/s", words::rate(group.rate))
    } else {
        "·".to_owned()
    };
    pen.number(&rate, 7, lit);
    pen.number(&words::short(group.count), 5, text).skip(1);
    let room = pen.room();
    let times = if room < 90 {
        latest(state, group.last)
    } else {
        format!(
            "{} – {}",
            clock(state, group.first),
            latest(state, group.last)
        )
    };
    let what_width = room.saturating_sub(words::width(&times) + 1);
    let line = Rect {
        width: inside.width,
        ..inside
    };
    match &group.key {
        GroupKey::Flow(key) => {
            flow_words(state, key, group, &mut pen, what_width, (lit, text, quiet));
        }
        GroupKey::Event(event) => {
            pen.put(&event_words(event), theme.caution.style());
        }
    }
    if what_width > 30 {
        let mut pen = Pen::new(buffer, line, at);
        pen.right(&[(times.as_str(), quiet)]);
    }
}

fn flow_words(
    state: &State,
    key: &FlowKey,
    group: &GroupRow,
    pen: &mut Pen<'_>,
    room: usize,
    (lit, text, quiet): (Style, Style, Style),
) {
    let before = pen.room();
    let source = key.src.map_or_else(|| "?".to_owned(), |ip| ip.to_string());
    let wide = room > 80;
    let address = match room {
        120.. => 39, // an IPv6 address in full
        80.. => 24,
        _ => 17,
    };
    pen.column(&source, address, text);
    pen.put("→ ", quiet);
    let protocol = key.proto.map(|p| p.to_string()).unwrap_or_default();
    let port = match key.port {
        Port::None => protocol,
        Port::Port(port) => format!(":{port}/{protocol}"),
        Port::IcmpType(kind) => format!("{protocol} type {kind}"),
    };
    let target = match group.dst {
        Some(dst) if wide => format!("{}{port}", spelled(dst, key.port)),
        _ => port,
    };
    pen.column(&target, if wide { 28 } else { 12 }, lit);
    let input = words::clean(key.input.as_bytes()).into_owned();
    pen.column(&input, if wide { 7 } else { 6 }, quiet);
    if wide {
        let writer = writer(state, &group.sample);
        pen.column(
            &words::clean_str(&writer),
            if room >= 120 { 24 } else { 14 },
            text,
        );
    }
    let prefix = words::clean(&key.prefix);
    let taken = before - pen.room();
    pen.put(
        &words::fit(&format!("“{prefix}”"), room.saturating_sub(taken)),
        text,
    );
}

/// Chain and number of the rule that wrote a line: `INPUT 4`; with a question mark where several may
/// have, empty where none is known.
fn writer(state: &State, line: &KernelLine) -> String {
    let (writer, sure) = match state.writer_of(line) {
        Attribution::Certain(writer) => (writer, ""),
        Attribution::Several(writers) => match writers.first() {
            Some(first) => (*first, "?"),
            None => return String::new(),
        },
        Attribution::NoRule(_) | Attribution::Nobody => return String::new(),
    };
    let Some(firewall) = state.firewalls.get(writer.set) else {
        return String::new();
    };
    let set = firewall.kernel();
    let chain = set.chain_of(writer.rule);
    let chain = chain.map_or("", |chain| set.chain(chain).name());
    format!("{chain} {}{sure}", firewall.board_number(writer.rule))
}

/// An address, in brackets where a port follows an IPv6 one.
fn spelled(ip: std::net::IpAddr, port: Port) -> String {
    match (ip, port) {
        (std::net::IpAddr::V6(ip), Port::Port(_)) => format!("[{ip}]"),
        (ip, Port::IcmpType(_) | Port::None) => format!("{ip} "),
        (ip, Port::Port(_)) => ip.to_string(),
    }
}

fn event_words(event: &EventKey) -> String {
    match event {
        EventKey::TableFull(None) => {
            "conntrack table full: packets of new connections are dropped".to_owned()
        }
        EventKey::TableFull(Some(netns)) => {
            format!("conntrack table full in network namespace {netns}")
        }
        EventKey::Martian(from, dev) => format!(
            "martian source {} at {}: routing drops it (rp_filter)",
            from.map_or_else(|| "?".to_owned(), |ip| ip.to_string()),
            words::clean(dev.as_bytes()),
        ),
        EventKey::SynFlood(port) => format!("SYN queue of port {port} overflows"),
        EventKey::Suppressed(by) => format!(
            "{}: log lines held back by the rate limit",
            words::clean(by)
        ),
        EventKey::Notice(kind) => format!("{kind:?}"),
    }
}

fn single_line(
    state: &State,
    theme: &Theme,
    single: &FeedLine,
    inside: Rect,
    at: u16,
    buffer: &mut Buffer,
) {
    let mut pen = Pen::new(buffer, inside, at);
    pen.put(&clock(state, single.seen), theme.quiet.style())
        .skip(1);
    let style = single
        .line
        .log()
        .map_or(theme.caution.style(), |log| condition(log, theme));
    let message = words::clean(&single.line.text).into_owned();
    pen.put(words::skip(&message, state.board.shift), style);
}

fn condition(log: &LogLine, theme: &Theme) -> Style {
    match log.condition {
        Condition::Whole => theme.text.style(),
        Condition::Truncated | Condition::Damaged => theme.caution.style(),
    }
}

/// When the last line came: `now`, or the time of day.
fn latest(state: &State, last: Moment) -> String {
    if last.ago(state.now).as_secs() < 3 {
        "now".to_owned()
    } else {
        clock(state, last)
    }
}

/// The time of day of a moment, else its distance from the start.
pub fn clock(state: &State, moment: Moment) -> String {
    let span = jiff::SignedDuration::from_millis(moment.0);
    match state
        .facts
        .epoch
        .as_ref()
        .and_then(|epoch| epoch.checked_add(span).ok())
    {
        Some(time) => time.strftime("%H:%M:%S").to_string(),
        None => words::span(std::time::Duration::from_millis(moment.0.unsigned_abs())),
    }
}
