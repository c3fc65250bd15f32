//! From the editor to the stage: nothing plainly wrong, host names resolved, the back end's verdict.

use std::net::IpAddr;

use super::{Editor, Finished, Purpose, View};
use crate::app::message::Effect;
use crate::edit::form::{Field, set, text};
use crate::ruleset::spec::{Address, Addresses, Inv, Spec, Target};
use crate::ruleset::{Family, Severity};

/// A host name in `-s` or `-d`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name.
    pub name: String,
    /// What it stands for.
    pub state: HostState,
}

/// What is known of a host name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostState {
    /// It is being looked up.
    Asked,
    /// Its addresses of the rule's family; never none.
    Found(Vec<IpAddr>),
    /// It has none, or cannot be looked up: why.
    Failed(String),
}

/// The back end's verdict on the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was not asked about this text.
    Unasked,
    /// It was asked about this rule.
    Asked(Vec<u8>),
    /// It said no, in these words.
    Refused(String),
}

/// What comes next on the way to the stage.
pub(super) enum Step {
    /// Something is to be found out first, or put right.
    Ask(Vec<Effect>),
    /// Nothing.
    Done(Finished),
}

impl Editor {
    /// The rule is to be staged.
    pub(super) fn submit(&mut self) -> Step {
        self.list = None;
        if matches!(self.verdict, Verdict::Asked(_)) {
            return Step::Ask(Vec::new());
        }
        let error = self.problems.iter().find(|p| p.severity == Severity::Error);
        if let Some(error) = error {
            match error.field {
                Some(field) if self.view == View::Form => self.focus(field),
                Some(_) | None => self.show_in_line(error.at.start),
            }
            return Step::Ask(Vec::new());
        }
        // What is looked up now is shown before the next press stages it.
        let asked = self.resolve();
        let unknown = |host: &Host| !matches!(host.state, HostState::Found(_));
        if !asked.is_empty() || self.hosts.iter().any(unknown) {
            return Step::Ask(asked);
        }
        let spec = self.with_addresses();
        if !self.can_ask {
            return Step::Done(self.finished(vec![spec]));
        }
        self.verdict = Verdict::Asked(spec.clone());
        Step::Ask(vec![Effect::CheckRule {
            id: self.id,
            table: self.site.table.clone(),
            chain: self.site.chain.clone(),
            chains: self.chains_of(&spec),
            spec,
        }])
    }

    /// The raw line, with the cursor at that byte of the rule.
    fn show_in_line(&mut self, at: usize) {
        self.view = View::Raw;
        let at = text::text_offset(self.raw.text(), at);
        self.raw.go(at);
    }

    /// The user chains that must be there for the rule to load.
    fn chains_of(&self, spec: &[u8]) -> Vec<Vec<u8>> {
        let is_user = |name: &[u8]| self.site.chains.iter().any(|own| own == name);
        let is_chain = |name: &[u8]| self.site.is_chain(name);
        let target = Spec::parse(spec, self.site.family, &is_chain).target;
        let target = match target {
            Some(Target::Chain(name)) => Some(name.into_owned()),
            _ => None,
        };
        let mut chains = vec![self.site.chain.clone()];
        chains.extend(target);
        chains.retain(|name| is_user(name));
        chains.dedup();
        chains
    }

    fn finished(&self, specs: Vec<Vec<u8>>) -> Finished {
        Finished {
            id: self.id,
            purpose: self.purpose.clone(),
            specs,
        }
    }

    /// The back end's verdict came. An answer about another text than the one that was asked about last
    /// is not heard.
    pub fn checked(
        &mut self,
        spec: &[u8],
        result: Result<Vec<Vec<u8>>, String>,
    ) -> Option<Finished> {
        match &self.verdict {
            Verdict::Asked(asked) if asked == spec => {}
            _ => return None,
        }
        match result {
            Ok(rules) if rules.is_empty() => {
                self.refused("the tool takes it and makes no rule of it")
            }
            Ok(rules) if rules.len() > 1 && matches!(self.purpose, Purpose::Replace(_)) => {
                let count = rules.len();
                self.refused(format!(
                    "it makes {count} rules, and one cannot become {count}: insert them beside it"
                ))
            }
            Ok(rules) => Some(self.finished(rules)),
            Err(words) => self.refused(words),
        }
    }

