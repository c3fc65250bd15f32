//! The names of fields, as numbers.
//!
//! A line has some twenty fields and there are some forty names; comparing each with each as text is
//! what a parser of log lines spends its time on. No two names share their first eight bytes, so those,
//! as one number, are the name, and telling names apart is a handful of integer comparisons.

/// A field's name: its first eight bytes, padded with zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    /// Of any name.
    pub(super) const fn of(name: &[u8]) -> Self {
        let mut value = 0;
        let mut at = 0;
        while at < name.len() && at < 8 {
            value |= (name[at] as u64) << (8 * at);
            at += 1;
        }
        Self(value)
    }

    /// Splits `KEY=value`; `None` for a word without a sign.
    pub(super) fn split(word: &[u8]) -> Option<(Self, &[u8])> {
        // Names are short, so looking byte by byte is quicker than anything cleverer.
        let sign = word.iter().position(|byte| *byte == b'=')?;
        let (name, value) = word.split_at(sign);
        Some((Self::of(name), value.get(1..)?))
    }
}

macro_rules! keys {
    ($($constant:ident = $name:literal),+ $(,)?) => {
        impl Key {
            $(
                #[doc = concat!("`", $name, "=`")]
                pub(super) const $constant: Self = Self::of($name.as_bytes());
            )+
        }
    };
}

keys! {
    PHYSIN = "PHYSIN",
    PHYSOUT = "PHYSOUT",
    MACSRC = "MACSRC",
    MACDST = "MACDST",
    MACPROTO = "MACPROTO",
    MAC = "MAC",
    VPROTO = "VPROTO",
    VID = "VID",
    TUNNEL = "TUNNEL",
    SRC = "SRC",
    DST = "DST",
    LEN = "LEN",
    TOS = "TOS",
    TC = "TC",
    PREC = "PREC",
    HOPLIMIT = "HOPLIMIT",
    TTL = "TTL",
    FLOWLBL = "FLOWLBL",
    ID = "ID",
    PROTO = "PROTO",
    SPT = "SPT",
    TYPE = "TYPE",
    SPI = "SPI",
    DPT = "DPT",
    CODE = "CODE",
    SEQ = "SEQ",
    PARAMETER = "PARAMETER",
    GATEWAY = "GATEWAY",
    POINTER = "POINTER",
    ACK = "ACK",
    WINDOW = "WINDOW",
    RES = "RES",
    URGP = "URGP",
    MTU = "MTU",
    UID = "UID",
    GID = "GID",
    MARK = "MARK",
}
