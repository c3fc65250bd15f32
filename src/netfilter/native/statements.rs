//! What native rules do: their statements in the words of iptables, or as things that may happen.
//!
//! Source of the numbers: linux/netfilter/nf_tables.h.

use std::fmt::Write;

use super::lossy::{data_value, find, number};
use super::reader::{Held, Reader};
use super::rules::Does;
use super::words::{Item, address as address_words, host_order};
use crate::netfilter::netlink::text;
use crate::ruleset::{Effects, Family};

impl Reader {
    /// The target that sets a mark to what a register holds.
    pub(super) fn new_mark(&self, register: Option<u32>, own: Item) -> Option<String> {
        let name = match own {
            Item::Mark => "MARK",
            _ => "CONNMARK",
        };
        Some(match (self.held(register)?, own) {
            (Held::Value(value), _) => {
                format!("-j {name} --set-xmark {:#x}/0xffffffff", host_order(value)?)
            }
            (Held::Masked(item, mask, xor), _) if *item == own => {
                let (mask, xor) = (host_order(mask)?, host_order(xor)?);
                format!("-j {name} --set-xmark {xor:#x}/{:#x}", !mask)
            }
            (Held::Item(Item::CtMark), Item::Mark) => {
                "-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff".to_owned()
            }
            (Held::Item(Item::Mark), Item::CtMark) => {
                "-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff".to_owned()
            }
            _ => return None,
        })
    }

    pub(super) fn immediate(&mut self, data: &[u8]) {
        let register = number(data, 1);
        if register != Some(0) {
            let value = find(data, 2).and_then(data_value);
            self.hold(register, value.map(|value| Held::Value(value.to_vec())));
            return;
        }
        let verdict = find(data, 2)
            .and_then(|data| find(data, 2))
            .unwrap_or_default();
        let chain = find(verdict, 2).map(|name| text(name).to_vec());
        match (number(verdict, 1).map(u32::cast_signed), chain) {
            (Some(0), _) => self.target("-j DROP".to_owned()),
            (Some(1), _) => self.target("-j ACCEPT".to_owned()),
            (Some(-5), _) => self.target("-j RETURN".to_owned()),
            (Some(-1), _) => {}
            (Some(code @ (-3 | -4)), Some(chain)) => self.part(Does::Call {
                chain,
                goto: code == -4,
            }),
            _ => self.may(Effects {
                ends: true,
                ..Effects::default()
            }),
        }
    }

    pub(super) fn reject(&mut self, data: &[u8]) {
        let code = find(data, 2).and_then(|code| code.first().copied());
        let v6 = self.family.or(self.only) == Some(Family::V6);
        let with = match (number(data, 1), code) {
            (Some(1), _) => "tcp-reset",
            (Some(0), Some(code)) if v6 => match code {
                0 => "icmp6-no-route",
                1 => "icmp6-adm-prohibited",
                3 => "icmp6-addr-unreachable",
                5 => "icmp6-policy-fail",
                6 => "icmp6-reject-route",
                _ => "icmp6-port-unreachable",
            },
            (Some(0), Some(code)) => match code {
                0 => "icmp-net-unreachable",
                1 => "icmp-host-unreachable",
                2 => "icmp-proto-unreachable",
                9 => "icmp-net-prohibited",
                10 => "icmp-host-prohibited",
                13 => "icmp-admin-prohibited",
                _ => "icmp-port-unreachable",
            },
            // For both families: the most usual of each.
            _ => {
                self.target("-j REJECT".to_owned());
                return;
            }
        };
        self.target(format!("-j REJECT --reject-with {with}"));
    }

    pub(super) fn nat(&mut self, data: &[u8]) {
        let dnat = number(data, 1) == Some(1);
        match self.translation(data, dnat) {
            Some(target) => self.target(target),
            None => self.may_nat(dnat),
        }
    }

    /// `-j DNAT --to-destination …`, where what to is in the rule.
    fn translation(&self, data: &[u8], dnat: bool) -> Option<String> {
        let family = match number(data, 2)? {
            2 => Family::V4,
            10 => Family::V6,
            _ => return None,
        };
        let value = |kind| match number(data, kind).map(|register| self.held(Some(register))) {
            None => Some(None),
            Some(Some(Held::Value(bytes))) => Some(Some(bytes.as_slice())),
            Some(_) => None,
        };
        let address = |bytes: &[u8]| address_words(family, bytes);
        let port = |bytes: &[u8]| Some(u16::from_be_bytes(bytes.try_into().ok()?));
        // Only plain translations: a flag may make it a mapping of networks or a random choice.
        let is_plain = number(data, 7).is_none_or(|flags| flags & !3 == 0);
        let addresses = (value(3)?, value(4)?);
        let ports = (value(5)?, value(6)?);
        let mut to = match addresses {
            (Some(first), Some(last)) if first != last => {
                let v6 = family == Family::V6;
                let (first, last) = (address(first)?, address(last)?);
                if v6 && ports.0.is_some() {
                    return None;
                }
                format!("{first}-{last}")
            }
            (Some(one), _) if family == Family::V6 && ports.0.is_some() => {
                format!("[{}]", address(one)?)
            }
            (Some(one), _) => address(one)?,
            (None, _) => String::new(),
        };
        match ports {
            (Some(first), Some(last)) if first != last => {
                let _ = write!(to, ":{}-{}", port(first)?, port(last)?);
            }
            (Some(one), _) => {
                let _ = write!(to, ":{}", port(one)?);
            }
            (None, _) => {}
        }
        let option = if dnat {
            "-j DNAT --to-destination"
        } else {
            "-j SNAT --to-source"
        };
        (is_plain && !to.is_empty()).then(|| format!("{option} {to}"))
    }

    pub(super) fn redirect(&mut self, data: &[u8]) {
        let port = |kind| match self.held(number(data, kind)) {
            Some(Held::Value(bytes)) => Some(u16::from_be_bytes(bytes.as_slice().try_into().ok()?)),
            _ => None,
        };
        let target = match (number(data, 1), number(data, 2)) {
            (None, _) => Some("-j REDIRECT".to_owned()),
            (Some(_), last) => port(1).and_then(|first| match last {
                None => Some(format!("-j REDIRECT --to-ports {first}")),
                Some(_) => Some(format!("-j REDIRECT --to-ports {first}-{}", port(2)?)),
            }),
        };
        match target {
            Some(target) => self.target(target),
            None => self.may_nat(true),
        }
    }
}

/// What writing to those bytes of a header changes.
pub(super) fn written(family: Option<Family>, base: u32, offset: u32, length: u32) -> Effects {
    let end = offset.saturating_add(length);
    let within = |first: u32, last: u32| base == 1 && offset >= first && end <= last;
    let none = Effects::default();
    let everything = Effects {
        ends: false,
        mark: false,
        connmark: false,
        state: false,
        ..Effects::all(false)
    };
    match family {
        Some(Family::V4) if within(1, 2) => Effects { tos: true, ..none },
        // The checksum is written with it.
        Some(Family::V4) if within(8, 9) => Effects { hops: true, ..none },
        Some(Family::V6) if within(0, 4) => Effects { tos: true, ..none },
        Some(Family::V6) if within(7, 8) => Effects { hops: true, ..none },
        _ => everything,
    }
}
