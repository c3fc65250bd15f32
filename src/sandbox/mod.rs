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

mod error;
mod scenario;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

pub use error::SandboxError;
pub use scenario::{
    Client, Culprit, Fill, Firewall, Link, Listener, LogTarget, NFLOG_GROUP, Place, Probe,
    ProbeResult, Proto, Scenario, Set, scenarios,
};

use crate::ruleset::Backend;

/// First argument that makes the binary a helper of a sandbox: hand the rest to [`actor_main`].
pub const ACTOR: &str = "__sandbox-actor";

/// How to set a sandbox up.
#[derive(Default)]
pub struct Options {
    /// The back end to load the rules with; `None`: what plain `iptables` is on this machine.
    pub backend: Option<Backend>,
    /// The binary that knows [`ACTOR`]; `None`: this very binary.
    pub actor: Option<PathBuf>,
    /// Called with a few words at each step of the set-up.
    pub progress: Option<Box<dyn FnMut(&str)>>,
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
    notes: Vec<String>,
}

impl Sandbox {
    /// Move this process into a new sandbox, with the firewall loaded and the traffic running.
    ///
    /// To be called first thing in the program, before any thread, runtime or terminal mode, from the
    /// main thread (the helpers die when the thread that called this does). It takes some tenths of a
    /// second. When it fails, the process may stand half in the sandbox: say why, and end.
    pub fn enter(scenario: &Scenario, options: Options) -> Result<Self, SandboxError> {
        let _ = (scenario, options);
        Err(SandboxError::Gone("not built yet".to_owned()))
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

    /// Try one flow now, as a client would; takes up to three seconds. Blocks, may be called from any thread.
    pub fn probe(&self, probe: &Probe) -> Result<ProbeResult, SandboxError> {
        let _ = probe;
        Err(SandboxError::Gone("not built yet".to_owned()))
    }

    /// How every group of clients has fared since the start. Answers at once; may be called from any thread.
    pub fn traffic(&self) -> Result<Vec<Traffic>, SandboxError> {
        Err(SandboxError::Gone("not built yet".to_owned()))
    }
}

/// What the binary does when its first argument is [`ACTOR`]; `args` are those after it.
pub fn actor_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let _ = args.into_iter().count();
    ExitCode::FAILURE
}
