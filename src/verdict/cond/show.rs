//! Conditions in words, as `explain` says why a rule was passed by.

use std::fmt;

use super::{Cond, End, Odd};
use crate::flow::{Protocol, TcpFlags};
use crate::verdict::state::{address_of, ct};

fn not(invert: bool) -> &'static str {
    if invert { "not " } else { "" }
}

fn end_word(end: End, src: &'static str, dst: &'static str) -> &'static str {
    match end {
        End::Src => src,
        End::Dst => dst,
    }
}

impl Cond {
    /// In a few words: `dport 443`, `not in lo`. `v6` is the family of the rule. Names in it are other
    /// people's: strip before drawing.
    pub(in super::super) fn words(&self, v6: bool) -> String {
        Words { cond: self, v6 }.to_string()
    }
}

impl Cond {
    /// Why it could not be told, when it could not.
    pub(in super::super) fn doubt(&self) -> &'static str {
        let Self::Odd(odd) = self else {
            return "not said of the packet, or changed to something not known";
        };
        match &**odd {
            Odd::Ct(_) => "what conntrack knows is not said",
            Odd::Addrtype(test) if test.is_limited() => {
                "which interface holds that address is not known, or by which the packet goes is not said"
            }
            Odd::Addrtype(_) => "the box's own addresses are not known",
            Odd::Rpfilter(_) => {
                "the way back to its source is not known, or by which it comes is not said"
            }
            Odd::Physdev(_) => "whether it came over a bridge is not known",
            Odd::AnyNet { .. } => "an address is not said, or is a name in the rule",
            Odd::NotBoth { .. } => {
                "iptables-nft puts both ports into one comparison: the kernel may match when only one differs"
            }
            Odd::Set(_) => "the set's members, or the packet's part, are not known",
            Odd::Time(_) => "the moment is not said",
            Odd::Bytes(_) => "the packet's bytes are not known",
            Odd::Owner(_) => "whose socket sent it is not known",
            Odd::Native(test) => test.why,
            Odd::Unknown { .. } => "",
        }
    }
}

