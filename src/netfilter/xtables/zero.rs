//! Counters to zero, by the tools' own `-Z`: nothing but a counter can change by it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::AtomicBool;

use super::{Limits, Tools, XtablesError, child, failure};
use crate::ruleset::Origin;

/// `-t TABLE -Z CHAIN [NUMBER]`: the counters of one rule, or of a chain's policy and all of its rules. Waits up
/// to five seconds for the xtables lock.
pub fn zero(
    tools: &Tools,
    origin: Origin,
    table: &[u8],
    chain: &[u8],
    number: Option<u32>,
) -> Result<(), XtablesError> {
    let tool = tools.save(origin)?.sibling("");
    let tool = tool.ok_or_else(|| XtablesError::NotInstalled {
        origin,
        looked_for: format!("{origin} beside {origin}-save"),
    })?;
    let mut command = tool.command();
    command.args(["-w", "5", "-t"]);
    command.arg(OsStr::from_bytes(table));
    command.arg("-Z").arg(OsStr::from_bytes(chain));
    command.args(number.map(|number| number.to_string()));
    let name = tool.to_string();
    let ended = child::run(command, Limits::default(), &AtomicBool::new(false), &name)?;
    let stderr = String::from_utf8_lossy(&ended.stderr);
    failure(&name, &ended, stderr.trim()).map_or(Ok(()), Err)
}
