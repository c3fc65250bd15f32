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

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use crate::app::board::{Pane, Row, Show, Sort};
use crate::app::cells::{Cells, Widths};
use crate::app::firewall::{Firewall, Heat, Rate};
use crate::app::state::State;
use crate::ruleset::{ChainIdx, Counters, Policy};
use crate::ui::layout::Areas;
use crate::ui::panes::{Title, frame, wash};
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;
use crate::ui::words;

/// Widths of the columns in cells; zero where a column is left out.
#[derive(Clone, Copy, Debug)]
struct Columns {
    number: usize,
    packets: usize,
    bytes: usize,
    rate: usize,
    target: usize,
    protocol: usize,
    input: usize,
    output: usize,
    source: usize,
    destination: usize,
    text: usize,
    comment: usize,
}

impl Columns {
    /// Shares out the cells: numbers and target first, then what the chain uses, the rest to the text.
    fn share(cells: usize, needs: Widths) -> Self {
        let wide = cells >= 96;
        let roomy = cells >= 140;
        let address = if roomy { 43 } else if wide { 19 } else { 15 };
        let mut columns = Self {
            number: needs.number.max(2),
            packets: if roomy { 11 } else if wide { 7 } else { 5 },
            bytes: if roomy { 8 } else if wide { 6 } else { 0 },
            rate: 5,
            target: needs.target.clamp(6, if roomy { 28 } else if wide { 18 } else { 10 }),
            protocol: needs.protocol.min(6),
            input: needs.input.min(if wide { 15 } else { 8 }),
            output: needs.output.min(if wide { 15 } else { 8 }),
            source: needs.source.min(address),
            destination: needs.destination.min(address),
            text: 0,
            comment: 0,
        };
        if columns.packets == 5 {
            columns.rate = 0; // packets and rate share a column
        }
        let rest = cells.saturating_sub(columns.fixed());
        if roomy && needs.comment > 0 {
            columns.comment = needs.comment.min(rest / 3).min(40);
        }
        columns.text = rest.saturating_sub(columns.comment + usize::from(columns.comment > 0));
        columns
    }

