//! What can be typed after `ruletop`: the arguments, one file a command, and the exit codes.
//!
//! 0 done and nothing found; 1 findings, or a verdict of blocked; 2 usage or input error; 3 lacking
//! privilege; 4 a change was refused or reverted. An error is one line of what failed and one of what
//! to do, on standard error.

mod change;
mod demo;
mod explain;
mod export;
mod generate;
mod input;
mod probe;
mod watch;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// top for firewall rules: which iptables rule is eating the traffic, live.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    watch: Watch,
}

/// The board.
#[derive(Debug, Args)]
struct Watch {
    /// Show a saved dump (iptables-save, with or without -c) instead of this box; - for standard input
    #[arg(long, value_name = "DUMP")]
    file: Option<PathBuf>,
    /// Never offer to change anything
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    screen: Screen,
}

/// How the board looks and how often it reads.
#[derive(Debug, Args)]
struct Screen {
    /// Time between readings, such as 500ms or 2s
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// ansi (the terminal's sixteen colours) or mono; NO_COLOR means mono
    #[arg(long, value_name = "NAME")]
    theme: Option<String>,
    /// Write what the program does to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The board in a private namespace with a real firewall and real traffic; touches nothing outside
    Demo(demo::Demo),
    /// Say which rule decides a packet, and how it got there
    Explain(explain::Explain),
    /// Print the ruleset back, byte for byte or as JSON
    Export(export::Export),
    /// Make a change from a file, and undo it unless it is confirmed
    Apply(change::apply::Apply),
    /// Put a backup back, and undo that unless it is confirmed
    Restore(change::apply::Restore),
    /// Show the pending change
    Status(change::pending::Status),
    /// Keep the pending change
    Confirm(change::pending::Decide),
    /// Undo the pending change now
    Revert(change::pending::Decide),
    /// Make a backup, list them, look into one, compare two
    Backup(change::backup::BackupArgs),
    /// Save the rules of now for the next boot, where this distribution looks for them
    Keep(change::keep::Keep),
    /// List the probes that are in the kernel, or remove those that a killed ruletop left there
    Probe(probe::Probe),
    /// Print completions for a shell
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Print the man page
    Man,
    /// Print the keys as a Markdown table, for the README
    #[command(hide = true)]
    Keys,
}

/// What ends a command early.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    what: String,
    remedy: String,
}

impl Failure {
    /// Usage, or input that cannot be used: exit code 2.
    fn input(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            code: 2,
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// A change that was refused or undone: exit code 4.
    fn change(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            code: 4,
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// Lacking privilege: exit code 3.
    fn privilege(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            code: 3,
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

/// Parses the arguments, runs the command, and gives the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // The arrow of a packet in words begins with a dash but is no option.
    let arrow = |arg: OsString| if arg == "->" { "→".into() } else { arg };
    let args: Vec<OsString> = args.into_iter().map(arrow).collect();
    // The sandbox starts this binary again for its helpers, safety for its guard; they have their own words.
    if args
        .get(1)
        .is_some_and(|first| first == crate::sandbox::ACTOR)
    {
        return crate::sandbox::actor_main(args.into_iter().skip(2));
    }
    // So does whoever wants a change made: its guard is this binary too.
    if args
        .get(1)
        .is_some_and(|first| first == crate::safety::GUARD)
    {
        return crate::safety::guard_main();
    }
    if args
        .get(1)
        .is_some_and(|first| first == crate::safety::probe::PROBE)
    {
        return crate::safety::probe::probe_main();
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            return usage(&error);
        }
    };
    let done = match cli.command {
        None => watch::run(&cli.watch),
        Some(Command::Demo(demo)) => demo::run(&demo),
        Some(Command::Explain(explain)) => explain::run(&explain),
        Some(Command::Export(export)) => export::run(&export),
        Some(Command::Apply(apply)) => change::apply::run(&apply),
        Some(Command::Restore(restore)) => change::apply::restore(&restore),
        Some(Command::Status(status)) => change::pending::status(&status),
        Some(Command::Confirm(decide)) => change::pending::confirm_it(&decide),
        Some(Command::Revert(decide)) => change::pending::revert_it(&decide),
        Some(Command::Backup(backup)) => change::backup::run(&backup),
        Some(Command::Keep(keep)) => change::keep::run(&keep),
        Some(Command::Probe(probe)) => probe::run(&probe),
        Some(Command::Completions { shell }) => generate::completions(shell),
        Some(Command::Man) => generate::man(),
        Some(Command::Keys) => generate::keys(),
    };
    done.unwrap_or_else(|failure| {
        let mut err = std::io::stderr().lock();
        let _ = writeln!(err, "ruletop: {}", failure.what);
        if !failure.remedy.is_empty() {
            let _ = writeln!(err, "  {}", failure.remedy);
        }
        ExitCode::from(failure.code)
    })
}

/// Help and version go to standard output with 0. A mistake is one line of what is wrong and one of what
/// to do, with 2.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(2),
        };
    }
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim);
    let what = lines.next().unwrap_or_default();
    let mut what = what.strip_prefix("error: ").unwrap_or(what).to_owned();
    // What is missing stands below, a line each, down to the first empty one.
    if what.ends_with(':') {
        for line in lines.by_ref().take_while(|line| !line.is_empty()) {
            what.push(' ');
            what.push_str(line);
        }
    }
    let tip = lines.find_map(|line| line.strip_prefix("tip: "));
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "ruletop: {what}");
    let _ = writeln!(err, "  {}", tip.unwrap_or("see ruletop --help"));
    ExitCode::from(2)
}

/// Writes to standard output. A reader that went away (`| head`) is no error.
fn print(bytes: &[u8]) -> Result<ExitCode, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::input(
            format!("cannot write the output: {error}"),
            "is there room where it goes?",
        )),
    }
}

/// `500ms`, `2s`, `1m`: from a tenth of a second to an hour.
fn interval(text: &str) -> Result<Duration, String> {
    let expected = "a time such as 500ms, 2s or 1m, from 100ms to 1h";
    let (number, unit) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    );
    let number: u64 = number.parse().map_err(|_| format!("expected {expected}"))?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" | "" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    match milliseconds {
        Some(ms @ 100..=3_600_000) => Ok(Duration::from_millis(ms)),
        _ => Err(format!("expected {expected}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn intervals_have_units_and_bounds() {
        assert_eq!(interval("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(interval("2"), Ok(Duration::from_secs(2)));
        assert_eq!(interval("1h"), Ok(Duration::from_secs(3_600)));
        for bad in [
            "",
            "0s",
            "99ms",
            "2h",
            "5d",
            "s",
            "99999999999999999999h",
            "-1s",
        ] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }
}
