//! A sandbox without a screen: `ruletop __sandbox-actor trial SCENARIO [nft|legacy]`, for tests.
//!
//! A test cannot enter a sandbox itself, since its runner has threads and there is no way back. So it
//! starts this, which enters one exactly as the demo does, and drives it by lines on standard input;
//! each is answered by one line of JSON on standard output, the first of which says that it stands:
//!
//! ```text
//! run PROGRAM ARG…     in the box        {"status":0,"stdout":"…","stderr":"…"}
//! fix                  the scenario's    {"status":0,…} of the last command
//! probe blocked|works                    ["timed-out", …]
//! traffic                                [{"name":…}, …]
//! ```
//!
//! Arguments are split at blanks; there is no quoting, and no shell. End of input ends the sandbox.

use std::io::{self, BufRead as _, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::{Options, Sandbox, SandboxError, Scenario};
use crate::ruleset::Backend;

/// Run a trial; errors go to standard error in the two lines that the program's own would take.
pub fn main(args: &[&str]) -> ExitCode {
    match trial(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut screen = io::stderr().lock();
            let _ = writeln!(screen, "{error}\n{}", error.remedy());
            ExitCode::from(2)
        }
    }
}

fn trial(args: &[&str]) -> Result<(), SandboxError> {
    let (name, backend) = match args {
        [name] => (name, None),
        [name, "nft"] => (name, Some(Backend::Nft)),
        [name, "legacy"] => (name, Some(Backend::Legacy)),
        _ => return Err(SandboxError::Gone("trial SCENARIO [nft|legacy]".to_owned())),
    };
    let start = Instant::now();
    let options = Options {
        backend,
        ..Options::default()
    };
    let sandbox = Sandbox::enter(&Scenario::load(name)?, options)?;
    say(&json!({
        "backend": sandbox.backend(),
        "log": sandbox.log_target(),
        "notes": sandbox.notes(),
        "ready_ms": start.elapsed().as_millis(),
    }));
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        say(&answer(&sandbox, &line)?);
    }
    Ok(())
}

fn answer(sandbox: &Sandbox, line: &str) -> Result<Value, SandboxError> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let scenario = sandbox.scenario();
    Ok(match words.as_slice() {
        ["run", program, args @ ..] => run(program, args),
        ["fix"] => scenario
            .fix_commands(sandbox.backend())
            .iter()
            .map(|command| run(&command.program, &command.args))
            .find(|done| done["status"] != 0)
            .unwrap_or_else(|| json!({"status": 0})),
        ["probe", which] => {
            let probes = if *which == "works" {
                &scenario.works
            } else {
                &scenario.blocked
            };
            json!(sandbox.probe(probes)?)
        }
        ["traffic"] => json!(sandbox.traffic()?),
        _ => json!({"error": "run, fix, probe or traffic"}),
    })
}

fn run(program: &str, args: &[impl AsRef<std::ffi::OsStr>]) -> Value {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) => json!({
            "status": output.status.code(),
            "stdout": String::from_utf8_lossy(&output.stdout),
            "stderr": String::from_utf8_lossy(&output.stderr),
        }),
        Err(error) => json!({"status": null, "stdout": "", "stderr": error.to_string()}),
    }
}

/// A reader that is gone is no reason to stop: the end of its input will tell.
fn say(answer: &Value) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{answer}");
    let _ = out.flush();
}