    /// Cells of all columns but the text ones, with the mark at the left, the bar and the gaps.
    fn fixed(&self) -> usize {
        let columns = [
            self.number, self.packets, self.bytes, self.rate, self.target, self.protocol, self.input,
            self.output, self.source, self.destination,
        ];
        let gaps = columns.iter().filter(|w| **w > 0).count();
        2 + 1 + columns.iter().sum::<usize>() + gaps
    }
}

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
    let columns = Columns::share(usize::from(inside.width), state.board.widths);
    heads(state, &columns, theme, inside, buffer);
    let body = Rect { y: inside.y + 1, height: inside.height.saturating_sub(1), ..inside };
    let most = fastest(state, firewall, place.chain, usize::from(body.height));
    let count = state.board.row_count();
    if count == 0 {
        let mut pen = Pen::new(buffer, body, 0);
        pen.skip(2).put(nothing(state), theme.quiet.style());
    }
    let last = count.min(state.board.rules.top + usize::from(body.height));
    for i in state.board.rules.top..last {
        let Some(row) = state.board.row(i, firewall) else { break };
        let line = Line::of(state, firewall, place.chain, row);
        let at = u16::try_from(i - state.board.rules.top).unwrap_or(u16::MAX);
        line.draw(&columns, most, state, theme, body, at, buffer);
        if i == state.board.rules.at {
            let style = if focused { theme.cursor.style() } else { theme.cursor_away.style() };
            wash(buffer, body, usize::from(at), style);
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

/// One row, ready to be drawn.
struct Line {
    number: String,
    cells: Cells,
    counters: Counters,
    rate: Rate,
    heat: Heat,
    drops: bool,
    policy: bool,
    reset: bool,
}

impl Line {
    fn of(state: &State, firewall: &Firewall, chain: ChainIdx, row: Row) -> Self {
        let (now, interval) = (state.now, state.interval);
        match row {
            Row::Rule(rule, number) => {
                let cells = Cells::of(&firewall.ruleset, rule);
                Self {
                    number: number.to_string(),
                    drops: cells.drops,
                    cells,
                    counters: firewall.shown(rule),
                    rate: firewall.rate(rule),
                    heat: firewall.heat(rule, now, interval),
                    policy: false,
                    reset: firewall.was_reset(rule),
                }
            }
            Row::Policy => {
                let policy = firewall.ruleset.chain(chain).policy();
                let target = policy_name(policy).to_owned();
                Self {
                    number: "–".to_owned(),
                    drops: policy == Some(Policy::Drop),
                    cells: Cells { target, text: "policy: no rule decided".to_owned(), ..Cells::default() },
                    counters: firewall.shown_policy(chain),
                    rate: firewall.policy_rate(chain),
                    heat: firewall.policy_heat(chain, now, interval),
                    policy: true,
                    reset: false,
                }
            }
        }
    }

    /// Style of what is lit: the numbers, the target and the mark.
    fn lit(&self, theme: &Theme) -> Style {
        match (self.heat, self.drops) {
            (Heat::Cold, _) => theme.text.style(),
            (Heat::Fading, false) => theme.fading.style(),
            (Heat::Warm, false) => theme.warm.style(),
            (Heat::Hot, false) => theme.hot.style(),
            (Heat::Fading | Heat::Warm, true) => theme.alarm_fading.style(),
            (Heat::Hot, true) => theme.alarm.style(),
        }
    }

    /// The mark at the left says without colour what the colour says.
    fn mark(&self) -> &'static str {
        match (self.heat, self.drops) {
            (Heat::Cold, _) => " ",
            (Heat::Fading, _) => "·",
            (Heat::Warm, false) => "▹",
            (Heat::Hot, false) => "▸",
            (Heat::Warm, true) => "▫",
            (Heat::Hot, true) => "■",
        }
    }

    #[allow(clippy::too_many_arguments)] // one row's whole context, used here only
    fn draw(
        &self,
        columns: &Columns,
        most: f64,
        state: &State,
        theme: &Theme,
        body: Rect,
        at: u16,
        buffer: &mut Buffer,
    ) {
        let (lit, quiet) = (self.lit(theme), theme.quiet.style());
        let plain = if self.heat == Heat::Cold && self.counters.packets == 0 { quiet } else { theme.text.style() };
        let numbers = if self.counters.packets == 0 && self.heat == Heat::Cold { quiet } else { lit };
        let shown = shown_rate(self.rate, state.bits);
        let mut pen = Pen::new(buffer, body, at);
        pen.put(self.mark(), lit).put(if self.reset { "↺" } else { " " }, theme.caution.style());
        pen.number(&self.number, columns.number, quiet);
        if columns.rate == 0 {
            let text = if self.rate.moves() { with_unit(shown) } else { words::short(self.counters.packets) };
            pen.number(&text, columns.packets, numbers);
        } else {
            pen.number(&packets(self.counters.packets, columns.packets), columns.packets, numbers);
            pen.number(&words::short(self.counters.bytes), columns.bytes, numbers);
            let start = columns.rate;
            pen.number(&words::rate(shown), start, if self.rate.moves() { lit } else { quiet });
        }
        // The bar stands in the gap behind the rate.
        pen.put(words::bar(shown, most), lit).skip(1);
        self.words(columns, state, &mut pen, (lit, plain, quiet));
    }

    fn words(&self, columns: &Columns, state: &State, pen: &mut Pen<'_>, styles: (Style, Style, Style)) {
        let (lit, plain, quiet) = styles;
        let mut target = if self.heat == Heat::Cold { plain } else { lit };
        if self.drops {
            target = target.add_modifier(Modifier::BOLD);
        }
        let cells = &self.cells;
        let name = words::clean_str(&cells.target).into_owned();
        let name = if cells.jumps { format!("→{name}") } else { name };
        pen.column(&name, columns.target, target);
        for (text, width) in [
            (&cells.protocol, columns.protocol),
            (&cells.input, columns.input),
            (&cells.output, columns.output),
            (&cells.source, columns.source),
            (&cells.destination, columns.destination),
        ] {
            pen.column(&words::clean_str(text), width, plain);
        }
        let style = if self.policy { quiet } else { plain };
        let text = words::clean_str(&cells.text).into_owned();
        let comment = words::clean_str(&cells.comment).into_owned();
        if columns.comment > 0 {
            pen.column(words::skip(&text, state.board.shift), columns.text, style);
            pen.put(&comment, quiet);
        } else {
            let both = match (text.is_empty(), comment.is_empty()) {
                (_, true) => text,
                (true, false) => format!("# {comment}"),
                (false, false) => format!("{text}  # {comment}"),
            };
            pen.put(words::skip(&both, state.board.shift), style);
        }
    }
}

/// Every digit where there is room, else five cells.
fn packets(n: u64, width: usize) -> String {
    let all = words::exact(n);
    if n > 0 && width >= 10 && all.len() <= width { all } else { words::short(n) }
}

/// `41/s`, in at most six cells.
fn with_unit(rate: f64) -> String {
    format!("{}/s", words::rate(rate)).chars().take(6).collect()
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

fn heads(state: &State, columns: &Columns, theme: &Theme, inside: Rect, buffer: &mut Buffer) {
    let style = theme.quiet.style();
    let mut pen = Pen::new(buffer, inside, 0);
    let per_second = if state.bits { "bit/s" } else { "/s" };
    pen.skip(2).number("#", columns.number, style);
    pen.number(if columns.rate == 0 { "pkts" } else { "packets" }, columns.packets, style);
    pen.number("bytes", columns.bytes, style);
    pen.number(per_second, columns.rate, style);
    pen.skip(if columns.rate == 0 { 2 } else { 2 });
    pen.column("target", columns.target, style);
    pen.column("prot", columns.protocol, style);
    pen.column("in", columns.input, style);
    pen.column("out", columns.output, style);
    pen.column("source", columns.source, style);
    pen.column("destination", columns.destination, style);
    pen.column("match", columns.text, style);
    pen.column("comment", columns.comment, style);
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
    let name = format!(" {} ", words::clean_str(&state.chain_title(place.firewall, place.chain)));
    let mut title = vec![(name, theme.heading.style())];
    if let Some(policy) = chain.policy() {
        let rate = firewall.policy_rate(place.chain);
        let drops = policy == Policy::Drop && rate.moves();
        let style = if drops { theme.alarm.style() } else { theme.text.style() };
        let rate = if rate.moves() { format!(" {}/s", words::rate(rate.packets)) } else { String::new() };
        title.push(dash());
        title.push((format!("policy {}{rate} ", policy_name(Some(policy))), style));
    }
    title.push(dash());
    let rules = chain.rules().len();
    let shown = state.board.row_count() - usize::from(chain.is_builtin()).min(state.board.row_count());
    let all = state.board.filter.is_empty() && state.board.show == Show::All;
    let count = match (all, rules) {
        (true, 1) => "1 rule ".to_owned(),
        (true, n) => format!("{n} rules "),
        (false, n) => format!("{shown} of {n} rules "),
    };
    title.push((count, theme.text.style()));
    if firewall.lossy(place.chain).is_some() {
        title.push(dash());
        title.push(("⚠ lossy: native nft in it ".to_owned(), theme.caution.style()));
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

fn empty(state: &State, theme: &Theme, inside: Rect, buffer: &mut Buffer) {
    let mut pen = Pen::new(buffer, inside, 1);
    match state.loading.first() {
        Some((origin, stage)) => {
            let what = format!("reading {}: {stage} …", state.origin_label(*origin));
            pen.skip(2).put(&what, theme.accent.style());
        }
        None => {
            pen.skip(2).put("no rules: every packet passes", theme.quiet.style());
        }
    }
}