struct Words<'a> {
    cond: &'a Cond,
    v6: bool,
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cond {
            Cond::Never(why) => f.write_str(why),
            Cond::Proto { number, invert } => {
                write!(f, "{}{}", not(*invert), Protocol(*number))
            }
            Cond::Net {
                end,
                bits,
                mask,
                invert,
            } => {
                let address = address_of(*bits, self.v6);
                write!(
                    f,
                    "{}{} {address}",
                    not(*invert),
                    end_word(*end, "src", "dst")
                )?;
                let all: u128 = if self.v6 { u128::MAX } else { u32::MAX.into() };
                let wide = if self.v6 { *mask } else { *mask << 96 };
                match (*mask == all, wide.leading_ones() == wide.count_ones()) {
                    (true, _) => Ok(()),
                    (_, true) => write!(f, "/{}", wide.leading_ones()),
                    _ => write!(f, "/{}", address_of(*mask, self.v6)),
                }
            }
            Cond::Range {
                end,
                first,
                last,
                invert,
            } => {
                let (first, last) = (address_of(*first, self.v6), address_of(*last, self.v6));
                write!(
                    f,
                    "{}{} {first}-{last}",
                    not(*invert),
                    end_word(*end, "src", "dst")
                )
            }
            Cond::Iface {
                out,
                bits,
                mask,
                invert,
            } => iface(f, *out, *bits, *mask, *invert),
            Cond::Fragment { invert } => write!(f, "{}a later fragment", not(*invert)),
            Cond::Header(number) => write!(f, "{} with its header", Protocol(*number)),
            Cond::Port { end, ports, invert } => {
                write!(
                    f,
                    "{}{} {ports}",
                    not(*invert),
                    end_word(*end, "sport", "dport")
                )
            }
            Cond::Ports(test) => {
                use crate::ruleset::spec::matches::PortSide;
                let side = match test.side {
                    PortSide::Source => "sports",
                    PortSide::Destination => "dports",
                    PortSide::Either => "ports",
                };
                let ports: Vec<_> = test.ports.value.iter().map(ToString::to_string).collect();
                write!(f, "{}{side} {}", not(test.ports.invert), ports.join(","))
            }
            Cond::Flags { mask, set, invert } => {
                let (set, mask) = (TcpFlags(*set), TcpFlags(*mask));
                write!(f, "{}flags [{set}] of [{mask}]", not(*invert))
            }
            Cond::Icmp { kind, code, invert } => match (kind, code) {
                (None, _) => write!(f, "{}any icmp type", not(*invert)),
                (Some(kind), None) => write!(f, "{}icmp type {kind}", not(*invert)),
                (Some(kind), Some(code)) => write!(f, "{}icmp type {kind}/{code}", not(*invert)),
            },
            Cond::State(test) => {
                let word = |bit, word: &'static str| (test.states & bit != 0).then_some(word);
                let words: Vec<_> = [
                    word(ct::INVALID, "INVALID"),
                    word(ct::NEW, "NEW"),
                    word(ct::RELATED, "RELATED"),
                    word(ct::ESTABLISHED, "ESTABLISHED"),
                    word(ct::UNTRACKED, "UNTRACKED"),
                    test.snat.then_some("SNAT"),
                    test.dnat.then_some("DNAT"),
                ]
                .into_iter()
                .flatten()
                .collect();
                write!(f, "{}state {}", not(test.invert), words.join(","))
            }
            Cond::Mark {
                value,
                mask,
                invert,
            } => {
                write!(f, "{}mark {value:#x}/{mask:#x}", not(*invert))
            }
            Cond::Connmark {
                value,
                mask,
                invert,
            } => {
                write!(f, "{}connmark {value:#x}/{mask:#x}", not(*invert))
            }
            Cond::Length { bounds, invert } => write!(f, "{}length {bounds}", not(*invert)),
            Cond::Hops { test, invert } => {
                write!(
                    f,
                    "{}{} {test}",
                    not(*invert),
                    if self.v6 { "hop limit" } else { "ttl" }
                )
            }
            Cond::Tos {
                value,
                mask,
                invert,
            } => {
                write!(f, "{}tos {value:#04x}/{mask:#04x}", not(*invert))
            }
            Cond::Mac { mac, invert } => {
                write!(f, "{}mac {}", not(*invert), crate::flow::Mac(*mac))
            }
            Cond::Link { kind, invert } => {
                let word = match kind {
                    crate::verdict::LinkType::Unicast => "unicast",
                    crate::verdict::LinkType::Broadcast => "broadcast",
                    crate::verdict::LinkType::Multicast => "multicast",
                };
                write!(f, "{}sent to this link address kind: {word}", not(*invert))
            }
            Cond::Odd(odd) => odd_words(f, odd),
        }
    }
}

fn iface(
    f: &mut fmt::Formatter<'_>,
    out: bool,
    bits: u128,
    mask: u128,
    invert: bool,
) -> fmt::Result {
    let bytes = bits.to_be_bytes();
    let name: Vec<u8> = bytes.into_iter().take_while(|byte| *byte != 0).collect();
    let plus = if mask == u128::MAX { "" } else { "+" };
    let side = if out { "out" } else { "in" };
    write!(
        f,
        "{}{side} {}{plus}",
        not(invert),
        String::from_utf8_lossy(&name)
    )
}

fn odd_words(f: &mut fmt::Formatter<'_>, odd: &Odd) -> fmt::Result {
    match odd {
        Odd::Ct(test) => f.write_str(&test.text),
        Odd::Addrtype(test) => f.write_str(&test.text),
        Odd::Physdev(test) => f.write_str(&test.text),
        Odd::Rpfilter(test) => f.write_str(&test.text),
        Odd::AnyNet {
            dst, invert, text, ..
        } => {
            write!(
                f,
                "{}{} {text}",
                not(*invert),
                if *dst { "dst" } else { "src" }
            )
        }
        Odd::Set(test) => f.write_str(&test.text),
        Odd::Time(test) => f.write_str(&test.text),
        Odd::Bytes(test) => f.write_str(&test.text),
        Odd::NotBoth { sport, dport } => write!(f, "not sport {sport}, not dport {dport}"),
        Odd::Owner(test) => f.write_str(&test.text),
        Odd::Native(test) => write!(f, "{}: {}", test.whose, test.what),
        Odd::Unknown { what, why } => write!(f, "{what}: {why}"),
    }
}
