//! Parse arguments, dispatch, exit code. Nothing else.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
