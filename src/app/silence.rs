//! Rules that log, count, and are never heard of.
//!
//! A LOG rule whose counter rises writes lines; when none arrives, the feed is not quiet but deaf, and
//! an empty feed then says "nothing is dropped" to somebody whose traffic is being dropped. This file
//! decides *whether* a way is silent; *why* is asked of the kernel (`netfilter::drops::silence`).
//!
//! Counters and lines reach us by different ways and at different times, so a verdict takes
//! [`PATIENCE`] and a few packets ([`ENOUGH`]), and one line takes it back. After that the way has to
//! be silent for longer before it is called so again, or a slow log would flicker.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::flow::LogChannel;

/// Packets counted without a line before anything is said.
pub const ENOUGH: u64 = 3;
/// How long a line may take from the rule to us: a log daemon's queue and the pause between two looks
/// at the counters.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Patience with a way that was called silent once and was not.
pub const MORE_PATIENCE: Duration = Duration::from_secs(30);

/// A way that is silent although rules write to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silent {
    /// Which.
    pub channel: LogChannel,
    /// When the first packet was counted whose line never came, on the caller's clock.
    pub since: Duration,
    /// Packets counted since.
    pub packets: u64,
}

/// Watches counters and lines.
#[derive(Clone, Debug, Default)]
pub struct SilenceWatch {
    ways: BTreeMap<LogChannel, Way>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Way {
    /// First count without a line since, and how many.
    unheard: Option<(Duration, u64)>,
    /// When the last packet was counted.
    last: Duration,
    /// It was called silent, and then spoke.
    misjudged: bool,
    silent: bool,
}

impl SilenceWatch {
    /// Logging rules of that way matched so many more packets by `now`. For LOG rules with `-m limit`
    /// that is what passed the limit: the counter counts what the whole rule matched.
    pub fn counted(&mut self, now: Duration, channel: LogChannel, packets: u64) {
        if packets == 0 {
            return;
        }
        let way = self.ways.entry(channel).or_default();
        let (since, before) = way.unheard.unwrap_or((now, 0));
        way.unheard = Some((since, before.saturating_add(packets)));
        way.last = now;
    }

    /// A live line came by that way. Count only lines that one of the rules could have written: in a
    /// namespace the kernel's log may be full of others'.
    pub fn heard(&mut self, channel: LogChannel) {
        if let Some(way) = self.ways.get_mut(&channel) {
            way.unheard = None;
            way.misjudged |= way.silent;
            way.silent = false;
        }
    }

    /// Looks at the clock: call it about once a second while [`Self::is_waiting`]. `true` when
    /// [`Self::silent`] changed.
    pub fn tick(&mut self, now: Duration) -> bool {
        let mut changed = false;
        for way in self.ways.values_mut() {
            let patience = if way.misjudged {
                MORE_PATIENCE
            } else {
                PATIENCE
            };
            let silent = way.unheard.is_some_and(|(since, packets)| {
                packets >= ENOUGH && now.saturating_sub(since) >= patience
            });
            changed |= silent && !way.silent;
            way.silent |= silent;
        }
        changed
    }

    /// A verdict is due when the time has passed: some way has counts and no line yet.
    pub fn is_waiting(&self) -> bool {
        let waits = |way: &Way| way.unheard.is_some_and(|(_, n)| n >= ENOUGH) && !way.silent;
        self.ways.values().any(waits)
    }

    /// The ways that are silent, in a fixed order.
    pub fn silent(&self) -> impl Iterator<Item = Silent> + '_ {
        self.ways.iter().filter_map(|(channel, way)| {
            let (since, packets) = way.unheard.filter(|_| way.silent)?;
            Some(Silent {
                channel: *channel,
                since,
                packets,
            })
        })
    }

    /// Forgets a way: its rules are gone, or its source was opened anew.
    pub fn forget(&mut self, channel: LogChannel) {
        self.ways.remove(&channel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::IpVersion;

    const V4: LogChannel = LogChannel::Kernel(IpVersion::V4);
    const SECOND: Duration = Duration::from_secs(1);

    fn silent(watch: &SilenceWatch) -> Vec<(LogChannel, u64)> {
        watch
            .silent()
            .map(|way| (way.channel, way.packets))
            .collect()
    }

    #[test]
    fn counts_without_lines_are_silence_after_a_while() {
        let mut watch = SilenceWatch::default();
        watch.counted(SECOND, V4, 2);
        assert!(!watch.is_waiting());
        assert!(!watch.tick(SECOND * 60));
        watch.counted(SECOND * 61, V4, 1);
        assert!(watch.is_waiting());
        assert!(watch.tick(SECOND * 61));
        assert_eq!(silent(&watch), [(V4, 3)]);
        assert!(!watch.tick(SECOND * 62) && !watch.is_waiting());
        watch.counted(SECOND * 63, V4, 5);
        assert_eq!(silent(&watch), [(V4, 8)]);
    }

    #[test]
    fn lines_that_come_late_are_no_silence() {
        let mut watch = SilenceWatch::default();
        for second in 0..100 {
            watch.counted(SECOND * second, V4, 10);
            if second % 4 == 3 {
                watch.heard(V4);
            }
            assert!(!watch.tick(SECOND * second), "at {second}");
        }
        assert!(silent(&watch).is_empty());
    }

    #[test]
    fn one_line_takes_it_back_and_buys_patience() {
        let mut watch = SilenceWatch::default();
        watch.counted(SECOND, V4, 10);
        assert!(watch.tick(SECOND * 6));
        watch.heard(V4);
        assert!(silent(&watch).is_empty());
        watch.counted(SECOND * 7, V4, 10);
        assert!(!watch.tick(SECOND * 20));
        assert!(watch.tick(SECOND * 37));
        watch.forget(V4);
        assert!(silent(&watch).is_empty() && !watch.is_waiting());
    }

    #[test]
    fn ways_are_judged_apart() {
        let mut watch = SilenceWatch::default();
        let others = [LogChannel::Kernel(IpVersion::V6), LogChannel::Group(5)];
        for channel in others {
            watch.counted(SECOND, channel, 10);
        }
        watch.counted(SECOND, V4, 10);
        watch.heard(V4);
        watch.tick(SECOND * 6);
        assert_eq!(silent(&watch), others.map(|channel| (channel, 10)));
        watch.counted(SECOND, LogChannel::Group(6), 0);
        assert!(!watch.is_waiting());
    }
}
