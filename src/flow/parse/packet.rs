//! The words that describe one packet, outer or quoted, and the order in which the kernel writes them.
//!
//! Each known word has a [`Place`]; places only go up. That is the whole check against lines that ran
//! into each other: the rest of another message begins again further down.

use super::key::Key;
use super::number::{address, hexadecimal, narrow};
use crate::flow::IpVersion;
use crate::flow::{Fragment, Icmp, Packet, Protocol, TcpFlags};

/// Where in the line a word stands. Words that exclude each other share a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    #[default]
    Start,
    PhysIn,
    PhysOut,
    MacSrc,
    MacDst,
    MacProto,
    Mac,
    Src,
    Dst,
    Len,
    /// `TOS=`, `TC=`.
    Tos,
    /// `PREC=`, `HOPLIMIT=`.
    Prec,
    /// `TTL=`, `FLOWLBL=`.
    Ttl,
    Id,
    Evil,
    Df,
    Mf,
    Frag,
    /// IP options and IPv6 extension headers, any number.
    IpOpt,
    Proto,
    /// `SPT=`, `TYPE=`, `SPI=`.
    Spt,
    /// `DPT=`, `CODE=`.
    Dpt,
    /// TCP's `SEQ=`, UDP's `LEN=`, ICMP's `ID=`, `PARAMETER=`, `GATEWAY=`, `POINTER=`.
    Seq,
    /// TCP's `ACK=`, ICMP's `SEQ=`.
    Ack,
    Window,
    Res,
    /// TCP flags, any number.
    Flag,
    Urgp,
    TcpOpt,
    /// The packet that an ICMP error quotes.
    Quote,
    Mtu,
    Uid,
    Gid,
    Mark,
}

/// What the coming words are part of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Nothing,
    /// `OPT` was read, its parenthesis is due.
    OptionDue,
    /// Inside that parenthesis.
    Option,
    /// `INCOMPLETE [8 bytes]`: so many words are still part of it.
    Incomplete(u8),
}

/// A packet being read.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    pub(super) packet: Packet,
    /// A word came twice, out of order, or made no sense.
    pub(super) damaged: bool,
    place: Place,
    within: Within,
}

impl Scan {
    /// Nothing at or after `place` was read yet.
    pub(super) fn is_before(&self, place: Place) -> bool {
        self.place < place
    }

    /// The next words belong to something already begun.
    pub(super) fn is_skipping(&self) -> bool {
        self.within != Within::Nothing
    }

    /// Goes on to `place`; `false`, and damaged, if that lies behind.
    pub(super) fn step(&mut self, place: Place) -> bool {
        let repeats = matches!(place, Place::Flag | Place::IpOpt);
        let good = place > self.place || (repeats && place == self.place);
        if good {
            self.place = place;
        } else {
            self.damaged = true;
        }
        good
    }

    /// One word. `true` if it is one that the kernel writes.
    pub(super) fn word(&mut self, word: &[u8]) -> bool {
        match self.within {
            Within::Nothing => {}
            Within::OptionDue | Within::Option => return self.in_option(word),
            Within::Incomplete(left) => {
                self.within = match left {
                    0 | 1 => Within::Nothing,
                    more => Within::Incomplete(more - 1),
                };
                return true;
            }
        }
        match Key::split(word) {
            Some((key, value)) => self.pair(key, value),
            None => self.bare(word),
        }
    }

    /// A word without a value.
    fn bare(&mut self, word: &[u8]) -> bool {
        match word {
            b"CE" => drop(self.step(Place::Evil)),
            b"DF" => self.packet.dont_fragment |= self.step(Place::Df),
            b"MF" => {
                if self.step(Place::Mf) {
                    self.fragment().more = true;
                }
            }
            b"OPT" => {
                let place = if self.place < Place::Proto {
                    Place::IpOpt
                } else {
                    Place::TcpOpt
                };
                self.step(place);
                self.within = Within::OptionDue;
            }
            b"INCOMPLETE" if self.in_v6_fragment() => self.fragment().more = true,
            b"INCOMPLETE" => {
                self.packet.incomplete = true;
                self.within = Within::Incomplete(2);
            }
            b"TRUNCATED" => self.packet.incomplete = true,
            _ => return self.flag_or_fragment(word),
        }
        true
    }

    /// The words of an IPv6 fragment header are in an option's parenthesis with `--log-ip-options`
    /// and stand bare without.
    fn in_v6_fragment(&self) -> bool {
        let v6 = self.packet.family == Some(IpVersion::V6);
        v6 && self.place < Place::Proto && self.packet.fragment.is_some()
    }

