//! Text and numbers as the screen shows them.
//!
//! Everything that comes from a packet, a log or a comment is untrusted: [`clean`] lets nothing pass
//! that a terminal could take as a command, and nothing that reorders or hides what stands around it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use unicode_width::UnicodeWidthChar;

/// Untrusted bytes as text for the screen: controls become their pictures (ESC is `␛`), bytes that are
/// no UTF-8, bidirectional overrides and characters without a width become `\u{fffd}`.
pub fn clean(bytes: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes);
    if text.chars().all(is_plain) {
        return text;
    }
    text.chars()
        .map(|c| match c {
            '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
            '\u{7f}' => '\u{2421}',
            c if is_plain(c) => c,
            _ => '\u{fffd}',
        })
        .collect::<String>()
        .into()
}

/// The same for text.
pub fn clean_str(text: &str) -> Cow<'_, str> {
    clean(text.as_bytes())
}

fn is_plain(c: char) -> bool {
    // A width of none is a control, of zero an accent, a bidirectional or an invisible one.
    c == ' ' || c.width().is_some_and(|w| w > 0) || is_accent(c)
}

/// The blocks of combining diacritical marks (Unicode, chapter 7.9): names from a Mac are written so.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}')
}

/// A count in at most five cells: exact up to 9999, then three digits and a unit; nothing is a dot.
pub fn short(n: u64) -> String {
    const UNITS: [(u64, &str); 6] = [
        (1_000_000_000_000_000_000, "E"),
        (1_000_000_000_000_000, "P"),
        (1_000_000_000_000, "T"),
        (1_000_000_000, "G"),
        (1_000_000, "M"),
        (1_000, "k"),
    ];
    if n == 0 {
        return "·".to_owned();
    }
    if n < 10_000 {
        return n.to_string();
    }
    for (unit, name) in UNITS {
        if n >= unit {
            // Three digits, cut and not rounded: 999,999 is not yet a million.
            let hundredths = u128::from(n) * 100 / u128::from(unit);
            let (whole, part) = (hundredths / 100, hundredths % 100);
            return match whole {
                0..10 => format!("{whole}.{part:02}{name}"),
                10..100 => format!("{whole}.{}{name}", part / 10),
                _ => format!("{whole}{name}"),
            };
        }
    }
    n.to_string()
}

/// A count with every digit, in groups of three.
pub fn exact(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A rate in at most five cells; nothing is a dot.
pub fn rate(per_second: f64) -> String {
    match per_second {
        r if r.is_nan() || r <= 0.0 => "·".to_owned(),
        r if r < 0.095 => "<0.1".to_owned(),
        r if r < 9.95 && (r - r.round()).abs() > 0.05 => format!("{r:.1}"),
        // A rate is never near u64::MAX; the cast saturates all the same.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        r => short(r.round() as u64),
    }
}

/// A bar of one cell for a rate against the fastest one in sight, by its logarithm.
pub fn bar(value: f64, most: f64) -> &'static str {
    const STEPS: [&str; 8] = ["▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"];
    if value <= 0.0 || most <= 0.0 {
        return " ";
    }
    let part = ((1.0 + value).ln() / (1.0 + most).ln()).clamp(0.0, 1.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    STEPS[((part * 7.0).round() as usize).min(7)]
}

/// The last of these numbers as a line so many cells long, the least and the most of them as its range.
pub fn spark(numbers: &[u64], cells: usize) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let recent = &numbers[numbers.len().saturating_sub(cells)..];
    let least = recent.iter().min().copied().unwrap_or(0);
    let range = recent.iter().max().map_or(1, |most| (most - least).max(1));
    let step =
        |n: &u64| usize::try_from(u128::from(n - least) * 7 / u128::from(range)).unwrap_or(7);
    recent.iter().map(|n| STEPS[step(n).min(7)]).collect()
}

