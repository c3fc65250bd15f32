//! `ruletop export`: the model printed back, bytes in and bytes out.
//!
//! As `save`, an unedited dump comes out byte for byte. As `json`, one document for other programs; its
//! shape is described in `json`.

use super::{Document, Hints, ParseError};

/// What `ruletop export --format` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// iptables-save text.
    #[default]
    Save,
    /// One JSON document.
    Json,
}

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The input is no dump.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The document could not be written as JSON.
    #[error("could not write the ruleset as JSON: {0}\nuse --format save")]
    Json(#[from] serde_json::Error),
}

/// Read a dump and print it in that format.
pub fn export(input: Vec<u8>, hints: Hints, format: Format) -> Result<Vec<u8>, ExportError> {
    let document = Document::parse(input, hints)?;
    match format {
        Format::Save => Ok(document.bytes().to_vec()),
        Format::Json => Ok(document.to_json()?),
    }
}
