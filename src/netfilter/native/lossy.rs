//! Whether the saved text of an nft rule tells all that the rule says.
//!
//! `iptables-nft-save` knows ten kinds of expressions by name and refuses a whole table when it meets
//! another one. Of the ten it reads what iptables itself writes, and of anything else it keeps what it
//! happened to understand: a set lookup vanishes, a second test of a field replaces the first, a range of
//! addresses becomes its last one; exit code 0. So a rule is believed only when every expression stands
//! in a shape that iptables-nft writes itself, or that was seen to be printed truthfully (1.8.9, by
//! loading and comparing). Everything else is lossy: to mark too much costs an edit by hand, to mark too
//! little costs somebody's network.
//!
//! A rule is a row of expressions (linux/netfilter/nf_tables.h): *load* a field into a register, maybe
//! mask it, *compare* it, and so on; a counter; then one statement that ends it.

use std::fmt;

use super::field::{Field, Loaded};
use crate::netfilter::netlink::{attributes, be32, be64};
use crate::netfilter::nftables::named;
use crate::ruleset::Family;

/// What the text leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A set or a map decides; the text shows the rule without it.
    Lookup,
    /// An expression that iptables has no words for.
    Expression(String),
    /// A field is tested in a way that the text does not show, or shows as another test.
    Test(Field),
    /// A field is tested twice; the text keeps one test.
    Twice(Field),
    /// A field of the packet that iptables has no words for.
    UnknownField,
    /// Several statements; the text keeps the last.
    Statements,
    /// The counter stands before a test: it counts packets that the rule does not match.
    CountsFirst,
    /// Several counters; the text shows one.
    Counters,
    /// Cannot be decoded.
    Unreadable,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup => f.write_str("a set or map decides, and the text leaves it out"),
            Self::Expression(name) => {
                write!(
                    f,
                    "it has a native {name} expression that iptables does not know"
                )
            }
            Self::Test(field) => write!(
                f,
                "it tests the {field} in a way that iptables does not print as it is"
            ),
            Self::Twice(field) => {
                write!(f, "it tests the {field} twice, and the text keeps one test")
            }
            Self::UnknownField => f.write_str(
                "it tests a field that iptables has no words for, and the text leaves it out",
            ),
            Self::Statements => f.write_str("it does several things, and the text keeps the last"),
            Self::CountsFirst => f.write_str(
                "it counts packets before it has tested them, so its counter is not its matches",
            ),
            Self::Counters => f.write_str("it has several counters, and the text shows one"),
            Self::Unreadable => f.write_str("its expressions cannot be read"),
        }
    }
}

/// Judges the expressions of one rule (the value of `NFTA_RULE_EXPRESSIONS`).
pub fn judge(family: Family, expressions: &[u8]) -> Result<(), Why> {
    let mut rule = Reader::new(family);
    for (_, expression) in attributes(expressions) {
        let (name, data) = named(expression).ok_or(Why::Unreadable)?;
        rule.read(name, data)?;
    }
    rule.end()
}

/// Whether a rule whose text is not believed may also do something that its text does not say, beside matching
/// other packets: a map gives it a verdict, it writes to the packet or to what is kept beside it, it has more
/// than one statement, or an expression that is not known to do nothing.
pub fn does_more(expressions: &[u8]) -> bool {
    let mut statements = 0;
    for (_, expression) in attributes(expressions) {
        let Some((name, data)) = named(expression) else {
            return true;
        };
        match name {
            // Of a map of verdicts the register is that of the verdict.
            b"lookup" if number(data, attr::LOOKUP_DREG) == Some(VERDICT) => return true,
            b"payload" if number(data, attr::PAYLOAD_DREG).is_none() => return true,
            b"meta" if number(data, attr::META_SREG).is_some() => {
                if number(data, attr::META_KEY) != Some(META_NFTRACE) {
                    return true;
                }
            }
            b"immediate" if number(data, attr::IMMEDIATE_DREG) == Some(VERDICT) => statements += 1,
            b"target" => statements += 1,
            b"lookup" | b"payload" | b"meta" | b"immediate" | b"bitwise" | b"cmp" | b"range"
            | b"limit" | b"match" | b"counter" | b"log" => {}
            _ => return true,
        }
    }
    statements > 1
}

