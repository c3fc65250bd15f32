//! Groups of lines: what they share, how often they come, and which of them to forget.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::Moment;
use super::window::Window;
use crate::flow::IpVersion;
use crate::flow::{Body, Condition, IfName, KernelLine, LogLine, NoticeKind, Protocol};

/// What the lines of a group share. Identity of a row: selection hangs on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupKey {
    /// Logged or traced packets.
    Flow(FlowKey),
    /// Other lines of the kernel.
    Event(EventKey),
}

/// What logged packets of one group share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// The log prefix; `TRACE:` for legacy trace lines.
    pub prefix: Arc<[u8]>,
    /// Address family.
    pub family: Option<IpVersion>,
    /// Source address.
    pub src: Option<IpAddr>,
    /// Protocol.
    pub proto: Option<Protocol>,
    /// Destination port or ICMP type.
    pub port: Port,
    /// Interface that they came in by; none for packets of our own.
    pub input: IfName,
}

/// What stands for the destination port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Port {
    /// The protocol has none, or the packet was a later fragment.
    None,
    /// Destination port.
    Port(u16),
    /// ICMP or ICMPv6 type.
    IcmpType(u8),
}

/// What other lines of one group share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKey {
    /// Conntrack's table is full; of another namespace, where the kernel says so.
    TableFull(Option<u64>),
    /// A martian from there, at that interface.
    Martian(Option<IpAddr>, IfName),
    /// SYN queue overflow of that port.
    SynFlood(u16),
    /// Lines held back by a rate limit; their group counts the lines held back.
    Suppressed(Arc<[u8]>),
    /// Another sign.
    Notice(NoticeKind),
}

/// One group as it is shown.
#[derive(Clone, Debug)]
pub struct GroupRow {
    /// Identity.
    pub key: GroupKey,
    /// Lines since the group was first seen.
    pub count: u64,
    /// Lines per second over the last five seconds.
    pub rate: f64,
    /// First line.
    pub first: Moment,
    /// Latest line.
    pub last: Moment,
    /// All lines so far had this one destination; `None` when they had several, or none.
    pub dst: Option<IpAddr>,
    /// The latest line itself, for what the group does not share.
    pub sample: Arc<KernelLine>,
}

/// Five seconds in steps of half a second.
type RateWindow = Window<10, 500>;

#[derive(Debug)]
struct Group {
    count: u64,
    first: Moment,
    last: Moment,
    dst: Option<IpAddr>,
    window: RateWindow,
    sample: Arc<KernelLine>,
}

/// All groups, bounded.
#[derive(Debug, Default)]
pub(super) struct Groups {
    table: HashMap<GroupKey, Group>,
    /// Prefixes are few and repeat: one copy of each.
    texts: HashSet<Arc<[u8]>>,
    /// Groups thrown out, and the lines that they had counted.
    pub(super) evicted: (u64, u64),
}

impl Groups {
    /// Counts a line; lines that do not say enough to be grouped are left out.
    pub(super) fn add(&mut self, seen: Moment, now: Moment, line: &Arc<KernelLine>, limit: usize) {
        let Some((key, times)) = self.key(line) else {
            return;
        };
        let dst = line.log().and_then(|log| log.packet.dst);
        if let Some(group) = self.table.get_mut(&key) {
            group.count = group.count.saturating_add(times);
            group.first = group.first.min(seen);
            group.last = group.last.max(seen);
            if group.dst != dst {
                group.dst = None;
            }
            group.window.add(seen, narrow(times));
            group.sample = Arc::clone(line);
            return;
        }
        if self.table.len() >= limit.max(1) {
            self.evict(now);
        }
        let mut group = Group {
            count: times,
            first: seen,
            last: seen,
            dst,
            window: RateWindow::default(),
            sample: Arc::clone(line),
        };
        group.window.add(seen, narrow(times));
        self.table.insert(key, group);
    }

