//! Which rule is which, from one reading to the next.
//!
//! A row number says nothing once somebody inserts a rule above. A rule is therefore known by where it
//! stands and what it says: table, chain and text, with counters taken out and blanks made even. Equal
//! rules of one chain are told apart by their order among themselves. Where a back end has something
//! better (the nft handle), `netfilter` joins it on.
//!
//! The hash is for tables in memory: it is not stable between builds and must not be stored.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::Counters;
use super::counters::decimal;
use super::model::{Chain, RuleIdx, Ruleset};
use super::spec::lexer::{Lexer, is_blank};

/// Identity of a rule by its text: equal rules of one chain are told apart by their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextId {
    /// Hash of table, chain and normalised text.
    pub hash: u64,
    /// How many equal rules stand before it in the chain.
    pub occurrence: u32,
}

impl Ruleset {
    /// Identities of all rules, indexed by [`RuleIdx`]. Worked out at the first call and kept.
    pub fn identities(&self) -> &[TextId] {
        self.ids.get_or_init(|| self.work_out_identities())
    }

    /// Identity of a rule that survives reorders: hash of (table, chain, normalised text) and the
    /// occurrence.
    pub fn text_id(&self, rule: RuleIdx) -> TextId {
        const NONE: TextId = TextId {
            hash: 0,
            occurrence: u32::MAX,
        };
        self.identities()
            .get(rule.0 as usize)
            .copied()
            .unwrap_or(NONE)
    }

    /// The rule without counters and with even blanks: equal for two rules that differ in nothing else.
    pub fn normal_spec(&self, rule: RuleIdx) -> Cow<'_, [u8]> {
        normal_form(self.spec(rule))
    }

    fn work_out_identities(&self) -> Vec<TextId> {
        let mut ids = vec![
            TextId {
                hash: 0,
                occurrence: 0
            };
            self.rule_count()
        ];
        let mut seen: HashMap<u64, u32, BuildHasherDefault<Identity>> = HashMap::default();
        for chain in self.chains() {
            seen.clear();
            let named = self.hash_of_names(chain);
            for rule in chain.rules() {
                let mut hasher = named.clone();
                hasher.write(&self.normal_spec(*rule));
                // Rules that one line with an address list makes have the same text.
                hasher.write_u32(self.row(*rule).map_or(0, |row| row.choice));
                let hash = hasher.finish();
                let count = seen.entry(hash).or_default();
                if let Some(id) = ids.get_mut(rule.0 as usize) {
                    *id = TextId {
                        hash,
                        occurrence: *count,
                    };
                }
                *count = count.saturating_add(1);
            }
        }
        ids
    }

    fn hash_of_names(&self, chain: &Chain) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write(self.table(chain.table()).name.bytes());
        hasher.write_u8(0);
        hasher.write(chain.name_bytes());
        hasher.write_u8(0);
        hasher
    }
}

/// Passes on what is a hash already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// A specification with its words one blank apart and its counters out. Borrowed when it is so already,
/// which is how the save tool writes.
pub(super) fn normal_form(spec: &[u8]) -> Cow<'_, [u8]> {
    let even = memchr::memchr3(b'\t', b'\r', b'\n', spec).is_none()
        && TWO_BLANKS.find(spec).is_none()
        && !spec.last().is_some_and(|b| is_blank(*b));
    let counters = counters_within(spec);
    if even && counters.is_none() {
        return Cow::Borrowed(spec);
    }
    let out = counters.map_or(0..0, |found| found.start..found.end);
    let mut normal = Vec::with_capacity(spec.len());
    for word in Lexer::new(spec).filter(|word| !out.contains(&word.start)) {
        if !normal.is_empty() {
            normal.push(b' ');
        }
        normal.extend_from_slice(word.raw);
    }
    Cow::Owned(normal)
}

/// `-c packets bytes` in a specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CountersWithin {
    pub counters: Counters,
    /// Offsets of the option and its values.
    pub start: usize,
    pub end: usize,
}

// Made once: this is asked of every rule.
static TWO_BLANKS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"  "));
static SHORT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"-c"));
static LONG: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"--set-c"));

/// Find `-c packets bytes`, `-c packets,bytes` or `--set-counters …`.
pub(super) fn counters_within(spec: &[u8]) -> Option<CountersWithin> {
    let short = || {
        SHORT
            .find_iter(spec)
            .any(|at| spec.get(at + 2).is_some_and(|b| is_blank(*b)))
    };
    if LONG.find(spec).is_none() && !short() {
        return None;
    }
    let mut words = Lexer::new(spec);
    while let Some(word) = words.next() {
        let is_option = word.is(b"-c")
            || (word.raw.starts_with(b"--set-c") && b"--set-counters".starts_with(word.raw));
        if !is_option {
            continue;
        }
        let first = words.next()?;
        let (counters, end) = if let Some(counters) = Counters::from_pair(&first.text, b',') {
            (counters, first.end())
        } else {
            let second = words.next()?;
            let counters = Counters {
                packets: decimal(&first.text)?,
                bytes: decimal(&second.text)?,
            };
            (counters, second.end())
        };
        return Some(CountersWithin {
            counters,
            start: word.start,
            end,
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::{Document, Hints};

    fn ruleset(text: &str) -> Ruleset {
        let document = Document::parse(text.as_bytes(), Hints::default()).unwrap();
        document.into_rulesets().remove(0)
    }

    #[test]
    fn blanks_and_counters_do_not_count() {
        let cases = [
            ("-j DROP", "-j DROP"),
            ("-s  1.1.1.1\t-j DROP", "-s 1.1.1.1 -j DROP"),
            ("-j DROP -c 3 4", "-j DROP"),
            ("-c 3,4 -j DROP", "-j DROP"),
            (
                "-s 1.1.1.1 --set-counters 3 4 -j DROP",
                "-s 1.1.1.1 -j DROP",
            ),
            (
                "-m comment --comment \"a  b\"",
                "-m comment --comment \"a  b\"",
            ),
            (
                "-m comment --comment \"-c 1 2\"",
                "-m comment --comment \"-c 1 2\"",
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(
                &*normal_form(spec.as_bytes()),
                expected.as_bytes(),
                "{spec}"
            );
        }
    }

    #[test]
    fn identity_survives_a_reorder_and_new_counters() {
        let one = ruleset(
            "*filter\n:INPUT DROP [0:0]\n[1:1] -A INPUT -i a\n[2:2] -A INPUT -i b\n[3:3] -A INPUT -i a\nCOMMIT\n",
        );
        let two = ruleset(
            "*filter\n:INPUT DROP [0:0]\n[8:8] -A INPUT -i b\n[9:9] -A INPUT -i a\n[7:7] -A INPUT  -i a\nCOMMIT\n",
        );
        let (one, two) = (one.identities(), two.identities());
        assert_eq!(one[0], two[1]);
        assert_eq!(one[1], two[0]);
        assert_eq!(one[2], two[2]);
        assert_eq!((one[0].occurrence, one[2].occurrence), (0, 1));
        assert_ne!(one[0].hash, one[1].hash);
    }

    #[test]
    fn table_and_chain_belong_to_the_identity() {
        let rules = ruleset(
            "*filter\n:INPUT DROP [0:0]\n:OUTPUT DROP [0:0]\n-A INPUT -j DROP\n-A OUTPUT -j DROP\nCOMMIT\n*mangle\n:INPUT DROP [0:0]\n-A INPUT -j DROP\nCOMMIT\n",
        );
        let ids = rules.identities();
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
    }
}