    fn flag_or_fragment(&mut self, word: &[u8]) -> bool {
        if let Some(number) = word.strip_prefix(b"FRAG:") {
            // IPv4 counts in units of eight, IPv6 in bytes.
            let (place, unit) = match self.packet.family {
                Some(IpVersion::V6) => (Place::IpOpt, 1),
                _ => (Place::Frag, 8),
            };
            if self.step(place) {
                match narrow::<u16>(number).and_then(|number| number.checked_mul(unit)) {
                    Some(offset) => self.fragment().offset = offset,
                    None => self.damaged = true,
                }
            }
            return true;
        }
        if let Some(id) = word.strip_prefix(b"ID:").filter(|_| self.in_v6_fragment()) {
            self.fragment().id = hexadecimal(id);
            return true;
        }
        match TcpFlags::named(word) {
            Some(flag) if self.step(Place::Flag) => {
                let flags = self.packet.tcp_flags.unwrap_or_default();
                self.packet.tcp_flags = Some(flags | flag);
                true
            }
            known => {
                self.damaged = true;
                known.is_some()
            }
        }
    }

    /// `OPT (07030400)`, `OPT ( FRAG:0 INCOMPLETE ID:00001234 )`, `OPT ( ESP SPI=0xcb886522 )`.
    fn in_option(&mut self, word: &[u8]) -> bool {
        let mut word = word;
        if self.within == Within::OptionDue {
            let Some(inside) = word.strip_prefix(b"(") else {
                self.damaged = true;
                self.within = Within::Nothing;
                return false;
            };
            self.within = Within::Option;
            word = inside;
        }
        if let Some(inside) = word.strip_suffix(b")") {
            self.within = Within::Nothing;
            word = inside;
        }
        if let Some(bytes) = word.strip_prefix(b"FRAG:") {
            match narrow(bytes) {
                Some(offset) => self.fragment().offset = offset,
                None => self.damaged = true,
            }
        } else if let Some(id) = word.strip_prefix(b"ID:") {
            self.fragment().id = hexadecimal(id);
        } else if let Some(spi) = word.strip_prefix(b"SPI=") {
            self.packet.spi = hexadecimal(spi);
        } else {
            match word {
                b"INCOMPLETE" => self.fragment().more = true,
                b"AH" => self.packet.proto = Some(Protocol::AH),
                b"ESP" => self.packet.proto = Some(Protocol::ESP),
                _ => {}
            }
        }
        true
    }

    fn fragment(&mut self) -> &mut Fragment {
        self.packet.fragment.get_or_insert_default()
    }

    /// `KEY=value`.
    fn pair(&mut self, key: Key, value: &[u8]) -> bool {
        let Some(place) = self.place_of(key) else {
            // A word of a later kernel: not ours to judge.
            return false;
        };
        if self.step(place) && self.set(place, key, value).is_none() {
            self.damaged = true;
        }
        true
    }

    fn place_of(&self, key: Key) -> Option<Place> {
        let transport = self.place >= Place::Proto;
        let icmp = self.packet.proto.is_some_and(Protocol::is_icmp);
        Some(match key {
            Key::SRC => Place::Src,
            Key::DST => Place::Dst,
            Key::LEN | Key::ID if transport => Place::Seq,
            Key::LEN => Place::Len,
            Key::TOS | Key::TC => Place::Tos,
            Key::PREC | Key::HOPLIMIT => Place::Prec,
            Key::TTL | Key::FLOWLBL => Place::Ttl,
            Key::ID => Place::Id,
            Key::PROTO => Place::Proto,
            Key::SPT | Key::TYPE | Key::SPI => Place::Spt,
            Key::DPT | Key::CODE => Place::Dpt,
            Key::SEQ if icmp => Place::Ack,
            Key::SEQ | Key::PARAMETER | Key::GATEWAY | Key::POINTER => Place::Seq,
            Key::ACK => Place::Ack,
            Key::WINDOW => Place::Window,
            Key::RES => Place::Res,
            Key::URGP => Place::Urgp,
            Key::MTU => Place::Mtu,
            Key::UID => Place::Uid,
            Key::GID => Place::Gid,
            Key::MARK => Place::Mark,
            _ => return None,
        })
    }

