//! Where scenarios come from, and what can be made of one.
//!
//! Reading is strict: unknown keys, unknown names of places, sysctls that are not the namespace's own,
//! addresses of a family that the flow does not have are errors with the reason, because a scenario
//! that half works teaches the wrong lesson.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

use super::check;
use super::error::SandboxError;
use super::rules;
use super::scenario::Scenario;
use crate::ruleset::Backend;

macro_rules! built_in {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../assets/scenarios/", $name, ".toml")))),+]
    };
}

/// The built-in files, in the order in which they are offered: the first is the default.
const BUILT_IN: &[(&str, &str)] = built_in![
    "drop-before-accept",
    "missing-established",
    "default-drop-no-service",
    "conntrack-full",
    "forward-blocked",
    "wrong-interface",
    "docker-beside-ufw",
    "busy-box",
];

/// Bytes; the largest ruleset that was met in the wild has a tenth of it.
const LARGEST_FILE: u64 = 4 << 20;

/// Every built-in scenario, the default first.
pub fn scenarios() -> Result<Vec<Scenario>, SandboxError> {
    BUILT_IN
        .iter()
        .map(|(name, text)| Scenario::parse(name, text))
        .collect()
}

/// A command that mends a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// With its back end: `iptables-nft`.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Scenario {
    /// The built-in scenario of that name, or the file of that path.
    pub fn load(name_or_path: &str) -> Result<Self, SandboxError> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(name, text);
        }
        let path = Path::new(name_or_path);
        if !path.exists() {
            let known = BUILT_IN.iter().map(|(name, _)| (*name).to_owned());
            return Err(SandboxError::UnknownScenario {
                name: name_or_path.to_owned(),
                known: known.collect(),
            });
        }
        let text = read(path).map_err(|error| bad(name_or_path, error.to_string()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&name, &text)
    }

    /// Read a scenario from its TOML text.
    pub fn parse(name: &str, text: &str) -> Result<Self, SandboxError> {
        let mut scenario: Self = toml::from_str(text).map_err(|error| {
            // The reader draws the line that it stumbled over; an error is one line here.
            let place = error.span().and_then(|span| text.get(..span.start));
            let line = place.map_or(1, |before| before.matches('\n').count() + 1);
            bad(
                name,
                format!("line {line}: {}", error.message().replace('\n', " ")),
            )
        })?;
        name.clone_into(&mut scenario.name);
        check::check(&scenario).map_err(|reason| bad(name, reason))?;
        Ok(scenario)
    }

    /// The commands of `fix`, for a back end.
    pub fn fix_commands(&self, backend: Backend) -> Vec<Command> {
        let variant = match backend {
            Backend::Nft => "nft",
            Backend::Legacy => "legacy",
        };
        let command = |text: &String| {
            let mut words = text.split_whitespace().map(str::to_owned);
            let name = words.next()?;
            let of_a_backend = matches!(name.as_str(), "iptables" | "ip6tables");
            Some(Command {
                program: if of_a_backend {
                    format!("{name}-{variant}")
                } else {
                    name
                },
                args: words.collect(),
            })
        };
        self.fix.iter().filter_map(command).collect()
    }

    /// Whether any of its rules logs.
    pub fn logs(&self) -> bool {
        [&self.firewall.v4, &self.firewall.v6]
            .iter()
            .any(|text| text.contains(rules::PLACEHOLDER))
    }

    /// The same without anything IPv6, for a kernel that does not speak it.
    #[must_use]
    pub fn without_ipv6(mut self) -> Self {
        let v4 = IpAddr::is_ipv4;
        let net_v4 = |net: &IpNet| net.addr().is_ipv4();
        for link in &mut self.links {
            link.addresses.retain(net_v4);
            link.peer.retain(net_v4);
            link.beyond.retain(net_v4);
        }
        self.sets.retain(|set| !set.kind.contains("inet6"));
        self.firewall.v6.clear();
        // No addresses means every address, so one that has only IPv6 ones goes as a whole.
        self.listeners
            .retain(|one| one.addresses.is_empty() || one.addresses.iter().any(v4));
        for listener in &mut self.listeners {
            listener.addresses.retain(v4);
        }
        for client in &mut self.clients {
            client.to.retain(v4);
            client.from.retain(net_v4);
        }
        self.clients.retain(|client| !client.to.is_empty());
        if let Some(fill) = &mut self.conntrack {
            fill.to.retain(v4);
            fill.from.retain(net_v4);
        }
        self.expected.retain(|culprit| culprit.family == 4);
        self.blocked.retain(|probe| probe.to.is_ipv4());
        self.works.retain(|probe| probe.to.is_ipv4());
        self.fix.retain(|command| !command.starts_with("ip6tables"));
        self.sysctls
            .retain(|name, _| !name.starts_with("net.ipv6."));
        self
    }
}

fn bad(name: &str, reason: String) -> SandboxError {
    SandboxError::BadScenario {
        name: name.to_owned(),
        reason,
    }
}

/// A file's text; an endless one (a device) is an error, not the end of the machine's memory.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(LARGEST_FILE + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_is_sound_and_names_what_it_needs() {
        for scenario in scenarios().unwrap() {
            let name = &scenario.name;
            for text in [&scenario.title, &scenario.wrong, &scenario.symptom] {
                assert!(!text.is_empty() && !text.contains('\n'), "{name}: {text:?}");
            }
            assert!(
                !scenario.blocked.is_empty() && !scenario.works.is_empty(),
                "{name}"
            );
            assert!(!scenario.fix_commands(Backend::Nft).is_empty(), "{name}");
            for family in [4, 6] {
                let culprits = scenario.expected.iter().filter(|one| one.family == family);
                let none_to_blame = scenario.conntrack.is_some();
                assert_eq!(culprits.count(), usize::from(!none_to_blame), "{name}");
            }
        }
    }

    #[test]
    fn without_ipv6_nothing_of_it_is_left_and_the_rest_is_sound() {
        for scenario in scenarios().unwrap() {
            let name = scenario.name.clone();
            let plain = scenario.without_ipv6();
            check::check(&plain).unwrap();
            let text = format!("{plain:?}");
            for trace in ["2001:", "::1", "ip6tables", "net.ipv6"] {
                assert!(!text.contains(trace), "{name}: {trace} in {text}");
            }
        }
    }

    #[test]
    fn the_commands_of_a_fix_are_those_of_the_back_end() {
        let mut scenario = scenarios().unwrap().remove(0);
        scenario.fix = vec![
            "ip6tables -D INPUT 6".into(),
            "conntrack -F".into(),
            "  ".into(),
        ];
        let programs: Vec<String> = scenario
            .fix_commands(Backend::Legacy)
            .into_iter()
            .map(|command| command.program)
            .collect();
        assert_eq!(programs, ["ip6tables-legacy", "conntrack"]);
    }

    #[test]
    fn an_error_in_a_file_is_one_line_with_its_number() {
        let error = Scenario::parse("x", "title = \"a\"\nwrong = 7\n").unwrap_err();
        let said = error.to_string();
        assert!(said.contains("line 2") && !said.contains('\n'), "{said}");
    }

    #[test]
    fn endless_and_missing_files_are_errors() {
        assert!(matches!(
            Scenario::load("/dev/zero"),
            Err(SandboxError::BadScenario { .. })
        ));
        assert!(matches!(
            Scenario::load("/no/such/file.toml"),
            Err(SandboxError::UnknownScenario { .. })
        ));
        assert!(matches!(
            Scenario::load("/"),
            Err(SandboxError::BadScenario { .. })
        ));
    }
}
