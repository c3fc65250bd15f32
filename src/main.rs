//! Parse arguments, dispatch, exit code. Nothing else.

fn main() -> std::process::ExitCode {
    ruletop::cli::run(std::env::args_os())
}
