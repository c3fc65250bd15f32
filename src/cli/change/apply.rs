//! `ruletop apply SCRIPT` and `ruletop restore ID`: a change from a file, or from a backup, through the same
//! safe path as the board's.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::ask::{self, Signals};
use super::{Folders, need_privilege, no_backup, not_applied, window};
use crate::cli::{Failure, input};
use crate::netfilter::xtables::{Presence, Tools};
use crate::ruleset::{Backend, Chain, Family, Origin, Policy};
use crate::safety::{
    self, Pending, Places, Request, Step, To, Transition, backup as store, begin, lockout,
};
use crate::ui::words;

/// What to apply.
#[derive(Debug, Args)]
pub struct Apply {
    /// A change in the syntax of iptables-restore -n; - for standard input
    script: PathBuf,
    /// 4 for iptables, 6 for ip6tables
    #[arg(long, value_enum, default_value = "4")]
    family: FamilyArg,
    /// The back end; without it, the one that holds rules, or that plain iptables is
    #[arg(long, value_enum)]
    backend: Option<BackendArg>,
    #[command(flatten)]
    how: How,
}

/// What to put back.
#[derive(Debug, Args)]
pub struct Restore {
    /// Name of a backup, the beginning of one, or latest
    id: String,
    #[command(flatten)]
    how: How,
}

