//! `ruletop probe`: the rules that log for the board, and what is left of them.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;

use crate::cli::{Failure, print};
use crate::edit::probe::probes;
use crate::host;
use crate::netfilter::xtables::Tools;
use crate::ruleset::Origin;
use crate::safety::{self, ApplyError};

/// What to do with them.
#[derive(Debug, Args)]
pub struct Probe {
    /// Remove those that nobody else will remove
    #[arg(long)]
    clean: bool,
}

/// Lists probes, or removes leftovers. 1 where leftovers were found and not removed.
pub fn run(probe: &Probe) -> Result<ExitCode, Failure> {
    if !host::may_read_firewall() {
        return Err(Failure::privilege(
            "reading the firewall takes CAP_NET_ADMIN, which this process lacks",
            "run it as root (sudo ruletop probe)",
        ));
    }
    let tools = Tools::find();
    let mut out = String::new();
    let mut left = false;
    for origin in Origin::ALL {
        // No tool for it: no probe was put there with one.
        let Ok(ruleset) = safety::current(&tools, origin) else {
            continue;
        };
        let leftovers = safety::probe::leftovers(&ruleset);
        for (rule, tag) in probes(&ruleset) {
            let chain = ruleset.chain_of(rule).map(|chain| ruleset.chain(chain));
            let names = chain.map_or_else(String::new, |chain| {
                let table = ruleset.table(chain.table()).name();
                format!("{table} {} {}", chain.name(), ruleset.number(rule))
            });
            let is_left = leftovers.contains(&tag);
            left |= is_left;
            let state = if is_left { "left over" } else { "at work" };
            let names: String = names.chars().filter(|c| !c.is_control()).collect();
            let _ = writeln!(out, "{origin} {names}  {state}");
        }
        if probe.clean && !leftovers.is_empty() {
            let removed = safety::probe::remove(&tools, origin, |tag| leftovers.contains(tag));
            let removed = removed
                .map_err(|error: ApplyError| Failure::change(error.to_string(), error.remedy()))?;
            let _ = writeln!(out, "{origin}: {removed} removed");
        }
    }
    print(out.as_bytes())?;
    Ok(if left && !probe.clean {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}
