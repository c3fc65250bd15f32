//! A packet as it went over the wire, taken apart: network header, extension headers, transport header,
//! and the packet that an ICMP error quotes.
//!
//! What comes in is what somebody copied: usually the first few hundred bytes. Every read is checked,
//! and a packet that ends inside a header says [`Packet::incomplete`] instead of guessing. The fields
//! are those that a LOG line would have, so that both kinds of description compare.
//!
//! Sources: RFC 791, 8200 (section 4: extension headers), 4302 (AH), 9293, 768, 9260, 792, 4443.

use super::IpVersion;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Fragment, Icmp, Packet, Protocol, TcpFlags};

/// Extension headers that are walked past, at most; the kernel's own limit is eight of a kind.
const EXTENSIONS: usize = 16;

impl Packet {
    /// Reads an IPv4 or IPv6 packet from its first byte on, and what it quotes if it is an ICMP error.
    /// `None` if it is neither.
    pub fn from_wire(bytes: &[u8]) -> Option<(Self, Option<Self>)> {
        let (packet, rest) = network(bytes)?;
        let quoted = rest
            .filter(|_| is_icmp_error(&packet))
            .and_then(|rest| network(rest.get(8..)?))
            .map(|(quoted, _)| quoted);
        Some((packet, quoted))
    }
}

/// The packet, and what follows its network headers, if that much is there.
fn network(bytes: &[u8]) -> Option<(Packet, Option<&[u8]>)> {
    match bytes.first()? >> 4 {
        4 => ipv4(bytes),
        6 => ipv6(bytes),
        _ => None,
    }
}

fn ipv4(bytes: &[u8]) -> Option<(Packet, Option<&[u8]>)> {
    let header: &[u8; 20] = bytes.first_chunk()?;
    let size = usize::from(header[0] & 0x0f) * 4;
    if size < header.len() {
        return None;
    }
    let flags = be16(header, 6)?;
    let offset = flags & 0x1fff;
    let more = flags & 0x2000 != 0;
    let mut packet = Packet {
        family: Some(IpVersion::V4),
        src: Some(IpAddr::V4(octets::<4>(header, 12).map(Ipv4Addr::from)?)),
        dst: Some(IpAddr::V4(octets::<4>(header, 16).map(Ipv4Addr::from)?)),
        proto: Some(Protocol(header[9])),
        length: be16(header, 2).map(u32::from),
        ttl: Some(header[8]),
        tos: Some(header[1]),
        id: be16(header, 4),
        dont_fragment: flags & 0x4000 != 0,
        fragment: (offset > 0 || more).then_some(Fragment {
            offset: offset * 8,
            more,
            id: None,
        }),
        ..Packet::default()
    };
    let rest = bytes.get(size..);
    match rest {
        _ if offset > 0 => Some((packet, None)),
        Some(rest) => {
            transport(&mut packet, Protocol(header[9]), rest);
            Some((packet, Some(rest)))
        }
        None => {
            packet.incomplete = true;
            Some((packet, None))
        }
    }
}

fn ipv6(bytes: &[u8]) -> Option<(Packet, Option<&[u8]>)> {
    let header: &[u8; 40] = bytes.first_chunk()?;
    let [b0, b1, b2, b3] = octets::<4>(header, 0)?;
    let mut packet = Packet {
        family: Some(IpVersion::V6),
        src: Some(IpAddr::V6(octets::<16>(header, 8).map(Ipv6Addr::from)?)),
        dst: Some(IpAddr::V6(octets::<16>(header, 24).map(Ipv6Addr::from)?)),
        length: be16(header, 4).map(|payload| u32::from(payload) + 40),
        ttl: Some(header[7]),
        tos: Some(b0 << 4 | b1 >> 4),
        flow_label: Some(u32::from_be_bytes([0, b1 & 0x0f, b2, b3])),
        ..Packet::default()
    };
    let mut next = header[6];
    let mut at = 40;
    for _ in 0..EXTENSIONS {
        let here = bytes.get(at..).unwrap_or_default();
        match extension(&mut packet, next, here) {
            Step::Past(size) => {
                next = here.first().copied().unwrap_or(next);
                at += size;
            }
            Step::Cut => {
                packet.incomplete = true;
                return Some((packet, None));
            }
            Step::Transport => break,
        }
        if packet.fragment.is_some_and(|fragment| fragment.offset > 0) {
            packet.proto = Some(Protocol(next));
            return Some((packet, None));
        }
    }
    packet.proto = Some(Protocol(next));
    match bytes.get(at..) {
        Some(rest) => {
            transport(&mut packet, Protocol(next), rest);
            Some((packet, Some(rest)))
        }
        None => {
            packet.incomplete = true;
            Some((packet, None))
        }
    }
}

