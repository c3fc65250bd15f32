//! A dump from a file or from standard input.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::app::attribution::LogRules;
use crate::app::firewall::FirewallId;
use crate::app::message::{Loaded, Message};
use crate::app::notice::{Level, Notice};
use crate::cli::Failure;
use crate::ruleset::{Diagnostic, Document, Hints, Severity};

/// A dump larger than this is not one: 100,000 rules take 10 MB.
const LARGEST: u64 = 1 << 30;

/// All of it.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let name = name(path);
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin()
            .lock()
            .take(LARGEST + 1)
            .read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
    };
    match read {
        Ok(_) if bytes.len() as u64 > LARGEST => Err(Failure::input(
            format!("{name} is larger than 1 GiB"),
            "is it a dump of iptables-save?",
        )),
        Ok(_) if memchr::memchr(0, &bytes).is_some() => Err(Failure::input(
            format!("{name} holds NUL bytes: it is no text"),
            "give the path of a file that iptables-save wrote, or - for standard input",
        )),
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::input(
            format!("cannot read {name}: {error}"),
            "give the path of a file that iptables-save wrote, or - for standard input",
        )),
    }
}

/// What to call it.
pub fn name(path: &Path) -> String {
    if path.as_os_str() == "-" {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}

/// The rulesets of a dump.
pub fn document(path: &Path) -> Result<Document, Failure> {
    Document::parse(read(path)?, Hints::default()).map_err(|error| {
        let error = error.to_string();
        let (what, remedy) = error.split_once('\n').unwrap_or((&error, ""));
        Failure::input(format!("{}: {what}", name(path)), remedy)
    })
}

/// A dump as the board takes it: its rulesets, and what is odd in it.
pub fn messages(document: Document) -> Vec<Message> {
    let mut messages: Vec<Message> = document
        .diagnostics()
        .take(SHOWN)
        .enumerate()
        .map(remark)
        .collect();
    let more = document.diagnostics().count().saturating_sub(SHOWN);
    if more > 0 {
        let text = format!("{more} more lines of the dump are odd");
        messages.push(Message::Notice(Notice::new(
            Level::Info,
            "dump more",
            text,
            "",
        )));
    }
    let mut seen: Vec<FirewallId> = Vec::new();
    for ruleset in document.into_rulesets() {
        let mut id = FirewallId {
            family: ruleset.family(),
            backend: ruleset.backend(),
            nth: 0,
        };
        while seen.contains(&id) && id.nth < u8::MAX {
            id.nth += 1;
        }
        seen.push(id);
        for (i, warning) in ruleset.warnings().iter().enumerate() {
            let key = format!("save {id:?} {i}");
            messages.push(Message::Notice(Notice::new(
                Level::Warning,
                key,
                warning.to_string(),
                "",
            )));
        }
        messages.push(Message::Loaded(Box::new(Loaded {
            id,
            log_rules: LogRules::of(&ruleset),
            ruleset: Arc::new(ruleset),
            handles: Vec::new(),
            lossy: Vec::new(),
            uncounted_rules: Vec::new(),
            uncounted_policies: Vec::new(),
            author: None,
        })));
    }
    messages
}

/// Remarks that are shown; the others are counted.
const SHOWN: usize = 50;

fn remark((i, diagnostic): (usize, &Diagnostic)) -> Message {
    let level = match diagnostic.severity {
        Severity::Note => Level::Info,
        Severity::Warning | Severity::Error => Level::Warning,
    };
    let key = format!("dump {i}");
    Message::Notice(Notice::new(level, key, diagnostic.to_string(), ""))
}
