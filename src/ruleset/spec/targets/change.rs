//! Targets that change a mark or a header field: MARK, CONNMARK, TCPMSS, TOS, DSCP, TTL, HL.

use super::super::matches::{TOS_NAME_MASK, dscp_class, dscp_value, tos_name};
use super::super::options::{Given, GivenOption, Misread, TargetExtension, opt};
use super::super::value::{MarkMask, Masked, small};
use super::super::words::Phrase;
use super::Target;

const MARK: &str = "a mark as value or value/mask";

pub(super) const EXTENSIONS: &[TargetExtension] = &[
    TargetExtension {
        name: "MARK",
        options: &[
            opt(&["set-mark"], 1),
            opt(&["set-xmark"], 1),
            opt(&["and-mark"], 1),
            opt(&["or-mark"], 1),
            opt(&["xor-mark"], 1),
        ],
        read: mark,
    },
    TargetExtension {
        name: "CONNMARK",
        options: &[
            opt(&["set-mark"], 1),
            opt(&["set-xmark"], 1),
            opt(&["and-mark"], 1),
            opt(&["or-mark"], 1),
            opt(&["xor-mark"], 1),
            opt(&["save-mark"], 0),
            opt(&["restore-mark"], 0),
            opt(&["nfmask"], 1),
            opt(&["ctmask"], 1),
            opt(&["mask"], 1),
        ],
        read: connmark,
    },
    TargetExtension {
        name: "TCPMSS",
        options: &[opt(&["set-mss"], 1), opt(&["clamp-mss-to-pmtu"], 0)],
        read: tcpmss,
    },
    TargetExtension {
        name: "TOS",
        options: &[
            opt(&["set-tos"], 1),
            opt(&["and-tos"], 1),
            opt(&["or-tos"], 1),
            opt(&["xor-tos"], 1),
        ],
        read: tos,
    },
    TargetExtension {
        name: "DSCP",
        options: &[opt(&["set-dscp"], 1), opt(&["set-dscp-class"], 1)],
        read: dscp,
    },
    TargetExtension {
        name: "TTL",
        options: &[
            opt(&["ttl-set"], 1),
            opt(&["ttl-dec"], 1),
            opt(&["ttl-inc"], 1),
        ],
        read: ttl,
    },
    TargetExtension {
        name: "HL",
        options: &[
            opt(&["hl-set"], 1),
            opt(&["hl-dec"], 1),
            opt(&["hl-inc"], 1),
        ],
        read: hl,
    },
];

/// A change of a mark: the bits of `mask` are cleared, then those of `value` are flipped. Every way to
/// set a mark comes down to this, and the save tool prints it so (`--set-xmark`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XMark {
    /// Bits that are flipped.
    pub value: u32,
    /// Bits that are cleared before.
    pub mask: u32,
}

impl XMark {
    /// The mark afterwards.
    pub fn apply(self, mark: u32) -> u32 {
        (mark & !self.mask) ^ self.value
    }

    fn of(option: &GivenOption<'_>) -> Result<Self, Misread> {
        let masked = || option.read(|text| MarkMask::read(text, u32::MAX), MARK);
        let bits = || option.read(small::<u32>, "a mark");
        Ok(match option.name {
            "set-xmark" => {
                let MarkMask { value, mask } = masked()?;
                Self { value, mask }
            }
            "set-mark" => {
                let MarkMask { value, mask } = masked()?;
                Self {
                    value,
                    mask: mask | value,
                }
            }
            "and-mark" => Self {
                value: 0,
                mask: !bits()?,
            },
            "or-mark" => {
                let value = bits()?;
                Self { value, mask: value }
            }
            "xor-mark" => Self {
                value: bits()?,
                mask: 0,
            },
            _ => return Err(option.not_read()),
        })
    }

    pub(super) fn describe(self, phrase: &mut Phrase) {
        phrase.keyed(
            false,
            "set",
            MarkMask {
                value: self.value,
                mask: self.mask,
            },
        );
    }
}

fn mark<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    match given.options.as_slice() {
        [option] => XMark::of(option).map(Target::Mark),
        _ => Err(Given::lacks("one way to set the mark")),
    }
}

/// `-j CONNMARK`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connmark {
    /// Sets the connection's mark.
    Set(XMark),
    /// The packet's mark goes to the connection.
    Save {
        /// Bits of the packet's mark that go.
        packet_mask: u32,
        /// Bits of the connection's mark that are cleared before.
        connection_mask: u32,
    },
    /// The connection's mark goes to the packet.
    Restore {
        /// Bits of the packet's mark that are cleared before.
        packet_mask: u32,
        /// Bits of the connection's mark that go.
        connection_mask: u32,
    },
}

fn connmark<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    let mut action = None;
    let (mut packet_mask, mut connection_mask) = (u32::MAX, u32::MAX);
    for option in &given.options {
        let mask = || option.read(small, "a mask");
        match option.name {
            "nfmask" => packet_mask = mask()?,
            "ctmask" => connection_mask = mask()?,
            "mask" => {
                packet_mask = mask()?;
                connection_mask = packet_mask;
            }
            _ if action.is_some() => return Err(option.misread("one thing to do with the mark")),
            _ => action = Some(option),
        }
    }
    let action = action.ok_or(Given::lacks("a way to set, save or restore the mark"))?;
    Ok(Target::Connmark(match action.name {
        "save-mark" => Connmark::Save {
            packet_mask,
            connection_mask,
        },
        "restore-mark" => Connmark::Restore {
            packet_mask,
            connection_mask,
        },
        _ => Connmark::Set(XMark::of(action)?),
    }))
}

