//! `ruletop demo`: the board in a private namespace with a real firewall and real traffic.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::app::message::Message;
use crate::app::notice::{Level, Notice};
use crate::app::state::Mode;
use crate::cli::{Failure, Screen, print, watch};
use crate::ruleset::Backend;
use crate::sandbox::{self, Options, Sandbox, Scenario};

/// What to play.
#[derive(Debug, Args)]
pub struct Demo {
    /// The scenario; the first one where none is named
    scenario: Option<String>,
    /// Say which scenarios there are
    #[arg(long)]
    list: bool,
    /// The back end to load the rules with; what plain iptables is where none is named
    #[arg(long, value_enum)]
    backend: Option<DemoBackend>,
    #[command(flatten)]
    screen: Screen,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DemoBackend {
    Nft,
    Legacy,
}

/// Lists the scenarios, or plays one.
pub fn run(demo: &Demo) -> Result<ExitCode, Failure> {
    let scenarios = sandbox::scenarios()
        .map_err(|error| Failure::input(error.to_string(), "the program was built with a broken scenario"))?;
    if demo.list {
        return print(listing(&scenarios).as_bytes());
    }
    let scenario = choose(&scenarios, demo.scenario.as_deref())?;
    let backend = demo.backend.map(|backend| match backend {
        DemoBackend::Nft => Backend::Nft,
        DemoBackend::Legacy => Backend::Legacy,
    });
    let options = Options { backend, ..Options::default() };
    let sandbox = Sandbox::enter(scenario, options).map_err(|error| {
        Failure { code: if error.is_privilege() { 3 } else { 2 }, what: error.to_string(), remedy: error.remedy() }
    })?;
    let mode = Mode::Demo { name: scenario.name.clone(), symptom: scenario.symptom.clone() };
    let mut state = watch::state(&demo.screen, mode)?;
    for (i, note) in sandbox.notes().iter().enumerate() {
        let notice = Notice::new(Level::Info, format!("demo {i}"), note.clone(), "");
        crate::app::update::update(&mut state, Message::Notice(notice), std::time::Duration::ZERO);
    }
    let code = watch::open(state, &demo.screen, true);
    drop(sandbox);
    code
}

fn choose<'a>(scenarios: &'a [Scenario], name: Option<&str>) -> Result<&'a Scenario, Failure> {
    let names = || scenarios.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = match name {
        None => scenarios.first(),
        Some(name) => scenarios.iter().find(|s| s.name == name),
    };
    found.ok_or_else(|| {
        Failure::input(
            format!("there is no scenario {:?}", name.unwrap_or_default()),
            format!("there are: {}", names()),
        )
    })
}

fn listing(scenarios: &[Scenario]) -> String {
    let width = scenarios.iter().map(|s| s.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for scenario in scenarios {
        let _ = writeln!(out, "{:width$}  {}", scenario.name, scenario.title);
    }
    out
}
