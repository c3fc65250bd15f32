//! Programs that own chains: the rows of `assets/owners.toml`.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::edit::Stage;
use crate::ruleset::ChainIdx;

/// One row.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Owner {
    /// The chain that tells of it.
    has: String,
    /// The chain that it owns.
    chain: String,
    /// Where a rule of the user's goes.
    pub into: Option<String>,
    /// What the user should know.
    pub words: String,
}

/// The rows of other kinds in the file are other rooms'.
#[derive(Default, Deserialize)]
struct File {
    owner: Vec<Owner>,
}

pub(super) fn rows() -> &'static [Owner] {
    static ALL: LazyLock<Vec<Owner>> = LazyLock::new(|| {
        let text = include_str!("../../../assets/owners.toml");
        toml::from_str::<File>(text).unwrap_or_default().owner
    });
    &ALL
}

/// The program that owns a chain, and the chain for the user's rules where there is one. Only of the table
/// filter: elsewhere the programs leave the built-in chains to all.
pub(super) fn of(
    stage: &Stage,
    table: &str,
    chain: &str,
) -> Option<(&'static Owner, Option<ChainIdx>)> {
    if table != "filter" {
        return None;
    }
    let set = &stage.shown().ruleset;
    let owner = rows()
        .iter()
        .find(|row| row.chain == chain && set.find_chain(table, &row.has).is_some())?;
    let into = owner
        .into
        .as_ref()
        .and_then(|name| set.find_chain(table, name));
    Some((owner, into))
}
