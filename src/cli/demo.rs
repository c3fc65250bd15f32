//! `ruletop demo`: the board in a private namespace with a real firewall and real traffic.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::app::message::Message;
use crate::app::notice::{Level, Notice};
use crate::app::state::Mode;
use crate::cli::{Failure, Screen, print, watch};
use crate::ruleset::Backend;
use crate::safety::{self, Places, Who};
use crate::sandbox::{self, LogTarget, Options, Sandbox, SandboxError, Scenario};

/// What to play.
#[derive(Debug, Args)]
pub struct Demo {
    /// The scenario, by name or as the path of a file; the first one where none is named
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
    let scenarios = sandbox::scenarios().map_err(failure)?;
    if demo.list {
        return print(listing(&scenarios).as_bytes());
    }
    let scenario = match (&demo.scenario, scenarios.first()) {
        (Some(name), _) => Scenario::load(name).map_err(failure)?,
        (None, Some(first)) => first.clone(),
        (None, None) => return Err(Failure::input("there is no scenario", "")),
    };
    let backend = demo.backend.map(|backend| match backend {
        DemoBackend::Nft => Backend::Nft,
        DemoBackend::Legacy => Backend::Legacy,
    });
    let options = Options {
        backend,
        ..Options::default()
    };
    let sandbox = Sandbox::enter(&scenario, options).map_err(failure)?;
    let mode = Mode::Demo {
        name: scenario.name.clone(),
        symptom: scenario.symptom.clone(),
        logs: sandbox.log_target() == LogTarget::Log,
    };
    let mut state = watch::state(&demo.screen, mode)?;
    for (i, note) in sandbox.notes().iter().enumerate() {
        let notice = Notice::new(Level::Info, format!("demo {i}"), note.clone(), "");
        crate::app::update::update(
            &mut state,
            Message::Notice(notice),
            std::time::Duration::ZERO,
        );
    }
    let places = Places::under(Path::new("/run/ruletop")); // the sandbox's own /run
    let code = watch::open(state, &demo.screen, Some(places.clone()));
    // Its guard need not wait for a namespace in which nobody is any more.
    let _ = safety::revert(&places, None, &Who::here());
    drop(sandbox);
    code
}

// By value, as `map_err` hands it over.
#[allow(clippy::needless_pass_by_value)]
fn failure(error: SandboxError) -> Failure {
    let (what, remedy) = (error.to_string(), error.remedy());
    match error {
        SandboxError::Namespace { .. } => Failure::privilege(what, remedy),
        _ => Failure::input(what, remedy),
    }
}

fn listing(scenarios: &[Scenario]) -> String {
    let width = scenarios.iter().map(|s| s.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for scenario in scenarios {
        let _ = writeln!(out, "{:width$}  {}", scenario.name, scenario.title);
    }
    out
}