/// What a header of IPv6 turned out to be.
enum Step {
    /// An extension header of that size; its first byte names the next.
    Past(usize),
    /// An extension header, of which not enough is there.
    Cut,
    /// None that could be walked past.
    Transport,
}

fn extension(packet: &mut Packet, next: u8, bytes: &[u8]) -> Step {
    let units = bytes.get(1).map(|units| usize::from(*units));
    let size = match next {
        // Hop-by-hop, routing, destination options, mobility: in eights, less the first.
        0 | 43 | 60 | 135 => units.map(|units| units * 8 + 8),
        44 => fragment(packet, bytes),
        // AH counts in fours, less two.
        51 => {
            packet.spi = be32(bytes, 4);
            units.map(|units| units * 4 + 8)
        }
        _ => return Step::Transport,
    };
    size.map_or(Step::Cut, Step::Past)
}

fn fragment(packet: &mut Packet, bytes: &[u8]) -> Option<usize> {
    let (field, id) = (be16(bytes, 2)?, be32(bytes, 4)?);
    packet.fragment = Some(Fragment {
        offset: field & 0xfff8,
        more: field & 1 != 0,
        id: Some(id),
    });
    Some(8)
}

fn transport(packet: &mut Packet, proto: Protocol, bytes: &[u8]) {
    let read = match proto {
        Protocol::TCP => tcp(packet, bytes),
        Protocol::UDP | Protocol::UDPLITE => udp(packet, bytes),
        proto if proto.has_ports() => ports(packet, bytes),
        Protocol::ICMP | Protocol::ICMPV6 => icmp(packet, proto, bytes),
        Protocol::ESP => be32(bytes, 0).map(|spi| packet.spi = Some(spi)),
        Protocol::AH => be32(bytes, 4).map(|spi| packet.spi = Some(spi)),
        _ => Some(()),
    };
    packet.incomplete |= read.is_none();
}

fn ports(packet: &mut Packet, bytes: &[u8]) -> Option<()> {
    packet.sport = Some(be16(bytes, 0)?);
    packet.dport = Some(be16(bytes, 2)?);
    Some(())
}

fn udp(packet: &mut Packet, bytes: &[u8]) -> Option<()> {
    ports(packet, bytes)?;
    packet.udp_length = Some(be16(bytes, 4)?);
    Some(())
}

fn tcp(packet: &mut Packet, bytes: &[u8]) -> Option<()> {
    ports(packet, bytes)?;
    packet.tcp_seq = Some(be32(bytes, 4)?);
    packet.tcp_ack = Some(be32(bytes, 8)?);
    packet.tcp_flags = Some(TcpFlags(*bytes.get(13)?));
    packet.window = Some(be16(bytes, 14)?);
    packet.urgent = Some(be16(bytes, 18)?);
    Some(())
}

fn icmp(packet: &mut Packet, proto: Protocol, bytes: &[u8]) -> Option<()> {
    let mut icmp = Icmp {
        kind: *bytes.first()?,
        code: Some(*bytes.get(1)?),
        echo: None,
    };
    packet.icmp = Some(icmp);
    let old = proto == Protocol::ICMP;
    match (old, icmp.kind, icmp.code) {
        (true, 0 | 8, _) | (false, 128 | 129, _) => {
            icmp.echo = Some((be16(bytes, 4)?, be16(bytes, 6)?));
            packet.icmp = Some(icmp);
        }
        (true, 3, Some(4)) => packet.mtu = Some(u32::from(be16(bytes, 6)?)),
        (false, 2, _) => packet.mtu = Some(be32(bytes, 4)?),
        _ => {}
    }
    Some(())
}

/// Unreachable, source quench, redirect, time exceeded, parameter problem; in ICMPv6 all below 128
/// that are in use.
fn is_icmp_error(packet: &Packet) -> bool {
    let Some(icmp) = packet.icmp else {
        return false;
    };
    match packet.proto {
        Some(Protocol::ICMP) => matches!(icmp.kind, 3 | 4 | 5 | 11 | 12),
        Some(Protocol::ICMPV6) => matches!(icmp.kind, 1..=4),
        _ => false,
    }
}