/// How to go about a change.
#[derive(Debug, Args)]
struct How {
    /// Undo it unless it is confirmed within this time
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = window)]
    confirm_within: Duration,
    /// Return once it is applied; it stays pending until ruletop confirm, ruletop revert or the deadline
    #[arg(long)]
    no_wait: bool,
    /// How many backups to keep
    #[arg(long, value_name = "N", default_value_t = safety::KEEP)]
    keep_backups: usize,
    #[command(flatten)]
    folders: Folders,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FamilyArg {
    #[value(name = "4")]
    V4,
    #[value(name = "6")]
    V6,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum BackendArg {
    Nft,
    Legacy,
}

impl From<FamilyArg> for Family {
    fn from(arg: FamilyArg) -> Self {
        match arg {
            FamilyArg::V4 => Self::V4,
            FamilyArg::V6 => Self::V6,
        }
    }
}

impl From<BackendArg> for Backend {
    fn from(arg: BackendArg) -> Self {
        match arg {
            BackendArg::Nft => Self::Nft,
            BackendArg::Legacy => Self::Legacy,
        }
    }
}

/// Applies a script.
pub fn run(apply: &Apply) -> Result<ExitCode, Failure> {
    need_privilege("changing the firewall")?;
    let script = input::read(&apply.script)?;
    let mut lines = script.split(|byte| *byte == b'\n');
    let is_zero = |line: &[u8]| line.starts_with(b"-Z") || line.starts_with(b"--zero");
    if let Some(at) = lines.position(|line| is_zero(line.trim_ascii())) {
        return Err(Failure::input(
            format!(
                "line {}: counters cannot be zeroed by a change that may be undone",
                at + 1
            ),
            "leave -Z out; Z on the board, or iptables -Z, zeroes them",
        ));
    }
    let tools = Tools::find();
    let family = Family::from(apply.family);
    let backend = match apply.backend {
        Some(backend) => backend.into(),
        None => usual_backend(family, &tools)?,
    };
    let origin = Origin::new(family, backend);
    let before = safety::current(&tools, origin).map_err(|error| not_applied(&error))?;
    let transition = Transition {
        origin,
        before,
        to: To::Script(script),
    };
    let why = format!("ruletop apply {}", input::name(&apply.script));
    make(&apply.how, why, vec![transition], Vec::new())
}

/// Puts a backup back.
pub fn restore(restore: &Restore) -> Result<ExitCode, Failure> {
    need_privilege("changing the firewall")?;
    let places = restore.how.folders.places();
    let id = store::find(&places, &restore.id).map_err(|error| no_backup(&error))?;
    let backup = store::load(&places, &id).map_err(|error| no_backup(&error))?;
    let tools = Tools::find();
    let (transitions, sets) =
        safety::transitions_to(&backup, &tools).map_err(|error| not_applied(&error))?;
    let why = format!("ruletop restore {id}");
    make(&restore.how, why, transitions, sets)
}

/// The back end that holds rules of this family. Both: somebody has to say which.
fn usual_backend(family: Family, tools: &Tools) -> Result<Backend, Failure> {
    let there = |backend| Presence::of(Origin::new(family, backend)).is_there();
    let holds = |backend| {
        let set = safety::current(tools, Origin::new(family, backend));
        set.is_ok_and(|set| {
            let drops = |chain: &Chain| chain.policy() == Some(Policy::Drop);
            set.rule_count() > 0 || set.chains().iter().any(drops)
        })
    };
    match (there(Backend::Nft), there(Backend::Legacy)) {
        // Tables that were only looked at stay in legacy for good, and are empty.
        (true, true) if !holds(Backend::Legacy) => Ok(Backend::Nft),
        (true, true) if !holds(Backend::Nft) => Ok(Backend::Legacy),
        (true, true) => Err(Failure::input(
            "both back ends hold rules of this family",
            "say which one with --backend nft or --backend legacy",
        )),
        (true, false) => Ok(Backend::Nft),
        (false, false) if tools.save(Origin::new(family, Backend::Nft)).is_ok() => Ok(Backend::Nft),
        (false, _) => Ok(Backend::Legacy),
    }
}

fn make(
    how: &How,
    why: String,
    transitions: Vec<Transition>,
    sets: Vec<u8>,
) -> Result<ExitCode, Failure> {
    let places: Places = how.folders.places();
    let asked = !how.no_wait;
    if asked && !ask::possible() {
        return Err(Failure::input(
            "there is no terminal to ask on whether the change should stay",
            "run it on a terminal, or with --no-wait and then ruletop confirm",
        ));
    }
    if !stays_in(&transitions, asked) {
        return Err(Failure::change(
            "not applied: nobody typed the word",
            "look again at the rule that is named, or stage the change on the board",
        ));
    }
    let signals = Signals::catch()?;
    let mut request = Request::new(places.clone(), why, transitions);
    request.sets = sets;
    request.window = how.confirm_within;
    request.keep = how.keep_backups;
    let stop = Arc::clone(&request.stop);
    let done = signals.stopping(&stop, || begin(&request, &mut |step| tell(&step)));
    let pending = done.map_err(|error| not_applied(&error))?;
    for remark in &pending.remarks {
        say(&words::clean_str(remark));
    }
    if asked {
        ask::ask(&places, &pending, &signals)
    } else {
        say(&announcement(&pending, how.confirm_within));
        Ok(ExitCode::SUCCESS)
    }
}

/// The lock-out pre-flight. Where it is not proved that the administrator's session survives, whoever is there to ask
/// has to type a word; where nobody is, the warning stands in the output, and the deadline lets him in again.
fn stays_in(transitions: &[Transition], asked: bool) -> bool {
    let mut is_proved = true;
    let mut warn = |line: &str| {
        is_proved = false;
        say(&format!("WARNING: {}", words::clean_str(line)));
    };
    match lockout::judge(transitions) {
        Ok(reports) => {
            for report in reports.iter().filter(|report| !report.is_safe()) {
                warn(&report.words());
            }
        }
        Err(unjudged) => warn(&unjudged.to_string()),
    }
    is_proved || !asked || ask::word("Type the word risk to go on: ", "risk")
}

fn announcement(pending: &Pending, window: Duration) -> String {
    format!(
        "applied as {}; undone in {} s unless ruletop confirm is run",
        pending.id,
        window.as_secs()
    )
}

fn tell(step: &Step) {
    match step {
        Step::Waiting { holder } => {
            say(&format!(
                "waiting for the xtables lock, held by {}",
                words::clean_str(holder)
            ));
        }
        Step::BackedUp { backup } => say(&format!("backup {backup}")),
        Step::Again => say("another program wrote at the same time; going on from what there is"),
        _ => {}
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