    /// Sets the field; `None` if the value makes no sense.
    fn set(&mut self, place: Place, key: Key, value: &[u8]) -> Option<()> {
        let packet = &mut self.packet;
        match (place, key) {
            (Place::Src, _) => {
                packet.src = Some(address(value)?);
                packet.family = packet.src.map(|addr| family_of(addr.is_ipv4()));
            }
            (Place::Dst, _) => {
                let addr = address(value)?;
                let family = family_of(addr.is_ipv4());
                if packet.family.is_some_and(|known| known != family) {
                    return None;
                }
                packet.dst = Some(addr);
            }
            (Place::Len, _) => packet.length = Some(narrow(value)?),
            (Place::Tos, Key::TC) => packet.tos = Some(narrow(value)?),
            (Place::Tos, _) => packet.tos = Some(u8::try_from(hexadecimal(value)?).ok()?),
            (Place::Prec, Key::HOPLIMIT) | (Place::Ttl, Key::TTL) => {
                packet.ttl = Some(narrow(value)?);
            }
            (Place::Prec, _) => {
                let precedence = u8::try_from(hexadecimal(value)?).ok()?;
                packet.tos = Some(packet.tos.unwrap_or(0) | precedence);
            }
            (Place::Ttl, _) => packet.flow_label = Some(narrow(value)?),
            (Place::Id, _) => packet.id = Some(narrow(value)?),
            (Place::Proto, _) => packet.proto = Some(Protocol::parse(value)?),
            (Place::Spt, Key::SPT) => packet.sport = Some(narrow(value)?),
            (Place::Spt, Key::TYPE) => packet.icmp.get_or_insert_default().kind = narrow(value)?,
            (Place::Spt, _) => packet.spi = Some(hexadecimal(value)?),
            (Place::Dpt, Key::DPT) => packet.dport = Some(narrow(value)?),
            (Place::Dpt, _) => packet.icmp.get_or_insert_default().code = Some(narrow(value)?),
            (Place::Seq, Key::SEQ) => packet.tcp_seq = Some(narrow(value)?),
            (Place::Seq, Key::LEN) => packet.udp_length = Some(narrow(value)?),
            (Place::Urgp, _) => packet.urgent = Some(narrow(value)?),
            (Place::Seq, Key::ID) => {
                packet.icmp.get_or_insert_default().echo = Some((narrow(value)?, 0));
            }
            (Place::Ack, Key::SEQ) => packet.icmp.as_mut()?.echo.as_mut()?.1 = narrow(value)?,
            (Place::Ack, _) => packet.tcp_ack = Some(narrow(value)?),
            (Place::Window, _) => {
                packet.window = Some(narrow(value)?);
                packet.tcp_flags.get_or_insert_default();
            }
            (Place::Mtu, _) => packet.mtu = Some(narrow(value)?),
            (Place::Mark, _) => packet.mark = Some(hexadecimal(value)?),
            _ => {}
        }
        Some(())
    }

    /// Everything that the kernel writes for such a packet is there. `outer`: it is not a quoted one.
    /// `terminated`: the line ended behind a blank.
    pub(super) fn is_whole(&self, outer: bool, terminated: bool) -> bool {
        let packet = &self.packet;
        match self.within {
            Within::Nothing | Within::Incomplete(_) => {}
            Within::OptionDue | Within::Option => return false,
        }
        if packet.incomplete {
            return true;
        }
        let v6 = packet.family == Some(IpVersion::V6);
        if self.place < Place::Ttl || (!v6 && self.place < Place::Id) {
            return false;
        }
        let Some(proto) = packet.proto else {
            // IPv6 extension headers can end a line without a protocol. The kernel ends it with a
            // blank; without one it may as well have been cut.
            return v6 && terminated;
        };
        if packet.fragment.is_some_and(|fragment| fragment.offset > 0) {
            return true;
        }
        // Without --log-ip-options a later IPv6 fragment shows its protocol and nothing else.
        if v6 && terminated && self.place == Place::Proto {
            return true;
        }
        self.place >= last_place(proto, packet.icmp, outer) || (v6 && packet.spi.is_some())
    }
}

/// The last word that the kernel always writes for that protocol.
fn last_place(proto: Protocol, icmp: Option<Icmp>, outer: bool) -> Place {
    match proto {
        Protocol::TCP => Place::Urgp,
        Protocol::UDP | Protocol::UDPLITE => Place::Seq,
        Protocol::AH | Protocol::ESP => Place::Spt,
        Protocol::ICMP | Protocol::ICMPV6 => {
            let Some(icmp) = icmp else { return Place::Dpt };
            let old = proto == Protocol::ICMP;
            match (old, icmp.kind, icmp.code) {
                (true, 0 | 8, _) | (false, 128 | 129, _) => Place::Ack,
                (true, 3, Some(4)) | (false, 2, _) => Place::Mtu,
                (true, 3 | 4 | 5 | 11, _) | (false, 1 | 3 | 4, _) if outer => Place::Quote,
                _ => Place::Dpt,
            }
        }
        _ => Place::Proto,
    }
}

fn family_of(v4: bool) -> IpVersion {
    if v4 { IpVersion::V4 } else { IpVersion::V6 }
}
