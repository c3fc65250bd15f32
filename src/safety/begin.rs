//! The caller's side: start a guard, hand it the request, hear how it goes.

use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};

use super::GUARD;
use super::backup::{Backup, BackupError};
use super::guard::wire::{self, Order, Word};
use super::launch::{Launched, launch};
use super::places::Places;
use super::record::State;
use super::request::{ApplyError, Pending, Request, Step, To, Transition};
use super::{carry, lossy, sets};
use crate::edit;
use crate::netfilter::xtables::Tools;
use crate::ruleset::{Origin, Ruleset};

/// Between looks at the stop sign, in milliseconds.
const LOOK: u16 = 100;

/// Makes the change, and returns when it is applied and waits for its confirmation, or why not.
///
/// Blocks: some tenths of a second, and as long as somebody holds the xtables lock. `progress` is called at
/// each step. If this process dies meanwhile, the change is not made, or is pending and undone at its
/// deadline.
pub fn begin(request: &Request, progress: &mut dyn FnMut(Step)) -> Result<Pending, ApplyError> {
    let failed = |error: io::Error| ApplyError::Guard {
        what: error.to_string(),
        remedy: "is there room for two more processes?".to_owned(),
    };
    let Launched { mut child, remark } =
        launch(request.program.as_deref(), GUARD).map_err(failed)?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(failed(io::ErrorKind::BrokenPipe.into()));
    };
    // A guard that cannot read says why on the other pipe.
    let sent = wire::send(request, remark, &mut input);
    let mut input = Some(input);
    let mut output = BufReader::new(output);
    let end = loop {
        if request.stop.load(Ordering::Relaxed) {
            input = None;
        }
        match hear(&mut output, &request.stop, input.is_some()) {
            Ok(Some(Word::Step(step))) => progress(step),
            Ok(Some(Word::Pending(pending))) => break Ok(pending),
            Ok(Some(Word::Failed(error))) => break Err(error),
            Ok(None) => {}
            Err(error) => {
                let what = match sent {
                    Err(unsent) => unsent,
                    Ok(()) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        io::Error::other("it died; if anything was applied, its standby undoes it")
                    }
                    Ok(()) => error,
                };
                break Err(failed(what));
            }
        }
    };
    drop(input);
    match end {
        // It lives on; somebody has to clear it away when it ends before we do.
        Ok(pending) => {
            bury_later(child);
            Ok(pending)
        }
        Err(ApplyError::Busy { what }) => {
            bury_later(child);
            Err(ApplyError::Busy { what })
        }
        Err(error) => {
            let _ = child.wait();
            Err(error)
        }
    }
}

/// One word of the guard; `None` when it has said nothing so far and the stop sign went up.
fn hear(
    output: &mut BufReader<std::process::ChildStdout>,
    stop: &AtomicBool,
    stoppable: bool,
) -> io::Result<Option<Word>> {
    while output.buffer().is_empty() {
        let mut ready = [PollFd::new(output.get_ref().as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, LOOK) {
            Ok(0) if stoppable && stop.load(Ordering::Relaxed) => return Ok(None),
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    let mut line = Vec::new();
    if output.read_until(b'\n', &mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// A thread that waits for the guard, so that it is no zombie while we live on.
fn bury_later(mut child: Child) {
    let buried = std::thread::Builder::new()
        .name("guard".to_owned())
        .spawn(move || child.wait());
    drop(buried); // without it the guard is a zombie until we end, and no worse
}

/// Puts a guard over a pending change that has none, and clears up what killed processes left. Waits for no end;
/// nothing happens where a guard lives.
pub fn rescue(places: &Places) -> io::Result<()> {
    let Some(state) = State::look(places).filter(|state| !state.is_guarded()) else {
        return Ok(());
    };
    if !matches!(state.read(), Ok(Some(_))) {
        if state.is_littered()
            && let Ok(Some(_lock)) = state.guard_lock(Some(Duration::ZERO))
            && let Ok(None) = state.read()
        {
            state.sweep();
        }
        return Ok(());
    }
    let Launched { mut child, .. } = launch(None, GUARD)?;
    if let Some(mut input) = child.stdin.take() {
        let places = places.clone();
        wire::order(&Order::Adopt { places }, &mut input)?;
    }
    bury_later(child);
    Ok(())
}

/// What the kernel holds of `origin` now, in the calling thread's network namespace.
pub fn current(tools: &Tools, origin: Origin) -> Result<Arc<Ruleset>, ApplyError> {
    Ok(carry::read(tools, origin)?)
}

/// The changes that lead from what the kernel holds now to what `backup` holds. Chains whose saved text is not
/// the whole truth stay as they are where they stand in both. With them the ipsets that rules of the backup name,
/// for [`Request::sets`].
pub fn transitions_to(
    backup: &Backup,
    tools: &Tools,
) -> Result<(Vec<Transition>, Vec<u8>), ApplyError> {
    let mut transitions = Vec::new();
    let mut goals = Vec::new();
    for origin in Origin::ALL
        .into_iter()
        .filter(|origin| backup.knows(*origin))
    {
        let broken = |error: BackupError| ApplyError::Backup {
            what: error.to_string(),
            remedy: error.remedy().to_owned(),
        };
        // Probes are nobody's rules: those of then do not come back, those of now stay until their helper ends.
        let plain = |set: Arc<Ruleset>| edit::probe::without(&set, |_| true).unwrap_or(set);
        let goal = plain(backup.ruleset(origin).map_err(broken)?);
        let before = plain(current(tools, origin)?);
        if carry::same(&before, &goal) {
            continue;
        }
        if let Some(chain) = backup.manifest.lossy.iter().find(|chain| {
            chain.origin == origin.to_string()
                && lossy::differs(&chain.table, &chain.chain, &before, &goal)
        }) {
            return Err(ApplyError::Locked {
                what: format!(
                    "{} {} {} was saved in words that are not the whole truth ({})",
                    chain.origin, chain.table, chain.chain, chain.why
                ),
            });
        }
        goals.push(Arc::clone(&goal));
        transitions.push(Transition {
            origin,
            before,
            to: To::Ruleset(goal),
        });
    }
    Ok((transitions, sets::needed(&goals, backup.text("ipset"))))
}
