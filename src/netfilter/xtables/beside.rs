//! The tools beside iptables that a backup needs: `nft list ruleset`, `ipset save` and `ipset restore`.
//!
//! Looking must not touch: asking for ipsets or nf_tables where their module is not loaded would load it, so
//! there the answer is "nothing" without asking. A tool that is not installed is no error either: what it
//! would tell cannot be told, and [`Found`] says so.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use memchr::memmem;

use super::presence::nf_tables_is_loaded;
use super::tools::{self, Tool};
use super::{Limits, XtablesError, child, failure};

/// What a tool printed, if it could be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Standard output, byte for byte.
    Text(Vec<u8>),
    /// The kernel has nothing of the kind loaded.
    NotLoaded,
    /// There is no such tool on this machine.
    NotInstalled,
}

impl Found {
    /// The text, empty where there is none.
    pub fn into_text(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text,
            Self::NotLoaded | Self::NotInstalled => Vec::new(),
        }
    }
}

/// `nft list ruleset`: everything that nf_tables holds, native tables included.
pub fn nft_ruleset() -> Result<Found, XtablesError> {
    if !nf_tables_is_loaded() {
        return Ok(Found::NotLoaded);
    }
    let Some(nft) = tools::named_tool("nft") else {
        return Ok(Found::NotInstalled);
    };
    let mut command = nft.command();
    command.args(["list", "ruleset"]);
    run(&nft, command, b"", &AtomicBool::new(false)).map(Found::Text)
}

/// `nft` with these arguments and this input; what it printed.
pub fn nft(arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, XtablesError> {
    let Some(nft) = tools::named_tool("nft") else {
        return Err(XtablesError::Run {
            tool: "nft".to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        });
    };
    let mut command = nft.command();
    command.args(arguments);
    run(&nft, command, input, &AtomicBool::new(false))
}

/// `ipset save`: every set with its members.
pub fn sets() -> Result<Found, XtablesError> {
    if !ipset_is_loaded() {
        return Ok(Found::NotLoaded);
    }
    let Some(ipset) = tools::named_tool("ipset") else {
        return Ok(Found::NotInstalled);
    };
    let mut command = ipset.command();
    command.arg("save");
    run(&ipset, command, b"", &AtomicBool::new(false)).map(Found::Text)
}

/// The same where one of these dumps names a set; nothing where none does, or where they cannot be had.
pub fn sets_for<'a>(dumps: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let names_one = |dump: &[u8]| memmem::find(dump, b"-set ").is_some();
    if !dumps.into_iter().any(names_one) {
        return Vec::new();
    }
    sets().map(Found::into_text).unwrap_or_default()
}

/// Makes sets and members; those that are there already stay (`-exist`).
pub fn restore_sets(text: &[u8], stop: &AtomicBool) -> Result<(), XtablesError> {
    change_sets(&["-exist", "restore"], text, stop)
}

/// Carries out commands of `ipset restore`, one a line, up to the first that is refused: a set that is there cannot
/// be made, one that is used cannot be destroyed.
pub fn amend_sets(text: &[u8]) -> Result<(), XtablesError> {
    change_sets(&["restore"], text, &AtomicBool::new(false))
}

fn change_sets(arguments: &[&str], text: &[u8], stop: &AtomicBool) -> Result<(), XtablesError> {
    if text.is_empty() {
        return Ok(());
    }
    let Some(ipset) = tools::named_tool("ipset") else {
        return Err(XtablesError::Run {
            tool: "ipset".to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        });
    };
    let mut command = ipset.command();
    command.args(arguments);
    run(&ipset, command, text, stop).map(drop)
}

/// `max_sets` is a parameter of the module, so it shows also where it is built in.
fn ipset_is_loaded() -> bool {
    Path::new("/sys/module/ip_set").exists()
}

fn run(
    tool: &Tool,
    command: Command,
    input: &[u8],
    stop: &AtomicBool,
) -> Result<Vec<u8>, XtablesError> {
    let name = tool.to_string();
    let ended = child::run_with(command, input, Limits::default(), stop, &name)?;
    let stderr = String::from_utf8_lossy(&ended.stderr);
    match failure(&name, &ended, stderr.trim()) {
        Some(error) => Err(error),
        None => Ok(ended.stdout),
    }
}