fn octets<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    octets(bytes, at).map(u16::from_be_bytes)
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    octets(bytes, at).map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(proto: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![
            0x45, 0xc2, 0, 0, 0x12, 0x34, 0x40, 0, 64, proto, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1,
        ];
        bytes.extend_from_slice(payload);
        bytes[3] = u8::try_from(bytes.len()).unwrap();
        bytes
    }

    fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![
            0x6c,
            0x2a,
            0xbc,
            0xde,
            0,
            u8::try_from(payload.len()).unwrap(),
        ];
        bytes.extend([next, 63]);
        bytes.extend(Ipv6Addr::LOCALHOST.octets());
        bytes.extend(Ipv6Addr::UNSPECIFIED.octets());
        bytes.extend_from_slice(payload);
        bytes
    }

    const SYN: [u8; 20] = [
        0xc3, 0x50, 0x0d, 0x3d, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0x20, 0, 0, 0, 0, 0,
    ];

    #[test]
    fn a_syn_over_both_families() {
        for bytes in [v4(6, &SYN), v6(6, &SYN)] {
            let (packet, quoted) = Packet::from_wire(&bytes).unwrap();
            assert!(packet.is_syn() && !packet.incomplete && quoted.is_none());
            assert_eq!((packet.sport, packet.dport), (Some(50000), Some(3389)));
            assert_eq!((packet.tos, packet.window), (Some(0xc2), Some(0x2000)));
            assert_eq!(packet.length, u32::try_from(bytes.len()).ok());
        }
        let (packet, _) = Packet::from_wire(&v6(6, &SYN)).unwrap();
        assert_eq!((packet.flow_label, packet.ttl), (Some(0xabcde), Some(63)));
    }

    #[test]
    fn extension_headers_are_walked() {
        let mut chain = vec![44, 0, 0, 0, 0, 0, 0, 0]; // hop-by-hop, then a fragment header
        chain.extend([6, 0, 0, 1, 0, 0, 0x12, 0x34]);
        chain.extend(SYN);
        let (packet, _) = Packet::from_wire(&v6(0, &chain)).unwrap();
        assert_eq!(
            (packet.proto, packet.dport),
            (Some(Protocol::TCP), Some(3389))
        );
        let want = Fragment {
            offset: 0,
            more: true,
            id: Some(0x1234),
        };
        assert_eq!(packet.fragment, Some(want));
        chain[11] = 8; // offset 8, last fragment: no ports
        let (packet, _) = Packet::from_wire(&v6(0, &chain)).unwrap();
        assert_eq!((packet.proto, packet.dport), (Some(Protocol::TCP), None));
        assert!(!packet.incomplete);
    }

    #[test]
    fn an_icmp_error_quotes() {
        let mut error = vec![3, 4, 0, 0, 0, 0, 0x05, 0x14];
        error.extend(v4(17, &[0, 53, 0, 9, 0, 8, 0, 0]));
        let (packet, quoted) = Packet::from_wire(&v4(1, &error)).unwrap();
        assert_eq!(packet.mtu, Some(1300));
        let quoted = quoted.unwrap();
        assert_eq!((quoted.sport, quoted.dport), (Some(53), Some(9)));
        let mut echo = vec![8, 0, 0, 0, 0, 7, 0, 9];
        echo.extend(v4(17, &[0, 53, 0, 9, 0, 8, 0, 0]));
        let (packet, quoted) = Packet::from_wire(&v4(1, &echo)).unwrap();
        assert_eq!(packet.icmp.unwrap().echo, Some((7, 9)));
        assert!(quoted.is_none());
    }

    #[test]
    fn cut_anywhere_it_says_so_and_nothing_else() {
        for bytes in [v4(6, &SYN), v6(6, &SYN)] {
            let (whole, _) = Packet::from_wire(&bytes).unwrap();
            for end in 0..bytes.len() {
                let Some((cut, _)) = Packet::from_wire(&bytes[..end]) else {
                    continue;
                };
                assert!(cut.incomplete, "at {end}");
                assert!(cut.dport.is_none() || cut.dport == whole.dport);
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_harmless(
            first in proptest::sample::select(vec![0x45u8, 0x4f, 0x40, 0x60, 0x6f, 0x00]),
            rest in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..200),
        ) {
            let bytes = [&[first], rest.as_slice()].concat();
            let _ = Packet::from_wire(&bytes);
        }
    }
}
