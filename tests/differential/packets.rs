//! Random packets: their bytes, and what is told the engine about them.

use std::net::IpAddr;

use ruletop::flow::{IfName, Mac, Protocol, TcpFlags};
use ruletop::ruleset::Family;
use ruletop::verdict::{CtState, LinkType, Path, Probe};

use crate::dice::Dice;
use crate::place::local;

pub struct Sample {
    pub probe: Probe,
    pub bytes: Vec<u8>,
}

pub const SENDERS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 0x11], [2, 0, 0, 0, 0, 0x12]];
pub const DPORTS: [u16; 6] = [22, 53, 80, 443, 5353, 8080];

/// Somebody beyond: near by eth0, or far by eth1.
pub fn foreign(family: Family, dice: &mut Dice) -> IpAddr {
    let low = u32::try_from(dice.below(4000)).unwrap();
    match family {
        Family::V4 => {
            let near = 0x0a00_0032 + low % 100;
            let base = dice.pick(&[0xcb00_7100_u32, 0xc633_6400, 0x0a01_0032]);
            IpAddr::V4(
                if dice.one_in(3) {
                    near
                } else {
                    base + low % 100
                }
                .into(),
            )
        }
        Family::V6 => {
            let base = dice.pick(&[
                0xfd00_0000_0000_0000_0000_0000_0000_0100_u128,
                0x2001_0db8_0000_0000_0000_0000_0000_0000,
                0xfd01_0000_0000_0000_0000_0000_0000_0100,
            ]);
            IpAddr::V6((base + u128::from(low)).into())
        }
    }
}

/// By which device this box sends to an address.
fn device_to(address: IpAddr) -> &'static str {
    let near = match address {
        IpAddr::V4(address) => address.octets()[..3] == [10, 0, 0],
        IpAddr::V6(address) => address.octets()[..2] == [0xfd, 0],
    };
    if near { "eth0" } else { "eth1" }
}

/// What a connection tracker says of a first packet that belongs to nothing (nf_conntrack_proto_*.c).
fn first_state(probe: &Probe) -> CtState {
    match probe.proto.unwrap() {
        Protocol::TCP => match probe.tcp_flags.unwrap().0 & 0x17 {
            // A SYN, and an ACK, which is picked up in the middle.
            0x02 | 0x10 => CtState::New,
            _ => CtState::Invalid,
        },
        Protocol::ICMP => match probe.icmp_type.unwrap() {
            8 | 13 => CtState::New,
            _ => CtState::Invalid,
        },
        Protocol::ICMPV6 => match probe.icmp_type.unwrap() {
            128 => CtState::New,
            133..=136 => CtState::Untracked,
            _ => CtState::Invalid,
        },
        _ => CtState::New,
    }
}

/// A packet on one of the ways. Fragments only where nothing puts them together.
pub fn packet(family: Family, tracked: bool, dice: &mut Dice) -> Sample {
    let path = dice.pick(&[Path::Input, Path::Input, Path::Forward, Path::Output]);
    let mut probe = Probe::new(family, path);
    let ours = local(family);
    let (mut src, mut dst) = (foreign(family, dice), foreign(family, dice));
    match path {
        Path::Input => dst = ours[dice.below(2)],
        Path::Forward => {
            while device_to(dst) == "eth0" {
                dst = foreign(family, dice);
            }
        }
        Path::Output => src = ours[dice.below(3)],
    }
    if path != Path::Output {
        probe.input = IfName::new(b"eth0");
        probe.mac = Some(Mac(dice.pick(&SENDERS)));
        probe.link = Some(LinkType::Unicast);
    }
    if path != Path::Input {
        probe.output = IfName::new(device_to(dst).as_bytes());
    }
    (probe.src, probe.dst) = (Some(src), Some(dst));
    let icmp = if family == Family::V4 {
        Protocol::ICMP
    } else {
        Protocol::ICMPV6
    };
    let proto = dice.pick(&[
        Protocol::TCP,
        Protocol::TCP,
        Protocol::TCP,
        Protocol::UDP,
        Protocol::UDP,
        icmp,
        Protocol::UDPLITE,
        Protocol(99),
    ]);
    probe.proto = Some(proto);
    probe.ttl = Some(dice.pick(&[1, 2, 3, 63, 64, 128, 255]));
    probe.tos = Some(dice.pick(&[0, 0, 0x10, 0x08, 0x2e << 2, 0x01, 0x02, 0x03, 0xfc]));
    probe.mark = Some(if path == Path::Output {
        dice.pick(&[0, 1, 0x10, 0xff])
    } else {
        0
    });
    if !tracked && dice.one_in(8) && (family == Family::V6 || path != Path::Input) {
        probe.fragment = true;
    }
    if probe.fragment {
        // What stands where a header would be says nothing.
    } else if proto.has_ports() {
        probe.sport = Some(u16::try_from(20_000 + dice.below(40_000)).unwrap());
        probe.dport = Some(dice.pick(&DPORTS));
        if proto == Protocol::TCP {
            let flags = [
                0x02, 0x02, 0x02, 0x10, 0x12, 0x04, 0x14, 0x11, 0x18, 0x00, 0x29, 0xc2, 0x42,
            ];
            probe.tcp_flags = Some(TcpFlags(dice.pick(&flags)));
        }
    } else if proto == Protocol::ICMP {
        probe.icmp_type = Some(dice.pick(&[8, 8, 0, 3, 11, 13]));
        probe.icmp_code = Some(dice.pick(&[0, 0, 1, 3]));
    } else if proto == Protocol::ICMPV6 {
        // Neighbour discovery would change the box's mind about its neighbours.
        probe.icmp_type = Some(dice.pick(&[128, 128, 129, 1, 3, 133]));
        probe.icmp_code = Some(dice.pick(&[0, 0, 1, 3]));
    }
    if !probe.fragment {
        probe.ctstate = Some(first_state(&probe));
    }
    let number = u32::try_from(dice.below(1 << 31)).unwrap();
    finish(probe, number, 0, dice.below(64))
}

