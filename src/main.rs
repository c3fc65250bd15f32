//! Parse arguments, dispatch, exit code. Nothing else.

use ruletop::sandbox;

fn main() -> std::process::ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == sandbox::ACTOR) {
        return sandbox::actor_main(args);
    }
    std::process::ExitCode::SUCCESS
}
