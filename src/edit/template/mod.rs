//! Rules that everybody needs, as data: what they ask for, what they say, and where each takes effect.
//!
//! A [`Template`] is a file of `assets/templates`. [`plan`] makes of it, of what was given for its fields
//! and of a stage a [`Plan`]: operations for that stage, each with the reason of its place in words. It
//! looks at the rules that are there: one that does the same already is not added, one that drops all of
//! it is gone before, one that drops a part stays before it and is named. A program that owns the chain
//! (ufw, firewalld, docker) is named too, and the rule goes where that program keeps the user's.
//!
//! What "before" is worth is worked out here by comparing conditions, not packets: where a condition
//! cannot be compared (a rate, a set, an unknown match) the rule counts as one that decides a part.
//! The full answer is the check before the apply, which puts packets through both rulesets.
//!
//! - `compose`: the rules that a template makes. `cover`: whether a rule decides all of what another
//!   is about, a part, or nothing. `fate`: where in a chain that happens. `place`: where it goes, and
//!   why. `order`: the recommended order. `owner`: who owns a chain.

mod compose;
mod cover;
mod fate;
mod order;
mod owner;
mod place;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

pub use place::{Plan, Step, plan, rank};

/// What a field of a template takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A service, a port, a range or a list of them.
    Service,
    /// A protocol, or several with commas.
    Protocol,
    /// An address, a network or a host name.
    Address,
    /// An interface.
    Interface,
    /// A chain.
    Chain,
    /// `5/min`, `5/min burst 10`.
    Rate,
    /// Anything.
    Text,
}

/// One thing that a template asks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its name in the rules.
    pub name: String,
    /// Its name on the screen.
    pub label: String,
    /// What it takes.
    pub kind: Kind,
    /// What may stand in it, in words.
    pub hint: String,
    /// Nothing is made without it.
    #[serde(default)]
    pub required: bool,
    /// What stands in it at first.
    #[serde(default)]
    pub default: String,
}

/// How the place of a rule is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Where {
    /// Among the first rules: loopback, established, invalid.
    Head,
    /// Before the first rule that decides otherwise about all of it.
    Decide,
    /// Before what drops the rest.
    Log,
}

/// One rule of a template.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    table: String,
    chain: String,
    place: Where,
    spec: String,
    #[serde(default)]
    set: BTreeMap<String, String>,
    family: Option<String>,
    when: Option<String>,
    #[serde(default)]
    needed: bool,
    why: String,
}

/// A chain whose rules are brought into the recommended order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arrange {
    table: String,
    chain: String,
}

/// One template.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Its name, as its file has it.
    pub name: String,
    /// Its title.
    pub title: String,
    /// What it is for.
    pub desc: String,
    /// What the user should know, always.
    pub note: Option<String>,
    /// What it asks.
    #[serde(default, rename = "field")]
    pub fields: Vec<Field>,
    #[serde(default, rename = "rule")]
    rules: Vec<Rule>,
    arrange: Option<Arrange>,
}

impl Template {
    /// Reads one file.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

/// The files that the program ships, in the order in which they are offered.
const SHIPPED: [&str; 10] = [
    include_str!("../../../assets/templates/allow-service.toml"),
    include_str!("../../../assets/templates/allow-outbound.toml"),
    include_str!("../../../assets/templates/established.toml"),
    include_str!("../../../assets/templates/loopback.toml"),
    include_str!("../../../assets/templates/icmp.toml"),
    include_str!("../../../assets/templates/drop-invalid.toml"),
    include_str!("../../../assets/templates/log-drops.toml"),
    include_str!("../../../assets/templates/port-forward.toml"),
    include_str!("../../../assets/templates/masquerade.toml"),
    include_str!("../../../assets/templates/recommended-order.toml"),
];

/// The templates that the program ships; a test reads each of them.
pub fn shipped() -> &'static [Template] {
    static ALL: LazyLock<Vec<Template>> = LazyLock::new(|| {
        let files = SHIPPED.iter();
        files
            .filter_map(|text| Template::parse(text).ok())
            .collect()
    });
    &ALL
}

/// What was given for the fields of a template, by their names.
pub type Given = BTreeMap<String, String>;
