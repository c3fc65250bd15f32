//! Values that are sets of words: connection states, TCP flags, address types.
//!
//! Each set is a few bits and a table of its words, made by one macro, so that reading, showing and
//! membership are written once.

use std::fmt;

use super::list;

/// What all sets of words can do.
pub trait WordSet: Copy + Eq {
    /// The words and the bits they stand for, in the order in which a set is shown. A word may stand for
    /// several bits (`ALL`); such a word is read but not shown.
    const WORDS: &'static [(&'static str, u32)];

    /// From bits; unknown bits are dropped by nobody, so give known ones.
    fn from_bits(bits: u32) -> Self;

    /// The bits.
    fn bits(self) -> u32;

    /// Whether every bit of `other` is in this one.
    fn contains(self, other: Self) -> bool {
        self.bits() & other.bits() == other.bits()
    }

    /// Whether the two have a bit in common.
    fn intersects(self, other: Self) -> bool {
        self.bits() & other.bits() != 0
    }

    /// No bit at all.
    fn is_empty(self) -> bool {
        self.bits() == 0
    }

    /// Read a comma-separated list of words, in any case.
    fn read(text: &[u8]) -> Option<Self> {
        let mut bits = 0;
        for word in list(text) {
            let row = Self::WORDS
                .iter()
                .find(|row| row.0.as_bytes().eq_ignore_ascii_case(word))?;
            bits |= row.1;
        }
        Some(Self::from_bits(bits))
    }

    /// Write the words of the set, comma-separated; `none` if it is empty.
    fn show(self, f: &mut fmt::Formatter<'_>, none: &str) -> fmt::Result {
        let mut left = self.bits();
        if left == 0 {
            return f.write_str(none);
        }
        let mut comma = "";
        for (word, bits) in Self::WORDS {
            if bits.is_power_of_two() && left & bits != 0 {
                write!(f, "{comma}{word}")?;
                left &= !bits;
                comma = ",";
            }
        }
        Ok(())
    }
}

macro_rules! word_set {
    ($(#[$doc:meta])* $name:ident, none $none:literal, $($word:literal = $constant:ident $bits:expr),+ $(; $($also:literal = $also_bits:expr),+)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name(u32);

        impl $name {
            $(
                #[doc = concat!("`", $word, "`")]
                pub const $constant: Self = Self($bits);
            )+
        }

        impl WordSet for $name {
            const WORDS: &'static [(&'static str, u32)] =
                &[$(($word, $bits)),+ $(, $(($also, $also_bits)),+)?];

            fn from_bits(bits: u32) -> Self {
                Self(bits)
            }

            fn bits(self) -> u32 {
                self.0
            }
        }

        impl std::ops::BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.show(f, $none)
            }
        }
    };
}

word_set! {
    /// Connection states, of `--state` and `--ctstate`. SNAT and DNAT are conntrack's only.
    StateSet, none "NONE",
    "INVALID" = INVALID 1,
    "NEW" = NEW 2,
    "RELATED" = RELATED 4,
    "ESTABLISHED" = ESTABLISHED 8,
    "UNTRACKED" = UNTRACKED 16,
    "SNAT" = SNAT 32,
    "DNAT" = DNAT 64
}

word_set! {
    /// Connection status, of `--ctstatus`.
    StatusSet, none "NONE",
    "EXPECTED" = EXPECTED 1,
    "SEEN_REPLY" = SEEN_REPLY 2,
    "ASSURED" = ASSURED 4,
    "CONFIRMED" = CONFIRMED 8;
    "NONE" = 0
}

word_set! {
    /// TCP header flags, with the bits that they have in the header.
    TcpFlags, none "NONE",
    "FIN" = FIN 0x01,
    "SYN" = SYN 0x02,
    "RST" = RST 0x04,
    "PSH" = PSH 0x08,
    "ACK" = ACK 0x10,
    "URG" = URG 0x20;
    "ALL" = 0x3f, "NONE" = 0
}

impl TcpFlags {
    /// FIN, SYN, RST and ACK: what `--syn` looks at.
    pub const SYN_TEST: Self = Self(0x17);
}

word_set! {
    /// Kinds of address as the routing table has them (`RTN_*` in linux/rtnetlink.h).
    AddrTypes, none "NONE",
    "UNSPEC" = UNSPEC 1,
    "UNICAST" = UNICAST 2,
    "LOCAL" = LOCAL 4,
    "BROADCAST" = BROADCAST 8,
    "ANYCAST" = ANYCAST 16,
    "MULTICAST" = MULTICAST 32,
    "BLACKHOLE" = BLACKHOLE 64,
    "UNREACHABLE" = UNREACHABLE 128,
    "PROHIBIT" = PROHIBIT 256,
    "THROW" = THROW 512,
    "NAT" = NAT 1024,
    "XRESOLVE" = XRESOLVE 2048
}

word_set! {
    /// DCCP packet types, bit n for type n (RFC 4340, section 5.1).
    DccpTypes, none "NONE",
    "REQUEST" = REQUEST 1,
    "RESPONSE" = RESPONSE 2,
    "DATA" = DATA 4,
    "ACK" = ACK 8,
    "DATAACK" = DATAACK 16,
    "CLOSEREQ" = CLOSEREQ 32,
    "CLOSE" = CLOSE 64,
    "RESET" = RESET 128,
    "SYNC" = SYNC 256,
    "SYNCACK" = SYNCACK 512,
    "INVALID" = INVALID 1024
}

word_set! {
    /// What makes packets share a hashlimit bucket.
    HashModes, none "",
    "srcip" = SRCIP 1,
    "srcport" = SRCPORT 2,
    "dstip" = DSTIP 4,
    "dstport" = DSTPORT 8
}

word_set! {
    /// Days of the week, bit 1 for Monday.
    Weekdays, none "",
    "Mon" = MON 0x02,
    "Tue" = TUE 0x04,
    "Wed" = WED 0x08,
    "Thu" = THU 0x10,
    "Fri" = FRI 0x20,
    "Sat" = SAT 0x40,
    "Sun" = SUN 0x80;
    "1" = 0x02, "2" = 0x04, "3" = 0x08, "4" = 0x10, "5" = 0x20, "6" = 0x40, "7" = 0x80,
    "Mo" = 0x02, "Tu" = 0x04, "We" = 0x08, "Th" = 0x10, "Fr" = 0x20, "Sa" = 0x40, "Su" = 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_read_and_show() {
        let states = StateSet::read(b"related,ESTABLISHED").unwrap();
        assert_eq!(states, StateSet::RELATED | StateSet::ESTABLISHED);
        assert_eq!(states.to_string(), "RELATED,ESTABLISHED");
        assert!(states.contains(StateSet::RELATED) && !states.contains(StateSet::NEW));
        assert_eq!(StateSet::read(b"RELATED,"), None);
        assert_eq!(
            TcpFlags::read(b"ALL").unwrap().to_string(),
            "FIN,SYN,RST,PSH,ACK,URG"
        );
        assert_eq!(TcpFlags::read(b"NONE").unwrap().to_string(), "NONE");
        assert_eq!(Weekdays::read(b"1,Tue").unwrap().to_string(), "Mon,Tue");
    }
}