/// A stretch of time in two units at most: `43s`, `1m43s`, `2h05m`, `3d04h`.
pub fn span(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s % 3_600 / 60),
        _ => format!("{}d{:02}h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// Cells that a text takes.
pub fn width(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

/// The text in at most `cells` cells, with `…` at the end where it was cut.
pub fn fit(text: &str, cells: usize) -> Cow<'_, str> {
    if width(text) <= cells {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w + 1 > cells {
            break;
        }
        used += w;
        out.push(c);
    }
    if cells > 0 {
        out.push('…');
    }
    Cow::Owned(out)
}

/// The text without its first `cells` cells.
pub fn skip(text: &str, cells: usize) -> &str {
    let mut used = 0;
    for (i, c) in text.char_indices() {
        if used >= cells {
            return &text[i..];
        }
        used += c.width().unwrap_or(0);
    }
    if cells == 0 { text } else { "" }
}

/// The text broken into lines of at most `cells` cells, at blanks where there are any.
pub fn wrap(text: &str, cells: usize) -> Vec<String> {
    let cells = cells.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let mut word = word.to_owned();
        if !line.is_empty() && width(&line) + 1 + width(&word) > cells {
            lines.push(std::mem::take(&mut line));
        }
        while width(&word) > cells {
            let room = cells.saturating_sub(if line.is_empty() { 0 } else { width(&line) + 1 });
            let mut head = String::new();
            while let Some(c) = word.chars().next() {
                if width(&head) + c.width().unwrap_or(0) > room.max(1) {
                    break;
                }
                head.push(c);
                word.remove(0);
            }
            if !line.is_empty() {
                line.push(' ');
            }
            let _ = write!(line, "{head}");
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_passes() {
        assert_eq!(clean(b"a\x1b[2Jb"), "a␛[2Jb");
        assert_eq!(clean(b"a\nb\x7f"), "a␊b␡");
        assert_eq!(
            clean("a\u{9b}31m".as_bytes()),
            "a\u{fffd}31m",
            "C1 is a control too"
        );
        assert_eq!(clean("a\u{202e}b\u{200b}".as_bytes()), "a\u{fffd}b\u{fffd}");
        assert_eq!(clean(b"\xff\xfe"), "\u{fffd}\u{fffd}");
        assert_eq!(clean("Grüße 火 e\u{301}".as_bytes()), "Grüße 火 e\u{301}");
    }

    #[test]
    fn numbers_stay_in_five_cells() {
        for (n, text) in [
            (0, "·"),
            (9_999, "9999"),
            (10_000, "10.0k"),
            (999_999, "999k"),
            (1_020_000, "1.02M"),
            (18_240_000, "18.2M"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(short(n), text);
            assert!(width(&short(n)) <= 5);
        }
        assert_eq!(exact(1_234_567), "1,234,567");
        assert_eq!(exact(12), "12");
    }

    #[test]
    fn rates_say_small_things_too() {
        for (r, text) in [
            (0.0, "·"),
            (0.04, "<0.1"),
            (0.3, "0.3"),
            (2.0, "2"),
            (2.51, "2.5"),
            (41.2, "41"),
            (123_456.0, "123k"),
            (f64::NAN, "·"),
        ] {
            assert_eq!(rate(r), text);
        }
        assert_eq!(
            (bar(0.0, 9.0), bar(9.0, 9.0), bar(0.1, 1000.0)),
            (" ", "█", "▏")
        );
    }

    #[test]
    fn a_spark_line_has_the_range_of_what_it_shows() {
        assert_eq!(spark(&[9, 9, 0, 5, 10], 3), "▁▄█");
        assert_eq!(spark(&[7, 7], 8), "▁▁");
        assert_eq!(spark(&[], 8), "");
        assert_eq!(spark(&[0, u64::MAX], 2), "▁█");
    }

    #[test]
    fn text_is_cut_by_cells() {
        assert_eq!(fit("火火火", 5), "火火…");
        assert_eq!(fit("abc", 3), "abc");
        assert_eq!(fit("abcd", 3), "ab…");
        assert_eq!(fit("abcd", 0), "");
        assert_eq!(skip("abcdef", 2), "cdef");
        assert_eq!(skip("ab", 5), "");
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
