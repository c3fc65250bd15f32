//! The packet part of a line: `PREFIX IN=… OUT=… MAC=… SRC=… DST=… … PROTO=… …`.
//!
//! Source of the format: net/netfilter/nf_log_syslog.c (its predecessors nf_log_ipv4.c, nf_log_ipv6.c,
//! ipt_LOG.c wrote the same). [`Header`] finds where prefix ends and packet begins, [`Reader`] walks the
//! words after it, and [`crate::flow::Condition`] is decided at the end: see the parent for why.

use crate::flow::IpVersion;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::key::Key;
use super::number::{hex_byte, narrow};
use super::packet::{Place, Scan};
use crate::flow::{
    Body, Condition, IfName, LinkHeader, LogLine, Notice, NoticeKind, Protocol, TraceLine,
    TraceStep,
};

/// Made once: making one takes longer than using it.
static OUT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b" OUT="));
/// Longest prefix that a LOG rule can have (30 with its terminator in xt_LOG.h).
const LOG_PREFIX: usize = 29;
/// Longest prefix that any rule can have (NF_LOG_PREFIXLEN, nft's `log prefix`).
const ANY_PREFIX: usize = 127;

/// A packet, trace or ARP line; `None` for anything else.
pub(super) fn parse(message: &[u8]) -> Option<Body> {
    let header = Header::find(message)?;
    let rest = message.get(header.end..).unwrap_or_default();
    let reader = match Reader::read(&header, rest) {
        Ok(reader) => reader,
        Err(notice) => return Some(Body::Notice(Notice { kind: notice })),
    };
    // Other programs write `IN=` and `OUT=` too: something must be netfilter's own.
    if !reader.known {
        return None;
    }
    let prefix = message.get(..header.start)?;
    let mut log = reader.finish();
    if prefix.len() > ANY_PREFIX || (header.nested && prefix.len() > LOG_PREFIX) {
        log.condition = Condition::Damaged;
    } else {
        log.prefix_len = prefix.len();
    }
    Some(match trace(prefix) {
        Some((table, chain, step, number)) => Body::Trace(Box::new(TraceLine {
            table: table.into(),
            chain: chain.into(),
            step,
            number,
            log,
        })),
        None => Body::Packet(log),
    })
}

/// Where the packet begins: the last `IN=name OUT=name` of the line.
struct Header {
    /// Where `IN=` stands: the prefix ends there.
    start: usize,
    /// Past `OUT=name`.
    end: usize,
    input: IfName,
    output: IfName,
    /// The line ended inside the name after `OUT=`, so that it was not kept.
    cut: bool,
    /// There was another one before it: in the prefix, or in a line that this one ran into.
    nested: bool,
}

impl Header {
    fn find(message: &[u8]) -> Option<Self> {
        let mut found: Option<Self> = None;
        for at in OUT.find_iter(message) {
            if let Some(mut header) = Self::at(message, at) {
                header.nested = found.is_some();
                found = Some(header);
            }
        }
        found
    }

    /// The header whose ` OUT=` is at `at`, if the word before it ends in `IN=` and a name.
    fn at(message: &[u8], at: usize) -> Option<Self> {
        let before = message.get(..at)?;
        let word = memchr::memrchr(b' ', before).map_or(0, |blank| blank + 1);
        let name = before.get(word..)?.windows(3).rposition(|w| w == b"IN=")?;
        let start = word + name;
        let input = IfName::new(before.get(start + 3..)?)?;
        let after = message.get(at + 5..)?;
        let blank = memchr::memchr(b' ', after);
        let name = after.get(..blank.unwrap_or(after.len()))?;
        Some(Self {
            start,
            end: at + 5 + name.len(),
            input,
            output: match blank {
                Some(_) => IfName::new(name)?,
                None => IfName::NONE,
            },
            cut: blank.is_none(),
            nested: false,
        })
    }
}

