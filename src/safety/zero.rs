//! Counters that were staged to start from zero.
//!
//! Not the guard's work: a counter decides nothing, so there is nothing to lock oneself out with, and a revert
//! could not give back what was counted meanwhile. It is done once the rules stand as staged, with the tools' own
//! `-Z`, which cannot change a rule whatever another writer does at the same moment. What was counted until then
//! stands in the backup of the change.

use std::sync::Arc;

use super::begin::current;
use super::request::ApplyError;
use crate::edit;
use crate::netfilter::xtables::{Tools, XtablesError, zero::zero as zero_counters};
use crate::ruleset::{ChainIdx, Origin, Ruleset};

/// Zeroes in the kernel what `staged` counts from zero; rules that are not there any more are passed over. Says
/// how many counters of rules and policies that were.
pub fn zero(tools: &Tools, origin: Origin, staged: &Ruleset) -> Result<usize, ApplyError> {
    if staged.zeroed_rules().is_empty() && staged.zeroed_chains().is_empty() {
        return Ok(0);
    }
    let now = Arc::unwrap_or_clone(current(tools, origin)?);
    let target = edit::zero_as(staged, now);
    let mut done = 0;
    let carry_out = |chain: ChainIdx, number| {
        let (name, table) = (
            target.chain(chain).name_bytes(),
            target.chain(chain).table(),
        );
        let table = target.table(table).name_bytes();
        zero_counters(tools, origin, table, name, number).map_err(|error| trouble(&error))
    };
    for chain in target.zeroed_chains() {
        carry_out(*chain, None)?;
        done += 1 + target.chain(*chain).rules().len();
    }
    for rule in target.zeroed_rules() {
        let chain = target
            .chain_of(*rule)
            .filter(|chain| !target.is_chain_zeroed(*chain));
        if let Some(chain) = chain {
            carry_out(chain, Some(target.number(*rule)))?;
            done += 1;
        }
    }
    Ok(done)
}

fn trouble(error: &XtablesError) -> ApplyError {
    ApplyError::Tool {
        what: format!("the counters were not zeroed: {error}"),
        remedy: error.remedy().to_owned(),
        privilege: matches!(error, XtablesError::Permission { .. }),
    }
}