    /// The stage does not take it, in these words.
    pub fn refuse(&mut self, words: impl Into<String>) {
        self.verdict = Verdict::Refused(words.into());
    }

    fn refused(&mut self, words: impl Into<String>) -> Option<Finished> {
        self.refuse(words);
        None
    }

    /// A host name was looked up.
    pub fn resolved(&mut self, name: &str, result: Result<Vec<IpAddr>, String>) {
        let family = self.site.family;
        let Some(host) = self.hosts.iter_mut().find(|host| host.name == name) else {
            return;
        };
        host.state = match result {
            Err(why) => HostState::Failed(why),
            Ok(mut found) => {
                found.retain(|ip| ip.is_ipv4() == (family == Family::V4));
                found.dedup();
                if found.is_empty() {
                    HostState::Failed(format!("no {} address", family.name()))
                } else {
                    HostState::Found(found)
                }
            }
        };
    }

    /// Looks up the host names that were not yet, and those that failed once more.
    pub(super) fn resolve(&mut self) -> Vec<Effect> {
        let spec = self.spec();
        let mut effects = Vec::new();
        for name in host_names(&spec, self) {
            let known = self.hosts.iter_mut().find(|host| host.name == name);
            match known {
                Some(Host { state, .. }) if matches!(state, HostState::Failed(_)) => {
                    *state = HostState::Asked;
                }
                Some(_) => continue,
                None => self.hosts.push(Host {
                    name: name.clone(),
                    state: HostState::Asked,
                }),
            }
            effects.push(Effect::Resolve(name));
        }
        effects
    }

    /// Forgets host names that the rule no longer holds.
    pub(super) fn forget_hosts(&mut self, spec: &[u8]) {
        if !self.hosts.is_empty() {
            let names = host_names(spec, self);
            self.hosts.retain(|host| names.contains(&host.name));
        }
    }

    /// The rule with addresses in the place of host names.
    fn with_addresses(&self) -> Vec<u8> {
        let mut spec = self.spec();
        if self.hosts.is_empty() {
            return spec;
        }
        for field in [Field::Source, Field::Destination] {
            let typed = self.form.get(field);
            let (sign, list) = match typed.strip_prefix('!') {
                Some(list) => ("! ", list.trim_start()),
                None => ("", typed),
            };
            let items: Vec<String> = list
                .split(',')
                .flat_map(|item| self.addresses_of(item))
                .collect();
            spec = set(
                &spec,
                field,
                &format!("{sign}{}", items.join(",")),
                &self.site,
            );
        }
        spec
    }

    /// The addresses that an item of a list stands for: of a host name its own, with its mask.
    fn addresses_of(&self, item: &str) -> Vec<String> {
        let (name, mask) = match item.split_once('/') {
            Some((name, mask)) => (name, format!("/{mask}")),
            None => (item, String::new()),
        };
        let host = self.hosts.iter().find(|host| host.name == name);
        match host.map(|host| &host.state) {
            Some(HostState::Found(found)) => found.iter().map(|ip| format!("{ip}{mask}")).collect(),
            _ => vec![item.to_owned()],
        }
    }
}

/// The host names in `-s` and `-d`, without their masks.
fn host_names(spec: &[u8], editor: &Editor) -> Vec<String> {
    let is_chain = |name: &[u8]| editor.site.is_chain(name);
    let spec = Spec::parse(spec, editor.site.family, &is_chain);
    let sides = [&spec.source, &spec.destination];
    let mut names: Vec<String> = sides
        .into_iter()
        .flatten()
        .flat_map(|side: &Inv<Addresses<'_>>| side.value.iter())
        .filter_map(|address| match address {
            Address::Name(name) => {
                let name = name.split(|b| *b == b'/').next()?;
                (!name.is_empty()).then(|| text::from_bytes(name))
            }
            Address::Net(_) => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}
