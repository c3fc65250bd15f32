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

impl Columns {
    /// Shares out the cells: numbers and target first, then what the chain uses, the rest to the text.
    pub(super) fn share(cells: usize, needs: Widths, live: bool) -> Self {
        let wide = cells >= 84;
        let roomy = cells >= 140;
        let address = if roomy {
            43
        } else if wide {
            19
        } else {
            15
        };
        let mut columns = Self {
            number: needs.number.max(2),
            packets: if roomy {
                11
            } else if wide {
                7
            } else {
                5
            },
            bytes: if roomy {
                8
            } else if wide {
                6
            } else {
                0
            },
            rate: 5,
            target: needs.target.clamp(
                6,
                if roomy {
                    28
                } else if wide {
                    18
                } else {
                    10
                },
            ),
            protocol: needs.protocol.min(6),
            input: needs.input.min(if wide { 15 } else { 8 }),
            output: needs.output.min(if wide { 15 } else { 8 }),
            source: needs.source.min(address),
            destination: needs.destination.min(address),
            text: 0,
            comment: 0,
        };
        if columns.packets == 5 || !live {
            columns.rate = 0; // packets and rate share a column; a saved dump has no rates
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
        2 + 1 + columns.iter().sum::<usize>() + gaps
    }
}

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
    pen.number(
        if columns.packets < 7 {
            "pkts"
        } else {
            "packets"
        },
        columns.packets,
        style,
    );
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