    /// Rows in the order in which they are shown: rate, then latest, then key.
    pub(super) fn rows(&self, now: Moment) -> Vec<GroupRow> {
        let mut rows: Vec<GroupRow> = self
            .table
            .iter()
            .map(|(key, group)| GroupRow {
                key: key.clone(),
                count: group.count,
                rate: group.window.rate(now, group.first),
                first: group.first,
                last: group.last,
                dst: group.dst,
                sample: Arc::clone(&group.sample),
            })
            .collect();
        rows.sort_unstable_by(|a, b| {
            let by_rate = b.rate.total_cmp(&a.rate);
            by_rate
                .then(b.last.cmp(&a.last))
                .then_with(|| a.key.cmp(&b.key))
        });
        rows
    }

    /// Groups with a line at or after `since`.
    pub(super) fn active(&self, since: Moment) -> usize {
        let active = |group: &&Group| group.last >= since;
        self.table.values().filter(active).count()
    }

    /// Makes room for many newcomers at once, so that a scan costs each line little: the coldest
    /// eighth goes, by present rate, then by age.
    fn evict(&mut self, now: Moment) {
        let mut cold: Vec<(u64, Moment, &GroupKey)> = self
            .table
            .iter()
            .map(|(key, group)| (group.window.count(now), group.last, key))
            .collect();
        let victims = (cold.len() / 8).clamp(1, cold.len().max(1));
        if victims < cold.len() {
            cold.select_nth_unstable(victims);
        }
        let victims: Vec<GroupKey> = cold
            .into_iter()
            .take(victims)
            .map(|(_, _, key)| key.clone())
            .collect();
        for key in victims {
            if let Some(group) = self.table.remove(&key) {
                self.evicted.0 += 1;
                self.evicted.1 = self.evicted.1.saturating_add(group.count);
            }
        }
        self.texts.retain(|text| Arc::strong_count(text) > 1);
    }

    /// The group of a line, and how often the line counts.
    fn key(&mut self, line: &KernelLine) -> Option<(GroupKey, u64)> {
        let event = |key| Some((GroupKey::Event(key), 1));
        match &line.body {
            Body::Packet(log) => {
                let prefix = self.text(line.prefix());
                Some((flow_key(prefix, log)?, u64::from(log.times)))
            }
            Body::Trace(trace) => {
                let prefix = self.text(b"TRACE:");
                Some((flow_key(prefix, &trace.log)?, 1))
            }
            Body::TableFull(full) => event(EventKey::TableFull(full.netns)),
            Body::Martian(martian) => event(EventKey::Martian(martian.src, martian.dev)),
            Body::SynFlood(flood) => event(EventKey::SynFlood(flood.port)),
            Body::Suppressed(held) => {
                let key = EventKey::Suppressed(self.text(&held.by));
                Some((GroupKey::Event(key), held.count))
            }
            Body::Notice(notice) => event(EventKey::Notice(notice.kind)),
        }
    }

    /// Prefixes held.
    #[cfg(test)]
    pub(super) fn distinct_texts(&self) -> usize {
        self.texts.len()
    }

    fn text(&mut self, text: &[u8]) -> Arc<[u8]> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<[u8]> = text.into();
        self.texts.insert(Arc::clone(&text));
        text
    }
}

/// `None` for lines that would be counted where they do not belong: garbled ones, and ones cut
/// before source, protocol and port were all said.
fn flow_key(prefix: Arc<[u8]>, log: &LogLine) -> Option<GroupKey> {
    let packet = &log.packet;
    let port = match (packet.dport, packet.icmp) {
        (Some(port), _) => Port::Port(port),
        (None, Some(icmp)) => Port::IcmpType(icmp.kind),
        (None, None) => Port::None,
    };
    let enough = match log.condition {
        Condition::Whole => true,
        Condition::Truncated => packet.src.is_some() && port != Port::None,
        Condition::Damaged => false,
    };
    if !enough {
        return None;
    }
    Some(GroupKey::Flow(FlowKey {
        prefix,
        family: packet.family,
        src: packet.src,
        proto: packet.proto,
        port,
        input: log.input,
    }))
}

fn narrow(times: u64) -> u32 {
    u32::try_from(times).unwrap_or(u32::MAX)
}
