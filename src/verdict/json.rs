//! A verdict as JSON, in the form that the design's contracts state.
//!
//! Beside what is stated there: `backend` in a place where two rulesets of a family were asked, `kernel`
//! or `native` in `decided_by` where the kernel itself or a native nft chain decided, `outcomes` where several ways are possible, `would_accept` for a
//! packet that is blocked. Names that are no UTF-8 show as U+FFFD; JSON's own escapes keep controls in
//! them harmless.

use serde_json::{Map, Value, json};

use super::compile::table_name;
use super::connection::Other;
use super::explain::{Decider, Explanation, Step, Translated};
use super::program::Place;
use crate::ruleset::{Family, Ruleset};

/// The version of the form, in the field `schema` of a single document.
pub const SCHEMA: &str = "ruletop/verdict/1";

impl Explanation {
    /// The form of the contract. `rulesets` are those that were compiled.
    pub fn to_json(&self, family: Family, rulesets: &[&Ruleset]) -> Value {
        let both = rulesets
            .iter()
            .filter(|ruleset| ruleset.family() == family)
            .count()
            > 1;
        let natives = &self.natives;
        let names = Names {
            rulesets,
            both,
            natives,
        };
        let path: Vec<Value> = self
            .path
            .iter()
            .filter_map(|step| names.step(step))
            .collect();
        let mut out = Map::new();
        out.insert("verdict".into(), json!(self.verdict));
        out.insert("decided_by".into(), names.decider(self.by));
        out.insert("path".into(), path.into());
        out.insert(
            "nat".into(),
            json!({"dst": translated(self.dst.as_ref()), "src": translated(self.src.as_ref())}),
        );
        out.insert("unknown".into(), json!(self.unknown));
        if self.possible.len() > 1 {
            let ways = self
                .possible
                .iter()
                .map(|way| json!({"verdict": way.verdict, "decided_by": names.decider(way.by)}));
            out.insert("outcomes".into(), ways.collect());
        }
        if let Some(with) = self.reject {
            out.insert("reject_with".into(), with.to_string().into());
        }
        if let Some(place) = self.would_accept {
            out.insert("would_accept".into(), names.place(place));
        }
        Value::Object(out)
    }
}

impl Other {
    /// One of the list `connection`: which packet (`out`, `in`, `answer`, `rest`), in words, and what becomes of it.
    /// `rulesets` are those that were compiled.
    pub fn to_json(&self, rulesets: &[&Ruleset]) -> Value {
        let said = self.explanation.to_json(self.probe.family, rulesets);
        let field = |name: &str| said.get(name).cloned().unwrap_or_default();
        json!({
            "packet": self.part.name(),
            "words": self.words(),
            "verdict": field("verdict"),
            "decided_by": field("decided_by"),
            "unknown": field("unknown"),
        })
    }
}

/// `null`, `"10.0.0.5:80"`, `"[fd00::5]:80"`, `"10.0.0.5"`, or what is known of it.
fn translated(end: Option<&Translated>) -> Value {
    let Some(end) = end else {
        return Value::Null;
    };
    match (end.address, end.port) {
        (Some(address), Some(port)) => std::net::SocketAddr::new(address, port).to_string().into(),
        (Some(address), None) => address.to_string().into(),
        (None, Some(port)) => format!("?:{port}").into(),
        (None, None) => "?".into(),
    }
}

struct Names<'a> {
    rulesets: &'a [&'a Ruleset],
    both: bool,
    natives: &'a [String],
}

impl Names<'_> {
    fn decider(&self, by: Option<Decider>) -> Value {
        match by {
            None => Value::Null,
            Some(Decider::Hops) => json!({"kernel": "the hop limit ran out: not forwarded"}),
            Some(Decider::Native(at)) => json!({"native": self.natives.get(usize::from(at))}),
            Some(Decider::Place(place)) => self.place(place),
        }
    }

    fn place(&self, place: Place) -> Value {
        let Some(ruleset) = self.rulesets.get(place.ruleset) else {
            return Value::Null;
        };
        let mut out = Map::new();
        out.insert("table".into(), table_name(ruleset, place.chain).into());
        out.insert("chain".into(), ruleset.chain(place.chain).name().into());
        match place.rule {
            Some(rule) => out.insert("rule".into(), ruleset.number(rule).into()),
            None => out.insert("policy".into(), true.into()),
        };
        if let (true, Some(backend)) = (self.both, ruleset.backend()) {
            out.insert("backend".into(), backend.name().into());
        }
        Value::Object(out)
    }

    /// Rules only: the path of the contract has no policies.
    fn step(&self, step: &Step) -> Option<Value> {
        let rule = step.place.rule?;
        let ruleset = self.rulesets.get(step.place.ruleset)?;
        let target = ruleset
            .jump(rule)
            .map(|jump| String::from_utf8_lossy(jump.name).into_owned());
        let mut out = self.place(step.place);
        let fields = out.as_object_mut()?;
        fields.insert("result".into(), json!(step.answer));
        fields.insert("target".into(), json!(target));
        fields.insert("why".into(), step.why.as_str().into());
        Some(out)
    }
}
