//! What packagers and the README are made from: completions, the man page, the keys.

use std::fmt::Write;
use std::process::ExitCode;

use clap::CommandFactory;

use crate::app::action::{Action, Keymap, Place};
use crate::cli::{Cli, Failure, print};

/// Completions for a shell.
pub fn completions(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ruletop", &mut out);
    print(&out)
}

/// The man page, roff.
pub fn man() -> Result<ExitCode, Failure> {
    let mut out = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut out)
        .map_err(|error| Failure::input(format!("cannot make the man page: {error}"), ""))?;
    print(&out)
}

/// The keys of the board, as the README shows them.
pub fn keys() -> Result<ExitCode, Failure> {
    let keymap = Keymap::shipped().map_err(|error| Failure::input(error.to_string(), ""))?;
    let mut out = String::from("| keys | what they do |\n|---|---|\n");
    // What scrolls or leaves the board does the same in a dialog: once is enough.
    let in_all = [
        Action::Up,
        Action::Down,
        Action::PageUp,
        Action::PageDown,
        Action::Redraw,
        Action::Suspend,
        Action::Quit,
    ];
    for binding in keymap.bindings() {
        if binding.place != Place::Any && in_all.contains(&binding.action) {
            continue;
        }
        let place = match binding.place {
            Place::Any => "",
            Place::Chains => "chains: ",
            Place::Rules => "rules: ",
            Place::Drops => "drop feed: ",
            Place::Review => "before an apply: ",
            Place::Pending => "after it: ",
            Place::Keep => "next boot: ",
            Place::History => "history: ",
            Place::Editor => "rule editor: ",
            Place::Why => "explain: ",
            Place::Dialog | Place::Input => continue,
        };
        let keys: Vec<String> = binding.keys.iter().map(|key| format!("`{key}`")).collect();
        let _ = writeln!(out, "| {} | {place}{} |", keys.join(" "), binding.desc);
    }
    print(out.as_bytes())
}
