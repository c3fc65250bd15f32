//! The model as one JSON document, for `ruletop export --format json`.
//!
//! ```json
//! {"schema": "ruletop.ruleset/1",
//!  "rulesets": [{"family": "v4", "family_evidence": "header", "backend": "nft",
//!    "header": {"program": "iptables-save", "version": "1.8.9", "variant": "nf_tables", "date": "…"},
//!    "rules_are_counted": true, "warnings": [], "diagnostics_left_out": 0,
//!    "diagnostics": [{"line": 3, "column": 1, "severity": "warning", "expected": "…", "text": "…"}],
//!    "tables": [{"name": "filter", "chains": [{"name": "INPUT", "policy": "DROP", "builtin": true,
//!      "packets": 5, "bytes": 600,
//!      "rules": [{"number": 1, "packets": 1, "bytes": 60, "spec": "-p tcp -m tcp --dport 22 -j ACCEPT",
//!        "understood": true, "target": "ACCEPT", "goto": false, "protocol": "tcp", "in_interface": "",
//!        "out_interface": "", "source": "", "destination": "", "matches": "dport 22", "comment": null}]
//! }]}]}]}
//! ```
//!
//! `policy` is null for a user chain and where the dump does not state it; `backend` and `header` are null
//! where nothing tells. Bytes that are not UTF-8 show as U+FFFD, and the value stands a second time,
//! without loss, as hexadecimal digits under the same key with `_hex`: `name_hex`, `spec_hex`.
//! It is written as it goes: 100,000 rules need no second copy of themselves in memory.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::model::{Chain, ChainIdx, RuleIdx, Ruleset, Table};
use super::spec::{Cells, hex};
use super::{Counters, Document};

/// Name and version of the shape. A change that breaks readers gets a new number.
pub const SCHEMA: &str = "ruletop.ruleset/1";

impl Document {
    /// The document as JSON, ending in a newline.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut out = serde_json::to_vec(self)?;
        out.push(b'\n');
        Ok(out)
    }
}

/// Bytes as text; what is not UTF-8 shows as U+FFFD.
pub(super) fn lossy<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}

/// `key`, and `key_hex` where the bytes are not UTF-8.
fn text_entry<M: SerializeMap>(map: &mut M, key: &str, bytes: &[u8]) -> Result<(), M::Error> {
    map.serialize_entry(key, &String::from_utf8_lossy(bytes))?;
    if std::str::from_utf8(bytes).is_err() {
        map.serialize_entry(&format!("{key}_hex"), &hex(bytes))?;
    }
    Ok(())
}

/// A sequence that is made while it is written.
struct Each<F>(F);

impl<F, I, T> Serialize for Each<F>
where
    F: Fn() -> I,
    I: Iterator<Item = T>,
    T: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(None)?;
        for item in (self.0)() {
            sequence.serialize_element(&item)?;
        }
        sequence.end()
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("schema", SCHEMA)?;
        map.serialize_entry("rulesets", self.rulesets())?;
        map.end()
    }
}

impl Serialize for Ruleset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("family", &self.family())?;
        map.serialize_entry("family_evidence", &self.family_evidence())?;
        map.serialize_entry("backend", &self.backend())?;
        map.serialize_entry("header", &self.header())?;
        map.serialize_entry("rules_are_counted", &self.rules_are_counted())?;
        map.serialize_entry("warnings", self.warnings())?;
        map.serialize_entry("diagnostics", self.diagnostics())?;
        map.serialize_entry("diagnostics_left_out", &self.diagnostics_left_out())?;
        let tables = || {
            self.tables().iter().map(|table| TableView {
                ruleset: self,
                table,
            })
        };
        map.serialize_entry("tables", &Each(tables))?;
        map.end()
    }
}

struct TableView<'a> {
    ruleset: &'a Ruleset,
    table: &'a Table,
}

impl Serialize for TableView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        text_entry(&mut map, "name", self.table.name.bytes())?;
        let chains = || {
            self.table.chains().iter().map(|index| ChainView {
                ruleset: self.ruleset,
                index: *index,
                chain: self.ruleset.chain(*index),
            })
        };
        map.serialize_entry("chains", &Each(chains))?;
        map.end()
    }
}

