//! One line a figure: ours, the peer's, the ratio, what was asked for.
//!
//! Included by each bench (`#[path = "figure/mod.rs"] mod figure;`), so that all of them print alike and
//! one look down the last column tells what was reached.

// Each bench uses its own part.
#![allow(dead_code)]

use std::time::{Duration, Instant};

/// What was asked of a figure.
#[derive(Clone, Copy, Debug)]
pub enum Reach {
    /// Ours is at most this part of the peer's: `Ratio(0.05)` is 1/20.
    Ratio(f64),
    /// Ours is at most this, whatever the peer's, in the figure's own unit.
    Most(f64),
    /// Ours is at least this, in the figure's own unit.
    Least(f64),
}

/// The unit of a figure.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// Seconds, shown as ms or µs where that reads better.
    Seconds,
    /// Bytes, shown as kB or MB where that reads better.
    Bytes,
    /// Things a second.
    PerSecond,
}

/// Prints the head of the table.
pub fn head(title: &str) {
    println!("\n{title}");
    println!(
        "  {:<52} {:>12} {:>12} {:>9} {:>12}",
        "figure", "ruletop", "peer", "ratio", "reach"
    );
}

/// Prints one figure; `peer` is what the same thing costs done the usual way.
pub fn line(name: &str, unit: Unit, ours: f64, peer: Option<f64>, reach: Reach) {
    let (reached, wanted) = match (reach, peer) {
        (Reach::Ratio(part), Some(peer)) => (ours <= peer * part, ratio(part)),
        (Reach::Ratio(part), None) => (false, ratio(part)),
        (Reach::Most(most), _) => (ours <= most, show(unit, most)),
        (Reach::Least(least), _) => (ours >= least, show(unit, least)),
    };
    let theirs = peer.map_or_else(|| "-".to_owned(), |peer| show(unit, peer));
    let part = peer.map_or_else(|| "-".to_owned(), |peer| ratio(ours / peer));
    let mark = if reached { "ok" } else { "NOT REACHED" };
    println!(
        "  {name:<52} {:>12} {theirs:>12} {part:>9} {wanted:>12}  {mark}",
        show(unit, ours)
    );
}

/// A part as people say it: 1/20, 1.3x.
fn ratio(part: f64) -> String {
    if part > 0.0 && part <= 0.95 {
        let times = 1.0 / part;
        if times < 9.5 && (times - times.round()).abs() > 0.05 {
            return format!("1/{times:.1}");
        }
        return format!("1/{times:.0}");
    }
    format!("{part:.2}x")
}

fn show(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Seconds if value < 0.001 => format!("{:.1} µs", value * 1e6),
        Unit::Seconds if value < 1.0 => format!("{:.2} ms", value * 1e3),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Bytes if value < 10_000.0 => format!("{value:.0} B"),
        Unit::Bytes if value < 10_000_000.0 => format!("{:.0} kB", value / 1e3),
        Unit::Bytes => format!("{:.1} MB", value / 1e6),
        Unit::PerSecond if value >= 10_000.0 => format!("{:.0}k/s", value / 1e3),
        Unit::PerSecond => format!("{value:.0}/s"),
    }
}

/// The median of several runs of `run`, in seconds of the clock.
pub fn median_of(runs: usize, mut run: impl FnMut()) -> f64 {
    let times = (0..runs).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    median(times.collect()).as_secs_f64()
}

/// The middle one; of none, zero.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