/// The bytes of a packet, and what can be told of them.
pub fn finish(mut probe: Probe, seq: u32, ack: u32, extra: usize) -> Sample {
    let mut payload = transport(&probe, seq, ack);
    payload.extend(b"GET /secret HTTP".iter().cycle().take(extra));
    if probe.proto == Some(Protocol::UDP) && !probe.fragment {
        let length = u16::try_from(payload.len()).unwrap();
        payload[4..6].copy_from_slice(&length.to_be_bytes());
    }
    let bytes = match probe.family {
        Family::V4 => four(&probe, &payload),
        Family::V6 => six(&probe, &payload),
    };
    probe.length = Some(u32::try_from(bytes.len()).unwrap());
    probe.bytes = Some(bytes.clone().into_boxed_slice());
    Sample { probe, bytes }
}

fn transport(probe: &Probe, seq: u32, ack: u32) -> Vec<u8> {
    let mut out = Vec::new();
    if probe.fragment {
        return vec![0; 16];
    }
    match probe.proto.unwrap() {
        Protocol::TCP => {
            out.extend(probe.sport.unwrap().to_be_bytes());
            out.extend(probe.dport.unwrap().to_be_bytes());
            out.extend(seq.to_be_bytes());
            out.extend(ack.to_be_bytes());
            out.extend([0x50, probe.tcp_flags.unwrap().0, 0x40, 0, 0, 0, 0, 0]);
        }
        Protocol::UDP => {
            out.extend(probe.sport.unwrap().to_be_bytes());
            out.extend(probe.dport.unwrap().to_be_bytes());
            out.extend([0; 4]);
        }
        // Its checksum covers all of it, which a coverage of 8 says less.
        Protocol::UDPLITE => {
            out.extend(probe.sport.unwrap().to_be_bytes());
            out.extend(probe.dport.unwrap().to_be_bytes());
            out.extend([0, 8, 0x12, 0x34]);
        }
        Protocol::ICMP | Protocol::ICMPV6 => {
            out.extend([probe.icmp_type.unwrap(), probe.icmp_code.unwrap(), 0, 0]);
            // Identifier and sequence number.
            out.extend([seq.to_be_bytes()[2], seq.to_be_bytes()[3], 0, 1]);
        }
        _ => out.extend([0; 8]),
    }
    out
}

fn four(probe: &Probe, payload: &[u8]) -> Vec<u8> {
    let (Some(IpAddr::V4(src)), Some(IpAddr::V4(dst))) = (probe.src, probe.dst) else {
        panic!("no IPv4 packet");
    };
    let length = u16::try_from(20 + payload.len()).unwrap();
    let mut out = vec![0x45, probe.tos.unwrap()];
    out.extend(length.to_be_bytes());
    out.extend([0, 7]);
    out.extend(if probe.fragment { 100_u16 } else { 0 }.to_be_bytes());
    out.extend([probe.ttl.unwrap(), probe.proto.unwrap().0, 0, 0]);
    out.extend(src.octets());
    out.extend(dst.octets());
    let sum: u32 = out
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    out[10..12].copy_from_slice(&(!folded).to_be_bytes());
    out.extend(payload);
    out
}

fn six(probe: &Probe, payload: &[u8]) -> Vec<u8> {
    let (Some(IpAddr::V6(src)), Some(IpAddr::V6(dst))) = (probe.src, probe.dst) else {
        panic!("no IPv6 packet");
    };
    let mut body = Vec::new();
    let mut next = probe.proto.unwrap().0;
    if probe.fragment {
        // Offset 800, more to come.
        body.extend([next, 0, 0x03, 0x21, 0, 0, 0, 9]);
        next = 44;
    }
    body.extend(payload);
    let class = probe.tos.unwrap();
    let mut out = vec![0x60 | class >> 4, class << 4, 0, 0];
    out.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    out.extend([next, probe.ttl.unwrap()]);
    out.extend(src.octets());
    out.extend(dst.octets());
    out.extend(body);
    out
}
