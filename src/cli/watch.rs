//! The board on this box, or on a saved dump.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::app::action::Keymap;
use crate::app::message::Message;
use crate::app::shadowed::Shadowed;
use crate::app::state::{Facts, Mode, State};
use crate::cli::{Failure, Screen, Watch, input};
use crate::host;
use crate::runtime::board::{self, BoardError, End};
use crate::safety::{self, Places};
use crate::ui::Theme;

/// Opens the board.
pub fn run(watch: &Watch) -> Result<ExitCode, Failure> {
    match &watch.file {
        Some(path) => saved(path, watch),
        None => live(watch),
    }
}

fn live(watch: &Watch) -> Result<ExitCode, Failure> {
    if !host::may_read_firewall() {
        return Err(Failure::privilege(
            "reading the firewall takes CAP_NET_ADMIN, which this process lacks",
            "run it as root (sudo ruletop), look around in ruletop demo, or at a dump with --file",
        ));
    }
    let mut state = state(&watch.screen, Mode::Live)?;
    lock(&mut state, watch);
    let places = Places::of_this_namespace();
    let code = open(state, &watch.screen, Some(places.clone()));
    // Whoever leaves it so shall know that it goes by itself.
    if let Some(pending) = safety::pending(&places) {
        eprintln!(
            "ruletop: a change is pending and reverts by itself in {} s; ruletop confirm keeps it, ruletop revert takes it back now",
            pending.left.as_secs()
        );
    }
    code
}

fn saved(path: &Path, watch: &Watch) -> Result<ExitCode, Failure> {
    let document = input::document(path)?;
    let mut state = state(&watch.screen, Mode::File(input::name(path)))?;
    lock(&mut state, watch);
    state.change.refused =
        Some("this is a saved dump; send the commands to where they belong".to_owned());
    for message in input::messages(document) {
        crate::app::update::update(&mut state, message, Duration::ZERO);
    }
    for firewall in 0..state.firewalls.len() {
        let of = &state.firewalls[firewall];
        let shadowed = Shadowed::of(of.id, of.kernel(), of.all_lossy());
        crate::app::update::update(&mut state, Message::Shadowed(shadowed), Duration::ZERO);
    }
    open(state, &watch.screen, None)
}

/// Whether anything may be staged at all.
fn lock(state: &mut State, watch: &Watch) {
    if watch.read_only {
        state.change.locked = Some("started with --read-only: nothing is changed here".to_owned());
    }
}

/// A fresh state with the facts of this box.
pub fn state(screen: &Screen, mode: Mode) -> Result<State, Failure> {
    let identity = host::identity();
    let facts = Facts {
        host: identity.host,
        kernel: identity.kernel,
        mode,
        epoch: Some(jiff::Zoned::now()),
    };
    let keymap = Keymap::shipped().map_err(|error| Failure::input(error.to_string(), ""))?;
    Ok(State::new(facts, keymap, screen.interval))
}

/// Opens the board on that state.
pub fn open(state: State, screen: &Screen, kernel: Option<Places>) -> Result<ExitCode, Failure> {
    let theme = theme(screen)?;
    log(screen)?;
    match board::run(state, theme, kernel) {
        Ok(End::Quit) => Ok(ExitCode::SUCCESS),
        // As the shell reports a process that a signal ended.
        Ok(End::Signal(number)) => Ok(ExitCode::from(u8::try_from(128 + number).unwrap_or(128))),
        Err(error @ BoardError::Terminal(_)) => Err(Failure::input(
            error.to_string(),
            "start it in a terminal; for scripts there is ruletop export",
        )),
        Err(error) => Err(Failure::input(error.to_string(), "")),
    }
}

fn theme(screen: &Screen) -> Result<Theme, Failure> {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let wanted = screen
        .theme
        .as_deref()
        .unwrap_or(if no_color { "mono" } else { "ansi" });
    Theme::named(wanted)
        .map_err(|error| Failure::input(error.to_string(), "choose one of these with --theme"))
}

/// Sends what the program does to a file: the screen belongs to the board.
fn log(screen: &Screen) -> Result<(), Failure> {
    let Some(path) = &screen.log else {
        return Ok(());
    };
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|error| {
            Failure::input(
                format!("cannot write the log {}: {error}", path.display()),
                "give the path of a file that can be written",
            )
        })?;
    // Only fails where a subscriber is set already, which this program never does twice.
    let _ = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(std::sync::Mutex::new(file))
        .try_init();
    Ok(())
}
