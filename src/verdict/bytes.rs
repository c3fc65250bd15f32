//! Tests of the packet's own bytes: the string match (net/netfilter/xt_string.c, lib/textsearch.c) and
//! u32 (net/netfilter/xt_u32.c).

/// What `-m string` looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
    ignore_case: bool,
}

impl Pattern {
    /// The text between the offsets; of a hexadecimal one, the parts between bars are digits. `None`
    /// when those cannot be read.
    pub(super) fn read(
        text: &[u8],
        hex: bool,
        from: u16,
        to: u16,
        ignore_case: bool,
    ) -> Option<Self> {
        let bytes = if hex { unhex(text)? } else { text.to_vec() };
        let (from, to) = (from.into(), to.into());
        Some(Self {
            bytes,
            from,
            to,
            ignore_case,
        })
    }

    /// Whether it begins at an offset from `from` to `to` (`skb_find_text` keeps a finding whose
    /// distance from `from` is at most `to - from`).
    pub(super) fn is_in(&self, packet: &[u8]) -> bool {
        let Some(text) = packet.get(self.from..) else {
            return false;
        };
        if self.bytes.is_empty() {
            return false;
        }
        let same = |window: &[u8]| {
            if self.ignore_case {
                window.eq_ignore_ascii_case(&self.bytes)
            } else {
                window == self.bytes
            }
        };
        // The search reads up to `to`, so that what is found ends before it.
        let end = text.len().min(self.to.saturating_sub(self.from));
        let text = text.get(..end).unwrap_or_default();
        text.windows(self.bytes.len()).any(same)
    }
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut in_hex = false;
    let mut half: Option<u8> = None;
    let mut escaped = false;
    for byte in text {
        match byte {
            b'\\' if !in_hex && !escaped => {
                escaped = true;
                continue;
            }
            b'|' if !escaped => {
                if half.is_some() {
                    return None;
                }
                in_hex = !in_hex;
            }
            b' ' if in_hex => {}
            _ if in_hex => {
                let digit = u8::try_from(char::from(*byte).to_digit(16)?).ok()?;
                match half.take() {
                    None => half = Some(digit),
                    Some(high) => bytes.push(high << 4 | digit),
                }
            }
            _ => bytes.push(*byte),
        }
        escaped = false;
    }
    (!in_hex).then_some(bytes)
}

/// A test of `-m u32`: all of its parts must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct U32 {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    start: u32,
    steps: Vec<(Step, u32)>,
    ranges: Vec<(u32, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    And,
    Left,
    Right,
    At,
}

impl U32 {
    /// `start&mask>>shift@offset=value:value,value && …`; `None` when it cannot be read.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let parts: Option<Vec<Part>> = text
            .split("&&")
            .map(|part| Part::read(part.trim()))
            .collect();
        Some(Self { parts: parts? })
    }

    /// Whether the bytes pass. A part that reads beyond the packet fails.
    pub(super) fn holds(&self, packet: &[u8]) -> bool {
        self.parts
            .iter()
            .all(|part| part.holds(packet).unwrap_or(false))
    }
}

impl Part {
    fn read(text: &str) -> Option<Self> {
        let (location, ranges) = text.split_once('=')?;
        let mut rest = location.trim();
        let (start, after) = number(rest)?;
        rest = after.trim_start();
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = [
                ("&", Step::And),
                ("<<", Step::Left),
                (">>", Step::Right),
                ("@", Step::At),
            ]
            .into_iter()
            .find_map(|(sign, step)| Some((step, rest.strip_prefix(sign)?)))?;
            let (value, after) = number(after.trim_start())?;
            steps.push((step, value));
            rest = after.trim_start();
        }
        let range = |text: &str| {
            let (min, after) = number(text.trim())?;
            let max = match after.trim().strip_prefix(':') {
                Some(max) => number(max.trim()).filter(|(_, rest)| rest.is_empty())?.0,
                None if after.is_empty() => min,
                None => return None,
            };
            Some((min, max))
        };
        let ranges: Option<Vec<_>> = ranges.split(',').map(range).collect();
        Some(Self {
            start,
            steps,
            ranges: ranges?,
        })
    }

    /// `None` when it reads beyond the packet.
    fn holds(&self, packet: &[u8]) -> Option<bool> {
        let mut base = 0_usize;
        let mut value = word(packet, base, self.start)?;
        for (step, number) in &self.steps {
            match step {
                Step::And => value &= number,
                Step::Left => value = value.checked_shl(*number).unwrap_or(0),
                Step::Right => value = value.checked_shr(*number).unwrap_or(0),
                Step::At => {
                    base = base.checked_add(value.try_into().ok()?)?;
                    value = word(packet, base, *number)?;
                }
            }
        }
        Some(
            self.ranges
                .iter()
                .any(|(min, max)| *min <= value && value <= *max),
        )
    }
}

fn word(packet: &[u8], base: usize, offset: u32) -> Option<u32> {
    let from = base.checked_add(offset.try_into().ok()?)?;
    let bytes = packet.get(from..from.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}

fn number(text: &str) -> Option<(u32, &str)> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(hex) => (hex, 16),
        None => (text, 10),
    };
    let end = digits
        .find(|c: char| !c.is_digit(radix))
        .unwrap_or(digits.len());
    let (number, rest) = digits.split_at(end);
    Some((u32::from_str_radix(number, radix).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_found_between_their_offsets() {
        let packet = b"....GET /index HTTP";
        let find = |text: &[u8], from, to, icase| {
            Pattern::read(text, false, from, to, icase)
                .unwrap()
                .is_in(packet)
        };
        assert!(find(b"GET", 0, 65535, false) && !find(b"get", 0, 65535, false));
        assert!(find(b"get", 0, 65535, true));
        assert!(find(b"GET", 4, 65535, false) && !find(b"GET", 5, 65535, false));
        assert!(!find(b"GET", 0, 4, false) && !find(b"GET", 100, 65535, false));
        let hex = Pattern::read(b"G|45 54|", true, 0, 65535, false).unwrap();
        assert!(hex.is_in(packet));
        for bad in ["|4|", "|4", "|zz|"] {
            assert_eq!(
                Pattern::read(bad.as_bytes(), true, 0, 9, false),
                None,
                "{bad}"
            );
        }
    }

    #[test]
    fn u32_walks_headers() {
        // IPv4, no options, TCP, port 80.
        let mut packet = vec![0_u8; 40];
        packet[0] = 0x45;
        packet[9] = 6;
        packet[22..24].copy_from_slice(&80_u16.to_be_bytes());
        let holds = |text: &str| U32::read(text.as_bytes()).unwrap().holds(&packet);
        assert!(holds("6&0xFF=6"));
        assert!(holds("6 & 0xFF = 1:5,6 && 0>>22&0x3C@0&0xFFFF=80"));
        assert!(!holds("0>>22&0x3C@0&0xFFFF=81"));
        assert!(!holds("100=0"));
        for bad in ["", "6", "6=", "x=1", "6^1=1", "6=1:"] {
            assert_eq!(U32::read(bad.as_bytes()), None, "{bad}");
        }
    }
}
