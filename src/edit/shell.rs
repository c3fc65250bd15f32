//! A script as commands for a shell.
//!
//! Words are read as iptables-restore reads them and written as a shell does: what holds anything but
//! letters that mean nothing to it stands in single quotes.

use crate::ruleset::spec::lexer::Lexer;
use crate::ruleset::{Backend, Counters, Family};

use super::script::{Command, Script};

/// One command a line.
pub(super) fn commands(script: &Script, family: Family, backend: Option<Backend>) -> Vec<Vec<u8>> {
    let program = match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    };
    let program = match backend {
        Some(backend) => format!("{program}-{}", backend.name()),
        None => program.to_owned(),
    };
    let mut lines = Vec::new();
    for (table, commands) in &script.tables {
        for command in commands {
            let mut line = Line::default();
            line.word(program.as_bytes());
            if table != b"filter" {
                line.word(b"-t");
                line.word(table);
            }
            if line.command(command) {
                lines.push(line.text);
            }
        }
    }
    lines
}

#[derive(Default)]
struct Line {
    text: Vec<u8>,
}

impl Line {
    fn word(&mut self, word: &[u8]) {
        if !self.text.is_empty() {
            self.text.push(b' ');
        }
        let plain = |b: &u8| {
            b.is_ascii_alphanumeric()
                || matches!(
                    b,
                    b'-' | b'_' | b'.' | b',' | b':' | b'/' | b'+' | b'=' | b'@' | b'%'
                )
        };
        if !word.is_empty() && word.iter().all(plain) {
            self.text.extend_from_slice(word);
            return;
        }
        self.text.push(b'\'');
        for byte in word {
            if *byte == b'\'' {
                self.text.extend_from_slice(b"'\\''");
            } else {
                self.text.push(*byte);
            }
        }
        self.text.push(b'\'');
    }

    fn counters(&mut self, counters: Counters) {
        if counters != Counters::default() {
            self.word(b"-c");
            self.word(counters.packets.to_string().as_bytes());
            self.word(counters.bytes.to_string().as_bytes());
        }
    }

    /// False for what only restore needs.
    fn command(&mut self, command: &Command) -> bool {
        match command {
            Command::Policy { kept: true, .. } => return false,
            Command::Policy { chain, policy, .. } => {
                self.word(b"-P");
                self.word(chain);
                self.word(policy.name().as_bytes());
            }
            Command::Zero { chain } => {
                self.word(b"-Z");
                self.word(chain);
            }
            Command::New { chain } => {
                self.word(b"-N");
                self.word(chain);
            }
            Command::Delete { chain, number } => {
                self.word(b"-D");
                self.word(chain);
                self.word(number.to_string().as_bytes());
            }
            Command::Insert {
                chain,
                number,
                spec,
                counters,
            } => {
                self.word(b"-I");
                self.word(chain);
                self.word(number.to_string().as_bytes());
                for word in Lexer::new(spec) {
                    self.word(&word.text);
                }
                self.counters(*counters);
            }
            Command::DeleteChain { chain } => {
                self.word(b"-X");
                self.word(chain);
            }
        }
        true
    }
}
