//! A private network with a real firewall and real traffic: the demo, and what tests run in.
//!
//! ```text
//!   outside ────── eth0 ┌─────────┐ docker0 ────── behind
//!   clients, many       │   box   │                containers, a LAN
//!   addresses           │ the UI  │
//!                       └─────────┘
//! ```
//!
//! [`Sandbox::enter`] moves *this process* into the box, a new network namespace, so that all it reads
//! from then on (/proc, netlink, iptables) is the box's. There is no way back: after it, the process
//! shows the sandbox or ends. The rest of the world and the machines behind the box are further
//! namespaces; the processes in them are this same binary, started again with [`ACTOR`] as its first
//! argument, in a PID namespace of their own whose init dies with us. So everything ends when this
//! process ends, also by SIGKILL: the kernel itself takes the namespaces, links, rules and mounts away.
//!
//! What it never does: touch the firewall, sysctls, addresses or files of the machine it started on.

mod actors;
mod check;
mod error;
mod helpers;
mod keeper;
mod library;
mod namespaces;
mod rules;
mod scenario;
mod stage;
mod tools;
mod trial;
mod wire;

use std::path::{Path, PathBuf};

pub use error::SandboxError;
pub use keeper::actor_main;
pub use library::{Command, scenarios};
pub use scenario::{
    Client, Culprit, Fill, Firewall, Link, Listener, LogTarget, NFLOG_GROUP, Place, Probe,
    ProbeResult, Proto, Scenario, Set,
};

use crate::ruleset::Backend;
use helpers::Helpers;
use tools::Tools;
use wire::{Plan, ProbeAnswer, TrafficAnswer, TrafficQuestion};

/// First argument that makes the binary a helper of a sandbox: hand the rest to [`actor_main`].
pub const ACTOR: &str = "__sandbox-actor";

/// The host name inside, for the screen's header.
const HOST_NAME: &str = "sandbox";

/// Told of each step of the set-up, in a few words.
pub type Progress = Box<dyn FnMut(&str)>;

/// How to set a sandbox up.
#[derive(Default)]
pub struct Options {
    /// The back end to load the rules with; `None`: what plain `iptables` is on this machine.
    pub backend: Option<Backend>,
    /// The binary that knows [`ACTOR`]; `None`: this very binary.
    pub actor: Option<PathBuf>,
    /// Called at each step of the set-up.
    pub progress: Option<Progress>,
}

/// How a group of clients fares.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Traffic {
    /// The group's name, as in the scenario.
    pub name: String,
    /// Calls that were begun.
    pub attempts: u64,
    /// … that got an answer.
    pub connected: u64,
    /// … that got none in time.
    pub timed_out: u64,
    /// … that were refused.
    pub refused: u64,
    /// … that were told of no way there.
    pub unreachable: u64,
}

/// A sandbox that this process is in. It ends when this is dropped.
#[derive(Debug)]
pub struct Sandbox {
    scenario: Scenario,
    backend: Backend,
    log: LogTarget,
    notes: Vec<String>,
    helpers: Helpers,
}

impl Sandbox {
    /// Move this process into a new sandbox, with the firewall loaded and the traffic running.
    ///
    /// To be called first thing in the program, before any thread, runtime or terminal mode, from the
    /// main thread (the helpers die when the thread that called this does). It takes some tenths of a
    /// second. When it fails, the process may stand half in the sandbox: say why, and end.
    pub fn enter(scenario: &Scenario, options: Options) -> Result<Self, SandboxError> {
        // What only the machine can tell comes first: nothing is made before all of it is known.
        let backend = options.backend.unwrap_or_else(tools::default_backend);
        let tools = Tools::find(backend, !scenario.sets.is_empty())?;
        let log = rules::visible_log_target();
        let ipv6 = Path::new("/proc/net/if_inet6").exists();
        let scenario = if ipv6 {
            scenario.clone()
        } else {
            scenario.clone().without_ipv6()
        };
        let actor = options.actor.unwrap_or_else(|| "/proc/self/exe".into());
        let mut progress = options.progress.unwrap_or_else(|| Box::new(|_| ()));

        progress("namespaces");
        let mut notes = namespaces::enter(HOST_NAME)?;
        if log == LogTarget::Nflog && scenario.logs() {
            notes.push(format!(
                "LOG is silent in a namespace: these rules log by NFLOG, group {NFLOG_GROUP}"
            ));
        }
        if !ipv6 {
            notes.push("this kernel has no IPv6: only IPv4 is shown".to_owned());
        }
        let plan = Plan {
            scenario,
            tools,
            log,
            ipv6,
        };
        let mut helpers = Helpers::start(&actor)?;
        notes.extend(helpers.build(&plan, &mut progress)?);
        Ok(Self {
            scenario: plan.scenario,
            backend,
            log,
            notes,
            helpers,
        })
    }

    /// What is being played.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The back end that holds the rules.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// What differs from a real box, a line each, for the screen.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Where the rules' log lines go: the kernel log, or NFLOG group [`NFLOG_GROUP`]. With `Nflog`, the
    /// kernel log has nothing of the sandbox, only of the machine.
    pub fn log_target(&self) -> LogTarget {
        self.log
    }

    /// Try these flows now, all at once, as clients would; the answers are in the same order. Blocks up to
    /// three seconds; may be called from any thread.
    pub fn probe(&self, probes: &[Probe]) -> Result<Vec<ProbeResult>, SandboxError> {
        self.helpers
            .ask::<ProbeAnswer>(&probes)?
            .map_err(SandboxError::Gone)
    }

    /// How every group of clients has fared since the start. Answers at once; may be called from any thread.
    pub fn traffic(&self) -> Result<Vec<Traffic>, SandboxError> {
        self.helpers.ask_traffic::<TrafficAnswer>(&TrafficQuestion)
    }
}
