//! What a backup says of itself: `manifest.json`, one entry a part, each with its length and SHA-256.
//!
//! A part that is not there has an entry too, with the reason: "the machine has no ipset" and "nobody thought
//! of ipsets" are not the same when something has to be put back.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::safety::who::Who;

/// Shape of the manifest. A change that breaks readers gets a new number.
pub(super) const SCHEMA: &str = "ruletop.backup/1";

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Shape of the manifest.
    pub schema: String,
    /// Name of the backup, which is its folder's.
    pub id: String,
    /// When it was made, RFC 3339, UTC.
    pub time: String,
    /// By whom.
    pub who: Who,
    /// For what.
    pub why: String,
    /// Host name.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// Everything that was looked for.
    pub parts: Vec<Part>,
    /// Chains whose saved text does not say all that the kernel holds: never restored from it.
    pub lossy: Vec<LossyChain>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// `iptables-nft`, `ip6tables-legacy` …, `nft`, `ipset`, `sysctl`.
    pub what: String,
    /// Its file; `None` where there was nothing to save.
    pub file: Option<String>,
    /// Why there is no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lack: Option<String>,
    /// Length of the file.
    pub bytes: u64,
    /// Of the file, in hexadecimal digits.
    pub sha256: String,
}

/// A chain that iptables-save cannot tell the whole truth of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossyChain {
    /// As its tool is called.
    pub origin: String,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
    /// What the text leaves out.
    pub why: String,
}

impl Part {
    pub(super) fn of(what: &str, file: String, bytes: &[u8]) -> Self {
        Self {
            what: what.to_owned(),
            file: Some(file),
            lack: None,
            bytes: bytes.len() as u64,
            sha256: checksum(bytes),
        }
    }

    pub(super) fn lacking(what: &str, why: impl Into<String>) -> Self {
        Self {
            what: what.to_owned(),
            file: None,
            lack: Some(why.into()),
            bytes: 0,
            sha256: String::new(),
        }
    }
}

/// SHA-256 in hexadecimal digits.
pub(super) fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_sha256() {
        // FIPS 180-2, example of the empty message.
        assert_eq!(
            checksum(b""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