struct ChainView<'a> {
    ruleset: &'a Ruleset,
    index: ChainIdx,
    chain: &'a Chain,
}

impl Serialize for ChainView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counters = self.ruleset.saved.policy(self.index);
        let mut map = serializer.serialize_map(None)?;
        text_entry(&mut map, "name", self.chain.name_bytes())?;
        map.serialize_entry("policy", &self.chain.policy())?;
        map.serialize_entry("builtin", &self.chain.is_builtin())?;
        map.serialize_entry("packets", &counters.packets)?;
        map.serialize_entry("bytes", &counters.bytes)?;
        let rules = || {
            (1_u32..)
                .zip(self.chain.rules())
                .map(|(number, rule)| RuleView {
                    ruleset: self.ruleset,
                    number,
                    rule: *rule,
                })
        };
        map.serialize_entry("rules", &Each(rules))?;
        map.end()
    }
}

struct RuleView<'a> {
    ruleset: &'a Ruleset,
    number: u32,
    rule: RuleIdx,
}

impl Serialize for RuleView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Counters { packets, bytes } = self.ruleset.saved.rule(self.rule);
        let spec = self.ruleset.parse_rule(self.rule);
        let cells = Cells::of(&spec);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("number", &self.number)?;
        map.serialize_entry("packets", &packets)?;
        map.serialize_entry("bytes", &bytes)?;
        text_entry(&mut map, "spec", &self.ruleset.normal_spec(self.rule))?;
        map.serialize_entry("understood", &spec.is_understood())?;
        map.serialize_entry("target", &cells.target)?;
        map.serialize_entry("goto", &cells.goto)?;
        map.serialize_entry("protocol", &cells.protocol)?;
        map.serialize_entry("in_interface", &cells.in_interface)?;
        map.serialize_entry("out_interface", &cells.out_interface)?;
        map.serialize_entry("source", &cells.source)?;
        map.serialize_entry("destination", &cells.destination)?;
        map.serialize_entry("matches", &cells.matches)?;
        map.serialize_entry("comment", &cells.comment)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use crate::ruleset::{Document, Hints};

    fn json(text: &[u8]) -> serde_json::Value {
        let out = Document::parse(text, Hints::default())
            .unwrap()
            .to_json()
            .unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn one_document_with_a_schema() {
        let document = json(b"# Generated by ip6tables-save v1.8.9 (nf_tables) on Fri\n*filter\n:INPUT DROP [5:6]\n:u - [0:0]\n[1:60] -A INPUT -p tcp -m tcp --dport 22 -m comment --comment \"a b\" -j u\nCOMMIT\n");
        assert_eq!(document["schema"], super::SCHEMA);
        let ruleset = &document["rulesets"][0];
        assert_eq!(ruleset["family"], "v6");
        assert_eq!(ruleset["backend"], "nft");
        let chain = &ruleset["tables"][0]["chains"][0];
        assert_eq!(chain["policy"], "DROP");
        assert_eq!(chain["packets"], 5);
        assert!(ruleset["tables"][0]["chains"][1]["policy"].is_null());
        let rule = &chain["rules"][0];
        assert_eq!(rule["number"], 1);
        assert_eq!(rule["bytes"], 60);
        assert_eq!(rule["target"], "u");
        assert_eq!(rule["matches"], "dport 22");
        assert_eq!(rule["comment"], "a b");
        assert_eq!(rule["understood"], true);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_not_lost() {
        let document =
            json(b"*filter\n:INPUT DROP [0:0]\n-A INPUT -m comment --comment \"\xff\"\nCOMMIT\n");
        let rule = &document["rulesets"][0]["tables"][0]["chains"][0]["rules"][0];
        assert_eq!(rule["spec"], "-m comment --comment \"\u{fffd}\"");
        assert_eq!(
            rule["spec_hex"],
            "2d6d20636f6d6d656e74202d2d636f6d6d656e742022ff22"
        );
        assert_eq!(rule["comment"], "\u{fffd}");
    }
}