/// `NFTA_*` of the expressions that are read here.
mod attr {
    pub const PAYLOAD_DREG: u16 = 1;
    pub const PAYLOAD_BASE: u16 = 2;
    pub const PAYLOAD_OFFSET: u16 = 3;
    pub const PAYLOAD_LEN: u16 = 4;
    pub const META_DREG: u16 = 1;
    pub const META_KEY: u16 = 2;
    pub const META_SREG: u16 = 3;
    pub const CMP_SREG: u16 = 1;
    pub const CMP_OP: u16 = 2;
    pub const CMP_DATA: u16 = 3;
    pub const RANGE_SREG: u16 = 1;
    pub const RANGE_OP: u16 = 2;
    pub const RANGE_FROM: u16 = 3;
    pub const RANGE_TO: u16 = 4;
    pub const BITWISE_SREG: u16 = 1;
    pub const BITWISE_DREG: u16 = 2;
    pub const BITWISE_MASK: u16 = 4;
    pub const BITWISE_XOR: u16 = 5;
    pub const BITWISE_OP: u16 = 6;
    pub const IMMEDIATE_DREG: u16 = 1;
    pub const IMMEDIATE_DATA: u16 = 2;
    pub const LOOKUP_DREG: u16 = 3;
    pub const DATA_VALUE: u16 = 1;
    pub const LIMIT_UNIT: u16 = 2;
    pub const LIMIT_TYPE: u16 = 4;
    pub const LIMIT_FLAGS: u16 = 5;
    pub const LOG_GROUP: u16 = 1;
}

/// `NFT_REG_VERDICT`.
const VERDICT: u32 = 0;
/// `NFT_META_NFTRACE`.
const META_NFTRACE: u32 = 12;
/// Seconds in the units that `--limit` knows; nft knows weeks as well.
const LIMIT_UNITS: [u64; 4] = [1, 60, 3600, 86400];

/// How far a rule has been read.
struct Reader {
    family: Family,
    loaded: Option<Loaded>,
    /// Fields whose tests are complete.
    tested: Vec<Field>,
    /// The transport protocol, once tested for equality.
    protocol: Option<u8>,
    counted: bool,
    stated: bool,
    /// A register that holds 1, for the trace statement.
    one: Option<u32>,
}

impl Reader {
    fn new(family: Family) -> Self {
        Self {
            family,
            loaded: None,
            tested: Vec::new(),
            protocol: None,
            counted: false,
            stated: false,
            one: None,
        }
    }

    fn read(&mut self, name: &[u8], data: &[u8]) -> Result<(), Why> {
        if self.stated {
            return Err(Why::Statements);
        }
        match name {
            b"payload" => self.payload(data),
            b"meta" => self.meta(data),
            b"bitwise" => self.bitwise(data),
            b"cmp" => self.compare(data),
            b"range" => self.range(data),
            b"limit" => self.limit(data),
            b"match" => self.test_done(),
            b"counter" => self.counter(),
            b"immediate" => self.immediate(data),
            b"target" => self.statement(),
            b"log" => self.log(data),
            b"lookup" => Err(Why::Lookup),
            other => Err(Why::Expression(String::from_utf8_lossy(other).into_owned())),
        }
    }

    fn end(mut self) -> Result<(), Why> {
        if self.one.is_some() && !self.stated {
            return Err(Why::Statements); // a value is made for a statement that is not there
        }
        self.unload()
    }

    /// A test begins or a statement comes: what was loaded before must have been tested, except an
    /// interface: `-i +` is a load without a test.
    fn unload(&mut self) -> Result<(), Why> {
        match self.loaded.take() {
            Some(loaded) if !loaded.is_tested() && !loaded.may_stay_untested() => {
                Err(Why::Test(loaded.field))
            }
            Some(loaded) if loaded.is_tested() => self.finish(&loaded),
            _ => Ok(()),
        }
    }

    fn finish(&mut self, loaded: &Loaded) -> Result<(), Why> {
        if let Some(protocol) = loaded.equal_protocol() {
            self.protocol = Some(protocol);
        }
        for field in loaded.fields() {
            // Several tests of the mark are printed one by one.
            if self.tested.contains(field) && *field != Field::Mark {
                return Err(Why::Twice(*field));
            }
            self.tested.push(*field);
        }
        if loaded.is_truthful() {
            Ok(())
        } else {
            Err(Why::Test(loaded.field))
        }
    }

    fn load(
        &mut self,
        register: Option<u32>,
        field: Option<Field>,
        length: u32,
    ) -> Result<(), Why> {
        self.test_done()?;
        let field = field.ok_or(Why::UnknownField)?;
        let register = register.ok_or(Why::Unreadable)?;
        self.loaded = Some(Loaded::new(field, register, length));
        Ok(())
    }

    /// Before every further test.
    fn test_done(&mut self) -> Result<(), Why> {
        self.unload()?;
        if self.counted {
            return Err(Why::CountsFirst);
        }
        Ok(())
    }

    fn payload(&mut self, data: &[u8]) -> Result<(), Why> {
        // A payload without a destination register writes to the packet.
        let register = number(data, attr::PAYLOAD_DREG)
            .ok_or_else(|| Why::Expression("payload write".into()))?;
        let part = |kind| number(data, kind).ok_or(Why::Unreadable);
        let (base, offset) = (part(attr::PAYLOAD_BASE)?, part(attr::PAYLOAD_OFFSET)?);
        let length = part(attr::PAYLOAD_LEN)?;
        // The protocol may still be waiting to be taken from a finished test.
        self.test_done()?;
        let field = Field::of_payload(self.family, self.protocol, base, offset, length);
        self.load(Some(register), field, length)
    }

