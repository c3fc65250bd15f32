//! Tests of the packet's own bytes: the string match (net/netfilter/xt_string.c, lib/textsearch.c) and
//! u32 (net/netfilter/xt_u32.c).

use crate::ruleset::spec::matches::{StringMatch, U32, U32Step, U32Test};

/// What `-m string` looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
    ignore_case: bool,
}

impl Pattern {
    /// The bytes between the offsets.
    pub(super) fn of(string: &StringMatch<'_>) -> Self {
        Self {
            bytes: string.pattern.value.to_vec(),
            from: string.from.into(),
            to: string.to.into(),
            ignore_case: string.ignore_case,
        }
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

/// Whether the bytes pass a u32 match: all of its tests must hold. One that reads beyond the packet fails.
pub(super) fn u32_holds(test: &U32, packet: &[u8]) -> bool {
    let mut tests = test.tests.iter();
    tests.all(|test| one_holds(test, packet).unwrap_or(false))
}

/// `None` when it reads beyond the packet.
fn one_holds(test: &U32Test, packet: &[u8]) -> Option<bool> {
    let mut base = 0_usize;
    let mut value = word(packet, base, test.start)?;
    for (step, number) in &test.steps {
        match step {
            U32Step::And => value &= number,
            U32Step::ShiftLeft => value = value.checked_shl(*number).unwrap_or(0),
            U32Step::ShiftRight => value = value.checked_shr(*number).unwrap_or(0),
            U32Step::At => {
                base = base.checked_add(value.try_into().ok()?)?;
                value = word(packet, base, *number)?;
            }
        }
    }
    Some(test.ranges.iter().any(|range| range.contains(value)))
}

fn word(packet: &[u8], base: usize, offset: u32) -> Option<u32> {
    let from = base.checked_add(offset.try_into().ok()?)?;
    let bytes = packet.get(from..from.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::Family;
    use crate::ruleset::spec::{Match, Spec};

    /// The one match of a rule.
    fn read(rule: &str) -> Match<'_> {
        let mut spec = Spec::parse(rule.as_bytes(), Family::V4, &|_| false);
        assert!(spec.is_understood(), "{rule}");
        spec.matches.remove(0)
    }

    #[test]
    fn strings_are_found_between_their_offsets() {
        let packet = b"....GET /index HTTP";
        let find = |options: &str| {
            let rule = format!("-m string --algo bm {options}");
            let Match::String(string) = read(&rule) else {
                panic!("{rule}");
            };
            Pattern::of(&string).is_in(packet)
        };
        assert!(find("--string GET") && !find("--string get"));
        assert!(find("--string get --icase"));
        assert!(find("--string GET --from 4") && !find("--string GET --from 5"));
        assert!(!find("--string GET --to 4") && !find("--string GET --from 100"));
        assert!(find("--hex-string \"G|45 54|\""));
    }

    #[test]
    fn u32_walks_headers() {
        // IPv4, no options, TCP, port 80.
        let mut packet = vec![0_u8; 40];
        packet[0] = 0x45;
        packet[9] = 6;
        packet[22..24].copy_from_slice(&80_u16.to_be_bytes());
        let holds = |test: &str| {
            let rule = format!("-m u32 --u32 \"{test}\"");
            let Match::U32(test) = read(&rule) else {
                panic!("{rule}");
            };
            u32_holds(&test.value, &packet)
        };
        assert!(holds("6&0xFF=6"));
        assert!(holds("6 & 0xFF = 1:5,6 && 0>>22&0x3C@0&0xFFFF=80"));
        assert!(!holds("0>>22&0x3C@0&0xFFFF=81"));
        assert!(!holds("100=0"));
    }
}
