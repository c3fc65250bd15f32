//! How the cells of a line are shared out between the columns, and the line of their heads.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::app::cells::Widths;
use crate::app::state::State;
use crate::ui::pen::Pen;
use crate::ui::theme::Theme;

/// Widths of the columns in cells; zero where a column is left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    pub(super) number: usize,
    pub(super) packets: usize,
    pub(super) bytes: usize,
    pub(super) rate: usize,
    pub(super) target: usize,
    pub(super) protocol: usize,
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) source: usize,
    pub(super) destination: usize,
    pub(super) text: usize,
    pub(super) comment: usize,
}

/// What the columns get from so many cells up.
struct Tier {
    from: usize,
    packets: usize,
    bytes: usize,
    rate: usize,
    target: usize,
    interface: usize,
    address: usize,
}

/// The roomiest first. The last shares one column between packets and rate: a rule that moves shows
/// its rate, one that rests its packets.
const TIERS: [Tier; 3] = [
    Tier {
        from: 140,
        packets: 11,
        bytes: 8,
        rate: 5,
        target: 28,
        interface: 15,
        address: 43,
    },
    Tier {
        from: 84,
        packets: 7,
        bytes: 6,
        rate: 5,
        target: 18,
        interface: 15,
        address: 19,
    },
    Tier {
        from: 0,
        packets: 7,
        bytes: 0,
        rate: 0,
        target: 10,
        interface: 8,
        address: 15,
    },
];

impl Columns {
    /// Shares out the cells: numbers and target first, then what the chain uses, the rest to the text.
    /// A column that the whole chain leaves empty gets nothing; one that is there has room for its head.
    pub(super) fn share(cells: usize, needs: Widths, live: bool) -> Self {
        let tier = TIERS
            .iter()
            .find(|tier| cells >= tier.from)
            .unwrap_or(&TIERS[TIERS.len() - 1]);
        let column = |need: usize, head: &str, most: usize| match need {
            0 => 0,
            need => need.clamp(head.len(), most.max(head.len())),
        };
        let mut columns = Self {
            number: needs.number.max(2),
            packets: tier.packets,
            bytes: tier.bytes,
            rate: if live { tier.rate } else { 0 }, // a saved dump has none
            target: needs.target.clamp(TARGET.len(), tier.target),
            protocol: column(needs.protocol, PROTOCOL, 6),
            input: column(needs.input, INPUT, tier.interface),
            output: column(needs.output, OUTPUT, tier.interface),
            source: column(needs.source, SOURCE, tier.address),
            destination: column(needs.destination, DESTINATION, tier.address),
            text: 0,
            comment: 0,
        };
        let rest = cells.saturating_sub(columns.fixed());
        columns.text = rest;
        if tier.from == TIERS[0].from && needs.comment > 0 {
            // The matches as long as they are, but never more than two thirds; the rest to the comments.
            columns.text = needs.text.max(MATCH.len()).min(rest - rest / 3);
            columns.comment = rest.saturating_sub(columns.text + 1);
        }
        columns
    }

    /// Cells of all columns but the text ones, with the mark at the left, the bar and the gaps.
    fn fixed(&self) -> usize {
        let columns = [
            self.number,
            self.packets,
            self.bytes,
            self.rate,
            self.target,
            self.protocol,
            self.input,
            self.output,
            self.source,
            self.destination,
        ];
        let gaps = columns.iter().filter(|w| **w > 0).count();
        // Mark and reset sign; the bar stands in the gap behind the rate, with a gap of its own.
        2 + 1 + columns.iter().sum::<usize>() + gaps
    }
}

const TARGET: &str = "target";
const PROTOCOL: &str = "prot";
const INPUT: &str = "in";
const OUTPUT: &str = "out";
const SOURCE: &str = "source";
const DESTINATION: &str = "destination";
const MATCH: &str = "match";

/// The heads of the columns.
pub(super) fn heads(
    state: &State,
    columns: &Columns,
    theme: &Theme,
    inside: Rect,
    buffer: &mut Buffer,
) {
    let style = theme.quiet.style();
    let mut pen = Pen::new(buffer, inside, 0);
    let per_second = if state.bits { "bit/s" } else { "/s" };
    pen.skip(2).number("#", columns.number, style);
    pen.number("packets", columns.packets, style);
    pen.number("bytes", columns.bytes, style);
    pen.number(per_second, columns.rate, style);
    pen.skip(1); // the bar
    for (head, width) in [
        (TARGET, columns.target),
        (PROTOCOL, columns.protocol),
        (INPUT, columns.input),
        (OUTPUT, columns.output),
        (SOURCE, columns.source),
        (DESTINATION, columns.destination),
        (MATCH, columns.text),
        ("comment", columns.comment),
    ] {
        pen.column(head, width, style);
    }
}