    fn meta(&mut self, data: &[u8]) -> Result<(), Why> {
        let key = number(data, attr::META_KEY).ok_or(Why::Unreadable)?;
        if let Some(source) = number(data, attr::META_SREG) {
            return if key == META_NFTRACE && self.one.take() == Some(source) {
                self.statement()
            } else {
                Err(Why::Expression("meta set".into()))
            };
        }
        let field = Field::of_meta(key);
        self.load(number(data, attr::META_DREG), field, 0)
    }

    fn bitwise(&mut self, data: &[u8]) -> Result<(), Why> {
        let value = |kind| find(data, kind).and_then(data_value);
        let loaded = self.loaded.as_mut().ok_or(Why::Unreadable)?;
        let source = number(data, attr::BITWISE_SREG);
        let target = number(data, attr::BITWISE_DREG);
        let operation = number(data, attr::BITWISE_OP).unwrap_or_default();
        let (Some(mask), Some(xor), Some(target)) =
            (value(attr::BITWISE_MASK), value(attr::BITWISE_XOR), target)
        else {
            return Err(Why::Test(loaded.field));
        };
        let plain =
            operation == 0 && source == Some(loaded.register) && xor.iter().all(|b| *b == 0);
        if !plain || !loaded.mask(mask) {
            return Err(Why::Test(loaded.field));
        }
        loaded.register = target;
        Ok(())
    }

    fn compare(&mut self, data: &[u8]) -> Result<(), Why> {
        let loaded = self.loaded.as_mut().ok_or(Why::Unreadable)?;
        let from_it = number(data, attr::CMP_SREG) == Some(loaded.register);
        let operation = number(data, attr::CMP_OP);
        let value = find(data, attr::CMP_DATA).and_then(data_value);
        match (operation, value) {
            (Some(operation), Some(value)) if from_it => loaded.compare(operation, value),
            _ => return Err(Why::Test(loaded.field)),
        }
        Ok(())
    }

    fn range(&mut self, data: &[u8]) -> Result<(), Why> {
        let loaded = self.loaded.as_mut().ok_or(Why::Unreadable)?;
        let from_it = number(data, attr::RANGE_SREG) == Some(loaded.register);
        let value = |kind| find(data, kind).and_then(data_value);
        let operation = number(data, attr::RANGE_OP);
        let bounds = (value(attr::RANGE_FROM), value(attr::RANGE_TO));
        match (operation, bounds) {
            (Some(0 | 1), (Some(from), Some(to))) if from_it => loaded.range(from, to),
            _ => return Err(Why::Test(loaded.field)),
        }
        Ok(())
    }

    fn limit(&mut self, data: &[u8]) -> Result<(), Why> {
        self.test_done()?;
        let unit = find(data, attr::LIMIT_UNIT).and_then(be64);
        let packets = number(data, attr::LIMIT_TYPE).unwrap_or_default() == 0;
        let plain = number(data, attr::LIMIT_FLAGS).unwrap_or_default() == 0;
        if unit.is_some_and(|unit| LIMIT_UNITS.contains(&unit)) && packets && plain {
            Ok(())
        } else {
            Err(Why::Expression("limit".into()))
        }
    }

    fn counter(&mut self) -> Result<(), Why> {
        self.unload()?;
        if std::mem::replace(&mut self.counted, true) {
            return Err(Why::Counters);
        }
        Ok(())
    }

    fn immediate(&mut self, data: &[u8]) -> Result<(), Why> {
        let register = number(data, attr::IMMEDIATE_DREG).ok_or(Why::Unreadable)?;
        if register == VERDICT {
            return self.statement();
        }
        self.unload()?;
        let value = find(data, attr::IMMEDIATE_DATA).and_then(data_value);
        // The trace statement: `nft trace` is one byte, iptables writes it as four.
        let one =
            value.is_some_and(|value| value.iter().map(|byte| u32::from(*byte)).sum::<u32>() == 1);
        if one && self.one.is_none() {
            self.one = Some(register);
            Ok(())
        } else {
            Err(Why::Statements)
        }
    }

    fn log(&mut self, data: &[u8]) -> Result<(), Why> {
        // Without a group it is the kernel log's, which iptables writes as a target of its own.
        if find(data, attr::LOG_GROUP).is_none() {
            return Err(Why::Expression("log".into()));
        }
        self.statement()
    }

    fn statement(&mut self) -> Result<(), Why> {
        self.unload()?;
        self.stated = true;
        Ok(())
    }
}

pub(super) fn find(data: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(data)
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, value)| value)
}

pub(super) fn number(data: &[u8], wanted: u16) -> Option<u32> {
    find(data, wanted).and_then(be32)
}

/// `NFTA_DATA_VALUE` of a nested data attribute.
pub(super) fn data_value(data: &[u8]) -> Option<&[u8]> {
    find(data, attr::DATA_VALUE)
}

#[cfg(test)]
mod tests;