/// `TRACE: table:chain:rule:5 `. The chain may hold colons, so it is read from both ends.
fn trace(prefix: &[u8]) -> Option<(&[u8], &[u8], TraceStep, u32)> {
    let body = prefix.strip_prefix(b"TRACE: ")?.strip_suffix(b" ")?;
    let (body, number) = split_last(body)?;
    let (body, step) = split_last(body)?;
    let colon = memchr::memchr(b':', body)?;
    let step = match step {
        b"rule" => TraceStep::Rule,
        b"return" => TraceStep::Return,
        b"policy" => TraceStep::Policy,
        _ => return None,
    };
    Some((
        body.get(..colon)?,
        body.get(colon + 1..)?,
        step,
        narrow(number)?,
    ))
}

fn split_last(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memrchr(b':', text)?;
    Some((text.get(..colon)?, text.get(colon + 1..)?))
}

/// Walks the words after the header.
#[derive(Clone)]
struct Reader {
    log: LogLine,
    outer: Scan,
    inner: Option<Box<Scan>>,
    /// Inside the brackets of an ICMP error.
    quoting: bool,
    /// At least one word that only netfilter writes.
    known: bool,
    truncated: bool,
}

impl Reader {
    fn read(header: &Header, rest: &[u8]) -> Result<Self, NoticeKind> {
        let mut reader = Self {
            log: LogLine {
                input: header.input,
                output: header.output,
                times: 1,
                ..LogLine::default()
            },
            outer: Scan::default(),
            inner: None,
            quoting: false,
            known: false,
            truncated: header.cut,
        };
        // A word that the end of the line may have cut in two is tried last, and undone if the line
        // is not whole with it.
        let (sure, doubtful) = match memchr::memrchr(b' ', rest) {
            Some(blank) => rest.split_at(blank + 1),
            None => (&[][..], rest),
        };
        let mut rest = sure;
        while let Some(blank) = memchr::memchr(b' ', rest) {
            let (word, after) = rest.split_at(blank);
            reader.word(word)?;
            rest = after.get(1..).unwrap_or_default();
        }
        if doubtful.is_empty() {
            let terminated = sure.len() > 1;
            reader.truncated |= !reader.is_whole(terminated);
        } else {
            let before = reader.clone();
            reader.word(doubtful)?;
            if reader.is_damaged() != before.is_damaged() || !reader.is_whole(false) {
                reader = before;
                reader.truncated = true;
            }
        }
        Ok(reader)
    }

    /// One word of the line. `Err` for the kinds of line that have a header and are no IP packet.
    fn word(&mut self, word: &[u8]) -> Result<(), NoticeKind> {
        match word {
            [] => Ok(()),
            [b'[', quoted @ ..] if self.opens_quote() => {
                self.quoting = true;
                let scan = Box::new(Scan::default());
                self.word_in(quoted, scan)
            }
            [quoted @ .., b']'] if self.quoting && !quoted.ends_with(b"bytes") => {
                if !quoted.is_empty() {
                    self.word(quoted)?;
                }
                self.quoting = false;
                Ok(())
            }
            b"ARP" if self.outer.is_before(Place::Src) => Err(NoticeKind::Arp),
            b"source" if self.outer.is_before(Place::Src) => Err(NoticeKind::Bridge),
            _ => {
                self.plain(word);
                Ok(())
            }
        }
    }

    fn word_in(&mut self, word: &[u8], scan: Box<Scan>) -> Result<(), NoticeKind> {
        self.inner = Some(scan);
        self.word(word)
    }

    /// A bracket quotes a packet only in an ICMP error, once.
    fn opens_quote(&mut self) -> bool {
        let icmp = self.outer.packet.proto.is_some_and(Protocol::is_icmp);
        icmp && self.inner.is_none() && !self.outer.is_skipping() && self.outer.step(Place::Quote)
    }

