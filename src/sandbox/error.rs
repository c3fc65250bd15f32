//! What can go wrong in the sandbox, said in two lines: what failed, and what to do.
//!
//! [`SandboxError`]'s `Display` is the first line and [`SandboxError::remedy`] the second. The user who
//! reads them wanted a demo, so nothing here assumes that he knows what a namespace is.

use std::path::PathBuf;

/// Why a scenario cannot be read, or a sandbox cannot be entered or asked.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// No such built-in scenario, and no file of that name.
    #[error("there is no scenario called \"{name}\"")]
    UnknownScenario {
        /// What was asked for.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// A scenario file that cannot be read or does not make sense.
    #[error("scenario {name}: {reason}")]
    BadScenario {
        /// Name or path of the scenario.
        name: String,
        /// What the TOML reader or the checks said.
        reason: String,
    },
    /// A program that the sandbox is built with is not installed.
    #[error("{program} was not found in PATH, /usr/sbin or /sbin")]
    MissingProgram {
        /// Its name, e.g. `ip`.
        program: String,
        /// The package that has it, e.g. `iproute2`.
        package: &'static str,
    },
    /// The kernel, or a security policy, refuses the namespaces.
    #[error("cannot make a private {what}: {errno}")]
    Namespace {
        /// `user namespace`, `network namespace`, …
        what: &'static str,
        /// The kernel's answer.
        errno: nix::errno::Errno,
    },
    /// `enter` was called when threads existed already; a user or mount namespace is then refused.
    #[error("the sandbox must be entered before the program starts threads")]
    Threads,
    /// A file of /proc or a mount that the set-up needs could not be had.
    #[error("cannot {step} {}: {source}", path.display())]
    Io {
        /// What was being done: `write`, `mount`.
        step: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A step inside the namespaces failed (links, sysctls, firewall, listeners).
    #[error("setting up the sandbox: {step}: {detail}")]
    Setup {
        /// Which.
        step: Step,
        /// First lines of what the program or the kernel said.
        detail: String,
    },
    /// The helper processes are gone, or do not answer.
    #[error("the sandbox's helpers do not answer: {0}")]
    Gone(String),
}

/// A step of the set-up inside the namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Step {
    /// Sysctls.
    Settings,
    /// Links, addresses, routes.
    Network,
    /// ipsets and rules.
    Firewall,
    /// Listeners.
    Services,
    /// Those who call.
    Clients,
}

impl Step {
    fn remedy(self) -> &'static str {
        match self {
            Self::Settings => {
                "run it outside the container, or in a privileged one: /proc/sys has to be writable"
            }
            Self::Network => {
                "try another scenario; a kernel without veth or bridge cannot play this one"
            }
            Self::Firewall => {
                "try the other back end (--backend nft or legacy), or another scenario"
            }
            Self::Services | Self::Clients => "try another scenario",
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Settings => "kernel settings",
            Self::Network => "network",
            Self::Firewall => "firewall",
            Self::Services => "services",
            Self::Clients => "clients",
        })
    }
}

impl SandboxError {
    /// One line of what to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::UnknownScenario { known, .. } => format!(
                "give one of {}, or the path of a .toml file",
                known.join(", ")
            ),
            Self::BadScenario { .. } => {
                "correct the file; those in assets/scenarios/ are examples".to_owned()
            }
            Self::MissingProgram { package, .. } => {
                format!("install {package} (apt, dnf or zypper install {package})")
            }
            Self::Namespace { errno, .. } => namespace_remedy(*errno),
            Self::Threads => {
                "this is a defect of the program: call Sandbox::enter first thing".to_owned()
            }
            Self::Io { .. } => {
                "run it as root, or outside the container that forbids this".to_owned()
            }
            Self::Setup { step, .. } => step.remedy().to_owned(),
            Self::Gone(_) => "leave and start the demo again".to_owned(),
        }
    }
}

/// The usual reasons for a refused namespace, told apart by what this machine's sysctls say.
fn namespace_remedy(errno: nix::errno::Errno) -> String {
    let zero = |path: &str| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "0");
    let one = |path: &str| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1");
    if errno == nix::errno::Errno::ENOSPC || zero("/proc/sys/user/max_user_namespaces") {
        "run it with sudo, or raise user.max_user_namespaces and user.max_net_namespaces (sysctl)"
            .to_owned()
    } else if zero("/proc/sys/kernel/unprivileged_userns_clone") {
        "run it with sudo, or set kernel.unprivileged_userns_clone=1 (sysctl)".to_owned()
    } else if one("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") {
        "run it with sudo (AppArmor keeps user namespaces from programs without a profile)"
            .to_owned()
    } else if errno == nix::errno::Errno::EINVAL || errno == nix::errno::Errno::ENOSYS {
        "this kernel lacks namespaces: use another machine, or ruletop --file DUMP".to_owned()
    } else {
        "run it with sudo; in a container, give it CAP_SYS_ADMIN and CAP_NET_ADMIN".to_owned()
    }
}