impl Connmark {
    pub(super) fn describe(self, phrase: &mut Phrase) {
        let (word, packet, connection) = match self {
            Self::Set(mark) => return mark.describe(phrase),
            Self::Save {
                packet_mask,
                connection_mask,
            } => ("save", packet_mask, connection_mask),
            Self::Restore {
                packet_mask,
                connection_mask,
            } => ("restore", packet_mask, connection_mask),
        };
        phrase.flag(false, word);
        for (key, mask) in [("nfmask", packet), ("ctmask", connection)] {
            if mask != u32::MAX {
                phrase.keyed(false, key, format_args!("{mask:#x}"));
            }
        }
    }
}

/// `-j TCPMSS`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tcpmss {
    /// Set to that many bytes, never raised.
    Set(u16),
    /// To what the path's MTU leaves room for.
    ClampToPmtu,
}

fn tcpmss<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    match given.options.as_slice() {
        [option] if option.name == "set-mss" => {
            let mss = option.read(small, "a number of bytes")?;
            Ok(Target::Tcpmss(Tcpmss::Set(mss)))
        }
        [_] => Ok(Target::Tcpmss(Tcpmss::ClampToPmtu)),
        _ => Err(Given::lacks("--set-mss or --clamp-mss-to-pmtu")),
    }
}

impl Tcpmss {
    pub(super) fn describe(self, phrase: &mut Phrase) {
        match self {
            Self::Set(mss) => phrase.keyed(false, "mss", mss),
            Self::ClampToPmtu => phrase.flag(false, "clamp-to-pmtu"),
        }
    }
}

/// `-j TOS`: the bits of `mask` are cleared, then those of `value` are flipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TosChange {
    /// Bits that are flipped.
    pub value: u8,
    /// Bits that are cleared before.
    pub mask: u8,
}

fn tos<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    let [option] = given.options.as_slice() else {
        return Err(Given::lacks("one way to set the type of service"));
    };
    let bits = || option.read(small::<u8>, "a number from 0 to 255");
    let (value, mask) = match option.name {
        "set-tos" => {
            let named = tos_name(option.value()).map(|value| (value, TOS_NAME_MASK));
            let masked = || Masked::<u8>::read(option.value(), u8::MAX).map(|m| (m.value, m.mask));
            named
                .or_else(masked)
                .ok_or(option.misread("a value, value/mask or name"))?
        }
        "and-tos" => (0, !bits()?),
        "or-tos" => {
            let value = bits()?;
            (value, value)
        }
        "xor-tos" => (bits()?, 0),
        _ => return Err(option.not_read()),
    };
    Ok(Target::Tos(TosChange { value, mask }))
}

impl TosChange {
    pub(super) fn describe(self, phrase: &mut Phrase) {
        let masked = Masked::<u8> {
            value: self.value,
            mask: self.mask,
        };
        phrase.keyed(false, "set-tos", masked);
    }
}

fn dscp<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    let [option] = given.options.as_slice() else {
        return Err(Given::lacks("--set-dscp or --set-dscp-class"));
    };
    let value = match option.name {
        "set-dscp" => option.read(dscp_value, "a code point from 0 to 0x3f"),
        _ => option.read(dscp_class, "a DiffServ class such as EF or AF41"),
    }?;
    Ok(Target::Dscp(value))
}

/// What TTL and HL do with the number of hops left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HopChange {
    /// Set.
    Set(u8),
    /// Less by so many.
    Decrement(u8),
    /// More by so many.
    Increment(u8),
}

impl HopChange {
    fn of(given: &Given<'_>) -> Result<Self, Misread> {
        let [option] = given.options.as_slice() else {
            return Err(Given::lacks("one change: -set, -dec or -inc"));
        };
        let make = match option.name.rsplit('-').next() {
            Some("dec") => Self::Decrement,
            Some("inc") => Self::Increment,
            _ => Self::Set,
        };
        option.read(|text| small(text).map(make), "a number from 0 to 255")
    }

    pub(super) fn describe(self, key: &str, phrase: &mut Phrase) {
        let (sign, hops) = match self {
            Self::Set(hops) => ("", hops),
            Self::Decrement(hops) => ("-", hops),
            Self::Increment(hops) => ("+", hops),
        };
        phrase.keyed(false, key, format_args!("{sign}{hops}"));
    }
}

fn ttl<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    HopChange::of(given).map(Target::Ttl)
}

fn hl<'a>(given: &Given<'a>) -> Result<Target<'a>, Misread> {
    HopChange::of(given).map(Target::Hl)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_set_a_mark_is_an_xmark() {
        let cases = [
            (
                XMark {
                    value: 0x1,
                    mask: u32::MAX,
                },
                0xff,
                0x1,
            ),
            (
                XMark {
                    value: 0x10,
                    mask: 0xf0,
                },
                0xff,
                0x1f,
            ),
            (
                XMark {
                    value: 0,
                    mask: !0xf0,
                },
                0xff,
                0xf0,
            ),
            (
                XMark {
                    value: 0x100,
                    mask: 0x100,
                },
                0xff,
                0x1ff,
            ),
            (
                XMark {
                    value: 0x1,
                    mask: 0,
                },
                0x3,
                0x2,
            ),
        ];
        for (change, before, after) in cases {
            assert_eq!(change.apply(before), after);
        }
    }
}