    fn plain(&mut self, word: &[u8]) {
        if self.quoting {
            if let Some(inner) = &mut self.inner {
                inner.word(word);
            }
            return;
        }
        if self.outer.is_before(Place::Src) && self.link(word) {
            return;
        }
        self.known |= self.outer.word(word);
        if !self.outer.is_before(Place::Uid) {
            self.owner(word);
        }
    }

    /// What stands before `SRC=`: bridge ports and the link header.
    fn link(&mut self, word: &[u8]) -> bool {
        let Some((key, value)) = Key::split(word) else {
            return false;
        };
        let place = match key {
            Key::PHYSIN => Place::PhysIn,
            Key::PHYSOUT => Place::PhysOut,
            Key::MACSRC => Place::MacSrc,
            Key::MACDST => Place::MacDst,
            Key::MACPROTO => Place::MacProto,
            Key::MAC => Place::Mac,
            Key::VPROTO | Key::VID | Key::TUNNEL => return true,
            _ => return false,
        };
        self.known = true;
        if !self.outer.step(place) {
            return true;
        }
        let good = match place {
            Place::PhysIn => IfName::new(value).map(|name| self.log.physin = name),
            Place::PhysOut => IfName::new(value).map(|name| self.log.physout = name),
            _ => self.hardware(place, value),
        };
        self.outer.damaged |= good.is_none();
        true
    }

    /// `MAC=dst:src:type:…`, or its three parts of `--log-macdecode`, which come source first and
    /// are put in the header's own order.
    fn hardware(&mut self, place: Place, value: &[u8]) -> Option<()> {
        let mut link = LinkHeader::default();
        match place {
            Place::MacProto => {
                let (high, low) = value.split_at_checked(2)?;
                link = self.log.link;
                link.push(hex_byte(high)?);
                link.push(hex_byte(low)?);
            }
            Place::MacDst => {
                let source = self.log.link;
                push_colon_bytes(&mut link, value)?;
                source.as_bytes().iter().for_each(|byte| link.push(*byte));
            }
            _ => push_colon_bytes(&mut link, value)?,
        }
        self.log.link = link;
        Some(())
    }

    /// `UID=` and `GID=`; `MARK=` is the packet's.
    fn owner(&mut self, word: &[u8]) {
        if let Some(uid) = word.strip_prefix(b"UID=") {
            self.log.uid = narrow(uid);
        } else if let Some(gid) = word.strip_prefix(b"GID=") {
            self.log.gid = narrow(gid);
        }
    }

    fn is_damaged(&self) -> bool {
        self.outer.damaged || self.inner.as_ref().is_some_and(|inner| inner.damaged)
    }

    fn is_whole(&self, terminated: bool) -> bool {
        !self.quoting
            && self.outer.is_whole(true, terminated)
            && self
                .inner
                .as_ref()
                .is_none_or(|inner| inner.is_whole(false, true))
    }

    fn finish(self) -> LogLine {
        let damaged = self.is_damaged();
        let mut log = self.log;
        log.packet = self.outer.packet;
        log.inner = self.inner.map(|inner| Box::new(inner.packet));
        if log.packet.family.is_none() {
            log.packet.family = match log.link.ethertype() {
                Some(0x0800) => Some(IpVersion::V4),
                Some(0x86dd) => Some(IpVersion::V6),
                _ => None,
            };
        }
        log.condition = match (damaged, self.truncated) {
            (true, _) => Condition::Damaged,
            (false, true) => Condition::Truncated,
            (false, false) => Condition::Whole,
        };
        log
    }
}

/// `02:00:00:bb:00:01`, any length; nothing at all is no header.
fn push_colon_bytes(link: &mut LinkHeader, text: &[u8]) -> Option<()> {
    if text.is_empty() {
        return Some(());
    }
    let mut pairs = text.chunks(3);
    let good = pairs.all(|pair| match pair {
        [high, low] | [high, low, b':'] => hex_byte(&[*high, *low])
            .map(|byte| link.push(byte))
            .is_some(),
        _ => false,
    });
    (good && text.len() % 3 == 2).then_some(())
}
